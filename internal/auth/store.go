package auth

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/internal/password"
)

// Store keeps the users. Its duties:
//
//   - Every method is atomic, and what it has returned without an error is durable.
//   - Times are the database's, so that replicas with different clocks agree.
//   - An error of the connection, a time-out and an unknown outcome are ErrUnavailable; a context that the
//     caller ended is the context's error. Neither is ever a success or a "not found".
//   - It keeps and returns password hashes as they are, and never logs them.
type Store interface {
	// InsertUser stores a new, enabled user. ErrUsernameTaken if there is one with that key, also if it came
	// into being an instant ago.
	InsertUser(ctx context.Context, id uuid.UUID, username Username, passwordHash string) (User, error)

	// UserByID reads what is committed now, never a cache. ErrUserNotFound.
	UserByID(ctx context.Context, id uuid.UUID) (User, error)
	// UserByKey is UserByID by the username's key. ErrUserNotFound.
	UserByKey(ctx context.Context, key string) (User, error)
	// CredentialsByKey is UserByKey with the password hash, for a login. ErrUserNotFound.
	CredentialsByKey(ctx context.Context, key string) (Credentials, error)
	// ListUsers returns at most limit users in the order of their keys, from the first key after the given one.
	ListUsers(ctx context.Context, after string, limit int) ([]User, error)

	// DisableUser disables a user and raises the token version, unless the user is disabled already: then
	// nothing changes. ErrUserNotFound.
	DisableUser(ctx context.Context, key string) (User, error)
	// EnableUser undoes DisableUser, but leaves the token version. ErrUserNotFound.
	EnableUser(ctx context.Context, key string) (User, error)

	// SetPassword replaces the hash and raises the token version. ErrUserNotFound.
	SetPassword(ctx context.Context, key, passwordHash string) (User, error)
	// RehashPassword replaces a hash by another one of the same password, if it is still oldHash; else it
	// changes nothing, since whoever was first knew better.
	RehashPassword(ctx context.Context, id uuid.UUID, oldHash, newHash string) error

	// RecordPasswordKey puts a key on record, unless its id is there already (whatever its check value).
	RecordPasswordKey(ctx context.Context, key password.KeyRecord) error
	// PasswordKeys returns the keys on record, the oldest first.
	PasswordKeys(ctx context.Context) ([]password.KeyRecord, error)
	// PasswordKeyUsers counts the hashes that were made under each key on record.
	PasswordKeyUsers(ctx context.Context) (map[string]int64, error)
	// RetirePasswordKey takes a key off the record. ErrPasswordKeyInUse, ErrPasswordKeyNotFound.
	RetirePasswordKey(ctx context.Context, id string) error
}
