package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/migrations"
)

const (
	beforeTheRule  = 12 // the last migration from before the rule that the test below checks
	beforeTheIndex = 29 // the last from before the index that is made beside the requests
)

// crowd is an installation of some size. Triggers and foreign keys would look at each row.
const crowd = `
SET session_replication_role = replica;
INSERT INTO users (id, username, username_key, password_hash)
SELECT md5(n::text)::uuid, 'user' || n, 'user' || n, '$2b$12$' || repeat('h', 53) FROM generate_series(1, 300000) n;
INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
SELECT id, id, decode(repeat('00', 16), 'hex'), now() + interval '1 day', now() + interval '1 day', '192.0.2.1', 'test' FROM users;
INSERT INTO roles (name) VALUES ('clerk'), ('reader');
INSERT INTO user_roles (user_id, role_name, username_key) SELECT id, 'clerk', username_key FROM users;
INSERT INTO audit_events (action, outcome, actor, actor_id, user_id, target, request_id, client_address, user_agent)
SELECT 'login', 'success', 'user', id, id, id::text, '', '192.0.2.1', 'test' FROM users;
SET session_replication_role = origin;
ANALYZE`

// requests are the most frequent statements of the version before, for the user $1.
var requests = []string{
	`SELECT s.*, u.*, r.* FROM sessions s JOIN users u ON u.id = s.user_id JOIN user_rights r ON r.user_id = s.user_id
		LEFT JOIN clients c ON c.client_id = s.client_id WHERE s.id = $1`,
	`WITH rotated AS (UPDATE sessions SET counter = counter + 1, rotated_at = now() WHERE id = $1 AND ended_at IS NULL RETURNING user_id)
		SELECT record_event('{"action": "refresh", "outcome": "success", "actor": "anonymous", "target": "", "request_id": "",
			"client_address": "", "user_agent": ""}', user_id) FROM rotated`,
	`WITH u AS (SELECT id FROM users WHERE id = $1 AND disabled_at IS NULL FOR NO KEY UPDATE)
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT gen_random_uuid(), id, decode(repeat('00', 16), 'hex'), now(), now(), '', '' FROM u`,
	`UPDATE users SET token_version = token_version + 1, updated_at = now() WHERE id = $1`,
	`INSERT INTO user_roles (user_id, role_name) VALUES ($1, 'reader') ON CONFLICT DO NOTHING`,
	`DELETE FROM user_roles WHERE user_id = $1 AND role_name = 'reader'`,
}

// traffic sends requests until it is stopped, with the service's default time-outs.
type traffic struct {
	*testing.T
	url  string
	sent atomic.Int64
}

