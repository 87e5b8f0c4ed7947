package main

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// row is one question. Its goal is a least ratio; 0: only the figures are of interest.
type row struct {
	name    string
	about   string // what is measured against what
	goal    float64
	measure func(context.Context, *stage, options) (ratio float64, detail string, err error)
	once    bool // a round has many events in itself

	// Instead of goal and measure, in a row that measures several figures at once: their values are in this order.
	figures    []figure
	measureAll measureAll

	ask func(options) bool // of a row that is only for those who ask for it
}

// figure is one number of a row.
type figure struct {
	name string
	goal float64 // 0: the figure alone is of interest
	most bool    // the goal is the most that the figure may be, not the least
	unit string  // empty: a ratio
}

// notMeasured stands for a figure that this machine cannot give; the detail says why.
var notMeasured = math.NaN()

// outcome is what became of a row.
type outcome struct {
	Row     string     `json:"row"`
	About   string     `json:"about,omitempty"`
	Figures []measured `json:"figures"`
	Detail  string     `json:"detail"` // of the last round
	Error   string     `json:"error,omitempty"`
}

// measured is a figure over all rounds.
type measured struct {
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

// play runs the rounds of a row. One that fails is no reason not to play the next.
func (r row) play(ctx context.Context, s *stage, o options) outcome {
	figures, measure := r.parts()
	values, detail, err := r.rounds(ctx, s, o, len(figures), measure)
	done := outcome{Row: r.name, About: r.about, Detail: detail}
	if err != nil {
		done.Error = err.Error()
	}
	for n, f := range figures {
		done.Figures = append(done.Figures, f.judge(values[n], o.short))
	}
	return done
}

type measureAll = func(context.Context, *stage, options) (values []float64, detail string, err error)

func (r row) rounds(ctx context.Context, s *stage, o options, figures int, measure measureAll) (values [][]float64, detail string, err error) {
	values = make([][]float64, figures)
	rounds := o.rounds
	if r.once {
		rounds = 1
	}
	for round := range rounds {
		s.progress("%s: round %d of %d", r.name, round+1, rounds)
		if err := s.cutLogs(); err != nil {
			return values, detail, err
		}
		of, text, err := measure(ctx, s, o)
		if err != nil {
			return values, detail, err
		}
		for n, value := range of {
			if !math.IsNaN(value) {
				values[n] = append(values[n], value)
			}
		}
		detail = text
	}
	return values, detail, nil
}

// parts makes a row of one figure like those of several.
func (r row) parts() ([]figure, measureAll) {
	if r.measureAll != nil {
		return r.figures, r.measureAll
	}
	return []figure{{goal: r.goal}}, func(ctx context.Context, s *stage, o options) ([]float64, string, error) {
		ratio, detail, err := r.measure(ctx, s, o)
		return []float64{ratio}, detail, err
	}
}

// judge holds the median against the goal; a short run is too short for that.
func (f figure) judge(values []float64, short bool) measured {
	m := measured{Name: f.name, Unit: f.unit, Goal: f.goal, AtMost: f.most, Values: values}
	if len(values) == 0 {
		return m
	}
	sorted := slices.Sorted(slices.Values(values))
	m.Median, m.Min, m.Max = sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
	m.Missed = !short && f.goal > 0 && (f.most && m.Median > f.goal || !f.most && m.Median < f.goal)
	return m
}

// title names a figure.
func (o outcome) title(m measured) string {
	if m.Name == "" {
		return o.Row
	}
	return o.Row + ": " + m.Name
}

func (m measured) goal() string {
	switch {
	case m.Goal == 0:
		return "-"
	case m.AtMost:
		return "≤" + m.text(m.Goal)
	}
	return "≥" + m.text(m.Goal)
}

// text is a value in the figure's unit.
func (m measured) text(value float64) string {
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
