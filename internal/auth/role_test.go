package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

func (f *fixture) setRole(name string, permissions ...auth.Permission) {
	f.Helper()
	_, _, err := f.Roles.Set(f.Context(), authtest.Operator(), name, auth.RoleEdit{Permissions: permissions}, auth.Condition{})
	must(f, err)
}

func (f *fixture) grant(user auth.User, role string) {
	f.Helper()
	must(f, f.Roles.Grant(f.Context(), authtest.Operator(), user.ID, role))
}

func (f *fixture) want(when string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Errorf("%s: %v, want %v", when, err, want)
	}
}

// Each way to change a user's rights must revoke the tokens that say otherwise, and keep the user
// logged in.
func TestAChangedRoleRefusesOldTokensAndARefreshGivesTheNewRights(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	f.setRole("clerk", "files:read")
	grant := f.login("alice")
	for _, change := range []struct {
		name string
		do   func() error
		want string
	}{
		{"granted", func() error {
			return f.Roles.Grant(t.Context(), authtest.Operator(), alice.ID, "clerk")
		}, "clerk|files:read"},
		{"changed", func() error {
			_, _, err := f.Roles.Set(
				t.Context(), authtest.Operator(), "clerk",
				auth.RoleEdit{Permissions: []auth.Permission{"files:write", "files:*"}}, auth.Condition{},
			)
			return err
		}, "clerk|files:* files:write"},
		{"revoked", func() error {
			return f.Roles.Revoke(t.Context(), authtest.Operator(), alice.ID, "clerk")
		}, "|"},
		{"granted again", func() error {
			return f.Roles.Grant(t.Context(), authtest.Operator(), alice.ID, "clerk")
		}, "clerk|files:* files:write"},
		{"deleted", func() error {
			return f.Roles.Delete(t.Context(), authtest.Operator(), "clerk", auth.Condition{})
		}, "|"},
	} {
		f.wantMe("before "+change.name, grant, nil)
		must(t, change.do())
		f.wantMe("after "+change.name, grant, auth.ErrInvalidToken)
		grant = f.mustRefresh(grant.RefreshToken)
		f.wantMe("refreshed after "+change.name, grant, nil)
		if a := f.access(grant); a.Roles+"|"+a.Scope != change.want || grant.Scope != a.Scope {
			t.Errorf("%s: roles %q, scope %q, want %s", change.name, a.Roles, a.Scope, change.want)
		}
	}
}

// An operation that changes nothing must not revoke access tokens.
func TestARoleGivenAgainRevokesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	f.setRole("clerk", "files:read")
	f.grant(alice, "clerk")
	grant := f.login("alice")
	before, err := f.Roles.Find(t.Context(), "clerk")
	must(t, err)
	f.grant(alice, "clerk")
	f.setRole("clerk", "files:read", "files:read")
	f.setRole("other", "files:read")
	must(t, f.Roles.Revoke(t.Context(), authtest.Operator(), alice.ID, "other"))
	f.wantMe("nothing changed", grant, nil)
	if role, err := f.Roles.Find(t.Context(), "clerk"); err != nil ||
		role.Version != before.Version {
		t.Errorf("%+v, %v", role, err)
	}
}

