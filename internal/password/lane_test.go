package password

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// occupy makes the lane run as many works as it has threads until the returned function is called,
// which waits for them. Only for bubbles.
func occupy(t *testing.T, l *Lane) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	var callers sync.WaitGroup
	for range l.threads {
		callers.Go(func() {
			if err := l.Do(context.Background(), "", func() { <-gate }); err != nil {
				t.Errorf("work that occupies the lane: %v", err)
			}
		})
	}
	synctest.Wait()
	return func() {
		close(gate)
		callers.Wait()
	}
}

// call starts a Do and returns where its error will come. Only for bubbles.
func call(ctx context.Context, l *Lane, work func()) <-chan error {
	result := make(chan error, 1)
	go func() { result <- l.Do(ctx, "", work) }()
	synctest.Wait()
	return result
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(LaneOptions{Threads: 2, Queue: 1})
		defer l.Close()
		release := occupy(t, l)
		queued := call(t.Context(), l, func() {})

		start := time.Now()
		if err := l.Do(t.Context(), "", func() { t.Error("refused work ran") }); !errors.Is(err, ErrOverloaded) {
			t.Errorf("Do with a full queue: %v, want ErrOverloaded", err)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the refusal took %v", waited)
		}
		want := LaneStats{Threads: 2, LowPriority: l.Stats().LowPriority, Busy: 2, Queued: 1, Started: 2, Refused: 1}
		if got := l.Stats(); got != want {
			t.Errorf("Stats() = %+v, want %+v", got, want)
		}

		release()
		if err := <-queued; err != nil {
			t.Errorf("queued work: %v", err)
		}
		if err := l.Do(t.Context(), "", func() {}); err != nil {
			t.Errorf("Do after the flood: %v", err)
		}
		if got := l.Stats(); got.Busy != 0 || got.Queued != 0 {
			t.Errorf("Stats() after the flood = %+v, want none busy or queued", got)
		}
	})
}

func TestCallerThatGivesUpFreesItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(LaneOptions{Threads: 1, Queue: 1})
		defer l.Close()
		release := occupy(t, l)

		ctx, giveUp := context.WithCancel(t.Context())
		gone := call(ctx, l, func() { t.Error("work ran that nobody waits for") })
		giveUp()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("Do of the caller that gave up: %v, want context.Canceled", err)
		}
		if got := l.Stats(); got.Queued != 0 || got.Abandoned != 1 {
			t.Errorf("Stats() = %+v, want none queued and one abandoned", got)
		}
		next := call(t.Context(), l, func() {})
		if got := l.Stats(); got.Queued != 1 {
			t.Errorf("the next caller did not get the place: %+v", got)
		}

		release()
		if err := <-next; err != nil {
			t.Errorf("the next caller: %v", err)
		}
	})
}

func TestEndedContextNeverStartsWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(LaneOptions{Threads: 1, Queue: 1})
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 64 {
			synctest.Wait() // until the worker is idle: then it and the ended context are both ready, and chance picks
			if err := l.Do(ctx, "", func() { t.Error("work ran") }); !errors.Is(err, context.Canceled) {
				t.Errorf("Do: %v, want context.Canceled", err)
			}
		}
	})
}

func TestDeadlineReturnsWhileWorkRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(LaneOptions{Threads: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended := make(chan struct{})
		err := l.Do(ctx, "", func() {
			time.Sleep(time.Minute)
			close(ended)
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do: %v, want context.DeadlineExceeded", err)
		}
		if got := l.Stats(); got.Busy != 1 {
			t.Errorf("Stats() = %+v, want the thread still busy", got)
		}
		if err := l.Do(t.Context(), "", func() {}); !errors.Is(err, ErrOverloaded) {
			t.Errorf("Do beside work left alone: %v, want ErrOverloaded", err)
		}
		l.Close()
		select {
		case <-ended:
		default:
			t.Error("Close did not wait for running work")
		}
	})
}

func TestCloseLetsRunningWorkEndAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(LaneOptions{Threads: 1, Queue: 1})
		release := occupy(t, l)
		queued := call(t.Context(), l, func() { t.Error("queued work ran after Close") })

		closed := make(chan struct{})
		go func() {
			l.Close()
			close(closed)
		}()
		if err := <-queued; !errors.Is(err, ErrClosed) {
			t.Errorf("queued work at Close: %v, want ErrClosed", err)
		}
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned while work was running")
		default:
		}
		release()
		<-closed
		if err := l.Do(t.Context(), "", func() { t.Error("work ran after Close") }); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close: %v, want ErrClosed", err)
		}
		l.Close() // twice is once
	})
}

