package auth

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// Reach says whose sessions somebody sees and ends: those of a user, by all clients or by one
// client. The zero Reach covers no session.
type Reach struct {
	UserID     uuid.UUID
	AllClients bool
	ClientID   string // without AllClients
}

// covers reports whether a session is within the reach.
func (r Reach) covers(state SessionState) bool {
	return r.UserID == state.User.ID &&
		(r.AllClients || r.ClientID == state.Client.ID && r.ClientID != "")
}

// Account returns how far an access token reaches into its user's account. It reads the user and
// the session anew. Errors: [ErrInvalidToken], [ErrForbidden].
func (a *Access) Account(ctx context.Context, access token.Access) (reach Reach, err error) {
	if access.IsClient() {
		return Reach{}, errNoUser
	}
	state, err := liveSession(ctx, a.store, access)
	if err != nil {
		return Reach{}, err
	}
	e := newEvent(ctx, Actor{}, ActionAuthorize, uuid.Nil, "account").by(state.User.ID)
	defer a.audit.told(ctx, &e, &err)
	return reachOf(state, access)
}

// reachOf decides how far an access token of a live session reaches. A token of a first-party
// client reaches all of the user's sessions. A token of another client reaches the sessions of that
// client. A token that was asked for with a narrower scope reaches none: whoever it was given to
// should not end sessions or see addresses. Errors: [ErrForbidden].
func reachOf(state SessionState, access token.Access) (Reach, error) {
	if isNarrowed(state, access) {
		return Reach{}, fmt.Errorf("%w: the token was asked for with a scope", ErrForbidden)
	}
	if state.Client.IsFirstParty() {
		return Reach{UserID: state.User.ID, AllClients: true}, nil
	}
	return Reach{UserID: state.User.ID, ClientID: state.Client.ID}, nil
}

// mayRuleAccount returns nil if the token may do more than manage sessions, such as changing the
// password. Errors: [ErrForbidden].
func mayRuleAccount(state SessionState, access token.Access) error {
	reach, err := reachOf(state, access)
	if err == nil && !reach.AllClients {
		return fmt.Errorf("%w: not of a first-party client", ErrForbidden)
	}
	return err
}

// isNarrowed reports whether an access token has less than its session gives by default. The
// session says what the login asked for. What a refresh asked for is visible in the token: the user
// still has the rights that it was made from, since otherwise the token would have an older
// version. The token's own scope is narrowed too: a token from before the client's bound was
// changed may have more. A token that is for the resources of others as well may be in their hands.
func isNarrowed(state SessionState, access token.Access) bool {
	whole := state.Client.narrowed(scopeOf(state.User.Permissions))
	return state.Scope != "" || access.Resources != "" || state.Client.narrowed(access.Scope) != whole ||
		access.Roles != state.Client.roles(state.User.Roles, "")
}