// Two admins who take each other's rights at the same time would leave a service that nobody can
// administer.
func TestTheLastEnabledAdminStaysWhateverTwoDoAtOnce(t *testing.T) {
	t.Parallel()
	f := start(t)
	ways := map[string]func(context.Context, auth.User) error{
		"demote": func(ctx context.Context, u auth.User) error {
			return f.Roles.Revoke(ctx, authtest.Operator(), u.ID, auth.AdminRole)
		},
		"disable": func(ctx context.Context, u auth.User) error {
			_, err := f.Accounts.Disable(
				ctx, authtest.Operator(), auth.ByName(u.Username.Given), nil,
			)
			return err
		},
		"delete": func(ctx context.Context, u auth.User) error {
			return f.Accounts.Delete(ctx, authtest.Operator(), u.ID)
		},
	}
	one := f.register("admin0")
	f.grant(one, auth.AdminRole)
	off := f.register("disabled-admin")
	f.grant(off, auth.AdminRole)
	_, err := f.Accounts.Disable(
		t.Context(), authtest.Operator(), auth.ByName("disabled-admin"), nil,
	)
	must(t, err)
	for name, way := range ways {
		f.want(name+" the only one", way(t.Context(), one), auth.ErrLastAdmin)
	}
	n := 0
	for first, a := range ways {
		for second, b := range ways {
			n++
			two := f.register(fmt.Sprintf("admin%d", n))
			f.grant(two, auth.AdminRole)
			var errs [2]error
			var both sync.WaitGroup
			both.Go(func() { errs[0] = a(t.Context(), one) })
			both.Go(func() { errs[1] = b(t.Context(), two) })
			both.Wait()
			if (errs[0] == nil) == (errs[1] == nil) ||
				!errors.Is(errors.Join(errs[:]...), auth.ErrLastAdmin) {
				t.Fatalf("%s and %s at once: %v, %v", first, second, errs[0], errs[1])
			}
			if errs[0] == nil {
				one = two
			}
		}
	}
	// to delete a disabled admin takes away no enabled one
	must(t, f.Roles.Revoke(t.Context(), authtest.Operator(), off.ID, auth.AdminRole))
}

func TestTheBuiltInRoleNeitherChangesNorGoes(t *testing.T) {
	t.Parallel()
	f := start(t)
	_, _, err := f.Roles.Set(
		t.Context(), authtest.Operator(), auth.AdminRole, auth.RoleEdit{Permissions: []auth.Permission{"files:read"}},
		auth.Condition{},
	)
	f.want("set", err, auth.ErrRoleBuiltIn)
	_, _, err = f.Roles.Set(t.Context(), authtest.Operator(), auth.AdminRole, auth.RoleEdit{}, auth.Condition{})
	f.want("emptied", err, auth.ErrRoleBuiltIn)
	f.want(
		"deleted",
		f.Roles.Delete(t.Context(), authtest.Operator(), auth.AdminRole, auth.Condition{}),
		auth.ErrRoleBuiltIn,
	)
	role, err := f.Roles.Find(t.Context(), auth.AdminRole)
	if err != nil || !slices.Equal(role.Permissions, []auth.Permission{"gatehouse:*"}) ||
		role.Version != 1 {
		t.Errorf("%+v, %v", role, err)
	}
}

// Whoever logged in before must not go on without the factor. And who sets one of the two alone
// must not change the other.
func TestARoleDemandsAFactorFromThenOnAndRevokesTheTokensOfBefore(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice, bob := f.register("alice"), f.register("bob")
	f.setRole("clerk", "files:read")
	f.grant(alice, "clerk")
	on, off := true, false
	set := func(name string, to auth.RoleEdit) auth.Role {
		t.Helper()
		role, _, err := f.Roles.Set(t.Context(), authtest.Operator(), name, to, auth.Condition{})
		must(t, err)
		return role
	}
	now := func(name string) auth.User {
		t.Helper()
		user, err := f.Accounts.Find(t.Context(), auth.ByName(name))
		must(t, err)
		return user
	}
	read, write := []auth.Permission{"files:read"}, []auth.Permission{"files:write"}
	version, role := now("alice").TokenVersion, set("clerk", auth.RoleEdit{Permissions: read})
	for _, step := range []struct {
		what    string
		to      auth.RoleEdit
		factor  bool
		has     []auth.Permission
		changes bool
	}{
		{"nothing", auth.RoleEdit{Permissions: read}, false, read, false},
		{"no factor again", auth.RoleEdit{KeepPermissions: true, Factor: &off}, false, read, false},
		{"a factor alone", auth.RoleEdit{KeepPermissions: true, Factor: &on}, true, read, true},
		{"the factor again", auth.RoleEdit{Permissions: read, Factor: &on}, true, read, false},
		{"permissions alone", auth.RoleEdit{Permissions: write}, true, write, true},
		{"both", auth.RoleEdit{Permissions: read, Factor: &off}, false, read, true},
	} {
		after := set("clerk", step.to)
		if after.Factor != step.factor || !slices.Equal(after.Permissions, step.has) ||
			(after.Version > role.Version) != step.changes ||
			(now("alice").TokenVersion > version) != step.changes ||
			now("alice").FactorDemanded != step.factor {
			t.Errorf("%s: %+v, %+v", step.what, after, now("alice"))
		}
		version, role = now("alice").TokenVersion, after
	}
	if u := now("bob"); u.TokenVersion != bob.TokenVersion || u.FactorDemanded {
		t.Errorf("who has not the role: %+v", u)
	}
	if !set("guard", auth.RoleEdit{Factor: &on}).Factor {
		t.Error("a new role demands none")
	}
	f.grant(bob, auth.AdminRole)
	if role := set(auth.AdminRole, auth.RoleEdit{KeepPermissions: true, Factor: &on}); !role.Factor ||
		!slices.Equal(role.Permissions, []auth.Permission{"gatehouse:*"}) || !now("bob").FactorDemanded {
		t.Errorf("the built-in one: %+v", role)
	}
	set(auth.AdminRole, auth.RoleEdit{Permissions: []auth.Permission{"gatehouse:*"}, Factor: &off})
}

