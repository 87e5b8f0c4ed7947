package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// PgBouncer in transaction mode keeps no sessions: no prepared statements, no settings, no
// notifications.
func TestTheServiceWorksBehindATransactionPooler(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	r := boot(t, dbtest.Pooler(t, databaseURL), "--database-exec-mode=exec")
	token := r.loggedIn("alice", goodPassword)
	for range 5 { // on whichever session
		grant := r.do(r.loginRequest("alice", goodPassword))
		r.want(http.StatusOK, grant)
		r.want(http.StatusOK, r.do(r.refreshRequest(refreshTokenIn(t, grant))))
	}
	answers := r.atOnce(20, func() *http.Request { return r.meRequest(token) })
	for range 20 {
		r.want(http.StatusOK, <-answers)
	}
	verify := func() int {
		return r.do(r.request("GET", "/verify", "", "Authorization", "Bearer "+token)).status
	}
	if status := verify(); status != http.StatusNoContent {
		t.Errorf("/verify: %d", status)
	}

	_, err := openAdmin(t, databaseURL).Accounts.Disable(t.Context(), authtest.Operator(),
		auth.ByName("alice"), nil)
	must(t, err)
	r.want(http.StatusUnauthorized, r.do(r.meRequest(token)))
	asynctest.Await(t, "the ban to be polled",
		func() bool { return verify() == http.StatusUnauthorized })
	if len(r.log.lines(t, "no notifications: changes are only polled")) != 1 {
		t.Error("nobody was told that there are no notifications")
	}
}

func refreshTokenIn(t testing.TB, a answer) string {
	t.Helper()
	var body struct {
		Refresh string `json:"refresh_token"`
	}
	must(t, json.Unmarshal([]byte(a.body), &body))
	return body.Refresh
}

// No wait mends these settings. The operator must read what to change, and not that the service
// waits.
func TestAPoolerThatRefusesOurParametersEndsTheStart(t *testing.T) {
	t.Parallel()
	r := launch(t, dbtest.Pooler(t, dbtest.New(t)))
	<-r.ended
	if r.err == nil || !strings.Contains(r.err.Error(), "DATABASE_EXEC_MODE=exec") ||
		strings.Contains(r.err.Error(), "\n") {
		t.Error(r.err)
	}
}
