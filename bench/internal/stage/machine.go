package stage

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"gatehouse.example/bench/internal/machine"
)

// Machine describes what the stage runs on.
func (s *Stage) Machine(ctx context.Context) (machine.Machine, error) {
	m := machine.Describe(ctx)
	m.LoadBefore = s.loadBefore
	return m, s.Pool.QueryRow(ctx, "SELECT split_part(current_setting('server_version'), ' ', 1)").Scan(&m.PostgreSQL)
}

// Shares runs do and tells how much of a processor each of the programs used meanwhile. The program
// that is at 100 % bounds the rest; or all of them do, if together they use the whole machine.
func (s *Stage) Shares(do func() error) (string, error) {
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

func (s *Stage) usage() map[string]time.Duration {
	used := map[string]time.Duration{"generator": machine.ProcessorTime(os.Getpid()), "PostgreSQL": machine.TreeTime(s.postmaster)}
	for name, p := range s.Started {
		used[name] = machine.ProcessorTime(p.Cmd.Process.Pid)
	}
	return used
}
