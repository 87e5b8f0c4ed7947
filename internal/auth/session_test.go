package auth_test

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
)

// clocked is a fixture that can make time pass for its database.
type clocked struct {
	*fixture
	conn *pgx.Conn
	url  string
}

func startClocked(t *testing.T) *clocked {
	t.Helper()
	url := dbtest.New(t)
	return &clocked{on(t, open(t, url), cost), connectTo(t, url), url}
}

// age makes every session older.
func (c *clocked) age(by time.Duration) {
	c.Helper()
	_, err := c.conn.Exec(c.Context(), `
		UPDATE sessions
		SET rotated_at = rotated_at - $1::interval, created_at = created_at - $1::interval, last_used_at = last_used_at - $1::interval,
		    idle_expires_at = idle_expires_at - $1::interval, expires_at = expires_at - $1::interval`, by)
	must(c, err)
}

func (c *clocked) endReason(id uuid.UUID) string {
	c.Helper()
	var reason *string
	must(c, c.conn.QueryRow(
		c.Context(), "SELECT end_reason FROM sessions WHERE id = $1", id,
	).Scan(&reason))
	if reason == nil {
		return ""
	}
	return *reason
}

// allOf is the reach of all sessions of a user.
func allOf(userID uuid.UUID) auth.Reach { return auth.Reach{UserID: userID, AllClients: true} }

func (f *fixture) login(username string) auth.Grant {
	f.Helper()
	grant, err := f.Logins.Login(f.Context(), username, goodPassword, client)
	must(f, err)
	return grant
}

func (f *fixture) access(g auth.Grant) token.Access {
	f.Helper()
	access, err := f.Access.Authenticate(g.AccessToken)
	must(f, err)
	return access
}

func (f *fixture) mustRefresh(raw string) auth.Grant {
	f.Helper()
	grant, err := f.Tokens.Refresh(f.Context(), raw, client)
	must(f, err)
	return grant
}

func (f *fixture) wantRefused(when, raw string, want error) {
	f.Helper()
	if _, err := f.Tokens.Refresh(f.Context(), raw, client); !errors.Is(err, want) {
		f.Errorf("%s: %v, want %v", when, err, want)
	}
}

func (f *fixture) wantMe(when string, g auth.Grant, want error) {
	f.Helper()
	if _, _, err := f.Access.Me(f.Context(), f.access(g)); !errors.Is(err, want) {
		f.Errorf("%s: %v, want %v", when, err, want)
	}
}

func TestASessionIsRefreshedAgainAndAgain(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant := f.login("alice")
	for range 5 {
		next := f.mustRefresh(grant.RefreshToken)
		if next.RefreshToken == grant.RefreshToken ||
			f.access(next).SessionID != f.access(grant).SessionID {
			t.Errorf("%+v after %+v", next, grant)
		}
		f.wantMe("refreshed", next, nil)
		grant = next
	}
}

// A lost answer must not log anybody out, whichever replica the retry lands on.
func TestTheTokenBeforeGivesTheSameSuccessorWithinTheGrace(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	first := f.login("alice").RefreshToken
	second := f.mustRefresh(first).RefreshToken
	other := on(t, f.store, cost)
	for range 3 {
		if again := other.mustRefresh(first).RefreshToken; again != second {
			t.Errorf("another successor: %s, then %s", second, again)
		}
	}
	f.mustRefresh(second)
}

// atOnce uses a refresh token a hundred times at once, on three replicas.
func (c *clocked) atOnce(raw string) (successors map[string]int, refusals []error) {
	c.Helper()
	replicas := []*fixture{
		c.fixture, on(c.T, open(c.T, c.url), cost), on(c.T, open(c.T, c.url), cost),
	}
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	successors = map[string]int{}
	for n := range 100 {
		wg.Go(func() {
			grant, err := replicas[n%len(replicas)].Tokens.Refresh(c.Context(), raw, client)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refusals = append(refusals, err)
			} else {
				successors[grant.RefreshToken]++
			}
		})
	}
	wg.Wait()
	return successors, refusals
}

func TestOfManyUsesOfOneRefreshTokenAtOnceAllGetOneSuccessor(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	grant := c.login("alice")
	successors, refusals := c.atOnce(grant.RefreshToken)
	if len(successors) != 1 || refusals != nil {
		t.Errorf("%d successors, refused: %v", len(successors), refusals)
	}
	if got := c.record(c.access(grant).SessionID); got.counter != 1 || got.reason != "" {
		t.Errorf("%+v", got)
	}
}

