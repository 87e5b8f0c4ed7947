package db

import (
	"context"

	"github.com/google/uuid"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
)

// ResetFactors implements auth.Store.
func (d *DB) ResetFactors(
	ctx context.Context, e auth.Event, rule auth.Rule, key string,
) (changed auth.User, err error) {
	const op = "reset factors"
	leave, err := d.turns.take(ctx, nameRow(key))
	if err != nil {
		return auth.User{}, translate(op, err)
	}
	defer leave()
	err = d.inTurn(ctx, op, e.By, rule, target{userKey: key}, func(q *sqlcgen.Queries) error {
		// A factor that somebody sets up just now would not be seen, and would stay.
		if _, err := q.LockUser(ctx, key); err != nil {
			return translate(op, err)
		}
		row, err := q.ResetFactors(ctx, sqlcgen.ResetFactorsParams{
			UsernameKey: key, Event: eventJSON(e),
		})
		changed = user(row)
		return translate(op, err)
	})
	return changed, err
}

// SealedTOTPs implements auth.Store.
func (d *DB) SealedTOTPs(
	ctx context.Context, after uuid.UUID, limit int,
) ([]auth.SealedTOTP, error) {
	rows, err := d.queries.SealedTOTPs(ctx, sqlcgen.SealedTOTPsParams{
		After: after, MaxRows: int32(limit),
	})
	found := make([]auth.SealedTOTP, len(rows))
	for n, row := range rows {
		found[n] = auth.SealedTOTP{UserID: row.UserID, Sealed: row.Sealed}
	}
	return found, translate("sealed totps", err)
}

// ResealTOTPs implements auth.Store.
func (d *DB) ResealTOTPs(
	ctx context.Context, e auth.Event, before, after []auth.SealedTOTP,
) (resealed int, err error) {
	p := sqlcgen.ResealTOTPsParams{Event: eventJSON(e)}
	for n := range before {
		p.UserIds = append(p.UserIds, before[n].UserID)
		p.Before = append(p.Before, before[n].Sealed)
		p.After = append(p.After, after[n].Sealed)
	}
	row, err := d.queries.ResealTOTPs(ctx, p)
	return int(row.Resealed), translate("reseal totps", err)
}
