package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/internal/token"
)

const (
	usersPerTrial = 5000 // 1,000,000 at the default number of trials
	pageSamples   = 100  // of each page
)

// userPages is GET /users at a million users: for each question the first page and the last, of 50 and of 200 users. The
// ratio is that of the slowest median to the one of the plain first page.
func userPages(ctx context.Context, s *stage, o options) (float64, string, error) {
	users := o.trials * usersPerTrial
	pool, databaseURL, err := s.separateDatabase(ctx, "pages")
	if err != nil {
		return 0, "", err
	}
	defer pool.Close()
	if err := manyUsers(ctx, pool, users); err != nil {
		return 0, "", err
	}
	service, err := s.service(ctx, "pages", s.binary(), databaseURL)
	if err != nil {
		return 0, "", err
	}
	asker, err := s.newPageAsker(ctx, pool, service.url)
	if err != nil {
		return 0, "", err
	}
	defer asker.client.CloseIdleConnections()
	var pages []*page
	for _, question := range []string{
		"", "q=user-05", "q=user-0123456", "disabled=false", "disabled=true", "role=tenth", "role=last", "role=tenth&disabled=true",
		"role=last&disabled=true", "role=nobody", "q=user-09&role=tenth", "q=user-00&disabled=true",
	} {
		for _, limit := range []int{50, 200} {
			both, err := asker.pages(ctx, pool, question, limit)
			if err != nil {
				return 0, "", fmt.Errorf("%s: %w", question, err)
			}
			pages = append(pages, both...)
		}
	}
	samples := min(pageSamples, o.trials)
	for range samples { // in turns, so that all have the same noise
		for _, p := range pages {
			if err := asker.ask(ctx, p); err != nil {
				return 0, "", fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return pagesTable(pages, users, samples)
}

func pagesTable(pages []*page, users, samples int) (float64, string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "slowest page/plain first page, by median; %d users, %d samples of each page", users, samples)
	fmt.Fprintf(&text, "\n  %-42s %6s %10s %10s", "page", "users", "p50", "p99")
	slowest := time.Duration(0)
	for _, p := range pages {
		slowest = max(slowest, percentile(p.took, 50))
		fmt.Fprintf(&text, "\n  %-42s %6d %10s %10s", p.name, p.users, percentile(p.took, 50), percentile(p.took, 99))
	}
	return slowest.Seconds() / percentile(pages[0].took, 50).Seconds(), text.String(), nil
}

// separateDatabase is one with the schema, and nothing of other rows.
func (s *stage) separateDatabase(ctx context.Context, name string) (*pgxpool.Pool, string, error) {
	address, err := newDatabase(ctx, s.database.URL(), name)
	if err != nil {
		return nil, "", err
	}
	pool, err := pgxpool.New(ctx, address)
	return pool, address, err
}

// manyUsers makes accounts whose names are in the order of their numbers. Twenty are disabled and ten have the role "last",
// at the end of the names, where a walk along them comes late; a tenth have the role "tenth", which are the last too.
func manyUsers(ctx context.Context, pool *pgxpool.Pool, users int) error {
	for _, statement := range []string{
		"INSERT INTO roles (name) VALUES ('tenth'), ('last'), ('nobody')",
		"INSERT INTO role_permissions (role_name, permission) SELECT name, 'files:read' FROM roles WHERE name <> 'admin'",
		`INSERT INTO users (id, username, username_key, password_hash, disabled_at)
			SELECT gen_random_uuid(), name, name, '$2b$04$' || repeat('h', 53), CASE WHEN n > $1::int - 20 THEN now() END
			FROM (SELECT n, 'user-' || lpad(n::text, 7, '0') AS name FROM generate_series(1, $1::int) n) named`,
		`INSERT INTO user_roles (user_id, role_name)
			SELECT u.id, r.name
			FROM (SELECT id, row_number() OVER (ORDER BY username_key COLLATE "C" DESC) AS last FROM users) u
			JOIN roles r ON r.name = 'tenth' AND u.last <= $1::int / 10 OR r.name = 'last' AND u.last <= 10`,
		`WITH u AS (
			INSERT INTO users (id, username, username_key, password_hash)
			VALUES (gen_random_uuid(), 'admin', 'admin', '$2b$04$' || repeat('h', 53))
			RETURNING id
		)
		INSERT INTO user_roles (user_id, role_name) SELECT id, 'admin' FROM u`,
		"VACUUM ANALYZE",
	} {
		args := []any{users}
		if !strings.Contains(statement, "$1") {
			args = nil
		}
		if _, err := pool.Exec(ctx, statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// page is one of those that are measured.
type page struct {
	name, url string
	users     int
	took      []time.Duration
}

// pageAsker is an admin.
type pageAsker struct {
	client  *http.Client
	base    string
	access  string
	id      uuid.UUID
	cursors *token.CursorKeys
}

func (s *stage) newPageAsker(ctx context.Context, pool *pgxpool.Pool, base string) (*pageAsker, error) {
	a := &pageAsker{client: newClient(), base: base}
	cursors, err := token.NewCursorKeys([][]byte{[]byte(secretKey)})
	if err != nil {
		return nil, err
	}
	a.cursors = cursors
	session := uuid.New()
	err = pool.QueryRow(ctx, `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT $1, id, decode(repeat('00', 16), 'hex'), now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench'
		FROM users WHERE username = 'admin'
		RETURNING user_id`, session).Scan(&a.id)
	if err != nil {
		return nil, err
	}
	a.access, err = s.issuer.Issue(time.Now(), token.Subject{UserID: a.id, SessionID: session, Username: "admin", Version: 1, Roles: "admin", Scope: "gatehouse:*"}, time.Hour)
	return a, err
}

// pages are the first and the last of a question's answer. To the last one goes a cursor such as the service would have
// given on the page before, made here so that nobody has to turn all pages.
func (a *pageAsker) pages(ctx context.Context, pool *pgxpool.Pool, question string, limit int) ([]*page, error) {
	asked, err := url.ParseQuery(question)
	if err != nil {
		return nil, err
	}
	var before string
	err = pool.QueryRow(ctx, `
		SELECT coalesce((
			SELECT username_key FROM users u
			WHERE starts_with(username_key, $1)
			  AND ($2 = '' OR (disabled_at IS NOT NULL)::text = $2)
			  AND ($3 = '' OR EXISTS (SELECT FROM user_roles ur WHERE ur.user_id = u.id AND ur.role_name = $3))
			ORDER BY username_key COLLATE "C" DESC
			OFFSET $4 LIMIT 1
		), '')`, asked.Get("q"), asked.Get("disabled"), asked.Get("role"), limit).Scan(&before)
	if err != nil {
		return nil, err
	}
	name := "plain"
	if question != "" {
		name = question
	}
	asked.Set("limit", strconv.Itoa(limit))
	first := &page{name: fmt.Sprintf("%s, first %d", name, limit), url: a.base + "/users?" + asked.Encode()}
	sealed := strings.Join([]string{"users", a.id.String(), asked.Get("q"), asked.Get("disabled"), asked.Get("role")}, "\x00")
	asked.Set("cursor", a.cursors.Make(time.Now(), sealed, before))
	last := &page{name: fmt.Sprintf("%s, last %d", name, limit), url: a.base + "/users?" + asked.Encode()}
	return []*page{first, last}, nil
}

func (a *pageAsker) ask(ctx context.Context, p *page) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.access)
	began := time.Now()
	status, body, err := answer(a.client, request)
	p.took = append(p.took, time.Since(began))
	if err != nil {
		return err
	}
	var page struct {
		Users []struct{} `json:"users"`
		Next  *string    `json:"next"`
	}
	if err := json.Unmarshal(body, &page); err != nil || status != http.StatusOK {
		return errors.Join(err, fmt.Errorf("%d %s", status, body))
	}
	if strings.Contains(p.url, "cursor=") && page.Next != nil {
		return errors.New("the last page is not the last")
	}
	p.users = len(page.Users)
	return nil
}
