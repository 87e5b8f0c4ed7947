package auth_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// away is a client in another network than the other clients of the tests.
var away = auth.Caller{Address: "198.51.100.7", UserAgent: "test"}

func (f *fixture) refreshBy(client auth.Caller, raw string) (auth.Grant, error) {
	f.Helper()
	return f.Tokens.Refresh(f.Context(), raw, client)
}

// wantRepeat makes a repeat that must give the successor.
func (f *fixture) wantRepeat(when string, by auth.Caller, raw, successor string) {
	f.Helper()
	if grant, err := f.refreshBy(by, raw); err != nil || grant.RefreshToken != successor {
		f.Errorf("%s: %v, another successor: %t", when, err, grant.RefreshToken != successor)
	}
}

// within gives the service other limits.
func (c *clocked) within(limits auth.SessionLimits) {
	c.Helper()
	c.limits = limits
	c.anew(c.store, authtest.Options{})
}

// Otherwise the thief and the owner would go on for ever with the same tokens: the second to use
// one within the grace gets what the first got.
func TestAThiefInAnotherNetworkCannotShareASession(t *testing.T) {
	t.Parallel()
	for name, by := range map[string][2]auth.Caller{
		"the owner is first": {client, away}, "the thief is first": {away, client},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startClocked(t)
			c.register("alice")
			first := c.login("alice")
			second, err := c.refreshBy(by[0], first.RefreshToken)
			must(t, err)
			c.wantRepeat("once", by[1], first.RefreshToken, second.RefreshToken)
			third, err := c.refreshBy(by[0], second.RefreshToken)
			must(t, err)
			if _, err := c.refreshBy(
				by[1], second.RefreshToken,
			); !errors.Is(err, auth.ErrTokenReused) {
				t.Errorf("at the next rotation: %v", err)
			}
			c.wantRefused("the newest", third.RefreshToken, auth.ErrSessionOver)
			if got := c.endReason(c.access(first).SessionID); got != "reuse" {
				t.Errorf("ended by %q", got)
			}
		})
	}
}

func TestARepeatFromAnotherNetworkIsAnsweredOnceForEachRotation(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	first := f.login("alice").RefreshToken
	second := f.mustRefresh(first).RefreshToken
	f.wantRepeat("once", away, first, second)
	if _, err := f.refreshBy(away, first); !errors.Is(err, auth.ErrTokenReused) {
		t.Errorf("twice: %v", err)
	}
	f.wantRefused("the session", second, auth.ErrSessionOver)
}

// A phone on a train changes networks now and then, and must stay logged in.
func TestAClientThatChangesNetworksNowAndThenStaysLoggedIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	current := f.login("alice").RefreshToken
	for range 4 {
		next := f.mustRefresh(current).RefreshToken
		f.wantRepeat("in the same network", client, current, next)
		f.wantRepeat("after a change", away, current, next)
		f.wantRepeat("in the same network again", client, current, next)
		current = f.mustRefresh(next).RefreshToken // the answer to this one arrives
	}
}

func TestOfManyRepeatsFromAnotherNetworkAtOnceOneIsAnswered(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	first := c.login("alice")
	c.mustRefresh(first.RefreshToken)
	replicas := []*fixture{c.fixture, on(t, open(t, c.url), cost)}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		counts = map[string]int{}
	)
	for n := range 40 {
		wg.Go(func() {
			_, err := replicas[n%2].refreshBy(away, first.RefreshToken)
			mu.Lock()
			defer mu.Unlock()
			counts[auth.Outcome(err)]++
		})
	}
	wg.Wait()
	if counts["success"] != 1 || counts["token_reused"] != 1 || counts["session_over"] != 38 {
		t.Errorf("%v", counts)
	}
}

