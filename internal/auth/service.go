// Package auth owns the rules of Gatehouse: who may register, who is logged in, what a disabled account may
// still do (nothing). It knows neither HTTP nor SQL: what it keeps, it keeps through a Store.
package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/password"
	"gatehouse/internal/ratelimit"
	"gatehouse/internal/revocation"
	"gatehouse/internal/token"
)

// Service has the operations. It is safe for use by many goroutines. Besides the errors that each method
// names, all of them return ErrUnavailable, and those that hash a password ErrOverloaded.
type Service struct {
	store       Store
	hasher      *password.Hasher
	policy      password.Policy
	tokens      *token.Issuer
	verifier    *token.Verifier
	revocations *Checker
	services    *token.ServiceKeys
	feed        signedFeed
	refresh     *token.RefreshKeys
	limits      SessionLimits
	limiter     *Limiter
	clock       func() time.Time
	keys        *KeyPolicy
	ringRead    atomic.Pointer[time.Time] // when the ring was read from the database

	secretLifetime time.Duration
}

// Parts of a Service. All are needed but Limiter and Keys and, in a process that issues no tokens, those from Tokens to Limits.
type Parts struct {
	Store       Store
	Hasher      *password.Hasher
	Policy      password.Policy
	Tokens      *token.Issuer
	TokenCache  int // most verified tokens that are remembered
	Revocations *Checker
	Services    *token.ServiceKeys
	Refresh     *token.RefreshKeys
	Limits      SessionLimits
	Limiter     *Limiter // nil: no limits on logins and registrations
	Clock       func() time.Time
	Keys        *KeyPolicy // nil: the ring of Tokens is for good
	// SecretLifetime is that of initial secrets. At 0 they are of no use.
	SecretLifetime time.Duration
}

// NewService puts a Service together.
func NewService(p Parts) *Service {
	return &Service{
		store: p.Store, hasher: p.Hasher, policy: p.Policy, tokens: p.Tokens,
		verifier: token.NewVerifier(p.Tokens, p.TokenCache), revocations: p.Revocations, services: p.Services,
		refresh: p.Refresh, limits: p.Limits, limiter: p.Limiter, clock: p.Clock, keys: p.Keys,
		secretLifetime: p.SecretLifetime,
	}
}

// SignUp is Register by a stranger, of whom each address may make so many. ErrLimited besides.
func (s *Service) SignUp(ctx context.Context, username, pw string, client Client) (user User, err error) {
	name, prepared, err := s.checkRegistration(username, pw)
	if err != nil {
		return User{}, err
	}
	e := newEvent(ctx, ActionRegister, uuid.Nil, "").named(username)
	defer s.told(ctx, &e, &err)
	if err := s.hasher.CheckRoom(); err != nil {
		return User{}, err
	}
	// What cannot become an account costs nothing and does not count; to ask whether a name is taken does.
	if err := s.limiter.countRegistration(ctx, client.Address); err != nil {
		return User{}, err
	}
	return s.hashAndInsert(ctx, e, name, prepared, false, nil)
}

// Register makes an account, with roles. InputError, ErrUsernameTaken, ErrRoleNotFound.
func (s *Service) Register(ctx context.Context, username, pw string, roles ...string) (User, error) {
	return s.register(ctx, username, pw, false, roles)
}

func (s *Service) register(ctx context.Context, username, pw string, mustChange bool, roles []string) (user User, err error) {
	name, prepared, err := s.checkRegistration(username, pw)
	if err != nil {
		return User{}, err
	}
	e := newCreation(ctx, username, roles)
	defer s.told(ctx, &e, &err)
	return s.hashAndInsert(ctx, e, name, prepared, mustChange, roles)
}

// newCreation is the event of an account made by whoever manages them.
func newCreation(ctx context.Context, username string, roles []string) Event {
	return newEvent(ctx, ActionCreateUser, uuid.Nil, strings.Join(roles, " ")).named(username)
}

func (s *Service) hashAndInsert(ctx context.Context, e Event, name Username, prepared string, mustChange bool, roles []string) (User, error) {
	hash, err := s.hasher.Hash(ctx, prepared)
	if err != nil {
		return User{}, err
	}
	return s.insert(ctx, e, name, StoredPassword{Hash: hash, MustChange: mustChange}, roles)
}

func (s *Service) insert(ctx context.Context, e Event, name Username, pw StoredPassword, roles []string) (User, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return User{}, fmt.Errorf("user id: %w", err)
	}
	return s.store.InsertUser(ctx, e, id, name, pw, roles...)
}

// checkRegistration tells all that is wrong at once, so that a form need not be sent once for each mistake.
func (s *Service) checkRegistration(username, pw string) (Username, string, error) {
	var wrong InputError
	name, err := newUsername(username)
	if err != nil {
		wrong = append(wrong, FieldError{"username", err.Error()})
	}
	prepared, err := s.checkPassword(pw, name.Key)
	if err != nil {
		wrong = append(wrong, FieldError{"password", err.Error()})
	}
	if wrong != nil {
		return Username{}, "", wrong
	}
	return name, prepared, nil
}

func (s *Service) checkPassword(pw, usernameKey string) (prepared string, err error) {
	if prepared, err = password.Prepare(pw); err != nil {
		return "", err
	}
	return prepared, s.policy.Check(prepared, usernameKey)
}

