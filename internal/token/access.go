// Package token owns the form of Gatehouse's tokens. Access tokens are JSON Web Tokens (RFC 7519) by the profile of
// RFC 9068, signed by a key of a Ring; the tokens of services are JSON Web Tokens too; refresh tokens are a session's id and a
// number under a MAC. It is pure: it holds keys, is told the time, and reaches neither network nor database.
package token

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

const (
	// MaxLength bounds the tokens that are looked at, in bytes: whatever is longer is refused before any of
	// it is decoded. A token with the longest username is under 1 KiB without roles and scope, for which the
	// schema allows 2 KiB; base64 makes a third more of them.
	MaxLength = 4 << 10

	// Leeway is how far the clocks of two replicas may be apart before one refuses what the other issued.
	Leeway = 5 * time.Second

	// MinKeyLength is the least size of a signing key in bytes: that of the hash (RFC 7518 §3.2).
	MinKeyLength = 32

	// mediaType is the typ of an access token, which keeps other JWTs made with the same key from passing
	// for one (RFC 9068 §2.1).
	mediaType = "at+jwt"

	// FirstParty is the client_id of those that ask for tokens without naming themselves.
	FirstParty = "gatehouse"
)

// ErrInvalid is what Verify answers for every token that it refuses; the error around it has the reason,
// which is for the log and not for the caller.
var ErrInvalid = errors.New("token: invalid token")

// Access is what an access token says.
type Access struct {
	ID uuid.UUID // jti
	Subject
	IssuedAt time.Time
	Expires  time.Time
}

// Subject is whom an access token is for: a user, or a client for itself (RFC 6749 §4.4). The token of the latter has neither a
// session nor a username, its sub is the client_id, and UserID is what stands for it (ClientSubject).
type Subject struct {
	UserID    uuid.UUID // sub
	SessionID uuid.UUID // sid
	Username  string
	Version   int64 // the user's token version when it was issued: an older one than the user's is revoked
	// Roles are names with commas between, and Scope is permissions with spaces between: text, and not slices, so that a
	// remembered token is small, and nothing of it can be changed.
	Roles, Scope string
	ClientID     string // to whom it was issued; Issue takes an empty one for FirstParty
}

// IsClient tells whether a client is the subject, and no user.
func (s Subject) IsClient() bool { return s.SessionID == uuid.Nil }

// Name is the sub.
func (s Subject) Name() string {
	if s.IsClient() {
		return s.ClientID
	}
	return s.UserID.String()
}

// ClientSubject stands for a client where a user's id would: the UUIDv5 of a URN (RFC 9562 §5.5), which is nobody's id, since
// those are UUIDv7.
func ClientSubject(clientID string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("urn:gatehouse:client:"+clientID))
}

// Settings of an Issuer.
type Settings struct {
	Ring     *Ring         // until SetRing
	Issuer   string        // iss
	Audience string        // aud
	Lifetime time.Duration // whole seconds
}

// Issuer signs and verifies access tokens. It is safe for use by many goroutines.
type Issuer struct {
	settings Settings
	ring     atomic.Pointer[Ring]
	losses   atomic.Uint64 // rings that lacked a key of the one before
}

// NewIssuer refuses settings under which tokens would be forgeable or dead at birth.
func NewIssuer(s Settings) (*Issuer, error) {
	if s.Ring == nil {
		return nil, errors.New("token: no ring of keys")
	}
	if s.Issuer == "" || s.Audience == "" {
		return nil, errors.New("token: issuer and audience must be set")
	}
	if s.Lifetime < time.Second {
		return nil, fmt.Errorf("token: lifetime %v is under a second", s.Lifetime)
	}
	ring := s.Ring
	s.Ring = nil // it would keep the first keys in memory, and show them where an Issuer is printed
	i := &Issuer{settings: s}
	i.ring.Store(ring)
	return i, nil
}

// Ring is the one that tokens are signed and verified by.
func (i *Issuer) Ring() *Ring { return i.ring.Load() }

// SetRing has tokens signed and verified by another ring. Tokens of keys that are not in it are refused, also by a Verifier
// that remembers them. It is for one goroutine at a time.
func (i *Issuer) SetRing(r *Ring) {
	if before := i.ring.Swap(r); r.lacks(before) {
		i.losses.Add(1)
	}
}

// Lifetime is how long a token lives from its issue.
func (i *Issuer) Lifetime() time.Duration { return i.settings.Lifetime }

// Names are the iss and the aud of the tokens.
func (i *Issuer) Names() (issuer, audience string) { return i.settings.Issuer, i.settings.Audience }

// claims is the payload (RFC 9068 §2.2 and, by the names of RFC 9068 §2.2.3, what Gatehouse adds to it).
type claims struct {
	jwt.RegisteredClaims
	ClientID  string   `json:"client_id"`
	SessionID string   `json:"sid,omitempty"`
	Username  string   `json:"username,omitempty"`
	Version   int64    `json:"ver"`
	Roles     []string `json:"roles,omitempty"` // RFC 9068 §2.2.3.1
	Scope     string   `json:"scope,omitempty"` // RFC 8693 §4.2
}

