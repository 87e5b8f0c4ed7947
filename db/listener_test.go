package db

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
)

// listening is a listener at work, with what its subscribers were told: what the test subscribes to
// goes by their names.
type listening struct {
	*testing.T
	*Listener
	db   *DB
	log  *asynctest.Buffer
	mu   sync.Mutex
	told []string
}

// listen starts a listener with subscribers, each by the channel of its own name.
func listen(t *testing.T, databaseURL string, subscribers ...string) *listening {
	t.Helper()
	l := &listening{T: t, db: open(t, Options{URL: databaseURL}), log: &asynctest.Buffer{}}
	l.Listener = l.db.NewListener(slog.New(slog.NewTextHandler(l.log, nil)))
	for _, name := range subscribers {
		l.Subscribe(Subscription{
			Channel:      name,
			Notified:     func(payload string) { l.tell(name + " " + payload) },
			Connected:    func() { l.tell(name + " connected") },
			Disconnected: func() { l.tell(name + " disconnected") },
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Listener.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("log of the listener:\n%s", l.log)
		}
	})
	return l
}

func (l *listening) tell(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, what)
}

func (l *listening) await(what string) {
	l.Helper()
	asynctest.Await(l, what, func() bool { return l.count(what) > 0 })
}

func (l *listening) count(what string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, told := range l.told {
		if told == what {
			n++
		}
	}
	return n
}

func (l *listening) notify(channel, payload string) {
	l.Helper()
	_, err := l.db.pool.Exec(l.Context(), "SELECT pg_notify($1, $2)", channel, payload)
	must(l, err)
}

// One who is told of another's channel would read for nothing, or take a payload for what it is
// not.
func TestASubscriberHearsItsOwnChannelAndEveryNewConnection(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	l := listen(t, databaseURL, "apples", "pears")
	l.await("pears connected")
	l.notify("apples", "red")
	l.notify("plums", "blue")
	l.notify("pears", "green")
	l.await("pears green") // notifications come in the order of their commits
	l.mu.Lock()
	if want := []string{"apples connected", "pears connected", "apples red", "pears green"}; !slices.Equal(l.told, want) {
		t.Errorf("told %q, want %q", l.told, want)
	}
	l.mu.Unlock()
	cutListener(t, connectTo(t, databaseURL))
	for _, name := range []string{"apples", "pears"} {
		l.await(name + " disconnected")
		asynctest.Await(t, "another connection", func() bool { return l.count(name+" connected") == 2 })
	}
	l.notify("apples", "again")
	l.await("apples again")
}

// Each subscriber with a connection of its own would be more of them than a server has.
func TestAListenerHasOneConnection(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	l := listen(t, databaseURL, "apples", "pears", "plums")
	for _, name := range []string{"apples", "pears", "plums"} {
		l.await(name + " connected")
	}
	var n int
	must(t, connectTo(t, databaseURL).QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE application_name = $1 AND datname = current_database()`, listenerName).Scan(&n))
	if n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Queries over the listener's connection interrupt its wait, and must lose none of what comes
// meanwhile.
func TestNothingIsMissedWhileTheConnectionIsLent(t *testing.T) {
	t.Parallel()
	l := listen(t, dbtest.New(t), "apples")
	l.await("apples connected")
	for round := range 50 {
		must(t, l.query(t.Context(), func(q *sqlcgen.Queries) error {
			if round%2 == 0 {
				l.notify("apples", "red") // arrives with the answers to this loan, or after it
			}
			_, err := q.LookBack(t.Context(), sqlcgen.LookBackParams{At: time.Now()})
			return err
		}))
		if round%2 == 1 {
			l.notify("apples", "red")
		}
	}
	asynctest.Await(t, "all notifications", func() bool { return l.count("apples red") == 50 })
	if l.count("apples connected") != 1 || l.log.String() != "" {
		t.Errorf("the connection was lost: %q", l.told)
	}
}

// A busy pool must not keep a replica from hearing of a ban.
func TestAQueryOverTheListenerNeedsNoneOfThePool(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	l := listen(t, databaseURL+"&pool_max_conns=1", "apples")
	l.await("apples connected")
	asynctest.Await(t, "the probe to have given its connection back", func() bool { return l.db.Stat().AcquiredConns() == 0 })
	busy, err := l.db.pool.Acquire(t.Context())
	must(t, err)
	t.Cleanup(busy.Release)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, l.query(ctx, func(q *sqlcgen.Queries) error {
		_, err := q.LookBack(ctx, sqlcgen.LookBackParams{At: time.Now()})
		return err
	}))
}

// Without the connection, or with one whose other end is gone, the pool is asked; and the bad one
// is given up, or each query would have to find it out again.
func TestAQueryFallsBackOnThePoolAndTheConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	l := listen(t, dbtest.New(t), "apples")
	l.await("apples connected")
	asked := 0
	must(t, l.query(t.Context(), func(q *sqlcgen.Queries) error {
		if asked++; asked == 1 {
			return errors.New("as if the other end were gone")
		}
		_, err := q.LookBack(t.Context(), sqlcgen.LookBackParams{At: time.Now()})
		return err
	}))
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	l.await("apples disconnected")
	asynctest.Await(t, "another connection", func() bool { return l.count("apples connected") == 2 })
	if strings.Count(l.log.String(), "as if the other end were gone") != 1 {
		t.Errorf("log:\n%s", l.log)
	}

	idle := l.db.NewListener(slog.New(slog.DiscardHandler)) // which does not run
	must(t, idle.query(t.Context(), func(q *sqlcgen.Queries) error {
		_, err := q.LookBack(t.Context(), sqlcgen.LookBackParams{At: time.Now()})
		return err
	}))
}

// A replica that stops in the middle of a read has not lost its database, and must not say so.
func TestAQueryThatIsGivenUpIsNoLossOfTheConnection(t *testing.T) {
	t.Parallel()
	l := listen(t, dbtest.New(t), "apples")
	l.await("apples connected")
	ctx, cancel := context.WithCancel(t.Context())
	err := l.query(ctx, func(q *sqlcgen.Queries) error {
		cancel()
		_, err := q.LookBack(ctx, sqlcgen.LookBackParams{At: time.Now()})
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	asynctest.Await(t, "another connection", func() bool { return l.count("apples connected") == 2 })
	if l.log.String() != "" {
		t.Errorf("log:\n%s", l.log)
	}
}

// Who waits for a connection that ends meanwhile must not wait for ever.
func TestALoanOfAConnectionThatEndsIsRefused(t *testing.T) {
	t.Parallel()
	link := newLink(nil)
	link.end()
	if err := link.lend(t.Context(), func(*pgx.Conn) error { return nil }); !errors.Is(err, errNoLink) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newLink(nil).lend(ctx, func(*pgx.Conn) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
