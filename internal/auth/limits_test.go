package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/ratelimit"
	"gatehouse.example/internal/token"
)

// limited is a replica with limits. Its time passes only when the test says so.
type limited struct {
	*fixture
	conn *pgx.Conn
	mu   sync.Mutex
	now  time.Time // the limiter's time
}

const limitsSecret = "a secret key of the tests with 32 bytes or more"

func startLimited(t *testing.T, limits auth.RateLimits) *limited {
	t.Helper()
	return limitedOn(t, dbtest.New(t), limits)
}

func limitedOn(t *testing.T, url string, limits auth.RateLimits) *limited {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	l := &limited{conn: conn, now: time.Now()}
	l.fixture = on(t, open(t, url), cost)
	l.lane = password.NewLane(password.LaneOptions{Threads: 2, Queue: 1000})
	t.Cleanup(l.lane.Close)
	l.hasher, err = password.NewHasher(l.lane, ringOf(t), cost)
	must(t, err)
	l.secret(limits, limitsSecret)
	return l
}

// secret builds the service anew, with another secret.
func (l *limited) secret(limits auth.RateLimits, secret string) {
	l.Helper()
	l.service(l.store, limits, secret)
}

// service builds the rules anew on a store. What the limits know is in the database, which all
// share.
func (l *limited) service(store auth.Store, limits auth.RateLimits, secret string) {
	l.Helper()
	l.anew(
		store, authtest.Options{Rates: limits, Secrets: [][]byte{[]byte(secret)}, Clock: l.clock},
	)
}

func (l *limited) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *limited) exec(statement string, args ...any) {
	l.Helper()
	_, err := l.conn.Exec(l.Context(), statement, args...)
	must(l, err)
}

// pass makes time pass, for the replica and for the rows of the database.
func (l *limited) pass(d time.Duration) {
	l.Helper()
	l.mu.Lock()
	l.now = l.now.Add(d)
	l.mu.Unlock()
	l.exec("UPDATE rate_limits SET tat = tat - $1, taken_at = taken_at - $1", d.Microseconds())
}

func (l *limited) hashes() uint64 { return l.hasher.Work() >> cost }

// try logs in from an address, and with a device if one is given.
func (l *limited) try(username, pw, address string, device ...string) (auth.Grant, error) {
	from := auth.Caller{Address: address, Device: strings.Join(device, "")}
	return l.Logins.Login(l.Context(), username, pw, from)
}

func (l *limited) want(want error, username, pw, address string, device ...string) {
	l.Helper()
	if _, err := l.try(username, pw, address, device...); !errors.Is(err, want) {
		l.Errorf("login of %q from %s: %v, want %v", username, address, err, want)
	}
}

// perHour gives nothing back while a test runs, however slow it is: the rows go by the clock of the
// database.
func perHour(burst int) ratelimit.Limit {
	return ratelimit.Limit{Burst: burst, Interval: time.Hour}
}

// If guesses were counted when they fail, all could be under way before the first one fails.
func TestGuessesAtOnceOnManyReplicasAreNoMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	const guesses, limit = 200, 10
	limits := auth.RateLimits{
		Account: perHour(limit), AccountDay: ratelimit.PerDay(100), Address: perHour(100),
	}
	url := dbtest.New(t)
	var replicas []*limited
	for range 3 {
		replicas = append(replicas, limitedOn(t, url, limits))
	}
	replicas[0].register("alice")
	before := replicas[0].hashes()
	var (
		wg       sync.WaitGroup
		begin    = make(chan struct{})
		outcomes sync.Map
	)
	for n := range guesses {
		wg.Go(func() {
			<-begin
			name := []string{"alice", "Alice", "ALICE", "ａｌｉｃｅ"}[n%4]
			_, err := replicas[n%3].try(
				name, fmt.Sprint("guess ", n), fmt.Sprintf("198.51.100.%d", n),
			)
			outcomes.Store(n, auth.Outcome(err))
		})
	}
	close(begin)
	wg.Wait()
	count := map[any]int{}
	outcomes.Range(func(_, outcome any) bool { count[outcome]++; return true })
	if count["wrong_password"] != limit || count["limited"] != guesses-limit {
		t.Errorf("%v", count)
	}
	if hashes := replicas[0].hashes() - before + replicas[1].hashes() + replicas[2].hashes(); hashes != limit {
		t.Errorf("%d hashes, want %d", hashes, limit)
	}
}

