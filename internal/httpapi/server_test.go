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

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/cursor"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi/apitest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	signingKey   = "a signing key of the tests, with 32 bytes or more"
	goodPassword = "correct horse battery staple"
	// cost is the lowest of bcrypt, since no test measures time.
	cost = 4
)

// fixture is a service on a database of its own.
type fixture struct {
	*testing.T
	url     string
	client  *http.Client
	api     *API
	rules   *authtest.Rules
	store   *db.DB
	revoked *revocation.Set // it is not confirmed, so the database is asked
	hasher  *password.Hasher
	lane    *password.Lane
	issuer  *token.Issuer
	refresh *token.RefreshKeys
	metrics *prometheus.Registry
	log     *logBuffer
}

// settings are those of a fixture that a test needs other than the defaults.
type settings struct {
	queue              int
	trustedProxies     []netip.Prefix
	forwardedHeader    string
	rates              auth.RateLimits
	registrationClosed bool
	passwordGrantOff   bool
	mailOff            bool
	email              auth.EmailMode // "": off
	corsOrigins        []string
	requestTimeout     time.Duration
	statementTimeout   time.Duration
	databaseURL        string
	issuer             string
	frozen             bool // time stands still for the bounds of the audit log
}

func start(t *testing.T, s settings) *fixture {
	t.Helper()
	f := &fixture{T: t, client: apitest.Client(t), metrics: prometheus.NewRegistry(),
		log: &logBuffer{}}
	store, err := db.Open(context.Background(), db.Options{
		URL: cmp.Or(s.databaseURL,
			lazily(s.databaseURL == "", func() string { return dbtest.New(t) })),
		StatementTimeout: cmp.Or(s.statementTimeout, time.Minute),
	})
	must(t, err)
	t.Cleanup(store.Close)
	ring, err := password.NewKeyRing(nil)
	must(t, err)
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
	f.revoked = revocation.NewSet(time.Now(), 30*time.Minute)
	bounds := time.Now
	if now := time.Now(); s.frozen {
		bounds = func() time.Time { return now }
	}
	f.rules = authtest.New(t, store, authtest.Options{
		Secrets: [][]byte{[]byte(signingKey)}, Issuer: f.issuer, Hasher: f.hasher, Peppers: ring,
		Revoked: f.revoked, Rates: s.rates, Bounds: bounds,
		Email:    s.email,
		Reserved: auth.NewReservedNames([]string{"admin", "Support", "root"}),
		Limits: auth.SessionLimits{Idle: 14 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour,
			Grace: time.Minute, PerUser: 100},
	})
	must(t, f.rules.Peppers.Claim(t.Context()))
	f.refresh = f.rules.RefreshKeys
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.NewJSONHandler(f.log, nil)), Metrics: f.metrics,
		TrustedProxies:  s.trustedProxies,
		ForwardedHeader: cmp.Or(s.forwardedHeader, edge.ForwardedFor),
		Issuer:          s.issuer, RequestTimeout: cmp.Or(s.requestTimeout, time.Minute),
		CORSOrigins: s.corsOrigins,
	})
	must(t, err)
	f.api, err = New(Options{
		Edge: outermost, Rules: rulesOf(f.rules), Cursors: cursor.New(keychainOf(t, signingKey)),
		Clock: time.Now, Metrics: f.metrics, RegistrationOpen: !s.registrationClosed,
		PasswordGrant: !s.passwordGrantOff, MailOn: !s.mailOff, Email: s.email,
		LoginFor:    func(*gin.Context, token.StepUp) string { return "" },
		LanguageFor: func(c *gin.Context) string { return c.GetHeader("Accept-Language") },
	})
	must(t, err)
	server := httptest.NewServer(outermost.Serve(f.api.Fallbacks(), f.api.Routes()...))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func keychainOf(t testing.TB, secret string) *keychain.Keychain {
	t.Helper()
	keys, err := keychain.New([][]byte{[]byte(secret)})
	must(t, err)
	return keys
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

// answered is a whole response.
type answered struct {
	status int
	header http.Header
	body   string
}

// json returns a member of the body, by its path.
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

// request makes a request. header is name, value, name, value, …
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
	return f.do(
		f.request("POST", "/token", form, "Content-Type", "application/x-www-form-urlencoded"))
}

func (f *fixture) login(username, pw string) answered {
	f.Helper()
	return f.postToken(url.Values{"username": {username}, "password": {pw}}.Encode())
}

// loggedIn registers a user, and returns an access token of theirs.
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

// rulesOf returns the rules that the routes call.
func rulesOf(r *authtest.Rules) Rules {
	return Rules{
		Registration: r.Registration, Accounts: r.Accounts, Logins: r.Logins, Tokens: r.Tokens,
		Sessions: r.Sessions, Consents: r.Consents, Access: r.Access,
		Limits: r.Limits, Roles: r.Roles, Clients: r.Clients, Signer: r.Signer, IDTokens: r.IDTokens,
		Feed: r.Feed, Audit: r.Audit, Personal: r.Personal, Browsers: r.Browsers,
		Recovery: r.Recovery, Invitations: r.Invitations, Addresses: r.Addresses,
	}
}

func prefixes(networks ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(networks))
	for n, network := range networks {
		all[n] = netip.MustParsePrefix(network)
	}
	return all
}
