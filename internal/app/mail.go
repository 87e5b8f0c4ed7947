package app

import (
	"fmt"
	"slices"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/outbox"
)

// NewRelay returns the relay of SMTP_URL, or nil if there is none. It tells trace, if that is not
// nil, of each step. The caller must call its Close.
func NewRelay(m config.Mail, trace func(mail.Trace)) (*mail.SMTP, error) {
	smtp, sends, err := m.SMTP()
	if err != nil || !sends {
		return nil, err
	}
	composer, err := NewComposer(m, "")
	if err != nil {
		return nil, err
	}
	encryption := mail.Encryption(smtp.STARTTLS)
	if smtp.Implicit {
		encryption = mail.Implicit
	}
	return mail.NewSMTP(mail.SMTPOptions{
		Host: smtp.Host, Port: smtp.Port, Encryption: encryption,
		User: smtp.User, Password: smtp.Password,
		// A replica's own name says nothing to others, and many relays demand one that does.
		Hello: composer.Domain(),
		Trace: trace,
	}), nil
}

// NewComposer returns what makes mails of letters. It needs MAIL_FROM.
func NewComposer(m config.Mail, appName string) (*mail.Composer, error) {
	composer, err := mail.NewComposer(mail.Options{
		AppName: appName, From: m.MailFrom, ReplyTo: m.MailReplyTo,
	})
	if err != nil {
		return nil, &config.Error{Setting: "MAIL_FROM", Problem: err.Error()}
	}
	return composer, nil
}

// mailOn reports whether accounts have addresses, and a relay takes mails to them.
func mailOn(s config.Serve, o Options) bool {
	return auth.EmailMode(s.Email).IsOn() && (o.Relay != nil || s.SMTPURL != "")
}

// checkMail refuses settings with which everybody who registers would be told to give an address,
// and nobody could prove one.
func checkMail(s config.Serve, o Options) error {
	if s.Registration == "open" && auth.EmailMode(s.Email) == auth.EmailRequired && !mailOn(s, o) {
		return &config.Error{
			Setting: "EMAIL", Problem: "required needs SMTP_URL where REGISTRATION is open: nobody could register",
		}
	}
	return nil
}

// noticeKinds are the kinds of notices that NOTICES names. There are none where no mails are sent.
func noticeKinds(s config.Serve, o Options) (kinds []auth.MailKind, err error) {
	known := auth.NoticeKinds()
	switch {
	case slices.Equal(s.Notices, []string{"on"}):
		kinds = known
	case slices.Equal(s.Notices, []string{"off"}):
	default:
		for _, name := range s.Notices {
			if !slices.Contains(known, auth.MailKind(name)) {
				return nil, &config.Error{Setting: "NOTICES", Problem: fmt.Sprintf("must be on, off, or some of %v", known)}
			}
			kinds = append(kinds, auth.MailKind(name))
		}
	}
	if !mailOn(s, o) {
		return nil, nil
	}
	return kinds, nil
}

// newMailWorker returns what sends mails by the relay of the options, or by that of SMTP_URL. It is
// nil if there is neither. The relay is closed after the worker has stopped.
func newMailWorker(
	s config.Serve, o Options, mails *auth.Mails,
	told func(auth.MailKind, auth.MailOutcome, time.Duration),
) (worker *outbox.Worker, closeRelay func(), err error) {
	closeRelay = func() {}
	relay := o.Relay
	if relay == nil {
		smtp, err := NewRelay(s.Mail, nil)
		if err != nil {
			return nil, nil, err
		}
		if smtp == nil {
			return nil, closeRelay, nil
		}
		relay, closeRelay = smtp, func() { _ = smtp.Close() }
	}
	composer, err := NewComposer(s.Mail, s.AppName)
	if err != nil {
		return nil, nil, err
	}
	return outbox.NewWorker(outbox.Options{
		Mails: mails, Composer: composer, Relay: relay, Clock: o.Clock, Log: o.Log,
		Told: told,
	}), closeRelay, nil
}
