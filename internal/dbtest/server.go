package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Server is a PostgreSQL for tests.
type Server struct {
	how      string
	url      *url.URL
	stop     func() error
	admin    *pgxpool.Pool
	template func() (string, error) // name of the migrated database; made at the first call
}

// Start finds or starts a server, by the ways that the package comment lists.
func Start(ctx context.Context) (*Server, error) {
	return choose(ctx, os.Getenv("TEST_DATABASE_URL"), os.Getenv("GATEHOUSE_TEST_DB"))
}

func choose(ctx context.Context, given, only string) (*Server, error) {
	if given != "" {
		return newServer("TEST_DATABASE_URL", given, func() error { return nil })
	}
	switch only {
	case "container":
		return startContainer(ctx)
	case "local":
		return startLocal(ctx)
	case "":
		return startAny(ctx)
	default:
		return nil, fmt.Errorf("GATEHOUSE_TEST_DB is %q, neither container nor local", only)
	}
}

func startAny(ctx context.Context) (*Server, error) {
	server, containerErr := startContainer(ctx)
	if containerErr == nil {
		return server, nil
	}
	server, localErr := startLocal(ctx)
	if localErr != nil {
		return nil, fmt.Errorf("no PostgreSQL: set TEST_DATABASE_URL, or run a container engine that has or can get "+
			"the image POSTGRES_IMAGE (%w), or install PostgreSQL 14 or newer (%w)", containerErr, localErr)
	}
	server.how += " (no container: " + strings.ReplaceAll(containerErr.Error(), "\n", "; ") + ")"
	return server, nil
}

func newServer(how, address string, stop func() error) (*Server, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return nil, errors.New(how + ": not a postgres:// URL") // err would show the password
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, errors.New(how + ": malformed URL")
	}
	config.MaxConns = 4
	admin, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", how, err)
	}
	server := &Server{how: how, url: parsed, stop: stop, admin: admin}
	server.template = sync.OnceValues(server.makeTemplate)
	return server, nil
}

// String tells a person where the server comes from.
func (s *Server) String() string { return "PostgreSQL of " + s.how }

// URL returns the address of the database through which the others are made.
func (s *Server) URL() string { return s.url.String() }

// urlOf returns the address of another database of the server.
func (s *Server) urlOf(database string) string {
	other := *s.url
	other.Path = "/" + database
	return other.String()
}

// Stop ends the server, unless it is that of TEST_DATABASE_URL.
func (s *Server) Stop() error {
	s.admin.Close()
	return s.stop()
}

// lazyServer starts a server when it is first asked for.
type lazyServer struct {
	mu      sync.Mutex
	opened  bool
	started bool
	server  *Server
	err     error
}

func (l *lazyServer) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = true
}

func (l *lazyServer) get(t testing.TB) *Server {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.opened {
		t.Fatal("dbtest: this package needs func TestMain(m *testing.M) { dbtest.Main(m) }")
	}
	if !l.started {
		l.started = true
		// Not t.Context(): the server outlives the test that happens to start it.
		if l.server, l.err = Start(context.Background()); l.err == nil {
			fmt.Fprintln(os.Stderr, "dbtest:", l.server)
		}
	}
	if l.err != nil {
		t.Fatalf("dbtest: %v", l.err)
	}
	return l.server
}

func (l *lazyServer) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = false
	if l.server == nil {
		return nil
	}
	return l.server.Stop()
}
