package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/wneessen/go-mail/log"
)

// replies keeps the relay's last reply. It is the logger of the client, which leaves secrets out.
type replies struct {
	mu   sync.Mutex
	code int
	text string
}

// Debugf implements [log.Logger]. The client logs a reply as its code and its text.
func (r *replies) Debugf(l log.Log) {
	if l.Direction != log.DirServerToClient || len(l.Messages) != 2 {
		return
	}
	if code, ok := l.Messages[0].(int); ok {
		r.keep(code, fmt.Sprint(l.Messages[1]))
	}
}

// Infof implements [log.Logger].
func (*replies) Infof(log.Log) {}

// Warnf implements [log.Logger].
func (*replies) Warnf(log.Log) {}

// Errorf implements [log.Logger].
func (*replies) Errorf(log.Log) {}

func (r *replies) keep(code int, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code, r.text = code, text
}

func (r *replies) forget() { r.keep(0, "") }

func (r *replies) last() (code int, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.code, r.text
}

// trace is what is told of a step that has ended.
func (s *session) trace(step Step, err error) Trace {
	if err != nil {
		code, text := explain(err)
		return Trace{step, code, line(text)}
	}
	code, text := s.replies.last()
	switch step {
	case StepConnect:
		text = s.conn.RemoteAddr().String()
		if state := s.state(); state != "" {
			text += ", " + state
		}
	case StepGreeting:
		code, text = 220, ""
	case StepTLS:
		code, text = 0, s.state()
	}
	return Trace{step, code, line(text)}
}

// state says what TLS there is, or "".
func (s *session) state() string {
	if over, ok := s.conn.(*tls.Conn); ok {
		return tls.VersionName(over.ConnectionState().Version)
	}
	if s.client == nil {
		return ""
	}
	if state, ok := s.client.TLSConnectionState(); ok {
		return tls.VersionName(state.Version)
	}
	return ""
}

// told is the error of a mail that was not sent. If ctx ended, that is the reason.
func told(ctx context.Context, err error, m Message) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	code, text := explain(failed.err)
	return &Error{
		Step: failed.step, Code: code, Text: redact(line(text), m.Letter.To),
		Permanent: errors.Is(err, errNoSMTPUTF8) || isPermanent(failed.step, code),
	}
}

// isPermanent reports whether a reply is about this mail alone, and final. 530 asks for a login
// (RFC 4954 §6).
func isPermanent(step Step, code int) bool {
	return code >= 500 && code != 530 &&
		slices.Contains([]Step{StepRcpt, StepData, StepReply}, step)
}

// explain says what an error is in words that an operator can do something with, and the code of
// the reply if it is one.
func explain(err error) (code int, text string) {
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var expired x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var timeout net.Error
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return reply.Code, reply.Msg
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return 0, "the relay closed the connection"
	case errors.As(err, &unknown):
		return 0, "the relay's certificate is of an authority that this machine does not know"
	case errors.As(err, &hostname):
		return 0, "the relay's certificate is for another host than that of SMTP_URL"
	case errors.As(err, &expired):
		return 0, "the relay's certificate does not hold: " + expired.Error()
	case errors.As(err, &record):
		return 0, "the relay does not speak TLS on this port: smtps:// is for port 465, smtp:// for others"
	case errors.As(err, &timeout) && timeout.Timeout():
		return 0, "no reply in time"
	}
	return 0, err.Error()
}

// line makes one printable line of a reply, which may have several.
func line(text string) string {
	return printable(strings.Join(strings.Fields(text), " "))
}

// maxProblem is in characters.
const maxProblem = 200

var (
	// Relays quote links that are on a list of theirs. One of ours may be good for a new password.
	quotedLink    = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://\S*|\bwww\.\S*`)
	quotedAddress = regexp.MustCompile(`[^\s<>@]+@[^\s<>]+`)
)

// redact takes out of a reply what may not be stored: addresses, and links.
func redact(text, recipient string) string {
	text = quotedLink.ReplaceAllLiteralString(text, "…")
	text = quotedAddress.ReplaceAllLiteralString(text, "…")
	if local, _, ok := strings.Cut(recipient, "@"); ok && local != "" {
		word := regexp.MustCompile(`(?i)(^|[^\pL\pN])` + regexp.QuoteMeta(local) + `([^\pL\pN]|$)`)
		text = word.ReplaceAllString(text, "${1}…${2}")
	}
	if utf8.RuneCountInString(text) > maxProblem {
		text = string([]rune(text)[:maxProblem-1]) + "…"
	}
	return text
}

// offers reports whether a list of AUTH has a mechanism.
func offers(list, mechanism string) bool {
	return slices.Contains(strings.Fields(strings.ToUpper(list)), mechanism)
}
