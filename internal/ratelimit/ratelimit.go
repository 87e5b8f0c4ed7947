// Package ratelimit owns the decision whether something may happen once more, by the generic cell rate algorithm (ITU-T
// I.371, annex A: the virtual scheduling algorithm), and a memory of what was refused. It keeps no counters: whoever asks
// brings the state of a key and stores what comes back.
package ratelimit

import (
	"math"
	"time"
)

// Limit lets Burst things happen at once, and then one in each Interval. If either is not positive, the limit is off.
type Limit struct {
	Burst    int
	Interval time.Duration
}

// PerDay is the limit under which no 24 hours see more than n: half of them at once, the others spread over the day. With
// all at once and n in the day after, there would be hours that see twice as many.
func PerDay(n int) Limit {
	burst := (n + 1) / 2
	return Limit{Burst: burst, Interval: 24 * time.Hour / time.Duration(max(n-burst, 1))}
}

// Off tells whether the limit allows everything.
func (l Limit) Off() bool { return l.Burst <= 0 || l.Interval <= 0 }

// Decision is what Decide says.
type Decision struct {
	Allowed bool
	// State is to be stored: the theoretical arrival time, at which the limit is whole again. After a refusal it is as it was.
	State time.Time
	// RetryAfter is when the same may be allowed, if nothing else is until then; 0 if it is allowed now.
	RetryAfter time.Duration
}

// Decide takes cost off what a key has left. The state is that of its last Decision, or zero for a new key.
//
// A state further ahead than the limit allows comes from a clock that was set back, or from a looser limit. It counts as
// one that has just been used up, so that nobody waits for longer than this limit makes anybody wait. A cost above Burst
// is never allowed.
func (l Limit) Decide(state, now time.Time, cost int) Decision {
	if l.Off() || cost <= 0 {
		return Decision{Allowed: true, State: state}
	}
	whole := times(l.Burst, l.Interval)
	ahead := min(max(state.Sub(now), 0), whole) + times(cost, l.Interval)
	if ahead > whole {
		return Decision{State: state, RetryAfter: ahead - whole}
	}
	return Decision{Allowed: true, State: now.Add(ahead)}
}

// GiveBack is the state after what was taken at cost 1, and had the state taken as its outcome, turned out not to count.
// What of it has come back by itself until now is not given twice.
func (l Limit) GiveBack(state, taken, now time.Time) time.Time {
	if l.Off() {
		return state
	}
	return state.Add(-min(max(taken.Sub(now), 0), l.Interval))
}

// times is bounded, so that two of its results can be added: to 146 years.
func times(n int, d time.Duration) time.Duration {
	const most = math.MaxInt64 / 2
	if d > most/time.Duration(n) {
		return most
	}
	return time.Duration(n) * d
}
