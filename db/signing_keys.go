package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// keysLock is the advisory lock of whoever changes signing keys: "keys" in ASCII.
const keysLock = 0x6b657973

// SigningKeys implements auth.KeyStore.
func (d *DB) SigningKeys(ctx context.Context, withEnded bool) ([]auth.SigningKey, error) {
	return signingKeys(ctx, d.queries, withEnded)
}

func signingKeys(ctx context.Context, q *sqlcgen.Queries, withEnded bool) ([]auth.SigningKey, error) {
	rows, err := q.ListSigningKeys(ctx, withEnded)
	if err != nil {
		return nil, translate("list signing keys", err)
	}
	keys := make([]auth.SigningKey, len(rows))
	for n, r := range rows {
		keys[n] = auth.SigningKey{
			ID: r.Kid, Algorithm: token.Algorithm(r.Algorithm), State: auth.KeyState(r.State), Sealed: r.SealedPrivate,
			TokenLifetime: time.Duration(r.LifetimeSeconds) * time.Second, CreatedAt: r.CreatedAt,
			ActivatedAt: r.ActivatedAt, RetiringAt: r.RetiringAt, EndedAt: r.EndedAt,
		}
		if r.PublicJwk != nil {
			keys[n].PublicJWK = *r.PublicJwk
		}
	}
	return keys, nil
}

// ChangeSigningKeys implements auth.KeyStore.
func (d *DB) ChangeSigningKeys(ctx context.Context, e auth.Event, decide func(time.Time, []auth.SigningKey) (auth.KeyChange, error)) error {
	return d.inTransaction(ctx, "change signing keys", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		if err := q.TakeTurn(ctx, keysLock); err != nil {
			return translate("take turn", err)
		}
		now, err := q.Clock(ctx)
		if err != nil {
			return translate("clock", err)
		}
		keys, err := signingKeys(ctx, q, false)
		if err != nil {
			return err
		}
		change, err := decide(now, keys)
		if err != nil || len(change.Keys) == 0 {
			return err
		}
		for _, k := range change.Keys {
			if err := q.PutSigningKey(ctx, putParams(k)); err != nil {
				return translate("put signing key", err)
			}
		}
		e.Action, e.Target = change.Action, change.Target
		return translate("record event", q.RecordEvent(ctx, recordParams(e)))
	})
}

func putParams(k auth.SigningKey) sqlcgen.PutSigningKeyParams {
	params := sqlcgen.PutSigningKeyParams{
		Kid: k.ID, Algorithm: string(k.Algorithm), State: string(k.State), SealedPrivate: k.Sealed,
		LifetimeSeconds: int64(k.TokenLifetime / time.Second), CreatedAt: k.CreatedAt,
		ActivatedAt: k.ActivatedAt, RetiringAt: k.RetiringAt, EndedAt: k.EndedAt,
	}
	if k.PublicJWK != "" {
		params.PublicJwk = &k.PublicJWK
	}
	return params
}

// RaiseTokenLifetime implements auth.KeyStore.
func (d *DB) RaiseTokenLifetime(ctx context.Context, lifetime time.Duration) error {
	return translate("raise token lifetime", d.queries.RaiseTokenLifetime(ctx, int64(lifetime/time.Second)))
}
