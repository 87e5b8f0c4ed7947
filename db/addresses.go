package db

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
)

// AskForAddress implements auth.Store.
func (d *DB) AskForAddress(ctx context.Context, e auth.Event, u auth.User, to auth.Email) error {
	const op = "ask for address"
	leave, err := d.turns.take(ctx, userRow(u.ID))
	if err != nil {
		return translate(op, err)
	}
	defer leave()
	asked, err := d.queries.AskForAddress(ctx, sqlcgen.AskForAddressParams{
		UserID: u.ID, TokenVersion: u.TokenVersion, Email: to.Given, EmailKey: to.Key,
		Event: eventJSON(e),
	})
	if err == nil && asked == 0 {
		err = pgx.ErrNoRows
	}
	return translate(op, err)
}

// ProveAddress implements auth.Store.
func (d *DB) ProveAddress(
	ctx context.Context, e, displacement auth.Event, p auth.AddressProof,
) (auth.User, error) {
	const op = "prove address"
	leave, err := d.turns.take(ctx, userRow(p.Before.ID))
	if err != nil {
		return auth.User{}, translate(op, err)
	}
	defer leave()
	row, err := d.queries.ProveAddress(ctx, sqlcgen.ProveAddressParams{
		ID: p.Challenge, KeyBefore: orNull(p.Before.Email.Key),
		WasVerified: p.Before.Email.Verified(), Keep: p.Keep, OwnLocal: p.Local,
		Event: eventJSON(e), Displacement: eventJSON(displacement),
	})
	return user(row.Account), challengeError(op, err)
}

// RemoveAddress implements auth.Store.
func (d *DB) RemoveAddress(
	ctx context.Context, e auth.Event, u auth.User, keep uuid.UUID,
) (auth.User, error) {
	const op = "remove address"
	leave, err := d.turns.take(ctx, userRow(u.ID))
	if err != nil {
		return auth.User{}, translate(op, err)
	}
	defer leave()
	row, err := d.queries.RemoveAddress(ctx, sqlcgen.RemoveAddressParams{
		UserID: u.ID, TokenVersion: u.TokenVersion, KeyBefore: u.Email.Key,
		WasVerified: u.Email.Verified(), Keep: keep, Event: eventJSON(e),
	})
	return user(row), translate(op, err)
}

// UndoAddress implements auth.Store.
func (d *DB) UndoAddress(
	ctx context.Context, e auth.Event, u auth.User, challenge uuid.UUID,
) (auth.User, error) {
	const op = "undo address"
	leave, err := d.turns.take(ctx, userRow(u.ID))
	if err != nil {
		return auth.User{}, translate(op, err)
	}
	defer leave()
	row, err := d.queries.UndoAddress(ctx, sqlcgen.UndoAddressParams{
		ID: challenge, TokenVersion: u.TokenVersion, Event: eventJSON(e),
	})
	return user(row), challengeError(op, err)
}

// HolderOfAddress implements auth.Store.
func (d *DB) HolderOfAddress(ctx context.Context, key string) (auth.User, error) {
	row, err := d.queries.HolderOfAddress(ctx, key)
	return user(row), translate("holder of address", err)
}

// AddressToProve implements auth.Store.
func (d *DB) AddressToProve(ctx context.Context, id uuid.UUID) (auth.Email, error) {
	row, err := d.queries.AddressToProve(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.Email{}, nil
	}
	return auth.Email{Given: row.Email, Key: row.EmailKey}, translate("address to prove", err)
}

// UserOfMail implements auth.Store.
func (d *DB) UserOfMail(
	ctx context.Context, id uuid.UUID, kind auth.MailKind,
) (uuid.UUID, error) {
	found, err := d.queries.UserOfMail(ctx, sqlcgen.UserOfMailParams{ID: id, Kind: string(kind)})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, nil
	}
	return found, translate("user of mail", err)
}

// PruneUnproved implements auth.Store.
func (d *DB) PruneUnproved(
	ctx context.Context, e auth.Event, most int,
) (deleted int64, err error) {
	const op = "prune unproved"
	err = d.inTransaction(ctx, op, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		ids, err := q.FreeUnprovedNames(ctx, int32(most))
		if err == nil && len(ids) > 0 {
			deleted, err = q.DeleteUnproved(ctx, sqlcgen.DeleteUnprovedParams{
				Ids: ids, Event: eventJSON(e),
			})
		}
		return translate(op, err)
	})
	return deleted, err
}
