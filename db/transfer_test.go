package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// importOf is an import of users with plain hashes.
func importOf(names ...string) auth.Import {
	return auth.Import{
		Users: func(yield func(auth.ImportedUser, error) bool) {
			for n, name := range names {
				if !yield(imported(n+1, name), nil) {
					return
				}
			}
		},
		Skipped: func(int, int, string) {},
		Keep:    func() error { return nil },
	}
}

func imported(line int, name string) auth.ImportedUser {
	return auth.ImportedUser{
		Line: line, ID: uuid.Must(uuid.NewV7()), Username: auth.Username{Given: name, Key: name}, PasswordHash: plainHash,
	}
}

func (d *DB) names(t *testing.T) (names []string) {
	t.Helper()
	must(t, d.ExportUsers(t.Context(), func(r auth.UserRecord) error { names = append(names, r.Username); return nil }))
	return names
}

// Both the sequence and the last question may still find that nothing should be stored.
func TestAnImportThatFailsStoresNobody(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	failed := errors.New("failed")
	late := importOf("alice")
	late.Keep = func() error { return failed }
	cut := importOf()
	cut.Users = func(yield func(auth.ImportedUser, error) bool) {
		if yield(imported(1, "alice"), nil) {
			yield(auth.ImportedUser{}, failed)
		}
	}
	for name, i := range map[string]auth.Import{"not kept": late, "an error in the sequence": cut} {
		if stored, err := d.ImportUsers(t.Context(), anEvent(), i); !errors.Is(err, failed) || stored != 0 {
			t.Errorf("%s: %d stored, %v", name, stored, err)
		}
	}
	if names := d.names(t); names != nil {
		t.Errorf("stored: %q", names)
	}
	must(t, d.pool.Ping(t.Context())) // no connection is left in a transaction
	if n := d.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

// What the server is told of a failure stands in its log.
func TestTheServerIsNotToldWhyASequenceEnds(t *testing.T) {
	t.Parallel()
	source := &copySource{err: errors.New("canary")}
	if err := source.Err(); err == nil || err.Error() == "canary" {
		t.Error(err)
	}
}

func TestANameThatIsRegisteredWhileAnImportRunsIsSkipped(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	i := importOf()
	i.Users = func(yield func(auth.ImportedUser, error) bool) {
		for n, name := range []string{"alice", "bob"} {
			if !yield(imported(n+1, name), nil) {
				return
			}
		}
		d.mustInsert(t, "alice")
	}
	var skipped []string
	i.Skipped = func(line, first int, _ string) { skipped = append(skipped, fmt.Sprint(line, first)) }
	stored, err := d.ImportUsers(t.Context(), anEvent(), i)
	must(t, err)
	if stored != 1 || len(skipped) != 1 || skipped[0] != "1 1" {
		t.Errorf("%d stored, skipped: %q", stored, skipped)
	}
}

// A role that was there when an import began may be gone when it ends. Then nobody must have a role
// that is none, or with more rights than a token can carry.
func TestARoleThatIsChangedWhileAnImportRunsStoresNobody(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	large := make([]auth.Permission, 100)
	for n := range large {
		large[n] = auth.Permission(fmt.Sprintf("files:%s%d", strings.Repeat("a", 20), n))
	}
	for _, test := range []struct {
		change func() error
		want   error
	}{
		{func() error { return d.DeleteRole(t.Context(), anEvent(), auth.Freely(), "clerk", auth.Condition{}) }, auth.ErrRoleNotFound},
		{func() error {
			_, err := d.SetRole(t.Context(), anEvent(), auth.Freely(), "clerk", auth.RoleEdit{Permissions: large}, auth.Condition{})
			return err
		}, auth.ErrTooManyRights},
	} {
		_, err := d.SetRole(t.Context(), anEvent(), auth.Freely(), "clerk", auth.RoleEdit{}, auth.Condition{})
		must(t, err)
		i := importOf()
		i.Users = func(yield func(auth.ImportedUser, error) bool) {
			alice := imported(1, "alice")
			alice.Roles = []string{"clerk"}
			if yield(alice, nil) && yield(imported(2, "bob"), nil) {
				must(t, test.change())
			}
		}
		if stored, err := d.ImportUsers(t.Context(), anEvent(), i); !errors.Is(err, test.want) || stored != 0 {
			t.Errorf("%d stored, %v, want %v", stored, err, test.want)
		}
	}
	if names := d.names(t); names != nil {
		t.Errorf("stored: %q", names)
	}
}

// A statement has seconds, as long as it is not one of an operator with a large file.
func TestAnImportMayTakeLongerThanAStatement(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d, watcher := open(t, Options{URL: url, StatementTimeout: time.Second}), connectTo(t, url)
	i := importOf()
	i.Users = func(yield func(auth.ImportedUser, error) bool) {
		if !yield(imported(1, "alice"), nil) {
			return
		}
		asynctest.Await(t, "a statement over the limit", func() (over bool) {
			err := watcher.QueryRow(t.Context(), `SELECT EXISTS (
				SELECT 1 FROM pg_stat_activity
				WHERE datname = current_database() AND query ILIKE 'copy %' AND now() > query_start + interval '1500 ms')`).Scan(&over)
			return over || err != nil
		})
	}
	stored, err := d.ImportUsers(t.Context(), anEvent(), i)
	if stored != 1 || err != nil {
		t.Errorf("%d stored, %v", stored, err)
	}
}

// Pages would show one user as before a change, and the next as after it.
func TestAnExportShowsOneMoment(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	const users = 2000
	_, err := d.pool.Exec(t.Context(), `INSERT INTO users (id, username, username_key, password_hash)
		SELECT gen_random_uuid(), 'user' || n, 'user' || n, $1 FROM generate_series(1, $2) n`, plainHash, users)
	must(t, err)
	count := 0
	must(t, d.ExportUsers(t.Context(), func(r auth.UserRecord) error {
		if count++; count == 1 {
			_, err := d.pool.Exec(t.Context(), "UPDATE users SET disabled_at = now()")
			must(t, err)
			d.mustInsert(t, "late")
		}
		if r.Disabled || r.Username == "late" {
			t.Errorf("%s is as it was later", r.Username)
		}
		return nil
	}))
	if count != users {
		t.Errorf("%d users", count)
	}
}

// An export to a full disk must not go on in the database.
func TestAnExportEndsWithTheErrorOfItsReader(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.mustInsert(t, "alice")
	d.mustInsert(t, "bob")
	full, count := errors.New("full"), 0
	err := d.ExportUsers(t.Context(), func(auth.UserRecord) error { count++; return full })
	if !errors.Is(err, full) || count != 1 {
		t.Errorf("%d users, %v", count, err)
	}
	if n := d.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

func TestAnImportThatIsCancelledStoresNobodyWhateverItWaitsFor(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d, other, watcher := open(t, Options{URL: url}), connectTo(t, url), connectTo(t, url)
	tx, err := other.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO users (id, username, username_key, password_hash) VALUES ($1, 'bob', 'bob', $2)", uuid.New(), plainHash)
	must(t, err)
	for waitsFor, sql := range map[string]string{
		"a line": `query ILIKE 'copy %'`,
		"a name": `query LIKE '%INSERT INTO users%' AND wait_event_type = 'Lock'`,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		i := importOf()
		i.Users = func(yield func(auth.ImportedUser, error) bool) {
			if !yield(imported(1, "alice"), nil) || !yield(imported(2, "bob"), nil) {
				return
			}
			if waitsFor == "a line" {
				<-ctx.Done()
				yield(auth.ImportedUser{}, ctx.Err())
			}
		}
		ended := make(chan error, 1)
		go func() {
			_, err := d.ImportUsers(ctx, anEvent(), i)
			ended <- err
		}()
		asynctest.Await(t, waitsFor, func() (waits bool) {
			must(t, watcher.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND `+sql+`)`).Scan(&waits))
			return waits
		})
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("waiting for %s: %v", waitsFor, err)
		}
	}
	must(t, tx.Rollback(t.Context()))
	if names := d.names(t); names != nil {
		t.Errorf("stored: %q", names)
	}
}
