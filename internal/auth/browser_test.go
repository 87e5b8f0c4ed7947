package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"github.com/google/uuid"
)

func (f *fixture) inBrowser(username string, login auth.BrowserLogin) auth.BrowserGrant {
	f.Helper()
	grant, err := f.Logins.LoginInBrowser(f.Context(), username, goodPassword, client, login)
	must(f, err)
	return grant
}

func (f *fixture) browser(cookie string) auth.Browser {
	f.Helper()
	b, err := f.Browsers.Open(f.Context(), cookie)
	must(f, err)
	return b
}

func (f *fixture) wantCookieRefused(when, cookie string) {
	f.Helper()
	if _, err := f.Browsers.Open(f.Context(), cookie); !errors.Is(err, auth.ErrInvalidToken) {
		f.Errorf("%s: a page takes it: %v", when, err)
	}
	if _, err := f.Browsers.Check(f.Context(), cookie); !errors.Is(err, auth.ErrInvalidToken) {
		f.Errorf("%s: a proxy takes it: %v", when, err)
	}
}

// An attacker who has put a cookie of their own, or an old one, into a browser must not get in
// with the login that follows.
func TestALoginGivesANewCookieAndTheOneBeforeIsNoGoodAnyMore(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	first := f.inBrowser("alice", auth.BrowserLogin{})
	again := f.inBrowser("alice", auth.BrowserLogin{Cookie: first.Cookie})
	f.wantCookieRefused("the cookie before", first.Cookie)
	before, now := f.browser(again.Cookie), f.browser(again.Cookie)
	if before.Access.SessionID != now.Access.SessionID {
		t.Error("the session is another one")
	}
	elsewhere := f.inBrowser("alice", auth.BrowserLogin{})
	if f.browser(elsewhere.Cookie).Access.SessionID == now.Access.SessionID {
		t.Error("a browser without a cookie got the session of another")
	}
	f.browser(again.Cookie) // still good
}

// The back button must not lead into the account of who used the browser before.
func TestALoginAsSomebodyElseEndsTheSessionOfWhoWasThere(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	f.register("bob")
	alice := f.inBrowser("alice", auth.BrowserLogin{})
	bob := f.inBrowser("bob", auth.BrowserLogin{Cookie: alice.Cookie})
	f.wantCookieRefused("alice's", alice.Cookie)
	if got := f.browser(bob.Cookie).User.Username.Given; got != "bob" {
		t.Errorf("%s is logged in", got)
	}
}

func TestACookieEndsWithItsSessionItsUserAndItsTime(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*clocked, auth.Browser) error{
		"logout": func(c *clocked, b auth.Browser) error {
			return c.Sessions.Logout(c.Context(), b.Access)
		},
		"ban": func(c *clocked, b auth.Browser) error {
			_, err := c.Accounts.Disable(
				c.Context(), auth.Operator("test"), auth.ByID(b.User.ID), nil)
			return err
		},
		"not used": func(c *clocked, _ auth.Browser) error { c.age(61 * time.Minute); return nil },
		"password elsewhere": func(c *clocked, b auth.Browser) error {
			other := c.login("alice")
			_, err := c.Logins.ChangePassword(c.Context(), c.access(other), goodPassword,
				"another correct horse")
			return err
		},
	} {
		c := startClocked(t)
		c.register("alice")
		grant := c.inBrowser("alice", auth.BrowserLogin{})
		b := c.browser(grant.Cookie)
		must(t, end(c, b))
		c.wantCookieRefused(name, grant.Cookie)
		c.wantCookieRefused(name+", again", grant.Cookie)
	}
}

// Who works all day behind a proxy would be thrown out in the middle of it.
func TestASessionThatIsUsedDoesNotIdleOut(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	used, idle := c.inBrowser("alice", auth.BrowserLogin{}), c.inBrowser("alice", auth.BrowserLogin{})
	must(t, c.Browsers.WriteUses(c.Context()))
	for range 3 {
		c.age(40 * time.Minute)
		_, err := c.Browsers.Check(c.Context(), used.Cookie)
		must(t, err)
		must(t, c.Browsers.WriteUses(c.Context()))
	}
	c.browser(used.Cookie)
	c.wantCookieRefused("idle", idle.Cookie)
	c.age(11 * time.Hour)
	if _, err := c.Browsers.Open(c.Context(), used.Cookie); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("used, but too old: %v", err)
	}
}

