package web_test

import (
	"encoding/json"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

func TestAPersonLeavesWithThePasswordAndIsToldSo(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	thief := b.copied()
	f.shows(b.get("/account/delete"), 200, `name="password"`, "alice", "This cannot be undone")
	for _, wrong := range []string{"guess", ""} {
		f.shows(b.post("/account/delete", "as", "alice", "password", wrong), 422, `name="password"`,
			`aria-invalid="true"`)
	}
	if who := b.who(); who != "alice" {
		t.Errorf("after a wrong password %q is logged in", who)
	}
	gone := b.post("/account/delete", "as", "alice", "password", goodPassword)
	f.sent(gone, "/?notice=deleted")
	if c := sessionCookieOf(gone); c == nil || c.MaxAge >= 0 || b.session() != "" {
		t.Errorf("the cookie stays: %v", c)
	}
	f.shows(b.get(gone.location()), 200, "Your account is deleted")
	f.sent(thief.get("/account"), "/login?next=%2Faccount")
	f.shows(b.login("alice", goodPassword), 401)
	f.shows(b.post("/register", "username", "alice", "password", goodPassword), 409)
}

// A page of another site must not delete the account of whoever looks at it, even if it has the
// password.
func TestNoOtherSiteDeletesAnAccount(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	for _, site := range []string{"cross-site", "same-site"} {
		other := b.copied()
		other.site = site
		f.shows(other.post("/account/delete", "as", "alice", "password", goodPassword), 403)
	}
	noted := b.copied()
	noted.site = "cross-site"
	if a := noted.get("/?notice=deleted"); strings.Contains(a.body, "is deleted") {
		t.Error("a link of another site makes the page say so")
	}
	if who := b.who(); who != "alice" {
		t.Errorf("%q is logged in", who)
	}
	f.sent(f.browser().post("/account/delete", "as", "alice", "password", goodPassword),
		"/login?next=%2Faccount")
}

func TestTheLastAdminIsToldWhyTheAccountStays(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	_, _, err := f.rules.Accounts.Register(t.Context(), authtest.Operator(), auth.NewAccount{
		Username: "root", Password: goodPassword, Roles: []string{auth.AdminRole},
	})
	must(t, err)
	b := f.loggedInAs("root")
	f.shows(b.post("/account/delete", "as", "root", "password", goodPassword), 409, `id="failure"`)
	if who := b.who(); who != "root" {
		t.Errorf("%q is logged in", who)
	}
}

func TestAPersonTakesTheDataAlong(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	b := f.loggedIn("alice")
	a := b.get("/account/data")
	f.shows(a, 200)
	var data struct {
		Account  struct{ Username string }
		Sessions []struct{ Current, Browser bool }
	}
	must(t, json.Unmarshal([]byte(a.body), &data))
	if data.Account.Username != "alice" || len(data.Sessions) != 1 || !data.Sessions[0].Current ||
		!data.Sessions[0].Browser {
		t.Errorf("%+v", data)
	}
	for name, want := range map[string]string{
		"Content-Disposition":          `attachment; filename="account-data.json"`,
		"Cache-Control":                "no-store",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	f.sent(f.browser().get("/account/data"), "/login?next=%2Faccount")
}
