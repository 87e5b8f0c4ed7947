package db

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/token"
)

// StartSession implements auth.Store.
func (d *DB) StartSession(
	ctx context.Context, e auth.Event, s auth.NewSession,
) (time.Time, error) {
	leave, err := d.turns.take(ctx, userRow(s.User.ID))
	if err != nil {
		return time.Time{}, translate("start session", err)
	}
	defer leave()
	at, err := d.queries.StartSession(ctx, sqlcgen.StartSessionParams{
		ID: s.ID, UserID: s.User.ID, TokenVersion: s.User.TokenVersion, Salt: s.Salt,
		IdleSeconds: min(s.Limits.Idle, s.Limits.Absolute).Seconds(), AbsoluteSeconds: s.Limits.Absolute.Seconds(),
		ClientAddress: s.Caller.Address, UserAgent: s.Caller.UserAgent, MaxOthers: int32(s.Limits.PerUser - 1),
		Scope: orNull(s.Scope), ClientID: orNull(s.Caller.Client.ID), BrowserIdleSeconds: browserIdle(s),
		Amr: s.Methods, Trusted: s.Trusted, Event: eventJSON(e),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, fmt.Errorf("db: start session: %w", auth.ErrUserNotFound)
	}
	return at, translate("start session", err)
}

// browserIdle is the idle time of a browser's session in seconds, and NULL for any other.
func browserIdle(s auth.NewSession) *int32 {
	if !s.Browser {
		return nil
	}
	seconds := int32(min(s.Limits.Idle, s.Limits.Absolute).Seconds())
	return &seconds
}

// SessionByID implements auth.Store.
func (d *DB) SessionByID(ctx context.Context, id uuid.UUID) (auth.SessionState, error) {
	row, err := d.queries.SessionByID(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.SessionState{}, fmt.Errorf("db: session by id: %w", auth.ErrSessionNotFound)
	}
	return auth.SessionState{
		Salt: row.Salt, Counter: row.Counter, RotatedAt: row.RotatedAt, RotatedNetwork: orZero(row.RotatedNetwork),
		RepeatedElsewhereAt: row.RepeatedElsewhereAt, IdleExpiresAt: row.IdleExpiresAt,
		ExpiresAt: row.ExpiresAt, EndedAt: row.EndedAt, Now: row.Now, Scope: orZero(row.Scope),
		Client: auth.Client{
			ID: orZero(row.ClientID), GrantTypes: row.ClientGrantTypes, Scope: orZero(row.ClientScope),
			FirstParty: row.ClientFirstParty, RequiredRole: orZero(row.ClientRequiredRole),
			IDTokenAlgorithm: token.Algorithm(orZero(row.ClientIDTokenAlgorithm)),
			Audiences:        row.ClientAudiences,
		},
		User: user(row.Account),

		Browser: row.Browser, Idle: time.Duration(orZero(row.IdleSeconds)) * time.Second,
		AuthTime: row.AuthTime, Methods: row.Amr, OpenID: orZero(row.Openid),
		Claims: orZero(row.Claims), Offline: row.Offline, Resources: orZero(row.Resource), Trusted: row.Trusted,
	}, translate("session by id", err)
}

// RenewBrowserSession implements auth.Store.
func (d *DB) RenewBrowserSession(
	ctx context.Context, e auth.Event, s auth.NewSession, counter int64,
) (bool, error) {
	leave, err := d.turns.take(ctx, userRow(s.User.ID), sessionRow(s.ID))
	if err != nil {
		return false, translate("renew browser session", err)
	}
	defer leave()
	renewed, err := d.queries.RenewBrowserSession(ctx, sqlcgen.RenewBrowserSessionParams{
		ID: s.ID, Counter: counter, UserID: s.User.ID, TokenVersion: s.User.TokenVersion,
		Amr: s.Methods, Trusted: s.Trusted, ClientAddress: s.Caller.Address, UserAgent: s.Caller.UserAgent,
		IdleSeconds: *browserIdle(s), AbsoluteSeconds: s.Limits.Absolute.Seconds(),
		Event: eventJSON(e),
	})
	if err == nil && renewed == 0 {
		return false, d.Settle(ctx) // as EndSession
	}
	return renewed > 0, translate("renew browser session", err)
}

// NoteSessionUse implements auth.Store.
func (d *DB) NoteSessionUse(ctx context.Context, id uuid.UUID) error {
	leave, err := d.turns.take(ctx, sessionRow(id))
	if err != nil {
		return translate("note session use", err)
	}
	defer leave()
	return translate("note session use", d.queries.NoteSessionUse(ctx, id))
}

// NoteSessionUses implements auth.Store.
func (d *DB) NoteSessionUses(ctx context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
	locked, err := d.queries.NoteSessionUses(ctx, ids)
	return locked, translate("note session uses", err)
}

// RotateSession implements auth.Store.
func (d *DB) RotateSession(
	ctx context.Context, e auth.Event, id uuid.UUID, counter int64, from netip.Prefix, idle time.Duration,
) (bool, error) {
	leave, err := d.turns.take(ctx, sessionRow(id))
	if err != nil {
		return false, translate("rotate session", err)
	}
	defer leave()
	rotated, err := d.queries.RotateSession(ctx, sqlcgen.RotateSessionParams{
		ID: id, Counter: counter, Network: orNull(from), IdleSeconds: idle.Seconds(), Event: eventJSON(e),
	})
	return rotated > 0, translate("rotate session", err)
}

// mostRepeatsTold is how many repeats of one rotation the audit log has: enough for three tabs, and
// few for a client in a loop.
const mostRepeatsTold = 10

// RepeatSession implements auth.Store.
func (d *DB) RepeatSession(ctx context.Context, e auth.Event, id uuid.UUID, counter int64, elsewhere bool) (bool, error) {
	leave, err := d.turns.take(ctx, sessionRow(id))
	if err != nil {
		return false, translate("repeat session", err)
	}
	defer leave()
	repeated, err := d.queries.RepeatSession(ctx, sqlcgen.RepeatSessionParams{
		ID: id, Counter: counter, Elsewhere: elsewhere, MostTold: mostRepeatsTold, Event: eventJSON(e),
	})
	return repeated > 0, translate("repeat session", err)
}

// EndSession implements auth.Store.
func (d *DB) EndSession(ctx context.Context, e auth.Event, userID, id uuid.UUID, reason string) (bool, error) {
	leave, err := d.turns.take(ctx, sessionRow(id))
	if err != nil {
		return false, translate("end session", err)
	}
	defer leave()
	ended, err := d.queries.EndSession(ctx, sqlcgen.EndSessionParams{UserID: userID, ID: id, Reason: reason, Event: eventJSON(e)})
	if err == nil && ended == 0 {
		return false, d.Settle(ctx) // perhaps somebody was cut off who has ended it
	}
	return ended > 0, translate("end session", err)
}

// EndSessions implements auth.Store.
func (d *DB) EndSessions(ctx context.Context, e auth.Event, rule auth.Rule, reach auth.Reach, keep uuid.UUID, reason string) (ended int64, err error) {
	leave, err := d.turns.take(ctx, userRow(reach.UserID))
	if err != nil {
		return 0, translate("end sessions", err)
	}
	defer leave()
	err = d.inTurnUnlessFree(ctx, "end sessions", e.By, rule, target{userID: reach.UserID}, func(q *sqlcgen.Queries) error {
		row, err := q.EndSessions(ctx, sqlcgen.EndSessionsParams{
			UserID: reach.UserID, AllClients: reach.AllClients, ClientID: reach.ClientID, Keep: keep, Reason: reason, Event: eventJSON(e),
		})
		ended = row.Ended
		return translate("end sessions", err)
	})
	if err == nil && ended == 0 {
		return 0, d.Settle(ctx) // as EndSession
	}
	return ended, err
}

// PruneSessions deletes sessions that ended or expired so long ago, at most so many of each. It
// returns how many it deleted.
func (d *DB) PruneSessions(ctx context.Context, over time.Duration, most int) (int64, error) {
	deleted, err := d.queries.PruneSessions(ctx, sqlcgen.PruneSessionsParams{OlderThanSeconds: over.Seconds(), MaxRows: int32(most)})
	return deleted, translate("prune sessions", err)
}

// ListSessions implements auth.Store.
func (d *DB) ListSessions(ctx context.Context, reach auth.Reach, before uuid.UUID, limit int) ([]auth.Session, error) {
	p := sqlcgen.ListSessionsParams{
		UserID: reach.UserID, AllClients: reach.AllClients, ClientID: reach.ClientID, Before: &before, MaxRows: int32(limit),
	}
	if before == uuid.Max {
		p.Before = nil
	}
	rows, err := d.queries.ListSessions(ctx, p)
	if err != nil {
		return nil, translate("list sessions", err)
	}
	sessions := make([]auth.Session, len(rows))
	for n, row := range rows {
		sessions[n] = auth.Session{
			ID: row.ID, CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt, IdleExpiresAt: row.IdleExpiresAt,
			ExpiresAt: row.ExpiresAt, Browser: row.Browser, Parent: orZero(row.ParentID),
			Caller: auth.Caller{
				Address: row.ClientAddress, UserAgent: row.UserAgent,
				Client: auth.Client{ID: orZero(row.ClientID), Title: orZero(row.ClientName)},
			},
		}
	}
	return sessions, nil
}

// ListLogins implements auth.Store.
func (d *DB) ListLogins(
	ctx context.Context, reach auth.Reach, before uuid.UUID, limit int,
) ([]auth.LoginShown, error) {
	p := sqlcgen.ListLoginsParams{
		UserID: reach.UserID, AllClients: reach.AllClients, ClientID: reach.ClientID,
		Before: &before, MaxRows: int32(limit),
	}
	if before == uuid.Max {
		p.Before = nil
	}
	rows, err := d.queries.ListLogins(ctx, p)
	logins := make([]auth.LoginShown, len(rows))
	for n, row := range rows {
		logins[n] = auth.LoginShown{
			Session: auth.Session{
				ID: row.ID, CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt,
				IdleExpiresAt: row.IdleExpiresAt, ExpiresAt: row.ExpiresAt,
				Browser: row.Browser, Parent: orZero(row.ParentID),
				Caller: auth.Caller{
					Address: row.ClientAddress, UserAgent: row.UserAgent,
					Client: auth.Client{ID: orZero(row.ClientID), Title: orZero(row.ClientName)},
				},
			},
			Apps: row.Apps,
		}
	}
	return logins, translate("list logins", err)
}

// ChangePassword implements auth.Store.
func (d *DB) ChangePassword(ctx context.Context, e auth.Event, p auth.PasswordChange) (auth.SessionState, error) {
	leave, err := d.turns.take(ctx, userRow(p.Before.User.ID), sessionRow(p.SessionID))
	if err != nil {
		return auth.SessionState{}, translate("change password", err)
	}
	defer leave()
	row, err := d.queries.ChangePassword(ctx, sqlcgen.ChangePasswordParams{
		UserID: p.Before.User.ID, TokenVersion: p.Before.User.TokenVersion, SessionID: p.SessionID, Salt: p.Salt, PasswordHash: p.Hash,
		IdleSeconds: p.Idle.Seconds(), Event: eventJSON(e),
	})
	after := p.Before
	after.User = user(row.Account)
	after.Salt, after.Counter, after.ExpiresAt, after.Now = p.Salt, row.Counter, row.ExpiresAt, row.Now
	return after, translate("change password", err)
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
