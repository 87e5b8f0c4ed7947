package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
	"gatehouse.example/verify"
	"gatehouse.example/verify/ginverify"
)

const (
	secretKey    = "a secret key of the tests with 32 bytes or more"
	goodPassword = "correct horse battery staple"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gatehouse is a replica that runs as gatehouse serve runs it.
type gatehouse struct {
	*testing.T
	url, databaseURL string
	client           *http.Client
}

func boot(t *testing.T, args ...string) *gatehouse {
	t.Helper()
	return bootOn(t, dbtest.New(t), args...)
}

func bootOn(t *testing.T, databaseURL string, args ...string) *gatehouse {
	t.Helper()
	g := &gatehouse{T: t, databaseURL: databaseURL, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(g.client.CloseIdleConnections)
	settings, err := config.Load(append([]string{
		"--database-url=" + g.databaseURL, "--secret-key=" + secretKey, "--bcrypt-cost=10", "--listen-addr=127.0.0.1:0", "--algorithm=HS256",
		"--ops-addr=127.0.0.1:0", "--request-timeout=10m", "--database-statement-timeout=10m", "--shutdown-delay=0s",
	}, args...))
	must(t, err)
	ctx, terminate := context.WithCancel(context.Background())
	started, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, settings, app.Options{
			Log: slog.New(slog.DiscardHandler), Version: "test", Cores: 2,
			Started: func(public, _ net.Addr) { started <- "http://" + public.String() },
		})
	}()
	select {
	case g.url = <-started:
	case err := <-ended:
		t.Fatalf("the service ended at its start: %v", err)
	}
	t.Cleanup(func() {
		terminate()
		must(t, <-ended)
	})
	return g
}

