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

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

const forwardAuthFolder = "../../deploy/forward-auth"

var identityHeaders = []string{"Remote-User", "Remote-User-Id", "Remote-Groups", "X-Token-Expires"}

// Each proxy has its own way to let somebody through unasked, or as somebody else.
func TestProxiesLetThroughWhomGatehouseKnowsAndSayWhoItIs(t *testing.T) {
	t.Parallel()
	for _, proxy := range proxyPrograms() {
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
			g.keepsTheTokenFromTheApp()
			g.letsBrowsersInByTheirCookie()
			g.keepsTheCookiesFromTheApp()
			g.keepsTokensOfMailsOutOfItsLog()
			g.sendsBrowsersToTheLoginAndProgramsNowhere()
			g.asksAboutPreflights()
			g.passesWebSocketsOn()
			g.passesNoOtherUpgradeOn()
			g.keepsConnectionsToGatehouse()
			g.refusesInMidConnection()
			g.refusesWithoutGatehouse()
		})
	}
}

// proxyProgram is a program on the PATH, with its arguments when it runs in a copy of
// deploy/forward-auth.
type proxyProgram struct {
	name string
	args []string
	// preflight begins the line of its configuration that lets preflights pass, behind "# ".
	preflight string
	logs      bool // requests
}

func nginx() proxyProgram {
	return proxyProgram{"nginx",
		[]string{"-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g",
			"daemon off; pid nginx.pid; user root;"},
		"if ($preflight)", true}
}

func proxyPrograms() []proxyProgram {
	return []proxyProgram{
		nginx(),
		{"haproxy", []string{"-db", "-f", "haproxy.cfg"},
			"http-request set-var(txn.gatehouse) str(allowed) if METH_OPTIONS", true},
		{"caddy", []string{"run", "--config", "Caddyfile", "--adapter", "caddyfile"},
			"reverse_proxy @preflight", false},
	}
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
	url    string    // the proxy's URL
	app    *recorder // requests that got through
	asked  *recorder // requests to Gatehouse
	client *http.Client
	token  string
	admin  string // a token with the role that some paths need
	// cookie is that of a browser's session of the same user, and sibling the one for other hosts.
	cookie, sibling string
	proxy           proxyProgram
	log             *logBuffer // of the proxy
}

func guard(t *testing.T, proxy proxyProgram) *guarded {
	t.Helper()
	databaseURL, address := dbtest.New(t), dbtest.FreeAddr(t)
	g := &guarded{url: "http://" + address, client: newClient(t), proxy: proxy}
	g.client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	g.replica = boot(t, databaseURL, "--trusted-proxies=127.0.0.1", "--return-origins="+g.url,
		"--issuer="+bakeryID, "--cookie-domain=bakery.localhost")
	insertUser(t, databaseURL)
	var user uuid.UUID
	must(t, connect(t, databaseURL).QueryRow(t.Context(), "SELECT id FROM users").Scan(&user))
	alice := token.Subject{UserID: user, SessionID: user, Username: "alice", Version: 1}
	g.token = issueBy(t, bakeryID, secretKey, alice, time.Now())
	alice.Roles = "admin,clerk"
	g.admin = issueBy(t, bakeryID, secretKey, alice, time.Now())
	g.cookie, g.sibling = insertBrowser(t, databaseURL, user)
	g.asked = record(t, passOn(t, g.public))
	g.app = record(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/broken":
			http.Error(w, "broken", http.StatusInternalServerError)
		case r.URL.Path == "/socket" && r.Header.Get("Upgrade") == "websocket":
			echo(w)
		}
	}))
	g.log = startProxyProgram(t, proxy, address, g.app.address(), g.asked.address())
	return g
}

// passOn passes the questions of a proxy on to Gatehouse, as they are.
func passOn(t *testing.T, gatehouse string) http.Handler {
	t.Helper()
	target, err := url.Parse(gatehouse)
	must(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				r.Out.Header[name] = r.In.Header[name]
			}
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), // Gatehouse is stopped in the end
	}
}

