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

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/token"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	goodPassword = "correct horse battery staple"
	cost         = 5
)

// fixture is a service on a database of its own.
type fixture struct {
	*testing.T
	*authtest.Rules
	store   *db.DB
	hasher  *password.Hasher
	lane    *password.Lane
	keys    *token.RefreshKeys
	peppers *password.KeyRing
	limits  auth.SessionLimits
}

var client = auth.Caller{Address: "192.0.2.1", UserAgent: "test"}

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

// on builds the rules, with a hash cost and peppers.
func on(t *testing.T, store *db.DB, cost int, peppers ...string) *fixture {
	t.Helper()
	f := &fixture{
		T: t, store: store, lane: password.NewLane(password.LaneOptions{Threads: 2, Queue: 100}),
		peppers: ringOf(t, peppers...),
	}
	t.Cleanup(f.lane.Close)
	var err error
	f.hasher, err = password.NewHasher(f.lane, f.peppers, cost)
	must(t, err)
	f.limits = auth.SessionLimits{
		Idle: 24 * time.Hour, Absolute: 48 * time.Hour, Grace: 10 * time.Minute, PerUser: 100,
		RepeatElsewhere: true,
	}
	f.anew(store, authtest.Options{})
	must(t, f.Peppers.Claim(t.Context()))
	return f
}

// anew builds the rules anew, with the same hasher and limits.
func (f *fixture) anew(store auth.Store, o authtest.Options) {
	f.Helper()
	o.Hasher, o.Peppers, o.Limits = f.hasher, f.peppers, f.limits
	f.Rules = authtest.New(f.T, store, o)
	f.keys = f.RefreshKeys
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
	user, _, err := f.Accounts.Register(
		f.Context(), authtest.Operator(),
		auth.NewAccount{Username: username, Password: goodPassword},
	)
	must(f, err)
	return user
}

// imported makes a user whose hash was made elsewhere.
func (f *fixture) imported(username, hash string) {
	f.Helper()
	f.register(username)
	_, err := f.store.SetPassword(
		f.Context(), anEvent(), auth.Freely(), username, auth.StoredPassword{Hash: hash},
	)
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
	if _, err := f.Logins.Login(f.Context(), username, pw, client); !errors.Is(err, want) {
		f.Errorf("login of %s: %v, want %v", username, err, want)
	}
}

// duringHashing runs a login. It calls act after the password was read from the database and before
// it is hashed.
func (f *fixture) duringHashing(username string, act func()) error {
	f.Helper()
	return f.duringHashingOf(func() error {
		_, err := f.Logins.Login(f.Context(), username, goodPassword, client)
		return err
	}, act)
}

// duringHashingOf is duringHashing for something else that hashes a password.
func (f *fixture) duringHashingOf(do func() error, act func()) error {
	f.Helper()
	var wg sync.WaitGroup
	running, end := make(chan struct{}, 2), make(chan struct{})
	for range 2 {
		wg.Go(func() {
			_ = f.lane.Do(context.Background(), "", func() { running <- struct{}{}; <-end })
		})
	}
	<-running
	<-running
	outcome := make(chan error, 1)
	wg.Go(func() { outcome <- do() })
	for f.lane.Stats().Queued == 0 && len(outcome) == 0 {
		runtime.Gosched() // it is at the database, and then waits in the queue
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
		_, err := f.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
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
		_, _, err := other.Accounts.SetPassword(
			t.Context(), authtest.Operator(), auth.ByName("alice"),
			auth.NewPassword{Password: "another good password"},
		)
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
	grant, err := f.Logins.Login(t.Context(), "alice", goodPassword, client)
	must(t, err)
	access, err := f.Access.Authenticate(grant.AccessToken)
	must(t, err)
	if _, _, err := f.Access.Me(t.Context(), access); err != nil {
		t.Errorf("live: %v", err)
	}
	_, err = f.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	if _, _, err := f.Access.Me(t.Context(), access); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("disabled: %v", err)
	}
	_, err = f.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	if _, _, err := f.Access.Me(t.Context(), access); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("enabled again: %v", err)
	}
}

