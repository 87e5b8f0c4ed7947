package web_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
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
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi/apitest"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/web"
	"gatehouse.example/internal/web/pages"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	goodPassword    = "correct horse battery staple"
	anotherPassword = "another good password"
)

// fixture is the pages on a database of their own.
type fixture struct {
	mode auth.EmailMode
	*testing.T
	url     string
	issuer  string
	client  *http.Client
	rules   *authtest.Rules
	routes  []edge.Route
	store   *db.DB
	lane    *password.Lane
	metrics *prometheus.Registry
	log     *asynctest.Buffer
}

// settings are those of a fixture that a test needs other than the defaults.
type settings struct {
	issuer             string // "": http://localhost:8000
	queue              int
	rates              auth.RateLimits
	registrationClosed bool
	mailOff            bool
	email              auth.EmailMode // "": off
	invitedOnly        bool
	returnOrigins      []string
	cookieDomain       string
	destinations       web.Destinations
	options            authtest.Options
	passkeysHere       bool // they are for the name localhost, at the fixture's own port
	databaseURL        string
	tls                bool
}

func start(t *testing.T, s settings) *fixture {
	t.Helper()
	f := &fixture{
		T: t, issuer: cmp.Or(s.issuer, "http://localhost:8000"), metrics: prometheus.NewRegistry(),
		log: &asynctest.Buffer{},
	}
	if s.databaseURL == "" {
		s.databaseURL = dbtest.New(t)
	}
	var err error
	f.store, err = db.Open(context.Background(), db.Options{
		URL: s.databaseURL, StatementTimeout: time.Minute,
	})
	must(t, err)
	t.Cleanup(f.store.Close)
	peppers, err := password.NewKeyRing(nil)
	must(t, err)
	f.lane = password.NewLane(password.LaneOptions{Threads: 2, Queue: cmp.Or(s.queue, 1000)})
	t.Cleanup(f.lane.Close)
	hasher, err := password.NewHasher(f.lane, peppers, 4) // the lowest: no test measures time
	must(t, err)
	s.options.Peppers, s.options.Hasher, s.options.Rates = peppers, hasher, s.rates
	s.options.Reserved = auth.NewReservedNames([]string{"admin"})
	s.options.Email, f.mode = s.email, s.email
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	if s.passkeysHere {
		s.options.PasskeysAt = strings.Replace("http://"+listener.Addr().String(), "127.0.0.1", "localhost", 1)
	}
	f.rules = authtest.New(t, f.store, s.options)
	must(t, f.rules.Peppers.Claim(t.Context()))
	must(t, f.rules.Factors.ClaimRP(t.Context()))
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: f.handler(s)}}
	if s.tls {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	f.url = server.URL
	base, err := url.Parse(f.issuer)
	must(t, err)
	f.client = apitest.ClientBelow(t, strings.TrimSuffix(base.EscapedPath(), "/"))
	return f
}

func (f *fixture) handler(s settings) http.Handler {
	f.Helper()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.NewJSONHandler(f.log, nil)), Metrics: f.metrics,
		ForwardedHeader: edge.ForwardedFor, Issuer: f.issuer, RequestTimeout: time.Minute,
		CookieDomain: s.cookieDomain,
	})
	must(f, err)
	rendered, err := pages.New(pages.Options{AppName: "Example Bakery", Base: outermost.Base()})
	must(f, err)
	if s.destinations == nil {
		s.destinations = f.rules.Authorizations
	}
	people, err := web.New(web.Options{
		Edge: outermost, Rules: rulesOf(f.rules), Pages: rendered, Destinations: s.destinations,
		ReturnOrigins: s.returnOrigins, RegistrationOpen: !s.registrationClosed,
		InvitedOnly: s.invitedOnly, MailOn: !s.mailOff, Email: s.email, MinPasswordLength: 8, Clock: time.Now,
		TrustedFor: 30 * 24 * time.Hour,
	})
	must(f, err)
	f.routes = people.Routes()
	return outermost.Serve(people.Fallbacks(forPrograms(outermost)), f.routes...)
}

// rulesOf returns the rules that the pages call.
func rulesOf(r *authtest.Rules) web.Rules {
	return web.Rules{
		Registration: r.Registration, Logins: r.Logins, Browsers: r.Browsers,
		Sessions: r.Sessions, Consents: r.Consents, Access: r.Access, Personal: r.Personal,
		Authorizations: r.Authorizations, Logouts: r.Logouts,
		Recovery: r.Recovery, Invitations: r.Invitations, Addresses: r.Addresses,
		Factors: r.Factors,
	}
}

