package app_test

import (
	"net/http"
	"testing"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
)

// Rows of everybody who has ever failed or logged in would fill the database, and a single
// statement for all of them would hold up logins. If some rows cannot be deleted, the others must
// be, and news of bans must still arrive.
func TestPruningThatHangsDoesNotHoldUpRevocations(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	conn := connect(t, databaseURL)
	alice, _ := logins(t, conn, "alice")
	_, err := conn.Exec(t.Context(), `
		INSERT INTO revocations (session_id, at) SELECT gen_random_uuid(), now() - interval '26 hours' FROM generate_series(1, 1100);
		INSERT INTO rate_limits SELECT sha256(n::text::bytea), n FROM generate_series(1, 2500) n
		UNION ALL SELECT sha256('in force'), (extract(epoch FROM now() + interval '1 hour') * 1e6)::bigint;
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT gen_random_uuid(), id, decode(repeat('00', 16), 'hex'), now() - interval '31 days', now() - interval '31 days', '', '' FROM users`)
	must(t, err)
	left := func(table string) (rows int) {
		must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&rows))
		return rows
	}
	tx, err := connect(t, databaseURL).Begin(t.Context())
	must(t, err)
	// it can still be read
	_, err = tx.Exec(t.Context(), "LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE")
	must(t, err)
	r := boot(t, databaseURL)
	r.wantCached(alice)
	_, err = conn.Exec(t.Context(), "UPDATE users SET token_version = 2 WHERE username = 'alice'")
	must(t, err)
	asynctest.Await(t, "the ban to be known",
		func() bool { return r.verified(alice) == http.StatusUnauthorized })
	asynctest.Await(t, "what hangs to be given up", func() bool {
		lines := r.log.lines(t, "upkeep failed")
		return len(lines) == 1 && lines[0]["job"] == "sessions"
	})
	asynctest.Await(t, "old rows to be deleted",
		func() bool { return left("revocations") == 1 && left("rate_limits") == 1 })
	must(t, tx.Rollback(t.Context()))
	r.stop()

	// The next replica has no minute to wait.
	boot(t, databaseURL)
	asynctest.Await(t, "old sessions to be deleted", func() bool { return left("sessions") == 2 })
}
