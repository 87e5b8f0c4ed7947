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

// FactorsOf implements auth.Store. The user comes last: a test tries each statement that reads,
// also when the user is gone.
func (d *DB) FactorsOf(ctx context.Context, id uuid.UUID) (found auth.FactorsShown, err error) {
	const op = "factors of"
	since, err := d.queries.TOTPOf(ctx, id)
	switch {
	case err == nil:
		found.TOTPSince = &since
	case !errors.Is(err, pgx.ErrNoRows):
		return auth.FactorsShown{}, translate(op, err)
	}
	if found.Passkeys, err = d.PasskeysOf(ctx, id); err != nil {
		return auth.FactorsShown{}, err
	}
	devices, err := d.queries.TrustedDevicesOf(ctx, id)
	if err != nil {
		return auth.FactorsShown{}, translate(op, err)
	}
	for _, one := range devices {
		found.Devices = append(found.Devices, auth.TrustedDevice{
			ID: one.DeviceID, TrustedAt: one.CreatedAt, ExpiresAt: one.ExpiresAt,
			Caller: auth.Caller{Address: one.ClientAddress, UserAgent: one.UserAgent},
		})
	}
	row, err := d.queries.UserByID(ctx, id)
	if err != nil {
		return auth.FactorsShown{}, translate(op, err)
	}
	found.User, found.RecoveryCodes = user(row), int(row.RecoveryCodes)
	return found, nil
}

// PasskeysOf implements auth.Store.
func (d *DB) PasskeysOf(ctx context.Context, id uuid.UUID) (all []auth.Passkey, err error) {
	rows, err := d.queries.PasskeysOf(ctx, id)
	for _, row := range rows {
		all = append(all, passkeyOf(row))
	}
	return all, translate("passkeys of", err)
}

// passkeyOf is the only place where a row becomes a passkey.
func passkeyOf(row sqlcgen.Passkey) auth.Passkey {
	return auth.Passkey{
		ID: row.ID, Name: row.Name, CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt,
		Credential: passkey.Credential{
			ID: row.CredentialID, PublicKey: row.PublicKey, SignCount: uint32(row.SignCount),
			AAGUID: row.Aaguid, BackupEligible: row.BackupEligible, BackedUp: row.BackedUp,
			UserVerified: row.UserVerified, Transports: row.Transports,
		},
	}
}

// ChangeFactors implements auth.Store. What is changed comes first, and whether it may be comes
// last: the user is then locked for as short as it can be, and is returned with the new factors.
func (d *DB) ChangeFactors(
	ctx context.Context, e auth.Event, c auth.FactorEdit,
) (after auth.SessionState, err error) {
	const op = "change factors"
	leave, err := d.turns.take(ctx, userRow(c.Before.ID))
	if err != nil {
		return auth.SessionState{}, translate(op, err)
	}
	defer leave()
	err = d.inTransaction(ctx, op, func(tx pgx.Tx) (err error) {
		after, err = changeFactors(ctx, d.queries.WithTx(tx), e, c)
		return err
	})
	return after, err
}

// changeFactors is ChangeFactors within a transaction.
func changeFactors(
	ctx context.Context, q *sqlcgen.Queries, e auth.Event, c auth.FactorEdit,
) (auth.SessionState, error) {
	const op = "change factors"
	if err := editFactors(ctx, q, c); err != nil {
		return auth.SessionState{}, err
	}
	row, err := q.ChangeFactors(ctx, sqlcgen.ChangeFactorsParams{
		UserID: c.Before.ID, TokenVersion: c.Before.TokenVersion, UpdatedAt: c.Before.UpdatedAt,
		SessionID: orNull(c.Session), NewCookie: c.NewCookie, Amr: c.Methods,
		EndOthers: c.EndOthers, ForgetDevices: c.ForgetDevices,
		PasswordHash: orNull(c.PasswordHash), Event: eventJSON(e),
	})
	if err == nil {
		err = q.DistrustDevices(ctx, c.Before.ID)
	}
	if err != nil {
		return auth.SessionState{}, translate(op, err)
	}
	return auth.SessionState{
		User: user(row.Account), Browser: c.Session != uuid.Nil, Counter: row.Counter,
		Methods: c.Methods, ExpiresAt: row.ExpiresAt, Now: row.Now,
		Idle: time.Duration(row.IdleSeconds) * time.Second,
	}, nil
}