func (g *gatehouse) send(status int, method, path, token, mediaType, body string) []byte {
	g.Helper()
	request, err := http.NewRequestWithContext(g.Context(), method, g.url+path, strings.NewReader(body))
	must(g, err)
	request.Header.Set("Content-Type", mediaType)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := g.client.Do(request)
	must(g, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	must(g, err)
	if response.StatusCode != status {
		g.Fatalf("%s %s: %d %s", method, path, response.StatusCode, answer)
	}
	return answer
}

const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"

func (g *gatehouse) register(username string) {
	g.Helper()
	g.send(http.StatusCreated, "POST", "/users", "", asJSON, `{"username": "`+username+`", "password": "`+goodPassword+`"}`)
}

func (g *gatehouse) login(username string) string {
	g.Helper()
	form := url.Values{"username": {username}, "password": {goodPassword}}.Encode()
	return accessToken(g.T, g.send(http.StatusOK, "POST", "/token", "", asForm, form))
}

func accessToken(t *testing.T, body []byte) string {
	t.Helper()
	var in struct {
		AccessToken string `json:"access_token"`
	}
	must(t, json.Unmarshal(body, &in))
	return in.AccessToken
}

func (g *gatehouse) disable(username string) {
	g.Helper()
	g.admin((*auth.Accounts).Disable, username)
}

// admin does what an operator does to an account at the command line.
func (g *gatehouse) admin(do func(*auth.Accounts, context.Context, auth.Actor, auth.UserRef, func(auth.User) bool) (auth.User, error), username string) {
	g.Helper()
	admin, err := app.OpenAdmin(g.Context(), config.Database{DatabaseURL: g.databaseURL, DatabaseStatementTimeout: time.Minute},
		config.Passwords{BcryptCost: 10, PasswordMinLength: 8, InitialSecretHours: 72})
	must(g, err)
	_, err = do(admin.Accounts, g.Context(), authtest.Operator(), auth.ByName(username), nil)
	must(g, errors.Join(err, admin.Close()))
}

// options are those of a service that follows by another way than the replica's own address.
func (g *gatehouse) options(url string) verify.Options {
	return verify.Options{
		URL: url, Issuer: "http://localhost:8000", Audience: "gatehouse", Keys: [][]byte{[]byte(secretKey)}, Service: "shop",
		Poll: 10 * time.Millisecond, HTTPClient: g.client,
	}
}

// publicOptions are those of a service that has no secret.
func (g *gatehouse) publicOptions(url string) verify.Options {
	o := g.options(url)
	o.Keys, o.Service = nil, ""
	return o
}

// follow starts a service that asks the replica.
func (g *gatehouse) follow(o verify.Options) *verify.Verifier {
	g.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g.Cleanup(cancel)
	v, err := verify.New(ctx, o)
	must(g, err)
	return v
}

// ask sends a request with a token to a handler.
func ask(handler http.Handler, token string) int {
	r := httptest.NewRequest("GET", "/cart", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code
}

func ginEngine(v *verify.Verifier, handle gin.HandlerFunc) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(ginverify.Middleware(v))
	engine.GET("/cart", handle)
	return engine
}

func TestEveryWayToEndAccessReachesOtherServices(t *testing.T) {
	t.Parallel()
	bySecret := boot(t)
	wantEndsToReach(bySecret, bySecret.options(bySecret.url))
	byKeys := boot(t, "--algorithm=ES256")
	wantEndsToReach(byKeys, byKeys.publicOptions(byKeys.url))
}

func wantEndsToReach(g *gatehouse, o verify.Options) {
	t := g.T
	t.Helper()
	v := g.follow(o)
	shops := map[string]http.Handler{
		"net/http": v.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
		"Gin":      ginEngine(v, func(*gin.Context) {}),
	}
	want := func(what, token string, status int) {
		t.Helper()
		for name, shop := range shops {
			if got := ask(shop, token); got != status {
				t.Errorf("%s: %s answers %d, want %d", what, name, got, status)
			}
		}
	}
	end := func(what, token string, end func()) {
		t.Helper()
		want("before "+what, token, http.StatusOK)
		end()
		asynctest.Await(t, what, func() bool { return ask(shops["net/http"], token) == http.StatusUnauthorized })
		want("after "+what, token, http.StatusUnauthorized)
	}
	g.register("alice")
	phone, laptop := g.login("alice"), g.login("alice")
	end("the logout", phone, func() { g.send(http.StatusNoContent, "POST", "/logout", phone, "", "") })
	want("another session", laptop, http.StatusOK)
	var next string
	end("the change of password", laptop, func() {
		next = accessToken(t, g.send(http.StatusOK, "PUT", "/users/me/password", laptop, asJSON,
			`{"current_password": "`+goodPassword+`", "new_password": "another `+goodPassword+`"}`))
	})
	end("the demand for another password", next, func() { g.admin((*auth.Accounts).RequirePasswordChange, "alice") })
	next = accessToken(t, g.send(http.StatusOK, "POST", "/token/password", "", asJSON,
		`{"username": "alice", "current_password": "another `+goodPassword+`", "new_password": "`+goodPassword+`"}`))
	end("the ban", next, func() { g.disable("alice") })
}

// A guard that forgets to stop a request, or one without Middleware before it, would let everybody
// in.
func TestRolesAndPermissionsGuardHandlersOfOtherServices(t *testing.T) {
	t.Parallel()
	g := boot(t)
	o := g.options(g.url)
	v := g.follow(o)
	ring, err := token.SecretRing(o.Keys)
	must(t, err)
	issuer, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: o.Issuer, Audience: o.Audience, Lifetime: time.Hour})
	must(t, err)
	raw, err := issuer.Issue(time.Now(), token.Subject{
		UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1, Roles: "clerk,driver", Scope: "files:read prices:*",
		ACR: verify.ACR1, AuthTime: time.Now().Add(-2 * time.Minute),
	}, time.Hour)
	must(t, err)
	claims, err := v.Verify(raw)
	if err != nil || !slices.Equal(claims.Roles, []string{"clerk", "driver"}) || claims.Scope != "files:read prices:*" {
		t.Errorf("%+v, %v", claims, err)
	}
	for name, test := range map[string]struct {
		guard  func(http.Handler) http.Handler
		gin    gin.HandlerFunc
		status int
	}{
		"role":                   {verify.RequireRole("driver"), ginverify.RequireRole("driver"), http.StatusOK},
		"another role":           {verify.RequireRole("drive"), ginverify.RequireRole("drive"), http.StatusForbidden},
		"both as one":            {verify.RequireRole("clerk,driver"), ginverify.RequireRole("clerk,driver"), http.StatusForbidden},
		"no role":                {verify.RequireRole(""), ginverify.RequireRole(""), http.StatusForbidden},
		"permission":             {verify.RequirePermission("files:read"), ginverify.RequirePermission("files:read"), http.StatusOK},
		"permission by resource": {verify.RequirePermission("prices:write"), ginverify.RequirePermission("prices:write"), http.StatusOK},
		"another permission":     {verify.RequirePermission("files:write"), ginverify.RequirePermission("files:write"), http.StatusForbidden},
		"login":                  {verify.RequireLogin("aal1", time.Hour), ginverify.RequireLogin("aal1", time.Hour), http.StatusOK},
		"acr":                    {verify.RequireACR("aal1"), ginverify.RequireACR("aal1"), http.StatusOK},
		"a better acr":           {verify.RequireACR("aal2"), ginverify.RequireACR("aal2"), http.StatusUnauthorized},
		"fresh":                  {verify.RequireFresh(time.Hour), ginverify.RequireFresh(time.Hour), http.StatusOK},
		"fresher":                {verify.RequireFresh(time.Minute), ginverify.RequireFresh(time.Minute), http.StatusUnauthorized},
	} {
		reached := 0
		count := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })
		engine := gin.New()
		engine.GET("/cart", ginverify.Middleware(v), test.gin, gin.WrapH(count))
		for _, shop := range []http.Handler{v.Middleware(test.guard(count)), engine} {
			if got := ask(shop, raw); got != test.status {
				t.Errorf("%s: %d, want %d", name, got, test.status)
			}
		}
		if want := map[int]int{http.StatusOK: 2}[test.status]; reached != want {
			t.Errorf("%s: the handlers were reached %d times, want %d", name, reached, want)
		}
		bare := gin.New()
		bare.GET("/cart", test.gin, gin.WrapH(count))
		for _, shop := range []http.Handler{test.guard(count), bare} {
			if got := ask(shop, raw); got != http.StatusUnauthorized {
				t.Errorf("%s without Middleware: %d", name, got)
			}
		}
	}
}

