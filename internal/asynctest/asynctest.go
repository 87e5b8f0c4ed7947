// Package asynctest owns what tests need to watch something that runs beside them.
package asynctest

import (
	"bytes"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// Await polls until a condition holds, and fails the test if it never does.
func Await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick, patience := time.NewTicker(5*time.Millisecond), time.NewTimer(2*time.Minute)
	defer tick.Stop()
	defer patience.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-patience.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Suspended returns the time that a machine reads after it has slept for so long: the wall clock
// has gone on, and the monotonic clock has not. No arithmetic of package time makes such a time, so
// this takes the sleep out of the reading itself.
func Suspended(t testing.TB, now time.Time, slept time.Duration) time.Time {
	t.Helper()
	woken := now.Add(slept)
	// The layout of [time.Time]: the wall clock, the monotonic one in nanoseconds, the location.
	reading := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(&woken))
	reading.ext -= slept.Nanoseconds()
	if woken.Sub(now) != 0 || woken.Round(0).Sub(now.Round(0)) != slept {
		t.Fatal("a time.Time is not laid out as it was, or has no monotonic reading")
	}
	return woken
}

// Buffer may be written and read at the same time. The zero value is empty.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
