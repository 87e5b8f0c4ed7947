package migrations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/internal/dbtest"
)

// standIn is a function that PostgreSQL calls in place of its own, because its arguments fit
// better. It runs with the caller's rights, and gives the service's role the right to wipe out the
// traces.
const standIn = `CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		GRANT UPDATE, DELETE ON audit_events TO ` + dbtest.ServiceRole + `;
		RETURN pg_catalog.format($1, VARIADIC ARRAY[$2]);
	END $$`

func exec(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func mayWipe(t *testing.T, owner *pgx.Conn) (may bool) {
	t.Helper()
	err := owner.QueryRow(t.Context(),
		"SELECT has_table_privilege($1, 'audit_events', 'UPDATE, DELETE')",
		dbtest.ServiceRole).Scan(&may)
	if err != nil {
		t.Fatal(err)
	}
	return may
}

// In PostgreSQL 14, everybody may create objects in public by default. Whoever takes over the
// service must not become the owner of the log.
func TestTheServiceCannotBorrowTheOwnersRightsWhereAllMayCreateInTheSchema(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	owner, service := connect(t, dbtest.Owner(t, serviceURL)), connect(t, serviceURL)
	exec(t, owner, "GRANT CREATE ON SCHEMA public TO PUBLIC")
	exec(t, service, standIn)
	exec(t, owner, "DROP TABLE "+currentPartition(t, owner)) // so there is something to do
	exec(t, service, "SELECT add_audit_partitions()")
	if mayWipe(t, owner) {
		t.Error("the function of the service was called as the owner")
	}
}

func currentPartition(t *testing.T, conn *pgx.Conn) (name string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(),
		"SELECT 'audit_events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')").Scan(
		&name); err != nil {
		t.Fatal(err)
	}
	return name
}

// The migrator has the owner's rights too, and calls functions by their names.
func TestTheMigratorCallsNothingThatTheServiceHasLeft(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	ownerURL := dbtest.Owner(t, serviceURL)
	owner, service, migrator := connect(t, ownerURL), connect(t, serviceURL), open(t, ownerURL)
	exec(t, owner, "GRANT CREATE ON SCHEMA public TO PUBLIC")
	for _, planted := range []struct{ statement, name, undo string }{
		{standIn, "format(text,text)", "DROP FUNCTION public.format(text, text)"},
		{"CREATE FUNCTION record_event(text, uuid) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'", "record_event(text,uuid)",
			"DROP FUNCTION record_event(text, uuid)"},
		{"CREATE FUNCTION harmless(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; " +
			"CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = harmless)",
			"=(name,text)",
			"DROP FUNCTION harmless(name, text) CASCADE"},
	} {
		exec(t, service, planted.statement)
		for name, run := range map[string]func() error{
			"up":    func() error { _, err := migrator.Up(t.Context()); return err },
			"down":  func() error { _, err := migrator.DownTo(t.Context(), 18); return err },
			"grant": func() error { return migrator.Grant(t.Context(), dbtest.ServiceRole) },
		} {
			if err := run(); err == nil || !strings.Contains(err.Error(), planted.name) ||
				!strings.Contains(err.Error(), dbtest.ServiceRole) {
				t.Errorf("%s: %v, want a refusal that names %s", name, err, planted.name)
			}
		}
		exec(t, owner, planted.undo)
	}
	if mayWipe(t, owner) {
		t.Error("the function of the service was called as the owner")
	}
	// the owner's own
	exec(t, owner, "CREATE FUNCTION format(integer) RETURNS text LANGUAGE sql AS 'SELECT $1::text'")
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAGrantLeavesNobodyButTheOwnerARightToCreateInTheSchema(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	ownerURL := dbtest.Owner(t, serviceURL)
	owner, service := connect(t, ownerURL), connect(t, serviceURL)
	exec(t, owner, "GRANT CREATE ON SCHEMA public TO PUBLIC, "+dbtest.ServiceRole)
	if err := open(t, ownerURL).Grant(t.Context(), dbtest.ServiceRole); err != nil {
		t.Fatal(err)
	}
	_, err := service.Exec(t.Context(), standIn)
	// insufficient_privilege
	if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok || refusal.Code != "42501" {
		t.Errorf("%v, want a refusal", err)
	}
	if _, err := service.Exec(t.Context(), "CREATE SCHEMA "+dbtest.ServiceRole); err == nil {
		t.Error("the service may create schemas, which come first on their namesakes' paths")
	}
}

// Such a function takes over its caller's settings, and so the objects that the names in it refer
// to.
func TestWhatRunsWithTheOwnersRightsLooksNowhereThatOthersMayWrite(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	rows, err := conn.Query(t.Context(), `
		SELECT p.oid::regprocedure::text, coalesce(array_to_string(p.proconfig, ';'), ''),
		       EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
		FROM pg_proc p
		WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef`)
	if err != nil {
		t.Fatal(err)
	}
	var (
		found          int
		name, settings string
		forAll         bool
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &settings, &forAll}, func() error {
		found++
		if settings != "search_path=pg_catalog, pg_temp" || forAll {
			t.Errorf("%s has the settings %q; all may call it: %t", name, settings, forAll)
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d functions, %v", found, err)
	}
}

// A backup of last year has no partition for the present month, and no migration to apply.
func TestUpMakesRoomInTheAuditLogThoughNothingIsMissing(t *testing.T) {
	t.Parallel()
	ownerURL := dbtest.Owner(t, dbtest.New(t))
	owner := connect(t, ownerURL)
	month := currentPartition(t, owner)
	exec(t, owner, "DROP TABLE "+month)
	if steps, err := open(t, ownerURL).Up(t.Context()); err != nil || len(steps) != 0 {
		t.Fatalf("%v, %v", steps, err)
	}
	exec(t, owner, "SELECT FROM "+month)
}
