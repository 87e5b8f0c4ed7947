package main

import (
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/mail/mailtest"
)

// mailTo runs `gatehouse mail test` with a relay.
func mailTo(t *testing.T, s *mailtest.Server, address string, more ...string) ending {
	t.Helper()
	return gatehouse(t, "", slices.Concat([]string{"mail", "test", address, "--smtp-url=" + s.URL(),
		"--mail-from=login@example.org", "--app-name=Wiki"}, more)...)
}

// An operator who has set a relay up types this, and knows where it fails.
func TestMailTestTellsEachStepOfTheConversation(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{})
	printed := mailTo(t, s, "alice@example.org").succeeded(t)
	got := s.Next(t)
	if got.To != "alice@example.org" || got.Subject != "A test of Wiki" {
		t.Errorf("%s, %s", got.To, got.Subject)
	}
	for _, line := range []string{
		"connect   127.0.0.1:", "\nrcpt      250 ", "\nreply     250 ", got.Header.Get("Message-Id"),
	} {
		if !strings.Contains(printed, line) {
			t.Errorf("%q is not in\n%s", line, printed)
		}
	}
	steps := linesFromJSON[mail.Trace](t, mailTo(t, s, "alice@example.org", "--json").succeeded(t))
	s.Next(t)
	if len(steps) != 7 || steps[6].Step != mail.StepReply || steps[6].Code != 250 {
		t.Errorf("%+v", steps)
	}

	s.Refuse(mailtest.Rcpt, 550, "no such mailbox")
	refused := mailTo(t, s, "alice@example.org")
	if refused.code != exitFailed || !strings.Contains(refused.err, "refused at rcpt: 550 5.0.0 no such mailbox") ||
		!strings.Contains(refused.out, "\nrcpt      550 ") || strings.Contains(refused.out, "The relay has") {
		t.Errorf("%+v", refused)
	}
	s.Nothing(t)
}

func TestMailTestSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	gatehouse(t, "", "mail", "test", "alice@example.org").failed(t, exitUsage, "SMTP_URL: must be set")
	gatehouse(t, "", "mail", "test", "alice@example.org", "--smtp-url=smtp://mail.example.org").
		failed(t, exitUsage, "MAIL_FROM: must be set")
	s := mailtest.New(t, mailtest.Options{STARTTLS: true, User: "alice", Password: "canary"})
	mailTo(t, s, "alice@example.org").failed(t, exitUsage, "SMTP_PASSWORD: must be set")
	// The certificate of the server is known to nobody.
	unknown := mailTo(t, s, "alice@example.org", "--smtp-password=canary")
	if unknown.code != exitFailed || !strings.Contains(unknown.err, "at tls: the relay's certificate is of an authority") ||
		strings.Contains(unknown.out+unknown.err, "canary") {
		t.Errorf("%+v", unknown)
	}
	mailTo(t, s, "Alice <alice@example.org>", "--smtp-password=canary").failed(t, exitFailed, "that is no address")
	s.Nothing(t)
}
