// Package migrations owns the database schema: the SQL files that make it, and the migrator that
// brings a database to the version that this binary knows.
//
// Files are named NNNNN_name.sql. They are applied in the order of their numbers, each in a
// transaction of its own, both up and down. A release may add files, but never changes a released
// one. The tables of river, which keeps jobs, are made by river's own migrator: 00028_river.go.
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
	"maps"
	"path"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"gatehouse.example/internal/postgres"
)

//go:embed *.sql
var files embed.FS

// lockWait is how long a migrator waits for another one, in seconds. Its context may end the wait
// earlier.
const lockWait = 3600

// Latest returns the newest version embedded in this binary.
func Latest() int64 { return slices.Max(versionNumbers()) }

func versionNumbers() (all []int64) {
	for _, name := range append(names(), riverFile, loginKeysFile) {
		version, err := goose.NumericComponent(name)
		if err != nil {
			panic(fmt.Sprintf("migrations: embedded file %s has no version", name))
		}
		all = append(all, version)
	}
	return all
}

// CheckVersion refuses a version that this binary cannot go back to.
func CheckVersion(version int64) error {
	if version == 0 || slices.Contains(versionNumbers(), version) {
		return nil
	}
	return fmt.Errorf(
		"there is no version %d; `gatehouse migrate status` lists all, and 0 undoes all", version)
}

// Digest returns a hash of all the embedded files, and of river's version. Two binaries with the
// same digest make the same schema.
func Digest() string {
	hash := sha256.New()
	for _, name := range names() {
		content, err := files.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("migrations: embedded file %s: %v", name, err))
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(content), content)
	}
	fmt.Fprintf(hash, "%s %d %s", riverFile, RiverVersion, loginKeysFile)
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

// Status tells whether a migration that this binary knows is applied.
type Status struct {
	Version   int64
	Name      string     // of the file
	AppliedAt *time.Time // nil if it is not applied
}

// Migrator changes the schema of one database. Any number of migrators, in any number of processes,
// may run at once: an advisory lock of PostgreSQL lets one work while the others wait.
type Migrator struct {
	provider *goose.Provider
	db       *sql.DB // the provider's, and closed by it
}

// Open connects a migrator to the database at databaseURL. No error shows the URL, because it holds
// a password.
func Open(ctx context.Context, databaseURL string) (*Migrator, error) {
	config, err := configOf(databaseURL)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*config.ConnConfig)
	// By default, goose asks for the lock every 5 s, and gives up after 5 minutes. (A blocking
	// pg_advisory_lock would need no polling. But a waiting statement holds a snapshot, for which
	// CREATE INDEX CONCURRENTLY waits in turn. Two migrators would hang on each other.)
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, lockWait))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrations: lock: %w", err), db.Close())
	}
	table, err := newVersions()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrations: %w", err), db.Close())
	}
	provider, err := goose.NewProvider(goose.DialectCustom, db, files,
		goose.WithStore(table),
		goose.WithGoMigrations(riverTables(config), loginKeys()),
		goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrations: %w", err), db.Close())
	}
	if err := check(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("migrations: %w", err), db.Close())
	}
	return &Migrator{provider, db}, nil
}

// Apply brings a database up to date. If a role is named, it gives the role the rights on it.
func Apply(ctx context.Context, databaseURL, serviceRole string) error {
	m, err := Open(ctx, databaseURL)
	if err != nil {
		return err
	}
	if serviceRole != "" {
		err = m.CheckRole(ctx, serviceRole)
	}
	if err == nil {
		_, err = m.Up(ctx)
	}
	if err == nil && serviceRole != "" {
		err = m.Grant(ctx, serviceRole)
	}
	return errors.Join(err, m.Close())
}

