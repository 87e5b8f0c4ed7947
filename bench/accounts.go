package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/internal/token"
)

const (
	bcryptCost = 12 // the service's default
	password   = "correct horse battery staple"
)

// session is a login that nobody had to hash a password for.
type session struct {
	user, id uuid.UUID
	access   string
	refresh  string
}

// sessions makes n users with a session each.
func (s *stage) sessions(ctx context.Context, n int) ([]session, error) {
	all, batch := make([]session, n), &pgx.Batch{}
	for i := range all {
		user, id := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		salt := id[:]
		access, err := s.access(token.Subject{UserID: user, SessionID: id, Username: user.String()})
		if err != nil {
			return nil, err
		}
		all[i] = session{user, id, access, s.refresh.Make(id, 0, salt)}
		batch.Queue(`INSERT INTO users (id, username, username_key, password_hash) VALUES ($1, $2, $2, '$2b$10$' || repeat('h', 53))`, user, user.String())
		batch.Queue(`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
			VALUES ($1, $2, $3, now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench')`, id, user, salt)
	}
	return all, s.pool.SendBatch(ctx, batch).Close()
}

// admin makes a session of one who may do everything.
func (s *stage) admin(ctx context.Context) (session, error) {
	made, err := s.sessions(ctx, 1)
	if err != nil {
		return session{}, err
	}
	admin := made[0]
	if _, err := s.pool.Exec(ctx, `INSERT INTO user_roles (user_id, role_name) VALUES ($1, 'admin')`, admin.user); err != nil {
		return session{}, err
	}
	admin.access, err = s.access(token.Subject{
		UserID: admin.user, SessionID: admin.id, Username: admin.user.String(), Roles: "admin", Scope: "gatehouse:*",
	})
	return admin, err
}

// access makes the access token of a user who has never been revoked.
func (s *stage) access(of token.Subject) (string, error) {
	of.Version = 1
	return s.issuer.Issue(time.Now(), of, time.Hour)
}

func tokens(of []session) []string {
	all := make([]string, len(of))
	for n, one := range of {
		all[n] = one.access
	}
	return all
}

func ids(of []session) []uuid.UUID {
	all := make([]uuid.UUID, len(of))
	for n, one := range of {
		all[n] = one.id
	}
	return all
}

// coldTokens are more than the cache holds, so that it never has the one that comes.
func (s *stage) coldTokens() ([]string, error) {
	if s.cold == nil {
		s.progress("signing tokens")
		made := make([]string, 150_000)
		for n := range made {
			var err error
			if made[n], err = s.access(token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice"}); err != nil {
				return nil, err
			}
		}
		s.cold = made
	}
	return s.cold, nil
}

// people are the names of 1,000 users who can log in, each with the same password.
func (s *stage) people(ctx context.Context) ([]string, error) {
	if s.named != nil {
		return s.named, nil
	}
	replica, err := s.replica(ctx, "replica 1")
	if err != nil {
		return nil, err
	}
	if err := register(ctx, replica.url, firstUser); err != nil {
		return nil, err
	}
	found, err := s.pool.Query(ctx, `
		INSERT INTO users (id, username, username_key, password_hash)
		SELECT gen_random_uuid(), 'person' || n, 'person' || n, f.password_hash
		FROM generate_series(1, 1000) n, (SELECT password_hash FROM users WHERE username_key = $1) f
		RETURNING username`, firstUser)
	if err != nil {
		return nil, err
	}
	s.named, err = pgx.CollectRows(found, pgx.RowTo[string])
	return s.named, err
}

func register(ctx context.Context, base, username string) error {
	body, err := json.Marshal(map[string]string{"username": username, "password": password})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/users", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("register: %s", response.Status)
	}
	return nil
}

// exchange gets the next refresh token.
func exchange(ctx context.Context, client *http.Client, base, refreshToken string) (string, error) {
	body, err := grant(ctx, client, base, refreshForm(refreshToken))
	return body.RefreshToken, err
}

func refreshForm(refreshToken string) string {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}.Encode()
}

func loginForm(username, password string) string {
	return url.Values{"grant_type": {"password"}, "username": {username}, "password": {password}}.Encode()
}

type granted struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
}

// grant asks POST /token, here and at peers.
func grant(ctx context.Context, client *http.Client, base, form string) (body granted, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/token", strings.NewReader(form))
	if err != nil {
		return body, err
	}
	request.Header.Set("Content-Type", formType)
	response, err := client.Do(request)
	if err != nil {
		return body, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.AccessToken == "" {
		return body, errors.Join(err, fmt.Errorf("/token: %d %s", response.StatusCode, body.Error))
	}
	return body, nil
}

const formType = "application/x-www-form-urlencoded"

// send sends a request without a body and returns the status.
func send(ctx context.Context, client *http.Client, method, url, access string) (int, error) {
	return sendBody(ctx, client, method, url, access, "")
}

func sendBody(ctx context.Context, client *http.Client, method, url, access, body string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+access)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}
