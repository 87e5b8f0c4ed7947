package app_test

import (
	"net/http"
	"testing"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
)

func TestNoMoreThanTheLimitOfAnAccountFails(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t), "--account-failures=1")
	r.want(http.StatusUnauthorized, r.do(r.loginRequest("nobody", "wrong")))
	r.want(http.StatusTooManyRequests, r.do(r.loginRequest("Nobody", "wrong")))
}

func TestNoMoreThanTheLimitOfAnAddressRegisters(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t), "--address-registrations=1")
	r.want(http.StatusCreated, r.do(r.registerRequest("alice", goodPassword)))
	r.want(http.StatusTooManyRequests, r.do(r.registerRequest("bob", goodPassword)))
}

// Each replica remembers whom it refuses. So a reset by another replica, or by the command line,
// must reach it.
func TestAnAccountThatIsUnlockedFromOutsideLogsInAtEveryReplica(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	now := time.Now()
	// with a stopped clock, a remembered refusal lasts for ever
	stopped := func() time.Time { return now }
	first, second := launchWith(t, app.Options{Clock: stopped}, databaseURL,
		"--account-failures=1"), launchWith(t, app.Options{Clock: stopped}, databaseURL,
		"--account-failures=1")
	first.awaitStart()
	second.awaitStart()
	first.want(http.StatusCreated, first.do(first.registerRequest("alice", goodPassword)))
	first.want(http.StatusUnauthorized, first.do(first.loginRequest("alice", "wrong")))
	replicas := []*replica{first, second}
	for _, r := range replicas {
		r.want(http.StatusTooManyRequests, r.do(r.loginRequest("alice", goodPassword)))
	}
	limits, err := openAdmin(t, databaseURL).Limits(t.Context(),
		config.Secrets{SecretKey: secretKey})
	must(t, err)
	_, err = limits.Unlock(t.Context(), authtest.Operator(), auth.ByName("Alice"))
	must(t, err)
	for _, r := range replicas {
		asynctest.Await(t, "the account to be let in", func() bool {
			return r.do(r.loginRequest("alice", goodPassword)).status == http.StatusOK
		})
	}
}
