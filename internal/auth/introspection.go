package auth

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/token"
)

// Introspection is what is told of a token (RFC 7662 §2.2). The zero one is of a token that is not active, of which nothing
// else is told.
type Introspection struct {
	Active            bool
	Scope, ClientID   string
	Username          string // empty for a client's own token
	Subject           string
	Issuer            string
	IssuedAt, Expires time.Time

	// Of an access token alone:
	ID       uuid.UUID
	Audience string
}

// Introspect tells what a token is good for now, by a fresh look at its session and user, and changes nothing. The token's
// form says of which type it is: no hint is needed. A refresh token is answered to its own client alone, so that a service
// which is sent one does not take it for an access token.
func (s *Service) Introspect(ctx context.Context, client OAuthClient, raw string) (Introspection, error) {
	presented, err := token.ParseRefresh(raw)
	if err == nil {
		return inactive(s.introspectRefresh(ctx, client, presented))
	}
	return inactive(s.introspectAccess(ctx, raw))
}

// inactive takes what is wrong with a token for an answer. A database that does not answer stays an error.
func inactive(found Introspection, err error) (Introspection, error) {
	if errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrInvalidGrant) {
		return Introspection{}, nil
	}
	return found, err
}

func (s *Service) introspectAccess(ctx context.Context, raw string) (Introspection, error) {
	access, err := s.Authenticate(raw)
	if err != nil {
		return Introspection{}, err
	}
	user, err := live(ctx, s.store, access)
	if err != nil {
		return Introspection{}, err
	}
	issuer, audience := s.tokens.Names()
	return Introspection{
		Active: true, Scope: access.Scope, ClientID: access.ClientID, Username: user.Username.Given, Subject: access.Name(),
		Issuer: issuer, IssuedAt: access.IssuedAt, Expires: access.Expires, ID: access.ID, Audience: audience,
	}, nil
}

func (s *Service) introspectRefresh(ctx context.Context, client OAuthClient, presented token.Refresh) (Introspection, error) {
	state, err := s.verifiedSession(ctx, presented)
	if err != nil {
		return Introspection{}, err
	}
	if state.Client.ID != client.ID {
		return Introspection{}, ErrOtherClient
	}
	// One that is answered once more, within the grace, is used up all the same.
	if decideRefresh(state, presented.N, s.limits.Grace) != refreshRotate {
		return Introspection{}, ErrSessionOver
	}
	expires := state.ExpiresAt
	if state.IdleExpiresAt.Before(expires) {
		expires = state.IdleExpiresAt
	}
	issuer, _ := s.tokens.Names()
	return Introspection{
		Active: true, Scope: state.Client.narrowed(narrowed(state.User, state.Scope)), ClientID: state.Client.PublicID(),
		Username: state.User.Username.Given, Subject: state.User.ID.String(), Issuer: issuer, IssuedAt: state.RotatedAt, Expires: expires,
	}, nil
}

// Revoke ends the session of an access or refresh token, and with it all its tokens (RFC 7009 §2.1). What is no token, or of
// a session that is over, is nothing to complain about: what was wanted is so. ErrOtherClient, and then nothing is changed; so it
// is with ErrNoSession, of a client's own token.
func (s *Service) Revoke(ctx context.Context, client OAuthClient, raw string) (err error) {
	var e Event // of a token that was made here
	defer s.told(ctx, &e, &err)
	userID, sessionID, issuedTo, err := s.sessionOf(ctx, raw)
	if errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrInvalidGrant) {
		return nil
	}
	if err != nil {
		return err
	}
	e = newEvent(ctx, ActionRevokeToken, uuid.Nil, sessionID.String()+" "+client.PublicID()).by(userID)
	switch {
	case issuedTo != client.PublicID():
		return ErrOtherClient
	case sessionID == uuid.Nil:
		e = Event{} // there is no user of whom to tell
		return ErrNoSession
	}
	_, err = s.store.EndSession(ctx, e, userID, sessionID, endedByLogout)
	return err
}

// sessionOf tells whose token it is, of which session, and to which client it was issued. ErrInvalidToken, ErrInvalidGrant.
func (s *Service) sessionOf(ctx context.Context, raw string) (userID, sessionID uuid.UUID, clientID string, err error) {
	presented, err := token.ParseRefresh(raw)
	if err != nil {
		access, err := s.Authenticate(raw)
		return access.UserID, access.SessionID, access.ClientID, err
	}
	state, err := s.verifiedSession(ctx, presented)
	return state.User.ID, presented.SessionID, state.Client.PublicID(), err
}
