package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// serviceToken returns a token that another service makes.
func serviceToken(t testing.TB, now time.Time) string {
	t.Helper()
	keys, err := token.NewServiceKeys([][]byte{[]byte(signingKey)}, "https://id.test")
	must(t, err)
	raw, err := keys.Issue(now, "shop")
	must(t, err)
	return raw
}

// confirmed starts a service whose set of revocations is up to date during the whole test.
func confirmed(t *testing.T) *fixture {
	t.Helper()
	f := start(t, settings{})
	f.revoked.Confirm(time.Now().Add(time.Hour))
	return f
}

func (f *fixture) revocations(query string, header ...string) answered {
	f.Helper()
	header = append(header, "Authorization", "Bearer "+serviceToken(f, time.Now()))
	return f.do(f.request("GET", "/revocations"+query, "", header...))
}

// wantRevocations checks the number of entries in an answer, and returns its cursor.
func (f *fixture) wantRevocations(a answered, want int) (cursor string) {
	f.Helper()
	if a.status != http.StatusOK {
		f.Fatalf("status %d: %s", a.status, a.body)
	}
	if entries, _ := a.json(f, "revocations").([]any); len(entries) != want {
		f.Errorf("%d revocations, want %d: %s", len(entries), want, a.body)
	}
	return strings.Trim(strings.TrimPrefix(a.header.Get("ETag"), "W/"), `"`)
}

func (f *fixture) revokeSessions(n int) {
	f.Helper()
	for range n {
		f.revoked.Add(time.Now(),
			[]revocation.Entry{{Subject: uuid.New(), Version: revocation.NoVersion}})
	}
}

func TestAServiceIsToldWhatItDoesNotKnowYet(t *testing.T) {
	t.Parallel()
	f := confirmed(t)
	user, session := uuid.New(), uuid.New()
	first := f.wantRevocations(f.revocations(""), 0)
	f.revoked.Add(time.Now(),
		[]revocation.Entry{{Subject: user, Version: 5},
			{Subject: session, Version: revocation.NoVersion}})
	a := f.revocations("?since=" + first)
	second := f.wantRevocations(a, 2)
	for _, want := range []string{
		fmt.Sprintf(`{"user_id":"%s","version":5}`, user),
		fmt.Sprintf(`{"session_id":"%s"}`, session), `"keep_seconds":2405,"lifetime_seconds":1805`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%s is not in %s", want, a.body)
		}
	}
	f.revokeSessions(1)
	f.wantRevocations(f.revocations("?since="+second), 1)
	f.wantRevocations(f.revocations("?since="+second+"&since=OTHERREPLICAOTHERREPLICAOT.7"), 1)
	f.wantRevocations(f.revocations("?since=OTHERREPLICAOTHERREPLICAOT.7"), 3)
	f.wantRevocations(f.revocations("?since="+first), 3)
}

// Many services may share an address. The log must name the one that asks too much.
func TestTheLogNamesTheServiceThatAsksForRevocations(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.want("while it may be behind", f.revocations(""), 503)
	f.revoked.Confirm(time.Now().Add(time.Hour))
	f.wantRevocations(f.revocations(""), 0)
	f.want("with a token of nobody's",
		f.do(f.request("GET", "/revocations", "", "Authorization",
			"Bearer "+serviceToken(t, time.Now())+"x")), 401)
	var named []any
	for _, line := range f.log.lines(t) {
		named = append(named, line["service"])
	}
	if !slices.Equal(named, []any{"shop", "shop", nil}) {
		t.Errorf("services: %v", named)
	}
}

func TestWhereNothingIsNewTheAnswerIs304(t *testing.T) {
	t.Parallel()
	f := confirmed(t)
	f.revokeSessions(3)
	cursor := f.wantRevocations(f.revocations(""), 3)
	for ifNoneMatch, status := range map[string]int{
		`W/"` + cursor + `"`:                    304,
		`"` + cursor + `"`:                      304, // weak comparison
		`W/"OTHER.1" ,	W/"` + cursor + `",,"x"`: 304,
		`*`:                                     304,
		cursor:                                  200,
		`W/"` + cursor + `0"`:                   200,
		`w/"` + cursor + `"`:                    200,
		`"W/"` + cursor + `"`:                   200,
		``:                                      200,
		strings.Repeat(`"x",`, 1000) + `"` + cursor + `x"`: 200,
	} {
		a := f.revocations("?since="+cursor, "If-None-Match", ifNoneMatch)
		if a.status != status || status == 304 && a.body != "" {
			t.Errorf("%s: %d %s", ifNoneMatch, a.status, a.body)
		}
	}
	a := f.revocations("", "If-None-Match", `"x"`, "If-None-Match", `W/"`+cursor+`"`)
	if a.status != 304 {
		t.Errorf("in the second of two headers: %d", a.status)
	}
	for _, line := range f.log.lines(t) {
		if line["status"] == 304.0 {
			t.Error("each poll leaves a line in the log")
		}
	}
	f.revokeSessions(1)
	if a := f.revocations("?since="+cursor, "If-None-Match", `W/"`+cursor+`"`); a.status != 200 {
		t.Errorf("after one more: %d", a.status)
	}
}

