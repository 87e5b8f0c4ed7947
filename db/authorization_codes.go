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

// InsertCode implements auth.Store.
func (d *DB) InsertCode(ctx context.Context, e auth.Event, c auth.NewCode) error {
	stored, err := d.queries.InsertCode(ctx, sqlcgen.InsertCodeParams{
		Digest: c.Digest[:], SessionID: c.SessionID, TokenVersion: c.UserVersion,
		ClientID: c.ClientID, ClientVersion: c.ClientVersion, RedirectUri: c.RedirectURI, Challenge: orNull(c.Challenge),
		Scope: orNull(c.Scope), Openid: orNull(c.OpenID), Claims: orNull(c.Claims),
		Resource: orNull(c.Resources), Nonce: orNull(c.Nonce), Asks: list(c.Asks),
		LifetimeSeconds: c.Lifetime.Seconds(), Event: eventJSON(e),
	})
	if err == nil && stored == 0 {
		return fmt.Errorf("db: insert code: %w", auth.ErrSessionNotFound)
	}
	return translate("insert code", err)
}

// InsertProvedCode implements auth.Store.
func (d *DB) InsertProvedCode(ctx context.Context, e auth.Event, c auth.NewCode) error {
	stored, err := d.queries.InsertProvedCode(ctx, sqlcgen.InsertProvedCodeParams{
		Digest: c.Digest[:], UserID: c.UserID, TokenVersion: c.UserVersion,
		ClientID: orNull(c.ClientID), ClientVersion: c.ClientVersion, Challenge: c.Challenge,
		Scope: orNull(c.Scope), Openid: orNull(c.OpenID), Claims: orNull(c.Claims),
		Resource: orNull(c.Resources), Nonce: orNull(c.Nonce), Amr: c.Methods,
		LifetimeSeconds: c.Lifetime.Seconds(), Event: eventJSON(e),
	})
	if err == nil && stored == 0 {
		return fmt.Errorf("db: insert proved code: %w", auth.ErrUserNotFound)
	}
	return translate("insert proved code", err)
}

