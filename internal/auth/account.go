package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// AccountStore stores the accounts. Changes that take a Rule are made one after the other (see
// [Rule]).
type AccountStore interface {
	// InsertUser stores a new, enabled user. Errors: [ErrUsernameTaken] if a user has or had that
	// key, even one that was stored a moment ago, or has verified the address that the name is. If
	// the name has a skeleton, it is also [ErrUsernameTaken] if a user has that skeleton, or has
	// the skeleton as a key. [ErrAddressTaken] if the address is verified, and another user has
	// verified it or has it as a name. [ErrRoleNotFound].
	InsertUser(ctx context.Context, e Event, rule Rule, account StoredAccount) (User, error)
	// UserByID reads what is committed now, never a cache. Errors: [ErrUserNotFound].
	UserByID(ctx context.Context, id uuid.UUID) (User, error)
	// UserByKey is like UserByID, by the key of the username. Errors: [ErrUserNotFound].
	UserByKey(ctx context.Context, key string) (User, error)
	// FindUsers returns at most limit users that match the filter, ordered by the bytes of their
	// keys, beginning after the given key. The Prefix of the filter is that of a key, and
	// its Email is a key.
	FindUsers(ctx context.Context, filter UserFilter, after string, limit int) ([]User, error)
	// DeleteUser removes all that is stored of a user, and keeps others from taking the name.
	// Errors: [ErrUserNotFound], [ErrLastAdmin].
	DeleteUser(ctx context.Context, e Event, rule Rule, id uuid.UUID) error
	// DisableUser disables a user, raises the token version and ends the user's sessions. It
	// changes nothing if the user is disabled already. Errors: [ErrUserNotFound], also if
	// unlessChanged is not nil and is not the user's UpdatedAt; [ErrLastAdmin].
	DisableUser(
		ctx context.Context, e Event, rule Rule, key string, unlessChanged *time.Time,
	) (User, error)
	// EnableUser undoes DisableUser, but keeps the token version. Errors: [ErrUserNotFound], as
	// DisableUser.
	EnableUser(
		ctx context.Context, e Event, rule Rule, key string, unlessChanged *time.Time,
	) (User, error)
	// SetPassword replaces the password, raises the token version and ends the user's sessions.
	// Errors: [ErrUserNotFound].
	SetPassword(
		ctx context.Context, e Event, rule Rule, key string, pw StoredPassword,
	) (User, error)
	// RequirePasswordChange makes a user change the password at the next login, raises the token
	// version and ends the user's sessions. Errors: [ErrUserNotFound], as DisableUser.
	RequirePasswordChange(
		ctx context.Context, e Event, rule Rule, key string, unlessChanged *time.Time,
	) (User, error)
	// ResetFactors takes all that a user proves besides the password, and makes all devices
	// unknown. It raises the token version and ends the user's sessions. Errors: [ErrUserNotFound].
	ResetFactors(ctx context.Context, e Event, rule Rule, key string) (User, error)
}

// StoredAccount is an account as [AccountStore].InsertUser stores it.
type StoredAccount struct {
	ID       uuid.UUID
	Username Username
	Password StoredPassword
	Email    Email // its VerifiedAt is not looked at
	Verified bool  // the address counts as verified from now on
	// VerifyWithin is how long the user has to verify the address, from now on; nil: there is no
	// need to.
	VerifyWithin *time.Duration
	Roles        []string
}

// Accounts changes and finds accounts, for those who manage them.
type Accounts struct {
	store     AccountStore
	passwords *Passwords
	notices   *Notices
	audit     *Audit
}

// NewAccounts makes Accounts. The Notices may be nil.
func NewAccounts(
	store AccountStore, passwords *Passwords, notices *Notices, audit *Audit,
) *Accounts {
	return &Accounts{store, passwords, notices, audit}
}

