package token

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
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
	// idMediaType is the typ of an ID token. RFC 7519 §5.1 wants it in capitals. No access token
	// passes for an ID token, and no ID token for an access token.
	idMediaType = "JWT"

	// MaxIDTokenLength is the length in bytes of the longest ID token that is read back. One with
	// all roles that a user may have, and a long nonce, is shorter.
	MaxIDTokenLength = 8 << 10
)

// IDAlgorithms are those of ID tokens. The first is the one that every client must know (OpenID
// Connect Discovery 1.0 §3).
func IDAlgorithms() []Algorithm { return []Algorithm{RS256, ES256, EdDSA} }

// IDToken is what a client is told of a user who has logged in (OpenID Connect Core 1.0 §2). Claims
// of zero value are left out.
type IDToken struct {
	Subject   uuid.UUID // sub: the user
	Audience  string    // aud: the client_id
	SessionID uuid.UUID // sid (OpenID Connect Back-Channel Logout 1.0 §2.1)
	IssuedAt  time.Time // set by [IDIssuer.Issue]
	Expires   time.Time // set by [IDIssuer.Issue]
	AuthTime  time.Time // when the user proved who it is
	Nonce     string
	ACR       string
	AMR       []string // RFC 8176
	// AccessToken is the one that is given out together with the ID token. The ID token has its
	// hash (at_hash). It is empty in an ID token that is read back.
	AccessToken string

	Name              string
	PreferredUsername string
	UpdatedAt         time.Time
	Groups            []string
	Email             string
	EmailVerified     bool // false is left out
}

// idClaims are the payload of an ID token.
type idClaims struct {
	commonClaims
	SessionID         string           `json:"sid,omitempty"`
	AuthTime          *jwt.NumericDate `json:"auth_time,omitempty"`
	Nonce             string           `json:"nonce,omitempty"`
	ACR               string           `json:"acr,omitempty"`
	AMR               []string         `json:"amr,omitempty"`
	AccessTokenHash   string           `json:"at_hash,omitempty"`
	Name              string           `json:"name,omitempty"`
	PreferredUsername string           `json:"preferred_username,omitempty"`
	UpdatedAt         *jwt.NumericDate `json:"updated_at,omitempty"`
	Groups            []string         `json:"groups,omitempty"`
	Email             string           `json:"email,omitempty"`
	EmailVerified     bool             `json:"email_verified,omitempty"`
}

// IDKeys are the keys of ID tokens at one moment. Of each algorithm one key may sign, and all
// verify. They never change.
type IDKeys struct {
	signing map[Algorithm]Key
	all     *Ring
	members []string // of the key set
}

// NewIDKeys makes IDKeys. Keys with a private half sign. It is an error if two of them have the
// same algorithm, or if a key is a secret.
func NewIDKeys(keys ...Key) (*IDKeys, error) {
	all, err := NewVerifyingRing(keys...)
	if err != nil {
		return nil, err
	}
	ids := &IDKeys{signing: map[Algorithm]Key{}, all: all}
	for _, k := range keys {
		if !slices.Contains(IDAlgorithms(), k.algorithm) {
			return nil, fmt.Errorf("token: a key of %s for ID tokens", k.algorithm)
		}
		if k.CanSign() {
			if _, twice := ids.signing[k.algorithm]; twice {
				return nil, fmt.Errorf("token: two keys of %s sign ID tokens", k.algorithm)
			}
			ids.signing[k.algorithm] = k
		}
	}
	for _, k := range all.byID {
		ids.members = append(ids.members, markedForIDs(k.jwk))
	}
	return ids, nil
}

// IDIssuer signs ID tokens and logout tokens, and reads ID tokens back. It is safe for use by many
// goroutines.
type IDIssuer struct {
	issuer   string
	lifetime time.Duration
	keys     atomic.Pointer[IDKeys]
}

// NewIDIssuer makes an IDIssuer that has no keys until SetKeys. An ID token lives no longer than
// the lifetime, in whole seconds.
func NewIDIssuer(issuer string, lifetime time.Duration) (*IDIssuer, error) {
	if issuer == "" {
		return nil, errors.New("token: issuer must be set")
	}
	if lifetime < time.Second {
		return nil, fmt.Errorf("token: lifetime %v is under a second", lifetime)
	}
	none, err := NewIDKeys()
	if err != nil {
		return nil, err
	}
	i := &IDIssuer{issuer: issuer, lifetime: lifetime}
	i.keys.Store(none)
	return i, nil
}

// Keys are those that sign and verify now.
func (i *IDIssuer) Keys() *IDKeys { return i.keys.Load() }

// SetKeys replaces the keys. ID tokens of keys that are not among the new ones are refused.
func (i *IDIssuer) SetKeys(k *IDKeys) { i.keys.Store(k) }

