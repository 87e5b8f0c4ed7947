package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
	"gatehouse.example/internal/revocation"
)

// pollInterval bounds how long a revocation stays unknown where no notification comes.
const pollInterval = time.Second

// revocations is the component that keeps the set of revoked access tokens up to date.
type revocations struct {
	background
	loaded chan struct{} // closed after the first read
}

// newRevocations makes the component, which hears of news from a listener. Until it has started,
// each check of a token asks the database.
func newRevocations(
	set *revocation.Set, listener *db.Listener, statementTimeout time.Duration,
	clock func() time.Time, log *slog.Logger, r prometheus.Registerer,
) *revocations {
	reloads, wentBack := revocationMetrics(r, set, clock)
	loaded := make(chan struct{})
	load := sync.OnceFunc(func() { close(loaded) })
	follower := db.NewFollower(listener, set, db.FollowOptions{
		Clock: clock, Log: log, Poll: pollInterval,
		// A transaction that revokes has only a few statements, and its pauses are bounded too.
		Longest:  max(15*time.Second, 4*statementTimeout),
		WentBack: wentBack.Inc,
		Read: func(full bool) {
			if full {
				reloads.Inc()
			}
			load()
		},
	})
	return &revocations{background: background{run: follower.Run}, loaded: loaded}
}

// start returns when the set has been loaded.
func (v *revocations) start(ctx context.Context) error {
	_ = v.background.start(ctx)
	select {
	case <-v.loaded:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), v.stop())
	}
}

func revocationMetrics(
	r prometheus.Registerer, set *revocation.Set, clock func() time.Time,
) (reloads, wentBack prometheus.Counter) {
	reloads = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_revocations_reloads_total",
		Help: "Times that all revocations were read: at the start and after each lost connection.",
	})
	wentBack = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_database_went_back_total",
		Help: "Times that the database did not know any more what it knew before: it was restored, or has failed over with a loss.",
	})
	r.MustRegister(reloads, wentBack)
	gauge(r, "revocations_entries", "Revocations in memory.",
		func() float64 { return float64(set.Len()) })
	gauge(r, "revocations_age_seconds", "Time since they were last known to be all there are.",
		func() float64 { return set.Age(clock()).Seconds() })
	return reloads, wentBack
}
