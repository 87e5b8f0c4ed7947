package auth

import (
	"context"
	"strings"

	"github.com/google/uuid"
)

// Registration makes accounts for strangers, who choose their own names and passwords.
type Registration struct {
	store     AccountStore
	passwords *Passwords
	limits    *Limits
	audit     *Audit
	reserved  ReservedNames // names that strangers cannot register
	email     EmailMode
}

// RegistrationParts are what a Registration is made of. The first four are needed.
type RegistrationParts struct {
	Store     AccountStore
	Passwords *Passwords
	Limits    *Limits
	Audit     *Audit
	Reserved  ReservedNames // names that strangers cannot register
	Email     EmailMode
}

// NewRegistration makes a Registration.
func NewRegistration(p RegistrationParts) *Registration {
	return &Registration{p.Store, p.Passwords, p.Limits, p.Audit, p.Reserved, p.Email}
}

// SignUp makes an account for a stranger. The number of accounts for each address is bounded.
// Errors: [InputError], [ErrUsernameTaken], [ErrLimited].
func (r *Registration) SignUp(
	ctx context.Context, username, pw string, caller Caller,
) (user User, err error) {
	name, prepared, err := checkRegistration(r.passwords, username, pw, r.username)
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
	return r.store.InsertUser(ctx, e, Freely(), StoredAccount{
		ID: uuid.New(), Username: name, Password: StoredPassword{Hash: hash},
	})
}

// username reads the name that a stranger wants. Where addresses count, a name must not be one: the
// account of a stranger who has not shown to read its mail would be taken for that of its owner.
func (r *Registration) username(given string) (Username, error) {
	name, err := r.reserved.strangerUsername(given)
	if err == nil && r.email.IsOn() && strings.Contains(name.Key, "@") {
		return Username{}, ErrNameAddress
	}
	return name, err
}

// Refuse records that a stranger tried to make an account while registration is closed. Errors:
// [ErrRegistrationClosed].
func (r *Registration) Refuse(ctx context.Context) error {
	e, err := newEvent(ctx, Actor{}, ActionRegister, uuid.Nil, ""), ErrRegistrationClosed
	r.audit.told(ctx, &e, &err)
	return err
}
