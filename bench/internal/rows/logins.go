package rows

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/baseline"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/stats"
)

// overload is how many times more logins are offered than fit.
const overload = 10

// logins are measured alone, in a closed loop, and with more offered than fit.
func logins(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	people, err := s.People(ctx)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	hashes, err := s.Alone(ctx, baseline.Task{What: baseline.TaskHash, Clients: 1, For: o.Measure})
	if err != nil {
		return nil, "", err
	}
	closed, err := loginLoop(ctx, replica.URL, people, 2*o.Measure)
	if err != nil {
		return nil, "", err
	}
	// At least as many as fill the queue twice.
	offered := overload * closed
	stormed, err := storm(ctx, replica.URL, people, offered, max(2*o.Measure, seconds(32*float64(machine.ServiceCores())/offered)))
	if err != nil {
		return nil, "", err
	}
	s.sample("a 503 under overload", stormed.refusals)
	return []float64{closed / (float64(machine.ServiceCores()) * hashes), stormed.rate / closed, stats.Milliseconds(stats.Percentile(stormed.refusals, 99))}, fmt.Sprintf(
		"bcrypt alone %.2f/s on a processor; logins %.2f/s in a closed loop, %.2f/s of %.0f/s offered; 503 within: p50 %s, p99 %s",
		hashes, closed, stormed.rate, offered, stats.Percentile(stormed.refusals, 50), stats.Percentile(stormed.refusals, 99)), nil
}

// loginLoop logs people in, one after the other, by as many clients as keep all processors hashing.
func loginLoop(ctx context.Context, base string, people []string, d time.Duration) (float64, error) {
	client := api.NewClient()
	defer client.CloseIdleConnections()
	var next atomic.Int64
	return load.ClosedLoop(ctx, 4*machine.ServiceCores(), d, func(ctx context.Context, _ int) error {
		_, err := api.Grant(ctx, client, base, api.LoginForm(people[int(next.Add(1))%len(people)], api.Password))
		return err
	})
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

type stormed struct {
	rate     float64 // of logins that succeeded
	refusals []time.Duration
}

// storm offers logins at a rate; what does not fit must get 503. The queue that is left at the end
// counts: until it is empty, the processors hash.
func storm(ctx context.Context, base string, people []string, rate float64, d time.Duration) (stormed, error) {
	shots, err := load.OpenLoop(ctx, rate, d, load.Post(base+"/token", func(n int) string { return api.LoginForm(people[n%len(people)], api.Password) }))
	if err != nil {
		return stormed{}, err
	}
	var (
		all       stormed
		succeeded int
		last      time.Duration
	)
	for _, one := range shots {
		switch one.Status {
		case http.StatusOK:
			succeeded, last = succeeded+1, max(last, one.At+one.Took)
		case http.StatusServiceUnavailable:
			all.refusals = append(all.refusals, one.Took)
		default:
			return all, fmt.Errorf("a login in a storm: status %d", one.Status)
		}
	}
	if succeeded == 0 || len(all.refusals) == 0 {
		return all, fmt.Errorf("a storm of %d logins: %d succeeded, %d were refused; it should be longer (-measure)", len(shots), succeeded, len(all.refusals))
	}
	all.rate = float64(succeeded) / last.Seconds()
	return all, nil
}
