package web_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/ratelimit"
)

// changing lets alice, who has a verified address, have the mail for another one.
func (a *audited) changing() {
	a.Helper()
	a.verify("alice", "now()")
	grant, err := a.rules.Logins.Login(a.Context(), "alice", goodPassword, auth.Caller{})
	must(a, err)
	access, err := a.rules.Access.Authenticate(grant.AccessToken)
	must(a, err)
	challenge, err := a.rules.Addresses.Change(a.Context(), access, "alice@example.net", goodPassword, "en")
	must(a, err)
	a.letter, err = a.rules.Mails.Prepare(a.Context(), challenge)
	must(a, err)
}

// verifies sends the form behind the mail's link.
func (a *audited) verifies() answered {
	a.Helper()
	return a.b.post(a.link(), "password", goodPassword)
}

// undoable lets alice have the mail that undoes the change of her address.
func (a *audited) undoable() {
	a.Helper()
	a.changing()
	a.sent(a.verifies(), "/login?notice=address_verified")
	var id uuid.UUID
	found, err := a.rules.MailLog.Last(a.Context(), authtest.Operator(), auth.ByName("alice"), 1)
	must(a, err)
	id = found[0].ID
	a.letter, err = a.rules.Mails.Prepare(a.Context(), id)
	must(a, err)
}

func (a *audited) undoes() answered {
	a.Helper()
	return a.b.post(a.link())
}

func TestALinkOfAnAddressWantsTheAccountBesideTheMailbox(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.changing()
	alice, stranger := a.b, a.browser()
	before := a.tables()
	for range 3 {
		for _, method := range []string{"GET", "HEAD"} {
			shown := stranger.do(method, a.link(), "")
			if shown.status != 200 || len(shown.cookies) != 0 {
				t.Errorf("%s: %d, %v", method, shown.status, shown.cookies)
			}
		}
	}
	if a.tables() != before {
		t.Error("a look has changed something")
	}
	a.shows(stranger.get(a.link()), 200, `autocomplete="current-password"`, "close the page")
	a.shows(stranger.post(a.link()), 403, `id="password-problem"`)
	a.shows(stranger.post(a.link(), "as", "alice"), 403, `id="password-problem"`)
	a.shows(stranger.post(a.link(), "password", "guess"), 422, `id="password-problem"`)
	a.register("mallory")
	a.sent(stranger.login("mallory", goodPassword), "/")
	a.shows(stranger.get(a.link()), 200, `autocomplete="current-password"`)
	a.shows(stranger.post(a.link(), "as", "mallory"), 403, `id="password-problem"`)
	a.shows(alice.get(a.link()), 200, `name="as" value="alice"`)
	a.sent(alice.post(a.link(), "as", "alice"), "/account?notice=address_verified")
	if alice.who() != "alice" {
		t.Error("the session that has verified the address has ended")
	}
	a.shows(alice.get(a.link()), 400, "not good any more")
	a.shows(alice.post(a.link(), "as", "alice"), 400, "not good any more")
}

func TestALinkTakesTheAddressBackAndLeadsToAnotherPassword(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	thief := a.b
	a.undoable()
	a.b = a.browser()
	a.shows(a.b.get(a.link()), 200, "Take it back")
	a.sent(a.undoes(), "/login?notice=address_restored")
	a.shows(a.b.get("/login?notice=address_restored"), 200, "old e-mail address again", `href="/password/forgot"`)
	if thief.who() == "alice" {
		t.Error("a session from before goes on")
	}
	a.shows(a.b.login("alice", goodPassword), 401)
	a.shows(a.undoes(), 400, "not good any more")
}

func TestAStrangerRegistersWithAnAddressAndOpensTheLink(t *testing.T) {
	t.Parallel()
	for mode, fields := range map[auth.EmailMode][]string{
		auth.EmailOptional: {"username", "carol", "email", "carol@example.org"},
		auth.EmailRequired: {"email", "carol@example.org"},
	} {
		a := startAudited(t, settings{email: mode}, nil)
		b := a.browser()
		form := b.get("/register")
		a.shows(form, 200, `name="email"`)
		if strings.Contains(form.body, `name="username"`) == (mode == auth.EmailRequired) {
			t.Errorf("%s: %s", mode, form.body)
		}
		a.shows(b.post("/register", "username", "carol", "email", "carol", "password", goodPassword), 422,
			`id="email-problem"`, `value="carol"`)
		done := b.post("/register", append(fields, "password", goodPassword)...)
		if done.status != 303 || !strings.HasPrefix(done.location(), "/email/code/") {
			t.Fatalf("%s: %d to %s", mode, done.status, done.location())
		}
		a.shows(b.get(done.location()), 200, "a mail is on its way", `value="carol`)
		a.letter = a.verifying()
		a.b = b
		a.sent(a.verifies(), "/login?notice=address_verified")
		a.sent(b.login("carol@example.org", goodPassword), "/")
	}
}

