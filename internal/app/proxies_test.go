package app_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/uuid"

	"gatehouse/internal/asynctest"
	"gatehouse/internal/dbtest"
	"gatehouse/internal/token"
)

const forwardAuthFolder = "../../deploy/forward-auth"

var identityHeaders = []string{"Remote-User", "Remote-User-Id", "Remote-Groups", "X-Token-Expires"}

// Each proxy has a way of its own to let somebody through unasked, or as somebody else.
func TestProxiesLetThroughWhomGatehouseKnowsAndSayWhoItIs(t *testing.T) {
	t.Parallel()
	for _, proxy := range []proxyProgram{
		{"nginx", []string{"-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off; pid nginx.pid; user root;"}},
		{"haproxy", []string{"-db", "-f", "haproxy.cfg"}},
		{"caddy", []string{"run", "--config", "Caddyfile", "--adapter", "caddyfile"}},
	} {
		t.Run(proxy.name, func(t *testing.T) {
			t.Parallel()
			proxy.find(t)
			g := guard(t, proxy)
			g.passesRequestsOnUnharmed()
			g.passesErrorsOfTheAppOn()
			g.refusesWithGatehousesChallenge()
			g.asksForARoleOnPathsThatNeedIt()
			g.passesNoForgedIdentityOn()
			g.letsNoConnectionHeaderHideTheIdentity()
			g.keepsConnectionsToGatehouse()
			g.refusesInMidConnection()
			g.refusesWithoutGatehouse()
		})
	}
}

// proxyProgram is one on the PATH, with its arguments when it runs in a copy of deploy/forward-auth.
type proxyProgram struct {
	name string
	args []string
}

func (p proxyProgram) find(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(p.name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// guarded is an app behind a proxy that asks Gatehouse.
type guarded struct {
	*replica
	url    string    // of the proxy
	app    *recorder // what got through
	asked  *recorder // what the proxy asked Gatehouse
	client *http.Client
	token  string
	admin  string // a token with the role that some paths need
}

func guard(t *testing.T, proxy proxyProgram) *guarded {
	t.Helper()
	databaseURL := dbtest.New(t)
	g := &guarded{replica: boot(t, databaseURL), client: newClient(t), token: insertUser(t, databaseURL)}
	var user uuid.UUID
	must(t, connect(t, databaseURL).QueryRow(t.Context(), "SELECT id FROM users").Scan(&user))
	g.admin = issue(t, secretKey, token.Subject{UserID: user, SessionID: user, Username: "alice", Version: 1, Roles: "admin,clerk"}, time.Now())
	gatehouse, err := url.Parse(g.public)
	must(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	g.asked = record(t, &httputil.ReverseProxy{
		Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(gatehouse) },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), // Gatehouse is stopped in the end
	})
	g.app = record(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			http.Error(w, "broken", http.StatusInternalServerError)
		}
	}))
	g.url = startProxyProgram(t, proxy, g.app.address(), g.asked.address())
	return g
}

// startProxyProgram returns the URL of a proxy that takes connections.
func startProxyProgram(t *testing.T, proxy proxyProgram, app, gatehouse string) string {
	t.Helper()
	address, loopback, dir := dbtest.FreeAddr(t), dbtest.FreeAddr(t), t.TempDir()
	port := address[strings.LastIndexByte(address, ':')+1:]
	replace := strings.NewReplacer("app:8080", app, "gatehouse:8000", gatehouse, "127.0.0.1:8403", loopback, "8080", port)
	files, err := filepath.Glob(forwardAuthFolder + "/*")
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(replace.Replace(string(text))), 0o644))
	}
	if proxy.name == "nginx" {
		keepTemporaryFilesIn(t, dir)
	}

	log := &logBuffer{}
	process := exec.Command(proxy.name, proxy.args...)
	process.Dir, process.Stdout, process.Stderr = dir, log, log
	process.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "CADDY_ADMIN="+dbtest.FreeAddr(t))
	process.WaitDelay = time.Minute // for processes of its own that hold the pipe
	must(t, process.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = process.Wait() // how it ended matters only if that was early, and then the log tells
	}()
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("log of %s:\n%s", proxy.name, log)
		}
	})
	asynctest.Await(t, proxy.name, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s has ended", proxy.name)
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return "http://" + address
}

