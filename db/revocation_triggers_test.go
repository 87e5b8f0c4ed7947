package db

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/internal/auth"
	"gatehouse/internal/dbtest"
)

// newRevocations are those since the last call: each the name of a user with the version, or whose session it was.
func (d *DB) newRevocations(t testing.TB) []string {
	t.Helper()
	rows, err := d.pool.Query(t.Context(), `WITH r AS (DELETE FROM revocations RETURNING user_id, version, session_id)
		SELECT CASE WHEN r.session_id IS NULL THEN coalesce(u.username, 'nobody') || ' ' || r.version ELSE 'session of ' || u.username END
		FROM r LEFT JOIN sessions s ON s.id = r.session_id LEFT JOIN users u ON u.id = coalesce(r.user_id, s.user_id)
		ORDER BY 1`)
	must(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return all
}

func (d *DB) startSession(t testing.TB, u auth.User, perUser int) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	must(t, d.StartSession(t.Context(), anEvent(), auth.NewSession{
		ID: id, User: u, Salt: make([]byte, 16), Limits: auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, PerUser: perUser},
	}))
	return id
}

// One row too few, and a banned user is let in for as long as a token lives. One for each session of a user who is revoked
// whole would be as many in the memory of every replica.
func TestWhateverBarsTokensLeavesOneRevocation(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	exec := func(sql string, args ...any) error { _, err := d.pool.Exec(t.Context(), sql, args...); return err }
	alice, bob := d.mustInsert(t, "alice"), d.mustInsert(t, "bob")
	must(t, exec("INSERT INTO roles (name) VALUES ('clerk')"))
	must(t, d.GrantRole(t.Context(), anEvent(), bob.ID, "clerk"))
	first, second := d.startSession(t, alice, 9), d.startSession(t, alice, 9)
	d.newRevocations(t)
	for _, test := range []struct {
		name string
		do   func() error
		want string
	}{
		{"grant", func() error { return d.GrantRole(t.Context(), anEvent(), alice.ID, "clerk") }, "[alice 2]"},
		{"the same again", func() error { return d.GrantRole(t.Context(), anEvent(), alice.ID, "clerk") }, "[]"},
		{"change of a role that two have", func() error {
			_, err := d.SetRole(t.Context(), anEvent(), "clerk", []auth.Permission{"files:read"}, auth.Condition{})
			return err
		}, "[alice 3 bob 3]"},
		{"loss of a role", func() error { return d.RevokeRole(t.Context(), anEvent(), alice.ID, "clerk") }, "[alice 4]"},
		{"end of a role", func() error { return d.DeleteRole(t.Context(), anEvent(), "clerk", auth.Condition{}) }, "[bob 4]"},
		{"logout", func() error { _, err := d.EndSession(t.Context(), anEvent(), alice.ID, first, "logout"); return err }, "[session of alice]"},
		{"second logout", func() error { _, err := d.EndSession(t.Context(), anEvent(), alice.ID, first, "logout"); return err }, "[]"},
		{"more sessions than there may be", func() error { alice.TokenVersion = 4; second = d.startSession(t, alice, 1); return nil }, "[session of alice]"},
		{"refresh", func() error { _, err := d.RotateSession(t.Context(), anEvent(), second, 0, time.Hour); return err }, "[]"},
		{"new password by the user", func() error {
			d.startSession(t, alice, 9)
			_, err := d.ChangePassword(t.Context(), anEvent(), alice, second, plainHash, time.Hour)
			return err
		}, "[alice 5]"},
		{"rehash", func() error { return d.RehashPassword(t.Context(), alice.ID, plainHash, plainHash) }, "[]"},
		{"end of all sessions", func() error {
			alice.TokenVersion = 5
			d.startSession(t, alice, 9)
			_, err := d.EndSessions(t.Context(), anEvent(), alice.ID, uuid.Nil, "operator")
			return err
		}, "[session of alice session of alice]"},
		{"new password by an operator", func() error {
			d.startSession(t, alice, 9)
			_, err := d.SetPassword(t.Context(), anEvent(), "alice", plain)
			return err
		}, "[alice 6]"},
		{"disabled", func() error {
			alice.TokenVersion = 6
			d.startSession(t, alice, 9)
			_, err := d.DisableUser(t.Context(), anEvent(), "alice", nil)
			return err
		}, "[alice 7]"},
		{"disabled again", func() error { _, err := d.DisableUser(t.Context(), anEvent(), "alice", nil); return err }, "[]"},
		{"enabled", func() error { _, err := d.EnableUser(t.Context(), anEvent(), "alice", nil); return err }, "[]"},
		{"deleted", func() error { return d.DeleteUser(t.Context(), anEvent(), alice.ID) }, "[nobody 8]"},
		{"a statement that nobody has thought of", func() error { return exec("UPDATE users SET token_version = 40 WHERE id = $1", bob.ID) }, "[bob 40]"},
		{"another", func() error {
			d.startSession(t, auth.User{ID: bob.ID, TokenVersion: 40}, 9)
			return exec("UPDATE sessions SET ended_at = now(), end_reason = 'reuse' WHERE user_id = $1", bob.ID)
		}, "[session of bob]"},
	} {
		must(t, test.do())
		if got := fmt.Sprint(d.newRevocations(t)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// BenchmarkRevoke measures what bars tokens: of one user among many, and of all 10,000 who have a role.
func BenchmarkRevoke(b *testing.B) {
	d, err := Open(context.Background(), Options{URL: dbtest.Owner(b, dbtest.New(b)), StatementTimeout: time.Minute})
	must(b, err)
	b.Cleanup(d.Close)
	_, err = d.pool.Exec(b.Context(), `
		INSERT INTO roles (name) VALUES ('clerk'), ('reader');
		INSERT INTO users (id, username, username_key, password_hash)
		SELECT gen_random_uuid(), 'user' || n, 'user' || n, '`+plainHash+`' FROM generate_series(1, 20000) n;
		INSERT INTO user_roles (user_id, role_name) SELECT id, 'clerk' FROM users ORDER BY id LIMIT 10000`)
	must(b, err)
	_, err = d.pool.Exec(b.Context(), "VACUUM ANALYZE")
	must(b, err)
	u, err := d.UserByKey(b.Context(), "user1")
	must(b, err)
	b.Run("disable", func(b *testing.B) {
		for b.Loop() {
			_, err := d.DisableUser(b.Context(), anEvent(), u.Username.Key, nil)
			must(b, err)
			_, err = d.EnableUser(b.Context(), anEvent(), u.Username.Key, nil)
			must(b, err)
		}
	})
	b.Run("grant", func(b *testing.B) {
		for b.Loop() {
			must(b, d.GrantRole(b.Context(), anEvent(), u.ID, "reader"))
			must(b, d.RevokeRole(b.Context(), anEvent(), u.ID, "reader"))
		}
	})
	b.Run("role", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			_, err := d.SetRole(b.Context(), anEvent(), "clerk", []auth.Permission{auth.Permission(fmt.Sprintf("files:a%d", n))}, auth.Condition{})
			must(b, err)
		}
	})
}