// Otherwise anybody could lock a user out by failing logins under the user's name.
func TestDuringAnAttackTheOwnerLogsInFromAKnownDeviceAndLaterFromAnywhere(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(3), Address: perHour(100)})
	l.register("alice")
	l.register("mallory")
	home, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	mallorys, err := l.try("mallory", goodPassword, "192.0.2.66")
	must(t, err)
	if home.Device == "" || home.Device == mallorys.Device {
		t.Fatalf("devices %q and %q", home.Device, mallorys.Device)
	}
	for range 3 {
		l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.66")
	}
	for name, device := range map[string]string{
		"none": "", "another account's": mallorys.Device,
		"forged": home.Device[:len(home.Device)-4] + "AAAA", "another replica's": foreignDevice(t),
	} {
		_, err := l.try("alice", goodPassword, "192.0.2.7", device)
		refused, ok := errors.AsType[*auth.LimitedError](err)
		if !ok || refused.RetryAfter <= 0 || refused.RetryAfter > time.Hour {
			t.Errorf("with %s device: %v", name, err)
		}
	}
	again, err := l.try("Alice", goodPassword, "192.0.2.7", home.Device)
	if err != nil || again.Device == "" {
		t.Errorf("from the known device: %v, and then knows it as %q", err, again.Device)
	}
	l.pass(time.Hour)
	l.want(nil, "alice", goodPassword, "192.0.2.7")
}

func foreignDevice(t *testing.T) string {
	t.Helper()
	return token.NewDeviceKeys(keychainOf(t, strings.Repeat("x", 32))).Make(
		time.Now(), "alice", token.Device{ID: [16]byte{1}},
	)
}

// A stolen device token must not allow guesses without end. Nor must it use up the limit of the
// account.
func TestAKnownDeviceHasAnAllowanceOfItsOwn(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(3), Address: perHour(100)})
	l.register("alice")
	one, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	two, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	same, err := l.try("alice", goodPassword, "192.0.2.1", one.Device)
	must(t, err)
	for _, device := range []string{one.Device, same.Device, one.Device} {
		l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.1", device)
	}
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1", one.Device)
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1", same.Device)
	l.want(nil, "alice", goodPassword, "192.0.2.1", two.Device)
	l.want(nil, "alice", goodPassword, "192.0.2.1")
}

// Each login could make another device, and each device would have its own guesses.
func TestTheDevicesOfAnAccountShareWhatTheyHaveForADay(t *testing.T) {
	t.Parallel()
	l := startLimited(
		t, auth.RateLimits{Account: perHour(2), AccountDay: perHour(3), Address: perHour(100)},
	)
	l.register("alice")
	l.register("bob")
	var devices []string
	for range 3 {
		grant, err := l.try("alice", goodPassword, "192.0.2.1")
		must(t, err)
		devices = append(devices, grant.Device)
	}
	bobs, err := l.try("bob", goodPassword, "192.0.2.1")
	must(t, err)
	for n, want := range []error{auth.ErrWrongPassword, auth.ErrWrongPassword, auth.ErrLimited} {
		l.want(want, "alice", fmt.Sprint("guess", n), "192.0.2.1", devices[0])
	}
	l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.1", devices[1])
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1", devices[2])
	// as anybody: the devices have limits of their own
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	l.want(nil, "bob", goodPassword, "192.0.2.1", bobs.Device)
}

// A thief with a stolen device must not guess beyond the address's limit. But a neighbour behind
// the same NAT must not lock the owner out either.
func TestFailuresOfADeviceCountAgainstTheAddressWhichDoesNotRefuseIt(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		l := startLimited(t, auth.RateLimits{Account: perHour(10), Address: perHour(3)})
		l.register("alice")
		home, err := l.try("alice", goodPassword, address)
		must(t, err)
		l.want(auth.ErrWrongPassword, "alice", "guess", address, home.Device)
		l.want(auth.ErrUnknownUser, "nobody", "guess", address)
		l.want(auth.ErrUnknownUser, "nobody", "guess", address)
		l.want(auth.ErrLimited, "nobody", "guess", address)
		l.want(auth.ErrWrongPassword, "alice", "guess", address, home.Device)
		for range 2 { // a success does not give back what the neighbour has used up
			l.want(nil, "alice", goodPassword, address, home.Device)
			l.want(auth.ErrLimited, "nobody", "guess", address)
		}
	}
}

