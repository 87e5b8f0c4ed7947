//go:build browser

package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/browsertest"
	"gatehouse.example/internal/web"
)

// pictures is where the pages can be looked at after the test.
const pictures = "../../dist/pages"

// tab is a tab of Chromium that is used by the keyboard alone.
type tab struct {
	*testing.T
	ctx  context.Context
	seen *browsertest.Observer
}

func open(t *testing.T, more ...chromedp.ExecAllocatorOption) tab {
	t.Helper()
	ctx, seen := browsertest.Open(t, more...)
	b := tab{t, ctx, seen}
	t.Cleanup(func() {
		if t.Failed() {
			shown, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
			t.Logf("at %s the browser shows (%v):\n%s\nand says %s", b.location(), err, shown,
				strings.Join(seen.Complaints(), "\n"))
		}
	})
	return b
}

func (b tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatalf("%v\nat %s the browser says:\n%s", err, b.location(),
			strings.Join(b.seen.Complaints(), "\n"))
	}
}

func (b tab) location() string {
	at, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return at
}

// arrives waits until the tab shows a URL.
func (b tab) arrives(at string) {
	b.Helper()
	asynctest.Await(b, "the tab to be at "+at+" and not at "+b.location(), func() bool {
		ready, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`document.readyState == "complete"`))
		return err == nil && ready && b.location() == at
	})
}

// press types keys into whatever has the focus. Text is for a field. A page gives the focus to one
// when it is drawn, which may be after it has been loaded.
func (b tab) press(keys ...string) {
	b.Helper()
	for _, text := range keys {
		if len(text) > 1 {
			asynctest.Await(b, "a field to have the focus", func() bool {
				return b.focused("input")
			})
		}
		b.do(chromedp.KeyEvent(text))
	}
}

func (b tab) focused(selector string) bool {
	b.Helper()
	focused, err := chromedp.Run(b.ctx,
		chromedp.Evaluate[bool](`document.activeElement.matches("`+selector+`")`))
	if err != nil {
		b.Fatal(err)
	}
	return focused
}

// tabTo goes through what can have the focus, until that is an element.
func (b tab) tabTo(selector string) {
	b.Helper()
	for range 40 {
		b.press(kb.Tab)
		if b.focused(selector) {
			return
		}
	}
	b.Fatalf("no way by the keyboard to %s at %s", selector, b.location())
}