// A service that follows a replica believes that its answer is complete. A replica that cannot know
// must not answer.
func TestAReplicaThatMayBeBehindDoesNotAnswer(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for what, confirm := range map[string]func(){
		"never confirmed":    func() {},
		"confirmed long ago": func() { f.revoked.Confirm(time.Now().Add(-time.Minute)) },
	} {
		confirm()
		for _, etag := range []string{`W/"` + f.revoked.Cursor() + `"`, "*", ""} {
			a := f.revocations("", "If-None-Match", etag)
			if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" ||
				a.header.Get("ETag") != "" {
				t.Errorf("%s, %s: %d %v", what, etag, a.status, a.header)
			}
		}
	}
}

// The list of banned users is for services that could forge a token anyway.
func TestRevocationsAreForServicesAndServicesAreNoUsers(t *testing.T) {
	t.Parallel()
	f := confirmed(t)
	const challenge = `Bearer realm="gatehouse"`
	for name, test := range map[string]struct {
		header    []string
		challenge string
	}{
		"nobody": {nil, challenge},
		"basic":  {[]string{"Authorization", "Basic c2hvcDpzaG9w"}, challenge},
		"a user": {[]string{"Authorization", "Bearer " + f.loggedIn("alice")},
			challenge + `, error="invalid_token"`},
		"an expired token": {[]string{"Authorization",
			"Bearer " + serviceToken(t,
				time.Now().Add(-time.Hour))}, challenge + `, error="invalid_token"`},
		"a malformed token": {[]string{"Authorization", "Bearer x"},
			challenge + `, error="invalid_token"`},
	} {
		a := f.do(f.request("GET", "/revocations", "", test.header...))
		if a.status != http.StatusUnauthorized ||
			a.header.Get("WWW-Authenticate") != test.challenge ||
			a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, a.status, a.header)
		}
	}
	for _, path := range []string{"/users/me", "/verify", "/users/me/sessions"} {
		if a := f.do(f.request("GET", path, "", "Authorization",
			"Bearer "+serviceToken(t, time.Now()))); a.status != http.StatusUnauthorized {
			t.Errorf("a service at %s: %d %s", path, a.status, a.body)
		}
	}
	if a := f.do(f.request("HEAD", "/revocations", "", "Authorization",
		"Bearer "+serviceToken(t, time.Now()))); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: %d %s", a.status, a.body)
	}
}

