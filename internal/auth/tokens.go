package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// TokenStore stores what tokens are issued for.
type TokenStore interface {
	AccessStore

	// StartSession stores a session, and returns when. If its user then has too many sessions, it
	// ends the excess. Errors: [ErrUserNotFound] if the user is disabled or has another token
	// version than the session's User, or if the client is disabled.
	StartSession(ctx context.Context, e Event, session NewSession) (time.Time, error)
	// RotateSession increases the counter of a live session from the given number, moves its idle
	// expiry, and stores the network that asks. It reports whether it did: of many callers with one
	// number, one does.
	RotateSession(
		ctx context.Context, e Event, id uuid.UUID, counter int64, from netip.Prefix,
		idle time.Duration,
	) (bool, error)
	// RepeatSession records that the refresh token before the current one is answered again. The
	// given number is the current counter. It reports whether the token may be answered: the
	// session must be live and still have that number. Of callers from elsewhere it allows one, and
	// none if there was one at the rotation before. It records the event of the first few callers,
	// and of each caller from elsewhere.
	RepeatSession(
		ctx context.Context, e Event, id uuid.UUID, counter int64, elsewhere bool,
	) (bool, error)
	// EndSession ends a session of a user and revokes its tokens. It reports whether there was one
	// to end.
	EndSession(ctx context.Context, e Event, userID, id uuid.UUID, reason string) (bool, error)
	// RedeemCode makes a code into a session, if it was not redeemed before and is for this client,
	// redirect URI and challenge, if the browser's session lives, and if neither user nor client has
	// changed. Of many callers at once, one succeeds. Errors: [ErrInvalidCode].
	RedeemCode(ctx context.Context, e Event, code RedeemableCode) (RedeemedCode, error)
	// RefusedCode says what became of a code of the client that could not be redeemed. Errors:
	// [ErrInvalidCode] if there is none.
	RefusedCode(ctx context.Context, code RedeemableCode) (RefusedCode, error)
	// Settle returns when all that has been committed is durable. It is called before a method that
	// has only read reports that what was asked for is so.
	Settle(ctx context.Context) error
}

// Tokens issues, refreshes, introspects and revokes access and refresh tokens.
type Tokens struct {
	store   TokenStore
	signer  *Signer
	refresh *token.RefreshKeys
	access  *Access
	ids     *IDTokens
	limits  SessionLimits
	factors FactorMode
	pace    *Pace
	audit   *Audit
}

// TokenParts are what Tokens is made of. All are needed.
type TokenParts struct {
	Store   TokenStore
	Signer  *Signer
	Refresh *token.RefreshKeys
	Access  *Access
	IDs     *IDTokens
	Limits  SessionLimits
	Factors FactorMode
	Pace    *Pace
	Audit   *Audit
}

// NewTokens makes Tokens.
func NewTokens(p TokenParts) *Tokens {
	return &Tokens{p.Store, p.Signer, p.Refresh, p.Access, p.IDs, p.Limits, p.Factors, p.Pace, p.Audit}
}

// Grant is what a login or a refresh gives.
type Grant struct {
	User         User // zero for a client's own token
	AccessToken  string
	ExpiresIn    time.Duration // of the access token
	Scope        string        // the permissions of the access token, with spaces between
	RefreshToken string        // empty if the client may not use one
	IDToken      string        // empty if the app did not log in by OpenID Connect
	// Device is the token that makes the device known at its next login, and DeviceName the name
	// under which to keep it. Both are set only by a login or a change of the password. Both are
	// empty without limits.
	Device, DeviceName string
}

