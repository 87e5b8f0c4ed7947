package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
)

// RoleByName implements auth.Store.
func (d *DB) RoleByName(ctx context.Context, name string) (auth.Role, error) {
	row, err := d.queries.RoleByName(ctx, name)
	return role(row), translateRole("role by name", err)
}

// ListRoles implements auth.Store.
func (d *DB) ListRoles(ctx context.Context) ([]auth.Role, error) {
	rows, err := d.queries.ListRoles(ctx)
	roles := make([]auth.Role, len(rows))
	for n, row := range rows {
		roles[n] = role(sqlcgen.RoleByNameRow(row))
	}
	return roles, translate("list roles", err)
}

// SetRole implements auth.Store.
func (d *DB) SetRole(ctx context.Context, e auth.Event, name string, given []auth.Permission, when auth.Condition) (isNew bool, err error) {
	err = d.inTransaction(ctx, "set role", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		inserted, err := q.InsertRole(ctx, name)
		if err != nil {
			return translate("insert role", err)
		}
		isNew = inserted > 0
		version, err := q.LockRole(ctx, name)
		if err != nil {
			return translateRole("lock role", err)
		}
		if isNew {
			version = 0
		}
		if !when.Holds(version) {
			return fmt.Errorf("db: set role: %w", auth.ErrChanged)
		}
		words := make([]string, len(given))
		for n, p := range given {
			words[n] = string(p)
		}
		return translate("set role", q.SetRolePermissions(ctx, sqlcgen.SetRolePermissionsParams{Name: name, Permissions: words, Event: eventJSON(e)}))
	})
	return isNew, err
}

// DeleteRole implements auth.Store.
func (d *DB) DeleteRole(ctx context.Context, e auth.Event, name string, when auth.Condition) error {
	return d.inTransaction(ctx, "delete role", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		version, err := q.LockRole(ctx, name)
		if err != nil {
			return translateRole("lock role", err)
		}
		if !when.Holds(version) {
			return fmt.Errorf("db: delete role: %w", auth.ErrChanged)
		}
		return translate("delete role", q.DeleteRole(ctx, sqlcgen.DeleteRoleParams{Name: name, Event: eventJSON(e)}))
	})
}

// GrantRole implements auth.Store.
func (d *DB) GrantRole(ctx context.Context, e auth.Event, userID uuid.UUID, name string) error {
	return d.inTransaction(ctx, "grant role", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		// Who changes a role must see all who have it, to revoke their tokens. The built-in one does not change, and
		// its row is what those wait for who demote an admin.
		if name != auth.AdminRole {
			if _, err := q.ShareRole(ctx, name); err != nil {
				return translateRole("share role", err)
			}
		}
		if _, err := q.UserByID(ctx, userID); err != nil {
			return translate("user by id", err)
		}
		return translate("grant role", q.GrantRole(ctx, sqlcgen.GrantRoleParams{UserID: userID, RoleName: name, Event: eventJSON(e)}))
	})
}

// RevokeRole implements auth.Store.
func (d *DB) RevokeRole(ctx context.Context, e auth.Event, userID uuid.UUID, name string) error {
	if _, err := d.UserByID(ctx, userID); err != nil {
		return err
	}
	return translate("revoke role", d.queries.RevokeRole(ctx, sqlcgen.RevokeRoleParams{UserID: userID, RoleName: name, Event: eventJSON(e)}))
}

// FindUsers implements auth.Store.
func (d *DB) FindUsers(ctx context.Context, filter auth.UserFilter, after string, limit int) ([]auth.User, error) {
	before := filter.Prefix + "\U0010FFFF" // no character is after it, and no name may have it
	anyState := filter.Disabled == nil
	disabled := !anyState && *filter.Disabled
	switch {
	case filter.Role != "" && !disabled:
		rows, err := d.queries.FindUsersByRole(ctx, sqlcgen.FindUsersByRoleParams{
			Role: filter.Role, Enabled: !anyState, After: after, Prefix: filter.Prefix, Before: before, MaxRows: int32(limit),
		})
		return usersOf(rows), translate("find users by role", err)
	case !anyState:
		p := sqlcgen.FindUsersByStateParams{Role: filter.Role, After: after, Prefix: filter.Prefix, Before: before, MaxRows: int32(limit)}
		if disabled {
			p.Disabled = 1
		}
		rows, err := d.queries.FindUsersByState(ctx, p)
		return usersOf(rows), translate("find users by state", err)
	}
	rows, err := d.queries.FindUsers(ctx, sqlcgen.FindUsersParams{
		After: after, Prefix: filter.Prefix, Before: before, MaxRows: int32(limit),
	})
	return usersOf(rows), translate("find users", err)
}

// usersOf takes the rows of any query that reads what UserByID does.
func usersOf[R sqlcgen.FindUsersRow | sqlcgen.FindUsersByStateRow | sqlcgen.FindUsersByRoleRow](rows []R) []auth.User {
	users := make([]auth.User, len(rows))
	for n, row := range rows {
		users[n] = user(sqlcgen.UserByIDRow(row))
	}
	return users
}

// DeleteUser implements auth.Store.
func (d *DB) DeleteUser(ctx context.Context, e auth.Event, id uuid.UUID) error {
	deleted, err := d.queries.DeleteUser(ctx, sqlcgen.DeleteUserParams{ID: id, Event: eventJSON(e)})
	if err == nil && deleted == 0 {
		return fmt.Errorf("db: delete user: %w", auth.ErrUserNotFound)
	}
	return translate("delete user", err)
}

// inTransaction does something whose errors are translated already.
func (d *DB) inTransaction(ctx context.Context, op string, do func(pgx.Tx) error) error {
	var failed error
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		failed = do(tx)
		return failed
	})
	if failed != nil {
		return failed
	}
	return translate(op, err)
}

// translateRole is translate where no row means no role.
func translateRole(op string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("db: %s: %w", op, auth.ErrRoleNotFound)
	}
	return translate(op, err)
}

func role(row sqlcgen.RoleByNameRow) auth.Role {
	return auth.Role{
		Name: row.Name, Permissions: permissions(row.Permissions), Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
}

func permissions(words []string) []auth.Permission {
	all := make([]auth.Permission, len(words))
	for n, word := range words {
		all[n] = auth.Permission(word)
	}
	return all
}
