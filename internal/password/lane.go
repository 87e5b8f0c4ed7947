package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.example/internal/outcome"
)

var (
	// ErrOverloaded means that the lane's queue is full. The caller should tell its client to come
	// back later.
	ErrOverloaded = outcome.NewFault("overloaded", "too many passwords wait to be hashed")
	// ErrCrowded means that one share has its part of the queue. There may be room for others, and
	// soon for this share again. It is an [ErrOverloaded] too.
	ErrCrowded = outcome.Reason(ErrOverloaded, "crowded", "its share of the places is taken")
	// ErrNotStarted comes with the error of a context that has ended before the work began.
	ErrNotStarted = errors.New("password lane: the work was not started")
	// ErrClosed means that the lane takes no more work, because the process is stopping.
	ErrClosed = outcome.NewFault("stopping", "no more passwords are hashed: the process is stopping")
)

// PanicError is what [Lane.Do] panics with when the work panicked. It tells whoever recovers where
// that was.
type PanicError struct {
	Value any    // what the work panicked with
	Stack []byte // the work's own stack, which the caller's goroutine doesn't have
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic in the password lane: %v\n%s", e.Value, e.Stack)
}

// LaneOptions are the bounds of a Lane.
type LaneOptions struct {
	// Threads is how much work runs at once; at least 1. More threads than cores gain nothing,
	// since the work only computes.
	Threads int
	// Queue is how many more callers may wait. The longest wait is about Queue ÷ Threads times the
	// time of one piece of work.
	Queue int
	// Waited, if set, is called with the time that a job was in the queue, also if its caller gave
	// up. Several goroutines call it at once. It must return soon, and must not panic.
	Waited func(time.Duration)
}

// LaneStats is a snapshot of a Lane. The first group is of this moment. The second counts since the
// start.
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

// A Lane runs expensive work on a few operating system threads of low priority, and refuses work
// that would wait too long. Without it, a flood of logins would share the processor evenly with the
// cheap requests, and slow all of them.
//
// Whoever asks for work names a share. In Gatehouse that is the network of a login. The shares take
// turns, however much each has waiting. While others wait, no share has more than a quarter of the
// queue. So a flood from one network only slows that network.
//
// The threads run until [Lane.Close].
type Lane struct {
	threads, queue int
	waited         func(time.Duration)
	workers        sync.WaitGroup

	mu            sync.Mutex
	ready         *sync.Cond // a job waits, or the lane is closed
	closed        bool
	turns         []*line // of the shares that have jobs waiting, the next one first
	waiting, busy int

	lowPriority atomic.Int64
	started     atomic.Uint64
	refused     atomic.Uint64
	abandoned   atomic.Uint64
	panicked    atomic.Uint64
}

// line has the waiting jobs of one share, the oldest first. It has at least one job.
type line struct {
	share string
	jobs  []*job
}

type job struct {
	ctx    context.Context
	work   func()
	queued time.Time
	done   chan error // buffered: the worker never waits for a caller that has gone
}

// NewLane starts the threads.
func NewLane(o LaneOptions) *Lane {
	l := &Lane{threads: max(o.Threads, 1), queue: max(o.Queue, 0), waited: o.Waited}
	l.ready = sync.NewCond(&l.mu)
	var started sync.WaitGroup // so that LowPriority is right from the first look
	started.Add(l.threads)
	for range l.threads {
		l.workers.Go(func() { l.serve(started.Done) })
	}
	started.Wait()
	return l
}

// Do runs work on one of the lane's threads, and returns when it has ended. The work must not end
// its goroutine.
//
// Do returns [ErrOverloaded] when the queue is full. That may also happen while the work waits: if
// its share has more waiting than others, one of them may get its place. Then, and when the share
// has its quarter of the queue, the error is [ErrCrowded]. After Close it is [ErrClosed].
//
// When ctx ends, Do returns ctx.Err(). Work that has not started by then will not start: the error
// is [ErrNotStarted] too, where that is certain. Work that has started goes on, and nobody may read
// what it writes. If the work panics, Do panics with a *[PanicError].
func (l *Lane) Do(ctx context.Context, share string, work func()) error {
	j := &job{ctx: ctx, work: work, queued: time.Now(), done: make(chan error, 1)}
	if err := l.enter(share, j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		if p, ok := errors.AsType[*PanicError](err); ok {
			panic(p)
		}
		return err
	case <-ctx.Done():
		if l.withdraw(share, j) {
			l.leftQueue(j, ctx.Err())
			return fmt.Errorf("%w: %w", ErrNotStarted, ctx.Err())
		}
		return ctx.Err()
	}
}

