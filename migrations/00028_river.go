package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// RiverVersion is the version of river's own schema that the migrations here come to. A release of
// river that wants a later one gets a migration of its own, from this version to that one.
const RiverVersion = 8

// riverMark is the comment on a table of ours that says whose river's tables are. It is set before
// the first of them is made.
const (
	riverMark   = "the tables of river in this schema are of gatehouse"
	markedTable = "password_keys"
)

// riverTables is migration 28: the tables of river, which keeps jobs. River makes them itself, in
// steps with a transaction each, because PostgreSQL before 17 cannot use a value of an enum in the
// transaction that adds it. If a step fails, the next run goes on from there.
func riverTables(config *pgxpool.Config) *goose.Migration {
	run := func(direction rivermigrate.Direction, target int) *goose.GoFunc {
		return &goose.GoFunc{RunDB: func(ctx context.Context, _ *sql.DB) error {
			return migrateRiver(ctx, config, direction, target)
		}}
	}
	m := goose.NewGoMigration(28,
		run(rivermigrate.DirectionUp, RiverVersion),
		run(rivermigrate.DirectionDown, -1), // to nothing
	)
	m.Source = riverFile
	return m
}

// riverFile is the name under which riverTables is listed.
const riverFile = "00028_river.go"

// migrateRiver has a pool of its own, since goose's connections are not of the kind that river
// takes.
func migrateRiver(
	ctx context.Context, config *pgxpool.Config, direction rivermigrate.Direction, target int,
) error {
	pool, err := pgxpool.NewWithConfig(ctx, config.Copy())
	if err != nil {
		return err
	}
	defer pool.Close()
	schema, err := claimRiver(ctx, pool)
	if err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool),
		&rivermigrate.Config{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, direction, &rivermigrate.MigrateOpts{TargetVersion: target})
	return err
}

// errOthersRiver is for a schema in which our jobs would be in the queue of another application.
var errOthersRiver = errors.New("the schema has tables of river (river_job) that belong to another application; " +
	"give Gatehouse a schema of its own")

// claimRiver returns the schema, in which river's tables are ours or not there yet.
func claimRiver(ctx context.Context, pool *pgxpool.Pool) (schema string, err error) {
	var ours, exist bool
	if err := pool.QueryRow(ctx, riverOwner, riverMark).Scan(&schema, &ours, &exist); err != nil {
		return "", err
	}
	if !ours && exist {
		return "", errOthersRiver
	}
	_, err = pool.Exec(ctx, fmt.Sprintf("COMMENT ON TABLE %s IS '%s'",
		pgx.Identifier{schema, markedTable}.Sanitize(), riverMark))
	return schema, err
}

const riverOwner = `
SELECT n.nspname,
       coalesce(pg_catalog.obj_description(v.oid, 'pg_class') = $1, false),
       EXISTS (
           SELECT FROM pg_catalog.pg_class r
           WHERE r.relnamespace = n.oid AND r.relname IN ('river_migration', 'river_job')
       )
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_class v ON v.relnamespace = n.oid AND v.relname = '` + markedTable + `'
WHERE n.nspname = pg_catalog.current_schema()`
