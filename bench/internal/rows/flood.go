package rows

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/bench/internal/stats"
)

// floodClients log in over and over, and take no notice of Retry-After. A queue holds 16 logins for
// each processor, so that most of them are turned away.
func floodClients() int { return 64 * machine.ServiceCores() }

// flood is what a storm of logins does to the rest.
func flood(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	sessions, err := s.Sessions(ctx, load.Connections)
	if err != nil {
		return nil, "", err
	}
	// A replica whose limits nobody reaches. Logins whose client hangs up count as failed, and each
	// flood ends with some: with the limits of a real service, those after the first few floods
	// would be no floods any more.
	replica, err := s.Replica(ctx, "replica in a flood", unreachableLimits()...)
	if err != nil {
		return nil, "", err
	}
	var rates, p99s []float64
	var details []string
	for _, path := range []string{"/verify", "/users/me"} {
		url := replica.URL + path
		quiet, err := wrk(ctx, s, url, stage.Tokens(sessions), o.Measure)
		if err != nil {
			return nil, "", err
		}
		var busy load.Result
		var answers load.Answers
		shares, err := s.Shares(func() (err error) {
			answers, err = s.flooded(ctx, replica, func() (err error) {
				busy, err = wrk(ctx, s, url, stage.Tokens(sessions), o.Measure)
				return err
			})
			return err
		})
		if err != nil {
			return nil, "", err
		}
		before, during, answered, err := s.throughFlood(ctx, path, replica, stage.Tokens(sessions), calm(quiet), 2*o.Measure/3)
		if err != nil {
			return nil, "", err
		}
		rates, p99s = append(rates, busy.RPS/quiet.RPS), append(p99s, ratio(during, before))
		details = append(details, fmt.Sprintf("%s %s; in the flood (%s): %s, %s; at %.0f/s: p99 %s, in the flood (%s) %s",
			path, quiet, answers, busy, shares, calm(quiet), before, answered, during))
	}
	return append(rates, p99s...), strings.Join(details, "; "), nil
}

// flooded runs do while the clients of a flood are at it, and tells what they were answered.
func (s *Run) flooded(ctx context.Context, replica *stage.Program, do func() error) (load.Answers, error) {
	people, err := s.People(ctx)
	if err != nil {
		return load.Answers{}, err
	}
	forms := make([]string, len(people))
	for n, name := range people {
		forms[n] = api.LoginForm(name, api.Password)
	}
	coming, err := load.StartFlood(ctx, filepath.Join(s.Dir, "flood"), replica.URL+"/token", forms, floodClients())
	if err != nil {
		return load.Answers{}, err
	}
	time.Sleep(300 * time.Millisecond) // until the queue is full
	err = do()
	answers, ended := coming.End()
	if err = errors.Join(err, ended); err == nil && answers.Counts[http.StatusServiceUnavailable] == 0 {
		err = fmt.Errorf("that was no flood: of %d clients none was turned away, their answers were %v", floodClients(), answers.Counts)
	}
	return answers, err
}

// throughFlood asks at a fixed rate while the flood comes and goes, and returns the p99 of before
// and during it, and what the flood was answered.
func (s *Run) throughFlood(ctx context.Context, path string, replica *stage.Program, tokens []string, rate float64, d time.Duration) (before, during time.Duration, answers load.Answers, err error) {
	answered := make(chan error, 1)
	var shots []load.Shot
	began := time.Now()
	go func() {
		var err error
		shots, err = load.OpenLoop(ctx, rate, 3*d, load.Get(replica.URL+path, tokens))
		answered <- err
	}()
	time.Sleep(d)
	var from, to time.Duration
	answers, err = s.flooded(ctx, replica, func() error {
		from = time.Since(began)
		time.Sleep(d * 2 / 3) // it takes a while to come
		to = time.Since(began)
		return nil
	})
	if asked := <-answered; asked != nil || err != nil {
		return 0, 0, answers, fmt.Errorf("%s in a flood: %w", path, errors.Join(asked, err))
	}
	var quiet, busy []time.Duration
	for _, one := range shots {
		switch {
		case one.Status >= 300:
			return 0, 0, answers, fmt.Errorf("%s in a flood: status %d", path, one.Status)
		case one.At < d:
			quiet = append(quiet, one.Took)
		case one.At >= from && one.At < to:
			busy = append(busy, one.Took)
		}
	}
	s.drawFlood(path, shots)
	return stats.Percentile(quiet, 99), stats.Percentile(busy, 99), answers, nil
}
