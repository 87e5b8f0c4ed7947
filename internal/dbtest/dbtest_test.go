package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// helperMark makes this test binary start a server, and run no tests.
const helperMark = "TEST_OF_DBTEST_HANGS"

func startAndHang() {
	server, err := Start(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(server.URL())
	select {}
}

func TestMain(m *testing.M) {
	if os.Getenv(helperMark) != "" {
		startAndHang()
	}
	Main(m)
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// value returns the one value of a query with one row.
func value[T any](t *testing.T, conn *pgx.Conn, query string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// Two tests in one database would see each other's rows.
func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			conn := connect(t, New(t))
			_, err := conn.Exec(t.Context(),
				"INSERT INTO password_keys (id, check_value) VALUES ('1', sha256('key'))")
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEmptyIsNotMigrated(t *testing.T) {
	t.Parallel()
	conn := connect(t, Empty(t))
	if tables := value[int](t, conn,
		"SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); tables != 0 {
		t.Errorf("%d tables", tables)
	}
}

// A connection that a test forgets must not keep its database alive.
func TestDatabaseIsDroppedUnderItsConnections(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("of a test", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), New(t))
		if err != nil {
			t.Fatal(err)
		}
		name = conn.Config().Database
	})
	conn := connect(t, sharedServer(t).URL())
	if value[bool](t, conn, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name) {
		t.Errorf("%s is still there", name)
	}
}

// Test processes that share a server start at the same time, and each wants the template first.
func TestTemplateIsMadeOnce(t *testing.T) {
	t.Parallel()
	private := Private(t)
	const processes = 4
	var (
		group sync.WaitGroup
		names [processes]string
		errs  [processes]error
	)
	for i := range processes {
		server, err := newServer("test", private.URL(), func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Stop() })
		group.Go(func() { names[i], errs[i] = server.template() })
	}
	group.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, private.URL())
	all := value[string](t, conn, "SELECT string_agg(datname, ' ') FROM pg_database "+
		"WHERE datname NOT IN ('postgres', 'template0', 'template1')")
	if all != names[0] || names[0] != names[processes-1] {
		t.Errorf("databases: %s; templates: %v", all, names)
	}
}

// If a server came back elsewhere, or without its data, a test of recovery would pass or fail for
// no reason.
func TestPrivateServerComesBackWithItsDataAtItsAddress(t *testing.T) {
	t.Parallel()
	server := Private(t)
	before := connect(t, server.URL())
	if _, err := before.Exec(t.Context(), "CREATE TABLE kept AS SELECT 42 AS value"); err != nil {
		t.Fatal(err)
	}

	server.Stop(t)
	if before.Ping(t.Context()) == nil {
		t.Error("a connection outlived the server")
	}
	_, err := pgx.Connect(t.Context(), server.URL())
	if _, answered := errors.AsType[*pgconn.PgError](err); err == nil || answered {
		t.Errorf("a stopped server answers: %v", err)
	}

	server.Start(t)
	if kept := value[int](t, connect(t, server.URL()), "SELECT value FROM kept"); kept != 42 {
		t.Errorf("kept row has %d", kept)
	}
}

// A test that stops its server for a while would find another test's server in its place.
func TestNoTwoTestsGetTheSameFreeAddress(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 300 { // of 10,000 ports: by chance, two would be equal in 99 of 100 runs
		addr := FreeAddr(t)
		if seen[addr] {
			t.Fatalf("%s twice", addr)
		}
		seen[addr] = true
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	t.Parallel()
	const password = "canary-91c4"
	for _, test := range []struct{ given, only, named string }{
		{"postgres://tester:" + password + "@%zz/", "", "TEST_DATABASE_URL"},
		{"postgres://tester:" + password + "@127.0.0.1:port/", "", "TEST_DATABASE_URL"},
		{"host=127.0.0.1 password=" + password, "", "TEST_DATABASE_URL"},
		{"mysql://tester:" + password + "@127.0.0.1/", "", "TEST_DATABASE_URL"},
		{"", "containers", "GATEHOUSE_TEST_DB"},
	} {
		_, err := choose(t.Context(), test.given, test.only)
		if err == nil || !strings.Contains(err.Error(), test.named) ||
			strings.Contains(err.Error(), password) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