// configOf is how the migrator connects.
func configOf(databaseURL string) (*pgxpool.Config, error) {
	pool, err := postgres.Parse(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	config := pool.ConnConfig
	// the extended protocol, without prepared plans, which a step could outdate
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["application_name"] = "gatehouse-migrate"
	maps.Copy(config.RuntimeParams, postgres.Session())
	// ALTER ROLE sets it for the service; a step may take long
	config.RuntimeParams["statement_timeout"] = "0"
	if config.RuntimeParams["lock_timeout"] == "" {
		config.RuntimeParams["lock_timeout"] = fmt.Sprint(lockTimeout.Milliseconds())
	}
	return pool, nil
}

// check refuses what the service would refuse.
func check(ctx context.Context, db *sql.DB) error {
	return postgres.Check(ctx, func(ctx context.Context, query string, into ...any) error {
		return db.QueryRowContext(ctx, query).Scan(into...)
	})
}

// Up applies all that is missing, and makes room in the audit log. It returns what it has applied,
// even if it then fails.
func (m *Migrator) Up(ctx context.Context) ([]Step, error) {
	if err := m.refuseStandIns(ctx); err != nil {
		return nil, err
	}
	if err := m.follow(ctx); err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	applied, err := insist(ctx, m.provider.Up)
	if err != nil {
		return applied, err
	}
	// A backup may be so old that it has no partition for the present month. The message has a
	// purpose too: another migrator may have been cut off before its work was durable. The
	// message's commit makes it so, before this migrator says that there is nothing to do.
	if _, err := m.db.ExecContext(ctx,
		"SELECT add_audit_partitions(), pg_catalog.pg_logical_emit_message(true, 'gatehouse', '')"); err != nil {
		return applied, fmt.Errorf("migrations: audit partitions: %w", err)
	}
	return applied, nil
}

// DownTo takes back everything above version, the newest first. 0 takes back all. It returns what
// it has taken back, even if it then fails.
func (m *Migrator) DownTo(ctx context.Context, version int64) ([]Step, error) {
	if err := CheckVersion(version); err != nil {
		return nil, err
	}
	if err := m.refuseStandIns(ctx); err != nil {
		return nil, err
	}
	if err := m.follow(ctx); err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return insist(ctx,
		func(ctx context.Context) ([]*goose.MigrationResult,
			error) {
			return m.provider.DownTo(ctx, version)
		})
}

const (
	// lockTimeout is how long a step waits for a table's lock. Everybody who comes after it waits
	// as long. It is shorter than PostgreSQL's deadlock_timeout (1 s). So where a step and a
	// request wait for each other, the step gives way.
	lockTimeout = 500 * time.Millisecond

	// tries is how often a step that gives way is tried, with pauses in which the service catches
	// up.
	tries        = 60
	longestPause = 2 * time.Second
)

// insist repeats a run that gave way to the service. It returns what all of the tries have done.
func insist(
	ctx context.Context, run func(context.Context) ([]*goose.MigrationResult, error),
) (all []Step, err error) {
	for try := 1; ; try++ {
		done, err := steps(run(ctx))
		if all = append(all, done...); !gaveWay(err) || try == tries {
			return all, err
		}
		pause := time.NewTimer(min(time.Duration(try)*100*time.Millisecond, longestPause))
		select {
		case <-ctx.Done():
			pause.Stop()
			return all, err
		case <-pause.C:
		}
	}
}

// gaveWay reports whether others held what a step needs: lock_not_available, deadlock_detected.
func gaveWay(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "55P03" || pg.Code == "40P01")
}

// standIns lists functions and operators in our schema that somebody else has made. PostgreSQL
// might call them in place of its own, or of ours, with the rights of whoever migrates. Where
// others may create objects in the schema, whoever breaks into the service can leave some there. In
// PostgreSQL 14, everybody may do so in public by default. Every name in the query is qualified,
// because stand-ins might be there already.
const standIns = `
SELECT coalesce(pg_catalog.string_agg(pg_catalog.format('%s %s of role %I', s.kind, s.name, r.rolname), ', '), '')
FROM pg_catalog.pg_namespace n
CROSS JOIN LATERAL (
    SELECT 'function' AS kind, p.oid::pg_catalog.regprocedure::pg_catalog.text AS name, p.proowner AS owner
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid
      AND EXISTS (
          SELECT FROM pg_catalog.pg_proc o
          WHERE o.proname OPERATOR(pg_catalog.=) p.proname
            AND o.proowner OPERATOR(pg_catalog.<>) p.proowner
            AND (o.pronamespace OPERATOR(pg_catalog.=) n.oid
                 OR o.pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid)
      )
    UNION ALL
    SELECT 'operator', o.oid::pg_catalog.regoperator::pg_catalog.text, o.oprowner
    FROM pg_catalog.pg_operator o
    WHERE o.oprnamespace OPERATOR(pg_catalog.=) n.oid
) s
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.owner
JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
WHERE n.nspname OPERATOR(pg_catalog.=) pg_catalog.current_schema()
  AND NOT r.rolsuper
  AND r.rolname OPERATOR(pg_catalog.<>) current_user
  AND s.owner OPERATOR(pg_catalog.<>) n.nspowner
  AND s.owner OPERATOR(pg_catalog.<>) d.datdba`

