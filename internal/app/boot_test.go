package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/httpapi/apitest"
	"gatehouse.example/internal/token"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	secretKey    = "a secret key of the tests with 32 bytes or more"
	goodPassword = "correct horse battery staple"
)

// replica is a service that runs as gatehouse serve runs it.
type replica struct {
	*testing.T
	public, ops string       // URLs; public is known once it has started
	client      *http.Client // compares the answers of the public port with the contract
	plain       *http.Client // for the operators' port
	log         *logBuffer
	started     chan string   // gets the public URL
	ended       chan struct{} // closed when Run has returned err
	err         error
	terminate   context.CancelFunc // as SIGTERM does
}

// launch starts a replica and does not wait until it is ready. It is stopped when the test ends.
func launch(t *testing.T, databaseURL string, flags ...string) *replica {
	t.Helper()
	return launchWith(t, app.Options{}, databaseURL, flags...)
}

// launchWith is launch with options of the test's own.
func launchWith(t *testing.T, options app.Options, databaseURL string, flags ...string) *replica {
	t.Helper()
	opsAddr := dbtest.FreeAddr(t) // tests ask this port before the replica says where it listens
	settings, err := config.Load(append([]string{
		"--database-url=" + databaseURL, "--secret-key=" + secretKey, "--bcrypt-cost=10",
		// so that tests can make tokens
		"--listen-addr=127.0.0.1:0", "--ops-addr=" + opsAddr, "--algorithm=HS256",
		// Time-outs that never matter, however long a password waits on a busy machine to be hashed
		// at low priority.
		"--request-timeout=10m", "--database-statement-timeout=10m", "--shutdown-delay=0s",
		"--shutdown-grace=10m",
	}, flags...))
	must(t, err)
	r := &replica{
		T: t, ops: "http://" + opsAddr, client: apitest.Client(t), plain: newClient(t),
		log:     &logBuffer{},
		started: make(chan string, 1), ended: make(chan struct{}),
	}
	ctx, terminate := context.WithCancel(context.Background())
	r.terminate = terminate
	go func() {
		defer close(r.ended)
		options.Log =
			slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		options.Version, options.Cores = "test", 2
		options.Started = func(public, _ net.Addr) { r.started <- "http://" + public.String() }
		r.err = app.Run(ctx, settings, options)
	}()
	t.Cleanup(func() {
		terminate()
		<-r.ended
		if t.Failed() {
			t.Logf("log of the service:\n%s", r.log)
		}
	})
	return r
}

// boot starts a replica and waits until it is ready.
func boot(t *testing.T, databaseURL string, flags ...string) *replica {
	t.Helper()
	r := launch(t, databaseURL, flags...)
	r.awaitStart()
	return r
}

func (r *replica) awaitStart() {
	r.Helper()
	select {
	case r.public = <-r.started:
	case <-r.ended:
		r.Fatalf("the service ended at its start: %v", r.err)
	}
}

// stop sends what SIGTERM sends, and waits for the end, which must be without an error.
func (r *replica) stop() {
	r.Helper()
	r.terminate()
	<-r.ended
	if r.err != nil {
		r.Errorf("the service ended with %v", r.err)
	}
}

// insertUser makes an account that nobody can log in to, with a session and a token. It avoids the
// cost of hashing, which the race detector multiplies.
func insertUser(t testing.TB, databaseURL string) string {
	t.Helper()
	id := uuid.New()
	_, err := connect(t, databaseURL).Exec(t.Context(), `
		WITH u AS (
			INSERT INTO users (id, username, username_key, password_hash)
			VALUES ($1, 'alice', 'alice', '$2b$10$' || repeat('h', 53))
		)
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		VALUES ($1, $1, decode(repeat('00', 16), 'hex'), now() + interval '1 day', now() + interval '1 day', '', '')`, id)
	must(t, err)
	return issueToken(t, secretKey, id, time.Now())
}

// issueToken makes a token of the session that insertUser made under the user's id.
func issueToken(t testing.TB, key string, user uuid.UUID, at time.Time) string {
	t.Helper()
	return issue(t, key,
		token.Subject{UserID: user, SessionID: user, Username: "alice", Version: 1}, at)
}