// insertBrowser makes the session of a browser, and returns its cookies.
func insertBrowser(t testing.TB, databaseURL string, user uuid.UUID) (own, sibling string) {
	t.Helper()
	id := uuid.New()
	_, err := connect(t, databaseURL).Exec(t.Context(), `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address,
			user_agent, browser, idle_seconds)
		VALUES ($1, $2, decode(repeat('00', 16), 'hex'), now() + interval '1 day',
			now() + interval '1 day', '', '', true, 86400)`, id, user)
	must(t, err)
	keys, err := keychain.New([][]byte{[]byte(secretKey)})
	must(t, err)
	cookies := token.NewCookieKeys(keys)
	cookie := token.SessionCookie{SessionID: id}
	return cookies.Make(cookie), cookies.MakeSibling(cookie)
}

// echo is a WebSocket as far as a proxy can tell. After the answer to the key (RFC 6455 §1.3), it
// sends back what it gets.
func echo(w http.ResponseWriter) {
	socket, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // and no 101 is seen
	}
	defer socket.Close()
	_, _ = both.WriteString(
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	_ = both.Flush()
	_, _ = io.Copy(socket, both) // until the proxy closes the connection
}

// startProxyProgram starts a proxy at an address, and returns its log when it accepts connections.
// Its configuration has other texts in place of some: old, new, old, new, …
func startProxyProgram(
	t *testing.T, proxy proxyProgram, address, app, gatehouse string, changes ...string,
) *logBuffer {
	t.Helper()
	dir := t.TempDir()
	port := address[strings.LastIndexByte(address, ':')+1:]
	change, replace := strings.NewReplacer(changes...), strings.NewReplacer("app:8080", app,
		"gatehouse:8000", gatehouse, "127.0.0.1:8403", dbtest.FreeAddr(t), "8080", port)
	files, err := filepath.Glob(forwardAuthFolder + "/*")
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)),
			[]byte(replace.Replace(change.Replace(string(text)))), 0o644))
	}
	return proxy.run(t, dir, address)
}

// run starts the proxy with the configuration in a folder, and returns its log when it accepts
// connections at an address. It is stopped when the test ends.
func (p proxyProgram) run(t *testing.T, dir, address string) *logBuffer {
	t.Helper()
	if p.name == "nginx" {
		keepTemporaryFilesIn(t, dir)
	}
	log := &logBuffer{}
	process := exec.Command(p.name, p.args...)
	process.Dir, process.Stdout, process.Stderr = dir, log, log
	process.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir,
		"CADDY_ADMIN="+dbtest.FreeAddr(t))
	process.WaitDelay = time.Minute // for child processes that hold the pipe
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
			t.Logf("log of %s:\n%s", p.name, log)
		}
	})
	asynctest.Await(t, p.name, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s has ended", p.name)
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return log
}

// keepTemporaryFilesIn moves nginx's temporary folders away from their built-in places. As root, it
// would take those from the workers of a service on this machine.
func keepTemporaryFilesIn(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "nginx.conf")
	text, err := os.ReadFile(file)
	must(t, err)
	var paths strings.Builder
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		paths.WriteString(" " + of + "_temp_path " + filepath.Join(dir, of) + ";")
	}
	must(t, os.WriteFile(file,
		[]byte(strings.Replace(string(text), "\nhttp {", "\nhttp {"+paths.String(), 1)), 0o644))
}

