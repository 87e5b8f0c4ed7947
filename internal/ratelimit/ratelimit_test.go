package ratelimit

import (
	"math"
	"testing"
	"time"
)

// bucket is the reference: tokens that are counted, and come back one by one. It is kept in
// fractions of a token, one for each nanosecond of the interval, so that nothing is rounded.
type bucket struct {
	Limit
	left int64 // tokens × interval
	last time.Time
}

func newBucket(l Limit, now time.Time) *bucket {
	return &bucket{Limit: l, left: int64(l.Burst) * int64(l.Interval), last: now}
}

func (b *bucket) fill(now time.Time) {
	b.left = min(b.left+int64(now.Sub(b.last)), int64(b.Burst)*int64(b.Interval))
	b.last = now
}

func (b *bucket) take(now time.Time, cost int) bool {
	b.fill(now)
	if need := int64(cost) * int64(b.Interval); need <= b.left {
		b.left -= need
		return true
	}
	return false
}

var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// FuzzDecideIsATokenBucket plays a history to the algorithm and to a bucket of tokens that is
// filled as time goes by. Each byte is a step: a pause, and then a thing of cost 1 to 3.
func FuzzDecideIsATokenBucket(f *testing.F) {
	f.Add(10, int64(time.Minute), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0})
	f.Add(1, int64(1), []byte{0, 1, 2, 3, 4})
	f.Add(3, int64(time.Hour), []byte{128, 1, 0, 3, 70, 0, 0})
	f.Fuzz(func(t *testing.T, burst int, interval int64, steps []byte) {
		l := Limit{Burst: 1 + int(uint(burst)%1000), Interval: time.Duration(1 + uint64(interval)%uint64(time.Hour))}
		now, state, reference := epoch, State{}, newBucket(l, epoch)
		for n, step := range steps {
			now = now.Add(time.Duration(step/4) * l.Interval / 16)
			cost := 1 + int(step%4)%3
			before := state
			d := l.Decide(state, now, cost)
			state = d.State
			if want := reference.take(now, cost); d.Allowed != want {
				t.Fatalf("step %d: allowed %v, the bucket says %v", n, d.Allowed, want)
			}
			if d.Allowed != (d.RetryAfter == 0) || !d.Allowed && state != before {
				t.Fatalf("step %d: %+v after %v", n, d, before)
			}
			if !d.Allowed && cost <= l.Burst {
				if l.Decide(state, now.Add(d.RetryAfter-1), cost).Allowed {
					t.Fatalf("step %d: allowed before RetryAfter", n)
				}
				if !l.Decide(state, now.Add(d.RetryAfter), cost).Allowed {
					t.Fatalf("step %d: not allowed after RetryAfter", n)
				}
			}
		}
	})
}

// FuzzDecideSurvivesAnything looks for an overflow that lets somebody through, or shuts somebody
// out for good.
func FuzzDecideSurvivesAnything(f *testing.F) {
	f.Add(0, int64(0), int64(0), int64(0), int64(0), 0)
	f.Add(-1, int64(-1), int64(math.MinInt64), int64(math.MinInt64), int64(math.MaxInt64), -1)
	f.Add(math.MaxInt, int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(0), math.MaxInt)
	f.Add(2, int64(time.Minute), int64(math.MaxInt64), int64(math.MaxInt64), int64(0), 1) // the clock was set back by 292 years
	f.Add(2, int64(time.Minute), int64(math.MinInt64), int64(math.MaxInt64), int64(0), 1)
	f.Fuzz(func(t *testing.T, burst int, interval, ahead, since, at int64, cost int) {
		l, now := Limit{Burst: burst, Interval: time.Duration(interval)}, time.Unix(0, at)
		state := State{Whole: now.Add(time.Duration(ahead)), Taken: now.Add(time.Duration(since))}
		d := l.Decide(state, now, cost)
		if l.Off() || cost <= 0 {
			if !d.Allowed || d.State != state || d.RetryAfter != 0 {
				t.Fatalf("off: %+v", d)
			}
			return
		}
		if d.RetryAfter < 0 || d.Allowed != (d.RetryAfter == 0) {
			t.Fatalf("%+v", d)
		}
		if d.RetryAfter > times(cost, l.Interval) {
			t.Fatalf("waits %v for a cost of %v", d.RetryAfter, times(cost, l.Interval))
		}
		if d.Allowed && !d.State.Whole.After(now) {
			t.Fatalf("costs nothing: %+v", d)
		}
		if used := (State{Whole: now.Add(times(burst, l.Interval)), Taken: now}); l.Decide(used, now, 1).Allowed {
			t.Fatal("allowed though it is used up")
		}
	})
}

// The clock of a database may be set back, or another server may take over: nobody must be let
// through for it, nor wait until the clock has caught up.
func TestAClockThatIsSetBackNeitherFreesNorLocksOut(t *testing.T) {
	t.Parallel()
	l, back := Limit{Burst: 2, Interval: time.Minute}, epoch.Add(-time.Hour)
	first := l.Decide(State{}, epoch, 1)
	second := l.Decide(first.State, back, 1)
	if !second.Allowed {
		t.Errorf("one was left: %+v", second)
	}
	third := l.Decide(second.State, back, 1)
	if third.Allowed || third.RetryAfter != time.Minute {
		t.Errorf("none was left: %+v", third)
	}
	if fourth := l.Decide(third.State, back.Add(time.Minute), 1); !fourth.Allowed {
		t.Errorf("nothing comes back: %+v", fourth)
	}
}

