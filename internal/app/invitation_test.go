package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// invited has somebody invited by an admin, and returns the link of the mail.
func (m withMail) invited(body map[string]string) (link string) {
	m.Helper()
	m.exec(`INSERT INTO user_roles (user_id, role_name) SELECT id, 'admin' FROM users WHERE username = 'alice'`)
	token := m.login("alice", goodPassword)
	m.want(http.StatusAccepted, m.do(m.asJSON("/users/invitations", body, "Authorization", "Bearer "+token)))
	return m.next("invited").Link()
}

// Where strangers cannot register, a mail is the way in, and nothing that opens its link before the
// person uses it up.
func TestWhoeverIsInvitedGetsInWhereStrangersCannotRegister(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t)
	link := m.invited(map[string]string{"email": "Carol@example.org"})
	invitedOnly := bootAtIssuer(t, m.database, "--smtp-url="+m.relay.URL(), "--mail-from=login@example.org",
		"--email=optional", "--registration=invite")
	if page := invitedOnly.person().opens(invitedOnly.public + "/register"); page.status != http.StatusForbidden ||
		!strings.Contains(page.body, "by invitation") {
		t.Errorf("%d %s", page.status, page.body)
	}
	link = strings.Replace(link, m.public, invitedOnly.public, 1)
	robot := m.from("127.0.0.2")
	for _, method := range []string{"HEAD", "GET", "GET"} {
		request, err := http.NewRequestWithContext(t.Context(), method, link, nil)
		must(t, err)
		a, err := send(robot, request)
		must(t, err)
		if a.status != http.StatusOK || strings.Contains(strings.ToLower(a.body), "carol") || len(a.header["Set-Cookie"]) != 0 {
			t.Errorf("%s: %d %v %s", method, a.status, a.header, a.body)
		}
	}
	person := invitedOnly.person()
	form := person.opens(link)
	done := person.sendsForm(form, "username", "carol", "new_password", nextPassword)
	if done.at.Path != "/login" || !strings.Contains(done.body, "Your account is made") {
		t.Fatalf("at %s: %s", done.at, done.body)
	}
	in := person.sendsForm(done, "username", "carol@example.org", "password", nextPassword)
	if in.at.Path != "/" || !strings.Contains(in.body, "carol") {
		t.Errorf("at %s: %s", in.at, in.body)
	}
	if again := person.sendsForm(form, "username", "mallory", "new_password", nextPassword); again.status != http.StatusBadRequest {
		t.Errorf("again: %d %s", again.status, again.body)
	}
	token := link[strings.LastIndexByte(link, '/')+1:]
	if log := m.log.String() + invitedOnly.log.String(); strings.Contains(log, token) ||
		strings.Contains(strings.ToLower(log), "carol@") {
		t.Errorf("the log has what only the mail has:\n%s", log)
	}
	m.relay.Nothing(t)
}
