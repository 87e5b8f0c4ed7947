package token

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// sameVerdict holds that a Verifier answers as its Issuer does.
func sameVerdict(t *testing.T, v *Verifier, now time.Time, raw string) {
	t.Helper()
	want, wantErr := v.issuer.Verify(now, raw)
	got, err := v.Verify(now, raw)
	if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) || errors.Is(err, ErrInvalid) != errors.Is(wantErr, ErrInvalid) {
		t.Errorf("at %v: %+v, %v; the issuer says %+v, %v", now, got, err, want, wantErr)
	}
}

func TestARememberedTokenGetsTheVerdictOfANewOne(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	v := NewVerifier(i, 1000)
	raw := issue(t, i)
	end := issued.Add(30*time.Minute + Leeway)
	for _, now := range []time.Time{issued, issued, end.Add(-1), end, end.Add(time.Hour), end.Add(-1), issued.Add(-time.Hour)} {
		sameVerdict(t, v, now, raw)
	}
	if v.Len() != 1 {
		t.Errorf("%d tokens are remembered", v.Len())
	}
}

// A token's parts, tried out beside a good one, must not find it.
func TestOnlyTheWholeTokenIsRemembered(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	v := NewVerifier(i, 1000)
	raw := issue(t, i)
	sameVerdict(t, v, issued, raw)
	for n := range len(raw) {
		changed := []byte(raw)
		changed[n] ^= 1
		sameVerdict(t, v, issued, string(changed))
		sameVerdict(t, v, issued, raw[:n])
	}
	sameVerdict(t, v, issued, raw+strings.Repeat("A", MaxLength))
	if v.Len() != 1 {
		t.Errorf("%d tokens are remembered: somebody without a key can push others out", v.Len())
	}
}

func TestTokensThatAreForgottenAreVerifiedAnew(t *testing.T) {
	t.Parallel()
	const size = 256
	i := issuer(t, keyA)
	v := NewVerifier(i, size)
	raws := make([]string, 3*size)
	for n := range raws {
		raws[n] = issue(t, i)
		sameVerdict(t, v, issued, raws[n])
		if v.Len() > size {
			t.Fatalf("%d tokens are remembered, of at most %d", v.Len(), size)
		}
	}
	for range 5 * size {
		sameVerdict(t, v, issued.Add(time.Duration(rand.IntN(3600))*time.Second), raws[rand.IntN(len(raws))])
	}
	if v.Len() > size {
		t.Errorf("%d tokens are remembered, of at most %d", v.Len(), size)
	}
}

// Of two generations, the one that goes must not take along what is in use.
func TestATokenInUseIsNotForgotten(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	v := NewVerifier(i, 2*2*memoryShards)
	raw := issue(t, i)
	mustVerify(t, v, raw)
	key := sha256.Sum256([]byte(raw))
	first := v.memory.shards[key[0]%memoryShards].young[key]
	for range 2000 {
		mustVerify(t, v, issue(t, i))
		mustVerify(t, v, raw)
	}
	if last := v.memory.shards[key[0]%memoryShards].young[key]; last != first {
		t.Error("it was verified anew")
	}
}

func TestASmallSizeRemembersNothing(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	v := NewVerifier(i, 127)
	sameVerdict(t, v, issued, issue(t, i))
	if v.Len() != 0 {
		t.Error("it does")
	}
}

func TestManyMayVerifyAtOnce(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	v := NewVerifier(i, 128)
	raws := make([]string, 300)
	for n := range raws {
		raws[n] = issue(t, i)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, n := range rand.Perm(len(raws)) {
				sameVerdict(t, v, issued, raws[n])
				v.Len()
			}
		})
	}
	group.Wait()
}

// It must not run beside others, whose allocations would count.
func TestAHitDoesNotAllocate(t *testing.T) {
	i := issuer(t, keyA)
	v := NewVerifier(i, 1000)
	raw := issue(t, i)
	if got := testing.AllocsPerRun(100, func() { mustVerify(t, v, raw) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func FuzzVerifierAnswersAsTheIssuer(f *testing.F) {
	i := issuer(f, keyA)
	v := NewVerifier(i, 1000)
	f.Add(live, int64(0))
	f.Add(live, int64(3600))
	f.Add(live[1:], int64(0))
	f.Add("..", int64(0))
	f.Fuzz(func(t *testing.T, raw string, seconds int64) {
		mustVerify(t, v, live)
		sameVerdict(t, v, issued.Add(time.Duration(seconds%86400)*time.Second), raw)
	})
}

func BenchmarkVerifierHit(b *testing.B) {
	i := issuer(b, keyA)
	v := NewVerifier(i, 100_000)
	raw := issue(b, i)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := v.Verify(issued, raw); err != nil {
				b.Fail()
			}
		}
	})
}

// BenchmarkVerifierMemory reports what 100,000 remembered tokens take, and how many of 100,000 are
// remembered by a Verifier of that size.
func BenchmarkVerifierMemory(b *testing.B) {
	raws := make([]string, 100_000)
	i := issuer(b, keyA)
	for n := range raws {
		raw, err := i.Issue(issued, Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1}, time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		raws[n] = raw
	}
	for b.Loop() {
		before := heap()
		v := NewVerifier(i, len(raws))
		for _, raw := range raws {
			mustVerify(b, v, raw)
		}
		b.ReportMetric(float64(heap()-before)/float64(v.Len())*100_000, "bytes/100k")
		b.ReportMetric(float64(v.Len()), "kept")
	}
}

func mustVerify(t testing.TB, v *Verifier, raw string) Access {
	t.Helper()
	access, err := v.Verify(issued, raw)
	if err != nil {
		t.Fatal(err)
	}
	return access
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
