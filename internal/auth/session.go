package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/internal/token"
)

// SessionLimits bound sessions.
type SessionLimits struct {
	Idle     time.Duration // a session ends when it was not refreshed for so long
	Absolute time.Duration // and so long after the login at the latest
	Grace    time.Duration // how long the refresh token before the current one is answered as if it were current
	PerUser  int           // most live sessions of a user: a further login ends the one that was used longest ago
}

// Client is where a request came from: as the user is shown it, by the device token that it brought, if any, and the OAuth
// client that has sent it.
type Client struct {
	Address   string
	UserAgent string
	Device    string
	OAuth     OAuthClient
}

// maxUserAgent is in characters.
const maxUserAgent = 256

func (c Client) bounded() Client {
	c.UserAgent = cut(c.UserAgent, maxUserAgent)
	return c
}

// cut is text that a database takes, of so many characters at most.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most])
	}
	return text
}

// Session is a login as its user sees it.
type Session struct {
	ID            uuid.UUID // UUIDv7: in the order of the logins
	CreatedAt     time.Time
	LastUsedAt    time.Time
	IdleExpiresAt time.Time
	ExpiresAt     time.Time
	Client        Client
}

// SessionState is what decides about a session: how it is now, by the database's clock, and whose it is.
type SessionState struct {
	Salt          []byte
	Counter       int64 // number of the current refresh token
	RotatedAt     time.Time
	IdleExpiresAt time.Time
	ExpiresAt     time.Time
	EndedAt       *time.Time
	Now           time.Time
	Scope         string // what the login asked for; "" for all
	User          User
	Client        OAuthClient // whom its tokens are issued to; of it, ID, GrantTypes and Scope
}

// NewSession is a session to be stored.
type NewSession struct {
	ID     uuid.UUID
	User   User // as it was when its password was read
	Salt   []byte
	Client Client
	Scope  string // of less than all permissions, or ""
	Limits SessionLimits
}

// Why a session ended, as it is stored.
const (
	endedByLogout   = "logout"
	endedByReuse    = "reuse"
	endedByOperator = "operator"
)

// startSession makes a session for a user whose password was right, and its tokens. ErrBadCredentials if the user has
// changed since the password was read.
func (s *Service) startSession(ctx context.Context, e Event, user User, client Client, scope string) (Grant, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Grant{}, fmt.Errorf("session id: %w", err)
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	e = e.by(user.ID)
	e.Target = id.String()
	err = s.store.StartSession(ctx, e, NewSession{ID: id, User: user, Salt: salt, Client: client.bounded(), Scope: scope, Limits: s.limits})
	if errors.Is(err, ErrUserNotFound) {
		return Grant{}, s.superseded(ctx, user)
	}
	if err != nil {
		return Grant{}, err
	}
	grant, err := s.grant(user, client.OAuth, id, 0, salt, s.limits.Absolute, scope)
	if err != nil {
		return Grant{}, err
	}
	grant.Device = s.limiter.deviceFor(user.Username.Key, client.Device)
	return grant, nil
}

// superseded tells why a user is not as it was.
func (s *Service) superseded(ctx context.Context, before User) error {
	now, err := s.store.UserByID(ctx, before.ID)
	switch {
	case err != nil && !errors.Is(err, ErrUserNotFound):
		return err
	case now.Disabled():
		return ErrDisabled
	}
	return ErrSuperseded
}

// grant makes the tokens of a session that lives for another while: the n-th refresh token, if the client may use one, and
// an access token that does not outlive the session, and of the requested scope says what the user may now ("" requests
// all) and the client too. ErrInvalidScope if that would not fit into a token.
func (s *Service) grant(
	user User, client OAuthClient, sessionID uuid.UUID, n int64, salt []byte, remaining time.Duration, requested string,
) (Grant, error) {
	grant := Grant{User: user, ExpiresIn: min(s.tokens.Lifetime(), remaining), Scope: client.narrowed(narrowed(user, requested))}
	if len(grant.Scope) > maxRights {
		return Grant{}, ErrInvalidScope
	}
	var err error
	grant.AccessToken, err = s.issue(token.Subject{
		UserID: user.ID, SessionID: sessionID, Username: user.Username.Given, Version: user.TokenVersion,
		Roles: client.roles(user), Scope: grant.Scope, ClientID: client.PublicID(),
	}, grant.ExpiresIn)
	if err != nil {
		return Grant{}, err
	}
	if client.MayUse(GrantRefreshToken) {
		grant.RefreshToken = s.refresh.Make(sessionID, n, salt)
	}
	return grant, nil
}

