package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse.example/db"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/password"
)

// charged returns how many rates are used up in part, and how many reservations nobody has settled.
func (l *limited) charged() (used, held int) {
	l.Helper()
	must(l, l.conn.QueryRow(l.Context(), `SELECT count(*) FILTER (WHERE tat > extract(epoch FROM now()) * 1e6), coalesce(sum(held), 0)
		FROM rate_limits`).Scan(&used, &held))
	return used, held
}

func (l *limited) wantCharged(used, held int, when string) {
	l.Helper()
	if gotUsed, gotHeld := l.charged(); gotUsed != used || gotHeld != held {
		l.Errorf(
			"%s: %d rates are used, %d reservations open; want %d and %d", when, gotUsed, gotHeld,
			used, held,
		)
	}
}

// atOnce does something many times at once, and returns the errors.
func atOnce(many int, do func(n int) error) []error {
	var (
		wg    sync.WaitGroup
		begin = make(chan struct{})
		errs  = make([]error, many)
	)
	for n := range many {
		wg.Go(func() {
			<-begin
			errs[n] = do(n)
		})
	}
	close(begin)
	wg.Wait()
	return errs
}

// A dozen tabs or jobs of one account that start at once must not lock it out, neither of one
// replica nor of several.
func TestRightLoginsOfAnAccountAtOnceAreAllLetIn(t *testing.T) {
	t.Parallel()
	limits := auth.RateLimits{Account: perHour(3), Address: perHour(100)}
	url := dbtest.New(t)
	replicas := []*limited{limitedOn(t, url, limits), limitedOn(t, url, limits)}
	replicas[0].register("alice")
	for n, err := range atOnce(24, func(n int) error {
		_, err := replicas[n%2].try("alice", goodPassword, "192.0.2.1")
		return err
	}) {
		if err != nil {
			t.Errorf("login %d: %v", n, err)
		}
	}
	replicas[0].wantCharged(0, 0, "after right logins")
	for _, l := range replicas {
		l.want(nil, "alice", goodPassword, "192.0.2.1")
	}
}

// When an office starts work, all of it comes from one address.
func TestRightLoginsBehindOneAddressAtOnceAreAllLetIn(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(3), Address: perHour(5)})
	const people = 30
	for n := range people {
		l.register(fmt.Sprint("user", n))
	}
	for n, err := range atOnce(people, func(n int) error {
		_, err := l.try(fmt.Sprint("user", n), goodPassword, "192.0.2.1")
		return err
	}) {
		if err != nil {
			t.Errorf("login %d: %v", n, err)
		}
	}
	l.wantCharged(0, 0, "after right logins")
}

// Logins at once, one of which has a wrong password: the wrong ones count, and no more of them are
// verified than one after another.
func TestRightLoginsAmongGuessesAtOnceLeaveTheGuessesTaken(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(4), Address: perHour(100)})
	l.register("alice")
	before := l.hashes()
	wrong := 0
	for n, err := range atOnce(60, func(n int) error {
		pw := "guess"
		if n%3 == 0 {
			pw = goodPassword
		}
		_, err := l.try("alice", pw, "192.0.2.1")
		return err
	}) {
		switch {
		case errors.Is(err, auth.ErrWrongPassword):
			wrong++
		case err != nil && !errors.Is(err, auth.ErrLimited):
			t.Errorf("login %d: %v", n, err)
		}
	}
	if wrong != 4 || l.hashes()-before > 4+20 {
		t.Errorf("%d guesses were looked at, with %d hashes", wrong, l.hashes()-before)
	}
	l.wantCharged(2, 0, "after four guesses")
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
}

// jam keeps the threads of the lane busy until the function that it returns is called.
func (l *limited) jam(threads int) (release func()) {
	l.Helper()
	busy, end := make(chan struct{}), make(chan struct{})
	for range threads {
		go func() {
			_ = l.lane.Do(context.Background(), "", func() { busy <- struct{}{}; <-end })
		}()
		<-busy
	}
	return sync.OnceFunc(func() { close(end) })
}