// Users who may hand out some roles could otherwise give themselves the rest. A role counts as much
// as its permissions, since proxies let in whoever has it.
func TestNobodyGivesTakesOrOverrulesRightsThatHeHasNot(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := start(t)
	root, clerk, other := f.register("root"), f.register("clerk"), f.register("other")
	f.grant(root, auth.AdminRole)
	f.setRole("granter", auth.GrantRoles, auth.WriteRoles, auth.WriteUsers, "files:*")
	f.setRole("files", "files:read")
	f.setRole("money", "money:spend")
	f.setRole("vip")
	f.setRole("own")
	f.grant(clerk, "granter")
	f.grant(clerk, "own")
	f.grant(other, "money")
	f.grant(other, "vip")
	f.grant(other, "own")
	by, err := f.Accounts.Find(ctx, auth.ByID(clerk.ID))
	must(t, err)
	set := func(name string, permissions ...auth.Permission) error {
		_, _, err := f.Roles.Set(ctx, by.As(), name, auth.RoleEdit{Permissions: permissions}, auth.Condition{})
		return err
	}
	for when, err := range map[string]error{
		"grant admin": f.Roles.Grant(ctx, by.As(), clerk.ID, auth.AdminRole),
		"grant money": f.Roles.Grant(ctx, by.As(), clerk.ID, "money"),
		"take money":  f.Roles.Revoke(ctx, by.As(), other.ID, "money"),
		"drop money": f.Roles.Delete(
			ctx, by.As(), "money", auth.Condition{},
		),
		"empty money":                       set("money"),
		"widen own":                         set("granter", "gatehouse:*"),
		"grant a role of permissions held":  f.Roles.Grant(ctx, by.As(), clerk.ID, "files"),
		"change a role of permissions held": set("files", "files:write"),
		"drop a role of permissions held": f.Roles.Delete(
			ctx, by.As(), "files", auth.Condition{},
		),
		"grant a role without permissions": f.Roles.Grant(ctx, by.As(), clerk.ID, "vip"),
		"take a role without permissions":  f.Roles.Revoke(ctx, by.As(), other.ID, "vip"),
		"set a role without permissions":   set("vip"),
		"drop a role without permissions":  f.Roles.Delete(ctx, by.As(), "vip", auth.Condition{}),
		"make a role":                      set("made"),
		"make a role of permissions held":  set("made", "files:read"),
		"disable root": func() error {
			_, err := f.Accounts.Disable(ctx, by.As(), auth.ByID(root.ID), nil)
			return err
		}(),
		"have root change the password": func() error {
			_, err := f.Accounts.RequirePasswordChange(ctx, by.As(), auth.ByID(root.ID), nil)
			return err
		}(),
		"delete root": f.Accounts.Delete(ctx, by.As(), root.ID),
		"log root out": func() error {
			_, err := f.Sessions.EndAllOf(ctx, by.As(), auth.ByID(root.ID))
			return err
		}(),
		"unlock root": func() error {
			_, err := f.Limits.Unlock(ctx, by.As(), auth.ByID(root.ID))
			return err
		}(),
	} {
		f.want(when, err, auth.ErrBeyondRights)
	}
	if after, err := f.Accounts.Find(ctx, auth.ByID(other.ID)); err != nil ||
		!slices.Equal(after.Roles, []string{"money", "own", "vip"}) {
		t.Errorf("the other one has %v, %v", after.Roles, err)
	}
	f.want("take a role of their own", f.Roles.Revoke(ctx, by.As(), other.ID, "own"), nil)
	f.want("give it", f.Roles.Grant(ctx, by.As(), other.ID, "own"), nil)
	f.want("no such role", f.Roles.Grant(ctx, by.As(), other.ID, "nothing"), auth.ErrRoleNotFound)
	f.want(
		"no such role to drop", f.Roles.Delete(ctx, by.As(), "nothing", auth.Condition{}),
		auth.ErrRoleNotFound,
	)
	f.want("no such user", f.Accounts.Delete(ctx, by.As(), uuid.New()), auth.ErrUserNotFound)
	_, err = f.Accounts.Disable(ctx, by.As(), auth.ByID(other.ID), nil)
	f.want("an account with rights elsewhere", err, nil)
	f.want("give themselves a permission that they have", set("own", "files:write"), nil)
	admin, err := f.Accounts.Find(ctx, auth.ByID(root.ID))
	must(t, err)
	f.want("an admin gives what the admin does not have", f.Roles.Grant(ctx, admin.As(), other.ID, "files"), nil)
	_, _, err = f.Roles.Set(
		ctx, admin.As(), "made", auth.RoleEdit{Permissions: []auth.Permission{"files:read"}}, auth.Condition{},
	)
	f.want("an admin makes a role", err, nil)
}

