package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
	"gatehouse/internal/password"
)

var _ auth.Store = (*DB)(nil)

// InsertUser implements auth.Store.
func (d *DB) InsertUser(ctx context.Context, e auth.Event, id uuid.UUID, username auth.Username, pw auth.StoredPassword, roles ...string) (auth.User, error) {
	row, err := d.queries.InsertUser(ctx, sqlcgen.InsertUserParams{
		ID: id, Username: username.Given, UsernameKey: username.Key, PasswordHash: pw.Hash, MustChange: pw.MustChange,
		GoodForSeconds: seconds(pw.GoodFor), Roles: append([]string{}, roles...), Event: eventJSON(e),
	})
	return user(sqlcgen.UserByIDRow{
		ID: row.ID, Username: row.Username, UsernameKey: row.UsernameKey, DisabledAt: row.DisabledAt,
		TokenVersion: row.TokenVersion, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, MustChangePassword: row.MustChangePassword,
		PasswordExpiresAt: row.PasswordExpiresAt, Roles: append([]string{}, roles...),
	}), translate("insert user", err)
}

// UserByID implements auth.Store.
func (d *DB) UserByID(ctx context.Context, id uuid.UUID) (auth.User, error) {
	row, err := d.queries.UserByID(ctx, id)
	return user(row), translate("user by id", err)
}

// UserByKey implements auth.Store.
func (d *DB) UserByKey(ctx context.Context, key string) (auth.User, error) {
	row, err := d.queries.UserByKey(ctx, key)
	return user(sqlcgen.UserByIDRow(row)), translate("user by key", err)
}

// CredentialsByKey implements auth.Store.
func (d *DB) CredentialsByKey(ctx context.Context, key string) (auth.Credentials, error) {
	row, err := d.queries.CredentialsByKey(ctx, key)
	found := auth.Credentials{
		User: user(sqlcgen.UserByIDRow{
			ID: row.ID, Username: row.Username, UsernameKey: row.UsernameKey, DisabledAt: row.DisabledAt,
			TokenVersion: row.TokenVersion, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
			MustChangePassword: row.MustChangePassword, PasswordExpiresAt: row.PasswordExpiresAt,
			Roles: row.Roles, Permissions: row.Permissions,
		}),
		PasswordHash: row.PasswordHash, PasswordExpired: row.PasswordExpired,
	}
	if err == nil && !row.Found {
		return auth.Credentials{}, auth.ErrUserNotFound
	}
	return found, translate("credentials by key", err)
}

// DisableUser implements auth.Store.
func (d *DB) DisableUser(ctx context.Context, e auth.Event, key string, unlessChanged *time.Time) (auth.User, error) {
	var row sqlcgen.DisableUserRow
	err := d.inTurn(ctx, "disable user", func(q *sqlcgen.Queries) (err error) {
		row, err = q.DisableUser(ctx, sqlcgen.DisableUserParams{UsernameKey: key, UnlessChanged: unlessChanged, Event: eventJSON(e)})
		return translate("disable user", err)
	})
	return user(sqlcgen.UserByIDRow(row)), err
}

// EnableUser implements auth.Store.
func (d *DB) EnableUser(ctx context.Context, e auth.Event, key string, unlessChanged *time.Time) (auth.User, error) {
	var row sqlcgen.EnableUserRow
	err := d.inTurn(ctx, "enable user", func(q *sqlcgen.Queries) (err error) {
		row, err = q.EnableUser(ctx, sqlcgen.EnableUserParams{UsernameKey: key, UnlessChanged: unlessChanged, Event: eventJSON(e)})
		return translate("enable user", err)
	})
	return user(sqlcgen.UserByIDRow(row)), err
}

// SetPassword implements auth.Store.
func (d *DB) SetPassword(ctx context.Context, e auth.Event, key string, pw auth.StoredPassword) (auth.User, error) {
	row, err := d.queries.SetPassword(ctx, sqlcgen.SetPasswordParams{
		UsernameKey: key, PasswordHash: pw.Hash, MustChange: pw.MustChange, GoodForSeconds: seconds(pw.GoodFor),
		Event: eventJSON(e),
	})
	return user(sqlcgen.UserByIDRow(row)), translate("set password", err)
}

