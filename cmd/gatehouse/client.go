package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatehouse/internal/app"
	"gatehouse/internal/auth"
)

type clientCommand struct {
	Add          clientAdd          `cmd:"" help:"Register a client, and print its secret, once."`
	List         clientList         `cmd:"" help:"List the clients. The first-party client, gatehouse, is built in and not among them."`
	Disable      clientDisable      `cmd:"" help:"Bar a client, and end its sessions."`
	Enable       clientEnable       `cmd:"" help:"Let a client get tokens again."`
	Grant        clientGrant        `cmd:"" help:"Give a client a role of its own, and revoke the tokens that it has for itself."`
	Revoke       clientRevoke       `cmd:"" help:"Take a role from a client, and revoke the tokens that it has for itself."`
	RotateSecret clientRotateSecret `cmd:"" help:"Print another secret of a client, once. The one before stays good until it is retired, or rotated away."`
}

// clientLine is a client as it is printed.
type clientLine struct {
	ClientID     string     `json:"client_id"`
	Name         string     `json:"name"`
	Confidential bool       `json:"confidential"`
	GrantTypes   []string   `json:"grant_types"`
	Scope        *string    `json:"scope"` // null: all that its users may
	Roles        []string   `json:"roles"` // of its own
	CreatedAt    time.Time  `json:"created_at"`
	DisabledAt   *time.Time `json:"disabled_at"`
	Secrets      int        `json:"secrets"` // that are good
}

func lineOfClient(c auth.OAuthClient) clientLine {
	l := clientLine{c.ID, c.Title, c.Confidential, append([]string{}, c.GrantTypes...), nil, append([]string{}, c.Roles...), c.CreatedAt, c.DisabledAt, 0}
	if c.Scope != "" {
		l.Scope = &c.Scope
	}
	if c.Confidential {
		l.Secrets++
	}
	if c.OldSecret {
		l.Secrets++
	}
	return l
}

func (l clientLine) kind() string {
	if l.Confidential {
		return "confidential"
	}
	return "public"
}

func (l clientLine) most() string {
	if l.Scope == nil {
		return "all"
	}
	return *l.Scope
}

type clientAdd struct {
	adminSettings `embed:""`
	ID            string   `arg:"" name:"client-id" help:"The client_id: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'."`
	Name          string   `required:"" help:"What people call it."`
	Public        bool     `help:"It has no secret: an app on its users' own devices."`
	Grant         []string `help:"A grant by which it gets tokens: password, refresh_token or, for itself, client_credentials; may be repeated. One without any only asks about tokens." placeholder:"GRANT"`
	Scope         []string `help:"A permission that its tokens may have, if their users have it; may be repeated. Without any: all that their users have." placeholder:"PERMISSION"`
	JSON          bool     `help:"Print JSON."`
}

// Run registers a client.
func (c *clientAdd) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		client, secret, err := admin.AddClient(ctx, auth.OAuthClient{
			ID: c.ID, Title: c.Name, Confidential: !c.Public, GrantTypes: c.Grant, Scope: strings.Join(c.Scope, " "),
		})
		if err != nil {
			return err
		}
		l := lineOfClient(client)
		if c.JSON {
			return printJSON(t, struct {
				clientLine
				Secret string `json:"client_secret,omitempty"`
			}{l, secret})
		}
		rows := [][]string{{"client", l.ClientID}, {"name", l.Name}, {"type", l.kind()}, {"grants", strings.Join(l.GrantTypes, " ")}, {"scope", l.most()}}
		if secret != "" {
			rows = append(rows, []string{"secret", secret})
		}
		return printTable(t, rows)
	})
}

type clientList struct {
	adminSettings `embed:""`
	JSON          bool `help:"Print JSON, one line for each client."`
}

// Run lists the clients.
func (c *clientList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		clients, err := admin.Clients(ctx)
		if err != nil {
			return err
		}
		head := []string{"CLIENT", "TYPE", "SECRETS", "GRANTS", "SCOPE", "ROLES", "DISABLED", "NAME"}
		return printLines(t, c.JSON, head, clients, lineOfClient, func(l clientLine) []string {
			return []string{
				l.ClientID, l.kind(), fmt.Sprint(l.Secrets), strings.Join(l.GrantTypes, " "), l.most(), strings.Join(l.Roles, " "),
				timeOr(l.DisabledAt, "no"), l.Name,
			}
		})
	})
}

// oneClient is a command on a client.
type oneClient struct {
	adminSettings `embed:""`
	ID            string `arg:"" name:"client-id" help:"The client_id."`
}

func (c oneClient) run(ctx context.Context, t terminal, done string, do func(*auth.Service, context.Context, string) error) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := do(admin.Service, ctx, c.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintf(t.out, "%s: %s\n", done, c.ID)
		return err
	})
}

type clientDisable struct {
	oneClient `embed:""`
}

// Run bars a client.
func (c *clientDisable) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, "client disabled", (*auth.Service).DisableClient)
}

type clientEnable struct {
	oneClient `embed:""`
}

// Run lets a client in again.
func (c *clientEnable) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, "client enabled", (*auth.Service).EnableClient)
}

// clientAndRole is a command on the role of a client.
type clientAndRole struct {
	oneClient `embed:""`
	Role      string `arg:"" help:"Name of the role."`
}

type clientGrant struct {
	clientAndRole `embed:""`
}

// Run gives a client a role.
func (c *clientGrant) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, "role granted to client", func(s *auth.Service, ctx context.Context, id string) error { return s.GrantClientRole(ctx, id, c.Role) })
}

type clientRevoke struct {
	clientAndRole `embed:""`
}

// Run takes a role from a client.
func (c *clientRevoke) Run(ctx context.Context, t terminal) error {
	return c.run(ctx, t, "role taken from client", func(s *auth.Service, ctx context.Context, id string) error {
		return s.RevokeClientRole(ctx, id, c.Role)
	})
}

type clientRotateSecret struct {
	oneClient `embed:""`
	RetireOld bool `help:"End the secret before the current one, and make no other."`
}

// Run gives a client another secret, or takes the one before.
func (c *clientRotateSecret) Run(ctx context.Context, t terminal) error {
	if c.RetireOld {
		return c.run(ctx, t, "old secret retired", (*auth.Service).RetireClientSecret)
	}
	return c.with(ctx, func(admin *app.Admin) error {
		secret, err := admin.RotateClientSecret(ctx, c.ID)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(t.out, secret)
		return err
	})
}
