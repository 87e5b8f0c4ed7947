package ratelimit

import (
	"sync"
	"testing"
)

func joined(t *testing.T, l *Lines, key Key) *Place {
	t.Helper()
	p, ok := l.Join(key)
	if !ok {
		t.Fatal("there is no place")
	}
	return p
}

func called(p *Place) bool {
	select {
	case <-p.Turn():
		return true
	default:
		return false
	}
}

func TestTheNextInLineHasItsTurnWhenTheFirstLeaves(t *testing.T) {
	t.Parallel()
	l, key := NewLines(10, 10), keyOf(1)
	first, second, third := joined(t, l, key), joined(t, l, key), joined(t, l, key)
	if called(first) || !first.First() || second.First() || !l.Busy(key) || l.Busy(keyOf(2)) {
		t.Error("at the start")
	}
	second.Leave()
	if called(first) || called(third) || third.First() {
		t.Error("one in the middle has left")
	}
	first.Leave()
	if !called(third) || !third.First() {
		t.Error("the last one is first, and does not know")
	}
	third.Leave()
	if l.Busy(key) || len(l.lines) != 0 || l.waiting != 0 {
		t.Errorf("%v", l)
	}
}

func TestWhatIsSettledIsToldToTheFirstOfItsLineAlone(t *testing.T) {
	t.Parallel()
	l := NewLines(10, 10)
	first, second, other := joined(t, l, keyOf(1)), joined(t, l, keyOf(1)), joined(t, l, keyOf(2))
	for range 3 { // who is called twice comes once
		l.Settled(keyOf(1), keyOf(3))
	}
	if !called(first) || called(first) || called(second) || called(other) {
		t.Error("others were called, or one twice")
	}
}

// A flood of those who wait must not take the replica's memory, nor one account all places.
func TestLinesAreBoundedForOneKeyAndForAll(t *testing.T) {
	t.Parallel()
	l := NewLines(3, 2)
	first := joined(t, l, keyOf(1))
	joined(t, l, keyOf(1))
	if _, ok := l.Join(keyOf(1)); ok {
		t.Error("a third for one key")
	}
	joined(t, l, keyOf(2))
	if _, ok := l.Join(keyOf(3)); ok {
		t.Error("a fourth in all")
	}
	first.Leave()
	joined(t, l, keyOf(1))
}

func TestManyMayStandInLineAtOnce(t *testing.T) {
	t.Parallel()
	l := NewLines(1000, 1000)
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			p, _ := l.Join(keyOf(n % 3))
			if !p.First() {
				<-p.Turn()
			}
			l.Settled(keyOf(0), keyOf(1))
			p.Leave()
		})
	}
	wg.Wait()
	if len(l.lines) != 0 || l.waiting != 0 {
		t.Errorf("%v", l)
	}
}
