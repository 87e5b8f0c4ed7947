package web_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestSomebodyRegistersLogsInAndIsAtHome(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.browser()
	f.shows(b.get("/"), 200, `href="/login"`, `href="/register"`)
	f.shows(b.get("/register"), 200, `name="username"`, `autocomplete="new-password"`)
	made := b.post("/register", "username", "Alice", "password", goodPassword)
	f.sent(made, "/login?notice=registered&username=Alice")
	f.shows(b.get(made.location()), 200, `value="Alice"`, "Your account is made")
	f.sent(b.login("alice", goodPassword), "/")
	if who := b.who(); who != "Alice" {
		t.Errorf("logged in as %q", who)
	}
	f.shows(b.get("/account"), 200, "Where you are logged in", "this one")
}

func TestALoginThatIsRefusedShowsTheFormWithoutThePassword(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.register("alice")
	b := f.browser()
	f.shows(b.login("alice", "wrong", "remember", "yes", "next", "/account"), 401,
		`value="alice"`, "checked", `name="next" value="/account"`, `role="alert"`)
	if len(b.cookies) != 0 {
		t.Errorf("a refused login gave %v", b.cookies)
	}
}

// A person who is logged in and follows an app's link must not have to type the password again.
func TestWhoeverIsLoggedInMayGoOnOrLogInAsSomebodyElse(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	f.register("bob")
	f.shows(b.get("/login?next=%2Faccount"), 200, "You are logged in as <strong>alice", `value="current"`)
	f.sent(b.post("/login", "choice", "current", "as", "alice", "next", "/account"), "/account")
	f.sent(f.browser().post("/login", "choice", "current", "as", "alice", "next", "/account"),
		"/login?next=%2Faccount")

	before := b.copied()
	f.sent(b.login("bob", goodPassword), "/")
	if who := b.who(); who != "bob" {
		t.Errorf("logged in as %q", who)
	}
	if who := before.who(); who != "" {
		t.Errorf("the session of %s goes on", who)
	}
}

// The next page must not need the password from a URL, where logs and the history keep it.
func TestAPasswordThatMustBeChangedIsChangedAtTheLogin(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	secret := f.demanded("alice")
	b := f.browser()
	asked := b.login("alice", secret, "remember", "yes", "next", "/account")
	f.sent(asked, "/login/password?next=%2Faccount&remember=yes&username=alice")
	if b.session() != "" {
		t.Error("a session although the password must be changed")
	}
	f.shows(b.get(asked.location()), 200, `value="alice"`, `name="remember" value="yes"`,
		`name="next" value="/account"`)
	form := func(current, next string) []string {
		return []string{"username", "alice", "current_password", current, "new_password", next,
			"remember", "yes", "next", "/account"}
	}
	f.shows(b.post("/login/password", form(secret, "short")...), 422, "too short", `value="alice"`)
	f.shows(b.post("/login/password", form(secret, secret)...), 422, "your current password")
	f.shows(b.post("/login/password", form("wrong", anotherPassword)...), 401, `id="failure"`)
	done := b.post("/login/password", form(secret, anotherPassword)...)
	f.sent(done, "/account")
	if c := sessionCookieOf(done); c == nil || c.MaxAge <= 0 {
		t.Errorf("whoever stays logged in got %v", c)
	}
	if who := b.who(); who != "alice" {
		t.Errorf("logged in as %q", who)
	}
}

// A cookie that stays would leave a session on a shared computer.
func TestOnlyWhoeverWantsToStayLoggedInKeepsTheCookie(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.register("alice")
	for remember, stays := range map[string]bool{"": false, "yes": true, "no": false} {
		c := sessionCookieOf(f.browser().login("alice", goodPassword, "remember", remember))
		if c == nil || (c.MaxAge > 0) != stays || !c.HttpOnly || c.Secure ||
			c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
			t.Errorf("remember %q: %v", remember, c)
		}
	}
}

func TestClosedRegistrationSaysSo(t *testing.T) {
	t.Parallel()
	f := start(t, settings{registrationClosed: true})
	b := f.browser()
	f.shows(b.get("/register"), 403, "Registration is closed")
	f.shows(b.post("/register", "username", "alice", "password", goodPassword), 403, "closed")
	for _, path := range []string{"/", "/login"} {
		if a := b.get(path); a.status != 200 || strings.Contains(a.body, "/register") {
			t.Errorf("%s links to the registration: %s", path, a.body)
		}
	}
}

// Each mistake is told at its field, in words that help.
func TestARegistrationThatIsRefusedSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.register("alice")
	for name, test := range map[string]struct {
		username, password, problem string
		status                      int
	}{
		"taken":            {"Alice", goodPassword, "is taken", 409},
		"no name":          {"", goodPassword, "Enter a username", 422},
		"a space":          {"a b", goodPassword, "no spaces", 422},
		"a long name":      {string(make([]byte, 65)), goodPassword, "username", 422},
		"reserved":         {"admin", goodPassword, "reserved", 422},
		"mixed":            {"pаypal", goodPassword, "scripts", 422},
		"a sign":           {"a&b", goodPassword, "only other signs", 422},
		"no password":      {"bob", "", "Enter a password", 422},
		"short":            {"bob", "qwx7zk", "at least 8", 422},
		"common":           {"bob", "password1", "most common", 422},
		"the name":         {"bobbobbob", "BobBobBob", "is the username", 422},
		"a control":        {"bob", "correct\x00horse battery", "cannot be used", 422},
		"name of another":  {"раураl", goodPassword, "username", 422},
		"both":             {"", "qwx7zk", "Enter a username", 422},
		"both, the second": {"", "qwx7zk", "at least 8", 422},
	} {
		a := f.browser().post("/register", "username", test.username, "password", test.password)
		if a.status != test.status || !strings.Contains(a.body, test.problem) ||
			!strings.Contains(a.body, `aria-invalid="true"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if test.password != "" && strings.Contains(a.body, test.password) {
			t.Errorf("%s: the password comes back", name)
		}
	}
}