func TestGinHasTheIdentityAndStopsWhoeverHasNone(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.register("alice")
	token := g.login("alice")
	handled := 0
	engine := ginEngine(g.follow(g.options(g.url)), func(c *gin.Context) {
		handled++
		if user, ok := verify.FromContext(c.Request.Context()); !ok || user.Username != "alice" {
			t.Errorf("%+v, %t", user, ok)
		}
	})
	if status := ask(engine, token); status != http.StatusOK || handled != 1 {
		t.Errorf("status %d, handled %d times", status, handled)
	}
	if status := ask(engine, token+"x"); status != http.StatusUnauthorized || handled != 1 {
		t.Errorf("status %d, handled %d times", status, handled)
	}
}

// A service that logs each failed poll fills its disk; one that logs none leaves its operator alone
// with the 503s.
func TestAnOutageIsLoggedOnceAndEnds(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.register("alice")
	token := g.login("alice")
	target, err := url.Parse(g.url)
	must(t, err)
	gate := &gate{next: httputil.NewSingleHostReverseProxy(target)}
	gate.next.(*httputil.ReverseProxy).Transport = g.client.Transport
	server := httptest.NewServer(gate)
	t.Cleanup(server.Close)
	log := &asynctest.Buffer{}
	o := g.options(server.URL)
	o.MaxStaleness, o.Log = time.Second, slog.New(slog.NewTextHandler(log, nil))
	shop := g.follow(o).Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for outage := range 2 {
		gate.shut(true)
		asynctest.Await(t, "the bound of staleness", func() bool { return ask(shop, token) == http.StatusServiceUnavailable })
		gate.shut(false)
		asynctest.Await(t, "the end of the outage", func() bool { return ask(shop, token) == http.StatusOK })
		asynctest.Await(t, "the log of the end", func() bool { return strings.Count(log.String(), "polled again") == outage+1 })
		if lines := strings.Count(log.String(), "\n"); lines != 2*(outage+1) {
			t.Errorf("%d lines after outage %d:\n%s", lines, outage+1, log)
		}
	}
	for _, sent := range gate.tokens() {
		if strings.Contains(log.String(), sent) {
			t.Errorf("a token is in the log:\n%s", log)
		}
	}
}

