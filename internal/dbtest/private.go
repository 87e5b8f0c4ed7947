package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"gatehouse.example/internal/pgdev"
)

// PrivateServer is a PostgreSQL of one test's own, for tests of faults: the test may stop it and
// start it again.
type PrivateServer struct {
	how      string // where it comes from, for people
	postgres interface {
		URL() string
		Stop() error
		Restart(context.Context) error
		Remove() error
	}
}

// Private starts a server for this test alone. It is removed when the test ends. Unless
// GATEHOUSE_TEST_DB says otherwise, it runs the PostgreSQL programs of this machine if there are
// any, since that takes less time. Each setting is name=value, and overrides those of other test
// servers.
func Private(t testing.TB, settings ...string) *PrivateServer {
	t.Helper()
	way := os.Getenv("GATEHOUSE_TEST_DB")
	if way == "" && pgdev.Find() != "" {
		way = "local"
	}
	server, err := startPrivate(t.Context(), way, settings...)
	if err != nil {
		t.Fatalf("dbtest: private server: %v", err)
	}
	t.Cleanup(func() {
		if err := server.postgres.Remove(); err != nil {
			t.Errorf("dbtest: private server: %v", err)
		}
	})
	if err := migrate(t.Context(), server.URL(), ServiceRole); err != nil {
		t.Fatalf("dbtest: private server: %v", err)
	}
	return server
}

// URL returns the address of a migrated database. It stays the same over a restart.
func (p *PrivateServer) URL() string { return p.postgres.URL() }

// Stop ends the server as an administrator would: connections are cut, and what was committed is
// kept.
func (p *PrivateServer) Stop(t testing.TB) {
	t.Helper()
	if err := p.postgres.Stop(); err != nil {
		t.Fatalf("dbtest: stop private server: %v", err)
	}
}

// Start starts the stopped server again, and returns when it answers.
func (p *PrivateServer) Start(t testing.TB) {
	t.Helper()
	if err := p.postgres.Restart(t.Context()); err != nil {
		t.Fatalf("dbtest: start private server: %v", err)
	}
}

// startPrivate makes a server in the given way. "" is the first way that works.
func startPrivate(ctx context.Context, way string, settings ...string) (*PrivateServer, error) {
	switch way {
	case "container":
		return runContainer(ctx, settings...)
	case "local":
		return runLocal(ctx, settings...)
	case "":
	default:
		return nil, fmt.Errorf("GATEHOUSE_TEST_DB is %q, neither container nor local", way)
	}
	server, containerErr := runContainer(ctx, settings...)
	if containerErr == nil {
		return server, nil
	}
	server, localErr := runLocal(ctx, settings...)
	if localErr != nil {
		return nil, fmt.Errorf(
			"no PostgreSQL: set TEST_DATABASE_URL, or run a container engine that has or can get "+
				"the image POSTGRES_IMAGE (%w), or install PostgreSQL 14 or newer (%w)",
			containerErr,
			localErr)
	}
	server.how += " (no container: " + strings.ReplaceAll(containerErr.Error(), "\n", "; ") + ")"
	return server, nil
}

// runLocal runs a server with the PostgreSQL programs of this machine.
func runLocal(ctx context.Context, settings ...string) (*PrivateServer, error) {
	bin := pgdev.Find()
	if bin == "" {
		return nil, errors.New("no PostgreSQL programs on this machine")
	}
	server, err := pgdev.Start(ctx, pgdev.Options{Log: os.Stderr, Settings: settings})
	return &PrivateServer{bin, server}, err
}
