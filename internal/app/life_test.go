package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/migrations"
)

func TestServiceStartsServesAndStops(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t))
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 200,
		"/users/me": 404} {
		if a := r.onOps(path); a.status != want {
			t.Errorf("%s of the operators' port: %d, want %d", path, a.status, want)
		}
	}
	r.want(http.StatusOK, r.do(r.meRequest(r.loggedIn("alice", goodPassword))))
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		r.want(http.StatusNotFound, r.do(r.request("GET", path, "")))
	}
	r.stop()
	for _, address := range []string{r.public, r.ops} {
		if a, err := send(newClient(t), mustRequest(t, address+"/readyz")); err == nil {
			t.Errorf("%s still answers %d", address, a.status)
		}
	}
}

func mustRequest(t testing.TB, url string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	return request
}

// A setting that reaches no rule protects nobody.
func TestNobodyRegistersWithAWordOfTheInstallation(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t), "--password-words=Bakery,orders")
	for pw, want := range map[string]int{
		"Orders-2026!": http.StatusUnprocessableEntity, goodPassword: http.StatusCreated,
	} {
		r.want(want, r.do(r.registerRequest("alice", pw)))
	}
}

// Dashboards and alerts are built on these names.
func TestMetricsTellWhatHappened(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t))
	token := r.loggedIn("alice", goodPassword)
	r.want(http.StatusUnauthorized, r.do(r.loginRequest("alice", "wrong")))
	r.want(http.StatusOK, r.do(r.meRequest(token)))

	page := r.onOps("/metrics").body
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	must(t, err)
	for _, want := range []struct {
		name   string
		labels map[string]string
		value  float64
	}{
		{"gatehouse_build_info", map[string]string{"version": "test"}, 1},
		{"gatehouse_http_requests_total",
			map[string]string{"route": "/users", "method": "POST", "status": "2xx"}, 1},
		{"gatehouse_http_requests_total",
			map[string]string{"route": "/token", "method": "POST", "status": "2xx"}, 1},
		{"gatehouse_http_requests_total",
			map[string]string{"route": "/token", "method": "POST", "status": "4xx"}, 1},
		{"gatehouse_http_requests_total",
			map[string]string{"route": "/users/me", "method": "GET", "status": "2xx"}, 1},
		{"gatehouse_http_request_duration_seconds",
			map[string]string{"route": "/token", "method": "POST"}, 2},
		{"gatehouse_logins_total", map[string]string{"outcome": "success"}, 1},
		{"gatehouse_logins_total", map[string]string{"outcome": "wrong_password"}, 1},
		{"gatehouse_password_lane_threads", nil, 2},
		{"gatehouse_password_lane_busy", nil, 0},
		{"gatehouse_password_lane_queued", nil, 0},
		{"gatehouse_password_lane_refused_total", nil, 0},
		{"gatehouse_password_lane_wait_seconds", nil, 3},
	} {
		if got, ok := metric(families[want.name], want.labels); !ok || got != want.value {
			t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	for _, job := range []string{"revocations", "sessions", "rate_limits"} {
		if _, ok := metric(families["gatehouse_upkeep_last_success_timestamp_seconds"],
			map[string]string{"task": job}); !ok {
			t.Errorf("the success of %s is not there", job)
		}
	}
	for _, name := range []string{
		"gatehouse_password_lane_low_priority_threads", "gatehouse_db_pool_max_connections",
		"gatehouse_db_pool_acquired_connections", "gatehouse_db_pool_idle_connections",
		"gatehouse_db_pool_acquires_total", "gatehouse_db_pool_waits_total",
		"gatehouse_db_pool_wait_seconds_total", "gatehouse_db_pool_new_connections_total",
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if _, ok := metric(families[name], nil); !ok {
			t.Errorf("%s is not there", name)
		}
	}
}

// metric returns the value of a series. For a histogram, that is the number of observations.
func metric(family *dto.MetricFamily, labels map[string]string) (float64, bool) {
	for _, m := range family.GetMetric() {
		got := map[string]string{}
		for _, pair := range m.GetLabel() {
			got[pair.GetName()] = pair.GetValue()
		}
		matches := len(got) == len(labels)
		for name, value := range labels {
			matches = matches && got[name] == value
		}
		if !matches {
			continue
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue(), true
		case m.Gauge != nil:
			return m.Gauge.GetValue(), true
		case m.Histogram != nil:
			return float64(m.Histogram.GetSampleCount()), true
		}
	}
	return 0, false
}

// In a new installation everything starts at once. The service must wait for its schema, and not
// fail.
func TestServiceWaitsForItsSchemaAndWatchesIt(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	r := launch(t, databaseURL)
	r.awaitPatience()
	r.want(http.StatusOK, r.onOps("/livez"))
	r.want(http.StatusServiceUnavailable, r.onOps("/readyz"))

	migrator, err := migrations.Open(t.Context(), databaseURL)
	must(t, err)
	t.Cleanup(func() { must(t, migrator.Close()) })
	_, err = migrator.Up(t.Context())
	must(t, err)
	r.awaitStart()
	r.want(http.StatusOK, r.onOps("/readyz"))

	// The migrations of the next release come before its binary.
	conn := connect(t, databaseURL)
	_, err = conn.Exec(t.Context(),
		"INSERT INTO gatehouse_schema_version (version_id, is_applied) VALUES ($1, true)",
		migrations.Latest()+1)
	must(t, err)
	r.want(http.StatusOK, r.onOps("/readyz"))
	_, err = conn.Exec(t.Context(), "DELETE FROM gatehouse_schema_version WHERE version_id > $1",
		migrations.Latest())
	must(t, err)

	_, err = migrator.DownTo(t.Context(), 0)
	must(t, err)
	if a := r.onOps("/readyz"); a.status != http.StatusServiceUnavailable ||
		!strings.Contains(a.body, "gatehouse migrate") {
		t.Errorf("without its schema: %d %s", a.status, a.body)
	}
	r.want(http.StatusOK, r.onOps("/livez"))
	_, err = migrator.Up(t.Context())
	must(t, err)
	r.awaitReadiness(http.StatusOK)
}

// awaitPatience returns when the replica has logged that it waits.
func (r *replica) awaitPatience() {
	r.Helper()
	asynctest.Await(r, "a word about the wait", func() bool {
		select {
		case <-r.ended:
			r.Fatalf("the service did not wait: %v", r.err)
		default:
		}
		return len(r.log.lines(r, "waiting for the database")) > 0
	})
}

// A replica that is stopped before it is ready has not failed.
func TestServiceCanBeStoppedWhileItWaits(t *testing.T) {
	t.Parallel()
	for name, databaseURL := range map[string]string{
		"for its schema": dbtest.Empty(t),
		"for its database": "postgres://gatehouse@" + dbtest.FreeAddr(t) +
			"/gatehouse?sslmode=disable",
	} {
		r := launch(t, databaseURL)
		t.Log("waits " + name)
		r.awaitPatience()
		r.stop()
	}
}

// An error that no wait can mend must end the process, with words for the operator.
func TestServiceDoesNotStartWithWrongSettings(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	running := boot(t, databaseURL)
	for name, test := range map[string]struct{ flag, says string }{
		"no such database": {"--database-url=" + otherDatabase(t, databaseURL), "3D000"},
		"public port is taken": {"--listen-addr=" + strings.TrimPrefix(running.public, "http://"),
			"address already in use"},
		"ops port is taken": {"--ops-addr=" + strings.TrimPrefix(running.ops, "http://"),
			"address already in use"},
	} {
		r := launch(t, databaseURL, test.flag)
		<-r.ended
		if r.err == nil || !strings.Contains(r.err.Error(), test.says) {
			t.Errorf("%s: %v", name, r.err)
		}
	}
	if err := app.Run(t.Context(), config.Serve{}, app.Options{}); err == nil ||
		!strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("no settings at all: %v", err)
	}
}

