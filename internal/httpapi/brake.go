package httpapi

import (
	"context"
	"errors"
	"time"

	"gatehouse/internal/auth"
)

const (
	// heldBack is how long an answer that turns a flood away waits. A client that waits for it before it tries again has
	// forty tries a second, and not the thousands that would be as much of the processor as all other requests get.
	heldBack = 25 * time.Millisecond

	// mostHeldBack bounds the memory for that: a few KiB each. Those over it are answered at once.
	mostHeldBack = 1000
)

// brake holds answers back.
type brake struct {
	pause  time.Duration
	places chan struct{}
}

func newBrake(pause time.Duration, most int) *brake {
	return &brake{pause, make(chan struct{}, most)}
}

// hold returns when the answer of an error may be sent: of most errors at once, and when nobody waits for it any more.
func (b *brake) hold(ctx context.Context, err error) {
	if !errors.Is(err, auth.ErrLimited) && !errors.Is(err, auth.ErrOverloaded) {
		return
	}
	select {
	case b.places <- struct{}{}:
	default:
		return
	}
	defer func() { <-b.places }()
	timer := time.NewTimer(b.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