func (b tab) picture(name string) {
	b.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS("main"))) // before that, a page has no size
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(pictures, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(pictures, "journey-"+name+".png"), picture, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (b tab) hasNoComplaints() {
	b.Helper()
	for _, complaint := range b.seen.Complaints() {
		// A page with a status of 4xx is an error to the console, and right here.
		if !strings.Contains(complaint, "responded with a status of 4") {
			b.Errorf("the browser says: %s", complaint)
		}
	}
}

func (b tab) cookies() (shown string) {
	b.Helper()
	shown, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.cookie"))
	if err != nil {
		b.Fatal(err)
	}
	return shown
}

// Somebody who uses no mouse must get from nothing to their account, by pages whose policy a real
// browser enforces. Each time the first field that matters must have the focus.
func TestSomebodyUsesThePagesByTheKeyboardInChromium(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := open(t)
	b.do(chromedp.Navigate(f.url + "/"))
	b.picture("1-home")
	b.tabTo("a[href='/register']")
	b.press(kb.Enter)
	b.arrives(f.url + "/register")
	b.press("alice", kb.Tab, "short", kb.Enter)
	b.do(chromedp.WaitVisible(chromedp.CSS("#password-problem")))
	b.picture("2-register-refused")
	b.press(goodPassword, kb.Enter) // the field with the problem has the focus
	b.arrives(f.url + "/login?notice=registered&username=alice")
	b.picture("3-login")
	b.press("wrong", kb.Enter) // the name is there already
	b.do(chromedp.WaitVisible(chromedp.CSS("#failure")))
	b.picture("4-login-refused")
	b.press(goodPassword, kb.Enter)
	b.arrives(f.url + "/")
	if shown := b.cookies(); shown != "" {
		t.Errorf("a script sees %s", shown)
	}
	b.tabTo("a[href='/account']")
	f.loggedInAs("alice")
	b.press(kb.Enter)
	b.arrives(f.url + "/account")
	b.picture("5-account")
	b.tabTo("td.act button")
	b.press(kb.Enter)
	b.arrives(f.url + "/account?notice=session_ended")
	b.do(chromedp.WaitVisible(chromedp.CSS("[role=status]")))
	b.tabTo("#current_password")
	b.press(goodPassword, kb.Tab, anotherPassword, kb.Enter)
	b.arrives(f.url + "/account?notice=password_changed")
	b.do(chromedp.WaitVisible(chromedp.CSS("[role=status]")))
	b.picture("6-password-changed")
	b.tabTo("header form button") // from the last field around to the top
	b.press(kb.Enter)
	b.arrives(f.url + "/end-session")
	b.picture("6-logged-out")
	b.hasNoComplaints()
	if n := f.sessions("alice"); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// A browser tells this service less where it is strict with referrers, and where there is no TLS.
// Its own forms must still be known for what they are.
func TestTheFormsAreTakenHoweverTheServiceIsReachedInChromium(t *testing.T) {
	t.Parallel()
	mapped := []chromedp.ExecAllocatorOption{
		chromedp.IgnoreCertErrors, chromedp.Flag("host-resolver-rules", "MAP id.test 127.0.0.1"),
		chromedp.Flag("disable-features", "HttpsUpgrades,HttpsFirstBalancedMode"),
	}
	for name, test := range map[string]struct {
		settings settings
		host     string
	}{
		"on this machine":    {settings{}, "127.0.0.1"},
		"by TLS":             {settings{issuer: "https://id.test", tls: true}, "id.test"},
		"by TLS, below path": {settings{issuer: "https://id.test/auth", tls: true}, "id.test"},
		"by a name, plain":   {settings{issuer: "http://id.test:8000"}, "id.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, test.settings)
			f.register("alice")
			b := open(t, mapped...)
			service := strings.Replace(f.url, "127.0.0.1", test.host, 1)
			if strings.HasSuffix(f.issuer, "/auth") {
				service += "/auth"
			}
			b.do(chromedp.Navigate(service + "/login"))
			b.press("alice", kb.Tab, goodPassword, kb.Enter)
			b.arrives(service + "/")
			b.do(chromedp.WaitVisible(chromedp.CSS("a.button")), chromedp.Navigate(service+"/account"))
			b.tabTo("#current_password")
			b.press(goodPassword, kb.Tab, anotherPassword, kb.Enter)
			b.arrives(service + "/account?notice=password_changed")
			if n := f.sessions("alice"); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// What a browser makes of a URL is for the browser to say.
func TestNoTrickLeadsToAnotherSiteInChromium(t *testing.T) {
	t.Parallel()
	f := start(t, settings{returnOrigins: []string{"https://wiki.example.org"}})
	f.register("alice")
	b := open(t)
	b.do(chromedp.Navigate(f.url + "/login"))
	b.press("alice", kb.Tab, goodPassword, kb.Enter)
	b.arrives(f.url + "/")
	for _, trick := range []string{
		"//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, `/\/evil.example`,
		"/%2f/evil.example", "/..//evil.example", "/.//evil.example",
		"/authorize/../..//evil.example", "/authorize//evil.example", "/account/../../evil.example",
		"https:evil.example", "https:/evil.example", "https:///evil.example",
		"https://evil.example", "HTTPS://wiki.example.org@evil.example/",
		"https://wiki.example.org@evil.example/", "https://wiki.example.org.evil.example/",
		`https://wiki.example.org\@evil.example/`, "https://wiki.example.org%40evil.example",
		"https://wiki.example.org?@evil.example", "https://wiki.example.org#@evil.example",
		"https://wiki。example。org@evil.example", "javascript:document.title='run'",
		"java\tscript:document.title='run'", "data:text/html,evil", "\t//evil.example",
		"/\t/evil.example", "/\n/evil.example", " //evil.example", "\x00//evil.example",
		"/account\r\nLocation: https://evil.example", "blob:https://evil.example/x",
		"view-source:https://evil.example", "about:blank",
	} {
		b.do(chromedp.Navigate(f.url+"/login?next="+url.QueryEscape(trick)),
			chromedp.Click(chromedp.CSS("button[value=current]")))
		b.arrives(f.url + "/")
	}
	for _, requested := range b.seen.Requests() {
		if !strings.HasPrefix(requested, f.url+"/") {
			t.Errorf("the browser asked for %s", requested)
		}
	}
}

// nowhere knows no app, so that a page does not know where its form leads to.
type nowhere struct{}

func (nowhere) Destination(context.Context, url.Values) (title, uri string, ok bool) {
	return "", "", false
}

// appFor serves an app that logs its users in at a service.
func appFor(t *testing.T, login func(callback string) string) (at string) {
	t.Helper()
	pages := http.NewServeMux()
	app := httptest.NewServer(pages)
	t.Cleanup(app.Close)
	pages.HandleFunc("GET /cb", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<title>back</title><p id=referrer>" + r.Referer() +
			"</p><script>opener?.postMessage('told', '*')</script>"))
	})
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<title>app</title>
<button onclick="open('` + login(app.URL+"/cb") + `&display=popup', 'login', 'popup')">Log in</button>
<script>onmessage = m => document.title = m.data</script>`))
	})
	return app.URL
}

// addApp registers an app, with where it is called back at.
func (f *fixture) addApp(at string) {
	f.Helper()
	_, _, err := f.rules.Clients.Add(f.Context(), authtest.Operator(), auth.Client{
		ID: "shop", Title: "Orders", RedirectURIs: []string{at + "/cb"},
		GrantTypes: []string{auth.GrantAuthorizationCode},
	})
	must(f, err)
}

// backAt waits until the tab has brought a code to the app.
func (b tab) backAt(app string) {
	b.Helper()
	asynctest.Await(b, "the browser to be at the app and not at "+b.location(), func() bool {
		return strings.HasPrefix(b.location(), app+"/cb?code=")
	})
}

// The policy of a page also holds for the redirects that follow its form. A login must lead through
// /authorize to the app, and to no app that the page did not know of.
func TestALoginLeadsThroughRedirectsToTheAppInChromium(t *testing.T) {
	t.Parallel()
	for name, knows := range map[string]web.Destinations{"known": nil, "unknown": nowhere{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, settings{destinations: knows})
			f.register("alice")
			app := appFor(t, nil)
			f.addApp(app)
			b := open(t)
			b.do(chromedp.Navigate(f.url + request("redirect_uri", app+"/cb")))
			b.do(chromedp.WaitVisible(chromedp.ID("password")))
			b.picture("7-login-for-an-app-" + name)
			b.press("alice", kb.Tab, goodPassword, kb.Enter)
			if knows != nil {
				asynctest.Await(t, "the browser to refuse", func() bool {
					return strings.Contains(strings.Join(b.seen.Complaints(), " "), "form-action")
				})
				return
			}
			b.backAt(app)
			referrer, err := chromedp.Run(b.ctx, chromedp.TextContent(chromedp.ID("referrer")))
			if err != nil || referrer != "" {
				t.Errorf("the app is told that the browser came from %q, %v", referrer, err)
			}
			b.do(chromedp.Navigate(f.url + request("redirect_uri", app+"/cb", "prompt", "select_account")))
			b.do(chromedp.WaitVisible(chromedp.CSS("button[value=current]")))
			b.picture("8-already-logged-in")
			b.do(chromedp.Click(chromedp.CSS("button[value=current]")))
			b.backAt(app)
			b.hasNoComplaints()
		})
	}
}

// An app that has opened a window for the login must hear from it afterwards.
func TestAnAppHearsFromTheWindowOfItsLoginInChromium(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.register("alice")
	app := appFor(t, func(callback string) string { return f.url + request("redirect_uri", callback) })
	f.addApp(app)
	b := open(t)
	b.do(chromedp.Navigate(app + "/"))
	opened := chromedp.WaitNewTarget(b.ctx, func(i *target.Info) bool { return i.OpenerID != "" })
	b.do(chromedp.Click(chromedp.CSS("button")))
	ctx, closeWindow := chromedp.NewContext(b.ctx, chromedp.WithTargetID(<-opened))
	t.Cleanup(closeWindow)
	window := tab{t, ctx, b.seen}
	window.do(chromedp.WaitVisible(chromedp.ID("password")),
		chromedp.SendKeys(chromedp.ID("username"), "alice"),
		chromedp.SendKeys(chromedp.ID("password"), goodPassword+kb.Enter))
	asynctest.Await(t, "the app to hear of the login", func() bool {
		title, err := chromedp.Run(b.ctx, chromedp.Title())
		return err == nil && title == "told"
	})
}

// Somebody who presses the back button on a shared computer must not see the account of whoever has
// logged out there, whatever way the page was reached.
func TestTheBackButtonShowsNothingOfALoggedOutAccountInChromium(t *testing.T) {
	t.Parallel()
	for name, reach := range map[string]func(tab, *fixture){
		"by a login": func(b tab, f *fixture) {
			b.do(chromedp.Navigate(f.url + "/login?next=%2Faccount"))
			b.press("alice", kb.Tab, goodPassword, kb.Enter)
			b.arrives(f.url + "/account")
		},
		"by a change of the password": func(b tab, f *fixture) {
			b.do(chromedp.Navigate(f.url + "/login"))
			b.press("alice", kb.Tab, goodPassword, kb.Enter)
			b.arrives(f.url + "/")
			b.do(chromedp.Navigate(f.url + "/account"))
			b.tabTo("#current_password")
			b.press(goodPassword, kb.Tab, anotherPassword, kb.Enter)
			b.arrives(f.url + "/account?notice=password_changed")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, settings{})
			f.register("alice")
			b := open(t)
			reach(b, f)
			b.tabTo("header form button")
			b.press(kb.Enter)
			b.arrives(f.url + "/end-session")
			// Not NavigateBack, which waits for a page to load: one that was kept does not.
			b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
				_, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void]("history.back()"))
				return err
			}))
			b.arrives(f.url + "/login?next=%2Faccount")
		})
	}
}
