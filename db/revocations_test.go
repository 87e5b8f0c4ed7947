package db

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// following is a set that is kept up to date with a database of its own.
type following struct {
	*testing.T
	*revocation.Set
	db    *DB
	log   *asynctest.Buffer
	reads chan bool     // full or not, of each read that missed nothing
	ended chan struct{} // closed when nothing of it runs any more
	end   context.CancelFunc
}

// never is the poll interval of tests in which only notifications or reconnecting may bring news.
const never = time.Hour

func startFollowing(t *testing.T, databaseURL string, poll time.Duration) *following {
	t.Helper()
	return followBy(t, time.Now, databaseURL, poll)
}

// testLifetime is that of access tokens.
const testLifetime = 30 * time.Minute

// followBy is startFollowing on a replica with a clock of its own.
func followBy(t *testing.T, clock func() time.Time, databaseURL string, poll time.Duration) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{
		T: t, Set: revocation.NewSet(clock(), testLifetime), db: open(t, Options{URL: databaseURL}),
		log: &asynctest.Buffer{}, reads: make(chan bool, 1000), ended: make(chan struct{}), end: cancel,
	}
	log := slog.New(slog.NewTextHandler(f.log, nil))
	listener := f.db.NewListener(log)
	follower := NewFollower(listener, f.Set, FollowOptions{
		Clock: clock, Log: log, Poll: poll, Longest: time.Minute, Read: func(full bool) {
			select {
			case f.reads <- full:
			default: // nobody counts as many
			}
		},
	})
	go func() {
		defer close(f.ended)
		var running sync.WaitGroup
		running.Go(func() { listener.Run(ctx) })
		running.Go(func() { follower.Run(ctx) })
		running.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-f.ended
		if t.Failed() {
			t.Logf("log of the follower:\n%s", f.log)
		}
	})
	return f
}

// wantRead waits for the next read that missed nothing.
func (f *following) wantRead(full bool) {
	f.Helper()
	select {
	case got := <-f.reads:
		if got != full {
			f.Fatalf("full is %t, want %t", got, full)
		}
	case <-time.After(2 * time.Minute):
		f.Fatal("no read")
	}
}

// readFull tells whether there was a read of all that matters since it was asked last.
func (f *following) readFull() bool {
	for {
		select {
		case full := <-f.reads:
			if full {
				return true
			}
		default:
			return false
		}
	}
}

// awaitRevoked waits until the set bars a session.
func (f *following) awaitRevoked(session uuid.UUID) {
	f.Helper()
	asynctest.Await(f, "the revocation to be known", func() bool { return f.bars(session) })
}

