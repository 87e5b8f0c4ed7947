// Package machine describes the machine, divides its processors, and tells how much of them a
// process has used.
package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is what the figures were measured on.
type Machine struct {
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

func (m Machine) String() string {
	return fmt.Sprintf("%d × %s, %.0f GB; %s, %s, PostgreSQL %s; gatehouse %s\n%s; load average before: %s",
		m.Processors, m.Model, float64(m.MemoryMB)/1000, m.System, m.Go, m.PostgreSQL, m.Version, m.Pinned, m.LoadBefore)
}

// WasBusy tells whether others used more than half of the machine before the run.
func (m Machine) WasBusy() bool {
	load, err := strconv.ParseFloat(m.LoadBefore, 64)
	return err == nil && load > float64(m.Processors)/2
}

// Describe is without what the stage knows.
func Describe(ctx context.Context) Machine {
	m := Machine{
		Processors: runtime.NumCPU(), Model: FromFile("/proc/cpuinfo", "model name"), MemoryMB: MemoryMB(), Go: runtime.Version(),
		System: "Linux " + strings.TrimSpace(firstLine("/proc/sys/kernel/osrelease")),
		Pinned: fmt.Sprintf("services pinned to processor %s, bench and wrk to %s; PostgreSQL and HAProxy use all", ServicePin(), GeneratorPin()),
	}
	if version, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output(); err == nil {
		m.Version = strings.TrimSpace(string(version))
	}
	return m
}

// FromFile returns the value of a line "name: value".
func FromFile(file, name string) string {
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

// MemoryMB is the machine's memory.
func MemoryMB() int {
	kib, _ := strconv.Atoi(strings.TrimSuffix(FromFile("/proc/meminfo", "MemTotal"), " kB"))
	return kib * 1024 / 1_000_000
}

// LoadAverage is the load average of the last minute.
func LoadAverage() string {
	return strings.Join(strings.Fields(firstLine("/proc/loadavg"))[:1], "")
}

// ServicePin is half of the processors, as taskset has them.
func ServicePin() string { return pin(0, ServiceCores()) }

// GeneratorPin is the other half.
func GeneratorPin() string { return pin(runtime.NumCPU()/2, runtime.NumCPU()) }

// AnyProcessor is all processors, for programs that are not pinned.
func AnyProcessor() string { return pin(0, runtime.NumCPU()) }

// ServiceCores is how many processors the service has.
func ServiceCores() int { return max(1, runtime.NumCPU()/2) }

func pin(from, to int) string {
	if to-from == 1 {
		return strconv.Itoa(from)
	}
	return fmt.Sprintf("%d-%d", from, to-1)
}

// PinProcess keeps a process that runs already, with all of its threads and those to come, on some
// processors.
func PinProcess(ctx context.Context, pid int, processors string) error {
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

// Parent of a process that runs.
func Parent(pid int) (int, error) {
	stat := processStat(pid)
	if len(stat) <= statParent {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.Atoi(stat[statParent])
}

// ProcessorTime is what a process and its children that have ended have used so far.
func ProcessorTime(pid int) (sum time.Duration) {
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

// TreeTime is that of a process and its children.
func TreeTime(pid int) time.Duration {
	sum := ProcessorTime(pid)
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		child, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		if stat := processStat(child); len(stat) > statParent && stat[statParent] == strconv.Itoa(pid) {
			sum += ProcessorTime(child)
		}
	}
	return sum
}
