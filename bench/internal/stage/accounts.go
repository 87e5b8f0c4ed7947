package stage

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/dataset"
	"gatehouse.example/internal/token"
)

// Session is a login that nobody had to hash a password for.
type Session struct {
	User, ID uuid.UUID
	Access   string
	Refresh  string
}

// Sessions makes n users with a session each.
func (s *Stage) Sessions(ctx context.Context, n int) ([]Session, error) {
	all, batch := make([]Session, n), &pgx.Batch{}
	for i := range all {
		user, id := uuid.New(), uuid.Must(uuid.NewV7())
		salt := id[:]
		access, err := s.Access(token.Subject{UserID: user, SessionID: id, Username: user.String()})
		if err != nil {
			return nil, err
		}
		all[i] = Session{user, id, access, s.Refresh.Make(id, 0, salt)}
		batch.Queue(`INSERT INTO users (id, username, username_key, password_hash) VALUES ($1, $2, $2, '$2b$10$' || repeat('h', 53))`, user, user.String())
		batch.Queue(`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
			VALUES ($1, $2, $3, now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench')`, id, user, salt)
	}
	return all, s.Pool.SendBatch(ctx, batch).Close()
}

// Browsers makes n users who are each logged in in a browser, and returns their cookies.
func (s *Stage) Browsers(ctx context.Context, n int) ([]string, error) {
	cookies, batch := make([]string, n), &pgx.Batch{}
	for i := range cookies {
		user, id := uuid.New(), uuid.New()
		cookies[i] = s.Cookies.Make(token.SessionCookie{SessionID: id})
		batch.Queue(`INSERT INTO users (id, username, username_key, password_hash) VALUES ($1, $2, $2, '$2b$10$' || repeat('h', 53))`, user, user.String())
		batch.Queue(`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, browser, idle_seconds, auth_time, amr)
			VALUES ($1, $2, $3, now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench', true, 86400, now(), '{pwd}')`, id, user, id[:])
	}
	return cookies, s.Pool.SendBatch(ctx, batch).Close()
}

// App registers a public client that logs its users in by a code.
func (s *Stage) App(ctx context.Context, id, redirectURI string) error {
	_, err := s.Pool.Exec(ctx, `INSERT INTO clients (client_id, subject, name, grant_types, redirect_uris)
		VALUES ($1, $2, $1, '{authorization_code,refresh_token}', ARRAY[$3]) ON CONFLICT DO NOTHING`,
		id, token.ClientSubject(id), redirectURI)
	return err
}

// Admin makes a session of one who may do everything.
func (s *Stage) Admin(ctx context.Context) (Session, error) {
	made, err := s.Sessions(ctx, 1)
	if err != nil {
		return Session{}, err
	}
	admin := made[0]
	if _, err := s.Pool.Exec(ctx, `INSERT INTO user_roles (user_id, role_name) VALUES ($1, 'admin')`, admin.User); err != nil {
		return Session{}, err
	}
	admin.Access, err = s.Access(token.Subject{
		UserID: admin.User, SessionID: admin.ID, Username: admin.User.String(), Roles: "admin", Scope: "gatehouse:*",
	})
	return admin, err
}

// Access makes the access token of a user who has never been revoked.
func (s *Stage) Access(of token.Subject) (string, error) {
	of.Version = 1
	return s.Issuer.Issue(time.Now(), of, time.Hour)
}

// Tokens are the access tokens of sessions.
func Tokens(of []Session) []string {
	all := make([]string, len(of))
	for n, one := range of {
		all[n] = one.Access
	}
	return all
}

// IDs are the ids of sessions.
func IDs(of []Session) []uuid.UUID {
	all := make([]uuid.UUID, len(of))
	for n, one := range of {
		all[n] = one.ID
	}
	return all
}

// ColdTokens are more than the cache holds, so that the next one is never in it.
func (s *Stage) ColdTokens() ([]string, error) {
	if s.cold == nil {
		s.Progress("signing tokens")
		made := make([]string, 150_000)
		for n := range made {
			var err error
			if made[n], err = s.Access(token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice"}); err != nil {
				return nil, err
			}
		}
		s.cold = made
	}
	return s.cold, nil
}

// People are the names of 1,000 users who can log in, each with the same password.
func (s *Stage) People(ctx context.Context) ([]string, error) {
	if s.named != nil {
		return s.named, nil
	}
	replica, err := s.Replica(ctx, "replica 1")
	if err != nil {
		return nil, err
	}
	if err := api.Register(ctx, replica.URL, dataset.FirstUser); err != nil {
		return nil, err
	}
	s.named, err = s.Copies(ctx, dataset.FirstUser, 1000)
	return s.named, err
}

// Copies makes n users with the password of another, and returns their names, which are their ids.
func (s *Stage) Copies(ctx context.Context, of string, n int) ([]string, error) {
	made, err := s.Pool.Query(ctx, `
		INSERT INTO users (id, username, username_key, password_hash)
		SELECT u.id, u.id, u.id, f.password_hash
		FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $2)) u, (SELECT password_hash FROM users WHERE username_key = $1) f
		RETURNING username`, of, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(made, pgx.RowTo[string])
}
