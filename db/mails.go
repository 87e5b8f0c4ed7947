package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
)

// storedMail is a mail as the function queue_mail takes it.
type storedMail struct {
	ID              uuid.UUID     `json:"id"`
	Kind            auth.MailKind `json:"kind"`
	Sealed          []byte        `json:"sealed"` // in Base64
	LifetimeSeconds float64       `json:"lifetime_seconds"`
	OfNobody        bool          `json:"of_nobody,omitzero"`
}

func storedMails(mails []auth.QueuedMail) (all []storedMail) {
	for _, m := range mails {
		all = append(all, storedMail{m.ID, m.Kind, m.Sealed, m.Lifetime.Seconds(), m.OfNobody})
	}
	return all
}

// mailError is translate, for a statement that finds no mail.
func mailError(op string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("db: %s: %w", op, auth.ErrMailNotFound)
	}
	return translate(op, err)
}

// changedMail is mailError, for a statement that returns nothing.
func changedMail(op string, changed int64, err error) error {
	if err == nil && changed == 0 {
		err = pgx.ErrNoRows
	}
	return mailError(op, err)
}

// BeginMail implements auth.Store.
func (d *DB) BeginMail(ctx context.Context, id uuid.UUID) (auth.BegunMail, error) {
	row, err := d.queries.BeginMail(ctx, id)
	return auth.BegunMail{
		ID: id, Kind: auth.MailKind(row.Kind), UserID: orZero(row.UserID), Sealed: row.Sealed,
		QueuedAt: row.CreatedAt, Attempts: int(row.Attempts), Admitted: row.Admitted,
		Expired: row.Expired,
	}, mailError("begin mail", err)
}

// AdmitMail implements auth.Store.
func (d *DB) AdmitMail(ctx context.Context, id, user uuid.UUID) error {
	changed, err := d.queries.AdmitMail(ctx, sqlcgen.AdmitMailParams{ID: id, UserID: orNull(user)})
	return changedMail("admit mail", changed, err)
}

// TakeMailRates implements auth.Store.
func (d *DB) TakeMailRates(
	ctx context.Context, id uuid.UUID, rates []auth.Rate,
) (taken []auth.TakenRate, refused []auth.RefusedRate, err error) {
	leave, err := d.turns.take(ctx, rateRows(rates)...)
	if err != nil {
		return nil, nil, translate("take rate limits of mail", err)
	}
	defer leave()
	err = d.inTransaction(ctx, "take rate limits of mail", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		found, err := q.TakeRateLimits(ctx, ratesToTake(rates, false))
		if err != nil {
			return translate("take rate limits of mail", err)
		}
		if refused = refusedOf(rates, found); len(refused) > 0 {
			return nil
		}
		taken = takenOf(rates, found)
		changed, err := q.AdmitMail(ctx, sqlcgen.AdmitMailParams{ID: id})
		return changedMail("take rate limits of mail", changed, err)
	})
	return taken, refused, err
}

// PutChallenge implements auth.Store.
func (d *DB) PutChallenge(
	ctx context.Context, e auth.Event, c auth.NewChallenge,
) (time.Time, error) {
	leave, err := d.turns.take(ctx, userRow(c.User.ID))
	if err != nil {
		return time.Time{}, translate("put challenge", err)
	}
	defer leave()
	row, err := d.queries.PutChallenge(ctx, sqlcgen.PutChallengeParams{
		ID: c.ID, AskedAs: orNull(c.AskedAs), Purpose: string(c.Purpose), UserID: c.User.ID,
		TokenVersion: c.User.TokenVersion, Email: c.Email.Given, EmailKey: c.Email.Key,
		Event: eventJSON(e),
	})
	return row.ExpiresAt, mailError("put challenge", err)
}

func eventOrNull(e *auth.Event) *string {
	if e == nil {
		return nil
	}
	text := eventJSON(*e)
	return &text
}

// FailMail implements auth.Store.
func (d *DB) FailMail(ctx context.Context, id uuid.UUID, problem string) error {
	changed, err := d.queries.FailMail(ctx, sqlcgen.FailMailParams{ID: id, Problem: &problem})
	return changedMail("fail mail", changed, err)
}

// SettleMail implements auth.Store.
func (d *DB) SettleMail(
	ctx context.Context, id uuid.UUID, end auth.MailEnd,
) (time.Duration, error) {
	row, err := d.queries.SettleMail(ctx, sqlcgen.SettleMailParams{
		ID: id, Outcome: orNull(string(end.Outcome)), Problem: orNull(end.Problem),
		UserID: orNull(end.UserID), Event: eventOrNull(end.Event),
	})
	waited := time.Duration(row.WaitedSeconds * float64(time.Second))
	return waited, mailError("settle mail", err)
}

// MailsOfUser implements auth.Store.
func (d *DB) MailsOfUser(
	ctx context.Context, user uuid.UUID, limit int,
) ([]auth.RecordedMail, error) {
	rows, err := d.queries.MailsOfUser(ctx, sqlcgen.MailsOfUserParams{
		UserID: &user, MaxRows: int32(limit),
	})
	mails := make([]auth.RecordedMail, len(rows))
	for n, row := range rows {
		mails[n] = auth.RecordedMail{
			ID: row.ID, Kind: auth.MailKind(row.Kind), QueuedAt: row.CreatedAt,
			ExpiresAt: row.ExpiresAt, Attempts: int(row.Attempts),
			Outcome: auth.MailOutcome(orZero(row.Outcome)), Problem: orZero(row.Problem),
			DoneAt: row.DoneAt,
		}
	}
	return mails, translate("mails of user", err)
}

// UserByLogin implements auth.Store.
func (d *DB) UserByLogin(ctx context.Context, username, address string) (auth.User, error) {
	row, err := d.queries.UserByLogin(ctx, sqlcgen.UserByLoginParams{
		UsernameKey: username, AddressKey: address,
	})
	return user(row), translate("user by login", err)
}

// ExpireMails implements auth.Store.
func (d *DB) ExpireMails(
	ctx context.Context, end auth.MailEnd, over time.Duration, most int,
) ([]auth.MailKind, error) {
	rows, err := d.queries.ExpireMails(ctx, sqlcgen.ExpireMailsParams{
		Outcome: orNull(string(end.Outcome)), Problem: orNull(end.Problem), Event: eventJSON(*end.Event),
		OlderThanSeconds: over.Seconds(), MaxRows: int32(most),
	})
	kinds := make([]auth.MailKind, len(rows))
	for n, row := range rows {
		kinds[n] = auth.MailKind(row.Kind)
	}
	return kinds, translate("expire mails", err)
}

// PruneMails deletes mails that were done so long ago, and at most so many. It returns how many it
// deleted.
func (d *DB) PruneMails(ctx context.Context, done time.Duration, most int) (int64, error) {
	deleted, err := d.queries.PruneMails(ctx, sqlcgen.PruneMailsParams{
		OlderThanSeconds: done.Seconds(), MaxRows: int32(most),
	})
	return deleted, translate("prune mails", err)
}
