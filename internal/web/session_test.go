package web_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// Whoever puts a cookie of their own into a browser must not share the session of the next login
// there, whoever that is.
func TestACookieFromBeforeALoginIsWorthNothingAfterIt(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	mallory := f.loggedIn("mallory")
	for _, username := range []string{"alice", "mallory"} {
		attacker := f.loggedInAs("mallory")
		victim := attacker.copied()
		f.sent(victim.login(username, goodPassword), "/")
		if who := attacker.who(); who != "" {
			t.Errorf("%s has logged in, and the cookie from before is that of %q", username, who)
		}
		if who := victim.who(); who != username {
			t.Errorf("%s is logged in as %q", username, who)
		}
	}
	if who := mallory.who(); who != "mallory" {
		t.Errorf("a session elsewhere is that of %q", who)
	}
}

func TestNothingButTheLastCookieOfALiveSessionIsTaken(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	good := b.session()
	grant, err := f.rules.Logins.Login(t.Context(), "alice", goodPassword, auth.Caller{})
	must(t, err)
	sibling, err := f.rules.Logins.LoginInBrowser(t.Context(), "alice", goodPassword, auth.Caller{},
		auth.BrowserLogin{})
	must(t, err)
	for name, cookies := range map[string]map[string]string{
		"none":                 {},
		"__Host-":              {"__Host-gatehouse": good},
		"__Secure-":            {"__Secure-gatehouse": good},
		"in capitals":          {"Gatehouse": good},
		"of a device":          {"gatehouse_device": good},
		"cut off":              {"gatehouse": good[:len(good)-1]},
		"with more":            {"gatehouse": good + "A"},
		"changed":              {"gatehouse": changed(good)},
		"an access token":      {"gatehouse": grant.AccessToken},
		"a refresh token":      {"gatehouse": grant.RefreshToken},
		"the sibling's cookie": {"gatehouse": sibling.Sibling},
		"empty":                {"gatehouse": ""},
		"endless":              {"gatehouse": strings.Repeat("x", 10000)},
	} {
		other := b.copied()
		other.cookies = cookies
		if who := other.who(); who != "" {
			t.Errorf("%s: logged in as %q", name, who)
		}
		if a := other.get("/account"); a.status != http.StatusSeeOther {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	r := f.request("GET", "/", "")
	r.Header.Set("Cookie", "gatehouse="+good+"; gatehouse="+good)
	if a := f.do(r); strings.Contains(a.body, "alice") {
		t.Error("of two cookies, one was taken")
	}
}

func changed(cookie string) string {
	last := cookie[len(cookie)-5]
	return cookie[:len(cookie)-5] + map[bool]string{true: "B", false: "A"}[last == 'A'] +
		cookie[len(cookie)-4:]
}

// Somebody who presses the back button on a shared computer must see nothing.
func TestAnEndedSessionShowsNothingMore(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for name, end := range map[string]func(*browser) error{
		"disabled": func(b *browser) error {
			_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName(b.who()), nil)
			return err
		},
		"deleted": func(b *browser) error {
			return f.rules.Accounts.Delete(t.Context(), authtest.Operator(), f.user(b.who()).ID)
		},
		"ended": func(b *browser) error {
			_, err := f.rules.Sessions.EndAllOf(t.Context(), authtest.Operator(), auth.ByName(b.who()))
			return err
		},
		"of another password": func(b *browser) error {
			thief := b.copied()
			f.sent(b.post("/account/password", "as", b.who(), "current_password", goodPassword,
				"new_password", anotherPassword), "/account?notice=password_changed")
			*b = *thief
			return nil
		},
	} {
		username := strings.ReplaceAll(name, " ", ".")
		b := f.loggedIn(username)
		must(t, end(b))
		if who := b.who(); who != "" {
			t.Errorf("%s: still logged in as %q", name, who)
		}
		f.sent(b.get("/account"), "/login?next=%2Faccount")
		for _, path := range []string{"/account/password", "/account/sessions"} {
			f.sent(b.post(path, "as", username, "current_password", goodPassword, "new_password",
				"a third password", "choice", "others"), "/login?next=%2Faccount")
		}
		f.shows(b.get("/login?next=%2Faccount"), 200, "Log in to see this page")
	}
}

// Both tabs of a browser share its cookie, whichever of them has changed it.
func TestTwoTabsGoOnWithOneSession(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	f.shows(b.get("/account"), 200) // the second tab
	f.sent(b.login("alice", goodPassword), "/")
	f.sent(b.post("/account/password", "as", "alice", "current_password", goodPassword, "new_password",
		anotherPassword), "/account?notice=password_changed")
	f.sent(b.post("/account/password", "as", "alice", "current_password", anotherPassword, "new_password",
		goodPassword), "/account?notice=password_changed")
	f.shows(b.get("/account?notice=password_changed"), 200, "The password is changed")
	f.shows(b.post("/account/password", "as", "alice", "current_password", anotherPassword, "new_password",
		goodPassword), 422, "not your current password")
	if n := f.sessions("alice"); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestSomebodySeesAndEndsTheirSessionsAndNobodyElses(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b, foreign := f.loggedIn("alice"), f.loggedIn("bob")
	phone, laptop, tablet := f.browser(), f.loggedInAs("alice"), f.loggedInAs("alice")
	phone.header = http.Header{"User-Agent": {"Mozilla/5.0 (iPhone) Version/19.0 Safari/604.1"}}
	f.sent(phone.login("alice", goodPassword), "/")
	f.shows(b.get("/account"), 200, "Safari on iPhone", "127.0.0.1", "this one")

	bobs := idsOf(foreign.get("/account").body)
	if len(bobs) != 0 {
		t.Fatalf("the session that sees the page can be ended there: %v", bobs)
	}
	listed := idsOf(b.get("/account").body)
	if len(listed) != 3 {
		t.Fatalf("the other sessions are %v", listed)
	}
	for _, id := range idsOf(phone.get("/account").body) {
		f.sent(foreign.post("/account/sessions", "as", "bob", "session", id), "/account")
	}
	if n := f.sessions("alice"); n != 4 {
		t.Errorf("bob has ended a session of alice: %d are left", n)
	}
	f.sent(b.post("/account/sessions", "as", "alice", "session", listed[0]), "/account?notice=session_ended")
	f.sent(b.post("/account/sessions", "as", "alice", "session", listed[0]), "/account")
	if n := f.sessions("alice"); n != 3 || phone.who() != "" {
		t.Errorf("%d sessions are left, and the newest is %q", n, phone.who())
	}
	f.sent(b.post("/account/sessions", "as", "alice", "choice", "others"), "/account?notice=others_ended")
	f.shows(b.get("/account?notice=others_ended"), 200, "All other devices are logged out")
	if laptop.who() != "" || tablet.who() != "" || b.who() != "alice" || foreign.who() != "bob" {
		t.Error("others than the others were logged out")
	}
}

// idsOf returns the sessions that a page offers to end.
func idsOf(page string) (ids []string) {
	for _, part := range strings.Split(page, `name="session" value="`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		ids = append(ids, id)
	}
	return ids
}

func TestTheSessionsGoOnOnTheNextPage(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.register("alice")
	for range 24 {
		_, err := f.rules.Logins.Login(t.Context(), "alice", goodPassword, auth.Caller{})
		must(t, err)
	}
	b := f.loggedInAs("alice")
	first := b.get("/account")
	_, rest, more := strings.Cut(first.body, `href="/account?after=`)
	after, _, _ := strings.Cut(rest, "#")
	second := b.get("/account?after=" + after)
	all := append(idsOf(first.body), idsOf(second.body)...)
	seen := map[string]bool{}
	for _, id := range all {
		seen[id] = true
	}
	if !more || len(all) != 24 || len(seen) != 24 || strings.Contains(second.body, "?after=") {
		t.Errorf("%d sessions, %d of them different", len(all), len(seen))
	}
	f.shows(second, 200, "Back to the first ones", "Log out all others")
}

// A link of another site could make the page say what did not happen.
func TestNoOtherSiteMakesAPageSayThatSomethingWasDone(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	for site, said := range map[string]bool{
		"same-origin": true, "": true, "cross-site": false, "same-site": false, "none": false,
	} {
		b.site = site
		a := b.get("/account?notice=password_changed")
		if strings.Contains(a.body, "The password is changed") != said {
			t.Errorf("%q: %s", site, a.body)
		}
	}
	b.site = "same-origin"
	for _, notice := range []string{"registered", "deleted", "x", "", "<script>"} {
		if a := b.get("/account?notice=" + notice); a.status != 200 ||
			strings.Contains(a.body, `role="status"`) {
			t.Errorf("%q: %d %s", notice, a.status, a.body)
		}
	}
}

// Below a path, the pages of another service on the same host must not get the cookie.
func TestBelowAPathTheCookieAndTheLinksAreOfThatPath(t *testing.T) {
	t.Parallel()
	f := start(t, settings{issuer: "https://id.test/auth"})
	f.register("alice")
	b := f.browser()
	a := b.post("/auth/login", "username", "alice", "password", goodPassword)
	f.sent(a, "/auth/")
	c := sessionCookieOf(a)
	if c == nil || c.Name != "__Secure-gatehouse" || c.Path != "/auth" || !c.Secure {
		t.Errorf("%v", c)
	}
	for _, path := range []string{"/auth", "/auth/", "/auth/account"} {
		f.shows(b.get(path), 200, "alice", `href="/auth/account"`)
	}
	f.sent(f.browser().get("/auth/account"), "/auth/login?next=%2Fauth%2Faccount")
	f.sent(b.post("/auth/login", "username", "alice", "password", goodPassword, "next", "/account"),
		"/auth/")
}

// A sibling cookie that stays behind would keep its user out of the apps at the next login, and one
// that is not renewed would be the cookie of an earlier login.
func TestTheSiblingCookieComesAndGoesWithTheSession(t *testing.T) {
	t.Parallel()
	f := start(t, settings{issuer: "http://id.example.org", cookieDomain: "example.org"})
	f.register("alice")
	b := f.browser()
	siblingOf := func(a answered) http.Cookie {
		for _, c := range a.cookies {
			if c.Name == "gatehouse-verify" {
				return *c
			}
		}
		t.Fatalf("no sibling cookie: %v", a.cookies)
		return http.Cookie{}
	}
	first := siblingOf(b.login("alice", goodPassword))
	second := siblingOf(b.login("alice", goodPassword, "remember", "yes"))
	changed := siblingOf(b.post("/account/password", "as", "alice", "current_password", goodPassword,
		"new_password", anotherPassword))
	cleared := siblingOf(b.post("/end-session", "as", "alice", "choice", "log_out"))
	if first.Value == second.Value || second.Value == changed.Value || first.MaxAge != 0 ||
		second.MaxAge <= 0 || changed.MaxAge <= 0 || cleared.MaxAge >= 0 || cleared.Value != "" {
		t.Errorf("%v, %v, %v, %v", first, second, changed, cleared)
	}
	for _, c := range []http.Cookie{first, second, changed, cleared} {
		if c.Domain != "example.org" || c.Path != "/" {
			t.Errorf("%v", c)
		}
	}
	if who := b.who(); who != "" {
		t.Errorf("%q is logged in", who)
	}
}

// Browsers keep pages for their back button, also those that must not be stored.
func TestALogoutMakesTheBrowserForgetItsPages(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	out := b.post("/end-session", "as", "alice", "choice", "log_out")
	f.sent(out, "/end-session")
	f.shows(b.get("/end-session"), 200, `<img src="/forget" alt="" hidden>`)
	for name, a := range map[string]answered{"the logout": out, "the page after it": b.get("/forget")} {
		if got := a.header.Get("Clear-Site-Data"); got != `"cache"` {
			t.Errorf("%s: Clear-Site-Data is %q", name, got)
		}
	}
	for _, site := range []string{"cross-site", "same-site", "none", ""} {
		b.site = site
		if got := b.get("/forget").header.Get("Clear-Site-Data"); got != "" {
			t.Errorf("%q: Clear-Site-Data is %q", site, got)
		}
	}
}

// appIn logs alice in to the shop through a browser.
func (b *browser) appIn(by auth.Client, scope string) auth.Grant {
	b.f.Helper()
	grant, err := b.f.rules.Tokens.Redeem(b.f.Context(), auth.CodeRedemption{
		Code: b.f.back(b.get(request("scope", scope))).Get("code"), RedirectURI: callback,
		Verifier: verifier,
	}, auth.Caller{Address: "203.0.113.5", Client: by})
	must(b.f, err)
	return grant
}

// An app's session on its own line would look like a device that the person does not know. One that
// goes on without the browser must not be hidden.
func TestAppsAreShownWithTheirBrowserAndAloneWhenItIsLoggedOut(t *testing.T) {
	t.Parallel()
	f, by := shop(t, nil)
	b, other := f.loggedIn("alice"), f.loggedInAs("alice")
	const offline = "openid offline_access"
	b.appIn(by, "openid")
	b.appIn(by, "openid")
	other.appIn(by, "openid")
	kept := other.appIn(by, offline)
	page := b.get("/account")
	f.shows(page, 200, "Apps: The &lt;Shop&gt;")
	if rows := idsOf(page.body); len(rows) != 1 || strings.Count(page.body, "The &lt;Shop&gt;") != 2 ||
		strings.Contains(page.body, "The &lt;Shop&gt; (app)") {
		t.Errorf("%d others are listed: %s", len(rows), page.body)
	}
	f.sent(b.post("/account/sessions", "as", "alice", "session", idsOf(page.body)[0]), "/account?notice=session_ended")
	page = b.get("/account")
	f.shows(page, 200, "The &lt;Shop&gt; (app)", "203.0.113.5")
	rows := idsOf(page.body)
	if len(rows) != 1 {
		t.Fatalf("%d others are listed: %s", len(rows), page.body)
	}
	f.sent(b.post("/account/sessions", "as", "alice", "session", rows[0]), "/account?notice=session_ended")
	if _, err := f.rules.Tokens.Refresh(t.Context(), kept.RefreshToken, auth.Caller{Client: by}); !errors.Is(err, auth.ErrSessionOver) {
		t.Errorf("the app goes on: %v", err)
	}
	f.sent(b.post("/account/sessions", "as", "alice", "choice", "others"), "/account?notice=others_ended")
	if page := b.get("/account"); strings.Contains(page.body, "The &lt;Shop&gt;") || b.who() != "alice" {
		t.Errorf("after the end of all others: %s", page.body)
	}
}

// An app with many sessions must not take the places of devices on a page.
func TestSessionsOfAppsTakeNoPlaceOnAPage(t *testing.T) {
	t.Parallel()
	f, by := shop(t, nil)
	b := f.loggedIn("alice")
	for range 19 {
		_, err := f.rules.Logins.Login(t.Context(), "alice", goodPassword, auth.Caller{})
		must(t, err)
	}
	for range 12 {
		b.appIn(by, "openid")
	}
	page := b.get("/account")
	if rows := idsOf(page.body); len(rows) != 19 || strings.Contains(page.body, "?after=") {
		t.Errorf("%d others are listed, and more: %t", len(rows), strings.Contains(page.body, "?after="))
	}
}
