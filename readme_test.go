package gatehouse_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"gatehouse/internal/config"
)

var update = flag.Bool("update", false, "write the table of settings into README.md")

func TestTheREADMEHasTheSettingsAsTheyAre(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- settings: written by make generate -->\n", "<!-- end of settings -->"
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(readme), begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("README.md has no place for the settings")
	}
	table, err := config.Markdown()
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case old == table:
	case *update:
		if err := os.WriteFile("README.md", []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("README.md has other settings than the binary: run make generate")
	}
}
