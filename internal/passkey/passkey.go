// Package passkey owns the two ceremonies of WebAuthn Level 3: a browser makes a passkey, and a
// browser proves that it has one. It is pure. It keeps nothing and has no clock: the caller makes a
// challenge, sees to it that each is answered once and in time, and stores the [Credential].
//
// COSE keys and CBOR are read by go-webauthn. Its package protocol is left out: it is 2 MB of
// formats of attestation, which nobody asks for here, and it calls most refusals by the same name.
package passkey

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/publicsuffix"
)

// Timeout is how long a browser waits for its user. The caller's challenge lives as long.
const Timeout = 2 * time.Minute

// An Error is why an answer is refused, in one word for logs. Whoever logs in is told no more than
// that it did not work.
type Error string

func (e Error) Error() string {
	return "the passkey's answer is refused: " + strings.ReplaceAll(string(e), "_", " ")
}

// Reasons to refuse an answer.
const (
	ErrMalformed       Error = "malformed"
	ErrType            Error = "wrong_type"
	ErrChallenge       Error = "wrong_challenge"
	ErrOrigin          Error = "wrong_origin"
	ErrCrossOrigin     Error = "cross_origin"
	ErrRPID            Error = "wrong_rp_id"
	ErrCredential      Error = "wrong_credential"
	ErrHandle          Error = "wrong_user_handle"
	ErrUserNotPresent  Error = "user_not_present"
	ErrUserNotVerified Error = "user_not_verified"
	ErrAlgorithm       Error = "unsupported_algorithm"
	ErrSignature       Error = "wrong_signature"
	ErrBackup          Error = "backup_eligibility_changed"
	ErrCounter         Error = "counter_regressed"
)

// errIncomplete is for a fault of the caller. Nothing is asked and nothing is believed.
var errIncomplete = errors.New("passkey: a ceremony needs a challenge of 16 bytes or more, a user verification and, unless it is discoverable, passkeys to choose from")

// UserVerification is whether the authenticator must know who uses it, by a PIN or a finger. The
// zero value is refused.
type UserVerification int

// Preferred is for a second factor: keys without a PIN are good there. Required is for a passkey
// that is the only factor.
const (
	Preferred UserVerification = iota + 1
	Required
)

func (v UserVerification) String() string {
	switch v {
	case Preferred:
		return "preferred"
	case Required:
		return "required"
	}
	return "none"
}

// User is who gets a passkey. The authenticator keeps the handle and tells it to whoever holds it,
// so it is the account's id and says nothing of a person (WebAuthn §14.6.1).
type User struct {
	Handle uuid.UUID
	Name   string // shown by the authenticator
}

// Credential is what is stored of a passkey. None of it is secret.
type Credential struct {
	ID        []byte // at most 1023 bytes
	PublicKey []byte // a COSE key (RFC 9052 §7), at most 1024 bytes
	SignCount uint32
	AAGUID    uuid.UUID // the model of the authenticator, by its own word
	// BackupEligible is true of a passkey that may be on several devices. It never changes.
	BackupEligible bool
	BackedUp       bool
	UserVerified   bool
	Transports     []string // hints for the browser, as the browser gave them
}

// Config says who asks for passkeys.
type Config struct {
	RPID    string   // a domain. Passkeys are bound to it: another one makes all of them useless
	RPName  string   // shown by the authenticator
	Origins []string // as browsers write them (RFC 6454 §6.2): https://login.example.org
}

// RelyingParty asks for passkeys and checks answers. It does not change.
type RelyingParty struct {
	id, name string
	hash     [sha256.Size]byte
	origins  []string
}

// New checks a [Config]. Its errors say what to do, and are for operators.
func New(c Config) (*RelyingParty, error) {
	if !isDomain(c.RPID) {
		return nil, fmt.Errorf("the RP ID must be a domain in small letters, such as example.org: %q is none", c.RPID)
	}
	if c.RPName == "" {
		return nil, errors.New("the RP needs a name, which authenticators show")
	}
	if len(c.Origins) == 0 {
		return nil, errors.New("passkeys need an origin, such as https://example.org")
	}
	for _, origin := range c.Origins {
		if err := checkOrigin(c.RPID, origin); err != nil {
			return nil, fmt.Errorf("passkeys cannot be used at the origin %q: %w", origin, err)
		}
	}
	return &RelyingParty{id: c.RPID, name: c.RPName, hash: sha256.Sum256([]byte(c.RPID)), origins: slices.Clone(c.Origins)}, nil
}

// checkOrigin demands the one form in which a browser writes an origin, since origins are compared
// byte by byte. An app for Android has the digest of its certificate as its origin. Which RP ID it
// may use is in a file that the domain serves, and Android looks at it.
func checkOrigin(rpID, origin string) error {
	if androidOrigin().MatchString(origin) {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme+"://"+u.Host != origin ||
		u.Port() == "" && strings.HasSuffix(u.Host, ":") ||
		u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return errors.New("it must be a scheme and a host in small letters, and a port if it is not the usual one, such as https://example.org:8443")
	}
	host := u.Hostname()
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	switch {
	case !isDomain(host):
		return errors.New("it must have a domain: browsers have no passkeys for addresses")
	case u.Scheme != "https" && (u.Scheme != "http" || !local):
		return errors.New("it must start with https: browsers have no passkeys elsewhere, but for http://localhost")
	case host == rpID:
		return nil
	case !strings.HasSuffix(host, "."+rpID):
		return fmt.Errorf("its host is not in the domain %s, which is the RP ID", rpID)
	case isPublicSuffix(rpID, host):
		return fmt.Errorf("%s is a public suffix, whose hosts belong to different people: choose a longer RP ID", rpID)
	}
	return nil
}

func androidOrigin() *regexp.Regexp {
	return regexp.MustCompile(`^android:apk-key-hash:[A-Za-z0-9_-]{43}$`)
}

// isPublicSuffix is the third step of "is a registrable domain suffix" (HTML §7.1.1.2).
func isPublicSuffix(domain, host string) bool {
	own, _ := publicsuffix.PublicSuffix(domain)
	suffix, _ := publicsuffix.PublicSuffix(host)
	return own == domain || strings.HasSuffix(suffix, "."+domain)
}

// isDomain is true of a name as browsers write it (RFC 1123 §2.1), and not of an IP address.
func isDomain(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil || len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// ID is the RP ID, which passkeys are bound to.
func (rp *RelyingParty) ID() string { return rp.id }
