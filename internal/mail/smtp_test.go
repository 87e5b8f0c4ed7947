package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/mail/mailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "canary-of-smtp"

// to are the options of a relay for a server.
func to(t testing.TB, s *mailtest.Server) SMTPOptions {
	t.Helper()
	u, err := url.Parse(s.URL())
	must(t, err)
	port, err := strconv.Atoi(u.Port())
	must(t, err)
	o := SMTPOptions{
		Host: u.Hostname(), Port: port, Encryption: STARTTLS, Roots: s.Roots(), Hello: "example.org",
		User: u.User.Username(),
	}
	if o.User != "" {
		o.Password = password
	}
	switch {
	case u.Scheme == "smtps":
		o.Encryption = Implicit
	case u.Query().Get("starttls") == "off":
		o.Encryption = Plain
	}
	return o
}

func relay(t testing.TB, o SMTPOptions) *SMTP {
	t.Helper()
	r := NewSMTP(o)
	t.Cleanup(func() { r.Close() })
	return r
}

// message is a mail of its own each time.
func message(t testing.TB) Message {
	t.Helper()
	l := sample(auth.MailReset)
	l.ID = uuid.New()
	m, err := composer(t).Compose(l, noon())
	must(t, err)
	return m
}

// refusal sends a mail that the relay does not take.
func refusal(t testing.TB, r *SMTP, m Message) *Error {
	t.Helper()
	err := r.Send(t.Context(), m)
	refused, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%v is no refusal", err)
	}
	for _, secret := range []string{password, sampleLink, sampleCode, m.Letter.To} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error quotes %s: %v", secret, err)
		}
	}
	return refused
}

func TestAMailArrivesOverEachKindOfConnection(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]mailtest.Options{
		"plain":             {},
		"STARTTLS":          {STARTTLS: true},
		"STARTTLS and AUTH": {STARTTLS: true, User: "alice", Password: password},
		"TLS":               {Implicit: true},
		"TLS and AUTH":      {Implicit: true, User: "alice", Password: password},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mailtest.New(t, o)
			m := message(t)
			must(t, relay(t, to(t, s)).Send(t.Context(), m))
			got := s.Next(t)
			if got.From != "login@example.org" || got.To != "alice@example.org" || got.User != o.User ||
				got.TLS != (o.STARTTLS || o.Implicit) || got.UTF8 || !bytes.Equal(got.Source, m.Source) {
				t.Errorf("%+v", got)
			}
			if got.Link() != sampleLink || got.Code() != "7XK2-MQ9D" {
				t.Errorf("link %q, code %q", got.Link(), got.Code())
			}
		})
	}
}

// Whoever is on the way takes the offer of STARTTLS out, and reads all links.
func TestNothingIsSaidWithoutTheTLSThatIsDemanded(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{})
	o := to(t, s)
	o.Encryption = STARTTLS
	if got := refusal(t, relay(t, o), message(t)); got.Step != StepTLS || got.Permanent {
		t.Errorf("%+v", got)
	}
	o.Encryption = Implicit
	if got := refusal(t, relay(t, o), message(t)); got.Step != StepConnect || !strings.Contains(got.Text, "does not speak TLS") {
		t.Errorf("%+v", got)
	}
	s.Nothing(t)

	o.Encryption = Optional
	must(t, relay(t, o).Send(t.Context(), message(t)))
	if s.Next(t).TLS {
		t.Error("a mail came over TLS that is not there")
	}
	s = mailtest.New(t, mailtest.Options{STARTTLS: true})
	o = to(t, s)
	o.Encryption = Optional
	must(t, relay(t, o).Send(t.Context(), message(t)))
	if !s.Next(t).TLS {
		t.Error("TLS that was offered was not taken")
	}
	o.Roots = nil
	if got := refusal(t, relay(t, o), message(t)); got.Step != StepTLS {
		t.Errorf("a certificate that does not hold: %+v", got)
	}
}

func TestACertificateOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []mailtest.Options{
		{STARTTLS: true, Host: "other.example"}, {Implicit: true, Host: "other.example"},
	} {
		s := mailtest.New(t, o)
		got := refusal(t, relay(t, to(t, s)), message(t))
		if got.Permanent || !strings.Contains(got.Text, "another host") {
			t.Errorf("another host: %+v", got)
		}
		s.Nothing(t)
		o.Host = ""
		s = mailtest.New(t, o)
		options := to(t, s)
		options.Roots = nil
		got = refusal(t, relay(t, options), message(t))
		if got.Permanent || !strings.Contains(got.Text, "authority") {
			t.Errorf("unknown authority: %+v", got)
		}
		s.Nothing(t)
	}
}

// A password over a connection that anybody reads is everybody's.
func TestThePasswordIsNotSentWithoutTLS(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{User: "alice", Password: password})
	heard := eavesdrop(t, s.Address())
	o := to(t, s)
	// A name that is not this machine's: there, a password may go without TLS.
	o.Host, o.Port, o.Encryption = "127.0.0.2", heard.port, Optional
	got := refusal(t, relay(t, o), message(t))
	if got.Step != StepAuth || got.Permanent {
		t.Errorf("%+v", got)
	}
	if said := heard.String(); strings.Contains(said, "AUTH") || strings.Contains(said, "canary") {
		t.Errorf("the client said %q", said)
	}
}

// eavesdropper is a proxy that keeps what a client says.
type eavesdropper struct {
	mu   sync.Mutex
	said bytes.Buffer
	port int
}

func (e *eavesdropper) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.said.Write(p)
}

func (e *eavesdropper) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.said.String()
}

func eavesdrop(t *testing.T, address string) *eavesdropper {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	must(t, err)
	e := &eavesdropper{port: listener.Addr().(*net.TCPAddr).Port}
	var running sync.WaitGroup
	t.Cleanup(func() { listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", address)
			if err != nil {
				client.Close()
				return
			}
			running.Go(func() { io.Copy(server, io.TeeReader(client, e)); server.Close() })
			running.Go(func() { io.Copy(client, server); client.Close() })
		}
	})
	return e
}

// If what can be mended were final, a wrong password of SMTP would lose every mail until somebody
// notices. If what is final were tried again, a mailbox that is gone would be asked for days.
func TestOnlyARefusalOfThisMailIsFinal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		at        mailtest.Step
		code      int
		step      Step
		permanent bool
	}{
		{mailtest.Hello, 421, StepHello, false}, {mailtest.Hello, 554, StepHello, false},
		{mailtest.Auth, 454, StepAuth, false}, {mailtest.Auth, 535, StepAuth, false},
		{mailtest.Mail, 451, StepMail, false}, {mailtest.Mail, 550, StepMail, false},
		{mailtest.Rcpt, 450, StepRcpt, false}, {mailtest.Rcpt, 550, StepRcpt, true},
		{mailtest.Rcpt, 530, StepRcpt, false},
		{mailtest.Data, 452, StepReply, false}, {mailtest.Data, 554, StepReply, true},
	} {
		t.Run(fmt.Sprintf("%s %d", test.at, test.code), func(t *testing.T) {
			t.Parallel()
			s := mailtest.New(t, mailtest.Options{STARTTLS: true, User: "alice", Password: password})
			r := relay(t, to(t, s))
			s.Refuse(test.at, test.code, "no mail today")
			m := message(t)
			got := refusal(t, r, m)
			if got.Step != test.step || got.Code != test.code || got.Permanent != test.permanent ||
				!strings.Contains(got.Text, "no mail today") {
				t.Errorf("%+v", got)
			}
			s.Accept(test.at)
			must(t, r.Send(t.Context(), m))
			s.Next(t)
			s.Nothing(t)
		})
	}
	s := mailtest.New(t, mailtest.Options{STARTTLS: true, User: "alice", Password: "another"})
	if got := refusal(t, relay(t, to(t, s)), message(t)); got.Step != StepAuth || got.Code != 535 || got.Permanent {
		t.Errorf("wrong password: %+v", got)
	}
}

