// Package verify checks Gatehouse's access tokens in other services, so that they need not ask about each request: the
// signature and the claims by SECRET_KEY, and whether a token was revoked by following GET /revocations. How to use it is
// in the example.
//
// A ban is known here after it is known to a replica (at once; after REVOCATION_MAX_STALENESS at the latest, or the
// replica does not answer) and then polled (Poll). Where polls fail, tokens are let in for no longer than MaxStaleness,
// and then none is. So a token that was revoked is let in for at most REVOCATION_MAX_STALENESS and MaxStaleness together:
// 7 seconds by default in the worst case, half a second or so as a rule. The clocks of the two may be 5 seconds apart.
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

	// ErrUnavailable: the revocations have not been confirmed for too long to let anybody in.
	ErrUnavailable = errors.New("verify: revocations are not up to date")
)

// Options of a Verifier. Those up to Service are needed.
type Options struct {
	// URL is where Gatehouse is reached. It should be https, or on a network that is trusted: who can answer for
	// Gatehouse can hide a ban.
	URL      string
	Issuer   string   // Gatehouse's ISSUER
	Audience string   // Gatehouse's AUDIENCE
	Keys     [][]byte // Gatehouse's SECRET_KEY: the first signs what this service sends, all verify
	Service  string   // name of this service: 1 to 64 printable ASCII characters, no space

	Poll         time.Duration    // between two polls; default 500 ms
	MaxStaleness time.Duration    // how long tokens are let in after the last good poll; default 5 s
	HTTPClient   *http.Client     // default http.DefaultClient; redirects are not followed
	Log          *slog.Logger     // gets a line when polls begin to fail, and when they succeed again; default none
	Clock        func() time.Time // default time.Now; for tests of what expires
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
	follower     *follower
	maxStaleness time.Duration
	clock        func() time.Time
}

// New loads the revocations and follows them, in a goroutine of its own, until ctx ends. From then on nobody is let in
// once MaxStaleness is over. It is an error if the revocations cannot be loaded within 30 seconds.
func New(ctx context.Context, o Options) (*Verifier, error) {
	o = withDefaults(o)
	ring, err := token.SecretRing(o.Keys)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	// The lifetime is for those who issue tokens.
	issuer, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: o.Issuer, Audience: o.Audience, Lifetime: time.Hour})
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	f, err := newFollower(o)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if err := f.poll(ctx, loadTimeout); err != nil {
		return nil, fmt.Errorf("verify: load revocations: %w", err)
	}
	go f.follow(ctx)
	return &Verifier{tokens: token.NewVerifier(issuer, tokenCache), follower: f, maxStaleness: o.MaxStaleness, clock: o.Clock}, nil
}

func withDefaults(o Options) Options {
	o.Poll = cmp.Or(max(o.Poll, 0), 500*time.Millisecond)
	o.MaxStaleness = cmp.Or(max(o.MaxStaleness, 0), 5*time.Second)
	o.HTTPClient = cmp.Or(o.HTTPClient, http.DefaultClient)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}

// Verify says what a token says, if it is valid and was not revoked. It asks nobody. ErrInvalidToken, ErrUnavailable.
func (v *Verifier) Verify(raw string) (Claims, error) {
	now := v.clock()
	access, err := v.tokens.Verify(now, raw)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	set := v.follower.set.Load()
	age := set.Age(now) // looked at before the entries, which may come in meanwhile
	switch isRevoked, tooOld := set.Check(now, access, math.MaxInt64); {
	case isRevoked:
		return Claims{}, fmt.Errorf("%w: revoked", ErrInvalidToken)
	case age > v.maxStaleness:
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
