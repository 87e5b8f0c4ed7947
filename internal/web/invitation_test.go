package web_test

import (
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// invite lets somebody who is logged in nowhere have the mail of an invitation.
func (a *audited) invite(n auth.NewInvitation) {
	a.Helper()
	_, challenge, err := a.rules.Invitations.Invite(a.Context(), authtest.Operator(), n)
	must(a, err)
	a.letter, err = a.rules.Mails.Prepare(a.Context(), challenge)
	must(a, err)
	a.b = a.browser()
}

// invited lets somebody be invited who chooses a name.
func (a *audited) invited() {
	a.Helper()
	a.invite(auth.NewInvitation{Email: "carol@example.org"})
}

// accepts sends the form behind the mail's link.
func (a *audited) accepts() answered {
	a.Helper()
	return a.b.post(a.link(), "username", "carol", "new_password", anotherPassword)
}

const afterInvitation = "/login?notice=registered&username="

func TestWhoeverIsInvitedIsLedToTheLogin(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{registrationClosed: true, invitedOnly: true}, nil)
	a.invited()
	a.b.site = "cross-site" // from a webmail
	for range 3 {           // a scanner on the way
		shown := a.b.get(a.link())
		a.shows(shown, 200, "You are invited", `name="username"`, `autocomplete="new-password"`)
		if strings.Contains(shown.body, "carol") || len(shown.cookies) != 0 {
			t.Errorf("the page tells who is invited: %s", shown.body)
		}
	}
	a.b.site = "same-origin"
	a.shows(a.b.post(a.link(), "username", "Alice", "new_password", anotherPassword), 409,
		`value="Alice"`, "taken")
	a.shows(a.b.post(a.link(), "username", "", "new_password", "x"), 422, "8")
	done := a.accepts()
	a.sent(done, afterInvitation+"carol")
	if len(done.cookies) != 0 {
		t.Errorf("an invitation logs in: %v", done.cookies)
	}
	a.shows(a.b.get(afterInvitation+"carol"), 200, "Your account is made. Log in with it.", `value="carol"`)
	for _, again := range []answered{a.b.get(a.link()), a.accepts()} {
		a.shows(again, 400, "This invitation is not good any more")
	}
	a.sent(a.b.login("carol", anotherPassword), "/")
}

func TestAnInvitationWithANameAsksForAPasswordAlone(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, nil)
	a.invite(auth.NewInvitation{Email: "carol@example.org", Username: "carol"})
	if shown := a.b.get(a.link()); strings.Contains(shown.body, `name="username"`) {
		t.Errorf("it asks for a name: %s", shown.body)
	}
	a.sent(a.b.post(a.link(), "new_password", anotherPassword), afterInvitation+"carol")
	a.sent(a.b.login("carol", anotherPassword), "/")
}

func TestWhereRegistrationIsByInvitationThePageSaysSo(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{registrationClosed: true, invitedOnly: true}, nil)
	b := a.browser()
	a.shows(b.get("/register"), 403, "Registration is by invitation")
	a.shows(b.post("/register", "username", "carol", "password", anotherPassword), 403,
		"Registration is by invitation")
	closed := startAudited(t, settings{registrationClosed: true}, nil)
	closed.shows(closed.browser().get("/register"), 403, "Registration is closed")
}
