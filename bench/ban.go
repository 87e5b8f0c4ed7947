package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// ban is the time from the answer to an account's being disabled until the last of three replicas refuses its token,
// against that which PostgreSQL takes to tell of a notification.
func ban(ctx context.Context, s *stage, o options) ([]float64, string, error) {
	var replicas []*program
	for _, name := range []string{"replica 1", "replica 2", "replica 3"} {
		p, err := s.replica(ctx, name)
		if err != nil {
			return nil, "", err
		}
		replicas = append(replicas, p)
	}
	notified, err := s.notifications(ctx, o.trials)
	if err != nil {
		return nil, "", err
	}
	admin, err := s.admin(ctx)
	if err != nil {
		return nil, "", err
	}
	sessions, err := s.sessions(ctx, o.trials)
	if err != nil {
		return nil, "", err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	var took []time.Duration
	for _, one := range sessions {
		d, err := banned(ctx, client, replicas, admin.access, one)
		if err != nil {
			return nil, "", err
		}
		took = append(took, d)
	}
	s.sample("from a ban to the last refusal", took)
	return []float64{milliseconds(percentile(took, 99)), ratio(percentile(took, 50), percentile(notified, 50))}, fmt.Sprintf(
		"p50 %s, p99 %s, of %d; a notification: p50 %s, p99 %s",
		percentile(took, 50), percentile(took, 99), o.trials, percentile(notified, 50), percentile(notified, 99)), nil
}

// banned disables an account at the first replica, and returns how long after the answer any of them still took its token.
func banned(ctx context.Context, client *http.Client, replicas []*program, admin string, one session) (time.Duration, error) {
	last, errs := make([]time.Time, len(replicas)), make([]error, len(replicas))
	var asking, accepted sync.WaitGroup
	for n, replica := range replicas {
		accepted.Add(1)
		asking.Go(func() {
			first := sync.OnceFunc(accepted.Done)
			defer first()
			for errs[n] == nil {
				status, err := send(ctx, client, http.MethodGet, replica.url+"/verify", one.access)
				if status == http.StatusUnauthorized {
					return
				}
				last[n], errs[n] = time.Now(), err
				first()
			}
		})
	}
	accepted.Wait()
	status, err := sendBody(ctx, client, http.MethodPatch, replicas[0].url+"/users/"+one.user.String(), admin, `{"disabled":true}`)
	answered := time.Now()
	if err == nil && status != http.StatusOK {
		return 0, fmt.Errorf("a ban: status %d", status) // the others go on asking, until the bench ends
	}
	asking.Wait()
	var longest time.Duration
	for _, at := range last {
		longest = max(longest, at.Sub(answered))
	}
	return longest, errors.Join(append(errs, err)...)
}

// notifications times NOTIFY from one connection to another.
func (s *stage) notifications(ctx context.Context, n int) ([]time.Duration, error) {
	listener, err := pgx.Connect(ctx, s.database.URL())
	if err != nil {
		return nil, err
	}
	defer listener.Close(ctx)
	if _, err := listener.Exec(ctx, "LISTEN bench"); err != nil {
		return nil, err
	}
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if _, err := s.pool.Exec(ctx, "NOTIFY bench"); err != nil {
			return nil, err
		}
		if _, err := listener.WaitForNotification(ctx); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	return took, nil
}
