package auth

import (
	"context"
	"errors"
	"strings"
	"time"

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
	mails     *Mails
}

// RegistrationParts are what a Registration is made of. The first four are needed, and Mails are
// where Email is on.
type RegistrationParts struct {
	Store     AccountStore
	Passwords *Passwords
	Limits    *Limits
	Audit     *Audit
	Reserved  ReservedNames // names that strangers cannot register
	Email     EmailMode
	Mails     *Mails
}

// NewRegistration makes a Registration.
func NewRegistration(p RegistrationParts) *Registration {
	return &Registration{p.Store, p.Passwords, p.Limits, p.Audit, p.Reserved, p.Email, p.Mails}
}

// unprovedFor is how long a stranger has to prove an address, where that is required. Then the
// account is deleted.
const unprovedFor = 72 * time.Hour

// Stranger is somebody who makes an account for themselves.
type Stranger struct {
	Username string // may be empty where an address is required: then it is the id of the account
	Password string
	Email    string // "": none
	Language string // of the mail to it, such as "en"
}

// SignUp makes an account for a stranger. The number of accounts for each address is bounded. If
// there is an e-mail address, a mail is on its way to it, and the challenge is for whoever types
// its code. That is so whoever has the address: the worker that sends the mail finds out. Errors:
// [InputError], [ErrUsernameTaken], [ErrLimited].
func (r *Registration) SignUp(
	ctx context.Context, s Stranger, caller Caller,
) (user User, challenge uuid.UUID, err error) {
	id := uuid.New()
	name, address, prepared, err := r.check(s, id)
	if err != nil {
		return User{}, uuid.Nil, err
	}
	e := newEvent(ctx, Actor{}, ActionRegister, uuid.Nil, "").named(name.Given)
	defer r.audit.told(ctx, &e, &err)
	if err := r.passwords.checkRoom(ctx); err != nil {
		return User{}, uuid.Nil, err
	}
	// Input that cannot become an account costs nothing and is not counted. To ask whether a name
	// is taken is counted.
	if err := r.limits.countRegistration(ctx, caller.Address); err != nil {
		return User{}, uuid.Nil, err
	}
	hash, err := r.passwords.hash(ctx, prepared)
	if err != nil {
		return User{}, uuid.Nil, err
	}
	if address.Key != "" {
		mail := r.mails.queuedProof(ctx, address, s.Language)
		challenge, e.Mails = mail.ID, []QueuedMail{mail}
	}
	var within *time.Duration
	if r.email == EmailRequired {
		within = new(unprovedFor)
	}
	user, err = r.store.InsertUser(ctx, e, Freely(), StoredAccount{
		ID: id, Username: name, Password: StoredPassword{Hash: hash}, Email: address,
		VerifyWithin: within,
	})
	return user, challenge, err
}

// check reports everything that is wrong at once. Errors: [InputError].
func (r *Registration) check(
	s Stranger, id uuid.UUID,
) (name Username, address Email, prepared string, err error) {
	wrong := InputError{}
	tell := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, FieldError{field, err.Error()})
		}
	}
	var nameErr, addressErr error
	if s.Username == "" && r.email == EmailRequired {
		name = Username{Given: id.String(), Key: id.String()}
	} else {
		name, nameErr = r.username(s.Username)
		tell("username", nameErr)
	}
	switch {
	case r.email == EmailRequired && s.Email == "":
		addressErr = errEmailMissing
	case !r.email.IsOn() && s.Email != "":
		addressErr = errEmailUnused
	default:
		address, addressErr = newEmail(s.Email)
	}
	tell("email", addressErr)
	prepared, passwordErr := r.passwords.check(s.Password, name.Key, address.Key)
	tell("password", passwordErr)
	if len(wrong) > 0 {
		return Username{}, Email{}, "", because(wrong, nameErr, addressErr, passwordErr)
	}
	return name, address, prepared, nil
}

// username reads the name that a stranger wants. Where addresses count, a name must not be one: the
// account of a stranger who has not shown to read its mail would be taken for that of its owner.
func (r *Registration) username(given string) (Username, error) {
	name, err := r.reserved.strangerUsername(given)
	switch isOn := r.email.IsOn(); {
	case isOn && err == nil && strings.Contains(name.Key, "@"):
		return Username{}, ErrNameAddress
	case isOn && errors.Is(err, ErrNameSignsAt):
		return Username{}, ErrNameSigns
	}
	if _, notID := uuid.Parse(name.Key); err == nil && notID == nil {
		// an account that has to give its name up takes its id as a name
		return Username{}, ErrNameReserved
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
