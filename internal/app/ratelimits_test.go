package app_test

import (
	"net/http"
	"testing"

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