// Refresh exchanges a refresh token for its successor and an access token. ErrInvalidGrant.
//
// The token before the current one gives the same successor again within the grace, on any replica and without a write:
// a lost answer, three browser tabs or a retry by a load balancer must not log anybody out. An older one was used by
// somebody who should not have it, so the session ends (RFC 9700 §4.14.2).
//
// The access token's scope is what the user may now of what the login asked for, or of that the scope that is given, if
// one is (RFC 6749 §6). ErrInvalidScope if that is more, and then the refresh token is not used. Nor is it if it was issued
// to another client than the one that sends it: ErrOtherClient.
func (s *Service) Refresh(ctx context.Context, raw string, client Client, scope ...string) (grant Grant, err error) {
	presented, err := token.ParseRefresh(raw)
	if err != nil {
		return Grant{}, fmt.Errorf("%w: %w", ErrInvalidGrant, err)
	}
	var e Event // of a token that was made here: what else comes is anybody's, and as much as he likes
	defer s.told(ctx, &e, &err)
	for {
		state, err := s.verifiedSession(ctx, presented)
		if err != nil {
			return Grant{}, err
		}
		e = newEvent(ctx, ActionRefresh, uuid.Nil, presented.SessionID.String()).by(state.User.ID)
		if state.Client.ID != client.OAuth.ID {
			return Grant{}, ErrOtherClient
		}
		decision, requested := decideRefresh(state, presented.N, s.limits.Grace), state.Scope
		if asked := strings.Join(scope, " "); asked != "" && (decision == refreshRotate || decision == refreshRepeat) {
			if requested, err = checkScope(state.Client.narrowed(narrowed(state.User, state.Scope)), asked); err != nil {
				return Grant{}, err
			}
		}
		switch decision {
		case refreshRotate:
			rotated, err := s.store.RotateSession(ctx, e, presented.SessionID, presented.N, s.limits.Idle)
			if err != nil {
				return Grant{}, err
			}
			if !rotated { // another use of the token was first: decide again, by what it left
				continue
			}
			fallthrough
		case refreshRepeat:
			return s.grant(state.User, state.Client, presented.SessionID, presented.N+1, state.Salt, state.ExpiresAt.Sub(state.Now), requested)
		case refreshReused:
			e.Outcome = Outcome(ErrTokenReused)
			ended, err := s.store.EndSession(ctx, e, state.User.ID, presented.SessionID, endedByReuse)
			if err != nil {
				return Grant{}, err
			}
			if !ended { // somebody else was first: it is over already
				continue
			}
			e = Event{} // told with the end of the session
			return Grant{}, ErrTokenReused
		default:
			return Grant{}, ErrSessionOver
		}
	}
}

// verifiedSession finds the session of a refresh token that was made here. ErrInvalidGrant.
func (s *Service) verifiedSession(ctx context.Context, presented token.Refresh) (SessionState, error) {
	state, err := s.store.SessionByID(ctx, presented.SessionID)
	if errors.Is(err, ErrSessionNotFound) {
		return SessionState{}, fmt.Errorf("%w: %w", ErrInvalidGrant, err)
	}
	if err != nil {
		return SessionState{}, err
	}
	if err := s.refresh.Verify(presented, state.Salt); err != nil {
		return SessionState{}, fmt.Errorf("%w: %w", ErrInvalidGrant, err)
	}
	return state, nil
}

type refreshDecision int

const (
	refreshRefuse refreshDecision = iota
	refreshRotate
	refreshRepeat
	refreshReused
)

func decideRefresh(s SessionState, n int64, grace time.Duration) refreshDecision {
	switch {
	case s.User.Disabled(), s.User.MustChangePassword, s.EndedAt != nil, !s.Now.Before(s.IdleExpiresAt), !s.Now.Before(s.ExpiresAt):
		return refreshRefuse
	case n == s.Counter:
		return refreshRotate
	case n == s.Counter-1 && s.Now.Sub(s.RotatedAt) <= grace:
		return refreshRepeat
	case n < s.Counter:
		return refreshReused
	}
	return refreshRefuse // of a time that a restored database does not know
}

// Sessions lists live sessions of a user, the newest first: at most limit, from the first that is older than the given
// one (uuid.Max for the first of all).
func (s *Service) Sessions(ctx context.Context, userID, before uuid.UUID, limit int) ([]Session, error) {
	return s.store.ListSessions(ctx, userID, before, limit)
}

