package app

import (
	"context"
	"errors"
	"sync"
)

// component is a part of a replica.
type component interface {
	// start returns when the component works. If it fails, nothing of it is left running. Its
	// context ends when the replica is to stop, so that a start does not hold up the stop.
	start(ctx context.Context) error
	// stop returns when the component no longer uses any of the components before it.
	stop() error
}

// step is a component that does one thing at the start, one at the stop, or both. Either may be
// nil.
type step struct {
	atStart func(context.Context) error
	atStop  func()
}

func (s step) start(ctx context.Context) error {
	if s.atStart == nil {
		return nil
	}
	return s.atStart(ctx)
}

func (s step) stop() error {
	if s.atStop != nil {
		s.atStop()
	}
	return nil
}

// components are started in order, and stopped in reverse.
type components struct{ running []component }

// start starts all, up to the first that fails.
func (c *components) start(ctx context.Context, all ...component) error {
	for _, one := range all {
		if err := one.start(ctx); err != nil {
			return err
		}
		c.running = append(c.running, one)
	}
	return nil
}

// stop stops those that were started.
func (c *components) stop() (err error) {
	for n := len(c.running) - 1; n >= 0; n-- {
		err = errors.Join(err, c.running[n].stop())
	}
	return err
}

// background is a component that runs beside everything else, until it is stopped. It outlives the
// context of its start, which ends when the drain begins.
type background struct {
	run     func(context.Context) // until its context ends
	end     context.CancelFunc
	running sync.WaitGroup
}

func (b *background) start(ctx context.Context) error {
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	b.end = end
	b.running.Go(func() { b.run(running) })
	return nil
}

func (b *background) stop() error {
	b.end()
	b.running.Wait()
	return nil
}
