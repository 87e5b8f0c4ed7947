package app_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/goccy/go-yaml"

	"gatehouse/internal/dbtest"
)

// proxyProgram is a proxy that has a configuration in deploy/forward-auth. In its file, %s stands for the socket that it
// is to listen at.
type proxyProgram struct {
	name    string
	file    string
	listen  [2]string // what the file says, and what the test makes of it
	command func(t testing.TB, dir, file string) []string
}

func proxyPrograms() []proxyProgram {
	return []proxyProgram{
		{"nginx", "nginx.conf", [2]string{"listen 80;", "listen unix:%s;"}, func(t testing.TB, dir, file string) []string {
			main := filepath.Join(dir, "main.conf")
			must(t, os.WriteFile(main, fmt.Appendf(nil, `
				daemon off; master_process off; pid %[1]s/pid; error_log stderr;
				events {}
				http { access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; include %[2]s; }`, dir, file), 0o600))
			return []string{"-e", "stderr", "-p", dir, "-c", main}
		}},
		{"haproxy", "haproxy.cfg", [2]string{"bind :80", "bind unix@%s"}, func(_ testing.TB, dir, file string) []string {
			return []string{"-db", "-C", dir, "-f", file}
		}},
		{"caddy", "Caddyfile", [2]string{":80 {", ":80 {\n\tbind unix/%s"}, func(_ testing.TB, _, file string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", file}
		}},
	}
}

// forwardAuth is a service, a proxy that asks it, and an app behind the proxy.
type forwardAuth struct {
	*replica
	app    *upstream
	client *http.Client // of the proxy
}

// upstream is the app: it keeps the requests that get through to it.
type upstream struct {
	mu   sync.Mutex
	seen []seen
}

type seen struct {
	method, path, body string
	header             http.Header
}

func (a *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, seen{r.Method, r.URL.String(), string(body), r.Header})
	if r.URL.Path == "/broken" {
		http.Error(w, "broken", http.StatusInternalServerError)
	}
}

// last is the only request since it was called before.
func (f *forwardAuth) last() seen {
	f.Helper()
	all := f.all()
	if len(all) != 1 {
		f.Fatalf("the app has seen %d requests: %v", len(all), all)
	}
	return all[0]
}

func (f *forwardAuth) all() []seen {
	f.app.mu.Lock()
	defer f.app.mu.Unlock()
	all := f.app.seen
	f.app.seen = nil
	return all
}

func startForwardAuth(t *testing.T, p proxyProgram) *forwardAuth {
	t.Helper()
	program, err := exec.LookPath(p.name)
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("%s is not installed", p.name)
	}
	must(t, err)
	f := &forwardAuth{replica: boot(t, dbtest.New(t)), app: &upstream{}}
	server := httptest.NewServer(f.app)
	t.Cleanup(server.Close)

	dir, err := os.MkdirTemp("", p.name) // short: the path of a socket has a bound
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.CopyFS(dir, os.DirFS("../../deploy/forward-auth")))
	file, socket := filepath.Join(dir, p.file), filepath.Join(dir, "socket")
	text, err := os.ReadFile(file)
	must(t, err)
	if strings.Count(string(text), p.listen[0]) != 1 {
		t.Fatalf("%s does not have %q once", p.file, p.listen[0])
	}
	changed := strings.NewReplacer(
		p.listen[0], fmt.Sprintf(p.listen[1], socket),
		"gatehouse:8000", strings.TrimPrefix(f.public, "http://"), "app:8080", strings.TrimPrefix(server.URL, "http://"),
	).Replace(string(text))
	must(t, os.WriteFile(file, []byte(changed), 0o600))
	ended := startProgram(t, exec.CommandContext(context.Background(), program, p.command(t, dir, file)...), dir)

	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	f.client = &http.Client{Transport: transport}
	await(t, p.name, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended at its start", p.name)
		default:
		}
		response, err := f.client.Get("http://proxy/public/") //nolint:noctx // until it is up
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	})
	f.all()
	return f
}

