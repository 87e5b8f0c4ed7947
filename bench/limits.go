package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// loginLimits is logins with the limits on, against off by their settings.
func loginLimits(ctx context.Context, s *stage, o options) (float64, string, error) {
	if err := s.forgetFailures(ctx); err != nil {
		return 0, "", err
	}
	binary, err := s.lowCostBuild(ctx)
	if err != nil {
		return 0, "", err
	}
	cost := "BCRYPT_COST=" + strconv.Itoa(o.cost)
	on, err := s.service(ctx, "limits on", binary, s.database.URL(), cost, "ADDRESS_REGISTRATIONS=0", "ADDRESS_FAILURES=1000000")
	if err != nil {
		return 0, "", err
	}
	off, err := s.service(ctx, "limits off", binary, s.database.URL(), cost, "ADDRESS_REGISTRATIONS=0", "ADDRESS_FAILURES=0", "ACCOUNT_FAILURES=0",
		"ACCOUNT_FAILURES_PER_DAY=0")
	if err != nil {
		return 0, "", err
	}
	logins, err := compareLogins(ctx, on, off, o, on)
	if err != nil {
		return 0, "", err
	}
	statement, nothing, err := s.timeStatement(ctx, 10*o.trials)
	return logins[0] / logins[1], fmt.Sprintf("on %.0f logins/s, off %.0f/s at bcrypt cost %d, which makes a ratio of %.3f at cost 12; "+
		"the statement that takes: p50 %s, p99 %s; one that does nothing: p50 %s",
		logins[0], logins[1], o.cost, ratioAtCost12(logins, o.cost), percentile(statement, 50), percentile(statement, 99), percentile(nothing, 50)), err
}

// loginAudit is logins as they are, against logins at a database whose audit log takes nothing down.
func loginAudit(ctx context.Context, s *stage, o options) (float64, string, error) {
	binary, err := s.lowCostBuild(ctx)
	if err != nil {
		return 0, "", err
	}
	var programs [2]*program
	for n, name := range []string{"audit", "no_audit"} {
		if programs[n] = s.started[name]; programs[n] != nil {
			continue // of the round before
		}
		pool, url, err := s.separateDatabase(ctx, name)
		if err != nil {
			return 0, "", err
		}
		if name == "no_audit" {
			_, err = pool.Exec(ctx, "CREATE OR REPLACE FUNCTION record_event(event jsonb, user_id uuid) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN 0; END'")
		}
		pool.Close()
		if err != nil {
			return 0, "", err
		}
		if programs[n], err = s.service(ctx, name, binary, url, "BCRYPT_COST="+strconv.Itoa(o.cost), "ADDRESS_REGISTRATIONS=0", "ADDRESS_FAILURES=1000000"); err != nil {
			return 0, "", err
		}
	}
	logins, err := compareLogins(ctx, programs[0], programs[1], o, programs[0], programs[1])
	return logins[0] / logins[1], fmt.Sprintf("with %.0f logins/s, without %.0f/s at bcrypt cost %d, which makes a ratio of %.3f at cost 12",
		logins[0], logins[1], o.cost, ratioAtCost12(logins, o.cost)), err
}

// compareLogins is good logins a second of one client at one program and at the other, by the medians of their times. Each
// login at the one is followed by one at the other, so that both have the same noise. Accounts are made at one program of each
// database.
func compareLogins(ctx context.Context, a, b *program, o options, databases ...*program) (perSecond [2]float64, err error) {
	const users = 8
	client := newClient()
	defer client.CloseIdleConnections()
	names := make([]string, users)
	for n := range names {
		names[n] = randomName()
		for _, p := range databases {
			if err := register(ctx, p.url, names[n]); err != nil {
				return perSecond, err
			}
		}
	}
	var times [2][]float64
	for n, began := 0, time.Now(); n < users || time.Since(began) < 2*o.measure; n++ {
		for side, p := range []*program{a, b} {
			took, err := timeLogin(ctx, client, p.url, names[n%users], password, http.StatusOK)
			if err != nil {
				return perSecond, err
			}
			times[side] = append(times[side], took)
		}
	}
	for side := range times {
		perSecond[side] = 1000 / median(slices.Sorted(slices.Values(times[side])))
	}
	return perSecond, nil
}

// ratioAtCost12 is what becomes of a ratio when each login hashes at the default cost. A processor's time is what logins
// share, so that the difference of the hashes is added to both sides.
func ratioAtCost12(perSecond [2]float64, cost int) float64 {
	began := time.Now()
	_, _ = bcrypt.GenerateFromPassword([]byte(password), 12)
	more := time.Since(began).Seconds() * (1 - float64(uint(1)<<cost)/(1<<12))
	return (1/perSecond[1] + more) / (1/perSecond[0] + more)
}

// forgetFailures undoes what the floods of other rows have left against this machine's address.
func (s *stage) forgetFailures(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, "DELETE FROM rate_limits")
	return err
}

// timeStatement times the one that takes from the three limits of a login, and one that does nothing, in turns.
func (s *stage) timeStatement(ctx context.Context, n int) (take, nothing []time.Duration, err error) {
	keys := make([][]byte, 3)
	for i := range n {
		for k := range keys {
			key := sha256.Sum256(fmt.Appendf(nil, "%d %d", k, i%50))
			keys[k] = key[:]
		}
		began := time.Now()
		_, err := s.pool.Exec(ctx, "SELECT waits, tats FROM rate_limits_take($1, $2, $3)", keys, []int64{1e6, 1e6, 1e6}, []int64{1000, 1000, 1000})
		between := time.Now()
		if err != nil {
			return nil, nil, err
		}
		if _, err := s.pool.Exec(ctx, "SELECT $1::int", i); err != nil {
			return nil, nil, err
		}
		take, nothing = append(take, between.Sub(began)), append(nothing, time.Since(between))
	}
	return take, nothing, nil
}
