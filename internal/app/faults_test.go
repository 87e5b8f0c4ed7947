package app_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"gatehouse/internal/dbtest"
	"gatehouse/internal/token"
)

// A database that is down for a while, for an upgrade or a fail-over, must cost requests but no restart.
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

// wantUnavailable holds that everything which needs the database is refused as the contract says.
func (r *replica) wantUnavailable(token string) {
	r.Helper()
	for name, request := range map[string]*http.Request{
		"GET /users/me": r.meRequest(token),
		"POST /token":   r.loginRequest("alice", goodPassword),
		"POST /users":   r.registerRequest("newcomer", goodPassword),
	} {
		if a := r.do(request); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			r.Errorf("%s without a database: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	r.want(http.StatusUnauthorized, r.do(r.meRequest("no token")))
}

// awaitRecovery waits until requests succeed again: connections that died unnoticed may take the first ones with them.
func (r *replica) awaitRecovery(token string) {
	r.Helper()
	r.awaitReadiness(http.StatusOK)
	await(r, "/users/me to work again", func() bool { return r.do(r.meRequest(token)).status == http.StatusOK })
}

// dbProxy stands between a service and its database. Toxiproxy is here because it can keep a connection open and
// silent, as a broken network does.
type dbProxy struct {
	*toxiproxy.Proxy
	t   testing.TB
	url string // of the database behind it
}

func startProxy(t testing.TB, databaseURL string) *dbProxy {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "database", dbtest.FreeAddr(t), u.Host) // where it can start again
	must(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	u.Host = proxy.Listen
	return &dbProxy{proxy, t, u.String()}
}

// hang swallows what the database says, without closing a connection.
func (p *dbProxy) hang() {
	p.t.Helper()
	_, err := p.Toxics.AddToxicJson(strings.NewReader(`{"name": "hang", "type": "timeout", "attributes": {"timeout": 0}}`))
	must(p.t, err)
}

func (p *dbProxy) recover() {
	p.t.Helper()
	must(p.t, p.Toxics.RemoveToxic(context.Background(), "hang"))
}

// A database that neither answers nor refuses is the worst of all: without a deadline every request would hang.
func TestRequestsAreAnsweredWhileTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	proxy := startProxy(t, databaseURL)
	r := boot(t, proxy.url, "--request-timeout=1s")

	proxy.hang()
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

// A fail-over cuts connections in the middle of a query: nobody knows how it ended, so it must not be a success.
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

// A refresh, or the end of a stolen session, must not be done by half, however its transaction ends; and whoever tries
// again must get a consistent answer.
func TestARefreshThatIsCutOffIsDoneWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	const kill, cut = true, false
	for _, test := range []struct {
		name    string
		counter int64 // of the session; the token is the one with 0
		killed  bool  // the server's process; else only its connection is cut, and it goes on
		after   sessionRow
		retried int
	}{
		{"refresh, killed", 0, kill, sessionRow{counter: 0}, http.StatusOK},
		{"refresh, cut", 0, cut, sessionRow{counter: 1}, http.StatusOK},
		{"reuse, killed", 2, kill, sessionRow{counter: 2}, http.StatusBadRequest},
		{"reuse, cut", 2, cut, sessionRow{counter: 2, ended: true, revocations: 1}, http.StatusBadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			proxy := startProxy(t, databaseURL)
			r := boot(t, proxy.url)
			row := lockSession(t, databaseURL, test.counter)
			answers := r.atOnce(1, func() *http.Request { return r.refreshRequest(row.token) })
			pid := row.awaitWaiting()
			if test.killed {
				_, err := row.watch.Exec(t.Context(), "SELECT pg_terminate_backend($1)", pid)
				must(t, err)
			} else {
				proxy.Stop()
			}
			r.want(http.StatusServiceUnavailable, <-answers)
			row.unlock()
			if !test.killed {
				must(t, proxy.Start())
			}
			await(t, "the end of the transaction", func() bool { return row.read() == test.after })
			r.awaitReadiness(http.StatusOK)
			var a answer
			await(t, "connections that work", func() bool {
				a = r.do(r.refreshRequest(row.token))
				return a.status != http.StatusServiceUnavailable
			})
			r.want(test.retried, a)
			want := sessionRow{counter: 1}
			if test.counter == 2 {
				want = sessionRow{counter: 2, ended: true, revocations: 1}
			}
			if got := row.read(); got != want {
				t.Errorf("after another try: %+v, want %+v", got, want)
			}
		})
	}
}

// sessionLock keeps whoever wants to change a session waiting.
type sessionLock struct {
	t           testing.TB
	conn, watch *pgx.Conn // one holds the lock
	token       string    // refresh token 0
}

// sessionRow is what is stored of the only session.
type sessionRow struct {
	counter     int64
	ended       bool
	revocations int
}

func lockSession(t testing.TB, databaseURL string, counter int64) *sessionLock {
	t.Helper()
	insertUser(t, databaseURL)
	l := &sessionLock{t: t, conn: connect(t, databaseURL), watch: connect(t, databaseURL)}
	var id uuid.UUID
	var salt []byte
	must(t, l.conn.QueryRow(t.Context(), "UPDATE sessions SET counter = $1 RETURNING id, salt", counter).Scan(&id, &salt))
	keys, err := token.NewRefreshKeys([][]byte{[]byte(secretKey)})
	must(t, err)
	l.token = keys.Make(id, 0, salt)
	_, err = l.conn.Exec(t.Context(), "BEGIN; SELECT FROM sessions FOR UPDATE")
	must(t, err)
	return l
}

// awaitWaiting returns the process that waits.
func (l *sessionLock) awaitWaiting() (pid int) {
	l.t.Helper()
	await(l.t, "the request to reach the session", func() bool {
		err := l.watch.QueryRow(l.t.Context(), `SELECT pid FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&pid)
		return err == nil
	})
	return pid
}

func (l *sessionLock) unlock() {
	l.t.Helper()
	_, err := l.conn.Exec(l.t.Context(), "ROLLBACK")
	must(l.t, err)
}

func (l *sessionLock) read() (row sessionRow) {
	l.t.Helper()
	must(l.t, l.watch.QueryRow(l.t.Context(), `SELECT counter, ended_at IS NOT NULL, (SELECT count(*) FROM revocations WHERE session_id = sessions.id)
		FROM sessions`).Scan(&row.counter, &row.ended, &row.revocations))
	return row
}

// usersLock keeps every query of the table users waiting.
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

// awaitWaiting returns when as many queries wait for the table.
func (l *usersLock) awaitWaiting(queries int) {
	l.t.Helper()
	await(l.t, "requests to reach the database", func() bool {
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
