// Package verify checks Gatehouse's access tokens in other services. They need not ask Gatehouse
// about each request. The examples show how to use it.
//
// There are two ways. Where ALGORITHM is ES256, EdDSA or RS256, the service needs no secret. It
// verifies the signature with the public keys at /.well-known/jwks.json, and learns what was
// revoked from the signed feed GET /revocations.jwt. Where ALGORITHM is HS256, the service needs
// SECRET_KEY. It verifies the signature with that, and asks GET /revocations with a token of its
// own.
//
// # How soon a ban is in force
//
// First a replica of Gatehouse learns of a ban. It does so at once, or else stops to answer after
// REVOCATION_MAX_STALENESS. Then this service learns of the ban by its next poll. When polls fail,
// tokens are let in until MaxStaleness is over, and none after that. So a revoked token is let in
// for REVOCATION_MAX_STALENESS and MaxStaleness together at most. By default that is 7 seconds at
// worst, and about half a second as a rule. By the feed it is 12 seconds and two, since caches on
// the way keep the feed for a second.
//
// The clocks of Gatehouse and of this service may be 5 seconds apart. The feed is dated by
// Gatehouse's clock. If that clock is behind, what the feed says counts as older than it is. If it
// is ahead, it counts as younger.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// tokenCache is how many verified tokens are remembered. Each takes about 250 bytes, and as much as
// its roles and permissions.
const tokenCache = 10_000

var (
	// ErrInvalidToken is for a token that is forged, malformed, expired or revoked. The error
	// around it has the reason. The reason is for the log, not for the caller.
	ErrInvalidToken = errors.New("verify: invalid access token")

	// ErrUnavailable means that nobody can be let in: the revocations or the public keys have not
	// been confirmed for too long.
	ErrUnavailable = errors.New("verify: not up to date")
)

// Options of a Verifier. Those up to Audience are needed.
type Options struct {
	// URL is where Gatehouse is reached. It should be https, or on a network that is trusted.
	// Whoever can answer in Gatehouse's place can hide a ban, and can give this service false
	// public keys.
	URL    string
	Issuer string // Gatehouse's ISSUER
	// Audience is Gatehouse's AUDIENCE. If apps ask for tokens for this service (RFC 8707), it is
	// the URI for which they do so, and all other tokens are refused.
	Audience string
	// Keys are those of Gatehouse's SECRET_KEY. The first signs what this service sends, and all of
	// them verify. Public keys are fetched as soon as Gatehouse signs with one. Tokens of HS256 are
	// refused without Keys, and also when Gatehouse has revoked that key.
	Keys    [][]byte
	Service string // name of this service, for use with Keys: 1 to 64 printable ASCII characters, no space

	Poll         time.Duration // between two polls; default 500 ms, and 1 s of the feed
	MaxStaleness time.Duration // how long tokens are let in after the last good poll; default 5 s, and 10 s by the feed
	// KeyStaleness is how long public keys are used after they were fetched; default 1 h. They are
	// fetched much more often. Only while Gatehouse is out of reach can a revoked key be accepted
	// for so long.
	KeyStaleness time.Duration
	// FeedURL is where the signed feed is, if not at URL/revocations.jwt. It may be a cache that
	// nobody trusts: a cache can only hold the feed back, and for no longer than MaxStaleness.
	FeedURL string
	// StaleOpen lets tokens in after MaxStaleness too. Beware: whoever can cut this service off
	// from Gatehouse can then keep every ban from it, for as long as a banned user's token lives.
	// Nothing but a line in the log tells of it.
	StaleOpen  bool
	HTTPClient *http.Client     // default http.DefaultClient; redirects are not followed
	Log        *slog.Logger     // gets a line when polls begin to fail, and when they succeed again; default none
	Clock      func() time.Time // default time.Now; for tests of what expires
}

// Claims are what a valid access token says.
type Claims struct {
	UserID    uuid.UUID
	SessionID uuid.UUID
	Username  string
	Roles     []string // of the user: a change revokes the token. One that was asked for with a scope has none
	Scope     string   // permissions, with spaces between (RFC 8693 §4.2)
	IssuedAt  time.Time
	Expires   time.Time
	ClientID  string // to which client the token was issued
	// ACR and AuthTime say how strongly and when the user has logged in. They are zero in a
	// client's own token, and in tokens of earlier releases.
	ACR      string
	AuthTime time.Time
}

// Values of acr: how many factors the user has proved (NIST SP 800-63B).
const (
	ACR1 = token.ACR1 // one factor
	ACR2 = token.ACR2 // two factors
)

// IsClient tells whether the token is a client's own and no user's (RFC 6749 §4.4). Then Username
// is empty, SessionID is [uuid.Nil], and UserID stands for the client.
func (c Claims) IsClient() bool { return c.SessionID == uuid.Nil }