// A token with a narrow scope must not hand out what is not in its scope.
func TestANarrowedTokenHandsOutNoRole(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.grant(f.register("root"), auth.AdminRole)
	clerk := f.register("clerk")
	f.setRole("granter", auth.GrantRoles)
	f.grant(clerk, "granter")
	for scope, want := range map[string]error{
		"": nil, string(auth.GrantRoles): auth.ErrBeyondRights,
	} {
		grant, err := f.Logins.Login(t.Context(), "clerk", goodPassword, client, scope)
		must(t, err)
		by, err := f.Access.Authorize(t.Context(), f.access(grant), auth.GrantRoles)
		must(t, err)
		f.want("scope "+scope, f.Roles.Grant(t.Context(), by, clerk.ID, "granter"), want)
	}
}

func TestAScopeMayBeNarrowedButNeverWidened(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	f.setRole("clerk", "files:read", "files:write", "gatehouse:*")
	f.grant(alice, "clerk")
	for asked, want := range map[string]string{
		"":                                   "files:read files:write gatehouse:*",
		"files:write files:read files:write": "files:read files:write",
		"gatehouse:users.read":               "gatehouse:users.read",
	} {
		grant, err := f.Logins.Login(t.Context(), "alice", goodPassword, client, asked)
		must(t, err)
		if a := f.access(grant); a.Scope != want || grant.Scope != want {
			t.Errorf("%q gave %q, %q, want %q", asked, a.Scope, grant.Scope, want)
		}
	}
	for _, asked := range []string{
		"files:*", "money:spend", "files:read money:spend", "*:*", "files", "a  b", " ",
		"files:read\x00",
	} {
		_, err := f.Logins.Login(t.Context(), "alice", goodPassword, client, asked)
		f.want(asked, err, auth.ErrInvalidScope)
		_, err = f.Logins.Login(t.Context(), "alice", "wrong", client, asked)
		f.want(asked+" without the password", err, auth.ErrWrongPassword)
	}
	grant, err := f.Logins.Login(
		t.Context(), "alice", goodPassword, client, "files:read", "gatehouse:users.read",
	)
	must(t, err)
	_, err = f.Tokens.Refresh(t.Context(), grant.RefreshToken, client, auth.Narrowing{Scope: "files:write"})
	f.want("a refresh with more than the login asked for", err, auth.ErrInvalidScope)
	narrow, err := f.Tokens.Refresh(t.Context(), grant.RefreshToken, client, auth.Narrowing{Scope: "files:read"})
	must(t, err)
	again := f.mustRefresh(narrow.RefreshToken)
	if narrow.Scope != "files:read" || again.Scope != "files:read gatehouse:users.read" {
		t.Errorf("narrowed by the refresh: %q; the next: %q", narrow.Scope, again.Scope)
	}
	f.setRole("clerk", "files:read", "money:spend")
	if now := f.mustRefresh(again.RefreshToken).Scope; now != "files:read" {
		t.Errorf("after the role has changed: %q", now)
	}
}