// refuseStandIns comes before anything else.
func (m *Migrator) refuseStandIns(ctx context.Context) error {
	var found string
	if err := m.db.QueryRowContext(ctx, standIns).Scan(&found); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if found != "" {
		return fmt.Errorf(
			"migrations: the schema has what would stand in for PostgreSQL's own: %s; "+
				"find out who made it, and drop it", found)
	}
	return nil
}

// grants gives the service's role its rights on the tables, by what these are named. All others are
// for the owner alone. The role may read the audit log and add to it, and no more, so that whoever
// breaks into the service cannot wipe out the traces.
//
// Tables of another owner, and the version table of another application, are not ours to give.
const grants = `
WITH tables AS (
    SELECT c.oid, c.relname, c.relkind, c.relispartition
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    WHERE c.relkind IN ('r', 'p', 'v')
      AND c.relowner = (SELECT u.relowner FROM pg_class u WHERE u.relnamespace = n.oid AND u.relname = 'users')
      AND (c.relname <> '` + olderTable + `' OR obj_description(c.oid, 'pg_class') = '` + mark + `')
)
SELECT format('REVOKE ALL ON %s FROM %I', t.oid::regclass, $1::text) FROM tables t
UNION ALL SELECT format('GRANT %s ON %s TO %I',
    CASE
        WHEN t.relkind = 'v' OR t.relname IN ('` + versionTable + `', '` + olderTable +
	`', 'river_migration') THEN 'SELECT'
        WHEN t.relname = 'audit_events' THEN 'SELECT, INSERT'
        ELSE 'SELECT, INSERT, UPDATE, DELETE'
    END, t.oid::regclass, $1::text)
FROM tables t
WHERE NOT t.relispartition
UNION ALL SELECT format('GRANT USAGE ON SEQUENCE %s TO %I', s.oid::regclass, $1::text)
FROM tables t
JOIN pg_depend d ON d.refobjid = t.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'
JOIN pg_class s ON s.oid = d.objid AND d.classid = 'pg_class'::regclass AND s.relkind = 'S'
UNION ALL SELECT format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I', current_schema(), $1::text)
UNION ALL SELECT format('REVOKE CREATE ON DATABASE %I FROM %I', current_database(), $1::text)
UNION ALL SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %s', current_database(), quote_ident($1))
UNION ALL SELECT format('GRANT USAGE ON SCHEMA %I TO %s', current_schema(), quote_ident($1))
UNION ALL SELECT format('GRANT EXECUTE ON FUNCTION add_audit_partitions TO %s', quote_ident($1))`

// CheckRole refuses a role that does not exist.
func (m *Migrator) CheckRole(ctx context.Context, role string) error {
	var exists bool
	err := m.db.QueryRowContext(ctx,
		"SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) $1)", role).Scan(&exists)
	switch {
	case err != nil:
		return fmt.Errorf("migrations: role: %w", err)
	case !exists:
		return fmt.Errorf(
			"SERVICE_ROLE: there is no role %q in PostgreSQL; create it with CREATE ROLE, then migrate again", role)
	}
	return nil
}

// Grant gives an existing role the rights that the service needs on the newest schema, and takes
// all others from it. After that, nobody but the owner may create objects in the schema.
func (m *Migrator) Grant(ctx context.Context, role string) error {
	if err := m.refuseStandIns(ctx); err != nil {
		return err
	}
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

func statementsOf(
	ctx context.Context, tx *sql.Tx, query, role string,
) (statements []string, err error) {
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

// Status lists the migrations that this binary knows, in order. It waits for a migrator at work.
func (m *Migrator) Status(ctx context.Context) ([]Status, error) {
	if err := m.follow(ctx); err != nil {
		return nil, fmt.Errorf("migrations: status: %w", err)
	}
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

// steps turns goose's results, and those inside its error, into ours.
func steps(results []*goose.MigrationResult, err error) ([]Step, error) {
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		results = partial.Applied
		err = fmt.Errorf("%s: %w", path.Base(partial.Failed.Source.Path), partial.Err)
	}
	list := make([]Step, len(results))
	for i, result := range results {
		list[i] = Step{Version: result.Source.Version, Name: path.Base(result.Source.Path),
			Duration: result.Duration}
	}
	if err != nil {
		return list, fmt.Errorf("migrations: %w", err)
	}
	return list, nil
}
