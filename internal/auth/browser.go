package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// BrowserStore stores the sessions of browsers.
type BrowserStore interface {
	AccessStore

	// StartSession is that of [TokenStore].
	StartSession(ctx context.Context, e Event, session NewSession) (time.Time, error)
	// RenewBrowserSession stores that the user of a live session has proved anew who it is: when,
	// how, and from where. It increases the counter from the given number, and the session lives as
	// long as a new one from then on. It reports whether it did: of many callers with one number,
	// one does. It does not if the user has changed.
	RenewBrowserSession(ctx context.Context, e Event, session NewSession, counter int64) (bool, error)
	// EndSession is that of [TokenStore].
	EndSession(ctx context.Context, e Event, userID, id uuid.UUID, reason string) (bool, error)
	// NoteSessionUse moves the last use of a live session of a browser to now, and its idle expiry
	// with it. A session that has idled out stays over.
	NoteSessionUse(ctx context.Context, id uuid.UUID) error
	// NoteSessionUses is NoteSessionUse for many, but waits for none. It returns those that somebody
	// else has locked: their use is not stored.
	NoteSessionUses(ctx context.Context, ids []uuid.UUID) (locked []uuid.UUID, err error)
}

// BrowserLimits bound how long the session of a browser lives.
type BrowserLimits struct {
	Idle     time.Duration // it ends if it is not used for this long
	Absolute time.Duration // it ends this long after the login at the latest
	// Remembered are the limits of a user who wants to stay logged in, and PerUser those of all.
	Remembered SessionLimits
}

// of returns the limits of one session.
func (l BrowserLimits) of(remember bool) SessionLimits {
	limits := l.Remembered
	if !remember {
		limits.Idle, limits.Absolute = l.Idle, l.Absolute
	}
	return limits
}

// Browsers start the sessions of browsers, and know them by their cookies. Such a session is like
// any other, but has a cookie in place of tokens.
type Browsers struct {
	store    BrowserStore
	cookies  *token.CookieKeys
	limits   BrowserLimits
	factors  FactorMode
	lifetime time.Duration // for which an answer of the database is remembered
	memory   *token.Memory
	revoked  *Checker
	uses     uses
	clock    func() time.Time
}

// BrowserParts are what Browsers is made of. All are needed.
type BrowserParts struct {
	Store   BrowserStore
	Cookies *token.CookieKeys
	Limits  BrowserLimits
	Factors FactorMode
	// Lifetime is that of access tokens. A revocation is remembered for so long, and an answer of
	// the database must not be remembered for longer.
	Lifetime time.Duration
	// Remembered is how many cookies a replica remembers.
	Remembered int
	Revoked    *Checker
	Clock      func() time.Time
}

// NewBrowsers makes Browsers.
func NewBrowsers(p BrowserParts) *Browsers {
	return &Browsers{
		store: p.Store, cookies: p.Cookies, limits: p.Limits, factors: p.Factors,
		lifetime: p.Lifetime,
		memory:   token.NewMemory(p.Remembered), revoked: p.Revoked, clock: p.Clock,
	}
}

// BrowserLogin is what a browser brings to a login besides name and password.
type BrowserLogin struct {
	Cookie   string // of the session that the browser has already; may be empty
	Remember bool   // the user wants to stay logged in
	// MayTrust is true if a trusted device may stand in for the second factor: nothing demands the
	// login to be strong.
	MayTrust bool
	// Pending is of a login that has proved a second factor, and changes the password.
	Pending string
}

func (b BrowserLogin) kind() kindOfLogin {
	return kindOfLogin{Browser: true, Remember: b.Remember}
}

// BrowserGrant is what a login in a browser gives.
type BrowserGrant struct {
	User    User
	Cookie  string
	Sibling string
	// MaxAge is how long the browser keeps the cookies; 0: until it is closed.
	MaxAge time.Duration
	// Device is as in [Grant].
	Device, DeviceName string
}

