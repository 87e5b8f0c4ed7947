package ratelimit

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Key names what is limited.
type Key [sha256.Size]byte

// Refusals remembers for how long keys will be refused, so that a flood which has used up its limit need not be counted
// any more. It holds a bounded number of keys: of more, some are forgotten. That costs a look at the counter and lets
// nothing through.
//
// It does not hear of what is given back meanwhile, so that a key may be refused for longer than it must: until the time
// that its first caller was told, and for a minute at most. Of a counter that was reset it can be told, by Forget.
//
// It is safe for use by many goroutines.
type Refusals struct {
	mu        sync.Mutex
	most      int
	until     map[Key]time.Time
	forgotten uint64 // times that Forget was called
}

// longestRefusal bounds how long a counter that was reset may go unheard.
const longestRefusal = time.Minute

// NewRefusals makes a memory of at most the given number of keys, about 100 bytes each.
func NewRefusals(most int) *Refusals {
	return &Refusals{most: most, until: make(map[Key]time.Time)}
}

// Forgotten is how often Forget was called.
func (r *Refusals) Forgotten() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forgotten
}

// Forget lets keys be looked at again whose counters were reset.
func (r *Refusals) Forget(keys ...Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten++
	for _, key := range keys {
		delete(r.until, key)
	}
}

// Add remembers that a key is refused for a while from now on. Times are by a monotonic clock, as time.Now is. forgotten is
// what Forgotten was before the counter was looked at: if Forget was called since, the look may have been before the
// reset, and is not remembered.
func (r *Refusals) Add(now time.Time, key Key, wait time.Duration, forgotten uint64) {
	if wait <= 0 || r.most <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if forgotten != r.forgotten {
		return
	}
	if _, known := r.until[key]; !known && len(r.until) >= r.most {
		r.makeRoom(now)
	}
	r.until[key] = now.Add(min(wait, longestRefusal))
}

// makeRoom drops one key: of the few that it looks at, one that is over, or else the last.
func (r *Refusals) makeRoom(now time.Time) {
	var victim Key
	looked := 0
	for key, until := range r.until { // in random order
		victim = key
		if looked++; looked == 8 || !until.After(now) {
			break
		}
	}
	delete(r.until, victim)
}

// Wait is how long a key will still be refused for; 0 if it is not known to be.
func (r *Refusals) Wait(now time.Time, key Key) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, known := r.until[key]
	if !known {
		return 0
	}
	wait := until.Sub(now)
	if wait <= 0 {
		delete(r.until, key)
		return 0
	}
	return wait
}
