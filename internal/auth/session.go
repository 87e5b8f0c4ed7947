package auth

import (
	"context"
	"crypto/rand"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// SessionLimits bound how long sessions live, and how many there are.
type SessionLimits struct {
	Idle     time.Duration // a session ends if it is not refreshed for this long
	Absolute time.Duration // a session ends this long after the login at the latest
	// Grace is how long the refresh token before the current one is answered as if it were current;
	// 0: not at all.
	Grace time.Duration
	// PerUser is how many live sessions a user has at most. A further login ends the one that was
	// used longest ago.
	PerUser int
	// RepeatElsewhere allows one such repeat from another network than that of the last refresh.
	RepeatElsewhere bool
}

// Caller is where a request came from. The user sees it in the list of sessions. It also holds the
// devices that the request showed, and the OAuth client that sent it.
type Caller struct {
	Address   string
	UserAgent string
	Device    string            // the token of a known device; "" if it is one of Devices
	Devices   map[string]string // the tokens of known devices, by their names ([Grant])
	Client    Client
}

// maxUserAgent is in characters.
const maxUserAgent = 256

func (c Caller) bounded() Caller {
	c.UserAgent = cut(c.UserAgent, maxUserAgent)
	return c
}

// cut makes text valid UTF-8, which a database needs, and cuts it to so many characters.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most])
	}
	return text
}

// Session is a login as its user sees it.
type Session struct {
	ID            uuid.UUID
	CreatedAt     time.Time
	LastUsedAt    time.Time
	IdleExpiresAt time.Time
	ExpiresAt     time.Time
	Caller        Caller    // of its client, ID and Title alone
	Browser       bool      // it has a cookie in place of tokens
	Parent        uuid.UUID // the browser's session through which it was started; Nil: none
}

// LoginShown is a session of a browser, or one that was started without any, as its user sees it on
// a page. Sessions of apps that a browser has started, and that is still logged in, are told with
// its own.
type LoginShown struct {
	Session
	Apps []string // the titles of the apps that it is logged in to, each once
}

// SessionState is what decisions about a session need: its state now, by the clock of the database,
// and its user and client.
type SessionState struct {
	Salt      []byte
	Counter   int64 // the number of the current refresh token
	RotatedAt time.Time
	// RotatedNetwork is the network whose refresh made the current token. It is zero if it is not
	// known.
	RotatedNetwork netip.Prefix
	// RepeatedElsewhereAt is the Counter at which a repeat from another network was last answered.
	RepeatedElsewhereAt int64
	IdleExpiresAt       time.Time
	ExpiresAt           time.Time
	EndedAt             *time.Time
	Now                 time.Time
	Scope               string // what the login asked for; "": all permissions
	User                User

	Browser  bool          // it has a cookie in place of tokens
	Idle     time.Duration // of a browser's session: how long it lives after its last use
	AuthTime time.Time     // when the user proved who it is (OpenID Connect Core §2)
	Methods  []string      // how (RFC 8176 §2)
	OpenID   string        // the scope values of OpenID Connect that the login asked for
	Claims   string        // the claims that it asked for, as [ClaimRequest] writes them
	Offline  bool          // it goes on after the browser's session has ended
	// Resources are those that the login asked for, with spaces between (RFC 8707); "": none.
	Resources string

	// Trusted is true if the login left out the second factor, since the device is trusted.
	Trusted bool

	// Client is the one that its tokens are issued to: what decides about them alone.
	Client Client
}

// NewSession is a session to be stored.
type NewSession struct {
	ID     uuid.UUID
	User   User // as it was when the password was read
	Salt   []byte
	Caller Caller
	Scope  string // what the login asked for; "": all permissions
	Limits SessionLimits
	// Browser is true if it gets a cookie in place of tokens.
	Browser bool
	Methods []string // how the user has proved who it is (RFC 8176 §2)
	Trusted bool     // the second factor was left out, since the device is trusted
}

// PasswordChange is what [LoginStore].ChangePassword does.
type PasswordChange struct {
	SessionID uuid.UUID
	Before    SessionState // the session, as it was when the password was read
	// Salt is the new one of the session. It makes all earlier refresh tokens unknown.
	Salt []byte
	Hash string        // the hash of the new password
	Idle time.Duration // of SessionLimits
}

// Why a session ended, as it is stored.
const (
	endedByLogout   = "logout"
	endedByReuse    = "reuse"
	endedByOperator = "operator"
)

func newSalt() []byte {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return salt
}

// SessionStore stores the sessions. Changes that take a Rule are made one after the other (see
// [Rule]).
type SessionStore interface {
	userFinder

	// SessionByID reads what is committed now, never a cache. Errors: [ErrSessionNotFound].
	SessionByID(ctx context.Context, id uuid.UUID) (SessionState, error)
	// ListSessions returns at most limit live sessions within a reach, the newest first. It begins
	// with the first that is older than the given one (uuid.Max: with the newest).
	ListSessions(ctx context.Context, reach Reach, before uuid.UUID, limit int) ([]Session, error)
	// ListLogins is ListSessions without the sessions of apps whose browser is still logged in.
	ListLogins(ctx context.Context, reach Reach, before uuid.UUID, limit int) ([]LoginShown, error)
	// EndSession ends a session of a user and revokes its tokens. It reports whether there was one
	// to end.
	EndSession(ctx context.Context, e Event, userID, id uuid.UUID, reason string) (bool, error)
	// EndSessions ends all sessions within a reach but one, as EndSession does, and returns how
	// many. It records no event if there is none.
	EndSessions(
		ctx context.Context, e Event, rule Rule, reach Reach, keep uuid.UUID, reason string,
	) (int64, error)
	// RevokeAll revokes every access token that was issued until now, raises the token version of
	// each client, and ends each session. It returns how many sessions there were. Errors:
	// [ErrClocksApart] if the clocks of the caller and of the database differ by more than
	// [token.Leeway]. Then nobody could say which tokens were issued until now.
	RevokeAll(ctx context.Context, e Event, now time.Time) (ended int64, err error)
}

