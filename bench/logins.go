package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// overload is how many times more logins are offered than fit.
const overload = 10

// logins are measured alone, in a closed loop, and with more offered than fit.
func logins(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	people, err := s.people(ctx)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	hashes, err := s.alone(ctx, task{What: taskHash, Clients: 1, For: o.measure})
	if err != nil {
		return nil, "", err
	}
	closed, err := loginLoop(ctx, replica.url, people, 2*o.measure)
	if err != nil {
		return nil, "", err
	}
	// At least as many as fill the queue twice.
	offered := overload * closed
	stormed, err := storm(ctx, replica.url, people, offered, max(2*o.measure, seconds(32*float64(serviceCores())/offered)))
	if err != nil {
		return nil, "", err
	}
	s.sample("a 503 under overload", stormed.refusals)
	return []float64{closed / (float64(serviceCores()) * hashes), stormed.rate / closed, milliseconds(percentile(stormed.refusals, 99))}, fmt.Sprintf(
		"bcrypt alone %.2f/s on a processor; logins %.2f/s in a closed loop, %.2f/s of %.0f/s offered; 503 within: p50 %s, p99 %s",
		hashes, closed, stormed.rate, offered, percentile(stormed.refusals, 50), percentile(stormed.refusals, 99)), nil
}

// loginLoop logs people in, one after the other, by as many clients as keep all processors hashing.
func loginLoop(ctx context.Context, base string, people []string, d time.Duration) (float64, error) {
	client := newClient()
	defer client.CloseIdleConnections()
	var next atomic.Int64
	return loop(ctx, 4*serviceCores(), d, func(ctx context.Context, _ int) error {
		_, err := grant(ctx, client, base, loginForm(people[int(next.Add(1))%len(people)], password))
		return err
	})
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

type stormed struct {
	rate     float64 // of logins that succeeded
	refusals []time.Duration
}

// storm offers logins at a rate; what does not fit must get 503. The queue that is left at the end counts: until it is
// empty, the processors hash.
func storm(ctx context.Context, base string, people []string, rate float64, d time.Duration) (stormed, error) {
	shots, err := openLoop(ctx, rate, d, post(base+"/token", func(n int) string { return loginForm(people[n%len(people)], password) }))
	if err != nil {
		return stormed{}, err
	}
	var (
		all       stormed
		succeeded int
		last      time.Duration
	)
	for _, one := range shots {
		switch one.status {
		case http.StatusOK:
			succeeded, last = succeeded+1, max(last, one.at+one.took)
		case http.StatusServiceUnavailable:
			all.refusals = append(all.refusals, one.took)
		default:
			return all, fmt.Errorf("a login in a storm: status %d", one.status)
		}
	}
	if succeeded == 0 || len(all.refusals) == 0 {
		return all, fmt.Errorf("a storm of %d logins: %d succeeded, %d were refused; it should be longer (-measure)", len(shots), succeeded, len(all.refusals))
	}
	all.rate = float64(succeeded) / last.Seconds()
	return all, nil
}

// floodClients log in over and over, and take no notice of Retry-After.
const floodClients = 64

// flooded runs do while they are at it, and returns how often a second they asked.
func flooded(ctx context.Context, s *stage, url string, do func() error) (float64, error) {
	script, err := s.floodScript(ctx)
	if err != nil {
		return 0, err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var out bytes.Buffer
	command := wrkCommand(ctx, floodClients, 5*time.Minute, script, url+"/token")
	command.Stdout, command.Stderr = &out, &out
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) } // it tells its figures even so
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		return 0, err
	}
	time.Sleep(300 * time.Millisecond) // until the queue is full
	err = do()
	end()
	_ = command.Wait() // of the signal
	rate := wrkRate.FindStringSubmatch(out.String())
	if rate == nil {
		return 0, errors.Join(err, fmt.Errorf("the flood: %s", &out))
	}
	rps, parsed := strconv.ParseFloat(rate[1], 64)
	return rps, errors.Join(err, parsed)
}

// floodScript has wrk log people in.
func (s *stage) floodScript(ctx context.Context) (string, error) {
	people, err := s.people(ctx)
	if err != nil {
		return "", err
	}
	forms := make([]string, len(people))
	for n, name := range people {
		forms[n] = loginForm(name, password)
	}
	return s.script("flood", forms, fmt.Sprintf(`
		wrk.headers["Content-Type"] = %q
		return wrk.format("POST", nil, nil, line)`, formType))
}

// flood is what a storm of logins does to the rest.
func flood(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	sessions, err := s.sessions(ctx, connections)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	var rates, p99s []float64
	var details []string
	for _, path := range []string{"/verify", "/users/me"} {
		url := replica.url + path
		quiet, err := wrk(ctx, s, url, tokens(sessions), o.measure)
		if err != nil {
			return nil, "", err
		}
		var busy load
		var flooding float64
		shares, err := s.shares(func() (err error) {
			flooding, err = flooded(ctx, s, replica.url, func() (err error) {
				busy, err = wrk(ctx, s, url, tokens(sessions), o.measure)
				return err
			})
			return err
		})
		if err != nil {
			return nil, "", err
		}
		before, during, err := s.tide(ctx, path, replica, tokens(sessions), calm(quiet), 2*o.measure/3)
		if err != nil {
			return nil, "", err
		}
		rates, p99s = append(rates, busy.rps/quiet.rps), append(p99s, ratio(during, before))
		details = append(details, fmt.Sprintf("%s %s; in the flood of %.0f/s: %s, %s; at %.0f/s: p99 %s, in the flood %s",
			path, quiet, flooding, busy, shares, calm(quiet), before, during))
	}
	return append(rates, p99s...), strings.Join(details, "; "), nil
}

// tide asks at a fixed rate while the flood comes and goes, and returns the p99 of before and during it.
func (s *stage) tide(ctx context.Context, path string, replica *program, tokens []string, rate float64, d time.Duration) (before, during time.Duration, err error) {
	answered := make(chan error, 1)
	var shots []shot
	began := time.Now()
	go func() {
		var err error
		shots, err = openLoop(ctx, rate, 3*d, get(replica.url+path, tokens))
		answered <- err
	}()
	time.Sleep(d)
	var from, to time.Duration
	_, err = flooded(ctx, s, replica.url, func() error {
		from = time.Since(began)
		time.Sleep(d * 2 / 3) // it takes a while to come
		to = time.Since(began)
		return nil
	})
	if asked := <-answered; asked != nil || err != nil {
		return 0, 0, fmt.Errorf("%s in a flood: %w", path, errors.Join(asked, err))
	}
	var quiet, busy []time.Duration
	for _, one := range shots {
		switch {
		case one.status >= 300:
			return 0, 0, fmt.Errorf("%s in a flood: status %d", path, one.status)
		case one.at < d:
			quiet = append(quiet, one.took)
		case one.at >= from && one.at < to:
			busy = append(busy, one.took)
		}
	}
	s.drawTide(path, shots)
	return percentile(quiet, 99), percentile(busy, 99), nil
}
