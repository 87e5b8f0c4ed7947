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

	"gatehouse/internal/auth"
)

func (f *fixture) setRole(name string, permissions ...auth.Permission) {
	f.Helper()
	_, _, err := f.SetRole(f.Context(), nil, name, permissions, auth.Condition{})
	must(f, err)
}

func (f *fixture) grant(user auth.User, role string) {
	f.Helper()
	must(f, f.GrantRole(f.Context(), nil, user.ID, role))
}

func (f *fixture) want(when string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Errorf("%s: %v, want %v", when, err, want)
	}
}

// Each way to change what somebody may must refuse the tokens that say otherwise, and leave the login.
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
		{"granted", func() error { return f.GrantRole(t.Context(), nil, alice.ID, "clerk") }, "clerk|files:read"},
		{"changed", func() error {
			_, _, err := f.SetRole(t.Context(), nil, "clerk", []auth.Permission{"files:write", "files:*"}, auth.Condition{})
			return err
		}, "clerk|files:* files:write"},
		{"revoked", func() error { return f.RevokeRole(t.Context(), nil, alice.ID, "clerk") }, "|"},
		{"granted again", func() error { return f.GrantRole(t.Context(), nil, alice.ID, "clerk") }, "clerk|files:* files:write"},
		{"deleted", func() error { return f.DeleteRole(t.Context(), nil, "clerk", auth.Condition{}) }, "|"},
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

// What changes nothing must log nobody out of an access token.
func TestARoleGivenAgainRevokesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice := f.register("alice")
	f.setRole("clerk", "files:read")
	f.grant(alice, "clerk")
	grant := f.login("alice")
	f.grant(alice, "clerk")
	f.setRole("clerk", "files:read", "files:read")
	f.setRole("other", "files:read")
	must(t, f.RevokeRole(t.Context(), nil, alice.ID, "other"))
	f.wantMe("nothing changed", grant, nil)
	if role, err := f.Role(t.Context(), "clerk"); err != nil || role.Version != 2 {
		t.Errorf("%+v, %v", role, err)
	}
}

// Two admins who take each other's rights at the same time would leave a service that nobody can administer.
func TestTheLastEnabledAdminStaysWhateverTwoDoAtOnce(t *testing.T) {
	t.Parallel()
	f := start(t)
	ways := map[string]func(context.Context, auth.User) error{
		"demote": func(ctx context.Context, u auth.User) error { return f.RevokeRole(ctx, nil, u.ID, auth.AdminRole) },
		"disable": func(ctx context.Context, u auth.User) error {
			_, err := f.Disable(ctx, u.Username.Given)
			return err
		},
		"delete": func(ctx context.Context, u auth.User) error { return f.DeleteUser(ctx, nil, u.ID) },
	}
	one := f.register("admin0")
	f.grant(one, auth.AdminRole)
	off := f.register("disabled-admin")
	f.grant(off, auth.AdminRole)
	_, err := f.Disable(t.Context(), "disabled-admin")
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
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), auth.ErrLastAdmin) {
				t.Fatalf("%s and %s at once: %v, %v", first, second, errs[0], errs[1])
			}
			if errs[0] == nil {
				one = two
			}
		}
	}
	must(t, f.RevokeRole(t.Context(), nil, off.ID, auth.AdminRole)) // no enabled admin goes with a disabled one
}

func TestTheBuiltInRoleNeitherChangesNorGoes(t *testing.T) {
	t.Parallel()
	f := start(t)
	_, _, err := f.SetRole(t.Context(), nil, auth.AdminRole, []auth.Permission{"files:read"}, auth.Condition{})
	f.want("set", err, auth.ErrRoleBuiltIn)
	_, _, err = f.SetRole(t.Context(), nil, auth.AdminRole, nil, auth.Condition{})
	f.want("emptied", err, auth.ErrRoleBuiltIn)
	f.want("deleted", f.DeleteRole(t.Context(), nil, auth.AdminRole, auth.Condition{}), auth.ErrRoleBuiltIn)
	role, err := f.Role(t.Context(), auth.AdminRole)
	if err != nil || !slices.Equal(role.Permissions, []auth.Permission{"gatehouse:*"}) || role.Version != 1 {
		t.Errorf("%+v, %v", role, err)
	}
}