// verifying is the mail that waits for whoever has registered last.
func (a *audited) verifying() auth.Letter {
	a.Helper()
	var id uuid.UUID
	must(a, a.owner.QueryRow(a.Context(), "SELECT id FROM mails WHERE kind = 'verify'").Scan(&id))
	letter, err := a.rules.Mails.Prepare(a.Context(), id)
	must(a, err)
	return letter
}

// signsUp registers somebody with an address, and returns the page that this leads to, with what
// the worker makes of the mail: no code if there is none to be verified.
func (a *audited) signsUp(b *browser, name, address string) (page string, letter auth.Letter) {
	a.Helper()
	done := b.post("/register", "username", name, "email", address, "password", goodPassword)
	if done.status != 303 {
		a.Fatalf("%d: %s", done.status, done.body)
	}
	letter, err := a.rules.Mails.Prepare(a.Context(), challengeIn(a.T, done.location()))
	must(a, err)
	return done.location(), letter
}

// challengeIn is the challenge in the path of the page that takes the code of a mail.
func challengeIn(t *testing.T, location string) uuid.UUID {
	t.Helper()
	path, _, _ := strings.Cut(location, "?")
	challenge, err := uuid.Parse(strings.TrimPrefix(path, "/email/code/"))
	must(t, err)
	return challenge
}

func TestAStrangerRegistersWithAnAddressAndTypesTheCode(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional}, nil)
	b := a.browser()
	page, letter := a.signsUp(b, "carol", "carol@example.org")
	a.shows(b.get(page), 200, "Your account is made", `autocomplete="current-password"`,
		`autocomplete="one-time-code"`, `action="/email/mail"`)
	types := func(code, pw string) answered {
		return b.post("/email/code", "challenge", letter.ID.String(), "code", code, "password", pw,
			"username", "carol", "next", request())
	}
	for range 7 { // a right code is not used up
		a.shows(types(letter.Code, ""), 403, `id="password-problem"`, `value="`+letter.Code+`"`)
	}
	a.shows(types(letter.Code, "guess"), 422, `id="password-problem"`)
	wrong := types("0000-0000", goodPassword)
	a.shows(wrong, 400, "The code is not right", letter.ID.String(), `name="next"`)
	if strings.Contains(wrong.body, "0000-0000") {
		t.Error("a wrong code comes back")
	}
	done := types(strings.ToLower(letter.Code), goodPassword)
	to, err := url.Parse(done.location())
	must(t, err)
	if q := to.Query(); done.status != 303 || to.Path != "/login" || q.Get("next") != request() ||
		q.Get("username") != "carol" || q.Get("notice") != "address_verified" || len(done.cookies) != 0 {
		t.Errorf("%d to %s, cookies %v", done.status, done.location(), done.cookies)
	}
	a.sent(b.login("carol@example.org", goodPassword), "/")
	a.shows(types(letter.Code, goodPassword), 400, "The code is not right")
	a.shows(b.get("/email/code/x"), 404)
	a.shows(b.post("/email/code", "challenge", "x"), 400)
	a.shows(b.post("/email/mail", "challenge", "x"), 400)
}

// A stranger could otherwise list who has an account here.
func TestThePageAfterARegistrationIsTheSameWhoeverHasTheAddress(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional}, nil)
	a.verify("alice", "now()")
	shown := map[string][]string{}
	for name, address := range map[string]string{
		"mallory1": "alice@example.org", "mallory2": "nobody@example.org",
	} {
		b := a.browser()
		page, letter := a.signsUp(b, name, address)
		if (letter.Code == "") != (address == "alice@example.org") {
			t.Errorf("%+v", letter)
		}
		again := b.post("/email/mail", "challenge", challengeIn(t, page).String(), "username", name)
		if again.status != 303 {
			t.Fatalf("%d: %s", again.status, again.body)
		}
		for _, path := range []string{page, again.location()} {
			a.shows(b.get(path), 200)
		}
		wrong := b.post("/email/code", "challenge", challengeIn(t, page).String(), "code", "0000-0000",
			"password", goodPassword, "username", name)
		all := b.get(page).body + b.get(again.location()).body + wrong.body + again.location()
		all = strings.NewReplacer(challengeIn(t, page).String(), "", name, "",
			challengeIn(t, again.location()).String(), "").Replace(all)
		shown[all] = append(shown[all], address)
	}
	if len(shown) != 1 {
		t.Errorf("the pages differ: %v", shown)
	}
}