// RedeemCode implements auth.Store.
func (d *DB) RedeemCode(
	ctx context.Context, e auth.Event, c auth.RedeemableCode,
) (auth.RedeemedCode, error) {
	leave, err := d.turns.take(ctx, codeRow(c.Digest))
	if err != nil {
		return auth.RedeemedCode{}, translate("redeem code", err)
	}
	defer leave()
	if c.RedirectURI == "" {
		return d.redeemProvedCode(ctx, e, c)
	}
	s := c.Session
	row, err := d.queries.RedeemCode(ctx, sqlcgen.RedeemCodeParams{
		Digest: c.Digest[:], ID: &s.ID, ClientID: s.Caller.Client.ID, RedirectUri: c.RedirectURI,
		Challenge: orNull(c.Challenge), Resources: list(c.Resources),
		DefaultResource: c.DefaultResource, Salt: s.Salt, MaxOthers: int32(c.PerParent - 1),
		MaxRoots: int32(s.Limits.PerUser - 1), IdleSeconds: s.Limits.Idle.Seconds(),
		AbsoluteSeconds: s.Limits.Absolute.Seconds(), ClientAddress: s.Caller.Address,
		UserAgent: s.Caller.UserAgent, Event: eventJSON(e),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.RedeemedCode{}, fmt.Errorf("db: redeem code: %w", auth.ErrInvalidCode)
	}
	return auth.RedeemedCode{
		User: user(row.Account), Scope: orZero(row.Scope), OpenID: orZero(row.Openid),
		Claims: orZero(row.Claims), Resources: orZero(row.Resource), Nonce: orZero(row.Nonce),
		AuthTime: row.AuthTime,
		Methods:  row.Amr, ExpiresAt: row.ExpiresAt, Now: row.Now,
	}, translate("redeem code", err)
}

// redeemProvedCode is RedeemCode for a code without a browser.
func (d *DB) redeemProvedCode(
	ctx context.Context, e auth.Event, c auth.RedeemableCode,
) (auth.RedeemedCode, error) {
	s := c.Session
	row, err := d.queries.RedeemProvedCode(ctx, sqlcgen.RedeemProvedCodeParams{
		Digest: c.Digest[:], ID: &s.ID, ClientID: orNull(s.Caller.Client.ID),
		Challenge: c.Challenge, Resources: list(c.Resources), DefaultResource: c.DefaultResource,
		Salt: s.Salt, MaxOthers: int32(s.Limits.PerUser - 1), IdleSeconds: s.Limits.Idle.Seconds(),
		AbsoluteSeconds: s.Limits.Absolute.Seconds(), ClientAddress: s.Caller.Address,
		UserAgent: s.Caller.UserAgent, Event: eventJSON(e),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.RedeemedCode{}, fmt.Errorf("db: redeem proved code: %w", auth.ErrInvalidCode)
	}
	return auth.RedeemedCode{
		User: user(row.Account), Scope: orZero(row.Scope), OpenID: orZero(row.Openid),
		Claims: orZero(row.Claims), Resources: orZero(row.Resource), Nonce: orZero(row.Nonce),
		AuthTime: row.AuthTime, Methods: row.Amr, ExpiresAt: row.ExpiresAt, Now: row.Now,
	}, translate("redeem proved code", err)
}

// RefusedCode implements auth.Store.
func (d *DB) RefusedCode(
	ctx context.Context, c auth.RedeemableCode,
) (auth.RefusedCode, error) {
	row, err := d.queries.CodeByDigest(ctx, sqlcgen.CodeByDigestParams{
		Digest: c.Digest[:], ClientID: orNull(c.Session.Caller.Client.ID), Resources: list(c.Resources),
		DefaultResource: c.DefaultResource,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.RefusedCode{}, fmt.Errorf("db: refused code: %w", auth.ErrInvalidCode)
	}
	return auth.RefusedCode{
		UserID: row.UserID, Started: orZero(row.StartedID), HasResources: row.HasResources,
	}, translate("refused code", err)
}

// PruneCodes deletes codes that expired so long ago, and at most so many. It returns how many it
// deleted.
func (d *DB) PruneCodes(ctx context.Context, over time.Duration, most int) (int64, error) {
	deleted, err := d.queries.PruneCodes(ctx, sqlcgen.PruneCodesParams{
		OlderThanSeconds: over.Seconds(), MaxRows: int32(most),
	})
	return deleted, translate("prune codes", err)
}

// ConsentTo implements auth.Store.
func (d *DB) ConsentTo(
	ctx context.Context, userID uuid.UUID, clientID string,
) ([]string, error) {
	words, err := d.queries.ConsentTo(ctx, sqlcgen.ConsentToParams{
		UserID: userID, ClientID: clientID,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return words, translate("consent to", err)
}

// PutConsent implements auth.Store.
func (d *DB) PutConsent(
	ctx context.Context, e auth.Event, userID uuid.UUID, clientID string, words []string,
) error {
	leave, err := d.turns.take(ctx, userRow(userID))
	if err != nil {
		return translate("put consent", err)
	}
	defer leave()
	err = d.queries.PutConsent(ctx, sqlcgen.PutConsentParams{
		UserID: userID, ClientID: clientID, Words: list(words), Event: eventJSON(e),
	})
	return translate("put consent", err)
}

// ListConsents implements auth.Store.
func (d *DB) ListConsents(
	ctx context.Context, reach auth.Reach, limit int,
) ([]auth.PersonalConsent, error) {
	found, err := consents(ctx, d.queries, reach, int32(limit))
	return found, translate("list consents", err)
}

func consents(
	ctx context.Context, q *sqlcgen.Queries, reach auth.Reach, limit int32,
) (found []auth.PersonalConsent, err error) {
	rows, err := q.PersonalConsents(ctx, sqlcgen.PersonalConsentsParams{
		UserID: reach.UserID, AllClients: reach.AllClients, ClientID: reach.ClientID, MaxRows: limit,
	})
	for _, row := range rows {
		found = append(found, auth.PersonalConsent{
			Client: auth.Client{ID: row.ClientID, Title: row.ClientName},
			Words:  row.Words, GrantedAt: row.GrantedAt,
		})
	}
	return found, err
}

// WithdrawConsent implements auth.Store.
func (d *DB) WithdrawConsent(
	ctx context.Context, e auth.Event, userID uuid.UUID, clientID, reason string,
) (withdrawn bool, err error) {
	const op = "withdraw consent"
	leave, err := d.turns.take(ctx, userRow(userID))
	if err != nil {
		return false, translate(op, err)
	}
	defer leave()
	err = d.inTransaction(ctx, op, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		deleted, err := q.DeleteConsent(ctx, sqlcgen.DeleteConsentParams{
			UserID: userID, ClientID: clientID,
		})
		if withdrawn = deleted > 0; err != nil || !withdrawn {
			return translate(op, err)
		}
		err = q.VoidCodes(ctx, sqlcgen.VoidCodesParams{UserID: userID, ClientID: clientID})
		if err != nil {
			return translate(op+": codes", err)
		}
		return translate(op+": sessions", q.EndConsentedSessions(ctx, sqlcgen.EndConsentedSessionsParams{
			UserID: userID, ClientID: clientID, Reason: reason, Event: eventJSON(e),
		}))
	})
	if err == nil && !withdrawn {
		return false, d.Settle(ctx) // perhaps somebody was cut off who has withdrawn it
	}
	return withdrawn, err
}
