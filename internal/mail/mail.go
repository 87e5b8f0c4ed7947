// Package mail owns what mails say, how they are put together, and the relays that take them. What
// a mail is about is a [auth.Letter]; who gets one, and when, is decided by package auth.
package mail

import (
	"context"
	"fmt"

	"gatehouse.example/internal/auth"
)

// Relay takes mails, to bring them to their mailboxes. Many goroutines may use it.
type Relay interface {
	// Send hands one mail over. It returns nil once the relay has said that it has the mail. Its
	// error is an [*Error] if the relay or the way to it is the reason.
	Send(ctx context.Context, message Message) error
}

// Message is a mail that is ready to be sent.
type Message struct {
	Letter auth.Letter
	From   string // the sender of the envelope
	ID     string // the Message-ID, without angle brackets
	Text   string // the plain part
	HTML   string
	Source []byte // all of it (RFC 5322), with CRLF
}

// Step is a part of the conversation with a relay (RFC 5321).
type Step string

// Steps, in their order.
const (
	StepConnect  Step = "connect" // with TLS, if the URL is smtps
	StepGreeting Step = "greeting"
	StepHello    Step = "ehlo"
	StepTLS      Step = "tls"
	StepAuth     Step = "auth"
	StepMail     Step = "mail"
	StepRcpt     Step = "rcpt"
	StepData     Step = "data"  // the relay says that it is ready for the mail
	StepReply    Step = "reply" // the relay has the mail
)

// Error tells why a relay did not take a mail. It has no address, no link and no secret, so that it
// may be logged and stored.
type Error struct {
	Step Step
	// Code is that of the relay's reply (RFC 5321 §4.2.1), or 0 if there was none.
	Code int
	// Text is that of the reply, or what else went wrong. It has 200 characters at most.
	Text string
	// Permanent is true if another try cannot help: the relay refused this recipient or this mail
	// for good. What concerns every mail, such as a wrong password of SMTP, is not: an operator can
	// mend it while the mail is still of use.
	Permanent bool
}

func (e *Error) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("the relay failed at %s: %s", e.Step, e.Text)
	}
	return fmt.Sprintf("the relay refused at %s: %d %s", e.Step, e.Code, e.Text)
}
