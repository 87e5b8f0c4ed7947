package db

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/ratelimit"
	"gatehouse/internal/revocation"
)

const (
	// followerName is the application_name of the follower's connection, by which operators find it.
	followerName = "gatehouse follower"

	// unlocksChannel is where DeleteRateLimits tells whom it has unlocked.
	unlocksChannel = "gatehouse_unlocks"

	// keysChannel is where a trigger tells of signing keys that change.
	keysChannel = "gatehouse_signing_keys"

	// recentWindow is how far back a notification makes the follower look: what was committed later than that after
	// its row was inserted is left to the next poll.
	recentWindow = 2 * time.Second

	// quietGap is the time between two reads at least, so that a hundred logouts in a second are not a hundred reads.
	quietGap = 20 * time.Millisecond

	connectTimeout = 2 * time.Second
	connectPause   = 500 * time.Millisecond // between attempts
	loadTimeout    = 30 * time.Second
	pollTimeout    = 3 * time.Second // finds out a connection whose other end is gone
	briefly        = time.Second     // for what can be done without
	probePatience  = 2 * time.Second // for the follower's own notification
	pruneEvery     = time.Minute
)

// FollowOptions are those of Follow. All are needed but Unlocked and KeysChanged.
type FollowOptions struct {
	Clock func() time.Time // of the times in the set
	Log   *slog.Logger
	// Poll is the time between two reads where no notification comes in between.
	Poll time.Duration
	// Longest is how long a transaction that revokes may take and still be found by the next poll. Its rows are dated
	// at its beginning.
	Longest time.Duration
	// Read is called after each successful read: full if it was one of all rows that matter.
	Read func(full bool)
	// Unlocked, if not nil, is called when rates were reset. What happens between two connections is not told.
	Unlocked func([]ratelimit.Key)
	// KeysChanged, if not nil, is called when signing keys have changed, on the same terms. It must not wait.
	KeysChanged func()
}

// Follow keeps the set up to date until ctx ends. It reads all revocations that matter; then those of a window each
// time that the database tells of new ones, and in any case once in each poll interval. The window reaches back further
// than the last read, because rows become visible in another order than they are numbered or dated in: by commit.
//
// It has a connection of its own, so that neither a busy pool nor a slow request holds it up, and reads through the
// pool while it cannot get one. With each new connection, and after a gap, it reads everything again.
func (d *DB) Follow(ctx context.Context, set *revocation.Set, o FollowOptions) {
	f := &follower{FollowOptions: o, db: d, set: set}
	for {
		err := f.onConnection(ctx)
		if ctx.Err() != nil {
			return
		}
		f.lose(err)
		_ = f.read(ctx, d.queries, false) // if the pool has no better luck, the set grows stale
		pause(ctx, connectPause)
	}
}

type follower struct {
	FollowOptions
	db        *DB
	set       *revocation.Set
	lastRead  time.Time // when the last one began that missed nothing; zero: everything must be read
	lastPrune time.Time // by the set's clock
	heard     bool      // of a notification since the last read
	lost      bool      // the connection, and nobody has been told that there is another
	probe     probe
}

// probe is a notification to oneself. A server may accept LISTEN and yet never notify: a transaction pooler keeps no
// connection for a client, and who listens there is one of the pooler's.
type probe struct {
	payload  string
	deadline time.Time
	pending  bool
	warned   bool
}

// onConnection follows for as long as a connection lasts.
func (f *follower) onConnection(ctx context.Context) error {
	conn, err := f.connect(ctx)
	if err != nil {
		return translate("connect", err)
	}
	defer closeSoon(conn)
	if err := f.listen(ctx, conn); err != nil {
		return translate("listen", err)
	}
	queries := sqlcgen.New(conn)
	f.lastRead = time.Time{} // what came between the connections was perhaps not told
	if err := f.read(ctx, queries, false); err != nil {
		return err
	}
	f.regain()
	f.sendProbe(ctx)
	return f.loop(ctx, conn, queries)
}

func (f *follower) loop(ctx context.Context, conn *pgx.Conn, queries *sqlcgen.Queries) error {
	for lastPoll := time.Now(); ; {
		due := time.Until(lastPoll.Add(f.Poll))
		if due > 0 && !f.heard {
			if err := wait(ctx, conn, due); err != nil {
				return translate("wait for notification", err)
			}
			continue
		}
		if due <= 0 {
			lastPoll = time.Now()
			f.checkProbe()
		}
		if err := f.read(ctx, queries, due > 0); err != nil {
			return err
		}
		pause(ctx, quietGap)
	}
}

func (f *follower) lose(err error) {
	if !f.lost {
		f.lost = true
		f.Log.Warn("revocations: connection lost, trying again", "error", err.Error())
	}
}

