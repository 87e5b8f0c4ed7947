package web_test

import (
	"html"
	"net/url"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

func TestTheOwnerOfAnAccountSetsUpAndTakesAwayWhatTheyLogInWith(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	b := a.b
	elsewhere := a.loggedInAs("alice")
	a.shows(b.get("/account"), 200, "with the password alone", `href="/account/security"`)
	a.shows(b.get("/account/security"), 200, "Set up an app", "Add a passkey")
	_, done := a.setUpApp(b, "alice") // the others stay: the box is not ticked
	a.shows(done, 200, "Keep these recovery codes", `name="next" value="/account/security"`)
	if len(codesIn(done)) != 10 || elsewhere.who() != "alice" || b.who() != "alice" {
		t.Errorf("codes %v, %q and %q are logged in", codesIn(done), elsewhere.who(), b.who())
	}
	_, done = a.addKey(b, "alice", "Blue key", "others", "yes")
	a.sent(done, "/account/security?notice=factor_added")
	if elsewhere.who() == "alice" || b.who() != "alice" {
		t.Error("the box was ticked, and other devices are not logged out")
	}
	page := b.get("/account/security?notice=factor_added")
	a.shows(page, 200, "has a second step.", "Blue key", "Left: 10", "Remove the app")
	a.shows(b.get("/account"), 200, "authenticator app", "Passkeys: 1", "codes left: 10")
	at := a.found(page, `href="(/account/security/passkey/[0-9a-f-]{36})"`)
	a.shows(b.get(at), 200, `value="Blue key"`)
	a.sent(b.post(at, "as", "alice", "name", "Red key"), "/account/security?notice=passkey_renamed")
	a.shows(b.get("/account/security"), 200, "Red key")
	a.sent(b.get("/account/security/app"), "/account/security") // there is one
	a.sent(b.post(at, "as", "alice", "choice", "remove"), "/account/security?notice=factor_removed")
	a.shows(b.get(at), 404)
	a.sent(b.post("/account/security/app", "as", "alice", "choice", "remove"),
		"/account/security?notice=factor_removed")
	if has := a.user("alice").Factors; has.Any() || has.RecoveryCodes != 0 || b.who() != "alice" {
		t.Errorf("%+v for %q", has, b.who())
	}
	a.shows(b.post("/account/security/app", "as", "alice", "choice", "remove"), 409, "changed elsewhere")
	a.shows(b.post("/account/security/codes", "as", "alice"), 409)
}

func TestASetUpThatFailsSaysWhyAndWhatToDoNext(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	b := a.b
	secret, sealed := a.scanned(b.get("/account/security/app"))
	wrong := b.post("/account/security/app", "as", "alice", "sealed", sealed, "factor", "000000",
		"others", "yes")
	a.shows(wrong, 400, "The code is not right", "checked")
	if same, _ := a.scanned(wrong); same.Text() != secret.Text() {
		t.Error("the secret is another one, and the app has the first")
	}
	late := b.post("/account/security/app", "as", "alice", "sealed", "x", "factor", "000000")
	a.shows(late, 400, "took too long")
	if other, _ := a.scanned(late); other.Text() == secret.Text() {
		t.Error("there is no other secret")
	}
	a.shows(b.post("/account/security/passkey", "as", "alice", "passkey", "{}", "name", "Key"), 400,
		"The passkey was not accepted", `value="Key"`)
	a.shows(b.post("/account/security/password", "as", "alice"), 409, "last way into your account")
	a.addKey(b, "alice", "One")
	again, _ := a.addKey(b, "alice", "Two")
	answer := again.makes(a.fixture, b.get("/account/security/options"))
	a.shows(b.post("/account/security/passkey", "as", "alice", "passkey", answer), 409, "belongs to an account")
	for path, form := range map[string][]string{
		"/account/security/devices":   {"device", "x"},
		"/account/security/passkey/x": {"name", "y"},
	} {
		if got := b.post(path, append(form, "as", "alice")...); got.status != 400 && got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

// Whoever has found a browser that is logged in, or has stolen its cookie, must not change how the
// owner logs in.
func TestWhoeverChangesHowTheyLogInProvesOnceMoreWhoTheyAre(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	b := a.b
	a.addKey(b, "alice", "One")
	one := a.found(b.get("/account/security"), `href="(/account/security/passkey/[0-9a-f-]{36})"`)
	a.stale()
	before := a.tables()
	for what, test := range map[string]struct {
		answer answered
		back   string
	}{
		"page for an app":    {b.get("/account/security/app"), "/account/security/app"},
		"page for a passkey": {b.get("/account/security/passkey"), "/account/security/passkey"},
		"app":                {b.post("/account/security/app", "as", "alice"), "/account/security/app"},
		"no app":             {b.post("/account/security/app", "as", "alice", "choice", "remove"), "/account/security/app"},
		"passkey":            {b.post("/account/security/passkey", "as", "alice", "passkey", "{}"), "/account/security/passkey"},
		"name of a passkey":  {b.post(one, "as", "alice", "name", "x"), "/account/security"},
		"no passkey":         {b.post(one, "as", "alice", "choice", "remove"), "/account/security"},
		"codes":              {b.post("/account/security/codes", "as", "alice"), "/account/security"},
		"devices":            {b.post("/account/security/devices", "as", "alice", "choice", "all"), "/account/security"},
		"no password":        {b.post("/account/security/password", "as", "alice"), "/account/security"},
	} {
		at, err := url.Parse(test.answer.location())
		if err != nil || test.answer.status != 303 || at.Path != "/login" ||
			at.Query().Get("next") != test.back || at.Query().Get("max_age") == "" ||
			at.Query().Get("acr") != "aal2" {
			t.Errorf("%s: %d to %q", what, test.answer.status, test.answer.location())
		}
	}
	if a.tables() != before {
		t.Error("something has changed")
	}
	asked := b.get(b.get("/account/security/app").location())
	a.shows(asked, 200, "Log in once more", `value="alice"`)
	if strings.Contains(asked.body, `value="current"`) {
		t.Error("a click would do")
	}
	next := html.UnescapeString(a.found(asked, `name="next" value="([^"]+)"`))
	second := b.login("alice", goodPassword, "next", next)
	if !strings.HasPrefix(second.location(), "/login/factor?") {
		t.Fatalf("%d to %q", second.status, second.location())
	}
}

func TestAFormOfThePageOfFactorsIsForWhomItWasShownTo(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	before := a.tables()
	tried := 0
	for _, r := range a.routes {
		if r.Method != "POST" || !strings.HasPrefix(r.Path, "/account/security") {
			continue
		}
		tried++
		path := strings.Replace(r.Path, ":id", "9f9bd7a5-4cb0-4ef7-9f5c-04bb1d7a0001", 1)
		for _, as := range []string{"bob", ""} {
			a.sent(a.b.post(path, "as", as, "choice", "all"), "/account?notice=other_user")
		}
		a.sent(a.browser().post(path, "as", "alice"), "/login?next=%2Faccount")
	}
	if a.tables() != before || tried < 7 {
		t.Errorf("something has changed by %d forms", tried)
	}
}

// The accounts of administrators are worth most to a thief.
func TestWhoeverManagesOthersIsOfferedASecondStepAndMayPutItOff(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	const offer = "Protect your account"
	if strings.Contains(a.b.get("/account").body, offer) {
		t.Error("it is offered to everybody")
	}
	root := a.loggedInAs("root")
	a.shows(root.get("/account"), 200, offer, "for 30 days")
	later := root.copied()
	put := later.post("/account/security/later", "as", "root")
	a.sent(put, "/account")
	if kept := put.cookies[0]; kept.MaxAge != 30*24*60*60 || !kept.HttpOnly {
		t.Errorf("it is put off by %v", kept)
	}
	if strings.Contains(later.get("/account").body, offer) {
		t.Error("it is not put off")
	}
	a.setUpApp(root, "root")
	if strings.Contains(root.get("/account").body, offer) {
		t.Error("it is offered to whoever has one")
	}
	off := startAudited(t, settings{options: authtest.Options{Factors: auth.FactorsNone}}, nil)
	root = off.loggedInAs("root")
	if strings.Contains(root.get("/account").body, offer) {
		t.Error("it is offered where there is none")
	}
	off.shows(root.get("/account/security/app"), 409, "no second step here")
	off.shows(root.get("/account/security/passkey"), 409, "no second step here")
	if page := root.get("/account/security"); page.status != 200 || strings.Contains(page.body, "Set up") {
		t.Errorf("%d %s", page.status, page.body)
	}
}

// From then on the account would ask for something that its owner has never seen.
func TestNoBrowserMakesAPasskeyOfItsOwnAccordForAnAccountWithThePasswordAlone(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	const offered = `data-passkey="offer"`
	for _, path := range []string{"/", "/account"} {
		if page := a.b.get(path); strings.Contains(page.body, offered) || strings.Contains(page.body, "<script") {
			t.Errorf("%s: %s", path, page.body)
		}
	}
	made := newKey()
	answer := made.makes(a.fixture, a.b.get("/account/security/offered"))
	a.shows(a.b.post("/account/security/offered", "as", "alice", "passkey", answer), 400)
	if has := a.user("alice").Factors; has.Any() {
		t.Fatalf("%+v", has)
	}
	secret, _ := a.setUpApp(a.b, "alice")
	b := a.browser()
	b.login("alice", goodPassword)
	a.sent(b.post("/login/factor", "factor", a.now(secret)), "/")
	cookie := b.session()
	for _, path := range []string{"/", "/account"} {
		a.shows(b.get(path), 200, offered)
	}
	answer = made.makes(a.fixture, b.get("/account/security/offered"))
	a.sent(b.post("/account/security/offered", "as", "alice", "passkey", answer), "/account/security?notice=factor_added")
	if has := a.user("alice").Factors; has.Passkeys != 1 || b.session() != cookie {
		t.Errorf("%+v, and a session has ended", has)
	}
	a.stale()
	if strings.Contains(b.get("/account").body, offered) {
		t.Error("the login was long ago")
	}
}

// Nobody could change or leave such an account by a password that it does not have.
func TestAnAccountWithoutAPasswordIsNotAskedForOne(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional}, nil)
	b := a.b
	one, _ := a.addKey(b, "alice", "One")
	a.addKey(b, "alice", "Two")
	a.shows(b.get("/account/security"), 200, "Remove the password")
	a.sent(b.post("/account/security/password", "as", "alice"), "/account/security?notice=password_removed")
	a.shows(b.get("/account/security"), 200, "has no password")
	a.shows(a.browser().login("alice", goodPassword), 401)
	for _, path := range []string{"/account", "/account/email", "/account/delete"} {
		if page := b.get(path); page.status != 200 || strings.Contains(page.body, `autocomplete="current-password"`) {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
	a.stale()
	for path, form := range map[string][]string{
		"/account/password": {"new_password", anotherPassword},
		"/account/email":    {"email", "alice@example.net"},
		"/account/delete":   nil,
	} {
		got := b.post(path, append(form, "as", "alice")...)
		if !strings.HasPrefix(got.location(), "/login?") || !strings.Contains(got.location(), "max_age") {
			t.Errorf("%s without a fresh proof: %d to %q", path, got.status, got.location())
		}
	}
	b.get("/login")
	a.sent(b.post("/login/passkey", "passkey", one.proves(a.fixture, b.get("/login/passkey"))), "/")
	challengeIn(t, b.post("/account/email", "as", "alice", "email", "alice@example.net").location())
	a.sent(b.post("/account/password", "as", "alice", "new_password", anotherPassword), "/account?notice=password_changed")
	if a.user("alice").Passwordless {
		t.Error("there is no password")
	}
	a.sent(a.browser().login("alice", anotherPassword), "/login/factor")
}
