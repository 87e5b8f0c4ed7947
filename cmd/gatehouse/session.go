package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/app"
)

type userSessions struct {
	oneUser `embed:""`
}

// sessionLine is a session as it is printed.
type sessionLine struct {
	ID            uuid.UUID `json:"id"`
	CreatedAt     time.Time `json:"created_at"`
	LastUsedAt    time.Time `json:"last_used_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	ClientAddress string    `json:"client_address"`
	UserAgent     string    `json:"user_agent"`
}

// Run lists the live sessions of an account, the newest first.
func (c *userSessions) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		user, err := admin.User(ctx, c.Name)
		if err != nil {
			return err
		}
		lines := []sessionLine{} // not nil, which would be null in JSON
		for before := uuid.Max; ; before = lines[len(lines)-1].ID {
			page, err := admin.Sessions(ctx, user.ID, before, pageSize)
			if err != nil {
				return err
			}
			for _, s := range page {
				lines = append(lines, sessionLine{s.ID, s.CreatedAt, s.LastUsedAt, s.IdleExpiresAt, s.Client.Address, s.Client.UserAgent})
			}
			if len(page) < pageSize {
				break
			}
		}
		if c.JSON {
			return printJSON(t, lines)
		}
		rows := [][]string{{"ID", "CREATED", "LAST USED", "EXPIRES", "CLIENT", "USER AGENT"}}
		for _, l := range lines {
			rows = append(rows, []string{l.ID.String(), timeOr(&l.CreatedAt, ""), timeOr(&l.LastUsedAt, ""), timeOr(&l.ExpiresAt, ""),
				l.ClientAddress, strconv.Quote(l.UserAgent)})
		}
		return printTable(t, rows)
	})
}

type userLogout struct {
	adminSettings `embed:""`
	Name          string `arg:"" help:"Username."`
}

// Run ends all sessions of an account.
func (c *userLogout) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		ended, err := admin.EndSessionsOf(ctx, c.Name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(t.out, "sessions ended:", ended)
		return err
	})
}
