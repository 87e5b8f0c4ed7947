package db

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
)

// The statements of this file are not sqlc's. It knows no table that lives as long as a
// transaction, and no rows that are used one by one.

// withoutTimeouts is for a transaction of as many rows as an operator has. It may take minutes, and
// some of them pass while the client reads or writes its file. Its waits for locks stay bounded.
const withoutTimeouts = `SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)`

// The key is compared by bytes, which sorts several times faster than by a language's rules.
const createImported = `
CREATE TEMPORARY TABLE imported_users (
    line          bigint      NOT NULL,
    id            uuid        NOT NULL,
    username      text        NOT NULL,
    username_key  text        NOT NULL COLLATE "C",
    password_hash text        NOT NULL,
    disabled      boolean     NOT NULL,
    roles         text[]      NOT NULL,
    created_at    timestamptz,
    must_change   boolean     NOT NULL,
    expires_at    timestamptz,
    username_address text COLLATE "C",
    email         text,
    email_key     text COLLATE "C",
    verified      boolean     NOT NULL,
    verify_until  timestamptz
) ON COMMIT DROP`

const recordImportedKeys = `
INSERT INTO password_keys (id, check_value)
SELECT k.id, k.check_value
FROM unnest($1::text[], $2::bytea[]) AS k (id, check_value)
WHERE EXISTS (SELECT 1 FROM imported_users i WHERE starts_with(i.password_hash, '$hmac-sha256$k=' || k.id || '$'))
ON CONFLICT ON CONSTRAINT password_keys_pkey DO NOTHING`

// recordImportedCosts is what RaisePasswordCosts does, for all that was read.
const recordImportedCosts = `
INSERT INTO password_costs (kind, amount)
SELECT kind, amount
FROM (
    SELECT 'bcrypt' AS kind, max(substring(password_hash FROM '\$2[aby]\$([0-9]{2})\$')::integer) AS amount
    FROM imported_users
    UNION ALL
    SELECT 'argon2id', max(substring(password_hash FROM 'm=([0-9]+),')::integer * substring(password_hash FROM ',t=([0-9]+),')::integer)
    FROM imported_users
    WHERE starts_with(password_hash, '$argon2id$')
) dearest
WHERE amount > 0
ON CONFLICT ON CONSTRAINT password_costs_pkey DO UPDATE SET amount = greatest(password_costs.amount, excluded.amount)`

// storeImported returns the lines that it left out. ON CONFLICT also sees the names that are taken
// while it runs, but not those of accounts that are gone. The lines of a file keep their order:
// that of created_at. No line of it is in the future, since a line takes longer than its
// microsecond.
//
// A key of a login is that of the line that has it first, also where that line is left out.
const storeImported = `
WITH claimed AS (
    SELECT i.line, k.key, k.field, min(i.line) OVER (PARTITION BY k.key) AS first
    FROM imported_users i
    CROSS JOIN LATERAL (VALUES (i.username_key, 'username'), (i.username_address, 'username'),
                               (CASE WHEN i.verified THEN i.email_key END, 'email')) AS k (key, field)
    WHERE strpos(k.key, '@') > 0
), barred AS (
    SELECT DISTINCT ON (c.line) c.line, c.first, c.field
    FROM claimed c
    WHERE c.first < c.line
       OR EXISTS (SELECT 1 FROM login_keys l WHERE l.key = c.key)
    ORDER BY c.line, c.field DESC, c.first
), ranked AS (
    SELECT *, first_value(line) OVER (PARTITION BY username_key ORDER BY line) AS first
    FROM imported_users
), stored AS (
    INSERT INTO users (id, username, username_key, username_address, password_hash, disabled_at, created_at, must_change_password, password_expires_at,
                       email, email_key, email_verified_at, verify_until)
    SELECT id, username, username_key, username_address, password_hash, CASE WHEN disabled THEN now() END, coalesce(created_at, now() + line * interval '1 microsecond'), must_change, expires_at,
           email, email_key, CASE WHEN verified THEN now() END, verify_until
    FROM ranked
    WHERE line = first
      AND NOT EXISTS (SELECT 1 FROM barred WHERE barred.line = ranked.line)
      AND NOT EXISTS (
          SELECT 1
          FROM retired_usernames_key k
          JOIN retired_usernames r ON r.key_digest = retired_digest(k.secret, sha256(convert_to(username_key, 'UTF8')))
      )
    ON CONFLICT ON CONSTRAINT users_username_key_unique DO NOTHING
    RETURNING id
), granted AS (
    INSERT INTO user_roles (user_id, role_name)
    SELECT stored.id, unnest(ranked.roles)
    FROM ranked
    JOIN stored ON stored.id = ranked.id
)
SELECT ranked.line, coalesce(barred.first, ranked.first), coalesce(barred.field, 'username')
FROM ranked
LEFT JOIN barred ON barred.line = ranked.line
WHERE NOT EXISTS (SELECT 1 FROM stored WHERE stored.id = ranked.id)
ORDER BY ranked.line`

