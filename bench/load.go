package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// connections of a closed loop: enough that a processor of the service is never idle.
const connections = 32

// load is what wrk saw.
type load struct {
	rps      float64
	p99      time.Duration
	requests int
	each     time.Duration // processor time of a request in the program that answered; hardly changes on a busy machine
}

func (l load) String() string {
	return fmt.Sprintf("%.0f/s, p99 %.1f ms, %s of the processor each", l.rps, milliseconds(l.p99), l.each)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// wrk sends GET requests in a closed loop, one token after the other; every answer must be a success.
func wrk(ctx context.Context, s *stage, url string, tokens []string, d time.Duration) (load, error) {
	// With one token the request is always the same, and wrk makes it once.
	script, err := s.script("tokens", tokens, `
		wrk.headers["Authorization"] = "Bearer " .. line
		return wrk.format("GET")`)
	if err != nil {
		return load{}, err
	}
	before := s.timeBehind(url)
	out, err := wrkCommand(ctx, connections, d, script, url).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	used := s.timeBehind(url) - before
	seen, err := readWrk(string(out))
	seen.each = (used / time.Duration(max(seen.requests, 1))).Round(100 * time.Nanosecond)
	return seen, err
}

// timeBehind is the processor time so far of the program that answers at a URL.
func (s *stage) timeBehind(url string) time.Duration {
	for _, p := range s.started {
		if strings.HasPrefix(url, p.url+"/") {
			return treeTime(p.cmd.Process.Pid) // a peer may have workers
		}
	}
	return 0
}

func wrkCommand(ctx context.Context, connections int, d time.Duration, script, url string) *exec.Cmd {
	return exec.CommandContext(ctx, "taskset", "-c", generatorPin(), "wrk", "--threads=1", fmt.Sprintf("--connections=%d", connections),
		fmt.Sprintf("--duration=%ds", max(1, int(d.Seconds()))), "--latency", "--timeout=60s", "--script="+script, url)
}

// script writes one for wrk that sends a request for each line, in turn; made is the Lua that makes one of a line.
func (s *stage) script(name string, lines []string, made string) (string, error) {
	list, script := filepath.Join(s.dir, name), filepath.Join(s.dir, name+".lua")
	if err := os.WriteFile(list, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	lua := fmt.Sprintf(`
		local made, n = {}, 0
		local function make(line)%s
		end
		function init()
			for line in io.lines(%q) do
				made[#made + 1] = make(line)
			end
		end
		function request()
			n = n %% #made + 1
			return made[n]
		end`, made, list)
	return script, os.WriteFile(script, []byte(lua), 0o600)
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkCount  = regexp.MustCompile(`(?m)^\s*(\d+) requests in`)
	wrkP99    = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)\b`)
	wrkFaults = regexp.MustCompile(`(?m)^\s*(Non-2xx.*|Socket errors:.*)$`)
)

func readWrk(out string) (load, error) {
	if fault := wrkFaults.FindString(out); fault != "" {
		return load{}, fmt.Errorf("wrk: %s", strings.TrimSpace(fault))
	}
	rate, p99, count := wrkRate.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out), wrkCount.FindStringSubmatch(out)
	if rate == nil || p99 == nil || count == nil {
		return load{}, fmt.Errorf("wrk: no figures in %q", out)
	}
	rps, err := strconv.ParseFloat(rate[1], 64)
	if err != nil {
		return load{}, err
	}
	requests, err := strconv.Atoi(count[1])
	if err != nil {
		return load{}, err
	}
	latency, err := time.ParseDuration(p99[1] + p99[2])
	return load{rps: rps, p99: latency, requests: requests}, err
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

// shot is a request of an open loop and its answer.
type shot struct {
	at     time.Duration // after the first
	took   time.Duration
	status int
}

// openLoop sends requests at a rate, whether or not earlier ones have been answered, so that a slow answer does not keep
// others from being counted. It returns the answers in the order of the requests.
func openLoop(ctx context.Context, rate float64, d time.Duration, request func(n int) vegeta.Target) ([]shot, error) {
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
	shots := make([]shot, len(all))
	for n, r := range all {
		shots[n] = shot{r.Timestamp.Sub(all[0].Timestamp), r.Latency, int(r.Code)}
	}
	return shots, nil
}

// get is for an open loop: one token after the other.
func get(url string, tokens []string) func(int) vegeta.Target {
	return func(n int) vegeta.Target {
		return vegeta.Target{Method: http.MethodGet, URL: url, Header: http.Header{"Authorization": {"Bearer " + tokens[n%len(tokens)]}}}
	}
}

func post(url string, form func(n int) string) func(int) vegeta.Target {
	return func(n int) vegeta.Target {
		return vegeta.Target{Method: http.MethodPost, URL: url, Body: []byte(form(n)), Header: http.Header{"Content-Type": {formType}}}
	}
}

// latencies of an open loop in which every answer must be a success.
func latencies(shots []shot, err error) ([]time.Duration, error) {
	if err != nil {
		return nil, err
	}
	all := make([]time.Duration, len(shots))
	for n, one := range shots {
		if one.status >= 300 {
			return nil, fmt.Errorf("an answer with status %d", one.status)
		}
		all[n] = one.took
	}
	return all, nil
}

// percentile is 0 of nothing.
func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(time.Microsecond)
}
