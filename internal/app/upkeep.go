package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
)

const (
	// keepRevocations is longer than the longest lifetime that the settings allow for an access
	// token. So no replica's setting makes another replica forget a revocation too early.
	keepRevocations = 25 * time.Hour

	// keepSessions is how long sessions that are over are kept for inquiries. After that, a refresh
	// token of such a session is unknown, and is refused as before.
	keepSessions = 30 * 24 * time.Hour

	// keepCodes is how long a code that has expired is kept. If it is redeemed again within that
	// time, its session ends.
	keepCodes = 24 * time.Hour

	// keepMails is how long the log of mails tells what became of one.
	keepMails = 30 * 24 * time.Hour

	// overdue is how long after its time a mail is ended that no worker has ended, and how long a
	// challenge is kept that has expired.
	overdue = time.Hour

	// jobTimeout bounds how long a job that hangs can hold up the others.
	jobTimeout = 5 * time.Second
)

// job is something that each replica does for the database now and then. Replicas that run it at
// the same time must share the work, or find it done.
type job struct {
	name  string
	every time.Duration
	rows  int // most at once, so that no row is locked for long
	do    func(ctx context.Context, rows int) (done int64, err error)
}

// jobs delete what is of no use any more, make room in the audit log months before it is needed,
// and complete names that were registered without a skeleton. A delay does no harm.
func jobs(store *db.DB, overdueMails func(context.Context, int) (int64, error)) []job {
	return []job{
		{"revocations", time.Minute, 500, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneRevocations(ctx, keepRevocations, rows)
		}},
		{"sessions", time.Minute, 500, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneSessions(ctx, keepSessions, rows)
		}},
		{"authorization_codes", time.Minute, 1000, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneCodes(ctx, keepCodes, rows)
		}},
		{"overdue_mails", time.Minute, 500, overdueMails},
		{"mails", time.Minute, 500, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneMails(ctx, keepMails, rows)
		}},
		{"challenges", time.Minute, 500, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneChallenges(ctx, overdue, rows)
		}},
		{"proofs", time.Minute, 1000, func(ctx context.Context, rows int) (int64, error) {
			return store.PruneProofs(ctx, overdue, rows)
		}},
		{"trusted_devices", time.Minute, 500, store.PruneTrustedDevices},
		{"rate_limits", time.Minute, 1000, store.PruneRates},
		{"username_skeletons", time.Minute, 500, store.MakeSkeletons},
		whole("audit_partitions", time.Hour, store.AddEventPartitions),
	}
}

// giveUpMails is the job that ends mails which nothing has sent, and tells of each.
func giveUpMails(
	mails *auth.Mails, told func(auth.MailKind, auth.MailOutcome, time.Duration),
) func(context.Context, int) (int64, error) {
	return func(ctx context.Context, rows int) (int64, error) {
		kinds, err := mails.GiveUpOverdue(ctx, overdue, rows)
		for _, kind := range kinds {
			told(kind, auth.MailDead, 0)
		}
		return int64(len(kinds)), err
	}
}

// whole is a job that is done in one go.
func whole(name string, every time.Duration, do func(context.Context) error) job {
	return job{name, every, 0,
		func(ctx context.Context, _ int) (int64, error) { return 0, do(ctx) }}
}

// tellCounted writes the refusals that the replica has only counted into the audit log, for the
// last time.
func tellCounted(ctx context.Context, audit *auth.Audit, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobTimeout)
	defer cancel()
	if err := audit.TellCounted(ctx); err != nil {
		log.Warn("the audit log lacks refusals of the last minute", "error", err.Error())
	}
}

// run does a job once. There may be more to do if the job has done as many rows as it may at once.
func (j job) run(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	done, err := j.do(ctx, j.rows)
	return err == nil && j.rows > 0 && done >= int64(j.rows), err
}

// upkeep is the component that does the jobs. It does one after another, so that they take one
// connection together.
type upkeep struct {
	background
	jobs      []job
	log       *slog.Logger
	succeeded *prometheus.GaugeVec
}

func newUpkeep(jobs []job, log *slog.Logger, r prometheus.Registerer) *upkeep {
	u := &upkeep{jobs: jobs, log: log, succeeded: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_upkeep_last_success_timestamp_seconds",
		Help: "When a job last succeeded; 0: never since the start.",
	}, []string{"task"})}
	r.MustRegister(u.succeeded)
	for _, j := range jobs {
		// shows 0: a job that never succeeded is worth an alert too
		u.succeeded.WithLabelValues(j.name)
	}
	u.run = u.loop
	return u
}

func (u *upkeep) loop(ctx context.Context) {
	due := make([]time.Time, len(u.jobs)) // all are due at once
	for ctx.Err() == nil {
		for n, j := range u.jobs {
			began := time.Now()
			if began.Before(due[n]) {
				continue
			}
			if more := u.do(ctx, j); !more {
				due[n] = began.Add(j.every)
			} // else the next rows are due after the turn of the other jobs
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
