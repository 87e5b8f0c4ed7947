package dbtest_test

import (
	"testing"

	"gatehouse/internal/dbtest"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// Two tests that shared a database would see each other's rows.
func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for range 4 {
		t.Run("one of several", func(t *testing.T) {
			t.Parallel()
			conn, err := pgx.Connect(t.Context(), dbtest.New(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close(t.Context()) })
			if _, err := conn.Exec(t.Context(), "INSERT INTO password_keys (id, check_value) VALUES ('1', sha256('key'))"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A server that came back elsewhere, or without its data, would make a test of recovery pass or fail for no reason.
func TestPrivateServerComesBackWithItsDataAtItsAddress(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t)
	ctx := t.Context()
	before, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.Exec(ctx, "CREATE TABLE kept AS SELECT 42 AS value"); err != nil {
		t.Fatal(err)
	}

	server.Stop(t)
	if err := before.Ping(ctx); err == nil {
		t.Error("a connection outlived the server")
	}
	if _, err := pgx.Connect(ctx, server.URL()); err == nil {
		t.Error("a stopped server answers")
	}

	server.Start(t)
	after, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close(ctx)
	var value int
	if err := after.QueryRow(ctx, "SELECT value FROM kept").Scan(&value); err != nil || value != 42 {
		t.Errorf("kept row: %d, %v", value, err)
	}
}
