// Package mailtest is an SMTP server for tests. It keeps the mails that it gets, taken apart as a
// mailbox does it, and can be told to refuse, to wait, and to hang up.
package mailtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Step is what the server may be told to act at.
type Step string

// Steps of a conversation.
const (
	Hello Step = "ehlo"
	Auth  Step = "auth"
	Mail  Step = "mail"
	Rcpt  Step = "rcpt"
	Data  Step = "data" // when the server has read the mail
)

// Options are what a server is like. The zero value is one without TLS and AUTH.
type Options struct {
	STARTTLS bool // it offers STARTTLS
	Implicit bool // its connections begin with TLS
	// Host is whom its certificate is for. It is 127.0.0.1 if it is empty.
	Host           string
	User, Password string // it demands AUTH if there is a user
	UTF8           bool   // it offers SMTPUTF8
}

// Received is a mail as a mailbox sees it.
type Received struct {
	From, To string // of the envelope
	Header   netmail.Header
	Subject  string
	Text     string
	HTML     string
	Source   []byte
	TLS      bool   // it came over TLS
	User     string // who had proved to be them by AUTH
	UTF8     bool   // it was said to need SMTPUTF8
}

var (
	linkOnItsLine = regexp.MustCompile(`(?m)^https?://\S+$`)
	codeOnItsLine = regexp.MustCompile(`(?m)^[0-9A-Z]{4}-[0-9A-Z]{4}$`)
)

// Link returns the link of the plain part that has a line of its own, or "".
func (r Received) Link() string { return linkOnItsLine.FindString(r.Text) }

// Code returns the code of the plain part that has a line of its own, or "".
func (r Received) Code() string { return codeOnItsLine.FindString(r.Text) }

// patience is how long a test waits for a mail.
const patience = time.Minute

// Server is an SMTP server on 127.0.0.1.
type Server struct {
	options Options
	address string
	roots   *x509.CertPool
	mails   chan Received

	mu       sync.Mutex
	refused  map[Step]*smtp.SMTPError
	held     map[Step]*hold
	hangUps  int // mails after whose reading it hangs up
	tired    int // mails that it does not take on the connection on which they come
	sessions int
	open     map[*smtp.Conn]bool
	ended    chan struct{}
}

// hold is where conversations wait.
type hold struct {
	arrived  chan struct{}
	released chan struct{}
	left     int // conversations that it is still for; negative: all
}

// New starts a server, which ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	s := &Server{
		options: o, mails: make(chan Received, 10_000),
		refused: make(map[Step]*smtp.SMTPError), held: make(map[Step]*hold),
		open: make(map[*smtp.Conn]bool), ended: make(chan struct{}, 10_000),
	}
	certificate := s.certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(s.session))
	server.Domain = "mailtest.example"
	server.EnableSMTPUTF8 = o.UTF8
	server.ErrorLog = log.New(io.Discard, "", 0) // of clients that hang up
	server.AllowInsecureAuth = true
	security := &tls.Config{Certificates: []tls.Certificate{certificate}}
	switch {
	case o.Implicit:
		listener = tls.NewListener(listener, security)
	case o.STARTTLS:
		server.TLSConfig = security
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		s.ReleaseAll()
		if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the SMTP server: %v", err)
		}
	})
	return s
}

// certificate makes one for the host, which [Server.Roots] know.
func (s *Server) certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(s.options.Host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{s.options.Host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Address is host:port of the server.
func (s *Server) Address() string { return s.address }

// URL is what SMTP_URL is set to for this server.
func (s *Server) URL() string {
	u := url.URL{Scheme: "smtp", Host: s.address}
	if s.options.Implicit {
		u.Scheme = "smtps"
	} else if !s.options.STARTTLS {
		u.RawQuery = "starttls=off"
	}
	if s.options.User != "" {
		u.User = url.User(s.options.User)
	}
	return u.String()
}

// Roots are the authorities that know the certificate of the server.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Mails are those that have arrived, and are not taken from the channel yet.
func (s *Server) Mails() <-chan Received { return s.mails }

// Next waits for the next mail. The test fails if none comes.
func (s *Server) Next(t testing.TB) Received {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case mail := <-s.mails:
		return mail
	case <-timer.C:
		t.Fatal("waited in vain for a mail")
		return Received{}
	}
}

// Nothing fails the test if there is a mail that was not taken. It does not wait.
func (s *Server) Nothing(t testing.TB) {
	t.Helper()
	select {
	case mail := <-s.mails:
		t.Fatalf("there is a mail to %s: %s", mail.To, mail.Subject)
	default:
	}
}

// Sessions returns how many conversations there have been. One with STARTTLS counts twice, since it
// begins anew.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Refuse lets a step fail from now on, with the code and the text of a reply.
func (s *Server) Refuse(step Step, code int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[step] = &smtp.SMTPError{
		Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: text,
	}
}

// Accept takes back what [Server.Refuse] said.
func (s *Server) Accept(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, step)
}

