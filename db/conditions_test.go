package db

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// end is when and why a session ended.
type end struct {
	at     time.Time
	reason string
}

func (d *DB) endOf(t testing.TB, session uuid.UUID) (e end) {
	t.Helper()
	must(t, d.pool.QueryRow(t.Context(), "SELECT coalesce(ended_at, 'epoch'), coalesce(end_reason, '') FROM sessions WHERE id = $1", session).
		Scan(&e.at, &e.reason))
	return e
}

func (d *DB) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := d.pool.Exec(t.Context(), sql, args...)
	must(t, err)
}

// A session that ended twice would be two revocations in every replica, and the record of a theft
// would be that of a logout.
func TestWhatHasEndedStaysAsItEnded(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.mustInsert(t, "alice")
	for name, act := range map[string]func(auth.User, uuid.UUID) error{
		"EndSession": func(u auth.User, over uuid.UUID) error {
			_, err := d.EndSession(t.Context(), anEvent(), u.ID, over, "logout")
			return err
		},
		"EndSessions": func(u auth.User, _ uuid.UUID) error {
			_, err := d.EndSessions(t.Context(), anEvent(), auth.Freely(), auth.Reach{UserID: u.ID, AllClients: true}, uuid.Nil, "logout")
			return err
		},
		"StartSession": func(u auth.User, _ uuid.UUID) error { d.startSession(t, u, 1); return nil },
		"ChangePassword": func(u auth.User, _ uuid.UUID) error {
			_, err := d.ChangePassword(t.Context(), anEvent(), changeOf(u, d.startSession(t, u, 9)))
			return err
		},
		"SetPassword":           func(u auth.User, _ uuid.UUID) error { return calls(d, u)["SetPassword"](t.Context()) },
		"ReplacePassword":       func(u auth.User, _ uuid.UUID) error { return calls(d, u)["ReplacePassword"](t.Context()) },
		"RequirePasswordChange": func(u auth.User, _ uuid.UUID) error { return calls(d, u)["RequirePasswordChange"](t.Context()) },
	} {
		u, err := d.UserByKey(t.Context(), "alice")
		must(t, err)
		over := d.startSession(t, u, 9)
		d.exec(t, "UPDATE sessions SET ended_at = now() - interval '1 hour', end_reason = 'reuse' WHERE id = $1", over)
		before := d.endOf(t, over)
		must(t, act(u, over))
		if after := d.endOf(t, over); after != before {
			t.Errorf("%s: %+v, which was %+v", name, after, before)
		}
	}
}

func TestNobodyEndsTheSessionOfAnother(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	alice, bob := d.mustInsert(t, "alice"), d.mustInsert(t, "bob")
	ofAlice := d.startSession(t, alice, 9)
	if ended, err := d.EndSession(t.Context(), anEvent(), bob.ID, ofAlice, "logout"); ended || err != nil {
		t.Errorf("one: %t, %v", ended, err)
	}
	if ended, err := d.EndSessions(t.Context(), anEvent(), auth.Freely(), auth.Reach{UserID: bob.ID, AllClients: true}, uuid.Nil, "logout"); ended != 0 || err != nil {
		t.Errorf("all of bob's: %d, %v", ended, err)
	}
	if got := d.endOf(t, ofAlice); got.reason != "" {
		t.Errorf("it ended by %q", got.reason)
	}
}

