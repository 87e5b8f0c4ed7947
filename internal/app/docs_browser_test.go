//go:build browser

package app_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"gatehouse/internal/dbtest"
)

// The account of the contract's example, which the page offers for POST /users.
const (
	exampleUsername = "alice"
	examplePassword = "correct horse battery"
)

// A person who opens the page must get from nothing to their own account with the mouse. A policy that is too strict
// for Swagger UI, a token URL that it resolves elsewhere or a login that its client fails at would stop them.
func TestDocsPageLeadsFromRegistrationToTheOwnAccount(t *testing.T) {
	t.Parallel()
	browser, seen := openBrowser(t)
	service := boot(t, dbtest.New(t)).public

	const register, me = "#operations-users-registerUser", "#operations-users-readCurrentUser"
	err := chromedp.Do(browser,
		chromedp.Navigate(service+"/docs"),
		executeOperation(register),
		chromedp.Click(chromedp.CSS(".auth-wrapper button.authorize")),
		chromedp.SendKeys(chromedp.ID("oauth_username"), exampleUsername),
		chromedp.SendKeys(chromedp.ID("oauth_password"), examplePassword),
		chromedp.Click(chromedp.CSS(".modal-ux .auth-btn-wrapper button.authorize")),
		// Logout takes the button's place when there is a token.
		chromedp.WaitNotPresent(chromedp.ID("oauth_password")),
		chromedp.Click(chromedp.CSS(".modal-ux .btn-done")),
		executeOperation(me),
	)
	if err != nil {
		t.Fatalf("%v\nthe browser says:\n%s", err, strings.Join(seen.complaints(), "\n"))
	}
	for _, want := range []struct{ operation, status string }{{register, "201"}, {me, "200"}} {
		status, body := answerOf(t, browser, want.operation)
		if status != want.status {
			t.Errorf("%s: status %q, want %s; body: %s", want.operation, status, want.status, body)
		}
		if !strings.Contains(body, `"username": "`+exampleUsername+`"`) {
			t.Errorf("%s: no user %s in the answer shown: %s", want.operation, exampleUsername, body)
		}
	}
	for _, complaint := range seen.complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
	if requests := seen.requests(); len(requests) < 6 {
		t.Errorf("only %d requests were seen: %q", len(requests), requests)
	}
	for _, url := range seen.requests() {
		if !strings.HasPrefix(url, service+"/") && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asked for %s", url)
		}
	}
}

// openBrowser starts a headless Chromium until the test ends, with an observer of its one tab.
func openBrowser(t *testing.T) (context.Context, *observer) {
	t.Helper()
	guard, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // an element that never appears
	t.Cleanup(cancel)
	allocator, closeBrowser := chromedp.NewExecAllocator(guard, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findChromium(t)),
		chromedp.DisableGPU,
		// The sandbox refuses root and many containers, and protects from pages other than our own.
		chromedp.NoSandbox,
		chromedp.WindowSize(1200, 1600),
	)...)
	t.Cleanup(closeBrowser)
	browser, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	seen := &observer{}
	if err := chromedp.Listen(browser, seen.observe); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return browser, seen
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil || errors.Is(err, exec.ErrDot) {
			return path
		}
	}
	t.Fatal("this test needs Chromium on the PATH (Debian: apt-get install chromium); go test -short leaves it out")
	return ""
}

// executeOperation opens an operation of the page, sends its request as the page proposes it, and waits for the answer.
func executeOperation(operation string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.Click(chromedp.CSS(operation+" .opblock-summary button")),
		chromedp.Click(chromedp.CSS(operation+" .try-out__btn")),
		chromedp.Click(chromedp.CSS(operation+" .execute")),
		chromedp.WaitVisible(chromedp.CSS(operation+" .live-responses-table tbody .response-col_status")),
	)
}

// answerOf returns what the page shows of the answer to an operation.
func answerOf(t *testing.T, browser context.Context, operation string) (status, body string) {
	t.Helper()
	shown := operation + " .live-responses-table tbody "
	status, err := chromedp.Run(browser, chromedp.Text(chromedp.CSS(shown+".response-col_status")))
	if err != nil {
		t.Fatal(err)
	}
	body, err = chromedp.Run(browser, chromedp.Text(chromedp.CSS(shown+".response-col_description")))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(status), body
}

// observer keeps what a tab asks for and complains of.
type observer struct {
	mu        sync.Mutex
	asked     []string
	complains []string
}

func (o *observer) observe(event any) {
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
		o.complains = append(o.complains, (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError {
			o.complains = append(o.complains, fmt.Sprintf("console.error: %v", e.Args))
		}
	}
}

func (o *observer) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

func (o *observer) complaints() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.complains)
}
