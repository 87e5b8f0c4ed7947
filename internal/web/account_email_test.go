package web_test

import (
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
)

func TestTheAccountShowsItsAddressAndChangesIt(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional}, nil)
	b := a.b
	a.shows(b.get("/account"), 200, "Your account has none", `href="/account/email"`)
	changes := func(address, pw string) answered {
		return b.post("/account/email", "as", "alice", "email", address, "current_password", pw)
	}
	if form := b.get("/account/email"); form.status != 200 || strings.Contains(form.body, "Remove") {
		t.Errorf("%d, there is nothing to be removed: %s", form.status, form.body)
	}
	a.shows(changes("", goodPassword), 422, `id="email-problem"`)
	a.shows(changes("alice", goodPassword), 422, `id="email-problem"`, `value="alice"`)
	a.shows(changes("alice@example.net", "guess"), 422, `id="current_password-problem"`)
	b.header.Set("Accept-Language", "de")
	done := changes("alice@example.net", goodPassword)
	b.header.Del("Accept-Language")
	var err error
	a.letter, err = a.rules.Mails.Prepare(t.Context(), challengeIn(t, done.location()))
	must(t, err)
	if a.letter.To != "alice@example.net" || a.letter.Language != "de" {
		t.Errorf("%+v", a.letter)
	}
	for _, path := range []string{"/account", "/account/email"} {
		a.shows(b.get(path), 200, "<strong>alice@example.net</strong> is not confirmed yet")
	}
	again := b.post("/account/email/mail", "as", "alice")
	a.shows(b.get(again.location()), 200, "Another mail is on its way", `name="as" value="alice"`)
	a.sent(b.post("/email/code", "challenge", a.letter.ID.String(), "code", a.letter.Code, "as", "alice"),
		"/account?notice=address_verified")
	a.shows(b.get("/account"), 200, "<strong>alice@example.net</strong> is confirmed")
	// One that waits beside it would tell that nobody else has it: of a known one, nothing waits.
	_, err = a.rules.Mails.Prepare(t.Context(), challengeIn(t,
		changes("alice@example.com", goodPassword).location()))
	must(t, err)
	if shown := b.get("/account"); strings.Contains(shown.body, "alice@example.com") {
		t.Errorf("the account shows what waits: %s", shown.body)
	}
	removes := func(pw string) answered {
		return b.post("/account/email", "as", "alice", "choice", "remove", "current_password", pw)
	}
	a.shows(removes("guess"), 422, `id="current_password-problem"`)
	a.shows(b.get("/account/email"), 200, "Remove the address", "is confirmed")
	a.sent(removes(goodPassword), "/account?notice=address_removed")
	a.shows(b.get("/account?notice=address_removed"), 200, "no e-mail address any more", "has none")
}

// In another tab somebody else may have logged in, whose address the form would change.
func TestAFormForAnAddressIsForWhomItWasShownTo(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional}, nil)
	before := a.tables()
	for path, form := range map[string][]string{
		"/account/email":      {"email", "bob@example.org", "current_password", goodPassword},
		"/account/email/mail": nil,
	} {
		for _, as := range []string{"bob", ""} {
			a.sent(a.b.post(path, append(form, "as", as)...), "/account?notice=other_user")
		}
		a.sent(a.browser().post(path, append(form, "as", "alice")...), "/login?next=%2Faccount")
	}
	if a.tables() != before {
		t.Error("something has changed")
	}
}

func TestWhereNoAccountIsWithoutAnAddressNoneIsRemoved(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailRequired}, nil)
	a.verify("alice", "now()")
	if form := a.b.get("/account/email"); form.status != 200 || strings.Contains(form.body, "Remove") {
		t.Errorf("%d: %s", form.status, form.body)
	}
	a.shows(a.b.post("/account/email", "as", "alice", "choice", "remove", "current_password",
		goodPassword), 409)
	if !a.user("alice").Email.Verified() {
		t.Error("it is gone")
	}
}

// Whoever waits for a mail that nothing sends would wait for ever.
func TestWithoutMailAnAddressIsShownAndNothingElse(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{mailOff: true}, nil)
	if shown := a.b.get("/account"); strings.Contains(shown.body, "-mail") {
		t.Errorf("there is something about mail: %s", shown.body)
	}
	for at, says := range map[string]string{"now()": "is confirmed", "NULL": "is not confirmed"} {
		a.verify("alice", at)
		shown := a.b.get("/account")
		a.shows(shown, 200, "alice@example.org", says)
		if strings.Contains(shown.body, "/account/email") {
			t.Errorf("the account offers a mail: %s", shown.body)
		}
	}
	for name, shown := range map[string]answered{
		"form": a.b.get("/account/email"), "mail": a.b.post("/account/email/mail", "as", "alice"),
		"change":  a.b.post("/account/email", "as", "alice", "current_password", goodPassword),
		"code":    a.b.get("/email/code/" + a.letter.ID.String()),
		"by code": a.b.post("/email/code", "password", goodPassword),
		"again":   a.b.post("/email/mail"),
	} {
		if shown.status != 404 {
			t.Errorf("%s: %d %s", name, shown.status, shown.body)
		}
	}
}