// A session that ended many times would be as many revocations in every replica, and as many thefts
// in the metrics.
func TestOfManyUsesOfAStolenTokenAtOnceOneEndsTheSession(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	grant := c.login("alice")
	next := c.mustRefresh(grant.RefreshToken)
	c.age(c.limits.Grace + time.Second)
	successors, refusals := c.atOnce(grant.RefreshToken)
	reused := 0
	for _, err := range refusals {
		if errors.Is(err, auth.ErrTokenReused) {
			reused++
		} else if !errors.Is(err, auth.ErrInvalidGrant) {
			t.Error(err)
		}
	}
	if len(successors) != 0 || reused != 1 {
		t.Errorf("%d successors; it was reused %d times", len(successors), reused)
	}
	if got := c.record(c.access(grant).SessionID); got.reason != "reuse" || got.revoked != 1 {
		t.Errorf("%+v", got)
	}
	c.wantRefused("the newest", next.RefreshToken, auth.ErrInvalidGrant)
}

// Replicas' clocks are never the same. A replica that decided by its own clock would take a retry
// for a theft.
func TestAReplicaWhoseClockIsOffDecidesAsTheOthersDo(t *testing.T) {
	t.Parallel()
	for name, replicas := range map[string][2]time.Duration{
		"fast": {5 * time.Minute, 5 * time.Minute}, "slow": {-5 * time.Minute, -5 * time.Minute},
		"fast, then slow": {5 * time.Minute, -5 * time.Minute},
		"slow, then fast": {-5 * time.Minute, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startClocked(t)
			one, two := c.offBy(replicas[0]), c.offBy(replicas[1])
			c.register("alice")
			grant := one.login("alice")
			// on a replica whose clock is right
			session := c.access(c.mustRefresh(grant.RefreshToken)).SessionID
			next := one.mustRefresh(grant.RefreshToken)
			if again := two.mustRefresh(grant.RefreshToken); again.RefreshToken != next.RefreshToken {
				t.Error("within the grace: another successor")
			}
			c.age(c.limits.Grace / 2)
			two.mustRefresh(grant.RefreshToken)
			c.age(c.limits.Grace/2 + time.Second)
			two.wantRefused("after the grace", grant.RefreshToken, auth.ErrTokenReused)
			if got := c.record(session); got.reason != "reuse" || got.revoked != 1 ||
				got.counter != 1 {
				t.Errorf("%+v", got)
			}

			kept := one.login("alice").RefreshToken
			c.age(c.limits.Idle - time.Hour)
			kept = two.mustRefresh(kept).RefreshToken
			c.age(c.limits.Idle - time.Hour)
			kept = one.mustRefresh(kept).RefreshToken
			c.age(2*time.Hour + time.Second)
			two.wantRefused("past its absolute end", kept, auth.ErrInvalidGrant)
			idle := two.login("alice").RefreshToken
			c.age(c.limits.Idle + time.Second)
			one.wantRefused("idle", idle, auth.ErrInvalidGrant)
		})
	}
}

// offBy is another replica, whose clock is wrong.
func (c *clocked) offBy(by time.Duration) *fixture {
	c.Helper()
	f := on(c.T, c.store, cost)
	f.anew(f.store, authtest.Options{Clock: func() time.Time { return time.Now().Add(by) }})
	return f
}

// Old sessions may be deleted at any moment.
func TestASessionThatVanishesIsOneThatIsOver(t *testing.T) {
	t.Parallel()
	c := startCuttable(t)
	c.register("alice")
	grant := c.login("alice")
	access := c.access(grant)
	c.exec(c.gate, "BEGIN; DELETE FROM sessions")
	outcome := c.refreshing(c.fixture, grant.RefreshToken) // has read the session, and waits for the row
	asynctest.Await(t, "the refresh to wait", func() (waits bool) {
		must(t, c.conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits))
		return waits
	})
	c.exec(c.gate, "COMMIT")
	if err := <-outcome; !errors.Is(err, auth.ErrInvalidGrant) ||
		errors.Is(err, auth.ErrTokenReused) {
		t.Errorf("under a refresh: %v", err)
	}
	c.wantRefused("afterwards", grant.RefreshToken, auth.ErrInvalidGrant)
	c.wantMe("afterwards", grant, auth.ErrInvalidToken)
	must(t, c.Sessions.Logout(t.Context(), access))
	must(t, c.Tokens.LogoutByRefresh(t.Context(), auth.Client{}, grant.RefreshToken))
	if err := c.Sessions.End(
		t.Context(), allOf(access.UserID), access.SessionID,
	); !errors.Is(err, auth.ErrSessionNotFound) {
		t.Errorf("ended: %v", err)
	}
	if _, err := c.Logins.ChangePassword(
		t.Context(), access, goodPassword, "another good password",
	); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("changed password: %v", err)
	}
}