func TestPanicComesBackToTheCaller(t *testing.T) {
	t.Parallel()
	l := NewLane(LaneOptions{Threads: 1})
	defer l.Close()
	recovered := func() (v any) {
		defer func() { v = recover() }()
		return l.Do(t.Context(), "", explode)
	}()
	p, ok := recovered.(*PanicError)
	if !ok {
		t.Fatalf("Do panicked with %v, want a *PanicError", recovered)
	}
	if p.Value != "boom" || !strings.Contains(string(p.Stack), "explode") {
		t.Errorf("the panic lost its value or its place: %v", p)
	}
	if err := l.Do(t.Context(), "", func() {}); err != nil {
		t.Errorf("Do after a panic: %v", err)
	}
	if got := l.Stats(); got.Panicked != 1 || got.Busy != 0 {
		t.Errorf("Stats() = %+v, want one panic and none busy", got)
	}
}

func explode() { panic("boom") }

func TestPanicWithoutACallerIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(LaneOptions{Threads: 1})
		ctx, giveUp := context.WithCancel(t.Context())
		gate := make(chan struct{})
		gone := call(ctx, l, func() {
			<-gate
			panic("nobody hears this")
		})
		giveUp()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("Do: %v, want context.Canceled", err)
		}
		close(gate)
		l.Close()
		if got := l.Stats(); got.Panicked != 1 {
			t.Errorf("Stats() = %+v, want one panic", got)
		}
	})
}

func TestQueueIsFirstInFirstOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLane(LaneOptions{Threads: 1, Queue: 5})
		defer l.Close()
		release := occupy(t, l)
		var order []int // written by the one worker
		var results []<-chan error
		for i := range 5 {
			results = append(results, call(t.Context(), l, func() { order = append(order, i) }))
		}
		release()
		for _, result := range results {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(order, []int{0, 1, 2, 3, 4}) {
			t.Errorf("order of work: %v", order)
		}
	})
}

func TestWaitedHearsTheTimeInTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waits := make(chan time.Duration, 3)
		l := NewLane(LaneOptions{Threads: 1, Queue: 2, Waited: func(d time.Duration) { waits <- d }})
		defer l.Close()
		release := occupy(t, l)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		impatient := call(ctx, l, func() {})
		patient := call(t.Context(), l, func() {})
		time.Sleep(3 * time.Second)
		release()
		if err := <-impatient; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the impatient caller: %v", err)
		}
		if err := <-patient; err != nil {
			t.Errorf("the patient caller: %v", err)
		}
		for _, want := range []time.Duration{0, 2 * time.Second, 3 * time.Second} {
			if got := <-waits; got != want {
				t.Errorf("waited %v, want %v", got, want)
			}
		}
	})
}

func TestBurstWithinCapacityIsNotRefused(t *testing.T) {
	t.Parallel()
	l := NewLane(LaneOptions{Threads: 2, Queue: 30})
	defer l.Close()
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			if err := l.Do(t.Context(), "", func() {}); err != nil {
				t.Errorf("Do: %v", err)
			}
		})
	}
	callers.Wait()
}

// BenchmarkLane is what the lane costs beyond the work: to hand a job over and wait for it, and to
// refuse one.
func BenchmarkLane(b *testing.B) {
	b.Run("done", func(b *testing.B) {
		l := NewLane(LaneOptions{Threads: 1, Queue: 16})
		defer l.Close()
		b.ReportAllocs()
		for b.Loop() {
			if err := l.Do(b.Context(), "", func() {}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		l := NewLane(LaneOptions{Threads: 1})
		defer l.Close()
		busy, end := make(chan struct{}), make(chan struct{})
		defer close(end)
		go func() { _ = l.Do(context.Background(), "", func() { close(busy); <-end }) }()
		<-busy
		b.ReportAllocs()
		for b.Loop() {
			if err := l.Do(b.Context(), "", func() {}); !errors.Is(err, ErrOverloaded) {
				b.Fatal(err)
			}
		}
	})
}