// A thief must not go on with a stolen device after the owner's answer, whichever answer that is.
func TestADeviceIsUnknownAfterAChangeOfThePassword(t *testing.T) {
	t.Parallel()
	const next = "another good password"
	for name, change := range map[string]func(l *limited, before auth.Grant) (pw, device string){
		"by the user": func(l *limited, before auth.Grant) (string, string) {
			access, err := l.Access.Authenticate(before.AccessToken)
			must(l, err)
			after, err := l.Logins.ChangePassword(l.Context(), access, goodPassword, next)
			must(l, err)
			return next, after.Device
		},
		"at the login": func(l *limited, before auth.Grant) (string, string) {
			_, err := l.Accounts.RequirePasswordChange(
				l.Context(), authtest.Operator(), auth.ByName("alice"), nil,
			)
			must(l, err)
			after, err := l.Logins.ReplacePassword(
				l.Context(), "alice", goodPassword, next, auth.Caller{Device: before.Device},
			)
			must(l, err)
			return next, after.Device
		},
		"by an operator": func(l *limited, _ auth.Grant) (string, string) {
			_, _, err := l.Accounts.SetPassword(
				l.Context(), authtest.Operator(), auth.ByName("alice"),
				auth.NewPassword{Password: next},
			)
			must(l, err)
			after, err := l.try("alice", next, "192.0.2.1")
			must(l, err)
			return next, after.Device
		},
		"to the same one, and back": func(l *limited, _ auth.Grant) (string, string) {
			for _, pw := range []string{next, goodPassword} {
				_, _, err := l.Accounts.SetPassword(
					l.Context(), authtest.Operator(), auth.ByName("alice"),
					auth.NewPassword{Password: pw},
				)
				must(l, err)
			}
			after, err := l.try("alice", goodPassword, "192.0.2.1")
			must(l, err)
			return goodPassword, after.Device
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := startLimited(t, auth.RateLimits{Account: perHour(3), Address: perHour(100)})
			l.register("alice")
			before, err := l.try("alice", goodPassword, "192.0.2.1")
			must(t, err)
			pw, device := change(l, before)
			if device == "" || device == before.Device {
				t.Fatalf("the new device is %q", device)
			}
			l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.66", before.Device)
			l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.66", before.Device)
			l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.66")
			// the account is used up, and this is not one of its devices
			l.want(auth.ErrLimited, "alice", pw, "192.0.2.66", before.Device)
			l.want(nil, "alice", pw, "192.0.2.66", device)
		})
	}
}

// Somebody who knew the password once could keep the owner's devices out for good, with devices
// that are void.
func TestDevicesThatAreVoidUseUpNothingOfThoseThatAreNot(t *testing.T) {
	t.Parallel()
	l := startLimited(
		t, auth.RateLimits{Account: perHour(1), AccountDay: perHour(2), Address: perHour(100)},
	)
	l.register("alice")
	var void []string
	for range 3 {
		grant, err := l.try("alice", goodPassword, "192.0.2.66")
		must(t, err)
		void = append(void, grant.Device)
	}
	const next = "another good password"
	_, _, err := l.Accounts.SetPassword(
		t.Context(), authtest.Operator(), auth.ByName("alice"), auth.NewPassword{Password: next},
	)
	must(t, err)
	home, err := l.try("alice", next, "192.0.2.1")
	must(t, err)
	for n, want := range []error{auth.ErrWrongPassword, auth.ErrLimited, auth.ErrLimited} {
		l.want(want, "alice", "guess", "192.0.2.66", void[n])
	}
	l.want(nil, "alice", next, "192.0.2.1", home.Device)
}

// A device that is void costs a look at the account each time. That must end at some point, even
// while the account has failures left.
func TestADeviceThatIsVoidIsStillHeldToItsOwnLimit(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(1), Address: perHour(100)})
	l.register("alice")
	before, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	_, _, err = l.Accounts.SetPassword(
		t.Context(), authtest.Operator(), auth.ByName("alice"),
		auth.NewPassword{Password: "another good password"},
	)
	must(t, err)
	// a right login costs nothing
	l.want(nil, "alice", "another good password", "192.0.2.1", before.Device)
	l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.66", before.Device)
	l.want(auth.ErrLimited, "alice", "guess", "192.0.2.66", before.Device)
	looks := l.store.Stat().AcquireCount()
	for range 5 {
		l.want(auth.ErrLimited, "alice", "guess", "192.0.2.66", before.Device)
	}
	if got := l.store.Stat().AcquireCount() - looks; got != 0 {
		t.Errorf("%d looks at the database", got)
	}
}

