// Package follow has the loop for code that keeps up with something that changes elsewhere.
package follow

import (
	"context"
	"log/slog"
	"time"
)

// Hint wakes a [Loop] before its time, because something has changed. Make it with [NewHint].
type Hint chan struct{}

// NewHint makes a Hint that has not been given yet.
func NewHint() Hint { return make(Hint, 1) }

// Give makes the loop take a step soon. It does not wait. Hints that are given before that step
// count as one.
func (h Hint) Give() {
	select {
	case h <- struct{}{}:
	default: // the step is still to come, and will see this change too
	}
}

// Loop takes steps, one after the other. All fields up to Recovered are needed.
type Loop struct {
	// Step looks for what is new. It is hinted if it comes before its time. It returns the state of
	// what is followed: nil is good, an error is an outage.
	Step func(ctx context.Context, hinted bool) error
	// Every is the time from the beginning of one step to the next. A hint does not delay the next
	// step.
	Every time.Duration
	Log   *slog.Logger
	// Failing is logged with the first error of an outage, and Recovered at its end.
	Failing, Recovered string

	Hint  Hint          // nil: no hints
	Retry time.Duration // pause after an error, in place of Every; 0 for Every
	Gap   time.Duration // pause after each step, during which hints gather
}

// Run takes the first step when its time or a hint comes, and returns when ctx ends.
func (l Loop) Run(ctx context.Context) {
	failing := false
	due := time.Now().Add(l.Every)
	for {
		hinted, ok := l.wait(ctx, due)
		if !ok {
			return
		}
		if !hinted {
			due = time.Now().Add(l.Every)
		}
		err := l.Step(ctx, hinted)
		if ctx.Err() != nil {
			return
		}
		l.report(failing, err)
		failing = err != nil
		if failing && l.Retry > 0 {
			due = time.Now().Add(l.Retry)
		}
		if !pause(ctx, l.Gap) {
			return
		}
	}
}

// wait returns why the next step is due. It is not ok once ctx has ended.
func (l Loop) wait(ctx context.Context, due time.Time) (hinted, ok bool) {
	left := time.Until(due)
	if left <= 0 { // first, or else a stream of hints could keep the step waiting for ever
		return false, ctx.Err() == nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, false
	case <-timer.C:
		return false, true
	case <-l.Hint:
		return true, true
	}
}

// report logs the beginning and the end of an outage.
func (l Loop) report(failing bool, err error) {
	switch {
	case err != nil && !failing:
		l.Log.Warn(l.Failing, "error", err.Error())
	case err == nil && failing:
		l.Log.Info(l.Recovered)
	}
}

// pause is false if ctx ends meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
