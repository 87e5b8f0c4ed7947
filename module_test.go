package gatehouse_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// modulePath is the path in go.mod.
func modulePath(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(run(t, ".", "go", "list", "-m"))
}

// A path that stands anywhere but in import paths and go.mod would be forgotten by whoever
// publishes the module.
func TestTheModuleGetsAnotherPathByOneCommand(t *testing.T) {
	t.Parallel()
	old, dir := modulePath(t), t.TempDir()
	for name := range strings.FieldsSeq(run(t, ".", "git", "ls-files")) {
		copyFile(t, name, filepath.Join(dir, name))
	}
	run(t, dir, "git", "init", "--quiet")
	run(t, dir, "git", "add", "--all")
	run(t, dir, "make", "module", "NAME=login.example.org/x/gatehouse")
	if left, err := exec.Command("git", "-C", dir, "grep", "--fixed-strings", old).CombinedOutput(); err == nil {
		t.Errorf("what still has the old path:\n%s", left)
	}
	run(t, dir, "go", "list", "-deps", "-test", "./...")
	for _, module := range []string{"bench", "api/clients", "deploy/kubernetes"} {
		run(t, dir, "go", "-C", module, "list", "-deps", "-test", "./...")
	}
	run(t, dir, "go", "build", "-o", os.DevNull, "./cmd/gatehouse")
	if unformatted := run(t, dir, "gofmt", "-l", "cmd", "internal", "bench", "api"); unformatted != "" {
		t.Errorf("not formatted: %s", unformatted)
	}
}

// Whoever builds a release again must get the same bytes, or nobody can tell that it is what the
// source says. Another folder, another time and another clone must make no difference.
func TestTwoBuildsOfOneSourceAreTheSameToTheByte(t *testing.T) {
	t.Parallel()
	var sums []string
	for range 2 {
		dir := filepath.Join(t.TempDir(), "gatehouse")
		for name := range strings.FieldsSeq(run(t, ".", "git", "ls-files")) {
			copyFile(t, name, filepath.Join(dir, name))
		}
		run(t, dir, "make", "build", "VERSION=v0")
		sums = append(sums, run(t, dir, "sha256sum", "bin/gatehouse"))
	}
	if sums[0] != sums[1] {
		t.Errorf("two programs: %s and %s", sums[0], sums[1])
	}
}

// Another service cannot import what cannot be required; an example that lacks an import does not
// build.
func TestAnotherModuleBuildsTheExamples(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name := range strings.FieldsSeq(run(t, ".", "git", "ls-files")) {
		copyFile(t, name, filepath.Join(dir, "gatehouse", name))
	}
	page := read(t, "docs/integrating.md")
	_, page, found := strings.Cut(page, "<!-- commands: TestAnotherModuleBuildsTheExamples -->")
	commands, rest, closed := strings.Cut(page, "<!-- commands: ")
	blocks := blocksOf(commands, "sh")
	if !found || !closed || len(blocks) != 2 {
		t.Fatalf("docs/integrating.md has %d blocks of commands to require the module", len(blocks))
	}
	examples := blocksOf(rest, "go")
	if len(examples) != 3 {
		t.Fatalf("docs/integrating.md has %d examples in Go", len(examples))
	}
	run(t, filepath.Join(dir, "gatehouse"), "bash", "-euc", blocks[0])
	for _, example := range examples {
		if !strings.Contains(example, `"`+modulePath(t)+`/verify"`) {
			t.Error("an example does not import package verify")
		}
		if err := os.WriteFile(filepath.Join(dir, "shop", "main.go"), []byte(example), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, filepath.Join(dir, "shop"), "bash", "-euc", blocks[1])
	}
}

// blocksOf are the blocks of code in one language.
func blocksOf(text, language string) (blocks []string) {
	for {
		_, rest, found := strings.Cut(text, "\n```"+language+"\n")
		block, after, closed := strings.Cut(rest, "\n```\n")
		if !found || !closed {
			return blocks
		}
		blocks, text = append(blocks, block+"\n"), "\n"+after
	}
}

// run returns what a command prints, which must succeed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = dir
	var failed strings.Builder
	command.Stderr = &failed
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, out, &failed)
	}
	return string(out)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		return // deleted, and not committed yet
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}