// editFactors changes what a user has set up.
func editFactors(ctx context.Context, q *sqlcgen.Queries, c auth.FactorEdit) error {
	const op = "edit factors"
	id := c.Before.ID
	if t := c.AddTOTP; t != nil {
		err := q.InsertTOTP(ctx, sqlcgen.InsertTOTPParams{
			UserID: id, Sealed: t.Sealed, LastStep: t.Step,
		})
		if err != nil {
			return translate(op, err)
		}
	}
	if c.RemoveTOTP {
		if err := q.DeleteTOTP(ctx, id); err != nil {
			return translate(op, err)
		}
	}
	if c.AddPasskey != nil {
		if err := insertPasskey(ctx, q, id, *c.AddPasskey); err != nil {
			return err
		}
	}
	if c.RemovePasskey != uuid.Nil {
		gone, err := q.DeletePasskey(ctx, sqlcgen.DeletePasskeyParams{
			ID: c.RemovePasskey, UserID: id,
		})
		if err == nil && gone == 0 {
			err = auth.ErrPasskeyNotFound
		}
		if err != nil {
			return passkeyError(op, err)
		}
	}
	if c.Codes == nil {
		return nil
	}
	if err := q.DeleteRecoveryCodes(ctx, id); err != nil {
		return translate(op, err)
	}
	return translate(op, q.InsertRecoveryCodes(ctx, sqlcgen.InsertRecoveryCodesParams{
		UserID: id, Digests: c.Codes,
	}))
}

func insertPasskey(
	ctx context.Context, q *sqlcgen.Queries, owner uuid.UUID, p auth.NewPasskey,
) error {
	const op = "insert passkey"
	made, err := q.InsertPasskey(ctx, sqlcgen.InsertPasskeyParams{
		ID: p.ID, UserID: owner, CredentialID: p.Credential.ID, PublicKey: p.PublicKey,
		Name: p.Name, SignCount: int64(p.SignCount), Aaguid: p.AAGUID,
		BackupEligible: p.BackupEligible, BackedUp: p.BackedUp, UserVerified: p.UserVerified,
		Transports: append([]string{}, p.Transports...), RpID: p.RPID, Challenge: p.Challenge,
		ChallengeSeconds: p.Lifetime.Seconds(),
	})
	if err == nil && made == 0 {
		return fmt.Errorf("db: %s: %w", op, auth.ErrInvalidPasskey)
	}
	return translate(op, err)
}

// passkeyError is translate, for a statement that finds no passkey.
func passkeyError(op string, err error) error {
	if errors.Is(err, auth.ErrPasskeyNotFound) {
		return fmt.Errorf("db: %s: %w", op, err)
	}
	return translate(op, err)
}

// RenamePasskey implements auth.Store.
func (d *DB) RenamePasskey(
	ctx context.Context, e auth.Event, owner, id uuid.UUID, name string,
) error {
	const op = "rename passkey"
	leave, err := d.turns.take(ctx, userRow(owner))
	if err != nil {
		return translate(op, err)
	}
	defer leave()
	renamed, err := d.queries.RenamePasskey(ctx, sqlcgen.RenamePasskeyParams{
		ID: id, UserID: owner, Name: name, Event: eventJSON(e),
	})
	if err == nil && renamed == 0 {
		err = auth.ErrPasskeyNotFound
	}
	return passkeyError(op, err)
}

// ForgetDevices implements auth.Store.
func (d *DB) ForgetDevices(ctx context.Context, e auth.Event, owner, device uuid.UUID) error {
	const op = "forget devices"
	leave, err := d.turns.take(ctx, userRow(owner))
	if err != nil {
		return translate(op, err)
	}
	defer leave()
	_, err = d.queries.ForgetDevices(ctx, sqlcgen.ForgetDevicesParams{
		UserID: owner, DeviceID: orNull(device), Event: eventJSON(e),
	})
	return translate(op, err)
}

// ClaimPasskeyRP implements auth.Store.
func (d *DB) ClaimPasskeyRP(ctx context.Context, id string) (other string, err error) {
	claimed, err := d.queries.ClaimPasskeyRP(ctx, id)
	if err != nil || claimed > 0 {
		return "", translate("claim passkey rp", err)
	}
	return d.PasskeyRP(ctx)
}

// PasskeyRP implements auth.Store.
func (d *DB) PasskeyRP(ctx context.Context) (string, error) {
	id, err := d.queries.PasskeyRP(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return id, translate("passkey rp", err)
}

// PruneProofs deletes redeemed proofs that expired so long ago, and at most so many. It returns how
// many it deleted.
func (d *DB) PruneProofs(ctx context.Context, over time.Duration, most int) (int64, error) {
	deleted, err := d.queries.PruneProofs(ctx, sqlcgen.PruneProofsParams{
		OlderThanSeconds: over.Seconds(), MaxRows: int32(most),
	})
	return deleted, translate("prune proofs", err)
}

// PruneTrustedDevices deletes at most so many devices that are trusted no more. It returns how many
// it deleted.
func (d *DB) PruneTrustedDevices(ctx context.Context, most int) (int64, error) {
	deleted, err := d.queries.PruneTrustedDevices(ctx, int32(most))
	return deleted, translate("prune trusted devices", err)
}
