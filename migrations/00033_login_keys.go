package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"gatehouse.example/internal/email"
)

// loginKeysFile is the name under which loginKeys is listed.
const loginKeysFile = "00033_login_keys.go"

// loginKeys is migration 33: the keys of the usernames with an @ that were there before migration
// 32, and two indexes: for accounts by their address, and for those that have to verify one. It is
// in Go for names that have another key as an address, which PostgreSQL cannot make.
//
// It runs beside the requests, a few users in each transaction. A try that was cut off goes on with
// what is missing. From migration 32 on, triggers keep the keys, whichever version writes.
func loginKeys() *goose.Migration {
	m := goose.NewGoMigration(33,
		&goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
			if err := fillLoginKeys(ctx, db); err != nil {
				return err
			}
			return indexAddresses(ctx, db)
		}},
		&goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx,
				"DROP INDEX IF EXISTS users_email_key_idx, users_verify_until_idx")
			return err
		}},
	)
	m.Source = loginKeysFile
	return m
}

// atOnce is how many users a transaction looks at. It takes some milliseconds.
const atOnce = 2000

// The rows of users are locked like those of a foreign key, which no request waits for. A user who
// was deleted meanwhile is left out. A key that another account has is left with it: before
// migration 32, two names could be one address.
const (
	nextUsers = `
SELECT coalesce((array_agg(id ORDER BY id DESC))[1]::text, ''), count(*)
FROM (SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT $2) u`
	namesWithAt = `
SELECT u.id, u.username, u.username_key
FROM users u
WHERE u.id > $1 AND u.id <= $2
  AND strpos(u.username_key, '@') > 0
  AND octet_length(u.username_key) <> char_length(u.username_key)`
	fillKeys = `
WITH named AS (
    SELECT u.id, u.username_key
    FROM users u
    WHERE u.id > $1 AND u.id <= $2
      AND strpos(u.username_key, '@') > 0
    ORDER BY u.id
    FOR KEY SHARE
)
INSERT INTO login_keys (key, user_id, kind)
SELECT username_key, id, 'username' FROM named
ON CONFLICT ON CONSTRAINT login_keys_pkey DO NOTHING`
	setAddress = `
UPDATE users
SET username_address = $3
WHERE id = $1 AND username_key = $2 AND username_address IS NULL
  AND NOT EXISTS (SELECT FROM login_keys l WHERE l.key = $3)`
)

func fillLoginKeys(ctx context.Context, db *sql.DB) error {
	for after := (uuid.UUID{}).String(); ; {
		var last string
		var found int
		if err := db.QueryRowContext(ctx, nextUsers, after, atOnce).Scan(&last, &found); err != nil {
			return fmt.Errorf("login keys: users: %w", err)
		}
		if found == 0 {
			break
		}
		if _, err := db.ExecContext(ctx, fillKeys, after, last); err != nil {
			return fmt.Errorf("login keys: fill: %w", err)
		}
		after = last
	}
	// behind the keys of all the names as they are, which come first
	for after := (uuid.UUID{}).String(); ; {
		var last string
		var found int
		if err := db.QueryRowContext(ctx, nextUsers, after, atOnce).Scan(&last, &found); err != nil {
			return fmt.Errorf("login keys: users: %w", err)
		}
		if found == 0 {
			return nil
		}
		if err := addAddresses(ctx, db, after, last); err != nil {
			return fmt.Errorf("login keys: addresses: %w", err)
		}
		after = last
	}
}

// addAddresses sets the key as an address, for names of which it is another one.
func addAddresses(ctx context.Context, db *sql.DB, after, last string) error {
	rows, err := db.QueryContext(ctx, namesWithAt, after, last)
	if err != nil {
		return err
	}
	defer rows.Close()
	type name struct{ id, given, key string }
	var names []name
	for rows.Next() {
		var n name
		if err := rows.Scan(&n.id, &n.given, &n.key); err != nil {
			return err
		}
		names = append(names, n)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, n := range names {
		address, err := email.Parse(n.given)
		if err != nil || address.Key == n.key {
			continue
		}
		_, err = db.ExecContext(ctx, setAddress, n.id, n.key, address.Key)
		// another account was given the key meanwhile
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// indexAddresses does as migration 30 does, and for its reasons.
func indexAddresses(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// also after a failure, since the connection goes back to its pool
	defer conn.ExecContext(context.WithoutCancel(ctx), "RESET lock_timeout") //nolint:errcheck // then it is broken
	for _, statement := range []string{
		"SET lock_timeout = 0",
		"DROP INDEX CONCURRENTLY IF EXISTS users_email_key_idx",
		"CREATE INDEX CONCURRENTLY users_email_key_idx ON users (email_key) WHERE email_key IS NOT NULL",
		"DROP INDEX CONCURRENTLY IF EXISTS users_verify_until_idx",
		"CREATE INDEX CONCURRENTLY users_verify_until_idx ON users (verify_until) WHERE verify_until IS NOT NULL",
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("index of addresses: %w", err)
		}
	}
	return nil
}
