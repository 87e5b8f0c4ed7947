package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// AccessStore reads what decides whether an access token is good now.
type AccessStore interface {
	// SessionByID reads what is committed now, never a cache. Errors: [ErrSessionNotFound].
	SessionByID(ctx context.Context, id uuid.UUID) (SessionState, error)
	// ClientByID reads what is committed now, never a cache. Errors: [ErrClientNotFound].
	ClientByID(ctx context.Context, id string) (StoredClient, error)
}

// Access decides what an access token is good for.
type Access struct {
	store    AccessStore
	verifier *token.Verifier
	revoked  *Checker
	pace     *Pace
	audit    *Audit
	clock    func() time.Time
}

// NewAccess makes Access.
func NewAccess(
	store AccessStore, verifier *token.Verifier, revoked *Checker, pace *Pace, audit *Audit,
	clock func() time.Time,
) *Access {
	return &Access{store, verifier, revoked, pace, audit, clock}
}

// Authenticate verifies the signature and the claims of an access token, which must be for our
// audience. It does not check whether the token was revoked. Errors: [ErrInvalidToken].
func (a *Access) Authenticate(raw string) (token.Access, error) {
	access, err := a.verifier.Verify(a.clock(), raw)
	if err != nil {
		return token.Access{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return access, nil
}

// AuthenticateForUserInfo is Authenticate for a token that may also be for the UserInfo endpoint
// alone, and for resources of others. Errors: [ErrInvalidToken].
func (a *Access) AuthenticateForUserInfo(raw string) (token.Access, error) {
	access, err := a.verifier.VerifyForUserInfo(a.clock(), raw)
	if err != nil {
		return token.Access{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return access, nil
}

// authenticateForAny is Authenticate for a token that may be for any resource. Nothing may be done
// with it but to say what it is, and to end its session.
func (a *Access) authenticateForAny(raw string) (token.Access, error) {
	access, err := a.verifier.VerifyForAny(a.clock(), raw)
	if err != nil {
		return token.Access{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return access, nil
}

// Check is [Access.Authenticate], and also checks whether the token was revoked. It needs no
// database while this replica is up to date with revocations. Errors: [ErrInvalidToken],
// [ErrUnavailable].
func (a *Access) Check(ctx context.Context, raw string) (token.Access, error) {
	access, err := a.Authenticate(raw)
	if err != nil {
		return token.Access{}, err
	}
	return access, a.revoked.Check(ctx, access)
}

// Me reads the user of an access token as it is now, with the roles that the token has. It reports
// whether the token may rule the account, and know how its user logs in. Errors:
// [ErrInvalidToken] if the session has ended, or if the account was disabled or its tokens revoked
// since the token was issued. It is also the error for a client's own token, which has no user.
func (a *Access) Me(ctx context.Context, access token.Access) (user User, rules bool, err error) {
	if access.IsClient() {
		return User{}, false, errNoUser
	}
	state, err := liveSession(ctx, a.store, access)
	rules = mayRuleAccount(state, access) == nil
	state.User.Roles = rolesOf(access, state.User.Roles)
	return state.User, rules, err
}

// Authorize reads the user of an access token as [Access.Me] does, or the client, and checks a
// permission. The permission must be held now and be in the token, which may have a narrower scope.
// The returned [Actor] has only the permissions and roles that pass both checks. Errors:
// [ErrInvalidToken], [ErrForbidden], [ErrLimited].
func (a *Access) Authorize(
	ctx context.Context, access token.Access, needed Permission,
) (actor Actor, err error) {
	actor, err = live(ctx, a.store, access)
	if err != nil {
		return Actor{}, err
	}
	var left []Permission
	for word := range strings.FieldsSeq(access.Scope) {
		if actor.May(Permission(word)) {
			left = append(left, Permission(word))
		}
	}
	actor.Permissions, actor.Roles = left, rolesOf(access, actor.Roles)
	e := newEvent(ctx, actor, ActionAuthorize, uuid.Nil, string(needed))
	if actor.Kind == ActorUser {
		e = e.of(actor.ID)
	}
	defer a.audit.told(ctx, &e, &err)
	if !actor.May(needed) {
		return Actor{}, fmt.Errorf("%w: %s", ErrForbidden, needed)
	}
	if needed.changes() {
		if err := a.pace.act(actor.ID); err != nil {
			return Actor{}, err
		}
	}
	return actor, nil
}

// rolesOf returns those of the held roles that the token has too.
func rolesOf(access token.Access, held []string) []string {
	return slices.DeleteFunc(held, func(role string) bool { return !access.HasRole(role) })
}

// live returns the holder of an access token, a user or a client, as it is now. Errors:
// [ErrInvalidToken].
func live(ctx context.Context, store AccessStore, access token.Access) (Actor, error) {
	if access.IsClient() {
		client, err := liveClient(ctx, store, access)
		return client.As(), err
	}
	state, err := liveSession(ctx, store, access)
	return state.User.As(), err
}

var errNoUser = fmt.Errorf("%w: a client's own, and no user's", ErrInvalidToken)

// liveSession returns the session of a user's access token, if the token is good now. Errors:
// [ErrInvalidToken].
func liveSession(
	ctx context.Context, store AccessStore, access token.Access,
) (SessionState, error) {
	state, err := store.SessionByID(ctx, access.SessionID)
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return SessionState{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	case err != nil:
		return SessionState{}, err
	case state.User.ID != access.UserID:
		return SessionState{}, fmt.Errorf("%w: another user's session", ErrInvalidToken)
	case state.User.Disabled():
		return SessionState{}, fmt.Errorf("%w: disabled account", ErrInvalidToken)
	case state.EndedAt != nil, state.User.TokenVersion != access.Version:
		return SessionState{}, errRevoked
	}
	return state, nil
}

// liveClient returns the client of its own token, if the token is good now. Errors:
// [ErrInvalidToken].
func liveClient(ctx context.Context, store AccessStore, access token.Access) (Client, error) {
	found, err := store.ClientByID(ctx, access.ClientID)
	switch {
	case errors.Is(err, ErrClientNotFound):
		return Client{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	case err != nil:
		return Client{}, err
	case found.DisabledAt != nil:
		return Client{}, fmt.Errorf("%w: disabled client", ErrInvalidToken)
	case found.TokenVersion != access.Version:
		return Client{}, errRevoked
	}
	return found.Client, nil
}
