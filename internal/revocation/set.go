// Package revocation owns the set of revoked access tokens that a process holds in memory: what it knows, how sure it may
// be of that, and for how long it has to remember. Gatehouse's replicas fill theirs from the database, other services
// from a replica.
package revocation

import (
	"crypto/rand"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/token"
)

const (
	// margin is how much longer than an access token a revocation is kept. It makes up for what lies between
	// the two: clocks of replicas that are apart, and the time from a revocation's row to its commit.
	margin = 10 * time.Minute

	shards = 64
)

// Entry bars the access tokens of a session, or those of a user that are older than a version.
type Entry struct {
	Subject uuid.UUID     // id of the user or the session
	Version int64         // the lowest of the user that is still good; NoVersion for a session
	Age     time.Duration // when it was read, by the database's clock
}

// NoVersion is that of a session's revocation: none of its tokens is good.
const NoVersion = math.MaxInt64

// Set is what a process knows of revoked access tokens, so that it need not ask about each request. It is safe for use by
// many goroutines, and a check makes none of them wait for long: a lock guards a fraction of the entries, and nobody
// holds one while waiting for anything else.
//
// It decides by the times that it is given, which must come from one clock.
type Set struct {
	lifetime time.Duration // of an access token, with the leeway
	keep     time.Duration // how old an entry may be and still matter
	base     time.Time     // what times in shards count from
	name     string        // begins this set's cursors, and no other's
	last     atomic.Uint64 // number of the newest entry
	// confirmed is when all that had been committed was known; nil: never.
	confirmed atomic.Pointer[time.Time]
	shards    [shards]shard
}

// shard has users and sessions in one map: their ids are UUIDs and never equal.
type shard struct {
	mu      sync.RWMutex
	entries map[uuid.UUID]revoked
}

type revoked struct {
	version int64         // tokens with a lower one are revoked
	until   time.Duration // since base: by then they have expired by themselves
	number  uint64        // in the order of coming in
}

// NewSet makes an empty set, which knows nothing until it is confirmed. lifetime is that of an access token.
func NewSet(now time.Time, lifetime time.Duration) *Set {
	lifetime += token.Leeway
	return newSet(now, lifetime, lifetime+margin)
}

func newSet(now time.Time, lifetime, keep time.Duration) *Set {
	r := &Set{base: now, lifetime: lifetime, keep: keep, name: rand.Text() + "."}
	for n := range r.shards {
		r.shards[n].entries = map[uuid.UUID]revoked{}
	}
	return r
}

// Keep is how old a revocation may be and still matter.
func (r *Set) Keep() time.Duration { return r.keep }

// Add takes revocations in, in any order and any number of times. What is known already is not kept longer for it.
func (r *Set) Add(now time.Time, all []Entry) {
	for _, one := range all {
		r.add(one.Subject, one.Version, now.Sub(r.base)-max(one.Age, 0)+r.keep)
	}
}

func (r *Set) add(subject uuid.UUID, version int64, until time.Duration) {
	s := r.shard(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.entries[subject]; !ok || known.version < version {
		// Numbered under the lock, so that whoever sees the number and then takes the lock sees the entry.
		s.entries[subject] = revoked{version, until, r.last.Add(1)}
	}
}

// Confirm says that whatever was committed before now has been added.
func (r *Set) Confirm(now time.Time) {
	for {
		last := r.confirmed.Load()
		if last != nil && !now.After(*last) || r.confirmed.CompareAndSwap(last, &now) {
			return
		}
	}
}

// Age is the time since the last confirmation; the longest there is before the first one. It counts the time that the
// machine was suspended, which the monotonic clock leaves out, and a step of the wall clock.
func (r *Set) Age(now time.Time) time.Duration {
	last := r.confirmed.Load()
	if last == nil {
		return math.MaxInt64
	}
	return max(now.Sub(*last), now.Round(0).Sub(last.Round(0)))
}

// Check tells whether a token is known to be revoked and, if it is not, whether the set may be behind: stale is true
// if it was not confirmed for longer than maxAge, or if the token is older than what the set remembers.
func (r *Set) Check(now time.Time, a token.Access, maxAge time.Duration) (isRevoked, stale bool) {
	// Looked at before the entries: those that are added and confirmed in between were perhaps not seen.
	stale = r.Age(now) > maxAge
	if r.has(a.UserID, a.Version) || r.has(a.SessionID, a.Version) {
		return true, false
	}
	// Older than any token that is issued now: it was issued under a setting with a longer lifetime.
	return false, stale || now.Sub(a.IssuedAt) > r.lifetime
}

func (r *Set) has(subject uuid.UUID, version int64) bool {
	s := r.shard(subject)
	s.mu.RLock()
	e, ok := s.entries[subject]
	s.mu.RUnlock()
	return ok && version < e.version
}

// Prune forgets the revocations whose tokens have expired, and gives their memory back.
func (r *Set) Prune(now time.Time) {
	for n := range r.shards {
		r.shards[n].prune(now.Sub(r.base))
	}
}

func (s *shard) prune(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := 0
	for _, e := range s.entries {
		if now < e.until {
			live++
		}
	}
	if live == len(s.entries) {
		return
	}
	kept := make(map[uuid.UUID]revoked, live) // a map that is deleted from keeps its size
	for subject, e := range s.entries {
		if now < e.until {
			kept[subject] = e
		}
	}
	s.entries = kept
}

// Len is the number of entries.
func (r *Set) Len() int {
	total := 0
	for n := range r.shards {
		s := &r.shards[n]
		s.mu.RLock()
		total += len(s.entries)
		s.mu.RUnlock()
	}
	return total
}

// shard goes by the last byte, which is a random one in every version of UUID that is used here.
func (r *Set) shard(subject uuid.UUID) *shard {
	return &r.shards[subject[len(subject)-1]%shards]
}
