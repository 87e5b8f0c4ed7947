package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/internal/token"
)

func rows() []row {
	return []row{
		{name: "verify", goal: 0.75, measure: verifyWarm},
		{name: "verify-cold", goal: 0.5, measure: verifyCold},
		{name: "refresh", goal: 0.6, measure: refresh},
		{name: "ban", measure: ban, once: true},
		{name: "login-limits", measure: loginLimits},
		{name: "timing", goal: 1, measure: timing, once: true},
		{name: "users-pages", measure: userPages, once: true},
	}
}

// verifyWarm is GET /verify with a token that the replica has seen, against a handler that answers 204.
func verifyWarm(ctx context.Context, s *stage, o options) (float64, string, error) {
	sessions, err := s.sessions(ctx, 1)
	if err != nil {
		return 0, "", err
	}
	return againstBare(ctx, s, o, []string{sessions[0].access})
}

// verifyCold is GET /verify with more tokens than the cache holds, so that it never has the one that comes.
func verifyCold(ctx context.Context, s *stage, o options) (float64, string, error) {
	tokens := make([]string, 150_000)
	for n := range tokens {
		var err error
		subject := token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1}
		if tokens[n], err = s.issuer.Issue(time.Now(), subject, time.Hour); err != nil {
			return 0, "", err
		}
	}
	return againstBare(ctx, s, o, tokens)
}

func againstBare(ctx context.Context, s *stage, o options, tokens []string) (float64, string, error) {
	bare, err := s.bare(ctx)
	if err != nil {
		return 0, "", err
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return 0, "", err
	}
	nothing, err := wrk(ctx, s, bare.url+"/verify", tokens, o.measure)
	if err != nil {
		return 0, "", err
	}
	verified, err := wrk(ctx, s, replica.url+"/verify", tokens, o.measure)
	return verified.rps / nothing.rps, fmt.Sprintf("/verify %s; bare %s", verified, nothing), err
}

// refresh is POST /token with refresh tokens, against a transaction of the same two statements.
func refresh(ctx context.Context, s *stage, o options) (float64, string, error) {
	const clients = 8
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return 0, "", err
	}
	sessions, err := s.sessions(ctx, clients)
	if err != nil {
		return 0, "", err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	refreshed, err := loop(ctx, clients, o.measure, func(ctx context.Context, n int) (err error) {
		sessions[n].refresh, err = exchange(ctx, client, replica.url, sessions[n].refresh)
		return err
	})
	if err != nil {
		return 0, "", err
	}
	bare, err := loop(ctx, clients, o.measure, func(ctx context.Context, n int) error { return s.bareRefresh(ctx, sessions[n].id) })
	return refreshed / bare, fmt.Sprintf("%.0f refreshes/s; bare transactions %.0f/s", refreshed, bare), err
}

func exchange(ctx context.Context, client *http.Client, base, refreshToken string) (string, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/token", strings.NewReader(form))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var body struct {
		RefreshToken string `json:"refresh_token"`
		Error        string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.RefreshToken == "" {
		return "", errors.Join(err, fmt.Errorf("refresh: %d %s", response.StatusCode, body.Error))
	}
	return body.RefreshToken, nil
}

// bareRefresh reads what decides about a session, and moves it on.
func (s *stage) bareRefresh(ctx context.Context, id uuid.UUID) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var counter int64
		var salt []byte
		err := tx.QueryRow(ctx, `SELECT s.counter, s.salt FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1`, id).Scan(&counter, &salt)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE sessions SET counter = counter + 1, rotated_at = now(), last_used_at = now() WHERE id = $1 AND counter = $2`, id, counter)
		return err
	})
}

// ban is the time from the answer to a logout until the last of three replicas refuses the token, against that which
// PostgreSQL takes to tell of a notification.
func ban(ctx context.Context, s *stage, o options) (float64, string, error) {
	var replicas []*program
	for _, name := range []string{"replica 1", "replica 2", "replica 3"} {
		p, err := s.replica(ctx, name)
		if err != nil {
			return 0, "", err
		}
		replicas = append(replicas, p)
	}
	notified, err := s.notifications(ctx, o.trials)
	if err != nil {
		return 0, "", err
	}
	sessions, err := s.sessions(ctx, o.trials)
	if err != nil {
		return 0, "", err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	var took []time.Duration
	for _, one := range sessions {
		d, err := banned(ctx, client, replicas, one.access)
		if err != nil {
			return 0, "", err
		}
		took = append(took, d)
	}
	return percentile(took, 50).Seconds() / percentile(notified, 50).Seconds(), fmt.Sprintf(
		"logout's answer → refused by all three replicas: p50 %s, p99 %s, of %d; a notification: p50 %s, p99 %s",
		percentile(took, 50), percentile(took, 99), o.trials, percentile(notified, 50), percentile(notified, 99)), nil
}

// banned ends a session at the first replica, and returns how long after the answer any of them still took its token.
func banned(ctx context.Context, client *http.Client, replicas []*program, access string) (time.Duration, error) {
	last, errs := make([]time.Time, len(replicas)), make([]error, len(replicas))
	var asking, accepted sync.WaitGroup
	for n, replica := range replicas {
		accepted.Add(1)
		asking.Go(func() {
			first := sync.OnceFunc(accepted.Done)
			defer first()
			for errs[n] == nil {
				status, err := send(ctx, client, http.MethodGet, replica.url+"/verify", access)
				if status == http.StatusUnauthorized {
					return
				}
				last[n], errs[n] = time.Now(), err
				first()
			}
		})
	}
	accepted.Wait()
	_, err := send(ctx, client, http.MethodPost, replicas[0].url+"/logout", access)
	answered := time.Now()
	asking.Wait()
	var longest time.Duration
	for _, at := range last {
		longest = max(longest, at.Sub(answered))
	}
	return longest, errors.Join(append(errs, err)...)
}

func send(ctx context.Context, client *http.Client, method, url, access string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+access)
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
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

func percentile(all []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(10 * time.Microsecond)
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}
