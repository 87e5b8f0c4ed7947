package db

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/backchannel"
	"gatehouse.example/internal/dbtest"
)

// addApps adds the client app, which wants to hear of ends, and the client mute, which does not.
func (d *DB) addApps(t testing.TB) {
	t.Helper()
	for _, id := range []string{"app", "mute"} {
		_, err := d.InsertClient(t.Context(), anEvent(), auth.Freely(),
			auth.StoredClient{Client: auth.Client{ID: id, Title: id}}, 9)
		must(t, err)
	}
	_, err := d.pool.Exec(t.Context(),
		"UPDATE clients SET backchannel_logout_uri = 'https://app.example/out' WHERE client_id = 'app'")
	must(t, err)
}

func (d *DB) startSessionOf(t testing.TB, u auth.User, client string, perUser int) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := d.StartSession(t.Context(), anEvent(), auth.NewSession{
		ID: id, User: u, Salt: make([]byte, 16), Caller: auth.Caller{Client: auth.Client{ID: client}},
		Limits: auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, PerUser: perUser},
	})
	must(t, err)
	return id
}

// newLogouts are the jobs since the last call.
func (d *DB) newLogouts(t testing.TB) (all []backchannel.Logout) {
	t.Helper()
	rows, err := d.pool.Query(t.Context(), "DELETE FROM river_job RETURNING args")
	must(t, err)
	args, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	must(t, err)
	for _, one := range args {
		var l backchannel.Logout
		must(t, json.Unmarshal(one, &l))
		all = append(all, l)
	}
	return all
}

// An app that is not told keeps a banned user in. One that is told twice of each end has twice the
// work, and a client that wants to hear nothing would fill the queue.
func TestAnAppIsToldOnceOfEachEndWhateverEndsTheSession(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.addApps(t)
	var alice auth.User
	var ofApp uuid.UUID
	for n, test := range []struct {
		name string
		do   func() error
		told bool
	}{
		{"logout", func() error {
			_, err := d.EndSession(t.Context(), anEvent(), alice.ID, ofApp, "logout")
			return err
		}, true},
		{"a refresh token that was used twice", func() error {
			_, err := d.EndSession(t.Context(), anEvent(), alice.ID, ofApp, "reuse")
			return err
		}, true},
		{"two logouts", func() error {
			for range 2 {
				if _, err := d.EndSession(t.Context(), anEvent(), alice.ID, ofApp, "logout"); err != nil {
					return err
				}
			}
			return nil
		}, true},
		{"more sessions than there may be", func() error { d.startSession(t, alice, 1); return nil }, true},
		{"end of all sessions", func() error {
			_, err := d.EndSessions(t.Context(), anEvent(), auth.Freely(),
				auth.Reach{UserID: alice.ID, AllClients: true}, uuid.Nil, "operator")
			return err
		}, true},
		{"new password by the user", func() error {
			_, err := d.ChangePassword(t.Context(), anEvent(), changeOf(alice, d.startSession(t, alice, 9)))
			return err
		}, true},
		{"new password by an operator", func() error {
			_, err := d.SetPassword(t.Context(), anEvent(), auth.Freely(), alice.Username.Key, plain)
			return err
		}, true},
		{"ban", func() error {
			_, err := d.DisableUser(t.Context(), anEvent(), auth.Freely(), alice.Username.Key, nil)
			return err
		}, true},
		{"deletion of the account", func() error {
			return d.DeleteUser(t.Context(), anEvent(), auth.Freely(), alice.ID)
		}, true},
		{"end of the client", func() error {
			if err := d.DisableClient(t.Context(), anEvent(), auth.Freely(), "app"); err != nil {
				return err
			}
			return d.EnableClient(t.Context(), anEvent(), auth.Freely(), "app")
		}, true},
		{"restore", func() error { _, err := d.RevokeAll(t.Context(), anEvent(), time.Now()); return err }, true},
		{"a statement that nobody has thought of", func() error {
			_, err := d.pool.Exec(t.Context(),
				"UPDATE sessions SET ended_at = now(), end_reason = 'evicted' WHERE user_id = $1", alice.ID)
			return err
		}, true},
		{"refresh", func() error {
			_, err := d.RotateSession(t.Context(), anEvent(), ofApp, 0, netip.Prefix{}, time.Hour)
			return err
		}, false},
		{"upkeep, long after it has expired", func() error {
			if _, err := d.pool.Exec(t.Context(),
				"UPDATE sessions SET expires_at = now() - interval '2 days', idle_expires_at = now() - interval '2 days' WHERE id = $1", ofApp); err != nil {
				return err
			}
			deleted, err := d.PruneSessions(t.Context(), 24*time.Hour, 9)
			if deleted == 0 {
				t.Error("nothing was deleted")
			}
			return err
		}, false},
		{"upkeep, long after it has ended", func() error {
			if _, err := d.pool.Exec(t.Context(), `WITH told AS (DELETE FROM river_job)
				UPDATE sessions SET ended_at = now() - interval '2 days', end_reason = 'logout' WHERE id = $1`, ofApp); err != nil {
				return err
			}
			d.newLogouts(t)
			_, err := d.PruneSessions(t.Context(), 24*time.Hour, 9)
			return err
		}, false},
		{"a change that is taken back", func() error {
			tx, err := d.pool.Begin(t.Context())
			if err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), "DELETE FROM users WHERE id = $1", alice.ID); err != nil {
				return err
			}
			return tx.Rollback(t.Context())
		}, false},
	} {
		alice = d.mustInsert(t, fmt.Sprintf("alice%d", n))
		ofApp = d.startSessionOf(t, alice, "app", 9)
		d.startSessionOf(t, alice, "mute", 9)
		d.startSession(t, alice, 9)
		d.newLogouts(t)
		must(t, test.do())
		want := []backchannel.Logout{{ClientID: "app", SessionID: ofApp, UserID: alice.ID}}
		if !test.told {
			want = nil
		}
		if got := d.newLogouts(t); !slices.Equal(got, want) {
			t.Errorf("%s: told of %v, want %v", test.name, got, want)
		}
	}
}