// Somebody else's session must neither stand for the account nor show what is asked of it.
func TestTheCodeOfAnAddressWantsTheAccountThatAsked(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional}, nil)
	alice, bob := a.b, a.loggedInAs("bob")
	a.changing()
	page := "/email/code/" + a.letter.ID.String()
	sends := func(b *browser, as string) answered {
		return b.post("/email/code", "challenge", a.letter.ID.String(), "code", a.letter.Code, "as", as)
	}
	a.shows(bob.get(page), 200, `id="password"`)
	a.shows(sends(bob, "bob"), 403, `id="password-problem"`)
	a.shows(sends(bob, "alice"), 403, `id="password-problem"`)
	shown := alice.get(page)
	a.shows(shown, 200, `name="as" value="alice"`)
	if strings.Contains(shown.body, `id="password"`) {
		t.Errorf("whoever is logged in is asked for the password: %s", shown.body)
	}
	again := alice.post("/email/mail", "challenge", a.letter.ID.String(), "as", "alice")
	a.shows(alice.get(again.location()), 200, "Another mail is on its way", `name="as" value="alice"`)
	a.sent(sends(alice, "alice"), "/account?notice=address_verified")
}

// Beyond the limit of a network no mail comes, and the code of the earlier one must stay of use.
func TestBeyondTheLimitTheEarlierMailStaysGood(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailOptional, rates: auth.RateLimits{
		Recovery: ratelimit.Limit{Burst: 1, Interval: time.Hour},
	}}, nil)
	b := a.browser()
	_, letter := a.signsUp(b, "carol", "carol@example.org")
	again := func() uuid.UUID {
		return challengeIn(t, b.post("/email/mail", "challenge", letter.ID.String()).location())
	}
	for range 2 {
		if again() != letter.ID {
			t.Error("the page goes on with a mail that nobody sends")
		}
	}
}

// On whichever page somebody who is logged in asks again, the code of the only mail is good there.
func TestWhoeverIsLoggedInAndAsksAgainTypesTheCodeOfTheMailThatCame(t *testing.T) {
	t.Parallel()
	for _, limits := range []auth.RateLimits{
		{}, {Recovery: ratelimit.Limit{Burst: 1, Interval: time.Hour}},
	} {
		a := startAudited(t, settings{email: auth.EmailOptional, rates: limits}, nil)
		a.changing()
		page := "/email/code/" + a.letter.ID.String()
		for range 2 {
			for path, challenge := range map[string]string{
				"/email/mail": challengeIn(t, page).String(), "/account/email/mail": "",
			} {
				again := a.b.post(path, "challenge", challenge, "as", "alice")
				page = again.location()
				a.shows(a.b.get(page), 200, `name="as" value="alice"`)
			}
		}
		a.sent(a.b.post("/email/code", "challenge", challengeIn(t, page).String(), "code",
			a.letter.Code, "as", "alice"), "/account?notice=address_verified")
	}
}

// unproved makes alice, who is logged in nowhere, one who has to verify an address first.
func (a *audited) unproved() {
	a.Helper()
	a.verify("alice", "NULL")
	a.exec("UPDATE users SET verify_until = now() + interval '1 hour' WHERE username = 'alice'")
	a.b = a.browser()
}

// Whoever has closed the page of the registration would have no way to the code.
func TestALoginThatWantsAVerifiedAddressLeadsToAnotherMail(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/login", "/login/password"} {
		a := startAudited(t, settings{email: auth.EmailRequired}, nil)
		a.unproved()
		logsIn := func(pw string) answered {
			return a.b.post(path, "username", "alice", "password", pw, "current_password", pw,
				"new_password", anotherPassword, "next", request())
		}
		if wrong := logsIn("guess"); wrong.status != 401 || strings.Contains(wrong.body, "/email/") {
			t.Errorf("a guess: %d %s", wrong.status, wrong.body)
		}
		done := logsIn(goodPassword)
		if done.status != 303 || len(done.cookies) != 0 {
			t.Fatalf("%d, cookies %v: %s", done.status, done.cookies, done.body)
		}
		a.shows(a.b.get(done.location()), 200, "not confirmed yet", `name="username"`, `value="alice"`,
			`name="next"`)
		letter, err := a.rules.Mails.Prepare(t.Context(), challengeIn(t, done.location()))
		must(t, err)
		if letter.To != "alice@example.org" {
			t.Errorf("%+v", letter)
		}
		a.shows(a.b.post("/email/code", "challenge", letter.ID.String(), "code", letter.Code,
			"password", goodPassword, "username", "alice"), 303)
		a.sent(a.b.login("alice", goodPassword), "/")
	}
	a := startAudited(t, settings{email: auth.EmailRequired, mailOff: true}, nil)
	a.unproved()
	a.shows(a.b.login("alice", goodPassword), 400, "not verified yet")
}