// replica is another one on the same database.
func (c *clocked) replica(o authtest.Options) *fixture {
	c.Helper()
	f := on(c.T, open(c.T, c.url), cost)
	f.anew(f.store, o)
	return f
}

// A replica that has not heard of the use yet would throw the user out, and remember that.
func TestAUseInTheLastMinuteBeforeASessionIdlesOutCountsOnEveryReplicaAtOnce(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(*fixture, string) error{
		"by a proxy": func(f *fixture, cookie string) error {
			_, err := f.Browsers.Check(f.Context(), cookie)
			return err
		},
		"by a page": func(f *fixture, cookie string) error {
			_, err := f.Browsers.Open(f.Context(), cookie)
			return err
		},
	} {
		c := startClocked(t)
		c.register("alice")
		cookie := c.inBrowser("alice", auth.BrowserLogin{}).Cookie
		c.age(time.Hour - 30*time.Second)
		must(t, use(c.replica(authtest.Options{}), cookie))
		c.age(time.Minute)
		if err := use(c.replica(authtest.Options{}), cookie); err != nil {
			t.Errorf("%s: another replica: %v", name, err)
		}
	}
}

// A replica that remembers a cookie for longer than its session may idle would not see which use is
// the last one in time.
func TestAUseThatAReplicaKnowsByHeartCountsInTheLastMinuteToo(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	now := time.Now()
	o := authtest.Options{
		Browsers: auth.BrowserLimits{
			Idle: 5 * time.Minute, Absolute: time.Hour, Remembered: auth.SessionLimits{PerUser: 100},
		},
		Clock: func() time.Time { return now },
	}
	f := c.replica(o)
	cookie := f.inBrowser("alice", auth.BrowserLogin{}).Cookie
	check := func() {
		t.Helper()
		_, err := f.Browsers.Check(t.Context(), cookie)
		must(t, err)
	}
	pass := func(by time.Duration) {
		t.Helper()
		now = now.Add(by)
		c.age(by)
	}
	check()
	pass(4 * time.Minute)
	check()
	pass(2 * time.Minute)
	if _, err := c.replica(o).Browsers.Check(t.Context(), cookie); err != nil {
		t.Errorf("another replica: %v", err)
	}
}

// What one replica remembers as over would live on at another. And its user, who no longer sees the
// session in the list, could not end it.
func TestASessionThatHasIdledOutNeverLivesAgain(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	user := c.register("alice")
	cookie := c.inBrowser("alice", auth.BrowserLogin{}).Cookie
	_, err := c.Browsers.Check(t.Context(), cookie)
	must(t, err)
	c.age(61 * time.Minute)
	other := c.replica(authtest.Options{})
	other.wantCookieRefused("another replica", cookie)
	must(t, c.Browsers.WriteUses(t.Context())) // late, as after an outage
	other.wantCookieRefused("after the use was stored", cookie)
	c.replica(authtest.Options{}).wantCookieRefused("a replica that knows nothing", cookie)
	left, err := c.Sessions.List(t.Context(), allOf(user.ID), uuid.Max, 10)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("%d sessions are listed", len(left))
	}
}

// The database's clock may go wrong for a moment. A replica that remembered for ever what it was
// told then would have to be restarted.
func TestACookieThatAWrongClockRefusedIsGoodAgainWithoutARestart(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	now := time.Now()
	f := c.replica(authtest.Options{Clock: func() time.Time { return now }})
	cookie := c.inBrowser("alice", auth.BrowserLogin{}).Cookie
	refused := func(when string) {
		t.Helper()
		if _, err := f.Browsers.Check(t.Context(), cookie); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: %v", when, err)
		}
	}
	c.age(61 * time.Minute)
	refused("not used")
	c.age(-61 * time.Minute)
	refused("remembered")
	now = now.Add(time.Hour)
	_, err := f.Browsers.Check(t.Context(), cookie)
	must(t, err)
}

// A use that gains nothing must not be a write for each request of a page.
func TestASessionThatEndsByItsAgeIsNotStoredWithEachUse(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	cookie := c.inBrowser("alice", auth.BrowserLogin{}).Cookie
	c.age(12*time.Hour - time.Minute)
	_, err := c.conn.Exec(t.Context(), "UPDATE sessions SET idle_expires_at = expires_at")
	must(t, err)
	version := func() (row string) {
		must(t, c.conn.QueryRow(t.Context(), "SELECT xmin::text FROM sessions").Scan(&row))
		return row
	}
	before := version()
	c.browser(cookie)
	_, err = c.Browsers.Check(t.Context(), cookie)
	must(t, err)
	if version() != before {
		t.Error("the row was written")
	}
}