// RequirePasswordChange implements auth.Store.
func (d *DB) RequirePasswordChange(ctx context.Context, e auth.Event, key string, unlessChanged *time.Time) (auth.User, error) {
	var row sqlcgen.RequirePasswordChangeRow
	err := d.inTurn(ctx, "require password change", func(q *sqlcgen.Queries) (err error) {
		row, err = q.RequirePasswordChange(ctx, sqlcgen.RequirePasswordChangeParams{UsernameKey: key, UnlessChanged: unlessChanged, Event: eventJSON(e)})
		return translate("require password change", err)
	})
	return user(sqlcgen.UserByIDRow(row)), err
}

// ReplacePassword implements auth.Store.
func (d *DB) ReplacePassword(ctx context.Context, e auth.Event, u auth.User, passwordHash string) (auth.User, error) {
	row, err := d.queries.ReplacePassword(ctx, sqlcgen.ReplacePasswordParams{
		UserID: u.ID, TokenVersion: u.TokenVersion, PasswordHash: passwordHash, Event: eventJSON(e),
	})
	return user(sqlcgen.UserByIDRow(row)), translate("replace password", err)
}

// RehashPassword implements auth.Store.
func (d *DB) RehashPassword(ctx context.Context, id uuid.UUID, oldHash, newHash string) error {
	err := d.queries.RehashPassword(ctx, sqlcgen.RehashPasswordParams{ID: id, OldHash: oldHash, NewHash: newHash})
	return translate("rehash password", err)
}

// RecordPasswordKey implements auth.Store.
func (d *DB) RecordPasswordKey(ctx context.Context, key password.KeyRecord) error {
	err := d.queries.InsertPasswordKey(ctx, sqlcgen.InsertPasswordKeyParams{ID: key.ID, CheckValue: key.Check})
	return translate("record password key", err)
}

// PasswordKeys implements auth.Store.
func (d *DB) PasswordKeys(ctx context.Context) ([]password.KeyRecord, error) {
	rows, err := d.queries.ListPasswordKeys(ctx)
	if err != nil {
		return nil, translate("password keys", err)
	}
	keys := make([]password.KeyRecord, len(rows))
	for n, row := range rows {
		keys[n] = password.KeyRecord{ID: row.ID, Check: row.CheckValue}
	}
	return keys, nil
}

// PasswordKeyUsers implements auth.Store.
func (d *DB) PasswordKeyUsers(ctx context.Context) (map[string]int64, error) {
	rows, err := d.queries.CountPasswordKeyUsers(ctx)
	if err != nil {
		return nil, translate("password key users", err)
	}
	users := make(map[string]int64, len(rows))
	for _, row := range rows {
		users[row.ID] = row.Users
	}
	return users, nil
}

// RetirePasswordKey implements auth.Store.
func (d *DB) RetirePasswordKey(ctx context.Context, e auth.Event, id string) error {
	deleted, err := d.queries.DeletePasswordKey(ctx, sqlcgen.DeletePasswordKeyParams{ID: id, Event: eventJSON(e)})
	if err != nil {
		return translate("retire password key", err)
	}
	if deleted == 0 {
		return fmt.Errorf("db: %w: %q", auth.ErrPasswordKeyNotFound, id)
	}
	return nil
}

// SchemaVersion is the newest migration that was applied; 0 in an empty database. It is asked for at each readiness
// check, so it also tells whether the database can be reached.
func (d *DB) SchemaVersion(ctx context.Context) (int64, error) {
	var version int64
	// Not one of sqlc's queries: the table is goose's, and in no migration.
	err := d.pool.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&version)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42P01" { // undefined_table
		return 0, nil
	}
	return version, translate("schema version", err)
}

func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := d.Seconds()
	return &s
}

func user(row sqlcgen.UserByIDRow) auth.User {
	return auth.User{
		ID:           row.ID,
		Username:     auth.Username{Given: row.Username, Key: row.UsernameKey},
		DisabledAt:   row.DisabledAt,
		TokenVersion: row.TokenVersion,
		CreatedAt:    row.CreatedAt,
		UpdatedAt:    row.UpdatedAt,

		MustChangePassword: row.MustChangePassword, PasswordExpiresAt: row.PasswordExpiresAt,
		Roles:       row.Roles,
		Permissions: permissions(row.Permissions),
	}
}
