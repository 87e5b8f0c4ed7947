// Package otp owns the second factors that people type: the codes of authenticator apps (TOTP, RFC
// 6238), and recovery codes. It is pure. Whether a step or a recovery code was used before is for
// the caller to look at: each is good once.
package otp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"gatehouse.example/internal/shortcode"
)

// ErrSecret is for a text that is no secret.
var ErrSecret = errors.New("otp: a secret is 16 to 64 bytes, written as Base32")

const (
	// Period is how long a step lasts. Apps show a new code for each.
	Period = 30 * time.Second

	digits     = 6
	codes      = 1_000_000 // as many as there are with so many digits
	secretSize = 20        // that of SHA-1, which RFC 4226 §4 recommends

	// RFC 4226 §4 wants 128 bits at least. SHA-1 hashes whatever is longer than a block of 64.
	leastSecret, mostSecret = 16, 64

	hidden = "[secret]"
)

// Secret is what an authenticator app and this service share. Every way of printing it answers with
// a fixed text, so that it does not get into a log or an answer by mistake. An unexported field of
// another type has no such guard: what holds a Secret there needs its own.
type Secret []byte

// NewSecret makes a secret of 160 random bits.
func NewSecret() Secret {
	secret := make(Secret, secretSize)
	_, _ = rand.Read(secret) // never fails: it ends the program first
	return secret
}

// ParseSecret reads a secret as authenticator apps show it: Base32 in any case, with or without
// spaces, hyphens and padding. [ErrSecret].
func ParseSecret(text string) (Secret, error) {
	compact, ok := shortcode.Compact(text)
	if !ok {
		return nil, ErrSecret
	}
	letters := strings.ToUpper(strings.TrimRight(compact, "="))
	secret, err := base32Letters().DecodeString(letters)
	if err != nil || len(secret) < leastSecret || len(secret) > mostSecret {
		return nil, ErrSecret
	}
	if base32Letters().EncodeToString(secret) != letters { // line breaks, or bits behind the last byte
		return nil, ErrSecret
	}
	return secret, nil
}

// Step is the number of the step that a moment lies in (RFC 6238 §4.2).
func Step(at time.Time) int64 { return at.Unix() / int64(Period/time.Second) }

// Code returns the six digits of a step (RFC 4226 §5.3).
func (s Secret) Code(step int64) string {
	mac := hmac.New(sha1.New, s)
	_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	number := binary.BigEndian.Uint32(sum[at:]) & (1<<31 - 1)
	return fmt.Sprintf("%0*d", digits, number%codes)
}

// Match returns the step whose code was typed: that of now, the one before, or the one after. A
// telephone's clock may be wrong by so much. It compares all three in constant time. If two have
// the same code, it is the later one, so that what was typed is not good again for that.
func (s Secret) Match(typed string, now time.Time) (step int64, ok bool) {
	code, ok := ParseCode(typed)
	if !ok {
		return 0, false
	}
	const none = -1
	first, found := Step(now)-1, none
	for n := range 3 {
		same := subtle.ConstantTimeCompare([]byte(code), []byte(s.Code(first+int64(n))))
		found = subtle.ConstantTimeSelect(same, n, found)
	}
	if found == none {
		return 0, false
	}
	return first + int64(found), true
}

// ParseCode returns the six digits that somebody has typed, and whether they are just that. It takes
// spaces and hyphens, which apps show between them.
func ParseCode(typed string) (code string, ok bool) {
	compact, ok := shortcode.Compact(typed)
	if !ok || len(compact) != digits || strings.Trim(compact, "0123456789") != "" {
		return "", false
	}
	return compact, true
}

// Text is the secret for whoever types it into an app: Base32 in groups of four.
func (s Secret) Text() string { return shortcode.InGroups(s.letters(), " ") }

// URI is the secret for whoever scans it: the Key URI format that authenticator apps read. The
// issuer is the name of the installation. It is there twice, since older apps know one of the two.
func (s Secret) URI(issuer, account string) string {
	issuer, account = escape(issuer), escape(account)
	return fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		issuer, account, s.letters(), issuer, digits, Period/time.Second)
}

// escape writes a name so that every app reads it the same: some take a + for a space, and some do
// not. A colon becomes a space. The format has none but the one between issuer and account: apps
// split at an escaped one too.
func escape(name string) string {
	name = strings.TrimSpace(strings.ReplaceAll(name, ":", " "))
	return strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

func (s Secret) letters() string { return base32Letters().EncodeToString(s) }

func base32Letters() *base32.Encoding { return base32.StdEncoding.WithPadding(base32.NoPadding) }

// Format implements [fmt.Formatter].
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
