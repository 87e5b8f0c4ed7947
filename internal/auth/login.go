package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/password"
)

// Grant is what a login or a refresh gives.
type Grant struct {
	User         User
	AccessToken  string
	ExpiresIn    time.Duration // of the access token
	Scope        string        // permissions of the access token, with spaces between
	RefreshToken string        // empty if the client may not use one
	Device       string        // by which the device is known at its next login; only of a login, and empty without limits
}

// Login checks a password and starts a session, with all of the user's permissions or, if a scope is given, with those.
// ErrBadCredentials, by one of the errors that wrap it; ErrMustChangePassword; ErrInvalidScope if the user has not what is asked
// for; ErrLimited.
//
// Whether there is such a user, and whether the account is disabled, is kept from whoever does not know the
// password: every refusal costs the same hashing, and whether the account is disabled, or the password has expired or must
// be changed, is looked at last.
func (s *Service) Login(ctx context.Context, username, pw string, client Client, scope ...string) (Grant, error) {
	if err := s.hasher.CheckRoom(); err != nil { // a flood that is turned away must not reach the database
		return Grant{}, err
	}
	return s.limited(ctx, ActionLogin, username, client, func(e Event) (Grant, error) {
		return s.logIn(ctx, e, username, pw, client, scope)
	})
}

// limited does what somebody proves himself for by a password: not too often, and told of if it is refused. ErrLimited.
func (s *Service) limited(ctx context.Context, action Action, username string, client Client, do func(Event) (Grant, error)) (grant Grant, err error) {
	e := newEvent(ctx, action, uuid.Nil, "").named(username)
	defer s.told(ctx, &e, &err)
	reserved, err := s.limiter.reserveLogin(ctx, username, client)
	if err != nil {
		return Grant{}, err
	}
	grant, err = do(e)
	s.limiter.settle(ctx, reserved, err)
	return grant, err
}

// logIn is Login without limits.
func (s *Service) logIn(ctx context.Context, e Event, username, pw string, client Client, scope []string) (Grant, error) {
	found, verdict, err := s.prove(ctx, username, pw)
	if err != nil {
		return Grant{}, err
	}
	if found.MustChangePassword {
		return Grant{}, ErrMustChangePassword
	}
	requested := strings.Join(scope, " ")
	if requested != "" {
		if requested, err = checkScope(client.OAuth.narrowed(scopeOf(found.Permissions)), requested); err != nil {
			return Grant{}, err
		}
	}
	if verdict.Rehash != "" {
		if err := s.store.RehashPassword(ctx, found.ID, found.PasswordHash, verdict.Rehash); err != nil {
			return Grant{}, err
		}
	}
	// Hashing takes long enough for an administrator to act: the session starts only if the user is as it was.
	return s.startSession(ctx, e, found.User, client, requested)
}

// prove finds the user whose password it is. ErrBadCredentials.
func (s *Service) prove(ctx context.Context, username, pw string) (Credentials, password.Verdict, error) {
	found, err := s.credentials(ctx, username)
	if err != nil {
		return Credentials{}, password.Verdict{}, err
	}
	verdict, err := s.verify(ctx, found.PasswordHash, pw)
	if err != nil {
		return Credentials{}, password.Verdict{}, err
	}
	return found, verdict, refusal(found, verdict.Match)
}

// credentials is empty for a user who does not exist.
func (s *Service) credentials(ctx context.Context, username string) (Credentials, error) {
	name, err := parseUsername(username)
	if err != nil {
		return Credentials{}, nil
	}
	found, err := s.store.CredentialsByKey(ctx, name.Key)
	if errors.Is(err, ErrUserNotFound) {
		return Credentials{}, nil
	}
	return found, err
}

// verify hashes whatever it is given, so that a password which cannot be right takes as long as another.
func (s *Service) verify(ctx context.Context, hash, pw string) (password.Verdict, error) {
	prepared, malformed := password.Prepare(pw)
	verdict, err := s.hasher.Verify(ctx, hash, prepared)
	if errors.Is(err, password.ErrUnusableHash) {
		return password.Verdict{}, fmt.Errorf("%w: %w", ErrUnusableHash, err)
	}
	if malformed != nil {
		return password.Verdict{}, err
	}
	return verdict, err
}

func refusal(found Credentials, match bool) error {
	switch {
	case found.PasswordHash == "":
		return ErrUnknownUser
	case !match:
		return ErrWrongPassword
	case found.PasswordExpired:
		return ErrPasswordExpired
	case found.Disabled():
		return ErrDisabled
	}
	return nil
}