// Who may hand out roles, but not all, would otherwise hand himself the rest.
func TestNobodyGivesTakesOrOverrulesRightsThatHeHasNot(t *testing.T) {
	t.Parallel()
	f := start(t)
	root, clerk, other := f.register("root"), f.register("clerk"), f.register("other")
	f.grant(root, auth.AdminRole)
	f.setRole("granter", auth.GrantRoles, auth.WriteRoles, auth.WriteUsers, "files:*")
	f.setRole("files", "files:read")
	f.setRole("money", "money:spend")
	f.grant(clerk, "granter")
	f.grant(other, "money")
	by, err := f.UserByID(t.Context(), clerk.ID)
	must(t, err)
	must(t, f.GrantRole(t.Context(), &by, clerk.ID, "files"))
	by, err = f.UserByID(t.Context(), clerk.ID) // with another token version
	must(t, err)
	for when, err := range map[string]error{
		"grant admin": f.GrantRole(t.Context(), &by, clerk.ID, auth.AdminRole),
		"grant money": f.GrantRole(t.Context(), &by, clerk.ID, "money"),
		"take money":  f.RevokeRole(t.Context(), &by, other.ID, "money"),
		"drop money":  f.DeleteRole(t.Context(), &by, "money", auth.Condition{}),
		"widen own": func() error {
			_, _, err := f.SetRole(t.Context(), &by, "granter", []auth.Permission{"gatehouse:*"}, auth.Condition{})
			return err
		}(),
		"empty money": func() error {
			_, _, err := f.SetRole(t.Context(), &by, "money", nil, auth.Condition{})
			return err
		}(),
		"disable root": func() error {
			_, err := f.SetDisabled(t.Context(), by, root.ID, true, nil)
			return err
		}(),
		"delete root":  f.DeleteUser(t.Context(), &by, root.ID),
		"log root out": f.EndSessionsFor(t.Context(), by, root.ID),
		"unlock root":  f.UnlockUser(t.Context(), by, root.ID),
	} {
		f.want(when, err, auth.ErrBeyondRights)
	}
	_, err = f.SetDisabled(t.Context(), by, other.ID, true, nil)
	f.want("an account with rights elsewhere", err, nil)
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
		grant, err := f.Login(t.Context(), "alice", goodPassword, client, asked)
		must(t, err)
		if a := f.access(grant); a.Scope != want || grant.Scope != want {
			t.Errorf("%q gave %q, %q, want %q", asked, a.Scope, grant.Scope, want)
		}
	}
	for _, asked := range []string{"files:*", "money:spend", "files:read money:spend", "*:*", "files", "a  b", " ", "files:read\x00"} {
		_, err := f.Login(t.Context(), "alice", goodPassword, client, asked)
		f.want(asked, err, auth.ErrInvalidScope)
		_, err = f.Login(t.Context(), "alice", "wrong", client, asked)
		f.want(asked+" without the password", err, auth.ErrWrongPassword)
	}
	grant, err := f.Login(t.Context(), "alice", goodPassword, client, "files:read", "gatehouse:users.read")
	must(t, err)
	_, err = f.Refresh(t.Context(), grant.RefreshToken, client, "files:write")
	f.want("a refresh with more than the login asked for", err, auth.ErrInvalidScope)
	narrow, err := f.Refresh(t.Context(), grant.RefreshToken, client, "files:read")
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

