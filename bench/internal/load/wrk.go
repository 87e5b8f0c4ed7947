package load

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/stats"
)

// Connections of a closed loop: enough that a processor of the service is never idle.
const Connections = 32

// Result is what wrk saw.
type Result struct {
	RPS      float64
	p99      time.Duration
	Requests int
	Each     time.Duration // processor time of a request in the program that answered; hardly changes on a busy machine
}

func (l Result) String() string {
	return fmt.Sprintf("%.0f/s, p99 %.1f ms, %s of the processor each", l.RPS, stats.Milliseconds(l.p99), l.Each)
}

// Wrk sends GET requests in a closed loop, one token or session cookie after the other; every
// answer must be a success. What wrk reads goes into files of that name.
func Wrk(ctx context.Context, files, url string, tokens []string, d time.Duration) (Result, error) {
	// With one token the request is always the same, and wrk makes it once.
	script, err := wrkScript(files, tokens, `
		local cookie = line:find("^ghs_")
		wrk.headers["Authorization"] = not cookie and "Bearer " .. line or nil
		wrk.headers["Cookie"] = cookie and "gatehouse=" .. line or nil
		return wrk.format("GET")`, "")
	if err != nil {
		return Result{}, err
	}
	out, err := wrkCommand(ctx, Connections, d, script, url).CombinedOutput()
	if err != nil {
		return Result{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return readWrk(string(out))
}

func wrkCommand(ctx context.Context, connections int, d time.Duration, script, url string) *exec.Cmd {
	return exec.CommandContext(ctx, "taskset", "-c", machine.GeneratorPin(), "wrk", "--threads=1", fmt.Sprintf("--connections=%d", connections),
		fmt.Sprintf("--duration=%ds", max(1, int(d.Seconds()))), "--latency", "--timeout=60s", "--script="+script, url)
}

// wrkScript writes one that sends a request for each line, in turn; made is the Lua that makes one
// of a line, and more is what else there is to the script.
func wrkScript(list string, lines []string, made, more string) (string, error) {
	script := list + ".lua"
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
		end%s
	`, made, list, more)
	return script, os.WriteFile(script, []byte(lua), 0o600)
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkCount  = regexp.MustCompile(`(?m)^\s*(\d+) requests in`)
	wrkP99    = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)\b`)
	wrkFaults = regexp.MustCompile(`(?m)^\s*(Non-2xx.*|Socket errors:.*)$`)
)

func readWrk(out string) (Result, error) {
	if fault := wrkFaults.FindString(out); fault != "" {
		return Result{}, fmt.Errorf("wrk: %s", strings.TrimSpace(fault))
	}
	rate, p99, count := wrkRate.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out), wrkCount.FindStringSubmatch(out)
	if rate == nil || p99 == nil || count == nil {
		return Result{}, fmt.Errorf("wrk: no figures in %q", out)
	}
	rps, err := strconv.ParseFloat(rate[1], 64)
	if err != nil {
		return Result{}, err
	}
	requests, err := strconv.Atoi(count[1])
	if err != nil {
		return Result{}, err
	}
	latency, err := time.ParseDuration(p99[1] + p99[2])
	return Result{RPS: rps, p99: latency, Requests: requests}, err
}