// A client that waits in vain for a login that is under way should try again soon. That is no
// refusal, since nothing was decided.
func TestWhatIsRefusedWhileOthersAreUnderWayIsNotRemembered(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(1)})
	l.register("alice")
	release := l.jam(2)
	defer release()
	first := make(chan error, 1)
	go func() { _, err := l.try("alice", goodPassword, "192.0.2.1"); first <- err }()
	asynctest.Await(t, "the first to reserve", func() bool {
		_, held := l.charged()
		return held == 1
	})

	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := l.Logins.Login(ctx, "alice", goodPassword, auth.Caller{Address: "192.0.2.2"})
	if limited, ok := errors.AsType[*auth.LimitedError](err); !ok || !limited.Undecided ||
		limited.RetryAfter != time.Second {
		t.Errorf("while the first is under way: %v", err)
	}
	release()
	must(t, <-first)
	l.want(nil, "alice", goodPassword, "192.0.2.2")
}

// A client that hangs up while it waits leaves its place to the next.
func TestWhoLeavesTheLineHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(1)})
	l.register("alice")
	release := l.jam(2)
	defer release()
	login := func(ctx context.Context) <-chan error {
		ended := make(chan error, 1)
		go func() { _, err := l.Logins.Login(ctx, "alice", goodPassword, client); ended <- err }()
		return ended
	}
	first := login(t.Context())
	asynctest.Await(t, "the first to reserve", func() bool {
		_, held := l.charged()
		return held == 1
	})
	leaving, leave := context.WithCancel(t.Context())
	second := login(leaving)
	third := login(t.Context())
	leave()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	release()
	if err := errors.Join(<-first, <-third); err != nil {
		t.Error(err)
	}
	l.wantCharged(0, 0, "after right logins")
}

// A client that hangs up before its password was verified has learned nothing. If that counted, an
// impatient office would lock itself out.
func TestWhoHangsUpBeforeThePasswordIsLookedAtIsNotCharged(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(1)})
	l.register("alice")
	release := l.jam(2)
	defer release()
	ctx, hangUp := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := l.Logins.Login(ctx, "alice", "a guess", client); ended <- err }()
	asynctest.Await(t, "the login to wait in the lane", func() bool { return l.lane.Stats().Queued == 1 })
	hangUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("who hung up: %v", err)
	}
	l.wantCharged(0, 0, "after the hang-up")
}

// hooked is a database that runs a function beside a call.
type hooked struct {
	*db.DB
	credentialsRead func() error
	sessionStarted  func()
}

func (h *hooked) CredentialsByKey(ctx context.Context, key string) (auth.Credentials, error) {
	found, err := h.DB.CredentialsByKey(ctx, key)
	if h.credentialsRead != nil {
		err = errors.Join(err, h.credentialsRead())
	}
	return found, err
}

func (h *hooked) StartSession(ctx context.Context, e auth.Event, s auth.NewSession) (time.Time, error) {
	at, err := h.DB.StartSession(ctx, e, s)
	if h.sessionStarted != nil {
		h.sessionStarted()
	}
	return at, err
}

// The lane had room when the login came, and is full when its password is to be verified. That is
// no fault of the client.
func TestALoginForWhichTheLaneHasNoRoomLeftCostsNothing(t *testing.T) {
	t.Parallel()
	limits := auth.RateLimits{Account: perHour(2), AccountDay: perHour(50), Address: perHour(9)}
	l := startLimited(t, limits)
	l.register("alice")
	l.lane = password.NewLane(password.LaneOptions{Threads: 1})
	t.Cleanup(l.lane.Close)
	var err error
	l.hasher, err = password.NewHasher(l.lane, ringOf(t), cost)
	must(t, err)
	store := &hooked{DB: l.store}
	l.service(store, limits, limitsSecret)
	for range 3 {
		var release func()
		store.credentialsRead = func() error { release = l.jam(1); return nil }
		l.want(auth.ErrOverloaded, "alice", goodPassword, "192.0.2.1")
		store.credentialsRead = nil
		release()
		asynctest.Await(t, "room in the lane", func() bool { return l.lane.CheckRoom("") == nil })
		l.wantCharged(0, 0, "after an overload")
	}
	l.want(nil, "alice", goodPassword, "192.0.2.1")
}

