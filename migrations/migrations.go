// Package migrations owns the database schema: the SQL files that make it, and the migrator that brings a database
// to the version that this binary knows.
//
// Files are numbered NNNNN_name.sql and applied in that order, each in a transaction of its own, both ways. A release
// may add files but never changes one that has been released.
package migrations

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// lockWait is for how long a migrator waits for another one, in seconds; a context may end the wait before that.
const lockWait = 3600

// Latest returns the newest version embedded in this binary.
func Latest() int64 {
	var latest int64
	for _, name := range names() {
		version, err := goose.NumericComponent(name)
		if err != nil {
			panic(fmt.Sprintf("migrations: embedded file %s has no version", name))
		}
		latest = max(latest, version)
	}
	return latest
}

// Digest returns a hash of all the embedded files: two binaries with the same digest make the same schema.
func Digest() string {
	hash := sha256.New()
	for _, name := range names() {
		content, err := files.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("migrations: embedded file %s: %v", name, err))
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(content), content)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// names returns the embedded files in the order of their names.
func names() []string {
	found, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(fmt.Sprintf("migrations: %v", err))
	}
	return found
}

// Step is a migration that was just applied or taken back.
type Step struct {
	Version  int64
	Name     string // of the file
	Duration time.Duration
}

// Status tells whether a migration that this binary knows is in the database.
type Status struct {
	Version   int64
	Name      string     // of the file
	AppliedAt *time.Time // nil if it isn't applied
}

// Migrator changes the schema of one database. Any number of migrators, in any number of processes, may run on it at
// once: an advisory lock of PostgreSQL lets one work while the others wait.
type Migrator struct {
	provider *goose.Provider
	db       *sql.DB // the provider's, which closes it
}

// Open connects a migrator to the database at databaseURL. No error of it shows the URL, which holds a password.
func Open(ctx context.Context, databaseURL string) (*Migrator, error) {
	db, err := openDB(databaseURL)
	if err != nil {
		return nil, err
	}
	// The default asks for the lock each 5 s and gives up after 5 minutes. (A blocking pg_advisory_lock would need
	// no polling, but a waiting statement holds a snapshot, for which CREATE INDEX CONCURRENTLY waits in its turn:
	// two migrators would hang on each other.)
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, lockWait))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrations: lock: %w", err), db.Close())
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrations: %w", err), db.Close())
	}
	if err := provider.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("migrations: %w", err), db.Close())
	}
	return &Migrator{provider, db}, nil
}

// Apply brings a database up to date, and gives a role the rights on it, if one is named.
func Apply(ctx context.Context, databaseURL, serviceRole string) error {
	m, err := Open(ctx, databaseURL)
	if err != nil {
		return err
	}
	if _, err = m.Up(ctx); err == nil && serviceRole != "" {
		err = m.Grant(ctx, serviceRole)
	}
	return errors.Join(err, m.Close())
}

// openDB makes a pool of the kind that goose works with.
func openDB(databaseURL string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, errors.New("DATABASE_URL: malformed") // err may quote the URL, password and all
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // extended protocol; no prepared plan that a step could outdate
	config.RuntimeParams["application_name"] = "gatehouse-migrate"
	config.RuntimeParams["timezone"] = "UTC" // goose keeps a timestamp without time zone
	if config.RuntimeParams["lock_timeout"] == "" {
		// A step that waits for a table makes everybody who comes after it wait too: better it fails, to be tried again.
		config.RuntimeParams["lock_timeout"] = "10s"
	}
	return stdlib.OpenDB(*config), nil
}

// Up applies all that is missing and returns what it applied, also if it then failed.
func (m *Migrator) Up(ctx context.Context) ([]Step, error) {
	results, err := m.provider.Up(ctx)
	return steps(results, err)
}

// DownTo takes back, newest first, everything above version; 0 takes back all. It returns what it took back, also if
// it then failed.
func (m *Migrator) DownTo(ctx context.Context, version int64) ([]Step, error) {
	results, err := m.provider.DownTo(ctx, version)
	return steps(results, err)
}

// grants are the rights of the service's role on tables, by what they are named like; others are for the owner alone. The
// log of what happened is to be read and added to, so that whoever breaks into the service cannot wipe out the traces.
const grants = `
SELECT format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), $1::text)
UNION ALL SELECT format('GRANT %s ON %s TO %s',
    CASE
        WHEN c.relkind = 'v' OR c.relname = 'goose_db_version' THEN 'SELECT'
        WHEN c.relname = 'audit_events' THEN 'SELECT, INSERT'
        ELSE 'SELECT, INSERT, UPDATE, DELETE'
    END, c.oid::regclass, quote_ident($1))
FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
UNION ALL SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %s', current_database(), quote_ident($1))
UNION ALL SELECT format('GRANT USAGE ON SCHEMA %I TO %s', current_schema(), quote_ident($1))
UNION ALL SELECT format('GRANT EXECUTE ON FUNCTION add_audit_partitions TO %s', quote_ident($1))`

// Grant gives a role that exists the rights that the service needs on the newest schema, and takes any other from it.
func (m *Migrator) Grant(ctx context.Context, role string) error {
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrations: grant: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	statements, err := statementsOf(ctx, tx, grants, role)
	if err != nil {
		return fmt.Errorf("migrations: grant: %w", err)
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("migrations: %s: %w", statement, err)
		}
	}
	return tx.Commit()
}

func statementsOf(ctx context.Context, tx *sql.Tx, query, role string) (statements []string, err error) {
	rows, err := tx.QueryContext(ctx, query, role)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			return nil, err
		}
		statements = append(statements, statement)
	}
	return statements, rows.Err()
}

// Status lists the migrations that this binary knows, in order. It waits for a migrator that is at work.
func (m *Migrator) Status(ctx context.Context) ([]Status, error) {
	results, err := m.provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrations: status: %w", err)
	}
	list := make([]Status, len(results))
	for i, result := range results {
		list[i] = Status{Version: result.Source.Version, Name: path.Base(result.Source.Path)}
		if result.State == goose.StateApplied {
			list[i].AppliedAt = &result.AppliedAt
		}
	}
	return list, nil
}

// Close frees the migrator's connections.
func (m *Migrator) Close() error { return m.provider.Close() }

// steps turns goose's results, and those that it hides in its error, into ours.
func steps(results []*goose.MigrationResult, err error) ([]Step, error) {
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		results = partial.Applied
		err = fmt.Errorf("%s: %w", path.Base(partial.Failed.Source.Path), partial.Err)
	}
	list := make([]Step, len(results))
	for i, result := range results {
		list[i] = Step{Version: result.Source.Version, Name: path.Base(result.Source.Path), Duration: result.Duration}
	}
	if err != nil {
		return list, fmt.Errorf("migrations: %w", err)
	}
	return list, nil
}
