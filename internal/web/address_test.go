package web_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
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
		if done.status != 303 || !strings.HasPrefix(done.location(), "/login?notice=mail_sent&username=carol") {
			t.Fatalf("%s: %d to %s", mode, done.status, done.location())
		}
		a.shows(b.get(done.location()), 200, "A mail is on its way")
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