func TestHostileCursorsAreUnknownOrRefused(t *testing.T) {
	t.Parallel()
	f := confirmed(t)
	f.revokeSessions(2)
	name, _, _ := strings.Cut(f.revoked.Cursor(), ".")
	for _, cursor := range []string{
		"", "0", "-1", "null", "'; DROP TABLE revocations", "../../etc/passwd", "\x00", "a\r\nX: y",
		"名前", "\xff", "%", name, name + ".", name + ".3",
		name + ".-1", name + ".1e1", name + ".18446744073709551616",
		strings.Repeat("x", maxCursorLength),
	} {
		f.wantRevocations(f.revocations("?since="+url.QueryEscape(cursor)), 2)
	}
	many := strings.Repeat("since=x&", maxCursors)
	f.wantRevocations(f.revocations("?"+many), 2)
	for _, query := range []string{many + "since=x",
		"since=" + strings.Repeat("x", maxCursorLength+1)} {
		if a := f.revocations("?" + query); a.status != http.StatusUnprocessableEntity ||
			!strings.Contains(a.body, `"field":"since"`) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestAHundredThousandRevocationsAreToldInOneAnswer(t *testing.T) {
	t.Parallel()
	f := confirmed(t)
	f.client = &http.Client{} // smaller answers are compared with the contract
	t.Cleanup(f.client.CloseIdleConnections)
	f.revokeSessions(100_000)
	f.wantRevocations(f.revocations(""), 100_000)
}

// BenchmarkRevocations measures what a poll costs a replica: one that finds nothing new, and one
// that finds one entry among 100,000.
func BenchmarkRevocations(b *testing.B) {
	set := revocation.NewSet(time.Now(), 30*time.Minute)
	for range 100_000 {
		set.Add(time.Now(),
			[]revocation.Entry{{Subject: uuid.New(), Version: revocation.NoVersion}})
	}
	set.Confirm(time.Now().Add(time.Hour))
	known := set.Cursor()
	set.Add(time.Now(), []revocation.Entry{{Subject: uuid.New(), Version: revocation.NoVersion}})
	current := set.Cursor()
	rules := authtest.New(b, nil,
		authtest.Options{Secrets: [][]byte{[]byte(signingKey)}, Revoked: set})
	metrics := prometheus.NewRegistry()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Metrics: metrics,
		RequestTimeout: time.Minute,
	})
	must(b, err)
	api, err := New(Options{Edge: outermost, Rules: rulesOf(rules), Metrics: metrics})
	must(b, err)
	handler := outermost.Serve(api.Fallbacks(), api.Routes()...)
	raw := serviceToken(b, time.Now().Add(4*time.Second))
	for name, test := range map[string]struct {
		cursor string
		status int
	}{"nothing new": {current, 304}, "one new": {known, 200}, "all": {"", 200}} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequestWithContext(context.Background(), "GET",
				"/revocations?since="+test.cursor, http.NoBody)
			r.Header.Set("Authorization", "Bearer "+raw)
			r.Header.Set("If-None-Match", `W/"`+test.cursor+`"`)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				if handler.ServeHTTP(w, r); w.Code != test.status {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}

// Readers could not tell whether a list that is signed with a secret is ours, since each of them
// has the secret.
func TestThereIsNoSignedFeedWhileTheKeyIsASecret(t *testing.T) {
	t.Parallel()
	f := confirmed(t)
	a := f.do(f.request("GET", "/revocations.jwt", ""))
	f.want("by HS256", a, http.StatusNotFound)
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a cache may keep that: %v", a.header)
	}
	f.useKey(token.ES256)
	a = f.do(f.request("GET", "/revocations.jwt", ""))
	f.want("by a key", a, http.StatusOK)
	if _, err := revocation.VerifyFeed(f.issuer, time.Now(), a.body); err != nil ||
		a.header.Get("Cache-Control") != "public, max-age=1" {
		t.Errorf("%v, %v", err, a.header)
	}
	if a := f.do(f.request("HEAD", "/revocations.jwt", "")); a.status != http.StatusOK ||
		a.body != "" {
		t.Errorf("HEAD: %d %s", a.status, a.body)
	}
}

// If a replica is behind, every reader of its feed would believe for seconds that the feed is
// complete.
func TestAReplicaThatMayBeBehindSignsNoFeed(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.useKey(token.EdDSA)
	for what, confirm := range map[string]func(){
		"never confirmed":    func() {},
		"confirmed long ago": func() { f.revoked.Confirm(time.Now().Add(-time.Minute)) },
	} {
		confirm()
		a := f.do(f.request("GET", "/revocations.jwt", ""))
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" ||
			a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", what, a.status, a.header)
		}
	}
	f.revoked.Confirm(time.Now().Add(time.Hour))
	f.want("confirmed", f.do(f.request("GET", "/revocations.jwt", "")), http.StatusOK)
	f.revoked.Add(time.Now(),
		[]revocation.Entry{{Subject: uuid.New(), Version: revocation.NoVersion}})
	a := f.do(f.request("GET", "/revocations.jwt", ""))
	if feed, err := revocation.VerifyFeed(f.issuer, time.Now(), a.body); err != nil ||
		len(feed.Sessions) != 1 {
		t.Errorf("%+v, %v", feed, err)
	}
}

// useKey makes a new key sign the tokens.
func (f *fixture) useKey(a token.Algorithm) {
	f.Helper()
	key, err := token.GenerateKey(a)
	must(f, err)
	ring, err := token.NewRing(key)
	must(f, err)
	f.issuer.SetRing(ring)
}