// A login that has given back what it took leaves a state that is whole at the time of the login.
// By a clock that is set back, that is far ahead.
func TestWhoHasJustLoggedInLogsInAgainAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	l := Limit{Burst: 2, Interval: time.Minute}
	login := l.Decide(State{}, epoch, 1)
	for n := range 2 {
		if d := l.Decide(l.GiveBack(login.State, login.State.Whole, epoch), epoch.Add(-time.Hour), 1); !d.Allowed {
			t.Errorf("%d: %+v", n, d)
		}
	}
}

// Else what is refused would not come back as long as the clock is behind: each look would count
// from anew.
func TestARefusalByAClockThatWasSetBackTellsTheStateByTheNewOne(t *testing.T) {
	t.Parallel()
	l, back := Limit{Burst: 1, Interval: time.Minute}, epoch.Add(-time.Hour)
	used := l.Decide(State{}, epoch, 1).State
	refused := l.Decide(used, back, 1)
	if want := (State{Whole: back.Add(time.Minute), Taken: back}); refused.Allowed || refused.State != want {
		t.Errorf("%+v, want %+v", refused, want)
	}
	if d := l.Decide(used, epoch.Add(-slack), 1); d.State != used {
		t.Errorf("taken by somebody who asked a moment later: %+v", d)
	}
}

// An operator who makes a limit stricter must not free those who have used it up.
func TestAStateOfALooserLimitIsUsedUp(t *testing.T) {
	t.Parallel()
	loose, strict := Limit{Burst: 10, Interval: time.Minute}, Limit{Burst: 2, Interval: time.Minute}
	state := State{}
	for range 10 {
		state = loose.Decide(state, epoch, 1).State
	}
	if d := strict.Decide(state, epoch, 1); d.Allowed || d.RetryAfter != time.Minute || d.State != state {
		t.Errorf("%+v", d)
	}
}

func TestALimitThatIsLooserByAFactorLetsSoManyTimesAsMuchThrough(t *testing.T) {
	t.Parallel()
	for l, want := range map[Limit]Limit{
		{Burst: 3, Interval: time.Minute}:      {Burst: 30, Interval: 6 * time.Second},
		{Burst: 3, Interval: time.Microsecond}: {Burst: 30, Interval: time.Microsecond}, // 0 would be off
		{Burst: 0, Interval: time.Minute}:      {Burst: 0, Interval: time.Minute},
		{Burst: 3}:                             {Burst: 3},
	} {
		if got := l.Times(10); got != want {
			t.Errorf("%v: %v, want %v", l, got, want)
		}
	}
}

func TestWhatIsGivenBackLeavesTheStateAsIfItHadNotBeenTaken(t *testing.T) {
	t.Parallel()
	l := Limit{Burst: 3, Interval: time.Minute}
	kept := l.Decide(State{}, epoch, 1)
	taken := l.Decide(kept.State, epoch, 1)
	if got := l.GiveBack(taken.State, taken.State.Whole, epoch); got != kept.State {
		t.Errorf("%v, want %v", got, kept.State)
	}
}

// A success must not wipe out a failure that came after what it had taken was whole again.
func TestWhatHasComeBackByItselfIsNotGivenBackAgain(t *testing.T) {
	t.Parallel()
	l := Limit{Burst: 3, Interval: time.Minute}
	slow := l.Decide(State{}, epoch, 1)
	now := epoch.Add(10 * time.Minute)
	failure := l.Decide(slow.State, now, 1)
	if got := l.GiveBack(failure.State, slow.State.Whole, now); got != failure.State {
		t.Errorf("%v, want %v", got, failure.State)
	}
	if got := l.GiveBack(slow.State, slow.State.Whole, epoch.Add(45*time.Second)); got.Whole != epoch.Add(45*time.Second) {
		t.Errorf("after 45 s of a minute: %v", got.Whole.Sub(epoch))
	}
}

// Allowed at every moment that it can be, a limit for a day must hold for any 24 hours, not only
// from midnight.
func TestPerDayHoldsInEvery24Hours(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 100, 101, 1000} {
		l := PerDay(n)
		var allowed []time.Time
		state := State{}
		for now := epoch; now.Before(epoch.Add(72 * time.Hour)); {
			d := l.Decide(state, now, 1)
			if d.Allowed {
				allowed = append(allowed, now)
			}
			state, now = d.State, now.Add(d.RetryAfter)
		}
		for first := range allowed {
			if last := first + n; last < len(allowed) && allowed[last].Sub(allowed[first]) < 24*time.Hour {
				t.Fatalf("%d: %d within %v", n, n+1, allowed[last].Sub(allowed[first]))
			}
		}
		if len(allowed) < n {
			t.Errorf("%d: only %d in three days", n, len(allowed))
		}
	}
	if !PerDay(0).Off() {
		t.Error("0 is not off")
	}
}

func BenchmarkDecide(b *testing.B) {
	l, now := Limit{Burst: 10, Interval: time.Minute}, time.Now()
	for name, state := range map[string]State{"allowed": {}, "refused": {Whole: now.Add(times(l.Burst, l.Interval)), Taken: now}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if l.Decide(state, now, 1).Allowed != (name == "allowed") {
					b.Fatal("another decision")
				}
			}
		})
	}
}
