package auth_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// cuttable is a service whose statements can be stopped at a point, and whose connections can be
// cut there.
type cuttable struct {
	*clocked
	gate *pgx.Conn // a statement that reaches the point waits for it
	cut  *proxied
}

// proxied is a service behind a proxy, which can swallow what the database says.
type proxied struct {
	*fixture
	proxy *toxiproxy.Proxy
}

func startCuttable(t *testing.T) *cuttable {
	t.Helper()
	databaseURL := dbtest.New(t)
	proxy, through := dbtest.Proxy(t, databaseURL)
	c := &clocked{on(t, open(t, databaseURL), cost), connectTo(t, databaseURL), databaseURL}
	return &cuttable{c, connectTo(t, databaseURL), &proxied{on(t, open(t, through), cost), proxy}}
}

func connectTo(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dbtest.Owner(t, databaseURL))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (c *cuttable) exec(on *pgx.Conn, sql string) {
	c.Helper()
	_, err := on.Exec(c.Context(), sql)
	must(c, err)
}

// holdAt makes statements wait at a point. A point is the part of CREATE TRIGGER that says when.
func (c *cuttable) holdAt(point string) {
	c.Helper()
	c.exec(c.gate, `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$`)
	c.exec(c.gate, "CREATE "+point+" FOR EACH ROW EXECUTE FUNCTION hold()")
	c.exec(c.gate, "SELECT pg_advisory_lock(1)")
}

func (c *cuttable) letGo() {
	c.Helper()
	c.exec(c.gate, "SELECT pg_advisory_unlock(1)")
}

// held waits until a statement is at the point, and returns its backend.
func (c *cuttable) held() (pid int) {
	c.Helper()
	asynctest.Await(c, "a statement to be held up", func() bool {
		err := c.conn.QueryRow(c.Context(), `SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database AND datname = current_database()
			WHERE locktype = 'advisory' AND NOT granted`).Scan(&pid)
		if !errors.Is(err, pgx.ErrNoRows) {
			must(c, err)
		}
		return err == nil
	})
	return pid
}

// record returns what the tables say about a session.
type record struct {
	counter int64
	reason  string
	revoked int  // rows of revocations
	moved   bool // was used after the login
}

func (c *clocked) record(id uuid.UUID) (r record) {
	c.Helper()
	must(c, c.conn.QueryRow(c.Context(), `SELECT counter, coalesce(end_reason, ''), last_used_at > created_at,
			(SELECT count(*) FROM revocations WHERE session_id = sessions.id)
		FROM sessions WHERE id = $1`, id).Scan(&r.counter, &r.reason, &r.moved, &r.revoked))
	return r
}

// The points at which a statement on sessions or revocations can be cut off. The last one is after
// its commit.
var cutPoints = map[string]string{
	"before the session changes": "TRIGGER hold BEFORE UPDATE ON sessions",
	"after the session changed":  "TRIGGER hold AFTER UPDATE ON sessions",
	"before the revocation":      "TRIGGER hold BEFORE INSERT ON revocations",
	"after the revocation":       "TRIGGER hold AFTER INSERT ON revocations",
	"at the commit":              "CONSTRAINT TRIGGER hold AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED",
}

const answerLost = "when the answer is lost"

// If half of the end were stored, a session could be over while its access tokens pass /verify, or
// could go on although it was revoked.
func TestReuseCutOffAtAnyPointEndsTheSessionWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for _, name := range append(slices.Sorted(maps.Keys(cutPoints)), answerLost) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCuttable(t)
			c.register("alice")
			stolen := c.login("alice")
			current := c.mustRefresh(c.mustRefresh(stolen.RefreshToken).RefreshToken)
			session := c.access(stolen).SessionID
			before := c.record(session)
			c.cutOff(name, session, stolen.RefreshToken)

			after := c.record(session)
			want := before
			if name == answerLost {
				want.reason, want.revoked = "reuse", 1
			}
			if after != want {
				t.Errorf("%+v, want %+v", after, want)
			}
			if name != answerLost {
				c.wantMe("as if nothing had been", current, nil)
			}
			c.wantRefused("again", stolen.RefreshToken, auth.ErrInvalidGrant)
			c.wantRefused("the newest", current.RefreshToken, auth.ErrInvalidGrant)
			c.wantMe("the newest access token", current, auth.ErrInvalidToken)
			if got := c.record(session); got.reason != "reuse" || got.revoked != 1 {
				t.Errorf("in the end: %+v", got)
			}
		})
	}
}

