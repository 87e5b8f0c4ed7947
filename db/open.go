// Package db is the PostgreSQL adapter: it implements auth.Store on the queries that sqlc compiles, and is
// the only place that knows of pgx's errors.
package db

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
)

// Options of a connection pool.
type Options struct {
	URL      string // postgres://… or keyword=value; never logged
	MaxConns int32  // 0: four for each processor, at least ten
	// StatementTimeout bounds a statement in the server, also when its client is gone; waiting for a lock
	// counts half of it at most.
	StatementTimeout time.Duration
}

// DB is a pool of connections. It is an auth.Store.
type DB struct {
	pool    *pgxpool.Pool
	queries *sqlcgen.Queries
	actor   *auth.User // see By
}

// Open makes a pool without connecting: a service may start before its database.
func Open(ctx context.Context, o Options) (*DB, error) {
	config, err := poolConfig(o)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("db: open pool: %w", err)
	}
	return &DB{pool: pool, queries: sqlcgen.New(pool)}, nil
}

// Close waits until every connection is given back.
func (d *DB) Close() { d.pool.Close() }

// Stat is a snapshot of the pool.
func (d *DB) Stat() *pgxpool.Stat { return d.pool.Stat() }

func poolConfig(o Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		// pgx quotes the string that it cannot parse, and a password may stand where it does not look for one.
		return nil, errors.New("DATABASE_URL: cannot be parsed as a PostgreSQL connection string")
	}
	conn := config.ConnConfig
	// The simple protocol would put arguments into the text of the query.
	if conn.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return nil, errors.New("DATABASE_URL: the simple protocol is not supported")
	}
	config.MaxConns = o.MaxConns
	if config.MaxConns == 0 {
		config.MaxConns = int32(max(10, 4*runtime.NumCPU()))
	}
	config.MinIdleConns = 1
	config.MaxConnLifetime = 30 * time.Minute // so that a fail-over or a new replica is found without a restart
	config.MaxConnLifetimeJitter = 5 * time.Minute
	config.MaxConnIdleTime = 5 * time.Minute
	config.HealthCheckPeriod = 15 * time.Second
	conn.ConnectTimeout = 5 * time.Second
	params := conn.RuntimeParams
	params["application_name"] = "gatehouse"
	params["statement_timeout"] = milliseconds(o.StatementTimeout)
	params["lock_timeout"] = milliseconds(o.StatementTimeout / 2)
	params["idle_in_transaction_session_timeout"] = milliseconds(2 * o.StatementTimeout)
	return config, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
