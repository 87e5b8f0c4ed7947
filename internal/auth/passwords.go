package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/password"
)

// A password that must be changed is one that its user has not chosen, or is to give up. It logs nobody in: ReplacePassword
// is all that it is good for. A login that gave tokens for less, until the password is changed, would rest on everybody who
// looks at tokens, among them services of older releases and in other languages, to know what such a token is not for. Here
// there is none. And an initial secret is good for once by itself: who uses it replaces it.

// StoredPassword is a password as it is stored.
type StoredPassword struct {
	Hash       string
	MustChange bool
	GoodFor    *time.Duration // from now on; nil: for good
}

// secretPrefix lets scanners for leaked secrets find initial ones.
const secretPrefix = "ghi_"

// newSecret makes an initial secret, of 130 random bits, and what is stored of it.
func (s *Service) newSecret(ctx context.Context) (secret string, stored StoredPassword, err error) {
	secret = secretPrefix + rand.Text()
	hash, err := s.hasher.Hash(ctx, secret)
	return secret, StoredPassword{Hash: hash, MustChange: true, GoodFor: &s.secretLifetime}, err
}

// RegisterTemporary is Register with a password that must be changed.
func (s *Service) RegisterTemporary(ctx context.Context, username, pw string, roles ...string) (User, error) {
	return s.register(ctx, username, pw, true, roles)
}

// RegisterInitial makes an account with an initial secret, which is told once, here; the user's PasswordExpiresAt is its own.
// InputError, ErrUsernameTaken, ErrRoleNotFound.
func (s *Service) RegisterInitial(ctx context.Context, username string, roles ...string) (user User, secret string, err error) {
	name, err := newUsername(username)
	if err != nil {
		return User{}, "", InputError{{"username", err.Error()}}
	}
	e := newCreation(ctx, username, roles)
	defer s.told(ctx, &e, &err)
	secret, stored, err := s.newSecret(ctx)
	if err != nil {
		return User{}, "", err
	}
	user, err = s.insert(ctx, e, name, stored, roles)
	return user, secret, err
}

// SetTemporaryPassword is SetPassword with one that must be changed.
func (s *Service) SetTemporaryPassword(ctx context.Context, username, pw string) (User, error) {
	return s.setPassword(ctx, username, pw, true)
}

// SetInitialSecret is SetPassword with an initial secret, as RegisterInitial makes one. ErrUserNotFound.
func (s *Service) SetInitialSecret(ctx context.Context, username string) (user User, secret string, err error) {
	user, err = s.byName(ctx, ActionSetPassword, username, func(e Event) (User, error) {
		var stored StoredPassword
		if secret, stored, err = s.newSecret(ctx); err != nil {
			return User{}, err
		}
		return s.store.SetPassword(ctx, e, e.UserKey, stored)
	})
	return user, secret, err
}

// RequirePasswordChange ends a user's sessions, and lets the user log in again after a change of the password.
// ErrUserNotFound.
func (s *Service) RequirePasswordChange(ctx context.Context, username string) (User, error) {
	return s.byName(ctx, ActionRequireChange, username, func(e Event) (User, error) {
		return s.store.RequirePasswordChange(ctx, e, e.UserKey, nil)
	})
}

// RequirePasswordChangeOf is RequirePasswordChange as SetDisabled is Disable. ErrUserNotFound, ErrChanged, ErrBeyondRights.
func (s *Service) RequirePasswordChangeOf(ctx context.Context, by User, id uuid.UUID, asSeen func(User) bool) (User, error) {
	return s.changeManaged(ctx, ActionRequireChange, by, id, asSeen, Store.RequirePasswordChange)
}

// ReplacePassword is a login that gives the user another password, and ends all other sessions. Of many with one password at
// once, one succeeds. InputError, which is of what was sent alone and tells nothing of the account; ErrBadCredentials,
// ErrLimited.
func (s *Service) ReplacePassword(ctx context.Context, username, current, next string, client Client) (Grant, error) {
	if err := s.hasher.CheckRoom(); err != nil {
		return Grant{}, err
	}
	name, _ := parseUsername(username) // what is none has no key, and will be refused as nobody's
	prepared, err := s.checkPassword(next, name.Key)
	if before, malformed := password.Prepare(current); err == nil && malformed == nil && before == prepared {
		err = errSamePassword
	}
	if err != nil {
		return Grant{}, InputError{{"new_password", err.Error()}}
	}
	return s.limited(ctx, ActionChangePassword, username, client, func(e Event) (Grant, error) {
		return s.replacePassword(ctx, e, username, current, prepared, client)
	})
}

var errSamePassword = errors.New("must not be the current one")

// replacePassword is ReplacePassword without limits.
func (s *Service) replacePassword(ctx context.Context, e Event, username, current, prepared string, client Client) (Grant, error) {
	found, _, err := s.prove(ctx, username, current)
	if err != nil {
		return Grant{}, err
	}
	hash, err := s.hasher.Hash(ctx, prepared)
	if err != nil {
		return Grant{}, err
	}
	user, err := s.store.ReplacePassword(ctx, e.by(found.ID), found.User, hash)
	if errors.Is(err, ErrUserNotFound) {
		return Grant{}, s.superseded(ctx, found.User)
	}
	if err != nil {
		return Grant{}, err
	}
	return s.startSession(ctx, newEvent(ctx, ActionLogin, uuid.Nil, ""), user, client, "")
}