// Check returns what the cookie of a browser's session is good for. It asks no database while this
// replica knows the cookie and is up to date with revocations. Errors: [ErrInvalidToken],
// [ErrUnavailable].
func (b *Browsers) Check(ctx context.Context, cookie string) (token.Access, error) {
	if token.IsSibling(cookie) { // it may be remembered as good, but not for this
		return token.Access{}, errOtherCookie
	}
	return b.check(ctx, cookie, b.cookies.Verify)
}

// CheckSibling is Check for a sibling cookie. Only /verify may ask.
func (b *Browsers) CheckSibling(ctx context.Context, cookie string) (token.Access, error) {
	if !token.IsSibling(cookie) {
		return token.Access{}, errOtherCookie
	}
	return b.check(ctx, cookie, b.cookies.VerifySibling)
}

func (b *Browsers) check(
	ctx context.Context, raw string, verify func(string) (token.SessionCookie, error),
) (token.Access, error) {
	known := b.memory.Get(raw, 0)
	switch {
	case known == nil || !b.clock().Before(known.Expires):
	case known.SessionID == uuid.Nil:
		return token.Access{}, errCookieOver
	default:
		err := b.revoked.Check(ctx, *known)
		if err == nil {
			b.uses.saw(known.SessionID)
			return *known, nil
		}
		if !errors.Is(err, ErrInvalidToken) {
			return token.Access{}, err
		}
		// The session has ended, or its user has other rights than before.
	}
	return b.read(ctx, raw, verify)
}

var errOtherCookie = fmt.Errorf("%w: the cookie is for something else", ErrInvalidToken)

var errCookieOver = fmt.Errorf("%w: the browser's session is over", ErrInvalidToken)

// Browser is the session of a browser, as it is now.
type Browser struct {
	// Access is what the session is good for. It is like that of an access token of a first-party
	// client, and the same rules take it.
	Access   token.Access
	User     User
	AuthTime time.Time // when the user proved who it is
	Methods  []string  // how (RFC 8176 §2)
	Now      time.Time // by the clock of the database
}

