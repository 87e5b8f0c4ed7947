package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// accepts sends a proof of an invitation, with a password unless it has one.
func (f *fixture) accepts(proof map[string]string) answered {
	f.Helper()
	if _, ok := proof["new_password"]; !ok {
		proof["new_password"] = otherPassword
	}
	body, err := json.Marshal(proof)
	must(f, err)
	return f.do(f.request("POST", "/invitations/accept", string(body), "Content-Type", jsonType))
}

// invited lets somebody without a name have the mail of an invitation.
func (a *audited) invited() {
	a.Helper()
	_, challenge, err := a.rules.Invitations.Invite(a.Context(), authtest.Operator(),
		auth.NewInvitation{Email: "carol@example.org"})
	must(a, err)
	a.letter, err = a.rules.Mails.Prepare(a.Context(), challenge)
	must(a, err)
}

func TestWhoeverIsInvitedByAnAdminLogsInWithTheirOwnPassword(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	invite := func(body string) answered {
		return a.as(a.root, "POST", "/users/invitations", body)
	}
	made := invite(`{"email":"Carol@example.org","roles":["clerk"]}`)
	a.want("invite", made, 202)
	challenge, _ := made.json(a, "challenge").(string)
	letter, err := a.rules.Mails.Prepare(t.Context(), uuid.MustParse(challenge))
	must(t, err)
	if letter.To != "Carol@example.org" || strings.Contains(made.body, letter.Code) ||
		strings.Contains(made.body, tokenIn(letter)) || strings.Contains(made.body, "initial_secret") {
		t.Errorf("%+v %s", letter, made.body)
	}
	byCode := func(more ...string) map[string]string {
		proof := map[string]string{"challenge": challenge, "code": strings.ToLower(letter.Code)}
		for n := 0; n < len(more); n += 2 {
			proof[more[n]] = more[n+1]
		}
		return proof
	}
	for what, refused := range map[string]struct {
		answered
		status int
	}{
		"no name":          {a.accepts(byCode()), 422},
		"name of another":  {a.accepts(byCode("username", "Alice")), 409},
		"common password":  {a.accepts(byCode("username", "carol", "new_password", "password")), 422},
		"token with code":  {a.accepts(byCode("username", "carol", "token", "x")), 422},
		"no proof":         {a.accepts(map[string]string{"username": "carol"}), 422},
		"another purpose":  {a.resetBy(map[string]string{"token": tokenIn(letter)}), 400},
		"address again":    {invite(`{"email":"carol@EXAMPLE.org"}`), 202},
		"no address":       {invite(`{}`), 422},
		"malformed":        {invite(`{"email":"carol"}`), 422},
		"empty name":       {invite(`{"email":"dave@example.org","username":""}`), 422},
		"name that is had": {invite(`{"email":"dave@example.org","username":"alice"}`), 409},
		"unknown role":     {invite(`{"email":"dave@example.org","roles":["nothing"]}`), 404},
		"by a clerk":       {a.as(a.alice, "POST", "/users/invitations", `{"email":"dave@example.org"}`), 403},
	} {
		a.want(what, refused.answered, refused.status)
	}
	done := a.accepts(byCode("username", "Carol"))
	a.want("accept", done, 204)
	if len(done.header["Set-Cookie"]) != 0 || done.body != "" {
		t.Errorf("an invitation logs in: %v %s", done.header, done.body)
	}
	a.want("again", a.accepts(byCode("username", "another")), 400)
	a.tokensOf(a.login("carol", otherPassword))
	a.want("invited again", invite(`{"email":"carol@example.org"}`), 409)
}

func TestWhereNoMailIsSentNobodyIsInvited(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{mailOff: true})
	a.want("invite", a.as(a.root, "POST", "/users/invitations", `{"email":"carol@example.org"}`), 404)
	a.want("accept", a.accepts(map[string]string{"token": "x"}), 404)
}