func issue(t testing.TB, key string, subject token.Subject, at time.Time) string {
	t.Helper()
	return issueBy(t, "http://localhost:8000", key, subject, at)
}

// issueBy is issue for a service with another ISSUER.
func issueBy(
	t testing.TB, issuerURL, key string, subject token.Subject, at time.Time,
) string {
	t.Helper()
	ring, err := token.SecretRing([][]byte{[]byte(key)})
	must(t, err)
	issuer, err := token.NewIssuer(token.Settings{
		Ring: ring, Issuer: issuerURL, Audience: "gatehouse", Lifetime: time.Hour,
	})
	must(t, err)
	issued, err := issuer.Issue(at, subject, time.Hour)
	must(t, err)
	return issued
}

func connect(t testing.TB, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	close  bool // the server closes the connection
	body   string
}

func send(client *http.Client, request *http.Request) (answer, error) {
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, response.Close, string(body)}, err
}

func (r *replica) do(request *http.Request) answer {
	r.Helper()
	a, err := send(r.client, request)
	must(r, err)
	return a
}

// atOnce sends several requests at the same time.
func (r *replica) atOnce(times int, request func() *http.Request) <-chan answer {
	answers := make(chan answer, times)
	for range times {
		go func() {
			a, err := send(r.client, request())
			if err != nil {
				r.Error(err)
			}
			answers <- a
		}()
	}
	return answers
}

// request makes a request. header is name, value, name, value, …
func (r *replica) request(method, path, body string, header ...string) *http.Request {
	r.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, r.public+path,
		strings.NewReader(body))
	must(r, err)
	for n := 0; n < len(header); n += 2 {
		request.Header.Add(header[n], header[n+1])
	}
	return request
}

func (r *replica) registerRequest(username, password string) *http.Request {
	r.Helper()
	body, err := json.Marshal(map[string]string{"username": username, "password": password})
	must(r, err)
	return r.request("POST", "/users", string(body), "Content-Type", "application/json")
}

func (r *replica) loginRequest(username, password string) *http.Request {
	r.Helper()
	form := url.Values{"username": {username}, "password": {password}}.Encode()
	return r.request("POST", "/token", form, "Content-Type", "application/x-www-form-urlencoded")
}

func (r *replica) refreshRequest(token string) *http.Request {
	r.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}.Encode()
	return r.request("POST", "/token", form, "Content-Type", "application/x-www-form-urlencoded")
}

func (r *replica) meRequest(token string) *http.Request {
	r.Helper()
	return r.request("GET", "/users/me", "", "Authorization", "Bearer "+token)
}

// loggedIn registers a user, and returns an access token of theirs.
func (r *replica) loggedIn(username, password string) string {
	r.Helper()
	r.want(http.StatusCreated, r.do(r.registerRequest(username, password)))
	return r.login(username, password)
}

// login returns an access token.
func (r *replica) login(username, password string) string {
	r.Helper()
	a := r.do(r.loginRequest(username, password))
	if a.status != http.StatusOK {
		r.Fatalf("login: %d %s", a.status, a.body) // rather than go on without a token
	}
	return tokenIn(r, a)
}

func tokenIn(t testing.TB, a answer) string {
	t.Helper()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	must(t, json.Unmarshal([]byte(a.body), &body))
	return body.AccessToken
}

func (r *replica) want(status int, a answer) {
	r.Helper()
	if a.status != status {
		r.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
}

// onOps asks the operators' port. The status is 0 while nobody listens there.
func (r *replica) onOps(path string) answer {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.ops+path, nil)
	must(r, err)
	a, err := send(r.plain, request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return answer{}
	}
	must(r, err)
	return a
}

func (r *replica) awaitReadiness(status int) {
	r.Helper()
	asynctest.Await(r, "/readyz to answer",
		func() bool { return r.onOps("/readyz").status == status })
}

// newClient returns a client with connections of its own, which are closed when the test ends.
func newClient(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 128}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logBuffer keeps what was logged.
type logBuffer struct{ asynctest.Buffer }

// lines returns the log lines with a message.
func (l *logBuffer) lines(t testing.TB, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(l.String()) {
		var fields map[string]any
		must(t, json.Unmarshal([]byte(line), &fields))
		if fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}
