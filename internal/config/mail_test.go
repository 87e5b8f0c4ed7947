package config

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatSMTPURLSays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]SMTP{
		"smtp://mail.example.org":                      {Host: "mail.example.org", Port: 587, STARTTLS: "required"},
		"smtp://mail.example.org/":                     {Host: "mail.example.org", Port: 587, STARTTLS: "required"},
		"smtp://mailpit:1025?starttls=off":             {Host: "mailpit", Port: 1025, STARTTLS: "off"},
		"smtp://mail.example.org:25?starttls=optional": {Host: "mail.example.org", Port: 25, STARTTLS: "optional"},
		"smtp://mail.example.org?starttls=required":    {Host: "mail.example.org", Port: 587, STARTTLS: "required"},
		"smtps://mail.example.org":                     {Host: "mail.example.org", Port: 465, Implicit: true, STARTTLS: "required"},
		"smtp://[2001:db8::1]:2525":                    {Host: "2001:db8::1", Port: 2525, STARTTLS: "required"},
		"smtp://alice@mail.example.org": {Host: "mail.example.org", Port: 587, STARTTLS: "required",
			User: "alice", Password: "secret"},
		"smtps://alice%40example.org@mail.example.org": {Host: "mail.example.org", Port: 465, Implicit: true,
			STARTTLS: "required", User: "alice@example.org", Password: "secret"},
		"smtps://alice@example.org@mail.example.org": {Host: "mail.example.org", Port: 465, Implicit: true,
			STARTTLS: "required", User: "alice@example.org", Password: "secret"},
	} {
		m := Mail{SMTPURL: text, SMTPPassword: want.Password, MailFrom: "login@example.org"}
		got, sends, err := m.SMTP()
		if err != nil || !sends || got != want || m.Validate() != nil {
			t.Errorf("%s: %+v, %v, %v", text, got, err, m.Validate())
		}
	}
	if _, sends, err := (Mail{}).SMTP(); sends || err != nil || (Mail{}).Validate() != nil {
		t.Errorf("without settings: %t, %v", sends, err)
	}
}

// A mistake that is not told at the start is told by the first person who waits for a mail.
func TestUnusableSettingsOfMailAreNamedAndNoSecretIsQuoted(t *testing.T) {
	t.Parallel()
	const canary, from = "canary-5e1f", "login@example.org"
	for _, test := range []struct {
		mail    Mail
		setting string
	}{
		{Mail{SMTPURL: "mail.example.org:587", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "http://mail.example.org", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://:587", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail.example.org:0", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail.example.org:65536", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail.example.org/path", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail_1.example.org", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail.example.org?tls=off", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail.example.org?starttls=never", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail.example.org?starttls=off&starttls=required", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtps://mail.example.org?starttls=off", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://alice@mail.example.org?starttls=off", SMTPPassword: canary, MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://alice:" + canary + "@mail.example.org", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://alice:" + canary + "%@mail.example.org", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://alice:p/" + canary + "@mail.example.org", MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPURL: "smtp://mail.example.org", SMTPPassword: canary, MailFrom: from}, "SMTP_URL"},
		{Mail{SMTPPassword: canary, MailFrom: from}, "SMTP_PASSWORD"},
		{Mail{SMTPURL: "smtp://alice@mail.example.org", MailFrom: from}, "SMTP_PASSWORD"},
		{Mail{SMTPURL: "smtp://mail.example.org"}, "MAIL_FROM"},
	} {
		err := test.mail.Validate()
		refused, ok := errors.AsType[*Error](err)
		if !ok || refused.Setting != test.setting || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", test.mail.SMTPURL, err)
		}
	}
	if _, err := load("--smtp-url=smtp://mail.example.org"); err == nil || !strings.Contains(err.Error(), "MAIL_FROM") {
		t.Errorf("the service starts without a sender: %v", err)
	}
}
