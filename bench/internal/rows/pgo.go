package rows

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/stage"
)

// defaultProfile is what `make pgo` writes and `go build` finds.
const defaultProfile = "cmd/gatehouse/default.pgo"

func hasProfile(Options) bool {
	_, err := os.Stat(defaultProfile)
	return err == nil
}

// pgo is what cmd/gatehouse/default.pgo is worth: the processor time of a request with it and
// without.
func pgo(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	const name = "replica without PGO"
	without := filepath.Join(s.Dir, "gatehouse-without-pgo")
	if s.Started[name] == nil {
		if err := s.Build(ctx, without, "-pgo=off"); err != nil {
			return nil, "", err
		}
	}
	plain, err := s.ReplicaOf(ctx, []string{without, "serve"}, name)
	if err != nil {
		return nil, "", err
	}
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return nil, "", err
	}
	sessions, err := s.Sessions(ctx, load.Connections)
	if err != nil {
		return nil, "", err
	}
	var values []float64
	var details []string
	for _, path := range []string{"/verify", "/users/me"} {
		before, err := wrk(ctx, s, plain.URL+path, stage.Tokens(sessions), o.Measure)
		if err != nil {
			return nil, "", err
		}
		after, err := wrk(ctx, s, replica.URL+path, stage.Tokens(sessions), o.Measure)
		if err != nil {
			return nil, "", err
		}
		values = append(values, ratio(after.Each, before.Each))
		details = append(details, fmt.Sprintf("%s %s, without %s", path, after, before))
	}
	return values, strings.Join(details, "; "), nil
}