// HangUpAfterData lets the server keep the next so many mails, and hang up instead of saying so.
func (s *Server) HangUpAfterData(mails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUps = mails
}

// HangUpAll closes all connections.
func (s *Server) HangUpAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		conn.Conn().Close()
	}
}

// Tire lets the server hang up at the beginning of the next so many mails.
func (s *Server) Tire(mails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tired = mails
}

// Ended has a signal for each conversation that has ended. One with STARTTLS ends twice.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Hold lets each conversation wait at a step until release is called, or the test ends. The channel
// has a signal for each that has come so far.
func (s *Server) Hold(step Step) (arrived <-chan struct{}, release func()) {
	return s.hold(step, &hold{make(chan struct{}, 10_000), make(chan struct{}), -1})
}

// HoldNext is Hold for one conversation alone.
func (s *Server) HoldNext(step Step) (arrived <-chan struct{}, release func()) {
	return s.hold(step, &hold{make(chan struct{}, 1), make(chan struct{}), 1})
}

func (s *Server) hold(step Step, h *hold) (arrived <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[step] = h
	return h.arrived, func() { s.release(step, h) }
}

func (s *Server) release(step Step, h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[step] == h {
		delete(s.held, step)
		close(h.released)
	}
}

// ReleaseAll ends all that [Server.Hold] began.
func (s *Server) ReleaseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for step, h := range s.held {
		delete(s.held, step)
		close(h.released)
	}
}

// at is what the server does at a step.
func (s *Server) at(step Step) error {
	s.mu.Lock()
	h, waits := s.held[step]
	if waits = waits && h.left != 0; waits {
		h.left--
	}
	s.mu.Unlock()
	if waits {
		h.arrived <- struct{}{}
		<-h.released
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.refused[step]; refused != nil {
		return refused
	}
	return nil
}

// hangsUp reports whether the server hangs up after this mail.
func (s *Server) hangsUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangUps == 0 {
		return false
	}
	s.hangUps--
	return true
}

func (s *Server) isTired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tired == 0 {
		return false
	}
	s.tired--
	return true
}

func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	s.sessions++
	s.open[c] = true
	s.mu.Unlock()
	if err := s.at(Hello); err != nil {
		return nil, err
	}
	return &session{server: s, conn: c}, nil
}

// session is one conversation.
type session struct {
	server   *Server
	conn     *smtp.Conn
	user     string
	from, to string
	utf8     bool
}

func (s *session) AuthMechanisms() []string {
	if s.server.options.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	if err := s.server.at(Auth); err != nil {
		return nil, err
	}
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.server.options.User || password != s.server.options.Password {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	if s.server.options.User != s.user {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0},
			Message: "Authentication required"}
	}
	if s.server.isTired() {
		s.conn.Conn().Close()
		return &smtp.SMTPError{Code: 421, Message: "Too many mails on this connection"}
	}
	s.from, s.utf8 = from, o.UTF8
	return s.server.at(Mail)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return s.server.at(Rcpt)
}

func (s *session) Data(r io.Reader) error {
	source, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.server.at(Data); err != nil {
		return err
	}
	mail, err := Parse(source)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0},
			Message: "this is no mail: " + err.Error()}
	}
	mail.From, mail.To, mail.User, mail.UTF8 = s.from, s.to, s.user, s.utf8
	_, mail.TLS = s.conn.TLSConnectionState()
	s.server.mails <- mail
	if s.server.hangsUp() {
		s.conn.Conn().Close()
	}
	return nil
}

func (s *session) Reset() { s.from, s.to, s.utf8 = "", "", false }

func (s *session) Logout() error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	delete(s.server.open, s.conn)
	s.server.ended <- struct{}{}
	return nil
}

// Parse takes a mail apart: one with a plain part and one of HTML.
func Parse(source []byte) (Received, error) {
	message, err := netmail.ReadMessage(bytes.NewReader(source))
	if err != nil {
		return Received{}, err
	}
	r := Received{Header: message.Header, Source: source}
	if r.Subject, err = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject")); err != nil {
		return r, err
	}
	mediaType, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return r, err
	}
	if mediaType != "multipart/alternative" {
		return r, fmt.Errorf("the mail is %s", mediaType)
	}
	parts := multipart.NewReader(message.Body, parameters["boundary"])
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if err == io.EOF && n == 2 {
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("part %d: %w", n+1, err)
		}
		if encoding := part.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
			return r, fmt.Errorf("part %d is encoded as %q", n+1, encoding)
		}
		decoded, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			return r, err
		}
		body := strings.ReplaceAll(string(decoded), "\r\n", "\n")
		switch kind := part.Header.Get("Content-Type"); {
		case n == 0 && kind == "text/plain; charset=UTF-8":
			r.Text = body
		case n == 1 && kind == "text/html; charset=UTF-8":
			r.HTML = body
		default:
			return r, fmt.Errorf("part %d is %q", n+1, kind)
		}
	}
}
