package main

import (
	"context"
	"fmt"
	"time"
)

// calm is the rate of an open loop for latency: few enough that hardly anybody waits for somebody else's answer.
func calm(most load) float64 { return min(1000, most.rps/5) }

// verifyWarm is GET /verify with a token that the replica has seen.
func verifyWarm(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	sessions, err := s.sessions(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	nothing, verified, err := besideBare(ctx, s, o, tokens(sessions))
	if err != nil {
		return nil, "", err
	}
	bare, replica, rate := s.started["bare"], s.started["replica 1"], calm(nothing)
	headers, err := wrk(ctx, s, bare.url+"/headers", tokens(sessions), o.measure)
	if err != nil {
		return nil, "", err
	}
	waited, err := latencies(openLoop(ctx, rate, o.measure, get(bare.url+"/verify", tokens(sessions))))
	if err != nil {
		return nil, "", err
	}
	took, err := latencies(openLoop(ctx, rate, o.measure, get(replica.url+"/verify", tokens(sessions))))
	if err != nil {
		return nil, "", err
	}
	s.sample("a handler that does nothing", waited)
	s.sample("/verify", took)
	return []float64{verified.rps / nothing.rps, ratio(verified.each, nothing.each), ratio(percentile(took, 99), percentile(waited, 99)), verified.rps / headers.rps}, fmt.Sprintf(
		"/verify %s; bare %s; with the headers %s; at %.0f/s: p99 %s, bare %s", verified, nothing, headers, rate, percentile(took, 99), percentile(waited, 99)), nil
}

func verifyCold(ctx context.Context, s *stage, o options) (float64, string, error) {
	cold, err := s.coldTokens()
	if err != nil {
		return 0, "", err
	}
	nothing, verified, err := besideBare(ctx, s, o, cold)
	return verified.rps / nothing.rps, fmt.Sprintf("/verify %s; bare %s", verified, nothing), err
}

// besideBare measures /verify and, just before, the handler that does nothing.
func besideBare(ctx context.Context, s *stage, o options, tokens []string) (nothing, verified load, err error) {
	bare, err := s.bare(ctx)
	if err != nil {
		return nothing, verified, err
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return nothing, verified, err
	}
	if nothing, err = wrk(ctx, s, bare.url+"/verify", tokens, o.measure); err != nil {
		return nothing, verified, err
	}
	verified, err = wrk(ctx, s, replica.url+"/verify", tokens, o.measure)
	return nothing, verified, err
}

// me is GET /users/me, which asks the database each time.
func me(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	sessions, err := s.sessions(ctx, connections)
	if err != nil {
		return nil, "", err
	}
	bare, err := s.bare(ctx)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	query, err := s.alone(ctx, task{What: taskRead, Clients: connections, For: o.measure, Sessions: ids(sessions)})
	if err != nil {
		return nil, "", err
	}
	var asked load
	shares, err := s.shares(func() (err error) {
		asked, err = wrk(ctx, s, replica.url+"/users/me", tokens(sessions), o.measure)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	idsAsTokens := make([]string, len(sessions))
	for n, one := range sessions {
		idsAsTokens[n] = one.id.String()
	}
	handler, err := wrk(ctx, s, bare.url+"/users/me", idsAsTokens, o.measure)
	if err != nil {
		return nil, "", err
	}
	took, err := latencies(openLoop(ctx, calm(asked), o.measure, get(replica.url+"/users/me", tokens(sessions))))
	if err != nil {
		return nil, "", err
	}
	s.sample("/users/me", took)
	return []float64{asked.rps / query, asked.rps / handler.rps}, fmt.Sprintf(
		"/users/me %s; the query %.0f/s; a Gin handler with it %s; %s", asked, query, handler, shares), nil
}

// refresh is POST /token with refresh tokens.
func refresh(ctx context.Context, s *stage, o options) (float64, string, error) {
	const clients = 8
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return 0, "", err
	}
	sessions, err := s.sessions(ctx, clients)
	if err != nil {
		return 0, "", err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	took := make([][]time.Duration, clients)
	var refreshed float64
	shares, err := s.shares(func() (err error) {
		refreshed, err = loop(ctx, clients, o.measure, func(ctx context.Context, n int) (err error) {
			began := time.Now()
			sessions[n].refresh, err = exchange(ctx, client, replica.url, sessions[n].refresh)
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
	bare, err := s.alone(ctx, task{What: taskRefresh, Clients: clients, For: o.measure, Sessions: ids(sessions)})
	return refreshed / bare, fmt.Sprintf("%.0f refreshes/s; bare transactions %.0f/s; %s", refreshed, bare, shares), err
}

func ratio(a, b time.Duration) float64 {
	if b == 0 {
		return notMeasured
	}
	return a.Seconds() / b.Seconds()
}
