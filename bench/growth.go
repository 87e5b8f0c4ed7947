package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"gatehouse/internal/token"
)

const (
	opLogin   = "login"
	opRefresh = "refresh"
	opMe      = "/users/me"
	opVerify  = "/verify"
)

// town is a database with many users, and a replica on it.
type town struct {
	users   int
	url     string
	pool    *pgxpool.Pool
	replica *program
	took    time.Duration // to fill it
	asked   map[string]int
	seen    map[string][]time.Duration // latencies by what was done, over all rounds
}

// growth asks the same of towns of different size, in turn.
func growth(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	if err := s.foundTowns(ctx, o); err != nil {
		return nil, "", err
	}
	small, big := s.towns[0], s.towns[len(s.towns)-1]
	var ratios []float64
	var parts []string
	for _, op := range []string{opLogin, opRefresh, opMe, opVerify} {
		p50 := map[*town]time.Duration{}
		for _, t := range s.towns {
			all, err := s.live(ctx, t, op, o.measure)
			if err != nil {
				return nil, "", fmt.Errorf("%s with %d users: %w", op, t.users, err)
			}
			t.seen[op] = append(t.seen[op], all...)
			p50[t] = percentile(all, 50)
		}
		ratios = append(ratios, ratio(p50[big], p50[small]))
		parts = append(parts, fmt.Sprintf("%s p50 %s, %s", op, p50[small], p50[big]))
	}
	s.drawGrowth()
	hot := make([]float64, 2)
	for n, t := range []*town{small, big} {
		var err error
		if hot[n], err = t.hotUpdates(ctx); err != nil {
			return nil, "", err
		}
	}
	return ratios, fmt.Sprintf("%d and %d users: %s; bcrypt at cost %s; of the updates of sessions %.0f %% and %.0f %% were HOT; filled in %s",
		small.users, big.users, strings.Join(parts, "; "), townCost, hot[0], hot[1], big.took.Round(time.Second)), nil
}

// hotUpdates is the percentage of refreshes that have touched no index: there was room on the page of the row.
func (t *town) hotUpdates(ctx context.Context) (percent float64, err error) {
	err = t.pool.QueryRow(ctx, "SELECT coalesce(100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0), 0) FROM pg_stat_user_tables WHERE relname = 'sessions'").Scan(&percent)
	return percent, err
}

// townCost is the least there is, so that hashing hides as little as it can of what the database does.
const townCost = "10"

// foundTowns makes them once, on a server of their own.
func (s *stage) foundTowns(ctx context.Context, o options) error {
	if s.towns != nil {
		return nil
	}
	sizes := []int{1_000, 100_000, 10_000_000}
	if o.short {
		sizes = []int{1_000, 10_000}
	}
	server, _, err := s.server(ctx, "growth")
	if err != nil {
		return err
	}
	if err := tune(ctx, server.URL()); err != nil {
		return err
	}
	if err := server.Stop(); err != nil {
		return err
	}
	if err := server.Restart(ctx); err != nil {
		return err
	}
	if _, err := freePostmaster(ctx, server.URL()); err != nil {
		return err
	}
	for _, users := range sizes {
		t, err := s.found(ctx, server.URL(), users)
		if err != nil {
			return err
		}
		s.towns = append(s.towns, t)
	}
	return settle(ctx, server.URL())
}

func (s *stage) found(ctx context.Context, serverURL string, users int) (*town, error) {
	t := &town{users: users, asked: map[string]int{}, seen: map[string][]time.Duration{}}
	var err error
	if t.url, err = newDatabase(ctx, serverURL, fmt.Sprintf("users%d", users)); err != nil {
		return nil, err
	}
	if t.pool, err = pgxpool.New(ctx, t.url); err != nil {
		return nil, err
	}
	t.replica, err = s.replica(ctx, fmt.Sprintf("replica with %d users", users), "DATABASE_URL="+t.url, "BCRYPT_COST="+townCost)
	if err != nil {
		return nil, err
	}
	if err := register(ctx, t.replica.url, firstUser); err != nil {
		return nil, err
	}
	s.progress("making %d users with two sessions each: minutes for 10,000,000", users)
	began := time.Now()
	err = fill(ctx, t.pool, users)
	t.took = time.Since(began)
	return t, err
}

// live does one thing for different people, at a rate at which hardly any two of them meet, and returns how long each took.
func (s *stage) live(ctx context.Context, t *town, op string, d time.Duration) ([]time.Duration, error) {
	begin := t.asked[op]
	if op == opLogin {
		all, err := t.logins(ctx, begin, d)
		t.asked[op] += len(all)
		return all, err
	}
	var failed error
	shots, err := openLoop(ctx, 300, d/2, func(n int) vegeta.Target {
		who, which, turn := t.pick(begin + n)
		if op == opRefresh {
			form := refreshForm(s.refresh.Make(filledSession(who, which), int64(turn), make([]byte, 16)))
			return post(t.replica.url+"/token", func(int) string { return form })(n)
		}
		access, err := s.access(token.Subject{UserID: filledUser(who), SessionID: filledSession(who, which), Username: filledName(who)})
		if err != nil {
			failed = err // of the key, and then all are
		}
		return get(t.replica.url+op, []string{access})(n)
	})
	t.asked[op] += len(shots)
	all, err := latencies(shots, err)
	return all, errors.Join(failed, err)
}

// logins are made one after the other: a hash is a processor's work, and two of them would wait for each other.
func (t *town) logins(ctx context.Context, begin int, d time.Duration) (all []time.Duration, err error) {
	client := newClient()
	defer client.CloseIdleConnections()
	_, err = loop(ctx, 1, d, func(ctx context.Context, _ int) error {
		who, _, _ := t.pick(begin + len(all))
		began := time.Now()
		_, err := grant(ctx, client, t.replica.url, loginForm(filledName(who), password))
		all = append(all, time.Since(began))
		return err
	})
	return all, err
}

// pick is the user and session of the n-th request, and how many times they have had one before. It goes through them in
// strides that no number of sessions is a multiple of, so that each comes once before one comes twice.
func (t *town) pick(n int) (who, which, turn int) {
	const stride = 1_000_003
	one := n * stride % (2 * t.users)
	return one%t.users + 1, one / t.users, n / (2 * t.users)
}

// The ids and names that fill gives.
func filledUser(n int) uuid.UUID { return filledID(0, n) }

func filledSession(user, which int) uuid.UUID { return filledID(1+which, user) }

func filledID(kind, n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("00000000-0000-7000-800%d-%012x", kind, n))
}

func filledName(n int) string { return fmt.Sprintf("user%08d", n) }