// An app of a browser's session that keeps its user logged in would be as one that was not told.
func TestAnAppThatGoesOnOfflineIsToldThatTheBrowserIsLoggedOut(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.addApps(t)
	for name, ends := range map[string]string{
		"logout": "UPDATE sessions SET ended_at = now(), end_reason = 'logout' WHERE id = $1",
		"end of all": `UPDATE sessions SET ended_at = now(), end_reason = 'disabled'
			WHERE user_id = (SELECT user_id FROM sessions WHERE id = $1)`,
	} {
		u := d.mustInsert(t, "user-of-"+strings.ReplaceAll(name, " ", "-"))
		browser := d.startSession(t, u, 9)
		_, err := d.pool.Exec(t.Context(),
			"UPDATE sessions SET browser = true, idle_seconds = 60 WHERE id = $1", browser)
		must(t, err)
		want := map[uuid.UUID]int{}
		for _, offline := range []bool{false, true} {
			for _, client := range []string{"app", "mute"} {
				id := d.startSessionOf(t, u, client, 9)
				_, err := d.pool.Exec(t.Context(),
					"UPDATE sessions SET parent_id = $1, offline = $2 WHERE id = $3", browser, offline, id)
				must(t, err)
				if client == "app" {
					want[id] = 1
				}
			}
		}
		d.startSessionOf(t, u, "mute", 9) // of its own
		_, err = d.pool.Exec(t.Context(), ends, browser)
		must(t, err)
		got := map[uuid.UUID]int{}
		for _, l := range d.newLogouts(t) {
			got[l.SessionID]++
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: told of %v, want %v", name, got, want)
		}
	}
}

// river may want other values in a release to come. Then jobs of the trigger would wait for ever.
func TestTheTriggerWritesTheJobThatRiverWould(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.addApps(t)
	alice := d.mustInsert(t, "alice")
	session := d.startSessionOf(t, alice, "app", 9)
	client, err := d.NewJobs(river.Config{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	must(t, pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		_, err := client.InsertTx(t.Context(), tx,
			backchannel.Logout{ClientID: "app", SessionID: session, UserID: alice.ID}, nil)
		if err != nil {
			return err
		}
		_, err = tx.Exec(t.Context(), "UPDATE sessions SET ended_at = now(), end_reason = 'logout'")
		return err
	}))
	rows, err := d.pool.Query(t.Context(), `
		SELECT (to_jsonb(j) - ARRAY['id', 'created_at', 'scheduled_at'])::text -- the times are of river's clock
		FROM river_job j ORDER BY id`)
	must(t, err)
	jobs, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	if len(jobs) != 2 || jobs[0] != jobs[1] {
		t.Errorf("river, then the trigger:\n%s", jobs)
	}
}

