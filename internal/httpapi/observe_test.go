package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/edge"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// lines returns the log, as JSON.
func (l *logBuffer) lines(t *testing.T) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("a log line is no JSON: %v: %s", err, line)
		}
		lines = append(lines, m)
	}
	return lines
}

func TestEveryRequestLeavesOneLogLineUnderItsId(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	created := f.register("alice", goodPassword)
	refused := f.login("alice", "wrong")
	lines := f.log.lines(t)
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), f.log)
	}
	for n, want := range []map[string]any{
		{"request_id": created.header.Get("X-Request-Id"), "method": "POST", "route": "/users",
			"status": 201.0, "client": "127.0.0.1",
			"outcome": "success", "user_id": created.json(t, "user", "id")},
		{"request_id": refused.header.Get("X-Request-Id"), "method": "POST", "route": "/token",
			"status": 401.0, "outcome": "wrong_password"},
	} {
		for key, value := range want {
			if lines[n][key] != value || value == "" {
				t.Errorf("line %d: %s is %v, want %v", n, key, lines[n][key], value)
			}
		}
	}
	if got := counted(t, f.metrics, "gatehouse_logins_total", "wrong_password"); got != 1 {
		t.Errorf("gatehouse_logins_total{outcome=wrong_password} is %v", got)
	}
}

// counted returns the value of a counter by its first label.
func counted(t *testing.T, r *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := r.Gather()
	must(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no %s{%s}", name, label)
	return 0
}

func TestOnlyATrustedProxyNamesTheClientAndTheRequest(t *testing.T) {
	t.Parallel()
	trusted := start(t,
		settings{trustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("10.0.0.0/8")}})
	stranger := start(t, settings{})
	for _, test := range []struct {
		name      string
		f         *fixture
		header    []string
		client    string
		requestID string // "": a new one
	}{
		{"direct", stranger, nil, "127.0.0.1", ""},
		{"forged by a client", stranger,
			[]string{"X-Forwarded-For", "1.1.1.1", "X-Request-Id", "forged"}, "127.0.0.1", ""},
		{"one proxy", trusted, []string{"X-Forwarded-For", "1.1.1.1", "X-Request-Id", "id-1.2:3_4"},
			"1.1.1.1", "id-1.2:3_4"},
		{"two proxies", trusted, []string{"X-Forwarded-For", "1.1.1.1, 10.0.0.9"}, "1.1.1.1", ""},
		{"forged through a proxy", trusted,
			[]string{"X-Forwarded-For", "6.6.6.6, 1.1.1.1, 10.0.0.9"}, "1.1.1.1", ""},
		{"forged in a line of its own", trusted,
			[]string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "1.1.1.1"}, "1.1.1.1", ""},
		{"IPv6", trusted, []string{"X-Forwarded-For", "2001:db8::1"}, "2001:db8::1", ""},
		{"no address", trusted, []string{"X-Forwarded-For", "unknown"}, "127.0.0.1", ""},
		{"other header", trusted, []string{"X-Real-Ip", "6.6.6.6", "Forwarded", "for=6.6.6.6"},
			"127.0.0.1", ""},
		{"id with a quote", trusted, []string{"X-Request-Id", `a"b`}, "127.0.0.1", ""},
		{"id with a space", trusted, []string{"X-Request-Id", "a b"}, "127.0.0.1", ""},
		{"id too long", trusted, []string{"X-Request-Id", strings.Repeat("a", 129)}, "127.0.0.1",
			""},
		{"id empty", trusted, []string{"X-Request-Id", ""}, "127.0.0.1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.f.me(test.header...).header.Get("X-Request-Id")
			lines := test.f.log.lines(t)
			last := lines[len(lines)-1]
			if last["client"] != test.client || last["request_id"] != got {
				t.Errorf("logged client %v and id %v; want %s and %s", last["client"],
					last["request_id"], test.client, got)
			}
			if made := len(got) == 26; test.requestID != "" && got != test.requestID ||
				test.requestID == "" && !made {
				t.Errorf("X-Request-Id %q, want %q", got, test.requestID)
			}
		})
	}
}

func TestHSTSIsSentWhereTLSIsOn(t *testing.T) {
	t.Parallel()
	f := start(t, settings{trustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	if got := f.me("X-Forwarded-Proto",
		"https").header.Get("Strict-Transport-Security"); got == "" {
		t.Error("not behind a proxy with TLS")
	}
	if got := f.me().header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("without TLS: %q", got)
	}
}

// bare returns a server with one route and without a database.
func bare(t *testing.T, r route) (http.Handler, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	outermost, err := edge.New(edge.Options{
		Log:     slog.New(slog.NewJSONHandler(log, nil)),
		Metrics: prometheus.NewRegistry(), RequestTimeout: time.Minute,
	})
	must(t, err)
	return outermost.Serve(edge.Fallbacks{}, edge.Route{
		Method: "GET", Path: "/", Answer: r.serve(&API{edge: outermost}),
	}), log
}

func TestAPanicIsAnsweredInTheFormOfTheRouteAndLoggedWithItsStack(t *testing.T) {
	t.Parallel()
	for body, write := range map[string]edge.Form{`"status":500`: nil,
		`"error":"server_error"`: asTokenError} {
		h, log := bare(t,
			route{guard: anybody, errors: write,
				handle: func(*gin.Context) error { panic("the cause") }})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), body) ||
			strings.Contains(w.Body.String(), "cause") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		line := log.lines(t)[0]
		if line["error"] != "panic: the cause" ||
			!strings.Contains(line["stack"].(string), "observe_test.go") ||
			line["level"] != "ERROR" {
			t.Errorf("%v", line)
		}
	}
}

func TestAnUnknownErrorSaysNothingToTheCallerAndAllToTheLog(t *testing.T) {
	t.Parallel()
	h, log := bare(t,
		route{guard: anybody, handle: func(*gin.Context) error { return errors.New("the cause") }})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "cause") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if line := log.lines(t)[0]; line["error"] != "the cause" ||
		line["request_id"] != w.Header().Get("X-Request-Id") {
		t.Errorf("%v", line)
	}
}

func TestAClientThatLeftIsNoFault(t *testing.T) {
	t.Parallel()
	h, log := bare(t,
		route{guard: anybody, handle: func(*gin.Context) error { return context.Canceled }})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if line := log.lines(t)[0]; line["level"] != "INFO" || line["status"] != 499.0 ||
		line["outcome"] != "canceled" {
		t.Errorf("%v", line)
	}
}
