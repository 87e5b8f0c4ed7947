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
	"gatehouse.example/internal/passkey"
)

var _ auth.FactorProofStore = (*DB)(nil)

// PendingLogin implements auth.Store.
func (d *DB) PendingLogin(
	ctx context.Context, userID uuid.UUID, digest auth.ProofDigest,
) (auth.User, bool, error) {
	row, err := d.queries.PendingLogin(ctx, sqlcgen.PendingLoginParams{
		UserID: userID, Digest: digest[:],
	})
	return user(row.Account), row.Redeemed, translate("pending login", err)
}

// TryFactorCode implements auth.Store.
func (d *DB) TryFactorCode(
	ctx context.Context, p auth.PendingProof, most int,
) (auth.User, []byte, error) {
	leave, err := d.turns.take(ctx, userRow(p.UserID))
	if err != nil {
		return auth.User{}, nil, translate("try factor code", err)
	}
	defer leave()
	row, err := d.queries.TryFactorCode(ctx, sqlcgen.TryFactorCodeParams{
		UserID: p.UserID, TokenVersion: p.Version, Digest: p.Digest[:], Most: int32(most),
	})
	return user(row.Account), row.Sealed, translate("try factor code", err)
}

// UseTOTP implements auth.Store.
func (d *DB) UseTOTP(ctx context.Context, p auth.PendingProof, step int64) (bool, error) {
	return d.useFactor(ctx, "use TOTP", p.UserID, func() (int64, error) {
		return d.queries.UseTOTP(ctx, sqlcgen.UseTOTPParams{
			UserID: p.UserID, TokenVersion: p.Version, Digest: p.Digest[:], Step: step,
			LifetimeSeconds: p.Lifetime.Seconds(),
		})
	})
}

// UseRecoveryCode implements auth.Store.
func (d *DB) UseRecoveryCode(
	ctx context.Context, e auth.Event, p auth.PendingProof, code []byte,
) (bool, error) {
	return d.useFactor(ctx, "use recovery code", p.UserID, func() (int64, error) {
		return d.queries.UseRecoveryCode(ctx, sqlcgen.UseRecoveryCodeParams{
			UserID: p.UserID, TokenVersion: p.Version, Digest: p.Digest[:], Code: code,
			LifetimeSeconds: p.Lifetime.Seconds(), Event: eventJSON(e),
		})
	})
}

// UsePasskey implements auth.Store.
func (d *DB) UsePasskey(ctx context.Context, e *auth.Event, u auth.PasskeyUse) (bool, error) {
	return d.useFactor(ctx, "use passkey", u.User.ID, func() (int64, error) {
		p := sqlcgen.UsePasskeyParams{
			UserID: u.User.ID, TokenVersion: u.User.TokenVersion, ID: u.Passkey,
			Before: int64(u.Before), SignCount: int64(u.SignCount), BackedUp: u.BackedUp,
			LifetimeSeconds: u.Lifetime.Seconds(),
		}
		if e != nil {
			told := eventJSON(*e)
			p.Event = &told
		}
		for _, digest := range u.Redeems {
			p.Digests = append(p.Digests, digest[:])
		}
		return d.queries.UsePasskey(ctx, p)
	})
}

// RedeemProof implements auth.Store.
func (d *DB) RedeemProof(
	ctx context.Context, digest auth.ProofDigest, lifetime time.Duration,
) (bool, error) {
	redeemed, err := d.queries.RedeemProof(ctx, sqlcgen.RedeemProofParams{
		Digest: digest[:], LifetimeSeconds: lifetime.Seconds(),
	})
	return redeemed > 0, translate("redeem proof", err)
}

// useFactor reports whether something was there to be used. If another use redeems the same at the
// same time, this one changes nothing.
func (d *DB) useFactor(
	ctx context.Context, op string, userID uuid.UUID, use func() (int64, error),
) (bool, error) {
	leave, err := d.turns.take(ctx, userRow(userID))
	if err != nil {
		return false, translate(op, err)
	}
	defer leave()
	used, err := use()
	err = translate(op, err)
	if errors.Is(err, auth.ErrPendingLogin) {
		return false, nil
	}
	return used > 0, err
}

// PasskeysToProve implements auth.Store.
func (d *DB) PasskeysToProve(
	ctx context.Context, userID uuid.UUID,
) (keys []passkey.Credential, err error) {
	rows, err := d.queries.PasskeysToProve(ctx, userID)
	for _, row := range rows {
		keys = append(keys, passkey.Credential{ID: row.CredentialID, Transports: row.Transports})
	}
	return keys, translate("passkeys to prove", err)
}

// PasskeyByCredential implements auth.Store.
func (d *DB) PasskeyByCredential(ctx context.Context, id []byte) (auth.HeldPasskey, error) {
	row, err := d.queries.PasskeyByCredential(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.HeldPasskey{}, fmt.Errorf("db: passkey by credential: %w", auth.ErrPasskeyNotFound)
	}
	return auth.HeldPasskey{
		Passkey: passkeyOf(row.Passkey), Holder: user(row.Account),
	}, translate("passkey by credential", err)
}

// DeviceIsTrusted implements auth.Store.
func (d *DB) DeviceIsTrusted(ctx context.Context, userID, device uuid.UUID) (bool, error) {
	trusted, err := d.queries.DeviceIsTrusted(ctx, sqlcgen.DeviceIsTrustedParams{
		UserID: userID, DeviceID: device,
	})
	return trusted, translate("device is trusted", err)
}

// TrustDevice implements auth.Store.
func (d *DB) TrustDevice(ctx context.Context, e auth.Event, t auth.NewTrustedDevice) error {
	leave, err := d.turns.take(ctx, userRow(t.User.ID))
	if err != nil {
		return translate("trust device", err)
	}
	defer leave()
	trusted, err := d.queries.TrustDevice(ctx, sqlcgen.TrustDeviceParams{
		UserID: t.User.ID, TokenVersion: t.User.TokenVersion, DeviceID: t.Device,
		InPlaceOf:       t.InPlaceOf,
		LifetimeSeconds: t.Lifetime.Seconds(), MaxOthers: int32(t.Most - 1),
		ClientAddress: t.Caller.Address, UserAgent: t.Caller.UserAgent, Event: eventJSON(e),
	})
	if err == nil && trusted == 0 {
		return fmt.Errorf("db: trust device: %w", auth.ErrUserNotFound)
	}
	return translate("trust device", err)
}
