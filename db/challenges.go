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

// challengeError is translate, for a statement that finds no challenge that could be redeemed.
func challengeError(op string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("db: %s: %w", op, auth.ErrInvalidChallenge)
	}
	return translate(op, err)
}

// OpenChallenge implements auth.Store.
func (d *DB) OpenChallenge(
	ctx context.Context, id uuid.UUID, p auth.ChallengePurpose,
) (auth.ChallengedUser, error) {
	row, err := d.queries.OpenChallenge(ctx, sqlcgen.OpenChallengeParams{
		ID: id, Purpose: string(p),
	})
	return auth.ChallengedUser(row), challengeError("open challenge", err)
}

// GuessChallenge implements auth.Store.
func (d *DB) GuessChallenge(
	ctx context.Context, asked uuid.UUID, p auth.ChallengePurpose,
) (uuid.UUID, auth.ChallengedUser, error) {
	leave, err := d.turns.take(ctx, challengeRow(asked))
	if err != nil {
		return uuid.Nil, auth.ChallengedUser{}, translate("guess challenge", err)
	}
	defer leave()
	row, err := d.queries.GuessChallenge(ctx, sqlcgen.GuessChallengeParams{
		ID: asked, Purpose: string(p),
	})
	owner := auth.ChallengedUser{ID: row.ID, UsernameKey: row.UsernameKey, Email: row.Email}
	return row.Challenge, owner, challengeError("guess challenge", err)
}

// TakeBackGuess implements auth.Store.
func (d *DB) TakeBackGuess(ctx context.Context, id uuid.UUID) error {
	leave, err := d.turns.take(ctx, challengeRow(id))
	if err != nil {
		return translate("take back guess", err)
	}
	defer leave()
	return translate("take back guess", d.queries.TakeBackGuess(ctx, id))
}

// ResetPassword implements auth.Store.
func (d *DB) ResetPassword(
	ctx context.Context, e auth.Event, challenge uuid.UUID, hash string,
) (auth.User, error) {
	leave, err := d.turns.take(ctx, challengeRow(challenge))
	if err != nil {
		return auth.User{}, translate("reset password", err)
	}
	defer leave()
	row, err := d.queries.ResetPassword(ctx, sqlcgen.ResetPasswordParams{
		ID: challenge, PasswordHash: hash, Event: eventJSON(e),
	})
	return user(row), challengeError("reset password", err)
}

// PruneChallenges deletes challenges that expired so long ago, and at most so many. It returns how
// many it deleted.
func (d *DB) PruneChallenges(
	ctx context.Context, over time.Duration, most int,
) (int64, error) {
	deleted, err := d.queries.PruneChallenges(ctx, sqlcgen.PruneChallengesParams{
		OlderThanSeconds: over.Seconds(), MaxRows: int32(most),
	})
	return deleted, translate("prune challenges", err)
}