// recorder is a server that remembers the requests that it gets.
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
	r.Server = httptest.NewUnstartedServer(
		http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			body, err := io.ReadAll(request.Body)
			if err != nil {
				t.Error(err)
			}
			r.mu.Lock()
			r.got = append(r.got,
				recorded{request.Method, request.RequestURI, request.Header.Clone(), string(body)})
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

// take returns the requests since its last call.
func (r *recorder) take() []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// ask sends a request through the proxy. Header names go out as they are written. A token is added
// unless header has one.
func (g *guarded) ask(
	ctx context.Context, method, uri string, body io.Reader, header http.Header,
) answer {
	g.Helper()
	request, err := http.NewRequestWithContext(ctx, method,
		g.url+strings.ReplaceAll(uri, "%zz", ""), body)
	must(g, err)
	request.Header = http.Header{"Authorization": {"Bearer " + g.token}}
	if strings.Contains(uri, "%zz") { // package url does not parse it
		request.URL.Opaque = uri
	}
	maps.Copy(request.Header, header)
	a, err := send(g.client, request)
	must(g, err)
	return a
}

// wantOne returns the one request that a recorder has got since last time.
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

// wantIdentity checks that the app gets what Gatehouse says of the token, and nothing from anybody
// else.
func (g *guarded) wantIdentity(got recorded) {
	g.Helper()
	want := identity(g.do(g.verifyRequest("GET", "/verify", g.token)).header)
	if len(want) < 3 || !maps.EqualFunc(identity(got.header), want, slices.Equal) {
		g.Errorf("the app takes the sender for %v, Gatehouse for %v", identity(got.header), want)
	}
}

// identity returns all headers that an app could take for the sender's identity. CGI and its like
// see many spellings of a name as one. An empty header counts as none.
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
		g.want(http.StatusOK,
			g.ask(g.Context(), sent.method, uri, sent.body, http.Header{"Cookie": {cookie}}))
		got, question := g.wantOne(g.app), g.wantOne(g.asked)
		if got.method != sent.method || got.uri != uri || got.body != sent.want ||
			got.header.Get("Cookie") != cookie {
			g.Errorf("sent %s %s with %d bytes, the app got %s %s with %d and %v", sent.method, uri,
				len(sent.want),
				got.method, got.uri, len(got.body), got.header)
		}
		g.wantIdentity(got)
		// Gatehouse needs nothing else of the request, and what is in a URL ends up in logs.
		if question.uri != "/verify" || question.body != "" ||
			question.header.Get("X-Forwarded-Method") != sent.method ||
			question.header.Get("X-Forwarded-Uri") != uri {
			g.Errorf("about %s %s Gatehouse was asked %s with %d bytes and %v", sent.method, uri,
				question.uri, len(question.body), question.header)
		}
	}
}

// An error of the app itself must not be taken for one of Gatehouse.
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
		if got, want := a.header.Values("WWW-Authenticate"),
			want.header.Values("WWW-Authenticate"); !slices.Equal(got, want) {
			g.Errorf("challenge %q, Gatehouse's is %q", got, want)
		}
		a = g.ask(g.Context(), "POST", "/", strings.NewReader("body"),
			http.Header{"Authorization": authorization})
		g.want(http.StatusUnauthorized, a)
	}
	g.wantNothingGotThrough()

	// With two tokens, one would be checked and the other believed.
	for _, authorization := range [][]string{{good, bad}, {bad, good}} {
		a := g.ask(g.Context(), "GET", "/", nil, http.Header{"Authorization": authorization})
		if a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest {
			g.Errorf("two tokens: %d", a.status)
		}
	}
	g.wantNothingGotThrough()
}

// The proxy and the app may differ on what a path is. Each spelling of it must be shut to others,
// and open to whoever has the role.
func (g *guarded) asksForARoleOnPathsThatNeedIt() {
	g.Helper()
	g.asked.take()
	for _, uri := range []string{
		"/admin", "/admin/", "/admin/users?a=b", "/ADMIN", "/%61dmin", "/%41DMIN", "//admin",
		"/admin;a=b", "/admin%2fusers", "/cart/admin",
		"/./admin", "/cart/../admin", "/cart/%2e%2e/admin", "/cart/..%2fadmin", "/healthz/../admin",
		"/healthz%2f..%2fadmin",
		"/admin/../cart", "/admin/..%2fcart", "/%61dmin/..%2fcart", "/%61dmin/%2e%2e", "/admin/.",
		"/admin/..?a=b",
	} {
		a := g.ask(g.Context(), "GET", uri, nil, nil)
		if a.status != http.StatusForbidden && a.status != http.StatusBadRequest {
			g.Errorf("%s without the role: %d", uri, a.status)
		}
		if asked := g.asked.take(); len(asked) > 0 && asked[0].uri != "/verify?role=admin" {
			g.Errorf("%s: Gatehouse was asked %s", uri, asked[0].uri)
		}
		g.wantNothingGotThrough()
		if strings.Contains(uri, "..") || strings.Contains(uri, "/.") ||
			strings.Contains(uri, "%2e") {
			continue // some proxies refuse these
		}
		g.want(http.StatusForbidden, a)
		g.want(http.StatusOK,
			g.ask(g.Context(), "GET", uri, nil,
				http.Header{"Authorization": {"Bearer " + g.admin}}))
		got := g.wantOne(g.app)
		if groups := identity(got.header)["Remote-Groups"]; got.uri != uri ||
			!slices.Equal(groups, []string{"admin,clerk"}) {
			g.Errorf("%s with the role: the app got %s from one of %q", uri, got.uri, groups)
		}
		g.want(http.StatusUnauthorized,
			g.ask(g.Context(), "GET", uri, nil, http.Header{"Authorization": nil}))
		g.asked.take()
	}
	// nothing here can parse this, but some apps can
	g.ask(g.Context(), "GET", "/%61dmin/%zz", nil, nil)
	for _, asked := range g.asked.take() {
		if asked.uri != "/verify?role=admin" {
			g.Errorf("of what cannot be read, Gatehouse was asked %s", asked.uri)
		}
	}
	g.wantNothingGotThrough()
}

