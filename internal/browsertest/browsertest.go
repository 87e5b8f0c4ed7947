// Package browsertest opens a headless Chromium for a test, and keeps what the browser complains
// of.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TooPale is a script that lists texts whose contrast with what is behind them is too small (WCAG
// 2.2, 1.4.3).
const TooPale = `(() => {
	const rgb = text => text.match(/[\d.]+/g).map(Number)
	const luminance = text => {
		const [r, g, b] = rgb(text).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
		return 0.2126 * r + 0.7152 * g + 0.0722 * b
	}
	const behind = e => {
		for (; e; e = e.parentElement) {
			const colour = getComputedStyle(e).backgroundColor
			if (rgb(colour)[3] !== 0) return colour
		}
		return "rgb(255, 255, 255)"
	}
	return [...document.querySelectorAll("body *")].filter(e => {
		if (e.tagName !== "INPUT" && ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) return false
		const [x, y] = [getComputedStyle(e).color, behind(e)].map(luminance)
		return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05) < 4.5
	}).map(e => e.outerHTML.slice(0, 100))
})()`

// Open starts a headless Chromium until the test ends, with an observer of its one tab.
func Open(t *testing.T, more ...chromedp.ExecAllocatorOption) (context.Context, *Observer) {
	t.Helper()
	// for an element that never appears
	guard, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	allocator, closeBrowser := chromedp.NewExecAllocator(guard,
		slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
			chromedp.ExecPath(findChromium(t)),
			chromedp.DisableGPU,
			// The sandbox refuses root and many containers, and protects from pages other than our
			// own.
			chromedp.NoSandbox,
			chromedp.WindowSize(1200, 1600),
		}, more)...)
	t.Cleanup(closeBrowser)
	browser, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	seen := &Observer{}
	if err := chromedp.Listen(browser, seen.observe); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return browser, seen
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome",
		"google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil || errors.Is(err, exec.ErrDot) {
			return path
		}
	}
	t.Fatal("this test needs Chromium on the PATH (Debian: apt-get install chromium)")
	return ""
}

// Observer keeps what a tab requests, and its complaints.
type Observer struct {
	mu        sync.Mutex
	asked     []string
	complains []string
}

func (o *Observer) observe(event any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		o.asked = append(o.asked, e.Request.URL)
	case *log.EventEntryAdded: // violations of the policy are among these
		if e.Entry.Level == log.EntryLevelError {
			o.complains = append(o.complains, fmt.Sprintf("%s: %s", e.Entry.URL, e.Entry.Text))
		}
	case *runtime.EventExceptionThrown:
		o.complains = append(o.complains,
			(&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError {
			o.complains = append(o.complains, fmt.Sprintf("console.error: %v", e.Args))
		}
	}
}

// Requests returns the URLs that the tab asked for.
func (o *Observer) Requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

// Complaints returns errors of scripts, of the console, and of what the policy of a page refused.
func (o *Observer) Complaints() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.complains)
}
