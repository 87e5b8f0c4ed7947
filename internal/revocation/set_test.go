package revocation

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/token"
)

const (
	testLifetime = 30 * time.Minute
	testMaxAge   = 2 * time.Second
)

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// access is what a token of a new user says that was issued at a time.
func access(issued time.Time) token.Access {
	return token.Access{
		Subject:  token.Subject{UserID: newID(), SessionID: newID(), Version: 5},
		IssuedAt: issued, Expires: issued.Add(testLifetime),
	}
}

func wantCheck(t *testing.T, r *Set, now time.Time, a token.Access, wantRevoked, wantStale bool) {
	t.Helper()
	if isRevoked, stale := r.Check(now, a, testMaxAge); isRevoked != wantRevoked || stale != wantStale {
		t.Errorf("revoked %t, stale %t; want %t, %t", isRevoked, stale, wantRevoked, wantStale)
	}
}

func TestWhatIsRevokedIsAUsersOlderTokensOrAWholeSession(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := NewSet(now, testLifetime)
	r.Confirm(now)
	a := access(now)
	r.Add(now, []Entry{{Subject: a.UserID, Version: 5}, {Subject: newID(), Version: NoVersion}})
	wantCheck(t, r, now, a, false, false)
	r.Add(now, []Entry{{Subject: a.UserID, Version: 6}})
	wantCheck(t, r, now, a, true, false)
	r.Add(now, []Entry{{Subject: a.UserID, Version: 4}}) // comes late
	wantCheck(t, r, now, a, true, false)
	a.Version = 6
	wantCheck(t, r, now, a, false, false)
	r.Add(now, []Entry{{Subject: a.SessionID, Version: NoVersion}})
	wantCheck(t, r, now, a, true, false)
}

// After a restore nobody knows of whom, and of which sessions, the tokens are that were issued
// after the backup.
func TestWhatWasIssuedBeforeATimeIsRevokedWhoseverItIs(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	r := NewSet(now, testLifetime)
	r.Confirm(now)
	before, after := access(now.Add(-time.Second)), access(now)
	wantCheck(t, r, now, before, false, false)
	r.Add(now, []Entry{{Version: now.Unix()}})
	wantCheck(t, r, now, before, true, false)
	wantCheck(t, r, now, after, false, false)
	r.Add(now, []Entry{{Version: now.Unix() - 1}}) // comes late
	wantCheck(t, r, now, before, true, false)
	later := now.Add(testLifetime)
	r.Prune(later)
	r.Confirm(later)
	wantCheck(t, r, later, before, true, false)
}

func TestASetThatIsNotConfirmedIsStale(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r, a := NewSet(now, testLifetime), access(now)
	wantCheck(t, r, now, a, false, true)
	r.Confirm(now)
	r.Confirm(now.Add(-time.Hour)) // an answer that comes late says nothing new
	wantCheck(t, r, now.Add(testMaxAge), a, false, false)
	wantCheck(t, r, now.Add(testMaxAge+1), a, false, true)
	r.Add(now, []Entry{{Subject: a.SessionID, Version: NoVersion}})
	wantCheck(t, r, now.Add(time.Minute), a, true, false) // it is not the less revoked
}

// A machine that was suspended, or whose clock was set, may have missed what happened meanwhile.
func TestAStepOfTheWallClockMakesTheSetStale(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r, a := NewSet(now, testLifetime), access(now)
	r.Confirm(now)
	wantCheck(t, r, now.Add(testMaxAge), a, false, false)
	woken := asynctest.Suspended(t, now, time.Minute).Add(time.Millisecond)
	wantCheck(t, r, woken, a, false, true)
	r.Confirm(woken)
	wantCheck(t, r, woken, a, false, false)
	// The clock that was ahead is set back: the monotonic one tells how old the set is.
	wantCheck(t, r, asynctest.Suspended(t, woken.Add(time.Minute), -time.Minute), a, false, true)
}

// A token from before ACCESS_TOKEN_EXPIRE_MINUTES was lowered outlives its revocation in the set.
func TestATokenOlderThanTheSetRemembersIsLeftToTheDatabase(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := NewSet(now, testLifetime)
	r.Confirm(now)
	wantCheck(t, r, now, access(now.Add(-testLifetime-token.Leeway)), false, false)
	wantCheck(t, r, now, access(now.Add(-testLifetime-token.Leeway-1)), false, true)
}

func TestReadingARevocationAgainDoesNotKeepItLonger(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := NewSet(now, testLifetime)
	old := Entry{Subject: newID(), Version: NoVersion, Age: time.Minute}
	r.Add(now, []Entry{old})
	end := now.Add(r.Keep() - time.Minute)
	old.Age = 0
	r.Add(end.Add(-time.Second), []Entry{old})
	r.Prune(end.Add(-1))
	if r.Len() != 1 {
		t.Error("forgotten too early")
	}
	r.Prune(end)
	if r.Len() != 0 {
		t.Error("still there")
	}
}