// startProgram returns a channel that is closed when the program has ended.
func startProgram(t *testing.T, cmd *exec.Cmd, home string) <-chan struct{} {
	t.Helper()
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, home
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // whose death is what Pdeathsig goes by
		err := cmd.Start()
		if started <- err; err == nil {
			_ = cmd.Wait()
		}
	}()
	must(t, <-started)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("log of %s:\n%s", cmd.Path, log)
		}
	})
	return ended
}

func (f *forwardAuth) through(method, path, body string, header ...string) answer {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), method, "http://proxy"+path, strings.NewReader(body))
	must(f, err)
	for n := 0; n < len(header); n += 2 {
		request.Header[header[n]] = append(request.Header[header[n]], header[n+1]) // as it is spelled
	}
	a, err := send(f.client, request)
	must(f, err)
	return a
}

// identity is what the app was told of who sent a request, by names as the most careless app would read them.
func identity(h http.Header) map[string][]string {
	found := map[string][]string{}
	for name, values := range h {
		name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		if slices.Contains([]string{"remote-user", "remote-user-id", "remote-groups", "x-token-expires"}, name) {
			found[name] = append(found[name], values...)
		}
	}
	return found
}

func (f *forwardAuth) wantAlice(what string, got seen) {
	f.Helper()
	told := identity(got.header)
	if len(told["remote-user"]) != 1 || told["remote-user"][0] != "alice" || len(told["remote-user-id"]) != 1 ||
		len(told["remote-user-id"][0]) != 36 || strings.Join(told["remote-groups"], "") != "" || len(told["x-token-expires"]) != 1 {
		f.Errorf("%s: the app was told %v", what, told)
	}
}

func TestProxiesLetThroughWhoIsAllowedAndNobodyElse(t *testing.T) {
	t.Parallel()
	for _, p := range proxyPrograms() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			f := startForwardAuth(t, p)
			token := f.loggedIn("alice", goodPassword)
			f.allowed(token)
			f.refused(token)
			f.forged(token)
			f.bannedInMidConnection(token)
			f.withoutGatehouse(token)
		})
	}
}

func (f *forwardAuth) allowed(token string) {
	f.Helper()
	bearer := "Bearer " + token
	body := strings.Repeat("a body that is none of Gatehouse's business, ", 1000)
	for _, method := range []string{"GET", "POST", "DELETE", "PROPFIND"} {
		sent := body
		if method == "GET" {
			sent = ""
		}
		f.want(http.StatusOK, f.through(method, "/cart/1?a=b&c=%2F", sent, "Authorization", bearer))
		got := f.last()
		f.wantAlice(method, got)
		if got.method != method || got.path != "/cart/1?a=b&c=%2F" || got.body != sent {
			f.Errorf("%s arrives as %s %s with %d bytes", method, got.method, got.path, len(got.body))
		}
	}
	// An error of the app's own is not taken for one of Gatehouse's.
	if a := f.through("GET", "/broken", "", "Authorization", bearer); a.status != http.StatusInternalServerError || a.body != "broken\n" {
		f.Errorf("an error of the app: %d %q", a.status, a.body)
	}
	f.all()
}

func (f *forwardAuth) refused(token string) {
	f.Helper()
	for challenge, header := range map[string][]string{
		`Bearer realm="gatehouse"`:                        {"X-Nothing", ""},
		`Bearer realm="gatehouse", error="invalid_token"`: {"Authorization", "Bearer " + token + "x"},
	} {
		for _, method := range []string{"GET", "POST", "HEAD", "OPTIONS"} {
			a := f.through(method, "/cart", "", header...)
			if got := a.header.Values("WWW-Authenticate"); a.status != http.StatusUnauthorized || len(got) != 1 || got[0] != challenge {
				f.Errorf("%s: %d %q, want %q", method, a.status, got, challenge)
			}
		}
	}
	if all := f.all(); len(all) > 0 {
		f.Errorf("refused requests got through: %v", all)
	}
}

