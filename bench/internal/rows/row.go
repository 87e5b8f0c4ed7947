package rows

import (
	"context"
	"math"

	"gatehouse.example/bench/internal/report"
)

// Row is one question. Its goal is the least ratio that is good enough; 0 is no goal.
type Row struct {
	name    string
	about   string // what is measured against what
	goal    float64
	measure func(context.Context, *Run, Options) (ratio float64, detail string, err error)
	once    bool // a round has many events in itself

	// Instead of goal and measure, in a row that measures several figures at once: their values are
	// in this order.
	figures    []report.Figure
	measureAll measureAll

	ask func(Options) bool // of a row that is only for those who ask for it
}

// Play runs the rounds of a row. One that fails is no reason not to play the next.
func (r Row) Play(ctx context.Context, s *Run, o Options) report.Outcome {
	figures, measure := r.parts()
	values, detail, err := r.rounds(ctx, s, o, len(figures), measure)
	done := report.Outcome{Row: r.name, About: r.about, Detail: detail}
	if err != nil {
		done.Error = err.Error()
	}
	for n, f := range figures {
		done.Figures = append(done.Figures, f.Judge(values[n], o.Short))
	}
	return done
}

type measureAll = func(context.Context, *Run, Options) (values []float64, detail string, err error)

func (r Row) rounds(ctx context.Context, s *Run, o Options, figures int, measure measureAll) (values [][]float64, detail string, err error) {
	values = make([][]float64, figures)
	rounds := o.Rounds
	if r.once {
		rounds = 1
	}
	for round := range rounds {
		s.Progress("%s: round %d of %d", r.name, round+1, rounds)
		if err := s.CutLogs(); err != nil {
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
func (r Row) parts() ([]report.Figure, measureAll) {
	if r.measureAll != nil {
		return r.figures, r.measureAll
	}
	return []report.Figure{{Goal: r.goal}}, func(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
		ratio, detail, err := r.measure(ctx, s, o)
		return []float64{ratio}, detail, err
	}
}