// forPrograms answers programs as the API does.
func forPrograms(e *edge.Edge) edge.Fallbacks {
	refuse := func(err error) gin.HandlerFunc {
		form := func(c *gin.Context, a edge.Answer, _ error) {
			c.Data(a.Status, "application/problem+json; charset=utf-8", []byte("{}"))
		}
		return e.Answer(form, func(*gin.Context) error { return err })
	}
	return edge.Fallbacks{
		NotFound: refuse(edge.ErrNotFound), MethodNotAllowed: refuse(edge.ErrMethodNotAllowed),
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answered is a whole response.
type answered struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    string
}

func (a answered) location() string { return a.header.Get("Location") }

// browser keeps cookies as a browser does, and says where its requests come from.
type browser struct {
	f       *fixture
	cookies map[string]string
	site    string // Sec-Fetch-Site
	header  http.Header
}

func (f *fixture) browser() *browser {
	return &browser{f, map[string]string{}, "same-origin", http.Header{}}
}

// copied is a browser with the same cookies, as that of a thief.
func (b *browser) copied() *browser {
	return &browser{b.f, maps.Clone(b.cookies), b.site, b.header.Clone()}
}

func (b *browser) do(method, path, body string) answered {
	b.f.Helper()
	r := b.f.request(method, path, body)
	if b.header != nil {
		r.Header = b.header.Clone()
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.site != "" {
		r.Header.Set("Sec-Fetch-Site", b.site)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	a := b.f.do(r)
	b.keep(a.cookies)
	return a
}

func (f *fixture) do(r *http.Request) answered {
	f.Helper()
	response, err := f.client.Do(r)
	must(f, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	must(f, err)
	return answered{response.StatusCode, response.Header, response.Cookies(), string(read)}
}

func (f *fixture) request(method, path, body string) *http.Request {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.url+path, strings.NewReader(body))
	must(f, err)
	return r
}

func (b *browser) keep(set []*http.Cookie) {
	for _, c := range set {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
}

func (b *browser) get(path string) answered {
	b.f.Helper()
	return b.do("GET", path, "")
}

// post sends a form: name, value, name, value, …
func (b *browser) post(path string, form ...string) answered {
	b.f.Helper()
	values := url.Values{}
	for n := 0; n < len(form); n += 2 {
		values.Add(form[n], form[n+1])
	}
	return b.do("POST", path, values.Encode())
}

func (b *browser) login(username, pw string, more ...string) answered {
	b.f.Helper()
	return b.post("/login", append([]string{"username", username, "password", pw}, more...)...)
}

// session is the value of the session cookie.
func (b *browser) session() string { return b.cookies["gatehouse"] }

// loggedIn registers a user, and logs a new browser in.
func (f *fixture) loggedIn(username string) *browser {
	f.Helper()
	f.register(username)
	return f.loggedInAs(username)
}

func (f *fixture) register(username string) {
	f.Helper()
	var err error
	if f.mode == auth.EmailRequired { // strangers need an address
		_, _, err = f.rules.Accounts.Register(f.Context(), authtest.Operator(), auth.NewAccount{
			Username: username, Password: goodPassword,
		})
	} else {
		_, _, err = f.rules.Registration.SignUp(f.Context(), auth.Stranger{
			Username: username, Password: goodPassword,
		}, auth.Caller{})
	}
	must(f, err)
}

func (f *fixture) user(username string) auth.User {
	f.Helper()
	user, err := f.rules.Accounts.Find(f.Context(), auth.ByName(username))
	must(f, err)
	return user
}

func (f *fixture) loggedInAs(username string) *browser {
	f.Helper()
	b := f.browser()
	f.sent(b.login(username, goodPassword), "/")
	if b.session() == "" {
		f.Fatal("a login gave no session")
	}
	return b
}

// sent fails the test unless an answer sends the browser to a location.
func (f *fixture) sent(a answered, location string) {
	f.Helper()
	if a.status != http.StatusSeeOther || a.location() != location {
		f.Errorf("%d to %q, want 303 to %q: %s", a.status, a.location(), location, a.body)
	}
}

// shows fails the test unless an answer is a page with some texts.
func (f *fixture) shows(a answered, status int, texts ...string) {
	f.Helper()
	if a.status != status {
		f.Errorf("%d, want %d: %s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			f.Errorf("the page lacks %q: %s", text, a.body)
		}
	}
}

// who returns who is logged in, by the start page.
func (b *browser) who() string {
	b.f.Helper()
	a := b.get("/")
	b.f.shows(a, http.StatusOK)
	_, rest, _ := strings.Cut(a.body, "<strong>")
	name, _, _ := strings.Cut(rest, "</strong>")
	return name
}

// demanded makes an account whose password must be changed, and returns the password.
func (f *fixture) demanded(username string) (secret string) {
	f.Helper()
	_, secret, err := f.rules.Accounts.Register(
		f.Context(), authtest.Operator(), auth.NewAccount{Username: username, Initial: true},
	)
	must(f, err)
	return secret
}

// sessionCookieOf returns the session cookie that an answer sets, or nil.
func sessionCookieOf(a answered) *http.Cookie {
	for _, c := range a.cookies {
		if strings.HasSuffix(c.Name, "gatehouse") {
			return c
		}
	}
	return nil
}