// Neighbours behind one provider are no thieves. Nor is a host with addresses of both families.
func TestNetworksAreTheSlash24AndTheSlash48OfOneFamily(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	strict := c.limits
	strict.RepeatElsewhere = false
	c.within(strict)
	c.register("alice")
	for _, test := range []struct {
		first, second string
		other         bool
	}{
		{"192.0.2.1", "192.0.2.1", false},
		{"192.0.2.1", "192.0.2.254", false},
		{"192.0.2.1", "192.0.3.1", true},
		{"192.0.2.1", "::ffff:192.0.2.9", false},
		{"192.0.2.1", "::ffff:192.0.3.9", true},
		{"192.0.2.1", "2002:c000:0207::1", false}, // 6to4 of 192.0.2.7
		{"192.0.2.1", "64:ff9b::c000:307", true},  // NAT64 of 192.0.3.7
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"2001:db8:1:2::1", "2001:db8:2:2::1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2::1%eth0", false},
		{"192.0.2.1", "2001:db8::1", false},
		{"2001:db8::1", "192.0.2.1", false},
		{"", "192.0.2.1", false}, // the network is not known
		{"192.0.2.1", "", false},
		{"192.0.2.1", "a socket", false},
		{"", "2001:db8::1", false},
		{"2001:db8::1", "", false},
	} {
		first := c.login("alice").RefreshToken
		_, err := c.refreshBy(auth.Caller{Address: test.first}, first)
		must(t, err)
		_, err = c.refreshBy(auth.Caller{Address: test.second}, first)
		if other := errors.Is(err, auth.ErrTokenReused); other != test.other || err != nil &&
			!other {
			t.Errorf("from %s, then from %s: %v", test.first, test.second, err)
		}
	}
}

func (c *clocked) outcomes(session uuid.UUID) (all []string) {
	c.Helper()
	must(c,
		c.conn.QueryRow(c.Context(),
			"SELECT coalesce(array_agg(outcome ORDER BY id), '{}') FROM audit_events WHERE action = 'refresh' AND target = $1",
			session.String()).Scan(&all))
	return all
}

