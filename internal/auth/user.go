package auth

import (
	"time"

	"github.com/google/uuid"
)

// User is an account as it is stored, without its password.
type User struct {
	ID           uuid.UUID // UUIDv7 (RFC 9562 §5.7): in the order of registration
	Username     Username
	DisabledAt   *time.Time // nil while the account is enabled
	TokenVersion int64      // access tokens that carry another one are revoked
	CreatedAt    time.Time
	UpdatedAt    time.Time
	// MustChangePassword: the user cannot log in, but set another password.
	MustChangePassword bool
	PasswordExpiresAt  *time.Time   // when not even that; nil: never
	Roles              []string     // by name
	Permissions        []Permission // of all the roles, each once
}

// Disabled is true for an account that may neither log in nor use its tokens.
func (u User) Disabled() bool { return u.DisabledAt != nil }

// Credentials are a user with the stored form of the password.
type Credentials struct {
	User
	PasswordHash    string
	PasswordExpired bool
}
