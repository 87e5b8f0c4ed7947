package db

import (
	"context"
	"sync"
	"time"
)

const (
	// settleEvery bounds how often a replica settles, since strangers can have it do so: by a
	// logout of a session that never was.
	settleEvery = 50 * time.Millisecond
	// settleTimeout is longer than any request.
	settleTimeout = time.Minute
)

// Settle implements auth.Store. Those who ask at about the same time share one commit.
func (d *DB) Settle(ctx context.Context) error { return translate("settle", d.settler.settle(ctx)) }

// settler makes commits, one after the other, each for all who have asked since the one before
// began. Whoever asks while one is under way waits for the next: what the caller has seen may be
// later than that one.
type settler struct {
	commit func(context.Context) error
	flight sync.WaitGroup

	mu   sync.Mutex
	busy bool        // a goroutine makes commits
	next *settlement // that has not begun; nil: nobody has asked
}

// settlement is nobody's request: it ends when all who wait for it have left.
type settlement struct {
	ctx     context.Context
	end     context.CancelFunc
	waiters int
	done    chan struct{}
	err     error // after done
}

func (s *settler) settle(ctx context.Context) error {
	mine := s.join()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		s.leave(mine)
		return ctx.Err()
	}
}

func (s *settler) leave(one *settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.waiters--; one.waiters == 0 {
		one.end()
	}
}

func (s *settler) join() *settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &settlement{done: make(chan struct{})}
		s.next.ctx, s.next.end = context.WithTimeout(context.Background(), settleTimeout)
	}
	s.next.waiters++
	if !s.busy {
		s.busy = true
		s.flight.Go(s.work)
	}
	return s.next
}

// work goes on as long as somebody waits.
func (s *settler) work() {
	for one := s.take(); one != nil; one = s.take() {
		one.err = s.commit(one.ctx)
		one.end()
		close(one.done)
		time.Sleep(settleEvery)
	}
}

func (s *settler) take() *settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.next
	s.next, s.busy = nil, one != nil
	return one
}

// wait returns when no commit is under way. Nobody may ask any more.
func (s *settler) wait() { s.flight.Wait() }
