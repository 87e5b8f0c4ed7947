package dbtest

import (
	"os"
	"testing"

	"gatehouse.example/internal/pgdev"
)

// Pair is a primary and its standby, for tests of fail-overs. Both run PostgreSQL's programs on
// this machine.
type Pair struct{ Primary, Standby *pgdev.Server }

// Replicated starts a pair with a migrated database. It is removed when the test ends.
func Replicated(t testing.TB) *Pair {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("dbtest: pair: %v", err)
		}
	}
	remove := func(s *pgdev.Server) {
		t.Cleanup(func() {
			if err := s.Remove(); err != nil {
				t.Errorf("dbtest: pair: %v", err)
			}
		})
	}
	primary, err := pgdev.Start(t.Context(), pgdev.Options{Replicated: true, Log: os.Stderr})
	must(err)
	remove(primary)
	must(migrate(t.Context(), primary.URL(), ServiceRole))
	standby, err := primary.Standby(t.Context())
	must(err)
	remove(standby)
	return &Pair{primary, standby}
}

// FailOver stops the primary, promotes the standby, and starts the old primary as the standby of
// the new one. When it returns, the two have changed places.
func (p *Pair) FailOver(t testing.TB) {
	t.Helper()
	old, promoted := p.Primary, p.Standby
	for _, step := range []func() error{
		old.Stop,
		func() error { return promoted.Promote(t.Context()) },
		func() error { return old.Follow(t.Context(), promoted) },
	} {
		if err := step(); err != nil {
			t.Fatalf("dbtest: fail over: %v", err)
		}
	}
	p.Primary, p.Standby = promoted, old
}