// EndSession ends a session of a user, and with it its tokens. ErrSessionNotFound, also for somebody else's.
func (s *Service) EndSession(ctx context.Context, userID, sessionID uuid.UUID) (err error) {
	e := newEvent(ctx, ActionEndSession, userID, sessionID.String())
	defer s.told(ctx, &e, &err)
	ended, err := s.store.EndSession(ctx, e, userID, sessionID, endedByLogout)
	if err == nil && !ended {
		return ErrSessionNotFound
	}
	return err
}

// EndSessions ends all sessions of a user but one (uuid.Nil: all of them).
func (s *Service) EndSessions(ctx context.Context, userID, keep uuid.UUID) error {
	_, err := s.store.EndSessions(ctx, newEvent(ctx, ActionEndSessions, userID, ""), userID, keep, endedByLogout)
	return err
}

// EndSessionsOf is EndSessions of all of a user's by an operator; it returns how many there were. ErrUserNotFound.
func (s *Service) EndSessionsOf(ctx context.Context, username string) (ended int64, err error) {
	e := newEvent(ctx, ActionEndSessions, uuid.Nil, "").named(username)
	defer s.told(ctx, &e, &err)
	user, err := s.User(ctx, username)
	if err != nil {
		return 0, err
	}
	return s.store.EndSessions(ctx, e, user.ID, uuid.Nil, endedByOperator)
}

// LogoutByRefresh ends the session of a refresh token. A token that is of no session, or of one that is over, is
// nothing to complain about: what was wanted is so.
func (s *Service) LogoutByRefresh(ctx context.Context, raw string) error {
	presented, err := token.ParseRefresh(raw)
	if err != nil {
		return nil
	}
	state, err := s.verifiedSession(ctx, presented)
	if errors.Is(err, ErrInvalidGrant) {
		return nil
	}
	if err != nil {
		return err
	}
	e := newEvent(ctx, ActionLogout, uuid.Nil, presented.SessionID.String()).by(state.User.ID)
	_, err = s.store.EndSession(ctx, e, state.User.ID, presented.SessionID, endedByLogout)
	return err
}

// Logout ends the session of an access token, if it is not over already. ErrInvalidToken of a client's own, which has none.
func (s *Service) Logout(ctx context.Context, access token.Access) error {
	if access.IsClient() {
		return errNoUser
	}
	e := newEvent(ctx, ActionLogout, uuid.Nil, access.SessionID.String()).by(access.UserID)
	_, err := s.store.EndSession(ctx, e, access.UserID, access.SessionID, endedByLogout)
	return err
}

// ChangePassword gives the user of an access token another password, ends the user's other sessions and gives this one
// new tokens. InputError, ErrInvalidToken, ErrLimited.
func (s *Service) ChangePassword(ctx context.Context, access token.Access, current, next string) (grant Grant, err error) {
	if access.IsClient() {
		return Grant{}, errNoUser
	}
	e := newEvent(ctx, ActionChangePassword, uuid.Nil, access.SessionID.String()).by(access.UserID)
	defer s.told(ctx, &e, &err)
	user, err := s.Me(ctx, access)
	if err != nil {
		return Grant{}, err
	}
	prepared, err := s.checkPassword(next, user.Username.Key)
	if err != nil {
		return Grant{}, InputError{{"new_password", err.Error()}}
	}
	found, err := s.store.CredentialsByKey(ctx, user.Username.Key)
	if err != nil {
		return Grant{}, err
	}
	if err := s.checkOwnPassword(ctx, found, current); err != nil {
		return Grant{}, err
	}
	hash, err := s.hasher.Hash(ctx, prepared)
	if err != nil {
		return Grant{}, err
	}
	state, err := s.store.ChangePassword(ctx, e, user, access.SessionID, hash, s.limits.Idle)
	if errors.Is(err, ErrUserNotFound) || errors.Is(err, ErrSessionNotFound) {
		return Grant{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	if err != nil {
		return Grant{}, err
	}
	return s.grant(state.User, state.Client, access.SessionID, state.Counter, state.Salt, state.ExpiresAt.Sub(state.Now), state.Scope)
}

// checkOwnPassword is limited too: whoever has stolen a session must not find the password by it. InputError, ErrLimited.
func (s *Service) checkOwnPassword(ctx context.Context, found Credentials, current string) error {
	reserved, err := s.limiter.reservePasswordCheck(ctx, found.ID)
	if err != nil {
		return err
	}
	verdict, err := s.verify(ctx, found.PasswordHash, current)
	if err == nil && !verdict.Match {
		err = errors.Join(InputError{{"current_password", "is not right"}}, ErrWrongCurrentPassword)
	}
	s.limiter.settle(ctx, reserved, err)
	return err
}