// A database that fails in the middle of a login must not lock anybody out once it is back.
func TestALoginThatTheDatabaseCutsOffCostsNothing(t *testing.T) {
	t.Parallel()
	limits := auth.RateLimits{Account: perHour(2), Address: perHour(9)}
	l := startLimited(t, limits)
	l.register("alice")
	store := &hooked{DB: l.store, credentialsRead: func() error { return auth.ErrUnavailable }}
	l.service(store, limits, limitsSecret)
	for range 3 {
		l.want(auth.ErrUnavailable, "alice", goodPassword, "192.0.2.1")
	}
	l.wantCharged(0, 0, "after the cuts")
}

// A client that hangs up as soon as it is logged in must not lock itself out.
func TestARightLoginCostsNothingThoughItsClientHasLeft(t *testing.T) {
	t.Parallel()
	limits := auth.RateLimits{Account: perHour(2), Address: perHour(9)}
	l := startLimited(t, limits)
	l.register("alice")
	store := &hooked{DB: l.store}
	l.service(store, limits, limitsSecret)
	for range 3 {
		ctx, leave := context.WithCancel(t.Context())
		store.sessionStarted = leave
		_, err := l.Logins.Login(ctx, "alice", goodPassword, client)
		if must(t, err); ctx.Err() == nil {
			t.Fatal("the client has not left")
		}
		l.wantCharged(0, 0, "after a right login")
	}
}

// A client that leaves while the password is being verified may still have it verified. That
// counts, and nobody waits for it.
func TestAGuessWhoseClientLeavesIsTakenForGood(t *testing.T) {
	t.Parallel()
	limits := auth.RateLimits{Account: perHour(2), Address: perHour(9)}
	l := startLimited(t, limits)
	var err error
	l.hasher, err = password.NewHasher(l.lane, ringOf(t), 12) // takes so long that the client can leave meanwhile
	must(t, err)
	l.service(l.store, limits, limitsSecret)
	l.register("alice")
	for n := range 2 {
		ctx, leave := context.WithCancel(t.Context())
		before, ended := l.lane.Stats().Started, make(chan error, 1)
		go func() { _, err := l.Logins.Login(ctx, "alice", "guess", client); ended <- err }()
		asynctest.Await(t, "the guess to be looked at", func() bool { return l.lane.Stats().Started > before })
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", n, err)
		}
		l.wantCharged(2, 0, "after a guess")
	}
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
}

// A right password with a scope that is too wide is no guess: a client with such a fault must not
// lock its user out.
func TestARightPasswordWithTooWideAScopeCostsNothing(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2)})
	l.register("alice")
	for range 4 {
		if _, err := l.Logins.Login(
			t.Context(), "alice", goodPassword, client, "gatehouse:users.read",
		); !errors.Is(err, auth.ErrInvalidScope) {
			t.Error(err)
		}
	}
	l.wantCharged(0, 0, "after right passwords")
}

// The same holds where users prove their own passwords.
func TestTheCheckOfTheOwnPasswordIsSettled(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2)})
	l.register("alice")
	grant, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	access, err := l.Access.Authenticate(grant.AccessToken)
	must(t, err)
	if _, err := l.Logins.ChangePassword(
		t.Context(), access, "guess", "another good password",
	); !errors.Is(err, auth.ErrWrongCurrentPassword) {
		t.Error(err)
	}
	l.wantCharged(1, 0, "after a guess")
	l.exec("DELETE FROM rate_limits")
	_, err = l.Logins.ChangePassword(t.Context(), access, goodPassword, "another good password")
	must(t, err)
	l.wantCharged(0, 0, "after the right one")
}

// Registrations are counted at once. Nobody has to wait to learn whether they count.
func TestRegistrationsLeaveNoReservation(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Registration: perHour(2)})
	_, _, err := l.Registration.SignUp(t.Context(), auth.Stranger{Username: "alice", Password: goodPassword}, client)
	must(t, err)
	l.wantCharged(1, 0, "after a registration")
}

// If the clock went back an hour, everybody who logged in within the last hour would be refused
// until the clock had caught up.
func TestAClockOfTheDatabaseThatIsSetBackLocksNobodyOut(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2), Address: perHour(2)})
	l.register("alice")
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.2")
	// as a clock set back
	l.exec(
		"UPDATE rate_limits SET tat = tat + $1, taken_at = taken_at + $1",
		(24 * time.Hour).Microseconds(),
	)
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.2")
	l.want(auth.ErrLimited, "nobody", "guess", "192.0.2.2")
	l.pass(time.Hour)
	l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.2")
}
