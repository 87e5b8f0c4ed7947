package main

import (
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
)

// A script has no one to answer, and must say by itself that it means it.
func TestWhatCannotBeUndoneNeedsYesWhereNobodyIsAsked(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.run("y\n", "user", "delete", "alice").failed(t, exitFailed, "this cannot be undone; give --yes")
	owner := "--database-url=" + dbtest.Owner(t, a.url)
	gatehouse(t, "y\n", "migrate", "down-to", "0", owner).failed(t, exitFailed, "this cannot be undone; give --yes")
	deleted := fromJSON[idLine](t, a.run("", "user", "delete", "alice", "--yes", "--json").succeeded(t))
	a.run("", "user", "show", "alice").failed(t, exitFailed, "no such user")
	if deleted.ID.String() == "" || deleted.ID.Version() == 0 {
		t.Errorf("%+v", deleted)
	}
	if e := gatehouse(t, "", "migrate", "down-to", "0", "--yes", owner); e.code != exitFailed || !strings.Contains(e.err, "names of deleted accounts would be free") {
		t.Errorf("%+v", e)
	}
	a.asOwner("DELETE FROM retired_usernames")
	gatehouse(t, "", "migrate", "down-to", "0", "--yes", owner).succeeded(t)
	a.run("", "user", "list").failed(t, exitFailed, "the schema is older than this binary: run `gatehouse migrate`")
}
