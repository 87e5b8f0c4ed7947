package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// foreign are the ways in which a form of another site says that it is one.
func foreign() map[string]http.Header {
	return map[string]http.Header{
		"cross-site":   {"Sec-Fetch-Site": {"cross-site"}},
		"same-site":    {"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://evil.localhost:8000"}},
		"an origin":    {"Origin": {"https://evil.example"}},
		"no origin":    {"Origin": {"null"}},
		"another port": {"Origin": {"http://localhost:8001"}},
		"both":         {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"null"}},
	}
}

// A page of another site could otherwise change the password of whoever is logged in, end their
// sessions, or log them in to an account of its own, where they leave their data.
func TestNoFormOfAnotherSiteIsTaken(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	f.loggedInAs("alice")
	f.register("mallory")
	forms := f.forms()
	if len(forms) < 5 {
		t.Fatalf("only the forms %v", forms)
	}
	for way, header := range foreign() {
		for _, path := range forms {
			b.site, b.header = "", header
			a := b.post(path, "username", "mallory", "password", goodPassword,
				"current_password", goodPassword, "new_password", anotherPassword,
				"choice", "others")
			if path == "/authorize" || path == "/end-session" { // of apps too: sent on by GET
				if a.status != http.StatusSeeOther || len(a.cookies) != 0 {
					t.Errorf("%s, %s: %d, cookies %v", path, way, a.status, a.cookies)
				}
				continue
			}
			if a.status != http.StatusForbidden || !strings.Contains(a.body, "was not accepted") ||
				len(a.cookies) != 0 {
				t.Errorf("%s, %s: %d, cookies %v: %s", path, way, a.status, a.cookies, a.body)
			}
		}
	}
	b.site, b.header = "same-origin", nil
	if who := b.who(); who != "alice" {
		t.Errorf("logged in as %q", who)
	}
	if n := f.sessions("alice"); n != 2 {
		t.Errorf("%d sessions are left", n)
	}
	f.loggedInAs("alice") // by the password of before
}

// In the tab of somebody who has left, the buttons are of the account that was shown there. They
// must not act on the account of whoever has logged in since.
func TestAFormOfAnotherUsersTabDoesNothing(t *testing.T) {
	t.Parallel()
	f, _ := shop(t, asking)
	b := f.loggedIn("alice")
	for _, path := range []string{
		"/", "/account", "/account/delete", "/end-session", "/login", request(), "/account/security",
		"/account/security/app", "/account/security/passkey",
	} {
		page := b.get(path).body
		forms, named := strings.Count(page, "<form"), strings.Count(page, `name="as" value="alice"`)
		if path == "/login" { // two of its forms say by a name or a passkey whom they mean
			forms -= 2
		}
		if forms == 0 || named != forms {
			t.Errorf("%s: %d of %d forms say whose they are: %s", path, named, forms, page)
		}
	}
	f.register("bob")
	elsewhere := f.loggedInAs("bob")
	f.sent(b.login("bob", goodPassword), "/")
	for name, as := range map[string][]string{"alice's": {"as", "alice"}, "nobody's": nil} {
		for path, form := range map[string][]string{
			"/account/sessions": {"choice", "others", "to", "/account?notice=other_user"},
			"/account/apps":     {"client", "shop", "to", "/account?notice=other_user"},
			"/account/password": {"current_password", goodPassword, "new_password", anotherPassword,
				"to", "/account?notice=other_user"},
			"/account/delete": {"password", goodPassword, "to", "/account?notice=other_user"},
			"/end-session":    {"choice", "log_out", "to", "/end-session"},
			"/consent":        {"choice", "allow", "next", request(), "to", request()},
			"/login":          {"choice", "current", "next", "/account", "to", "/login?next=%2Faccount"},
		} {
			if a := b.post(path, append(form, as...)...); a.location() != form[len(form)-1] ||
				len(a.cookies) != 0 {
				t.Errorf("%s, %s: %d to %q, cookies %v", path, name, a.status, a.location(), a.cookies)
			}
		}
	}
	f.shows(b.get("/account?notice=other_user"), 200, "Somebody else has logged in here")
	if b.who() != "bob" || elsewhere.who() != "bob" {
		t.Error("a session of bob has ended")
	}
	f.loggedInAs("bob") // by the password of before
}

