package rows

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/stage"
	"gatehouse.example/bench/internal/stats"
)

// ban is the time from the answer to an account's being disabled until the last of three replicas
// refuses its token, against that which PostgreSQL takes to tell of a notification.
func ban(ctx context.Context, s *Run, o Options) ([]float64, string, error) {
	var replicas []*stage.Program
	for _, name := range []string{"replica 1", "replica 2", "replica 3"} {
		p, err := s.Replica(ctx, name)
		if err != nil {
			return nil, "", err
		}
		replicas = append(replicas, p)
	}
	notified, err := s.notifications(ctx, o.Trials)
	if err != nil {
		return nil, "", err
	}
	admin, err := s.Admin(ctx)
	if err != nil {
		return nil, "", err
	}
	sessions, err := s.Sessions(ctx, o.Trials)
	if err != nil {
		return nil, "", err
	}
	client := api.NewClient()
	defer client.CloseIdleConnections()
	var took []time.Duration
	for _, one := range sessions {
		d, err := banned(ctx, client, replicas, admin.Access, one)
		if err != nil {
			return nil, "", err
		}
		took = append(took, d)
	}
	s.sample("from a ban to the last refusal", took)
	return []float64{stats.Milliseconds(stats.Percentile(took, 99)), ratio(stats.Percentile(took, 50), stats.Percentile(notified, 50))}, fmt.Sprintf(
		"p50 %s, p99 %s, of %d; a notification: p50 %s, p99 %s",
		stats.Percentile(took, 50), stats.Percentile(took, 99), o.Trials, stats.Percentile(notified, 50), stats.Percentile(notified, 99)), nil
}

// banned disables an account at the first replica, and returns how long after the answer any of
// them still took its token.
func banned(ctx context.Context, client *http.Client, replicas []*stage.Program, admin string, one stage.Session) (time.Duration, error) {
	last, errs := make([]time.Time, len(replicas)), make([]error, len(replicas))
	var asking, accepted sync.WaitGroup
	for n, replica := range replicas {
		accepted.Add(1)
		asking.Go(func() {
			first := sync.OnceFunc(accepted.Done)
			defer first()
			for errs[n] == nil {
				status, err := api.Send(ctx, client, http.MethodGet, replica.URL+"/verify", one.Access)
				if status == http.StatusUnauthorized {
					return
				}
				last[n], errs[n] = time.Now(), err
				first()
			}
		})
	}
	accepted.Wait()
	status, err := api.SendBody(ctx, client, http.MethodPatch, replicas[0].URL+"/users/"+one.User.String(), admin, `{"disabled":true}`)
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
func (s *Run) notifications(ctx context.Context, n int) ([]time.Duration, error) {
	listener, err := pgx.Connect(ctx, s.Database.URL())
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
		if _, err := s.Pool.Exec(ctx, "NOTIFY bench"); err != nil {
			return nil, err
		}
		if _, err := listener.WaitForNotification(ctx); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	return took, nil
}
