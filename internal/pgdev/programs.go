package pgdev

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const oldestMajor = 14 // the oldest PostgreSQL that is supported

// programs is a folder with postgres, initdb and pg_ctl in it.
type programs struct {
	bin   string
	major int    // version
	kind  string // as Server.Kind returns it
}

func (p programs) path(name string) string { return filepath.Join(p.bin, name) }

// Find returns the folder of PostgreSQL's programs on this machine that Start would use for a new cluster.
func Find() (bin string, ok bool) {
	runner, err := unprivileged()
	if err != nil {
		return "", false
	}
	found := localPrograms(runner)
	if len(found) == 0 {
		return "", false
	}
	return found[0].bin, true
}

// localPrograms returns all PostgreSQLs on this machine that are new enough and that the account can run: the one on
// the PATH first, then the others, newest first.
func localPrograms(runner account) []programs {
	chosen := usable(runner, onPath())
	others := usable(runner, installed())
	slices.SortStableFunc(others, func(a, b programs) int { return b.major - a.major })
	return append(chosen, others...)
}

// onPath returns the folders of the PostgreSQL that the PATH leads to.
func onPath() []string {
	var folders []string
	if postgres, err := exec.LookPath("postgres"); err == nil {
		if target, err := filepath.EvalSymlinks(postgres); err == nil { // initdb stands next to the real one
			folders = append(folders, filepath.Dir(target))
		}
	}
	if output, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(output)))
	}
	return folders
}

// installed returns the folders where packages put PostgreSQL without adding it to the PATH.
func installed() []string {
	var folders []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // PostgreSQL's own RPMs
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin", // the macOS application
		"/usr/local/pgsql/bin",                               // built from source
	} {
		found, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		folders = append(folders, found...)
	}
	return folders
}

// usable returns those of the folders that hold a whole PostgreSQL that is new enough.
func usable(runner account, folders []string) []programs {
	var list []programs
	for _, bin := range folders {
		if p, err := inspect(runner, bin); err == nil && p.major >= oldestMajor {
			p.kind = "local binaries"
			list = append(list, p)
		}
	}
	return list
}

var versionLine = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)

// inspect asks the programs in bin for their version, as the account that will run them.
func inspect(runner account, bin string) (programs, error) {
	for _, name := range []string{"initdb", "pg_ctl"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return programs{}, err
		}
	}
	output, err := runner.command(context.Background(), "/", filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return programs{}, err
	}
	match := versionLine.FindSubmatch(output)
	if match == nil {
		return programs{}, errors.New("unknown answer to postgres --version")
	}
	major, err := strconv.Atoi(string(match[1]))
	return programs{bin: bin, major: major}, err
}
