// Package dataset fills databases by SQL with as many users and sessions as a question is about.
package dataset

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"gatehouse.example/bench/internal/machine"
)

// FirstUser is made by the service itself; the others get a copy of what it hashed.
const FirstUser = "first"

// The users and sessions of the growth row. A user's two sessions are far apart, as those of two
// days are.
const (
	fillUsers = `
		INSERT INTO users (id, username, username_key, password_hash)
		SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, name, name, f.password_hash
		FROM (SELECT n, 'user' || lpad(n::text, 8, '0') AS name FROM generate_series($1::bigint, $2::bigint) n) u,
		     (SELECT password_hash FROM users WHERE username_key = $3) f`
	fillSessions = `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT ('00000000-0000-7000-800' || $3::int || '-' || lpad(to_hex(n), 12, '0'))::uuid,
		       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
		       decode(repeat('00', 16), 'hex'), now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench'
		FROM generate_series($1::bigint, $2::bigint) n`
)

// Fill makes users and two sessions of each by SQL, on all processors. Afterwards the schema is
// what it was.
func Fill(ctx context.Context, pool *pgxpool.Pool, users int) error {
	before, err := schema(ctx, pool)
	if err != nil {
		return err
	}
	checks, err := dropChecks(ctx, pool)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		sql string
		arg any
	}{{fillUsers, FirstUser}, {fillSessions, 1}, {fillSessions, 2}} {
		if err := inParts(ctx, pool, users, step.sql, step.arg); err != nil {
			return err
		}
	}
	if err := restoreChecks(ctx, pool, checks); err != nil {
		return err
	}
	after, err := schema(ctx, pool)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return errors.New("filling has changed the schema")
	}
	return vacuum(ctx, pool)
}

// inParts runs an INSERT for the numbers from 1 to n, a part of them on each processor.
func inParts(ctx context.Context, pool *pgxpool.Pool, n int, sql string, arg any) error {
	group, ctx := errgroup.WithContext(ctx)
	parts := runtime.NumCPU()
	for part := range parts {
		from, to := n*part/parts+1, n*(part+1)/parts
		group.Go(func() error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				// Without triggers: what they look for, names that are retired and users that are
				// missing, is not there.
				if _, err := tx.Exec(ctx, "SET LOCAL session_replication_role = replica"); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, sql, from, to, arg)
				return err
			})
		})
	}
	return group.Wait()
}

// check is a constraint of a table.
type check struct {
	Table, Name, Definition string
	Validated               bool
}

// dropChecks takes them away while rows come in: that of the form of a hash, a regular expression,
// would cost two minutes for ten million copies of one hash, which has passed it.
func dropChecks(ctx context.Context, pool *pgxpool.Pool) ([]check, error) {
	found, err := pool.Query(ctx, `
		SELECT conrelid::regclass::text AS table, conname AS name, replace(pg_get_constraintdef(oid), ' NOT VALID', '') AS definition, convalidated
		FROM pg_constraint
		WHERE contype = 'c' AND conrelid IN ('users'::regclass, 'sessions'::regclass)`)
	if err != nil {
		return nil, err
	}
	checks, err := pgx.CollectRows(found, pgx.RowToStructByPos[check])
	if err != nil {
		return nil, err
	}
	for _, c := range checks {
		if _, err := pool.Exec(ctx, "ALTER TABLE "+c.Table+" DROP CONSTRAINT "+c.Name); err != nil {
			return nil, err
		}
	}
	return checks, nil
}

// restoreChecks puts them back, and lets PostgreSQL believe that it has looked at every row where
// it has before.
func restoreChecks(ctx context.Context, pool *pgxpool.Pool, checks []check) error {
	for _, c := range checks {
		if _, err := pool.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s NOT VALID", c.Table, c.Name, c.Definition)); err != nil {
			return err
		}
		_, err := pool.Exec(ctx, "UPDATE pg_constraint SET convalidated = $3 WHERE conname = $1 AND conrelid = $2::text::regclass", c.Name, c.Table, c.Validated)
		if err != nil {
			return err
		}
	}
	return nil
}

// schema lists what a migration makes: columns, constraints, indexes and triggers.
func schema(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	found, err := pool.Query(ctx, `
		SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default, generation_expression)
			FROM information_schema.columns WHERE table_schema = 'public'
		ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[string])
}

// vacuum does at once what autovacuum would do in the minutes to come, in the midst of the
// measuring.
func vacuum(ctx context.Context, pool *pgxpool.Pool) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, table := range []string{"users", "sessions"} {
		group.Go(func() error {
			_, err := pool.Exec(ctx, "VACUUM (ANALYZE) "+table)
			return err
		})
	}
	return group.Wait()
}

// Tune prepares a server for many users, as PostgreSQL's manual advises: a quarter of the memory.
// Nothing is flushed to the disk: the time of that, the same with few users as with many, would
// hide the rest of a refresh.
func Tune(ctx context.Context, serverURL string) error {
	return alter(ctx, serverURL, fmt.Sprintf("shared_buffers = '%dMB'", machine.MemoryMB()/4), "fsync = off", "full_page_writes = off",
		"max_wal_size = '4GB'", "maintenance_work_mem = '512MB'", "autovacuum = off")
}

// Settle lets the server's own work end before others' is measured.
func Settle(ctx context.Context, serverURL string) error {
	if err := alter(ctx, serverURL, "autovacuum = on"); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, serverURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return err
}

// alter changes settings of a server; some of them hold after it has started again.
func alter(ctx context.Context, serverURL string, settings ...string) error {
	conn, err := pgx.Connect(ctx, serverURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, setting := range settings {
		if _, err := conn.Exec(ctx, "ALTER SYSTEM SET "+setting); err != nil {
			return fmt.Errorf("%s: %w", strings.Fields(setting)[0], err)
		}
	}
	_, err = conn.Exec(ctx, "SELECT pg_reload_conf()")
	return err
}

// UserID is the id of the n-th user that [Fill] makes.
func UserID(n int) uuid.UUID { return id(0, n) }

// SessionID is the id of a session of a user, who has two: which is 0 or 1.
func SessionID(user, which int) uuid.UUID { return id(1+which, user) }

func id(kind, n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("00000000-0000-7000-800%d-%012x", kind, n))
}

// Username is the name of the n-th user.
func Username(n int) string { return fmt.Sprintf("user%08d", n) }
