package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// connections of a closed loop: enough that a processor of the service is never idle.
const connections = 32

// load is what wrk saw.
type load struct {
	rps float64
	p99 time.Duration
}

func (l load) String() string {
	return fmt.Sprintf("%.0f/s, p99 %.1f ms", l.rps, float64(l.p99.Microseconds())/1000)
}

// wrk sends GET requests in a closed loop, one token after the other; every answer must be a success.
func wrk(ctx context.Context, s *stage, url string, tokens []string, d time.Duration) (load, error) {
	list, script := filepath.Join(s.dir, "tokens"), filepath.Join(s.dir, "tokens.lua")
	if err := os.WriteFile(list, []byte(strings.Join(tokens, "\n")+"\n"), 0o600); err != nil {
		return load{}, err
	}
	// With one token the request is always the same, and wrk makes it once.
	lua := fmt.Sprintf(`
		local made, n = {}, 0
		function init()
			for token in io.lines(%q) do
				wrk.headers["Authorization"] = "Bearer " .. token
				made[#made + 1] = wrk.format("GET")
			end
		end
		function request()
			n = n %% #made + 1
			return made[n]
		end`, list)
	if err := os.WriteFile(script, []byte(lua), 0o600); err != nil {
		return load{}, err
	}
	out, err := exec.CommandContext(ctx, "taskset", "-c", generatorPin(), "wrk", "--threads=1", fmt.Sprintf("--connections=%d", connections),
		fmt.Sprintf("--duration=%ds", max(1, int(d.Seconds()))), "--latency", "--script="+script, url).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return readWrk(string(out))
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkP99    = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)\b`)
	wrkFaults = regexp.MustCompile(`(?m)^\s*(Non-2xx.*|Socket errors:.*)$`)
)

func readWrk(out string) (load, error) {
	if fault := wrkFaults.FindString(out); fault != "" {
		return load{}, fmt.Errorf("wrk: %s", strings.TrimSpace(fault))
	}
	rate, p99 := wrkRate.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out)
	if rate == nil || p99 == nil {
		return load{}, fmt.Errorf("wrk: no figures in %q", out)
	}
	rps, err := strconv.ParseFloat(rate[1], 64)
	if err != nil {
		return load{}, err
	}
	latency, err := time.ParseDuration(p99[1] + p99[2])
	return load{rps, latency}, err
}

// loop calls do from n clients, each after its last call has ended, and returns the calls a second.
func loop(ctx context.Context, n int, d time.Duration, do func(ctx context.Context, client int) error) (float64, error) {
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
