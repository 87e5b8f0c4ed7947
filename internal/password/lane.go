package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrOverloaded means that the lane's queue is full: the caller should tell its client to come back later.
	ErrOverloaded = errors.New("password lane is full")
	// ErrClosed means that the lane takes no more work, because the process is stopping.
	ErrClosed = errors.New("password lane is closed")
)

// PanicError is what Do panics with when the work panicked, so that whoever recovers also sees where.
type PanicError struct {
	Value any    // what the work panicked with
	Stack []byte // the work's own stack, which the caller's goroutine doesn't have
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic in the password lane: %v\n%s", e.Value, e.Stack)
}

// LaneOptions bound a Lane.
type LaneOptions struct {
	// Threads is how much work runs at once; at least 1. More than the cores gains nothing, as the work is pure
	// computing.
	Threads int
	// Queue is how many more callers may wait. The longest wait is about Queue ÷ Threads × the time of one work.
	Queue int
	// Waited, if set, gets the time that each job spent in the queue, also of those whose caller gave up. Several
	// goroutines call it at once; it must return soon and not panic.
	Waited func(time.Duration)
}

// LaneStats is a snapshot of a Lane. The first group is of this moment, the second counts since the start.
type LaneStats struct {
	Threads     int
	LowPriority int // threads that the system let run at low priority: fewer than Threads means that a flood slows all
	Busy        int
	Queued      int

	Started   uint64
	Refused   uint64 // turned away with ErrOverloaded
	Abandoned uint64 // never started: the caller had gone, or Close came first
	Panicked  uint64 // also where the caller had gone and could not be told
}

// A Lane runs expensive work on a few operating system threads of low priority, and refuses what it can't run in time.
// Without it a flood of logins would share the processor evenly with the cheap requests and slow all of them.
//
// A Lane's threads run until Close.
type Lane struct {
	capacity int64
	threads  int
	waited   func(time.Duration)

	// jobs has no buffer: callers wait in its send queue, which is first in, first out, and from which one that
	// gives up is gone at once.
	jobs    chan *job
	closing chan struct{}
	close   sync.Once
	workers sync.WaitGroup

	inside      atomic.Int64 // callers waiting or being served: the gate
	busy        atomic.Int64
	lowPriority atomic.Int64
	started     atomic.Uint64
	refused     atomic.Uint64
	abandoned   atomic.Uint64
	panicked    atomic.Uint64
}

type job struct {
	ctx    context.Context
	work   func()
	queued time.Time
	done   chan error // buffered: the worker never waits for a caller that has gone
}

// NewLane starts the threads.
func NewLane(o LaneOptions) *Lane {
	threads := max(o.Threads, 1)
	l := &Lane{
		capacity: int64(threads + max(o.Queue, 0)),
		threads:  threads,
		waited:   o.Waited,
		jobs:     make(chan *job),
		closing:  make(chan struct{}),
	}
	var started sync.WaitGroup // so that LowPriority is right from the first look
	started.Add(threads)
	for range threads {
		l.workers.Go(func() { l.serve(started.Done) })
	}
	started.Wait()
	return l
}

// Do runs work on one of the lane's threads and returns when it has ended. The work must not end its goroutine.
//
// It returns ErrOverloaded at once when the queue is full and ErrClosed after Close. When ctx ends it returns
// ctx.Err(): work that hasn't started by then never will; work that has can't be stopped, so Do returns without it, and
// what work writes must not be read then. If work panics, Do panics with a *PanicError.
func (l *Lane) Do(ctx context.Context, work func()) error {
	if l.inside.Add(1) > l.capacity {
		l.inside.Add(-1)
		l.refused.Add(1)
		return ErrOverloaded
	}
	j := &job{ctx: ctx, work: work, queued: time.Now(), done: make(chan error, 1)}
	select {
	case l.jobs <- j:
		return await(ctx, j.done)
	case <-ctx.Done():
		return l.abandon(j, ctx.Err())
	case <-l.closing:
		return l.abandon(j, ErrClosed)
	}
}

func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		if p, ok := errors.AsType[*PanicError](err); ok {
			panic(p)
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// abandon is for a job that no worker has taken.
func (l *Lane) abandon(j *job, cause error) error {
	l.inside.Add(-1)
	l.leftQueue(j, cause)
	return cause
}

func (l *Lane) leftQueue(j *job, cause error) {
	if cause != nil {
		l.abandoned.Add(1)
	}
	if l.waited != nil {
		l.waited(time.Since(j.queued))
	}
}

// serve never unlocks its thread: an unprivileged thread can't get its priority back, so it has to end with the
// goroutine instead of going on to serve others.
func (l *Lane) serve(started func()) {
	runtime.LockOSThread()
	if lowerPriority() == nil {
		l.lowPriority.Add(1)
	}
	started()
	for {
		select {
		case j := <-l.jobs:
			l.busy.Add(1)
			err := l.run(j)
			l.busy.Add(-1)
			l.inside.Add(-1)
			j.done <- err
		case <-l.closing:
			return
		}
	}
}

func (l *Lane) run(j *job) error {
	// A select with several ready cases takes any of them, so the worker may have been handed what should not start.
	cause := l.refusal(j.ctx)
	l.leftQueue(j, cause)
	if cause != nil {
		return cause
	}
	l.started.Add(1)
	return l.guard(j.work)
}

func (l *Lane) refusal(ctx context.Context) error {
	select {
	case <-l.closing:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// guard turns a panic into an error for the caller's goroutine: in a worker it would end the process past every
// recover of the caller.
func (l *Lane) guard(work func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			l.panicked.Add(1)
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	work()
	return nil
}

// CheckRoom returns ErrOverloaded when Do would, for callers who have other work to do first. Room may be gone again when
// they come to Do.
func (l *Lane) CheckRoom() error {
	if l.inside.Load() < l.capacity {
		return nil
	}
	l.refused.Add(1)
	return ErrOverloaded
}

// Stats may be off by those just moving when it is called.
func (l *Lane) Stats() LaneStats {
	busy := l.busy.Load()
	inside := min(l.inside.Load(), l.capacity)
	return LaneStats{
		Threads:     l.threads,
		LowPriority: int(l.lowPriority.Load()),
		Busy:        int(busy),
		Queued:      int(max(inside-busy, 0)),
		Started:     l.started.Load(),
		Refused:     l.refused.Load(),
		Abandoned:   l.abandoned.Load(),
		Panicked:    l.panicked.Load(),
	}
}

// Close refuses what waits and what comes, lets running work end, and returns when the threads have ended.
func (l *Lane) Close() {
	l.close.Do(func() { close(l.closing) })
	l.workers.Wait()
}