// The form of a demanded password says by name and password whose it is.
func TestADemandedPasswordIsThatOfTheNameInTheFormWhoeverIsLoggedIn(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	secret := f.demanded("alice")
	b := f.loggedIn("bob")
	f.shows(b.post("/login/password", "username", "alice", "current_password", goodPassword,
		"new_password", anotherPassword), 401)
	if who := b.who(); who != "bob" {
		t.Errorf("%q is logged in", who)
	}
	f.sent(b.post("/login/password", "username", "alice", "current_password", secret,
		"new_password", anotherPassword), "/")
	if who := b.who(); who != "alice" {
		t.Errorf("%q is logged in", who)
	}
	f.loggedInAs("bob") // by the password of before
}

// A proxy may change the Host, and older browsers say nothing but the origin.
func TestTheFormsOfThesePagesAreTaken(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.register("alice")
	for way, header := range map[string]http.Header{
		"same-origin":        {"Sec-Fetch-Site": {"same-origin"}, "Origin": {"null"}},
		"typed by the user":  {"Sec-Fetch-Site": {"none"}},
		"the issuer":         {"Origin": {"http://localhost:8000"}},
		"the address itself": {"Origin": {f.url}},
		"a program":          {},
	} {
		b := f.browser()
		b.site, b.header = "", header
		if a := b.login("alice", goodPassword); a.status != http.StatusSeeOther {
			t.Errorf("%s: %d %s", way, a.status, a.body)
		}
	}
}

// A form that is malformed must not reach the rules, nor crash the page.
func TestAbuseOfAFormIsAMistakeAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	for _, path := range f.forms() {
		for name, test := range map[string]struct {
			body   string
			status int
		}{
			"twice":       {"username=alice&username=bob", 400},
			"bad UTF-8":   {"username=%ff", 400},
			"bad escape":  {"username=%zz", 400},
			"too much":    {"username=" + strings.Repeat("x", 64<<10), 413},
			"a semicolon": {"username=alice;password=x", 400},
		} {
			if a := b.do("POST", path, test.body); a.status != test.status {
				t.Errorf("%s, %s: %d", path, name, a.status)
			}
		}
		r := f.request("POST", path, `{"username":"alice"}`)
		r.Header.Set("Content-Type", "application/json")
		if a := f.do(r); a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%s, JSON: %d", path, a.status)
		}
	}
	for _, id := range []string{"", "x", "' OR 1=1--", strings.Repeat("x", 5000)} {
		f.shows(b.post("/account/sessions", "as", "alice", "session", id), 400)
		f.sent(b.post("/account/apps", "as", "alice", "client", id), "/account")
	}
	for _, after := range []string{"", "x", "%00", "%27", "ffffffff-ffff-ffff-ffff-fffffffffff"} {
		f.shows(b.get("/account?after="+after), 404)
	}
	if who := b.who(); who != "alice" {
		t.Errorf("logged in as %q", who)
	}
}

// Whoever reads a page at another site's bidding must find it framed by nobody, cached by nobody,
// and without a way for a script to run.
func TestEveryPageProtectsItself(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	scripts := map[string]string{"login": script, "refused": script}
	for name, a := range map[string]answered{
		"home": b.get("/"), "login": b.get("/login"), "account": b.get("/account"),
		"register": b.get("/register"), "password": b.get("/login/password"),
		"missing": b.get("/missing"), "missing asset": b.get("/assets/missing.css"),
		"refused": b.login("alice", "wrong"), "mistake": b.post("/register", "username", ""),
		"no form":        b.do("POST", "/login", "%zz"),
		"wrong password": b.post("/account/password", "as", "alice", "current_password", "x", "new_password", "y"),
	} {
		for header, want := range map[string]string{
			"Content-Security-Policy":      policy("'self'") + scripts[name],
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "same-origin",
			"Cache-Control":                "no-store",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"X-Content-Type-Options":       "nosniff",
			"Content-Type":                 "text/html; charset=utf-8",
		} {
			if got := a.header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
	}
	f = start(t, settings{issuer: "https://id.test"})
	if got := f.browser().get("/").header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("with TLS, Referrer-Policy is %q", got)
	}
}

// script is what the policy of a page for passkeys has more.
const script = "; script-src 'self'; connect-src 'self'"

func policy(formAction string) string {
	return "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; " +
		"frame-ancestors 'none'; form-action " + formAction
}

// forms are the paths that take forms.
func (f *fixture) forms() (paths []string) {
	f.Helper()
	for _, r := range f.routes {
		if r.Method == http.MethodPost {
			paths = append(paths, r.Path)
		}
	}
	return paths
}

// sessions counts the sessions of a user.
func (f *fixture) sessions(username string) int {
	f.Helper()
	reach := auth.Reach{UserID: f.user(username).ID, AllClients: true}
	all, err := f.rules.Sessions.List(f.Context(), reach, uuid.Max, 100)
	must(f, err)
	return len(all)
}
