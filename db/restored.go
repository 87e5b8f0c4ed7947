package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/token"
)

// RevokeAll implements auth.Store.
func (d *DB) RevokeAll(ctx context.Context, e auth.Event, now time.Time) (ended int64, err error) {
	err = d.inTransaction(ctx, "revoke all", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		clock, err := q.Clock(ctx)
		if err != nil {
			return translate("clock", err)
		}
		if apart := now.Sub(clock); apart.Abs() > token.Leeway {
			return outcome.Detail(auth.ErrClocksApart, "the database's clock is %v behind", apart.Round(time.Second))
		}
		if _, err := tx.Exec(ctx, withoutTimeouts); err != nil { // there may be millions of sessions
			return translate("revoke all: prepare", err)
		}
		if ended, err = q.EndAllSessions(ctx); err != nil {
			return translate("end all sessions", err)
		}
		_, err = q.RevokeAll(ctx, eventJSON(e))
		return translate("revoke all", err)
	})
	return ended, err
}
