package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/postgres"
)

var _ auth.Store = (*DB)(nil)

// InsertUser implements auth.Store.
func (d *DB) InsertUser(ctx context.Context, e auth.Event, rule auth.Rule, a auth.StoredAccount) (auth.User, error) {
	leave, err := d.turns.take(ctx, nameRow(a.Username.Key))
	if err != nil {
		return auth.User{}, translate("insert user", err)
	}
	defer leave()
	var inserted auth.User
	err = d.inTurnUnlessFree(ctx, "insert user", e.By, rule, target{}, func(q *sqlcgen.Queries) (err error) {
		inserted, err = insertUser(ctx, q, e, a)
		return err
	})
	return inserted, err
}

func insertUser(ctx context.Context, q *sqlcgen.Queries, e auth.Event, a auth.StoredAccount) (auth.User, error) {
	row, err := q.InsertUser(ctx, sqlcgen.InsertUserParams{
		ID: a.ID, Username: a.Username.Given, UsernameKey: a.Username.Key, UsernameAddress: orNil(a.Username.Address),
		PasswordHash: a.Password.Hash, MustChange: a.Password.MustChange, GoodForSeconds: seconds(a.Password.GoodFor),
		Email: orNil(a.Email.Given), EmailKey: orNil(a.Email.Key), EmailVerified: a.Verified,
		VerifyWithinSeconds: seconds(a.VerifyWithin),
		Roles:               append([]string{}, a.Roles...), Event: eventJSON(e), Skeleton: orNil(a.Username.Skeleton),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.User{}, outcome.Detail(auth.ErrUsernameTaken, "it looks like the name of another account")
	}
	inserted := user(row)
	inserted.Roles = append([]string{}, a.Roles...) // which are stored behind the row that was read
	return inserted, translate("insert user", err)
}

// UserByID implements auth.Store.
func (d *DB) UserByID(ctx context.Context, id uuid.UUID) (auth.User, error) {
	row, err := d.queries.UserByID(ctx, id)
	return user(row), translate("user by id", err)
}

// UserByKey implements auth.Store.
func (d *DB) UserByKey(ctx context.Context, key string) (auth.User, error) {
	row, err := d.queries.UserByKey(ctx, key)
	return user(row), translate("user by key", err)
}

// CredentialsByKey implements auth.Store.
func (d *DB) CredentialsByKey(ctx context.Context, key string) (auth.Credentials, error) {
	row, err := d.queries.CredentialsByKey(ctx, key)
	found := auth.Credentials{
		User: user(row.Account), PasswordHash: row.PasswordHash, PasswordExpired: row.PasswordExpired,
	}
	if err == nil && !row.Found {
		return auth.Credentials{}, auth.ErrUserNotFound
	}
	return found, translate("credentials by key", err)
}

// UsernameOfLogin implements auth.Store.
func (d *DB) UsernameOfLogin(ctx context.Context, username, address string) (key, unproved string, err error) {
	row, err := d.queries.UsernameOfLogin(ctx, sqlcgen.UsernameOfLoginParams{UsernameKey: username, Address: address})
	return row.UsernameKey, row.UnprovedKey, translate("username of login", err)
}

// DisableUser implements auth.Store.
func (d *DB) DisableUser(ctx context.Context, e auth.Event, rule auth.Rule, key string, unlessChanged *time.Time) (auth.User, error) {
	var row sqlcgen.Account
	err := d.inTurn(ctx, "disable user", e.By, rule, target{userKey: key}, func(q *sqlcgen.Queries) (err error) {
		row, err = q.DisableUser(ctx, sqlcgen.DisableUserParams{UsernameKey: key, UnlessChanged: unlessChanged, Event: eventJSON(e)})
		return translate("disable user", err)
	})
	return user(row), err
}

// EnableUser implements auth.Store.
func (d *DB) EnableUser(ctx context.Context, e auth.Event, rule auth.Rule, key string, unlessChanged *time.Time) (auth.User, error) {
	var row sqlcgen.Account
	err := d.inTurn(ctx, "enable user", e.By, rule, target{userKey: key}, func(q *sqlcgen.Queries) (err error) {
		row, err = q.EnableUser(ctx, sqlcgen.EnableUserParams{UsernameKey: key, UnlessChanged: unlessChanged, Event: eventJSON(e)})
		return translate("enable user", err)
	})
	return user(row), err
}

// SetPassword implements auth.Store.
func (d *DB) SetPassword(ctx context.Context, e auth.Event, rule auth.Rule, key string, pw auth.StoredPassword) (auth.User, error) {
	leave, err := d.turns.take(ctx, nameRow(key))
	if err != nil {
		return auth.User{}, translate("set password", err)
	}
	defer leave()
	var row sqlcgen.Account
	err = d.inTurn(ctx, "set password", e.By, rule, target{userKey: key}, func(q *sqlcgen.Queries) (err error) {
		row, err = q.SetPassword(ctx, sqlcgen.SetPasswordParams{
			UsernameKey: key, PasswordHash: pw.Hash, MustChange: pw.MustChange, GoodForSeconds: seconds(pw.GoodFor),
			Event: eventJSON(e),
		})
		return translate("set password", err)
	})
	return user(row), err
}

// RequirePasswordChange implements auth.Store.
func (d *DB) RequirePasswordChange(ctx context.Context, e auth.Event, rule auth.Rule, key string, unlessChanged *time.Time) (auth.User, error) {
	var row sqlcgen.Account
	err := d.inTurn(ctx, "require password change", e.By, rule, target{userKey: key}, func(q *sqlcgen.Queries) (err error) {
		row, err = q.RequirePasswordChange(ctx, sqlcgen.RequirePasswordChangeParams{UsernameKey: key, UnlessChanged: unlessChanged, Event: eventJSON(e)})
		return translate("require password change", err)
	})
	return user(row), err
}

// ReplacePassword implements auth.Store.
func (d *DB) ReplacePassword(ctx context.Context, e auth.Event, u auth.User, passwordHash string) (auth.User, error) {
	leave, err := d.turns.take(ctx, userRow(u.ID))
	if err != nil {
		return auth.User{}, translate("replace password", err)
	}
	defer leave()
	row, err := d.queries.ReplacePassword(ctx, sqlcgen.ReplacePasswordParams{
		UserID: u.ID, TokenVersion: u.TokenVersion, PasswordHash: passwordHash, Event: eventJSON(e),
	})
	return user(row), translate("replace password", err)
}

// RehashPassword implements auth.Store.
func (d *DB) RehashPassword(ctx context.Context, id uuid.UUID, oldHash, newHash string) error {
	leave, err := d.turns.take(ctx, userRow(id))
	if err != nil {
		return translate("rehash password", err)
	}
	defer leave()
	err = d.queries.RehashPassword(ctx, sqlcgen.RehashPasswordParams{ID: id, OldHash: oldHash, NewHash: newHash})
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

// SchemaVersion is the newest migration that was applied; 0 in an empty database. It is asked for
// at each readiness check, over a connection that is for it alone, so it also tells whether the
// database can be reached and written to. All connections to a server that is a standby are given
// up.
func (d *DB) SchemaVersion(ctx context.Context) (int64, error) {
	var version int64
	var standby bool
	// Not one of sqlc's queries: the table is the migrator's, and in no migration.
	const query = "SELECT coalesce(max(version_id), 0), pg_is_in_recovery() FROM gatehouse_schema_version WHERE is_applied"
	err := d.probe.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return conn.QueryRow(ctx, query).Scan(&version, &standby) })
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == undefinedTable {
		return 0, nil
	}
	if err == nil && standby {
		d.probe.Reset()
		d.pool.Reset()
		return 0, fmt.Errorf("db: schema version: %w: the server is a standby", auth.ErrUnavailable)
	}
	return version, translate("schema version", err)
}

