// Package db is the PostgreSQL adapter: it implements auth.Store on the queries that sqlc compiles,
// and is the only place that knows of pgx's errors.
package db

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/postgres"
)

// Options of a connection pool.
type Options struct {
	URL string // postgres://… or keyword=value; never logged
	// Renew, if not nil, is asked for the URL before each connection: the user and the password may
	// have been rotated.
	Renew    func() (string, error)
	MaxConns int32 // 0: pool_max_conns of the URL, or else four for each processor, at least ten
	// StatementTimeout bounds a statement in the server, also when its client is gone; waiting for
	// a lock counts half of it at most.
	StatementTimeout time.Duration
	// Pooled is for a transaction pooler in between, which gives each transaction another session:
	// there are no prepared statements, and no notifications.
	Pooled bool
}

// DB is a pool of connections. It is every store of package auth.
type DB struct {
	pool    *pgxpool.Pool
	probe   *pgxpool.Pool // of one connection, for Health: a busy pool is no reason to be sent no requests
	queries *sqlcgen.Queries
	turns   *turns
	settler *settler
	pooled  bool
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
	probe, err := pgxpool.NewWithConfig(ctx, probeConfig(config))
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("db: open pool: %w", err)
	}
	d := &DB{pool: pool, probe: probe, turns: newTurns(), pooled: o.Pooled}
	d.queries = sqlcgen.New(newRoomy(d.retrying()))
	d.settler = &settler{commit: d.queries.Settle}
	return d, nil
}

func (d *DB) retrying() retrying {
	if d.pooled {
		return retrying{d.pool, nil} // where no plan is kept anyway
	}
	return retrying{d.pool, []any{pgx.QueryExecModeDescribeExec}}
}

// Close waits until every connection is given back.
func (d *DB) Close() {
	d.settler.wait()
	d.probe.Close()
	d.pool.Close()
}

// Stat is a snapshot of the pool.
func (d *DB) Stat() *pgxpool.Stat { return d.pool.Stat() }

func poolConfig(o Options) (*pgxpool.Config, error) {
	config, err := postgres.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	switch {
	case o.MaxConns > 0:
		config.MaxConns = o.MaxConns
	case !postgres.SaysMaxConns(o.URL):
		config.MaxConns = int32(max(10, 4*runtime.NumCPU()))
	}
	config.MinConns = 0
	config.MinIdleConns = 1
	config.MaxConnLifetime = 30 * time.Minute // so that a new replica is found without a restart
	config.MaxConnLifetimeJitter = 5 * time.Minute
	config.MaxConnIdleTime = 5 * time.Minute
	config.HealthCheckPeriod = 15 * time.Second
	if o.Renew != nil {
		config.BeforeConnect = renewal(o.Renew)
	}
	conn := config.ConnConfig
	conn.ConnectTimeout = 5 * time.Second
	conn.OnPgError = keepAfter
	params := conn.RuntimeParams
	for name, value := range postgres.Session() {
		params[name] = value
	}
	params["application_name"] = "gatehouse"
	params["statement_timeout"] = milliseconds(o.StatementTimeout)
	params["lock_timeout"] = milliseconds(o.StatementTimeout / 2)
	params["idle_in_transaction_session_timeout"] = milliseconds(2 * o.StatementTimeout)
	if o.Pooled {
		if params["search_path"] != "" {
			return nil, fmt.Errorf("DATABASE_URL: search_path cannot be held behind a pooler: use ALTER ROLE … SET search_path")
		}
		postgres.SetLate(conn)
		// Each statement is described once, and then sent as a whole: no session must know it.
		conn.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	return config, nil
}

// probeConfig is that of a pool whose one connection is for Health alone.
func probeConfig(of *pgxpool.Config) *pgxpool.Config {
	config := of.Copy()
	config.MaxConns, config.MinIdleConns = 1, 0
	config.ConnConfig.RuntimeParams["application_name"] = "gatehouse readiness"
	return config
}

// renewal has each connection made by the user and the password of now.
func renewal(renew func() (string, error)) func(context.Context, *pgx.ConnConfig) error {
	return func(_ context.Context, config *pgx.ConnConfig) error {
		url, err := renew()
		if err != nil {
			return err
		}
		now, err := postgres.Parse(url)
		if err != nil {
			return fmt.Errorf("DATABASE_URL: %w", err)
		}
		config.User, config.Password = now.ConnConfig.User, now.ConnConfig.Password
		return nil
	}
}

// keepAfter is false for a server's error after which its connection is closed. A server that has
// become a standby would else be asked for as long as its connections live: a new one finds the
// primary.
func keepAfter(_ *pgconn.PgConn, err *pgconn.PgError) bool {
	return err.SeverityUnlocalized != "FATAL" && err.Severity != "FATAL" && !staleServer(err)
}

// connect makes a connection of its own, beside the pool.
func (d *DB) connect(ctx context.Context, adapt func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	config := d.pool.Config() // a copy
	adapt(config.ConnConfig)
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
