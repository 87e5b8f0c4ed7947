package main

import (
	"fmt"
	"os"

	"golang.org/x/term"

	"gatehouse.example/bench/internal/report"
)

// terminal shows the table as it grows and, if a person looks on, what is being measured.
type terminal struct {
	out    *os.File
	person bool
}

func newTerminal(out *os.File) *terminal {
	return &terminal{out, term.IsTerminal(int(out.Fd()))}
}

const clearLine = "\r\x1b[K"

// progress is a line that the next one replaces.
func (t *terminal) progress(format string, args ...any) {
	if t.person {
		fmt.Fprintf(t.out, clearLine+format+" … ", args...)
	}
}

func (t *terminal) say(format string, args ...any) {
	if t.person {
		fmt.Fprint(t.out, clearLine)
	}
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *terminal) head(r *report.Report) {
	t.say("%s\n\n%-32s %9s  %9s %9s %9s", r.Machine, "figure", "goal", "median", "min", "max")
}

func (t *terminal) row(done report.Outcome) {
	for _, m := range done.Figures {
		line := fmt.Sprintf("%-32s %9s  %9s %9s %9s", done.Title(m), m.GoalText(), m.Text(m.Median), m.Text(m.Min), m.Text(m.Max))
		if m.Missed {
			line += "  MISSED"
			if t.person {
				line = "\x1b[31m" + line + "\x1b[0m"
			}
		}
		t.say("%s", line)
	}
	if done.Error != "" {
		t.say("    FAILED: %s", done.Error)
	}
	t.say("    %s", done.Detail)
}
