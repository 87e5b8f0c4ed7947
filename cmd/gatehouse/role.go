package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatehouse/internal/app"
	"gatehouse/internal/auth"
)

type roleCommand struct {
	List   roleList   `cmd:"" help:"List all roles."`
	Show   roleShow   `cmd:"" help:"Show a role."`
	Set    roleSet    `cmd:"" help:"Make a role, or replace its permissions."`
	Delete roleDelete `cmd:"" help:"Delete a role, also from whoever has it."`
}

// roleLine is a role as it is printed.
type roleLine struct {
	Name        string            `json:"name"`
	Permissions []auth.Permission `json:"permissions"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
}

func lineOfRole(r auth.Role) roleLine {
	return roleLine{r.Name, r.Permissions, r.CreatedAt, r.UpdatedAt}
}

func (l roleLine) words() string {
	words := make([]string, len(l.Permissions))
	for n, p := range l.Permissions {
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
		roles, err := admin.Roles(ctx)
		if err != nil {
			return err
		}
		return printLines(t, c.JSON, []string{"NAME", "PERMISSIONS"}, roles, lineOfRole, func(l roleLine) []string {
			return []string{l.Name, l.words()}
		})
	})
}

type roleShow struct {
	oneRole `embed:""`
}

// Run shows a role.
func (c *roleShow) Run(ctx context.Context, t terminal) error {
	return c.show(ctx, t, func(admin *app.Admin) (auth.Role, error) { return admin.Role(ctx, c.Name) })
}

type roleSet struct {
	oneRole     `embed:""`
	Permissions []auth.Permission `arg:"" optional:"" help:"All that the role permits: resource:action, or resource:*."`
}

// Run makes a role, or replaces its permissions.
func (c *roleSet) Run(ctx context.Context, t terminal) error {
	return c.show(ctx, t, func(admin *app.Admin) (auth.Role, error) {
		role, _, err := admin.SetRole(ctx, nil, c.Name, c.Permissions, auth.Condition{})
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
		l := lineOfRole(role)
		if c.JSON {
			return printJSON(t, l)
		}
		return printTable(t, [][]string{{"name", l.Name}, {"permissions", l.words()}, {"created", timeOr(&l.CreatedAt, "")}, {"updated", timeOr(&l.UpdatedAt, "")}})
	})
}

type roleDelete struct {
	adminSettings `embed:""`
	Name          string `arg:"" help:"Name of the role."`
}

// Run deletes a role.
func (c *roleDelete) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.DeleteRole(ctx, nil, c.Name, auth.Condition{}); err != nil {
			return err
		}
		_, err := fmt.Fprintln(t.out, "role deleted:", c.Name)
		return err
	})
}

type userRole struct {
	Add    userRoleAdd    `cmd:"" help:"Give an account a role, and revoke its access tokens: a refresh gives the new rights."`
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
		user, err := admin.User(ctx, c.Name)
		if err != nil {
			return auth.User{}, err
		}
		if err := do(admin, user); err != nil {
			return auth.User{}, err
		}
		return admin.UserByID(ctx, user.ID)
	})
}

type userRoleAdd struct {
	userAndRole `embed:""`
}

// Run gives an account a role.
func (c *userRoleAdd) Run(ctx context.Context, t terminal) error {
	return c.change(ctx, t, func(admin *app.Admin, u auth.User) error { return admin.GrantRole(ctx, nil, u.ID, c.Role) })
}

type userRoleRemove struct {
	userAndRole `embed:""`
}

// Run takes a role from an account.
func (c *userRoleRemove) Run(ctx context.Context, t terminal) error {
	return c.change(ctx, t, func(admin *app.Admin, u auth.User) error { return admin.RevokeRole(ctx, nil, u.ID, c.Role) })
}

type userDelete struct {
	adminSettings `embed:""`
	Name          string `arg:"" help:"Username."`
}

// Run deletes an account.
func (c *userDelete) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		user, err := admin.User(ctx, c.Name)
		if err != nil {
			return err
		}
		if err := admin.DeleteUser(ctx, nil, user.ID); err != nil {
			return err
		}
		_, err = fmt.Fprintln(t.out, "account deleted:", user.ID)
		return err
	})
}
