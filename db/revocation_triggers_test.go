package db

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// newRevocations are those since the last call: each the name of a user, or whose session it was. A
// version that is not the user's now, or that could have been another's before a restore, is told
// of.
func (d *DB) newRevocations(t testing.TB) []string {
	t.Helper()
	rows, err := d.pool.Query(t.Context(), `WITH r AS (DELETE FROM revocations RETURNING user_id, version, session_id)
		SELECT CASE
			WHEN r.session_id IS NOT NULL THEN 'session of ' || u.username
			WHEN r.version < extract(epoch FROM timestamptz '2020-01-01') * 1000000 OR r.version <> u.token_version
				THEN coalesce(u.username, 'nobody') || ' ' || r.version
			ELSE coalesce(u.username, 'nobody')
		END
		FROM r LEFT JOIN sessions s ON s.id = r.session_id LEFT JOIN users u ON u.id = coalesce(r.user_id, s.user_id)
		ORDER BY 1`)
	must(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return all
}

func (d *DB) mustFind(t testing.TB, key string) auth.User {
	t.Helper()
	u, err := d.UserByKey(t.Context(), key)
	must(t, err)
	return u
}

func (d *DB) startSession(t testing.TB, u auth.User, perUser int) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := d.StartSession(t.Context(), anEvent(), auth.NewSession{
		ID: id, User: u, Salt: make([]byte, 16), Limits: auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, PerUser: perUser},
	})
	must(t, err)
	return id
}

// One row too few, and a banned user is let in for as long as a token lives. One for each session
// of a user who is revoked whole would be as many in the memory of every replica.
func TestWhateverBarsTokensLeavesOneRevocation(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	exec := func(sql string, args ...any) error { _, err := d.pool.Exec(t.Context(), sql, args...); return err }
	alice, bob := d.mustInsert(t, "alice"), d.mustInsert(t, "bob")
	must(t, exec("INSERT INTO roles (name) VALUES ('clerk')"))
	must(t, d.GrantRole(t.Context(), anEvent(), auth.Freely(), bob.ID, "clerk"))
	first, second := d.startSession(t, alice, 9), d.startSession(t, alice, 9)
	d.newRevocations(t)
	for _, test := range []struct {
		name string
		do   func() error
		want string
	}{
		{"grant", func() error { return d.GrantRole(t.Context(), anEvent(), auth.Freely(), alice.ID, "clerk") }, "[alice]"},
		{"the same again", func() error { return d.GrantRole(t.Context(), anEvent(), auth.Freely(), alice.ID, "clerk") }, "[]"},
		{"change of a role that two have", func() error {
			_, err := d.SetRole(t.Context(), anEvent(), auth.Freely(), "clerk", auth.RoleEdit{Permissions: []auth.Permission{"files:read"}}, auth.Condition{})
			return err
		}, "[alice bob]"},
		{"loss of a role", func() error { return d.RevokeRole(t.Context(), anEvent(), auth.Freely(), alice.ID, "clerk") }, "[alice]"},
		{"end of a role", func() error { return d.DeleteRole(t.Context(), anEvent(), auth.Freely(), "clerk", auth.Condition{}) }, "[bob]"},
		{"logout", func() error { _, err := d.EndSession(t.Context(), anEvent(), alice.ID, first, "logout"); return err }, "[session of alice]"},
		{"second logout", func() error { _, err := d.EndSession(t.Context(), anEvent(), alice.ID, first, "logout"); return err }, "[]"},
		{"more sessions than there may be", func() error { alice = d.mustFind(t, "alice"); second = d.startSession(t, alice, 1); return nil }, "[session of alice]"},
		{"refresh", func() error {
			_, err := d.RotateSession(t.Context(), anEvent(), second, 0, netip.Prefix{}, time.Hour)
			return err
		}, "[]"},
		{"new password by the user", func() error {
			d.startSession(t, alice, 9)
			_, err := d.ChangePassword(t.Context(), anEvent(), changeOf(alice, second))
			return err
		}, "[alice]"},
		{"rehash", func() error { return d.RehashPassword(t.Context(), alice.ID, plainHash, plainHash) }, "[]"},
		{"end of all sessions", func() error {
			alice = d.mustFind(t, "alice")
			d.startSession(t, alice, 9)
			_, err := d.EndSessions(t.Context(), anEvent(), auth.Freely(), auth.Reach{UserID: alice.ID, AllClients: true}, uuid.Nil, "operator")
			return err
		}, "[session of alice session of alice]"},
		{"new password by an operator", func() error {
			d.startSession(t, alice, 9)
			_, err := d.SetPassword(t.Context(), anEvent(), auth.Freely(), "alice", plain)
			return err
		}, "[alice]"},
		{"disabled", func() error {
			alice = d.mustFind(t, "alice")
			d.startSession(t, alice, 9)
			_, err := d.DisableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil)
			return err
		}, "[alice]"},
		{"disabled again", func() error { _, err := d.DisableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil); return err }, "[]"},
		{"enabled", func() error { _, err := d.EnableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil); return err }, "[]"},
		{"deleted", func() error { return d.DeleteUser(t.Context(), anEvent(), auth.Freely(), alice.ID) }, "[nobody]"},
		{"a statement that nobody has thought of", func() error { return exec("UPDATE users SET token_version = token_version + 1 WHERE id = $1", bob.ID) }, "[bob]"},
		{"another", func() error {
			d.startSession(t, d.mustFind(t, "bob"), 9)
			return exec("UPDATE sessions SET ended_at = now(), end_reason = 'reuse' WHERE user_id = $1", bob.ID)
		}, "[session of bob]"},
	} {
		must(t, test.do())
		if got := fmt.Sprint(d.newRevocations(t)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// BenchmarkRevoke measures what bars tokens: of one user among many, and of all 10,000 who have a
// role.
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
			_, err := d.DisableUser(b.Context(), anEvent(), auth.Freely(), u.Username.Key, nil)
			must(b, err)
			_, err = d.EnableUser(b.Context(), anEvent(), auth.Freely(), u.Username.Key, nil)
			must(b, err)
		}
	})
	b.Run("grant", func(b *testing.B) {
		for b.Loop() {
			must(b, d.GrantRole(b.Context(), anEvent(), auth.Freely(), u.ID, "reader"))
			must(b, d.RevokeRole(b.Context(), anEvent(), auth.Freely(), u.ID, "reader"))
		}
	})
	b.Run("role", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			_, err := d.SetRole(b.Context(), anEvent(), auth.Freely(), "clerk", auth.RoleEdit{Permissions: []auth.Permission{auth.Permission(fmt.Sprintf("files:a%d", n))}}, auth.Condition{})
			must(b, err)
		}
	})
}
