package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
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
func (d *DB) SetRole(ctx context.Context, e auth.Event, rule auth.Rule, name string, to auth.RoleEdit, when auth.Condition) (isNew bool, err error) {
	err = d.inTurn(ctx, "set role", e.By, rule, target{role: name}, func(q *sqlcgen.Queries) error {
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
		var words []string
		if !to.KeepPermissions {
			words = wordsOf(to.Permissions)
		}
		return translate("set role", q.SetRole(ctx, sqlcgen.SetRoleParams{
			Name: name, Permissions: words, Factor: to.Factor, Event: eventJSON(e),
		}))
	})
	return isNew, err
}

// DeleteRole implements auth.Store.
func (d *DB) DeleteRole(ctx context.Context, e auth.Event, rule auth.Rule, name string, when auth.Condition) error {
	return d.inTurn(ctx, "delete role", e.By, rule, target{role: name}, func(q *sqlcgen.Queries) error {
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
func (d *DB) GrantRole(ctx context.Context, e auth.Event, rule auth.Rule, userID uuid.UUID, name string) error {
	return d.inTurn(ctx, "grant role", e.By, rule, target{userID: userID, role: name}, func(q *sqlcgen.Queries) error {
		// Who changes a role must see all who have it, to revoke their tokens. The rights of the
		// built-in one do not change, and its row is what those wait for who demote an admin.
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
func (d *DB) RevokeRole(ctx context.Context, e auth.Event, rule auth.Rule, userID uuid.UUID, name string) error {
	return d.inTurn(ctx, "revoke role", e.By, rule, target{userID: userID, role: name}, func(q *sqlcgen.Queries) error {
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
	case filter.Email != "":
		rows, err := d.queries.FindUsersByEmail(ctx, sqlcgen.FindUsersByEmailParams{
			EmailKey: filter.Email, Role: filter.Role, Disabled: filter.Disabled, After: after, Prefix: filter.Prefix, Before: before, MaxRows: int32(limit),
		})
		return users(rows), translate("find users by email", err)
	case filter.Role != "" && !disabled:
		rows, err := d.queries.FindUsersByRole(ctx, sqlcgen.FindUsersByRoleParams{
			Role: filter.Role, Enabled: !anyState, After: after, Prefix: filter.Prefix, Before: before, MaxRows: int32(limit),
		})
		return users(rows), translate("find users by role", err)
	case !anyState:
		p := sqlcgen.FindUsersByStateParams{Role: filter.Role, After: after, Prefix: filter.Prefix, Before: before, MaxRows: int32(limit)}
		if disabled {
			p.Disabled = 1
		}
		rows, err := d.queries.FindUsersByState(ctx, p)
		return users(rows), translate("find users by state", err)
	}
	rows, err := d.queries.FindUsers(ctx, sqlcgen.FindUsersParams{
		After: after, Prefix: filter.Prefix, Before: before, MaxRows: int32(limit),
	})
	return users(rows), translate("find users", err)
}

// DeleteUser implements auth.Store.
func (d *DB) DeleteUser(ctx context.Context, e auth.Event, rule auth.Rule, id uuid.UUID) error {
	return d.inTurn(ctx, "delete user", e.By, rule, target{userID: id}, func(q *sqlcgen.Queries) error {
		deleted, err := q.DeleteUser(ctx, sqlcgen.DeleteUserParams{ID: id, Event: eventJSON(e)})
		if err == nil && deleted == 0 {
			return fmt.Errorf("db: delete user: %w", auth.ErrUserNotFound)
		}
		return translate("delete user", err)
	})
}

// rightsLock is the advisory lock of whoever changes what users may do: "rights" in ASCII.
const rightsLock = 0x726967687473

// target is what a change is of: a user, by the id or by the username's key, or a client; a role;
// or both.
type target struct {
	userID   uuid.UUID
	userKey  string
	clientID string
	role     string
	// invited is the key of an address at which somebody is to be invited, with these roles.
	invited string
	roles   []string
}

// inTurn does what a rule has to allow (see auth.Rule). Changes of what users may do are made one
// after the other: of two that overlap, the one that takes an actor's rights could else be undone
// by the other one, which the actor has sent off in time. Each must take its turn before it locks
// anything else, so that no two wait for one another.
func (d *DB) inTurn(ctx context.Context, op string, by auth.Actor, rule auth.Rule, of target, do func(*sqlcgen.Queries) error) error {
	leave, err := d.turns.take(ctx, rightsRow())
	if err != nil {
		return translate(op, err)
	}
	defer leave()
	return d.inTransaction(ctx, op, func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		if err := q.TakeTurn(ctx, rightsLock); err != nil {
			return translate("take turn", err)
		}
		if err := allowed(ctx, q, op, by, rule, of); err != nil {
			return err
		}
		return do(q)
	})
}

// inTurnUnlessFree is inTurn of one statement, which needs no turn where the rule is free.
func (d *DB) inTurnUnlessFree(ctx context.Context, op string, by auth.Actor, rule auth.Rule, of target, do func(*sqlcgen.Queries) error) error {
	if rule.Free() {
		return do(d.queries)
	}
	return d.inTurn(ctx, op, by, rule, of, do)
}

// allowed checks that the actor has not changed, and asks the rule. It runs after the statement
// that takes the turn, so that it sees what earlier changes left.
func allowed(ctx context.Context, q *sqlcgen.Queries, op string, by auth.Actor, rule auth.Rule, of target) error {
	if rule.Free() {
		return nil
	}
	if err := isAsBefore(ctx, q, by); err != nil {
		return fmt.Errorf("db: %s: %w", op, err)
	}
	seen, err := look(ctx, q, of)
	if err != nil {
		return err
	}
	if err := rule.Judge(seen); err != nil {
		return fmt.Errorf("db: %s: %w", op, err)
	}
	return nil
}

// isAsBefore tells a user or a client that has changed since the actor was made of it. Nothing
// takes an operator's rights, and nobody else has any.
func isAsBefore(ctx context.Context, q *sqlcgen.Queries, by auth.Actor) error {
	switch by.Kind {
	case auth.ActorOperator:
		return nil
	case auth.ActorUser, auth.ActorClient:
		unchanged, err := q.IsUnchanged(ctx, sqlcgen.IsUnchangedParams{ID: by.ID, TokenVersion: by.Version})
		switch {
		case err != nil:
			return translate("is unchanged", err)
		case !unchanged:
			return fmt.Errorf("%w: the actor has changed meanwhile", auth.ErrInvalidToken)
		}
		return nil
	}
	return auth.ErrForbidden
}

// look reads what a change is of. What is not there is zero.
func look(ctx context.Context, q *sqlcgen.Queries, of target) (seen auth.Sight, err error) {
	switch {
	case of.userID != uuid.Nil:
		var row sqlcgen.Account
		if row, err = q.UserByID(ctx, of.userID); err == nil {
			seen.User = user(row)
		}
	case of.userKey != "":
		var row sqlcgen.Account
		if row, err = q.UserByKey(ctx, of.userKey); err == nil {
			seen.User = user(row)
		}
	case of.invited != "":
		var row sqlcgen.Account
		if row, err = q.InvitedUser(ctx, of.invited); err == nil {
			seen.User = user(row)
		}
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return auth.Sight{}, translate("look at a user", err)
	}
	if of.clientID != "" {
		row, err := q.ClientByID(ctx, of.clientID)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return auth.Sight{}, translate("look at a client", err)
		}
		seen.Client = client(row).Client
	}
	if of.role != "" {
		if seen.Role, err = lookAtRole(ctx, q, of.role); err != nil {
			return auth.Sight{}, err
		}
	}
	for _, name := range of.roles {
		given, err := lookAtRole(ctx, q, name)
		if err != nil {
			return auth.Sight{}, err
		}
		seen.Roles = append(seen.Roles, given)
	}
	return seen, nil
}

func lookAtRole(ctx context.Context, q *sqlcgen.Queries, name string) (auth.Role, error) {
	row, err := q.RoleByName(ctx, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return auth.Role{}, nil
	}
	return role(row), translate("look at a role", err)
}

// inTransaction does something whose errors are translated already. It does it again, from the
// beginning, where the audit log had no room for it: do starts anew each time.
func (d *DB) inTransaction(ctx context.Context, op string, do func(pgx.Tx) error) error {
	err := d.transaction(ctx, op, do)
	if !errors.Is(err, errNoRoom) {
		return err
	}
	if err := d.AddEventPartitions(ctx); err != nil {
		return err
	}
	return d.transaction(ctx, op, do)
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
		Name: row.Role.Name, Permissions: permissions(row.Permissions), Version: row.Role.Version,
		Factor: row.Role.Factor, CreatedAt: row.Role.CreatedAt, UpdatedAt: row.Role.UpdatedAt,
	}
}

// wordsOf is never nil.
func wordsOf(given []auth.Permission) []string {
	words := make([]string, len(given))
	for n, p := range given {
		words[n] = string(p)
	}
	return words
}

func permissions(words []string) []auth.Permission {
	all := make([]auth.Permission, len(words))
	for n, word := range words {
		all[n] = auth.Permission(word)
	}
	return all
}
