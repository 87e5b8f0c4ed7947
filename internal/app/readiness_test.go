package app

import (
	"context"
	"errors"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/migrations"
)

// After an outage, the database answers before the signing keys have been read again. Until then no
// login would succeed.
func TestAReplicaThatMayNotSignIsNotReady(t *testing.T) {
	t.Parallel()
	var signing error
	r := &readiness{
		schema: func(context.Context) (int64, error) { return migrations.Latest(), nil },
		sign:   func() error { return signing },
	}
	r.serving.Store(true)
	for _, signing = range []error{auth.ErrUnavailable, nil} {
		if err := r.check(t.Context()); !errors.Is(err, signing) {
			t.Errorf("%v, want %v", err, signing)
		}
	}
}