// NewAccount is an account to be made.
type NewAccount struct {
	Username   string
	Password   string
	Initial    bool // it gets an initial secret in place of a password
	MustChange bool // the password must be changed at the first login
	Roles      []string
	Email      string // the e-mail address; "": none
	// EmailVerified says that the address is that of the user. Only an operator may say so: whoever
	// could would get into what the address opens elsewhere, by the word of this service.
	EmailVerified bool
}

// Register makes an account. If the account gets an initial secret, the secret is returned here and
// nowhere else, and the user's PasswordExpiresAt says how long it is good. Errors: [InputError],
// [ErrUsernameTaken], [ErrAddressTaken], [ErrRoleNotFound], and [ErrBeyondRights] if anybody but an
// operator gives roles, or says that an address is verified.
func (a *Accounts) Register(
	ctx context.Context, by Actor, n NewAccount,
) (user User, secret string, err error) {
	name, address, prepared, err := a.checkNew(n)
	if err != nil {
		return User{}, "", err
	}
	e := newEvent(ctx, by, ActionCreateUser, uuid.Nil, strings.Join(n.Roles, " ")).named(n.Username)
	defer a.audit.told(ctx, &e, &err)
	secret, stored, err := a.stored(ctx, NewPassword{n.Password, n.Initial, n.MustChange}, prepared)
	if err != nil {
		return User{}, "", err
	}
	user, err = a.store.InsertUser(ctx, e, mayRegister(by, n), StoredAccount{
		ID: uuid.New(), Username: name, Password: stored, Email: address, Verified: n.EmailVerified,
		Roles: n.Roles,
	})
	return user, secret, err
}

func (a *Accounts) checkNew(
	n NewAccount,
) (name Username, address Email, prepared string, err error) {
	if n.Initial {
		if name, err = newUsername(n.Username); err != nil {
			err = InputError{{"username", err.Error()}}
		}
	} else {
		name, prepared, err = checkRegistration(a.passwords, n)
	}
	wrong, _ := errors.AsType[InputError](err)
	address, bad := newEmail(n.Email)
	switch {
	case bad != nil:
		err = because(append(wrong, FieldError{"email", bad.Error()}), err)
	case n.EmailVerified && n.Email == "":
		err = because(append(wrong, FieldError{"email", "must be there to be verified"}), err)
	}
	return name, address, prepared, err
}

// checkRegistration reports everything that is wrong at once. Otherwise a form would have to be
// sent again for each mistake.
func checkRegistration(p *Passwords, n NewAccount) (Username, string, error) {
	var wrong InputError
	name, nameErr := newUsername(n.Username)
	if nameErr != nil {
		wrong = append(wrong, FieldError{"username", nameErr.Error()})
	}
	prepared, passwordErr := p.check(n.Password, name.Key, addressKey(n.Email))
	if passwordErr != nil {
		wrong = append(wrong, FieldError{"password", passwordErr.Error()})
	}
	if wrong != nil {
		return Username{}, "", because(wrong, nameErr, passwordErr)
	}
	return name, prepared, nil
}

// UserRef names a user, by id or by username. The zero UserRef names nobody.
type UserRef struct {
	id       uuid.UUID
	username string
}

// ByID names a user by id.
func ByID(id uuid.UUID) UserRef { return UserRef{id: id} }

// ByName names a user by username, in any spelling that has the same key.
func ByName(username string) UserRef { return UserRef{username: username} }

// about returns the event for something that is done to the user.
func (r UserRef) about(e Event) Event {
	if r.username != "" {
		return e.named(r.username)
	}
	return e.of(r.id)
}

// userFinder is the part of a store that finds a user.
type userFinder interface {
	UserByID(ctx context.Context, id uuid.UUID) (User, error)
	UserByKey(ctx context.Context, key string) (User, error)
}

// find finds the user. Errors: [ErrUserNotFound].
func (r UserRef) find(ctx context.Context, in userFinder) (User, error) {
	if r.username == "" {
		return in.UserByID(ctx, r.id)
	}
	name, err := parseUsername(r.username)
	if err != nil { // no user has a malformed name
		return User{}, ErrUserNotFound
	}
	return in.UserByKey(ctx, name.Key)
}

