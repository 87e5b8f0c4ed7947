package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestAPersonGetsAPageForWhatIsMissingAndAProgramAProblem(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.shows(f.browser().get("/missing"), 404, "There is no such page", "Request ")
	f.shows(f.browser().do("HEAD", "/missing", ""), 404)
	r := f.request("GET", "/missing", "")
	r.Header.Set("Accept", "application/json")
	if a := f.do(r); a.status != 404 || a.header.Get("Content-Type") != "application/problem+json; charset=utf-8" {
		t.Errorf("%d %v", a.status, a.header)
	}
	r = f.request("GET", "/missing", "")
	r.Header.Set("Authorization", "Bearer x")
	if a := f.do(r); a.header.Get("Content-Type") != "application/problem+json; charset=utf-8" {
		t.Errorf("%v", a.header)
	}
}

func TestEveryPageAnswersHEADAndNoOtherMethod(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	for _, path := range []string{"/", "/login", "/login/password", "/register", "/account",
		"/account/security", "/login/"} {
		got, head := b.get(path), b.do("HEAD", path, "")
		if got.status != 200 || head.status != 200 || head.body != "" ||
			head.header.Get("Content-Security-Policy") != got.header.Get("Content-Security-Policy") {
			t.Errorf("%s: %d and %d", path, got.status, head.status)
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH"} {
			if a := f.do(f.request(method, path, "")); a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, a.status)
			}
		}
	}
}

func TestTheFilesOfThePagesAreKeptForEverAndRunNoScript(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.browser()
	page := b.get("/").body
	files := 0
	for _, part := range strings.Split(page, `"/assets/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		a := b.get("/assets/" + name)
		if a.status != 200 || !strings.Contains(a.header.Get("Cache-Control"), "immutable") ||
			!strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") ||
			!strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") || a.body == "" {
			t.Errorf("%s: %d %v", name, a.status, a.header)
		}
		b.header = http.Header{"If-None-Match": {a.header.Get("ETag")}}
		if again := b.get("/assets/" + name); again.status != http.StatusNotModified {
			t.Errorf("%s is sent again: %d", name, again.status)
		}
		b.header = nil
		files++
	}
	if files < 2 {
		t.Errorf("%d files: %s", files, page)
	}
	f.shows(b.get("/assets/style.css"), 404)
	f.shows(b.get("/assets/..%2f..%2fgo.mod"), 404)
}

// orders is an app that some queries of /authorize lead to.
type orders struct{}

func (orders) Destination(_ context.Context, query url.Values) (title, uri string, ok bool) {
	if query.Get("client_id") != "orders" {
		return "", "", false
	}
	return "Orders & more", query.Get("redirect_uri"), true
}

// Chromium would stop at the login what the page's policy does not name.
func TestALoginLeadsOnToTheAppAndThePolicyLetsItThrough(t *testing.T) {
	t.Parallel()
	const listed = " https://wiki.example.org" // to which an app may send its users on
	f := start(t, settings{destinations: orders{}, returnOrigins: []string{"https://wiki.example.org"}})
	f.register("alice")
	for name, test := range map[string]struct{ next, title, source, onward string }{
		"an app": {"/authorize?client_id=orders&redirect_uri=https%3A%2F%2Forders.example%2Fcb",
			"Orders &amp; more", "'self' https://orders.example" + listed, ""},
		"an app on a device": {"/authorize?client_id=orders&redirect_uri=com.example%3A%2Fcb",
			"Orders &amp; more", "'self' com.example:" + listed, ""},
		"an app on this machine": {
			"/authorize?client_id=orders&redirect_uri=http%3A%2F%2F127.0.0.1%3A51004%2Fcb",
			"Orders &amp; more", "'self' http://127.0.0.1:51004" + listed, ""},
		"no such app":  {"/authorize?client_id=x&redirect_uri=https%3A%2F%2Fx.example", "", "'self'", ""},
		"another site": {"https://wiki.example.org/a?b=c", "wiki.example.org", "'self' https://wiki.example.org", ""},
		"an evil site": {"https://evil.example/", "", "'self'", "/"},
		"the account":  {"/account", "", "'self'", ""},
		"nothing":      {"", "", "'self'", "/"},
	} {
		if test.onward == "" {
			test.onward = test.next
		}
		q := "?next=" + url.QueryEscape(test.next)
		for _, page := range []string{"/login", "/register", "/login/password"} {
			a := f.browser().get(page + q)
			f.shows(a, 200)
			want := policy(test.source)
			if page == "/login" {
				want += script
			}
			if got := a.header.Get("Content-Security-Policy"); got != want {
				t.Errorf("%s, %s: %s", name, page, got)
			}
			if page != "/login/password" && test.title != "" &&
				!strings.Contains(a.body, "<strong>"+test.title+"</strong>") {
				t.Errorf("%s, %s: the page does not say where it leads to: %s", name, page, a.body)
			}
		}
		b := f.browser()
		refused := b.login("alice", "wrong", "next", test.next)
		if got := refused.header.Get("Content-Security-Policy"); got != policy(test.source)+script {
			t.Errorf("%s, refused: %s", name, got)
		}
		f.sent(b.login("alice", goodPassword, "next", test.next), test.onward)
		f.sent(b.post("/login", "choice", "current", "as", "alice", "next", test.next), test.onward)
	}
}

func TestAnAppMaySuggestTheNameAndTheLanguageAndOpenAWindow(t *testing.T) {
	t.Parallel()
	f := start(t, settings{destinations: orders{}})
	at := func(query string) answered {
		return f.browser().get("/login?next=" + url.QueryEscape("/authorize?"+query))
	}
	f.shows(at("login_hint=alice%40example.org&ui_locales=de"), 200, `value="alice@example.org"`,
		`<html lang="de">`)
	f.shows(at("login_hint="+strings.Repeat("x", 300)), 200, `<html lang="en">`)
	if a := at("login_hint=" + strings.Repeat("x", 300)); strings.Contains(a.body, `value="x`) {
		t.Error("a hint that is too long for a name is shown")
	}
	// By Cross-Origin-Opener-Policy, the app would lose the window that it has opened.
	if got := at("display=popup").header.Get("Cross-Origin-Opener-Policy"); got != "" {
		t.Errorf("a popup has %q", got)
	}
	if got := at("display=page").header.Get("Cross-Origin-Opener-Policy"); got != "same-origin" {
		t.Errorf("a page has %q", got)
	}
}