// Check returns an error that says so if the database is one in which the service could not work.
func (d *DB) Check(ctx context.Context) error {
	err := postgres.Check(ctx, func(ctx context.Context, query string, into ...any) error {
		return d.pool.QueryRow(ctx, query).Scan(into...)
	})
	if refused, ok := errors.AsType[*postgres.Refused](err); ok {
		return refused
	}
	return translate("check database", err)
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := d.Seconds()
	return &s
}

// user is the only place where a row becomes a user.
func user(row sqlcgen.Account) auth.User {
	return auth.User{
		ID:                 row.ID,
		Username:           auth.Username{Given: row.Username, Key: row.UsernameKey},
		DisabledAt:         row.DisabledAt,
		TokenVersion:       row.TokenVersion,
		CreatedAt:          row.CreatedAt,
		UpdatedAt:          row.UpdatedAt,
		MustChangePassword: row.MustChangePassword,
		PasswordExpiresAt:  row.PasswordExpiresAt,
		PasswordChangedAt:  row.PasswordChangedAt,
		Email:              auth.Email{Given: orZero(row.Email), Key: orZero(row.EmailKey), VerifiedAt: row.EmailVerifiedAt},
		VerifyUntil:        row.VerifyUntil,
		Passwordless:       row.Passwordless,
		Factors: auth.FactorCount{
			TOTP: row.Totp, Passkeys: int(row.Passkeys), RecoveryCodes: int(row.RecoveryCodes),
		},
		FactorDemanded: row.FactorDemanded,
		Roles:          row.Roles,
		Permissions:    permissions(row.Permissions),
	}
}

func users(rows []sqlcgen.Account) []auth.User {
	all := make([]auth.User, len(rows))
	for n, row := range rows {
		all[n] = user(row)
	}
	return all
}
