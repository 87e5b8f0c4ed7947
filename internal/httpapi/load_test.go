package httpapi

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

func TestOfManyRegistrationsOfOneNameAtOnceOneWins(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	names := []string{"alice", "Alice", "ALICE", "ａｌｉｃｅ", "aLICE"}
	statuses := atOnce(50,
		func(n int) int { return f.register(names[n%len(names)], goodPassword).status })
	if statuses[http.StatusCreated] != 1 || statuses[http.StatusConflict] != 49 {
		t.Errorf("%v, want one 201 and 49 409", statuses)
	}
	f.wantUsers(1)
}

// atOnce runs n calls at the same time, and counts what they return.
func atOnce(n int, call func(int) int) map[int]int {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		results = map[int]int{}
		begin   = make(chan struct{})
	)
	for i := range n {
		wg.Go(func() {
			<-begin
			result := call(i)
			mu.Lock()
			defer mu.Unlock()
			results[result]++
		})
	}
	close(begin)
	wg.Wait()
	return results
}

func TestAFullPasswordLaneRefusesLoginsAndNothingElse(t *testing.T) {
	t.Parallel()
	const queue = 3
	f := start(t, settings{queue: queue})
	raw := f.loggedIn("alice")
	release := authtest.FillLane(f.lane, 2, queue)
	before := f.store.Stat().AcquireCount()
	if a := f.login("alice", goodPassword); a.status != http.StatusServiceUnavailable ||
		f.store.Stat().AcquireCount() != before {
		t.Errorf("a login that is turned away reaches the database: %d", a.status)
	}
	for name, a := range map[string]answered{
		"login":           f.login("alice", goodPassword),
		"login of nobody": f.login("nobody", goodPassword),
		"registration":    f.register("bob", goodPassword),
	} {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	if a := f.me("Authorization", "Bearer "+raw); a.status != http.StatusOK {
		t.Errorf("/users/me under overload: %d %s", a.status, a.body)
	}
	release()
	if a := f.login("alice", goodPassword); a.status != http.StatusOK {
		t.Errorf("login after the overload: %d %s", a.status, a.body)
	}
	f.wantUsers(1)
}

// One address with one account and its password stopped everybody's logins: 503, eight times of
// eight.
func TestRightLoginsFromOneAddressKeepNobodyElseOut(t *testing.T) {
	t.Parallel()
	const queue, flood = 8, 50
	f := start(t, settings{queue: queue, trustedProxies: prefixes("127.0.0.0/8")})
	f.loggedIn("mallory")
	f.loggedIn("alice")
	release := authtest.FillLane(f.lane, 2, 0)
	defer release()
	answers := make(chan answered, flood)
	for range flood {
		go func() {
			answers <- f.loginWith("mallory", goodPassword, "X-Forwarded-For", "192.0.2.1")
		}()
	}
	asynctest.Await(t, "the flood", func() bool { return len(answers) == flood-queue })
	victim := make(chan answered, 1)
	go func() { victim <- f.loginWith("alice", goodPassword, "X-Forwarded-For", "198.51.100.1") }()
	asynctest.Await(t, "the victim to wait",
		func() bool { return len(answers) == flood-queue+1 || len(victim) == 1 })
	release()
	if a := <-victim; a.status != http.StatusOK {
		t.Errorf("the victim's login: %d %s", a.status, a.body)
	}
	statuses := map[int]int{}
	for range flood {
		a := <-answers
		statuses[a.status]++
		if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "1" {
			t.Errorf("a place is free again soon, and they are told %v", a.header)
		}
	}
	if statuses[http.StatusOK] != queue-1 ||
		statuses[http.StatusServiceUnavailable] != flood-queue+1 {
		t.Errorf("the flood: %v", statuses)
	}
}

// A caller who waits longer than a request may take is told to come back, and no work is done for
// them.
func TestALoginThatWaitsTooLongIsUnavailable(t *testing.T) {
	t.Parallel()
	f := start(t, settings{requestTimeout: 200 * time.Millisecond})
	_, _, err := f.rules.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "alice", Password: goodPassword})
	must(t, err)
	release := authtest.FillLane(f.lane, 2, 1)
	defer release()
	before := f.hasher.Work()
	if a := f.login("alice", goodPassword); a.status != http.StatusServiceUnavailable ||
		a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if after := f.hasher.Work(); after != before {
		t.Errorf("%d units of work were done for a request that nobody waits for", after-before)
	}
}

// The work of a login must not reveal whether there is such a user. The test counts it, and does
// not measure time.
func TestLoginsCostTheSameWorkForEveryKindOfUser(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("known")
	f.loggedIn("disabled")
	_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"),
		nil)
	must(t, err)
	for name, login := range map[string]func() answered{
		"unknown":            func() answered { return f.login("nobody", goodPassword) },
		"impossible":         func() answered { return f.login("no body", goodPassword) },
		"known":              func() answered { return f.login("known", goodPassword) },
		"known and wrong":    func() answered { return f.login("known", "wrong") },
		"known, with NUL":    func() answered { return f.login("known", "\x00") },
		"disabled":           func() answered { return f.login("disabled", goodPassword) },
		"disabled and wrong": func() answered { return f.login("disabled", "wrong") },
	} {
		before := f.hasher.Work()
		login()
		if got := f.hasher.Work() - before; got != 1<<cost {
			t.Errorf("%s: work %d, want %d", name, got, 1<<cost)
		}
	}
}
