package db

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/internal/dbtest"
)

// explainUsers sets the size of TestNoQueryReadsALargeTableWhole. Each user has five sessions. That of a large
// installation, which takes some minutes: go test ./db -run LargeTable -explain-users 1000000 -v -timeout 1h
var explainUsers = flag.Int("explain-users", 2000, "users in the database on which queries are explained")

// literals stand for the parameters of queries, by name. younger_than_seconds is that of a poll: the first read of a
// replica wants most of the table.
var literals = map[string]string{
	"id": subject, "user_id": subject, "session_id": subject, "keep": subject, "before": "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
	"username": "'user7'", "username_key": "'user7'", "after": "'user7'",
	"password_hash": "'x'", "old_hash": "'x'", "new_hash": "'x'", "check_value": "'x'", "salt": "'x'",
	"token_version": "1", "version": "1", "counter": "1", "max_others": "99", "max_rows": "50",
	"idle_seconds": "86400", "absolute_seconds": "86400", "younger_than_seconds": "30", "older_than_seconds": "2592000",
	"client_address": "''", "user_agent": "''", "reason": "'logout'", "payload": "'x'",
}

const subject = "'01890000-0000-7000-8000-000000000001'"

// readsAll are the queries that may read a table whole, and why.
var readsAll = map[string]string{
	"CountPasswordKeyUsers": "an operator counts all users, now and then",
}

// At millions of rows, one query that reads a table whole is an outage.
func TestNoQueryReadsALargeTableWhole(t *testing.T) {
	t.Parallel()
	conn := connectTo(t, dbtest.New(t))
	began := time.Now()
	fill(t, conn, *explainUsers)
	t.Logf("%d users and five times as many sessions: %v", *explainUsers, time.Since(began).Round(time.Second))
	queries := readQueries(t)
	if len(queries) < 20 {
		t.Errorf("only %d queries", len(queries))
	}
	for _, name := range slices.Sorted(maps.Keys(queries)) {
		plan := explain(t, conn, name, queries[name])
		t.Logf("%s\n%s", name, plan)
		if _, excepted := readsAll[name]; readsWhole(plan) != excepted {
			t.Errorf("%s, excepted %t:\n%s", name, excepted, plan)
		}
	}
	for name := range readsAll {
		if queries[name] == "" {
			t.Errorf("there is no query %s to except", name)
		}
	}
}

// A test that would not see one proves nothing.
func TestAQueryThatReadsATableWholeIsFound(t *testing.T) {
	t.Parallel()
	conn := connectTo(t, dbtest.New(t))
	fill(t, conn, 500)
	for _, sql := range []string{
		"SELECT id FROM users WHERE username = @username", "SELECT id FROM sessions s WHERE client_address = @client_address",
		"SELECT username_key FROM users ORDER BY username_key", "SELECT id FROM sessions WHERE id::text > '' ORDER BY id",
		"DELETE FROM revocations WHERE session_id = @session_id", "UPDATE sessions SET ended_at = now() WHERE idle_expires_at < now()",
	} {
		if plan := explain(t, conn, sql, sql); !readsWhole(plan) {
			t.Errorf("%s:\n%s", sql, plan)
		}
	}
}

var (
	rowByRow = regexp.MustCompile(`Seq Scan on (users|sessions|revocations)\b`)
	byIndex  = regexp.MustCompile(`Index( Only)? Scan .*\bon (users|sessions|revocations)\b`)
)

// readsWhole tells whether a plan reads one of the tables that grow from end to end, or an index of it: the line after
// an index scan says by what it looks up.
func readsWhole(plan string) bool {
	lines := strings.Split(plan, "\n")
	for n, line := range lines {
		if rowByRow.MatchString(line) {
			return true
		}
		if byIndex.MatchString(line) && (n+1 == len(lines) || !strings.Contains(lines[n+1], "Index Cond")) {
			return true
		}
	}
	return false
}

var (
	queryName = regexp.MustCompile(`(?m)^-- name: (\w+) :\w+\n`)
	parameter = regexp.MustCompile(`@(\w+)`)
)

// readQueries returns all queries that there are, by name.
func readQueries(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("queries/*.sql")
	must(t, err)
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		names := queryName.FindAllStringSubmatchIndex(string(text), -1)
		for n, at := range names {
			end := len(text)
			if n+1 < len(names) {
				end = names[n+1][0]
			}
			all[string(text[at[2]:at[3]])] = string(text[at[1]:end])
		}
	}
	return all
}

// explain returns the plan of a query, its parameters replaced by literals.
func explain(t *testing.T, conn *pgx.Conn, name, sql string) string {
	t.Helper()
	sql = parameter.ReplaceAllStringFunc(sql, func(p string) string {
		literal, ok := literals[p[1:]]
		if !ok {
			t.Fatalf("%s has a parameter %s without a literal", name, p)
		}
		return literal
	})
	rows, err := conn.Query(t.Context(), "EXPLAIN "+sql)
	must(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, sql)
	}
	return strings.Join(plan, "\n")
}

// fill makes users with five sessions each, of which one has ended, over the last ninety days, and a revocation for
// every tenth user over the last day.
func fill(t *testing.T, conn *pgx.Conn, users int) {
	t.Helper()
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{"INSERT INTO password_keys (id, check_value) VALUES ('0', decode(repeat('00', 32), 'hex'))", nil},
		{`INSERT INTO users (id, username, username_key, password_hash)
			SELECT gen_random_uuid(), 'user' || n, 'user' || n, '$hmac-sha256$k=0$' || $2 FROM generate_series(1, $1::int) n`, []any{users, plainHash}},
		{`INSERT INTO sessions (id, user_id, salt, created_at, idle_expires_at, expires_at, ended_at, end_reason, client_address, user_agent)
			SELECT gen_random_uuid(), u.id, decode(repeat('00', 16), 'hex'), age.login, age.login + '14 days', age.login + '30 days',
				CASE WHEN n = 1 THEN age.login + '1 day' END, CASE WHEN n = 1 THEN 'logout' END, '192.0.2.1', 'a browser'
			FROM users u, generate_series(1, 5) n, LATERAL (SELECT now() - random() * interval '90 days' AS login WHERE u.id IS NOT NULL AND n > 0) age`, nil},
		{`INSERT INTO revocations (session_id, at)
			SELECT gen_random_uuid(), now() - n * interval '1 day' / $1::int FROM generate_series(1, $1::int) n`, []any{max(users/10, 5000)}},
		{"ANALYZE", nil},
	} {
		_, err := conn.Exec(t.Context(), step.sql, step.args...)
		must(t, err)
	}
}
