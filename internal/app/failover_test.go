package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"

	"gatehouse.example/internal/dbtest"
)

func hostOf(t testing.TB, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	return u.Host
}

// With both servers in the URL, the old primary comes first. It answers as a standby, which can
// serve nobody.
func TestAfterAFailOverTheNewPrimaryIsFoundThoughTheOldOneAnswers(t *testing.T) {
	t.Parallel()
	pair := dbtest.Replicated(t)
	first := hostOf(t, pair.Primary.URL())
	both := strings.Replace(pair.Primary.URL(), first, first+","+hostOf(t, pair.Standby.URL()), 1)
	r := boot(t, both)
	token := r.loggedIn("alice", goodPassword)

	pair.FailOver(t)
	r.awaitRecovery(token)
	r.want(http.StatusOK, r.do(r.loginRequest("alice", goodPassword)))
	later := boot(t, both) // its connections are all made while the old primary answers
	later.want(http.StatusCreated, later.do(later.registerRequest("bob", goodPassword)))
	pair.FailOver(t)
	r.awaitRecovery(token)
	r.want(http.StatusOK, r.do(r.loginRequest("alice", goodPassword)))
}

// One address may lead to the old primary for a while. A client that accepts any server even gets
// connections.
func TestAStandbyIsUnavailabilityAndNotReadyHoweverItIsReached(t *testing.T) {
	t.Parallel()
	pair := dbtest.Replicated(t)
	for name, parameter := range map[string]string{"the default": "",
		"any server": "&target_session_attrs=any"} {
		proxy, through := dbtest.Proxy(t, pair.Primary.URL())
		r := boot(t, through+parameter)
		token := r.loggedIn("alice"+strings.ReplaceAll(name, " ", ""), goodPassword)

		redirect(t, proxy, hostOf(t, pair.Standby.URL()))
		r.awaitReadiness(http.StatusServiceUnavailable)
		for range 3 {
			if a := r.do(
				r.registerRequest("newcomer",
					goodPassword)); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: registration on a standby: %d %v %s", name, a.status, a.header,
					a.body)
			}
			r.want(http.StatusServiceUnavailable, r.onOps("/readyz"))
		}

		redirect(t, proxy, hostOf(t, pair.Primary.URL()))
		r.awaitRecovery(token)
		r.want(http.StatusCreated,
			r.do(r.registerRequest("new"+strings.ReplaceAll(name, " ", ""), goodPassword)))
	}
}

// A server may change behind its connections: a proxy keeps them, and a standby answers.
func redirect(t testing.TB, proxy *toxiproxy.Proxy, upstream string) {
	t.Helper()
	proxy.Stop()
	proxy.Upstream = upstream
	must(t, proxy.Start())
}

// If all connections of the pool wait for one another, the service is slow. That is no reason to
// take it out of the load balancer.
func TestReadinessDoesNotWaitForABusyPool(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	const conns = 2
	r := boot(t, databaseURL, "--database-max-conns=2")
	table := lockUsers(t, databaseURL)
	answers := r.atOnce(2*conns, func() *http.Request { return r.meRequest(token) })
	table.awaitWaiting(conns)
	for range 5 {
		r.want(http.StatusOK, r.onOps("/readyz"))
	}
	table.unlock()
	for range 2 * conns {
		r.want(http.StatusOK, <-answers)
	}
}
