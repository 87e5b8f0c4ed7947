package ratelimit

import (
	"sync"
	"time"
)

// Buckets keeps the states of limits in the memory of one process. It holds a bounded number of
// keys: of more, it drops one that is whole again, or else some other one, which then is whole
// before its time. That lets somebody through more often, and keeps nobody out.
//
// It is safe for use by many goroutines.
type Buckets[K comparable] struct {
	mu     sync.Mutex
	most   int
	states map[K]State
}

// Wanted is one thing that is to be taken from a limit.
type Wanted[K comparable] struct {
	Key   K
	Limit Limit
}

// NewBuckets makes a memory of at most the given number of keys, but at least one. A key takes
// about 100 bytes.
func NewBuckets[K comparable](most int) *Buckets[K] {
	return &Buckets[K]{most: max(most, 1), states: make(map[K]State)}
}

// Take takes one from each of several limits, or from none if one has none left: then it tells for
// how long to wait. Times are by a monotonic clock, as time.Now is.
func (b *Buckets[K]) Take(now time.Time, wanted ...Wanted[K]) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	decisions := make([]Decision, len(wanted))
	for n, w := range wanted {
		decisions[n] = w.Limit.Decide(b.states[w.Key], now, 1)
		wait = max(wait, decisions[n].RetryAfter)
	}
	if wait > 0 {
		return wait
	}
	for n, w := range wanted {
		if w.Limit.Off() {
			continue
		}
		if _, known := b.states[w.Key]; !known && len(b.states) >= b.most {
			b.makeRoom(now)
		}
		b.states[w.Key] = decisions[n].State
	}
	return 0
}

// makeRoom drops one key: of the few that it looks at, one that is whole again, or else the last.
func (b *Buckets[K]) makeRoom(now time.Time) {
	var victim K
	looked := 0
	for key, state := range b.states { // in random order
		victim = key
		if looked++; looked == 8 || !state.Whole.After(now) {
			break
		}
	}
	delete(b.states, victim)
}