// A figure that counts what is done, or leaves out what failed, tells an operator nothing of a
// queue that stands still.
func TestWhatWaitsInAQueueIsWhatIsDueOrWasTriedBefore(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	_, err := d.pool.Exec(t.Context(), `
		INSERT INTO river_job (kind, args, queue, max_attempts, state, finalized_at, created_at, scheduled_at)
		SELECT 'a', '{}', queue, 10, state::river_job_state, ended, now() - age, due
		FROM (VALUES ('mail', 'available', NULL, interval '1 minute', now()), ('mail', 'available', NULL, '1 second', now()),
			('mail', 'retryable', NULL, '1 hour', now() + interval '1 day'), ('mail', 'scheduled', NULL, '2 seconds', now()),
			('mail', 'scheduled', NULL, '5 hours', now() + interval '1 day'), ('mail', 'running', NULL, '6 hours', now()),
			('mail', 'completed', now(), '7 hours', now()), ('mail', 'discarded', now(), '8 hours', now()),
			('mail', 'cancelled', now(), '9 hours', now()), ('others', 'available', NULL, '1 day', now())
		) j (queue, state, ended, age, due)`)
	must(t, err)
	got, err := d.WaitingJobs(t.Context(), []string{"none", "mail"})
	must(t, err)
	if len(got) != 2 || got[0].Name != "mail" || got[0].Waiting != 4 || got[0].Oldest < time.Hour || got[0].Oldest > 2*time.Hour ||
		got[1] != (JobQueue{Name: "none"}) {
		t.Errorf("%+v", got)
	}
}

// A client with a hundred thousand sessions could not be disabled: the statement would be cut off,
// and everything of it taken back.
func TestTheEndOfAClientIsNotCutOffForItsManySessions(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d := open(t, Options{URL: databaseURL})
	d.addApps(t)
	d.startSessionOf(t, d.mustInsert(t, "alice"), "app", 9)
	execOn(t, connectTo(t, dbtest.Owner(t, databaseURL)), `
		CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF current_setting('statement_timeout') <> '0' THEN RAISE 'a time-out'; END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER look AFTER UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION look()`)
	must(t, d.DisableClient(t.Context(), anEvent(), auth.Freely(), "app"))
	if told := d.newLogouts(t); len(told) != 1 {
		t.Errorf("told of %v", told)
	}
}

// BenchmarkEndOfTenThousandSessions measures what a mass end takes, with and without an app that is
// to hear of each.
func BenchmarkEndOfTenThousandSessions(b *testing.B) {
	for _, client := range []string{"mute", "app"} {
		b.Run(client, func(b *testing.B) {
			d, err := Open(context.Background(), Options{URL: dbtest.New(b), StatementTimeout: time.Minute})
			must(b, err)
			b.Cleanup(d.Close)
			d.addApps(b)
			_, err = d.pool.Exec(b.Context(), `INSERT INTO users (id, username, username_key, password_hash)
				SELECT gen_random_uuid(), 'user' || n, 'user' || n, '`+plainHash+`' FROM generate_series(1, 10000) n`)
			must(b, err)
			for b.Loop() {
				b.StopTimer()
				_, err := d.pool.Exec(b.Context(), `INSERT INTO sessions
					(id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, client_id)
					SELECT gen_random_uuid(), id, decode(repeat('00', 16), 'hex'), now() + interval '1 day',
						now() + interval '1 day', '192.0.2.1', 'bench', $1 FROM users`, client)
				must(b, err)
				must(b, d.EnableClient(b.Context(), anEvent(), auth.Freely(), client))
				b.StartTimer()
				must(b, d.DisableClient(b.Context(), anEvent(), auth.Freely(), client))
			}
		})
	}
}
