package rows

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/dataset"
	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/bench/internal/stats"
	"gatehouse.example/internal/token"
)

const (
	opLogin   = "login"
	opRefresh = "refresh"
	opMe      = "/users/me"
	opVerify  = "/verify"
)

// population is a database with many users, and a replica on it.
type population struct {
	users   int
	url     string
	pool    *pgxpool.Pool
	replica *stage.Program
	took    time.Duration // to fill it
	asked   map[string]int
	seen    map[string][]time.Duration // latencies by what was done, over all rounds
}

// growth asks the same of databases of different size, in turn.
func growth(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	if err := s.makePopulations(ctx, o); err != nil {
		return nil, "", err
	}
	small, big := s.populations[0], s.populations[len(s.populations)-1]
	var ratios []float64
	var parts []string
	for _, op := range []string{opLogin, opRefresh, opMe, opVerify} {
		p50 := map[*population]time.Duration{}
		for _, t := range s.populations {
			all, err := s.live(ctx, t, op, o.Measure)
			if err != nil {
				return nil, "", fmt.Errorf("%s with %d users: %w", op, t.users, err)
			}
			t.seen[op] = append(t.seen[op], all...)
			p50[t] = stats.Percentile(all, 50)
		}
		ratios = append(ratios, ratio(p50[big], p50[small]))
		parts = append(parts, fmt.Sprintf("%s p50 %s, %s", op, p50[small], p50[big]))
	}
	s.drawGrowth()
	hot := make([]float64, 2)
	for n, t := range []*population{small, big} {
		var err error
		if hot[n], err = t.hotUpdates(ctx); err != nil {
			return nil, "", err
		}
	}
	return ratios, fmt.Sprintf("%d and %d users: %s; bcrypt at cost %s; of the updates of sessions %.0f %% and %.0f %% were HOT; filled in %s",
		small.users, big.users, strings.Join(parts, "; "), growthCost, hot[0], hot[1], big.took.Round(time.Second)), nil
}

// hotUpdates is the percentage of refreshes that have touched no index: there was room on the page
// of the row.
func (t *population) hotUpdates(ctx context.Context) (percent float64, err error) {
	err = t.pool.QueryRow(ctx, "SELECT coalesce(100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0), 0) FROM pg_stat_user_tables WHERE relname = 'sessions'").Scan(&percent)
	return percent, err
}

// growthCost is the least there is, so that hashing hides as little as it can of what the database
// does.
const growthCost = "10"

// makePopulations makes them once, on a server of their own.
func (s *Run) makePopulations(ctx context.Context, o Options) error {
	if s.populations != nil {
		return nil
	}
	sizes := []int{1_000, 100_000, 10_000_000}
	if o.Short {
		sizes = []int{1_000, 10_000}
	}
	server, _, err := s.StartServer(ctx, "growth")
	if err != nil {
		return err
	}
	if err := dataset.Tune(ctx, server.URL()); err != nil {
		return err
	}
	if err := server.Stop(); err != nil {
		return err
	}
	if err := server.Restart(ctx); err != nil {
		return err
	}
	if _, err := stage.FreePostmaster(ctx, server.URL()); err != nil {
		return err
	}
	for _, users := range sizes {
		t, err := s.makePopulation(ctx, server.URL(), users)
		if err != nil {
			return err
		}
		s.populations = append(s.populations, t)
	}
	return dataset.Settle(ctx, server.URL())
}

func (s *Run) makePopulation(ctx context.Context, serverURL string, users int) (*population, error) {
	t := &population{users: users, asked: map[string]int{}, seen: map[string][]time.Duration{}}
	var err error
	if t.url, err = stage.NewDatabase(ctx, serverURL, fmt.Sprintf("users%d", users)); err != nil {
		return nil, err
	}
	if t.pool, err = pgxpool.New(ctx, t.url); err != nil {
		return nil, err
	}
	t.replica, err = s.Replica(ctx, fmt.Sprintf("replica with %d users", users), "DATABASE_URL="+t.url, "BCRYPT_COST="+growthCost)
	if err != nil {
		return nil, err
	}
	if err := api.Register(ctx, t.replica.URL, dataset.FirstUser); err != nil {
		return nil, err
	}
	s.Progress("making %d users with two sessions each: minutes for 10,000,000", users)
	began := time.Now()
	err = dataset.Fill(ctx, t.pool, users)
	t.took = time.Since(began)
	return t, err
}

// live does one thing for different people, at a rate at which hardly any two of them meet, and
// returns how long each took.
func (s *Run) live(ctx context.Context, t *population, op string, d time.Duration) ([]time.Duration, error) {
	begin := t.asked[op]
	if op == opLogin {
		all, err := t.logins(ctx, begin, d)
		t.asked[op] += len(all)
		return all, err
	}
	var failed error
	shots, err := load.OpenLoop(ctx, 300, d/2, func(n int) vegeta.Target {
		who, which, turn := t.pick(begin + n)
		if op == opRefresh {
			form := api.RefreshForm(s.Refresh.Make(dataset.SessionID(who, which), int64(turn), make([]byte, 16)))
			return load.Post(t.replica.URL+"/token", func(int) string { return form })(n)
		}
		access, err := s.Access(token.Subject{UserID: dataset.UserID(who), SessionID: dataset.SessionID(who, which), Username: dataset.Username(who)})
		if err != nil {
			failed = err // of the key, and then all are
		}
		return load.Get(t.replica.URL+op, []string{access})(n)
	})
	t.asked[op] += len(shots)
	all, err := load.Latencies(shots, err)
	return all, errors.Join(failed, err)
}

// logins are made one after the other: a hash is a processor's work, and two of them would wait for
// each other.
func (t *population) logins(ctx context.Context, begin int, d time.Duration) (all []time.Duration, err error) {
	client := api.NewClient()
	defer client.CloseIdleConnections()
	_, err = load.ClosedLoop(ctx, 1, d, func(ctx context.Context, _ int) error {
		who, _, _ := t.pick(begin + len(all))
		began := time.Now()
		_, err := api.Grant(ctx, client, t.replica.URL, api.LoginForm(dataset.Username(who), api.Password))
		all = append(all, time.Since(began))
		return err
	})
	return all, err
}

// pick is the user and session of the n-th request, and how many times they have had one before. It
// goes through them in strides that no number of sessions is a multiple of, so that each comes once
// before one comes twice.
func (t *population) pick(n int) (who, which, turn int) {
	const stride = 1_000_003
	one := n * stride % (2 * t.users)
	return one%t.users + 1, one / t.users, n / (2 * t.users)
}
