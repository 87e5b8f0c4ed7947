package auth

import (
	"time"

	"github.com/google/uuid"
)

// User is an account as it is stored, without its password.
type User struct {
	ID           uuid.UUID // UUIDv4 (RFC 9562 §5.4), which holds no time; UUIDv7 for older accounts
	Username     Username
	DisabledAt   *time.Time // nil while the account is enabled
	TokenVersion int64      // access tokens with another version are revoked
	CreatedAt    time.Time
	UpdatedAt    time.Time
	// MustChangePassword is true if the password is good only for setting another one.
	MustChangePassword bool
	PasswordExpiresAt  *time.Time // the password cannot be changed after that; nil: no end
	// PasswordChangedAt is when the password or a verified address was last changed: from then on no
	// device of before is known. It is the Unix epoch if the last change was before Gatehouse recorded
	// this. It is set only by methods that have just verified or changed the password, and is the zero
	// time otherwise.
	PasswordChangedAt time.Time
	Email             Email
	// VerifyUntil is until when the user has to verify the address to keep the account: who has
	// registered where addresses are required. nil: there is no need to.
	VerifyUntil *time.Time
	// Passwordless is true if the user has removed the password: nobody knows the stored one.
	Passwordless   bool
	Factors        FactorCount
	FactorDemanded bool         // one of the roles demands a second factor
	Roles          []string     // by name
	Permissions    []Permission // those of all the roles, each once
}

// passwordMark differs between one password of a user and the next.
func (u User) passwordMark() int64 { return u.PasswordChangedAt.UnixMicro() }

// LoginName is what a user types to log in: the username, or the address of whoever has no name.
func (u User) LoginName() string {
	if u.hasNoName() && u.Email.Verified() {
		return u.Email.Given
	}
	return u.Username.Given
}

// hasNoName reports whether the account has its id for a name, since nobody has chosen one.
func (u User) hasNoName() bool { return u.Username.Key == u.ID.String() }

// Disabled reports whether the account may neither log in nor use its tokens.
func (u User) Disabled() bool { return u.DisabledAt != nil }

// Credentials are a user and the stored form of the password.
type Credentials struct {
	User
	PasswordHash    string
	PasswordExpired bool
}
