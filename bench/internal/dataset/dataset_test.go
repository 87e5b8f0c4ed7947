package dataset

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// What growth asks for must be there, and the database be one that the service could have filled.
func TestFilledUsersAndSessionsKeepToTheSchema(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), dbtest.Owner(t, dbtest.New(t)))
	must(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), `INSERT INTO users (id, username, username_key, password_hash)
		VALUES (gen_random_uuid(), 'first', 'first', '$2b$10$' || repeat('h', 53))`)
	must(t, err)
	const users = 101 // no multiple of the processors
	must(t, Fill(t.Context(), pool, users))
	for _, n := range []int{1, 2, users / 2, users} {
		for which := range 2 {
			var name string
			err := pool.QueryRow(t.Context(), "SELECT u.username FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND u.id = $2",
				SessionID(n, which), UserID(n)).Scan(&name)
			if err != nil || name != Username(n) {
				t.Errorf("session %d of user %d is that of %q, want %q: %v", which, n, name, Username(n), err)
			}
		}
	}
	var total, sessions int
	must(t, pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sessions)").Scan(&total, &sessions))
	if total != users+1 || sessions != 2*users {
		t.Errorf("%d users and %d sessions", total, sessions)
	}
	// A copy of the constraint would be looked at row by row, which the one put back was not.
	for _, again := range []string{"users", "sessions"} {
		_, err := pool.Exec(t.Context(), "CREATE TABLE copy_of_"+again+" (LIKE "+again+" INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED)")
		must(t, err)
	}
	_, err = pool.Exec(t.Context(), `INSERT INTO copy_of_users (id, username, username_key, password_hash)
		SELECT id, username, username_key, password_hash FROM users`)
	must(t, err)
	_, err = pool.Exec(t.Context(), "INSERT INTO copy_of_sessions SELECT * FROM sessions")
	must(t, err)
	if _, err := pool.Exec(t.Context(), "UPDATE users SET password_hash = 'plain'"); err == nil {
		t.Error("the schema has lost the check of a hash's form")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