// Authenticate verifies an access token by itself: it does not ask whether it was revoked. ErrInvalidToken.
func (s *Service) Authenticate(raw string) (token.Access, error) {
	access, err := s.verifier.Verify(s.clock(), raw)
	if err != nil {
		return token.Access{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return access, nil
}

// CheckAccess is Authenticate and asks whether the token was revoked: without the database, as long as this replica
// knows. ErrInvalidToken.
func (s *Service) CheckAccess(ctx context.Context, raw string) (token.Access, error) {
	access, err := s.Authenticate(raw)
	if err != nil {
		return token.Access{}, err
	}
	return access, s.revocations.Check(ctx, access)
}

// Revocations is what this replica knows of revoked tokens, for a service that checks tokens itself and shows by a token
// of its own that it may, and which service that is. ErrInvalidToken; ErrUnavailable while what is known may be behind,
// since it would be taken for all there is.
func (s *Service) Revocations(raw string) (set *revocation.Set, service string, err error) {
	if service, err = s.services.Verify(s.clock(), raw); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	set, err = s.revocations.Revocations()
	return set, service, err
}

// Me reads the user of an access token as it is now: if the session is over, or if the account was disabled or its
// tokens were revoked since the token was issued, it is ErrInvalidToken. So it is for a client's own, which has no user.
func (s *Service) Me(ctx context.Context, access token.Access) (User, error) {
	if access.IsClient() {
		return User{}, errNoUser
	}
	return liveUser(ctx, s.store, access)
}

// live reads whoever holds an access token, user or client, as by Me.
func live(ctx context.Context, store Store, access token.Access) (User, error) {
	if access.IsClient() {
		return liveClient(ctx, store, access)
	}
	return liveUser(ctx, store, access)
}

var errNoUser = fmt.Errorf("%w: a client's own, and no user's", ErrInvalidToken)

func liveUser(ctx context.Context, store Store, access token.Access) (User, error) {
	state, err := store.SessionByID(ctx, access.SessionID)
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return User{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	case err != nil:
		return User{}, err
	case state.User.ID != access.UserID:
		return User{}, fmt.Errorf("%w: another user's session", ErrInvalidToken)
	case state.User.Disabled():
		return User{}, fmt.Errorf("%w: disabled account", ErrInvalidToken)
	case state.EndedAt != nil, state.User.TokenVersion != access.Version:
		return User{}, errRevoked
	}
	return state.User, nil
}

// User finds a user by name. ErrUserNotFound.
func (s *Service) User(ctx context.Context, username string) (User, error) {
	name, err := parseUsername(username)
	if err != nil { // nobody has a name that is none
		return User{}, ErrUserNotFound
	}
	return s.store.UserByKey(ctx, name.Key)
}

// Disable bars a user from logging in and revokes the user's tokens. ErrUserNotFound, ErrLastAdmin.
func (s *Service) Disable(ctx context.Context, username string) (User, error) {
	return s.byName(ctx, ActionDisableUser, username, func(e Event) (User, error) { return s.store.DisableUser(ctx, e, e.UserKey, nil) })
}

// Enable lets a user log in again; tokens from before stay revoked. ErrUserNotFound.
func (s *Service) Enable(ctx context.Context, username string) (User, error) {
	return s.byName(ctx, ActionEnableUser, username, func(e Event) (User, error) { return s.store.EnableUser(ctx, e, e.UserKey, nil) })
}

// Unlock lets an account log in again that has used up its failures. Those of an address stay, and those of a device on
// which it has logged in. ErrUserNotFound.
func (s *Service) Unlock(ctx context.Context, username string) (user User, err error) {
	e := newEvent(ctx, ActionUnlockUser, uuid.Nil, "").named(username)
	defer s.told(ctx, &e, &err)
	if user, err = s.User(ctx, username); err != nil {
		return User{}, err
	}
	return user, s.limiter.reset(ctx, e, user)
}

// ForgetRefusals looks at rates again that another replica has reset.
func (s *Service) ForgetRefusals(keys []ratelimit.Key) {
	if s.limiter != nil {
		s.limiter.refusals.Forget(keys...)
	}
}

// SetPassword gives a user another password and revokes the user's tokens. InputError, ErrUserNotFound.
func (s *Service) SetPassword(ctx context.Context, username, pw string) (User, error) {
	return s.setPassword(ctx, username, pw, false)
}

func (s *Service) setPassword(ctx context.Context, username, pw string, mustChange bool) (User, error) {
	return s.byName(ctx, ActionSetPassword, username, func(e Event) (User, error) {
		prepared, err := s.checkPassword(pw, e.UserKey)
		if err != nil {
			return User{}, InputError{{"password", err.Error()}}
		}
		hash, err := s.hasher.Hash(ctx, prepared)
		if err != nil {
			return User{}, err
		}
		return s.store.SetPassword(ctx, e, e.UserKey, StoredPassword{Hash: hash, MustChange: mustChange})
	})
}

// byName does an action on the user with a name.
func (s *Service) byName(ctx context.Context, action Action, username string, do func(Event) (User, error)) (user User, err error) {
	e := newEvent(ctx, action, uuid.Nil, "").named(username)
	defer s.told(ctx, &e, &err)
	if e.UserKey == "" {
		return User{}, ErrUserNotFound
	}
	return do(e)
}
