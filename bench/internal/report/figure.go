package report

import (
	"fmt"
	"math"
	"slices"
)

// Figure is one number of a row.
type Figure struct {
	Name string
	Goal float64 // 0: the figure alone is of interest
	Most bool    // the goal is the most that the figure may be, not the least
	Unit string  // empty: a ratio
}

// NotMeasured stands for a figure that this machine cannot give; the detail says why.
var NotMeasured = math.NaN()

// Outcome is what became of a row.
type Outcome struct {
	Row     string     `json:"row"`
	About   string     `json:"about,omitempty"`
	Figures []Measured `json:"figures"`
	Detail  string     `json:"detail"` // of the last round
	Error   string     `json:"error,omitempty"`
}

// Measured is a figure over all rounds.
type Measured struct {
	Name   string    `json:"name,omitempty"`
	Unit   string    `json:"unit,omitempty"`
	Goal   float64   `json:"goal,omitempty"`
	AtMost bool      `json:"at_most,omitempty"`
	Values []float64 `json:"values"` // one of each round
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Missed bool      `json:"missed"`
}

// Judge holds the median against the goal; a short run is too short for that.
func (f Figure) Judge(values []float64, short bool) Measured {
	m := Measured{Name: f.Name, Unit: f.Unit, Goal: f.Goal, AtMost: f.Most, Values: values}
	if len(values) == 0 {
		return m
	}
	sorted := slices.Sorted(slices.Values(values))
	m.Median, m.Min, m.Max = sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
	m.Missed = !short && f.Goal > 0 && (f.Most && m.Median > f.Goal || !f.Most && m.Median < f.Goal)
	return m
}

// Title names a figure.
func (o Outcome) Title(m Measured) string {
	if m.Name == "" {
		return o.Row
	}
	return o.Row + ": " + m.Name
}

// GoalText is the goal in the figure's unit.
func (m Measured) GoalText() string {
	switch {
	case m.Goal == 0:
		return "-"
	case m.AtMost:
		return "≤" + m.Text(m.Goal)
	}
	return "≥" + m.Text(m.Goal)
}

// Text is a value in the figure's unit.
func (m Measured) Text(value float64) string {
	if len(m.Values) == 0 && value == 0 {
		return "-"
	}
	switch m.Unit {
	case "":
		return fmt.Sprintf("%.2f", value)
	case "s":
		return fmt.Sprintf("%.3f s", value)
	}
	return fmt.Sprintf("%.1f %s", value, m.Unit)
}
