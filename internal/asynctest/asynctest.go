// Package asynctest owns what tests need to watch something that goes on beside them.
package asynctest

import (
	"bytes"
	"sync"
	"testing"
	"time"
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

// Buffer may be written and read at once. The zero one is empty.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
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
