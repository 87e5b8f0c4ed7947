package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"gatehouse.example/internal/email"
)

// Encryption is how the connection to a relay is encrypted.
type Encryption string

// Encryptions.
const (
	// STARTTLS demands TLS from the relay before anything else is said (RFC 3207).
	STARTTLS Encryption = "required"
	// Optional takes TLS if the relay offers it, with a certificate that holds. Whoever is on the
	// way can take the offer out.
	Optional Encryption = "optional"
	Plain    Encryption = "off"
	// Implicit begins with TLS (RFC 8314 §3.3).
	Implicit Encryption = "implicit"
)

// SMTPOptions are how a relay is reached.
type SMTPOptions struct {
	Host           string
	Port           int
	Encryption     Encryption
	User, Password string         // no AUTH without a user
	Hello          string         // the name in EHLO
	Roots          *x509.CertPool // nil for those of the system
	// Timeout is how long each reply may take. 0 is [DefaultTimeout]. The last reply, after the
	// mail, may take four times as long: relays look for viruses before it, and whoever gives up
	// earlier sends the mail twice.
	Timeout time.Duration
	// Idle is how long a connection is kept for the next mail. 0 is [DefaultIdle].
	Idle time.Duration
	// Trace, if not nil, is told of each step. What it is told has no secret, but addresses.
	Trace func(Trace)
}

// Defaults of [SMTPOptions].
const (
	DefaultTimeout = 30 * time.Second
	DefaultIdle    = 10 * time.Second
)

// Trace is a step of a conversation, when it has succeeded or failed.
type Trace struct {
	Step Step   `json:"step"`
	Code int    `json:"code,omitempty"` // of the relay's reply; 0 for none
	Text string `json:"text"`
}

// SMTP is a relay that speaks SMTP (RFC 5321, RFC 6409). It keeps one connection for mails that
// follow soon. Call [SMTP.Close] at the end.
type SMTP struct {
	options SMTPOptions

	mu     sync.Mutex
	idle   *session // nil for none
	closed bool
}

// NewSMTP connects to nobody yet.
func NewSMTP(o SMTPOptions) *SMTP {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Trace == nil {
		o.Trace = func(Trace) {}
	}
	return &SMTP{options: o}
}

// Send implements [Relay]. If the connection breaks before the last reply, nobody knows whether the
// relay has the mail. Then it is an error that is not permanent.
func (r *SMTP) Send(ctx context.Context, message Message) error {
	if s := r.take(ctx); s != nil {
		err := s.deliver(ctx, message)
		if err == nil {
			r.keep(s)
			return nil
		}
		s.end()
		if !isTired(err) {
			return told(ctx, err, message)
		}
	}
	s, err := r.dial(ctx)
	if err != nil {
		return told(ctx, err, message)
	}
	if err := s.deliver(ctx, message); err != nil {
		s.end()
		return told(ctx, err, message)
	}
	r.keep(s)
	return nil
}

// Check does all that comes before a mail, and says goodbye.
func (r *SMTP) Check(ctx context.Context) error {
	s, err := r.dial(ctx)
	if err != nil {
		return told(ctx, err, Message{})
	}
	s.quit()
	return nil
}

// isTired reports whether the relay has had enough of a connection, and certainly does not have the
// mail: some take only so many mails on one.
func isTired(err error) bool {
	failed, ok := errors.AsType[*failure](err)
	if !ok || failed.step == StepReply || errors.Is(err, errNoSMTPUTF8) {
		return false
	}
	code, _ := explain(failed.err)
	return code == 0 || code == 421
}

// Close ends the connection that is kept.
func (r *SMTP) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.idle != nil {
		r.idle.quit()
		r.idle = nil
	}
	return nil
}

// take returns the connection that is kept, if it still works. A relay may have closed it at any
// time.
func (r *SMTP) take(ctx context.Context) *session {
	r.mu.Lock()
	s := r.idle
	r.idle = nil
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	s.expires.Stop()
	if err := s.within(ctx, r.options.Timeout, s.client.Reset); err != nil {
		s.end()
		return nil
	}
	return s
}

// keep keeps a connection for the next mail, if none is kept yet.
func (r *SMTP) keep(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.idle != nil {
		s.quit()
		return
	}
	r.idle = s
	s.expires = time.AfterFunc(r.options.Idle, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.idle == s {
			r.idle = nil
			s.quit()
		}
	})
}

// session is a connection to the relay, on which mails can be sent one after the other.
type session struct {
	options SMTPOptions
	conn    net.Conn
	client  *smtp.Client
	replies *replies
	expires *time.Timer
}

// failure is an error with the step at which it came.
type failure struct {
	step Step
	err  error
}