// Issue makes a token that is valid from now for a time, which is at most the issuer's lifetime.
func (i *Issuer) Issue(now time.Time, s Subject, validity time.Duration) (string, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	var roles []string
	if s.Roles != "" {
		roles = strings.Split(s.Roles, ",")
	}
	ring := i.Ring()
	if !ring.signing.CanSign() {
		return "", errors.New("token: the ring only verifies")
	}
	sid := ""
	if !s.IsClient() {
		sid = s.SessionID.String()
	}
	return sign(ring.signing, mediaType, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    i.settings.Issuer,
			Subject:   s.Name(),
			Audience:  jwt.ClaimStrings{i.settings.Audience},
			ExpiresAt: jwt.NewNumericDate(now.Add(min(validity, i.settings.Lifetime))),
			IssuedAt:  jwt.NewNumericDate(now),
			ID:        id.String(),
		},
		ClientID:  cmp.Or(s.ClientID, FirstParty),
		SessionID: sid,
		Username:  s.Username,
		Version:   s.Version,
		Roles:     roles,
		Scope:     s.Scope,
	})
}

func sign(key Key, mediaType string, c jwt.Claims) (string, error) {
	t := jwt.NewWithClaims(key.algorithm.method(), c)
	t.Header = key.headerOf(mediaType)
	signed, err := t.SignedString(key.signing())
	if err != nil {
		return "", fmt.Errorf("token: sign: %w", err)
	}
	return signed, nil
}

// Verify says what a token says if it was issued here, is for this audience and has not expired at now
// (RFC 9068 §4). Whether it was revoked since is not for this package to know. Its error wraps ErrInvalid.
func (i *Issuer) Verify(now time.Time, raw string) (Access, error) {
	if len(raw) <= MaxLength && isCompact(raw) {
		if access, ok := i.verifyOwn(now, raw); ok {
			return access, nil
		}
	}
	return i.verifyAny(now, raw)
}

// verifyAny is Verify for tokens in any writing that JSON and base64url allow.
func (i *Issuer) verifyAny(now time.Time, raw string) (Access, error) {
	var c claims
	err := parse(now, raw, &c, i.Ring(), mediaType, jwt.WithIssuer(i.settings.Issuer), jwt.WithAudience(i.settings.Audience))
	if err != nil {
		return Access{}, err
	}
	return c.access()
}

// parse verifies what all tokens have in common: the form, the type, the signature by one of the keys, and that it has not
// expired.
func parse(now time.Time, raw string, into jwt.Claims, ring *Ring, mediaType string, more ...jwt.ParserOption) error {
	return parseUpTo(MaxLength, now, raw, into, ring, mediaType, more...)
}

func parseUpTo(
	maxLength int, now time.Time, raw string, into jwt.Claims, ring *Ring, mediaType string, more ...jwt.ParserOption,
) error {
	if len(raw) > maxLength {
		return refuse(errors.New("longer than any token"))
	}
	if !isCompact(raw) {
		return refuse(errors.New("not in base64url"))
	}
	parser := jwt.NewParser(append(more,
		jwt.WithValidMethods(ring.methods),
		jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(func() time.Time { return now }),
	)...)
	if _, err := parser.ParseWithClaims(raw, into, keyfunc(ring, mediaType)); err != nil {
		return refuse(err)
	}
	return nil
}

// keyfunc refuses by the header what no key may vouch for.
func keyfunc(ring *Ring, mediaType string) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		typ, _ := t.Header["typ"].(string)
		if typ = strings.ToLower(typ); typ != mediaType && typ != "application/"+mediaType {
			return nil, fmt.Errorf("typ is not %s", mediaType)
		}
		// An extension that must be understood, and none is (RFC 7515 §4.1.11).
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("crit is present")
		}
		return ring.keyFor(t)
	}
}

func (c claims) access() (Access, error) {
	id, errID := uuid.Parse(c.ID)
	user, session, errSubject := c.subject()
	if err := errors.Join(errID, errSubject); err != nil {
		return Access{}, refuse(err)
	}
	if c.Version < 1 || c.IssuedAt == nil {
		return Access{}, refuse(errors.New("ver or iat is missing"))
	}
	for _, role := range c.Roles {
		if !isRole(role) {
			return Access{}, refuse(errors.New("a role's name is malformed"))
		}
	}
	return Access{
		ID: id,
		Subject: Subject{
			UserID: user, SessionID: session, Username: c.Username, Version: c.Version,
			Roles: strings.Join(c.Roles, ","), Scope: c.Scope, ClientID: c.ClientID,
		},
		IssuedAt: c.IssuedAt.Time, Expires: c.ExpiresAt.Time,
	}, nil
}

// subject is a user with a session, or a client without one. No client has a user's id for its own.
func (c claims) subject() (user, session uuid.UUID, err error) {
	user, errUser := uuid.Parse(c.Subject)
	ofClient := c.Subject == c.ClientID && c.Subject != "" && c.Subject != FirstParty
	if ofClient && errUser != nil && c.SessionID == "" && c.Username == "" {
		return ClientSubject(c.ClientID), uuid.Nil, nil
	}
	session, errSession := uuid.Parse(c.SessionID)
	if errSession == nil && session == uuid.Nil {
		errSession = errors.New("sid is nil")
	}
	return user, session, errors.Join(errUser, errSession)
}

// isCompact is true for three dot-separated parts in the base64url alphabet. The decoder alone would skip
// line breaks, so that one token could be written in many ways.
func isCompact(raw string) bool {
	dots := 0
	for n := range len(raw) {
		switch c := raw[n]; {
		case c == '.':
			dots++
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return dots == 2
}

func refuse(reason error) error { return fmt.Errorf("%w: %w", ErrInvalid, reason) }
