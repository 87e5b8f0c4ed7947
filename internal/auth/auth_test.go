package auth_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"gatehouse/db"
	"gatehouse/internal/auth"
	"gatehouse/internal/dbtest"
	"gatehouse/internal/password"
	"gatehouse/internal/token"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	goodPassword = "correct horse battery staple"
	cost         = 5
)

// fixture is a service on a database of its own.
type fixture struct {
	*testing.T
	*auth.Service
	store  *db.DB
	hasher *password.Hasher
	lane   *password.Lane
	keys   *token.RefreshKeys
	limits auth.SessionLimits
}

var client = auth.Client{Address: "192.0.2.1", UserAgent: "test"}

func start(t *testing.T) *fixture {
	t.Helper()
	return on(t, open(t, dbtest.New(t)), cost)
}

func open(t *testing.T, url string) *db.DB {
	t.Helper()
	store, err := db.Open(context.Background(), db.Options{URL: url, StatementTimeout: time.Minute})
	must(t, err)
	t.Cleanup(store.Close)
	return store
}

// on makes a service that hashes at a cost and under peppers.
func on(t *testing.T, store *db.DB, cost int, peppers ...string) *fixture {
	t.Helper()
	f := &fixture{T: t, store: store, lane: password.NewLane(password.LaneOptions{Threads: 2, Queue: 100})}
	t.Cleanup(f.lane.Close)
	ring := ringOf(t, peppers...)
	must(t, auth.ClaimPasswordKeys(t.Context(), store, ring))
	var err error
	f.hasher, err = password.NewHasher(f.lane, ring, cost)
	must(t, err)
	f.keys, err = token.NewRefreshKeys([][]byte{[]byte(strings.Repeat("k", 32))})
	must(t, err)
	f.limits = auth.SessionLimits{Idle: 24 * time.Hour, Absolute: 48 * time.Hour, Grace: 10 * time.Minute, PerUser: 100}
	f.Service = auth.NewService(auth.Parts{
		Store: store, Hasher: f.hasher, Tokens: issuer(t), TokenCache: 1000, Refresh: f.keys, Limits: f.limits, Clock: time.Now,
		SecretLifetime: time.Hour,
	})
	return f
}

func issuer(t *testing.T) *token.Issuer {
	t.Helper()
	ring, err := token.SecretRing([][]byte{[]byte(strings.Repeat("k", 32))})
	must(t, err)
	i, err := token.NewIssuer(token.Settings{
		Ring: ring, Issuer: "https://id.test", Audience: "test", Lifetime: time.Hour,
	})
	must(t, err)
	return i
}

func ringOf(t *testing.T, peppers ...string) *password.KeyRing {
	t.Helper()
	keys := make([][]byte, len(peppers))
	for n, p := range peppers {
		keys[n] = []byte(strings.Repeat(p, 32))
	}
	ring, err := password.NewKeyRing(keys)
	must(t, err)
	return ring
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) register(username string) auth.User {
	f.Helper()
	user, err := f.Register(f.Context(), username, goodPassword)
	must(f, err)
	return user
}

// imported is a user whose hash was made elsewhere.
func (f *fixture) imported(username, hash string) {
	f.Helper()
	f.register(username)
	_, err := f.store.SetPassword(f.Context(), anEvent(), username, auth.StoredPassword{Hash: hash})
	must(f, err)
}

func (f *fixture) hashOf(username string) string {
	f.Helper()
	found, err := f.store.CredentialsByKey(f.Context(), username)
	must(f, err)
	return found.PasswordHash
}

func (f *fixture) wantLogin(username, pw string, want error) {
	f.Helper()
	if _, err := f.Login(f.Context(), username, pw, client); !errors.Is(err, want) {
		f.Errorf("login of %s: %v, want %v", username, err, want)
	}
}

// duringHashing runs a login and does act after the password was read from the database and before it is hashed.
func (f *fixture) duringHashing(username string, act func()) error {
	f.Helper()
	var wg sync.WaitGroup
	running, end := make(chan struct{}, 2), make(chan struct{})
	for range 2 {
		wg.Go(func() { _ = f.lane.Do(context.Background(), func() { running <- struct{}{}; <-end }) })
	}
	<-running
	<-running
	outcome := make(chan error, 1)
	wg.Go(func() {
		_, err := f.Login(f.Context(), username, goodPassword, client)
		outcome <- err
	})
	for f.lane.Stats().Queued == 0 && len(outcome) == 0 {
		runtime.Gosched() // the login is at the database, and then waits in the queue
	}
	act()
	close(end)
	wg.Wait()
	return <-outcome
}

func TestAnAccountDisabledWhileItsPasswordIsHashedDoesNotLogIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	err := f.duringHashing("alice", func() {
		_, err := f.Disable(t.Context(), "alice")
		must(t, err)
	})
	if !errors.Is(err, auth.ErrDisabled) {
		t.Errorf("login: %v", err)
	}
}