func TestATokenUsedAfterTheGraceEndsTheSession(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	grant := c.login("alice")
	next := c.mustRefresh(grant.RefreshToken)
	c.age(c.limits.Grace + time.Second)
	c.wantRefused("stolen", grant.RefreshToken, auth.ErrTokenReused)
	c.wantRefused("its successor", next.RefreshToken, auth.ErrInvalidGrant)
	c.wantMe("its access token", next, auth.ErrInvalidToken)
	if got := c.endReason(c.access(next).SessionID); got != "reuse" {
		t.Errorf("ended by %q", got)
	}
}

// If the clock of the database went back an hour, a thief would have an hour of grace.
func TestAClockThatIsSetBackDoesNotLengthenTheGrace(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	grant := c.login("alice")
	next := c.mustRefresh(grant.RefreshToken)
	c.age(-time.Second) // as much as two requests at once may differ
	c.mustRefresh(grant.RefreshToken)
	c.age(-c.limits.Grace)
	c.wantRefused("stolen", grant.RefreshToken, auth.ErrTokenReused)
	c.wantRefused("its successor", next.RefreshToken, auth.ErrInvalidGrant)
}

func TestATokenTwoBackEndsTheSessionEvenWithinTheGrace(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	first := f.login("alice").RefreshToken
	second := f.mustRefresh(first).RefreshToken
	third := f.mustRefresh(second).RefreshToken
	f.wantRefused("two back", first, auth.ErrTokenReused)
	f.wantRefused("the current one", third, auth.ErrInvalidGrant)
}

func TestASessionEndsWhenItIsIdleAndAtTheLatestAtItsEnd(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	idle := c.login("alice").RefreshToken
	c.age(c.limits.Idle + time.Second)
	c.wantRefused("idle", idle, auth.ErrInvalidGrant)

	kept := c.login("alice").RefreshToken
	for range 2 { // each within the idle time
		c.age(c.limits.Idle - time.Hour)
		kept = c.mustRefresh(kept).RefreshToken
	}
	c.age(2*time.Hour + time.Second)
	c.wantRefused("past its absolute end", kept, auth.ErrInvalidGrant)
}

// The access token of a session that is nearly over must end with it.
func TestAnAccessTokenDoesNotOutliveItsSession(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	raw, left := c.login("alice").RefreshToken, c.limits.Absolute
	for left > c.limits.Idle {
		c.age(c.limits.Idle - time.Hour)
		left -= c.limits.Idle - time.Hour
		raw = c.mustRefresh(raw).RefreshToken
	}
	c.age(left - 30*time.Minute)
	if grant := c.mustRefresh(raw); grant.ExpiresIn > 30*time.Minute {
		t.Errorf("expires in %v", grant.ExpiresIn)
	}
}

func TestAForgedRefreshTokenHarmsNoSession(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant := f.login("alice")
	f.mustRefresh(grant.RefreshToken)
	session := f.access(grant).SessionID
	forger := token.NewRefreshKeys(keychainOf(t, "another secret, of thirty-two bytes or more"))
	state, err := f.store.SessionByID(t.Context(), session)
	must(t, err)
	for name, raw := range map[string]string{
		"other key":     forger.Make(session, 0, state.Salt),
		"other salt":    f.keys.Make(session, 0, make([]byte, 16)),
		"of the future": f.keys.Make(session, 9, state.Salt),
		"of no session": f.keys.Make(uuid.New(), 0, state.Salt),
		"access token":  grant.AccessToken,
		"cut":           grant.RefreshToken[:40],
		"nothing":       "",
		"only a prefix": "ghr_",
	} {
		f.wantRefused(name, raw, auth.ErrInvalidGrant)
	}
	f.wantMe("after all that", grant, nil)
}

func TestADisabledUserCannotRefreshNorAfterwards(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant := f.login("alice")
	_, err := f.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	f.wantRefused("disabled", grant.RefreshToken, auth.ErrInvalidGrant)
	_, err = f.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	f.wantRefused("enabled again", grant.RefreshToken, auth.ErrInvalidGrant)
}

