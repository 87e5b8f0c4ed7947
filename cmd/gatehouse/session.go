package main

import (
	"context"
	"strconv"

	"github.com/google/uuid"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/wire"
)

type userSessions struct {
	oneUser `embed:""`
}

// Run lists the live sessions of an account, the newest first.
func (c *userSessions) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		user, err := admin.Accounts.Find(ctx, auth.ByName(c.Name))
		if err != nil {
			return err
		}
		var all []auth.Session
		for before := uuid.Max; ; {
			page, err := auth.ReadPage(pageSize, func(limit int) ([]auth.Session, error) {
				return admin.Sessions.List(ctx, auth.Reach{UserID: user.ID, AllClients: true}, before, limit)
			})
			if err != nil {
				return err
			}
			all = append(all, page.Items...)
			last := page.Last()
			if last == nil {
				break
			}
			before = last.ID
		}
		head := []string{
			"ID", "CREATED", "LAST USED", "EXPIRES", "CLIENT", "USER AGENT", "APP", "THROUGH",
		}
		return printLines(t, c.JSON, head, all, wire.SessionOf, func(l wire.Session) []string {
			return []string{l.ID.String(), timeOr(&l.CreatedAt, ""), timeOr(&l.LastUsedAt, ""), timeOr(&l.ExpiresAt, ""),
				l.ClientAddress, strconv.Quote(l.UserAgent), appOf(l), idOr(l.Parent, "-")}
		})
	})
}

// appOf says what logged in: an app, a browser, or a program of the client that is built in.
func appOf(l wire.Session) string {
	switch {
	case l.Browser:
		return "(browser)"
	case l.Client == nil:
		return "-"
	}
	return l.Client.ID
}

func idOr(id *uuid.UUID, none string) string {
	if id == nil {
		return none
	}
	return id.String()
}

type userLogout struct {
	oneUser `embed:""`
}

// endedLine is how many sessions were ended.
type endedLine struct {
	SessionsEnded int64 `json:"sessions_ended"`
}

// Run ends all sessions of an account.
func (c *userLogout) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		ended, err := admin.Sessions.EndAllOf(ctx, by, auth.ByName(c.Name))
		if err != nil {
			return err
		}
		return printDone(t, c.JSON, "sessions ended", ended, endedLine{ended})
	})
}