// A permission counts only if the user has it now and the token has it.
func TestARouteIsOpenByFreshRightsWithinTheTokensScope(t *testing.T) {
	t.Parallel()
	f := startClocked(t)
	alice := f.register("alice")
	f.grant(f.register("root"), auth.AdminRole)
	f.grant(alice, auth.AdminRole)
	whole := f.login("alice")
	part, err := f.Logins.Login(t.Context(), "alice", goodPassword, client, "gatehouse:users.read")
	must(t, err)
	authorize := func(g auth.Grant, p auth.Permission) error {
		_, err := f.Access.Authorize(t.Context(), f.access(g), p)
		return err
	}
	f.want("all", authorize(whole, auth.WriteRoles), nil)
	f.want("part", authorize(part, auth.ReadUsers), nil)
	f.want("beyond the part", authorize(part, auth.WriteRoles), auth.ErrForbidden)
	f.setRole("reader", auth.ReadUsers)
	reader := f.register("reader")
	f.grant(reader, "reader")
	read := f.login("reader")
	f.want("reader", authorize(read, auth.ReadUsers), nil)
	// by hand in the database, which revokes nothing
	_, err = f.conn.Exec(t.Context(), "DELETE FROM role_permissions WHERE role_name = 'reader'")
	must(t, err)
	f.want(
		"rights that are gone, with a live token", authorize(read, auth.ReadUsers),
		auth.ErrForbidden,
	)
	must(t, f.Roles.Revoke(t.Context(), authtest.Operator(), alice.ID, auth.AdminRole))
	f.want("demoted", authorize(whole, auth.WriteRoles), auth.ErrInvalidToken)
	f.want(
		"demoted, refreshed", authorize(f.mustRefresh(whole.RefreshToken), auth.WriteRoles),
		auth.ErrForbidden,
	)
}

// A token that Verify refuses as too long would lock its user out.
func TestRightsThatDoNotFitIntoATokenAreRefusedAndAllOthersWork(t *testing.T) {
	t.Parallel()
	f := start(t)
	name := strings.Repeat("\u00fc", 64) // the longest name in bytes
	user := f.register(name)
	long := func(n int) []auth.Permission {
		all := make([]auth.Permission, n)
		for i := range all {
			all[i] = auth.Permission(fmt.Sprintf(
				"resource%03d%s:action%s", i, strings.Repeat("r", 20), strings.Repeat("a", 26),
			))
		}
		return all
	}
	f.setRole("huge", long(31)...)
	_, _, err := f.Roles.Set(t.Context(), authtest.Operator(), "free", auth.RoleEdit{Permissions: long(100)}, auth.Condition{})
	must(t, err) // nobody has it
	f.grant(user, "huge")
	grant := f.login(name)
	if len(grant.AccessToken) < 3000 || len(f.access(grant).Scope) < 1900 {
		t.Errorf("the test has little to say: %d bytes", len(grant.AccessToken))
	}
	f.want(
		"granted", f.Roles.Grant(t.Context(), authtest.Operator(), user.ID, "free"),
		auth.ErrTooManyRights,
	)
	_, _, err = f.Roles.Set(t.Context(), authtest.Operator(), "huge", auth.RoleEdit{Permissions: long(40)}, auth.Condition{})
	f.want("widened", err, auth.ErrTooManyRights)
	f.wantMe("refused changes change nothing", grant, nil)
}