func TestAPasswordReplacedWhileItIsHashedDoesNotLogIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	other := on(t, f.store, cost) // f's own lane is taken
	err := f.duringHashing("alice", func() {
		_, err := other.SetPassword(t.Context(), "alice", "another good password")
		must(t, err)
	})
	if !errors.Is(err, auth.ErrSuperseded) {
		t.Errorf("login: %v", err)
	}
}

func TestATokenFromBeforeADisableIsRefusedThoughTheAccountIsEnabledAgain(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	grant, err := f.Login(t.Context(), "alice", goodPassword, client)
	must(t, err)
	access, err := f.Authenticate(grant.AccessToken)
	must(t, err)
	if _, err := f.Me(t.Context(), access); err != nil {
		t.Errorf("live: %v", err)
	}
	_, err = f.Disable(t.Context(), "alice")
	must(t, err)
	if _, err := f.Me(t.Context(), access); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("disabled: %v", err)
	}
	_, err = f.Enable(t.Context(), "alice")
	must(t, err)
	if _, err := f.Me(t.Context(), access); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("enabled again: %v", err)
	}
}

func TestDisablingTwiceRevokesOnceAndKeepsTheFirstTime(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	first, err := f.Disable(t.Context(), "Alice")
	must(t, err)
	second, err := f.Disable(t.Context(), "alice")
	must(t, err)
	if !second.DisabledAt.Equal(*first.DisabledAt) || second.TokenVersion != first.TokenVersion || second.UpdatedAt != first.UpdatedAt {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

func TestOperationsOnNobodyFindNobody(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, name := range []string{"nobody", "no body", ""} {
		for op, do := range map[string]func(context.Context, string) (auth.User, error){
			"User": f.User, "Disable": f.Disable, "Enable": f.Enable,
			"SetPassword": func(ctx context.Context, name string) (auth.User, error) {
				return f.SetPassword(ctx, name, goodPassword)
			},
		} {
			if _, err := do(t.Context(), name); !errors.Is(err, auth.ErrUserNotFound) {
				t.Errorf("%s of %q: %v", op, name, err)
			}
		}
	}
}

func TestListGoesThroughAllUsersPageByPage(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, name := range []string{"Carol", "alice", "bob", "Dave", "eve"} {
		f.register(name)
	}
	var got []string
	for after := ""; ; {
		page, err := f.FindUsers(t.Context(), auth.UserFilter{}, after, 2)
		must(t, err)
		for _, u := range page {
			got = append(got, u.Username.Given)
		}
		if len(page) < 2 {
			break
		}
		after = page[1].Username.Key
	}
	if want := "alice bob Carol Dave eve"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestAnImportedHashLogsInAndIsThenOneOfOurs(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, prefix := range []string{"$2a$", "$2b$", "$2y$"} {
		plain, err := bcrypt.GenerateFromPassword([]byte(goodPassword), cost)
		must(t, err)
		name := "user" + strings.Trim(prefix, "$")
		f.imported(name, prefix+string(plain[4:]))
		f.wantLogin(name, "wrong", auth.ErrWrongPassword)
		if f.hashOf(name) != prefix+string(plain[4:]) {
			t.Errorf("%s: a wrong password changed the hash", prefix)
		}
		f.wantLogin(name, goodPassword, nil)
		if got := f.hashOf(name); !strings.HasPrefix(got, "$hmac-sha256$k=0$") {
			t.Errorf("%s: after the login it is %s", prefix, got)
		}
		f.wantLogin(name, goodPassword, nil)
		f.wantLogin(name, "wrong", auth.ErrWrongPassword)
	}
}

// Each step of cost doubles the work: a planted hash must not hold a thread for hours.
func TestAHashOfTooHighACostLogsNobodyIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	plain, err := bcrypt.GenerateFromPassword([]byte(goodPassword), cost+3)
	must(t, err)
	f.imported("alice", string(plain))
	before := f.hasher.Work()
	f.wantLogin("alice", goodPassword, auth.ErrUnusableHash)
	if got := f.hasher.Work() - before; got != 1<<cost {
		t.Errorf("work %d, want %d", got, 1<<cost)
	}
}

// Two logins that both replace an old hash must both succeed: neither changed the password.
func TestTwoLoginsThatBothRehashBothSucceed(t *testing.T) {
	t.Parallel()
	f := start(t)
	plain, err := bcrypt.GenerateFromPassword([]byte(goodPassword), cost-1)
	must(t, err)
	f.imported("alice", string(plain))
	other := on(t, f.store, cost)
	err = f.duringHashing("alice", func() { other.wantLogin("alice", goodPassword, nil) }) // whose hash is there first
	if err != nil {
		t.Errorf("second login: %v", err)
	}
	f.wantLogin("alice", goodPassword, nil)
}

// A rehash must not bring back a password that was replaced while the old one was being hashed.
func TestARehashThatIsTooLateChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	old := f.hashOf("alice")
	_, err := f.SetPassword(t.Context(), "alice", "another good password")
	must(t, err)
	user, err := f.User(t.Context(), "alice")
	must(t, err)
	must(t, f.store.RehashPassword(t.Context(), user.ID, old, old))
	f.wantLogin("alice", goodPassword, auth.ErrWrongPassword)
	f.wantLogin("alice", "another good password", nil)
}

// The work of a login must not tell how old an account is.
func TestALowerStoredCostIsToppedUpToTheSameWork(t *testing.T) {
	t.Parallel()
	f := start(t)
	plain, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 4)
	must(t, err)
	f.imported("old", string(plain))
	f.register("new")
	for _, name := range []string{"old", "new", "nobody"} {
		before := f.hasher.Work()
		_, _ = f.Login(t.Context(), name, "wrong", client)
		if got := f.hasher.Work() - before; got != 1<<cost {
			t.Errorf("%s: work %d, want %d", name, got, 1<<cost)
		}
	}
}