func (f *following) bars(session uuid.UUID) bool {
	isRevoked, _ := f.Check(time.Now(), token.Access{Subject: token.Subject{SessionID: session, Version: 1}}, time.Hour)
	return isRevoked
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func connectTo(t testing.TB, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func revokeSession(t testing.TB, on execer) uuid.UUID {
	t.Helper()
	session := uuid.Must(uuid.NewV7())
	_, err := on.Exec(t.Context(), "INSERT INTO revocations (session_id) VALUES ($1)", session)
	must(t, err)
	return session
}

// cutListener ends the connection of the listener, as an administrator, a fail-over or a proxy
// does.
func cutListener(t testing.TB, on *pgx.Conn) {
	t.Helper()
	asynctest.Await(t, "the listener's connection", func() bool {
		var cut int
		must(t, on.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE application_name = $1 AND datname = current_database()`, listenerName).Scan(&cut))
		return cut == 1
	})
}

func TestTheFirstReadHasWhatWasRevokedBefore(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	conn := connectTo(t, databaseURL)
	session, user := revokeSession(t, conn), uuid.Must(uuid.NewV7())
	_, err := conn.Exec(t.Context(), "INSERT INTO revocations (user_id, version) VALUES ($1, 7)", user)
	must(t, err)
	f := startFollowing(t, databaseURL, never)
	f.wantRead(true)
	if !f.bars(session) {
		t.Error("the session is not barred")
	}
	for version, want := range map[int64]bool{6: true, 7: false} {
		access := token.Access{Subject: token.Subject{UserID: user, Version: version}, IssuedAt: time.Now()}
		if isRevoked, stale := f.Check(time.Now(), access, time.Hour); isRevoked != want || stale {
			t.Errorf("version %d: revoked %t, stale %t", version, isRevoked, stale)
		}
	}
}

func TestANotificationBringsARevocationBeforeThePoll(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	f := startFollowing(t, databaseURL, never)
	f.wantRead(true)
	for range 5 { // more than one: the follower must go on listening
		f.awaitRevoked(revokeSession(t, f.db.pool))
	}
}

func TestARevocationIsSeenThoughTheConnectionWasKilled(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	f := startFollowing(t, databaseURL, never)
	f.wantRead(true)
	conn := connectTo(t, databaseURL)
	cutListener(t, conn)
	session := revokeSession(t, conn)
	f.awaitRevoked(session)
	f.wantRead(false) // through the pool, at once
	asynctest.Await(t, "a new connection", func() bool { return strings.Contains(f.log.String(), "connected again") })
	asynctest.Await(t, "a read of all that came before the connection", func() bool { return f.readFull() })
	f.awaitRevoked(revokeSession(t, conn))
}

// The replicas' clocks agree only so far. One that is slow takes a token for good when the others
// do not any more: it must remember for so much longer that the token was revoked, and learn of it
// when it starts as late as that.
func TestARevocationBarsATokenOnReplicasWhoseClocksAreOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.New(t)
			clock := func() time.Time { return time.Now().Add(off) }
			f := followBy(t, clock, databaseURL, never)
			f.wantRead(true)
			issued := time.Now() // by a replica whose clock is right
			access := token.Access{Subject: token.Subject{SessionID: revokeSession(t, f.db.pool), Version: 1}, IssuedAt: issued}
			end := issued.Add(testLifetime + token.Leeway) // by any clock: until then, Verify takes it
			barred := func(f *following, at time.Time) bool {
				isRevoked, _ := f.Check(at, access, time.Hour)
				return isRevoked
			}
			asynctest.Await(t, "the revocation", func() bool { return barred(f, clock()) })
			f.Prune(end)
			if !barred(f, end) {
				t.Error("forgotten while the token lives")
			}

			// A replica that starts when its own clock is at that end.
			conn := connectTo(t, databaseURL)
			_, err := conn.Exec(t.Context(), "UPDATE revocations SET at = at - $1::interval", end.Sub(issued)-off-time.Minute)
			must(t, err)
			late := followBy(t, clock, databaseURL, never)
			late.wantRead(true)
			if !barred(late, clock()) {
				t.Error("not known to a replica that has just started")
			}
		})
	}
}

// Rows become visible in the order of commits. Whoever remembers the last one seen would never see
// this one.
func TestACommitThatWasHeldOpenIsSeen(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	conn := connectTo(t, databaseURL)
	tx, err := conn.Begin(t.Context())
	must(t, err)
	late := revokeSession(t, tx)
	f := startFollowing(t, databaseURL, 50*time.Millisecond)
	f.wantRead(true)
	// Later than what a notification makes the follower look at.
	age := func() (seconds float64) {
		must(t, tx.QueryRow(t.Context(), "SELECT extract(epoch FROM clock_timestamp() - now())::float8").Scan(&seconds))
		return seconds
	}
	for age() <= recentWindow.Seconds() {
		f.awaitRevoked(revokeSession(t, f.db.pool))
	}
	if f.bars(late) {
		t.Fatal("seen before its commit")
	}
	must(t, tx.Commit(t.Context()))
	f.awaitRevoked(late)
}

// pooler stands in for one in transaction mode: what it is told of in between transactions reaches
// nobody.
func pooler(t testing.TB, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	behind := u.Host
	u.Host = listener.Addr().String()
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", behind)
			if err != nil {
				client.Close()
				continue
			}
			group.Go(func() { _, _ = io.Copy(server, client); server.Close() })
			group.Go(func() { withoutNotifications(client, server); client.Close() })
		}
	})
	t.Cleanup(func() { listener.Close(); group.Wait() })
	return u.String()
}

// withoutNotifications copies a server's messages: a type, the length of it and of the rest, the
// rest.
func withoutNotifications(to io.Writer, from io.Reader) {
	for {
		header := make([]byte, 5)
		if _, err := io.ReadFull(from, header); err != nil {
			return
		}
		body := make([]byte, int(header[1])<<24|int(header[2])<<16|int(header[3])<<8|int(header[4])-4)
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		if header[0] == 'A' { // NotificationResponse
			continue
		}
		if _, err := to.Write(append(header, body...)); err != nil {
			return
		}
	}
}

func TestWithoutNotificationsThePollCarriesOnAndTheLogSaysSoOnce(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	f := startFollowing(t, pooler(t, databaseURL), 20*time.Millisecond)
	f.wantRead(true)
	conn := connectTo(t, databaseURL)
	f.awaitRevoked(revokeSession(t, conn))
	warned := func() int { return strings.Count(f.log.String(), "no notifications") }
	asynctest.Await(t, "a warning", func() bool { return warned() == 1 })
	cutListener(t, conn)
	session := revokeSession(t, conn)
	f.awaitRevoked(session)
	asynctest.Await(t, "a new connection", func() bool { return strings.Contains(f.log.String(), "connected again") })
	f.awaitRevoked(revokeSession(t, conn))
	if warned() != 1 {
		t.Errorf("warned %d times", warned())
	}
}

func TestASetThatLostItsDatabaseRefusesToDecideAndRecovers(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	direct := open(t, Options{URL: databaseURL})
	access := liveAccess(t, direct)
	proxy, proxied := dbtest.Proxy(t, databaseURL)
	f := startFollowing(t, proxied, 20*time.Millisecond)
	f.wantRead(true)
	checker := auth.NewChecker(f.Set, f.db, time.Now, time.Second)
	verdict := func() error { return checker.Check(t.Context(), access) }
	must(t, verdict())

	proxy.Stop()
	asynctest.Await(t, "the bound of staleness", func() bool { return f.Age(time.Now()) > time.Second })
	if err := verdict(); !isUnavailable(err) {
		t.Errorf("without a database: %v", err)
	}
	_, err := direct.pool.Exec(t.Context(), "INSERT INTO revocations (session_id) VALUES ($1)", access.SessionID)
	must(t, err)
	must(t, proxy.Start())
	f.awaitRevoked(access.SessionID)
}

// A partition that swallows packets tells neither end: only the deadline of a poll does.
func TestAConnectionWhoseOtherEndIsGoneIsGivenUp(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	proxy, proxied := dbtest.Proxy(t, databaseURL)
	f := startFollowing(t, proxied, 20*time.Millisecond)
	f.wantRead(true)
	_, err := proxy.Toxics.AddToxicJson(strings.NewReader(`{"name": "hang", "type": "timeout", "attributes": {"timeout": 0}}`))
	must(t, err)
	asynctest.Await(t, "the loss to be noticed", func() bool { return strings.Contains(f.log.String(), "connection lost") })
	session := revokeSession(t, connectTo(t, databaseURL))
	must(t, proxy.Toxics.RemoveToxic(context.Background(), "hang"))
	f.awaitRevoked(session)
}

func TestAFollowerEndsWithItsContextWhateverItWaitsFor(t *testing.T) {
	t.Parallel()
	for name, databaseURL := range map[string]string{
		"a notification": dbtest.New(t),
		"a database":     "postgres://u@127.0.0.1:1/x?sslmode=disable",
	} {
		f := startFollowing(t, databaseURL, never)
		if name == "a notification" {
			f.wantRead(true)
		}
		f.end()
		<-f.ended
	}
}

// liveAccess is a token of a user with a session.
func liveAccess(t testing.TB, d *DB) token.Access {
	t.Helper()
	a := token.Access{Subject: token.Subject{UserID: uuid.Must(uuid.NewV7()), SessionID: uuid.Must(uuid.NewV7()), Version: 3}, IssuedAt: time.Now()}
	_, err := d.pool.Exec(t.Context(), `INSERT INTO users (id, username, username_key, password_hash, token_version)
		VALUES ($1, 'alice', 'alice', $2, 3)`, a.UserID, plainHash)
	must(t, err)
	_, err = d.pool.Exec(t.Context(), `INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		VALUES ($1, $2, decode(repeat('00', 16), 'hex'), now() + '1 day', now() + '1 day', '', '')`, a.SessionID, a.UserID)
	must(t, err)
	return a
}

func TestTheDatabaseKnowsWhichTokensAreLive(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	a := liveAccess(t, d)
	asking := auth.NewChecker(revocation.NewSet(time.Now(), time.Hour), d, time.Now, time.Hour) // never confirmed
	exec := func(sql string) {
		t.Helper()
		_, err := d.pool.Exec(t.Context(), sql)
		must(t, err)
	}
	want := func(what string, a token.Access, want bool) {
		t.Helper()
		if err := asking.Check(t.Context(), a); want != (err == nil) || !want && !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	want("as it was issued", a, true)
	other := a
	other.Version = 2
	want("an older version", other, false)
	other = a
	other.UserID = uuid.New()
	want("the session of another user", other, false)
	other = a
	other.SessionID = uuid.New()
	want("no session", other, false)
	exec("UPDATE users SET disabled_at = now()")
	want("a disabled user", a, false)
	exec("UPDATE users SET disabled_at = NULL")
	exec("UPDATE sessions SET ended_at = now(), end_reason = 'logout'")
	want("an ended session", a, false)
	d.Close()
	if err := asking.Check(t.Context(), a); !isUnavailable(err) {
		t.Errorf("a closed pool: %v", err)
	}
}

func TestRevocationsAreDeletedOnceTheyAreOldEnough(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	_, err := d.pool.Exec(t.Context(), `INSERT INTO revocations (session_id, at)
		SELECT gen_random_uuid(), now() - interval '24 hours 59 minutes' - n * interval '2 minutes' FROM generate_series(0, 9) n`)
	must(t, err)
	for _, want := range []int64{5, 4, 0} {
		if deleted, err := d.PruneRevocations(t.Context(), 25*time.Hour, 5); err != nil || deleted != want {
			t.Errorf("deleted %d, want %d: %v", deleted, want, err)
		}
	}
}

// A replica that runs for months would remember every logout.
func TestAFollowerForgetsWhatNoTokenIsOldEnoughFor(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	revokeSession(t, connectTo(t, databaseURL))
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	f := followBy(t, clock, databaseURL, 20*time.Millisecond)
	f.wantRead(true)
	if f.Len() != 1 {
		t.Fatalf("%d entries", f.Len())
	}
	_, err := f.db.pool.Exec(t.Context(), "DELETE FROM revocations") // else the next read brings it again
	must(t, err)
	ahead.Store(int64(2 * f.Keep()))
	asynctest.Await(t, "the entry to be forgotten", func() bool { return f.Len() == 0 })
}

// Sessions that are over would pile up for ever; but whoever looks into a theft needs those of the
// last weeks.
func TestSessionsThatAreLongOverAreDeleted(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	_, err := d.pool.Exec(t.Context(), `
		WITH u AS (
			INSERT INTO users (id, username, username_key, password_hash) VALUES (gen_random_uuid(), 'alice', 'alice', $1) RETURNING id
		)
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, ended_at, end_reason, client_address, user_agent)
		SELECT gen_random_uuid(), u.id, decode(repeat('00', 16), 'hex'), now() + expires, now() + expires, now() + ended,
		       CASE WHEN ended IS NOT NULL THEN 'logout' END, '', name
		FROM u, (VALUES ('live', interval '1 day', NULL),
		                ('ended of late', '1 day', interval '-29 days'), ('ended long ago', '1 day', '-31 days'),
		                ('expired of late', '-29 days', NULL), ('expired long ago', '-31 days', NULL),
		                ('in use', '-40 days', '-41 days')) AS s (name, expires, ended)`, plainHash)
	must(t, err)
	tx, err := d.pool.Begin(t.Context()) // whose lock nobody is to wait for
	must(t, err)
	_, err = tx.Exec(t.Context(), "SELECT id FROM sessions WHERE user_agent = 'in use' FOR UPDATE")
	must(t, err)
	for _, want := range []int64{2, 0} {
		if deleted, err := d.PruneSessions(t.Context(), 30*24*time.Hour, 10); err != nil || deleted != want {
			t.Errorf("deleted %d, want %d: %v", deleted, want, err)
		}
	}
	rows, err := d.pool.Query(t.Context(), "SELECT user_agent FROM sessions ORDER BY user_agent")
	must(t, err)
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	if got := strings.Join(left, ", "); got != "ended of late, expired of late, in use, live" {
		t.Errorf("left: %s", got)
	}
	must(t, tx.Rollback(t.Context()))
}

func isUnavailable(err error) bool { return errors.Is(err, auth.ErrUnavailable) }
