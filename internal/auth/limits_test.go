package auth_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/internal/auth"
	"gatehouse/internal/dbtest"
	"gatehouse/internal/password"
	"gatehouse/internal/ratelimit"
	"gatehouse/internal/token"
)

// limited is a replica with limits. Its time passes when it is told to.
type limited struct {
	*fixture
	conn *pgx.Conn
	mu   sync.Mutex
	now  time.Time // of the limiter
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

// secret makes the service anew, with another secret.
func (l *limited) secret(limits auth.RateLimits, secret string) {
	l.Helper()
	limiter, err := auth.NewLimiter(limits, l.store, [][]byte{[]byte(secret)}, l.clock)
	must(l, err)
	l.Service = auth.NewService(auth.Parts{
		Store: l.store, Hasher: l.hasher, Tokens: issuer(l.T), TokenCache: 1000, Refresh: l.keys, Limits: l.limits,
		Limiter: limiter, Clock: time.Now, SecretLifetime: time.Hour,
	})
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

// pass lets time go by: for the replica, and for the rows of the database.
func (l *limited) pass(d time.Duration) {
	l.Helper()
	l.mu.Lock()
	l.now = l.now.Add(d)
	l.mu.Unlock()
	l.exec("UPDATE rate_limits SET tat = tat - $1", d.Microseconds())
}

func (l *limited) hashes() uint64 { return l.hasher.Work() >> cost }

// try logs in from an address, and with a device if there is one.
func (l *limited) try(username, pw, address string, device ...string) (auth.Grant, error) {
	from := auth.Client{Address: address, Device: strings.Join(device, "")}
	return l.Login(l.Context(), username, pw, from)
}

func (l *limited) want(want error, username, pw, address string, device ...string) {
	l.Helper()
	if _, err := l.try(username, pw, address, device...); !errors.Is(err, want) {
		l.Errorf("login of %q from %s: %v, want %v", username, address, err, want)
	}
}

// perHour gives nothing back while a test runs, however slowly: the rows go by the database's clock.
func perHour(burst int) ratelimit.Limit {
	return ratelimit.Limit{Burst: burst, Interval: time.Hour}
}

// Guesses that are counted when they have failed are all under way before the first one is.
func TestGuessesAtOnceOnManyReplicasAreNoMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	const guesses, limit = 200, 10
	limits := auth.RateLimits{Account: perHour(limit), AccountDay: ratelimit.PerDay(100), Address: perHour(100)}
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
			_, err := replicas[n%3].try(name, fmt.Sprint("guess ", n), fmt.Sprintf("198.51.100.%d", n))
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

// Else whoever wants to lock somebody out need only fail in his name.
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
		"none": "", "another account's": mallorys.Device, "forged": home.Device[:len(home.Device)-4] + "AAAA", "another replica's": foreignDevice(t),
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
	keys, err := token.NewDeviceKeys([][]byte{[]byte(strings.Repeat("x", 32))})
	must(t, err)
	return keys.Make(time.Now(), "alice", [16]byte{1})
}

// A stolen device token must not be a way to guess without end, nor to keep the account itself busy.
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

// A limit that only accounts have would tell which names are accounts.
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
	l := startLimited(t, auth.RateLimits{Account: perHour(3), AccountDay: ratelimit.PerDay(100), Address: perHour(3)})
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
	_, err := l.Disable(t.Context(), "alice")
	must(t, err)
	l.want(auth.ErrDisabled, "alice", goodPassword, "192.0.2.1")
	l.want(auth.ErrDisabled, "alice", goodPassword, "192.0.2.1")
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
}

// A service that is too busy, or going down, must not lock out whoever asks it.
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
		{"192.0.2.5", "2002:c000:205:ffff::1", true},    // another subnet behind it
		{"2002:c000:206::1", "2002:c000:207::1", false}, // 6to4 of others
		{"64:ff9b::192.0.2.8", "192.0.2.8", true},       // NAT64
		{"64:ff9b::192.0.2.9", "64:ff9b::192.0.2.10", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:2::1", "2001:db8:0:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		l.exec("DELETE FROM rate_limits")
		l.pass(2 * time.Hour) // for the replica's memory
		l.want(auth.ErrUnknownUser, "nobody", "guess", test.first)
		want := auth.ErrUnknownUser
		if test.shared {
			want = auth.ErrLimited
		}
		l.want(want, "somebody", "guess", test.second)
	}
}

// The burst alone would let a patient guesser have 1,440 a day.
func TestAnAccountHasNoMoreThanItsFailuresOfADay(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: ratelimit.Limit{Burst: 2, Interval: time.Minute}, AccountDay: ratelimit.PerDay(6)})
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

// A flood that is refused by the database each time is still a flood of the database.
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
		_, err := l.SignUp(t.Context(), name, goodPassword, auth.Client{Address: address})
		return err
	}
	for range 5 { // what is no account is refused without being counted
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

// Whoever has stolen a session must not find the password by it, and with it the account.
func TestTheOwnPasswordCannotBeGuessedByWayOfItsChange(t *testing.T) {
	t.Parallel()
	l := startLimited(t, auth.RateLimits{Account: perHour(2)})
	l.register("alice")
	grant, err := l.try("alice", goodPassword, "192.0.2.1")
	must(t, err)
	access, err := l.Authenticate(grant.AccessToken)
	must(t, err)
	for n, want := range []string{"wrong_password", "wrong_password", "limited"} {
		_, err := l.ChangePassword(t.Context(), access, "guess", "another good password")
		if got := auth.Outcome(err); got != want {
			t.Errorf("%d: %v", n, err)
		}
	}
	l.want(nil, "alice", goodPassword, "192.0.2.1") // is not locked out by it
	l.pass(time.Hour)
	if _, err := l.ChangePassword(t.Context(), access, goodPassword, "another good password"); err != nil {
		t.Error(err)
	}
}

// Else a copy of the database would tell who has failed from where: names and addresses are few enough to try them all.
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
	access, err := l.Authenticate(grant.AccessToken)
	must(t, err)
	for range 2 { // the second is remembered
		_, _ = l.try("alice", "guess", "192.0.2.1")
		_, _ = l.ChangePassword(t.Context(), access, "guess", "another good password")
	}
	l.want(auth.ErrLimited, "alice", goodPassword, "192.0.2.1")
	_, err = l.Unlock(t.Context(), "Alice")
	must(t, err)
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	if _, err := l.ChangePassword(t.Context(), access, goodPassword, "another good password"); err != nil {
		t.Errorf("the own password: %v", err)
	}
	if _, err := l.Unlock(t.Context(), "nobody"); !errors.Is(err, auth.ErrUserNotFound) {
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
