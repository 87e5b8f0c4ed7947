package follow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/follow"
)

// steps runs a loop for so long, in a bubble whose time passes by itself. It returns when each of
// its steps began, and whether the step was hinted.
func steps(t *testing.T, l follow.Loop, lasts time.Duration, beside func()) (taken []string) {
	t.Helper()
	began := time.Now()
	step := l.Step
	l.Step = func(ctx context.Context, hinted bool) error {
		at := time.Since(began).String()
		if hinted {
			at += " hinted"
		}
		taken = append(taken, at)
		return step(ctx, hinted)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	go beside()
	l.Run(ctx)
	return taken
}

func want(t *testing.T, taken []string, want ...string) {
	t.Helper()
	if !slices.Equal(taken, want) {
		t.Errorf("steps at %q, want %q", taken, want)
	}
}

func nothing() {}

func fine(context.Context, bool) error { return nil }

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A loop with hints all the time must still look at the whole now and then. And a hint must not
// wait for that.
func TestAHintIsHeardAtOnceAndPutsNoTickOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := follow.Loop{Step: fine, Every: time.Minute, Log: silent(), Hint: follow.NewHint()}
		want(t, steps(t, l, 3*time.Minute-time.Second, func() {
			time.Sleep(50 * time.Second)
			l.Hint.Give()
			time.Sleep(25 * time.Second)
			l.Hint.Give()
		}), "50s hinted", "1m0s", "1m15s hinted", "2m0s")
	})
}

func TestAStreamOfHintsDoesNotKeepATickWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := follow.Loop{Every: 10 * time.Second, Log: silent(), Hint: follow.NewHint()}
		l.Step = func(context.Context, bool) error {
			time.Sleep(3 * time.Second)
			l.Hint.Give() // there is always another hint
			return nil
		}
		taken := steps(t, l, 100*time.Second, l.Hint.Give)
		taken = slices.DeleteFunc(taken, func(step string) bool {
			return strings.HasSuffix(step, "hinted")
		})
		want(t, taken, "12s", "24s", "36s", "48s", "1m0s", "1m12s", "1m24s", "1m36s")
	})
}

// A change during a step may be too late for that step.
func TestAHintDuringAStepBringsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := follow.Loop{Every: time.Minute, Log: silent(), Hint: follow.NewHint()}
		l.Step = func(context.Context, bool) error { time.Sleep(2 * time.Second); return nil }
		want(t, steps(t, l, 30*time.Second, func() {
			l.Hint.Give()
			time.Sleep(time.Second)
			l.Hint.Give()
			l.Hint.Give()
		}), "0s hinted", "2s hinted")
	})
}

func TestHintsGatherInTheGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := follow.Loop{
			Step: fine, Every: time.Hour, Gap: 20 * time.Millisecond, Log: silent(),
			Hint: follow.NewHint(),
		}
		want(t, steps(t, l, time.Minute, func() {
			for range 100 {
				l.Hint.Give()
				time.Sleep(time.Millisecond / 10)
			}
		}), "0s hinted", "20ms hinted")
	})
}

// After a failure nobody knows what is new. The next try must not wait for the next tick, and must
// not come without a pause.
func TestAFailedStepIsTriedAgainSoonAndAnOutageIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log asynctest.Buffer
		results := []error{nil, errors.New("away"), errors.New("still away"), nil, nil}
		l := follow.Loop{
			Step: func(context.Context, bool) (err error) {
				err, results = results[0], results[1:]
				return err
			},
			Every: 5 * time.Second, Retry: 500 * time.Millisecond, Failing: "cannot be read",
			Recovered: "is read again",
			Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})),
		}
		want(t, steps(t, l, 20*time.Second, nothing), "5s", "10s", "10.5s", "11s", "16s")
		if got := log.String(); got != "level=WARN msg=\"cannot be read\" error=away\nlevel=INFO msg=\"is read again\"\n" {
			t.Errorf("log:\n%s", got)
		}
	})
}

func TestWithoutARetryAFailedStepWaitsForItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := follow.Loop{Step: func(context.Context, bool) error {
			return errors.New("away")
		}, Every: 5 * time.Second, Log: silent()}
		want(t, steps(t, l, 12*time.Second, nothing), "5s", "10s")
	})
}

// A step that the end cuts off is no outage. Nothing may run after it.
func TestTheEndOfALoopIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, loop := range map[string]follow.Loop{
		"in a step": {Every: time.Second, Step: func(ctx context.Context, _ bool) error {
			<-ctx.Done()
			return ctx.Err()
		}},
		"in a wait": {Every: time.Hour, Step: fine},
		"in a gap":  {Every: time.Second, Gap: time.Hour, Step: fine},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log asynctest.Buffer
				loop.Log = slog.New(slog.NewTextHandler(&log, nil))
				began := time.Now()
				if taken := steps(t, loop, 5*time.Second, nothing); len(taken) > 1 ||
					strings.Contains(fmt.Sprint(taken), "hinted") {
					t.Errorf("steps at %q", taken)
				}
				if ended := time.Since(began); ended != 5*time.Second {
					t.Errorf("it ended after %v", ended)
				}
				if log.String() != "" {
					t.Errorf("log:\n%s", &log)
				}
			})
		})
	}
}
