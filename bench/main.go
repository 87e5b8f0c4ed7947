// Command bench answers, in one run, how fast the service is: each figure is a ratio against
// something measured next to it, so that it holds on a noisy machine too. It builds the service,
// runs it on a PostgreSQL of its own, sends requests to 127.0.0.1 only, and takes everything away
// again. It needs wrk, taskset and, for one row, haproxy. It works in the repository's folder, of
// which all relative paths are.
//
//	make bench                                      how fast it is, in under 15 minutes
//	make bench ARGS="-only '*'"                     and what the rules cost, and what time gives away
//	make bench ARGS='-only me,flood'                these rows; also -only 'verify*', in quotes of its own
//	make bench ARGS=-short                          everything small, to see that it works
//	make bench ARGS=-peers                          other services too
//	make bench ARGS="-docs -only '*'"               all of it, and its table into docs/performance.md
//	make bench ARGS='-from dist/bench/report.json'  the report of an earlier run once more
//	make bench ARGS='-only me -profile dist/pgo'    where the time goes: go tool pprof -top dist/pgo/replica-1.pprof
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"syscall"
	"time"

	"gatehouse.example/bench/internal/baseline"
	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/bench/internal/report"
	"gatehouse.example/bench/internal/rows"
	"gatehouse.example/bench/internal/stage"
)

// settings of the command.
type settings struct {
	rows.Options
	strict  bool
	out     string // folder of the report
	docs    bool
	from    string // an earlier report
	profile string // folder
	// What the bench starts of itself.
	bare, serve string
}

var (
	errFailed = errors.New("a row could not be measured")
	errMissed = errors.New("a goal was missed")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := parse(os.Args[1:])
	err := func() error {
		switch {
		case o.bare != "":
			return baseline.Serve(ctx, o.bare)
		case o.serve != "":
			return serveProfiled(ctx, o.serve)
		}
		root, err := stage.Root(ctx)
		if err != nil {
			return err
		}
		if err := os.Chdir(root); err != nil {
			return err
		}
		return run(ctx, o, newTerminal(os.Stdout))
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o settings) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.Var(&o.Only, "only", "run these rows `alone`, with commas between; * stands for any letters")
	flags.IntVar(&o.Rounds, "rounds", 5, "rounds of each row")
	flags.DurationVar(&o.Measure, "measure", 3*time.Second, "how long each side is measured in a round")
	flags.IntVar(&o.Trials, "trials", 200, "trials of a row that times single events")
	flags.IntVar(&o.Cost, "cost", 6, "BCRYPT_COST of rows that log in very often, 4 or more")
	flags.BoolVar(&o.Short, "short", false, "one short round of everything, with few users and no goals")
	flags.BoolVar(&o.strict, "strict", false, "exit with 1 when a goal was missed")
	flags.StringVar(&o.out, "out", "dist/bench", "`folder` for report.json and report.html")
	flags.BoolVar(&o.docs, "docs", false, "write the table and the plot of docs/performance.md")
	flags.StringVar(&o.from, "from", "", "measure nothing: take the figures from this report.json")
	flags.BoolVar(&o.Peers, "peers", false, "compare with other services that this machine has")
	flags.StringVar(&o.Gotrue, "gotrue", "", "`program` of GoTrue (supabase/auth), for -peers")
	flags.StringVar(&o.profile, "profile", "", "write profiles of the replicas' processor time to this `folder`; the figures are then off")
	flags.StringVar(&o.bare, "bare", "", "serve what the rows are compared with at this address (used by the bench itself)")
	flags.StringVar(&o.serve, "serve", "", "serve as a replica that writes its profile to this file (used by the bench itself)")
	_ = flags.Parse(args) // ExitOnError
	if o.Short {
		o.Rounds, o.Measure, o.Trials = 1, time.Second, 5
	}
	return o
}

func run(ctx context.Context, o settings, t *terminal) error {
	r, err := obtain(ctx, o, t)
	if err != nil {
		return err
	}
	if err := r.Write(o.out); err != nil {
		return err
	}
	t.say("\n%s and report.html beside it; %s.", path.Join(o.out, "report.json"), r.Took)
	if o.docs {
		if err := r.WriteDocs("docs"); err != nil {
			return err
		}
	}
	switch failed, missed := r.Verdict(); {
	case failed:
		return errFailed
	case missed && o.strict:
		return errMissed
	}
	return nil
}

// obtain measures, or reads what was measured earlier.
func obtain(ctx context.Context, o settings, t *terminal) (*report.Report, error) {
	if o.from != "" {
		r, err := report.Read(o.from)
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

func measure(ctx context.Context, o settings, t *terminal) (_ *report.Report, err error) {
	chosen, err := rows.Choose(o.Options)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s, err := rows.Start(ctx, t.progress, o.profile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.End()) }()
	r := &report.Report{Began: began.UTC().Truncate(time.Second), Short: o.Short, Rounds: o.Rounds, Measure: o.Measure.String()}
	if r.Machine, err = s.Machine(ctx); err != nil {
		return nil, err
	}
	t.head(r)
	for _, one := range chosen {
		done := one.Play(ctx, s, o.Options)
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		t.row(done)
		r.Rows = append(r.Rows, done)
	}
	r.Plots, r.Took = s.Charts(), time.Since(began).Round(time.Second).String()
	r.Machine.LoadAfter = machine.LoadAverage()
	return r, nil
}
