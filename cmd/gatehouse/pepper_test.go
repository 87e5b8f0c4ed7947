package main

import (
	"slices"
	"strings"
	"testing"
)

func (a accounts) peppers() []pepperLine {
	a.Helper()
	return linesFromJSON[pepperLine](a.T, a.run("", "pepper", "list", "--json").succeeded(a.T))
}

// Scripts go through the lines. A null or an empty array would be one.
func TestNoKeysAreNoLine(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	if printed := a.run("", "pepper", "list", "--json").succeeded(t); printed != "" {
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
	peppered.run("", "pepper", "retire", "0").failed(t, exitFailed, "a replica may hash with the key")
	peppered.run("", "pepper", "retire", "0", "--yes").failed(t, exitFailed, "in use")
	peppered.run("", "pepper", "retire", "ffff").failed(t, exitFailed, "no such password key")

	peppered.serveOnce("--secret-key=" + testKey)
	peppered.run(goodPassword, "user", "password", "alice", "--password-stdin").succeeded(t)
	keys := peppered.peppers()
	if len(keys) != 2 || keys[0] != (pepperLine{Key: "0"}) || keys[1] != (pepperLine{keys[1].Key, true, 1}) {
		t.Fatalf("after the password is changed: %+v", keys)
	}
	peppered.run("", "pepper", "retire", keys[1].Key).failed(t, exitFailed, "in use")
	if l := fromJSON[endedKeyLine](t, peppered.run("", "pepper", "retire", "0", "--json").succeeded(t)); l.Key != "0" {
		t.Errorf("retired: %+v", l)
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

// Nobody could log in on the replicas with a password that was set under another pepper than
// theirs.
func TestMissingPepperIsNamedBeforeAPasswordIsAskedFor(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	peppered := accounts{a.T, a.url, append(a.flags, "--password-pepper="+testKey)}
	peppered.serveOnce("--secret-key=" + testKey)
	a.run("", "user", "add", "alice").failed(t, exitFailed, "PASSWORD_PEPPER lacks the key")
	a.run("", "user", "password", "alice").failed(t, exitFailed, "PASSWORD_PEPPER lacks the key")
}

// With a key on record that the replicas lack, none of them would start again.
func TestAStrayPepperGoesOnNoRecord(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.serveOnce("--secret-key=" + testKey)
	stray := accounts{a.T, a.url, append(a.flags, "--password-pepper="+testKey)}
	for _, args := range [][]string{{"user", "add", "bob", "--password-stdin"}, {"user", "password", "alice", "--password-stdin"}, {"user", "add", "carol", "--initial-secret"}} {
		stray.run(goodPassword, args...).failed(t, exitFailed, "PASSWORD_PEPPER begins with the key")
	}
	if keys := a.peppers(); len(keys) != 1 || keys[0].Key != "0" {
		t.Errorf("%+v", keys)
	}
	a.serveOnce("--secret-key=" + testKey)
}

// A replica whose key is taken off the record answers each new password with 500.
func TestAShellWithoutThePepperOfTheReplicasRetiresNoKeyOfTheirsUnasked(t *testing.T) {
	t.Parallel()
	for name, shell := range map[string][]string{"no pepper": nil, "another one": {"--password-pepper=" + oldKey}} {
		a := newAccounts(t)
		a.serveOnce("--secret-key=" + testKey) // without a pepper, as before it
		peppered := accounts{a.T, a.url, append(slices.Clone(a.flags), "--password-pepper="+testKey)}
		peppered.serveOnce("--secret-key=" + testKey)
		keys := peppered.peppers()
		if len(keys) != 2 {
			t.Fatalf("%+v", keys)
		}
		key := keys[slices.IndexFunc(keys, func(l pepperLine) bool { return l.Current })].Key
		of := accounts{a.T, a.url, append(slices.Clone(a.flags), shell...)}
		of.run("", "pepper", "retire", key).failed(t, exitFailed, "a replica may hash with the key")
		if now := peppered.peppers(); !slices.Equal(now, keys) {
			t.Errorf("%s: %+v", name, now)
		}
		if out := of.run("", "pepper", "retire", key, "--yes").succeeded(t); out != "key retired: "+key+"\n" { // where it was a stray one
			t.Errorf("%s: %q", name, out)
		}
	}
}

// The next restart of any replica would fail for the key that the stray one has left on record.
func TestAReplicaWithAStrayPepperPutsItOnNoRecord(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	peppered := accounts{a.T, a.url, append(slices.Clone(a.flags), "--password-pepper="+testKey)}
	peppered.serveOnce("--secret-key=" + testKey)
	keys := peppered.peppers()
	if e := ended(t, a.serving("--secret-key="+testKey, "--password-pepper="+oldKey)); e.code != exitFailed || !strings.Contains(e.err, "PASSWORD_PEPPER lacks the key") {
		t.Errorf("%+v", e)
	}
	if now := peppered.peppers(); !slices.Equal(now, keys) {
		t.Errorf("%+v, then %+v", keys, now)
	}
}
