package db

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// A stranger who logs out of sessions that never were must not have the database commit for each
// request.
func TestThoseWhoSettleAtOnceShareACommitThatBeginsAfterThey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 100
		begun, release := 0, make(chan struct{})
		s := &settler{commit: func(context.Context) error { begun++; <-release; return nil }}
		settled := make(chan int, many+1)
		ask := func(n int) {
			go func() {
				if err := s.settle(t.Context()); err != nil {
					t.Error(err)
				}
				settled <- n
			}()
			synctest.Wait()
		}
		ask(0)
		for n := range many {
			ask(n + 1)
		}
		if begun != 1 || len(settled) != 0 {
			t.Fatalf("%d commits have begun, %d are done", begun, len(settled))
		}
		release <- struct{}{}
		synctest.Wait()
		if len(settled) != 1 || <-settled != 0 {
			t.Error("who asked while the commit was under way goes by that one, which may have begun before what they have seen")
		}
		release <- struct{}{}
		s.wait()
		if begun != 2 || len(settled) != many {
			t.Errorf("%d commits for %d who have asked, of whom %d are done", begun, many+1, len(settled)+1)
		}
	})
}

// A commit that waits for a standby holds a connection: not for nobody.
func TestASettlementThatNobodyWaitsForEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &settler{commit: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		one, leave := context.WithCancel(t.Context())
		other, leaveToo := context.WithCancel(t.Context())
		outcomes := make(chan error, 3)
		go func() { outcomes <- s.settle(t.Context()) }() // the first of all, for which the others wait
		synctest.Wait()
		for _, ctx := range []context.Context{one, other} {
			go func() { outcomes <- s.settle(ctx) }()
		}
		synctest.Wait()
		leave()
		leaveToo()
		for range 2 {
			if err := <-outcomes; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if err := <-outcomes; !errors.Is(err, context.DeadlineExceeded) { // its own bound
			t.Error(err)
		}
		s.wait()
	})
}
