package app_test

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse.example/internal/mail/mailtest"
)

// next waits for a mail, whose subject must have a text.
func (m withMail) next(subject string) mailtest.Received {
	m.Helper()
	mail := m.relay.Next(m.T)
	if !strings.Contains(mail.Subject, subject) {
		m.Fatalf("a mail about %q, want %q:\n%s", mail.Subject, subject, mail.Text)
	}
	return mail
}

// A thief does all of this, and the owner sees each step.
func TestPeopleHearByMailOfWhatHappensToTheirAccounts(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t, "--account-failures=3")
	m.exec("UPDATE users SET created_at = now() - interval '1 day', email_verified_at = now() - interval '1 day'")
	request := m.loginRequest("alice", goodPassword)
	request.Header.Set("User-Agent", "Mallory/1.0")
	request.Header.Set("Accept-Language", "de")
	m.want(http.StatusOK, m.do(request))
	mail := m.next("neuen Gerät")
	if mail.To != "Alice@example.org" || mail.Link() != m.public+"/password/forgot" ||
		!strings.Contains(mail.Text, "127.0.0.1") || !strings.Contains(mail.Text, "alice") {
		t.Errorf("to %s:\n%s", mail.To, mail.Text)
	}
	for range 5 {
		m.do(m.loginRequest("alice", "guess"))
	}
	m.next("Failed logins")
	m.exec("DELETE FROM rate_limits")
	m.forgot("alice")
	m.want(http.StatusNoContent, m.reset(map[string]string{"token": tokenOf(m.next("new password"))}))
	if mail := m.next("was changed"); mail.Link() != m.public+"/password/forgot" {
		t.Errorf("%s", mail.Text)
	}
	token := m.login("alice", nextPassword)
	m.next("new device")
	gone := m.asJSON("/users/me", map[string]string{"current_password": nextPassword},
		"Authorization", "Bearer "+token)
	gone.Method = http.MethodDelete
	m.want(http.StatusNoContent, m.do(gone))
	if mail := m.next("was deleted"); mail.To != "Alice@example.org" || mail.Link() != "" {
		t.Errorf("to %s:\n%s", mail.To, mail.Text)
	}
	m.relay.Nothing(t)
}

func TestWhoWantsNoNoticesGetsNone(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t, "--notices=password_changed,locked", "--account-failures=3")
	m.exec("UPDATE users SET created_at = now() - interval '1 day', email_verified_at = now() - interval '1 day'")
	m.login("alice", goodPassword)
	for range 5 {
		m.do(m.loginRequest("alice", "guess"))
	}
	m.next("Failed logins")
	m.relay.Nothing(t)
}