// start makes a session and its tokens for a proved user. Errors: [ErrUserNotFound] if the user has
// changed since; [ErrNotAdmitted].
func (t *Tokens) start(
	ctx context.Context, e Event, user User, methods []string, caller Caller, scope string,
) (Grant, error) {
	if !caller.Client.Admits(user) {
		return Grant{}, ErrNotAdmitted
	}
	// UUIDv4: replicas publish which sessions are revoked, and the ids must not show when people
	// log in.
	id := uuid.New()
	salt := newSalt()
	e = e.by(user.ID)
	e.Target = id.String()
	at, err := t.store.StartSession(ctx, e, NewSession{
		ID: id, User: user, Salt: salt, Caller: caller.bounded(), Scope: scope, Limits: t.limits,
		Methods: methods,
	})
	if err != nil {
		return Grant{}, err
	}
	return t.grant(SessionState{
		User: user, Client: caller.Client, Salt: salt, Now: at, ExpiresAt: at.Add(t.limits.Absolute),
		AuthTime: at, Methods: methods,
	}, id, scope, "")
}

// grant makes the tokens of a session. They are the refresh token of its counter, if the client may
// use one, and an access token that does not outlive the session. The scope of the access token is
// the part of the requested scope that the user and the client may have now; "" requests
// everything. With a requested scope, the token has no roles. Errors: [ErrInvalidScope] if the
// scope does not fit into a token; [ErrInvalidTarget] if it does not fit together with the
// resources.
func (t *Tokens) grant(
	state SessionState, sessionID uuid.UUID, requested, resources string,
) (Grant, error) {
	user, client := state.User, state.Client
	grant := Grant{
		User: user, ExpiresIn: min(t.signer.Lifetime(), state.ExpiresAt.Sub(state.Now)),
		Scope: client.narrowed(narrowed(user, requested)),
	}
	if len(grant.Scope) > maxRights {
		return Grant{}, ErrInvalidScope
	}
	subject := token.Subject{
		UserID: user.ID, SessionID: sessionID, Username: user.Username.Given,
		Version: user.TokenVersion,
		Roles:   client.roles(user.Roles, requested), Scope: grant.Scope,
		ClientID: client.PublicID(), Resources: t.signer.withUserInfo(resources, state.OpenID),
		ACR: acrOf(state.Methods), AuthTime: state.AuthTime,
	}
	if !fits(subject) {
		return Grant{}, ErrInvalidTarget
	}
	var err error
	if grant.AccessToken, err = t.signer.issue(subject, grant.ExpiresIn, state.Methods...); err != nil {
		return Grant{}, err
	}
	if client.MayUse(GrantRefreshToken) {
		grant.RefreshToken = t.refresh.Make(sessionID, state.Counter, state.Salt)
	}
	return grant, nil
}

// withIDToken adds an ID token to a grant, if the app logged in by OpenID Connect. One of a refresh
// has no nonce (OpenID Connect Core §12.2).
func (t *Tokens) withIDToken(
	grant Grant, state SessionState, sessionID uuid.UUID, nonce string,
) (Grant, error) {
	if !slices.Contains(strings.Fields(state.OpenID), ScopeOpenID) {
		return grant, nil
	}
	told := disclosed(state.User, state.OpenID, state.Claims, inIDToken)
	var err error
	grant.IDToken, err = t.ids.Sign(state.Client.idTokenAlgorithm(), told.about(token.IDToken{
		Subject: state.User.ID, Audience: state.Client.ID, SessionID: sessionID,
		AuthTime: state.AuthTime, Nonce: nonce, ACR: acrOf(state.Methods), AMR: state.Methods,
		AccessToken: grant.AccessToken,
	}), grant.ExpiresIn)
	if err != nil {
		return Grant{}, err
	}
	return grant, nil
}