// Open reads the session of a cookie from the database, and so knows an earlier cookie of the same
// session for what it is. A replica that answers [Browsers.Check] from memory may take it for good
// for as long as an access token lives. Errors: [ErrInvalidToken].
func (b *Browsers) Open(ctx context.Context, raw string) (Browser, error) {
	cookie, err := b.cookies.Verify(raw)
	if err != nil {
		return Browser{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	state, err := b.strong(ctx, cookie)
	if err != nil {
		return Browser{}, err
	}
	b.used(ctx, cookie.SessionID, state)
	return Browser{
		Access: b.accessOf(cookie.SessionID, state), User: state.User, AuthTime: state.AuthTime,
		Methods: state.Methods, Now: state.Now,
	}, nil
}

// read asks the database, and remembers the answer. It does not do so for the time in which a use
// has to be stored at once. That a session is over is not remembered for ever either: the database
// may have had the wrong time.
func (b *Browsers) read(
	ctx context.Context, raw string, verify func(string) (token.SessionCookie, error),
) (token.Access, error) {
	cookie, err := verify(raw)
	if err != nil {
		return token.Access{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	var state SessionState
	err = asked(ctx, "browsers' sessions", func(ctx context.Context) error {
		if state, err = b.strong(ctx, cookie); err == nil {
			b.used(ctx, cookie.SessionID, state)
		}
		return err
	})
	if errors.Is(err, errCookieOver) {
		b.memory.Put(raw, &token.Access{Expires: b.clock().Add(b.lifetime)}, 0)
	}
	if err != nil {
		return token.Access{}, err
	}
	access := b.accessOf(cookie.SessionID, state)
	kept := access
	if late := b.clock().Add(state.idleLeft() - usesLate); state.mayIdleOut() && late.Before(kept.Expires) {
		kept.Expires = late
	}
	b.memory.Put(raw, &kept, 0)
	return access, nil
}

// accessOf is what the session is good for, until it has to be read again.
func (b *Browsers) accessOf(id uuid.UUID, state SessionState) token.Access {
	left := min(state.idleLeft(), state.ExpiresAt.Sub(state.Now), b.lifetime)
	return token.Access{
		Subject: token.Subject{
			UserID: state.User.ID, SessionID: id, Username: state.User.Username.Given,
			Version: state.User.TokenVersion, Roles: Client{}.roles(state.User.Roles, ""),
			Scope: scopeOf(state.User.Permissions), ClientID: token.FirstParty,
			ACR: acrOf(state.Methods), AuthTime: state.AuthTime,
		},
		IssuedAt: state.Now, Expires: b.clock().Add(left),
	}
}

// live reads the session of a cookie. Errors: errCookieOver, which is an [ErrInvalidToken].
func (b *Browsers) live(ctx context.Context, cookie token.SessionCookie) (SessionState, error) {
	state, err := b.store.SessionByID(ctx, cookie.SessionID)
	if errors.Is(err, ErrSessionNotFound) {
		return SessionState{}, errCookieOver
	}
	if err == nil && !state.isOpenTo(cookie) {
		err = errCookieOver
	}
	return state, err
}

// strong is live for a session that is as strong as its user must be. Any other gives nothing: its
// user has to log in once more. Errors: errCookieOver.
func (b *Browsers) strong(ctx context.Context, cookie token.SessionCookie) (SessionState, error) {
	state, err := b.live(ctx, cookie)
	if err == nil && !b.factors.admits(state) {
		err = errCookieOver
	}
	return state, err
}

// isOpenTo reports whether a cookie is good for its session now.
func (s SessionState) isOpenTo(cookie token.SessionCookie) bool {
	return s.Browser && s.Counter == cookie.N && s.EndedAt == nil && !s.User.Disabled() &&
		s.Now.Before(s.IdleExpiresAt) && s.Now.Before(s.ExpiresAt)
}

// idleLeft is how long the session lives without a further use.
func (s SessionState) idleLeft() time.Duration { return s.IdleExpiresAt.Sub(s.Now) }

// mayIdleOut reports whether a use would make the session live longer.
func (s SessionState) mayIdleOut() bool { return s.IdleExpiresAt.Before(s.ExpiresAt) }

// start starts a session for a proved user, or goes on with the one that the browser has, if it is
// the user's. The browser gets a new cookie in both cases: whoever knew the old one does not get in
// with the login (session fixation). A session of another user in the same browser ends. Errors:
// [ErrUserNotFound] if the user has changed since.
func (b *Browsers) start(
	ctx context.Context, e Event, proof Proof, caller Caller, login BrowserLogin,
) (BrowserGrant, error) {
	session := NewSession{
		ID: uuid.New(), User: proof.User, Salt: newSalt(), Caller: caller.bounded(),
		Limits: b.limits.of(login.Remember), Browser: true, Methods: proof.Methods,
		Trusted: proof.trusted,
	}
	before, had := b.before(ctx, login.Cookie)
	own := had && before.User.ID == proof.User.ID
	if own {
		cookie, err := b.renew(ctx, e, session, before)
		switch {
		case err == nil:
			return b.grant(proof.User, cookie, session.Limits, login.Remember), nil
		case !errors.Is(err, errLost):
			return BrowserGrant{}, err
		}
	}
	e = e.by(proof.User.ID)
	e.Target = session.ID.String()
	if _, err := b.store.StartSession(ctx, e, session); err != nil {
		return BrowserGrant{}, err
	}
	if had && !own {
		if err := b.end(ctx, before); err != nil {
			return BrowserGrant{}, err
		}
	}
	cookie := token.SessionCookie{SessionID: session.ID}
	return b.grant(proof.User, cookie, session.Limits, login.Remember), nil
}

// openSession is the session that a browser has.
type openSession struct {
	SessionState
	cookie token.SessionCookie
}

// before finds the session that the browser has, if it lives.
func (b *Browsers) before(ctx context.Context, raw string) (openSession, bool) {
	cookie, err := b.cookies.Verify(raw)
	if err != nil {
		return openSession{}, false
	}
	state, err := b.live(ctx, cookie)
	return openSession{state, cookie}, err == nil
}

// errLost means that a session is not as it was read.
var errLost = errors.New("the browser's session has changed")

func (b *Browsers) renew(
	ctx context.Context, e Event, session NewSession, before openSession,
) (token.SessionCookie, error) {
	session.ID = before.cookie.SessionID
	e = e.by(session.User.ID)
	e.Target = session.ID.String()
	renewed, err := b.store.RenewBrowserSession(ctx, e, session, before.cookie.N)
	if err == nil && !renewed {
		err = errLost
	}
	return token.SessionCookie{SessionID: session.ID, N: before.cookie.N + 1}, err
}

// end ends the session that a browser had before somebody else logged in there.
func (b *Browsers) end(ctx context.Context, before openSession) error {
	id := before.cookie.SessionID
	e := newEvent(ctx, Actor{}, ActionLogout, uuid.Nil, id.String()).by(before.User.ID)
	_, err := b.store.EndSession(ctx, e, before.User.ID, id, endedByLogout)
	return err
}

func (b *Browsers) grant(
	user User, cookie token.SessionCookie, limits SessionLimits, remember bool,
) BrowserGrant {
	grant := BrowserGrant{
		User: user, Cookie: b.cookies.Make(cookie), Sibling: b.cookies.MakeSibling(cookie),
	}
	if remember {
		grant.MaxAge = limits.Absolute
	}
	return grant
}

// regrant makes new cookies for a session whose counter has moved on.
func (b *Browsers) regrant(id uuid.UUID, state SessionState) BrowserGrant {
	cookie := token.SessionCookie{SessionID: id, N: state.Counter}
	grant := b.grant(state.User, cookie, SessionLimits{}, false)
	if state.Idle > b.limits.Idle {
		grant.MaxAge = state.ExpiresAt.Sub(state.Now)
	}
	return grant
}

// usesLate is how late after a use [Browsers.WriteUses] may store it: a minute, and as much again
// for a database that is slow.
const usesLate = 2 * time.Minute

// used notes a use of a session. If the session could idle out before that is stored with the
// others, it is stored at once: another replica would find that the session is over.
func (b *Browsers) used(ctx context.Context, id uuid.UUID, state SessionState) {
	b.uses.saw(id)
	if state.mayIdleOut() && state.idleLeft() < usesLate {
		_ = b.store.NoteSessionUse(ctx, id) // if it fails, it is done with the others
	}
}

// WriteUses stores that the sessions which this replica has seen since the last call are in use. It
// has to be called once a minute: a session whose use is not stored in time is idle, and over.
func (b *Browsers) WriteUses(ctx context.Context) error {
	seen := b.uses.take()
	if len(seen) == 0 {
		return nil
	}
	left, err := b.store.NoteSessionUses(ctx, seen)
	if err != nil {
		left = seen
	}
	for _, id := range left {
		b.uses.saw(id)
	}
	return err
}

const useShards = 64

// uses are the sessions that were used. Many requests note theirs at once.
type uses struct{ shards [useShards]useShard }

type useShard struct {
	mu   sync.RWMutex
	seen map[uuid.UUID]struct{}
}

// saw costs a read lock if the session was seen before.
func (u *uses) saw(id uuid.UUID) {
	shard := &u.shards[id[0]%useShards]
	shard.mu.RLock()
	_, known := shard.seen[id]
	shard.mu.RUnlock()
	if known {
		return
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.seen == nil {
		shard.seen = map[uuid.UUID]struct{}{}
	}
	shard.seen[id] = struct{}{}
}

func (u *uses) take() (ids []uuid.UUID) {
	for n := range u.shards {
		shard := &u.shards[n]
		shard.mu.Lock()
		for id := range shard.seen {
			ids = append(ids, id)
		}
		shard.seen = nil
		shard.mu.Unlock()
	}
	return ids
}
