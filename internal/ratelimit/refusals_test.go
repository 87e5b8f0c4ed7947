package ratelimit

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"
)

func keyOf(n int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

func TestARefusalIsRememberedUntilItIsOver(t *testing.T) {
	t.Parallel()
	r := NewRefusals(10)
	r.Add(epoch, keyOf(1), 30*time.Second, 0)
	for after, want := range map[time.Duration]time.Duration{0: 30 * time.Second, 29 * time.Second: time.Second} {
		if got := r.Wait(epoch.Add(after), keyOf(1)); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	if got := r.Wait(epoch, keyOf(2)); got != 0 {
		t.Errorf("another key: %v", got)
	}
	if got := r.Wait(epoch.Add(30*time.Second), keyOf(1)); got != 0 || len(r.until) != 0 {
		t.Errorf("when it is over: %v, and %d keys", got, len(r.until))
	}
}

// Whoever is unlocked by an operator must not be refused for the rest of half an hour.
func TestNoRefusalIsRememberedForMoreThanAMinute(t *testing.T) {
	t.Parallel()
	r := NewRefusals(10)
	r.Add(epoch, keyOf(1), time.Hour, 0)
	if got := r.Wait(epoch, keyOf(1)); got != time.Minute {
		t.Errorf("%v", got)
	}
}

// A clock that is set back by an hour must not make a minute an hour.
func TestARefusalIsForgottenWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	r := NewRefusals(10)
	r.Add(epoch, keyOf(1), time.Hour, 0)
	if got := r.Wait(epoch.Add(-time.Hour), keyOf(1)); got != 0 || len(r.until) != 0 {
		t.Errorf("waits %v, %d keys", got, len(r.until))
	}
}

// A look at the counter that was under way during the reset must not bring the refusal back.
func TestARefusalThatIsForgottenStaysForgotten(t *testing.T) {
	t.Parallel()
	r := NewRefusals(10)
	before := r.Forgotten()
	for n := range 2 {
		r.Add(epoch, keyOf(n), time.Minute, before)
	}
	r.Forget(keyOf(1), keyOf(2))
	r.Add(epoch, keyOf(1), time.Minute, before)
	if r.Wait(epoch, keyOf(0)) == 0 || r.Wait(epoch, keyOf(1)) != 0 {
		t.Errorf("the other waits %v, the forgotten one %v", r.Wait(epoch, keyOf(0)), r.Wait(epoch, keyOf(1)))
	}
	r.Add(epoch, keyOf(1), time.Minute, r.Forgotten())
	if r.Wait(epoch, keyOf(1)) == 0 {
		t.Error("a later refusal is not remembered")
	}
}

// A flood from ever new addresses must not take the replica's memory.
func TestTheMemoryIsBoundedAndForgetsWhatIsOverFirst(t *testing.T) {
	t.Parallel()
	r := NewRefusals(8)
	for n := range 7 {
		r.Add(epoch, keyOf(n), time.Second, 0)
	}
	r.Add(epoch, keyOf(7), time.Minute, 0)
	for n := range 7 { // each takes the place of one that is over
		r.Add(epoch.Add(2*time.Second), keyOf(100+n), time.Minute, 0)
	}
	if r.Wait(epoch.Add(2*time.Second), keyOf(7)) == 0 {
		t.Error("a refusal in force was forgotten for one that was over")
	}
	for n := range 1000 {
		r.Add(epoch.Add(3*time.Second), keyOf(1000+n), time.Minute, 0)
	}
	if len(r.until) > 8 {
		t.Errorf("%d keys", len(r.until))
	}
}

func TestManyMayUseTheMemoryAtOnce(t *testing.T) {
	t.Parallel()
	r := NewRefusals(16)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 500 {
				r.Add(epoch, keyOf(n*i), time.Minute, 0)
				r.Wait(epoch.Add(time.Duration(i)*time.Second), keyOf(i))
			}
		})
	}
	wg.Wait()
	if len(r.until) > 16 {
		t.Errorf("%d keys", len(r.until))
	}
}
