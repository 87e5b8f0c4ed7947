package main

import (
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/mail/mailtest"
	"gatehouse.example/internal/wire"
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
	for _, wrong := range []string{"Alice <alice@example.org>", "alice@localhost", `"a b"@example.org`} {
		mailTo(t, s, wrong, "--smtp-password=canary").failed(t, exitFailed, "the address must ")
	}
	s.Nothing(t)
}

// An address of an account must get its test too, as it was typed.
func TestMailTestTakesTheAddressesThatAccountsMayHave(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{})
	for given, to := range map[string]string{
		" alice@Bücher.example": "alice@xn--bcher-kva.example", "bob＠example.org": "bob@example.org",
	} {
		mailTo(t, s, given).succeeded(t)
		if got := s.Next(t); got.To != to {
			t.Errorf("the mail to %q went to %q, want %q", given, got.To, to)
		}
	}
}

// Somebody calls, and asks why no mail came.
func TestOneCommandTellsWhyNoMailCame(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice", "bob")
	for _, statement := range []string{
		`INSERT INTO mails (id, kind, user_id, created_at, expires_at, attempts, outcome, problem, done_at)
		SELECT gen_random_uuid(), 'reset', id, now() - interval '1 h', now(), 3, 'dead', E'550 no such mailbox\u202e', now()
		FROM users WHERE username = 'alice'`,
		`INSERT INTO mails (id, kind, user_id, sealed, expires_at, attempts, problem)
		SELECT gen_random_uuid(), 'verify', id, decode(repeat('00', 50), 'hex'), now() + interval '1 h', 1, '451 later'
		FROM users WHERE username = 'alice'`,
	} {
		if _, err := a.connect().Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	lines := linesFromJSON[wire.Mail](t, a.run("", "mail", "log", "--user", "ALICE", "--json").succeeded(t))
	if len(lines) != 2 || lines[0].Kind != "verify" || lines[0].Outcome != "waiting" || lines[0].Problem != "451 later" ||
		lines[0].DoneAt != nil || lines[1].Kind != "reset" || lines[1].Outcome != "dead" || lines[1].Attempts != 3 || lines[1].DoneAt == nil {
		t.Errorf("%+v", lines)
	}
	table := a.run("", "mail", "log", "--user", "alice").succeeded(t)
	if strings.Count(table, "\n") != 3 || !strings.Contains(table, "550 no such mailbox") || strings.Contains(table, "\u202e") {
		t.Errorf("%s", table)
	}
	if got := a.run("", "mail", "log", "--user", "bob", "--json").succeeded(t); got != "" {
		t.Errorf("of another account: %s", got)
	}
	if lines := linesFromJSON[wire.Mail](t, a.run("", "mail", "log", "--user", "alice", "--limit", "1", "--json").succeeded(t)); len(lines) != 1 {
		t.Errorf("%+v", lines)
	}
	a.run("", "mail", "log", "--user", "nobody").failed(t, exitFailed, "no such user")
	a.run("", "mail", "log", "--user", "alice", "--limit", "0").failed(t, exitUsage, "--limit")
}
