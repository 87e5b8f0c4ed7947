package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/internal/revocation"
	"gatehouse/internal/token"
)

// askTimeout bounds a question to the database, so that requests do not pile up behind one that does not answer.
const askTimeout = time.Second

// Checker decides whether an access token that is valid by itself was revoked.
type Checker struct {
	set    *revocation.Set
	store  Store
	clock  func() time.Time
	maxAge time.Duration
}

// NewChecker makes a Checker that trusts the set for maxAge after its last confirmation.
func NewChecker(set *revocation.Set, store Store, clock func() time.Time, maxAge time.Duration) *Checker {
	return &Checker{set: set, store: store, clock: clock, maxAge: maxAge}
}

// Check returns nil only for a token that is known not to be revoked: by the set or, where that may be behind, by the
// database. ErrInvalidToken, ErrUnavailable.
func (c *Checker) Check(ctx context.Context, a token.Access) error {
	isRevoked, stale := c.set.Check(c.clock(), a, c.maxAge)
	switch {
	case isRevoked:
		return errRevoked
	case stale:
		return c.ask(ctx, a)
	}
	return nil
}

// Revocations is the set, if it may be vouched for: ErrUnavailable while it may be behind.
func (c *Checker) Revocations() (*revocation.Set, error) {
	if age := c.set.Age(c.clock()); age > c.maxAge {
		return nil, fmt.Errorf("%w: revocations are %v old", ErrUnavailable, age)
	}
	return c.set, nil
}

// signedFeed is the latest feed of revocations. It is signed anew when a second has passed, when something was revoked, and
// when the keys have changed: not for each of thousands who ask.
type signedFeed struct {
	mu     sync.Mutex
	second int64 // since 1970
	cursor string
	ring   *token.Ring
	raw    []byte
}

// RevocationFeed is what this replica knows of revoked tokens, signed for whoever has the public keys. ErrNoFeed while the
// signing key is a secret; ErrUnavailable while what is known, or the keys, may be behind. It is others' too, and not to be
// changed.
func (s *Service) RevocationFeed() ([]byte, error) {
	now := s.clock() // before the set is looked at: what is revoked later is for the next feed
	set, err := s.revocations.Revocations()
	if err != nil {
		return nil, err
	}
	if err := s.checkRing(); err != nil {
		return nil, err
	}
	return s.feed.at(now, set, s.tokens)
}

func (f *signedFeed) at(now time.Time, set *revocation.Set, tokens *token.Issuer) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.raw != nil && f.second == now.Unix() && f.cursor == set.Cursor() && f.ring == tokens.Ring() {
		return f.raw, nil
	}
	ring := tokens.Ring() // before it signs: a later one has the feed signed anew
	report, cursor := set.Since()
	raw, err := tokens.SignFeed(report.Feed(now))
	switch {
	case errors.Is(err, token.ErrNoFeed):
		return nil, ErrNoFeed
	case err != nil:
		return nil, err
	}
	f.second, f.cursor, f.ring, f.raw = now.Unix(), cursor, ring, []byte(raw)
	return f.raw, nil
}

var errRevoked = fmt.Errorf("%w: revoked", ErrInvalidToken)

func (c *Checker) ask(ctx context.Context, a token.Access) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := live(asking, c.store, a)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case err == nil, errors.Is(err, ErrInvalidToken):
		return err
	}
	return fmt.Errorf("%w: revocations: %w", ErrUnavailable, err)
}
