package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
)

// StartSession implements auth.Store.
func (d *DB) StartSession(ctx context.Context, e auth.Event, s auth.NewSession) error {
	started, err := d.queries.StartSession(ctx, sqlcgen.StartSessionParams{
		ID: s.ID, UserID: s.User.ID, TokenVersion: s.User.TokenVersion, Salt: s.Salt,
		IdleSeconds: min(s.Limits.Idle, s.Limits.Absolute).Seconds(), AbsoluteSeconds: s.Limits.Absolute.Seconds(),
		ClientAddress: s.Client.Address, UserAgent: s.Client.UserAgent, MaxOthers: int32(s.Limits.PerUser - 1),
		Scope: orNull(s.Scope), ClientID: orNull(s.Client.OAuth.ID), Event: eventJSON(e),
	})
	if err == nil && started == 0 {
		return fmt.Errorf("db: start session: %w", auth.ErrUserNotFound)
	}
	return translate("start session", err)
}

// SessionByID implements auth.Store.
func (d *DB) SessionByID(ctx context.Context, id uuid.UUID) (auth.SessionState, error) {
	row, err := d.queries.SessionByID(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.SessionState{}, fmt.Errorf("db: session by id: %w", auth.ErrSessionNotFound)
	}
	return auth.SessionState{
		Salt: row.Salt, Counter: row.Counter, RotatedAt: row.RotatedAt, IdleExpiresAt: row.IdleExpiresAt,
		ExpiresAt: row.ExpiresAt, EndedAt: row.EndedAt, Now: row.Now, Scope: orZero(row.Scope),
		Client: auth.OAuthClient{ID: orZero(row.ClientID), GrantTypes: row.ClientGrantTypes, Scope: orZero(row.ClientScope)},
		User: user(sqlcgen.UserByIDRow{
			ID: row.UserID, Username: row.Username, UsernameKey: row.UsernameKey, DisabledAt: row.DisabledAt,
			TokenVersion: row.TokenVersion, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
			MustChangePassword: row.MustChangePassword, PasswordExpiresAt: row.PasswordExpiresAt,
			Roles: row.Roles, Permissions: row.Permissions,
		}),
	}, translate("session by id", err)
}

// RotateSession implements auth.Store.
func (d *DB) RotateSession(ctx context.Context, e auth.Event, id uuid.UUID, counter int64, idle time.Duration) (bool, error) {
	rotated, err := d.queries.RotateSession(ctx, sqlcgen.RotateSessionParams{ID: id, Counter: counter, IdleSeconds: idle.Seconds(), Event: eventJSON(e)})
	return rotated > 0, translate("rotate session", err)
}

// EndSession implements auth.Store.
func (d *DB) EndSession(ctx context.Context, e auth.Event, userID, id uuid.UUID, reason string) (bool, error) {
	ended, err := d.queries.EndSession(ctx, sqlcgen.EndSessionParams{UserID: userID, ID: id, Reason: reason, Event: eventJSON(e)})
	return ended > 0, translate("end session", err)
}

// EndSessions implements auth.Store.
func (d *DB) EndSessions(ctx context.Context, e auth.Event, userID, keep uuid.UUID, reason string) (int64, error) {
	row, err := d.queries.EndSessions(ctx, sqlcgen.EndSessionsParams{UserID: userID, Keep: keep, Reason: reason, Event: eventJSON(e)})
	return row.Ended, translate("end sessions", err)
}

// PruneSessions deletes sessions that ended or expired so long ago, at most so many of each, and returns how many.
func (d *DB) PruneSessions(ctx context.Context, over time.Duration, most int) (int64, error) {
	deleted, err := d.queries.PruneSessions(ctx, sqlcgen.PruneSessionsParams{OlderThanSeconds: over.Seconds(), MaxRows: int32(most)})
	return deleted, translate("prune sessions", err)
}

// ListSessions implements auth.Store.
func (d *DB) ListSessions(ctx context.Context, userID, before uuid.UUID, limit int) ([]auth.Session, error) {
	rows, err := d.queries.ListSessions(ctx, sqlcgen.ListSessionsParams{UserID: userID, Before: before, MaxRows: int32(limit)})
	if err != nil {
		return nil, translate("list sessions", err)
	}
	sessions := make([]auth.Session, len(rows))
	for n, row := range rows {
		sessions[n] = auth.Session{
			ID: row.ID, CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt, IdleExpiresAt: row.IdleExpiresAt,
			ExpiresAt: row.ExpiresAt, Client: auth.Client{Address: row.ClientAddress, UserAgent: row.UserAgent},
		}
	}
	return sessions, nil
}

// ChangePassword implements auth.Store.
func (d *DB) ChangePassword(ctx context.Context, e auth.Event, u auth.User, sessionID uuid.UUID, passwordHash string, idle time.Duration) (auth.SessionState, error) {
	changed, err := d.queries.ChangePassword(ctx, sqlcgen.ChangePasswordParams{
		UserID: u.ID, TokenVersion: u.TokenVersion, SessionID: sessionID, PasswordHash: passwordHash, IdleSeconds: idle.Seconds(),
		Event: eventJSON(e),
	})
	if err != nil {
		return auth.SessionState{}, translate("change password", err)
	}
	if changed == 0 {
		return auth.SessionState{}, fmt.Errorf("db: change password: %w", auth.ErrUserNotFound)
	}
	return d.SessionByID(ctx, sessionID)
}

// orNull is NULL for what is not set.
func orNull[T comparable](v T) *T {
	var unset T
	if v == unset {
		return nil
	}
	return &v
}

func orZero[T any](v *T) T {
	if v == nil {
		var unset T
		return unset
	}
	return *v
}