// Whoever has registered with an address alone knows no username, and may have closed the page.
func TestALoginByAnAddressThatIsNotVerifiedLeadsToTheCode(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailRequired}, nil)
	b := a.browser()
	_, first := a.signsUp(b, "", "carol@example.org")
	b = a.browser()
	if wrong := b.login("carol@example.org", "guess"); wrong.status != 401 {
		t.Errorf("a guess: %d %s", wrong.status, wrong.body)
	}
	done := b.login("carol@example.org", goodPassword)
	page := challengeIn(t, done.location())
	a.shows(b.get(done.location()), 200, "not confirmed yet", `value="carol@example.org"`)
	a.shows(b.post("/email/code", "challenge", page.String(), "code", first.Code,
		"password", goodPassword, "username", "carol@example.org"), 303)
	a.sent(b.login("carol@example.org", goodPassword), "/")
}

// Whoever does as the hint says must not be refused.
func TestTheHintOfAUsernameHasAnAtWhereTheNameMayHaveOne(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings settings
		mayHave  bool
	}{
		"no addresses":            {settings{}, true},
		"addresses":               {settings{email: auth.EmailOptional}, false},
		"addresses without mails": {settings{email: auth.EmailOptional, mailOff: true}, false},
	} {
		f := start(t, test.settings)
		b := f.browser()
		_, hint, found := strings.Cut(b.get("/register").body, "digits and the signs")
		hint, _, _ = strings.Cut(hint, "<")
		if !found || strings.Contains(hint, "@") != test.mayHave {
			t.Errorf("%s: %q", name, hint)
		}
		done := b.post("/register", "username", "carol@home", "password", goodPassword)
		if (done.status == 303) != test.mayHave {
			t.Errorf("%s: a name with an @ gets %d", name, done.status)
		}
		refused := b.post("/register", "username", "a&b", "password", goodPassword)
		_, problem, found := strings.Cut(refused.body, "The only other signs")
		problem, _, _ = strings.Cut(problem, "<")
		if !found || strings.Contains(problem, "@") != test.mayHave {
			t.Errorf("%s: the problem is %q", name, problem)
		}
	}
}

// An account that was made with an address alone has its id for a name, which says nothing to its
// owner.
func TestWhoeverHasNoNameIsCalledByTheAddress(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{email: auth.EmailRequired}, nil)
	b := a.browser()
	_, letter := a.signsUp(b, "", "carol@example.org")
	var id string
	must(t, a.owner.QueryRow(t.Context(), "SELECT username FROM users WHERE email = 'carol@example.org'").Scan(&id))
	a.shows(b.post("/email/code", "challenge", letter.ID.String(), "code", letter.Code,
		"password", goodPassword, "username", "carol@example.org"), 303)
	_, a.letter = a.forgot(b, "carol@example.org")
	done := b.post(a.link(), "new_password", anotherPassword).location()
	a.shows(b.get(done), 200, `value="carol@example.org"`, "Username or e-mail address")
	a.sent(b.login("carol@example.org", anotherPassword), "/")
	for _, page := range []string{"/", "/account", "/account/email", "/account/security", "/login"} {
		if shown := b.get(page); shown.status != 200 || !strings.Contains(shown.body, "carol@example.org") ||
			strings.Contains(shown.body, id) {
			t.Errorf("%s says %d: %s", page, shown.status, shown.body)
		}
	}
	for as, leads := range map[string]string{"carol@example.org": "/email/code/", id: "/account?notice=other_user"} {
		if done := b.post("/account/email", "as", as, "email", "carol@example.net",
			"current_password", anotherPassword).location(); !strings.HasPrefix(done, leads) {
			t.Errorf("as %s: %s", as, done)
		}
	}
}
