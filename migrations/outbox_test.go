package migrations_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/dbtest"
)

const (
	beforeTheOutbox = 34

	plainEvent = `SELECT record_event('{"action": "login", "outcome": "success", "actor": "anonymous", "target": "plain",
		"request_id": "", "client_address": "", "user_agent": ""}', NULL)`
	mailingEvent = `SELECT record_event('{"action": "login", "outcome": "success", "actor": "anonymous", "target": "mailing",
		"request_id": "", "client_address": "", "user_agent": "",
		"mails": [{"id": "7d444840-9dc0-11d1-b245-5ffdce74fad2", "kind": "new_device", "lifetime_seconds": 60,
			"sealed": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}', NULL)`
)

// plansOfRequests are those of the most frequent statements.
func plansOfRequests(t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	plans := map[string]string{}
	for _, request := range requests {
		rows, err := conn.Query(t.Context(), "EXPLAIN (COSTS off) "+request, pgx.QueryExecModeSimpleProtocol,
			"7d444840-9dc0-11d1-b245-5ffdce74fad2")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%v\n%s", err, request)
		}
		plans[request] = strings.Join(lines, "\n")
	}
	return plans
}

// A login or a refresh of the version before must go on while the outbox comes, and while it goes.
// A replica of this version that is still there when it has gone must not fail either.
func TestTheVersionBeforeRecordsEventsBesideTheOutboxAndThisOneAfterIt(t *testing.T) {
	t.Parallel()
	serviceURL := dbtest.New(t)
	migrator, service := open(t, dbtest.Owner(t, serviceURL)), connect(t, serviceURL)
	counted := func(table string) (n int) {
		t.Helper()
		if err := service.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := migrator.DownTo(t.Context(), beforeTheOutbox); err != nil {
		t.Fatal(err)
	}
	exec(t, service, plainEvent)
	before := plansOfRequests(t, service)
	exec(t, service, mailingEvent)
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, service, plainEvent) // before anybody has given the service its new rights
	if now := plansOfRequests(t, service); !maps.Equal(now, before) {
		t.Errorf("the plans are %q, before %q", now, before)
	}
	if err := migrator.Grant(t.Context(), dbtest.ServiceRole); err != nil {
		t.Fatal(err)
	}
	exec(t, service, mailingEvent)
	if mails, jobs := counted("mails"), counted("river_job WHERE queue = 'mail'"); mails != 1 || jobs != 1 {
		t.Errorf("%d mails, %d jobs", mails, jobs)
	}
	if _, err := migrator.DownTo(t.Context(), beforeTheOutbox); err != nil {
		t.Fatal(err)
	}
	if jobs := counted("river_job WHERE queue = 'mail'"); jobs != 0 {
		t.Errorf("%d jobs are left, which nobody knows", jobs)
	}
	exec(t, service, mailingEvent)
	if events := counted("audit_events"); events != 5 {
		t.Errorf("%d events", events)
	}
}
