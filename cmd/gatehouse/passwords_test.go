package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func hashOf(password string) string { return fmt.Sprintf("%X", sha1.Sum([]byte(password))) }

// An operator makes the file, and from then on nobody gets such a password by a command either.
func TestPasswordsOfALeakAreGivenToNobody(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "leaked")
	list := writeFile(t, "list.txt", hashOf("another leaked one")+":3\r\n"+hashOf("padding")+":0\r\n")
	printed := gatehouse(t, hashOf(goodPassword)+"\n", "passwords", "build", "--out", file, list, "-").succeeded(t)
	if printed != "leaked passwords in "+file+": 2\n" {
		t.Errorf("printed: %s", printed)
	}
	a := newAccounts(t, "--breached-passwords="+file)
	const says = "password: password is known from a leak"
	a.run(goodPassword, "user", "add", "alice", "--password-stdin").failed(t, exitFailed, says)
	a.run("padding of some length", "user", "add", "alice", "--password-stdin").succeeded(t)
	e := a.run("another leaked one", "user", "password", "alice", "--password-stdin")
	e.failed(t, exitFailed, says)
	if strings.Contains(e.err, "another leaked one") {
		t.Errorf("quoted: %s", e.err)
	}
	off := accounts{t, a.url, []string{"--database-url=" + a.url, "--breached-passwords=off"}}
	off.run(goodPassword, "user", "add", "bob", "--password-stdin").succeeded(t)
}

func TestAFileOfLeakedPasswordsIsToldAsJSON(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "leaked")
	printed := gatehouse(t, hashOf("a")+"\n"+hashOf("b"), "passwords", "build", "--out="+file, "--json").succeeded(t)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	want := builtFile{file, 2, uint64(info.Size())}
	if got := fromJSON[builtFile](t, printed); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestAListThatIsNoneIsToldByItsLineAndLeavesNoFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "leaked")
	list := writeFile(t, "list.txt", hashOf("a")+":3\nhunter2\n")
	for _, test := range []struct {
		stdin, says string
		args        []string
	}{
		{"", list + ", line 2: is no SHA-1 hash", []string{list}},
		{"hunter2", "standard input, line 1: is no SHA-1 hash", nil},
		{"", "no hash", nil},
		{"", "no such file", []string{list + ".missing"}},
	} {
		e := gatehouse(t, test.stdin, append([]string{"passwords", "build", "--out=" + file}, test.args...)...)
		e.failed(t, exitFailed, test.says)
		if strings.Contains(e.err, "hunter2") {
			t.Errorf("what may be a password is quoted: %s", e.err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnInterruptedListLeavesNoFile(t *testing.T) {
	t.Parallel()
	in, to, err := os.Pipe() // which never ends
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer to.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "leaked")
	var out, errs bytes.Buffer
	code := runHere(ctx, []string{"passwords", "build", "--out=" + file}, terminal{in: in, out: &out, err: &errs})
	ending{code, out.String(), errs.String()}.failed(t, exitFailed, "interrupted")
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A replica that started with half a file would let half of the passwords through.
func TestAReplicaDoesNotStartWithADamagedFileOfLeakedPasswords(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	file := filepath.Join(t.TempDir(), "leaked")
	gatehouse(t, hashOf("a"), "passwords", "build", "--out="+file).succeeded(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a.serveOnce("--secret-key="+testKey, "--breached-passwords="+file)
	changed := bytes.Clone(good)
	changed[len(changed)-1] ^= 1
	for name, content := range map[string][]byte{
		"cut": good[:len(good)-1], "changed": changed, "foreign": []byte(hashOf("a") + "\n"),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		e := ended(t, a.serving("--secret-key="+testKey, "--breached-passwords="+file))
		if e.code != exitUsage || !strings.Contains(e.err, "BREACHED_PASSWORDS: ") ||
			!strings.Contains(e.err, "`gatehouse passwords build`") {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