// A permission counts if the user has it now, and if the token was given it.
func TestARouteIsOpenByFreshRightsWithinTheTokensScope(t *testing.T) {
	t.Parallel()
	f := startClocked(t)
	alice := f.register("alice")
	f.grant(f.register("root"), auth.AdminRole)
	f.grant(alice, auth.AdminRole)
	whole := f.login("alice")
	part, err := f.Login(t.Context(), "alice", goodPassword, client, "gatehouse:users.read")
	must(t, err)
	authorize := func(g auth.Grant, p auth.Permission) error {
		_, err := f.Authorize(t.Context(), f.access(g), p)
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
	_, err = f.conn.Exec(t.Context(), "DELETE FROM role_permissions WHERE role_name = 'reader'") // by hand, which revokes nothing
	must(t, err)
	f.want("rights that are gone, with a live token", authorize(read, auth.ReadUsers), auth.ErrForbidden)
	must(t, f.RevokeRole(t.Context(), nil, alice.ID, auth.AdminRole))
	f.want("demoted", authorize(whole, auth.WriteRoles), auth.ErrInvalidToken)
	f.want("demoted, refreshed", authorize(f.mustRefresh(whole.RefreshToken), auth.WriteRoles), auth.ErrForbidden)
}

// A token that is too long for Verify would lock its user out.
func TestRightsThatDoNotFitIntoATokenAreRefusedAndAllOthersWork(t *testing.T) {
	t.Parallel()
	f := start(t)
	name := strings.Repeat("\u00fc", 64) // the longest in bytes
	user := f.register(name)
	long := func(n int) []auth.Permission {
		all := make([]auth.Permission, n)
		for i := range all {
			all[i] = auth.Permission(fmt.Sprintf("resource%03d%s:action%s", i, strings.Repeat("r", 20), strings.Repeat("a", 26)))
		}
		return all
	}
	f.setRole("huge", long(31)...)
	_, _, err := f.SetRole(t.Context(), nil, "free", long(100), auth.Condition{})
	must(t, err) // nobody has it
	f.grant(user, "huge")
	grant := f.login(name)
	if len(grant.AccessToken) < 3000 || len(f.access(grant).Scope) < 1900 {
		t.Errorf("the test has little to say: %d bytes", len(grant.AccessToken))
	}
	f.want("granted", f.GrantRole(t.Context(), nil, user.ID, "free"), auth.ErrTooManyRights)
	_, _, err = f.SetRole(t.Context(), nil, "huge", long(40), auth.Condition{})
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
	must(t, f.DeleteUser(t.Context(), nil, alice.ID))
	f.wantMe("deleted", grant, auth.ErrInvalidToken)
	f.wantRefused("deleted", grant.RefreshToken, auth.ErrInvalidGrant)
	f.wantLogin("alice", goodPassword, auth.ErrUnknownUser)
	f.want("deleted again", f.DeleteUser(t.Context(), nil, alice.ID), auth.ErrUserNotFound)
	for _, name := range []string{"alice", "ALICE"} {
		_, err := f.Register(t.Context(), name, goodPassword)
		f.want("register "+name, err, auth.ErrUsernameTaken)
	}
	var left int
	must(t, f.conn.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM user_roles WHERE user_id = $1) +
		       (SELECT count(*) FROM retired_usernames r WHERE r::text ILIKE '%alice%')`, alice.ID).Scan(&left))
	if left != 0 {
		t.Errorf("%d rows of hers are left", left)
	}
	var version int64
	must(t, f.conn.QueryRow(t.Context(), "SELECT max(version) FROM revocations WHERE user_id = $1", alice.ID).Scan(&version))
	if version <= f.access(grant).Version {
		t.Errorf("revoked up to %d only", version)
	}
}

func TestRolesOfAnotherFormAreRefusedByName(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, name := range []string{"", "A", "1a", "a b", "a,b", "a\n", strings.Repeat("a", 33)} {
		_, _, err := f.SetRole(t.Context(), nil, name, nil, auth.Condition{})
		if _, ok := errors.AsType[auth.InputError](err); !ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, p := range []auth.Permission{"", "a", "a:", ":a", "*:a", "*:*", "a:b:c", "a:**", "a:b ", "a:b\n", "A:b", "a b:c", `a:"`} {
		_, _, err := f.SetRole(t.Context(), nil, "clerk", []auth.Permission{"files:read", p}, auth.Condition{})
		if fields, ok := errors.AsType[auth.InputError](err); !ok || fields[0].Field != "permissions/1" {
			t.Errorf("permission %q: %v", p, err)
		}
	}
	f.want("no such role", f.GrantRole(t.Context(), nil, f.register("alice").ID, "nothing"), auth.ErrRoleNotFound)
	f.want("no such user", f.GrantRole(t.Context(), nil, uuid.New(), auth.AdminRole), auth.ErrUserNotFound)
	_, err := f.Register(t.Context(), "bob", goodPassword, "nothing")
	f.want("registered with no role", err, auth.ErrRoleNotFound)
}

// The second of two who edit one version must learn that there is another.
func TestAnEditOfAnOlderVersionIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.setRole("clerk", "files:read")
	first, err := f.Role(t.Context(), "clerk")
	must(t, err)
	set := func(when auth.Condition, p ...auth.Permission) error {
		_, _, err := f.SetRole(t.Context(), nil, "clerk", p, when)
		return err
	}
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() { errs[0] = set(auth.Condition{Version: first.Version}, "files:write") })
	both.Go(func() { errs[1] = set(auth.Condition{Version: first.Version}, "files:delete") })
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), auth.ErrChanged) {
		t.Errorf("two at once: %v, %v", errs[0], errs[1])
	}
	f.want("made though it is there", set(auth.Condition{Absent: true}), auth.ErrChanged)
	f.want("deleted at another version", f.DeleteRole(t.Context(), nil, "clerk", auth.Condition{Version: first.Version}), auth.ErrChanged)
	_, _, err = f.SetRole(t.Context(), nil, "nothing", nil, auth.Condition{Version: 1})
	f.want("changed though it is not there", err, auth.ErrChanged)
	_, err = f.Role(t.Context(), "nothing")
	f.want("left of it", err, auth.ErrRoleNotFound)
}