// keepTemporaryFilesIn moves nginx's folders from where it was compiled to have them: as root it would take those from
// the workers of a service that this machine may have.
func keepTemporaryFilesIn(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "nginx.conf")
	text, err := os.ReadFile(file)
	must(t, err)
	var paths strings.Builder
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		paths.WriteString(" " + of + "_temp_path " + filepath.Join(dir, of) + ";")
	}
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), "\nhttp {", "\nhttp {"+paths.String(), 1)), 0o644))
}

// recorder is a server that remembers what it was sent.
type recorder struct {
	*httptest.Server
	mu          sync.Mutex
	got         []recorded
	connections int
}

type recorded struct {
	method, uri string
	header      http.Header
	body        string
}

func record(t *testing.T, next http.Handler) *recorder {
	r := &recorder{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.got = append(r.got, recorded{request.Method, request.RequestURI, request.Header.Clone(), string(body)})
		r.mu.Unlock()
		next.ServeHTTP(w, request)
	}))
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.connections++
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) address() string { return r.Listener.Addr().String() }

func (r *recorder) connectionsMade() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connections
}

// take returns what came since it was last called.
func (r *recorder) take() []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// ask sends a request through the proxy, with header names as they are written, and a token unless header has one.
func (g *guarded) ask(ctx context.Context, method, uri string, body io.Reader, header http.Header) answer {
	g.Helper()
	request, err := http.NewRequestWithContext(ctx, method, g.url+strings.ReplaceAll(uri, "%zz", ""), body)
	must(g, err)
	request.Header = http.Header{"Authorization": {"Bearer " + g.token}}
	if strings.Contains(uri, "%zz") { // which package url does not take
		request.URL.Opaque = uri
	}
	maps.Copy(request.Header, header)
	a, err := send(g.client, request)
	must(g, err)
	return a
}

// wantOne returns the only request that a recorder got since last time.
func (g *guarded) wantOne(r *recorder) recorded {
	g.Helper()
	got := r.take()
	if len(got) != 1 {
		g.Fatalf("%d requests, want 1: %+v", len(got), got)
	}
	return got[0]
}

func (g *guarded) wantNothingGotThrough() {
	g.Helper()
	if got := g.app.take(); len(got) > 0 {
		g.Errorf("the app got %+v", got)
	}
}

// wantIdentity holds that the app was told what Gatehouse says of the token, by nobody else.
func (g *guarded) wantIdentity(got recorded) {
	g.Helper()
	want := identity(g.do(g.verifyRequest("GET", "/verify", g.token)).header)
	if len(want) < 3 || !maps.EqualFunc(identity(got.header), want, slices.Equal) {
		g.Errorf("the app takes the sender for %v, Gatehouse for %v", identity(got.header), want)
	}
}

// identity has all that an app could take for the sender's identity: CGI and its like see one name in many spellings.
// An empty header says as much as none.
func identity(header http.Header) map[string][]string {
	found := map[string][]string{}
	for spelling, values := range header {
		name := http.CanonicalHeaderKey(strings.Map(func(r rune) rune {
			if strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
				return '-'
			}
			return r
		}, spelling))
		if !slices.Contains(identityHeaders, name) {
			continue
		}
		for _, value := range values {
			if value != "" {
				found[name] = append(found[name], value)
			}
		}
	}
	return found
}

