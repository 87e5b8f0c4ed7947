package gatehouse_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A unit with a setting that systemd does not know is used without it, and only its log says so. So
// a misspelt line would take a protection away.
func TestTheUnitsOfSystemdAreUnderstoodAndTightlyClosed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	units, err := filepath.Glob("deploy/systemd/*")
	if err != nil || len(units) < 3 {
		t.Fatal(units, err)
	}
	dir, program := t.TempDir(), executable(t)
	var copies []string
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, filepath.Base(unit))
		installed := strings.ReplaceAll(string(text), "/usr/local/bin/gatehouse", program)
		if err := os.WriteFile(copied, []byte(installed), 0o600); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, copied)
		if strings.HasSuffix(unit, ".service") {
			// of 100; what is left is the network
			analyze(t, "security", "--offline=true", "--threshold=15", copied)
		}
	}
	if said := analyze(t, append([]string{"verify"}, copies...)...); strings.Contains(said, dir) {
		t.Error(said) // it warns of unknown settings, and goes on
	}
}

func executable(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func analyze(t *testing.T, args ...string) (said string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "systemd-analyze",
		append([]string{"--no-pager"}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}