func TestLogoutEndsTheSessionAndNoOther(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	byAccess, byRefresh, other := f.login("alice"), f.login("alice"), f.login("alice")
	for range 2 { // the second time, the session is over already
		must(t, f.Sessions.Logout(t.Context(), f.access(byAccess)))
		must(t, f.Tokens.LogoutByRefresh(t.Context(), auth.Client{}, byRefresh.RefreshToken))
	}
	must(t, f.Tokens.LogoutByRefresh(t.Context(), auth.Client{}, "garbage"))
	for _, grant := range []auth.Grant{byAccess, byRefresh} {
		f.wantMe("logged out", grant, auth.ErrInvalidToken)
		f.wantRefused("logged out", grant.RefreshToken, auth.ErrInvalidGrant)
	}
	f.wantMe("the other", other, nil)
}

func TestAUserSeesAndEndsOnlyHerOwnSessions(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice, bob := f.register("alice"), f.register("bob")
	first, second, third, bobs := f.login("alice"), f.login("alice"), f.login("alice"),
		f.login("bob")
	page, err := f.Sessions.List(t.Context(), allOf(alice.ID), uuid.Max, 2)
	must(t, err)
	rest, err := f.Sessions.List(t.Context(), allOf(alice.ID), page[1].ID, 2)
	must(t, err)
	if len(rest) != 1 || page[0].ID != f.access(third).SessionID ||
		rest[0].ID != f.access(first).SessionID || !reflect.DeepEqual(page[0].Caller, client) {
		t.Errorf("%+v, then %+v", page, rest)
	}
	if err := f.Sessions.End(
		t.Context(), allOf(bob.ID), f.access(first).SessionID,
	); !errors.Is(err, auth.ErrSessionNotFound) {
		t.Errorf("bob ends alice's session: %v", err)
	}
	must(t, f.Sessions.End(t.Context(), allOf(alice.ID), f.access(first).SessionID))
	if err := f.Sessions.End(
		t.Context(), allOf(alice.ID), f.access(first).SessionID,
	); !errors.Is(err, auth.ErrSessionNotFound) {
		t.Errorf("twice: %v", err)
	}
	must(t, f.Sessions.EndAll(t.Context(), allOf(alice.ID), f.access(third).SessionID))
	f.wantMe("ended", first, auth.ErrInvalidToken)
	f.wantMe("ended with the others", second, auth.ErrInvalidToken)
	f.wantMe("kept", third, nil)
	f.wantMe("bob's", bobs, nil)
	ended, err := f.Sessions.EndAllOf(t.Context(), authtest.Operator(), auth.ByName("Alice"))
	if err != nil || ended != 1 {
		t.Errorf("ended %d, %v", ended, err)
	}
	f.wantMe("by an operator", third, auth.ErrInvalidToken)
}

func TestOneSessionTooManyEndsTheOneThatWasUsedLongestAgo(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.limits.PerUser = 2
	f.anew(f.store, authtest.Options{})
	f.register("alice")
	first, second := f.login("alice"), f.login("alice")
	first = f.mustRefresh(first.RefreshToken) // used after the second session
	third := f.login("alice")
	f.wantMe("used of late", first, nil)
	f.wantMe("idle", second, auth.ErrInvalidToken)
	f.wantMe("new", third, nil)
}