// Refresh exchanges a refresh token for its successor and an access token. Errors:
// [ErrInvalidGrant].
//
// Within the grace, the token before the current one gives the same successor again, on any
// replica. A lost answer, three browser tabs or a retry by a load balancer must not log anybody
// out. The file repeats.go has the bounds of this. An older token was used by somebody who should
// not have it, so the session ends (RFC 9700 §4.14.2).
//
// The scope of the access token is the part that the user has now of what the login asked for. If a
// scope is given, it is that part of it (RFC 6749 §6). The same holds for resources (RFC 8707
// §2.2). Errors: [ErrInvalidScope] and [ErrInvalidTarget] if more is asked for; [ErrOtherClient] if
// the token was issued to another client than the one that sends it; [ErrNotAdmitted] if the user
// lost the role that the client demands; [ErrFactorUnproved] if the user must have a second factor
// by now, and the login had none. In all cases the token is not used. A client that
// refreshes without end gets [ErrLimited], and its token is not used either.
func (t *Tokens) Refresh(
	ctx context.Context, raw string, caller Caller, narrow ...Narrowing,
) (grant Grant, err error) {
	var asked Narrowing
	for _, given := range narrow {
		asked = given
	}
	presented, err := token.ParseRefresh(raw)
	if err != nil {
		return Grant{}, fmt.Errorf("%w: %w", ErrInvalidGrant, err)
	}
	// only for a token that was made here: anybody can send anything else, without end
	var e Event
	defer t.audit.told(ctx, &e, &err)
	from := site(caller.Address)
	var paced bool
	var current time.Time // when this call saw that the token was the current one
	for {
		state, err := t.verifiedSession(ctx, presented)
		if err != nil {
			return Grant{}, err
		}
		// A rotation becomes visible when it is committed, and the commit may hang for long. The
		// rotation is not older than this call.
		state.RotatedAt = latest(state.RotatedAt, current)
		e = newEvent(
			ctx, Actor{}, ActionRefresh, uuid.Nil, presented.SessionID.String(),
		).by(state.User.ID)
		if state.Client.ID != caller.Client.ID {
			return Grant{}, ErrOtherClient
		}
		decision, requested := decideRefresh(state, presented.N, from, t.limits), state.Scope
		if decision.answers() && !state.Client.Admits(state.User) {
			return Grant{}, ErrNotAdmitted
		}
		if decision.answers() && !t.factors.admits(state) {
			return Grant{}, ErrFactorUnproved
		}
		if _, words := SplitScope(asked.Scope); words != "" && decision.answers() {
			if requested, err = checkScope(
				state.Client.narrowed(narrowed(state.User, state.Scope)), words,
			); err != nil {
				return Grant{}, err
			}
		}
		resources, err := resourcesFor(
			state.Client, state.Resources, asked.Resources, t.signer.audience(),
		)
		if err != nil && decision.answers() {
			return Grant{}, err
		}
		var done bool
		if decision.answers() && !paced {
			if err := t.pace.refresh(presented.SessionID, state.User.ID); err != nil {
				return Grant{}, err
			}
			paced = true
		}
		switch decision {
		case refreshRotate:
			current = state.Now
			done, err = t.store.RotateSession(
				ctx, e, presented.SessionID, presented.N, from, t.limits.Idle,
			)
		case refreshRepeat:
			e.Outcome = OutcomeRepeated
			done, err = t.store.RepeatSession(ctx, e, presented.SessionID, state.Counter, false)
		case refreshRepeatElsewhere:
			e.Outcome = OutcomeRepeatedElsewhere
			done, err = t.store.RepeatSession(ctx, e, presented.SessionID, state.Counter, true)
		case refreshReused:
			e.Outcome = Outcome(ErrTokenReused)
			done, err = t.store.EndSession(ctx, e, state.User.ID, presented.SessionID, endedByReuse)
		default:
			return Grant{}, ErrSessionOver
		}
		switch {
		case err != nil:
			return Grant{}, err
		case !done: // another use of the token was first: decide again, by the new state
			continue
		case !decision.answers():
			e = Event{} // recorded with the end of the session
			return Grant{}, ErrTokenReused
		}
		state.Counter = presented.N + 1
		grant, err := t.grant(state, presented.SessionID, requested, resources)
		if err != nil {
			return Grant{}, err
		}
		return t.withIDToken(grant, state, presented.SessionID, "")
	}
}