// forgery has each name in the spellings that some server takes for it.
func forgery() http.Header {
	forged := http.Header{}
	for _, name := range identityHeaders {
		for _, as := range []string{
			name, strings.ToLower(name), strings.ToUpper(name),
			strings.ReplaceAll(name, "-", "_"), strings.ToLower(strings.ReplaceAll(name, "-", "_")),
			strings.Replace(name, "-", "_", 1), strings.ReplaceAll(name, "-", "."),
			strings.Replace(name, "-", "~", 1),
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
	// Paths that the proxy could take for the open one, and the app for another.
	for _, path := range []string{
		"/healthz/", "/healthz/../admin", "/healthz/%2e%2e/admin", "/healthz%2f..%2fadmin",
		"/healthz;/../admin", "/HEALTHZ",
		"/admin/../healthz", "/admin/%2e%2e/healthz", "/admin/..%2fhealthz", "//healthz",
		"/_gatehouse",
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

// Whoever reads "Connection: Remote-User" drops Remote-User (RFC 9110 §7.6.1). The app would then
// think that nobody asks.
func (g *guarded) letsNoConnectionHeaderHideTheIdentity() {
	g.Helper()
	for _, connection := range [][]string{
		{strings.Join(identityHeaders, ", ")}, {"Authorization"}, {"upgrade, remote-user"},
		{"Upgrade", "keep-alive, remote-user"},
	} {
		g.want(http.StatusOK,
			g.ask(g.Context(), "GET", "/", nil, http.Header{"Connection": connection}))
		got := g.wantOne(g.app)
		g.wantIdentity(got)
		for _, value := range got.header["Connection"] {
			if !strings.EqualFold(value, "upgrade") && !strings.EqualFold(value, "keep-alive") {
				g.Errorf("Connection: %s got through to the app", value)
			}
		}
	}
}

// An app that leaks its requests, by a log or a fault, would leak its users' sessions.
func (g *guarded) keepsTheTokenFromTheApp() {
	g.Helper()
	authorized := func(authorization ...string) http.Header {
		return http.Header{"Authorization": authorization}
	}
	for uri, header := range map[string]http.Header{
		"/": nil, "/admin": authorized("Bearer " + g.admin),
		"/cart?a=b": {"aUTHORIZATION": {"Bearer " + g.token}, "Authorization": nil},
		"/healthz":  authorized("Bearer " + g.token), "/healthz?basic": authorized("Basic YTpi"),
		"/healthz?two": authorized("Bearer a", "Basic YTpi"),
	} {
		a := g.ask(g.Context(), "GET", uri, nil, header)
		for _, got := range g.app.take() {
			if sent := got.header.Values("Authorization"); len(sent) > 1 ||
				len(sent) == 1 && sent[0] != "" {
				g.Errorf("%s: the app got Authorization %q", uri, sent)
			}
		}
		if a.status != http.StatusOK &&
			(uri != "/healthz?two" || a.status != http.StatusBadRequest) {
			g.Errorf("%s: %d", uri, a.status)
		}
	}
}

// opening is a request for a WebSocket (RFC 6455 §4.1).
func (g *guarded) opening(upgrade ...string) http.Header {
	return http.Header{
		"Connection": {"keep-alive, Upgrade"}, "Upgrade": upgrade, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Authorization": {"Bearer " + g.token},
	}
}

func (g *guarded) passesWebSocketsOn() {
	g.Helper()
	for _, spelling := range []string{"websocket", "WebSocket"} {
		request, err := http.NewRequestWithContext(g.Context(), http.MethodGet, g.url+"/socket",
			nil)
		must(g, err)
		request.Header = g.opening(spelling)
		response, err := g.client.Do(request)
		must(g, err)
		if response.StatusCode != http.StatusSwitchingProtocols {
			response.Body.Close()
			g.Errorf("a WebSocket: %d", response.StatusCode)
			continue
		}
		socket := response.Body.(io.ReadWriteCloser)
		_, err = socket.Write([]byte("hello"))
		must(g, err)
		echo := make([]byte, len("hello"))
		_, err = io.ReadFull(socket, echo)
		must(g, err)
		socket.Close()
		got := g.wantOne(g.app)
		g.wantIdentity(got)
		if sent := got.header.Get("Authorization"); string(echo) != "hello" || sent != "" {
			g.Errorf("the WebSocket said %q, and the app got Authorization %q", echo, sent)
		}
	}
	refused := g.opening("websocket")
	refused["Authorization"] = nil
	g.want(http.StatusUnauthorized, g.ask(g.Context(), "GET", "/socket", nil, refused))
	g.wantNothingGotThrough()
}

// On a connection that has become one of HTTP/2, every later request would bypass the proxy.
func (g *guarded) passesNoOtherUpgradeOn() {
	g.Helper()
	for _, upgrade := range [][]string{{"h2c"}, {"H2C"}, {"h2c, websocket"}, {"websocket, h2c"},
		{"h2c", "websocket"}, {"websocket", "h2c"}} {
		header := g.opening(upgrade...)
		header["Connection"], header["Http2-Settings"] = []string{"Upgrade, HTTP2-Settings"},
			[]string{"AAMAAABkAARAAAAAAAIAAAAA"}
		g.ask(g.Context(), "GET", "/", nil, header)
		for _, got := range g.app.take() {
			for _, sent := range got.header.Values("Upgrade") {
				if sent != "" && sent != "websocket" {
					g.Errorf("of Upgrade %q the app got %q", upgrade, sent)
				}
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

// If a proxy remembered an answer for a connection, somebody who is banned could go on for as long
// as the connection lasts.
func (g *guarded) refusesInMidConnection() {
	g.Helper()
	var connections []string
	ctx := httptrace.WithClientTrace(g.Context(),
		&httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			connections = append(connections, c.Conn.LocalAddr().String())
		}})
	g.want(http.StatusOK, g.ask(ctx, "GET", "/", nil, nil))
	g.want(http.StatusNoContent,
		g.do(g.request("POST", "/logout", "", "Authorization", "Bearer "+g.token)))
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

// A proxy that cannot ask must let nobody in.
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

// answersToAll returns the answers without and with a token.
func (g *guarded) answersToAll() (all []answer) {
	g.Helper()
	for _, authorization := range [][]string{nil, {"Bearer " + g.token}} {
		all = append(all,
			g.ask(g.Context(), "GET", "/", nil, http.Header{"Authorization": authorization}))
	}
	return all
}

// These two proxies are not run here. The test only reads their configurations. They must name
// every header, once to remove it and once to copy it, ask for a role somewhere, and name
// Authorization where the token is deleted.
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
		// Traefik names it for the two questions to Gatehouse too, and routes each of its three
		// routers through the deletion.
		wantAuthorization, wantNoToken := map[string]int{"traefik.yml": 3, "envoy.yaml": 1}[name],
			map[string]int{"traefik.yml": 4}[name]
		if names, deletes := countNames(parsed, "authorization"),
			countNames(parsed, "no-token"); names != wantAuthorization || deletes != wantNoToken {
			t.Errorf("%s names Authorization %d times, and no-token %d", name, names, deletes)
		}
		for _, header := range identityHeaders {
			if names := countNames(parsed, header); names < 2 {
				t.Errorf("%s names %s %d times", name, header, names)
			}
		}
	}
}

// countNames counts the keys and values that are a name, in any letter case.
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
