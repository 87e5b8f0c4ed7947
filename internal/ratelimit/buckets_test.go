package ratelimit

import (
	"testing"
	"time"
)

func TestBucketsTakeFromAllLimitsOrFromNone(t *testing.T) {
	t.Parallel()
	b, now := NewBuckets[string](10), time.Now()
	both := []Wanted[string]{{"alice", Limit{Burst: 2, Interval: time.Minute}}, {"everybody", Limit{Burst: 3, Interval: time.Minute}}}
	for n, want := range []time.Duration{0, 0, time.Minute, time.Minute} {
		if wait := b.Take(now, both...); wait != want {
			t.Errorf("%d: wait %v, want %v", n, wait, want)
		}
	}
	if wait := b.Take(now, both[1]); wait != 0 { // of which a refusal has taken nothing
		t.Errorf("wait %v", wait)
	}
	if wait := b.Take(now.Add(time.Minute), both...); wait != 0 {
		t.Errorf("a minute later: wait %v", wait)
	}
}

func TestBucketsThatAreOffHoldNobodyUp(t *testing.T) {
	t.Parallel()
	b := NewBuckets[string](10)
	for range 100 {
		if wait := b.Take(time.Now(), Wanted[string]{Key: "x"}); wait != 0 {
			t.Fatal(wait)
		}
	}
}

// The memory is bounded, and what is dropped first is what says nothing any more.
func TestBucketsDropKeysThatAreWholeAgainBeforeOthers(t *testing.T) {
	t.Parallel()
	b, now, once := NewBuckets[int](4), time.Now(), Limit{Burst: 1, Interval: time.Hour}
	b.Take(now.Add(-2*time.Hour), Wanted[int]{0, once})
	for key := range 3 {
		b.Take(now, Wanted[int]{1 + key, once})
	}
	b.Take(now, Wanted[int]{4, once})
	if _, kept := b.states[0]; kept {
		t.Error("one that is whole again is kept")
	}
	for key := range 1000 {
		b.Take(now, Wanted[int]{10 + key, once})
	}
	if len(b.states) > 4 {
		t.Errorf("%d keys", len(b.states))
	}
}
