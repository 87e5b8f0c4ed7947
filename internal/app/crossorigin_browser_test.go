//go:build browser

package app_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/browsertest"
	"gatehouse.example/internal/dbtest"
)

// serveApp serves the single-page app on an origin of its own. It is another site than the
// service's, which is at 127.0.0.1.
func serveApp(t *testing.T) (origin string) {
	t.Helper()
	app := httptest.NewServer(http.FileServer(http.Dir("testdata/singlepage")))
	t.Cleanup(app.Close)
	return strings.Replace(app.URL, "127.0.0.1", "localhost", 1)
}

// A browser is the only one that heeds the headers of CORS, and so the only one that can tell
// whether they are right.
func TestAPageOfAnotherOriginLogsInWhereItIsListedAndReadsNothingElse(t *testing.T) {
	t.Parallel()
	app, other := serveApp(t), serveApp(t)
	service := boot(t, dbtest.New(t), "--cors-origins="+app)
	if a := service.do(service.registerRequest("alice", goodPassword)); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, test := range []struct{ name, origin, want string }{
		{"listed", app, `metadata: 200 true
metadata again: 200 true
wrong password: 401 invalid_grant Bearer
login: 200 true
login with cookies: TypeError
account: 200 alice true
refresh: 200
sessions: 200 2
revoke: 200
account, logged out: 401 Invalid authentication credentials
contract: TypeError
`},
		{"not listed", other, `metadata: 200 true
metadata again: 200 true
wrong password: TypeError
login: TypeError
login with cookies: TypeError
account: TypeError
refresh: TypeError
sessions: TypeError
revoke: TypeError
account, logged out: TypeError
contract: TypeError
`},
	} {
		browser, _ := browsertest.Open(t)
		if got := answersIn(t, browser, test.origin, service.public); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
		if cookies := cookiesIn(t, browser); len(cookies) > 0 {
			t.Errorf("%s: the browser keeps %v", test.name, cookies)
		}
	}
}

// answersIn opens the app in a browser, and returns what it shows at its end.
func answersIn(t *testing.T, browser context.Context, app, service string) string {
	t.Helper()
	if err := chromedp.Do(browser,
		chromedp.Navigate(app+"/?service="+url.QueryEscape(service)),
		chromedp.WaitVisible(chromedp.CSS("#answers.done")),
	); err != nil {
		t.Fatal(err)
	}
	shown, err := chromedp.Run(browser, chromedp.Text(chromedp.CSS("#answers")))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(shown) + "\n"
}

// cookiesIn returns the names of all cookies that a browser keeps.
func cookiesIn(t *testing.T, browser context.Context) (names []string) {
	t.Helper()
	if err := chromedp.Do(browser,
		chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			kept, err := cdp.Call(ctx, target, storage.GetCookies, storage.GetCookiesParams{})
			if err != nil {
				return err
			}
			for _, cookie := range kept.Cookies {
				names = append(names, cookie.Name)
			}
			return nil
		})); err != nil {
		t.Fatal(err)
	}
	return names
}

// Authorize must open at a form that works: one that asks for a password, while none is taken,
// sends people in circles.
func TestTheDocsPageAsksForNoPasswordWhereNoneIsTaken(t *testing.T) {
	t.Parallel()
	service := boot(t, dbtest.New(t), "--password-grant=off")
	browser, seen := browsertest.Open(t)
	if err := chromedp.Do(browser,
		chromedp.Navigate(service.public+"/docs"),
		chromedp.Click(chromedp.CSS(".auth-wrapper button.authorize")),
		chromedp.WaitVisible(chromedp.CSS(".modal-ux .auth-container")),
		chromedp.WaitVisible(chromedp.ID("client_id_authorizationCode")),
		chromedp.WaitNotPresent(chromedp.ID("oauth_password")),
	); err != nil {
		t.Fatalf("%v\nthe browser says:\n%s", err, strings.Join(seen.Complaints(), "\n"))
	}
}
