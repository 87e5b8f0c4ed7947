package db

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/db/internal/sqlcgen"
)

const (
	// listenerName is the application_name of the listener's connection, by which operators find
	// it.
	listenerName = "gatehouse listener"

	// probeChannel is where a listener notifies itself: see [Listener.probe].
	probeChannel = "gatehouse_probe"

	connectTimeout = 2 * time.Second
	connectPause   = 500 * time.Millisecond // between attempts
	listenTimeout  = 3 * time.Second
	briefly        = time.Second     // for what can be done without
	probePatience  = 2 * time.Second // for the listener's own notification
)

// Listener hears what PostgreSQL notifies of, on one connection, and tells it to whoever has
// subscribed. It connects again for as long as it runs.
type Listener struct {
	db            *DB
	log           *slog.Logger
	subscriptions []Subscription
	link          atomic.Pointer[link] // nil while there is no connection
	lost          bool                 // the connection, and the log has not said yet that there is another
	warned        bool                 // that no notifications come
}

// Subscription is to one channel. Each function may be nil, and must not wait.
type Subscription struct {
	Channel string
	// Notified is called with the payload of each notification.
	Notified func(payload string)
	// Connected is called with each new connection, as soon as it hears the channel. What was
	// notified before is lost.
	Connected func()
	// Disconnected is called when a connection is lost, and after each attempt to connect that
	// fails.
	Disconnected func()
}

// NewListener makes a listener that runs by [Listener.Run].
func (d *DB) NewListener(log *slog.Logger) *Listener { return &Listener{db: d, log: log} }

// Subscribe must be called before Run.
func (l *Listener) Subscribe(s Subscription) { l.subscriptions = append(l.subscriptions, s) }

// Run listens until ctx ends.
func (l *Listener) Run(ctx context.Context) {
	for {
		err := l.onConnection(ctx)
		if ctx.Err() != nil {
			return
		}
		l.disconnected(err)
		pause(ctx, connectPause)
	}
}

// onConnection listens for as long as one connection lasts.
func (l *Listener) onConnection(ctx context.Context) error {
	payload, arrived := rand.Text(), make(chan struct{})
	conn, err := l.connect(ctx, payload, sync.OnceFunc(func() { close(arrived) }))
	if err != nil {
		return translate("connect", err)
	}
	defer closeSoon(conn)
	listens, err := l.listen(ctx, conn)
	if err != nil {
		return translate("listen", err)
	}
	ctx, end := context.WithCancel(ctx)
	var probe sync.WaitGroup
	if listens {
		probe.Go(func() { l.probe(ctx, payload, arrived) })
	}
	defer func() { end(); probe.Wait() }()
	link := newLink(conn)
	l.link.Store(link)
	defer func() { l.link.Store(nil); link.end() }()
	l.connected()
	return link.hear(ctx)
}

func (l *Listener) connect(ctx context.Context, probe string, arrived func()) (*pgx.Conn, error) {
	return l.db.connect(ctx, func(config *pgx.ConnConfig) {
		config.ConnectTimeout = connectTimeout
		config.RuntimeParams["application_name"] = listenerName
		config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
			if n.Channel == probeChannel && n.Payload == probe {
				arrived()
			}
			l.notified(n)
		}
	})
}

func (l *Listener) notified(n *pgconn.Notification) {
	for _, s := range l.subscriptions {
		if s.Channel == n.Channel && s.Notified != nil {
			s.Notified(n.Payload)
		}
	}
}

func (l *Listener) connected() {
	if l.lost {
		l.lost = false
		l.log.Info("notifications: connected again")
	}
	for _, s := range l.subscriptions {
		if s.Connected != nil {
			s.Connected()
		}
	}
}

func (l *Listener) disconnected(err error) {
	if !l.lost && !errors.Is(err, errAbandoned) {
		l.lost = true
		l.log.Warn("notifications: connection lost, trying again", "error", err.Error())
	}
	for _, s := range l.subscriptions {
		if s.Disconnected != nil {
			s.Disconnected()
		}
	}
}