// A click on "go on" would lead back to the same page, as the app demands a password.
func TestAnAppThatDemandsALoginIsNotAnsweredByAClick(t *testing.T) {
	t.Parallel()
	f, _ := shop(t, nil)
	b := f.loggedIn("alice")
	for query, offered := range map[string]bool{"login": false, "select_account": true} {
		asked := b.get(request("prompt", query))
		page := b.get(asked.location())
		f.shows(page, 200, "The &lt;Shop&gt;")
		if strings.Contains(page.body, `value="current"`) != offered {
			t.Errorf("prompt=%s: %s", query, page.body)
		}
		if !offered && !strings.Contains(page.body, `value="alice"`) {
			t.Errorf("prompt=%s: whoever is logged in has to type the name", query)
		}
	}
}

func TestLoginsOfBrowsersAreCountedAndLoggedAsThoseOfPrograms(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.register("alice")
	b := f.browser()
	b.login("alice", "wrong")
	b.login("alice", goodPassword)
	b.get("/account")
	for outcome, want := range map[string]float64{"wrong_password": 1, "success": 1} {
		if got := f.counted("gatehouse_logins_total", outcome); got != want {
			t.Errorf("%s: %v", outcome, got)
		}
	}
	var outcomes []any
	id := f.user("alice").ID.String()
	for line := range strings.Lines(f.log.String()) {
		var said map[string]any
		must(t, json.Unmarshal([]byte(line), &said))
		outcomes = append(outcomes, said["outcome"])
		if said["outcome"] == "success" && said["user_id"] != id {
			t.Errorf("%s does not say whose login it is", line)
		}
	}
	if !slices.Equal(outcomes, []any{"wrong_password", "success", "success"}) {
		t.Errorf("%v", outcomes)
	}
}

// counted returns the value of a counter by its first label.
func (f *fixture) counted(name, label string) float64 {
	f.Helper()
	families, err := f.metrics.Gather()
	must(f, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// Whoever logs in for the first time loads all of it, perhaps on a phone.
func TestTheLoginPageWithAllItsFilesIsSmall(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.browser()
	page := b.get("/login").body
	size := len(page)
	loaded := map[string]bool{}
	for _, part := range strings.Split(page, `"/assets/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if !loaded[name] {
			size += len(b.get("/assets/" + name).body)
		}
		loaded[name] = true
	}
	if size > 20_000 || len(loaded) != 3 {
		t.Errorf("%d bytes in %d files", size, 1+len(loaded))
	}
	t.Logf("%d bytes", size)
}