func otherDatabase(t testing.TB, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	u.Path = "/not_there"
	return u.String()
}

// Without the key under which stored hashes were made, every login with one of them would fail.
func TestServiceDoesNotStartWithoutAPasswordKeyOnRecord(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	boot(t, databaseURL, "--password-pepper="+strings.Repeat("p", 32)).stop()
	r := launch(t, databaseURL)
	<-r.ended
	if r.err == nil || !strings.Contains(r.err.Error(), "PASSWORD_PEPPER lacks the key") {
		t.Errorf("%v", r.err)
	}
}

// Under another id nobody who has removed the password could log in any more.
func TestServiceDoesNotStartUnderAnotherRPIDWhileThereArePasskeys(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	boot(t, databaseURL, "--issuer=https://login.example.org").stop()
	boot(t, databaseURL, "--issuer=https://login.example.net").stop() // there are none yet
	insertUser(t, databaseURL)
	_, err := connect(t, databaseURL).Exec(t.Context(), `
		INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
		SELECT gen_random_uuid(), id, 'id', 'key', 'Key', 0, id, false, false, true, '{}' FROM users`)
	must(t, err)
	for _, issuer := range []string{"https://login.example.org", "http://127.0.0.1:8000"} {
		r := launch(t, databaseURL, "--issuer="+issuer)
		<-r.ended
		if r.err == nil || !strings.Contains(r.err.Error(), "set WEBAUTHN_RP_ID=login.example.net") {
			t.Errorf("%s: %v", issuer, r.err)
		}
	}
	boot(t, databaseURL, "--issuer=https://login.example.net").stop()
}

func TestAccountsAreManagedOutsideTheService(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	r := boot(t, databaseURL)
	token := r.loggedIn("alice", goodPassword)
	admin := openAdmin(t, databaseURL)

	_, err := admin.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	r.want(http.StatusUnauthorized, r.do(r.meRequest(token)))
	r.want(http.StatusUnauthorized, r.do(r.loginRequest("alice", goodPassword)))
	_, err = admin.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	r.want(http.StatusUnauthorized, r.do(r.meRequest(token)))
	r.want(http.StatusOK, r.do(r.loginRequest("alice", goodPassword)))

	_, _, err = admin.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "bob", Password: goodPassword})
	must(t, err)
	r.want(http.StatusOK, r.do(r.loginRequest("bob", goodPassword)))
}

func openAdmin(t *testing.T, databaseURL string) *app.Admin {
	t.Helper()
	admin := adminOf(t, databaseURL)
	must(t, admin.Peppers.Prove(t.Context()))
	return admin
}