func TestWhoStaysLoggedInIsRememberedForAsLongAsAProgram(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	short, long := c.inBrowser("alice", auth.BrowserLogin{}),
		c.inBrowser("alice", auth.BrowserLogin{Remember: true})
	if short.MaxAge != 0 || long.MaxAge <= 0 {
		t.Errorf("%v, %v", short.MaxAge, long.MaxAge)
	}
	c.age(13 * time.Hour)
	c.wantCookieRefused("not remembered", short.Cookie)
	changed, err := c.Logins.ChangePasswordInBrowser(
		c.Context(), c.browser(long.Cookie).Access, goodPassword, "another correct horse")
	must(t, err)
	c.wantCookieRefused("before the change", long.Cookie)
	c.browser(changed.Cookie)
	if changed.MaxAge <= 0 || changed.MaxAge > long.MaxAge-13*time.Hour {
		t.Errorf("after the change: %v", changed.MaxAge)
	}
}

// An app on a sibling host could use the account of whoever comes to it.
func TestASiblingCookieIsGoodForAProxyAlone(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant := f.inBrowser("alice", auth.BrowserLogin{})
	f.wantCookieRefused("the sibling", grant.Sibling)
	access, err := f.Browsers.CheckSibling(f.Context(), grant.Sibling)
	must(t, err)
	if access.Username != "alice" {
		t.Errorf("%+v", access)
	}
	if _, err := f.Browsers.CheckSibling(f.Context(), grant.Cookie); err == nil {
		t.Error("the cookie itself is taken for its sibling")
	}
}

// Two tabs that log in at once must not leave the browser with a cookie that is no good.
func TestOfTwoLoginsInOneBrowserEachGetsACookieThatIsGood(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	before := f.inBrowser("alice", auth.BrowserLogin{})
	var grants [2]auth.BrowserGrant
	var wg sync.WaitGroup
	for n := range grants {
		wg.Go(func() { grants[n] = f.inBrowser("alice", auth.BrowserLogin{Cookie: before.Cookie}) })
	}
	wg.Wait()
	for _, grant := range grants {
		f.browser(grant.Cookie)
	}
}

// Who logs out of the browser, or ends its session from elsewhere, means the apps too.
func TestAppsEndWithTheBrowserThatLoggedThemIn(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	_, _, err := c.Clients.Add(c.Context(), authtest.Operator(), auth.Client{
		ID: "shop", Title: "Shop", GrantTypes: []string{auth.GrantPassword},
	})
	must(t, err)
	b := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
	app := func(offline bool) uuid.UUID {
		id := uuid.New()
		_, err := c.conn.Exec(c.Context(), `
			INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent,
			                      client_id, parent_id, offline)
			SELECT $1, user_id, salt, expires_at, expires_at, '', '', 'shop', id, $2 FROM sessions WHERE id = $3`,
			id, offline, b.Access.SessionID)
		must(t, err)
		return id
	}
	ends, goesOn := app(false), app(true)
	must(t, c.Sessions.Logout(c.Context(), b.Access))
	if got := c.endReason(ends); got != "logout" {
		t.Errorf("the app's session ended by %q", got)
	}
	if got := c.endReason(goesOn); got != "" {
		t.Errorf("the offline session ended by %q", got)
	}
	var told int
	must(t, c.conn.QueryRow(
		c.Context(), "SELECT count(*) FROM revocations WHERE session_id = $1", ends,
	).Scan(&told))
	if told != 1 {
		t.Errorf("%d revocations of the app's tokens", told)
	}
}

// A replica remembers by its value what a cookie is good for. A sibling cookie that it has seen
// must not pass for the session's own from then on.
func TestASiblingCookieIsNeverTakenForTheOwnOneNorTheOtherWayRound(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant := f.inBrowser("alice", auth.BrowserLogin{})
	for range 2 {
		own, err := f.Browsers.Check(t.Context(), grant.Cookie)
		must(t, err)
		sibling, err := f.Browsers.CheckSibling(t.Context(), grant.Sibling)
		must(t, err)
		if own.SessionID != sibling.SessionID || own.Username != "alice" {
			t.Errorf("%v and %v", own, sibling)
		}
		f.wantCookieRefused("the sibling's", grant.Sibling)
		if _, err := f.Browsers.CheckSibling(t.Context(), grant.Cookie); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("the own cookie as a sibling's: %v", err)
		}
	}
}

