package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/backchannel"
	"gatehouse.example/internal/outbox"
)

const (
	// workTimeout bounds one try of a job. Deliveries have a shorter time-out of their own.
	workTimeout = 15 * time.Second

	// rescueAfter is when a job whose replica was killed is given to another one.
	rescueAfter = time.Minute

	// stopPatience is what jobs under way get at a stop. Then they are cut off, and another replica
	// does them.
	stopPatience = 2 * time.Second

	keepDone   = time.Hour          // for inquiries
	keepFailed = 7 * 24 * time.Hour // those that were given up or cancelled

	jobsPoll  = time.Second // so soon does an app hear of an end
	jobsRetry = time.Second // pause after a start that fails
)

// queuedJobs is the component that works off the jobs that survive a crash, which river keeps.
type queuedJobs struct {
	background
	client *river.Client[pgx.Tx]
	log    *slog.Logger
	logout *backchannel.Worker
}

// newQueuedJobs works off the mails too, unless their worker is nil: then they wait for a replica
// that has a relay.
func newQueuedJobs(
	store *db.DB, logout *backchannel.Worker, mails *outbox.Worker, log *slog.Logger,
) (*queuedJobs, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, logout)
	queues := map[string]river.QueueConfig{backchannel.Queue: {MaxWorkers: backchannel.Workers}}
	if mails != nil {
		queues[outbox.Queue] = river.QueueConfig{MaxWorkers: outbox.Workers}
	} else {
		// One replica gives back the jobs of those that were killed, and river throws away those of
		// a kind that this replica does not know.
		mails = outbox.NewWorker(outbox.Options{})
	}
	river.AddWorker(workers, mails)
	client, err := store.NewJobs(river.Config{
		Workers:                     workers,
		Queues:                      queues,
		FetchPollInterval:           jobsPoll,
		JobTimeout:                  workTimeout,
		RescueStuckJobsAfter:        rescueAfter,
		SoftStopTimeout:             stopPatience,
		CompletedJobRetentionPeriod: keepDone,
		CancelledJobRetentionPeriod: keepFailed,
		DiscardedJobRetentionPeriod: keepFailed,
		Logger:                      slog.New(newSparse(log.Handler(), time.Now)),
	})
	if err != nil {
		return nil, err
	}
	q := &queuedJobs{client: client, log: log, logout: logout}
	q.run = q.work
	return q, nil
}

// work works until ctx ends, and then stops as [river.Client.Stop] does. A start that fails is
// tried again: jobs may wait, and requests must not.
func (q *queuedJobs) work(ctx context.Context) {
	defer q.logout.Close()
	for {
		err := q.client.Start(ctx)
		if err == nil {
			<-q.client.Stopped()
			return
		}
		if ctx.Err() != nil {
			return
		}
		q.log.Warn("jobs do not start", "error", err.Error())
		select {
		case <-ctx.Done():
			return
		case <-time.After(jobsRetry):
		}
	}
}

// countLogouts registers the count of what becomes of logouts at apps, and returns its observer.
func countLogouts(r prometheus.Registerer) (told func(backchannel.Outcome)) {
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_backchannel_logouts_total",
		Help: "Tries to tell an app that a session has ended, by outcome.",
	}, []string{"outcome"})
	r.MustRegister(count)
	for _, o := range backchannel.Outcomes() {
		count.WithLabelValues(string(o)) // shows 0
	}
	return func(o backchannel.Outcome) { count.WithLabelValues(string(o)).Inc() }
}

// countMails registers what becomes of mails, and how long they wait, and returns the observer.
func countMails(
	r prometheus.Registerer,
) (told func(auth.MailKind, auth.MailOutcome, time.Duration)) {
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_mails_total",
		Help: "Mails by kind and outcome. failed: a try after which another one follows.",
	}, []string{"kind", "outcome"})
	waited := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "gatehouse_mail_delivery_seconds",
		Help:    "Time from what causes a mail until the relay has it.",
		Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600},
	})
	r.MustRegister(count, waited)
	for _, kind := range auth.MailKinds() {
		for _, outcome := range append(auth.MailOutcomes(), outbox.Failed) {
			count.WithLabelValues(string(kind), string(outcome)) // shows 0
		}
	}
	return func(kind auth.MailKind, outcome auth.MailOutcome, took time.Duration) {
		count.WithLabelValues(string(kind), string(outcome)).Inc()
		if outcome == auth.MailSent {
			waited.Observe(took.Seconds())
		}
	}
}

// sparse passes on warnings and errors, and the same message once a minute. During an outage of the
// database, river would say each second that it cannot fetch jobs.
type sparse struct {
	slog.Handler
	clock func() time.Time
	told  *told
}

// told is when messages were last passed on. There are as many as in river's code.
type told struct {
	mutex sync.Mutex
	last  map[string]time.Time
}

const sparseEvery = time.Minute

func newSparse(to slog.Handler, clock func() time.Time) sparse {
	return sparse{to, clock, &told{last: map[string]time.Time{}}}
}

// Enabled implements [slog.Handler].
func (s sparse) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && s.Handler.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (s sparse) Handle(ctx context.Context, record slog.Record) error {
	if !s.told.due(record.Message, s.clock()) {
		return nil
	}
	return s.Handler.Handle(ctx, record)
}

// WithAttrs implements [slog.Handler].
func (s sparse) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sparse{s.Handler.WithAttrs(attrs), s.clock, s.told}
}

// WithGroup implements [slog.Handler].
func (s sparse) WithGroup(name string) slog.Handler {
	return sparse{s.Handler.WithGroup(name), s.clock, s.told}
}

func (t *told) due(message string, now time.Time) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if last, known := t.last[message]; known && now.Sub(last) < sparseEvery {
		return false
	}
	t.last[message] = now
	return true
}
