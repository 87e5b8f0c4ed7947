package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/db"
	"gatehouse/internal/asynctest"
	"gatehouse/internal/auth"
	"gatehouse/internal/dbtest"
	"gatehouse/internal/httpapi/apitest"
	"gatehouse/internal/password"
	"gatehouse/internal/revocation"
	"gatehouse/internal/token"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	signingKey   = "a signing key of the tests, with 32 bytes or more"
	goodPassword = "correct horse battery staple"
	// cost is bcrypt's least, since no test measures time.
	cost = 4
)

// fixture is a service on a database of its own.
type fixture struct {
	*testing.T
	url     string
	client  *http.Client
	service *auth.Service
	store   *db.DB
	revoked *revocation.Set // not confirmed, so that the database is asked
	hasher  *password.Hasher
	lane    *password.Lane
	issuer  *token.Issuer
	refresh *token.RefreshKeys
	metrics *prometheus.Registry
	log     *logBuffer
}

// settings of a fixture, where a test needs others than the defaults.
type settings struct {
	queue              int
	trustedProxies     []netip.Prefix
	forwardedHeader    string
	rates              auth.RateLimits
	registrationClosed bool
	requestTimeout     time.Duration
	statementTimeout   time.Duration
	databaseURL        string
}

func start(t *testing.T, s settings) *fixture {
	t.Helper()
	f := &fixture{T: t, client: apitest.Client(t), metrics: prometheus.NewRegistry(), log: &logBuffer{}}
	store, err := db.Open(context.Background(), db.Options{
		URL:              cmp.Or(s.databaseURL, lazily(s.databaseURL == "", func() string { return dbtest.New(t) })),
		StatementTimeout: cmp.Or(s.statementTimeout, time.Minute),
	})
	must(t, err)
	t.Cleanup(store.Close)
	ring, err := password.NewKeyRing(nil)
	must(t, err)
	must(t, auth.ClaimPasswordKeys(t.Context(), store, ring))
	f.lane = password.NewLane(password.LaneOptions{Threads: 2, Queue: cmp.Or(s.queue, 1000)})
	t.Cleanup(f.lane.Close)
	f.hasher, err = password.NewHasher(f.lane, ring, cost)
	must(t, err)
	signing, err := token.SecretRing([][]byte{[]byte(signingKey)})
	must(t, err)
	f.issuer, err = token.NewIssuer(token.Settings{
		Ring: signing, Issuer: "https://id.test", Audience: "test", Lifetime: 30 * time.Minute,
	})
	must(t, err)
	f.store = store
	f.refresh, err = token.NewRefreshKeys([][]byte{[]byte(signingKey)})
	must(t, err)
	services, err := token.NewServiceKeys([][]byte{[]byte(signingKey)}, "https://id.test")
	must(t, err)
	f.revoked = revocation.NewSet(time.Now(), 30*time.Minute)
	limiter, err := auth.NewLimiter(s.rates, store, [][]byte{[]byte(signingKey)}, time.Now)
	must(t, err)
	f.service = auth.NewService(auth.Parts{
		TokenCache:  1000,
		Revocations: auth.NewChecker(f.revoked, store, time.Now, time.Second), Services: services,
		Store: store, Hasher: f.hasher, Tokens: f.issuer, Refresh: f.refresh, Limiter: limiter, Clock: time.Now, SecretLifetime: time.Hour,
		Limits: auth.SessionLimits{Idle: 14 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, Grace: time.Minute, PerUser: 100},
	})
	cursors, err := token.NewCursorKeys([][]byte{[]byte(signingKey)})
	must(t, err)
	handler, err := New(Options{
		Service: f.service, Cursors: cursors, Clock: time.Now, Log: slog.New(slog.NewJSONHandler(f.log, nil)), Metrics: f.metrics,
		TrustedProxies: s.trustedProxies, ForwardedHeader: cmp.Or(s.forwardedHeader, ForwardedFor), RegistrationOpen: !s.registrationClosed,
		RequestTimeout: cmp.Or(s.requestTimeout, time.Minute),
	})
	must(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func lazily(needed bool, value func() string) string {
	if needed {
		return value()
	}
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answered is a response, read whole.
type answered struct {
	status int
	header http.Header
	body   string
}

// json is a member of the body, by its path.
func (a answered) json(t testing.TB, path ...string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("not JSON: %v: %s", err, a.body)
	}
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

func (f *fixture) do(r *http.Request) answered {
	f.Helper()
	response, err := f.client.Do(r)
	must(f, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(f, err)
	return answered{response.StatusCode, response.Header, string(body)}
}

// request makes one; header is name, value, name, value, …
func (f *fixture) request(method, path, body string, header ...string) *http.Request {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.url+path, strings.NewReader(body))
	must(f, err)
	for n := 0; n < len(header); n += 2 {
		r.Header.Add(header[n], header[n+1])
	}
	return r
}

func (f *fixture) register(username, pw string) answered {
	f.Helper()
	body, err := json.Marshal(map[string]string{"username": username, "password": pw})
	must(f, err)
	return f.do(f.request("POST", "/users", string(body), "Content-Type", "application/json"))
}

func (f *fixture) postToken(form string) answered {
	f.Helper()
	return f.do(f.request("POST", "/token", form, "Content-Type", "application/x-www-form-urlencoded"))
}

func (f *fixture) login(username, pw string) answered {
	f.Helper()
	return f.postToken(url.Values{"username": {username}, "password": {pw}}.Encode())
}

// loggedIn registers a user and returns a token of hers.
func (f *fixture) loggedIn(username string) string {
	f.Helper()
	if a := f.register(username, goodPassword); a.status != http.StatusCreated {
		f.Fatalf("register %s: %d %s", username, a.status, a.body)
	}
	raw, _ := f.login(username, goodPassword).json(f, "access_token").(string)
	return raw
}

func (f *fixture) me(header ...string) answered {
	f.Helper()
	return f.do(f.request("GET", "/users/me", "", header...))
}

// logBuffer keeps what was logged.
type logBuffer struct{ asynctest.Buffer }
