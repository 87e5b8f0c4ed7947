package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// NewJobs makes a client of river, which keeps jobs in the same database, over the pool. It only
// polls: a connection that listens for river alone would be one more for each replica, and behind a
// transaction pooler it would hear nothing.
func (d *DB) NewJobs(config river.Config) (*river.Client[pgx.Tx], error) {
	config.PollOnly = true
	// Only the owner of river's indexes may rebuild them, and the service is not.
	config.ReindexerIndexNames = []string{}
	client, err := river.NewClient(riverpgxv5.New(d.pool), &config)
	if err != nil {
		return nil, fmt.Errorf("db: jobs: %w", err)
	}
	return client, nil
}

// JobQueue is what waits in a queue of jobs.
type JobQueue struct {
	Name string
	// Waiting are the jobs that no replica works on, and that are due or were tried before. There
	// may be more than [MostJobsCounted].
	Waiting int64
	Oldest  time.Duration // since the oldest of them was made; 0: none waits
}

// MostJobsCounted bounds how many jobs of a state are counted in a queue. A mass logout makes many
// more, and each question would read them all.
const MostJobsCounted = 10_000

// waitingJobs goes by river's own index for fetching, so that it reads no job that is done. It
// stands here and not in db/queries, since sqlc does not know the tables that river makes.
const waitingJobs = `-- name: WaitingJobs :many
SELECT q.name, count(j.id), coalesce(extract(epoch FROM now() - min(j.created_at)), 0)::float8
FROM unnest($1::text[]) q (name)
CROSS JOIN unnest('{available,retryable,scheduled}'::river_job_state[]) s (state)
LEFT JOIN LATERAL (
    SELECT id, created_at FROM river_job
    WHERE state = s.state AND queue = q.name AND (s.state <> 'scheduled' OR scheduled_at <= now())
    ORDER BY priority, scheduled_at, id
    LIMIT $2
) j ON true
GROUP BY q.name ORDER BY q.name`

// WaitingJobs returns what waits in each of some queues, in the order of their names.
func (d *DB) WaitingJobs(ctx context.Context, queues []string) ([]JobQueue, error) {
	rows, err := d.pool.Query(ctx, waitingJobs, queues, MostJobsCounted)
	if err != nil {
		return nil, translate("waiting jobs", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (q JobQueue, err error) {
		var seconds float64
		err = row.Scan(&q.Name, &q.Waiting, &seconds)
		q.Oldest = time.Duration(seconds * float64(time.Second))
		return q, err
	})
	if err != nil {
		return nil, translate("waiting jobs", err)
	}
	return all, nil
}
