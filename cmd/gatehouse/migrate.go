package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/config"
	"gatehouse/migrations"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" default:"withargs" help:"Apply what is missing (the default)."`
	Status migrateStatus `cmd:"" help:"Show what is applied."`
	DownTo migrateDownTo `cmd:"" help:"Undo every migration above a version, and with it what their tables hold."`
}

type migrateUp struct {
	config.Database `embed:""`
	ServiceRole     string `env:"SERVICE_ROLE" help:"Role of PostgreSQL, other than the one that migrates, as which the service will connect: it is given the rights that it needs and no others." placeholder:"ROLE"`
}

// Run applies what is missing.
func (c *migrateUp) Run(ctx context.Context, t terminal) error {
	return withMigrator(ctx, c.Database, func(m *migrations.Migrator) error {
		steps, err := m.Up(ctx)
		if err = printSteps(t, "up", steps, err); err != nil || c.ServiceRole == "" {
			return err
		}
		if err := m.Grant(ctx, c.ServiceRole); err != nil {
			return err
		}
		_, err = fmt.Fprintln(t.out, "rights given to the role", c.ServiceRole)
		return err
	})
}

type migrateDownTo struct {
	config.Database `embed:""`
	Version         int64 `arg:"" help:"The version to go back to; 0 undoes all."`
}

// Run undoes every migration above a version.
func (c *migrateDownTo) Run(ctx context.Context, t terminal) error {
	return withMigrator(ctx, c.Database, func(m *migrations.Migrator) error {
		steps, err := m.DownTo(ctx, c.Version)
		return printSteps(t, "down", steps, err)
	})
}

type migrateStatus struct {
	config.Database `embed:""`
	JSON            bool `help:"Print JSON."`
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
		lines := make([]migrationLine, len(status))
		for n, s := range status {
			lines[n] = migrationLine(s)
		}
		if c.JSON {
			return printJSON(t, lines)
		}
		rows := [][]string{{"VERSION", "NAME", "APPLIED"}}
		for _, l := range lines {
			rows = append(rows, []string{fmt.Sprint(l.Version), l.Name, timeOr(l.AppliedAt, "no")})
		}
		return printTable(t, rows)
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

func printSteps(t terminal, direction string, steps []migrations.Step, err error) error {
	for _, s := range steps {
		fmt.Fprintf(t.out, "%s  %s  %v\n", direction, s.Name, s.Duration.Round(time.Millisecond))
	}
	if err == nil && len(steps) == 0 {
		fmt.Fprintln(t.out, "nothing to do")
	}
	return err
}
