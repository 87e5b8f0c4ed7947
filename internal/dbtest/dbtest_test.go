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
