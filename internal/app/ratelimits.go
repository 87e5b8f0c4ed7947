package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"gatehouse/db"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/ratelimit"
)

func rateLimits(s config.Limits) auth.RateLimits {
	return auth.RateLimits{
		Account:      every(time.Minute, s.AccountFailures, s.AccountFailuresPerMinute),
		AccountDay:   ratelimit.PerDay(s.AccountFailuresPerDay),
		Address:      every(time.Minute, s.AddressFailures, s.AddressFailuresPerMinute),
		Registration: every(time.Hour, s.AddressRegistrations, s.AddressRegistrationsPerHour),
	}
}

// every is the limit of a burst, and then so many in each period; off if either is 0.
func every(period time.Duration, burst, rate int) ratelimit.Limit {
	if rate == 0 {
		return ratelimit.Limit{}
	}
	return ratelimit.Limit{Burst: burst, Interval: period / time.Duration(rate)}
}

const (
	pruneEvery   = time.Minute
	pruneRows    = 1000 // at once, so that no login waits long for its row
	pruneTimeout = 5 * time.Second
)

// startPruning deletes the limits that say nothing any more, until ctx has ended or stop is called, which returns when the
// database is no longer used. Those that are left for a while do no harm.
func startPruning(ctx context.Context, store *db.DB, log *slog.Logger) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(pruneEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			pruneLimits(ctx, store, log)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() { end(); done.Wait() }
}

func pruneLimits(ctx context.Context, store *db.DB, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	for deleted := int64(pruneRows); deleted == pruneRows; {
		var err error
		if deleted, err = store.PruneRates(ctx, pruneRows); err != nil {
			if ctx.Err() == nil {
				log.Warn("limits cannot be pruned", "error", err.Error())
			}
			return
		}
	}
}