// Who no longer wants to stay logged in means the apps too.
func TestAppsLiveNoLongerThanABrowserThatIsNoLongerRemembered(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	shop := c.app("shop", nil)
	long := c.inBrowser("alice", auth.BrowserLogin{Remember: true})
	bound, err := c.redeem(shop, c.code(c.browser(long.Cookie)))
	must(t, err)
	offline, err := c.redeem(shop, c.code(c.browser(long.Cookie), "scope", "openid offline_access"))
	must(t, err)
	c.inBrowser("alice", auth.BrowserLogin{Cookie: long.Cookie})
	c.age(13 * time.Hour)
	by := auth.Caller{Client: shop}
	if _, err := c.Tokens.Refresh(t.Context(), bound.RefreshToken, by); !errors.Is(err, auth.ErrSessionOver) {
		t.Errorf("after the browser's session: %v", err)
	}
	_, err = c.Tokens.Refresh(t.Context(), offline.RefreshToken, by)
	must(t, err)
}

// A first-party app keeps its own session where it ends all others. The browser's is one of those,
// and would take the app's along.
func TestAnAppThatEndsAllOtherSessionsGoesOn(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*clocked, auth.Grant) auth.Grant{
		"another password": func(c *clocked, g auth.Grant) auth.Grant {
			grant, err := c.Logins.ChangePassword(c.Context(), c.access(g), goodPassword,
				"another correct horse")
			must(c, err)
			return grant
		},
		"end of the others": func(c *clocked, g auth.Grant) auth.Grant {
			access := c.access(g)
			reach, err := c.Access.Account(c.Context(), access)
			must(c, err)
			must(c, c.Sessions.EndAll(c.Context(), reach, access.SessionID))
			return g
		},
	} {
		c := startClocked(t)
		c.register("alice")
		own := c.app("own", func(c *auth.Client) { c.FirstParty = true })
		b := c.inBrowser("alice", auth.BrowserLogin{})
		first, err := c.redeem(own, c.code(c.browser(b.Cookie), "client_id", "own"))
		must(t, err)
		second, err := c.redeem(own, c.code(c.browser(b.Cookie), "client_id", "own"))
		must(t, err)
		after := do(c, first)
		c.wantCookieRefused(name, b.Cookie)
		c.wantMe(name+", the other session of the app", second, auth.ErrInvalidToken)
		c.wantMe(name, after, nil)
		c.mustRefreshBy(own, after)
	}
}

// The app of the browser redeems a code just when the use is to be stored. The user would be logged
// out in the middle of their work.
func TestAUseCountsThoughSomebodyHasLockedTheSession(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	cookie := c.inBrowser("alice", auth.BrowserLogin{}).Cookie
	must(t, c.Browsers.WriteUses(t.Context()))
	lock := func() (release func()) {
		t.Helper()
		tx, err := c.conn.Begin(t.Context())
		must(t, err)
		_, err = tx.Exec(t.Context(), "SELECT FROM sessions FOR SHARE")
		must(t, err)
		return func() { must(t, tx.Rollback(t.Context())) }
	}
	c.age(30 * time.Minute)
	_, err := c.Browsers.Check(t.Context(), cookie)
	must(t, err)
	release := lock()
	must(t, c.Browsers.WriteUses(t.Context()))
	release()
	must(t, c.Browsers.WriteUses(t.Context()))
	c.age(40 * time.Minute)
	c.browser(cookie)
	must(t, c.Browsers.WriteUses(t.Context()))

	c.age(58*time.Minute + 30*time.Second) // now it cannot wait for the others
	release = lock()
	opened := make(chan error, 1)
	go func() {
		_, err := c.Browsers.Open(context.Background(), cookie)
		opened <- err
	}()
	asynctest.Await(t, "the use to wait for the lock", func() (waits bool) {
		must(t, c.conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_clear_snapshot(), pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits))
		return waits
	})
	release()
	must(t, <-opened)
	c.age(40 * time.Minute)
	c.browser(cookie)
}
