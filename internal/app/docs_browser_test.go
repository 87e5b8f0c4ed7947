//go:build browser

package app_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/target"
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
			return bootBelow(t, dbtest.New(t), "/auth", false).public
		},
		"below one that is stripped": func(t *testing.T) string {
			return bootBelow(t, dbtest.New(t), "/auth", true).public
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

// Where no password is exchanged for tokens, a person who reads the page has no other way in. They
// would be stopped by a login window that loses the page, by a URL without the path of the service,
// or by a redirect URI that is another one than the documents say.
func TestAuthorizeOnTheDocsPageLogsInAsAppsDo(t *testing.T) {
	t.Parallel()
	programs := t.TempDir()
	buildGatehouse(t, programs+"/gatehouse")
	const without = "--password-grant=off"
	for name, start := range map[string]func(t *testing.T, databaseURL string) *replica{
		"at the root": func(t *testing.T, databaseURL string) *replica {
			return bootAtIssuer(t, databaseURL)
		},
		"without the password grant": func(t *testing.T, databaseURL string) *replica {
			return bootAtIssuer(t, databaseURL, without)
		},
		"below a path": func(t *testing.T, databaseURL string) *replica {
			return bootBelow(t, databaseURL, "/auth", false, without)
		},
		"below one that is stripped": func(t *testing.T, databaseURL string) *replica {
			return bootBelow(t, databaseURL, "/auth", true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			service := start(t, databaseURL)
			service.want(201, service.do(service.registerRequest(exampleUsername, goodPassword)))
			registerDocs(t, programs, databaseURL, service.public)
			logsInAsAppsDo(t, service.public)
		})
	}
}

// registerDocs runs the command of the documents that registers the page as a client.
func registerDocs(t *testing.T, programs, databaseURL, issuer string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/getting-started.md")
	must(t, err)
	command := regexp.MustCompile(`(?ms)^gatehouse client add docs .*?[^\\]$`).FindString(string(page))
	if !strings.Contains(command, "http://localhost:8000/docs/") {
		t.Fatalf("the documents register no client for /docs: %q", command)
	}
	shell := exec.CommandContext(t.Context(), "bash", "-euc",
		strings.ReplaceAll(command, "http://localhost:8000", issuer))
	shell.Env = append(os.Environ(), "DATABASE_URL="+databaseURL,
		"PATH="+programs+":"+os.Getenv("PATH"))
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func logsInAsAppsDo(t *testing.T, service string) {
	t.Helper()
	browser, seen := browsertest.Open(t)
	const me = "#operations-users-readCurrentUser"
	do := func(ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%v\nthe browser says:\n%s", err, strings.Join(seen.Complaints(), "\n"))
		}
	}
	do(browser,
		chromedp.Navigate(service+"/docs"),
		chromedp.Click(chromedp.CSS(".auth-wrapper button.authorize")),
		chromedp.SendKeys(chromedp.ID("client_id_authorizationCode"), "docs"),
	)
	opened := chromedp.WaitNewTarget(browser, func(*target.Info) bool { return true })
	do(browser, chromedp.Click(chromedp.CSS(
		".auth-container:has(#client_id_authorizationCode) .auth-btn-wrapper button.authorize")))
	window, closeWindow := chromedp.NewContext(browser, chromedp.WithTargetID(<-opened))
	defer closeWindow()
	do(window,
		chromedp.SendKeys(chromedp.CSS("input[name=username]"), exampleUsername),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), goodPassword+"\r"),
	)
	do(browser,
		// Logout takes the button's place when there is a token.
		chromedp.WaitNotPresent(chromedp.ID("client_id_authorizationCode")),
		chromedp.Click(chromedp.CSS(".modal-ux .btn-done")),
		executeOperation(me),
	)
	status, body := answerOf(t, browser, me)
	if status != "200" || !strings.Contains(body, `"username": "`+exampleUsername+`"`) {
		t.Errorf("status %q: %s", status, body)
	}
	for _, complaint := range seen.Complaints() {
		t.Errorf("the browser says: %s", complaint)
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
