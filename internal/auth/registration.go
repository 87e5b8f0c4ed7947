package auth

import (
	"context"

	"github.com/google/uuid"
)

// Registration makes accounts for strangers, who choose their own names and passwords.
type Registration struct {
	store     AccountStore
	passwords *Passwords
	limits    *Limits
	audit     *Audit
	reserved  ReservedNames // names that strangers cannot register
}

// NewRegistration makes a Registration.
func NewRegistration(
	store AccountStore, passwords *Passwords, limits *Limits, audit *Audit, reserved ReservedNames,
) *Registration {
	return &Registration{store, passwords, limits, audit, reserved}
}

// SignUp makes an account for a stranger. The number of accounts for each address is bounded.
// Errors: [InputError], [ErrUsernameTaken], [ErrLimited].
func (r *Registration) SignUp(
	ctx context.Context, username, pw string, caller Caller,
) (user User, err error) {
	name, prepared, err := checkRegistration(r.passwords, username, pw, r.reserved.strangerUsername)
	if err != nil {
		return User{}, err
	}
	e := newEvent(ctx, Actor{}, ActionRegister, uuid.Nil, "").named(username)
	defer r.audit.told(ctx, &e, &err)
	if err := r.passwords.checkRoom(ctx); err != nil {
		return User{}, err
	}
	// Input that cannot become an account costs nothing and is not counted. To ask whether a name
	// is taken is counted.
	if err := r.limits.countRegistration(ctx, caller.Address); err != nil {
		return User{}, err
	}
	hash, err := r.passwords.hash(ctx, prepared)
	if err != nil {
		return User{}, err
	}
	return r.store.InsertUser(ctx, e, Freely(), uuid.New(), name, StoredPassword{Hash: hash})
}

// Refuse records that a stranger tried to make an account while registration is closed. Errors:
// [ErrRegistrationClosed].
func (r *Registration) Refuse(ctx context.Context) error {
	e, err := newEvent(ctx, Actor{}, ActionRegister, uuid.Nil, ""), ErrRegistrationClosed
	r.audit.told(ctx, &e, &err)
	return err
}
