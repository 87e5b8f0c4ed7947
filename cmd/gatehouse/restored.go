package main

import (
	"context"
	"fmt"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
)

type restoredCommand struct {
	adminSettings `embed:""`
	confirmation  `embed:""`
}

// Run revokes what was issued before a restore, and in the time that it has lost.
func (c *restoredCommand) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := c.confirm(ctx, t, "Revoke every token, and end every session? Everybody has to log in again."); err != nil {
			return err
		}
		ended, err := admin.Sessions.Restored(ctx, by, time.Now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.out, "every token of before is revoked; sessions ended: %d\n", ended)
		return err
	})
}