// What a relay replies is stored and logged. It quotes addresses, and links that it does not like.
func TestARefusalQuotesNoAddressAndNoLink(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{STARTTLS: true})
	r := relay(t, to(t, s))
	for _, text := range []string{
		"<alice@example.org>: user unknown", "alice@example.org is unknown", "no Alice here",
		"no user ALICE@EXAMPLE.ORG\nnor alice", "mailbox=alice", "blocked: " + sampleLink,
		"forwarded to bob+alias@example.net",
		"blocked: HTTPS" + strings.TrimPrefix(sampleLink, "https"), "blocked: www.example.org/#AAECAwQFBgcI",
		strings.Repeat("x ", 95) + "alice@example.org", strings.Repeat("x@y.example ", 60) + "alice",
	} {
		s.Refuse(mailtest.Rcpt, 550, text)
		got := refusal(t, r, message(t))
		if low := strings.ToLower(got.Text); strings.Contains(low, "alice") || strings.Contains(low, "bob") || strings.Contains(low, "aaecawq") ||
			len([]rune(got.Text)) > 200 || strings.ContainsAny(got.Text, "\r\n") {
			t.Errorf("%q became %q", text, got.Text)
		}
	}
	s.Refuse(mailtest.Rcpt, 550, "over quota: 500 MB, ask the postmaster")
	if got := refusal(t, r, message(t)); !strings.Contains(got.Text, "over quota: 500 MB, ask the postmaster") {
		t.Errorf("too much is left out: %q", got.Text)
	}
}

// A mail that the relay may have is sent again, as the same mail. The other way round it would be
// lost.
func TestARelayThatHangsUpAfterTheMailGetsItAgain(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{STARTTLS: true})
	r := relay(t, to(t, s))
	s.HangUpAfterData(1)
	m := message(t)
	if got := refusal(t, r, m); got.Step != StepReply || got.Code != 0 || got.Permanent {
		t.Errorf("%+v", got)
	}
	must(t, r.Send(t.Context(), m))
	if first, second := s.Next(t), s.Next(t); first.Header.Get("Message-Id") != second.Header.Get("Message-Id") {
		t.Error("the second try is another mail")
	}
	s.Nothing(t)
}

func TestARelayThatIsDownIsNotFinal(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	must(t, listener.Close())
	r := relay(t, SMTPOptions{Host: "127.0.0.1", Port: port, Encryption: Plain, Hello: "example.org"})
	if got := refusal(t, r, message(t)); got.Step != StepConnect || got.Permanent {
		t.Errorf("%+v", got)
	}
}

func TestASlowRelayIsLeft(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{STARTTLS: true})
	_, release := s.Hold(mailtest.Rcpt)
	o := to(t, s)
	o.Timeout = 50 * time.Millisecond
	r := relay(t, o)
	if got := refusal(t, r, message(t)); got.Permanent || got.Text != "no reply in time" {
		t.Errorf("%+v", got)
	}
	release()
	s.Nothing(t)
}

// A replica that stops must not wait for a relay. The job goes back, and another replica sends it.
func TestAStopDoesNotWaitForTheRelay(t *testing.T) {
	t.Parallel()
	for _, at := range []mailtest.Step{mailtest.Hello, mailtest.Rcpt, mailtest.Data} {
		s := mailtest.New(t, mailtest.Options{})
		arrived, release := s.Hold(at)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		r := relay(t, to(t, s))
		go func() { ended <- r.Send(ctx, message(t)) }()
		<-arrived
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", at, err)
		}
		release()
	}
}