func TestAChangedPasswordKeepsThisSessionAndEndsTheOthers(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	this, other := f.login("alice"), f.login("alice")
	for want, try := range map[string][2]string{
		"wrong_password": {"wrong", "another good password"},
		"invalid_input":  {goodPassword, "short"},
	} {
		if _, err := f.Logins.ChangePassword(
			t.Context(), f.access(this), try[0], try[1],
		); auth.Outcome(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	next, err := f.Logins.ChangePassword(
		t.Context(), f.access(this), goodPassword, "another good password",
	)
	must(t, err)
	f.wantMe("the new token", next, nil)
	f.wantMe("the token from before", this, auth.ErrInvalidToken)
	f.wantMe("the other session", other, auth.ErrInvalidToken)
	f.wantRefused("the other session", other.RefreshToken, auth.ErrInvalidGrant)
	f.mustRefresh(next.RefreshToken)
	f.wantLogin("alice", goodPassword, auth.ErrWrongPassword)
	f.wantLogin("alice", "another good password", nil)
}

// Owners change the password after a theft. Within the grace, the stolen token would give the thief
// the very successor that the owner has. The owner's second tab, which sends an old token too, must
// not end the session that was kept.
func TestAChangedPasswordMakesTheRefreshTokensOfTheKeptSessionUnknown(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	first := c.login("alice")
	current := c.mustRefresh(first.RefreshToken)
	session := c.access(first).SessionID
	next, err := c.Logins.ChangePassword(
		t.Context(), c.access(current), goodPassword, "another good password",
	)
	must(t, err)
	for name, stolen := range map[string]auth.Grant{
		"the current one": current, "the one before": first,
	} {
		for range 2 {
			_, err := c.Tokens.Refresh(t.Context(), stolen.RefreshToken, client)
			if got := auth.Outcome(err); got != "invalid_grant" {
				t.Errorf("%s: %s (%v)", name, got, err)
			}
		}
	}
	if got := c.endReason(session); got != "" {
		t.Errorf("the kept session was ended by %q", got)
	}
	c.wantMe("kept", c.mustRefresh(next.RefreshToken), nil)
}

// A token of a session that is over must not be enough to take over the account.
func TestAPasswordIsNotChangedFromASessionThatIsOver(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant := f.login("alice")
	access := f.access(grant)
	must(t, f.Sessions.Logout(t.Context(), access))
	if _, err := f.Logins.ChangePassword(
		t.Context(), access, goodPassword, "another good password",
	); !errors.Is(err, auth.ErrInvalidToken) {
		t.Error(err)
	}
	user, err := f.Accounts.Find(t.Context(), auth.ByName("alice"))
	must(t, err)
	if _, err := f.store.ChangePassword(t.Context(), anEvent(), auth.PasswordChange{
		SessionID: access.SessionID, Before: auth.SessionState{User: user}, Salt: make([]byte, 16),
		Hash: f.hashOf("alice"), Idle: time.Hour,
	}); !errors.Is(err, auth.ErrUserNotFound) {
		t.Errorf("ended in the meantime: %v", err)
	}
	f.wantLogin("alice", goodPassword, nil)
}

// Its tokens would have expired before they are issued.
func TestAPasswordIsNotChangedFromASessionThatHasExpired(t *testing.T) {
	t.Parallel()
	for name, age := range map[string]time.Duration{
		"idle": 24 * time.Hour, "absolute": 48 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startClocked(t)
			c.register("alice")
			access := c.access(c.login("alice"))
			c.age(age)
			if _, err := c.Logins.ChangePassword(
				t.Context(), access, goodPassword, "another good password",
			); !errors.Is(err, auth.ErrInvalidToken) {
				t.Error(err)
			}
			c.wantLogin("alice", goodPassword, nil)
		})
	}
}

func TestEveryWayToEndASessionLeavesARevocation(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*clocked, auth.Grant) error{
		"logout": func(c *clocked, g auth.Grant) error {
			return c.Sessions.Logout(t.Context(), c.access(g))
		},
		"all": func(c *clocked, g auth.Grant) error {
			return c.Sessions.EndAll(t.Context(), allOf(g.User.ID), uuid.Nil)
		},
		"disable": func(c *clocked, g auth.Grant) error {
			_, err := c.Accounts.Disable(
				t.Context(), authtest.Operator(), auth.ByName("alice"), nil,
			)
			return err
		},
		"operator": func(c *clocked, g auth.Grant) error {
			_, err := c.Sessions.EndAllOf(t.Context(), authtest.Operator(), auth.ByName("alice"))
			return err
		},
		"new password": func(c *clocked, g auth.Grant) error {
			_, _, err := c.Accounts.SetPassword(
				t.Context(), authtest.Operator(), auth.ByName("alice"),
				auth.NewPassword{Password: "another good password"},
			)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startClocked(t)
			c.register("alice")
			grant := c.login("alice")
			_, err := c.conn.Exec(t.Context(), "LISTEN gatehouse_revocations")
			must(t, err)
			must(t, end(c, grant))
			_, err = c.conn.WaitForNotification(t.Context())
			must(t, err)
			var rows int
			must(t,
				c.conn.QueryRow(t.Context(),
					"SELECT count(*) FROM revocations WHERE session_id = $1 OR user_id = $2 AND version > 1",
					c.access(grant).SessionID, grant.User.ID).Scan(&rows))
			if rows != 1 {
				t.Errorf("%d rows", rows)
			}
			c.wantMe("ended", grant, auth.ErrInvalidToken)
		})
	}
}
