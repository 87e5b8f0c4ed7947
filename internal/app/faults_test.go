package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
)

// If the database is down for a while, for an upgrade or a fail-over, that must cost requests, but
// no restart.
func TestServiceOutlivesItsDatabase(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t)
	r := boot(t, server.URL())
	token := r.loggedIn("alice", goodPassword)

	server.Stop(t)
	r.wantUnavailable(token)
	r.want(http.StatusServiceUnavailable, r.onOps("/readyz"))
	r.want(http.StatusOK, r.onOps("/livez"))

	server.Start(t)
	r.awaitRecovery(token)
	r.want(http.StatusOK, r.do(r.loginRequest("alice", goodPassword)))
}

// wantUnavailable checks that everything that needs the database is refused as the contract says.
func (r *replica) wantUnavailable(token string) {
	r.Helper()
	for name, request := range map[string]*http.Request{
		"GET /users/me": r.meRequest(token),
		"POST /token":   r.loginRequest("alice", goodPassword),
		"POST /users":   r.registerRequest("newcomer", goodPassword),
	} {
		if a := r.do(request); a.status != http.StatusServiceUnavailable ||
			a.header.Get("Retry-After") == "" {
			r.Errorf("%s without a database: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	r.want(http.StatusUnauthorized, r.do(r.meRequest("no token")))
}

// awaitRecovery waits until requests succeed again. The first ones may meet connections that have
// died unnoticed.
func (r *replica) awaitRecovery(token string) {
	r.Helper()
	r.awaitReadiness(http.StatusOK)
	asynctest.Await(r, "/users/me to work again",
		func() bool { return r.do(r.meRequest(token)).status == http.StatusOK })
}

// dbProxy stands between a service and its database.
type dbProxy struct {
	*toxiproxy.Proxy
	t   testing.TB
	url string // of the database behind it
}

func startProxy(t testing.TB, databaseURL string) *dbProxy {
	t.Helper()
	proxy, through := dbtest.Proxy(t, databaseURL)
	return &dbProxy{proxy, t, through}
}

// hang swallows what the database sends, without closing a connection.
func (p *dbProxy) hang() {
	p.t.Helper()
	_, err := p.Toxics.AddToxicJson(
		strings.NewReader(`{"name": "hang", "type": "timeout", "attributes": {"timeout": 0}}`))
	must(p.t, err)
}

func (p *dbProxy) recover() {
	p.t.Helper()
	must(p.t, p.Toxics.RemoveToxic(context.Background(), "hang"))
}

// A database that neither answers nor refuses is the worst: without a deadline, every request would
// hang.
func TestRequestsAreAnsweredWhileTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	var user uuid.UUID
	must(t, connect(t, databaseURL).QueryRow(t.Context(), "SELECT id FROM users").Scan(&user))
	cookie, _ := insertBrowser(t, databaseURL, user)
	proxy := startProxy(t, databaseURL)
	r := boot(t, proxy.url, "--request-timeout=1s")

	proxy.hang()
	r.want(http.StatusServiceUnavailable,
		r.do(r.request("GET", "/verify", "", "Cookie", "gatehouse="+cookie)))
	r.wantUnavailable(token)
	r.want(http.StatusServiceUnavailable, r.onOps("/readyz"))
	r.want(http.StatusOK, r.onOps("/livez"))
	proxy.recover()
	r.awaitRecovery(token)
}

// A replica must be able to leave while its database hangs, with all the connections it holds.
func TestServiceStopsWhileTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	proxy := startProxy(t, dbtest.New(t))
	r := boot(t, proxy.url, "--request-timeout=1s")
	proxy.hang()
	defer proxy.recover()
	r.want(http.StatusServiceUnavailable, r.onOps("/readyz"))
	r.stop()
}

// A fail-over cuts connections in the middle of a query. Nobody knows how the query ended, so the
// answer must not be a success.
func TestConnectionsCutInMidFlightAreUnavailability(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	proxy := startProxy(t, databaseURL)
	r := boot(t, proxy.url)
	token := insertUser(t, databaseURL)

	table := lockUsers(t, databaseURL)
	const requests = 4
	answers := r.atOnce(requests, func() *http.Request { return r.meRequest(token) })
	table.awaitWaiting(requests)
	proxy.Stop()
	for range requests {
		r.want(http.StatusServiceUnavailable, <-answers)
	}
	table.unlock()
	must(t, proxy.Start())
	r.awaitRecovery(token)
}

// usersLock makes every query of the table users wait.
type usersLock struct {
	t     testing.TB
	conn  *pgx.Conn // holds the lock
	watch *pgx.Conn
}

func lockUsers(t testing.TB, databaseURL string) *usersLock {
	t.Helper()
	l := &usersLock{t, connect(t, databaseURL), connect(t, databaseURL)}
	_, err := l.conn.Exec(t.Context(), "BEGIN; LOCK TABLE users")
	must(t, err)
	return l
}

// awaitWaiting returns when so many queries wait for the table.
func (l *usersLock) awaitWaiting(queries int) {
	l.t.Helper()
	asynctest.Await(l.t, "requests to reach the database", func() bool {
		var waiting int
		// The databases of tests are copies of one: their tables have the same oids.
		err := l.watch.QueryRow(l.t.Context(), `SELECT count(*) FROM pg_locks
			JOIN pg_database ON pg_database.oid = database AND datname = current_database()
			WHERE relation = 'users'::regclass AND NOT granted`).Scan(&waiting)
		must(l.t, err)
		return waiting == queries
	})
}

func (l *usersLock) unlock() {
	l.t.Helper()
	_, err := l.conn.Exec(l.t.Context(), "ROLLBACK")
	must(l.t, err)
}
