package auth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/token"
)

// AdminRole is built in: it has all permissions on Gatehouse, and neither changes nor goes.
const AdminRole = "admin"

// Permission is resource:action. The action * stands for all of a resource's.
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
	ReadAudit    Permission = "gatehouse:audit.read"
	everything   Permission = "gatehouse:*"
)

// Role is a named set of permissions.
type Role struct {
	Name        string
	Permissions []Permission
	Version     int64 // rises with each change
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

const (
	maxRolePermissions = 100
	roleForm           = `^[a-z][a-z0-9_-]{0,31}$`
	permissionForm     = `^[a-z][a-z0-9_.-]{0,31}:([a-z][a-z0-9_.-]{0,31}|\*)$`
)

var (
	roleNames   = regexp.MustCompile(roleForm)
	permissions = regexp.MustCompile(permissionForm)
)

// checkRole puts the permissions into order, each once. InputError.
func checkRole(name string, given []Permission) ([]Permission, error) {
	var wrong InputError
	if !roleNames.MatchString(name) {
		wrong = append(wrong, FieldError{"name", "must be 1 to 32 of a-z, 0-9, _ and -, the first a letter"})
	}
	if len(given) > maxRolePermissions {
		wrong = append(wrong, FieldError{"permissions", fmt.Sprintf("must be at most %d", maxRolePermissions)})
	}
	for n, p := range given {
		if !permissions.MatchString(string(p)) {
			wrong = append(wrong, FieldError{fmt.Sprintf("permissions/%d", n), "must be resource:action or resource:*, in small letters"})
			break // one shows what is meant
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	sorted := slices.Clone(given)
	slices.Sort(sorted)
	return slices.Compact(sorted), nil
}

// May is true for a user who has the permission, if not by this name then by the resource's *.
func (u User) May(p Permission) bool { return token.ScopeHas(scopeOf(u.Permissions), string(p)) }

// scopeOf is the form of permissions in a token (RFC 6749 §3.3).
func scopeOf(held []Permission) string {
	words := make([]string, len(held))
	for n, p := range held {
		words[n] = string(p)
	}
	return strings.Join(words, " ")
}

// maxRights is the bound of the database (trigger function bound_rights), which is asked last.
const maxRights = 2048

// fitIntoToken tells whether a user may have these roles and permissions, each of them given once.
func fitIntoToken(roles []string, permissions []Permission) bool {
	return len(strings.Join(roles, `","`))+len(scopeOf(permissions)) <= maxRights
}

// narrowed is the scope of a token for a user: all permissions, or of a requested scope those that the user has now.
func narrowed(user User, requested string) string {
	held := scopeOf(user.Permissions)
	if requested == "" {
		return held
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(requested), func(p string) bool { return !token.ScopeHas(held, p) }), " ")
}

// checkScope puts a requested scope into its one form. ErrInvalidScope if it is more than what is held.
func checkScope(held, requested string) (string, error) {
	words := strings.Split(requested, " ")
	for _, word := range words {
		if !permissions.MatchString(word) || !token.ScopeHas(held, word) {
			return "", ErrInvalidScope
		}
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " "), nil
}

// Authorize reads the user of an access token as by Me, or the client, and lets in who has a permission: now, and by the
// token, which may have been asked for with less. The User that it returns has the permissions that are left.
// ErrInvalidToken, ErrForbidden.
func (s *Service) Authorize(ctx context.Context, access token.Access, needed Permission) (User, error) {
	user, err := live(ctx, s.store, access)
	if err != nil {
		return User{}, err
	}
	var left []Permission
	for word := range strings.FieldsSeq(access.Scope) {
		if user.May(Permission(word)) {
			left = append(left, Permission(word))
		}
	}
	user.Permissions = left
	if !user.May(needed) {
		err = fmt.Errorf("%w: %s", ErrForbidden, needed)
		e := newEvent(ctx, ActionAuthorize, uuid.Nil, string(needed))
		if access.IsClient() {
			e = e.byClient(user.ID)
		} else {
			e = e.by(user.ID)
		}
		s.told(ctx, &e, &err)
		return User{}, err
	}
	return user, nil
}

// Role finds a role. ErrRoleNotFound.
func (s *Service) Role(ctx context.Context, name string) (Role, error) {
	if !roleNames.MatchString(name) { // perhaps it is not even text
		return Role{}, ErrRoleNotFound
	}
	return s.store.RoleByName(ctx, name)
}

// Roles lists all roles by name.
func (s *Service) Roles(ctx context.Context) ([]Role, error) { return s.store.ListRoles(ctx) }

// Condition says of which version a thing must be for a change to be made. The zero one says nothing.
type Condition struct {
	Version int64
	Absent  bool // it must not be there at all
}

// Holds tells whether a thing of this version may be changed; 0 is one that is not there.
func (c Condition) Holds(version int64) bool {
	return (!c.Absent || version == 0) && (c.Version == 0 || version == c.Version)
}

// SetRole makes a role, or gives it other permissions and revokes the access tokens of those who have it: by is who
// does it, nil for the operator at the command line. It tells whether the role is new.
// InputError, ErrRoleBuiltIn, ErrBeyondRights, ErrTooManyRights, ErrChanged.
func (s *Service) SetRole(ctx context.Context, by *User, name string, given []Permission, when Condition) (role Role, isNew bool, err error) {
	given, err = checkRole(name, given)
	if err != nil {
		return Role{}, false, err
	}
	e := newEvent(ctx, ActionSetRole, uuid.Nil, name)
	defer s.told(ctx, &e, &err)
	if by != nil {
		before, err := s.store.RoleByName(ctx, name)
		if err != nil && !errors.Is(err, ErrRoleNotFound) {
			return Role{}, false, err
		}
		if err := mayGive(*by, slices.Concat(before.Permissions, given)); err != nil {
			return Role{}, false, err
		}
	}
	isNew, err = s.storeFor(by).SetRole(ctx, e, name, given, when)
	if err != nil {
		return Role{}, false, err
	}
	role, err = s.store.RoleByName(ctx, name)
	return role, isNew, err
}

// DeleteRole takes a role from whoever has it, and revokes their access tokens. ErrRoleNotFound, ErrRoleBuiltIn,
// ErrBeyondRights, ErrChanged.
func (s *Service) DeleteRole(ctx context.Context, by *User, name string, when Condition) (err error) {
	e := newEvent(ctx, ActionDeleteRole, uuid.Nil, name)
	defer s.told(ctx, &e, &err)
	if err := s.mayGiveRole(ctx, by, name); err != nil {
		return err
	}
	return s.storeFor(by).DeleteRole(ctx, e, name, when)
}

// GrantRole gives a user a role and revokes the user's access tokens; sessions go on, and a refresh gives the new
// rights. To grant it again is no error. ErrUserNotFound, ErrRoleNotFound, ErrBeyondRights, ErrTooManyRights.
func (s *Service) GrantRole(ctx context.Context, by *User, userID uuid.UUID, name string) (err error) {
	e := newEvent(ctx, ActionGrantRole, userID, name)
	defer s.told(ctx, &e, &err)
	if err := s.mayGiveRole(ctx, by, name); err != nil {
		return err
	}
	return s.storeFor(by).GrantRole(ctx, e, userID, name)
}

// RevokeRole undoes GrantRole. ErrUserNotFound, ErrRoleNotFound, ErrBeyondRights, ErrLastAdmin.
func (s *Service) RevokeRole(ctx context.Context, by *User, userID uuid.UUID, name string) (err error) {
	e := newEvent(ctx, ActionRevokeRole, userID, name)
	defer s.told(ctx, &e, &err)
	if err := s.mayGiveRole(ctx, by, name); err != nil {
		return err
	}
	return s.storeFor(by).RevokeRole(ctx, e, userID, name)
}

// storeFor is the store for a change by somebody, or by the operator (nil).
func (s *Service) storeFor(by *User) Store {
	if by == nil {
		return s.store
	}
	return s.store.By(*by)
}

func (s *Service) mayGiveRole(ctx context.Context, by *User, name string) error {
	role, err := s.Role(ctx, name)
	if err != nil || by == nil {
		return err
	}
	return mayGive(*by, role.Permissions)
}

// mayGive keeps whoever may hand out rights from handing them to himself: nobody gives or takes what he has not, but
// those who may do everything here. They need not have the permissions of other services to hand them out.
func mayGive(by User, given []Permission) error {
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

// UserByID finds a user. ErrUserNotFound.
func (s *Service) UserByID(ctx context.Context, id uuid.UUID) (User, error) {
	return s.store.UserByID(ctx, id)
}

// UserFilter says which users are looked for. The zero one says all.
type UserFilter struct {
	Prefix   string // of the username, in any writing of it
	Disabled *bool
	Role     string
}

// FindUsers returns at most limit users in the order of their usernames' keys, from the first key after the given one
// ("" for the first of all). InputError.
func (s *Service) FindUsers(ctx context.Context, filter UserFilter, after string, limit int) ([]User, error) {
	if filter.Prefix != "" {
		name, err := parseUsername(filter.Prefix)
		if err != nil {
			return nil, InputError{{"q", err.Error()}}
		}
		filter.Prefix = name.Key
	}
	return s.store.FindUsers(ctx, filter, after, limit)
}

// SetDisabled is Disable or Enable of a user who is as the caller saw him, which asSeen tells (nil: it is no matter): by is
// who does it. ErrUserNotFound, ErrChanged, ErrLastAdmin, ErrBeyondRights.
func (s *Service) SetDisabled(ctx context.Context, by User, id uuid.UUID, disabled bool, asSeen func(User) bool) (User, error) {
	if disabled {
		return s.changeManaged(ctx, ActionDisableUser, by, id, asSeen, Store.DisableUser)
	}
	return s.changeManaged(ctx, ActionEnableUser, by, id, asSeen, Store.EnableUser)
}

func (s *Service) changeManaged(
	ctx context.Context, action Action, by User, id uuid.UUID, asSeen func(User) bool,
	change func(Store, context.Context, Event, string, *time.Time) (User, error),
) (changed User, err error) {
	e := newEvent(ctx, action, id, "")
	defer s.told(ctx, &e, &err)
	user, err := s.mayManage(ctx, by, id)
	if err != nil {
		return User{}, err
	}
	var unlessChanged *time.Time
	if asSeen != nil {
		if !asSeen(user) {
			return User{}, fmt.Errorf("%w: user", ErrChanged)
		}
		unlessChanged = &user.UpdatedAt
	}
	changed, err = change(s.store.By(by), ctx, e, user.Username.Key, unlessChanged)
	if errors.Is(err, ErrUserNotFound) && asSeen != nil {
		if _, gone := s.store.UserByID(ctx, id); gone == nil {
			return User{}, fmt.Errorf("%w: user", ErrChanged)
		}
	}
	return changed, err
}

// DeleteUser removes a user and all that is known of one: only the id stays, and that the name is not free. ErrUserNotFound,
// ErrLastAdmin, ErrBeyondRights.
func (s *Service) DeleteUser(ctx context.Context, by *User, id uuid.UUID) (err error) {
	e := newEvent(ctx, ActionDeleteUser, id, "")
	defer s.told(ctx, &e, &err)
	if by != nil {
		if _, err := s.mayManage(ctx, *by, id); err != nil {
			return err
		}
	}
	return s.storeFor(by).DeleteUser(ctx, e, id)
}

// EndSessionsFor ends all sessions of a user. ErrUserNotFound, ErrBeyondRights.
func (s *Service) EndSessionsFor(ctx context.Context, by User, id uuid.UUID) (err error) {
	e := newEvent(ctx, ActionEndSessions, id, "")
	defer s.told(ctx, &e, &err)
	if _, err := s.mayManage(ctx, by, id); err != nil {
		return err
	}
	_, err = s.store.EndSessions(ctx, e, id, uuid.Nil, endedByOperator)
	return err
}

// UnlockUser is Unlock by id: by is who does it. ErrUserNotFound, ErrBeyondRights.
func (s *Service) UnlockUser(ctx context.Context, by User, id uuid.UUID) (err error) {
	e := newEvent(ctx, ActionUnlockUser, id, "")
	defer s.told(ctx, &e, &err)
	user, err := s.mayManage(ctx, by, id)
	if err != nil {
		return err
	}
	return s.limiter.reset(ctx, e, user)
}

// mayManage finds a user whom another one has power over: nobody has it over those who may do more here. What they may
// do in other services is no matter. ErrUserNotFound, ErrBeyondRights.
func (s *Service) mayManage(ctx context.Context, by User, id uuid.UUID) (User, error) {
	user, err := s.store.UserByID(ctx, id)
	if err != nil {
		return User{}, err
	}
	here := slices.DeleteFunc(slices.Clone(user.Permissions), func(p Permission) bool { return !strings.HasPrefix(string(p), "gatehouse:") })
	return user, mayGive(by, here)
}
