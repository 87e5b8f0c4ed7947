package rows

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/report"
	"gatehouse.example/bench/internal/stage"
)

const jsonType = "application/json"

// timeForgot is in milliseconds.
func timeForgot(ctx context.Context, client *http.Client, base, login string) (float64, error) {
	return timePost(ctx, client, base+"/password/forgot", jsonType, fmt.Sprintf(`{"login":%q}`, login), http.StatusAccepted)
}

// forgotStatements counts statements by PostgreSQL's own count. The worker of the replica sends
// some too. It is stopped by a relay that says nothing.
func forgotStatements(ctx context.Context, s *Run, _ Options) ([]float64, string, error) {
	const name = "replica whose statements are counted"
	var available bool
	if err := s.Pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')").Scan(&available); err != nil {
		return nil, "", err
	}
	if !available {
		return []float64{report.NotMeasured, report.NotMeasured}, "this PostgreSQL has no pg_stat_statements", nil
	}
	server, _, err := s.StartServer(ctx, "counting", "shared_preload_libraries=pg_stat_statements")
	if err != nil {
		return nil, "", err
	}
	url, err := stage.NewDatabase(ctx, server.URL(), "counted")
	if err != nil {
		return nil, "", err
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, "", err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "CREATE EXTENSION pg_stat_statements"); err != nil {
		return nil, "", err
	}
	relay, err := net.Listen("tcp", "127.0.0.1:0") // which accepts nobody
	if err != nil {
		return nil, "", err
	}
	defer relay.Close()
	replica, err := s.Replica(ctx, name, append(mailSettings(relay), "DATABASE_URL="+url)...)
	if err != nil {
		return nil, "", err
	}
	defer s.Stop(name)
	const each = 200 // more than the replica's own statements come to meanwhile
	known, err := addressed(ctx, pool, each, mailable)
	if err != nil {
		return nil, "", err
	}
	if err := occupyWorker(ctx, pool, replica.URL); err != nil {
		return nil, "", err
	}
	var counts []float64
	for _, names := range [][]string{known, randomNames(each)} {
		count, err := countStatements(ctx, pool, replica.URL, names)
		if err != nil {
			return nil, "", err
		}
		counts = append(counts, count)
	}
	return counts, fmt.Sprintf("known %.0f, unknown %.0f, by pg_stat_statements over %d requests each", counts[0], counts[1], each), nil
}

// occupyWorker lets a replica begin as many mails as it has under way at most.
func occupyWorker(ctx context.Context, pool *pgxpool.Pool, base string) error {
	const atMost = 10 // outbox.Workers
	names, err := addressed(ctx, pool, atMost, mailable)
	if err != nil {
		return err
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	for _, name := range names {
		if _, err := timeForgot(ctx, client, base, name); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("the replica does not begin so many mails"))
	defer cancel()
	for begun := 0; begun < atMost; time.Sleep(10 * time.Millisecond) {
		if err := pool.QueryRow(ctx, "SELECT count(*) FROM challenges").Scan(&begun); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return nil
}

// countStatements returns how many statements one request sends. What is sent less often than once
// for each request is not counted.
func countStatements(ctx context.Context, pool *pgxpool.Pool, base string, names []string) (each float64, err error) {
	client := api.NewClient()
	defer client.CloseIdleConnections()
	if _, err := pool.Exec(ctx, "SELECT pg_stat_statements_reset()"); err != nil {
		return 0, err
	}
	for _, name := range names {
		if _, err := timeForgot(ctx, client, base, name); err != nil {
			return 0, err
		}
	}
	err = pool.QueryRow(ctx, "SELECT coalesce(sum(calls / $1::bigint), 0)::float8 FROM pg_stat_statements", len(names)).Scan(&each)
	return each, err
}

// mailability is whether an account gets a mail that resets its password, or why not.
type mailability string

const (
	mailable   mailability = "verified"
	unverified mailability = "unverified"
	disabled   mailability = "disabled"
)

// addressed makes n accounts and returns their names. Their addresses are those of [addresses].
func addressed(ctx context.Context, pool *pgxpool.Pool, n int, as mailability) ([]string, error) {
	names := randomNames(n)
	_, err := pool.Exec(ctx, `
		INSERT INTO users (id, username, username_key, password_hash, email, email_key, email_verified_at, verify_until, disabled_at)
		SELECT gen_random_uuid(), name, name, '$2b$04$' || repeat('h', 53), name || '@example.org', name || '@example.org',
		       CASE WHEN $2 <> 'unverified' THEN now() END, CASE WHEN $2 = 'unverified' THEN now() + interval '3 days' END, CASE WHEN $2 = 'disabled' THEN now() END
		FROM unnest($1::text[]) name`, names, string(as))
	return names, err
}

func addresses(names []string) []string {
	all := make([]string, len(names))
	for n, name := range names {
		all[n] = name + "@example.org"
	}
	return all
}

func randomNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = randomName()
	}
	return names
}