// ImportUsers implements auth.Store.
func (d *DB) ImportUsers(ctx context.Context, e auth.Event, i auth.Import) (stored int, err error) {
	if err := d.AddEventPartitions(ctx); err != nil { // of what is read once, nothing is done again
		return 0, err
	}
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return 0, translate("import users: begin", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	copied, err := copyImported(ctx, tx, i.Users)
	if err != nil {
		return 0, err
	}
	skipped, err := storeCopied(ctx, tx, i)
	if err != nil {
		return 0, translate("import users: store", err)
	}
	if err := i.Keep(); err != nil {
		return 0, err
	}
	stored = copied - skipped
	e.Target = fmt.Sprint(stored, " users")
	if err := d.queries.WithTx(tx).RecordEvent(ctx, recordParams(e)); err != nil {
		return 0, translate("import users: record event", err)
	}
	return stored, translate("import users: commit", tx.Commit(ctx))
}

func copyImported(ctx context.Context, tx pgx.Tx, users iter.Seq2[auth.ImportedUser, error]) (copied int, err error) {
	for _, sql := range []string{withoutTimeouts, createImported} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return 0, translate("import users: prepare", err)
		}
	}
	next, stop := iter.Pull2(users)
	defer stop()
	source := &copySource{next: next}
	rows, err := tx.CopyFrom(ctx, pgx.Identifier{"imported_users"},
		[]string{"line", "id", "username", "username_key", "password_hash", "disabled", "roles", "created_at", "must_change", "expires_at",
			"username_address", "email", "email_key", "verified", "verify_until"}, source)
	if source.err != nil { // of which the server says only that it was told of it
		return 0, source.err
	}
	return int(rows), translate("import users: copy", err)
}

// copySource is a sequence of users as pgx.CopyFromSource.
type copySource struct {
	next func() (auth.ImportedUser, error, bool)
	user auth.ImportedUser
	err  error
}

func (s *copySource) Next() bool {
	var more bool
	s.user, s.err, more = s.next()
	return more && s.err == nil
}

func (s *copySource) Values() ([]any, error) {
	u := s.user
	return []any{int64(u.Line), u.ID, u.Username.Given, u.Username.Key, u.PasswordHash, u.Disabled,
		append([]string{}, u.Roles...), orNull(u.CreatedAt), u.MustChangePassword, u.PasswordExpiresAt,
		orNil(u.Username.Address), orNil(u.Email.Given), orNil(u.Email.Key), u.EmailVerified, u.VerifyUntil}, nil
}

// Err hides what is wrong from the server, which would log it.
func (s *copySource) Err() error {
	if s.err != nil {
		return errSource
	}
	return nil
}

var errSource = errors.New("the client has no more rows")

func storeCopied(ctx context.Context, tx pgx.Tx, i auth.Import) (skipped int, err error) {
	ids, checks := make([]string, len(i.Keys)), make([][]byte, len(i.Keys))
	for n, k := range i.Keys {
		ids[n], checks[n] = k.ID, k.Check
	}
	if _, err := tx.Exec(ctx, "ANALYZE imported_users"); err != nil { // nobody else does, and the plan depends on it
		return 0, err
	}
	if _, err := tx.Exec(ctx, recordImportedCosts); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, recordImportedKeys, ids, checks); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, storeImported)
	if err != nil {
		return 0, err
	}
	var line, first int
	var field string
	_, err = pgx.ForEachRow(rows, []any{&line, &first, &field}, func() error {
		skipped++
		i.Skipped(line, first, field)
		return nil
	})
	return skipped, err
}

const exportUsers = `
SELECT u.username, u.password_hash, u.disabled_at IS NOT NULL,
       ARRAY(SELECT ur.role_name FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role_name COLLATE "C"), u.created_at,
       u.must_change_password, u.password_expires_at, coalesce(u.email, ''), u.email_verified_at IS NOT NULL, u.verify_until
FROM users u
ORDER BY u.created_at, u.username_key COLLATE "C"`

// ExportUsers implements auth.Store. It is one statement, and so it sees one moment. Its rows come
// as fast as they are taken.
func (d *DB) ExportUsers(ctx context.Context, each func(auth.UserRecord) error) error {
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return translate("export users: begin", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, withoutTimeouts); err != nil {
		return translate("export users: prepare", err)
	}
	rows, err := tx.Query(ctx, exportUsers)
	if err != nil {
		return translate("export users", err)
	}
	var r auth.UserRecord
	var failed error
	_, err = pgx.ForEachRow(rows, []any{&r.Username, &r.PasswordHash, &r.Disabled, &r.Roles, &r.CreatedAt, &r.MustChangePassword,
		&r.PasswordExpiresAt, &r.Email, &r.EmailVerified, &r.VerifyUntil}, func() error {
		failed = each(r)
		return failed
	})
	if failed != nil {
		return failed
	}
	return translate("export users", err)
}
