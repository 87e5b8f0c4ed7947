package main

import (
	"path/filepath"
	"testing"
)

// A terminal remembers what it has shown, and others may look on.
func TestHashesDoNotGoToATerminal(t *testing.T) {
	t.Parallel()
	a, c := newAccounts(t), newConsole(t)
	a.insert("alice")
	before := c.modes()
	ended := c.start(t.Context(), append([]string{"user", "export"}, a.flags...)...)
	c.ends(ended, exitFailed, before)
	c.await("is a terminal")
	if seen := c.seen.String(); len(seen) > 300 {
		t.Errorf("shown: %s", seen)
	}
}

// Without a terminal nothing is drawn: there, succeeded wants an empty standard error.
func TestAPersonSeesHowFarAnImportIs(t *testing.T) {
	t.Parallel()
	a, c := newAccounts(t), newConsole(t)
	before := c.modes()
	file := writeFile(t, "accounts.jsonl", jsonLine("alice", someHash)+"bad\n")
	ended := c.start(t.Context(), append([]string{"user", "import", file, "--continue"}, a.flags...)...)
	c.await("lines read: 2 (100 %), storing")
	c.await(clearLine + "accounts imported: 1")
	c.ends(ended, exitFailed, before)
	c.await(clearLine + "line 2: ")
}

// A list of a billion lines takes minutes.
func TestAPersonSeesHowFarAListOfLeakedPasswordsIs(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	before := c.modes()
	list := writeFile(t, "list.txt", hashOf("a")+"\n"+hashOf("b")+"\n")
	ended := c.start(t.Context(), "passwords", "build", "--out="+filepath.Join(t.TempDir(), "leaked"), list)
	c.await("list.txt: lines read: 2 (100 %)")
	c.await("parts made: ")
	c.await(clearLine + "leaked passwords in ")
	c.ends(ended, exitOK, before)
}
