package rows

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/internal/token"
)

// Run is one run of rows on a stage.
type Run struct {
	*stage.Stage
	drawings

	// What several rounds need, and is slow to make.
	populations []*population
	signers     map[token.Algorithm]signed
}

// Start starts what all rows need.
func Start(ctx context.Context, progress func(format string, args ...any), profiles string) (*Run, error) {
	s, err := stage.New(ctx, progress)
	if err != nil {
		return nil, err
	}
	r := &Run{Stage: s, drawings: newDrawings(), signers: map[token.Algorithm]signed{}}
	if err := s.UseProfiles(profiles); err != nil {
		return nil, errors.Join(err, r.End())
	}
	return r, nil
}

// End stops all that was started and removes it.
func (s *Run) End() error {
	for _, p := range s.populations {
		p.pool.Close()
	}
	return s.Stage.End()
}

// wrk sends GET requests to a program, and also measures the processor time that it takes there.
func wrk(ctx context.Context, s *Run, url string, tokens []string, d time.Duration) (load.Result, error) {
	before := s.timeBehind(url)
	seen, err := load.Wrk(ctx, filepath.Join(s.Dir, "tokens"), url, tokens, d)
	if err != nil {
		return load.Result{}, err
	}
	used := s.timeBehind(url) - before
	seen.Each = (used / time.Duration(max(seen.Requests, 1))).Round(100 * time.Nanosecond)
	return seen, nil
}

// timeBehind is the processor time so far of the program that answers at a URL.
func (s *Run) timeBehind(url string) time.Duration {
	for _, p := range s.Started {
		if strings.HasPrefix(url, p.URL+"/") {
			return machine.TreeTime(p.Cmd.Process.Pid) // a peer may have workers
		}
	}
	return 0
}
