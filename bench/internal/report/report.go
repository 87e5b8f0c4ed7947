// Package report holds figures against their goals, and writes them as a table, a page and charts.
package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.example/bench/internal/machine"
)

// Report is all that a run has to tell.
type Report struct {
	Began   time.Time       `json:"began"`
	Took    string          `json:"took"`
	Short   bool            `json:"short,omitempty"`
	Rounds  int             `json:"rounds"`
	Measure string          `json:"measure"` // of each side in a round
	Machine machine.Machine `json:"machine"`
	Rows    []Outcome       `json:"rows"`
	Plots   []Chart         `json:"plots"`
}

// Verdict tells whether a row could not be measured, and whether one missed a goal.
func (r *Report) Verdict() (failed, missed bool) {
	for _, done := range r.Rows {
		failed = failed || done.Error != ""
		for _, m := range done.Figures {
			missed = missed || m.Missed
		}
	}
	return failed, missed
}

// Read reads the report.json of an earlier run.
func Read(file string) (*Report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &r, nil
}

// Write puts report.json and report.html into a folder.
func (r *Report) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	page, err := r.html()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.html"), page, 0o644)
}

//go:embed report.html.tmpl
var pageSource string

// html is the report as one page that needs nothing else.
func (r *Report) html() ([]byte, error) {
	var plots []template.HTML
	for _, c := range r.Plots {
		svg, err := c.svg()
		if err != nil {
			return nil, err
		}
		plots = append(plots, template.HTML(svg)) // of our own making, and what comes from outside is escaped in it
	}
	page, err := template.New("report").Parse(pageSource)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, map[string]any{"Report": r, "Lines": r.lines(), "Plots": plots})
	return out.Bytes(), err
}

// line is one of the table.
type line struct {
	Figure, About, Goal, Median, Min, Max, Detail, Error string
	Missed                                               bool
}

func (r *Report) lines() []line {
	var all []line
	for _, done := range r.Rows {
		for n, m := range done.Figures {
			l := line{Figure: done.Title(m), Goal: m.GoalText(), Median: m.Text(m.Median), Min: m.Text(m.Min), Max: m.Text(m.Max), Missed: m.Missed}
			if n == 0 {
				l.About, l.Detail, l.Error = done.About, done.Detail, done.Error
			}
			all = append(all, l)
		}
	}
	return all
}

const (
	docsFile  = "performance.md"
	docsPlot  = "flood" // the chart that is committed
	docsBegin = "<!-- figures: written by make bench ARGS=-docs -->\n"
	docsEnd   = "<!-- end of figures -->"
)

// WriteDocs puts the table into performance.md of a folder, and the plot beside it.
func (r *Report) WriteDocs(dir string) error {
	file := filepath.Join(dir, docsFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), docsBegin)
	_, after, closed := strings.Cut(rest, docsEnd)
	if !found || !closed {
		return fmt.Errorf("%s has no place for the figures", file)
	}
	if err := os.WriteFile(file, []byte(before+docsBegin+r.markdown()+docsEnd+after), 0o644); err != nil {
		return err
	}
	for _, c := range r.Plots {
		if c.Name != docsPlot {
			continue
		}
		svg, err := c.svg()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "performance.svg"), []byte(svg), 0o644)
	}
	return nil
}

func (r *Report) markdown() string {
	var out strings.Builder
	m := r.Machine
	fmt.Fprintf(&out, "Measured on %s in %s, version %s, on %d × %s with %.0f GB, %s, %s, PostgreSQL %s; %s. %d rounds of %s for each side. "+
		"Load average before the run: %s, after it: %s.\n\n", r.Began.Format("2 January 2006"), r.Took, m.Version, m.Processors, m.Model,
		float64(m.MemoryMB)/1000, m.System, m.Go, m.PostgreSQL, m.Pinned, r.Rounds, r.Measure, m.LoadBefore, m.LoadAfter)
	if m.WasBusy() {
		out.WriteString("**The machine was busy with other things before the run, and during it: these figures show what is measured, and little more.**\n\n")
	}
	out.WriteString("| figure | goal | median | min | max | |\n|---|---|---|---|---|---|\n")
	for _, l := range r.lines() {
		verdict := ""
		if l.Missed {
			verdict = "missed"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s |\n", l.Figure, l.Goal, l.Median, l.Min, l.Max, verdict)
	}
	out.WriteString("\nWhat was measured against what, and the last round of each:\n\n")
	for _, done := range r.Rows {
		if done.Error != "" {
			done.Detail = "It could not be measured: " + done.Error
		}
		fmt.Fprintf(&out, "- **%s**: %s. %s.\n", done.Row, done.About, done.Detail)
	}
	return out.String()
}
