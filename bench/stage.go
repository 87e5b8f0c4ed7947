package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/internal/pgdev"
	"gatehouse/internal/token"
	"gatehouse/migrations"
)

const (
	secretKey = "the secret key of the bench with 32 bytes or more"
	issuerURL = "http://localhost:8000"
)

// stage is where the rows play: a PostgreSQL with the schema, the service's program, and what has been started of it.
type stage struct {
	*terminal
	root       string // of the module
	dir        string
	profiles   string // folder for them; empty: there are to be none
	loadBefore string
	database   *pgdev.Server
	postmaster int
	pool       *pgxpool.Pool
	issuer     *token.Issuer
	refresh    *token.RefreshKeys
	started    map[string]*program
	servers    []*pgdev.Server // besides the database
	drawings

	// What several rounds need, and is slow to make.
	cold    []string
	named   []string
	towns   []*town
	signers map[token.Algorithm]signed
}

func newStage(ctx context.Context, t *terminal) (_ *stage, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{terminal: t, dir: dir, loadBefore: loadAverage(), started: map[string]*program{}, signers: map[token.Algorithm]signed{}, drawings: newDrawings()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.end())
		}
	}()
	// PostgreSQL runs as another user than root and must come through, or its data would be elsewhere, and stay there.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	s.progress("building the service")
	if err := s.build(ctx, s.binary()); err != nil {
		return nil, err
	}
	if err := pinProcess(ctx, os.Getpid(), generatorPin()); err != nil {
		return nil, err
	}
	s.progress("starting PostgreSQL")
	if s.database, s.postmaster, err = s.server(ctx, "postgres"); err != nil {
		return nil, err
	}
	if err := migrations.Apply(ctx, s.database.URL(), ""); err != nil {
		return nil, err
	}
	if s.pool, err = pgxpool.New(ctx, s.database.URL()); err != nil {
		return nil, err
	}
	keys := [][]byte{[]byte(secretKey)}
	ring, err := token.SecretRing(keys)
	if err != nil {
		return nil, err
	}
	if s.issuer, err = token.NewIssuer(token.Settings{Ring: ring, Issuer: issuerURL, Audience: "gatehouse", Lifetime: time.Hour}); err != nil {
		return nil, err
	}
	s.refresh, err = token.NewRefreshKeys(keys)
	return s, err
}

// build makes the program as the Dockerfile does.
func (s *stage) build(ctx context.Context, program string, flags ...string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "gatehouse").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	s.root = strings.TrimSpace(string(root))
	args := append([]string{"build", "-trimpath", "-tags", "nomsgpack", "-ldflags", "-s -w", "-o", program}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, "./cmd/gatehouse")...)
	build.Dir, build.Env = s.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

func (s *stage) binary() string { return filepath.Join(s.dir, "gatehouse") }

// server starts a PostgreSQL with its own default settings, on all processors.
func (s *stage) server(ctx context.Context, name string) (*pgdev.Server, int, error) {
	server, err := pgdev.Start(ctx, pgdev.Options{Dir: filepath.Join(s.dir, name), Log: io.Discard})
	if err != nil {
		return nil, 0, err
	}
	s.servers = append(s.servers, server)
	postmaster, err := freePostmaster(ctx, server.URL())
	return server, postmaster, err
}

// freePostmaster takes back from a server that it shares the bench's processors, and returns its process.
func freePostmaster(ctx context.Context, databaseURL string) (int, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	postmaster, err := strconv.Atoi(processStat(int(conn.PgConn().PID()))[statParent])
	if err != nil {
		return 0, err
	}
	return postmaster, pinProcess(ctx, postmaster, pin(0, runtime.NumCPU()))
}

// newDatabase makes a migrated database on a server and returns its address.
func newDatabase(ctx context.Context, serverURL, name string) (string, error) {
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

// end stops all that was started and removes it.
func (s *stage) end() error {
	s.progress("clearing up")
	for _, t := range s.towns {
		t.pool.Close()
	}
	for name := range s.started {
		s.stop(name)
	}
	if s.pool != nil {
		s.pool.Close()
	}
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
