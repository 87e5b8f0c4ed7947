package gatehouse_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"gatehouse/internal/config"
)

var update = flag.Bool("update", false, "write README.md's generated parts")

func TestTheREADMEHasTheSettingsAsTheyAre(t *testing.T) {
	t.Parallel()
	table, err := config.Markdown()
	if err != nil {
		t.Fatal(err)
	}
	holdREADME(t, "settings", table)
}

// The examples are run by tests of package verify. These are not parallel, since with -update they write the same file.
func TestTheREADMEHasTheExamplesAsTheyRun(t *testing.T) {
	source, err := os.ReadFile("verify/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, function := range map[string]string{"example": "Example", "example of public keys": "Example_publicKeys"} {
		_, body, found := strings.Cut(string(source), "func "+function+"() {\n")
		body, _, closed := strings.Cut(body, "\n}\n")
		if !found || !closed {
			t.Fatalf("verify has no %s", function)
		}
		holdREADME(t, name, "```go\n"+strings.ReplaceAll("\n"+body, "\n\t", "\n")[1:]+"\n```\n")
	}
	script, err := os.ReadFile("docs/check_token.py")
	if err != nil {
		t.Fatal(err)
	}
	holdREADME(t, "example in Python", "```python\n"+string(script)+"```\n")
}

// holdREADME compares a part of README.md with what it should be, or writes it.
func holdREADME(t *testing.T, name, want string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": written by make generate -->\n", "<!-- end of "+name+" -->"
	before, rest, found := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("README.md has no place for the %s", name)
	case old == want:
	case *update:
		if err := os.WriteFile("README.md", []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("README.md has another %s: run make generate", name)
	}
}
