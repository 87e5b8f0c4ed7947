package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// askTimeout bounds a question to the database, so that requests do not pile up while the database
// does not answer.
const askTimeout = time.Second

// Checker decides whether a valid access token was revoked.
type Checker struct {
	set    *revocation.Set
	store  AccessStore
	clock  func() time.Time
	maxAge time.Duration
}

// NewChecker makes a Checker that trusts the set for maxAge after its last confirmation.
func NewChecker(
	set *revocation.Set, store AccessStore, clock func() time.Time, maxAge time.Duration,
) *Checker {
	return &Checker{set: set, store: store, clock: clock, maxAge: maxAge}
}

// Check returns nil only for a token that is known not to be revoked. It asks the set. If the set
// may be behind, it asks the database. Errors: [ErrInvalidToken], [ErrUnavailable].
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

// Revocations returns the set. Errors: [ErrUnavailable] while the set may be behind.
func (c *Checker) Revocations() (*revocation.Set, error) {
	if age := c.set.Age(c.clock()); age > c.maxAge {
		return nil, fmt.Errorf("%w: revocations are %v old", ErrUnavailable, age)
	}
	return c.set, nil
}

var errRevoked = fmt.Errorf("%w: revoked", ErrInvalidToken)

func (c *Checker) ask(ctx context.Context, a token.Access) error {
	return asked(ctx, "revocations", func(ctx context.Context) error {
		_, err := live(ctx, c.store, a)
		return err
	})
}

// asked asks the database what a token or a cookie is good for. It waits no longer than askTimeout.
// Errors: [ErrInvalidToken], and [ErrUnavailable] for all others but the end of the caller's
// context.
func asked(ctx context.Context, what string, ask func(context.Context) error) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := ask(asking)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case err == nil, errors.Is(err, ErrInvalidToken):
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}
