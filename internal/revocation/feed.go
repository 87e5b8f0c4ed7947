package revocation

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

const (
	// feedMediaType is the typ of a feed. So no feed passes for a token, and no token for a feed.
	feedMediaType = "revocations+jwt"

	// FeedValidity is how long a feed may be taken for what is known now. The reader's clock may be
	// a [token.Leeway] behind.
	FeedValidity = 5 * time.Second

	// MaxFeedLength bounds the feeds that are read, in bytes. It is enough for some million
	// revocations.
	MaxFeedLength = 64 << 20
)

// ErrNoFeed means that access tokens are signed by a secret. Readers of a feed do not have it.
var ErrNoFeed = errors.New("revocation: nothing to sign a feed with that others can verify")

// Feed is what a replica knows of revoked tokens. It is for whoever verifies tokens by public keys.
type Feed struct {
	IssuedAt time.Time // whole seconds
	// Keep and Lifetime are how long to keep a revocation, and how old a token may be.
	Keep, Lifetime time.Duration
	IssuedBefore   int64            // every token that was issued before is revoked, in seconds since 1970
	Users          map[FeedID]int64 // versions: tokens with lower ones are revoked
	Sessions       []FeedID
}

// FeedID is the id of a user or a session. Its text is base64url, two thirds of the usual one.
type FeedID uuid.UUID

// MarshalText implements [encoding.TextMarshaler].
func (id FeedID) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, id[:]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. One id has one text.
func (id *FeedID) UnmarshalText(text []byte) error {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return errors.New("revocation: an id of another length")
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(id[:], text); err != nil || n != len(id) {
		return errors.New("revocation: an id that is not base64url")
	}
	return nil
}

type feedClaims struct {
	jwt.RegisteredClaims
	KeepSeconds     int64            `json:"keep_seconds"`
	LifetimeSeconds int64            `json:"lifetime_seconds"`
	IssuedBefore    int64            `json:"issued_before,omitempty"`
	Users           map[FeedID]int64 `json:"users"`
	Sessions        []FeedID         `json:"sessions"`
}

// SignFeed makes a compact JWS (RFC 7515 §7.1) of what was known at f.IssuedAt. [ErrNoFeed].
func SignFeed(by *token.Issuer, f Feed) (string, error) {
	issuer, _ := by.Names()
	issued := f.IssuedAt.Truncate(time.Second) // what was known then is in it; to round up would claim more
	raw, err := by.SignAs(feedMediaType, feedClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(issued.Add(FeedValidity)),
		},
		KeepSeconds: int64(f.Keep / time.Second), LifetimeSeconds: int64(f.Lifetime / time.Second),
		IssuedBefore: f.IssuedBefore, Users: f.Users, Sessions: f.Sessions,
	})
	if errors.Is(err, token.ErrNoPublicKey) {
		return "", ErrNoFeed
	}
	return raw, err
}

// VerifyFeed reads what [SignFeed] has made, by a key of the issuer's ring, for as long as it is
// valid. Its error wraps [token.ErrInvalid].
func VerifyFeed(by *token.Issuer, now time.Time, raw string) (Feed, error) {
	var c feedClaims
	if err := by.VerifyAs(feedMediaType, MaxFeedLength, now, raw, &c); err != nil {
		return Feed{}, err
	}
	if c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > FeedValidity {
		return Feed{}, fmt.Errorf("%w: exp is not within %v of iat", token.ErrInvalid, FeedValidity)
	}
	if !c.isWhole() {
		return Feed{}, fmt.Errorf("%w: malformed feed", token.ErrInvalid)
	}
	return Feed{
		IssuedAt: c.IssuedAt.Time, IssuedBefore: c.IssuedBefore, Users: c.Users, Sessions: c.Sessions,
		Keep: time.Duration(c.KeepSeconds) * time.Second, Lifetime: time.Duration(c.LifetimeSeconds) * time.Second,
	}, nil
}

// maxKeepSeconds is more than any setting allows, and no overflow.
const maxKeepSeconds = 1 << 31

// isWhole tells whether nothing is missing. A feed without its lists would pass for one that has
// nothing to tell.
func (c feedClaims) isWhole() bool {
	for id, version := range c.Users {
		if id == (FeedID{}) || version < 1 {
			return false
		}
	}
	for _, id := range c.Sessions {
		if id == (FeedID{}) {
			return false
		}
	}
	return c.IssuedBefore >= 0 && c.Users != nil && c.Sessions != nil &&
		1 <= c.LifetimeSeconds && c.LifetimeSeconds <= c.KeepSeconds && c.KeepSeconds <= maxKeepSeconds
}
