package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
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

// Somebody who gets the name of an account at the moment of its deletion would be taken for its
// owner.
func TestANameThatIsBeingRetiredIsGivenToNobodyHoweverItIsAskedFor(t *testing.T) {
	t.Parallel()
	f := startClocked(t)
	alice := f.register("alice")
	letGo := f.hold(
		"INSERT INTO retired_usernames (key_digest) SELECT retired_digest(secret, sha256('alice')) FROM retired_usernames_key",
	)
	deleted := f.sendOff(0, func() error {
		return f.Accounts.Delete(t.Context(), authtest.Operator(), alice.ID)
	})
	registered := f.sendOff(1, func() error {
		_, _, err := f.Accounts.Register(
			t.Context(), authtest.Operator(),
			auth.NewAccount{Username: "ALICE", Password: goodPassword},
		)
		return err
	})
	line := lines(auth.UserRecord{Username: "alice", PasswordHash: plainHash(t, goodPassword)})
	imported := f.sendOff(2, func() error { _, _, err := f.importAll(line, true); return err })
	letGo()
	f.want("deleted", <-deleted, nil)
	f.want("registered meanwhile", <-registered, auth.ErrUsernameTaken)
	f.want("imported meanwhile", <-imported, auth.ErrUsernameTaken)
	_, _, err := f.Accounts.Register(
		t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "alice", Password: goodPassword},
	)
	f.want("registered later", err, auth.ErrUsernameTaken)
	if count, reported, err := f.importAll(line, true); err != nil || count.Imported != 0 ||
		!slices.Equal(reported, []string{"1 username: is taken"}) {
		t.Errorf("imported later: %+v, %q, %v", count, reported, err)
	}
}

// An admin who is losing rights could keep requests under way that give them back, and so keep
// them.
func TestWhatTakesAnAdminsRightsIsNotUndoneByWhatHeHasSentOff(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := startClocked(t)
	f.grant(f.register("root"), auth.AdminRole)
	all := []auth.Permission{"gatehouse:*"}
	type scene struct {
		by     auth.Actor
		victim auth.User
		role   string // the role that makes by an admin
	}
	ways := map[string]func(scene) error{
		"demoted": func(s scene) error {
			return f.Roles.Revoke(ctx, authtest.Operator(), s.by.ID, s.role)
		},
		"disabled": func(s scene) error {
			_, err := f.Accounts.Disable(ctx, authtest.Operator(), auth.ByID(s.by.ID), nil)
			return err
		},
		"deleted": func(s scene) error {
			return f.Accounts.Delete(ctx, authtest.Operator(), s.by.ID)
		},
		"role emptied": func(s scene) error {
			_, _, err := f.Roles.Set(ctx, authtest.Operator(), s.role, auth.RoleEdit{}, auth.Condition{})
			return err
		},
		"role deleted": func(s scene) error {
			return f.Roles.Delete(ctx, authtest.Operator(), s.role, auth.Condition{})
		},
	}
	acts := map[string]func(scene) error{
		"grant a role to oneself": func(s scene) error {
			return f.Roles.Grant(ctx, s.by, s.by.ID, auth.AdminRole)
		},
		"restore the own role": func(s scene) error {
			_, _, err := f.Roles.Set(ctx, s.by, s.role, auth.RoleEdit{Permissions: all}, auth.Condition{})
			return err
		},
		"enable oneself": func(s scene) error {
			_, err := f.Accounts.Enable(ctx, s.by, auth.ByID(s.by.ID), nil)
			return err
		},
		"disable another": func(s scene) error {
			_, err := f.Accounts.Disable(ctx, s.by, auth.ByID(s.victim.ID), nil)
			return err
		},
		"delete another": func(s scene) error {
			return f.Accounts.Delete(ctx, s.by, s.victim.ID)
		},
		"take another's role": func(s scene) error {
			return f.Roles.Revoke(ctx, s.by, s.victim.ID, "victim")
		},
		"delete another role": func(s scene) error {
			return f.Roles.Delete(ctx, s.by, "victim"+s.role, auth.Condition{})
		},
	}
	f.setRole("victim")
	n := 0
	for way, take := range ways {
		for act, try := range acts {
			n++
			s := scene{
				role: fmt.Sprintf("role%d", n), victim: f.register(fmt.Sprintf("victim%d", n)),
			}
			f.setRole(s.role, all...)
			f.setRole("victim" + s.role)
			f.grant(s.victim, "victim")
			f.grant(s.victim, "victim"+s.role)
			by := f.register(fmt.Sprintf("admin%d", n))
			f.grant(by, s.role)
			var err error
			// the request has passed its guard
			s.by, err = f.Access.Authorize(
				ctx, f.access(f.login(by.Username.Given)), auth.WriteUsers,
			)
			must(t, err)
			letGo := f.hold(
				"SELECT FROM users WHERE id = ANY ($1) FOR UPDATE",
				[]uuid.UUID{s.by.ID, s.victim.ID},
			)
			taken := f.sendOff(0, func() error { return take(s) })
			tried := f.sendOff(1, func() error { return try(s) })
			letGo()
			must(t, <-taken)
			f.want(way+", while about to "+act, <-tried, auth.ErrInvalidToken)
			after, err := f.Accounts.Find(ctx, auth.ByID(s.by.ID))
			if !errors.Is(err, auth.ErrUserNotFound) && !after.Disabled() &&
				after.As().May(auth.WriteUsers) {
				t.Errorf("%s, while about to %s: still an admin, %v", way, act, err)
			}
			if victim, err := f.Accounts.Find(ctx, auth.ByID(s.victim.ID)); err != nil ||
				victim.Disabled() || len(victim.Roles) != 2 {
				t.Errorf("%s, while about to %s: the other one is %+v, %v", way, act, victim, err)
			}
		}
	}
}

