package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// dropMonths leaves the audit log without a partition, as an old backup does, or a clock that has
// leapt.
const dropMonths = `DO $$
	DECLARE month regclass;
	BEGIN
		FOR month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit_events'::regclass LOOP
			EXECUTE 'DROP TABLE ' || month;
		END LOOP;
	END $$`

func execOn(t *testing.T, conn *pgx.Conn, statement string, arguments ...any) {
	t.Helper()
	_, err := conn.Exec(t.Context(), statement, arguments...)
	must(t, err)
}

// Nothing can be done that cannot be told of: without a partition nobody could log in, and no
// replica would say that it is ill.
func TestEveryMethodMakesRoomInTheLogWhereTheMonthIsMissing(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d, owner := open(t, Options{URL: databaseURL}), connectTo(t, dbtest.Owner(t, databaseURL))
	u := d.mustInsert(t, "alice")
	for name, call := range calls(d, u) {
		execOn(t, owner, dropMonths)
		if err := call(t.Context()); errors.Is(err, errNoRoom) || err != nil && strings.Contains(err.Error(), "23514") {
			t.Errorf("%s: %v", name, err)
		}
	}
	execOn(t, owner, dropMonths)
	must(t, d.RecordEvent(t.Context(), anEvent())) // so that it is known to have been missing
	var months int
	must(t, owner.QueryRow(t.Context(), "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass").Scan(&months))
	if months != 4 {
		t.Errorf("%d partitions", months)
	}
}

// Each holds what others wait for, and all of them want the partition at once.
func TestManyWhoMakeRoomAtOnceDoNotStandInEachOthersWay(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d, owner := open(t, Options{URL: databaseURL, MaxConns: 24}), connectTo(t, dbtest.Owner(t, databaseURL))
	users := make([]auth.User, 6)
	for n := range users {
		users[n] = d.mustInsert(t, fmt.Sprint("user", n))
	}
	for range 5 {
		execOn(t, owner, dropMonths)
		errs := make([]error, 24)
		var group sync.WaitGroup
		for n := range errs {
			u := users[n%len(users)]
			group.Go(func() {
				switch n % 4 {
				case 0:
					_, errs[n] = d.DisableUser(t.Context(), anEvent(), auth.Freely(), u.Username.Key, nil)
				case 1:
					_, errs[n] = d.EnableUser(t.Context(), anEvent(), auth.Freely(), u.Username.Key, nil)
				case 2:
					_, errs[n] = d.SetPassword(t.Context(), anEvent(), auth.Freely(), u.Username.Key, plain)
				default:
					_, errs[n] = d.EndSessions(context.WithoutCancel(t.Context()), anEvent(), auth.Freely(), auth.Reach{UserID: u.ID, AllClients: true}, u.ID, "logout")
				}
			})
		}
		group.Wait()
		must(t, errors.Join(errs...))
	}
}
