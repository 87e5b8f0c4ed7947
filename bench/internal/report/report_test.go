package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatehouse.example/bench/internal/machine"
)

func aReport() *Report {
	points := [][2]float64{{1, 2}, {10, 0.5}, {1000, 30}}
	return &Report{
		Rounds: 5, Measure: "3s", Machine: machine.Machine{Model: "a <processor>"},
		Rows: []Outcome{{Row: "me", About: "one ÷ another", Detail: "the <last> round", Figures: []Measured{
			Figure{Name: "÷ the query", Goal: 0.7}.Judge([]float64{0.5}, false), Figure{Unit: "MB"}.Judge(nil, false),
		}}},
		Plots: []Chart{
			{Name: "flood", Title: "a & b", Curves: []Curve{{"/verify", points}}},
			{Name: "growth", LogX: true, LogY: true, Dots: true, Curves: []Curve{{"login", points}}},
		},
	}
}

// A report is sent to others, and opened where there is no network.
func TestThePageNeedsNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, aReport().Write(dir))
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	must(t, err)
	if strings.Count(string(page), "<svg") != 2 || !strings.Contains(string(page), "a &lt;processor&gt;") || !strings.Contains(string(page), "0.50 missed") {
		t.Errorf("the page:\n%s", page)
	}
	for _, link := range regexp.MustCompile(`(src|href)=|url\(|@import|<script|<\?xml`).FindAllString(string(page), -1) {
		t.Errorf("it has %s", link)
	}
	again, err := Read(filepath.Join(dir, "report.json"))
	must(t, err)
	before, _ := json.Marshal(aReport())
	after, _ := json.Marshal(again)
	if string(before) != string(after) {
		t.Errorf("read back:\n%s\nwritten:\n%s", after, before)
	}
}

func TestTheDocumentGetsItsFiguresAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, docsFile)
	committed, err := os.ReadFile("../../../docs/performance.md")
	must(t, err)
	must(t, os.WriteFile(file, committed, 0o600))
	must(t, aReport().WriteDocs(dir))
	written, err := os.ReadFile(file)
	must(t, err)
	if !strings.Contains(string(written), "| me: ÷ the query | ≥0.70 | 0.50 | 0.50 | 0.50 | missed |\n") {
		t.Errorf("no table:\n%s", written)
	}
	figures := regexp.MustCompile("(?s)" + regexp.QuoteMeta(docsBegin) + ".*" + docsEnd)
	if figures.ReplaceAllString(string(written), "") != figures.ReplaceAllString(string(committed), "") {
		t.Error("the rest has changed")
	}
	if plot, err := os.ReadFile(filepath.Join(dir, "performance.svg")); err != nil || !strings.HasPrefix(string(plot), "<svg") {
		t.Errorf("the plot: %.20s, %v", plot, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