// A rehash at a login is of the same password, so devices stay known.
func TestADeviceStaysKnownWhenThePasswordIsHashedAnew(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(1), Address: perHour(100)})
	l.register("alice")
	home, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	l.hasher, err = password.NewHasher(l.lane, ringOf(t), cost+1)
	must(t, err)
	l.secret(auth.RateLimits{Account: perHour(1), Address: perHour(100)}, limitsSecret)
	l.want(nil, "alice", goodPassword, "192.0.2.1", home.Device)
	l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.66")
	l.want(nil, "alice", goodPassword, "192.0.2.1", home.Device)
}

func TestUnlockingAnAccountUnlocksItsDevicesToo(t *testing.T) {
	t.Parallel()
	l := startLimited(
		t, auth.RateLimits{Account: perHour(1), AccountDay: perHour(2), Address: perHour(100)},
	)
	l.register("alice")
	var devices []string
	for range 3 {
		grant, err := l.try("alice", goodPassword, "192.0.2.1")
		must(t, err)
		devices = append(devices, grant.Device)
	}
	for _, device := range devices[:2] {
		l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.1", device)
	}
	for _, device := range devices { // two are locked by their own limits, and one by the shared limit
		l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1", device)
	}
	_, err := l.Limits.Unlock(t.Context(), authtest.Operator(), auth.ByName("Alice"))
	must(t, err)
	for _, device := range devices {
		l.want(nil, "alice", goodPassword, "192.0.2.1", device)
	}
}

// A limit that only existing accounts have would reveal which names have accounts.
func TestNamesThatNobodyHasAreLimitedAlike(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2)})
	l.register("alice")
	for _, name := range []string{"alice", "nobody", "no body", strings.Repeat("x", 1000)} {
		for n := range 2 {
			l.want(auth.ErrBadCredentials, name, "guess", fmt.Sprintf("192.0.2.%d", n))
		}
		l.want(auth.ErrLimited, name, goodPassword, "192.0.2.9")
	}
	l.want(auth.ErrLimited, "NOBODY", "guess", "192.0.2.9")
	l.want(auth.ErrUnknownUser, "nobody2", "guess", "192.0.2.9")
}

func TestOnlyFailuresCountAndASuccessForgivesNone(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{
		Account: perHour(3), AccountDay: ratelimit.PerDay(100), Address: perHour(3),
	})
	l.register("alice")
	for range 8 {
		l.want(nil, "alice", goodPassword, "192.0.2.1")
	}
	for range 3 {
		l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.1")
		if l.Failed() {
			return
		}
	}
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
	l.pass(time.Hour)
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	l.want(auth.ErrWrongPassword, "alice", "guess", "192.0.2.1")
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
}

func TestADisabledAccountsRightPasswordCountsAsAFailure(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2)})
	l.register("alice")
	_, err := l.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	l.want(auth.ErrDisabled, "alice", goodPassword, "192.0.2.1")
	l.want(auth.ErrDisabled, "alice", goodPassword, "192.0.2.1")
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
}

// A service that is too busy, or stopping, must not lock anybody out.
func TestWhatTheServiceItselfFailedToJudgeDoesNotCount(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2)})
	l.register("alice")
	l.lane.Close()
	for range 5 {
		l.want(auth.ErrStopping, "alice", goodPassword, "192.0.2.1")
	}
}

// One host has a whole /64, and may write an IPv4 address in several ways.
func TestAddressesOfOneClientShareOneCounter(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Address: perHour(1)})
	for _, test := range []struct {
		first, second string
		shared        bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.2", "192.0.2.3", false},
		{"192.0.2.4", "::ffff:192.0.2.4", true},
		{"192.0.2.5", "2002:c000:205::1", true},         // 6to4
		{"192.0.2.5", "2002:c000:205:ffff::1", true},    // another subnet behind the same address
		{"2002:c000:206::1", "2002:c000:207::1", false}, // 6to4 of other addresses
		{"64:ff9b::192.0.2.8", "192.0.2.8", true},       // NAT64
		{"64:ff9b::192.0.2.9", "64:ff9b::192.0.2.10", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:2::1", "2001:db8:0:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		l.exec("DELETE FROM rate_limits")
		l.pass(2 * time.Hour) // so that the replica forgets its refusals
		l.want(auth.ErrUnknownUser, "nobody", "guess", test.first)
		want := auth.ErrUnknownUser
		if test.shared {
			want = auth.ErrLimited
		}
		l.want(want, "somebody", "guess", test.second)
	}
}

