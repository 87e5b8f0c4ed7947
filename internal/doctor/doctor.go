// Package doctor owns what an operator is told of an installation: what a finding is, how a list of
// checks is gone through, and the judgements, which turn facts into findings. It gathers no facts
// itself. The start of a replica goes through the same checks as `gatehouse doctor`, as far as it
// needs what they look at.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Status is how bad a finding is.
type Status string

// Statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, and something should be done all the same
	Fail Status = "fail"
	Skip Status = "skip" // it could not be looked at, since a check before it has failed
)

// Finding is what was found at one check. It has no secret.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Next   string `json:"next,omitempty"` // what to do
	Err    error  `json:"-"`              // of a Fail; nil: what was found says it all
}

// Good is a finding of nothing that is wrong.
func Good(format string, args ...any) Finding {
	return Finding{Status: OK, Found: fmt.Sprintf(format, args...)}
}

// Warned is a finding of something that should be done.
func Warned(found, next string) Finding { return Finding{Status: Warn, Found: found, Next: next} }

// Failed is a finding of something that does not work.
func Failed(found, next string) Finding { return Finding{Status: Fail, Found: found, Next: next} }

// Broken is a finding of an error.
func Broken(err error, next string) Finding {
	return Finding{Status: Fail, Found: err.Error(), Next: next, Err: err}
}

// Unless is a Good finding, or Broken if there is an error.
func Unless(err error, next, good string) Finding {
	if err != nil {
		return Broken(err, next)
	}
	return Good("%s", good)
}

// Text is what was found, and what to do.
func (f Finding) Text() string {
	if f.Next == "" {
		return f.Found
	}
	return f.Found + ": " + f.Next
}

// Check is something to look at.
type Check struct {
	Name  string
	Needs string // the check that must not have failed; "" for none
	Look  func(context.Context) Finding
}

// limit is how long one check may take.
const limit = 10 * time.Second

func (c Check) look(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f := c.Look(ctx)
	f.Check = c.Name
	return f
}

// Run goes through all checks, and tells each finding. A check whose need has failed, or was not
// looked at, is skipped.
func Run(ctx context.Context, checks []Check, tell func(Finding) error) (failed bool, err error) {
	missing := map[string]bool{}
	for _, c := range checks {
		f := Finding{Check: c.Name, Status: Skip, Found: "not looked at, since this needs: " + c.Needs}
		if !missing[c.Needs] {
			f = c.look(ctx)
		}
		if ctx.Err() != nil {
			return failed, ctx.Err()
		}
		if f.Status == Fail || f.Status == Skip {
			missing[c.Name], failed = true, true
		}
		if err := tell(f); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// Require goes through checks until one fails, and returns its error. Else it returns the warnings.
func Require(ctx context.Context, checks []Check) (warnings []Finding, err error) {
	for _, c := range checks {
		switch f := c.look(ctx); {
		case f.Status == Fail && f.Err == nil:
			return nil, errors.New(f.Text())
		case f.Status == Fail:
			return nil, f.Err
		case f.Status == Warn:
			warnings = append(warnings, f)
		}
	}
	return warnings, nil
}
