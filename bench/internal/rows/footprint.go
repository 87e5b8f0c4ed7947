package rows

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/report"
	"gatehouse.example/bench/internal/stage"
)

// startUp is the time from the start of the process until it is ready.
func startUp(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	revocations := 100_000
	if o.Short {
		revocations = 1000
	}
	empty, err := s.startOnce(ctx, 0)
	if err != nil {
		return nil, "", err
	}
	full, err := s.startOnce(ctx, revocations)
	if err != nil {
		return nil, "", err
	}
	return []float64{full.Seconds(), ratio(full, empty)}, fmt.Sprintf("with %d revocations %s, with none %s", revocations,
		full.Round(time.Millisecond), empty.Round(time.Millisecond)), nil
}

// startOnce starts a replica on a database with so many live revocations, which is made when it is
// not there.
func (s *Run) startOnce(ctx context.Context, revocations int) (time.Duration, error) {
	name := fmt.Sprintf("revocations%d", revocations)
	address := strings.Replace(s.Database.URL(), "/postgres?", "/"+name+"?", 1)
	if conn, err := pgx.Connect(ctx, address); err == nil {
		if err := conn.Close(ctx); err != nil {
			return 0, err
		}
	} else if err := s.revoke(ctx, name, revocations); err != nil {
		return 0, err
	}
	p, err := s.Replica(ctx, name, "DATABASE_URL="+address)
	if err != nil {
		return 0, err
	}
	s.Stop(name)
	return p.Took, nil
}

func (s *Run) revoke(ctx context.Context, database string, n int) error {
	address, err := stage.NewDatabase(ctx, s.Database.URL(), database)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "INSERT INTO revocations (session_id) SELECT gen_random_uuid() FROM generate_series(1, $1::int)", n)
	return err
}

// errEnough ends a loop.
var errEnough = errors.New("all that was to be done is done")

// memory is what a replica holds when it has just started, and when it knows many tokens.
func memory(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	const name = "replica for its memory"
	// Room for all, whichever half of the cache they fall into.
	replica, err := s.Replica(ctx, name, "TOKEN_CACHE_SIZE=250000")
	if err != nil {
		return nil, "", err
	}
	defer s.Stop(name)
	time.Sleep(time.Second)
	idle, file := replica.Resident("VmRSS"), replica.Resident("RssFile")
	cold, err := s.ColdTokens()
	if err != nil {
		return nil, "", err
	}
	known := cold[:100_000]
	if o.Short {
		known = cold[:1000]
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	var next atomic.Int64
	_, err = load.ClosedLoop(ctx, load.Connections, time.Minute, func(ctx context.Context, _ int) error {
		n := int(next.Add(1)) - 1
		if n >= len(known) {
			return errEnough
		}
		status, err := api.Send(ctx, client, http.MethodGet, replica.URL+"/verify", known[n])
		if err == nil && status != http.StatusNoContent {
			err = fmt.Errorf("/verify: status %d", status)
		}
		return err
	})
	if err != errEnough {
		return nil, "", fmt.Errorf("%d tokens: %w", len(known), err)
	}
	busy := replica.Resident("VmRSS")
	return []float64{idle, busy}, fmt.Sprintf(
		"idle %.1f MB, of which %.1f MB are pages of the program's file; after %d requests with as many tokens %.1f MB", idle, file, len(known), busy), nil
}

// image is what the Dockerfile makes. Where there is no engine, or it cannot get what the image is
// made of, there is no figure.
func image(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	program, err := os.Stat(s.Binary())
	if err != nil {
		return nil, "", err
	}
	detail := fmt.Sprintf("the program alone %.1f MB", float64(program.Size())/1e6)
	if o.Short {
		return []float64{report.NotMeasured}, detail + "; the image takes minutes", nil
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	const name = "gatehouse-bench"
	build := exec.CommandContext(ctx, "docker", "compose", "--project-name", name, "build", "--quiet", "gatehouse")
	build.Dir, build.Env = s.Root, append(os.Environ(), "GATEHOUSE_IMAGE="+name)
	if out, err := build.CombinedOutput(); err != nil {
		return []float64{report.NotMeasured}, fmt.Sprintf("%s; no image: %s %s", detail, err, lastLine(out)), nil
	}
	defer func() { _ = exec.Command("docker", "image", "rm", name).Run() }()
	out, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Size}}", name).Output()
	if err != nil {
		return nil, "", err
	}
	size, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	return []float64{size / 1e6}, detail, err
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
