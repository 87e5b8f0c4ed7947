package edge

import (
	"context"
	"errors"
	"time"

	"gatehouse.example/internal/auth"
)

const (
	// heldBack is how long an answer that turns a flood away is held back. A client that waits for
	// its answers then has forty tries a second. Without this it would have thousands, and take as
	// much of the processors as all other requests get.
	heldBack = 25 * time.Millisecond

	// mostHeldBack bounds the memory for answers that are held back, a few KiB each. Those beyond
	// it are sent at once.
	mostHeldBack = 1000
)

// brake holds back the answers to floods.
type brake struct {
	pause  time.Duration
	places chan struct{}
}

func newBrake(pause time.Duration, most int) *brake {
	return &brake{pause, make(chan struct{}, most)}
}

// hold returns when the answer to an error may be sent. It waits only for [auth.ErrLimited] and
// [auth.ErrOverloaded], and not longer than the client does.
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
