package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// anEvent is for tests of what it is told with.
func anEvent() auth.Event {
	return auth.Event{Action: auth.ActionAuthorize, Outcome: auth.Outcome(nil), By: auth.Operator("test")}
}

// Whoever breaks into the service must not be able to wipe out the traces.
func TestTheServicesRoleCannotTakeAnythingOutOfTheLog(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d, owner := open(t, Options{URL: url}), open(t, Options{URL: dbtest.Owner(t, url)})
	must(t, d.RecordEvent(t.Context(), anEvent()))
	partitions, err := owner.queries.ListEndedAuditPartitions(t.Context(), -1e9)
	must(t, err)
	if len(partitions) != 4 {
		t.Fatalf("partitions: %v", partitions)
	}
	for _, table := range append(partitions, "audit_events") {
		for _, statement := range []string{
			"UPDATE %s SET outcome = 'success'", "DELETE FROM %s", "TRUNCATE %s", "DROP TABLE %s", "ALTER TABLE %s DISABLE TRIGGER ALL",
			"ALTER TABLE %s ADD COLUMN more text", "CREATE INDEX ON %s (outcome)", "ALTER TABLE %s OWNER TO " + dbtest.ServiceRole,
			"CREATE TRIGGER t BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION notify_revocations()",
			"CREATE RULE r AS ON INSERT TO %s DO INSTEAD NOTHING",
		} {
			statement := fmt.Sprintf(statement, table)
			if _, err := d.pool.Exec(t.Context(), statement); !denied(err) {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
	for _, statement := range []string{
		"ALTER TABLE audit_events DETACH PARTITION " + partitions[0], "DROP FUNCTION record_event", "SET ROLE postgres",
		"CREATE OR REPLACE FUNCTION record_event(event jsonb, user_id uuid) RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
		"CREATE OR REPLACE FUNCTION add_audit_partitions() RETURNS void LANGUAGE sql AS 'SELECT'",
		"INSERT INTO " + partitions[0] + " SELECT * FROM audit_events", "UPDATE gatehouse_schema_version SET is_applied = false",
		"SET session_replication_role = replica",
	} {
		if _, err := d.pool.Exec(t.Context(), statement); !denied(err) {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if _, err := owner.pool.Exec(t.Context(), "UPDATE audit_events SET outcome = 'success'"); err != nil {
		t.Errorf("not even the owner may, so the rest proves nothing: %v", err)
	}
	events, err := d.FindEvents(t.Context(), auth.EventFilter{}, auth.EventPosition{}, 10)
	must(t, err)
	if len(events) != 1 || events[0].Action != auth.ActionAuthorize || time.Since(events[0].At).Abs() > time.Hour {
		t.Errorf("the log has %+v", events)
	}
}

func denied(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "42501"
}

// The rights that are lent for making partitions must not be of use for anything else.
func TestATemporaryTableDoesNotStandInForTheLog(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d, owner := open(t, Options{URL: url, MaxConns: 1}), open(t, Options{URL: dbtest.Owner(t, url)})
	for _, statement := range []string{
		"CREATE TEMPORARY TABLE audit_events (at timestamptz NOT NULL) PARTITION BY RANGE (at)",
		fmt.Sprintf("CREATE TEMPORARY TABLE audit_events_%s ()", time.Now().UTC().Format("2006_01")),
	} {
		_, err := d.pool.Exec(t.Context(), statement)
		must(t, err)
	}
	last := time.Now().UTC().AddDate(0, 3, 1-time.Now().UTC().Day()).Format("2006_01")
	_, err := owner.pool.Exec(t.Context(), "DROP TABLE audit_events_"+last)
	must(t, err)
	must(t, d.AddEventPartitions(t.Context()))
	partitions, err := owner.queries.ListEndedAuditPartitions(t.Context(), -1e9)
	must(t, err)
	if !slices.Contains(partitions, "audit_events_"+last) || len(partitions) != 4 {
		t.Errorf("partitions: %v, want one more: %s", partitions, last)
	}
}

func TestReplicasThatStartAtOnceMakeEachPartitionOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	owner := open(t, Options{URL: dbtest.Owner(t, url)})
	before, err := owner.queries.ListEndedAuditPartitions(t.Context(), -1e9)
	must(t, err)
	for _, name := range before {
		_, err := owner.pool.Exec(t.Context(), "DROP TABLE "+name)
		must(t, err)
	}
	d := open(t, Options{URL: url, MaxConns: 8})
	if err := (&DB{pool: d.pool, queries: sqlcgen.New(d.pool)}).RecordEvent(t.Context(), anEvent()); err == nil {
		t.Error("there is room without a partition")
	}
	errs := make(chan error)
	for range 8 {
		go func() { errs <- d.AddEventPartitions(t.Context()) }()
	}
	for range 8 {
		must(t, <-errs)
	}
	after, err := owner.queries.ListEndedAuditPartitions(t.Context(), -1e9)
	must(t, err)
	if !slices.Equal(before, after) {
		t.Errorf("%v, want %v", after, before)
	}
	must(t, d.RecordEvent(t.Context(), anEvent()))
}

func TestWholeMonthsThatEndedLongAgoAreDroppedByTheOwnerAlone(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d, owner := open(t, Options{URL: url}), open(t, Options{URL: dbtest.Owner(t, url)})
	month := time.Now().UTC().AddDate(0, 0, 1-time.Now().UTC().Day()).Truncate(24 * time.Hour)
	var names []string
	for n := range 4 { // this month is there
		from, to := month.AddDate(0, -n-1, 0), month.AddDate(0, -n, 0)
		_, err := owner.pool.Exec(t.Context(), fmt.Sprintf("CREATE TABLE audit_events_%s PARTITION OF audit_events FOR VALUES FROM ('%s') TO ('%s')",
			from.Format("2006_01"), from.Format(time.RFC3339), to.Format(time.RFC3339)))
		must(t, err)
		names = append(names, from.Format("2006-01"))
		for _, at := range []time.Time{from, to.Add(-time.Microsecond)} {
			_, err := owner.pool.Exec(t.Context(), `INSERT INTO audit_events (at, action, outcome, actor, target, request_id, client_address, user_agent)
				VALUES ($1, 'login', 'success', 'anonymous', '', '', '', '')`, at)
			must(t, err)
		}
	}
	// The second of them has ended long enough ago, the first by a minute not.
	olderThan := time.Since(month.AddDate(0, -1, 0)) - time.Minute
	prune := anEvent()
	prune.Action = auth.ActionPruneAudit
	if pruned, err := d.PruneEvents(t.Context(), prune, auth.Prune{OlderThan: olderThan}); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("the service's role drops %v: %v", pruned, err)
	}
	must(t, owner.onlyEvents(t, 8))
	pruned, err := owner.PruneEvents(t.Context(), prune, auth.Prune{OlderThan: olderThan})
	must(t, err)
	if want := []string{names[3], names[2], names[1]}; !slices.Equal(pruned.Months, want) {
		t.Errorf("dropped %v, want %v", pruned, want)
	}
	must(t, owner.onlyEvents(t, 3)) // two of last month, and what tells of the pruning
	if again, err := owner.PruneEvents(t.Context(), prune, auth.Prune{OlderThan: olderThan}); err != nil || len(again.Months) != 0 {
		t.Errorf("again: %v, %v", again, err)
	}
}

func (d *DB) onlyEvents(t *testing.T, want int) error {
	t.Helper()
	events, err := d.FindEvents(t.Context(), auth.EventFilter{}, auth.EventPosition{}, 100)
	if err == nil && len(events) != want {
		err = fmt.Errorf("%d events, want %d", len(events), want)
	}
	return err
}

// With millions of events, a question that goes through all of them is an outage. What is as
// frequent as logins is found soon by going back in time.
func TestEventsAreFoundByWhatIsRareInThem(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.Owner(t, dbtest.New(t)), StatementTimeout: time.Hour})
	_, err := d.pool.Exec(t.Context(), `
		INSERT INTO audit_events (at, action, outcome, actor, actor_id, user_id, target, request_id, client_address, user_agent)
		SELECT now() + n * interval '1 minute', CASE WHEN n % 1000 = 0 THEN 'role.grant' WHEN n % 2 = 0 THEN 'login' ELSE 'refresh' END,
		       CASE WHEN n % 500 = 7 THEN 'wrong_password' ELSE 'success' END, 'user', md5((n % 5000)::text)::uuid, md5((n % 5000)::text)::uuid,
		       '', md5(n::text), '', ''
		FROM generate_series(1, 100000) n`)
	must(t, err)
	_, err = d.pool.Exec(t.Context(), "VACUUM ANALYZE audit_events")
	must(t, err)
	traced, seen := d.traced(t)
	someone := uuid.MustParse("c4ca4238-a0b9-2382-0dcc-509a6f75849b") // md5('1')
	for index, filter := range map[string]auth.EventFilter{
		"_user_id_":    {UserID: someone},
		"_actor_id_":   {ActorID: someone},
		"_request_id_": {RequestID: "c4ca4238a0b923820dcc509a6f75849b"},
		"_outcome_":    {Outcome: "wrong_password"},
		"_action_":     {Action: auth.ActionGrantRole},
		"_pkey":        {},
		"_pkey ":       {Action: auth.ActionLogin, Outcome: "success"},
	} {
		seen.statements = nil
		found, err := traced.FindEvents(t.Context(), filter, auth.EventPosition{}, 10)
		must(t, err)
		if len(found) == 0 {
			t.Errorf("%+v: nothing", filter)
		}
		plan := d.planOf(t, seen.take()[0])
		if !strings.Contains(plan, strings.TrimSpace(index)) || strings.Contains(plan, "Seq Scan on audit_events") {
			t.Errorf("%+v: without the index %s:\n%s", filter, index, plan)
		}
	}
}

// planOf is the plan for just these arguments, which is the one that FindEvents gets.
func (d *DB) planOf(t *testing.T, s statement) string {
	t.Helper()
	arguments := slices.DeleteFunc(slices.Clone(s.args), func(a any) bool { _, ok := a.(pgx.QueryExecMode); return ok })
	rows, err := d.pool.Query(t.Context(), "EXPLAIN "+s.sql, append([]any{pgx.QueryExecModeExec}, arguments...)...)
	must(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return strings.Join(lines, "\n")
}

// A plan that is kept for any arguments would have to be one that reads everything.
func TestEventsAreLookedForByAPlanOfTheirOwn(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t), MaxConns: 1})
	for range 10 { // more often than the server tries plans for the arguments
		_, err := d.FindEvents(t.Context(), auth.EventFilter{Outcome: "limited"}, auth.EventPosition{}, 10)
		must(t, err)
	}
	var prepared int
	must(t, d.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FindEvents%' AND statement NOT LIKE '%pg_prepared%'").Scan(&prepared))
	if prepared != 0 {
		t.Error("the statement is prepared, and its plan may be kept")
	}
}

// An event that comes to light late, since its transaction was long, must reach whoever follows the
// log, and once.
func TestAFollowerGetsWhatIsCommittedLateAndNothingTwice(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	s := auth.NewAudit(d, auth.NewTally(time.Now))
	record := func(q interface {
		Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	}, target string) {
		t.Helper()
		e := anEvent()
		e.Target = target
		_, err := q.Exec(t.Context(), "SELECT record_event($1::jsonb, NULL)", eventJSON(e))
		must(t, err)
	}
	record(d.pool, "before")
	late, err := d.pool.Begin(t.Context())
	must(t, err)
	record(late, "late")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string)
	ended := make(chan error, 1)
	go func() {
		ended <- s.FollowEvents(ctx, auth.EventFilter{}, 10, func(e auth.RecordedEvent) error {
			select {
			case got <- e.Target:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	want := func(target string) {
		t.Helper()
		if next := <-got; next != target {
			t.Fatalf("%s, want %s", next, target)
		}
	}
	want("before")
	record(d.pool, "early")
	want("early")
	must(t, late.Commit(t.Context()))
	want("late")
	record(d.pool, "after")
	want("after")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
