package rows

import (
	"context"
	"fmt"
	"time"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/baseline"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/report"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/bench/internal/stats"
)

// calm is the rate of an open loop for latency: few enough that hardly anybody waits for somebody
// else's answer.
func calm(most load.Result) float64 { return min(1000, most.RPS/5) }

// verifyWarm is GET /verify with a token that the replica has seen.
func verifyWarm(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	sessions, err := s.Sessions(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	nothing, verified, err := besideBare(ctx, s, o, stage.Tokens(sessions))
	if err != nil {
		return nil, "", err
	}
	bare, replica, rate := s.Started["bare"], s.Started["replica 1"], calm(nothing)
	cookies, err := s.Browsers(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	byCookie, err := wrk(ctx, s, replica.URL+"/verify", cookies, o.Measure)
	if err != nil {
		return nil, "", err
	}
	headers, err := wrk(ctx, s, bare.URL+"/headers", stage.Tokens(sessions), o.Measure)
	if err != nil {
		return nil, "", err
	}
	waited, err := load.Latencies(load.OpenLoop(ctx, rate, o.Measure, load.Get(bare.URL+"/verify", stage.Tokens(sessions))))
	if err != nil {
		return nil, "", err
	}
	took, err := load.Latencies(load.OpenLoop(ctx, rate, o.Measure, load.Get(replica.URL+"/verify", stage.Tokens(sessions))))
	if err != nil {
		return nil, "", err
	}
	s.sample("a handler that does nothing", waited)
	s.sample("/verify", took)
	return []float64{verified.RPS / nothing.RPS, ratio(verified.Each, nothing.Each), ratio(stats.Percentile(took, 99), stats.Percentile(waited, 99)), verified.RPS / headers.RPS, byCookie.RPS / verified.RPS}, fmt.Sprintf(
		"/verify %s; by a cookie %s; bare %s; with the headers %s; at %.0f/s: p99 %s, bare %s", verified, byCookie, nothing, headers, rate, stats.Percentile(took, 99), stats.Percentile(waited, 99)), nil
}

func verifyCold(ctx context.Context, s *Run, o Options) (float64, string, error) {
	cold, err := s.ColdTokens()
	if err != nil {
		return 0, "", err
	}
	nothing, verified, err := besideBare(ctx, s, o, cold)
	return verified.RPS / nothing.RPS, fmt.Sprintf("/verify %s; bare %s", verified, nothing), err
}

// besideBare measures /verify and, just before, the handler that does nothing.
func besideBare(ctx context.Context, s *Run, o Options, tokens []string) (nothing, verified load.Result, err error) {
	bare, err := s.Baseline(ctx)
	if err != nil {
		return nothing, verified, err
	}
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return nothing, verified, err
	}
	if nothing, err = wrk(ctx, s, bare.URL+"/verify", tokens, o.Measure); err != nil {
		return nothing, verified, err
	}
	verified, err = wrk(ctx, s, replica.URL+"/verify", tokens, o.Measure)
	return nothing, verified, err
}

// me is GET /users/me, which asks the database each time.
func me(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	sessions, err := s.Sessions(ctx, load.Connections)
	if err != nil {
		return nil, "", err
	}
	bare, err := s.Baseline(ctx)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	query, err := s.Alone(ctx, baseline.Task{What: baseline.TaskRead, Clients: load.Connections, For: o.Measure, Sessions: stage.IDs(sessions)})
	if err != nil {
		return nil, "", err
	}
	var asked load.Result
	shares, err := s.Shares(func() (err error) {
		asked, err = wrk(ctx, s, replica.URL+"/users/me", stage.Tokens(sessions), o.Measure)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	idsAsTokens := make([]string, len(sessions))
	for n, one := range sessions {
		idsAsTokens[n] = one.ID.String()
	}
	handler, err := wrk(ctx, s, bare.URL+"/users/me", idsAsTokens, o.Measure)
	if err != nil {
		return nil, "", err
	}
	took, err := load.Latencies(load.OpenLoop(ctx, calm(asked), o.Measure, load.Get(replica.URL+"/users/me", stage.Tokens(sessions))))
	if err != nil {
		return nil, "", err
	}
	s.sample("/users/me", took)
	return []float64{asked.RPS / query, asked.RPS / handler.RPS}, fmt.Sprintf(
		"/users/me %s; the query %.0f/s; a Gin handler with it %s; %s", asked, query, handler, shares), nil
}

// refresh is POST /token with refresh tokens.
func refresh(ctx context.Context, s *Run, o Options) (float64, string, error) {
	const clients = 8
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return 0, "", err
	}
	const each = 250 // sessions of a client, in turn: one alone may not be refreshed so often
	sessions, err := s.Sessions(ctx, clients*each)
	if err != nil {
		return 0, "", err
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	took := make([][]time.Duration, clients)
	var refreshed float64
	shares, err := s.Shares(func() (err error) {
		refreshed, err = load.ClosedLoop(ctx, clients, o.Measure, func(ctx context.Context, n int) (err error) {
			began, session := time.Now(), &sessions[n*each+len(took[n])%each]
			session.Refresh, err = api.Exchange(ctx, client, replica.URL, session.Refresh)
			took[n] = append(took[n], time.Since(began))
			return err
		})
		return err
	})
	if err != nil {
		return 0, "", err
	}
	for _, all := range took {
		s.sample("a refresh, 8 clients", all)
	}
	bare, err := s.Alone(ctx, baseline.Task{What: baseline.TaskRefresh, Clients: clients, For: o.Measure, Sessions: stage.IDs(sessions[:clients])})
	return refreshed / bare, fmt.Sprintf("%.0f refreshes/s; bare transactions %.0f/s; %s", refreshed, bare, shares), err
}

func ratio(a, b time.Duration) float64 {
	if b == 0 {
		return report.NotMeasured
	}
	return a.Seconds() / b.Seconds()
}
