package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"gatehouse/internal/app"
)

type pepperCommand struct {
	List   pepperList   `cmd:"" help:"List the keys on record, with the number of stored passwords that need each."`
	Retire pepperRetire `cmd:"" help:"Take a key that no stored password needs off the record, so that PASSWORD_PEPPER may go without it."`
}

type pepperList struct {
	adminSettings `embed:""`
	JSON          bool `help:"Print JSON."`
}

type pepperLine struct {
	Key     string `json:"key"`
	Current bool   `json:"current"`
	Users   int64  `json:"users"`
}

// Run lists the keys on record.
func (c *pepperList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		users, err := admin.PasswordKeyUsers(ctx)
		if err != nil {
			return err
		}
		lines := []pepperLine{} // not nil, which would be null in JSON
		for _, id := range slices.Sorted(maps.Keys(users)) {
			lines = append(lines, pepperLine{id, id == admin.Ring.Current().ID, users[id]})
		}
		if c.JSON {
			return printJSON(t, lines)
		}
		rows := [][]string{{"KEY", "CURRENT", "PASSWORDS"}}
		for _, l := range lines {
			rows = append(rows, []string{l.Key, yesNo(l.Current), fmt.Sprint(l.Users)})
		}
		return printTable(t, rows)
	})
}

type pepperRetire struct {
	adminSettings `embed:""`
	Key           string `arg:"" help:"Id of the key, as pepper list shows it."`
}

// Run takes a key off the record.
func (c *pepperRetire) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.RetirePasswordKey(ctx, admin.Ring, c.Key); err != nil {
			return err
		}
		_, err := fmt.Fprintln(t.out, "retired", c.Key)
		return err
	})
}