// If there were four lines for eight refreshes, a shared session would stay unnoticed.
func TestEveryRepeatIsToldInTheAuditLogUntilItIsALoop(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	first := c.login("alice")
	session := c.access(first).SessionID
	second := c.mustRefresh(first.RefreshToken).RefreshToken
	c.wantRepeat("here", client, first.RefreshToken, second)
	c.wantRepeat("away", away, first.RefreshToken, second)
	if got, want := c.outcomes(session), []string{
		"success", "repeated", "repeated_elsewhere",
	}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for range 20 {
		c.wantRepeat("a loop", client, first.RefreshToken, second)
	}
	if got := len(c.outcomes(session)); got > 12 {
		t.Errorf("%d lines of a client in a loop", got)
	}
	third := c.mustRefresh(second).RefreshToken
	before := len(c.outcomes(session))
	c.wantRepeat("at the next rotation", client, second, third)
	if got := len(c.outcomes(session)) - before; got != 1 {
		t.Errorf("%d lines of a repeat at the next rotation", got)
	}
	before = len(c.outcomes(session))
	_, err := c.refreshBy(away, second)
	if got := c.outcomes(session)[before:]; !errors.Is(err, auth.ErrTokenReused) ||
		!slices.Equal(got, []string{"token_reused"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWithoutAGraceEachRepeatEndsTheSession(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	none := c.limits
	none.Grace = 0
	c.within(none)
	c.register("alice")
	for name, ahead := range map[string]time.Duration{
		"at once": 0, "by a clock that went back": time.Minute,
	} {
		first := c.login("alice")
		c.mustRefresh(first.RefreshToken)
		_, err := c.conn.Exec(
			t.Context(), "UPDATE sessions SET rotated_at = rotated_at + $1::interval", ahead,
		)
		must(t, err)
		c.wantRefused(name, first.RefreshToken, auth.ErrTokenReused)
	}
}

// A COMMIT that waits for a standby may take longer than the grace. A client that sent the token
// while it was the current one comes again, and is no thief.
func TestTheGraceDoesNotPassWhileTheRotationIsCommitted(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	first := c.login("alice")
	tx, err := c.conn.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(
		t.Context(), `UPDATE sessions SET counter = counter + 1, rotated_at = now() - $1::interval`,
		c.limits.Grace+time.Minute,
	)
	must(t, err)
	again := c.sendOff(0, func() error {
		_, err := c.Tokens.Refresh(t.Context(), first.RefreshToken, client)
		return err
	})
	must(t, tx.Commit(t.Context()))
	c.want("sent while it was the current one", <-again, nil)
	c.wantRefused("sent afterwards", first.RefreshToken, auth.ErrTokenReused)
}

// The transaction may have begun long before, since a refresh waits for whoever changes the
// session.
func TestTheGraceBeginsWithTheRotationAndNotWithTheWaitForIt(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	first := c.login("alice")
	session := c.access(first).SessionID
	tx, err := c.conn.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE sessions SET user_agent = 'changed'")
	must(t, err)
	refreshed := c.sendOff(0, func() error {
		_, err := c.Tokens.Refresh(t.Context(), first.RefreshToken, client)
		return err
	})
	var waited time.Time
	must(t, tx.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&waited))
	must(t, tx.Commit(context.Background()))
	must(t, <-refreshed)
	if state, err := c.store.SessionByID(t.Context(), session); err != nil ||
		state.RotatedAt.Before(waited) {
		t.Errorf("rotated at %v, which is before %v: %v", state.RotatedAt, waited, err)
	}
}

func TestASessionIsShownAsLastUsedOnADayAndEndsAccordingly(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		at, err := time.Parse(time.DateTime, text)
		must(t, err)
		return at
	}
	now, created, expires := at("2026-05-20 15:00:00"), at("2026-05-01 10:30:00"),
		at("2026-05-31 10:30:00")
	const idle = 5 * 24 * time.Hour
	for name, test := range map[string]struct{ created, used, shown, ends time.Time }{
		"now":                  {created, now, at("2026-05-20 00:00:00"), at("2026-05-25 00:00:00")},
		"this morning":         {created, at("2026-05-20 06:00:00"), at("2026-05-20 00:00:00"), at("2026-05-25 00:00:00")},
		"within a day":         {created, at("2026-05-19 15:00:01"), at("2026-05-20 00:00:00"), at("2026-05-25 00:00:00")},
		"a day ago":            {created, at("2026-05-19 15:00:00"), at("2026-05-19 00:00:00"), at("2026-05-24 00:00:00")},
		"three days ago":       {created, at("2026-05-17 09:00:00"), at("2026-05-17 00:00:00"), at("2026-05-22 00:00:00")},
		"since it began today": {at("2026-05-20 14:00:00"), now, at("2026-05-20 14:00:00"), at("2026-05-25 14:00:00")},
		"by a clock ahead":     {created, now.Add(time.Hour), at("2026-05-20 00:00:00"), at("2026-05-25 00:00:00")},
	} {
		s := auth.Session{
			CreatedAt: test.created, LastUsedAt: test.used, IdleExpiresAt: test.used.Add(idle),
			ExpiresAt: expires,
		}
		if got := s.Blunted(now); !got.LastUsedAt.Equal(test.shown) ||
			!got.IdleExpiresAt.Equal(test.ends) {
			t.Errorf("%s: last used %v, ends %v", name, got.LastUsedAt, got.IdleExpiresAt)
		}
	}
	last := auth.Session{
		CreatedAt: created, LastUsedAt: now, IdleExpiresAt: now.Add(time.Hour),
		ExpiresAt: now.Add(time.Hour),
	}
	if got := last.Blunted(now); !got.IdleExpiresAt.Equal(last.ExpiresAt) {
		t.Errorf("near its end: ends %v", got.IdleExpiresAt)
	}
}