// Find finds a user. Errors: [ErrUserNotFound].
func (a *Accounts) Find(ctx context.Context, who UserRef) (User, error) {
	return who.find(ctx, a.store)
}

// UserFilter says which users to find. The zero UserFilter matches all.
type UserFilter struct {
	Prefix   string // of the username, in any spelling
	Disabled *bool
	Role     string
	Email    string // an address, in any spelling; also one that nobody has verified
}

// List returns at most limit users, ordered by the keys of their usernames. It begins after the
// given key, or with the first user if that is "". Errors: [InputError].
func (a *Accounts) List(
	ctx context.Context, filter UserFilter, after string, limit int,
) ([]User, error) {
	if filter.Prefix != "" {
		name, err := parseUsername(filter.Prefix)
		if err != nil {
			return nil, InputError{{"q", err.Error()}}
		}
		filter.Prefix = name.Key
	}
	if filter.Email != "" {
		address, err := newEmail(filter.Email)
		if err != nil {
			return nil, InputError{{"email", err.Error()}}
		}
		filter.Email = address.Key
	}
	return a.store.FindUsers(ctx, filter, after, limit)
}

// Disable keeps a user from logging in, and revokes the user's tokens. It does so only if asSeen,
// when given, returns true: then the user is still as the caller saw it. Errors: [ErrUserNotFound],
// [ErrChanged], [ErrLastAdmin], [ErrBeyondRights].
func (a *Accounts) Disable(
	ctx context.Context, by Actor, who UserRef, asSeen func(User) bool,
) (User, error) {
	return a.change(ctx, by, ActionDisableUser, who, asSeen, a.store.DisableUser)
}

// Enable lets a user log in again. Tokens from before stay revoked. Errors: [ErrUserNotFound],
// [ErrChanged], [ErrBeyondRights].
func (a *Accounts) Enable(
	ctx context.Context, by Actor, who UserRef, asSeen func(User) bool,
) (User, error) {
	return a.change(ctx, by, ActionEnableUser, who, asSeen, a.store.EnableUser)
}

// RequirePasswordChange ends a user's sessions. The user can log in again after changing the
// password. Errors: [ErrUserNotFound], [ErrChanged], [ErrBeyondRights].
func (a *Accounts) RequirePasswordChange(
	ctx context.Context, by Actor, who UserRef, asSeen func(User) bool,
) (User, error) {
	return a.change(ctx, by, ActionRequireChange, who, asSeen, a.store.RequirePasswordChange)
}

func (a *Accounts) change(
	ctx context.Context, by Actor, action Action, who UserRef, asSeen func(User) bool,
	do func(context.Context, Event, Rule, string, *time.Time) (User, error),
) (changed User, err error) {
	e := who.about(newEvent(ctx, by, action, uuid.Nil, ""))
	defer a.audit.told(ctx, &e, &err)
	user, err := who.find(ctx, a.store)
	if err != nil {
		return User{}, err
	}
	var unlessChanged *time.Time
	if asSeen != nil {
		unlessChanged = &user.UpdatedAt
	}
	changed, err = do(ctx, e, mayChange(by, asSeen), user.Username.Key, unlessChanged)
	if errors.Is(err, ErrUserNotFound) && asSeen != nil {
		if _, gone := a.store.UserByID(ctx, user.ID); gone == nil {
			return User{}, fmt.Errorf("%w: user", ErrChanged)
		}
	}
	return changed, err
}

// NewPassword is a password that somebody other than its user sets.
type NewPassword struct {
	Password   string
	Initial    bool // it is an initial secret in place of a password
	MustChange bool
}