func (f *follower) regain() {
	if f.lost {
		f.lost = false
		f.Log.Info("revocations: connected again")
	}
}

func (f *follower) connect(ctx context.Context) (*pgx.Conn, error) {
	config := f.db.pool.Config().ConnConfig // a copy
	config.ConnectTimeout = connectTimeout
	config.RuntimeParams["application_name"] = followerName
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		switch n.Channel {
		case unlocksChannel:
			f.unlocked(n.Payload)
			return
		case keysChannel:
			if f.KeysChanged != nil {
				f.KeysChanged()
			}
			return
		}
		f.heard = true
		if n.Payload == f.probe.payload {
			f.probe.pending = false
		}
	}
	return pgx.ConnectConfig(ctx, config)
}

// unlocked passes on the keys that DeleteRateLimits tells of.
func (f *follower) unlocked(payload string) {
	var keys []ratelimit.Key
	for word := range strings.FieldsSeq(payload) {
		if raw, err := hex.DecodeString(word); err == nil && len(raw) == len(ratelimit.Key{}) {
			keys = append(keys, ratelimit.Key(raw))
		}
	}
	if f.Unlocked != nil {
		f.Unlocked(keys)
	}
}

// listen asks for notifications. A server that has none is no error, since there is still the poll.
func (f *follower) listen(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, "LISTEN gatehouse_revocations; LISTEN "+unlocksChannel+"; LISTEN "+keysChannel)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && !conn.IsClosed() {
		f.warnOfSilence(serverError(pg).Error())
		return nil
	}
	return err
}

// sendProbe goes by way of the pool: over the follower's own connection a transaction pooler might pass it on by chance.
func (f *follower) sendProbe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	f.probe.payload, f.probe.deadline = rand.Text(), time.Now().Add(probePatience)
	f.probe.pending = f.db.queries.NotifyRevocations(ctx, f.probe.payload) == nil
}

func (f *follower) checkProbe() {
	if f.probe.pending && time.Now().After(f.probe.deadline) {
		f.probe.pending = false
		f.warnOfSilence("none arrives; is a transaction pooler in between?")
	}
}

func (f *follower) warnOfSilence(reason string) {
	if !f.probe.warned {
		f.probe.warned = true
		f.Log.Warn("revocations: no notifications, so they are only polled", "interval", f.Poll.String(), "reason", reason)
	}
}

// read brings the set up to date: with the rows of a window, or with all that matter where the window may not reach
// back to the last read. After a notification the most recent ones do, but then the set may still lack a late commit.
func (f *follower) read(ctx context.Context, queries *sqlcgen.Queries, onlyRecent bool) error {
	began, asOf := time.Now(), f.Clock() // before: what is committed later is for the next read
	full := f.lastRead.IsZero() || began.Sub(f.lastRead) > f.Longest
	window, timeout := 2*f.Longest, pollTimeout
	switch {
	case full:
		window, timeout = f.set.Keep(), loadTimeout
	case onlyRecent:
		window = recentWindow
	}
	reading, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f.heard = false
	rows, err := queries.ListRevocations(reading, window.Seconds())
	if err != nil {
		return translate("list revocations", err)
	}
	f.set.Add(asOf, revocations(rows))
	if onlyRecent && !full {
		return nil
	}
	f.set.Confirm(asOf)
	f.lastRead = began
	f.Read(full)
	f.prune(asOf)
	return nil
}

func revocations(rows []sqlcgen.ListRevocationsRow) []revocation.Entry {
	all := make([]revocation.Entry, len(rows))
	for n, row := range rows {
		all[n] = revocation.Entry{Subject: row.Subject, Version: revocation.NoVersion, Age: time.Duration(row.AgeSeconds * float64(time.Second))}
		if row.Version != nil {
			all[n].Version = *row.Version
		}
	}
	return all
}

// prune lets the set forget what no longer matters.
func (f *follower) prune(now time.Time) {
	if now.Sub(f.lastPrune).Abs() >= pruneEvery {
		f.set.Prune(now)
		f.lastPrune = now
	}
}

// wait returns after a notification or the given time.
func wait(ctx context.Context, conn *pgx.Conn, at time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, at)
	defer cancel()
	err := conn.PgConn().WaitForNotification(waiting)
	if err != nil && ctx.Err() == nil && errors.Is(waiting.Err(), context.DeadlineExceeded) && !conn.IsClosed() {
		return nil
	}
	return err
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

// PruneRevocations deletes at most so many of those that are as old, and returns how many.
func (d *DB) PruneRevocations(ctx context.Context, age time.Duration, most int) (int64, error) {
	deleted, err := d.queries.PruneRevocations(ctx, sqlcgen.PruneRevocationsParams{OlderThanSeconds: age.Seconds(), MaxRows: int32(most)})
	return deleted, translate("prune revocations", err)
}