// enter puts a job into the line of its share, or returns why it cannot.
func (l *Lane) enter(share string, j *job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	crowding, err := l.room(share)
	if err != nil {
		l.refused.Add(1)
		return err
	}
	if crowding != nil {
		last := crowding.jobs[len(crowding.jobs)-1]
		l.take(crowding, len(crowding.jobs)-1)
		l.refused.Add(1)
		last.done <- ErrCrowded
	}
	mine := l.lineOf(share)
	if mine == nil {
		mine = &line{share: share}
		l.turns = append(l.turns, mine)
	}
	mine.jobs = append(mine.jobs, j)
	l.waiting++
	l.ready.Signal()
	return nil
}

// room reports whether a share may have another job in the queue. If the queue is full, it also
// returns the line whose last job must make room: the longest line, if it is longer than the
// share's would be. Otherwise four shares with a quarter each could keep all others out.
func (l *Lane) room(share string) (crowding *line, err error) {
	quarter, has, longest := max(l.queue/4, 1), 0, 0
	for _, one := range l.turns {
		switch {
		case one.share == share:
			has = len(one.jobs)
		case len(one.jobs) > longest:
			crowding, longest = one, len(one.jobs)
		}
	}
	switch {
	case has >= quarter && l.waiting > has:
		return nil, ErrCrowded
	case l.busy+l.waiting < l.threads+l.queue:
		return nil, nil
	case longest > has+1:
		return crowding, nil
	case has > quarter:
		return nil, ErrCrowded
	}
	return nil, ErrOverloaded
}

func (l *Lane) lineOf(share string) *line {
	for _, one := range l.turns {
		if one.share == share {
			return one
		}
	}
	return nil
}

// take takes a job out of a line. If it was the last one, the line has no turn any more.
func (l *Lane) take(from *line, n int) {
	from.jobs = slices.Delete(from.jobs, n, n+1)
	l.waiting--
	if len(from.jobs) == 0 {
		l.turns = slices.DeleteFunc(l.turns, func(one *line) bool { return one == from })
	}
}

// withdraw takes out a job whose caller has left. It is false if a worker has the job.
func (l *Lane) withdraw(share string, j *job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := l.lineOf(share)
	if mine == nil {
		return false
	}
	n := slices.Index(mine.jobs, j)
	if n < 0 {
		return false
	}
	l.take(mine, n)
	return true
}

// next waits for the job whose turn it is. It returns nil when the lane is closed.
func (l *Lane) next() *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.waiting == 0 && !l.closed {
		l.ready.Wait()
	}
	if l.closed {
		return nil
	}
	first := l.turns[0]
	j := first.jobs[0]
	l.turns = append(l.turns[1:], first) // last from now on
	l.take(first, 0)
	l.busy++
	return j
}

func (l *Lane) leftQueue(j *job, cause error) {
	if cause != nil {
		l.abandoned.Add(1)
	}
	if l.waited != nil {
		l.waited(time.Since(j.queued))
	}
}

// serve never unlocks its thread. An unprivileged thread cannot get its priority back, so it must
// end with the goroutine and never serve others.
func (l *Lane) serve(started func()) {
	runtime.LockOSThread()
	if lowerPriority() == nil {
		l.lowPriority.Add(1)
	}
	started()
	for j := l.next(); j != nil; j = l.next() {
		err := l.run(j)
		l.mu.Lock()
		l.busy--
		l.mu.Unlock()
		j.done <- err
	}
}

func (l *Lane) run(j *job) error {
	cause := j.ctx.Err() // perhaps the caller left when the job was taken
	l.leftQueue(j, cause)
	if cause != nil {
		return cause
	}
	l.started.Add(1)
	return l.guard(j.work)
}

// guard turns a panic of the work into an error for the caller's goroutine. In a worker, the panic
// would end the process: no recover of the caller could stop it.
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

// CheckRoom returns the error with which [Lane.Do] would refuse a share now. It is for callers that
// have other work to do first. The room may be gone when they call Do.
func (l *Lane) CheckRoom(share string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil // Do says so
	}
	_, err := l.room(share)
	if err != nil {
		l.refused.Add(1)
	}
	return err
}

// Stats returns a snapshot.
func (l *Lane) Stats() LaneStats {
	l.mu.Lock()
	busy, waiting := l.busy, l.waiting
	l.mu.Unlock()
	return LaneStats{
		Threads:     l.threads,
		LowPriority: int(l.lowPriority.Load()),
		Busy:        busy,
		Queued:      waiting,
		Started:     l.started.Load(),
		Refused:     l.refused.Load(),
		Abandoned:   l.abandoned.Load(),
		Panicked:    l.panicked.Load(),
	}
}

// Close refuses waiting and new work, lets running work end, and returns when the threads have
// ended.
func (l *Lane) Close() {
	l.mu.Lock()
	l.closed = true
	var waiting []*job
	for _, one := range l.turns {
		waiting = append(waiting, one.jobs...)
	}
	l.turns, l.waiting = nil, 0
	l.mu.Unlock()
	l.ready.Broadcast()
	for _, j := range waiting {
		l.leftQueue(j, ErrClosed)
		j.done <- ErrClosed
	}
	l.workers.Wait()
}
