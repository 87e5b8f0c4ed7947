package migrations_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/internal/dbtest"
)

const addUser = `INSERT INTO users (id, username, username_key, username_address, password_hash, email, email_key, email_verified_at)
	VALUES (gen_random_uuid(), $1, $1, $2, '$2b$12$' || repeat('h', 53), $3, $3, CASE WHEN $4 THEN now() END)`

// loginKeys returns "key kind account" for each key.
func loginKeys(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT key || ' ' || kind || ' ' || username
		FROM login_keys JOIN users ON id = user_id ORDER BY key`)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// A key that means two accounts would let one person in as another, or count the failures of one
// against the other.
func TestNoKeyOfALoginMeansTwoAccounts(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t)) // with the rights of the service
	for _, step := range []struct {
		name, sql  string
		args       []any
		constraint string
		keys       []string
	}{
		{"an unverified address is no key", addUser, []any{"alice", nil, "alice@a.example", false},
			"", nil},
		{"a name without an @ is in users alone", addUser, []any{"bob", nil, nil, false}, "", nil},
		{"verified", "UPDATE users SET email_verified_at = now() WHERE username = 'alice'", nil, "",
			[]string{"alice@a.example address alice"}},
		{"a username that is another's address", addUser,
			[]any{"alice@a.example", nil, nil, false}, "users_username_key_unique", nil},
		{"a username that is it in another form", addUser,
			[]any{"Alice@a.example", "alice@a.example", nil, false}, "users_username_key_unique",
			nil},
		{"an address that is another's", addUser, []any{"eve", nil, "alice@a.example", true},
			"login_keys_pkey", nil},
		{"an unverified one counts for nothing", addUser,
			[]any{"eve", nil, "alice@a.example", false}, "", nil},
		{"and is not verified", "UPDATE users SET email_verified_at = now() WHERE username = 'eve'",
			nil, "login_keys_pkey", []string{"alice@a.example address alice"}},
		{"a username with an @, in two forms", addUser,
			[]any{"bob@ü.example", "bob@xn--tda.example", nil, false}, "",
			[]string{"alice@a.example address alice", "bob@xn--tda.example username bob@ü.example",
				"bob@ü.example username bob@ü.example"}},
		{"an address that is another's username",
			"UPDATE users SET email = 'bob@xn--tda.example', email_key = 'bob@xn--tda.example', " +
				"email_verified_at = now() WHERE username = 'bob'", nil, "login_keys_pkey", nil},
		{"the own username is proved",
			"UPDATE users SET email = 'bob@xn--tda.example', email_key = 'bob@xn--tda.example', " +
				"email_verified_at = now() WHERE username = 'bob@ü.example'", nil, "",
			[]string{"alice@a.example address alice", "bob@xn--tda.example address bob@ü.example",
				"bob@ü.example username bob@ü.example"}},
		{"and is a username again",
			"UPDATE users SET email_verified_at = NULL WHERE username = 'bob@ü.example'", nil, "",
			[]string{"alice@a.example address alice", "bob@xn--tda.example username bob@ü.example",
				"bob@ü.example username bob@ü.example"}},
		{"another name, which frees the one of before",
			"UPDATE users SET username = 'was', username_key = 'was', username_address = NULL " +
				"WHERE username = 'bob@ü.example'", nil, "",
			[]string{"alice@a.example address alice"}},
		{"another address, which frees the one of before",
			"UPDATE users SET email = 'a@b.example', email_key = 'a@b.example' WHERE username = 'alice'",
			nil, "", []string{"a@b.example address alice"}},
		{"who leaves frees the address", "DELETE FROM users WHERE username = 'alice'", nil, "", nil},
	} {
		_, err := conn.Exec(t.Context(), step.sql, step.args...)
		refusal, _ := errors.AsType[*pgconn.PgError](err)
		switch {
		case step.constraint == "" && err != nil:
			t.Errorf("%s: %v", step.name, err)
		case step.constraint != "" &&
			(refusal == nil || refusal.ConstraintName != step.constraint):
			t.Errorf("%s: %v, want a violation of %s", step.name, err, step.constraint)
		case step.constraint != "":
			continue
		}
		if got := loginKeys(t, conn); step.keys != nil && !slices.Equal(got, step.keys) {
			t.Errorf("%s: %q, want %q", step.name, got, step.keys)
		}
	}
	if got := loginKeys(t, conn); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// Two replicas may verify one address for two accounts at once. The second waits for the first,
// and is refused.
func TestTwoWhoVerifyOneAddressAtOnceAreOneAndARefusal(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	first, second, watch := connect(t, databaseURL), connect(t, databaseURL), connect(t, databaseURL)
	for _, name := range []string{"alice", "bob"} {
		if _, err := first.Exec(t.Context(), addUser, name, nil, "a@b.example", false); err != nil {
			t.Fatal(err)
		}
	}
	const verify = "UPDATE users SET email_verified_at = now() WHERE username = $1"
	exec(t, first, "BEGIN")
	if _, err := first.Exec(t.Context(), verify, "alice"); err != nil {
		t.Fatal(err)
	}
	pid, done := second.PgConn().PID(), make(chan error, 1)
	go func() {
		_, err := second.Exec(t.Context(), verify, "bob")
		done <- err
	}()
	for waits := false; !waits; {
		if err := watch.QueryRow(t.Context(),
			"SELECT cardinality(pg_blocking_pids($1)) > 0", pid).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, first, "COMMIT")
	refusal, ok := errors.AsType[*pgconn.PgError](<-done)
	if !ok || refusal.ConstraintName != "login_keys_pkey" {
		t.Errorf("the second: %v", refusal)
	}
	if got := loginKeys(t, watch); !slices.Equal(got, []string{"a@b.example address alice"}) {
		t.Errorf("%q", got)
	}
}

// Going back must not lose addresses unseen, and must leave the version before its rights.
func TestAddressesAreNotLostByGoingBack(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	migrator, service := open(t, dbtest.Owner(t, serviceURL)), connect(t, serviceURL)
	if _, err := service.Exec(t.Context(), addUser, "alice", nil, "a@b.example", false); err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.DownTo(t.Context(), 31); err == nil {
		t.Fatal("the address is gone")
	}
	exec(t, service, "UPDATE users SET email = NULL, email_key = NULL, email_verified_at = NULL")
	if _, err := migrator.DownTo(t.Context(), 31); err != nil {
		t.Fatal(err)
	}
	exec(t, service, "SELECT * FROM accounts JOIN account_of(id) o USING (id)")
	exec(t, service, "INSERT INTO users (id, username, username_key, password_hash) "+
		"VALUES (gen_random_uuid(), 'b@c', 'b@c', '$2b$12$' || repeat('h', 53))")
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	// by a replica of the version before, whose rights nobody gives anew
	exec(t, service, "INSERT INTO users (id, username, username_key, password_hash) "+
		"VALUES (gen_random_uuid(), 'd@e', 'd@e', '$2b$12$' || repeat('h', 53))")
}

// Names of before the keys must have theirs when the replicas of this version come, or an address
// could be verified that is the name of another account. The version before goes on beside it.
func TestNamesOfBeforeGetTheirKeysAndTheFirstOfTwoKeepsWhatBothAre(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	migrator, service := open(t, dbtest.Owner(t, serviceURL)), connect(t, serviceURL)
	down, err := migrator.DownTo(t.Context(), 31)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string) {
		t.Helper()
		if _, err := service.Exec(t.Context(), `INSERT INTO users (id, username, username_key, password_hash)
			VALUES (gen_random_uuid(), $1, lower($1), '$2b$12$' || repeat('h', 53))`, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"alice", "Bob@example.org", "bob@ü.example", "bob@xn--tda.example",
		"Carol@ü.example", "a@b", "renée"} {
		add(name)
	}
	for range 5000 { // more than one transaction looks at
		add("user" + rand.Text())
	}
	mustUp(t, migrator, len(down)) // also without new rights for the service
	add("dora@example.org")
	want := []string{
		"a@b username a@b", "bob@example.org username Bob@example.org",
		"bob@xn--tda.example username bob@xn--tda.example", "bob@ü.example username bob@ü.example",
		"carol@xn--tda.example username Carol@ü.example", "carol@ü.example username Carol@ü.example",
		"dora@example.org username dora@example.org",
	}
	if got := loginKeys(t, service); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, index := range []string{"users_email_key_idx", "users_verify_until_idx"} {
		var valid bool
		if err := service.QueryRow(t.Context(), "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)",
			index).Scan(&valid); err != nil || !valid {
			t.Errorf("%s: %t, %v", index, valid, err)
		}
	}
}

// A migrator that was killed in the middle must go on with what is missing.
func TestKeysOfLoginsThatWereHalfMadeAreMadeWhole(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	migrator, service := open(t, dbtest.Owner(t, serviceURL)), connect(t, serviceURL)
	for _, name := range []string{"a@example.org", "b@example.org"} {
		if _, err := service.Exec(t.Context(), addUser, name, nil, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	down, err := migrator.DownTo(t.Context(), 32)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, service, "DELETE FROM login_keys WHERE key = 'b@example.org'")
	mustUp(t, migrator, len(down))
	if got := loginKeys(t, service); !slices.Equal(got,
		[]string{"a@example.org username a@example.org", "b@example.org username b@example.org"}) {
		t.Errorf("%q", got)
	}
}