// listen asks for notifications. A server that has none is no error: whoever subscribes polls too.
func (l *Listener) listen(ctx context.Context, conn *pgx.Conn) (listens bool, err error) {
	if l.db.pooled { // the session that listens would be one that others get too
		l.warnOfSilence("DATABASE_EXEC_MODE is exec: a transaction pooler passes none on")
		return false, nil
	}
	statements := []string{"LISTEN " + probeChannel}
	for _, s := range l.subscriptions {
		statements = append(statements, "LISTEN "+s.Channel)
	}
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	_, err = conn.Exec(ctx, strings.Join(statements, "; "))
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && !conn.IsClosed() {
		l.warnOfSilence(serverError(pg).Error())
		return false, nil
	}
	return err == nil, err
}

// probe warns if the listener does not hear itself. A server may accept LISTEN and yet never
// notify: a transaction pooler keeps no session for a client, and the one that listens is one of
// the pooler's. The notification goes by way of the pool, since over the listener's own connection
// a pooler might pass it on by chance.
func (l *Listener) probe(ctx context.Context, payload string, arrived <-chan struct{}) {
	for !l.notifiesItself(ctx, payload) { // a busy pool must not leave it unsaid
		select {
		case <-ctx.Done():
			return
		case <-time.After(connectPause):
		}
	}
	patience := time.NewTimer(probePatience)
	defer patience.Stop()
	select {
	case <-ctx.Done():
	case <-arrived:
	case <-patience.C:
		l.warnOfSilence("none arrives; is a transaction pooler in between?")
	}
}

func (l *Listener) notifiesItself(ctx context.Context, payload string) bool {
	ctx, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	return l.db.queries.NotifyListeners(ctx, payload) == nil
}

func (l *Listener) warnOfSilence(reason string) {
	if !l.warned {
		l.warned = true
		l.log.Warn("no notifications: changes are only polled", "reason", reason)
	}
}

// query has do ask the database over the listener's connection, which neither a busy pool nor a
// slow request holds up. Where there is none, or do fails on it, do asks by way of the pool. A
// connection on which do fails is given up: its other end may be gone.
func (l *Listener) query(ctx context.Context, do func(*sqlcgen.Queries) error) error {
	if link := l.link.Load(); link != nil {
		err := link.lend(ctx, func(conn *pgx.Conn) error { return do(sqlcgen.New(conn)) })
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return do(l.db.queries)
}

var (
	// errNoLink is for a connection that ended before it could be lent.
	errNoLink = errors.New("the listener has no connection")

	// errAbandoned is for a query that was given up, and the connection with it. It says nothing of
	// the server.
	errAbandoned = errors.New("a query was given up")
)

// link is a connection that waits for notifications, and is lent in between.
type link struct {
	conn  *pgx.Conn
	loans chan loan
	ended chan struct{}
}

type loan struct {
	ctx  context.Context // of who asks, and waits for done
	use  func(*pgx.Conn) error
	done chan error
}

func newLink(conn *pgx.Conn) *link {
	return &link{conn: conn, loans: make(chan loan), ended: make(chan struct{})}
}

func (l *link) end() { close(l.ended) }

// lend returns what use does. errNoLink.
func (l *link) lend(ctx context.Context, use func(*pgx.Conn) error) error {
	asked := loan{ctx, use, make(chan error, 1)}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ended:
		return errNoLink
	case l.loans <- asked:
		return <-asked.done
	}
}

// hear waits for notifications, and lends the connection to who asks for it, until it fails or ctx
// ends.
func (l *link) hear(ctx context.Context) error {
	for {
		waiting, interrupt := context.WithCancel(ctx)
		heard := make(chan error, 1)
		go func() { heard <- l.conn.PgConn().WaitForNotification(waiting) }()
		select {
		case err := <-heard:
			interrupt()
			if err != nil {
				return translate("wait for notification", err)
			}
		case asked := <-l.loans:
			interrupt()
			<-heard // an error that is not of the interruption has closed the connection
			err := errNoLink
			if !l.conn.IsClosed() {
				err = asked.use(l.conn)
			}
			asked.done <- err
			if err != nil && asked.ctx.Err() != nil {
				return errAbandoned
			}
			if err != nil {
				return err
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// closeSoon says goodbye to the server, but does not wait for one that is gone.
func closeSoon(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), briefly)
	defer cancel()
	_ = conn.Close(ctx)
}
