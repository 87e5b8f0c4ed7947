package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

func TestACheckDoesNotAllocate(t *testing.T) {
	now := time.Now()
	r, a := revocation.NewSet(now, testLifetime), accessOf(uuid.New(), now)
	r.Confirm(now)
	c := NewChecker(r, nil, func() time.Time { return now }, testMaxAge)
	if got := testing.AllocsPerRun(100, func() { _ = c.Check(context.Background(), a) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// storeFunc is a database in a state that is hard to reach with a real one at a given moment.
type storeFunc struct {
	Store
	sessionByID func(context.Context) (SessionState, error)
}

func (f storeFunc) SessionByID(ctx context.Context, _ uuid.UUID) (SessionState, error) {
	return f.sessionByID(ctx)
}

const (
	testLifetime = 30 * time.Minute
	testMaxAge   = 2 * time.Second
)

func accessOf(user uuid.UUID, now time.Time) token.Access {
	return token.Access{
		Subject: token.Subject{UserID: user, SessionID: uuid.New(), Version: 5}, IssuedAt: now,
	}
}

func TestWhoeverIsNotKnownToBeGoodIsNotLetIn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, test := range map[string]struct {
		fresh, revoked bool
		ctx            context.Context
		live           bool
		err            error
		want           error
	}{
		"fresh":                {fresh: true, err: errors.New("asked")},
		"fresh and revoked":    {fresh: true, revoked: true, live: true, want: ErrInvalidToken},
		"stale and revoked":    {revoked: true, live: true, want: ErrInvalidToken},
		"stale but live":       {live: true},
		"stale and not live":   {want: ErrInvalidToken},
		"stale, no session":    {err: ErrSessionNotFound, live: true, want: ErrInvalidToken},
		"stale, no database":   {err: ErrUnavailable, live: true, want: ErrUnavailable},
		"stale, odd database":  {err: errors.New("no such table"), live: true, want: ErrUnavailable},
		"stale, slow database": {err: context.DeadlineExceeded, live: true, want: ErrUnavailable},
		"stale, caller left":   {ctx: gone, err: context.Canceled, live: true, want: context.Canceled},
	} {
		r, a := revocation.NewSet(now, testLifetime), accessOf(uuid.New(), now)
		if test.fresh {
			r.Confirm(now)
		}
		if test.revoked {
			r.Add(now, []revocation.Entry{{Subject: a.UserID, Version: a.Version + 1}})
		}
		if test.ctx == nil {
			test.ctx = t.Context()
		}
		state := SessionState{User: User{ID: a.UserID, TokenVersion: a.Version}}
		if !test.live {
			state.EndedAt = &now
		}
		store := storeFunc{sessionByID: func(context.Context) (SessionState, error) {
			return state, test.err
		}}
		c := NewChecker(r, store, func() time.Time { return now }, testMaxAge)
		if err := c.Check(test.ctx, a); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestAQuestionToTheDatabaseHasADeadline(t *testing.T) {
	t.Parallel()
	now := time.Now()
	store := storeFunc{sessionByID: func(ctx context.Context) (SessionState, error) {
		<-ctx.Done()
		return SessionState{}, ctx.Err()
	}}
	c := NewChecker(revocation.NewSet(now, testLifetime), store, func() time.Time {
		return now
	}, testMaxAge)
	if err := c.Check(t.Context(), accessOf(uuid.New(), now)); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}
