package rows

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Options are how the rows are run.
type Options struct {
	Only    patterns
	Rounds  int           // of each row; a round measures both sides
	Measure time.Duration // of each side in a round
	Trials  int           // of a row that times single events
	Cost    int           // of bcrypt, in rows whose question is not how long it takes
	Short   bool          // hardly anything of each row
	Peers   bool          // also compare with other services
	Gotrue  string        // program of GoTrue, one of them
}

// patterns are names of rows, as in path.Match; none is all of them.
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

// Choose returns the rows that are asked for.
func Choose(o Options) ([]Row, error) {
	var chosen []Row
	for _, r := range rows() {
		if o.Only.match(r.name) && (r.ask == nil || r.ask(o)) {
			chosen = append(chosen, r)
		}
	}
	for _, pattern := range o.Only {
		one := patterns{pattern}
		if !slices.ContainsFunc(chosen, func(r Row) bool { return one.match(r.name) }) {
			return nil, fmt.Errorf("there is no row %q, or it is for -peers", pattern)
		}
	}
	return chosen, nil
}