// HasRole tells whether the user has a role.
func (c Claims) HasRole(role string) bool { return slices.Contains(c.Roles, role) }

// HasPermission tells whether the token has a permission. A permission is resource:action or a
// single word. The token has resource:action also if it has resource:*.
func (c Claims) HasPermission(permission string) bool { return token.ScopeHas(c.Scope, permission) }

// Verifier checks access tokens. It is safe for use by many goroutines.
type Verifier struct {
	tokens       *token.Verifier
	keys         *keys
	follower     *follower
	maxStaleness time.Duration
	staleOpen    bool
	clock        func() time.Time
}

// New loads the revocations and, without a secret, the public keys. It is an error if they cannot
// be loaded within 30 seconds. Goroutines follow both until ctx ends. When MaxStaleness is over
// after that, nobody is let in any more.
func New(ctx context.Context, o Options) (*Verifier, error) {
	v, err := newVerifier(ctx, withDefaults(o))
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return v, nil
}

func newVerifier(ctx context.Context, o Options) (*Verifier, error) {
	client, base, err := reach(o)
	if err != nil {
		return nil, err
	}
	v := &Verifier{maxStaleness: o.MaxStaleness, staleOpen: o.StaleOpen, clock: o.Clock}
	if v.keys, err = newKeys(ctx, o, client, base); err != nil {
		return nil, err
	}
	v.tokens = token.NewVerifier(v.keys.tokens, tokenCache)
	if o.Keys == nil {
		v.follower, err = newFeedFollower(o, client, base, v.keys)
	} else {
		v.follower, err = newFollower(o, client, base, v.keys)
	}
	if err != nil {
		return nil, err
	}
	following, cancel := context.WithCancel(ctx)
	go v.keys.follow(following, o.Poll) // first, since the feed may be signed by a key that is new
	if err := v.follower.poll(ctx, loadTimeout); err != nil {
		cancel()
		return nil, fmt.Errorf("load revocations: %w", err)
	}
	context.AfterFunc(ctx, cancel)
	go v.follower.follow(following)
	return v, nil
}

func withDefaults(o Options) Options {
	poll, staleness := 500*time.Millisecond, 5*time.Second
	if o.Keys == nil {
		poll, staleness = time.Second, 10*time.Second
	}
	o.Poll = cmp.Or(max(o.Poll, 0), poll)
	o.MaxStaleness = cmp.Or(max(o.MaxStaleness, 0), staleness)
	o.KeyStaleness = cmp.Or(max(o.KeyStaleness, 0), time.Hour)
	o.HTTPClient = cmp.Or(o.HTTPClient, http.DefaultClient)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}

// Verify returns the claims of a token that is valid and was not revoked. It answers from memory.
// Only if the token names an unknown key does it ask for the public keys, once in 10 seconds at
// most. [ErrInvalidToken], [ErrUnavailable].
func (v *Verifier) Verify(raw string) (Claims, error) {
	now := v.clock()
	access, err := v.authenticate(now, raw)
	if err != nil {
		return Claims{}, err
	}
	set := v.follower.set.Load()
	age := set.Age(now) // looked at before the entries, which may come in meanwhile
	switch isRevoked, tooOld := set.Check(now, access, math.MaxInt64); {
	case isRevoked:
		return Claims{}, fmt.Errorf("%w: revoked", ErrInvalidToken)
	case age > v.maxStaleness && !v.staleOpen:
		return Claims{}, fmt.Errorf("%w for %v", ErrUnavailable, age)
	case tooOld:
		return Claims{}, fmt.Errorf("%w: older than what is known of revocations", ErrInvalidToken)
	}
	var roles []string
	if access.Roles != "" {
		roles = strings.Split(access.Roles, ",")
	}
	return Claims{
		UserID: access.UserID, SessionID: access.SessionID, Username: access.Username, Roles: roles,
		Scope: access.Scope, IssuedAt: access.IssuedAt, Expires: access.Expires,
		ClientID: access.ClientID, ACR: access.ACR, AuthTime: access.AuthTime,
	}, nil
}

// authenticate looks at the token alone.
func (v *Verifier) authenticate(now time.Time, raw string) (access token.Access, err error) {
	err = v.keys.ask(now, func() error {
		access, err = v.tokens.Verify(now, raw)
		return err
	})
	// Keys that are too old are no proof of a token. Nor are they one against it: a newer key may
	// have signed it.
	if unknown := errors.Is(err, token.ErrUnknownKey); err == nil || unknown {
		if stale := v.keys.check(now, unknown); stale != nil {
			return token.Access{}, stale
		}
	}
	if err != nil {
		return token.Access{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return access, nil
}
