package migrations_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3/lock"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/migrations"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func open(t *testing.T, databaseURL string) *migrations.Migrator {
	t.Helper()
	migrator, err := migrations.Open(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := migrator.Close(); err != nil {
			t.Error(err)
		}
	})
	return migrator
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

// files returns the names of the migrations on disk. River's tables are made by one in Go.
func files(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("[0-9]*")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d migrations, %v", len(names), err)
	}
	return names
}

// Replicas of a new release start together. A step that is applied twice would fail, or worse.
func TestMigratorsAtOnceApplyEachStepOnce(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	const migrators = 4
	var (
		group   sync.WaitGroup
		applied [migrators][]migrations.Step
		errs    [migrators]error
	)
	for i := range migrators {
		migrator := open(t, databaseURL)
		group.Go(func() { applied[i], errs[i] = migrator.Up(t.Context()) })
	}
	group.Wait()

	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, steps := range applied {
		for _, step := range steps {
			times[step.Name]++
		}
	}
	for _, name := range files(t) {
		if times[name] != 1 {
			t.Errorf("%s was applied %d times", name, times[name])
		}
	}
}

func TestMigratorWaitsForAnother(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	other := connect(t, databaseURL)
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_lock($1)",
		lock.DefaultLockID); err != nil {
		t.Fatal(err)
	}
	migrator := open(t, databaseURL)
	done := make(chan error, 1)
	go func() {
		_, err := migrator.Up(t.Context())
		done <- err
	}()

	// It is idle once its first try has been refused.
	refused := "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()" +
		" AND state = 'idle' AND query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid())"
	for tried := false; !tried; {
		if err := other.QueryRow(t.Context(), refused).Scan(&tried); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	if err := other.Close(t.Context()); err != nil { // this gives the lock back
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestDownLeavesNothingAndUpMakesTheSameAgain(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	migrator, conn := open(t, databaseURL), connect(t, databaseURL)

	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := schema(t, conn)
	down, err := migrator.DownTo(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(down) != len(files(t)) {
		t.Errorf("%d steps down of %d", len(down), len(files(t)))
	}
	if left := schema(t, conn); left != "" {
		t.Errorf("left after all steps down:\n%s", left)
	}
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second := schema(t, conn); second != first || first == "" {
		t.Errorf("first up:\n%s\nsecond up:\n%s", first, second)
	}
}

// schema describes everything in schema public except goose's own table, one thing on a line.
func schema(t *testing.T, conn *pgx.Conn) (description string) {
	t.Helper()
	const query = `
WITH things AS (
    SELECT format('%s %s %s', relkind, relname, reloptions) AS thing
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'gatehouse_schema_version%'
  UNION ALL
    SELECT format('column %s %s %s not null %s generated %s identity %s default %s', c.relname, a.attname,
        format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, a.attidentity,
        pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relname <> 'gatehouse_schema_version'
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 'gatehouse_schema_version'::regclass
  UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'gatehouse_schema_version'
  UNION ALL
    SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE NOT tgisinternal
  UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind <> 'a'
  UNION ALL
    SELECT format('type %s %s', typname, typtype)
    FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
)
SELECT coalesce(string_agg(thing, E'\n' ORDER BY thing), '') FROM things`
	if err := conn.QueryRow(t.Context(), query).Scan(&description); err != nil {
		t.Fatal(err)
	}
	return description
}

func TestEveryMigrationHasAnUpAndADown(t *testing.T) {
	t.Parallel()
	both := regexp.MustCompile(`(?s)-- \+goose Up\n.*;.*\n-- \+goose Down\n.*;`)
	for _, name := range files(t) {
		if filepath.Ext(name) != ".sql" {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !both.Match(content) {
			t.Errorf("%s lacks statements for one direction", name)
		}
	}
}

func TestStatusTellsWhatIsApplied(t *testing.T) {
	t.Parallel()
	migrator := open(t, dbtest.Empty(t))
	check := func(applied bool) {
		t.Helper()
		status, err := migrator.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := files(t)
		if len(status) != len(names) || status[len(status)-1].Version != migrations.Latest() {
			t.Fatalf("status %+v of files %v, latest %d", status, names, migrations.Latest())
		}
		for i, s := range status {
			if s.Name != names[i] || (s.AppliedAt != nil) != applied {
				t.Errorf("status %+v of %s, want applied %t", s, names[i], applied)
			}
		}
	}
	check(false)
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(true)
	if _, err := migrator.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	check(false)
}

// A step that fails midway must leave nothing behind, so that it can be tried again.
func TestFailedStepIsTakenBackWhole(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	migrator, conn := open(t, databaseURL), connect(t, databaseURL)
	if _, err := conn.Exec(t.Context(), "CREATE TABLE users ()"); err != nil {
		t.Fatal(err)
	}
	steps, err := migrator.Up(t.Context())
	if err == nil || !strings.Contains(err.Error(), "00001_users.sql") || len(steps) != 0 {
		t.Errorf("Up with a table in its way: %v, %v", steps, err)
	}
	if _, err := conn.Exec(t.Context(), "DROP TABLE users"); err != nil {
		t.Fatal(err)
	}
	if left := schema(t, conn); left != "" {
		t.Errorf("left of the failed step:\n%s", left)
	}
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Errorf("second try: %v", err)
	}
}

func TestErrorsDoNotShowThePassword(t *testing.T) {
	t.Parallel()
	const password = "canary-6f1d"
	for _, databaseURL := range []string{
		"postgres://gatehouse:" + password + "@127.0.0.1:port/gatehouse",
		"postgres://gatehouse:" + password + "@%zz/gatehouse",
		"host=127.0.0.1 password=" + password + " port=port",
		"host=127.0.0.1 password='" + password,
		"postgres://gatehouse:" + password + "@127.0.0.1:1/gatehouse", // nobody listens there
	} {
		_, err := migrations.Open(t.Context(), databaseURL)
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("error %v", err)
		}
	}
}

// The rules of the tables are the last line of defence behind the service's own. Package db knows
// them by name.
func TestConstraintsRefuseBadRows(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	const keyed = "'$hmac-sha256$k=0$$2b$12$' || repeat('h', 53)"
	setup := `INSERT INTO password_keys (id, check_value) VALUES ('0', sha256('key'));
		INSERT INTO users (id, username, username_key, password_hash)
		VALUES ('00000000-0000-0000-0000-000000000001', 'Taken', 'taken', ` + keyed + `);
		INSERT INTO roles (name) VALUES ('clerk');
		INSERT INTO role_permissions (role_name, permission) VALUES ('clerk', 'files:read');
		INSERT INTO user_roles (user_id, role_name) SELECT id, unnest('{admin,clerk}'::text[]) FROM users;
		INSERT INTO retired_usernames (key_digest) SELECT retired_digest(secret, sha256('gone')) FROM retired_usernames_key;
		INSERT INTO roles (name) VALUES ('big'), ('small');
		INSERT INTO role_permissions (role_name, permission) SELECT 'big', 'files:a' || n || repeat('a', 20) FROM generate_series(100, 199) n`
	if _, err := conn.Exec(t.Context(), setup); err != nil {
		t.Fatal(err)
	}
	user := func(username, key, hash string) string {
		return "INSERT INTO users (id, username, username_key, password_hash) VALUES (gen_random_uuid(), " +
			username + ", " + key + ", " + hash + ")"
	}
	key := func(kid, algorithm, state, public, private, activated, retiring, ended string) string {
		return "INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at, activated_at, retiring_at, ended_at) VALUES (" +
			strings.Join([]string{kid, algorithm, state, public, private, "60", "now()", activated,
				retiring, ended}, ", ") + ")"
	}
	idKey := func(kid, algorithm, state, public, private, activated, retiring, ended string) string {
		return strings.Replace(
			key(kid, algorithm, state, public, private, activated, retiring, ended),
			"signing_keys", "id_token_keys", 1)
	}
	const sealed = "decode(repeat('00', 29), 'hex')"
	mail := func(sealed, outcome, done string) string {
		return "INSERT INTO mails (id, kind, expires_at, sealed, outcome, done_at) VALUES (" +
			strings.Join([]string{"gen_random_uuid()", "'reset'", "now()", sealed, outcome, done}, ", ") + ")"
	}
	challenge := func(purpose, version, email string) string {
		return "INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, created_at, expires_at) SELECT " +
			strings.Join([]string{"gen_random_uuid()", purpose, "id", version, email, "'a@b'", "now()", "now()"}, ", ") +
			" FROM users WHERE username = 'Taken'"
	}
	client := func(id, secret, older, grants, scope string) string {
		return "INSERT INTO clients (client_id, subject, name, secret_digest, old_secret_digest, grant_types, scope) VALUES (" +
			strings.Join([]string{id, "gen_random_uuid()", "'Name'", secret, older, grants, scope},
				", ") + ")"
	}
	for _, test := range []struct{ name, statement, constraint string }{
		{"longest username", user("repeat('ü', 64)", "repeat('ü', 64)", keyed), ""},
		{"imported hash", user("'imported'", "'imported'", "'$2b$12$' || repeat('h', 53)"), ""},
		{"imported Argon2id",
			user("'imported2'", "'imported2'",
				"'$argon2id$v=19$m=65536,t=3,p=4$' || repeat('s', 22) || '$' || repeat('t', 43)"), ""},
		{"Argon2id of another form",
			user("'u'", "'u'", "'$argon2id$v=19$m=65536,t=3,p=4$' || repeat('s', 22) || '$'"),
			"users_password_hash_form"},
		{"Argon2i", user("'u'", "'u'",
			"'$argon2i$v=19$m=65536,t=3,p=4$' || repeat('s', 22) || '$' || repeat('t', 43)"), "users_password_hash_form"},
		{"name that is not in ASCII", user("'é'", "'é'", keyed), ""},
		{"skeleton of another length", "UPDATE username_skeletons SET skeleton = 'short'",
			"username_skeletons_skeleton_length"},
		{"alone without a skeleton", "UPDATE username_skeletons SET is_alone = true",
			"username_skeletons_alone_has_skeleton"},
		{"alone twice", "UPDATE username_skeletons SET is_alone = true, skeleton = sha256('alike')",
			"username_skeletons_alone_idx"},
		{"skeleton of nobody",
			"INSERT INTO username_skeletons (user_id) VALUES (gen_random_uuid())",
			"username_skeletons_user_id_fkey"},
		{"longest address", user("repeat('u', 251) || '＠'", "repeat('u', 251) || '@'", keyed), ""},
		{"long address", user("repeat('u', 252) || '＠'", "'u@'", keyed), "users_username_length"},
		{"long key of an address", user("'u@'", "repeat('u', 253) || '@u'", keyed),
			"users_username_key_length"},
		{"long username", user("repeat('u', 65)", "'u'", keyed), "users_username_length"},
		{"empty username", user("''", "'u'", keyed), "users_username_length"},
		{"long username key", user("'u'", "repeat('u', 65)", keyed), "users_username_key_length"},
		{"empty username key", user("'u'", "''", keyed), "users_username_key_length"},
		{"username key taken", user("'taken'", "'taken'", keyed), "users_username_key_unique"},
		{"id taken", "INSERT INTO users (id, username, username_key, password_hash) " +
			"SELECT id, 'other', 'other', password_hash FROM users WHERE username = 'Taken'",
			"users_pkey"},
		{"short hash", user("'u'", "'u'", "'$2b$12$short'"), "users_password_hash_form"},
		{"long hash", user("'u'", "'u'", "repeat('h', 129)"), "users_password_hash_form"},
		{"hash under an unknown key",
			user("'u'", "'u'", "'$hmac-sha256$k=1$$2b$12$' || repeat('h', 53)"),
			"users_password_key_fkey"},
		{"password that expires and may stay", "UPDATE users SET password_expires_at = now()",
			"users_password_that_expires_must_change"},
		{"token version 0", "UPDATE users SET token_version = 0", "users_token_version_positive"},
		{"key in use taken off the record", "DELETE FROM password_keys WHERE id = '0'",
			"users_password_key_fkey"},
		{"key recorded twice",
			"INSERT INTO password_keys (id, check_value) VALUES ('0', sha256('other'))",
			"password_keys_pkey"},
		{"key id of another form",
			"INSERT INTO password_keys (id, check_value) VALUES ('A', sha256('key'))",
			"password_keys_id_form"},
		{"empty key id", "INSERT INTO password_keys (id, check_value) VALUES ('', sha256('key'))",
			"password_keys_id_form"},
		{"long key id",
			"INSERT INTO password_keys (id, check_value) VALUES (repeat('a', 17), sha256('key'))",
			"password_keys_id_form"},
		{"role of another form", "INSERT INTO roles (name) VALUES ('Clerk')", "roles_name_form"},
		{"role with a line break", "INSERT INTO roles (name) VALUES (E'clerk\\n')",
			"roles_name_form"},
		{"permission of another form",
			"INSERT INTO role_permissions (role_name, permission) VALUES ('clerk', '*:*')",
			"role_permissions_permission_form"},
		{"permission of no role",
			"INSERT INTO role_permissions (role_name, permission) VALUES ('nothing', 'a:b')",
			"role_permissions_role_name_fkey"},
		{"role that is none",
			"INSERT INTO user_roles (user_id, role_name) SELECT id, 'nothing' FROM users",
			"user_roles_role_name_fkey"},
		{"role of nobody",
			"INSERT INTO user_roles (user_id, role_name) VALUES (gen_random_uuid(), 'clerk')",
			"user_roles_user_id_fkey"},
		{"role that is held deleted", "DELETE FROM roles WHERE name = 'clerk'",
			"user_roles_role_name_fkey"},
		{"built-in role deleted", "DELETE FROM roles WHERE name = 'admin'", "roles_builtin"},
		{"built-in role renamed", "UPDATE roles SET name = 'boss' WHERE name = 'admin'",
			"roles_builtin"},
		{"built-in role with more",
			"INSERT INTO role_permissions (role_name, permission) VALUES ('admin', 'a:b')",
			"roles_builtin"},
		{"built-in role with less", "DELETE FROM role_permissions WHERE role_name = 'admin'",
			"roles_builtin"},
		{"permission moved to the built-in role",
			"UPDATE role_permissions SET role_name = 'admin' WHERE role_name = 'clerk'",
			"roles_builtin"},
		{"all admins disabled", "UPDATE users SET disabled_at = now()", "last_admin"},
		{"all admins demoted", "DELETE FROM user_roles", "last_admin"},
		{"last admin's role moved",
			"UPDATE user_roles SET role_name = 'clerk' WHERE role_name = 'admin'", "last_admin"},
		{"all users deleted", "DELETE FROM users", "last_admin"},
		{"rights too long for a token", "INSERT INTO role_permissions (role_name, permission) " +
			"SELECT 'clerk', 'files:a' || n || repeat('a', 20) FROM generate_series(100, 199) n",
			"user_rights_size"},
		{"rights too long for a token, granted among others",
			"INSERT INTO user_roles (user_id, role_name) " +
				"SELECT id, unnest('{small,big}'::text[]) FROM users WHERE username = 'Taken'",
			"user_rights_size"},
		{"name of a deleted account, among others",
			user("'new'", "'new'", keyed) + ", (gen_random_uuid(), 'gone', 'gone', " + keyed + ")",
			"users_username_key_unique"},
		{"signing key with a private half that is not encrypted away",
			key("'k1'", "'HS256'", "'active'", "NULL", "'x'", "now()", "NULL", "NULL"),
			"signing_keys_private"},
		{"next key that could not sign",
			key("'k2'", "'ES256'", "'next'", "'{}'", "NULL", "NULL", "NULL", "NULL"),
			"signing_keys_private"},
		{"retired key that could sign",
			key("'k3'", "'ES256'", "'retired'", "'{}'", "'x'", "now()", "now()", "now()"),
			"signing_keys_private"},
		{"public half of a secret",
			key("'k4'", "'HS256'", "'active'", "'{}'", "NULL", "now()", "NULL", "NULL"),
			"signing_keys_public"},
		{"unknown algorithm",
			key("'k5'", "'none'", "'active'", "'{}'", "'x'", "now()", "NULL", "NULL"),
			"signing_keys_algorithm_known"},
		{"unknown state",
			key("'k6'", "'ES256'", "'waiting'", "'{}'", "NULL", "now()", "NULL", "NULL"),
			"signing_keys_state_known"},
		{"active key that never became it",
			key("'k7'", "'ES256'", "'active'", "'{}'", "'x'", "NULL", "NULL", "NULL"),
			"signing_keys_activated"},
		{"retiring key of no time",
			key("'k8'", "'ES256'", "'retiring'", "'{}'", "NULL", "now()", "NULL", "NULL"),
			"signing_keys_retiring"},
		{"retired key that has not ended",
			key("'k9'", "'ES256'", "'retired'", "'{}'", "NULL", "now()", "now()", "NULL"),
			"signing_keys_ended"},
		{"key that signed before it was made",
			key("'k10'", "'ES256'", "'active'", "'{}'", "'x'", "now() - interval '1 s'", "NULL",
				"NULL"), "signing_keys_order"},
		{"id of a key that gets into a path",
			key("'../k'", "'HS256'", "'active'", "NULL", "NULL", "now()", "NULL", "NULL"),
			"signing_keys_kid_form"},
		{"first secret",
			key("'secret-1'", "'HS256'", "'active'", "NULL", "NULL", "now()", "NULL", "NULL"), ""},
		{"two active keys",
			key("'k11'", "'ES256'", "'active'", "'{}'", "'x'", "now()", "NULL", "NULL"),
			"signing_keys_active_idx"},
		{"key that signs again", "UPDATE signing_keys SET state = 'next', activated_at = NULL",
			"signing_keys_forward"},
		{"key of ID tokens", idKey("'i1'", "'RS256'", "'active'", "'{}'", "'x'", "now()", "NULL",
			"NULL"), ""},
		{"key of ID tokens of another algorithm",
			idKey("'i2'", "'ES256'", "'active'", "'{}'", "'x'", "now()", "NULL", "NULL"), ""},
		{"two active keys of ID tokens of an algorithm",
			idKey("'i3'", "'RS256'", "'active'", "'{}'", "'x'", "now()", "NULL", "NULL"),
			"id_token_keys_active_idx"},
		{"next key of ID tokens", idKey("'i4'", "'RS256'", "'next'", "'{}'", "'x'", "NULL", "NULL",
			"NULL"), ""},
		{"two next keys of ID tokens of an algorithm",
			idKey("'i5'", "'RS256'", "'next'", "'{}'", "'x'", "NULL", "NULL", "NULL"),
			"id_token_keys_next_idx"},
		{"secret that signs ID tokens",
			idKey("'i6'", "'HS256'", "'active'", "'{}'", "'x'", "now()", "NULL", "NULL"),
			"id_token_keys_algorithm_known"},
		{"key of ID tokens that nobody can verify by",
			idKey("'i7'", "'EdDSA'", "'active'", "NULL", "'x'", "now()", "NULL", "NULL"),
			"id_token_keys_public"},
		{"key of ID tokens that could not sign",
			idKey("'i8'", "'EdDSA'", "'next'", "'{}'", "NULL", "NULL", "NULL", "NULL"),
			"id_token_keys_private"},
		{"retired key of ID tokens that could sign",
			idKey("'i9'", "'EdDSA'", "'retired'", "'{}'", "'x'", "now()", "now()", "now()"),
			"id_token_keys_private"},
		{"key of ID tokens in an unknown state",
			idKey("'i10'", "'EdDSA'", "'waiting'", "'{}'", "NULL", "now()", "NULL", "NULL"),
			"id_token_keys_state_known"},
		{"active key of ID tokens that never became it",
			idKey("'i11'", "'EdDSA'", "'active'", "'{}'", "'x'", "NULL", "NULL", "NULL"),
			"id_token_keys_activated"},
		{"retiring key of ID tokens of no time",
			idKey("'i12'", "'EdDSA'", "'retiring'", "'{}'", "NULL", "now()", "NULL", "NULL"),
			"id_token_keys_retiring"},
		{"retired key of ID tokens that has not ended",
			idKey("'i13'", "'EdDSA'", "'retired'", "'{}'", "NULL", "now()", "now()", "NULL"),
			"id_token_keys_ended"},
		{"key of ID tokens that signed before it was made",
			idKey("'i14'", "'EdDSA'", "'active'", "'{}'", "'x'", "now() - interval '1 s'", "NULL",
				"NULL"), "id_token_keys_order"},
		{"id of a key of ID tokens that gets into a path",
			idKey("'../k'", "'EdDSA'", "'active'", "'{}'", "'x'", "now()", "NULL", "NULL"),
			"id_token_keys_kid_form"},
		{"client", client("'shop'", "sha256('x')", "NULL", "'{password,refresh_token}'",
			"'files:read'"), ""},
		{"client that only asks", client("'desk'", "sha256('x')", "sha256('y')", "'{}'", "NULL"),
			""},
		{"client id with a space", client("'a b'", "NULL", "NULL", "'{}'", "NULL"),
			"clients_client_id_form"},
		{"client id with a colon", client("'a:b'", "NULL", "NULL", "'{}'", "NULL"),
			"clients_client_id_form"},
		{"long client id", client("repeat('a', 65)", "NULL", "NULL", "'{}'", "NULL"),
			"clients_client_id_form"},
		{"client id of the first-party client",
			client("'Gatehouse'", "NULL", "NULL", "'{}'", "NULL"),
			"clients_client_id_not_built_in"},
		{"client id that a user could have",
			client("gen_random_uuid()::text", "NULL", "NULL", "'{}'", "NULL"),
			"clients_client_id_no_user"},
		{"client id that reads like a user's",
			client("replace(gen_random_uuid()::text, '-', '')", "NULL", "NULL", "'{}'", "NULL"),
			"clients_client_id_no_user"},
		{"secret of a client in the clear", client("'c'", "'secret'", "NULL", "'{}'", "NULL"),
			"clients_secret_digest_length"},
		{"older secret of a client in the clear",
			client("'c'", "sha256('x')", "'secret'", "'{}'", "NULL"),
			"clients_old_secret_digest_length"},
		{"older secret of a public client", client("'c'", "NULL", "sha256('x')", "'{}'", "NULL"),
			"clients_old_secret_has_new"},
		{"grant that there is not", client("'c'", "NULL", "NULL", "'{implicit}'", "NULL"),
			"clients_grant_types_known"},
		{"client credentials of a public client",
			client("'c'", "NULL", "NULL", "'{client_credentials}'", "NULL"),
			"clients_credentials_need_secret"},
		{"client's role that is none",
			"INSERT INTO client_roles (client_id, role_name) VALUES ('shop', 'nothing')",
			"client_roles_role_name_fkey"},
		{"role of no client",
			"INSERT INTO client_roles (client_id, role_name) VALUES ('nobody', 'clerk')",
			"client_roles_client_id_fkey"},
		{"client's rights too long for a token",
			"INSERT INTO client_roles (client_id, role_name) VALUES ('shop', 'big')",
			"client_rights_size"},
		{"client's role",
			"INSERT INTO client_roles (client_id, role_name) VALUES ('shop', 'small')", ""},
		{"client's role that grows too long for a token",
			"INSERT INTO role_permissions (role_name, permission) " +
				"SELECT 'small', 'files:a' || n || repeat('a', 20) FROM generate_series(100, 199) n",
			"client_rights_size"},
		{"client's version 0", "UPDATE clients SET token_version = 0",
			"clients_token_version_positive"},
		{"event of a client without id",
			"INSERT INTO audit_events (action, outcome, actor, target, request_id, client_address, user_agent) " +
				"VALUES ('login', 'success', 'client', '', '', '', '')",
			"audit_events_user_has_id"},
		{"bound of a first-party client",
			"UPDATE clients SET first_party = true WHERE client_id = 'shop'",
			"clients_first_party_unbounded"},
		{"first-party client", "UPDATE clients SET first_party = true WHERE client_id = 'desk'",
			""},
		{"permission of one word",
			"INSERT INTO role_permissions (role_name, permission) VALUES ('clerk', 'items')", ""},
		{"word of all that is Gatehouse's",
			"INSERT INTO role_permissions (role_name, permission) VALUES ('clerk', 'gatehouse')",
			"role_permissions_permission_form"},
		{"permission of two words",
			"INSERT INTO role_permissions (role_name, permission) VALUES ('clerk', 'a b')",
			"role_permissions_permission_form"},
		{"word of OpenID Connect as a permission",
			"INSERT INTO role_permissions (role_name, permission) VALUES ('clerk', 'email')",
			"role_permissions_not_reserved"},
		{"word of OpenID Connect in a scope",
			client("'c'", "NULL", "NULL", "'{}'", "'files:read openid'"),
			"clients_scope_not_reserved"},
		{"client of the version before", client("'before'", "sha256('x')", "NULL", "'{password}'",
			"NULL"), ""},
		{"client with codes", "UPDATE clients SET redirect_uris = '{https://a.example/cb}', " +
			"grant_types = '{authorization_code}', without_pkce = true, asks = true, " +
			"post_logout_redirect_uris = '{https://a.example/}', audiences = '{urn:a}', " +
			"backchannel_logout_uri = 'https://a.example/out', required_role = 'small', " +
			"id_token_algorithm = 'EdDSA' WHERE client_id = 'before'", ""},
		{"codes without a place to go", "UPDATE clients SET redirect_uris = '{}' " +
			"WHERE client_id = 'before'", "clients_code_has_redirect_uri"},
		{"a place to go without codes",
			"UPDATE clients SET grant_types = '{password}' WHERE client_id = 'before'",
			"clients_code_has_redirect_uri"},
		{"21 redirect URIs", "UPDATE clients SET redirect_uris = " +
			"array_fill('https://a.example/cb'::text, ARRAY[21]) WHERE client_id = 'before'",
			"clients_redirect_uris_form"},
		{"long redirect URI", "UPDATE clients SET redirect_uris = " +
			"ARRAY['https://a.example/' || repeat('a', 495)] WHERE client_id = 'before'",
			"clients_redirect_uris_form"},
		{"redirect URI with a line break",
			"UPDATE clients SET redirect_uris = ARRAY[E'https://a.example/\n'] " +
				"WHERE client_id = 'before'", "clients_redirect_uris_form"},
		{"redirect URI that is NULL",
			"UPDATE clients SET redirect_uris = '{NULL}' WHERE client_id = 'before'",
			"clients_redirect_uris_form"},
		{"empty URI after a logout",
			"UPDATE clients SET post_logout_redirect_uris = '{\"\"}'",
			"clients_post_logout_redirect_uris_form"},
		{"back-channel URI with a space", "UPDATE clients SET backchannel_logout_uri = 'a b'",
			"clients_backchannel_logout_uri_form"},
		{"empty back-channel URI", "UPDATE clients SET backchannel_logout_uri = ''",
			"clients_backchannel_logout_uri_form"},
		{"audience with a space", "UPDATE clients SET audiences = '{a b}'",
			"clients_audiences_form"},
		{"public client without PKCE", client("'public'", "NULL", "NULL", "'{}'", "NULL") +
			"; UPDATE clients SET without_pkce = true WHERE client_id = 'public'",
			"clients_without_pkce_needs_secret"},
		{"ID tokens under a client's secret", "UPDATE clients SET id_token_algorithm = 'HS256'",
			"clients_id_token_algorithm_known"},
		{"required role that is none", "UPDATE clients SET required_role = 'nothing'",
			"clients_required_role_fkey"},
		{"role that a client requires deleted", "DELETE FROM roles WHERE name = 'small'",
			"clients_required_role_fkey"},
		{"scope of nothing", client("'c'", "NULL", "NULL", "'{}'", "''"), "clients_scope_length"},
		{"session of no client",
			"INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, client_id) " +
				"SELECT gen_random_uuid(), id, decode(repeat('00', 16), 'hex'), now(), now(), '', '', 'nobody' FROM users", "sessions_client_id_fkey"},
		{"short check value", "INSERT INTO password_keys (id, check_value) VALUES ('a', 'short')",
			"password_keys_check_value_length"},
		{"mail without an end, and without what is in it", mail("NULL", "NULL", "NULL"), "mails_sealed_until_done"},
		{"mail that is done, with what was in it", mail(sealed, "'sent'", "now()"), "mails_sealed_until_done"},
		{"mail that is done for no reason", mail("NULL", "NULL", "now()"), "mails_done_has_outcome"},
		{"mail that ends in another way", mail("NULL", "'lost'", "now()"), "mails_outcome_known"},
		{"mail that is not sealed", mail("'plain'", "NULL", "NULL"), "mails_sealed_length"},
		{"mail of nobody's kind", strings.Replace(mail(sealed, "NULL", "NULL"), "'reset'", "'A kind'", 1), "mails_kind_form"},
		{"long problem of a mail", mail(sealed, "NULL", "NULL") + "; UPDATE mails SET problem = repeat('a', 201)",
			"mails_problem_length"},
		{"mail for nobody who was there", mail(sealed, "NULL", "NULL") + "; UPDATE mails SET user_id = gen_random_uuid()",
			"mails_user_id_fkey"},
		{"challenge for nothing", challenge("'nothing'", "1", "'a@b'"), "challenges_purpose_known"},
		{"challenge that outlives a change", challenge("'reset'", "NULL", "'a@b'"), "challenges_undo_outlives_changes"},
		{"challenge that a thief could void", challenge("'undo'", "1", "'a@b'"), "challenges_undo_outlives_changes"},
		{"challenge of no address", challenge("'reset'", "1", "''"), "challenges_email_length"},
		{"two challenges for one purpose", challenge("'reset'", "1", "'a@b'") + "; " + challenge("'reset'", "1", "'a@b'"),
			"challenges_current_idx"},
		{"challenge with six guesses", challenge("'reset'", "1", "'a@b'") + "; UPDATE challenges SET attempts = 6",
			"challenges_attempts_bounded"},
		{"address without a key", "UPDATE users SET email = 'a@b.example'", "users_email_has_key"},
		{"verified address that is not there", "UPDATE users SET email_verified_at = now()",
			"users_email_verified_is_there"},
		{"address to be verified that is not there", "UPDATE users SET verify_until = now()",
			"users_verify_until_is_open"},
		{"address to be verified that is",
			"UPDATE users SET email = 'a@b', email_key = 'a@b', email_verified_at = now(), verify_until = now()",
			"users_verify_until_is_open"},
		{"long address of an account",
			"UPDATE users SET email = repeat('a', 253) || '@b', email_key = 'a@b'",
			"users_email_length"},
		{"key of an address without an @", "UPDATE users SET email = 'a@b', email_key = 'a'",
			"users_email_key_form"},
		{"long key of an address",
			"UPDATE users SET email = 'a@b', email_key = repeat('a', 253) || '@b'",
			"users_email_key_form"},
		{"username that is no address", "UPDATE users SET username_address = 'a'",
			"users_username_address_form"},
		{"key of a login without an @", "INSERT INTO login_keys " +
			"SELECT 'taken', id, 'username' FROM users WHERE username = 'Taken'",
			"login_keys_key_form"},
		{"key of a login of another kind", "INSERT INTO login_keys " +
			"SELECT 'a@b', id, 'telephone' FROM users WHERE username = 'Taken'",
			"login_keys_kind_known"},
		{"key of a login of nobody",
			"INSERT INTO login_keys VALUES ('a@b', gen_random_uuid(), 'username')",
			"login_keys_user_id_fkey"},
		{"name for the key of a limit", "INSERT INTO rate_limits (key, tat) VALUES ('alice', 0)",
			"rate_limits_key_length"},
	} {
		_, err := conn.Exec(t.Context(), test.statement)
		if test.constraint == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok ||
			refusal.ConstraintName != test.constraint {
			t.Errorf("%s: %v, want a violation of %s", test.name, err, test.constraint)
		}
	}
}

// A role that was granted before the upgrade must appear on the pages of its users, and the only
// admin's role must survive the upgrade.
func TestRolesOfBeforeGetTheNamesOfTheirUsers(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Owner(t, dbtest.New(t))
	migrator, conn := open(t, databaseURL), connect(t, databaseURL)
	if _, err := migrator.DownTo(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(),
		`INSERT INTO users (id, username, username_key, password_hash)
		VALUES (gen_random_uuid(), 'Root', 'root', '$2b$12$' || repeat('h', 53));
		INSERT INTO user_roles (user_id, role_name) SELECT id, 'admin' FROM users`); err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var key string
	if err := conn.QueryRow(t.Context(),
		"SELECT username_key FROM user_roles").Scan(&key); err != nil || key != "root" {
		t.Errorf("the role is under the name %q, %v", key, err)
	}
}

// Tokens from before an upgrade were signed with the secret. They must not be refused.
func TestAnInstallationWithUsersGoesOnWithItsSecretAndANewOneIsFree(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Owner(t, dbtest.New(t))
	migrator, conn := open(t, databaseURL), connect(t, databaseURL)
	for want, user := range []string{"",
		`INSERT INTO users (id, username, username_key, password_hash)
		VALUES (gen_random_uuid(), 'Root', 'root', '$2b$12$' || repeat('h', 53))`} {
		if _, err := migrator.DownTo(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		if _, err := migrator.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got int
		if err := conn.QueryRow(t.Context(),
			"SELECT count(*) FROM signing_keys WHERE algorithm = 'HS256' AND state = 'active'").Scan(&got); err != nil || got != want {
			t.Errorf("%d keys, want %d: %v", got, want, err)
		}
	}
}

// New names must not look like names from before the table. Plain names are looked up by
// themselves.
func TestNamesOfBeforeWaitForTheirSkeletons(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Owner(t, dbtest.New(t))
	migrator, conn := open(t, databaseURL), connect(t, databaseURL)
	if _, err := migrator.DownTo(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	insert := func(name string) {
		if _, err := conn.Exec(t.Context(),
			`INSERT INTO users (id, username, username_key, password_hash)
			VALUES (gen_random_uuid(), $1, $1, '$2b$12$' || repeat('h', 53))`, name); err != nil {
			t.Fatal(err)
		}
	}
	insert("root")
	insert("renée")
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	insert("иван") // by the version before, on the new schema
	insert("alice")
	var waiting []string
	if err := conn.QueryRow(t.Context(),
		`SELECT array_agg(username ORDER BY username COLLATE "C") FROM users
		JOIN username_skeletons ON user_id = id WHERE skeleton IS NULL`).Scan(
		&waiting); err != nil || !slices.Equal(waiting, []string{"renée", "иван"}) {
		t.Errorf("%q wait, %v", waiting, err)
	}
}

// Anybody with a list of names can read plain digests. Names that were retired before the key must
// stay retired, and so must those that the version before retires afterwards.
func TestNamesOfDeletedAccountsAreKeptUnderAKeyAndStayRetired(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	databaseURL := dbtest.Owner(t, serviceURL)
	migrator, conn, service := open(t, databaseURL), connect(t, databaseURL), connect(t, serviceURL)
	add := func(name string) error {
		_, err := service.Exec(t.Context(),
			`INSERT INTO users (id, username, username_key, password_hash)
			VALUES (gen_random_uuid(), $1, $1, '$2b$12$' || repeat('h', 53))`, name)
		return err
	}
	leave := func(name string) {
		t.Helper()
		if err := add(name); err != nil {
			t.Fatal(err)
		}
		if _, err := service.Exec(t.Context(), "DELETE FROM users WHERE username = $1",
			name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := migrator.DownTo(t.Context(), 14); err != nil {
		t.Fatal(err)
	}
	leave("before")
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave("after")
	for _, name := range []string{"before", "after"} {
		var plain bool
		if err := conn.QueryRow(t.Context(),
			"SELECT EXISTS (SELECT FROM retired_usernames WHERE key_digest = sha256(convert_to($1, 'UTF8')))", name).Scan(&plain); err != nil || plain {
			t.Errorf("%s is kept as a plain digest: %v, %v", name, plain, err)
		}
		if err := add(name); err == nil ||
			!strings.Contains(err.Error(), "users_username_key_unique") &&
				!strings.Contains(err.Error(), "was that of an account") {
			t.Errorf("%s is given to another: %v", name, err)
		}
	}
	if err := add("new"); err != nil {
		t.Error(err)
	}
	if _, err := migrator.DownTo(t.Context(), 14); err == nil ||
		!strings.Contains(err.Error(), "would be free") {
		t.Errorf("the way back frees the names: %v", err)
	}
	// Without the key, nothing reveals whether a name is retired.
	if _, err := conn.Exec(t.Context(), "DELETE FROM retired_usernames_key"); err != nil {
		t.Fatal(err)
	}
	if err := add("another"); err == nil {
		t.Error("a name is given away without a look")
	}
}

// Without a notification, a replica hears of a ban a second later, and of a leaked key five seconds
// later.
func TestWhoeverListensIsToldOfRevocationsAndOfKeys(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	listener, conn := connect(t, databaseURL), connect(t, databaseURL)
	if _, err := listener.Exec(t.Context(),
		"LISTEN gatehouse_revocations; LISTEN gatehouse_signing_keys; LISTEN nothing_came"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ statement, channel string }{
		{"INSERT INTO revocations (session_id) VALUES (gen_random_uuid())",
			"gatehouse_revocations"},
		{`INSERT INTO signing_keys (kid, algorithm, state, lifetime_seconds, created_at, activated_at)
			VALUES ('secret', 'HS256', 'active', 60, now(), now())`, "gatehouse_signing_keys"},
		{"UPDATE signing_keys SET state = 'revoked', ended_at = now()", "gatehouse_signing_keys"},
		{`INSERT INTO id_token_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at)
			VALUES ('id', 'RS256', 'next', '{}', 'x', 60, now())`, "gatehouse_signing_keys"},
		{"UPDATE id_token_keys SET state = 'revoked', sealed_private = NULL, ended_at = now()", "gatehouse_signing_keys"},
	} {
		if _, err := conn.Exec(t.Context(), test.statement); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "NOTIFY nothing_came"); err != nil {
			t.Fatal(err)
		}
		first, err := listener.WaitForNotification(t.Context())
		if err != nil || first.Channel != test.channel {
			t.Fatalf("%s: %+v, %v", test.statement, first, err)
		}
		if last, err := listener.WaitForNotification(t.Context()); err != nil ||
			last.Channel != "nothing_came" {
			t.Fatalf("%s: then %+v, %v", test.statement, last, err)
		}
	}
}

// A replica of the version before registers clients on the new schema, and reads those of the new
// one. The way back must not leave a grant that it refuses.
func TestClientsOfBothVersionsLiveOnOneSchemaAndGoBack(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Owner(t, dbtest.New(t))
	migrator, conn := open(t, databaseURL), connect(t, databaseURL)
	if _, err := conn.Exec(t.Context(), `
		INSERT INTO clients (client_id, subject, name, secret_digest, grant_types, scope, first_party)
		VALUES ('old', gen_random_uuid(), 'Old', NULL, '{password,refresh_token}', NULL, true);
		INSERT INTO clients (client_id, subject, name, grant_types, redirect_uris)
		VALUES ('new', gen_random_uuid(), 'New', '{refresh_token,authorization_code}', '{https://a.example/cb}')`,
	); err != nil {
		t.Fatal(err)
	}
	var stored string
	if err := conn.QueryRow(t.Context(), `SELECT concat_ws('|', redirect_uris, post_logout_redirect_uris,
		coalesce(backchannel_logout_uri, 'NULL'), without_pkce, asks, coalesce(required_role, 'NULL'), audiences, id_token_algorithm)
		FROM clients WHERE client_id = 'old'`).Scan(&stored); err != nil ||
		stored != "{}|{}|NULL|f|f|NULL|{}|RS256" {
		t.Errorf("a client of the version before has %s, %v", stored, err)
	}
	if _, err := migrator.DownTo(t.Context(), 24); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(),
		"SELECT string_agg(grant_types::text, '|' ORDER BY client_id) FROM clients").Scan(&stored); err != nil ||
		stored != "{refresh_token}|{password,refresh_token}" {
		t.Errorf("the way back leaves the grants %s, %v", stored, err)
	}
}
