package auth

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// AdminRole is built in. It has all of Gatehouse's permissions. It can neither be deleted nor have
// others.
const AdminRole = "admin"

// Permission is resource:action, or a single word. The action * stands for all actions of the
// resource. No * stands for a single word.
type Permission string

// Permissions that Gatehouse's own routes ask for.
const (
	ReadUsers    Permission = "gatehouse:users.read"
	WriteUsers   Permission = "gatehouse:users.write"
	ReadSessions Permission = "gatehouse:sessions.read"
	EndSessions  Permission = "gatehouse:sessions.end"
	ReadRoles    Permission = "gatehouse:roles.read"
	WriteRoles   Permission = "gatehouse:roles.write"
	GrantRoles   Permission = "gatehouse:roles.grant"
	ReadClients  Permission = "gatehouse:clients.read"
	WriteClients Permission = "gatehouse:clients.write"
	ReadAudit    Permission = "gatehouse:audit.read"
	everything   Permission = "gatehouse:*"
)

// Role is a named set of permissions.
type Role struct {
	Name        string
	Permissions []Permission
	Factor      bool  // whoever has the role must have a second factor
	Version     int64 // rises with each change
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

const (
	maxRolePermissions = 100
	roleForm           = `^[a-z][a-z0-9_-]{0,31}$`
	permissionForm     = `^[a-z][a-z0-9_.-]{0,31}(:([a-z][a-z0-9_.-]{0,31}|\*))?$`
	permissionHelp     = "resource:action, resource:* or one word other than gatehouse and the scopes " +
		"of OpenID Connect, in small letters"
	// not allowed as a word: it could be taken for all of Gatehouse's permissions
	ownResource = "gatehouse"
)

var (
	roleNames   = regexp.MustCompile(roleForm)
	permissions = regexp.MustCompile(permissionForm)
)

func isPermission(word string) bool {
	return permissions.MatchString(word) && word != ownResource &&
		!slices.Contains(OpenIDScopes(), word)
}

// isOwn reports whether a permission is one of Gatehouse's.
func isOwn(permission string) bool { return strings.HasPrefix(permission, ownResource+":") }

// checkRole returns the permissions in order, each once. Errors: [InputError].
func checkRole(name string, given []Permission) ([]Permission, error) {
	var wrong InputError
	if !roleNames.MatchString(name) {
		wrong = append(
			wrong, FieldError{"name", "must be 1 to 32 of a-z, 0-9, _ and -, the first a letter"},
		)
	}
	if len(given) > maxRolePermissions {
		wrong = append(
			wrong, FieldError{"permissions", fmt.Sprintf("must be at most %d", maxRolePermissions)},
		)
	}
	for n, p := range given {
		if !isPermission(string(p)) {
			wrong = append(
				wrong, FieldError{fmt.Sprintf("permissions/%d", n), "must be " + permissionHelp},
			)
			break // one message is enough to explain it
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	sorted := slices.Clone(given)
	slices.Sort(sorted)
	return slices.Compact(sorted), nil
}

// scopeOf returns permissions as the scope of a token (RFC 6749 §3.3).
func scopeOf(held []Permission) string {
	words := make([]string, len(held))
	for n, p := range held {
		words[n] = string(p)
	}
	return strings.Join(words, " ")
}

// maxRights is in bytes. The trigger function bound_rights holds the same bound in the database,
// and has the last word.
const maxRights = 2048

// fitIntoToken reports whether a token can hold these roles and permissions. Each must be given
// once.
func fitIntoToken(roles []string, permissions []Permission) bool {
	return len(strings.Join(roles, `","`))+len(scopeOf(permissions)) <= maxRights
}

// narrowed returns the scope of a token for a user. With a requested scope, it is the part of it
// that the user has now. Without, it is all that the user has.
func narrowed(user User, requested string) string {
	held := scopeOf(user.Permissions)
	if requested == "" {
		return held
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(requested), func(p string) bool {
		return !token.ScopeHas(held, p)
	}), " ")
}

// checkScope returns a requested scope in its canonical form. Errors: [ErrInvalidScope] if it asks
// for more than is held.
func checkScope(held, requested string) (string, error) {
	words := strings.Split(requested, " ")
	for _, word := range words {
		if !isPermission(word) || !token.ScopeHas(held, word) {
			return "", ErrInvalidScope
		}
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " "), nil
}

// changes reports whether the permission allows more than reading.
func (p Permission) changes() bool { return !strings.HasSuffix(string(p), ".read") }

// Condition says how a role must be for a change to be made. The zero Condition asks for nothing.
type Condition struct {
	Version int64 // no version comes twice, not even when a role is deleted and made again
	Absent  bool  // the role must not exist
}

// Holds reports whether a role of this version may be changed. The version of a role that does not
// exist is 0.
func (c Condition) Holds(version int64) bool {
	if c.Absent {
		return version == 0
	}
	return c.Version == 0 || version == c.Version
}

// RoleEdit is what a role is set to. The zero RoleEdit leaves it without permissions.
type RoleEdit struct {
	Permissions     []Permission
	KeepPermissions bool  // they stay as they are
	Factor          *bool // whether whoever has the role must have a second factor; nil: as it is
}

// RoleStore stores the roles, and who has which. Changes that take a Rule are made one after the
// other (see [Rule]).
type RoleStore interface {
	// RoleByName finds a role. Errors: [ErrRoleNotFound].
	RoleByName(ctx context.Context, name string) (Role, error)
	// ListRoles returns all roles by name.
	ListRoles(ctx context.Context) ([]Role, error)
	// SetRole stores a role as the edit says if the condition holds, and reports whether it is new.
	// If the role was another one before, it raises the version of the role and the token versions
	// of everybody who has it. Errors: [ErrChanged], [ErrRoleBuiltIn], [ErrTooManyRights].
	SetRole(
		ctx context.Context, e Event, rule Rule, name string, to RoleEdit, when Condition,
	) (isNew bool, err error)
	// DeleteRole removes a role, takes it from all users, and raises their token versions. Errors:
	// [ErrRoleNotFound], [ErrChanged], [ErrRoleBuiltIn], [ErrRoleDemanded].
	DeleteRole(ctx context.Context, e Event, rule Rule, name string, when Condition) error
	// GrantRole gives a user a role and raises the token version. It changes nothing if the user
	// has the role already. Errors: [ErrUserNotFound], [ErrRoleNotFound], [ErrTooManyRights].
	GrantRole(ctx context.Context, e Event, rule Rule, userID uuid.UUID, role string) error
	// RevokeRole takes a role from a user and raises the token version. It changes nothing if the
	// user does not have the role. Errors: [ErrUserNotFound], [ErrLastAdmin].
	RevokeRole(ctx context.Context, e Event, rule Rule, userID uuid.UUID, role string) error
}

// Roles changes the roles, and who has which. A trigger of the database keeps the last enabled
// admin. CONTRIBUTING.md names it.
type Roles struct {
	store RoleStore
	audit *Audit
}

// NewRoles makes Roles.
func NewRoles(store RoleStore, audit *Audit) *Roles { return &Roles{store, audit} }

// Find finds a role. Errors: [ErrRoleNotFound].
func (r *Roles) Find(ctx context.Context, name string) (Role, error) {
	if !roleNames.MatchString(name) { // it may not even be text
		return Role{}, ErrRoleNotFound
	}
	return r.store.RoleByName(ctx, name)
}

// List returns all roles by name.
func (r *Roles) List(ctx context.Context) ([]Role, error) { return r.store.ListRoles(ctx) }

// Set makes a role, or changes an existing one and revokes the access tokens of everybody who has
// it. It reports whether the role is new. Errors: [InputError], [ErrRoleBuiltIn],
// [ErrBeyondRights], [ErrTooManyRights], [ErrChanged].
func (r *Roles) Set(
	ctx context.Context, by Actor, name string, to RoleEdit, when Condition,
) (role Role, isNew bool, err error) {
	if to.Permissions, err = checkRole(name, to.Permissions); err != nil {
		return Role{}, false, err
	}
	e := newEvent(ctx, by, ActionSetRole, uuid.Nil, name)
	defer r.audit.told(ctx, &e, &err)
	isNew, err = r.store.SetRole(ctx, e, maySetRole(by, to.Permissions), name, to, when)
	if err != nil {
		return Role{}, false, err
	}
	role, err = r.store.RoleByName(ctx, name)
	return role, isNew, err
}

// Delete deletes a role. It takes the role from everybody who has it, and revokes their access
// tokens. Errors: [ErrRoleNotFound], [ErrRoleBuiltIn], [ErrRoleDemanded], [ErrBeyondRights],
// [ErrChanged].
func (r *Roles) Delete(ctx context.Context, by Actor, name string, when Condition) (err error) {
	e := newEvent(ctx, by, ActionDeleteRole, uuid.Nil, name)
	defer r.audit.told(ctx, &e, &err)
	if !roleNames.MatchString(name) { // it may not even be text
		return ErrRoleNotFound
	}
	return r.store.DeleteRole(ctx, e, mayGiveRole(by), name, when)
}

// Grant gives a user a role and revokes the user's access tokens. Sessions go on: a refresh gives a
// token with the new rights. To grant a role again is no error. Errors: [ErrUserNotFound],
// [ErrRoleNotFound], [ErrBeyondRights], [ErrTooManyRights].
func (r *Roles) Grant(ctx context.Context, by Actor, userID uuid.UUID, name string) (err error) {
	e := newEvent(ctx, by, ActionGrantRole, userID, name)
	defer r.audit.told(ctx, &e, &err)
	if !roleNames.MatchString(name) {
		return ErrRoleNotFound
	}
	return r.store.GrantRole(ctx, e, mayGiveRole(by), userID, name)
}

// Revoke undoes Grant. Errors: [ErrUserNotFound], [ErrRoleNotFound], [ErrBeyondRights],
// [ErrLastAdmin].
func (r *Roles) Revoke(ctx context.Context, by Actor, userID uuid.UUID, name string) (err error) {
	e := newEvent(ctx, by, ActionRevokeRole, userID, name)
	defer r.audit.told(ctx, &e, &err)
	if !roleNames.MatchString(name) {
		return ErrRoleNotFound
	}
	return r.store.RevokeRole(ctx, e, mayGiveRole(by), userID, name)
}

// mayGiveRole is the rule for giving, taking and deleting a role. Errors: [ErrRoleNotFound],
// [ErrBeyondRights].
func mayGiveRole(by Actor) Rule {
	return Judged(func(seen Sight) error {
		if seen.Role.Name == "" {
			return ErrRoleNotFound
		}
		return mayHandOut(by, seen.Role, seen.Role.Permissions)
	})
}

// maySetRole is the rule for making a role, and for changing one, which is to have these
// permissions too. Errors: [ErrBeyondRights].
func maySetRole(by Actor, given []Permission) Rule {
	return Judged(func(seen Sight) error {
		return mayHandOut(by, seen.Role, slices.Concat(seen.Role.Permissions, given))
	})
}

// mayHandOut keeps those who may hand out rights from giving themselves more. An actor without all
// of Gatehouse's permissions may give, take and change only what the actor has. This holds for
// permissions and for roles. A role is a right in itself, even one without permissions, since
// proxies and services let in whoever has it. So such an actor cannot make a role either: nobody
// has it yet.
//
// Actors with all of Gatehouse's permissions may also hand out rights of other services that they
// do not have.
func mayHandOut(by Actor, role Role, given []Permission) error {
	if by.May(everything) {
		return nil
	}
	if role.Name == "" || !by.has(role.Name) {
		return fmt.Errorf("%w: the role", ErrBeyondRights)
	}
	return mayGive(by, given)
}

// mayGive lets an actor give permissions who has all of them, or who has all of Gatehouse's
// permissions.
func mayGive(by Actor, given []Permission) error {
	if by.May(everything) {
		return nil
	}
	for _, p := range given {
		if !by.May(p) {
			return fmt.Errorf("%w: %s", ErrBeyondRights, p)
		}
	}
	return nil
}

// IsOwn reports whether a permission is one of this service, and not of another one.
func (p Permission) IsOwn() bool { return strings.HasPrefix(string(p), "gatehouse:") }
