package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/db/internal/sqlcgen"
)

// roomy does a statement again that found no partition of the audit log for its time, after the
// owner's function has made one. As a rule there are some for months to come; not so in an old
// backup, or where the clock has leapt. The statement has failed as a whole by then, so that
// whoever waits for the partition holds nothing that others wait for.
type roomy struct {
	sqlcgen.DBTX
	makeRoom func(context.Context) error
}

func newRoomy(on sqlcgen.DBTX) roomy {
	return roomy{on, sqlcgen.New(on).AddAuditPartitions}
}

// Exec implements sqlcgen.DBTX.
func (r roomy) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	tag, err := r.DBTX.Exec(ctx, sql, arguments...)
	if !lacksRoom(err) {
		return tag, err
	}
	if err := r.makeRoom(ctx); err != nil {
		return tag, err
	}
	return r.DBTX.Exec(ctx, sql, arguments...)
}

// QueryRow implements sqlcgen.DBTX.
func (r roomy) QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row {
	return roomyRow{r.DBTX.QueryRow(ctx, sql, arguments...), func(into []any) error {
		if err := r.makeRoom(ctx); err != nil {
			return err
		}
		return r.DBTX.QueryRow(ctx, sql, arguments...).Scan(into...)
	}}
}

type roomyRow struct {
	pgx.Row
	again func(into []any) error
}

// Scan implements pgx.Row.
func (r roomyRow) Scan(into ...any) error {
	err := r.Row.Scan(into...)
	if lacksRoom(err) {
		return r.again(into)
	}
	return err
}

// errNoRoom is lacksRoom of an error that is translated already.
var errNoRoom = errors.New("no partition of the audit log for this time")

// lacksRoom tells of a check_violation of no constraint, which is that of a row for no partition.
func lacksRoom(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23514" && pg.ConstraintName == "" && pg.TableName == "audit_events"
}
