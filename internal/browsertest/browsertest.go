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
