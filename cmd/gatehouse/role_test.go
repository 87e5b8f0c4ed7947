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
	if listed := a.run("", "role", "list").succeeded(t); !strings.Contains(listed, "admin  gatehouse:*\n") || !strings.Contains(listed, "clerk  files:read files:write\n") {
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