// Else a replica that runs for months has the memory of its worst half hour for good, or of all of
// them together.
func TestPruningBoundsMemory(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := NewSet(now, testLifetime)
	most := 0
	for range 600 { // ten hours
		now = now.Add(time.Minute)
		batch := make([]Entry, 100)
		for n := range batch {
			batch[n] = Entry{Subject: newID(), Version: NoVersion}
		}
		r.Add(now, batch)
		r.Prune(now)
		most = max(most, r.Len())
	}
	if limit := 100 * int(r.Keep()/time.Minute+1); most > limit {
		t.Errorf("%d entries, %d at most are younger than %v", most, limit, r.Keep())
	}
	r.Prune(now.Add(r.Keep()))
	if r.Len() != 0 {
		t.Errorf("%d entries are left", r.Len())
	}
}

// The property that all of this is for: from the moment that the set knows of a revocation until
// the token has expired, in whatever order revocations come in and whenever old ones are forgotten,
// the token is not let in by the set.
func TestARevokedTokenIsNeverLetInAgain(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	now := time.Now()
	r := NewSet(now, testLifetime)
	type bearer struct {
		token.Access
		revocation Entry
		at         time.Time // of the revocation
		known      bool      // to the set
	}
	var bearers []*bearer
	for step := range 20_000 {
		switch random.IntN(6) {
		case 0:
			bearers = append(bearers, &bearer{Access: access(now)})
		case 1: // revoked by the other clock, and read at some later step
			if len(bearers) > 0 {
				b := bearers[random.IntN(len(bearers))]
				if b.at.IsZero() {
					b.at, b.revocation = now, Entry{Subject: b.SessionID, Version: NoVersion}
					if random.IntN(2) == 0 {
						b.revocation = Entry{Subject: b.UserID, Version: b.Version + 1 + random.Int64N(3)}
					}
				}
			}
		case 2: // a poll
			read := now
			now = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
			for _, n := range random.Perm(len(bearers)) {
				if b := bearers[n]; !b.at.IsZero() {
					b.revocation.Age = read.Sub(b.at)
					r.Add(now, []Entry{b.revocation})
					b.known = true
				}
			}
			r.Confirm(read)
		case 3:
			r.Prune(now)
		case 4:
			now = now.Add(time.Duration(random.IntN(60)) * time.Second)
		case 5:
			now = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
		}
		live := bearers[:0]
		for _, b := range bearers {
			if !now.Before(b.Expires.Add(token.Leeway)) {
				continue
			}
			live = append(live, b)
			isRevoked, stale := r.Check(now, b.Access, testMaxAge)
			if b.known && !isRevoked {
				t.Fatalf("seed %d, step %d: a revoked token passes (stale %t)", seed, step, stale)
			}
			if b.at.IsZero() && isRevoked {
				t.Fatalf("seed %d, step %d: a good token is revoked", seed, step)
			}
			if !b.known && !b.at.IsZero() && now.Sub(b.at) > testMaxAge && !stale {
				t.Fatalf("seed %d, step %d: the set is sure without knowing", seed, step)
			}
		}
		bearers = live
	}
}

func TestChecksGoOnWhileTheSetChanges(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r, a := NewSet(now, testLifetime), access(now)
	r.Add(now, []Entry{{Subject: a.SessionID, Version: NoVersion}})
	r.Confirm(now)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 2000 {
				if isRevoked, _ := r.Check(now, a, testMaxAge); !isRevoked {
					t.Error("let in")
				}
			}
		})
	}
	group.Go(func() {
		for range 2000 {
			r.Add(now, []Entry{{Subject: newID(), Version: NoVersion, Age: r.Keep()}})
			r.Prune(now)
			r.Confirm(now)
			r.Len()
		}
	})
	group.Wait()
}

func BenchmarkCheck(b *testing.B) {
	now := time.Now()
	r, a := NewSet(now, testLifetime), access(now)
	r.Add(now, many(100_000))
	r.Confirm(now)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if isRevoked, stale := r.Check(now, a, testMaxAge); isRevoked || stale {
				b.Fail()
			}
		}
	})
}

// BenchmarkMemory reports what 100,000 revocations take.
func BenchmarkMemory(b *testing.B) {
	now, all := time.Now(), many(100_000)
	for b.Loop() {
		before := heap()
		r := NewSet(now, testLifetime)
		r.Add(now, all)
		b.ReportMetric(float64(heap()-before), "bytes/100k")
		runtime.KeepAlive(r)
	}
}

func many(n int) []Entry {
	all := make([]Entry, n)
	for n := range all {
		all[n] = Entry{Subject: newID(), Version: NoVersion}
	}
	return all
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