// The operator's password is the newer one, whatever was sent off before it.
func TestAChangeOfPasswordThatWaitsDoesNotOverwriteWhatTheOperatorHasSet(t *testing.T) {
	t.Parallel()
	f := startClocked(t)
	alice := f.register("alice")
	access := f.access(f.login("alice"))
	letGo := f.hold("SELECT FROM users WHERE id = $1 FOR UPDATE", alice.ID)
	set := f.sendOff(0, func() error {
		_, _, err := f.Accounts.SetPassword(
			t.Context(), authtest.Operator(), auth.ByName("alice"),
			auth.NewPassword{Password: "the operator's password"},
		)
		return err
	})
	changed := f.sendOff(1, func() error {
		_, err := f.Logins.ChangePassword(
			t.Context(), access, goodPassword, "another good password",
		)
		return err
	})
	letGo()
	f.want("set", <-set, nil)
	f.want("changed", <-changed, auth.ErrInvalidToken)
	f.wantLogin("alice", "another good password", auth.ErrWrongPassword)
	f.wantLogin("alice", "the operator's password", nil)
}

// A session that goes on after its end would have tokens that no list shows, and that nothing ends.
func TestARefreshThatWaitsForTheEndOfItsSessionIsRefused(t *testing.T) {
	t.Parallel()
	for name, rotations := range map[string]int64{"the first use": 0, "a repeat": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startClocked(t)
			f.register("alice")
			grant := f.login("alice")
			for range rotations {
				f.mustRefresh(grant.RefreshToken)
			}
			session := f.access(grant).SessionID
			letGo := f.hold("SELECT FROM sessions WHERE id = $1 FOR UPDATE", session)
			ended := f.sendOff(0, func() error {
				return f.Sessions.Logout(t.Context(), f.access(grant))
			})
			refreshed := f.sendOff(1, func() error {
				_, err := f.Tokens.Refresh(t.Context(), grant.RefreshToken, client)
				return err
			})
			letGo()
			f.want("ended", <-ended, nil)
			f.want("refreshed", <-refreshed, auth.ErrSessionOver)
			if got := f.record(session); got.counter != rotations || got.reason != "logout" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A rule that looks before its turn would allow what is forbidden by the time it happens.
func TestARuleSeesWhatTheOneBeforeHasLeft(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := startClocked(t)
	f.grant(f.register("root"), auth.AdminRole)
	f.setRole("manager", auth.WriteUsers, auth.EndSessions, auth.GrantRoles, auth.WriteRoles)
	f.setRole("granter", auth.GrantRoles)
	type scene struct {
		by     auth.Actor
		victim auth.User
		role   string // the role that by has
	}
	promote := func(s scene) error {
		return f.Roles.Grant(ctx, authtest.Operator(), s.victim.ID, auth.AdminRole)
	}
	widen := func(s scene) error {
		_, _, err := f.Roles.Set(
			ctx, authtest.Operator(), s.role, auth.RoleEdit{Permissions: []auth.Permission{"money:spend"}}, auth.Condition{},
		)
		return err
	}
	disable := func(s scene) error {
		_, err := f.Accounts.Disable(ctx, s.by, auth.ByID(s.victim.ID), nil)
		return err
	}
	tests := map[string]struct {
		before, try func(scene) error
		want        error
	}{
		"disable": {promote, disable, auth.ErrBeyondRights},
		"disable as seen": {promote, func(s scene) error {
			_, err := f.Accounts.Disable(ctx, s.by, auth.ByID(s.victim.ID), func(u auth.User) bool {
				return u.UpdatedAt.Equal(s.victim.UpdatedAt)
			})
			return err
		}, auth.ErrBeyondRights},
		"require a change": {promote, func(s scene) error {
			_, err := f.Accounts.RequirePasswordChange(ctx, s.by, auth.ByID(s.victim.ID), nil)
			return err
		}, auth.ErrBeyondRights},
		"delete": {promote, func(s scene) error {
			return f.Accounts.Delete(ctx, s.by, s.victim.ID)
		}, auth.ErrBeyondRights},
		"end the sessions": {promote, func(s scene) error {
			_, err := f.Sessions.EndAllOf(ctx, s.by, auth.ByID(s.victim.ID))
			return err
		}, auth.ErrBeyondRights},
		"unlock": {promote, func(s scene) error {
			_, err := f.Limits.Unlock(ctx, s.by, auth.ByID(s.victim.ID))
			return err
		}, auth.ErrBeyondRights},
		// The actor's own tokens are void after the role's change. So the one who widens it must be
		// another actor than the one who is refused.
		"grant a role that is widened": {widen, func(s scene) error {
			return f.Roles.Grant(ctx, s.by, s.victim.ID, s.role)
		}, auth.ErrInvalidToken},
		"register, and is demoted": {
			func(s scene) error {
				return f.Roles.Revoke(ctx, authtest.Operator(), s.by.ID, "manager")
			},
			func(s scene) error {
				_, _, err := f.Accounts.Register(
					ctx, s.by, auth.NewAccount{Username: "x" + s.role, Password: goodPassword},
				)
				return err
			},
			auth.ErrInvalidToken,
		},
		"register by a secret, and is demoted": {
			func(s scene) error {
				return f.Roles.Revoke(ctx, authtest.Operator(), s.by.ID, "manager")
			},
			func(s scene) error {
				_, _, err := f.Accounts.Register(
					ctx, s.by, auth.NewAccount{Username: "y" + s.role, Initial: true},
				)
				return err
			},
			auth.ErrInvalidToken,
		},
	}
	n := 0
	for name, test := range tests {
		n++
		s := scene{role: fmt.Sprintf("own%d", n), victim: f.register(fmt.Sprintf("victim%d", n))}
		f.setRole(s.role)
		by := f.register(fmt.Sprintf("manager%d", n))
		f.grant(by, "manager")
		f.grant(by, s.role)
		f.login(s.victim.Username.Given)
		var err error
		// the request has passed its guard
		s.by, err = f.Access.Authorize(ctx, f.access(f.login(by.Username.Given)), auth.WriteUsers)
		must(t, err)
		letGo := f.hold(
			"SELECT FROM users WHERE id = ANY ($1) FOR UPDATE", []uuid.UUID{s.by.ID, s.victim.ID},
		)
		first := f.sendOff(0, func() error { return test.before(s) })
		tried := f.sendOff(1, func() error { return test.try(s) })
		letGo()
		must(t, <-first)
		f.want(name, <-tried, test.want)
		after, err := f.Accounts.Find(ctx, auth.ByID(s.victim.ID))
		live, errSessions := f.Sessions.List(ctx, allOf(s.victim.ID), uuid.Max, 9)
		if err != nil || errSessions != nil || after.Disabled() || after.MustChangePassword ||
			len(live) != 1 {
			t.Errorf(
				"%s: the other one is %+v with %d sessions; %v, %v", name, after, len(live), err,
				errSessions,
			)
		}
	}
}

// The successor was used in between. So the repeat is now of a token that is two back.
func TestARepeatThatWaitsForTheNextRotationIsNoRepeatAnyMore(t *testing.T) {
	t.Parallel()
	f := startClocked(t)
	f.register("alice")
	first := f.login("alice")
	second := f.mustRefresh(first.RefreshToken)
	letGo := f.hold("SELECT FROM sessions FOR UPDATE")
	rotated := f.sendOff(0, func() error {
		_, err := f.Tokens.Refresh(t.Context(), second.RefreshToken, client)
		return err
	})
	repeated := f.sendOff(1, func() error {
		_, err := f.Tokens.Refresh(t.Context(), first.RefreshToken, client)
		return err
	})
	letGo()
	f.want("rotated", <-rotated, nil)
	f.want("repeated", <-repeated, auth.ErrTokenReused)
}
