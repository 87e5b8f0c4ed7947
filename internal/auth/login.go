package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/password"
)

// Grant is what a login gives.
type Grant struct {
	User        User
	AccessToken string
	ExpiresIn   time.Duration
}

// Login checks a password and issues an access token. ErrBadCredentials, by one of the errors that wrap it.
//
// Whether there is such a user, and whether the account is disabled, is kept from whoever does not know the
// password: every refusal costs the same hashing, and disabled is looked at last.
func (s *Service) Login(ctx context.Context, username, pw string) (Grant, error) {
	if err := s.hasher.CheckRoom(); err != nil { // a flood that is turned away must not reach the database
		return Grant{}, err
	}
	found, err := s.credentials(ctx, username)
	if err != nil {
		return Grant{}, err
	}
	verdict, err := s.verify(ctx, found.PasswordHash, pw)
	if err != nil {
		return Grant{}, err
	}
	if err := refusal(found, verdict.Match); err != nil {
		return Grant{}, err
	}
	if verdict.Rehash != "" {
		if err := s.store.RehashPassword(ctx, found.ID, found.PasswordHash, verdict.Rehash); err != nil {
			return Grant{}, err
		}
	}
	// Hashing takes long enough for an administrator to act: what was read before it may be out of date.
	current, err := s.store.UserByID(ctx, found.ID)
	if err != nil {
		return Grant{}, err
	}
	if err := superseded(found.User, current); err != nil {
		return Grant{}, err
	}
	raw, err := s.tokens.Issue(s.clock(), current.ID, current.Username.Given, current.TokenVersion)
	if err != nil {
		return Grant{}, err
	}
	return Grant{User: current, AccessToken: raw, ExpiresIn: s.tokens.Lifetime()}, nil
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
	case found.Disabled():
		return ErrDisabled
	}
	return nil
}

func superseded(before, now User) error {
	switch {
	case now.Disabled():
		return ErrDisabled
	case now.TokenVersion != before.TokenVersion:
		return ErrSuperseded
	}
	return nil
}
