// Package token owns the form of Gatehouse's tokens. Access tokens are JSON Web Tokens (RFC 7519)
// with the profile of RFC 9068. A key of a [Ring] signs them. The tokens of services are JSON Web
// Tokens too. Refresh tokens and device tokens are a few bytes and a MAC.
//
// The package is pure. It holds keys and is told the time. It reaches neither network nor database.
package token

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

const (
	// MaxLength is the length in bytes of the longest token that is read. A longer one is refused
	// before any of it is decoded. A token with the longest username takes less than 1 KiB. The
	// schema allows 2 KiB more for roles and scope, and base64 adds a third to that.
	MaxLength = 4 << 10

	// Leeway is how far the clocks of two replicas may be apart before one refuses what the other
	// issued.
	Leeway = 5 * time.Second

	// MinKeyLength is the least length of a secret in bytes. It is that of the hash (RFC 7518
	// §3.2).
	MinKeyLength = 32

	// mediaType is the typ of an access token. No other JWT of the same key passes for one (RFC
	// 9068 §2.1).
	mediaType = "at+jwt"

	// FirstParty is the client_id of whoever asks for tokens without a client_id.
	FirstParty = "gatehouse"
)

// ErrInvalid is for a token that is refused. The error around it has the reason. The reason is for
// the log, not for the caller.
var ErrInvalid = errors.New("token: invalid token")

// Access is what an access token says.
type Access struct {
	ID uuid.UUID // jti
	Subject
	IssuedAt time.Time
	Expires  time.Time
}

// Subject is whom an access token is for: a user, or a client for itself (RFC 6749 §4.4). A
// client's own token has neither a session nor a username. Its sub is the client_id, and UserID is
// [ClientSubject].
type Subject struct {
	UserID    uuid.UUID // sub
	SessionID uuid.UUID // sid
	Username  string
	Version   int64 // the user's token version when it was issued: an older one than the user's is revoked
	// Roles are names with commas between, and Scope is permissions with spaces between. They are
	// text and not slices: so a remembered token is small, and nobody can change it.
	Roles, Scope string
	ClientID     string // to whom it was issued; Issue takes an empty one for FirstParty
	// Resources are what it is for (RFC 8707), with spaces between; "": the issuer's audience
	// alone.
	Resources string
	// ACR and AuthTime say how well and when the user has proved who it is. They are zero in a
	// client's own token, and in tokens of earlier releases.
	ACR      string
	AuthTime time.Time
}

// IsFor tells whether a token is for one of these audiences, or for the issuer's alone.
func (s Subject) IsFor(audiences ...string) bool {
	if s.Resources == "" {
		return true
	}
	for resource := range strings.FieldsSeq(s.Resources) {
		if slices.Contains(audiences, resource) {
			return true
		}
	}
	return false
}

// IsClient is true if the subject is a client and no user.
func (s Subject) IsClient() bool { return s.SessionID == uuid.Nil }

// Name is the sub.
func (s Subject) Name() string {
	if s.IsClient() {
		return s.ClientID
	}
	return s.UserID.String()
}

// ClientSubject takes the place of a user's id for a client. It is the UUIDv5 of a URN (RFC 9562
// §5.5). No user has it: ids of users are UUIDv4, or UUIDv7 for older accounts.
func ClientSubject(clientID string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("urn:gatehouse:client:"+clientID))
}

// Settings of an Issuer.
type Settings struct {
	Ring     *Ring         // until SetRing
	Issuer   string        // iss
	Audience string        // aud
	Lifetime time.Duration // whole seconds
	// Tutorial makes users' tokens of HS256 as FastAPI's tutorial does: sub is the username, and
	// there is no aud. Tokens of both forms are verified whatever is set, since replicas change the
	// setting one after the other.
	Tutorial bool
}

// Issuer signs and verifies access tokens. It is safe for use by many goroutines.
type Issuer struct {
	settings Settings
	ring     atomic.Pointer[Ring]
	losses   atomic.Uint64 // rings that lacked a key of the one before
}

// NewIssuer refuses settings with which anybody could forge tokens, or tokens would have expired
// when they are issued.
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

// Ring has the keys that sign and verify tokens now.
func (i *Issuer) Ring() *Ring { return i.ring.Load() }

// SetRing replaces the keys. Tokens of keys that are not in the new ring are refused, also by a
// [Verifier] that remembers them. One goroutine may call it at a time.
func (i *Issuer) SetRing(r *Ring) {
	if before := i.ring.Swap(r); r.lacks(before) {
		i.losses.Add(1)
	}
}

// Lifetime is how long a token lives after it is issued.
func (i *Issuer) Lifetime() time.Duration { return i.settings.Lifetime }

