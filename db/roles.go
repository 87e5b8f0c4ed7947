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
	err = d.inTurn(ctx, "set role", func(q *sqlcgen.Queries) error {
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
	return d.inTurn(ctx, "delete role", func(q *sqlcgen.Queries) error {
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
	return d.inTurn(ctx, "grant role", func(q *sqlcgen.Queries) error {
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
	return d.inTurn(ctx, "revoke role", func(q *sqlcgen.Queries) error {
		if _, err := q.UserByID(ctx, userID); err != nil {
			return translate("user by id", err)
		}
		return translate("revoke role", q.RevokeRole(ctx, sqlcgen.RevokeRoleParams{UserID: userID, RoleName: name, Event: eventJSON(e)}))
	})
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
	return d.inTurn(ctx, "delete user", func(q *sqlcgen.Queries) error {
		deleted, err := q.DeleteUser(ctx, sqlcgen.DeleteUserParams{ID: id, Event: eventJSON(e)})
		if err == nil && deleted == 0 {
			return fmt.Errorf("db: delete user: %w", auth.ErrUserNotFound)
		}
		return translate("delete user", err)
	})
}

// By implements auth.Store.
func (d *DB) By(actor auth.User) auth.Store {
	return &DB{pool: d.pool, queries: d.queries, actor: &actor}
}

// rightsLock is the advisory lock of whoever changes what users may do: "rights" in ASCII.
const rightsLock = 0x726967687473

// inTurn is inTransaction for changes of what users may do. They are made one after the other: of two that overlap, the
// one that takes an actor's rights could else be undone by the other one, which the actor has sent off in time. Each
// must take its turn before it locks anything else, so that no two wait for one another.
func (d *DB) inTurn(ctx context.Context, op string, do func(*sqlcgen.Queries) error) error {
	return d.inTransaction(ctx, op, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		if err := q.TakeTurn(ctx, rightsLock); err != nil {
			return translate("take turn", err)
		}
		if d.actor == nil {
			return do(q)
		}
		unchanged, err := q.IsUnchanged(ctx, sqlcgen.IsUnchangedParams{ID: d.actor.ID, TokenVersion: d.actor.TokenVersion})
		switch {
		case err != nil:
			return translate("is unchanged", err)
		case !unchanged:
			return fmt.Errorf("db: %s: %w: the actor has changed meanwhile", op, auth.ErrInvalidToken)
		}
		return do(q)
	})
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
