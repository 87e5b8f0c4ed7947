package db

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/follow"
	"gatehouse.example/internal/revocation"
)

const (
	// revocationsChannel is where a trigger tells of rows that come in.
	revocationsChannel = "gatehouse_revocations"

	// recentWindow is how far back a notification makes the follower look: what was committed later
	// than that after its row was inserted is left to the next poll.
	recentWindow = 2 * time.Second

	// quietGap is the time between two reads at least, so that a hundred logouts in a second are
	// not a hundred reads.
	quietGap = 20 * time.Millisecond

	readRetry   = 500 * time.Millisecond
	loadTimeout = 30 * time.Second
	pollTimeout = 3 * time.Second // finds out a connection whose other end is gone
	pruneEvery  = time.Minute
)

// FollowOptions are those of a [Follower]. All are needed but WentBack.
type FollowOptions struct {
	Clock func() time.Time // of the times in the set
	Log   *slog.Logger
	// Poll is the time between two reads where no notification comes in between.
	Poll time.Duration
	// Longest is how long a transaction that revokes may take and still be found by the next poll.
	// Its rows are dated at its beginning.
	Longest time.Duration
	// Read is called after each successful read: full if it was one of all rows that matter.
	Read func(full bool)
	// WentBack, if not nil, is called when the database is found not to know any more what it knew
	// before.
	WentBack func()
}

// Follower keeps a set of revocations up to date. It reads all that matter; then those of a window
// each time that the database tells of new ones, and in any case once in each poll interval. The
// window reaches back further than the last read, because rows become visible in another order than
// they are numbered or dated in: by commit.
//
// It reads over the connection of its listener, so that neither a busy pool nor a slow request
// holds it up, and through the pool while there is none. With each new connection, and after a gap,
// it reads everything again.
type Follower struct {
	FollowOptions
	listener  *Listener
	set       *revocation.Set
	hint      follow.Hint
	connected atomic.Bool // anew since the last read: what came before was perhaps not told
	cut       atomic.Bool // off from notifications since the last read
	begun     bool        // the listener has tried to connect
	lastRead  time.Time   // when the last one began that missed nothing; zero: everything must be read
	lastPrune time.Time   // by the set's clock
	past      past
}

// NewFollower makes a follower that hears of revocations by a listener, and runs by [Follower.Run].
func NewFollower(listener *Listener, set *revocation.Set, o FollowOptions) *Follower {
	f := &Follower{FollowOptions: o, listener: listener, set: set, hint: follow.NewHint()}
	listener.Subscribe(Subscription{
		Channel:      revocationsChannel,
		Notified:     func(string) { f.hint.Give() },
		Connected:    func() { f.connected.Store(true); f.hint.Give() },
		Disconnected: func() { f.cut.Store(true); f.hint.Give() },
	})
	return f
}

// Run follows until ctx ends. The first read is made when the listener has a connection, or has
// failed to get one.
func (f *Follower) Run(ctx context.Context) {
	follow.Loop{
		Step: f.step, Hint: f.hint, Every: f.Poll, Retry: readRetry, Gap: quietGap, Log: f.Log,
		Failing: "revocations cannot be read", Recovered: "revocations are read again",
	}.Run(ctx)
}

func (f *Follower) step(ctx context.Context, hinted bool) error {
	cut, connected := f.cut.Swap(false), f.connected.Swap(false)
	f.begun = f.begun || cut || connected
	if !f.begun {
		return nil // soon: what is read before the listener listens would have to be read again
	}
	if connected {
		f.lastRead = time.Time{}
	}
	return f.listener.query(ctx, func(queries *sqlcgen.Queries) error {
		return f.read(ctx, queries, hinted && !cut && !f.lastRead.IsZero())
	})
}

// past is what the follower has seen of the database, and what must be so ever after.
type past struct {
	now time.Time // of the database, at the last read
	// The revocation that was numbered last: it has been there since at, as it was committed.
	id int64
	at time.Time
}

const (
	// lastingRevocations is how long a revocation is surely there: it is pruned later.
	lastingRevocations = 24 * time.Hour

	// clockSlack is how much two servers' clocks may differ without a word, where one takes over
	// from the other.
	clockSlack = time.Second
)

// note takes rows that were read.
func (p *past) note(rows []sqlcgen.ListRevocationsRow) {
	for _, row := range rows {
		if row.ID > p.id {
			p.id, p.at = row.ID, row.At
		}
	}
}

// contradiction is what does not agree with the past; "" for nothing.
func (p past) contradiction(now time.Time, found bool) string {
	switch {
	case now.Before(p.now.Add(-clockSlack)):
		return "its time was " + p.now.Sub(now).String() + " later"
	case p.id != 0 && !found && now.Sub(p.at) < lastingRevocations:
		return "a revocation of " + p.at.UTC().Format(time.RFC3339) + " is gone"
	}
	return ""
}

// lookBack warns where the database has gone back: it was restored, or a standby has taken over
// that lacked what was committed last. What was revoked meanwhile may be good again, and nobody
// else would notice.
func (f *Follower) lookBack(ctx context.Context, queries *sqlcgen.Queries) error {
	row, err := queries.LookBack(ctx, sqlcgen.LookBackParams{ID: f.past.id, At: f.past.at})
	if err != nil {
		return translate("look back", err)
	}
	if why := f.past.contradiction(row.Now, row.Found); why != "" {
		f.Log.Warn("the database has gone back: if it was restored, run `gatehouse restored`; if a standby took over, "+
			"what was committed last is lost", "reason", why)
		f.past, f.lastRead = past{}, time.Time{}
		if f.WentBack != nil {
			f.WentBack()
		}
	}
	f.past.now = row.Now
	return nil
}

// read brings the set up to date with the rows of a window, or with all that matter if the window
// may not reach back to the last read. After a notification the most recent rows are enough, but
// the set may then still lack a late commit.
func (f *Follower) read(ctx context.Context, queries *sqlcgen.Queries, onlyRecent bool) error {
	if !onlyRecent {
		looking, cancel := context.WithTimeout(ctx, pollTimeout)
		defer cancel()
		if err := f.lookBack(looking, queries); err != nil {
			return err
		}
	}
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
	rows, err := queries.ListRevocations(reading, window.Seconds())
	if err != nil {
		return translate("list revocations", err)
	}
	f.past.note(rows)
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
func (f *Follower) prune(now time.Time) {
	if now.Sub(f.lastPrune).Abs() >= pruneEvery {
		f.set.Prune(now)
		f.lastPrune = now
	}
}

// PruneRevocations deletes at most so many of those that are as old, and returns how many.
func (d *DB) PruneRevocations(ctx context.Context, age time.Duration, most int) (int64, error) {
	deleted, err := d.queries.PruneRevocations(ctx, sqlcgen.PruneRevocationsParams{OlderThanSeconds: age.Seconds(), MaxRows: int32(most)})
	return deleted, translate("prune revocations", err)
}
