package rows

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

	"gatehouse.example/bench/internal/api"
	"gatehouse.example/bench/internal/dataset"
	"gatehouse.example/bench/internal/stats"
	"gatehouse.example/internal/cursor"
	"gatehouse.example/internal/token"
)

const (
	usersPerTrial = 5000 // 1,000,000 at the default number of trials
	pageSamples   = 100  // of each page
)

// userPages is GET /users at a million users: for each question the first page and the last, of 50
// and of 200 users. The ratio is that of the slowest median to the one of the plain first page.
func userPages(ctx context.Context, s *Run, o Options) (float64, string, error) {
	users := o.Trials * usersPerTrial
	pool, databaseURL, err := s.SeparateDatabase(ctx, "pages")
	if err != nil {
		return 0, "", err
	}
	defer pool.Close()
	if err := dataset.FillPages(ctx, pool, users); err != nil {
		return 0, "", err
	}
	service, err := s.Service(ctx, "pages", s.Binary(), databaseURL)
	if err != nil {
		return 0, "", err
	}
	asker, err := s.newPageAsker(ctx, pool, service.URL)
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
	samples := min(pageSamples, o.Trials)
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
		slowest = max(slowest, stats.Percentile(p.took, 50))
		fmt.Fprintf(&text, "\n  %-42s %6d %10s %10s", p.name, p.users, stats.Percentile(p.took, 50), stats.Percentile(p.took, 99))
	}
	return slowest.Seconds() / stats.Percentile(pages[0].took, 50).Seconds(), text.String(), nil
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
	cursors cursor.Cursors
}

func (s *Run) newPageAsker(ctx context.Context, pool *pgxpool.Pool, base string) (*pageAsker, error) {
	a := &pageAsker{client: api.NewClient(), base: base, cursors: cursor.New(s.Keys)}
	session := uuid.New()
	err := pool.QueryRow(ctx, `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT $1, id, decode(repeat('00', 16), 'hex'), now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench'
		FROM users WHERE username = 'admin'
		RETURNING user_id`, session).Scan(&a.id)
	if err != nil {
		return nil, err
	}
	a.access, err = s.Issuer.Issue(time.Now(), token.Subject{UserID: a.id, SessionID: session, Username: "admin", Version: 1, Roles: "admin", Scope: "gatehouse:*"}, time.Hour)
	return a, err
}

// pages are the first and the last of a question's answer. To the last one goes a cursor such as
// the service would have given on the page before, made here so that nobody has to turn all pages.
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
	status, body, err := api.Answer(a.client, request)
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