// Whoever rents a server often gets a /48. It has 65,536 networks, each with the failures of one.
func TestASiteHasTenTimesWhatEachOfItsNetworksHas(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Address: perHour(1), Registration: perHour(1)})
	for n := range 11 {
		address := fmt.Sprintf("2001:db8:1:%x00::1", n) // each in a /56 of its own
		want := auth.ErrUnknownUser
		if n == 10 {
			want = auth.ErrLimited
		}
		l.want(want, fmt.Sprint("nobody", n), "guess", address)
		_, _, err := l.Registration.SignUp(
			t.Context(), auth.Stranger{Username: fmt.Sprint("user", n), Password: goodPassword},
			auth.Caller{Address: address},
		)
		if limited := errors.Is(err, auth.ErrLimited); limited != (n == 10) {
			t.Errorf("registration %d: %v", n, err)
		}
	}
	l.want(auth.ErrUnknownUser, "nobody", "guess", "2001:db8:2::1") // another site
	for n := range 20 {
		// an IPv4 address each
		l.want(
			auth.ErrUnknownUser, fmt.Sprint("nobody", n), "guess",
			fmt.Sprintf("2002:c000:2%02x::1", n),
		)
	}
}

// One login with a right password from each /64 of a rented /48 would fill the lane, and nobody
// else could log in.
func TestTheNetworksOfASiteShareTheirPartOfTheLane(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{})
	l.register("alice")
	l.lane = password.NewLane(password.LaneOptions{Threads: 1, Queue: 4})
	t.Cleanup(l.lane.Close)
	var err error
	l.hasher, err = password.NewHasher(l.lane, ringOf(t), cost)
	must(t, err)
	l.service(l.store, auth.RateLimits{}, limitsSecret)
	ctx, cancel := context.WithTimeout(l.Context(), 10*time.Second) // only reached if the test fails
	defer cancel()
	login := func(address string) error {
		_, err := l.Logins.Login(
			auth.WithOrigin(ctx, auth.Origin{Address: address}), "alice", goodPassword,
			auth.Caller{Address: address},
		)
		return err
	}
	release := l.jam(1)
	waiting := make(chan error, 2)
	for _, address := range []string{"2001:db8:1:1::1", "192.0.2.1"} {
		go func() { waiting <- login(address) }()
	}
	asynctest.Await(t, "two that wait", func() bool { return l.lane.Stats().Queued == 2 })
	if err := login("2001:db8:1:2::1"); !errors.Is(err, auth.ErrCrowded) {
		t.Errorf("from a sibling of who waits: %v", err)
	}
	release()
	for range 2 {
		must(t, <-waiting)
	}
	must(t, login("2001:db8:1:2::1"))
}

// With the burst limit alone, a patient guesser would have 1,440 guesses a day.
func TestAnAccountHasNoMoreThanItsFailuresOfADay(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{
		Account: ratelimit.Limit{Burst: 2, Interval: time.Minute}, AccountDay: ratelimit.PerDay(6),
	})
	failures := 0
	for range 24 * 6 {
		if _, err := l.try("nobody", "guess", "192.0.2.1"); errors.Is(err, auth.ErrUnknownUser) {
			failures++
		}
		l.pass(10 * time.Minute)
	}
	if failures < 5 || failures > 6 {
		t.Errorf("%d failures in a day, want 6", failures)
	}
}

// If the database refused each request of a flood, the flood would reach the database.
func TestAFloodOverTheLimitDoesNotReachTheDatabase(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(1)})
	l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.1")
	l.want(auth.ErrLimited, "nobody", "guess", "192.0.2.1")
	before := l.store.Stat().AcquireCount()
	for range 100 {
		l.want(auth.ErrLimited, "Nobody", "guess", "192.0.2.1")
	}
	if got := l.store.Stat().AcquireCount() - before; got != 0 {
		t.Errorf("asked %d times", got)
	}
	l.pass(time.Hour)
	l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.1")
}

