// Package dbtest owns the databases of tests: a migrated PostgreSQL database of its own for each test, and the server
// that holds them.
//
// The server is, in this order: the one of TEST_DATABASE_URL; a container of POSTGRES_IMAGE (default
// postgres:17-alpine), if a container engine answers and has the image or can get it; a private server made with the
// PostgreSQL programs of this machine. GATEHOUSE_TEST_DB=container or =local allows only that way. Without any, tests
// fail; they are never skipped. A test process says on standard error which one it uses.
package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// shared is the server of this test process: started when the first test asks for a database, stopped by Main.
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

// Main runs a package's tests; it is all that TestMain does in a package that uses New or Empty. After the tests it
// stops the server that they had started, and fails them if they have left a goroutine behind; options are for that
// check.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	shared.once.Do(func() {}) // what has not been started by now never is
	var err error
	if shared.server != nil {
		err = shared.server.Stop()
	}
	if code == 0 {
		err = errors.Join(err, goleak.Find(options...))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dbtest: left behind by the tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// New returns the URL of a database for this test alone, with the newest schema. It is dropped when the test ends,
// whoever is still connected.
func New(t testing.TB) string {
	t.Helper()
	server := sharedServer(t)
	template, err := server.template()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return server.create(t, template)
}

// Empty is New without the schema.
func Empty(t testing.TB) string {
	t.Helper()
	return sharedServer(t).create(t, "template0")
}

// create makes a database from a template, and has it dropped when the test ends.
func (s *Server) create(t testing.TB, template string) string {
	t.Helper()
	name := randomName("test")
	if err := s.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context() has ended
		defer cancel()
		if err := s.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	return s.urlOf(name)
}
