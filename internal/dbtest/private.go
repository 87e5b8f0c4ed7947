package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"gatehouse/internal/pgdev"
)

// PrivateServer is a PostgreSQL of one test's own, which it may stop and start again: for tests of faults.
type PrivateServer struct {
	url    string
	stop   func(context.Context) error
	start  func(context.Context) error
	remove func() error
}

// Private starts a server for this test alone; it is removed when the test ends. It is made with the PostgreSQL
// programs of this machine or, without any, in a container.
func Private(t testing.TB) *PrivateServer {
	t.Helper()
	server, err := startPrivate(t.Context())
	if err != nil {
		t.Fatalf("dbtest: private server: %v", err)
	}
	t.Cleanup(func() {
		if err := server.remove(); err != nil {
			t.Errorf("dbtest: private server: %v", err)
		}
	})
	if err := migrate(t.Context(), server.url); err != nil {
		t.Fatalf("dbtest: private server: %v", err)
	}
	return server
}

// URL returns the address of a migrated database. It stays the same when the server is started again.
func (p *PrivateServer) URL() string { return p.url }

// Stop ends the server, as an administrator would: connections are cut, what was committed is kept.
func (p *PrivateServer) Stop(t testing.TB) {
	t.Helper()
	if err := p.stop(t.Context()); err != nil {
		t.Fatalf("dbtest: stop private server: %v", err)
	}
}

// Start runs the stopped server again, and returns when it answers.
func (p *PrivateServer) Start(t testing.TB) {
	t.Helper()
	if err := p.start(t.Context()); err != nil {
		t.Fatalf("dbtest: start private server: %v", err)
	}
}

func startPrivate(ctx context.Context) (*PrivateServer, error) {
	if _, ok := pgdev.Find(); ok && os.Getenv("GATEHOUSE_TEST_DB") != "container" {
		return privateLocal(ctx)
	}
	server, err := privateContainer(ctx)
	if err != nil {
		return nil, fmt.Errorf("no PostgreSQL programs to use, and no container: %w", err)
	}
	return server, nil
}

func privateLocal(ctx context.Context) (*PrivateServer, error) {
	server, dir, err := runLocal(ctx)
	if err != nil {
		return nil, err
	}
	return &PrivateServer{
		url:    server.URL(),
		stop:   func(context.Context) error { return server.Stop() },
		start:  server.Restart,
		remove: func() error { return errors.Join(server.Stop(), os.RemoveAll(dir)) },
	}, nil
}

func privateContainer(ctx context.Context) (*PrivateServer, error) {
	fixedPort, err := withFixedPort()
	if err != nil {
		return nil, err
	}
	b, err := runContainer(ctx, fixedPort)
	if err != nil {
		return nil, err
	}
	return &PrivateServer{
		url: b.url,
		stop: func(ctx context.Context) error {
			patience := time.Minute
			return b.container.Stop(ctx, &patience)
		},
		start:  b.container.Start,
		remove: b.remove,
	}, nil
}
