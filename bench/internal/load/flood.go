package load

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Answers counts the answers of a flood by their status.
type Answers struct {
	Took   time.Duration
	Counts map[int]int
}

func (a Answers) String() string {
	counts := map[int]int{http.StatusOK: 0, http.StatusTooManyRequests: 0, http.StatusServiceUnavailable: 0} // told also if none
	maps.Copy(counts, a.Counts)
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %.1f/s", status, float64(counts[status])/a.Took.Seconds()))
	}
	return strings.Join(parts, ", ")
}

// Flood is clients who send forms over and over, whatever they are answered.
type Flood struct {
	command *exec.Cmd
	out     bytes.Buffer
	began   time.Time
}

// StartFlood has clients begin to send forms, in turn, to a URL. What wrk reads goes into files of
// that name. The flood is to be ended.
func StartFlood(ctx context.Context, files, url string, forms []string, clients int) (*Flood, error) {
	script, err := wrkScript(files, forms, fmt.Sprintf(`
		wrk.headers["Content-Type"] = %q
		return wrk.format("POST", nil, nil, line)`, formType), `
		answers = {}
		function response(status)
			answers[status] = (answers[status] or 0) + 1
		end
		local threads = {}
		function setup(thread)
			threads[#threads + 1] = thread
		end
		function done()
			for _, thread in ipairs(threads) do
				for status, count in pairs(thread:get("answers")) do
					print("status " .. status .. ": " .. count)
				end
			end
		end`)
	if err != nil {
		return nil, err
	}
	f := &Flood{command: wrkCommand(ctx, clients, 5*time.Minute, script, url), began: time.Now()}
	f.command.Stdout, f.command.Stderr = &f.out, &f.out
	f.command.WaitDelay = 5 * time.Second
	return f, f.command.Start()
}

// End hangs up, also on those who wait for an answer, and tells of the others.
func (f *Flood) End() (Answers, error) {
	interrupted := f.command.Process.Signal(os.Interrupt) // wrk tells its figures even so
	a := Answers{Took: time.Since(f.began)}
	ended := f.command.Wait()
	var err error
	if a.Counts, err = readAnswers(f.out.String()); err != nil {
		return a, fmt.Errorf("%w (%v, %v)", err, interrupted, ended)
	}
	return a, nil
}

var (
	wrkStatus = regexp.MustCompile(`(?m)^status (\d+): (\d+)$`)
	wrkEnd    = regexp.MustCompile(`(?m)^Requests/sec:`)
)

func readAnswers(out string) (map[int]int, error) {
	if !wrkEnd.MatchString(out) {
		return nil, fmt.Errorf("wrk: no figures in %q", out)
	}
	counts := map[int]int{}
	for _, found := range wrkStatus.FindAllStringSubmatch(out, -1) {
		status, err := strconv.Atoi(found[1])
		if err != nil {
			return nil, err
		}
		count, err := strconv.Atoi(found[2])
		if err != nil {
			return nil, err
		}
		counts[status] += count
	}
	return counts, nil
}
