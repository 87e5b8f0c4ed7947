package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/db"
	"gatehouse/internal/revocation"
)

// pollInterval bounds how long a revocation may stay unknown where no notification comes.
const pollInterval = time.Second

// revocations is what a replica knows of revoked access tokens, and what keeps it up to date.
type revocations struct {
	set     *revocation.Set
	store   *db.DB
	options db.FollowOptions
	loaded  chan struct{} // closed after the first read
	end     context.CancelFunc
	follow  sync.WaitGroup
}

// newRevocations makes an empty set for access tokens of a lifetime. Until it is followed, each check is a question to
// the database.
func newRevocations(
	store *db.DB, lifetime, statementTimeout time.Duration, clock func() time.Time, log *slog.Logger, r prometheus.Registerer,
) *revocations {
	v := &revocations{
		set: revocation.NewSet(clock(), lifetime), store: store, loaded: make(chan struct{}), end: func() {},
	}
	reloads := revocationMetrics(r, v.set, clock)
	load := sync.OnceFunc(func() { close(v.loaded) })
	v.options = db.FollowOptions{
		Clock: clock, Log: log, Poll: pollInterval,
		// A transaction that revokes has but a few statements, and pauses in it are bounded too.
		Longest: max(15*time.Second, 4*statementTimeout),
		Read: func(full bool) {
			if full {
				reloads.Inc()
			}
			load()
		},
	}
	return v
}

// start follows the database, and returns when the set has been loaded. It goes on after ctx has ended, which is when
// the drain begins, until stop.
func (v *revocations) start(ctx context.Context) error {
	following, end := context.WithCancel(context.WithoutCancel(ctx))
	v.end = end
	v.follow.Go(func() { v.store.Follow(following, v.set, v.options) })
	select {
	case <-v.loaded:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop returns when nothing uses the database any more.
func (v *revocations) stop() {
	v.end()
	v.follow.Wait()
}

func revocationMetrics(r prometheus.Registerer, set *revocation.Set, clock func() time.Time) (reloads prometheus.Counter) {
	reloads = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_revocations_reloads_total", Help: "Times that all revocations were read: at the start and after each lost connection.",
	})
	r.MustRegister(reloads)
	gauge(r, "revocations_entries", "Revocations in memory.", func() float64 { return float64(set.Len()) })
	gauge(r, "revocations_age_seconds", "Time since they were last known to be all there are.", func() float64 { return set.Age(clock()).Seconds() })
	return reloads
}
