package db

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// A statement that waits for a row holds a connection meanwhile. Sixty refreshes of one session
// whose row is locked would hold every connection of a replica, and nobody else would be served. So
// those who would wait for one row wait here first.

// mostAtOnce is how many callers for one row get to the database. With two, one is there to go on
// as soon as the other is done.
const mostAtOnce = 2

// row is what callers wait for in the database: most often one, or those of one user.
type row struct {
	kind string
	key  string
}

// turns lets callers for one row through, mostAtOnce at a time, and those for different rows past
// one another. The nil turns lets everybody through.
type turns struct {
	mu    sync.Mutex
	lines map[row]*line
}

// line is of callers for one row. The last one to leave takes it away.
type line struct {
	places  chan struct{}
	callers int // those who have a place, and those who wait for one
}

func newTurns() *turns { return &turns{lines: make(map[row]*line)} }

// take waits for a place for each row, until the context ends. Whoever gets them must leave them.
// The order is the same for all, so two callers for the same rows never wait for each other.
func (t *turns) take(ctx context.Context, rows ...row) (leave func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	var places []func()
	leave = func() {
		for _, leaveOne := range places {
			leaveOne()
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key)) })
	for _, r := range slices.Compact(rows) {
		leaveOne, err := t.takeOne(ctx, r)
		if err != nil {
			leave()
			return nil, err
		}
		places = append(places, leaveOne)
	}
	return leave, nil
}

func (t *turns) takeOne(ctx context.Context, r row) (leave func(), err error) {
	l := t.join(r)
	select {
	case l.places <- struct{}{}:
		return func() { <-l.places; t.part(r, l) }, nil
	case <-ctx.Done():
		t.part(r, l)
		return nil, ctx.Err()
	}
}

func (t *turns) join(r row) *line {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[r]
	if l == nil {
		l = &line{places: make(chan struct{}, mostAtOnce)}
		t.lines[r] = l
	}
	l.callers++
	return l
}

func (t *turns) part(r row, l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.callers--; l.callers == 0 {
		delete(t.lines, r)
	}
}

func sessionRow[ID ~[16]byte](id ID) row { return row{"session", string(id[:])} }

// userRow stands also for the sessions of the user, where all of them are locked.
func userRow[ID ~[16]byte](id ID) row { return row{"user", string(id[:])} }

func challengeRow(id uuid.UUID) row { return row{"challenge", string(id[:])} }

func codeRow(digest auth.CodeDigest) row { return row{"code", string(digest[:])} }

// nameRow is of a user who is found by name, or who would have it.
func nameRow(key string) row { return row{"name", key} }

// rightsRow is what all wait for who change what others may do.
func rightsRow() row { return row{kind: "rights"} }

func rateRows(rates []auth.Rate) []row {
	rows := make([]row, len(rates))
	for n, r := range rates {
		rows[n] = row{"rate", string(r.Key[:])}
	}
	return rows
}