func (f *failure) Error() string { return string(f.step) + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

var (
	errNoTLS      = errors.New("the relay offers no STARTTLS")
	errNoAuth     = errors.New("the relay offers no AUTH that is known here: SCRAM-SHA-256, PLAIN or LOGIN")
	errNoSMTPUTF8 = errors.New("the relay takes no address with characters beyond ASCII (SMTPUTF8)")
)

// dial connects, and does all that comes before the first mail.
func (r *SMTP) dial(ctx context.Context) (*session, error) {
	o := r.options
	s := &session{options: o, replies: &replies{}}
	if err := s.step(ctx, StepConnect, o.Timeout, func() error { return s.connect(ctx) }); err != nil {
		return nil, err
	}
	begin := []struct {
		step Step
		do   func() error
	}{
		{StepGreeting, s.greet},
		{StepHello, func() error { return s.client.Hello(o.Hello) }},
		{StepTLS, s.startTLS},
		{StepAuth, s.authenticate},
	}
	for _, b := range begin {
		if b.step == StepAuth && o.User == "" || b.step == StepTLS && !s.wantsTLS() {
			continue
		}
		if err := s.step(ctx, b.step, o.Timeout, b.do); err != nil {
			s.end()
			return nil, err
		}
	}
	return s, nil
}

func (s *session) connect(ctx context.Context) (err error) {
	address := net.JoinHostPort(s.options.Host, strconv.Itoa(s.options.Port))
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	if s.options.Encryption == Implicit {
		s.conn, err = (&tls.Dialer{Config: s.tls()}).DialContext(ctx, "tcp", address)
	} else {
		s.conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	return err
}

func (s *session) tls() *tls.Config {
	return &tls.Config{ServerName: s.options.Host, RootCAs: s.options.Roots,
		MinVersion: tls.VersionTLS12}
}

func (s *session) greet() (err error) {
	s.client, err = smtp.NewClient(s.conn, s.options.Host)
	if err == nil {
		s.client.SetLogger(s.replies)
		s.client.SetDebugLog(true) // to hear of replies; AUTH is left out of it
	}
	return err
}

func (s *session) wantsTLS() bool {
	switch s.options.Encryption {
	case STARTTLS:
		return true
	case Optional:
		offered, _ := s.client.Extension("STARTTLS")
		return offered
	}
	return false
}

func (s *session) startTLS() error {
	if offered, _ := s.client.Extension("STARTTLS"); !offered {
		return errNoTLS
	}
	return s.client.StartTLS(s.tls())
}

// authenticate chooses the best of what the relay offers. None of them sends the password over a
// connection without TLS, unless to this machine.
func (s *session) authenticate() error {
	_, offered := s.client.Extension("AUTH")
	user, password, host := s.options.User, s.options.Password, s.options.Host
	switch {
	case offers(offered, "SCRAM-SHA-256"):
		return s.client.Auth(smtp.ScramSHA256Auth(user, password))
	case offers(offered, "PLAIN"):
		return s.client.Auth(smtp.PlainAuth("", user, password, host, false))
	case offers(offered, "LOGIN"):
		return s.client.Auth(smtp.LoginAuth(user, password, host, false))
	}
	return errNoAuth
}

// deliver hands a mail over.
func (s *session) deliver(ctx context.Context, m Message) error {
	// A relay may have to pass the mail on to one that cannot do this.
	international := !email.IsASCII(m.From) || !email.IsASCII(m.Letter.To)
	s.client.SkipSMTPUTF8(!international)
	err := s.step(ctx, StepMail, s.options.Timeout, func() error {
		if able, _ := s.client.Extension("SMTPUTF8"); international && !able {
			return errNoSMTPUTF8
		}
		return s.client.Mail("<" + m.From + ">")
	})
	if err != nil {
		return err
	}
	err = s.step(ctx, StepRcpt, s.options.Timeout, func() error {
		return s.client.Rcpt("<" + m.Letter.To + ">")
	})
	if err != nil {
		return err
	}
	var body interface {
		Write([]byte) (int, error)
		Close() error
	}
	err = s.step(ctx, StepData, s.options.Timeout, func() (err error) {
		body, err = s.client.Data()
		return err
	})
	if err != nil {
		return err
	}
	return s.step(ctx, StepReply, 4*s.options.Timeout, func() error {
		if _, err := body.Write(m.Source); err != nil {
			return err
		}
		err := body.Close()
		if closer, ok := body.(*smtp.DataCloser); ok && err == nil {
			s.replies.keep(250, closer.ServerResponse())
		}
		return err
	})
}

// step does one step, and tells of it.
func (s *session) step(ctx context.Context, step Step, limit time.Duration, do func() error) error {
	s.replies.forget()
	err := s.within(ctx, limit, do)
	s.options.Trace(s.trace(step, err))
	if err != nil {
		return &failure{step, err}
	}
	return nil
}

// within does something that talks to the relay. It fails when ctx ends, or when a reply does not
// come in time.
func (s *session) within(ctx context.Context, limit time.Duration, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.conn == nil {
		return do()
	}
	if err := s.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return do()
}

// quit says goodbye, and does not wait long for an answer.
func (s *session) quit() {
	if s.expires != nil {
		s.expires.Stop()
	}
	s.conn.SetDeadline(time.Now().Add(time.Second))
	_ = s.client.Quit()
	s.end()
}

// end ends the connection. What was under way is not done.
func (s *session) end() { _ = s.conn.Close() }
