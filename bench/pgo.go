package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// defaultProfile is what `make pgo` writes and `go build` finds.
const defaultProfile = "cmd/gatehouse/default.pgo"

func hasProfile(options) bool {
	_, err := os.Stat(defaultProfile)
	return err == nil
}

// pgo is what cmd/gatehouse/default.pgo is worth: the processor time of a request with it and without.
func pgo(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	const name = "replica without PGO"
	without := filepath.Join(s.dir, "gatehouse-without-pgo")
	if s.started[name] == nil {
		if err := s.build(ctx, without, "-pgo=off"); err != nil {
			return nil, "", err
		}
	}
	plain, err := s.replicaOf(ctx, []string{without, "serve"}, name)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	sessions, err := s.sessions(ctx, connections)
	if err != nil {
		return nil, "", err
	}
	var values []float64
	var details []string
	for _, path := range []string{"/verify", "/users/me"} {
		before, err := wrk(ctx, s, plain.url+path, tokens(sessions), o.measure)
		if err != nil {
			return nil, "", err
		}
		after, err := wrk(ctx, s, replica.url+path, tokens(sessions), o.measure)
		if err != nil {
			return nil, "", err
		}
		values = append(values, ratio(after.each, before.each))
		details = append(details, fmt.Sprintf("%s %s, without %s", path, after, before))
	}
	return values, strings.Join(details, "; "), nil
}
