package rows

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/bench/internal/api"
)

// timeMails adds to the table what must be answered alike whoever has an account with an address: a
// login by it, a forgotten password, and a registration. The mails of these are sent meanwhile,
// by a relay that takes them at once. Each is about an account of its own, so that no limit on its
// mails hides what there is to see.
//
// The database is one for this: the mails that still wait at the end are no work of the next row.
func (s *Run) timeMails(ctx context.Context, client *http.Client, real, planted, cost string, table *timingTable, n int) error {
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
	classesAt := func(name, binary string, compare func(login, forgot, register []timedClass) error) error {
		service, err := s.Service(ctx, name, binary, url, append(append(unreachableLimits(), mailSettings(relay)...), cost)...)
		if err != nil {
			return err
		}
		defer s.Stop(name)
		login, forgot, register, err := mailClasses(ctx, client, service.URL, pool, n+warmUps)
		if err != nil {
			return err
		}
		return compare(login, forgot, register)
	}
	if err := classesAt("timing of mails", real, func(login, forgot, register []timedClass) error {
		times, err := timeClasses(ctx, login, n, table.random)
		if err != nil {
			return err
		}
		for c := range login[1:] {
			table.add(login[c+1].name, login[0].name, times[c+1], times[0])
		}
		if times, err = timeClasses(ctx, forgot, n, table.random); err != nil {
			return err
		}
		for _, c := range [][2]int{{1, 0}, {2, 0}, {3, 0}, {5, 4}} {
			table.add(forgot[c[0]].name, forgot[c[1]].name, times[c[0]], times[c[1]])
		}
		if times, err = timeClasses(ctx, register, n, table.random); err != nil {
			return err
		}
		for c := range register[1:] {
			table.add(register[c+1].name, register[0].name, times[c+1], times[0])
		}
		return nil
	}); err != nil {
		return err
	}
	return classesAt("mistakes with mails", planted, func(login, forgot, register []timedClass) error {
		times, err := timeClasses(ctx, []timedClass{login[0], login[2]}, n, table.random)
		if err != nil {
			return err
		}
		table.addPlanted(login[2].name, "unknown, not hashed", times[1], times[0], plantedT)
		if times, err = timeClasses(ctx, forgot[:2], n, table.random); err != nil {
			return err
		}
		table.addPlanted(forgot[1].name, "unknown, not queued", times[1], times[0], 2*goalT)
		if times, err = timeClasses(ctx, register[:2], n, table.random); err != nil {
			return err
		}
		table.addPlanted(register[0].name, "known, not hashed", times[0], times[1], plantedT)
		return nil
	})
}

// mailClasses makes accounts for so many requests of each class.
func mailClasses(ctx context.Context, client *http.Client, base string, pool *pgxpool.Pool, n int) (login, forgot, register []timedClass, err error) {
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
		{"unverified address", addresses(people(unverified))},
	} {
		login = append(login, timedClass{"login: " + class.name, func(ctx context.Context, n int) (float64, error) {
			return timeLogin(ctx, client, base, class.addresses[n], wrongPassword, http.StatusUnauthorized)
		}})
		register = append(register, timedClass{"register: " + class.name, func(ctx context.Context, n int) (float64, error) {
			body := fmt.Sprintf(`{"username":%q,"password":%q,"email":%q}`, randomName(), api.Password, class.addresses[n])
			return timePost(ctx, client, base+"/users", jsonType, body, http.StatusCreated)
		}})
	}
	_, analyzed := pool.Exec(ctx, "VACUUM ANALYZE")
	return login, forgot, register, errors.Join(err, analyzed)
}