// Sessions lists and ends live sessions. Users see and end their own, within a [Reach]. Whoever
// manages users ends all sessions of a user.
type Sessions struct {
	store SessionStore
	audit *Audit
}

// NewSessions makes Sessions.
func NewSessions(store SessionStore, audit *Audit) *Sessions { return &Sessions{store, audit} }

// List returns at most limit live sessions within a reach, the newest first. It begins with the
// first that is older than the given one (uuid.Max: with the newest). Errors: [ErrSessionNotFound]
// if the given session is not within the reach. An empty page would look like the end of the list.
func (s *Sessions) List(
	ctx context.Context, reach Reach, before uuid.UUID, limit int,
) ([]Session, error) {
	found, err := s.store.ListSessions(ctx, reach, before, limit)
	if err == nil && len(found) == 0 {
		err = s.isWithin(ctx, reach, before)
	}
	return found, err
}

// Logins is List for a page, on which a browser has the apps that it is logged in to. Errors: as
// those of List.
func (s *Sessions) Logins(
	ctx context.Context, reach Reach, before uuid.UUID, limit int,
) ([]LoginShown, error) {
	found, err := s.store.ListLogins(ctx, reach, before, limit)
	if err == nil && len(found) == 0 {
		err = s.isWithin(ctx, reach, before)
	}
	return found, err
}

// isWithin returns nil for a session within a reach, and for uuid.Max.
func (s *Sessions) isWithin(ctx context.Context, reach Reach, id uuid.UUID) error {
	if id == uuid.Max {
		return nil
	}
	last, err := s.store.SessionByID(ctx, id)
	if err == nil && !reach.covers(last) {
		err = ErrSessionNotFound
	}
	return err
}

// End ends a session within a reach, and revokes its tokens. Errors: [ErrSessionNotFound], also for
// a session that is not within the reach.
func (s *Sessions) End(ctx context.Context, reach Reach, sessionID uuid.UUID) (err error) {
	e := newEvent(ctx, Actor{}, ActionEndSession, uuid.Nil, sessionID.String()).by(reach.UserID)
	defer s.audit.told(ctx, &e, &err)
	state, err := s.store.SessionByID(ctx, sessionID) // the user of a session never changes
	if err != nil {
		return err
	}
	if !reach.covers(state) {
		return ErrSessionNotFound
	}
	ended, err := s.store.EndSession(ctx, e, reach.UserID, sessionID, endedByLogout)
	if err == nil && !ended {
		return ErrSessionNotFound
	}
	return err
}

// EndAll ends all sessions within a reach but one (uuid.Nil: all of them).
func (s *Sessions) EndAll(ctx context.Context, reach Reach, keep uuid.UUID) error {
	e := newEvent(ctx, Actor{}, ActionEndSessions, uuid.Nil, reach.ClientID).by(reach.UserID)
	_, err := s.endAll(ctx, e, Freely(), reach, keep, endedByLogout)
	return err
}

// EndAllOf ends all sessions of a user, and returns how many there were. Errors: [ErrUserNotFound],
// [ErrBeyondRights].
func (s *Sessions) EndAllOf(ctx context.Context, by Actor, who UserRef) (ended int64, err error) {
	e := who.about(newEvent(ctx, by, ActionEndSessions, uuid.Nil, ""))
	defer s.audit.told(ctx, &e, &err)
	user, err := who.find(ctx, s.store)
	if err != nil {
		return 0, err
	}
	return s.endAll(
		ctx, e.of(user.ID), mayManage(by), Reach{UserID: user.ID, AllClients: true}, uuid.Nil,
		endedByOperator,
	)
}

// endAll records an event even if there is no session to end. Those events are bounded as refusals
// are.
func (s *Sessions) endAll(
	ctx context.Context, e Event, rule Rule, reach Reach, keep uuid.UUID, reason string,
) (ended int64, err error) {
	ended, err = s.store.EndSessions(ctx, e, rule, reach, keep, reason)
	if err == nil && ended == 0 {
		err = s.audit.tell(ctx, e)
	}
	return ended, err
}

// Logout ends the session of an access token, if it has not ended already. Any token of the session
// suffices, whatever its scope is: whoever finds a leaked token should be able to end its session.
// Errors: [ErrInvalidToken] for a client's own token, which has no session.
func (s *Sessions) Logout(ctx context.Context, access token.Access) error {
	if access.IsClient() {
		return errNoUser
	}
	e := newEvent(ctx, Actor{}, ActionLogout, uuid.Nil, access.SessionID.String()).by(access.UserID)
	_, err := s.store.EndSession(ctx, e, access.UserID, access.SessionID, endedByLogout)
	return err
}

// Restored repairs what a restore from a backup undoes. The database has lost the sessions and
// users of some hours. It does not know which of the older ones were ended, banned or stolen
// meanwhile. So Restored revokes every token that was issued until now, and ends every session.
// Their refresh tokens are refused, and no number of a token from before comes again. It returns
// how many sessions there were. Errors: [ErrClocksApart].
func (s *Sessions) Restored(ctx context.Context, by Actor, now time.Time) (ended int64, err error) {
	e := newEvent(ctx, by, ActionRestored, uuid.Nil, "")
	defer s.audit.told(ctx, &e, &err)
	if err := by.operates(); err != nil {
		return 0, err
	}
	return s.store.RevokeAll(ctx, e, now)
}
