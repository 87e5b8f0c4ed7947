// Package dbtest owns the databases of tests: a migrated PostgreSQL database for each test alone,
// and the server that holds them.
//
// The server is the first of these:
//
//   - the one of TEST_DATABASE_URL;
//   - a container of POSTGRES_IMAGE (default postgres:17-alpine), if a container engine answers,
//     and has the image or can get it;
//   - a private server of the PostgreSQL programs on this machine.
//
// GATEHOUSE_TEST_DB=container or =local allows only that way. Where there is no server, tests fail.
// They are never skipped. A test process says on standard error which server it uses.
package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"gatehouse.example/internal/pgdev"
	"gatehouse.example/migrations"
)

// shared is the server of this test process. The first test that asks for a database starts it, and
// [Main] stops it.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

func sharedServer(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() {
		// Not t.Context(): the server outlives the test that happens to start it.
		if shared.server, shared.err = Start(context.Background()); shared.err == nil {
			fmt.Fprintln(os.Stderr, "dbtest:", shared.server)
		}
	})
	if shared.err != nil {
		t.Fatalf("dbtest: %v", shared.err)
	}
	return shared.server
}

// Main runs a package's tests. It is all that TestMain does in a package that uses [New] or
// [Empty]. After the tests, it stops the server that they started, and fails if they left a
// goroutine behind.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	shared.once.Do(func() {}) // no test can start it any more
	var err error
	if shared.server != nil {
		err = shared.server.Stop()
	}
	if code == 0 {
		err = errors.Join(err, goleak.Find(options...))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// ServiceRole is the role by which tests connect.
const ServiceRole = "gatehouse_test_service"

// New returns the URL of a database for this test alone, with the newest schema. The URL is for the
// role of a service, which has no more rights than it needs. The database is dropped when the test
// ends, whoever is still connected.
func New(t testing.TB) string {
	t.Helper()
	server := sharedServer(t)
	template, err := server.template()
	if err != nil {
		t.Fatalf("dbtest: template: %v", err)
	}
	database, err := url.Parse(server.create(t, template))
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	password, _ := database.User.Password()
	database.User = url.UserPassword(ServiceRole, password)
	return database.String()
}

// Owner returns the URL of a database from [New] for its owner, who may change the schema.
func Owner(t testing.TB, databaseURL string) string {
	t.Helper()
	database, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	database.User = sharedServer(t).url.User
	return database.String()
}

// Copy returns the URL of a copy of a database from [New], as a backup would be, for the same role.
// Nobody may be connected to the original.
func Copy(t testing.TB, databaseURL string) string {
	t.Helper()
	database, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	copied, err := url.Parse(sharedServer(t).create(t, strings.TrimPrefix(database.Path, "/")))
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	copied.User = database.User
	return copied.String()
}

// BreakAudit makes the audit log refuse every row, and MendAudit ends that. Both are for the
// database's [Owner].
const (
	BreakAudit = `CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;
		CREATE TRIGGER broken BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION broken()`
	MendAudit = "DROP FUNCTION broken CASCADE"
)

// Empty is [New] without the schema, for the owner.
func Empty(t testing.TB) string {
	t.Helper()
	return sharedServer(t).create(t, "template0")
}

// create makes a database from a template. It is dropped when the test ends.
func (s *Server) create(t testing.TB, template string) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := s.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		// t.Context() has ended
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	return s.urlOf(name)
}

// Server is a PostgreSQL for tests.
type Server struct {
	how      string
	url      *url.URL
	remove   func() error
	admin    *pgxpool.Pool
	template func() (string, error) // the name of the migrated database, which the first call makes
}

// Start finds or starts a server, in the ways that the package comment lists.
func Start(ctx context.Context) (*Server, error) {
	return choose(ctx, os.Getenv("TEST_DATABASE_URL"), os.Getenv("GATEHOUSE_TEST_DB"))
}

func choose(ctx context.Context, given, way string) (*Server, error) {
	if given != "" {
		return newServer("TEST_DATABASE_URL", given, func() error { return nil })
	}
	private, err := startPrivate(ctx, way)
	if err != nil {
		return nil, err
	}
	return newServer(private.how, private.URL(), private.postgres.Remove)
}

func newServer(how, address string, remove func() error) (*Server, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return nil, errors.New(how + ": not a postgres:// URL") // err would show the password
	}
	admin, err := pgxpool.New(context.Background(), address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", how, err)
	}
	server := &Server{how: how, url: parsed, remove: remove, admin: admin}
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
	return s.remove()
}

// exec runs a statement as the administrator. Names in it are made here, of letters that need no
// quotes.
func (s *Server) exec(ctx context.Context, statement string) error {
	if _, err := s.admin.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// templateLock is the advisory lock under which test processes that share a server make the
// template. The number must only differ from those of others.
const templateLock = 7203955811

// makeTemplate returns the name of the migrated database. It makes the database unless the server
// has one of this binary's migrations.
func (s *Server) makeTemplate() (string, error) {
	ctx := context.Background() // of no test, since all tests wait for the one that makes it
	name := "template_" + migrations.Digest()[:16]
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx) // and with it the lock
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return "", err
	}
	var made bool
	query := "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
	if err := conn.QueryRow(ctx, query, name).Scan(&made); err != nil || made {
		return name, err
	}
	// It gets its name only when it is whole, so nobody takes what a killed process has left for
	// the template.
	draft := name + "_draft"
	if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+draft+" WITH (FORCE)"); err != nil {
		return "", err
	}
	if err := s.exec(ctx, "CREATE DATABASE "+draft+" TEMPLATE template0"); err != nil {
		return "", err
	}
	if err := migrate(ctx, s.urlOf(draft), ServiceRole); err != nil {
		return "", err
	}
	return name, s.exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name)
}

func migrate(ctx context.Context, databaseURL, serviceRole string) error {
	if _, err := pgdev.AddRole(ctx, databaseURL, serviceRole); err != nil {
		return err
	}
	return migrations.Apply(ctx, databaseURL, serviceRole)
}