func (w *traffic) run(ctx context.Context, worker int) {
	config, err := pgx.ParseConfig(w.url)
	if err != nil {
		w.Error(err)
		return
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["lock_timeout"], config.RuntimeParams["statement_timeout"] = "2500", "5000"
	conn, err := pgx.ConnectConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		w.Error(err)
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for n := worker; ctx.Err() == nil; n += 7 {
		var user string
		if err := conn.QueryRow(context.WithoutCancel(ctx), "SELECT md5($1::int::text)::uuid::text",
			n%300000+1).Scan(&user); err != nil {
			w.Error(err)
			return
		}
		request := requests[n%len(requests)]
		_, err := conn.Exec(context.WithoutCancel(ctx), request, user)
		// the service sends the statement once more
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "40P01" {
			_, err = conn.Exec(context.WithoutCancel(ctx), request, user)
		}
		if err != nil {
			w.Errorf("a request fails: %v\n%s", err, request)
			return
		}
		w.sent.Add(1)
	}
}

// A migration that locks a table while it looks at each row is an outage. One that waits for a lock
// makes everybody wait behind it. The migrator must still get through.
func TestNoRequestFailsWhileAMigrationRunsOnThreeHundredThousandUsers(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	migrator, owner := open(t, databaseURL), connect(t, databaseURL)
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.DownTo(t.Context(), beforeTheRule); err != nil {
		t.Fatal(err)
	}
	exec(t, owner, crowd)
	w := &traffic{T: t, url: databaseURL}
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for n := range 6 {
		workers.Go(func() { w.run(ctx, n) })
	}
	for _, run := range []struct {
		name string
		do   func() ([]migrations.Step, error)
	}{
		{"up", func() ([]migrations.Step, error) { return migrator.Up(t.Context()) }},
		{"down", func() ([]migrations.Step,
			error) {
			return migrator.DownTo(t.Context(), beforeTheRule)
		}},
	} {
		before := w.sent.Load()
		steps, err := run.do()
		if err != nil || len(steps) == 0 {
			t.Errorf("%s: %v, %v", run.name, steps, err)
		}
		t.Log(run.name, fmt.Sprint(steps), w.sent.Load()-before, "requests meanwhile")
	}
	stop()
	workers.Wait()
	if w.sent.Load() == 0 {
		t.Error("there was no traffic")
	}
}

// If a step and a request wait for each other, the step must give way at once, and be tried again.
func TestAStepThatWaitsForRequestsGivesWayAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	migrator, conn, watch := open(t, databaseURL), connect(t, databaseURL), connect(t, databaseURL)
	mustUp(t, migrator, len(files(t)))
	if _, err := migrator.DownTo(t.Context(), beforeTheRule); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "BEGIN; LOCK TABLE sessions IN ROW EXCLUSIVE MODE") // like a refresh
	done := make(chan error, 1)
	go func() {
		// this step changes audit_events first, then sessions
		_, err := migrator.DownTo(t.Context(), 11)
		done <- err
	}()
	waits := `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'sessions'::regclass
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`
	for tries := 0; tries < 2; tries++ { // the step waits, gives up, and waits again
		for want := range 2 {
			for waiting := want != 0; waiting != (want == 0); {
				if err := watch.QueryRow(t.Context(), waits).Scan(&waiting); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// otherwise this would be a deadlock
	exec(t, conn, "LOCK TABLE audit_events IN ROW EXCLUSIVE MODE; COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A migrator that is killed while it makes an index leaves one that PostgreSQL does not use, and
// that is in the way of the next try.
func TestAnIndexThatWasCutOffIsMadeAnew(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	migrator, request, watch := open(t, databaseURL), connect(t, databaseURL), connect(t, databaseURL)
	mustUp(t, migrator, len(files(t)))
	whole := schema(t, watch)
	down, err := migrator.DownTo(t.Context(), beforeTheIndex)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, request, "BEGIN; LOCK TABLE sessions IN ROW EXCLUSIVE MODE") // like a refresh
	killed := make(chan error, 1)
	go func() {
		_, err := migrator.Up(t.Context())
		killed <- err
	}()
	valid := func() (is, found bool) {
		err := watch.QueryRow(t.Context(), `SELECT i.indisvalid FROM pg_index i
			WHERE i.indexrelid = to_regclass('sessions_user_id_idx')`).Scan(&is)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			t.Fatal(err)
		}
		return is, err == nil
	}
	for found := false; !found; { // it is there, and waits for the request
		_, found = valid()
	}
	exec(t, watch, "UPDATE sessions SET last_used_at = now()") // a request that comes later waits for nobody
	exec(t, watch, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'gatehouse-migrate'`)
	if err := <-killed; err == nil {
		t.Fatal("the migrator lives")
	}
	exec(t, request, "COMMIT")
	if is, found := valid(); is || !found {
		t.Fatalf("after the kill: valid %t, found %t", is, found)
	}
	mustUp(t, open(t, databaseURL), len(down))
	if is, _ := valid(); !is {
		t.Error("the index is not valid")
	}
	if now := schema(t, watch); now != whole {
		t.Errorf("the schema is\n%s\nwant\n%s", now, whole)
	}
}
