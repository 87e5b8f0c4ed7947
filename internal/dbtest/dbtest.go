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
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// shared is the server of this test process: started when the first test asks for a database, stopped by Main.
var shared lazyServer

// Main runs a package's tests; it is all that TestMain does in a package that uses New or Empty. After the tests it
// stops the server that they had started, and fails them if they have left a goroutine behind; options are for that
// check.
func Main(m *testing.M, options ...goleak.Option) {
	os.Exit(run(m, options))
}

func run(m *testing.M, options []goleak.Option) (code int) {
	shared.open()
	code = m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		code = max(code, 1)
	}
	if code != 0 {
		return code
	}
	if err := goleak.Find(options...); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest: goroutines left behind:", err)
		return 1
	}
	return 0
}

// New returns the URL of a database for this test alone, with the newest schema. It is dropped when the test ends,
// whoever is still connected.
func New(t testing.TB) string {
	t.Helper()
	server := shared.get(t)
	template, err := server.template()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return server.create(t, template)
}

// Empty is New without the schema.
func Empty(t testing.TB) string {
	t.Helper()
	return shared.get(t).create(t, "template0")
}

// create makes a database from a template, and has it dropped when the test ends.
func (s *Server) create(t testing.TB, template string) string {
	t.Helper()
	name := randomName("test")
	if err := s.createDatabase(t.Context(), name, template); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context() has ended
		defer cancel()
		if err := s.dropDatabase(ctx, name); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	return s.urlOf(name)
}
