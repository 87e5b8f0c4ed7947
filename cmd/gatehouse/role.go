package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/wire"
)

type roleCommand struct {
	List   roleList   `cmd:"" help:"List all roles."`
	Show   roleShow   `cmd:"" help:"Show a role."`
	Set    roleSet    `cmd:"" help:"Make a role, or replace its permissions. Or say whether it demands a second factor."`
	Delete roleDelete `cmd:"" help:"Delete a role, and take it from whoever has it."`
}

func words(permissions []auth.Permission) string {
	words := make([]string, len(permissions))
	for n, p := range permissions {
		words[n] = string(p)
	}
	return strings.Join(words, " ")
}

type roleList struct {
	adminSettings `embed:""`
	JSON          bool `help:"Print JSON, one line for each role."`
}

// Run lists all roles.
func (c *roleList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		roles, err := admin.Roles.List(ctx)
		if err != nil {
			return err
		}
		return printLines(t, c.JSON, []string{"NAME", "FACTOR", "PERMISSIONS"}, roles, wire.RoleOf, func(l wire.Role) []string {
			return []string{l.Name, yesNo(l.Factor), words(l.Permissions)}
		})
	})
}

type roleShow struct {
	oneRole `embed:""`
}

// Run shows a role.
func (c *roleShow) Run(ctx context.Context, t terminal) error {
	return c.show(ctx, t, func(admin *app.Admin) (auth.Role, error) { return admin.Roles.Find(ctx, c.Name) })
}

type roleSet struct {
	oneRole     `embed:""`
	Factor      *bool             `negatable:"" help:"Whoever has the role must have a second factor. Without permissions, the role keeps those that it has. With --no-factor, the role does not ask for one."`
	Permissions []auth.Permission `arg:"" optional:"" help:"All permissions of the role. Each is resource:action, resource:* or one word."`
}

// Run makes a role, or changes it.
func (c *roleSet) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.show(ctx, t, func(admin *app.Admin) (auth.Role, error) {
		role, _, err := admin.Roles.Set(ctx, by, c.Name, auth.RoleEdit{
			Permissions: c.Permissions, Factor: c.Factor,
			KeepPermissions: c.Factor != nil && len(c.Permissions) == 0,
		}, auth.Condition{})
		return role, err
	})
}

// oneRole is a command on a role.
type oneRole struct {
	adminSettings `embed:""`
	Name          string `arg:"" help:"Name of the role."`
	JSON          bool   `help:"Print JSON."`
}

func (c oneRole) show(ctx context.Context, t terminal, do func(*app.Admin) (auth.Role, error)) error {
	return c.with(ctx, func(admin *app.Admin) error {
		role, err := do(admin)
		if err != nil {
			return err
		}
		l := wire.RoleOf(role)
		if c.JSON {
			return printJSON(t, l)
		}
		return printTable(t, [][]string{{"name", l.Name}, {"permissions", words(l.Permissions)}, {"factor", yesNo(l.Factor)}, {"created", timeOr(&l.CreatedAt, "")}, {"updated", timeOr(&l.UpdatedAt, "")}})
	})
}

type roleDelete struct {
	oneRole `embed:""`
}

// Run deletes a role.
func (c *roleDelete) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.Roles.Delete(ctx, by, c.Name, auth.Condition{}); err != nil {
			return err
		}
		return printDone(t, c.JSON, "role deleted", c.Name, nameLine{c.Name})
	})
}

// nameLine names a role that is gone.
type nameLine struct {
	Name string `json:"name"`
}

type userRole struct {
	Add    userRoleAdd    `cmd:"" help:"Give an account a role, and revoke its access tokens. A refresh gives the new rights."`
	Remove userRoleRemove `cmd:"" help:"Take a role from an account, and revoke its access tokens."`
}

// userAndRole is a command on the role of a user.
type userAndRole struct {
	adminSettings `embed:""`
	Name          string `arg:"" help:"Username."`
	Role          string `arg:"" help:"Name of the role."`
	JSON          bool   `help:"Print JSON."`
}

func (c userAndRole) change(ctx context.Context, t terminal, do func(*app.Admin, auth.User) error) error {
	return c.showUser(ctx, t, c.JSON, func(admin *app.Admin) (auth.User, error) {
		user, err := admin.Accounts.Find(ctx, auth.ByName(c.Name))
		if err != nil {
			return auth.User{}, err
		}
		if err := do(admin, user); err != nil {
			return auth.User{}, err
		}
		return admin.Accounts.Find(ctx, auth.ByID(user.ID))
	})
}

type userRoleAdd struct {
	userAndRole `embed:""`
}

// Run gives an account a role.
func (c *userRoleAdd) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.change(ctx, t, func(admin *app.Admin, u auth.User) error { return admin.Roles.Grant(ctx, by, u.ID, c.Role) })
}

type userRoleRemove struct {
	userAndRole `embed:""`
}

// Run takes a role from an account.
func (c *userRoleRemove) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.change(ctx, t, func(admin *app.Admin, u auth.User) error { return admin.Roles.Revoke(ctx, by, u.ID, c.Role) })
}

type userDelete struct {
	oneUser       `embed:""`
	config.Teller `embed:""`
	confirmation  `embed:""`
}

// Run deletes an account.
func (c *userDelete) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		user, err := admin.Accounts.Find(ctx, auth.ByName(c.Name))
		if err != nil {
			return err
		}
		question := fmt.Sprintf("Delete the account %q for good? Nobody gets its name again.", user.Username.Given)
		if err := c.confirm(ctx, t, question); err != nil {
			return err
		}
		if err := admin.TellOwners(ctx, c.Teller); err != nil {
			return err
		}
		if err := admin.Accounts.Delete(ctx, by, user.ID); err != nil {
			return err
		}
		return printDone(t, c.JSON, "account deleted", user.ID, idLine{user.ID})
	})
}

// idLine names an account that is gone.
type idLine struct {
	ID uuid.UUID `json:"id"`
}