func TestDisablingTwiceRevokesOnceAndKeepsTheFirstTime(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	first, err := f.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("Alice"), nil)
	must(t, err)
	second, err := f.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	if !second.DisabledAt.Equal(*first.DisabledAt) || second.TokenVersion != first.TokenVersion ||
		second.UpdatedAt != first.UpdatedAt {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

func TestOperationsOnNobodyFindNobody(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, name := range []string{"nobody", "no body", ""} {
		who, by := auth.ByName(name), authtest.Operator()
		for op, do := range map[string]func(context.Context) (auth.User, error){
			"find": func(ctx context.Context) (auth.User, error) {
				return f.Accounts.Find(ctx, who)
			},
			"disable": func(ctx context.Context) (auth.User, error) {
				return f.Accounts.Disable(ctx, by, who, nil)
			},
			"enable": func(ctx context.Context) (auth.User, error) {
				return f.Accounts.Enable(ctx, by, who, nil)
			},
			"set a password": func(ctx context.Context) (auth.User, error) {
				user, _, err := f.Accounts.SetPassword(
					ctx, by, who, auth.NewPassword{Password: goodPassword},
				)
				return user, err
			},
		} {
			if _, err := do(t.Context()); !errors.Is(err, auth.ErrUserNotFound) {
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
		page, err := f.Accounts.List(t.Context(), auth.UserFilter{}, after, 2)
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

// Each step of cost doubles the work. A planted hash must not occupy a thread for hours.
func TestAHashOfTooHighACostLogsNobodyIn(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.imported("alice", "$2a$17$"+strings.Repeat(".", 53))
	before := f.hasher.Work()
	f.wantLogin("alice", goodPassword, auth.ErrUnusableHash)
	if got := f.hasher.Work() - before; got != 1<<cost {
		t.Errorf("work %d, want %d", got, 1<<cost)
	}
}

// Two logins that both replace an old hash must both succeed, since neither changed the password.
func TestTwoLoginsThatBothRehashBothSucceed(t *testing.T) {
	t.Parallel()
	f := start(t)
	plain, err := bcrypt.GenerateFromPassword([]byte(goodPassword), cost-1)
	must(t, err)
	f.imported("alice", string(plain))
	other := on(t, f.store, cost)
	// its hash is stored first
	err = f.duringHashing("alice", func() { other.wantLogin("alice", goodPassword, nil) })
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
	_, _, err := f.Accounts.SetPassword(
		t.Context(), authtest.Operator(), auth.ByName("alice"),
		auth.NewPassword{Password: "another good password"},
	)
	must(t, err)
	user, err := f.Accounts.Find(t.Context(), auth.ByName("alice"))
	must(t, err)
	must(t, f.store.RehashPassword(t.Context(), user.ID, old, old))
	f.wantLogin("alice", goodPassword, auth.ErrWrongPassword)
	f.wantLogin("alice", "another good password", nil)
}

// The work of a login must not reveal how old an account is.
func TestALowerStoredCostIsToppedUpToTheSameWork(t *testing.T) {
	t.Parallel()
	f := start(t)
	plain, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 4)
	must(t, err)
	f.imported("old", string(plain))
	f.register("new")
	for _, name := range []string{"old", "new", "nobody"} {
		before := f.hasher.Work()
		_, _ = f.Logins.Login(t.Context(), name, "wrong", client)
		if got := f.hasher.Work() - before; got != 1<<cost {
			t.Errorf("%s: work %d, want %d", name, got, 1<<cost)
		}
	}
}

// An imported account may have the hash of an empty password. No login may use it.
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
	users, err := second.Peppers.Users(t.Context())
	must(t, err)
	if len(users) != 3 || users["0"] != 0 || users[oldID] != 0 || users[newID] != 2 {
		t.Errorf("users by key: %v", users)
	}
	if err := auth.NewPeppers(f.store, ringOf(t, "b"), nil).Claim(t.Context()); err == nil ||
		!strings.Contains(err.Error(), oldID) {
		t.Errorf("without a key on record: %v", err)
	}
	must(t, second.Peppers.Retire(t.Context(), authtest.Operator(), oldID, unasked(t)))
	must(t, auth.NewPeppers(f.store, ringOf(t, "b"), nil).Claim(t.Context()))
}

// unasked fails a test if it is asked whether a key is to be retired.
func unasked(t *testing.T) func() error {
	return func() error {
		t.Helper()
		t.Error("it was asked whether a key is to be retired")
		return nil
	}
}

func TestAPasswordKeyThatIsNeededCannotBeRetired(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	peppers := auth.NewPeppers(f.store, ringOf(t, "a"), f.Audit)
	must(t, peppers.Claim(t.Context()))
	if err := peppers.Retire(
		t.Context(), authtest.Operator(), "0", unasked(t),
	); !errors.Is(err, auth.ErrPasswordKeyInUse) {
		t.Errorf("in use: %v", err)
	}
	if err := peppers.Retire(
		t.Context(), authtest.Operator(), peppers.Current(), unasked(t),
	); !errors.Is(err, auth.ErrPasswordKeyInUse) {
		t.Errorf("current: %v", err)
	}
	if err := peppers.Retire(
		t.Context(), authtest.Operator(), "feed", unasked(t),
	); !errors.Is(err, auth.ErrPasswordKeyNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

// A replica with another pepper under a recorded id would refuse every password hashed with the
// right one.
func TestAPasswordKeyWithAnotherValueThanTheOneOnRecordIsNamed(t *testing.T) {
	t.Parallel()
	store := open(t, dbtest.New(t))
	ring := ringOf(t, "a")
	must(t, store.RecordPasswordKey(
		t.Context(), password.KeyRecord{ID: ring.Current().ID, Check: make([]byte, 32)},
	))
	if err := auth.NewPeppers(store, ring, nil).Claim(t.Context()); err == nil ||
		!strings.Contains(err.Error(), ring.Current().ID) {
		t.Errorf("%v", err)
	}
}

// With the wrong key on record, no replica with the right keys would start.
func TestAProcessThatLacksAPasswordKeyPutsNoneOnRecord(t *testing.T) {
	t.Parallel()
	store := open(t, dbtest.New(t))
	peppers := func(secrets ...string) *auth.Peppers {
		return auth.NewPeppers(store, ringOf(t, secrets...), nil)
	}
	must(t, peppers("a").Claim(t.Context()))
	if err := peppers("b").Claim(t.Context()); err == nil {
		t.Error("a replica starts without a key on record")
	}
	if err := peppers("b").Prove(t.Context()); err == nil {
		t.Error("a command goes on without a key on record")
	}
	if err := peppers("b", "a").Prove(t.Context()); err == nil {
		t.Error("a command brought a key that the replicas lack")
	}
	recorded, err := store.PasswordKeys(t.Context())
	if err != nil || len(recorded) != 1 || recorded[0].ID != peppers("a").Current() {
		t.Errorf("%v, %v", recorded, err)
	}
}

func TestALoginWhoseCallerLeftIsNotStarted(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.register("alice")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := f.hasher.Work()
	if _, err := f.Logins.Login(
		ctx, "alice", goodPassword, client,
	); !errors.Is(err, context.Canceled) {
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
	_, err := f.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"), nil)
	must(t, err)
	for want, try := range map[string][2]string{
		"success": {"alice", goodPassword}, "wrong_password": {"alice", "x"},
		"unknown_user": {"nobody", "x"}, "disabled": {"disabled", goodPassword},
	} {
		_, err := f.Logins.Login(t.Context(), try[0], try[1], client)
		if got := auth.Outcome(err); got != want {
			t.Errorf("outcome %s, want %s (%v)", got, want, err)
		}
		if err != nil && !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%v is not ErrBadCredentials", err)
		}
	}
	_, _, err = f.Accounts.Register(
		t.Context(), authtest.Operator(), auth.NewAccount{Username: "a b", Password: "short"},
	)
	if got := auth.Outcome(err); got != "invalid_input" {
		t.Errorf("outcome %s of %v", got, err)
	}
}

// anEvent is for changes that tests make through the store.
func anEvent() auth.Event {
	return auth.Event{
		Action: auth.ActionSetPassword, Outcome: auth.Outcome(nil), By: authtest.Operator(),
	}
}

func keychainOf(t *testing.T, secret string) *keychain.Keychain {
	t.Helper()
	keys, err := keychain.New([][]byte{[]byte(secret)})
	must(t, err)
	return keys
}
