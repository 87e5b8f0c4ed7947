package auth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// Introspection is what a client learns about a token (RFC 7662 §2.2). The zero Introspection is
// that of a token that is not active. Nothing else is said about such a token.
type Introspection struct {
	Active            bool
	Scope, ClientID   string
	Username          string // empty for a client's own token
	Subject           string
	Issuer            string
	IssuedAt, Expires time.Time
	// How the user has proved who it is, and when (RFC 9470 §6.2). They are zero for a client's own
	// token, and for a token of an earlier release.
	ACR      string
	Methods  []string
	AuthTime time.Time

	// Only for an access token:
	ID       uuid.UUID
	Audience []string
}

// Introspect returns what a token is good for now. It reads the session and the user anew, and
// changes nothing. No hint is needed, since the token's form shows its type. A refresh token is
// answered to its own client alone. So a service that is sent one does not take it for an access
// token.
func (t *Tokens) Introspect(ctx context.Context, client Client, raw string) (Introspection, error) {
	presented, err := token.ParseRefresh(raw)
	if err == nil {
		return inactive(t.introspectRefresh(ctx, client, presented))
	}
	return inactive(t.introspectAccess(ctx, raw))
}

// inactive turns the error of a bad token into the answer that it is not active. An outage of the
// database stays an error.
func inactive(found Introspection, err error) (Introspection, error) {
	if errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrInvalidGrant) {
		return Introspection{}, nil
	}
	return found, err
}

func (t *Tokens) introspectAccess(ctx context.Context, raw string) (Introspection, error) {
	access, err := t.access.authenticateForAny(raw)
	if err != nil {
		return Introspection{}, err
	}
	username, methods, err := t.liveLogin(ctx, access)
	if err != nil {
		return Introspection{}, err
	}
	issuer, audience := t.signer.tokens.Names()
	resources := strings.Fields(access.Resources)
	if len(resources) == 0 {
		resources = []string{audience}
	}
	return Introspection{
		Active: true, Scope: access.Scope, ClientID: access.ClientID, Username: username,
		Subject: access.Name(),
		Issuer:  issuer, IssuedAt: access.IssuedAt, Expires: access.Expires, ID: access.ID,
		Audience: resources, ACR: access.ACR, AuthTime: access.AuthTime, Methods: methods,
	}, nil
}

// liveLogin returns the username of an access token's user, and how the user has logged in if the
// token says so. A client's own token has neither. Errors: [ErrInvalidToken].
func (t *Tokens) liveLogin(
	ctx context.Context, access token.Access,
) (username string, methods []string, err error) {
	if access.IsClient() {
		_, err := liveClient(ctx, t.store, access)
		return "", nil, err
	}
	state, err := liveSession(ctx, t.store, access)
	if access.ACR != "" {
		methods = state.Methods
	}
	return state.User.Username.Given, methods, err
}

func (t *Tokens) introspectRefresh(
	ctx context.Context, client Client, presented token.Refresh,
) (Introspection, error) {
	state, err := t.verifiedSession(ctx, presented)
	if err != nil {
		return Introspection{}, err
	}
	if state.Client.ID != client.ID {
		return Introspection{}, ErrOtherClient
	}
	// A token that would be answered once more within the grace is still used up.
	if decideRefresh(state, presented.N, netip.Prefix{}, t.limits) != refreshRotate {
		return Introspection{}, ErrSessionOver
	}
	if !t.factors.admits(state) {
		return Introspection{}, ErrFactorUnproved
	}
	expires := state.ExpiresAt
	if state.IdleExpiresAt.Before(expires) {
		expires = state.IdleExpiresAt
	}
	issuer, _ := t.signer.tokens.Names()
	return Introspection{
		Active: true, Scope: state.Client.narrowed(narrowed(state.User, state.Scope)),
		ClientID: state.Client.PublicID(),
		Username: state.User.Username.Given, Subject: state.User.ID.String(), Issuer: issuer,
		IssuedAt: state.RotatedAt, Expires: expires,
		ACR: acrOf(state.Methods), Methods: state.Methods, AuthTime: state.AuthTime,
	}, nil
}

// Revoke ends the session of an access or refresh token, and so revokes all its tokens (RFC 7009
// §2.1). It is no error if the text is no token, or if the session is over: then all is as it was
// wanted. Errors: [ErrOtherClient] if the token was issued to another client; [ErrNoSession] for a
// client's own token. In both cases nothing changes.
func (t *Tokens) Revoke(ctx context.Context, client Client, raw string) (err error) {
	var e Event // only for a token that was made here
	defer t.audit.told(ctx, &e, &err)
	userID, sessionID, issuedTo, err := t.sessionOf(ctx, raw)
	if errors.Is(err, ErrSessionNotFound) {
		return t.store.Settle(ctx)
	}
	if errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrInvalidGrant) {
		return nil
	}
	if err != nil {
		return err
	}
	e = newEvent(
		ctx, Actor{}, ActionRevokeToken, uuid.Nil, sessionID.String()+" "+client.PublicID(),
	).by(userID)
	if sessionID == uuid.Nil { // it is a client's own token
		e = newEvent(
			ctx, Actor{}, ActionRevokeToken, uuid.Nil, client.PublicID(),
		).byClient(token.ClientSubject(issuedTo))
	}
	switch {
	case issuedTo != client.PublicID():
		return ErrOtherClient
	case sessionID == uuid.Nil:
		return ErrNoSession
	}
	_, err = t.store.EndSession(ctx, e, userID, sessionID, endedByLogout)
	return err
}

// sessionOf returns the user and the session of a token, and the client that it was issued to.
// Errors: [ErrInvalidToken], [ErrInvalidGrant].
func (t *Tokens) sessionOf(
	ctx context.Context, raw string,
) (userID, sessionID uuid.UUID, clientID string, err error) {
	presented, err := token.ParseRefresh(raw)
	if err != nil {
		access, err := t.access.authenticateForAny(raw)
		return access.UserID, access.SessionID, access.ClientID, err
	}
	state, err := t.verifiedSession(ctx, presented)
	return state.User.ID, presented.SessionID, state.Client.PublicID(), err
}
