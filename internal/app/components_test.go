package app

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// recorder is a component that records what is done with it.
type recorder struct {
	name     string
	done     *[]string
	startErr error
	stopErr  error
}

func (r recorder) start(context.Context) error {
	*r.done = append(*r.done, "start "+r.name)
	return r.startErr
}

func (r recorder) stop() error {
	*r.done = append(*r.done, "stop "+r.name)
	return r.stopErr
}

// A component that is stopped before its user would be used after its end.
func TestComponentsStopInReverse(t *testing.T) {
	t.Parallel()
	var done []string
	lost, late := errors.New("lost"), errors.New("late")
	parts := &components{}
	if err := parts.start(t.Context(), recorder{"one", &done, nil, lost}, step{},
		recorder{"two", &done, nil, late}); err != nil {
		t.Fatal(err)
	}
	if err := parts.stop(); !errors.Is(err, lost) || !errors.Is(err, late) {
		t.Errorf("an error of a stop is lost: %v", err)
	}
	if want := []string{"start one", "start two", "stop two",
		"stop one"}; !slices.Equal(done, want) {
		t.Errorf("%q, want %q", done, want)
	}
}

// A start that fails half-way must leave nothing running, and must not stop what has never started.
func TestAfterAFailedStartOnlyWhatWasStartedIsStopped(t *testing.T) {
	t.Parallel()
	var done []string
	refused := errors.New("refused")
	parts := &components{}
	err := parts.start(t.Context(), recorder{"one", &done, nil, nil},
		recorder{"two", &done, refused, nil}, recorder{"three", &done, nil, nil})
	if !errors.Is(err, refused) {
		t.Errorf("the failure is lost: %v", err)
	}
	if err := parts.stop(); err != nil {
		t.Error(err)
	}
	if want := []string{"start one", "start two", "stop one"}; !slices.Equal(done, want) {
		t.Errorf("%q, want %q", done, want)
	}
}

// The drain begins when the context ends. Before it and during it, somebody may be banned.
func TestWhatRunsInTheBackgroundOutlivesTheContextOfItsStart(t *testing.T) {
	t.Parallel()
	began, ended := make(chan context.Context, 1), make(chan struct{})
	b := &background{run: func(ctx context.Context) {
		began <- ctx
		<-ctx.Done()
		close(ended)
	}}
	ctx, cancel := context.WithCancel(t.Context())
	if err := b.start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if running := <-began; running.Err() != nil {
		t.Error("it ends with the context of its start")
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("stop returns before the end")
	}
}