func TestAnAddressRegistersSoManyAccountsAndAnOperatorAny(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Registration: perHour(2)})
	signUp := func(name, address string) error {
		_, _, err := l.Registration.SignUp(
			t.Context(), auth.Stranger{Username: name, Password: goodPassword},
			auth.Caller{Address: address},
		)
		return err
	}
	for range 5 { // input that cannot become an account is refused without being counted
		if _, ok := errors.AsType[auth.InputError](signUp("no body", "192.0.2.1")); !ok {
			t.Error("a bad name is no input error")
		}
	}
	must(t, signUp("alice", "192.0.2.1"))
	if err := signUp("alice", "192.0.2.1"); !errors.Is(err, auth.ErrUsernameTaken) {
		t.Error(err)
	}
	before := l.hashes()
	if err := signUp("bob", "192.0.2.1"); !errors.Is(err, auth.ErrLimited) || l.hashes() != before {
		t.Errorf("third: %v", err)
	}
	must(t, signUp("bob", "192.0.2.2"))
	for n := range 3 {
		l.register(fmt.Sprint("user", n))
	}
}

// Somebody with a stolen session must not be able to guess the password, and so get the account.
func TestTheOwnPasswordCannotBeGuessedByWayOfItsChange(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2)})
	l.register("alice")
	grant, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	access, err := l.Access.Authenticate(grant.AccessToken)
	must(t, err)
	for n, want := range []string{"wrong_password", "wrong_password", "limited"} {
		_, err := l.Logins.ChangePassword(t.Context(), access, "guess", "another good password")
		if got := auth.Outcome(err); got != want {
			t.Errorf("%d: %v", n, err)
		}
	}
	l.want(nil, "alice", goodPassword, "192.0.2.1") // a login is not locked out by it
	l.pass(time.Hour)
	if _, err := l.Logins.ChangePassword(
		t.Context(), access, goodPassword, "another good password",
	); err != nil {
		t.Error(err)
	}
}

// Otherwise a copy of the database would reveal who has failed from where: names and addresses are
// few enough to try them all.
func TestCountersAreUnderASecret(t *testing.T) {
	t.Parallel()
	limits := auth.RateLimits{Account: perHour(1), Address: perHour(100)}
	l := startLimited(t, limits)
	keys := func() (keys []string) {
		rows, err := l.conn.Query(t.Context(), "SELECT encode(key, 'hex') FROM rate_limits")
		must(t, err)
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		return keys
	}
	l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.1")
	before := keys()
	l.secret(limits, "another secret key of the tests with 32 bytes or more")
	l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.1")
	if after := keys(); len(before) != 2 || len(after) != 4 {
		t.Errorf("%d counters under one secret, %d under two", len(before), len(after))
	}
}

func TestAnUnlockedAccountLogsInAgain(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(1), AccountDay: ratelimit.PerDay(1)})
	l.register("alice")
	grant, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	access, err := l.Access.Authenticate(grant.AccessToken)
	must(t, err)
	for range 2 { // the second refusal is remembered
		_, _ = l.try("alice", "guess", "192.0.2.1")
		_, _ = l.Logins.ChangePassword(t.Context(), access, "guess", "another good password")
	}
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
	_, err = l.Limits.Unlock(t.Context(), authtest.Operator(), auth.ByName("Alice"))
	must(t, err)
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	if _, err := l.Logins.ChangePassword(
		t.Context(), access, goodPassword, "another good password",
	); err != nil {
		t.Errorf("the own password: %v", err)
	}
	if _, err := l.Limits.Unlock(
		t.Context(), authtest.Operator(), auth.ByName("nobody"),
	); !errors.Is(err, auth.ErrUserNotFound) {
		t.Error(err)
	}
}

func TestLimitsThatAreOffCountNothing(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{})
	for range 5 {
		l.want(auth.ErrUnknownUser, "nobody", "guess", "192.0.2.1")
	}
	l.register("alice")
	if grant, err := l.try("alice", goodPassword, "192.0.2.1"); err != nil || grant.Device != "" {
		t.Errorf("%q, %v", grant.Device, err)
	}
	var rows int
	must(t, l.conn.QueryRow(t.Context(), "SELECT count(*) FROM rate_limits").Scan(&rows))
	if rows != 0 {
		t.Errorf("%d rows", rows)
	}
}
