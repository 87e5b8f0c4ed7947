package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/db"
)

const (
	// keepRevocations is longer than the longest lifetime that the settings allow for an access token: no replica's
	// setting makes another one forget.
	keepRevocations = 25 * time.Hour

	// keepSessions is how long sessions that are over can be looked into. By then a refresh token of one is as unknown as
	// it was refused before.
	keepSessions = 30 * 24 * time.Hour

	// jobTimeout bounds how long the other jobs wait for one that hangs.
	jobTimeout = 5 * time.Second
)

// job is something that each replica does for the database now and then. Replicas that do it at once must share the work
// or find it done.
type job struct {
	name  string
	every time.Duration
	rows  int // at once, so that nobody waits long for one of them
	do    func(ctx context.Context, rows int) (done int64, err error)
}

// jobs delete what is of no use any more, and make room in the audit log months before it is needed. What is left for a while
// does no harm.
func jobs(store *db.DB) []job {
	return []job{
		{"revocations", time.Minute, 500, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneRevocations(ctx, keepRevocations, rows)
		}},
		{"sessions", time.Minute, 500, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneSessions(ctx, keepSessions, rows)
		}},
		{"rate_limits", time.Minute, 1000, store.PruneRates},
		{"audit_partitions", time.Hour, 0, func(ctx context.Context, _ int) (int64, error) {
			return 0, store.AddEventPartitions(ctx)
		}},
	}
}

// run does a job once. There may be more to do if it found all the rows that it does at once.
func (j job) run(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	done, err := j.do(ctx, j.rows)
	return err == nil && j.rows > 0 && done >= int64(j.rows), err
}

// upkeep does jobs one after another, so that they take one connection together.
type upkeep struct {
	jobs      []job
	log       *slog.Logger
	succeeded *prometheus.GaugeVec
}

// startUpkeep does the jobs until ctx has ended or stop is called, which returns when the database is no longer used.
func startUpkeep(ctx context.Context, jobs []job, log *slog.Logger, r prometheus.Registerer) (stop func()) {
	u := &upkeep{jobs, log, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_upkeep_last_success_timestamp_seconds", Help: "When a job last succeeded; 0: never since the start.",
	}, []string{"job"})}
	r.MustRegister(u.succeeded)
	for _, j := range jobs {
		u.succeeded.WithLabelValues(j.name) // 0: one that has never succeeded is worth an alert too
	}
	ctx, end := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { u.loop(ctx) })
	return func() { end(); done.Wait() }
}

func (u *upkeep) loop(ctx context.Context) {
	due := make([]time.Time, len(u.jobs)) // all at once
	for ctx.Err() == nil {
		for n, j := range u.jobs {
			began := time.Now()
			if began.Before(due[n]) {
				continue
			}
			if more := u.do(ctx, j); !more { // else the next rows are due when the other jobs have had their turn
				due[n] = began.Add(j.every)
			}
		}
		wait := time.NewTimer(time.Until(slices.MinFunc(due, time.Time.Compare)))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

func (u *upkeep) do(ctx context.Context, j job) (more bool) {
	more, err := j.run(ctx)
	switch {
	case err == nil:
		u.succeeded.WithLabelValues(j.name).SetToCurrentTime()
	case ctx.Err() == nil:
		u.log.Warn("upkeep failed", "job", j.name, "error", err.Error())
	}
	return more
}
