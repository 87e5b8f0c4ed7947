package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// newRole makes a role that may do what the service does, and returns the URL for it.
func newRole(t testing.TB, databaseURL, password string) (roleURL *url.URL, owner *pgx.Conn, name string) {
	t.Helper()
	owner = connectTo(t, dbtest.Owner(t, databaseURL))
	name = "role_" + strings.ReplaceAll(uuid.NewString(), "-", "_")
	must(t, exec(t, owner, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE %s", name, password, dbtest.ServiceRole)))
	t.Cleanup(func() {
		_, err := owner.Exec(context.Background(), "DROP ROLE "+name)
		must(t, err)
	})
	roleURL, err := url.Parse(databaseURL)
	must(t, err)
	roleURL.User = url.UserPassword(name, password)
	return roleURL, owner, name
}

func exec(t testing.TB, conn *pgx.Conn, sql string) error {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	return err
}

// A rotated password must reach every new connection: those of the pool, of readiness and of the
// follower.
func TestARotatedPasswordIsThatOfEveryNewConnection(t *testing.T) {
	t.Parallel()
	roleURL, owner, name := newRole(t, dbtest.New(t), "first")
	var password atomic.Value
	password.Store("first")
	d := open(t, Options{URL: roleURL.String(), Renew: func() (string, error) {
		now := *roleURL
		now.User = url.UserPassword(name, password.Load().(string))
		return now.String(), nil
	}})
	ask := func() error {
		_, health := d.SchemaVersion(t.Context())
		_, query := d.UserByKey(t.Context(), "nobody")
		if errors.Is(query, auth.ErrUserNotFound) {
			query = nil
		}
		conn, direct := d.connect(t.Context(), func(*pgx.ConnConfig) {})
		if direct == nil {
			closeSoon(conn)
		}
		return errors.Join(health, query, direct)
	}
	must(t, ask())

	must(t, exec(t, owner, "ALTER ROLE "+name+" PASSWORD 'second'"))
	d.pool.Reset()
	d.probe.Reset()
	// 28P01: wrong for the moment between the two steps of a rotation, and never the caller's
	// fault.
	_, err := d.UserByKey(t.Context(), "nobody")
	if !errors.Is(err, auth.ErrUnavailable) || !Hopeless(err) || !strings.Contains(err.Error(), "check DATABASE_URL") {
		t.Errorf("with the old password: %v", err)
	}
	password.Store("second")
	must(t, ask())
}

// What an administrator has set for the role or the database must not change what our statements
// mean.
func TestSettingsOfTheRoleAndTheDatabaseDoNotReachASession(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	roleURL, owner, name := newRole(t, databaseURL, "pw")
	for _, setting := range []string{
		"default_transaction_isolation = 'serializable'", "default_transaction_read_only = on", "default_transaction_deferrable = on",
		"idle_session_timeout = '1ms'", "client_encoding = 'LATIN1'", "timezone = 'Pacific/Auckland'", "statement_timeout = '1ms'",
	} {
		must(t, exec(t, owner, "ALTER ROLE "+name+" SET "+setting))
	}
	d := open(t, Options{URL: roleURL.String()})
	d.mustInsert(t, "Ünı")
	_, err := d.DisableUser(t.Context(), anEvent(), auth.Freely(), "ünı", nil)
	must(t, err)
	var isolation, encoding string
	must(t, d.pool.QueryRow(t.Context(), "SELECT current_setting('transaction_isolation'), current_setting('client_encoding')").Scan(&isolation, &encoding))
	if isolation != "read committed" || encoding != "UTF8" {
		t.Errorf("%s, %s", isolation, encoding)
	}
}

// changeTypeOfUsername is how a migration changes the type of a column that the view accounts has.
const changeTypeOfUsername = `
DO $$
DECLARE
    query      text   := pg_get_viewdef('accounts'::regclass);
    functions  text[] := ARRAY(SELECT pg_get_functiondef(oid) FROM pg_proc WHERE prorettype = 'accounts'::regtype);
    definition text;
BEGIN
    DROP VIEW accounts CASCADE;
    ALTER TABLE users ALTER COLUMN username TYPE varchar(64);
    EXECUTE 'CREATE VIEW accounts AS ' || query;
    FOREACH definition IN ARRAY functions LOOP
        EXECUTE definition;
    END LOOP;
    GRANT SELECT ON accounts TO ` + dbtest.ServiceRole + `;
END
$$`

// A migration that changes what a statement returns meets statements that are prepared on every
// connection.
func TestAPlanThatAMigrationHasOutdatedCostsNobodyARequest(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	const conns = 3
	d := open(t, Options{URL: databaseURL, MaxConns: conns})
	u := d.mustInsert(t, "alice")
	everywhere := func(do func(n int)) { // on as many connections at once
		var wait sync.WaitGroup
		for n := range conns {
			wait.Go(func() { do(n) })
		}
		wait.Wait()
	}
	use := func(int) {
		if _, err := d.UserByID(t.Context(), u.ID); err != nil {
			t.Errorf("a row: %v", err)
		}
		if _, err := d.FindUsers(t.Context(), auth.UserFilter{}, "", 9); err != nil {
			t.Errorf("rows: %v", err)
		}
		if _, err := d.EnableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil); err != nil {
			t.Errorf("in a transaction: %v", err)
		}
	}
	held := make([]func(), conns) // so that the statements are prepared on each
	for n := range conns {
		conn, err := d.pool.Acquire(t.Context())
		must(t, err)
		held[n] = conn.Release
	}
	for n := range conns {
		held[n]()
		everywhere(use)
	}
	must(t, exec(t, connectTo(t, dbtest.Owner(t, databaseURL)), changeTypeOfUsername))
	for range conns {
		everywhere(use)
	}
}

// Two transactions that get into each other's way: PostgreSQL ends one of them, which has stored
// nothing.
func TestATransactionThatIsRolledBackForAnotherIsTriedOnceMore(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	for code, want := range map[string]int{"40001": 2, "40P01": 2, "25006": 2, "0A000": 2, "40003": 1, "55P03": 1, "57014": 1, "23505": 1} {
		tries := 0
		err := d.inTransaction(t.Context(), "test", func(tx pgx.Tx) error {
			tries++
			if tries > 1 {
				return nil
			}
			_, err := tx.Exec(t.Context(), fmt.Sprintf("DO $$ BEGIN RAISE 'planted' USING ERRCODE = '%s'; END $$", code))
			return translate("test", err)
		})
		if tries != want || (err == nil) != (want == 2) {
			t.Errorf("%s: tried %d times, want %d: %v", code, tries, want, err)
		}
		if code != "23505" && err != nil && !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// A deadlock within one statement's own transaction, without our doing: the statement is sent
// again.
func TestAStatementIsSentOnceMoreIfTheFirstTimeHasStoredNothing(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d := open(t, Options{URL: databaseURL})
	owner := connectTo(t, dbtest.Owner(t, databaseURL))
	must(t, exec(t, owner, `CREATE SEQUENCE tries; GRANT USAGE ON SEQUENCE tries TO PUBLIC;
		CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('tries') = 1 THEN RAISE 'planted' USING ERRCODE = '40P01'; END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER fail_once BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION fail_once()`))
	d.mustInsert(t, "alice")
	var users int
	must(t, owner.QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&users))
	if users != 1 {
		t.Errorf("%d users", users)
	}
}

// The pool does not know yet that its connections are dead: a read costs no error, and a write is
// never sent twice.
func TestDeadConnectionsCostReadsNothing(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d := open(t, Options{URL: databaseURL, MaxConns: 1})
	u := d.mustInsert(t, "alice")
	owner := connectTo(t, dbtest.Owner(t, databaseURL))
	for range 5 {
		_, err := d.UserByID(t.Context(), u.ID)
		must(t, err)
		must(t, exec(t, owner, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"))
		asynctest.Await(t, "the connections to end", func() bool {
			var left int
			must(t, owner.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'gatehouse'").Scan(&left))
			return left == 0
		})
		if _, err := d.UserByID(t.Context(), u.ID); err != nil {
			t.Error(err)
		}
	}
}

// A statement that stores something and counts as one that reads would be done twice.
func TestStatementsThatReadStoreNothing(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	u := d.mustInsert(t, "alice")
	d.seedRoles(t)
	d, seen := d.traced(t)
	for _, call := range calls(d, u) {
		_ = call(t.Context())
	}
	asked := map[string]bool{}
	for _, s := range seen.take() {
		name, _, _ := strings.Cut(strings.TrimPrefix(s.sql, "-- name: "), " ")
		if !reads(s.sql) || asked[name] {
			continue
		}
		asked[name] = true
		err := pgx.BeginTxFunc(t.Context(), d.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), s.sql, s.args...)
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range readers() {
		if !asked[name] && name != "ListRevocations" { // the follower's
			t.Errorf("%s was not tried", name)
		}
	}
}

// What was changed between two connections of the listener was not told to it.
func TestKeysAreReadAgainWithEachNewConnection(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d := open(t, Options{URL: databaseURL})
	hints, ended := make(chan struct{}, 100), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		listener := d.NewListener(slog.New(slog.DiscardHandler))
		listener.Subscribe(KeyChanges(func() { hints <- struct{}{} }))
		listener.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	owner := connectTo(t, dbtest.Owner(t, databaseURL))
	for range 3 {
		select {
		case <-hints:
		case <-time.After(2 * time.Minute):
			t.Fatal("no hint")
		}
		cutListener(t, owner)
	}
}

// Whether a start should wait or end: an operator who has mistyped a password must not have to
// guess.
func TestOnlyWhatPassesIsWaitedFor(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	try := func(change func(*url.URL)) error {
		u, err := url.Parse(databaseURL)
		must(t, err)
		change(u)
		d := open(t, Options{URL: u.String()})
		return d.Check(t.Context())
	}
	for name, test := range map[string]struct {
		change   func(*url.URL)
		hopeless bool
	}{
		"wrong password": {func(u *url.URL) { u.User = url.UserPassword(dbtest.ServiceRole, "wrong") }, true},
		"no such role":   {func(u *url.URL) { u.User = url.UserPassword("nobody_at_all", "wrong") }, true},
		"no database":    {func(u *url.URL) { u.Path = "/not_there" }, true},
		"no parameter":   {func(u *url.URL) { u.RawQuery += "&keepalives=1" }, true},
		"no schema":      {func(u *url.URL) { u.RawQuery += "&search_path=not_there" }, true},
		"nobody there":   {func(u *url.URL) { u.Host = dbtest.FreeAddr(t) }, false},
	} {
		if err := try(test.change); err == nil || Hopeless(err) != test.hopeless || strings.Contains(err.Error(), "\n") && test.hopeless {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, try(func(u *url.URL) { u.RawQuery += "&pool_max_conns=3&pool_min_conns=1" }))
}

func TestTheURLMayBoundThePool(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	for want, o := range map[int32]Options{
		3: {URL: databaseURL + "&pool_max_conns=3"},
		7: {URL: databaseURL + "&pool_max_conns=3", MaxConns: 7},
	} {
		if got := open(t, o).Stat().MaxConns(); got != want {
			t.Errorf("%d connections, want %d", got, want)
		}
	}
}

// In SQL_ASCII and LATIN1 a name is other bytes than it was compared by.
func TestADatabaseOfAnotherEncodingIsRefused(t *testing.T) {
	t.Parallel()
	databaseURL := inLatin1(t)
	err := open(t, Options{URL: databaseURL}).Check(t.Context())
	if err == nil || !Hopeless(err) || !strings.Contains(err.Error(), "LATIN1") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

func inLatin1(t testing.TB) string {
	t.Helper()
	database := dbtest.Empty(t)
	conn := connectTo(t, database)
	name := "latin_" + strings.ReplaceAll(uuid.NewString(), "-", "_")
	must(t, exec(t, conn, "CREATE DATABASE "+name+" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"))
	t.Cleanup(func() {
		c, err := pgx.Connect(context.Background(), database)
		must(t, err)
		defer c.Close(context.Background())
		_, err = c.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		must(t, err)
	})
	u, err := url.Parse(database)
	must(t, err)
	u.Path = "/" + name
	return u.String()
}

// Somebody, or pg_partman, has added a partition that is no month: the others can be pruned all the
// same, and it stays.
func TestADefaultPartitionDoesNotKeepTheLogFromBeingPruned(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.Owner(t, dbtest.New(t))})
	_, err := d.pool.Exec(t.Context(), `CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT;
		CREATE TABLE audit_events_2001_01 PARTITION OF audit_events FOR VALUES FROM ('2001-01-01 00:00Z') TO ('2001-02-01 00:00Z')`)
	must(t, err)
	must(t, d.AddEventPartitions(t.Context()))
	pruned, err := d.PruneEvents(t.Context(), anEvent(), auth.Prune{OlderThan: time.Hour})
	if err != nil || len(pruned.Months) != 1 || pruned.Months[0] != "2001-01" {
		t.Errorf("%v, %v", pruned, err)
	}
}
