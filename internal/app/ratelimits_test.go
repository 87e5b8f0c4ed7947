package app_test

import (
	"net/http"
	"testing"
	"time"

	"gatehouse/internal/app"
	"gatehouse/internal/asynctest"
	"gatehouse/internal/config"
	"gatehouse/internal/dbtest"
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

// Each replica remembers whom it refuses, so that what one has reset, or the command line, is news to the others.
func TestAnAccountThatIsUnlockedFromOutsideLogsInAtEveryReplica(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	now := time.Now()
	stopped := func() time.Time { return now } // a refusal that is remembered is so for good
	first, second := launchWith(t, app.Options{Clock: stopped}, databaseURL, "--account-failures=1"), launchWith(t, app.Options{Clock: stopped}, databaseURL, "--account-failures=1")
	first.awaitStart()
	second.awaitStart()
	first.want(http.StatusCreated, first.do(first.registerRequest("alice", goodPassword)))
	first.want(http.StatusUnauthorized, first.do(first.loginRequest("alice", "wrong")))
	replicas := []*replica{first, second}
	for _, r := range replicas {
		r.want(http.StatusTooManyRequests, r.do(r.loginRequest("alice", goodPassword)))
	}
	_, err := openAdmin(t, databaseURL).Unlock(t.Context(), "Alice", config.Secrets{SecretKey: secretKey})
	must(t, err)
	for _, r := range replicas {
		asynctest.Await(t, "the account to be let in", func() bool {
			return r.do(r.loginRequest("alice", goodPassword)).status == http.StatusOK
		})
	}
}
