package db

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
)

// PersonalRecords implements auth.Store.
func (d *DB) PersonalRecords(
	ctx context.Context, e auth.Event, id uuid.UUID, limit int,
) (found auth.PersonalRecords, err error) {
	const op = "personal records"
	err = d.inTransaction(ctx, op, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		row, err := q.UserByID(ctx, id)
		if err != nil {
			return translate(op, err)
		}
		found = auth.PersonalRecords{User: user(row)}
		for _, read := range []func(context.Context, *sqlcgen.Queries, int32, *auth.PersonalRecords) error{
			readPersonalSessions, readPersonalConsents, readPersonalCodes, readPersonalMails,
			readPersonalChallenges, readPersonalEvents, readPersonalFactors,
		} {
			if err := read(ctx, q, int32(limit), &found); err != nil {
				return translate(op, err)
			}
		}
		return translate(op, q.RecordEvent(ctx, recordParams(e)))
	})
	return found, err
}

func readPersonalSessions(
	ctx context.Context, q *sqlcgen.Queries, limit int32, into *auth.PersonalRecords,
) error {
	rows, err := q.PersonalSessions(ctx, sqlcgen.PersonalSessionsParams{
		UserID: into.User.ID, MaxRows: limit,
	})
	for _, row := range rows {
		into.Sessions = append(into.Sessions, auth.PersonalSession{
			Session: auth.Session{
				ID: row.ID, CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt,
				IdleExpiresAt: row.IdleExpiresAt, ExpiresAt: row.ExpiresAt,
				Browser: row.Browser, Parent: orZero(row.ParentID),
				Caller: auth.Caller{
					Address: row.ClientAddress, UserAgent: row.UserAgent,
					Client: auth.Client{ID: orZero(row.ClientID), Title: orZero(row.ClientName)},
				},
			},
			EndedAt: row.EndedAt, EndReason: orZero(row.EndReason),
			Network: orZero(row.RotatedNetwork), AuthTime: row.AuthTime, Methods: row.Amr,
			Scope: orZero(row.Scope), OpenID: orZero(row.Openid), Claims: orZero(row.Claims),
			Resources: orZero(row.Resource), Offline: row.Offline, Trusted: row.Trusted,
		})
	}
	return err
}

func readPersonalConsents(
	ctx context.Context, q *sqlcgen.Queries, limit int32, into *auth.PersonalRecords,
) error {
	found, err := consents(ctx, q, auth.Reach{UserID: into.User.ID, AllClients: true}, limit)
	into.Consents = found
	return err
}

func readPersonalCodes(
	ctx context.Context, q *sqlcgen.Queries, limit int32, into *auth.PersonalRecords,
) error {
	rows, err := q.PersonalCodes(ctx, sqlcgen.PersonalCodesParams{
		UserID: into.User.ID, MaxRows: limit,
	})
	for _, row := range rows {
		into.Codes = append(into.Codes, auth.PersonalCode{
			Client:    auth.Client{ID: orZero(row.ClientID), Title: orZero(row.ClientName)},
			SessionID: orZero(row.SessionID), RedirectURI: orZero(row.RedirectUri), Scope: orZero(row.Scope),
			OpenID: orZero(row.Openid), Claims: orZero(row.Claims),
			Resources: orZero(row.Resource), AuthTime: row.AuthTime,
			ExpiresAt: row.ExpiresAt, RedeemedAt: row.RedeemedAt, Started: orZero(row.StartedID),
		})
	}
	return err
}

func readPersonalMails(
	ctx context.Context, q *sqlcgen.Queries, limit int32, into *auth.PersonalRecords,
) error {
	rows, err := q.PersonalMails(ctx, sqlcgen.PersonalMailsParams{
		UserID: &into.User.ID, MaxRows: limit,
	})
	for _, row := range rows {
		into.Mails = append(into.Mails, auth.PersonalMail{
			Kind: auth.MailKind(row.Kind), QueuedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
			Outcome: auth.MailOutcome(orZero(row.Outcome)), DoneAt: row.DoneAt,
		})
	}
	return err
}

func readPersonalChallenges(
	ctx context.Context, q *sqlcgen.Queries, limit int32, into *auth.PersonalRecords,
) error {
	rows, err := q.PersonalChallenges(ctx, sqlcgen.PersonalChallengesParams{
		UserID: into.User.ID, MaxRows: limit,
	})
	for _, row := range rows {
		into.Challenges = append(into.Challenges, auth.PersonalChallenge{
			Purpose: auth.ChallengePurpose(row.Purpose), Address: row.Email,
			MadeAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, RedeemedAt: row.RedeemedAt,
		})
	}
	return err
}

func readPersonalEvents(
	ctx context.Context, q *sqlcgen.Queries, limit int32, into *auth.PersonalRecords,
) error {
	rows, err := q.PersonalEvents(ctx, sqlcgen.PersonalEventsParams{
		UserID: &into.User.ID, MaxRows: limit,
	})
	for _, row := range rows {
		into.Events = append(into.Events, auth.RecordedEvent{
			ID: row.ID, At: row.At,
			Event: auth.Event{
				Action: auth.Action(row.Action), Outcome: row.Outcome, UserID: orZero(row.UserID),
				Target: row.Target, Count: row.Count,
				By: auth.Actor{Kind: auth.ActorKind(row.Actor), ID: orZero(row.ActorID)},
				Origin: auth.Origin{
					RequestID: row.RequestID, Address: row.ClientAddress, UserAgent: row.UserAgent,
				},
			},
		})
	}
	return err
}

func readPersonalFactors(
	ctx context.Context, q *sqlcgen.Queries, limit int32, into *auth.PersonalRecords,
) (err error) {
	id, f := into.User.ID, &into.Factors
	if f.PasswordRemovedAt, err = q.PasswordRemovedAt(ctx, id); err != nil {
		return err
	}
	f.TOTP, err = q.PersonalTOTPs(ctx, sqlcgen.PersonalTOTPsParams{UserID: id, MaxRows: limit})
	if err != nil {
		return err
	}
	keys, err := q.PersonalPasskeys(ctx, sqlcgen.PersonalPasskeysParams{UserID: id, MaxRows: limit})
	if err != nil {
		return err
	}
	for _, row := range keys {
		f.Passkeys = append(f.Passkeys, auth.PersonalPasskey{
			Name: row.Name, AAGUID: row.Aaguid, BackupEligible: row.BackupEligible,
			BackedUp: row.BackedUp, UserVerified: row.UserVerified, Transports: row.Transports,
			CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt,
		})
	}
	codes, err := q.PersonalRecoveryCodes(ctx, sqlcgen.PersonalRecoveryCodesParams{
		UserID: id, MaxRows: limit,
	})
	if err != nil {
		return err
	}
	for _, row := range codes {
		f.RecoveryCodes = append(f.RecoveryCodes, auth.PersonalRecoveryCode{
			CreatedAt: row.CreatedAt, UsedAt: row.UsedAt,
		})
	}
	devices, err := q.PersonalDevices(ctx, sqlcgen.PersonalDevicesParams{
		UserID: id, MaxRows: limit,
	})
	for _, row := range devices {
		f.Devices = append(f.Devices, auth.PersonalDevice{
			CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
			Caller: auth.Caller{Address: row.ClientAddress, UserAgent: row.UserAgent},
		})
	}
	return err
}