// An imported account may have been made with no password at all, which no login may use.
func TestAnEmptyPasswordLogsNobodyIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	empty, err := bcrypt.GenerateFromPassword(nil, cost)
	must(t, err)
	f.imported("alice", string(empty))
	f.wantLogin("alice", "", auth.ErrWrongPassword)
}

func TestAHigherCostIsReachedAtTheNextLogin(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	stronger := on(t, f.store, cost+1)
	stronger.wantLogin("alice", goodPassword, nil)
	if got := f.hashOf("alice"); !strings.Contains(got, "$06$") {
		t.Errorf("after the login the hash is %s", got)
	}
}

func TestAPepperCanBeRotatedWithoutLockingAnybodyOut(t *testing.T) {
	t.Parallel()
	f := start(t) // no pepper
	f.register("alice")
	f.register("bob")
	first := on(t, f.store, cost, "a")
	first.wantLogin("alice", goodPassword, nil)
	second := on(t, f.store, cost, "b", "a")
	second.wantLogin("alice", goodPassword, nil)
	second.wantLogin("bob", goodPassword, nil)
	oldID, newID := ringOf(t, "a").Current().ID, ringOf(t, "b").Current().ID
	users, err := second.PasswordKeyUsers(t.Context())
	must(t, err)
	if len(users) != 3 || users["0"] != 0 || users[oldID] != 0 || users[newID] != 2 {
		t.Errorf("users by key: %v", users)
	}
	if err := auth.ClaimPasswordKeys(t.Context(), f.store, ringOf(t, "b")); err == nil || !strings.Contains(err.Error(), oldID) {
		t.Errorf("without a key on record: %v", err)
	}
	must(t, second.RetirePasswordKey(t.Context(), ringOf(t, "b", "a"), oldID))
	must(t, auth.ClaimPasswordKeys(t.Context(), f.store, ringOf(t, "b")))
}

func TestAPasswordKeyThatIsNeededCannotBeRetired(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	ring := ringOf(t, "a")
	if err := f.RetirePasswordKey(t.Context(), ring, "0"); !errors.Is(err, auth.ErrPasswordKeyInUse) {
		t.Errorf("in use: %v", err)
	}
	if err := f.RetirePasswordKey(t.Context(), ring, ring.Current().ID); !errors.Is(err, auth.ErrPasswordKeyInUse) {
		t.Errorf("current: %v", err)
	}
	if err := f.RetirePasswordKey(t.Context(), ring, "feed"); !errors.Is(err, auth.ErrPasswordKeyNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

// A replica with another pepper under a recorded id would refuse every password hashed with the right one.
func TestAPasswordKeyWithAnotherValueThanTheOneOnRecordIsNamed(t *testing.T) {
	t.Parallel()
	store := open(t, dbtest.New(t))
	ring := ringOf(t, "a")
	must(t, store.RecordPasswordKey(t.Context(), password.KeyRecord{ID: ring.Current().ID, Check: make([]byte, 32)}))
	if err := auth.ClaimPasswordKeys(t.Context(), store, ring); err == nil || !strings.Contains(err.Error(), ring.Current().ID) {
		t.Errorf("%v", err)
	}
}

func TestALoginWhoseCallerLeftIsNotStarted(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := f.hasher.Work()
	if _, err := f.Login(ctx, "alice", goodPassword, client); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if f.hasher.Work() != before {
		t.Error("work was done for nobody")
	}
}

func TestOutcomeNamesTheReasonOfARefusal(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	f.register("disabled")
	_, err := f.Disable(t.Context(), "disabled")
	must(t, err)
	for want, try := range map[string][2]string{
		"success": {"alice", goodPassword}, "wrong_password": {"alice", "x"}, "unknown_user": {"nobody", "x"}, "disabled": {"disabled", goodPassword},
	} {
		_, err := f.Login(t.Context(), try[0], try[1], client)
		if got := auth.Outcome(err); got != want {
			t.Errorf("outcome %s, want %s (%v)", got, want, err)
		}
		if err != nil && !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%v is not ErrBadCredentials", err)
		}
	}
	_, err = f.Register(t.Context(), "a b", "short")
	if got := auth.Outcome(err); got != "invalid_input" {
		t.Errorf("outcome %s of %v", got, err)
	}
}

// anEvent is for what tests do by way of the store.
func anEvent() auth.Event {
	return auth.Event{Action: auth.ActionSetPassword, Outcome: auth.Outcome(nil), Origin: auth.Origin{Actor: auth.ActorOperator}}
}
