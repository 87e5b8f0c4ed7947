//go:build browser

package app_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/browsertest"
	"gatehouse.example/internal/dbtest"
)

// The account of the contract's example, which the page offers for POST /users.
const (
	exampleUsername = "alice"
	examplePassword = "correct horse battery"
)

// A person who opens the page must get from nothing to their own account with the mouse. They would
// be stopped by a policy that is too strict for Swagger UI, by a token URL that it resolves
// wrongly, or by a login at which its client fails.
func TestDocsPageLeadsFromRegistrationToTheOwnAccount(t *testing.T) {
	t.Parallel()
	for name, service := range map[string]func(t *testing.T) string{
		"at the root": func(t *testing.T) string {
			return boot(t, dbtest.New(t)).public
		},
		"below a path": func(t *testing.T) string {
			return bootBelow(t, "/auth", false).public
		},
		"below one that is stripped": func(t *testing.T) string {
			return bootBelow(t, "/auth", true).public
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leadsToTheOwnAccount(t, service(t))
		})
	}
}

func leadsToTheOwnAccount(t *testing.T, service string) {
	t.Helper()
	browser, seen := browsertest.Open(t)
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
		t.Fatalf("%v\nthe browser says:\n%s", err, strings.Join(seen.Complaints(), "\n"))
	}
	for _, want := range []struct{ operation, status string }{{register, "201"}, {me, "200"}} {
		status, body := answerOf(t, browser, want.operation)
		if status != want.status {
			t.Errorf("%s: status %q, want %s; body: %s", want.operation, status, want.status, body)
		}
		if !strings.Contains(body, `"username": "`+exampleUsername+`"`) {
			t.Errorf("%s: no user %s in the answer shown: %s", want.operation, exampleUsername,
				body)
		}
	}
	for _, complaint := range seen.Complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
	if requests := seen.Requests(); len(requests) < 6 {
		t.Errorf("only %d requests were seen: %q", len(requests), requests)
	}
	for _, url := range seen.Requests() {
		if !strings.HasPrefix(url, service+"/") && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asked for %s", url)
		}
	}
}

// executeOperation opens an operation of the page, sends the request that the page proposes, and
// waits for the answer.
func executeOperation(operation string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.Click(chromedp.CSS(operation+" .opblock-summary button")),
		chromedp.Click(chromedp.CSS(operation+" .try-out__btn")),
		chromedp.Click(chromedp.CSS(operation+" .execute")),
		chromedp.WaitVisible(
			chromedp.CSS(operation+" .live-responses-table tbody .response-col_status")),
	)
}

// answerOf returns what the page shows as the answer to an operation.
func answerOf(t *testing.T, browser context.Context, operation string) (status, body string) {
	t.Helper()
	shown := operation + " .live-responses-table tbody "
	status, err := chromedp.Run(browser, chromedp.Text(chromedp.CSS(shown+".response-col_status")))
	if err != nil {
		t.Fatal(err)
	}
	body, err = chromedp.Run(browser,
		chromedp.Text(chromedp.CSS(shown+".response-col_description")))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(status), body
}