func (g *guarded) passesRequestsOnUnharmed() {
	g.Helper()
	const uri, cookie = "/cart/a%20b?secret=s3cret", "basket=s3cret"
	long := strings.Repeat("0123456789abcdef", 8<<10) // more than a proxy keeps in memory
	for _, sent := range []struct {
		method string
		body   io.Reader
		want   string
	}{
		{"GET", nil, ""}, {"HEAD", nil, ""}, {"OPTIONS", nil, ""}, {"DELETE", nil, ""},
		{"POST", strings.NewReader(long), long},
		{"PUT", io.MultiReader(strings.NewReader("chunked")), "chunked"},
		{"REPORT", strings.NewReader("unknown to most"), "unknown to most"},
	} {
		g.want(http.StatusOK, g.ask(g.Context(), sent.method, uri, sent.body, http.Header{"Cookie": {cookie}}))
		got, question := g.wantOne(g.app), g.wantOne(g.asked)
		if got.method != sent.method || got.uri != uri || got.body != sent.want || got.header.Get("Cookie") != cookie {
			g.Errorf("sent %s %s with %d bytes, the app got %s %s with %d and %v", sent.method, uri, len(sent.want),
				got.method, got.uri, len(got.body), got.header)
		}
		g.wantIdentity(got)
		// Gatehouse has no use for the rest of the request, and what is in a URL ends up in logs.
		if question.uri != "/verify" || question.body != "" || question.header.Get("Cookie") != "" ||
			question.header.Get("X-Forwarded-Method") != sent.method || question.header.Get("X-Forwarded-Uri") != uri {
			g.Errorf("about %s %s Gatehouse was asked %s with %d bytes and %v", sent.method, uri,
				question.uri, len(question.body), question.header)
		}
	}
}

// An error of the app's own must not be taken for one of Gatehouse's.
func (g *guarded) passesErrorsOfTheAppOn() {
	g.Helper()
	a := g.ask(g.Context(), "GET", "/broken", nil, nil)
	if g.wantOne(g.app); a.status != http.StatusInternalServerError || a.body != "broken\n" {
		g.Errorf("an error of the app: %d %q", a.status, a.body)
	}
}

func (g *guarded) refusesWithGatehousesChallenge() {
	g.Helper()
	good, bad := "Bearer "+g.token, "Bearer "+g.token+"x"
	for _, authorization := range [][]string{nil, {""}, {"Bearer"}, {bad}, {"Basic YTpi"}} {
		request := g.verifyRequest("GET", "/verify", "")
		request.Header = http.Header{"Authorization": authorization}
		want := g.do(request)
		g.want(http.StatusUnauthorized, want)
		a := g.ask(g.Context(), "GET", "/", nil, http.Header{"Authorization": authorization})
		g.want(http.StatusUnauthorized, a)
		if got, want := a.header.Values("WWW-Authenticate"), want.header.Values("WWW-Authenticate"); !slices.Equal(got, want) {
			g.Errorf("challenge %q, Gatehouse's is %q", got, want)
		}
		a = g.ask(g.Context(), "POST", "/", strings.NewReader("body"), http.Header{"Authorization": authorization})
		g.want(http.StatusUnauthorized, a)
	}
	g.wantNothingGotThrough()

	// Of two tokens, one would be looked at and the other believed.
	for _, authorization := range [][]string{{good, bad}, {bad, good}} {
		a := g.ask(g.Context(), "GET", "/", nil, http.Header{"Authorization": authorization})
		if a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest {
			g.Errorf("two tokens: %d", a.status)
		}
	}
	g.wantNothingGotThrough()
}

