// Command bench answers, in one run, how fast the service is: each row is a ratio against something measured next to
// it, so that it holds on a noisy machine too. It builds the service, runs it on a PostgreSQL of its own, and sends
// requests to 127.0.0.1 only. It needs wrk and, to keep generator and service on different processors, taskset.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// options of a run.
type options struct {
	only    string
	rounds  int           // of each row; a round measures both sides
	measure time.Duration // of each side in a round
	trials  int           // of a row that times single events
	cost    int           // of bcrypt, in rows whose question is not how long it takes
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	var bare string
	flag.StringVar(&o.only, "only", "", "run this row alone")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each row")
	flag.DurationVar(&o.measure, "measure", 5*time.Second, "how long each side is measured in a round")
	flag.IntVar(&o.trials, "trials", 200, "trials of a row that times single events")
	flag.IntVar(&o.cost, "cost", 6, "BCRYPT_COST of rows that log in very often, 4 or more")
	flag.StringVar(&bare, "bare", "", "serve the handler that does nothing at this address (used by the bench itself)")
	flag.Parse()
	err := func() error {
		if bare != "" {
			return serveBare(ctx, bare)
		}
		return run(ctx, o, os.Stdout)
	}()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	var chosen []row
	for _, r := range rows() {
		if o.only == "" || o.only == r.name {
			chosen = append(chosen, r)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no row %q", o.only)
	}
	s, err := newStage(ctx, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	fmt.Fprintf(out, "%s\n\n%-14s %6s  %6s %6s %6s  %s\n", s.machine(), "row", "goal", "median", "min", "max", "last round")
	for _, r := range chosen {
		if err := r.print(ctx, s, o, out); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// row is one question. Its goal is a least ratio; 0: only the figures are of interest.
type row struct {
	name    string
	goal    float64
	measure func(context.Context, *stage, options) (ratio float64, detail string, err error)
	once    bool // a round has many events in itself
}

func (r row) print(ctx context.Context, s *stage, o options, out io.Writer) error {
	var ratios []float64
	var detail string
	rounds := o.rounds
	if r.once {
		rounds = 1
	}
	for range rounds {
		ratio, text, err := r.measure(ctx, s, o)
		if err != nil {
			return err
		}
		ratios, detail = append(ratios, ratio), text
	}
	slices.Sort(ratios)
	goal, missed := "-", ""
	if r.goal > 0 {
		goal = fmt.Sprintf("%.2f", r.goal)
		if ratios[len(ratios)/2] < r.goal {
			missed = "  MISSED"
		}
	}
	_, err := fmt.Fprintf(out, "%-14s %6s  %6.2f %6.2f %6.2f  %s%s\n", r.name, goal,
		ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1], strings.TrimSpace(detail), missed)
	return err
}
