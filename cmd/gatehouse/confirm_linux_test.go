package main

import (
	"testing"

	"gatehouse.example/internal/dbtest"
)

// A name that was mistyped, or a line of a shell's history, must not delete an account or a table.
func TestWhatCannotBeUndoneIsAskedForOnATerminal(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice", "bob")
	there := func(name string) bool { return a.run("", "user", "show", name).code == exitOK }
	for answer, says := range map[string]string{
		"\r": "nothing was done", "n\r": "nothing was done", "yes please\r": "nothing was done", "\x03": "interrupted", "\x04": "interrupted",
	} {
		c := newConsole(t)
		before := c.modes()
		ended := c.start(t.Context(), append([]string{"user", "delete", "Alice"}, a.flags...)...)
		c.await(`Delete the account "alice" for good? Nobody gets its name again. [y/N] `)
		c.enter(answer)
		c.ends(ended, exitFailed, before)
		c.await(says)
		if !there("alice") {
			t.Fatalf("%q deletes the account", answer)
		}
	}
	c := newConsole(t)
	before := c.modes()
	ended := c.start(t.Context(), append([]string{"user", "delete", "alice"}, a.flags...)...)
	c.await("[y/N] ")
	c.enter("Yes\r")
	c.ends(ended, exitOK, before)
	c.await("account deleted: ")
	if there("alice") {
		t.Error("the account is there still")
	}
	c = newConsole(t)
	ended = c.start(t.Context(), "migrate", "down-to", "0", "--database-url="+dbtest.Owner(t, a.url))
	c.await("Undo every migration above version 0, and delete what their tables hold? [y/N] ")
	c.enter("\r")
	c.ends(ended, exitFailed, before)
	if !there("bob") {
		t.Error("the tables are gone")
	}
}