// The proxy and the app may differ on what a path is: each writing of it must be shut, and open to who has the role.
func (g *guarded) asksForARoleOnPathsThatNeedIt() {
	g.Helper()
	g.asked.take()
	for _, uri := range []string{
		"/admin", "/admin/", "/admin/users?a=b", "/ADMIN", "/%61dmin", "/%41DMIN", "//admin", "/admin;a=b", "/admin%2fusers", "/cart/admin",
		"/./admin", "/cart/../admin", "/cart/%2e%2e/admin", "/cart/..%2fadmin", "/healthz/../admin", "/healthz%2f..%2fadmin",
		"/admin/../cart", "/admin/..%2fcart", "/%61dmin/..%2fcart", "/%61dmin/%2e%2e", "/admin/.", "/admin/..?a=b",
	} {
		a := g.ask(g.Context(), "GET", uri, nil, nil)
		if a.status != http.StatusForbidden && a.status != http.StatusBadRequest {
			g.Errorf("%s without the role: %d", uri, a.status)
		}
		if asked := g.asked.take(); len(asked) > 0 && asked[0].uri != "/verify?role=admin" {
			g.Errorf("%s: Gatehouse was asked %s", uri, asked[0].uri)
		}
		g.wantNothingGotThrough()
		if strings.Contains(uri, "..") || strings.Contains(uri, "/.") || strings.Contains(uri, "%2e") {
			continue // some proxies take these for no good
		}
		g.want(http.StatusForbidden, a)
		g.want(http.StatusOK, g.ask(g.Context(), "GET", uri, nil, http.Header{"Authorization": {"Bearer " + g.admin}}))
		got := g.wantOne(g.app)
		if groups := identity(got.header)["Remote-Groups"]; got.uri != uri || !slices.Equal(groups, []string{"admin,clerk"}) {
			g.Errorf("%s with the role: the app got %s from one of %q", uri, got.uri, groups)
		}
		g.want(http.StatusUnauthorized, g.ask(g.Context(), "GET", uri, nil, http.Header{"Authorization": nil}))
		g.asked.take()
	}
	g.ask(g.Context(), "GET", "/%61dmin/%zz", nil, nil) // which nobody here can read, but some apps do
	for _, asked := range g.asked.take() {
		if asked.uri != "/verify?role=admin" {
			g.Errorf("of what cannot be read, Gatehouse was asked %s", asked.uri)
		}
	}
	g.wantNothingGotThrough()
}

// forgery has each name in spellings that some server, somewhere, takes for the same.
func forgery() http.Header {
	forged := http.Header{}
	for _, name := range identityHeaders {
		for _, as := range []string{
			name, strings.ToLower(name), strings.ToUpper(name),
			strings.ReplaceAll(name, "-", "_"), strings.ToLower(strings.ReplaceAll(name, "-", "_")),
			strings.Replace(name, "-", "_", 1), strings.ReplaceAll(name, "-", "."), strings.Replace(name, "-", "~", 1),
		} {
			forged[as] = []string{"forged", "twice"}
		}
	}
	return forged
}

func (g *guarded) passesNoForgedIdentityOn() {
	g.Helper()
	g.want(http.StatusOK, g.ask(g.Context(), "GET", "/", nil, forgery()))
	g.wantIdentity(g.wantOne(g.app))

	withoutToken := forgery()
	withoutToken["Authorization"] = nil
	g.want(http.StatusUnauthorized, g.ask(g.Context(), "GET", "/", nil, withoutToken))
	g.wantNothingGotThrough()
	// Paths that could be the open one to the proxy and another to the app.
	for _, path := range []string{
		"/healthz/", "/healthz/../admin", "/healthz/%2e%2e/admin", "/healthz%2f..%2fadmin", "/healthz;/../admin", "/HEALTHZ",
		"/admin/../healthz", "/admin/%2e%2e/healthz", "/admin/..%2fhealthz", "//healthz", "/_gatehouse",
	} {
		a := g.ask(g.Context(), "GET", path, nil, withoutToken)
		for _, got := range g.app.take() {
			if got.uri != "/healthz" {
				g.Errorf("%s without a token: %d, and the app got %s", path, a.status, got.uri)
			}
		}
	}
	if got := identity(g.ask(g.Context(), "GET", "/_gatehouse", nil, nil).header); len(got) > 0 {
		g.Errorf("the way to Gatehouse is open to clients: %v", got)
	}
	g.app.take()

	g.asked.take()
	g.want(http.StatusOK, g.ask(g.Context(), "GET", "/healthz", nil, withoutToken))
	if got := identity(g.wantOne(g.app).header); len(got) > 0 {
		g.Errorf("where no token is needed, the app takes the sender for %v", got)
	}
	if asked := g.asked.take(); len(asked) > 0 {
		g.Errorf("Gatehouse was asked about a path that needs no token: %+v", asked)
	}
}

