package migrations

import (
	"context"
	"fmt"

	"github.com/pressly/goose/v3/database"
)

const (
	// versionTable is where the migrator keeps what is applied. It is named after this service,
	// because goose_db_version may belong to another application in the same schema. Package db
	// reads it.
	versionTable = "gatehouse_schema_version"

	// olderTable is the name that it had before. A replica of that time takes a database without it
	// for an empty one.
	olderTable = "goose_db_version"

	// mark is the comment on an olderTable that is ours and is kept in step.
	mark = "kept in step with gatehouse_schema_version, for replicas of the version before"
)

// versions is a version table that takes over the older one, and keeps it in step. Both change in
// one transaction.
type versions struct {
	database.Store
	older database.Store
}

func newVersions() (*versions, error) {
	store, err := database.NewStore(database.DialectPostgres, versionTable)
	if err != nil {
		return nil, err
	}
	older, err := database.NewStore(database.DialectPostgres, olderTable)
	return &versions{store, older}, err
}

// inSchema tells whether our schema has a relation of that name. Other schemas on the search_path
// do not count.
const inSchema = `
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = pg_catalog.current_schema() AND c.relname = $1
)`

// TableExists implements an optional method of goose's [database.Store].
func (v *versions) TableExists(ctx context.Context, db database.DBTxConn) (exists bool, err error) {
	err = db.QueryRowContext(ctx, inSchema, versionTable).Scan(&exists)
	return exists, err
}

// ours tells whether the older table belongs to this service. It does if there are tables of ours,
// since then only the older table can have recorded them. If all migrations were taken back, there
// are none of ours, and the database begins anew.
const ours = `
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_constraint c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
    WHERE n.nspname = pg_catalog.current_schema() AND c.conname = 'password_keys_id_form'
)`

// CreateVersionTable implements [database.Store].
func (v *versions) CreateVersionTable(ctx context.Context, db database.DBTxConn) error {
	if err := v.Store.CreateVersionTable(ctx, db); err != nil {
		return err
	}
	var adopt bool
	if err := db.QueryRowContext(ctx, ours).Scan(&adopt); err != nil || !adopt {
		return err
	}
	for _, statement := range []string{
		fmt.Sprintf(
			"INSERT INTO %s (version_id, is_applied, tstamp) SELECT version_id, is_applied, tstamp FROM %s ORDER BY id", versionTable, olderTable),
		fmt.Sprintf("COMMENT ON TABLE %s IS '%s'", olderTable, mark),
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Insert implements [database.Store]. Version 0 stands for the empty table. A table that was taken
// over has it already.
func (v *versions) Insert(
	ctx context.Context, db database.DBTxConn, r database.InsertRequest,
) error {
	kept, err := keepsOlder(ctx, db)
	switch {
	case err != nil:
		return err
	case kept && r.Version == 0:
		return nil
	case kept:
		if err := v.older.Insert(ctx, db, r); err != nil {
			return err
		}
	}
	return v.Store.Insert(ctx, db, r)
}

// Delete implements [database.Store].
func (v *versions) Delete(ctx context.Context, db database.DBTxConn, version int64) error {
	kept, err := keepsOlder(ctx, db)
	if err != nil {
		return err
	}
	if kept {
		if err := v.older.Delete(ctx, db, version); err != nil {
			return err
		}
	}
	return v.Store.Delete(ctx, db, version)
}

// isKept tells whether there is an older table that is ours.
const isKept = `
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = pg_catalog.current_schema() AND c.relname = '` + olderTable + `'
      AND pg_catalog.obj_description(c.oid, 'pg_class') = '` + mark + `'
)`

func keepsOlder(ctx context.Context, db database.DBTxConn) (kept bool, err error) {
	err = db.QueryRowContext(ctx, isKept).Scan(&kept)
	return kept, err
}

// followOlder copies into the version table what a migrator of the version before has done since.
// That migrator knows only the older table. This one changes both at once, so there is never
// anything to copy in the middle of its work.
const followOlder = `
WITH taken_back AS (
    DELETE FROM ` + versionTable + ` v
    WHERE NOT EXISTS (SELECT FROM ` + olderTable +
	` o WHERE o.version_id = v.version_id AND o.is_applied)
)
INSERT INTO ` + versionTable + ` (version_id, is_applied, tstamp)
SELECT o.version_id, o.is_applied, o.tstamp
FROM ` + olderTable + ` o
WHERE o.is_applied AND NOT EXISTS (SELECT FROM ` + versionTable +
	` v WHERE v.version_id = o.version_id)
ORDER BY o.id`

// follow comes before each look at what is applied.
func (m *Migrator) follow(ctx context.Context) error {
	var exists bool
	err := m.db.QueryRowContext(ctx, inSchema, versionTable).Scan(&exists)
	if err != nil || !exists {
		return err
	}
	kept, err := keepsOlder(ctx, m.db)
	if err != nil || !kept {
		return err
	}
	_, err = m.db.ExecContext(ctx, followOlder)
	return err
}