// verifiedSession finds the session of a refresh token, and verifies that the token was made here.
// Errors: [ErrInvalidGrant].
func (t *Tokens) verifiedSession(
	ctx context.Context, presented token.Refresh,
) (SessionState, error) {
	state, err := t.store.SessionByID(ctx, presented.SessionID)
	if errors.Is(err, ErrSessionNotFound) {
		return SessionState{}, fmt.Errorf("%w: %w", ErrInvalidGrant, err)
	}
	if err != nil {
		return SessionState{}, err
	}
	if err := t.refresh.Verify(presented, state.Salt); err != nil {
		return SessionState{}, fmt.Errorf("%w: %w", ErrInvalidGrant, err)
	}
	if state.Browser { // no refresh token was made of it
		return SessionState{}, fmt.Errorf("%w: a browser's session", ErrInvalidGrant)
	}
	return state, nil
}

// LogoutByRefresh ends the session of a refresh token. It is no error if the token has no session,
// or if the session is over: then all is as it was wanted. Errors: [ErrOtherClient] if the token
// was issued to another client than the one that sends it. Then nothing changes.
func (t *Tokens) LogoutByRefresh(ctx context.Context, client Client, raw string) (err error) {
	presented, err := token.ParseRefresh(raw)
	if err != nil {
		return nil
	}
	state, err := t.verifiedSession(ctx, presented)
	if errors.Is(err, ErrSessionNotFound) {
		return t.store.Settle(ctx)
	}
	if errors.Is(err, ErrInvalidGrant) {
		return nil
	}
	if err != nil {
		return err
	}
	e := newEvent(
		ctx, Actor{}, ActionLogout, uuid.Nil, presented.SessionID.String(),
	).by(state.User.ID)
	defer t.audit.told(ctx, &e, &err)
	if state.Client.ID != client.ID {
		return ErrOtherClient
	}
	_, err = t.store.EndSession(ctx, e, state.User.ID, presented.SessionID, endedByLogout)
	return err
}

// ForClient gives a client an access token of its own. Its scope is what the client's roles permit
// or, if a scope is given, that part of it. There is no session, and so no refresh token (RFC 6749
// §4.4.3). It is for our audience or, if resources are given, for those. Errors: [ErrInvalidScope],
// [ErrInvalidTarget], [ErrLimited].
func (t *Tokens) ForClient(
	ctx context.Context, client Client, asked Narrowing,
) (grant Grant, err error) {
	holder := client.As()
	e := newEvent(ctx, holder, ActionIssueToken, uuid.Nil, client.ID)
	defer t.audit.told(ctx, &e, &err)
	if err := t.pace.act(holder.ID); err != nil {
		return Grant{}, err
	}
	granted := client.bounded(scopeOf(holder.Permissions))
	if asked.Scope != "" {
		if granted, err = checkScope(granted, asked.Scope); err != nil {
			return Grant{}, err
		}
	}
	if len(granted) > maxRights {
		return Grant{}, ErrInvalidScope
	}
	resources, err := ownResourcesFor(client, asked.Resources, t.signer.audience())
	if err != nil {
		return Grant{}, err
	}
	// If its rights have changed since they were read, the version is an older one, and the token
	// is refused everywhere.
	subject := token.Subject{
		ClientID: client.ID, Version: client.TokenVersion,
		Roles: client.roles(holder.Roles, asked.Scope), Scope: granted, Resources: resources,
	}
	if !fits(subject) {
		return Grant{}, ErrInvalidTarget
	}
	access, err := t.signer.issue(subject, t.signer.Lifetime())
	if err != nil {
		return Grant{}, err
	}
	if err := t.audit.record(ctx, e); err != nil {
		return Grant{}, err
	}
	return Grant{AccessToken: access, ExpiresIn: t.signer.Lifetime(), Scope: granted}, nil
}