// Whoever reads "Connection: Remote-User" drops Remote-User (RFC 9110 §7.6.1): the app would think that nobody asks.
func (g *guarded) letsNoConnectionHeaderHideTheIdentity() {
	g.Helper()
	for _, connection := range [][]string{
		{strings.Join(identityHeaders, ", ")}, {"Authorization"}, {"upgrade, remote-user"}, {"Upgrade", "keep-alive, remote-user"},
	} {
		g.want(http.StatusOK, g.ask(g.Context(), "GET", "/", nil, http.Header{"Connection": connection}))
		got := g.wantOne(g.app)
		g.wantIdentity(got)
		for _, value := range got.header["Connection"] {
			if !strings.EqualFold(value, "upgrade") && !strings.EqualFold(value, "keep-alive") {
				g.Errorf("Connection: %s got through to the app", value)
			}
		}
	}
}

// A connection for each question would cost more than its answer.
func (g *guarded) keepsConnectionsToGatehouse() {
	g.Helper()
	const requests = 50
	before := g.asked.connectionsMade()
	for range requests {
		g.want(http.StatusOK, g.ask(g.Context(), "GET", "/", nil, nil))
	}
	if made := g.asked.connectionsMade() - before; made > requests/5 {
		g.Errorf("%d connections for %d questions", made, requests)
	}
	g.app.take()
}

// A proxy that remembers an answer for a connection would let somebody banned go on for as long as they stay on it.
func (g *guarded) refusesInMidConnection() {
	g.Helper()
	var connections []string
	ctx := httptrace.WithClientTrace(g.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		connections = append(connections, c.Conn.LocalAddr().String())
	}})
	g.want(http.StatusOK, g.ask(ctx, "GET", "/", nil, nil))
	g.want(http.StatusNoContent, g.do(g.request("POST", "/logout", "", "Authorization", "Bearer "+g.token)))
	asynctest.Await(g, "the end of the session", func() bool {
		return g.ask(ctx, "GET", "/", nil, nil).status == http.StatusUnauthorized
	})
	if slices.Sort(connections); len(slices.Compact(connections)) != 1 {
		g.Errorf("the client's connections: %v", connections)
	}
	g.app.take()
	g.want(http.StatusUnauthorized, g.ask(g.Context(), "GET", "/", nil, nil))
	g.wantNothingGotThrough()
}

// Whoever cannot ask must not let in.
func (g *guarded) refusesWithoutGatehouse() {
	g.Helper()
	g.stop()
	for _, a := range g.answersToAll() { // of the recorder, which says 502
		if a.status != http.StatusServiceUnavailable && a.status != http.StatusBadGateway {
			g.Errorf("while Gatehouse answers 502: %d", a.status)
		}
	}
	g.asked.Close()
	for _, a := range g.answersToAll() {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			g.Errorf("while Gatehouse is gone: %d %v", a.status, a.header)
		}
	}
	g.wantNothingGotThrough()
}

// answersToAll is what somebody gets without and with a token.
func (g *guarded) answersToAll() (all []answer) {
	g.Helper()
	for _, authorization := range [][]string{nil, {"Bearer " + g.token}} {
		all = append(all, g.ask(g.Context(), "GET", "/", nil, http.Header{"Authorization": authorization}))
	}
	return all
}

// No more is known of these two here: that they can be read, name every header, once to remove it and once to copy it, and
// ask for a role somewhere.
func TestConfigurationsThatNoTestRunsNameTheHeadersAndARole(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]string{"traefik.yml": "http://gatehouse:8000/verify?role=admin", "envoy.yaml": "(.*,)?admin(,.*)?"} {
		text, err := os.ReadFile(filepath.Join(forwardAuthFolder, name))
		must(t, err)
		var parsed map[string]any
		must(t, yaml.UnmarshalWithOptions(text, &parsed, yaml.Strict()))
		if countNames(parsed, role) != 1 {
			t.Errorf("%s does not have %s once", name, role)
		}
		for _, header := range identityHeaders {
			if names := countNames(parsed, header); names < 2 {
				t.Errorf("%s names %s %d times", name, header, names)
			}
		}
	}
}

// countNames counts the keys and values that are a name, in any case.
func countNames(in any, name string) int {
	count := 0
	switch in := in.(type) {
	case string:
		if strings.EqualFold(in, name) {
			count++
		}
	case []any:
		for _, item := range in {
			count += countNames(item, name)
		}
	case map[string]any:
		for key, item := range in {
			count += countNames(key, name) + countNames(item, name)
		}
	}
	return count
}
