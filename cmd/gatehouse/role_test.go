package main

import (
	"strings"
	"testing"

	"gatehouse.example/internal/wire"
)

func TestAnOperatorMakesTheFirstAdminAndRunsRoles(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	root := a.user(goodPassword+"\n", "user", "add", "root", "--role", "admin", "--password-stdin")
	if strings.Join(root.Roles, " ") != "admin" {
		t.Errorf("%+v", root)
	}
	a.insert("alice")
	role := fromJSON[wire.Role](t, a.run("", "role", "set", "clerk", "files:write", "files:read", "--json").succeeded(t))
	if role.Name != "clerk" || words(role.Permissions) != "files:read files:write" {
		t.Errorf("%+v", role)
	}
	if u := a.user("", "user", "role", "add", "ALICE", "clerk"); strings.Join(u.Roles, " ") != "clerk" || u.TokenVersion < 2 {
		t.Errorf("granted: %+v", u)
	}
	if shown := a.run("", "user", "show", "alice").succeeded(t); !strings.Contains(shown, "roles     clerk\n") {
		t.Error(shown)
	}
	if listed := a.run("", "role", "list").succeeded(t); !strings.Contains(listed, "admin  no      gatehouse:*\n") || !strings.Contains(listed, "clerk  no      files:read files:write\n") {
		t.Error(listed)
	}
	if lines := strings.Count(a.run("", "role", "list", "--json").succeeded(t), "\n"); lines != 2 {
		t.Errorf("%d lines", lines)
	}
	a.run("", "role", "show", "clerk").succeeded(t)
	if u := a.user("", "user", "role", "remove", "alice", "clerk"); len(u.Roles) != 0 || u.Roles == nil {
		t.Errorf("revoked: %+v", u)
	}
	if got := a.run("", "role", "delete", "clerk").succeeded(t); got != "role deleted: clerk\n" {
		t.Error(got)
	}
	a.run("", "user", "delete", "alice", "--yes").succeeded(t)
	for what, args := range map[string][]string{
		"the last enabled admin must stay":   {"user", "disable", "root"},
		"the last enabled admin must stay ":  {"user", "delete", "root", "--yes"},
		"the last enabled admin must stay  ": {"user", "role", "remove", "root", "admin"},
		"the role is built in":               {"role", "set", "admin"},
		"the role is built in ":              {"role", "delete", "admin"},
		"no such role":                       {"role", "show", "clerk"},
		"no such role ":                      {"user", "role", "add", "root", "clerk"},
		"no such user":                       {"user", "show", "alice"},
		"resource:action":                    {"role", "set", "clerk", "files:"},
	} {
		if e := a.run("", args...); e.code != exitFailed || !strings.Contains(e.err, strings.TrimSpace(what)) || strings.Count(e.err, "\n") != 1 {
			t.Errorf("%v: %+v", args, e)
		}
	}
}

// Whoever says that a role demands a factor must not take its permissions away by that.
func TestAnOperatorHasARoleDemandAFactor(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	set := func(args ...string) wire.Role {
		t.Helper()
		return fromJSON[wire.Role](t, a.run("", append([]string{"role", "set", "--json"}, args...)...).succeeded(t))
	}
	set("clerk", "files:read")
	for n, step := range []struct {
		args   []string
		factor bool
		has    string
	}{
		{[]string{"clerk", "--factor"}, true, "files:read"},
		{[]string{"clerk", "files:write"}, true, "files:write"},
		{[]string{"clerk", "files:read", "--no-factor"}, false, "files:read"},
		{[]string{"admin", "--factor"}, true, "gatehouse:*"},
		{[]string{"admin", "--no-factor"}, false, "gatehouse:*"},
	} {
		if role := set(step.args...); role.Factor != step.factor || words(role.Permissions) != step.has {
			t.Errorf("%d, %v: %+v", n, step.args, role)
		}
	}
	a.run("", "role", "set", "clerk", "--factor").succeeded(t)
	if shown := a.run("", "role", "show", "clerk").succeeded(t); !strings.Contains(shown, "factor       yes\n") {
		t.Error(shown)
	}
}

// Whoever has lost all factors, and has no password either, must not be left without a way in.
func TestAnOperatorResetsTheFactorsOfAnAccountAndHearsWhatComesNext(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice", "bob")
	a.asOwner(`INSERT INTO totp_secrets (user_id, sealed, last_step) SELECT id, decode(repeat('5a', 40), 'hex'), 1 FROM users;
		INSERT INTO recovery_codes (user_id, digest) SELECT id, sha256('code') FROM users;
		INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
			SELECT gen_random_uuid(), id, sha256(id::text::bytea), 'key', 'a key', 0, gen_random_uuid(), false, false, true, '{usb}' FROM users;
		UPDATE users SET password_removed_at = now() WHERE username = 'bob'`)
	shown := a.run("", "user", "show", "bob").succeeded(t)
	if !strings.Contains(shown, "authenticator app, 1 passkeys, 1 recovery codes\n") || !strings.Contains(shown, "password  none\n") {
		t.Error(shown)
	}
	reset := a.run("", "user", "factors", "reset", "ALICE", "--json")
	if u := fromJSON[wire.Account](t, reset.succeeded(t)); u.Factors != (wire.Factors{}) || u.TokenVersion < 2 || reset.err != "" {
		t.Errorf("%+v, %+v, %s", u, u.Factors, reset.err)
	}
	reset = a.run("", "user", "factors", "reset", "bob")
	if !strings.Contains(reset.out, "factors   none\n") || !strings.Contains(reset.err, "gatehouse user password --initial-secret") || reset.code != 0 {
		t.Errorf("%+v", reset)
	}
	a.run("", "user", "password", "bob", "--initial-secret").succeeded(t)
	if u := a.user("", "user", "show", "bob"); u.Factors.Passwordless || u.PasswordExpiresAt == nil {
		t.Errorf("with an initial secret: %+v, %+v", u, u.Factors)
	}
}
