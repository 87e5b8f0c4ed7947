package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// machine is what the figures were measured on.
type machine struct {
	Processors int    `json:"processors"`
	Model      string `json:"model"`
	MemoryMB   int    `json:"memory_mb"`
	System     string `json:"system"`
	Go         string `json:"go"`
	PostgreSQL string `json:"postgresql"`
	Version    string `json:"version"` // of the service
	Pinned     string `json:"pinned"`
	// The load average, before and after: others who were busy on the machine show in it.
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

func (m machine) String() string {
	return fmt.Sprintf("%d × %s, %.0f GB; %s, %s, PostgreSQL %s; gatehouse %s\n%s; load average before: %s",
		m.Processors, m.Model, float64(m.MemoryMB)/1000, m.System, m.Go, m.PostgreSQL, m.Version, m.Pinned, m.LoadBefore)
}

// WasBusy tells whether others used more than half of the machine before the run.
func (m machine) WasBusy() bool {
	load, err := strconv.ParseFloat(m.LoadBefore, 64)
	return err == nil && load > float64(m.Processors)/2
}

func (s *stage) machine(ctx context.Context) (machine, error) {
	m := machine{
		Processors: runtime.NumCPU(), Model: fromFile("/proc/cpuinfo", "model name"), MemoryMB: memoryMB(), Go: runtime.Version(),
		System: "Linux " + strings.TrimSpace(firstLine("/proc/sys/kernel/osrelease")), LoadBefore: s.loadBefore,
		Pinned: fmt.Sprintf("services pinned to processor %s, bench and wrk to %s; PostgreSQL and HAProxy use all", servicePin(), generatorPin()),
	}
	if version, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output(); err == nil {
		m.Version = strings.TrimSpace(string(version))
	}
	return m, s.pool.QueryRow(ctx, "SELECT split_part(current_setting('server_version'), ' ', 1)").Scan(&m.PostgreSQL)
}

// fromFile returns the value of a line "name: value".
func fromFile(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(file string) string {
	text, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func memoryMB() int {
	kib, _ := strconv.Atoi(strings.TrimSuffix(fromFile("/proc/meminfo", "MemTotal"), " kB"))
	return kib * 1024 / 1_000_000
}

func loadAverage() string {
	return strings.Join(strings.Fields(firstLine("/proc/loadavg"))[:1], "")
}

// Service and generator each have half of the processors.
func servicePin() string   { return pin(0, serviceCores()) }
func generatorPin() string { return pin(runtime.NumCPU()/2, runtime.NumCPU()) }

func serviceCores() int { return max(1, runtime.NumCPU()/2) }

func pin(from, to int) string {
	if to-from == 1 {
		return strconv.Itoa(from)
	}
	return fmt.Sprintf("%d-%d", from, to-1)
}

// pinProcess keeps a process that runs already, with all of its threads and those to come, on some processors.
func pinProcess(ctx context.Context, pid int, processors string) error {
	out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", processors, strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset: %w: %s", err, out)
	}
	return nil
}

// processTimes are the fields of /proc/PID/stat from the state on; nil when the process has gone.
func processStat(pid int) []string {
	line := firstLine(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
}

const (
	statParent = 1
	statUser   = 11 // and system, and both of children that have ended
	tick       = 10 * time.Millisecond
)

func processorTime(pid int) (sum time.Duration) {
	stat := processStat(pid)
	if len(stat) < statUser+4 {
		return 0
	}
	for _, field := range stat[statUser : statUser+4] {
		ticks, _ := strconv.Atoi(field)
		sum += time.Duration(ticks) * tick
	}
	return sum
}

// treeTime is that of a process and its children.
func treeTime(pid int) time.Duration {
	sum := processorTime(pid)
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		child, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		if stat := processStat(child); len(stat) > statParent && stat[statParent] == strconv.Itoa(pid) {
			sum += processorTime(child)
		}
	}
	return sum
}

// shares runs do and tells how much of a processor each of the programs used meanwhile: what is at 100 % or, together
// with others, at that of the whole machine, is what bounds the rest.
func (s *stage) shares(do func() error) (string, error) {
	before, began := s.usage(), time.Now()
	err := do()
	after, took := s.usage(), time.Since(began)
	var parts []string
	for name, used := range after {
		if share := (used - before[name]).Seconds() / took.Seconds() * 100; share >= 1 {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", name, share))
		}
	}
	slices.Sort(parts)
	return "processor time: " + strings.Join(parts, ", "), err
}

func (s *stage) usage() map[string]time.Duration {
	used := map[string]time.Duration{"generator": processorTime(os.Getpid()), "PostgreSQL": treeTime(s.postmaster)}
	for name, p := range s.started {
		used[name] = processorTime(p.cmd.Process.Pid)
	}
	return used
}
