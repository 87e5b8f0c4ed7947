//go:build browser

package app_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/browsertest"
	"gatehouse.example/internal/dbtest"
)

// bakery is a service, and an app behind a proxy on another host of the same domain.
type bakery struct {
	*testing.T
	id, wiki    string // their URLs
	databaseURL string
	app         *recorder
	browser     context.Context
	seen        *browsertest.Observer
}

// openBakery starts all of it. Browsers know every name below localhost as this machine.
func openBakery(t *testing.T, proxy proxyProgram) *bakery {
	t.Helper()
	proxy.find(t)
	gatehouse, public := dbtest.FreeAddr(t), dbtest.FreeAddr(t)
	onHost := func(host, address string) string {
		return "http://" + host + address[strings.LastIndexByte(address, ':'):]
	}
	b := &bakery{
		T: t, id: onHost("id.bakery.localhost", gatehouse), databaseURL: dbtest.New(t),
		wiki: onHost("wiki.bakery.localhost", public),
	}
	service := boot(t, b.databaseURL, "--listen-addr="+gatehouse, "--issuer="+b.id,
		"--return-origins="+b.wiki, "--cookie-domain=bakery.localhost",
		"--trusted-proxies=127.0.0.1")
	for _, username := range []string{"alice", "bob"} {
		service.want(http.StatusCreated, service.do(service.registerRequest(username, goodPassword)))
	}
	b.app = record(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><title>Wiki</title><link rel="icon" href="data:,">
			<p id="user">%s</p><p id="uri">%s</p>`,
			html.EscapeString(r.Header.Get("Remote-User")), html.EscapeString(r.RequestURI))
	}))
	startProxyProgram(t, proxy, public, b.app.address(), gatehouse)
	b.browser, b.seen = browsertest.Open(t)
	return b
}

func (b *bakery) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.browser, actions...); err != nil {
		b.Fatalf("%v\nthe browser says:\n%s", err, strings.Join(b.seen.Complaints(), "\n"))
	}
}

func (b *bakery) text(selector string) string {
	b.Helper()
	shown, err := chromedp.Run(b.browser, chromedp.Text(chromedp.CSS(selector)))
	must(b, err)
	return strings.TrimSpace(shown)
}

// opens opens a page of the app, from which the browser must get to the login.
func (b *bakery) opens(uri string) {
	b.Helper()
	b.do(chromedp.Navigate(b.wiki+uri), chromedp.WaitVisible(chromedp.CSS("input[name=password]")))
	at, err := chromedp.Run(b.browser, chromedp.Location())
	must(b, err)
	if want := b.id + "/login?next=" + url.QueryEscape(b.wiki+uri); at != want {
		b.Errorf("the browser is at %s, want %s", at, want)
	}
}

// logsIn fills the login in, and must get to the page of the app that was asked for.
func (b *bakery) logsIn(username, uri string) {
	b.Helper()
	b.do(
		chromedp.SendKeys(chromedp.CSS("input[name=username]"), username),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), goodPassword),
		chromedp.Click(chromedp.CSS("form:has(input[name=password]) button")),
		chromedp.WaitVisible(chromedp.CSS("#user")),
	)
	at, err := chromedp.Run(b.browser, chromedp.Location())
	must(b, err)
	if user, got := b.text("#user"), b.text("#uri"); at != b.wiki+uri || user != username ||
		got != uri {
		b.Errorf("at %s, the app takes the reader for %q, and shows %s", at, user, got)
	}
}

// A person must get from an app that knows nothing of Gatehouse to the login and back, and out
// again when the session ends, whoever ends it.
func TestBrowsersGoFromAProxyToTheLoginAndBackInChromium(t *testing.T) {
	t.Parallel()
	for _, proxy := range proxyPrograms() {
		t.Run(proxy.name, func(t *testing.T) {
			t.Parallel()
			b := openBakery(t, proxy)
			const uri = "/cart?a=b&c=%20d"
			b.opens(uri)
			b.logsIn("alice", uri)
			b.do(chromedp.Navigate(b.wiki+"/other"), chromedp.WaitVisible(chromedp.CSS("#user")))
			for _, got := range b.app.take() {
				if cookies := got.header.Get("Cookie"); cookies != "" {
					t.Errorf("the app got the cookies %q", cookies)
				}
			}

			b.do(chromedp.Navigate(b.id+"/"),
				chromedp.Click(chromedp.CSS("form[action='/end-session'] button")),
				chromedp.WaitVisible(chromedp.CSS("a.button[href='/login']")))
			b.opens("/")
			b.logsIn("bob", "/")

			_, err := openAdmin(t, b.databaseURL).Accounts.Disable(t.Context(), authtest.Operator(),
				auth.ByName("bob"), nil)
			must(t, err)
			asynctest.Await(t, "the ban", func() bool {
				b.do(chromedp.Navigate(b.wiki+"/after"),
					chromedp.WaitVisible(chromedp.CSS("#user, input[name=password]")))
				at, err := chromedp.Run(b.browser, chromedp.Location())
				must(t, err)
				return strings.HasPrefix(at, b.id+"/login?next=")
			})
			b.opens("/after")
			if complaints := b.seen.Complaints(); len(complaints) > 0 {
				t.Errorf("the browser says: %q", complaints)
			}
		})
	}
}
