package auth

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/ratelimit"
)

// How many refusals a replica records with a line each. It counts the others, and records the
// counts each minute.
const (
	// mostCounted bounds how many kinds of refusals are counted apart in a minute. A kind is one
	// caller, action and outcome. The rest becomes one line. With mostCallers it takes about 2 MB.
	mostCounted = 1000
	mostCallers = 10_000
)

func toldOfActor() ratelimit.Limit {
	return ratelimit.Limit{Burst: 20, Interval: 10 * time.Second}
}
func toldOfNetwork() ratelimit.Limit {
	return ratelimit.Limit{Burst: 100, Interval: 2 * time.Second}
}

// toldOfAll is for all callers together. With mostCounted it bounds what refusals write, whoever
// causes them: 1301 lines a minute for each replica.
func toldOfAll() ratelimit.Limit {
	return ratelimit.Limit{Burst: 1000, Interval: 200 * time.Millisecond}
}

// Tally bounds what anybody can write into the audit log by being refused. It admits some refusals
// of each actor and network with a line each, and counts the others until the counts are taken. It
// is safe for use by many goroutines.
type Tally struct {
	clock func() time.Time
	each  *ratelimit.Buckets[string]

	mu     sync.Mutex
	all    ratelimit.State // the state of toldOfAll
	counts map[counted]*Event
	rest   int64 // refusals that found no place in counts
}

// counted is what refusals that are counted together have in common.
type counted struct {
	actor   ActorKind
	actorID uuid.UUID
	network string
	action  Action
	outcome string
}

// NewTally makes a Tally that has counted nothing.
func NewTally(clock func() time.Time) *Tally {
	return &Tally{
		clock: clock, each: ratelimit.NewBuckets[string](mostCallers),
		counts: make(map[counted]*Event),
	}
}

// admits reports whether an event gets a line of its own. If not, it has counted the event.
func (t *Tally) admits(e Event) bool {
	now := t.clock()
	wanted := []ratelimit.Wanted[string]{
		{Key: "network " + network(e.Address), Limit: toldOfNetwork()},
	}
	if e.By.ID != uuid.Nil {
		wanted = append(
			wanted,
			ratelimit.Wanted[string]{Key: "actor " + e.By.ID.String(), Limit: toldOfActor()},
		)
	}
	ofCaller := t.each.Take(now, wanted...) == 0
	t.mu.Lock()
	defer t.mu.Unlock()
	if ofCaller {
		if decision := toldOfAll().Decide(t.all, now, 1); decision.Allowed {
			t.all = decision.State
			return true
		}
	}
	t.count(e)
	return false
}

// count adds an event to those of its kind. Of their other fields, it keeps what is the same in
// all.
func (t *Tally) count(e Event) {
	kind := counted{e.By.Kind, e.By.ID, network(e.Address), e.Action, e.Outcome}
	sum, known := t.counts[kind]
	switch {
	case known:
		sum.add(e)
	case len(t.counts) < mostCounted:
		t.counts[kind] = &e
	default:
		t.rest += e.Count
	}
}

// take returns the counts, and begins anew.
func (t *Tally) take() (sums []Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sum := range t.counts {
		sums = append(sums, *sum)
	}
	if t.rest > 0 {
		sums = append(sums, Event{
			Action: ActionRefusals, Outcome: outcomeSeveral, Count: t.rest,
			By: Actor{Kind: ActorAnonymous},
		})
	}
	clear(t.counts)
	t.rest = 0
	return sums
}

// putBack counts again what could not be recorded.
func (t *Tally) putBack(sums []Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sum := range sums {
		if sum.Action == ActionRefusals {
			t.rest += sum.Count
		} else {
			t.count(sum)
		}
	}
}

// add makes an event stand for another one too.
func (e *Event) add(other Event) {
	e.Count += other.Count
	e.RequestID = common(e.RequestID, other.RequestID)
	e.Target = common(e.Target, other.Target)
	e.UserAgent = common(e.UserAgent, other.UserAgent)
	if e.Address != other.Address {
		e.Address = network(e.Address)
	}
	if e.UserID != other.UserID || e.UserKey != other.UserKey {
		e.UserID, e.UserKey = uuid.Nil, ""
	}
}

func common(a, b string) string {
	if a != b {
		return ""
	}
	return a
}

// TellCounted records the refusals that were only counted. If it fails, they are kept for the next
// time, although some may have been recorded.
func (a *Audit) TellCounted(ctx context.Context) error {
	sums := a.tally.take()
	if len(sums) == 0 {
		return nil
	}
	if err := a.store.RecordEvents(ctx, sums); err != nil {
		a.tally.putBack(sums)
		return err
	}
	return nil
}
