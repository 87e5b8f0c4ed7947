package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"gatehouse/internal/asynctest"
	"gatehouse/internal/auth"
)

// hold locks rows until the function that it returns is called.
func (c *clocked) hold(sql string, args ...any) (letGo func()) {
	c.Helper()
	tx, err := c.conn.Begin(c.Context())
	must(c, err)
	_, err = tx.Exec(c.Context(), sql, args...)
	must(c, err)
	return func() { must(c, tx.Rollback(context.Background())) }
}

// sendOff starts something that must wait for a lock, behind others that wait already.
func (c *clocked) sendOff(others int, do func() error) (ended <-chan error) {
	c.Helper()
	result := make(chan error, 1)
	go func() { result <- do() }()
	watcher := connectTo(c.T, c.url)
	asynctest.Await(c, "a lock to be waited for", func() (waits bool) {
		must(c, watcher.QueryRow(c.Context(), `SELECT count(*) > $1 FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`, others).Scan(&waits))
		return waits
	})
	return result
}

// Whoever gets the name of an account just as that goes would be taken for its owner.
func TestANameThatIsBeingRetiredIsGivenToNobodyHoweverItIsAskedFor(t *testing.T) {
	t.Parallel()
	f := startClocked(t)
	alice := f.register("alice")
	letGo := f.hold("INSERT INTO retired_usernames (key_digest) VALUES (sha256('alice'))")
	deleted := f.sendOff(0, func() error { return f.DeleteUser(t.Context(), nil, alice.ID) })
	registered := f.sendOff(1, func() error { _, err := f.Register(t.Context(), "ALICE", goodPassword); return err })
	line := lines(auth.UserRecord{Username: "alice", PasswordHash: plainHash(t, goodPassword)})
	imported := f.sendOff(2, func() error { _, _, err := f.importAll(line, true); return err })
	letGo()
	f.want("deleted", <-deleted, nil)
	f.want("registered meanwhile", <-registered, auth.ErrUsernameTaken)
	f.want("imported meanwhile", <-imported, auth.ErrUsernameTaken)
	_, err := f.Register(t.Context(), "alice", goodPassword)
	f.want("registered later", err, auth.ErrUsernameTaken)
	if count, reported, err := f.importAll(line, true); err != nil || count.Imported != 0 || !slices.Equal(reported, []string{"1 username: is taken"}) {
		t.Errorf("imported later: %+v, %q, %v", count, reported, err)
	}
}

// An admin who is losing his rights could keep requests under way that give them back, and so keep them.
func TestWhatTakesAnAdminsRightsIsNotUndoneByWhatHeHasSentOff(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := startClocked(t)
	f.grant(f.register("root"), auth.AdminRole)
	all := []auth.Permission{"gatehouse:*"}
	type scene struct {
		by, victim auth.User
		role       string // by which by is an admin
	}
	ways := map[string]func(scene) error{
		"demoted":      func(s scene) error { return f.RevokeRole(ctx, nil, s.by.ID, s.role) },
		"disabled":     func(s scene) error { _, err := f.Disable(ctx, s.by.Username.Given); return err },
		"deleted":      func(s scene) error { return f.DeleteUser(ctx, nil, s.by.ID) },
		"role emptied": func(s scene) error { _, _, err := f.SetRole(ctx, nil, s.role, nil, auth.Condition{}); return err },
		"role deleted": func(s scene) error { return f.DeleteRole(ctx, nil, s.role, auth.Condition{}) },
	}
	acts := map[string]func(scene) error{
		"grant himself a role": func(s scene) error { return f.GrantRole(ctx, &s.by, s.by.ID, auth.AdminRole) },
		"restore his role":     func(s scene) error { _, _, err := f.SetRole(ctx, &s.by, s.role, all, auth.Condition{}); return err },
		"enable himself":       func(s scene) error { _, err := f.SetDisabled(ctx, s.by, s.by.ID, false, nil); return err },
		"disable another":      func(s scene) error { _, err := f.SetDisabled(ctx, s.by, s.victim.ID, true, nil); return err },
		"delete another":       func(s scene) error { return f.DeleteUser(ctx, &s.by, s.victim.ID) },
		"take another's role":  func(s scene) error { return f.RevokeRole(ctx, &s.by, s.victim.ID, "victim") },
		"delete another role":  func(s scene) error { return f.DeleteRole(ctx, &s.by, "victim"+s.role, auth.Condition{}) },
	}
	f.setRole("victim")
	n := 0
	for way, take := range ways {
		for act, try := range acts {
			n++
			s := scene{role: fmt.Sprintf("role%d", n), victim: f.register(fmt.Sprintf("victim%d", n))}
			f.setRole(s.role, all...)
			f.setRole("victim" + s.role)
			f.grant(s.victim, "victim")
			f.grant(s.victim, "victim"+s.role)
			by := f.register(fmt.Sprintf("admin%d", n))
			f.grant(by, s.role)
			var err error
			s.by, err = f.Authorize(ctx, f.access(f.login(by.Username.Given)), auth.WriteUsers) // past its guard
			must(t, err)
			letGo := f.hold("SELECT FROM users WHERE id = ANY ($1) FOR UPDATE", []uuid.UUID{s.by.ID, s.victim.ID})
			taken := f.sendOff(0, func() error { return take(s) })
			tried := f.sendOff(1, func() error { return try(s) })
			letGo()
			must(t, <-taken)
			f.want(way+", while about to "+act, <-tried, auth.ErrInvalidToken)
			after, err := f.UserByID(ctx, s.by.ID)
			if !errors.Is(err, auth.ErrUserNotFound) && !after.Disabled() && after.May(auth.WriteUsers) {
				t.Errorf("%s, while about to %s: still an admin, %v", way, act, err)
			}
			if victim, err := f.UserByID(ctx, s.victim.ID); err != nil || victim.Disabled() || len(victim.Roles) != 2 {
				t.Errorf("%s, while about to %s: the other one is %+v, %v", way, act, victim, err)
			}
		}
	}
}
