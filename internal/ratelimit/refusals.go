package ratelimit

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Key names what is limited.
type Key [sha256.Size]byte

// Refusals remembers for how long keys will be refused. So a flood that has used up its limit is
// not counted any more. It holds a bounded number of keys, and forgets some when there are more. A
// forgotten key costs a look at its counter, and lets nothing through.
//
// It remembers what was used up for good, and nothing that may be given back. Whoever resets a
// counter should call [Refusals.Forget]. Otherwise the key is refused until the time that its first
// caller was told, but for no longer than a minute.
//
// Many goroutines may use it.
type Refusals struct {
	mu        sync.Mutex
	most      int
	until     map[Key]time.Time
	forgotten uint64 // times that Forget was called
}

// longestRefusal is how long a reset counter can go unnoticed.
const longestRefusal = time.Minute

// NewRefusals makes a memory of at most the given number of keys, about 100 bytes each.
func NewRefusals(most int) *Refusals {
	return &Refusals{most: most, until: make(map[Key]time.Time)}
}

// Forgotten is how often [Refusals.Forget] was called.
func (r *Refusals) Forgotten() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forgotten
}

// Forget drops keys whose counters were reset, so that they are looked at again.
func (r *Refusals) Forget(keys ...Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten++
	for _, key := range keys {
		delete(r.until, key)
	}
}

// Add remembers that a key is refused for a while from now on. forgotten is what
// [Refusals.Forgotten] returned before the counter was looked at. If Forget was called since, the
// look may have been before the reset, and is not remembered.
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

// makeRoom looks at a few keys and drops one: one that is over, or else the last.
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

// Wait is how long a key will still be refused. It is 0 if that is not known.
func (r *Refusals) Wait(now time.Time, key Key) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, known := r.until[key]
	if !known {
		return 0
	}
	wait := until.Sub(now)
	if wait <= 0 || wait > longestRefusal { // it is over, or the clock was set back
		delete(r.until, key)
		return 0
	}
	return wait
}
