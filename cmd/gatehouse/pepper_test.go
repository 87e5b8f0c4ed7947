package main

import (
	"strings"
	"testing"
)

func (a accounts) peppers() []pepperLine {
	a.Helper()
	return fromJSON[[]pepperLine](a.T, a.run("", "pepper", "list", "--json").succeeded(a.T))
}

// An empty list that is printed as null breaks scripts that go through it.
func TestNoKeysAreAnEmptyList(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	if printed := a.run("", "pepper", "list", "--json").succeeded(t); strings.TrimSpace(printed) != "[]" {
		t.Errorf("printed as %s", printed)
	}
}

// The way from passwords without a pepper to passwords with one, as an operator goes it.
func TestKeyIsRetiredWhenNoPasswordNeedsIt(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.run(goodPassword, "user", "add", "alice", "--password-stdin").succeeded(t)
	if keys := a.peppers(); len(keys) != 1 || keys[0] != (pepperLine{Key: "0", Current: true, Users: 1}) {
		t.Fatalf("without a pepper: %+v", keys)
	}
	a.run("", "pepper", "retire", "0").failed(t, exitFailed, "in use")

	peppered := accounts{a.T, a.url, append(a.flags, "--password-pepper="+testKey)}
	if keys := peppered.peppers(); len(keys) != 1 || keys[0] != (pepperLine{Key: "0", Users: 1}) {
		t.Fatalf("with a pepper: %+v", keys)
	}
	peppered.run("", "pepper", "retire", "0").failed(t, exitFailed, "in use")
	peppered.run("", "pepper", "retire", "ffff").failed(t, exitFailed, "no such password key")

	peppered.run(goodPassword, "user", "password", "alice", "--password-stdin").succeeded(t)
	keys := peppered.peppers()
	if len(keys) != 2 || keys[0] != (pepperLine{Key: "0"}) || keys[1] != (pepperLine{keys[1].Key, true, 1}) {
		t.Fatalf("after the password is changed: %+v", keys)
	}
	peppered.run("", "pepper", "retire", keys[1].Key).failed(t, exitFailed, "in use")
	if out := peppered.run("", "pepper", "retire", "0").succeeded(t); out != "retired 0\n" {
		t.Errorf("retired: %q", out)
	}
	table := peppered.run("", "pepper", "list").succeeded(t)
	lines := strings.Split(table, "\n")
	if column := strings.Index(lines[0], "CURRENT"); len(lines) != 3 || strings.Index(lines[1], "yes") != column {
		t.Errorf("not aligned:\n%s", table)
	}
	if strings.Contains(table, testKey) {
		t.Errorf("the key itself is shown:\n%s", table)
	}
}

// Nobody could log in on the replicas with a password that was set under another pepper than theirs.
func TestMissingPepperIsNamedBeforeAPasswordIsAskedFor(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	peppered := accounts{a.T, a.url, append(a.flags, "--password-pepper="+testKey)}
	// The key goes on record before the password is looked at.
	peppered.run("qxzw", "user", "add", "alice", "--password-stdin").failed(t, exitFailed, "password: ")
	a.run("", "user", "add", "alice").failed(t, exitFailed, "PASSWORD_PEPPER")
	a.run("", "user", "password", "alice").failed(t, exitFailed, "PASSWORD_PEPPER")
}