// UserInfo is the UserInfo endpoint as a resource, for tokens that are not for all of the audience.
func (i *Issuer) UserInfo() string { return strings.TrimSuffix(i.settings.Issuer, "/") + "/userinfo" }

// Names are the iss and the aud of the tokens.
func (i *Issuer) Names() (issuer, audience string) { return i.settings.Issuer, i.settings.Audience }

// claims is the payload: the claims of RFC 9068 §2.2, and what Gatehouse adds.
type claims struct {
	commonClaims
	loginClaims
	UserID    string   `json:"uid,omitempty"` // where sub is the username, as in FastAPI's tutorial
	ClientID  string   `json:"client_id"`
	SessionID string   `json:"sid,omitempty"`
	Username  string   `json:"username,omitempty"`
	Version   int64    `json:"ver"`
	Roles     []string `json:"roles,omitempty"` // RFC 9068 §2.2.3.1
	Scope     string   `json:"scope,omitempty"` // RFC 8693 §4.2
}

// loginClaims say how the user has proved who it is (RFC 9068 §2.2.1).
type loginClaims struct {
	AuthTime *jwt.NumericDate `json:"auth_time,omitempty"`
	ACR      string           `json:"acr,omitempty"`
	AMR      []string         `json:"amr,omitempty"`
}

// authTime is zero for a token without one, or with one before 1970.
func (c loginClaims) authTime() time.Time {
	if c.AuthTime == nil || c.AuthTime.Unix() <= 0 {
		return time.Time{}
	}
	return c.AuthTime.Time
}

// Issue makes a token that is valid for a time from now, but for no longer than the issuer's
// lifetime. The methods are its amr (RFC 8176). They are for others to read: nothing here decides
// by them, so they do not come back.
func (i *Issuer) Issue(
	now time.Time, s Subject, validity time.Duration, methods ...string,
) (string, error) {
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
	name, audience, uid := s.Name(), i.audienceOf(s), ""
	// A client's own token keeps the aud, so that nobody takes the client for the user of that
	// name. A token for other resources keeps it too: without it, the token would be for all.
	if i.settings.Tutorial && ring.SignsBySecret() && !s.IsClient() && s.Resources == "" {
		name, audience, uid = s.Username, nil, name
	}
	return sign(ring.signing, mediaType, claims{
		commonClaims: commonClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer:    i.settings.Issuer,
				Subject:   name,
				ExpiresAt: jwt.NewNumericDate(now.Add(min(validity, i.settings.Lifetime))),
				IssuedAt:  jwt.NewNumericDate(now),
				ID:        id.String(),
			},
			Audience: audience,
		},
		loginClaims: loginClaims{
			AuthTime: dateOf(s.AuthTime), ACR: s.ACR, AMR: methods,
		},
		UserID:    uid,
		ClientID:  cmp.Or(s.ClientID, FirstParty),
		SessionID: sid,
		Username:  s.Username,
		Version:   s.Version,
		Roles:     roles,
		Scope:     s.Scope,
	})
}

