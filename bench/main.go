// Command bench answers, in one run, how fast the service is: each figure is a ratio against something measured next to
// it, so that it holds on a noisy machine too. It builds the service, runs it on a PostgreSQL of its own, sends requests
// to 127.0.0.1 only, and takes everything away again. It needs wrk, taskset and, for one row, haproxy.
//
//	go run ./bench                       how fast it is, in under 15 minutes
//	go run ./bench -only '*'             and what the rules cost, and what time gives away
//	go run ./bench -only me,flood        these rows; also -only 'verify*'
//	go run ./bench -short                everything small, to see that it works
//	go run ./bench -peers                other services too
//	go run ./bench -docs -only '*'       all of it, and its table into docs/performance.md
//	go run ./bench -from report.json     the report of an earlier run once more
//	go run ./bench -only me -profile p   where the time goes: go tool pprof -top p/replica-1.pprof
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	only    patterns
	rounds  int           // of each row; a round measures both sides
	measure time.Duration // of each side in a round
	trials  int           // of a row that times single events
	cost    int           // of bcrypt, in rows whose question is not how long it takes
	short   bool
	strict  bool
	out     string // folder of the report
	docs    bool
	from    string // an earlier report
	peers   bool
	gotrue  string // program
	profile string // folder
	// What the bench starts of itself.
	bare, serve string
}

// patterns are names of rows, as in path.Match.
type patterns []string

func (p *patterns) String() string { return strings.Join(*p, ",") }

func (p *patterns) Set(list string) error {
	for pattern := range strings.SplitSeq(list, ",") {
		if _, err := path.Match(pattern, ""); err != nil {
			return err
		}
		*p = append(*p, pattern)
	}
	return nil
}

func (p *patterns) match(name string) bool {
	for _, pattern := range *p {
		if ok, _ := path.Match(pattern, name); ok { // Set has looked at the pattern
			return true
		}
	}
	return len(*p) == 0
}

var (
	errFailed = errors.New("a row could not be measured")
	errMissed = errors.New("a goal was missed")
	errEnough = errors.New("all that was to be done is done") // ends a loop
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := parse(os.Args[1:])
	err := func() error {
		switch {
		case o.bare != "":
			return serveBare(ctx, o.bare)
		case o.serve != "":
			return serveProfiled(ctx, o.serve)
		}
		return run(ctx, o, newTerminal(os.Stdout))
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.Var(&o.only, "only", "run these rows `alone`, with commas between; * stands for any letters")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds of each row")
	flags.DurationVar(&o.measure, "measure", 3*time.Second, "how long each side is measured in a round")
	flags.IntVar(&o.trials, "trials", 200, "trials of a row that times single events")
	flags.IntVar(&o.cost, "cost", 6, "BCRYPT_COST of rows that log in very often, 4 or more")
	flags.BoolVar(&o.short, "short", false, "one short round of everything, with few users and no goals")
	flags.BoolVar(&o.strict, "strict", false, "exit with 1 when a goal was missed")
	flags.StringVar(&o.out, "out", "dist/bench", "`folder` for report.json and report.html")
	flags.BoolVar(&o.docs, "docs", false, "write the table and the plot of docs/performance.md")
	flags.StringVar(&o.from, "from", "", "measure nothing: take the figures from this report.json")
	flags.BoolVar(&o.peers, "peers", false, "compare with other services that this machine has")
	flags.StringVar(&o.gotrue, "gotrue", "", "`program` of GoTrue (supabase/auth), for -peers")
	flags.StringVar(&o.profile, "profile", "", "write profiles of the replicas' processor time to this `folder`; the figures are then off")
	flags.StringVar(&o.bare, "bare", "", "serve what the rows are compared with at this address (used by the bench itself)")
	flags.StringVar(&o.serve, "serve", "", "serve as a replica that writes its profile to this file (used by the bench itself)")
	_ = flags.Parse(args) // ExitOnError
	if o.short {
		o.rounds, o.measure, o.trials = 1, time.Second, 5
	}
	return o
}

func run(ctx context.Context, o options, t *terminal) error {
	r, err := obtain(ctx, o, t)
	if err != nil {
		return err
	}
	if err := r.write(o.out); err != nil {
		return err
	}
	t.say("\n%s and report.html beside it; %s.", path.Join(o.out, "report.json"), r.Took)
	if o.docs {
		if err := r.writeDocs("docs"); err != nil {
			return err
		}
	}
	switch failed, missed := r.verdict(); {
	case failed:
		return errFailed
	case missed && o.strict:
		return errMissed
	}
	return nil
}

// choose returns the rows that are asked for.
func choose(all []row, o options) ([]row, error) {
	var chosen []row
	for _, r := range all {
		if o.only.match(r.name) && (r.ask == nil || r.ask(o)) {
			chosen = append(chosen, r)
		}
	}
	for _, pattern := range o.only {
		one := patterns{pattern}
		if !slices.ContainsFunc(chosen, func(r row) bool { return one.match(r.name) }) {
			return nil, fmt.Errorf("there is no row %q, or it is for -peers", pattern)
		}
	}
	return chosen, nil
}

// obtain measures, or reads what was measured earlier.
func obtain(ctx context.Context, o options, t *terminal) (*report, error) {
	if o.from != "" {
		r, err := readReport(o.from)
		if err == nil {
			t.head(r)
			for _, done := range r.Rows {
				t.row(done)
			}
		}
		return r, err
	}
	return measure(ctx, o, t)
}

func measure(ctx context.Context, o options, t *terminal) (_ *report, err error) {
	chosen, err := choose(rows(), o)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s, err := newStage(ctx, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := s.useProfiles(o.profile); err != nil {
		return nil, err
	}
	r := &report{Began: began.UTC().Truncate(time.Second), Short: o.short, Rounds: o.rounds, Measure: o.measure.String()}
	if r.Machine, err = s.machine(ctx); err != nil {
		return nil, err
	}
	t.head(r)
	for _, one := range chosen {
		done := one.play(ctx, s, o)
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		t.row(done)
		r.Rows = append(r.Rows, done)
	}
	r.Plots, r.Took = s.plots(), time.Since(began).Round(time.Second).String()
	r.Machine.LoadAfter = loadAverage()
	return r, nil
}
