package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/doctor"
)

type doctorCommand struct {
	config.Serve `embed:""`
	Via          string `help:"URL at which clients reach the service through the proxy. Two requests are sent to it, to see what a replica believes of them." placeholder:"URL"`
	JSON         bool   `help:"Print JSON, one line for each check."`
}

var errUnwell = errors.New("something fails; the lines above that begin with fail say what to do")

// Run prints what it finds as soon as it does, and fails if something fails.
func (c *doctorCommand) Run(ctx context.Context, t terminal) error {
	examination := app.Examination{
		Options:     app.Options{Version: buildVersion(), Cores: runtime.GOMAXPROCS(0)},
		SecretFiles: config.SecretFiles(t.getenv),
		Via:         c.Via,
	}
	failed, err := app.Examine(ctx, c.Serve, examination, func(f doctor.Finding) error {
		if f.Err != nil {
			f.Found = explain(f.Err).Error()
		}
		f.Found = printable(f.Found)
		if c.JSON {
			return printJSON(t, f)
		}
		_, err := fmt.Fprintf(t.out, "%-4s  %-16s  %s\n", f.Status, f.Check, f.Text())
		return err
	})
	if err == nil && failed {
		err = errUnwell
	}
	return err
}
