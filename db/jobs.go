package db

import (
	"fmt"

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
