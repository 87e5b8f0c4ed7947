package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
)

type pepperCommand struct {
	List   pepperList   `cmd:"" help:"List the keys on record, and how many stored passwords need each."`
	Retire pepperRetire `cmd:"" help:"Take a key off the record that no stored password needs. Then PASSWORD_PEPPER need not have it any more."`
}

type pepperList struct {
	pepperSettings `embed:""`
	JSON           bool `help:"Print JSON, one line for each key."`
}

type pepperLine struct {
	Key     string `json:"key"`
	Current bool   `json:"current"`
	Users   int64  `json:"users"`
}

// Run lists the keys on record.
func (c *pepperList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		users, err := admin.Peppers.Users(ctx)
		if err != nil {
			return err
		}
		line := func(id string) pepperLine { return pepperLine{id, id == admin.Peppers.Current(), users[id]} }
		head := []string{"KEY", "CURRENT", "PASSWORDS"}
		return printLines(t, c.JSON, head, slices.Sorted(maps.Keys(users)), line, func(l pepperLine) []string {
			return []string{l.Key, yesNo(l.Current), fmt.Sprint(l.Users)}
		})
	})
}

type pepperRetire struct {
	pepperSettings `embed:""`
	confirmation   `embed:""`
	JSON           bool   `help:"Print JSON."`
	Key            string `arg:"" help:"Id of the key, as pepper list shows it."`
}

// Run takes a key off the record.
func (c *pepperRetire) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		sure := func() error {
			question := fmt.Sprintf("Retire the key %q? A replica that hashes with it could store no password any more.", c.Key)
			if err := c.confirm(ctx, t, question); err != nil {
				return fmt.Errorf("by this PASSWORD_PEPPER, a replica may hash with the key %q: %w", c.Key, err)
			}
			return nil
		}
		if err := admin.Peppers.Retire(ctx, by, c.Key, sure); err != nil {
			return err
		}
		return printDone(t, c.JSON, "key retired", c.Key, endedKeyLine{c.Key})
	})
}