func TestADeletedUserIsGoneButForTheName(t *testing.T) {
	t.Parallel()
	f := startClocked(t)
	f.grant(f.register("root"), auth.AdminRole)
	alice := f.register("Alice")
	f.setRole("clerk", "files:read")
	f.grant(alice, "clerk")
	grant := f.login("alice")
	must(t, f.Accounts.Delete(t.Context(), authtest.Operator(), alice.ID))
	f.wantMe("deleted", grant, auth.ErrInvalidToken)
	f.wantRefused("deleted", grant.RefreshToken, auth.ErrInvalidGrant)
	f.wantLogin("alice", goodPassword, auth.ErrUnknownUser)
	f.want(
		"deleted again", f.Accounts.Delete(t.Context(), authtest.Operator(), alice.ID),
		auth.ErrUserNotFound,
	)
	for _, name := range []string{"alice", "ALICE"} {
		_, _, err := f.Accounts.Register(
			t.Context(), authtest.Operator(),
			auth.NewAccount{Username: name, Password: goodPassword},
		)
		f.want("register "+name, err, auth.ErrUsernameTaken)
	}
	var left int
	must(t, f.conn.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM user_roles WHERE user_id = $1) +
		       (SELECT count(*) FROM retired_usernames r WHERE r::text ILIKE '%alice%')`, alice.ID).Scan(&left))
	if left != 0 {
		t.Errorf("%d rows of alice are left", left)
	}
	var version int64
	must(t, f.conn.QueryRow(
		t.Context(), "SELECT max(version) FROM revocations WHERE user_id = $1", alice.ID,
	).Scan(&version))
	if version <= f.access(grant).Version {
		t.Errorf("revoked up to %d only", version)
	}
}

// The scopes of FastAPI's tutorial are single words.
func TestAPermissionMayBeOneWord(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	f.setRole("reader", "me", "items", "items:read", "things:*")
	f.grant(alice, "reader")
	if a := f.access(f.login("alice")); a.Scope != "items items:read me things:*" {
		t.Errorf("scope %q", a.Scope)
	}
	for asked, want := range map[string]error{
		"me": nil, "me items": nil, "things": auth.ErrInvalidScope, "item": auth.ErrInvalidScope,
		"me:read":   auth.ErrInvalidScope,
		"gatehouse": auth.ErrInvalidScope,
	} {
		_, err := f.Logins.Login(t.Context(), "alice", goodPassword, client, asked)
		f.want(asked, err, want)
	}
	bounded, _, err := f.Clients.Add(
		t.Context(), authtest.Operator(),
		auth.Client{ID: "app", Title: "x", GrantTypes: []string{auth.GrantPassword}, Scope: "me"},
	)
	must(t, err)
	grant, err := f.Logins.Login(t.Context(), "alice", goodPassword, auth.Caller{Client: bounded})
	must(t, err)
	if grant.Scope != "me" {
		t.Errorf("by the client: scope %q", grant.Scope)
	}
}

func TestRolesOfAnotherFormAreRefusedByName(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, name := range []string{"", "A", "1a", "a b", "a,b", "a\n", strings.Repeat("a", 33)} {
		_, _, err := f.Roles.Set(t.Context(), authtest.Operator(), name, auth.RoleEdit{}, auth.Condition{})
		if _, ok := errors.AsType[auth.InputError](err); !ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, p := range []auth.Permission{
		"", "gatehouse", "*", "1a", "a b", "a:", ":a", "*:a", "*:*", "a:b:c", "a:**", "a:b ",
		"a:b\n", "A:b", "a b:c", `a:"`,
	} {
		_, _, err := f.Roles.Set(
			t.Context(), authtest.Operator(), "clerk", auth.RoleEdit{Permissions: []auth.Permission{"files:read", p}},
			auth.Condition{},
		)
		if fields, ok := errors.AsType[auth.InputError](err); !ok ||
			fields[0].Field != "permissions/1" {
			t.Errorf("permission %q: %v", p, err)
		}
	}
	f.want(
		"no such role",
		f.Roles.Grant(t.Context(), authtest.Operator(), f.register("alice").ID, "nothing"),
		auth.ErrRoleNotFound,
	)
	f.want(
		"no such user", f.Roles.Grant(t.Context(), authtest.Operator(), uuid.New(), auth.AdminRole),
		auth.ErrUserNotFound,
	)
	_, _, err := f.Accounts.Register(
		t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "bob", Password: goodPassword, Roles: []string{"nothing"}},
	)
	f.want("registered with no role", err, auth.ErrRoleNotFound)
}

