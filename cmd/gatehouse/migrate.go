package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse.example/internal/config"
	"gatehouse.example/migrations"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" default:"withargs" help:"Apply the migrations that are missing. This is what gatehouse migrate does by default."`
	Status migrateStatus `cmd:"" help:"Show which migrations are applied."`
	DownTo migrateDownTo `cmd:"" help:"Undo every migration above a version. What their tables hold is lost."`
}

type migrateUp struct {
	config.Database `embed:""`
	JSON            bool   `help:"Print JSON, one line for each step."`
	ServiceRole     string `env:"SERVICE_ROLE" help:"Role of PostgreSQL as which the service connects. It must not be the one that migrates. It is given the rights that the service needs, and no others." placeholder:"ROLE"`
}

// Run applies what is missing.
func (c *migrateUp) Run(ctx context.Context, t terminal) error {
	return withMigrator(ctx, c.Database, func(m *migrations.Migrator) error {
		if c.ServiceRole != "" { // before anything is changed
			if err := m.CheckRole(ctx, c.ServiceRole); err != nil {
				return err
			}
		}
		steps, err := m.Up(ctx)
		if err = printSteps(t, c.JSON, "up", steps, err); err != nil || c.ServiceRole == "" {
			return err
		}
		if err := m.Grant(ctx, c.ServiceRole); err != nil {
			return err
		}
		return printDone(t, c.JSON, "rights given to the role", c.ServiceRole, grantLine{c.ServiceRole})
	})
}

type migrateDownTo struct {
	config.Database `embed:""`
	confirmation    `embed:""`
	Version         int64 `arg:"" help:"Version to go back to. 0 undoes all."`
	JSON            bool  `help:"Print JSON, one line for each step."`
}

// Run undoes every migration above a version.
func (c *migrateDownTo) Run(ctx context.Context, t terminal) error {
	if err := migrations.CheckVersion(c.Version); err != nil { // before the question
		return err
	}
	return withMigrator(ctx, c.Database, func(m *migrations.Migrator) error {
		question := fmt.Sprintf("Undo every migration above version %d, and delete what their tables hold?", c.Version)
		if err := c.confirm(ctx, t, question); err != nil {
			return err
		}
		steps, err := m.DownTo(ctx, c.Version)
		return printSteps(t, c.JSON, "down", steps, err)
	})
}

type migrateStatus struct {
	config.Database `embed:""`
	JSON            bool `help:"Print JSON, one line for each."`
}

type migrationLine struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"`
}

// Run shows what is applied.
func (c *migrateStatus) Run(ctx context.Context, t terminal) error {
	return withMigrator(ctx, c.Database, func(m *migrations.Migrator) error {
		status, err := m.Status(ctx)
		if err != nil {
			return err
		}
		line := func(s migrations.Status) migrationLine { return migrationLine(s) }
		return printLines(t, c.JSON, []string{"VERSION", "NAME", "APPLIED"}, status, line, func(l migrationLine) []string {
			return []string{fmt.Sprint(l.Version), l.Name, timeOr(l.AppliedAt, "no")}
		})
	})
}

func withMigrator(ctx context.Context, d config.Database, do func(*migrations.Migrator) error) error {
	url, err := d.URL()
	if err != nil {
		return err
	}
	m, err := migrations.Open(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(do(m), m.Close())
}

// stepLine is a migration that was applied or undone.
type stepLine struct {
	Direction  string `json:"direction"` // up or down
	Version    int64  `json:"version"`
	Name       string `json:"name"`
	DurationMS int64  `json:"duration_ms"`
}

// grantLine is a role of PostgreSQL that was given its rights.
type grantLine struct {
	ServiceRole string `json:"service_role"`
}

// printSteps prints what was done before an error too. With JSON, nothing to do is no line.
func printSteps(t terminal, asJSON bool, direction string, steps []migrations.Step, err error) error {
	for _, s := range steps {
		if !asJSON {
			fmt.Fprintf(t.out, "%s  %s  %v\n", direction, s.Name, s.Duration.Round(time.Millisecond))
		} else if failed := printJSON(t, stepLine{direction, s.Version, s.Name, s.Duration.Milliseconds()}); failed != nil {
			return errors.Join(err, failed)
		}
	}
	if err == nil && len(steps) == 0 && !asJSON {
		fmt.Fprintln(t.out, "nothing to do")
	}
	return err
}
