// Package load sends requests in closed and in open loops, and tells how soon they were answered.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const formType = "application/x-www-form-urlencoded"

// ClosedLoop calls do from n clients, each after its last call has ended, and returns the calls a
// second.
func ClosedLoop(ctx context.Context, n int, d time.Duration, do func(ctx context.Context, client int) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		calls   atomic.Int64
		clients sync.WaitGroup
		began   = time.Now()
	)
	for client := range n {
		clients.Go(func() {
			for time.Since(began) < d && ctx.Err() == nil {
				if err := do(ctx, client); err != nil {
					cancel(err)
				}
				calls.Add(1)
			}
		})
	}
	clients.Wait()
	return float64(calls.Load()) / time.Since(began).Seconds(), context.Cause(ctx)
}

// Shot is a request of an open loop and its answer.
type Shot struct {
	At     time.Duration // after the first
	Took   time.Duration
	Status int
}

// OpenLoop sends requests at a rate, whether or not earlier ones have been answered, so that a slow
// answer does not keep others from being counted. It returns the answers in the order of the
// requests.
func OpenLoop(ctx context.Context, rate float64, d time.Duration, request func(n int) vegeta.Target) ([]Shot, error) {
	var sent atomic.Int64
	target := func(t *vegeta.Target) error {
		*t = request(int(sent.Add(1) - 1))
		return nil
	}
	attacker := vegeta.NewAttacker(vegeta.Timeout(time.Minute), vegeta.Redirects(vegeta.NoFollow), vegeta.MaxWorkers(4096), vegeta.HTTP2(false))
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	pace := vegeta.ConstantPacer{Freq: int(math.Ceil(rate * 1000)), Per: 1000 * time.Second}
	var all []*vegeta.Result
	for r := range attacker.Attack(target, pace, d, "") {
		if r.Code == 0 {
			attacker.Stop()
			return nil, fmt.Errorf("%s %s: %s", r.Method, r.URL, r.Error)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, errors.Join(context.Cause(ctx), errors.New("an open loop without a request"))
	}
	slices.SortFunc(all, func(a, b *vegeta.Result) int { return a.Timestamp.Compare(b.Timestamp) })
	shots := make([]Shot, len(all))
	for n, r := range all {
		shots[n] = Shot{r.Timestamp.Sub(all[0].Timestamp), r.Latency, int(r.Code)}
	}
	return shots, nil
}

// Get is for an open loop: one token after the other.
func Get(url string, tokens []string) func(int) vegeta.Target {
	return func(n int) vegeta.Target {
		return vegeta.Target{Method: http.MethodGet, URL: url, Header: http.Header{"Authorization": {"Bearer " + tokens[n%len(tokens)]}}}
	}
}

// Post is for an open loop: a form of each number.
func Post(url string, form func(n int) string) func(int) vegeta.Target {
	return func(n int) vegeta.Target {
		return vegeta.Target{Method: http.MethodPost, URL: url, Body: []byte(form(n)), Header: http.Header{"Content-Type": {formType}}}
	}
}

// Latencies of an open loop in which every answer must be a success.
func Latencies(shots []Shot, err error) ([]time.Duration, error) {
	if err != nil {
		return nil, err
	}
	all := make([]time.Duration, len(shots))
	for n, one := range shots {
		if one.Status >= 300 {
			return nil, fmt.Errorf("an answer with status %d", one.Status)
		}
		all[n] = one.Took
	}
	return all, nil
}
