// Package ratelimit owns the decision whether something may happen once more. It decides by the
// generic cell rate algorithm (ITU-T I.371, annex A: the virtual scheduling algorithm). It also has
// a memory of refusals, and lines of those who wait until something is decided. It keeps no
// counters: the caller brings the state of a key, and stores the new one.
package ratelimit

import (
	"math"
	"time"
)

// Limit lets Burst things happen at once, and then one in each Interval. If one of the two is not
// positive, the limit is off.
type Limit struct {
	Burst    int
	Interval time.Duration
}

// PerDay is the limit by which at most n things happen in any 24 hours. Half of them may happen at
// once. The others are spread over the day. If all n could happen at once, and n more in the day
// after, some 24 hours would see twice as many.
func PerDay(n int) Limit { return per(24*time.Hour, n) }

// PerHour is PerDay for any hour.
func PerHour(n int) Limit { return per(time.Hour, n) }

func per(period time.Duration, n int) Limit {
	burst := (n + 1) / 2
	return Limit{Burst: burst, Interval: period / time.Duration(max(n-burst, 1))}
}

// Off tells whether the limit allows everything.
func (l Limit) Off() bool { return l.Burst <= 0 || l.Interval <= 0 }

// Times is a limit that is so many times as loose. It is for something that is shared by so many.
func (l Limit) Times(factor int) Limit {
	if l.Off() {
		return l
	}
	return Limit{Burst: l.Burst * factor, Interval: max(l.Interval/time.Duration(factor), time.Microsecond)}
}

// State is what is stored of a key. That of a new one is the zero State.
type State struct {
	// Whole is when the limit is whole again. The algorithm calls it the theoretical arrival time.
	Whole time.Time
	// Taken is when something was last taken. If it is in the future, the clock has been set back.
	Taken time.Time
}

// slack is how far in the future a state may be without a clock that was set back. When two store a
// state at once, the one that asked first may be the last to store it.
const slack = 10 * time.Second

// by corrects a state for a clock that was set back. The state is then as far in the future as it
// was when it was stored. Without that, if the clock was set back by an hour, what was used up in
// the hour before would not come back for an hour. Nobody could log in who had just done so.
func (s State) by(now time.Time) State {
	if back := s.Taken.Sub(now); back > slack {
		return State{Whole: s.Whole.Add(-back), Taken: now}
	}
	return s
}

// Decision is what Decide says.
type Decision struct {
	Allowed bool
	// State is to be stored. A refusal does not change it, unless the clock was set back.
	State State
	// RetryAfter is when the same may be allowed, if nothing else happens until then. It is 0 if it
	// is allowed now.
	RetryAfter time.Duration
}

// Decide takes cost from what a key has left. The state is that of its last Decision.
//
// A state may be further in the future than the limit allows if it comes from a looser limit. It
// counts as one that has just been used up. A cost above Burst is never allowed.
func (l Limit) Decide(state State, now time.Time, cost int) Decision {
	if l.Off() || cost <= 0 {
		return Decision{Allowed: true, State: state}
	}
	state = state.by(now)
	whole := times(l.Burst, l.Interval)
	ahead := min(max(state.Whole.Sub(now), 0), whole) + times(cost, l.Interval)
	if ahead > whole {
		return Decision{State: state, RetryAfter: ahead - whole}
	}
	return Decision{Allowed: true, State: State{Whole: now.Add(ahead), Taken: now}}
}

// GiveBack is the state when something turns out not to count. It was taken at cost 1, with taken
// as the State.Whole after it. The part that has come back by itself until now is not given back
// again.
func (l Limit) GiveBack(state State, taken, now time.Time) State {
	if !l.Off() {
		state.Whole = state.Whole.Add(-min(max(taken.Sub(now), 0), l.Interval))
	}
	return state
}

// times is at most 146 years, so that two results can be added.
func times(n int, d time.Duration) time.Duration {
	const most = math.MaxInt64 / 2
	if d > most/time.Duration(n) {
		return most
	}
	return time.Duration(n) * d
}
