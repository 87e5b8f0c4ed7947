package rows

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/bcrypt"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/bench/internal/stats"
)

// loginLimits is logins with the limits on, against off by their settings.
func loginLimits(ctx context.Context, s *Run, o Options) (float64, string, error) {
	if err := s.forgetFailures(ctx); err != nil {
		return 0, "", err
	}
	binary, err := s.LowCostBuild(ctx)
	if err != nil {
		return 0, "", err
	}
	cost := "BCRYPT_COST=" + strconv.Itoa(o.Cost)
	on, err := s.Service(ctx, "limits on", binary, s.Database.URL(), cost, "ADDRESS_REGISTRATIONS=0", "ADDRESS_FAILURES=1000000")
	if err != nil {
		return 0, "", err
	}
	off, err := s.Service(ctx, "limits off", binary, s.Database.URL(), cost, "ADDRESS_REGISTRATIONS=0", "ADDRESS_FAILURES=0", "ACCOUNT_FAILURES=0",
		"ACCOUNT_FAILURES_PER_DAY=0")
	if err != nil {
		return 0, "", err
	}
	logins, err := compareLogins(ctx, on, off, o, on)
	if err != nil {
		return 0, "", err
	}
	statement, nothing, err := s.timeStatement(ctx, 10*o.Trials)
	return logins[0] / logins[1], fmt.Sprintf("on %.0f logins/s, off %.0f/s at bcrypt cost %d, which makes a ratio of %.3f at cost 12; "+
		"the statement that takes: p50 %s, p99 %s; one that does nothing: p50 %s",
		logins[0], logins[1], o.Cost, ratioAtCost12(logins, o.Cost), stats.Percentile(statement, 50), stats.Percentile(statement, 99), stats.Percentile(nothing, 50)), err
}

// loginAudit is logins as they are, against logins at a database whose audit log records
// nothing.
func loginAudit(ctx context.Context, s *Run, o Options) (float64, string, error) {
	binary, err := s.LowCostBuild(ctx)
	if err != nil {
		return 0, "", err
	}
	var programs [2]*stage.Program
	for n, name := range []string{"audit", "no_audit"} {
		if programs[n] = s.Started[name]; programs[n] != nil {
			continue // of the round before
		}
		pool, url, err := s.SeparateDatabase(ctx, name)
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
		if programs[n], err = s.Service(ctx, name, binary, url, "BCRYPT_COST="+strconv.Itoa(o.Cost), "ADDRESS_REGISTRATIONS=0", "ADDRESS_FAILURES=1000000"); err != nil {
			return 0, "", err
		}
	}
	logins, err := compareLogins(ctx, programs[0], programs[1], o, programs[0], programs[1])
	return logins[0] / logins[1], fmt.Sprintf("with %.0f logins/s, without %.0f/s at bcrypt cost %d, which makes a ratio of %.3f at cost 12",
		logins[0], logins[1], o.Cost, ratioAtCost12(logins, o.Cost)), err
}

// compareLogins is good logins a second of one client at one program and at the other, by the
// medians of their times. Each login at the one is followed by one at the other, so that both have
// the same noise. Accounts are made at one program of each database.
func compareLogins(ctx context.Context, a, b *stage.Program, o Options, databases ...*stage.Program) (perSecond [2]float64, err error) {
	const users = 8
	client := api.NewClient()
	defer client.CloseIdleConnections()
	names := make([]string, users)
	for n := range names {
		names[n] = randomName()
		for _, p := range databases {
			if err := api.Register(ctx, p.URL, names[n]); err != nil {
				return perSecond, err
			}
		}
	}
	var times [2][]float64
	for n, began := 0, time.Now(); n < users || time.Since(began) < 2*o.Measure; n++ {
		for side, p := range []*stage.Program{a, b} {
			took, err := timeLogin(ctx, client, p.URL, names[n%users], api.Password, http.StatusOK)
			if err != nil {
				return perSecond, err
			}
			times[side] = append(times[side], took)
		}
	}
	for side := range times {
		perSecond[side] = 1000 / stats.Median(slices.Sorted(slices.Values(times[side])))
	}
	return perSecond, nil
}

// ratioAtCost12 is what becomes of a ratio when each login hashes at the default cost. A
// processor's time is what logins share, so that the difference of the hashes is added to both
// sides.
func ratioAtCost12(perSecond [2]float64, cost int) float64 {
	began := time.Now()
	_, _ = bcrypt.GenerateFromPassword([]byte(api.Password), 12)
	more := time.Since(began).Seconds() * (1 - float64(uint(1)<<cost)/(1<<12))
	return (1/perSecond[1] + more) / (1/perSecond[0] + more)
}

// unreachableLimits are settings of limits that are looked at as any are, and that nobody reaches.
func unreachableLimits() []string {
	return []string{
		"ADDRESS_REGISTRATIONS=0", "ADDRESS_FAILURES=1000000", "ADDRESS_FAILURES_PER_MINUTE=1000000",
		"ACCOUNT_FAILURES=1000000", "ACCOUNT_FAILURES_PER_MINUTE=1000000", "ACCOUNT_FAILURES_PER_DAY=1000000",
	}
}

// forgetFailures undoes what other rows have left against this machine's address.
func (s *Run) forgetFailures(ctx context.Context) error {
	_, err := s.Pool.Exec(ctx, "DELETE FROM rate_limits")
	return err
}

// timeStatement times the one that takes from the three limits of a login, and one that does
// nothing, in turns.
func (s *Run) timeStatement(ctx context.Context, n int) (take, nothing []time.Duration, err error) {
	keys := make([][]byte, 3)
	for i := range n {
		for k := range keys {
			key := sha256.Sum256(fmt.Appendf(nil, "%d %d", k, i%50))
			keys[k] = key[:]
		}
		began := time.Now()
		_, err := s.Pool.Exec(ctx, "SELECT waits, tats, helds FROM rate_limits_reserve($1, $1, $2, $3, $4, 30000000, false)",
			keys, []int64{1e6, 1e6, 1e6}, []int64{1000, 1000, 1000}, []bool{true, true, true})
		between := time.Now()
		if err != nil {
			return nil, nil, err
		}
		if _, err := s.Pool.Exec(ctx, "SELECT $1::int", i); err != nil {
			return nil, nil, err
		}
		take, nothing = append(take, between.Sub(began)), append(nothing, time.Since(between))
	}
	return take, nothing, nil
}