// forged sends the identity of another user in all spellings, with and without leave to be here.
func (f *forwardAuth) forged(token string) {
	f.Helper()
	var forged []string
	for _, name := range []string{
		"Remote-User", "remote-user", "REMOTE-USER", "Remote_User", "remote_user", "Remote-User-Id", "Remote_User_Id", "Remote-User_Id", "Remote_User-ID",
		"Remote-Groups", "Remote_Groups", "X-Token-Expires", "X_Token_Expires", "X-Token_Expires", "x_token-expires",
	} {
		forged = append(forged, name, "mallory")
	}
	bearer := []string{"Authorization", "Bearer " + token}
	f.want(http.StatusOK, f.through("GET", "/cart", "", slices.Concat(forged, bearer)...))
	f.wantAlice("beside forged headers", f.last())

	f.want(http.StatusUnauthorized, f.through("GET", "/cart", "", forged...))
	if all := f.all(); len(all) > 0 {
		f.Errorf("forged headers got through without a token: %v", all)
	}
	for path, header := range map[string][]string{"/public/": forged, "/public/a": slices.Concat(forged, bearer)} {
		f.want(http.StatusOK, f.through("GET", path, "", header...))
		if told := identity(f.last().header); len(told) > 0 {
			f.Errorf("where nobody is asked, the app was told %v", told)
		}
	}
	// Headers that Connection names are for the next hop only (RFC 9110 §7.6.1), but not those of the proxy.
	for _, options := range []string{"Remote-User", "close, remote-user, Remote-User-Id", "x-token-expires,remote-groups", "Authorization"} {
		a := f.through("GET", "/cart", "", slices.Concat([]string{"Connection", options}, forged, bearer)...)
		all := f.all()
		for _, got := range all {
			f.wantAlice("Connection: "+options, got)
		}
		if refused := a.status/100 == 4; refused == (len(all) > 0) {
			f.Errorf("Connection: %s: %d, and %d requests got through", options, a.status, len(all))
		}
	}
}

// bannedInMidConnection holds that a connection is no pass: each of its requests is asked about.
func (f *forwardAuth) bannedInMidConnection(token string) {
	f.Helper()
	var opened int
	request := func() int {
		traced := httptrace.WithClientTrace(f.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			if !c.Reused {
				opened++
			}
		}})
		r, err := http.NewRequestWithContext(traced, http.MethodGet, "http://proxy/cart", nil)
		must(f, err)
		r.Header.Set("Authorization", "Bearer "+token)
		a, err := send(f.client, r)
		must(f, err)
		return a.status
	}
	f.client.CloseIdleConnections()
	if status := request(); status != http.StatusOK {
		f.Errorf("before the ban: %d", status)
	}
	f.want(http.StatusNoContent, f.do(f.request("POST", "/logout", "", "Authorization", "Bearer "+token)))
	await(f, "the ban", func() bool { return request() == http.StatusUnauthorized })
	if opened != 1 {
		f.Errorf("%d connections", opened)
	}
	f.all()
}

func (f *forwardAuth) withoutGatehouse(token string) {
	f.Helper()
	f.stop()
	for _, header := range [][]string{{"Authorization", "Bearer " + token}, {"X-Nothing", ""}} {
		a := f.through("GET", "/cart", "", header...)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			f.Errorf("without Gatehouse: %d %v", a.status, a.header)
		}
	}
	if all := f.all(); len(all) > 0 {
		f.Errorf("requests got through that nobody could decide about: %v", all)
	}
}

// The configurations for proxies that are not at hand are at least well-formed, and forget none of the headers.
func TestUntestedProxyConfigurationsAreYAML(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"traefik.yml", "envoy.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/forward-auth", file))
		must(t, err)
		var parsed any
		if err := yaml.UnmarshalWithOptions(text, &parsed, yaml.Strict()); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, name := range []string{"remote-user", "remote-user-id", "remote-groups", "x-token-expires"} {
			if n := strings.Count(strings.ToLower(string(text)), name); n < 2 {
				t.Errorf("%s has %s %d times: it is to be taken from the answer, and not from the client", file, name, n)
			}
		}
	}
}
