package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/token"
)

// keysLock is the advisory lock of whoever changes signing keys: "keys" in ASCII.
const keysLock = 0x6b657973

// KeyChanges subscribes to changes of the signing keys, of which a trigger tells. It hints with
// each new connection too, before which they may have changed.
func KeyChanges(hint func()) Subscription {
	return Subscription{Channel: "gatehouse_signing_keys", Notified: func(string) { hint() }, Connected: hint}
}

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
			ID: r.Kid, Use: auth.KeyUse(r.Use), Algorithm: token.Algorithm(r.Algorithm), State: auth.KeyState(r.State), Sealed: r.SealedPrivate,
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
		if err != nil {
			return err
		}
		if len(change.Keys) == 0 {
			return translate("settle", q.Settle(ctx))
		}
		for _, k := range change.Keys {
			if err := putSigningKey(ctx, q, k); err != nil {
				return translate("put signing key", err)
			}
		}
		if change.Secrets != nil {
			if err := q.ForgetSecretKeys(ctx, true); err != nil {
				return translate("forget secret keys", err)
			}
			if err := q.RenewSecretKeys(ctx, change.Secrets); err != nil {
				return translate("renew secret keys", err)
			}
		}
		for _, step := range append([]auth.KeyStep{{Action: change.Action, Target: change.Target}}, change.Successors...) {
			e.Action, e.Target = step.Action, step.Target
			if err := q.RecordEvent(ctx, recordParams(e)); err != nil {
				return translate("record event", err)
			}
		}
		return nil
	})
}

// putSigningKey stores a key in the table of its use. The version before must not read keys of ID
// tokens: it would accept access tokens by them.
func putSigningKey(ctx context.Context, q *sqlcgen.Queries, k auth.SigningKey) error {
	switch k.Use {
	case auth.KeyForAccess:
		return q.PutSigningKey(ctx, putParams(k))
	case auth.KeyForID:
		return q.PutIDTokenKey(ctx, sqlcgen.PutIDTokenKeyParams(putParams(k)))
	}
	return fmt.Errorf("a signing key for the use %q", k.Use)
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

// SecretIDs implements auth.SecretStore.
func (d *DB) SecretIDs(ctx context.Context) ([]string, error) {
	ids, err := d.queries.ListSecretKeys(ctx)
	return ids, translate("list secret keys", err)
}

// RenewSecrets implements auth.SecretStore.
func (d *DB) RenewSecrets(ctx context.Context, ids []string, judge func(recorded []string) error) error {
	return d.inTransaction(ctx, "renew secrets", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		if err := q.TakeTurn(ctx, keysLock); err != nil { // with those who put others in their place
			return translate("take turn", err)
		}
		recorded, err := q.ListSecretKeys(ctx)
		if err != nil {
			return translate("list secret keys", err)
		}
		if err := judge(recorded); err != nil {
			return err
		}
		if err := q.RenewSecretKeys(ctx, ids); err != nil {
			return translate("renew secret keys", err)
		}
		return translate("forget secret keys", q.ForgetSecretKeys(ctx, false))
	})
}
