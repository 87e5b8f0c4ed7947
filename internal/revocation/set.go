// Package revocation owns the set of revoked access tokens that a process holds in memory: what it
// knows, how sure it may be of that, and how long it must remember. Gatehouse's replicas fill their
// sets from the database, and other services from a replica.
package revocation

import (
	"crypto/rand"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

const (
	// margin is how much longer than an access token a revocation is kept. It covers clocks of
	// replicas that are apart, and the time from the row of a revocation to its commit.
	margin = 10 * time.Minute

	shards = 64
)

// Entry bars the access tokens of a session, or those of a user with an older version, or all that
// were issued before a time.
type Entry struct {
	Subject uuid.UUID     // id of the user or the session; uuid.Nil for all
	Version int64         // the lowest of the user that is still good; NoVersion for a session; for all, seconds since 1970
	Age     time.Duration // when it was read, by the database's clock
}

// NoVersion is the version of an entry that bars a session: none of its tokens is good.
const NoVersion = math.MaxInt64

// Set is what a process knows of revoked access tokens, so that it need not ask about each request.
// Many goroutines may use it. A check makes none of them wait for long: each lock guards a fraction
// of the entries, and nobody waits for anything else while holding one.
//
// All times that it is given must come from one clock.
type Set struct {
	lifetime time.Duration // of an access token, with the leeway
	keep     time.Duration // how old an entry may be and still matter
	base     time.Time     // what times in shards count from
	name     string        // begins this set's cursors, and no other's
	last     atomic.Uint64 // number of the newest entry
	// issuedBefore bars every token that was issued before, in seconds since 1970.
	issuedBefore atomic.Int64
	// confirmed is when the set knew all that had been committed. nil means never.
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

// NewSet makes an empty set. It knows nothing until it is confirmed. lifetime is that of an access
// token.
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

// Keep is the age at which a revocation does not matter any more.
func (r *Set) Keep() time.Duration { return r.keep }

// Add adds entries, in any order and any number of times. An entry that is known already is not
// kept longer for it.
func (r *Set) Add(now time.Time, all []Entry) {
	for _, one := range all {
		if one.Subject == uuid.Nil {
			r.barIssuedBefore(one.Version)
			continue
		}
		r.add(one.Subject, one.Version, now.Sub(r.base)-max(one.Age, 0)+r.keep)
	}
}

func (r *Set) add(subject uuid.UUID, version int64, until time.Duration) {
	s := r.shard(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.entries[subject]; !ok || known.version < version {
		// The number is given under the lock. So whoever sees the number and then takes the lock
		// sees the entry.
		s.entries[subject] = revoked{version, until, r.last.Add(1)}
	}
}

// barIssuedBefore first bars the tokens, and then takes a number. So whoever sees the number sees
// the time too.
func (r *Set) barIssuedBefore(seconds int64) {
	for {
		known := r.issuedBefore.Load()
		if seconds <= known {
			return
		}
		if r.issuedBefore.CompareAndSwap(known, seconds) {
			r.last.Add(1)
			return
		}
	}
}

// Confirm says that all revocations that were committed before now have been added.
func (r *Set) Confirm(now time.Time) {
	for {
		last := r.confirmed.Load()
		if last != nil && !now.After(*last) || r.confirmed.CompareAndSwap(last, &now) {
			return
		}
	}
}

// Age is the time since the last confirmation, by [Elapsed]. Before the first one it is the longest
// time there is.
func (r *Set) Age(now time.Time) time.Duration {
	last := r.confirmed.Load()
	if last == nil {
		return math.MaxInt64
	}
	return Elapsed(*last, now)
}

// Elapsed is the time from then to now, by whichever clock went further. The monotonic clock stands
// still while the machine is suspended: what was learned before would count as fresh afterwards.
// The wall clock may be set back.
func Elapsed(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}

// Check tells whether a token is known to be revoked. If it is not, stale tells whether the set may
// be behind: it was not confirmed for longer than maxAge, or the token is older than what the set
// remembers.
func (r *Set) Check(now time.Time, a token.Access, maxAge time.Duration) (isRevoked, stale bool) {
	// The age is taken before the entries are looked at. Entries that are added and confirmed in
	// between may not have been seen.
	stale = r.Age(now) > maxAge
	if r.barsAllOf(a.IssuedAt) || r.has(a.UserID, a.Version) || r.has(a.SessionID, a.Version) {
		return true, false
	}
	// The token is older than any that is issued now. It was issued when the setting of the
	// lifetime was longer.
	return false, stale || now.Sub(a.IssuedAt) > r.lifetime
}

func (r *Set) barsAllOf(issued time.Time) bool {
	before := r.issuedBefore.Load()
	return before != 0 && issued.Unix() < before
}

func (r *Set) has(subject uuid.UUID, version int64) bool {
	s := r.shard(subject)
	s.mu.RLock()
	e, ok := s.entries[subject]
	s.mu.RUnlock()
	return ok && version < e.version
}

// Prune forgets the revocations whose tokens have expired, and frees their memory.
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

// shard is chosen by the last byte of an id. That byte is random in every version of UUID that is
// used here.
func (r *Set) shard(subject uuid.UUID) *shard {
	return &r.shards[subject[len(subject)-1]%shards]
}
