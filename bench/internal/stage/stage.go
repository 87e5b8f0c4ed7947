// Package stage builds, starts and stops what is measured: the service, its PostgreSQL, and the
// accounts in it.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/bench/internal/machine"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/pgdev"
	"gatehouse.example/internal/token"
	"gatehouse.example/migrations"
)

// What replicas are set to.
const (
	SecretKey = "the secret key of the bench with 32 bytes or more"
	IssuerURL = "http://localhost:8000"
)

// Stage has what the rows measure: a PostgreSQL with the schema, the service's program, and the
// programs that run.
type Stage struct {
	Progress   func(format string, args ...any) // shows what is being done
	Root       string                           // of the repository
	Dir        string                           // for all that is made
	profiles   string                           // folder for them; empty: there are to be none
	loadBefore string
	Database   *pgdev.Server
	postmaster int
	Pool       *pgxpool.Pool
	Keys       *keychain.Keychain // of SecretKey
	Issuer     *token.Issuer
	Refresh    *token.RefreshKeys
	Cookies    *token.CookieKeys
	Started    map[string]*Program
	servers    []*pgdev.Server // besides the database

	// What several rounds need, and is slow to make.
	cold  []string
	named []string
}

// New builds the service and starts PostgreSQL. The stage is to be ended.
func New(ctx context.Context, progress func(format string, args ...any)) (_ *Stage, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return nil, err
	}
	s := &Stage{Progress: progress, Dir: dir, loadBefore: machine.LoadAverage(), Started: map[string]*Program{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.End())
		}
	}()
	// PostgreSQL runs as another user than root and must come through, or its data would be
	// elsewhere, and stay there.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	if s.Root, err = Root(ctx); err != nil {
		return nil, err
	}
	s.Progress("building the service")
	if err := s.Build(ctx, s.Binary()); err != nil {
		return nil, err
	}
	if err := machine.PinProcess(ctx, os.Getpid(), machine.GeneratorPin()); err != nil {
		return nil, err
	}
	s.Progress("starting PostgreSQL")
	if s.Database, s.postmaster, err = s.StartServer(ctx, "postgres"); err != nil {
		return nil, err
	}
	if err := migrations.Apply(ctx, s.Database.URL(), ""); err != nil {
		return nil, err
	}
	if s.Pool, err = pgxpool.New(ctx, s.Database.URL()); err != nil {
		return nil, err
	}
	if s.Keys, err = keychain.New([][]byte{[]byte(SecretKey)}); err != nil {
		return nil, err
	}
	ring, err := token.SecretRing(s.Keys.Secrets())
	if err != nil {
		return nil, err
	}
	if s.Issuer, err = token.NewIssuer(token.Settings{Ring: ring, Issuer: IssuerURL, Audience: "gatehouse", Lifetime: time.Hour}); err != nil {
		return nil, err
	}
	s.Refresh, s.Cookies = token.NewRefreshKeys(s.Keys), token.NewCookieKeys(s.Keys)
	return s, nil
}

// Build makes the program as the Dockerfile does.
func (s *Stage) Build(ctx context.Context, program string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-tags", "nomsgpack", "-ldflags", "-s -w", "-o", program}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, "./cmd/gatehouse")...)
	build.Dir, build.Env = s.Root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// Binary is the program of the service.
func (s *Stage) Binary() string { return filepath.Join(s.Dir, "gatehouse") }

// StartServer starts a PostgreSQL with its own default settings but for room for more clients, on
// all processors. Settings, each name=value, override those.
func (s *Stage) StartServer(ctx context.Context, name string, settings ...string) (*pgdev.Server, int, error) {
	server, err := pgdev.Start(ctx, pgdev.Options{
		Dir: filepath.Join(s.Dir, name), Log: io.Discard,
		Settings: append([]string{"max_connections=300"}, settings...), // connections for all rows together
	})
	if err != nil {
		return nil, 0, err
	}
	s.servers = append(s.servers, server)
	postmaster, err := FreePostmaster(ctx, server.URL())
	return server, postmaster, err
}

// FreePostmaster lets a PostgreSQL run on all processors, where it would have the bench's alone. It
// returns the id of its first process.
func FreePostmaster(ctx context.Context, databaseURL string) (int, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	postmaster, err := machine.Parent(int(conn.PgConn().PID()))
	if err != nil {
		return 0, err
	}
	return postmaster, machine.PinProcess(ctx, postmaster, machine.AnyProcessor())
}

// NewDatabase makes a migrated database on a server and returns its address.
func NewDatabase(ctx context.Context, serverURL, name string) (string, error) {
	conn, err := pgx.Connect(ctx, serverURL)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", err
	}
	address := strings.Replace(serverURL, "/postgres?", "/"+name+"?", 1)
	return address, migrations.Apply(ctx, address, "")
}

// SeparateDatabase is one with the schema, and nothing of other rows.
func (s *Stage) SeparateDatabase(ctx context.Context, name string) (*pgxpool.Pool, string, error) {
	address, err := NewDatabase(ctx, s.Database.URL(), name)
	if err != nil {
		return nil, "", err
	}
	pool, err := pgxpool.New(ctx, address)
	return pool, address, err
}

// End stops all that was started and removes it.
func (s *Stage) End() error {
	s.Progress("clearing up")
	for name := range s.Started {
		s.Stop(name)
	}
	if s.Pool != nil {
		s.Pool.Close()
	}
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.Dir))...)
}