// SetPassword gives a user another password and revokes the user's tokens. An initial secret is
// returned here and nowhere else. Errors: [InputError], [ErrUserNotFound], [ErrBeyondRights].
func (a *Accounts) SetPassword(
	ctx context.Context, by Actor, who UserRef, n NewPassword,
) (user User, secret string, err error) {
	e := who.about(newEvent(ctx, by, ActionSetPassword, uuid.Nil, ""))
	defer a.audit.told(ctx, &e, &err)
	user, err = who.find(ctx, a.store)
	if err != nil {
		return User{}, "", err
	}
	secret, stored, err := a.newPassword(ctx, n, user.Username.Key, user.Email.Key)
	if err != nil {
		return User{}, "", err
	}
	done := e
	done.Mails = a.notices.passwordChanged(ctx, user)
	user, err = a.store.SetPassword(ctx, done, mayManage(by), user.Username.Key, stored)
	return user, secret, err
}

func (a *Accounts) newPassword(
	ctx context.Context, n NewPassword, usernameKey, address string,
) (secret string, stored StoredPassword, err error) {
	var prepared string
	if !n.Initial {
		if prepared, err = a.passwords.check(n.Password, usernameKey, address); err != nil {
			return "", StoredPassword{}, InputError{{"password", err.Error()}}
		}
	}
	return a.stored(ctx, n, prepared)
}

// stored makes what is stored of a checked password, or of an initial secret, which it returns.
func (a *Accounts) stored(
	ctx context.Context, n NewPassword, prepared string,
) (secret string, stored StoredPassword, err error) {
	if n.Initial {
		return a.passwords.newSecret(ctx)
	}
	hash, err := a.passwords.hash(ctx, prepared)
	return "", StoredPassword{Hash: hash, MustChange: n.MustChange}, err
}

// Delete removes a user and all that is known about them. Only the id stays, and a mark that the
// name is not free. Errors: [ErrUserNotFound], [ErrLastAdmin], [ErrBeyondRights].
func (a *Accounts) Delete(ctx context.Context, by Actor, id uuid.UUID) (err error) {
	e := newEvent(ctx, by, ActionDeleteUser, id, "")
	defer a.audit.told(ctx, &e, &err)
	user, err := a.store.UserByID(ctx, id) // who gets the mail
	if err != nil {
		return err
	}
	done := e
	done.Mails = a.notices.accountDeleted(ctx, user)
	return a.store.DeleteUser(ctx, done, mayManage(by), id)
}

// mayRegister is the rule for making an account. An account without roles has no rights, so anybody
// who manages users may make it. Only an operator may give it roles. Errors: [ErrBeyondRights].
func mayRegister(by Actor, n NewAccount) Rule {
	return Judged(func(Sight) error {
		switch {
		case by.Kind == ActorOperator:
			return nil
		case len(n.Roles) > 0:
			return fmt.Errorf("%w: the roles of a new account", ErrBeyondRights)
		case n.EmailVerified:
			return fmt.Errorf("%w: the word that an address is verified", ErrBeyondRights)
		}
		return nil
	})
}

// mayManage is the rule for whoever manages users. Nobody manages a user who has more of
// Gatehouse's permissions than they have. Permissions of other services do not count here, nor do
// roles: an account is disabled or deleted as a whole. Errors: [ErrUserNotFound],
// [ErrBeyondRights].
func mayManage(by Actor) Rule {
	return Judged(func(seen Sight) error { return manages(by, seen.User) })
}

func manages(by Actor, user User) error {
	if user.ID == uuid.Nil {
		return ErrUserNotFound
	}
	here := slices.DeleteFunc(slices.Clone(user.Permissions), func(p Permission) bool { return !p.IsOwn() })
	return mayGive(by, here)
}

// mayChange is mayManage, and also wants the user to be as the caller saw it. It adds [ErrChanged].
func mayChange(by Actor, asSeen func(User) bool) Rule {
	return Judged(func(seen Sight) error {
		if err := manages(by, seen.User); err != nil {
			return err
		}
		if asSeen != nil && !asSeen(seen.User) {
			return fmt.Errorf("%w: user", ErrChanged)
		}
		return nil
	})
}