// Somebody who edits a role that was deleted and made again would change a role that they have
// never seen. A role without a permission is made by one statement, which raises no version.
func TestAnEditOfARoleThatWasMadeAgainIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.setRole("clerk")
	seen, err := f.Roles.Find(t.Context(), "clerk")
	must(t, err)
	must(t, f.Roles.Delete(t.Context(), authtest.Operator(), "clerk", auth.Condition{}))
	f.setRole("clerk")
	_, _, err = f.Roles.Set(t.Context(), authtest.Operator(), "clerk", auth.RoleEdit{Permissions: []auth.Permission{"files:read"}}, auth.Condition{Version: seen.Version})
	f.want("changed though it was made again", err, auth.ErrChanged)
}

// Of two who edit the same version, the second must learn that there is a newer one.
func TestAnEditOfAnOlderVersionIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.setRole("clerk", "files:read")
	first, err := f.Roles.Find(t.Context(), "clerk")
	must(t, err)
	set := func(when auth.Condition, p ...auth.Permission) error {
		_, _, err := f.Roles.Set(t.Context(), authtest.Operator(), "clerk", auth.RoleEdit{Permissions: p}, when)
		return err
	}
	seen := auth.Condition{Version: first.Version}
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() { errs[0] = set(seen, "files:write") })
	both.Go(func() { errs[1] = set(seen, "files:delete") })
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) ||
		!errors.Is(errors.Join(errs[:]...), auth.ErrChanged) {
		t.Errorf("two at once: %v, %v", errs[0], errs[1])
	}
	f.want("made though it is there", set(auth.Condition{Absent: true}), auth.ErrChanged)
	f.want(
		"deleted at another version",
		f.Roles.Delete(t.Context(), authtest.Operator(), "clerk", seen), auth.ErrChanged,
	)
	must(t, f.Roles.Delete(t.Context(), authtest.Operator(), "clerk", auth.Condition{}))
	f.setRole("clerk", "files:read")
	again, err := f.Roles.Find(t.Context(), "clerk")
	must(t, err)
	if again.Version <= first.Version {
		t.Errorf("the version is %d, and was %d", again.Version, first.Version)
	}
	f.want("changed though it was made again", set(seen), auth.ErrChanged)
	f.want(
		"deleted though it was made again",
		f.Roles.Delete(t.Context(), authtest.Operator(), "clerk", seen), auth.ErrChanged,
	)
	_, _, err = f.Roles.Set(
		t.Context(), authtest.Operator(), "nothing", auth.RoleEdit{}, auth.Condition{Version: 1},
	)
	f.want("changed though it is not there", err, auth.ErrChanged)
	_, err = f.Roles.Find(t.Context(), "nothing")
	f.want("left of it", err, auth.ErrRoleNotFound)
}