// A client that does not know whether a refresh happened tries again. It must not be taken for a
// thief.
func TestARefreshCutOffAtAnyPointCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	for _, name := range append(slices.Sorted(maps.Keys(cutPoints)), answerLost) {
		if strings.Contains(cutPoints[name], "revocations") {
			continue // a refresh has no such statement
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCuttable(t)
			c.register("alice")
			grant := c.login("alice")
			session := c.access(grant).SessionID
			before := c.record(session)
			c.cutOff(name, session, grant.RefreshToken)

			after := c.record(session)
			want := before
			if name == answerLost {
				want.counter, want.moved = before.counter+1, true
			}
			if after != want {
				t.Errorf("%+v, want %+v", after, want)
			}
			next := c.mustRefresh(grant.RefreshToken)
			if got := c.record(session); got != (record{counter: before.counter + 1, moved: true}) {
				t.Errorf("in the end: %+v", got)
			}
			c.mustRefresh(next.RefreshToken)
			c.wantMe("refreshed", next, nil)
		})
	}
}

// cutOff refreshes on a connection that is cut at a point.
func (c *cuttable) cutOff(name string, session uuid.UUID, raw string) {
	c.Helper()
	if name == answerLost {
		c.loseAnswer(session, raw)
		return
	}
	c.holdAt(cutPoints[name])
	outcome := c.refreshing(c.fixture, raw)
	_, err := c.conn.Exec(c.Context(), "SELECT pg_terminate_backend($1)", c.held())
	must(c, err)
	if err := <-outcome; !errors.Is(err, auth.ErrUnavailable) {
		c.Errorf("cut off: %v", err)
	}
	c.letGo()
}

// loseAnswer lets the database do its work, but loses its answer.
func (c *cuttable) loseAnswer(session uuid.UUID, raw string) {
	c.Helper()
	before := c.record(session)
	c.holdAt(cutPoints["before the session changes"])
	outcome := c.refreshing(c.cut.fixture, raw)
	c.held()
	_, err := c.cut.proxy.Toxics.AddToxicJson(
		strings.NewReader(`{"name": "hang", "type": "timeout", "attributes": {"timeout": 0}}`),
	)
	must(c, err)
	c.letGo()
	asynctest.Await(c, "the commit", func() bool { return c.record(session) != before })
	c.cut.proxy.Stop()
	if err := <-outcome; !errors.Is(err, auth.ErrUnavailable) {
		c.Errorf("without an answer: %v", err)
	}
}

func (c *cuttable) refreshing(by *fixture, raw string) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		_, err := by.Tokens.Refresh(c.Context(), raw, client)
		outcome <- err
	}()
	return outcome
}

// The same at points that nobody has thought of. Connections are killed all the time, while a
// client tries again with the same token until it has an answer.
func TestAClientThatTriesAgainOutlivesAnyCuts(t *testing.T) {
	t.Parallel()
	c := startCuttable(t)
	c.register("alice")
	grants := []auth.Grant{c.login("alice")}
	session := c.access(grants[0]).SessionID
	stop := c.killAtRandom()
	interrupted := 0
	stubborn := func(raw string) (auth.Grant, error) {
		for {
			grant, err := c.Tokens.Refresh(t.Context(), raw, client)
			if !errors.Is(err, auth.ErrUnavailable) {
				return grant, err
			}
			interrupted++
			if got := c.record(session); (got.reason == "") != (got.revoked == 0) ||
				got.revoked > 1 {
				t.Errorf("half done: %+v", got)
			}
		}
	}
	// after fewer refreshes, no token is old enough to play the stolen one
	for n := 0; interrupted < 30 || len(grants) < 3; n++ {
		next, err := stubborn(grants[n].RefreshToken)
		must(t, err)
		if got := c.record(session); got != (record{counter: int64(n) + 1, moved: true}) {
			t.Fatalf("after %d refreshes: %+v", n+1, got)
		}
		grants = append(grants, next)
	}
	_, err := stubborn(grants[0].RefreshToken)
	if !errors.Is(err, auth.ErrInvalidGrant) {
		t.Errorf("stolen: %v", err)
	}
	stop()
	if got := c.record(session); got.reason != "reuse" || got.revoked != 1 ||
		got.counter != int64(len(grants)-1) {
		t.Errorf("in the end: %+v", got)
	}
}

// killAtRandom ends the service's connections again and again, until the test stops it.
func (c *cuttable) killAtRandom() (stop func()) {
	ended := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Duration(rand.IntN(int(10 * time.Millisecond)))):
			}
			if _, err := c.gate.Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'gatehouse'`); err != nil {
				c.Errorf("kill: %v", err)
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { close(ended); killer.Wait() })
	c.Cleanup(stop)
	return stop
}