// gate lets requests through or cuts them off.
type gate struct {
	next   http.Handler
	mu     sync.Mutex
	isShut bool
	sent   []string
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	isShut := g.isShut
	g.sent = append(g.sent, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	g.mu.Unlock()
	if isShut {
		panic(http.ErrAbortHandler)
	}
	g.next.ServeHTTP(w, r)
}

func (g *gate) shut(isShut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isShut = isShut
}

func (g *gate) tokens() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent
}

// It is not parallel, because it looks at all goroutines there are.
func TestFollowingEndsWithItsContext(t *testing.T) {
	before := goleak.IgnoreCurrent()
	hang := make(chan struct{})
	asked := make(chan struct{}, 100)
	first := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !first { // polls come one after the other
			asked <- struct{}{}
			<-hang
		}
		first = false
		w.Header().Set("ETag", `W/"SETSETSETSETSETSETSETSETSE.1"`)
		_, _ = io.WriteString(w, `{"keep_seconds":2405,"lifetime_seconds":1805,"revocations":[]}`)
	}))
	g := &gatehouse{T: t, client: &http.Client{Transport: &http.Transport{}}}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := verify.New(ctx, g.options(server.URL))
	must(t, err)
	<-asked
	cancel() // in the middle of a poll
	close(hang)
	g.client.CloseIdleConnections()
	server.Close()
	goleak.VerifyNone(t, before)
}

// A replica that takes requests and never answers must not use up the time in which others could.
func TestAReplicaThatHangsIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.register("alice")
	token := g.login("alice")
	target, err := url.Parse(g.url)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = g.client.Transport
	var mu sync.Mutex
	polls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		polls++
		hangs := polls == 3
		mu.Unlock()
		if hangs {
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	o := g.options(server.URL)
	o.MaxStaleness = 200 * time.Millisecond
	shop := g.follow(o).Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	asynctest.Await(t, "polls after the one that hangs", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return polls > 5
	})
	asynctest.Await(t, "a good verdict", func() bool { return ask(shop, token) == http.StatusOK })
}

func TestTheExamplesWork(t *testing.T) {
	t.Parallel()
	wantExample(boot(t), "secret")
	wantExample(boot(t, "--algorithm=EdDSA"), "public keys")
	wantExample(boot(t, "--algorithm=EdDSA"), "a strong login")
}

func wantExample(g *gatehouse, name string) {
	t := g.T
	t.Helper()
	g.register("alice")
	token := g.login("alice")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := listener.Addr().String()
	must(t, listener.Close())
	program, err := os.Executable()
	must(t, err)
	ctx, end := context.WithCancel(context.Background())
	shop := exec.CommandContext(ctx, program)
	shop.Env = append(os.Environ(), "RUN_EXAMPLE="+name, "GATEHOUSE_URL="+g.url, "SECRET_KEY="+secretKey, "SHOP_ADDR="+addr)
	output := &asynctest.Buffer{}
	shop.Stdout, shop.Stderr = output, output
	must(t, shop.Start())
	t.Cleanup(func() {
		end()
		_ = shop.Wait() // killed
		if t.Failed() {
			t.Logf("the example said:\n%s", output)
		}
	})
	do := func(method, path string) (status int, body, challenge string) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, http.NoBody)
		must(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := g.client.Do(request)
		if err != nil {
			return 0, "", "" // it does not listen yet
		}
		defer response.Body.Close()
		read, err := io.ReadAll(response.Body)
		must(t, err)
		return response.StatusCode, string(read), response.Header.Get("WWW-Authenticate")
	}
	get := func() (status int, body string) {
		status, body, _ = do("GET", "/cart")
		return status, body
	}
	asynctest.Await(t, "the example to answer", func() bool { status, body := get(); return status == http.StatusOK && body == "the cart of alice\n" })
	status, _, challenge := do("POST", "/payment")
	if strings.Contains(challenge, `acr_values="aal2", max_age="300"`) != (name == "a strong login") {
		t.Errorf("a payment by password alone: %d %s", status, challenge)
	}
	g.disable("alice")
	asynctest.Await(t, "the ban", func() bool { status, _ := get(); return status == http.StatusUnauthorized })
}