func (i *Issuer) audienceOf(s Subject) audience {
	if s.Resources == "" {
		return audience{i.settings.Audience}
	}
	return strings.Fields(s.Resources)
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

// ErrNoPublicKey means that the key that signs has no public half: it is a secret.
var ErrNoPublicKey = errors.New("token: nothing to sign with that others can verify")

// SignAs signs something else than an access token, for whoever has the public keys. The media type
// becomes its typ, and keeps the two apart. [ErrNoPublicKey].
func (i *Issuer) SignAs(mediaType string, c jwt.Claims) (string, error) {
	key := i.Ring().signing
	if key.algorithm == HS256 || !key.CanSign() {
		return "", ErrNoPublicKey
	}
	return sign(key, mediaType, c)
}

// VerifyAs reads what [Issuer.SignAs] has signed, of at most maxLength bytes. iss must be the
// issuer's, and iat not in the future. Its error wraps [ErrInvalid].
func (i *Issuer) VerifyAs(mediaType string, maxLength int, now time.Time, raw string, into jwt.Claims) error {
	_, err := parseUpTo(maxLength, now, raw, into, i.Ring(), mediaType, jwt.WithIssuer(i.settings.Issuer), jwt.WithIssuedAt())
	return err
}

// Verify returns what a token says, if it was issued here, is for this audience and has not expired
// (RFC 9068 §4). It does not know whether the token was revoked. Its error wraps [ErrInvalid].
func (i *Issuer) Verify(now time.Time, raw string) (Access, error) {
	return i.isFor(i.VerifyForAny(now, raw))
}

// isFor passes on a token that is for the issuer's audience, among others.
func (i *Issuer) isFor(access Access, err error) (Access, error) {
	if err == nil && !access.IsFor(i.settings.Audience) {
		return Access{}, refuse(jwt.ErrTokenInvalidAudience)
	}
	return access, err
}

// VerifyForAny is Verify for a token that may be for any audience. The caller has to look at the
// Resources.
func (i *Issuer) VerifyForAny(now time.Time, raw string) (Access, error) {
	if len(raw) <= MaxLength && isCompact(raw) {
		if access, ok := i.verifyOwn(now, raw); ok {
			return access, nil
		}
	}
	return i.verifyAny(now, raw)
}

// verifyAny is VerifyForAny for a token that another program may have written, in any way that JSON
// and base64url allow.
func (i *Issuer) verifyAny(now time.Time, raw string) (Access, error) {
	var c claims
	parsed, err := parseUpTo(MaxLength, now, raw, &c, i.Ring(), mediaType, jwt.WithIssuer(i.settings.Issuer))
	if err != nil {
		return Access{}, err
	}
	resources, ok := i.resourcesOf(c.Audience)
	if c.UserID != "" {
		err = c.checkTutorial(Algorithm(parsed.Method.Alg()))
	} else if !ok {
		err = refuse(jwt.ErrTokenInvalidAudience)
	}
	if err != nil {
		return Access{}, err
	}
	return c.access(resources)
}

// resourcesOf is the Resources of a token with an aud. It is not ok for a list that is empty, or
// that would not come out of the text as it went in.
func (i *Issuer) resourcesOf(aud audience) (resources string, ok bool) {
	if len(aud) == 1 && aud[0] == i.settings.Audience {
		return "", true
	}
	joined := strings.Join(aud, " ")
	return joined, len(aud) > 0 && slices.Equal(strings.Fields(joined), aud)
}

// checkTutorial refuses tokens of the tutorial's form that [Issuer.Issue] would not make. Such a
// token has no aud, so every service that shares the secret accepts it. Therefore only the secret
// may sign it.
func (c claims) checkTutorial(by Algorithm) error {
	if by != HS256 || len(c.Audience) > 0 || c.Username == "" || c.Subject != c.Username {
		return refuse(errors.New("uid in a token of another form"))
	}
	return nil
}

// parse verifies what all tokens have in common: the form, the type, the signature by one of the
// keys, and that the token has not expired.
func parse(now time.Time, raw string, into jwt.Claims, ring *Ring, mediaType string, more ...jwt.ParserOption) error {
	_, err := parseUpTo(MaxLength, now, raw, into, ring, mediaType, more...)
	return err
}

func parseUpTo(
	maxLength int, now time.Time, raw string, into jwt.Claims, ring *Ring, mediaType string, more ...jwt.ParserOption,
) (*jwt.Token, error) {
	if len(raw) > maxLength {
		return nil, refuse(errors.New("longer than any token"))
	}
	if !isCompact(raw) {
		return nil, refuse(errors.New("not in base64url"))
	}
	parser := jwt.NewParser(append(more,
		jwt.WithValidMethods(ring.methods),
		jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(func() time.Time { return now }),
	)...)
	parsed, err := parser.ParseWithClaims(raw, into, keyfunc(ring, mediaType))
	if err != nil {
		return nil, refuse(err)
	}
	return parsed, nil
}

// keyfunc refuses a token whose header already shows that it cannot be accepted, whatever its key.
func keyfunc(ring *Ring, mediaType string) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		typ, _ := t.Header["typ"].(string)
		if !isType(typ, mediaType) {
			return nil, fmt.Errorf("typ is not %s", mediaType)
		}
		// crit lists extensions that must be understood. None is understood here (RFC 7515
		// §4.1.11).
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("crit is present")
		}
		return ring.keyFor(t)
	}
}

// isType compares media types, of which letters may be large or small, and "application/" may be
// left out (RFC 7515 §4.1.9).
func isType(typ, mediaType string) bool {
	return strings.EqualFold(typ, mediaType) || strings.EqualFold(typ, "application/"+mediaType)
}

func (c claims) access(resources string) (Access, error) {
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
			Resources: resources, ACR: kept(c.ACR), AuthTime: c.authTime(),
		},
		IssuedAt: c.IssuedAt.Time, Expires: c.ExpiresAt.Time,
	}, nil
}

// subject is a user with a session, or a client without one. No client may take a user's id for its
// own.
func (c claims) subject() (user, session uuid.UUID, err error) {
	user, errUser := uuid.Parse(cmp.Or(c.UserID, c.Subject))
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

// isCompact is true for three parts in the base64url alphabet with dots between. The decoder alone
// would skip line breaks, and one token could be written in many ways.
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
