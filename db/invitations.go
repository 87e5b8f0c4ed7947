package db

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/outcome"
)

// Invite implements auth.Store.
func (d *DB) Invite(
	ctx context.Context, e auth.Event, rule auth.Rule, a auth.StoredAccount,
) (invited auth.User, err error) {
	const op = "invite"
	leave, err := d.turns.take(ctx, nameRow(a.Username.Key))
	if err != nil {
		return auth.User{}, translate(op, err)
	}
	defer leave()
	of := target{invited: a.Email.Key, roles: a.Roles}
	err = d.inTurn(ctx, op, e.By, rule, of, func(q *sqlcgen.Queries) error {
		row, err := q.InvitedUser(ctx, a.Email.Key)
		if err == nil {
			invited = user(row)
			return translate(op, q.RenewInvitation(ctx, sqlcgen.RenewInvitationParams{
				UserID: row.ID, Event: eventJSON(e),
			}))
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return translate(op, err)
		}
		taken, err := q.AddressIsTaken(ctx, a.Email.Key)
		if err == nil && taken {
			return auth.ErrAddressTaken
		}
		if err != nil {
			return translate(op, err)
		}
		if invited, err = insertUser(ctx, q, e, a); err != nil {
			return err
		}
		return translate(op, q.PutInvitation(ctx, sqlcgen.PutInvitationParams{
			UserID: a.ID, EmailKey: a.Email.Key,
		}))
	})
	return invited, err
}

// AcceptInvitation implements auth.Store.
func (d *DB) AcceptInvitation(
	ctx context.Context, e auth.Event, a auth.Acceptance,
) (accepted auth.User, err error) {
	const op = "accept invitation"
	leave, err := d.turns.take(ctx, challengeRow(a.Challenge), nameRow(a.Username.Key))
	if err != nil {
		return auth.User{}, translate(op, err)
	}
	defer leave()
	err = d.inTransaction(ctx, op, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		row, err := q.AcceptInvitation(ctx, sqlcgen.AcceptInvitationParams{
			ID: a.Challenge, PasswordHash: a.Hash, Event: eventJSON(e),
			Username: orNil(a.Username.Given), UsernameKey: orNil(a.Username.Key),
			UsernameAddress: orNil(a.Username.Address), Skeleton: orNil(a.Username.Skeleton),
		})
		if err != nil {
			return challengeError(op, err)
		}
		accepted = user(row)
		if a.Username.Key == "" {
			return nil
		}
		return rename(ctx, q, row.ID, a.Username)
	})
	return accepted, err
}

// rename completes what an update of a username leaves to be done, and looks whether the name was
// free. It comes after the update, which has waited for whoever was about to take the name.
func rename(
	ctx context.Context, q *sqlcgen.Queries, id uuid.UUID, name auth.Username,
) error {
	taken, err := q.NameIsTaken(ctx, sqlcgen.NameIsTakenParams{
		UserID: id, UsernameKey: name.Key, Skeleton: orNil(name.Skeleton),
	})
	if err != nil {
		return translate("name is taken", err)
	}
	if taken {
		return outcome.Detail(auth.ErrUsernameTaken, "it was, or looks like, the name of another account")
	}
	return translate("rename roles", q.RenameRoles(ctx, id))
}

// PruneInvitations implements auth.Store.
func (d *DB) PruneInvitations(
	ctx context.Context, e auth.Event, over time.Duration, most int,
) (deleted int64, err error) {
	const op = "prune invitations"
	err = d.inTransaction(ctx, op, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		if err := q.ForgetInvitations(ctx, sqlcgen.ForgetInvitationsParams{
			OlderThanSeconds: over.Seconds(), MaxRows: int32(most),
		}); err != nil {
			return translate(op, err)
		}
		ids, err := q.FreeInvitedNames(ctx, sqlcgen.FreeInvitedNamesParams{
			OlderThanSeconds: over.Seconds(), MaxRows: int32(most),
		})
		if err == nil && len(ids) > 0 {
			deleted, err = q.DeleteInvited(ctx, sqlcgen.DeleteInvitedParams{
				Ids: ids, Event: eventJSON(e),
			})
		}
		return translate(op, err)
	})
	return deleted, err
}
