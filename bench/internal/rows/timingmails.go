package rows

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/stage"
)

// timeMails adds to the table what causes a mail, and must be answered alike whoever has an
// account: a forgotten password, and a registration with an address. The mails are sent meanwhile,
// by a relay that takes them at once. Each is about an account of its own, so that no limit on its
// mails hides what there is to see.
//
// The database is one for this: the mails that still wait at the end are no work of the next row.
func (s *Run) timeMails(ctx context.Context, client *http.Client, real, cost string, table *timingTable, n int) error {
	planted, err := s.Edited(ctx, "gatehouse-queue-for-the-known", stage.LowCosts(), stage.QueueForTheKnown())
	if err != nil {
		return err
	}
	relay, err := startSink()
	if err != nil {
		return err
	}
	defer relay.Close()
	pool, url, err := s.SeparateDatabase(ctx, "timing_mails")
	if err != nil {
		return err
	}
	defer pool.Close()
	classesAt := func(name, binary string, compare func(forgot, register []timedClass) error) error {
		service, err := s.Service(ctx, name, binary, url, append(append(unreachableLimits(), mailSettings(relay)...), cost)...)
		if err != nil {
			return err
		}
		defer s.Stop(name)
		forgot, register, err := mailClasses(ctx, client, service.URL, pool, n+warmUps)
		if err != nil {
			return err
		}
		return compare(forgot, register)
	}
	if err := classesAt("timing of mails", real, func(forgot, register []timedClass) error {
		times, err := timeClasses(ctx, forgot, n, table.random)
		if err != nil {
			return err
		}
		for _, c := range [][2]int{{1, 0}, {2, 0}, {3, 0}, {5, 4}} {
			table.add(forgot[c[0]].name, forgot[c[1]].name, times[c[0]], times[c[1]])
		}
		if times, err = timeClasses(ctx, register, n, table.random); err != nil {
			return err
		}
		table.add(register[1].name, register[0].name, times[1], times[0])
		return nil
	}); err != nil {
		return err
	}
	return classesAt("queue for the known", planted, func(forgot, _ []timedClass) error {
		times, err := timeClasses(ctx, forgot[:2], n, table.random)
		if err == nil {
			table.addPlanted(forgot[1].name, "unknown, not queued", times[1], times[0], 2*goalT)
		}
		return err
	})
}

// mailClasses makes accounts for so many requests of each class.
func mailClasses(ctx context.Context, client *http.Client, base string, pool *pgxpool.Pool, n int) (forgot, register []timedClass, err error) {
	people := func(as mailability) []string {
		names, made := addressed(ctx, pool, n, as)
		err = errors.Join(err, made)
		return names
	}
	add := func(name string, logins []string) {
		forgot = append(forgot, timedClass{"forgot: " + name, func(ctx context.Context, n int) (float64, error) {
			return timeForgot(ctx, client, base, logins[n])
		}})
	}
	add("unknown", randomNames(n))
	add("known", people(mailable))
	add("unverified", people(unverified))
	add("disabled", people(disabled))
	add("unknown address", addresses(randomNames(n)))
	add("known address", addresses(people(mailable)))
	for _, class := range []struct {
		name      string
		addresses []string
	}{
		{"unknown address", addresses(randomNames(n))}, {"known address", addresses(people(mailable))},
	} {
		register = append(register, timedClass{"register: " + class.name, func(ctx context.Context, n int) (float64, error) {
			body := fmt.Sprintf(`{"username":%q,"password":%q,"email":%q}`, randomName(), api.Password, class.addresses[n])
			return timePost(ctx, client, base+"/users", jsonType, body, http.StatusCreated)
		}})
	}
	_, analyzed := pool.Exec(ctx, "VACUUM ANALYZE")
	return forgot, register, errors.Join(err, analyzed)
}
