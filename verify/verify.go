// Package verify checks Gatehouse's access tokens in other services, so that they need not ask about each request. There are
// two ways. Without a secret, where ALGORITHM is ES256, EdDSA or RS256: the signature by the public keys at
// /.well-known/jwks.json, and whether a token was revoked by the signed feed GET /revocations.jwt. With SECRET_KEY, where it
// is HS256: the signature by that, and GET /revocations with a token of the service. How to use it is in the examples.
//
// A ban is known here after it is known to a replica (at once; after REVOCATION_MAX_STALENESS at the latest, or the
// replica does not answer) and then polled (Poll). Where polls fail, tokens are let in for no longer than MaxStaleness,
// and then none is. So a token that was revoked is let in for at most REVOCATION_MAX_STALENESS and MaxStaleness together:
// 7 seconds by default in the worst case, half a second or so as a rule; by the feed 12 and two, since caches on its way
// keep it for a second. The clocks of the two may be 5 seconds apart. The feed is dated by Gatehouse's clock: by as much as
// that is behind or ahead, what is known counts as older or younger.
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

	"gatehouse/internal/token"
)

// tokenCache is how many verified tokens are remembered, of about 250 bytes each, and their roles and permissions.
const tokenCache = 10_000

var (
	// ErrInvalidToken is for a token that is forged, malformed, expired or revoked. The error around it has the reason,
	// which is for the log and not for the caller.
	ErrInvalidToken = errors.New("verify: invalid access token")

	// ErrUnavailable: the revocations, or the public keys, have not been confirmed for too long to let anybody in.
	ErrUnavailable = errors.New("verify: not up to date")
)

// Options of a Verifier. Those up to Audience are needed.
type Options struct {
	// URL is where Gatehouse is reached. It should be https, or on a network that is trusted: who can answer for
	// Gatehouse can hide a ban and, where public keys are fetched, have this service take his own for them.
	URL      string
	Issuer   string // Gatehouse's ISSUER
	Audience string // Gatehouse's AUDIENCE
	// Keys are Gatehouse's SECRET_KEY: the first signs what this service sends, all verify, and public keys are fetched once
	// Gatehouse signs by one. Without them, tokens by HS256 are refused.
	Keys    [][]byte
	Service string // name of this service, for use with Keys: 1 to 64 printable ASCII characters, no space

	Poll         time.Duration // between two polls; default 500 ms, and 1 s of the feed
	MaxStaleness time.Duration // how long tokens are let in after the last good poll; default 5 s, and 10 s by the feed
	// KeyStaleness is how long the public keys that were fetched last are good for; default 1 h. They are fetched much more
	// often: a key that was revoked is accepted here for so long only while Gatehouse is out of reach.
	KeyStaleness time.Duration
	// FeedURL is where the signed feed is, if not at URL/revocations.jwt: a cache that need not be trusted, since it can only
	// hold the feed up, and not for longer than MaxStaleness.
	FeedURL string
	// StaleOpen lets tokens in after MaxStaleness. Beware: whoever can cut this service off from Gatehouse then keeps every
	// ban from it, for as long as a banned user's token lives. Only a log line tells.
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
	Roles     []string // that the user had when the token was issued: a change revokes it
	Scope     string   // permissions, with spaces between (RFC 8693 §4.2)
	IssuedAt  time.Time
	Expires   time.Time
	ClientID  string // to which client the token was issued
}

// IsClient tells whether the token is a client's own (RFC 6749 §4.4): then it is no user's, Username is empty, SessionID is
// uuid.Nil, and UserID stands for the client.
func (c Claims) IsClient() bool { return c.SessionID == uuid.Nil }

// HasRole tells whether the user has a role.
func (c Claims) HasRole(role string) bool { return slices.Contains(c.Roles, role) }

// HasPermission tells whether the token allows resource:action, by that name or by resource:*.
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

// New loads the revocations and, if there is no secret, the keys, and follows both, in goroutines of its own, until ctx ends.
// From then on nobody is let in once MaxStaleness is over. It is an error if one cannot be loaded within 30 seconds.
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
		v.follower, err = newFollower(o, client, base)
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

// Verify says what a token says, if it is valid and was not revoked. It asks nobody, but for the keys if the token names one
// that is unknown: not more often than each 10 seconds. ErrInvalidToken, ErrUnavailable.
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
	return Claims{access.UserID, access.SessionID, access.Username, roles, access.Scope, access.IssuedAt, access.Expires, access.ClientID}, nil
}

// authenticate looks at the token alone.
func (v *Verifier) authenticate(now time.Time, raw string) (access token.Access, err error) {
	err = v.keys.ask(now, func() error {
		access, err = v.tokens.Verify(now, raw)
		return err
	})
	// Keys that are too old vouch for nobody, nor against one whom a newer key may have signed for.
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
