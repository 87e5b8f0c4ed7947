//go:build browser

package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/browsertest"
)

// One proxy may log users in for many apps, and sends them on from its callback to the app that
// they came from. Chromium holds the policy of the login page against that redirect as well.
func TestAnAppMaySendItsUsersOnToAListedOriginInChromium(t *testing.T) {
	t.Parallel()
	wiki := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "the wiki")
	}))
	t.Cleanup(wiki.Close)
	r, databaseURL := bootIssuer(t, "--return-origins="+wiki.URL)
	r.want(http.StatusCreated, r.do(r.registerRequest("alice", goodPassword)))
	proxy := httptest.NewServer(http.RedirectHandler(wiki.URL+"/page", http.StatusFound))
	t.Cleanup(proxy.Close)
	_, _, err := adminOf(t, databaseURL).Clients.Add(t.Context(), authtest.Operator(), auth.Client{
		ID: "proxy", Title: "The wiki", RedirectURIs: []string{proxy.URL + "/callback"},
	})
	must(t, err)
	ctx, seen := browsertest.Open(t)
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.public+"/authorize?response_type=code&client_id=proxy&scope=openid"+
			"&code_challenge_method=S256&code_challenge="+strings.Repeat("a", 43)+
			"&redirect_uri="+proxy.URL+"/callback"),
		chromedp.SendKeys(chromedp.CSS("input[name=username]"), "alice"),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), goodPassword+"\r")))
	asynctest.Await(t, "the wiki", func() bool {
		at, err := chromedp.Run(ctx, chromedp.Location())
		if len(seen.Complaints()) > 0 {
			t.Fatalf("at %s: %s", at, seen.Complaints())
		}
		return err == nil && at == wiki.URL+"/page"
	})
}