// A connection for each mail has six round trips, and many relays allow only so many.
func TestMailsThatFollowSoonShareAConnection(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{})
	r := relay(t, to(t, s))
	for range 5 {
		must(t, r.Send(t.Context(), message(t)))
		s.Next(t)
	}
	if got := s.Sessions(); got != 1 {
		t.Errorf("5 mails took %d connections", got)
	}
	// A mail that was refused leaves nothing behind for the next one.
	s.Refuse(mailtest.Rcpt, 550, "no")
	refusal(t, r, message(t))
	s.Accept(mailtest.Rcpt)
	must(t, r.Send(t.Context(), message(t)))
	s.Next(t)
	// One that the relay has closed meanwhile costs no mail.
	s.HangUpAll()
	must(t, r.Send(t.Context(), message(t)))
	s.Next(t)
	// Nor does one on which the relay takes no more.
	s.Tire(1)
	must(t, r.Send(t.Context(), message(t)))
	s.Next(t)
	s.Nothing(t)
}

func TestAConnectionIsNotKeptForLong(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{})
	o := to(t, s)
	o.Idle = time.Millisecond
	r := relay(t, o)
	must(t, r.Send(t.Context(), message(t)))
	<-s.Ended()

	o.Idle = time.Hour
	r = relay(t, o)
	must(t, r.Send(t.Context(), message(t)))
	must(t, r.Close())
	<-s.Ended()
	must(t, r.Send(t.Context(), message(t))) // what is under way at the end is still sent
	<-s.Ended()
	for range 3 {
		s.Next(t)
	}
}

func TestManySendAtOnce(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{STARTTLS: true})
	r := relay(t, to(t, s))
	var sending sync.WaitGroup
	want := map[string]bool{}
	for range 20 {
		m := message(t)
		want["<"+m.ID+">"] = true
		sending.Go(func() {
			if err := r.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	for range 20 {
		delete(want, s.Next(t).Header.Get("Message-Id"))
	}
	if len(want) > 0 {
		t.Errorf("%d mails are lost", len(want))
	}
}

// A relay that is told of SMTPUTF8 for nothing may be unable to pass the mail on.
func TestSMTPUTF8IsAskedForWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	international := func() Message {
		l := sample(auth.MailReset)
		l.To = "jürgen@example.org"
		m, err := composer(t).Compose(l, noon())
		must(t, err)
		return m
	}
	s := mailtest.New(t, mailtest.Options{UTF8: true})
	r := relay(t, to(t, s))
	must(t, r.Send(t.Context(), message(t)))
	if s.Next(t).UTF8 {
		t.Error("a plain mail was sent with SMTPUTF8")
	}
	must(t, r.Send(t.Context(), international()))
	if got := s.Next(t); !got.UTF8 || got.To != "jürgen@example.org" {
		t.Errorf("%t, %q", got.UTF8, got.To)
	}
	r = relay(t, to(t, mailtest.New(t, mailtest.Options{})))
	if got := refusal(t, r, international()); !got.Permanent {
		t.Errorf("%+v", got)
	}
}

// `gatehouse mail test` prints it.
func TestEachStepIsToldWithoutASecret(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t, mailtest.Options{STARTTLS: true, User: "alice", Password: password})
	o := to(t, s)
	var steps []Step
	var told strings.Builder
	o.Trace = func(step Trace) {
		steps = append(steps, step.Step)
		fmt.Fprintf(&told, "%s %d %s\n", step.Step, step.Code, step.Text)
	}
	m := message(t)
	must(t, relay(t, o).Send(t.Context(), m))
	want := []Step{StepConnect, StepGreeting, StepHello, StepTLS, StepAuth, StepMail, StepRcpt, StepData, StepReply}
	if !slices.Equal(steps, want) {
		t.Errorf("%v", steps)
	}
	for _, line := range []string{
		"connect 0 " + s.Address() + "\n", "\ntls 0 TLS 1.3\n", "\nauth 235 ", "\nrcpt 250 ", "\nreply 250 2.0.0 OK: queued\n",
	} {
		if !strings.Contains(told.String(), line) {
			t.Errorf("%q is not in\n%s", line, told.String())
		}
	}
	if strings.Contains(told.String(), "canary") || strings.Contains(told.String(), sampleCode) {
		t.Errorf("a secret is in\n%s", told.String())
	}
}