// Issue signs an ID token that is valid for a time from now, but for no longer than the issuer's
// lifetime.
func (i *IDIssuer) Issue(
	now time.Time, algorithm Algorithm, t IDToken, validity time.Duration,
) (string, error) {
	if t.Subject == uuid.Nil || t.Audience == "" {
		return "", errors.New("token: an ID token for nobody")
	}
	return i.sign(algorithm, idMediaType, idClaims{
		commonClaims: commonClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer:    i.issuer,
				Subject:   t.Subject.String(),
				ExpiresAt: jwt.NewNumericDate(now.Add(min(validity, i.lifetime))),
				IssuedAt:  jwt.NewNumericDate(now),
			},
			Audience: audience{t.Audience},
		},
		SessionID: textOf(t.SessionID), AuthTime: dateOf(t.AuthTime), Nonce: t.Nonce, ACR: t.ACR,
		AMR: t.AMR, AccessTokenHash: accessTokenHash(algorithm, t.AccessToken),
		Name: t.Name, PreferredUsername: t.PreferredUsername, UpdatedAt: dateOf(t.UpdatedAt),
		Groups: t.Groups, Email: t.Email, EmailVerified: t.EmailVerified,
	})
}

func (i *IDIssuer) sign(algorithm Algorithm, mediaType string, c jwt.Claims) (string, error) {
	key, ok := i.Keys().signing[algorithm]
	if !ok {
		return "", fmt.Errorf("token: no key of %q signs ID tokens", algorithm)
	}
	return sign(key, mediaType, c)
}

// accessTokenHash is an at_hash: the left half of the hash that belongs to the algorithm (OpenID
// Connect Core 1.0 §3.1.3.6). Ed25519 has SHA-512 within it (RFC 8032 §5.1).
func accessTokenHash(algorithm Algorithm, accessToken string) string {
	if accessToken == "" {
		return ""
	}
	if algorithm == EdDSA {
		sum := sha512.Sum512([]byte(accessToken))
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// VerifyHint reads an id_token_hint: an ID token that this issuer has signed, for whatever client.
// It may have expired (OpenID Connect RP-Initiated Logout 1.0 §2). So it proves no login: it only
// says whom a client means. Its error wraps [ErrInvalid].
func (i *IDIssuer) VerifyHint(now time.Time, raw string) (IDToken, error) {
	var c idClaims
	// The claims are looked at here, since the library refuses any exp that has passed.
	_, err := parseUpTo(
		MaxIDTokenLength, now, raw, &c, i.Keys().all, idMediaType, jwt.WithoutClaimsValidation(),
	)
	switch {
	case err != nil:
		return IDToken{}, err
	case c.Issuer != i.issuer:
		return IDToken{}, refuse(jwt.ErrTokenInvalidIssuer)
	case len(c.Audience) != 1 || c.Audience[0] == "":
		return IDToken{}, refuse(jwt.ErrTokenInvalidAudience)
	case c.IssuedAt == nil || c.ExpiresAt == nil:
		return IDToken{}, refuse(errors.New("iat or exp is missing"))
	case c.IssuedAt.After(now.Add(Leeway)):
		return IDToken{}, refuse(jwt.ErrTokenUsedBeforeIssued)
	}
	return c.idToken()
}

func (c idClaims) idToken() (IDToken, error) {
	user, err := uuid.Parse(c.Subject)
	if err != nil || user == uuid.Nil {
		return IDToken{}, refuse(errors.New("sub is no user"))
	}
	session := uuid.Nil
	if c.SessionID != "" {
		if session, err = uuid.Parse(c.SessionID); err != nil {
			return IDToken{}, refuse(errors.New("sid is no session"))
		}
	}
	return IDToken{
		Subject: user, Audience: c.Audience[0], SessionID: session, IssuedAt: c.IssuedAt.Time,
		Expires: c.ExpiresAt.Time, AuthTime: timeOf(c.AuthTime), Nonce: c.Nonce, ACR: c.ACR,
		AMR: c.AMR, Name: c.Name, PreferredUsername: c.PreferredUsername,
		UpdatedAt: timeOf(c.UpdatedAt), Groups: c.Groups, Email: c.Email,
		EmailVerified: c.EmailVerified,
	}, nil
}

// textOf is empty for no id.
func textOf(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func dateOf(t time.Time) *jwt.NumericDate {
	if t.IsZero() {
		return nil
	}
	return jwt.NewNumericDate(t)
}

func timeOf(d *jwt.NumericDate) time.Time {
	if d == nil {
		return time.Time{}
	}
	return d.Time
}

// idMark is a member of our own in a JWK. Readers ignore members that they do not know (RFC 7517
// §4). [ParseJWKS] knows it: a key of ID tokens must verify no access token, whatever it signs.
const idMark = `"gatehouse_use":"id"`

// markedForIDs is a JWK with the mark.
func markedForIDs(jwk []byte) string {
	return strings.TrimSuffix(string(jwk), "}") + "," + idMark + "}"
}

// KeySet is a JWK Set of the public keys of access tokens and of ID tokens (RFC 7517 §5). Those of
// access tokens stand first, since who verifies them by hand takes the first key.
func KeySet(access *Ring, ids *IDKeys) []byte { return jwksOf(access.members, ids.members) }