// Who changes what has changed since it was looked at would overrule somebody else unknowingly.
func TestAUserIsChangedOnlyAsItWasSeen(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	seen := d.mustInsert(t, "alice")
	d.exec(t, "UPDATE users SET updated_at = updated_at + interval '1 s'")
	now, err := d.UserByKey(t.Context(), "alice")
	must(t, err)
	for name, change := range map[string]func(context.Context, auth.Event, auth.Rule, string, *time.Time) (auth.User, error){
		"DisableUser": d.DisableUser, "EnableUser": d.EnableUser, "RequirePasswordChange": d.RequirePasswordChange,
	} {
		if _, err := change(t.Context(), anEvent(), auth.Freely(), "alice", &seen.UpdatedAt); !errors.Is(err, auth.ErrUserNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := d.UserByKey(t.Context(), "alice"); err != nil || !after.UpdatedAt.Equal(now.UpdatedAt) || after.TokenVersion != now.TokenVersion {
			t.Errorf("%s changed the user: %+v, %v", name, after, err)
		}
	}
}

// Who logs out often would lose the sessions that go on.
func TestSessionsThatAreOverTakeNoPlaceOfThoseThatGoOn(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	u := d.mustInsert(t, "alice")
	kept := d.startSession(t, u, 2)
	d.exec(t, "UPDATE sessions SET last_used_at = last_used_at - interval '1 hour'")
	for range 3 {
		_, err := d.EndSession(t.Context(), anEvent(), u.ID, d.startSession(t, u, 2), "logout")
		must(t, err)
	}
	d.startSession(t, u, 2)
	if got := d.endOf(t, kept); got.reason != "" {
		t.Errorf("the one that goes on ended by %q", got.reason)
	}
}

func TestAListOfSessionsHasWhatCanBeUsedAlone(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	alice, bob := d.mustInsert(t, "alice"), d.mustInsert(t, "bob")
	live := d.startSession(t, alice, 9)
	d.startSession(t, bob, 9)
	for _, over := range []string{
		"ended_at = now(), end_reason = 'logout'",
		"idle_expires_at = now() - interval '1 s'",
		"expires_at = now() - interval '1 s'",
	} {
		d.exec(t, "UPDATE sessions SET "+over+" WHERE id = $1", d.startSession(t, alice, 9))
	}
	listed, err := d.ListSessions(t.Context(), auth.Reach{UserID: alice.ID, AllClients: true}, uuid.Max, 9)
	must(t, err)
	if len(listed) != 1 || listed[0].ID != live {
		t.Errorf("%+v", listed)
	}
}

// What a user has proved is of no use from another's session, from one that is over, or while the
// account is disabled or the password has expired: whatever was looked at before may have changed.
func TestAPasswordIsChangedOnlyWhileAllThatItNeedsHolds(t *testing.T) {
	t.Parallel()
	const hours = " - interval '3 hours'"
	all := []string{"StartSession", "ChangePassword", "ReplacePassword"}
	for name, test := range map[string]struct {
		sql     string
		refused []string
	}{
		"disabled":              {"UPDATE users SET disabled_at = now()", all},
		"password expired":      {"UPDATE users SET must_change_password = true, password_expires_at = now()" + hours, all[2:]},
		"session ended":         {"UPDATE sessions SET ended_at = now(), end_reason = 'logout'", all[1:2]},
		"session idle":          {"UPDATE sessions SET idle_expires_at = now()" + hours, all[1:2]},
		"session expired":       {"UPDATE sessions SET expires_at = now()" + hours, all[1:2]},
		"another one's session": {"UPDATE sessions SET user_id = (SELECT id FROM users WHERE username = 'bob')", all[1:2]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, Options{URL: dbtest.New(t)})
			u := d.mustInsert(t, "alice")
			d.mustInsert(t, "bob")
			session := d.startSession(t, u, 9)
			d.exec(t, test.sql)
			var err error
			u, err = d.UserByKey(t.Context(), "alice")
			must(t, err)
			do := calls(d, u)
			do["ChangePassword"] = func(ctx context.Context) error {
				_, err := d.ChangePassword(ctx, anEvent(), changeOf(u, session))
				return err
			}
			for _, operation := range test.refused {
				if err := do[operation](t.Context()); !errors.Is(err, auth.ErrUserNotFound) {
					t.Errorf("%s: %v", operation, err)
				}
			}
			if after, err := d.UserByKey(t.Context(), "alice"); err != nil || after.TokenVersion != u.TokenVersion {
				t.Errorf("the user changed: %+v, %v", after, err)
			}
		})
	}
}
