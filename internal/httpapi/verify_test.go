package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// gate is /verify with a check that knows one token.
func gate(t testing.TB, access token.Access, verdict error) http.Handler {
	return gateWithLog(t, slog.DiscardHandler, access, verdict)
}

func gateWithLog(t testing.TB, log slog.Handler, access token.Access, verdict error) http.Handler {
	t.Helper()
	check := func(_ context.Context, raw string) (token.Access, error) {
		if raw != "good" {
			return token.Access{}, fmt.Errorf("%w: another token", auth.ErrInvalidToken)
		}
		return access, verdict
	}
	m, err := newMetrics(prometheus.NewRegistry())
	must(t, err)
	s := &server{log: slog.New(log), metrics: m, requestTimeout: time.Minute}
	engine := newEngine()
	engine.Use(s.observe)
	for _, path := range []string{"/verify", "/verify/*path"} {
		engine.Any(path, route{guard: anybody, handle: verify(check)}.serve(s))
	}
	engine.NoMethod(route{guard: anybody, handle: verifyOr(check, func(*gin.Context) error { return errMethodNotAllowed })}.serve(s))
	return engine
}

func aliceAccess() token.Access {
	return token.Access{
		Subject: token.Subject{UserID: uuid.MustParse("01890000-0000-7000-8000-000000000001"), SessionID: uuid.New(), Username: "alice"},
		Expires: time.Unix(1767324845, 0),
	}
}

func ask(gate http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for n := 0; n < len(header); n += 2 {
		r.Header.Add(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	gate.ServeHTTP(w, r)
	return w.Result()
}

func TestVerifyTellsWhoSentTheRequestWhateverItIs(t *testing.T) {
	t.Parallel()
	g := gate(t, aliceAccess(), nil)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "M-SEARCH", "any"} {
		for _, path := range []string{"/verify", "/verify/", "/verify/shop/../cart//x%2Fy?a=b"} {
			a := ask(g, method, path, "Authorization", "Bearer good")
			if a.StatusCode != http.StatusNoContent {
				t.Errorf("%s %s: %d", method, path, a.StatusCode)
			}
			for name, want := range map[string]string{
				"Remote-User": "alice", "Remote-User-Id": "01890000-0000-7000-8000-000000000001", "Remote-Groups": "",
				"X-Token-Expires": "1767324845", "Cache-Control": "no-store",
			} {
				if got := a.Header[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
				}
			}
		}
	}
}

// A proxy copies these headers from the answer onto the request: what its sender wrote there must not come back.
func TestForgedIdentityHeadersAreNeverEchoed(t *testing.T) {
	t.Parallel()
	forged := []string{"Remote-User", "mallory", "remote-user-id", "mallory", "Remote-Groups", "mallory", "X-Token-Expires", "mallory"}
	for name, test := range map[string]struct {
		verdict       error
		authorization string
		status        int
	}{
		"good":        {nil, "Bearer good", http.StatusNoContent},
		"bad":         {nil, "Bearer bad", http.StatusUnauthorized},
		"none":        {nil, "", http.StatusUnauthorized},
		"unavailable": {auth.ErrUnavailable, "Bearer good", http.StatusServiceUnavailable},
	} {
		a := ask(gate(t, aliceAccess(), test.verdict), "GET", "/verify", append(forged, "Authorization", test.authorization)...)
		if a.StatusCode != test.status {
			t.Errorf("%s: status %d", name, a.StatusCode)
		}
		for header, values := range a.Header {
			if strings.Contains(strings.Join(values, ","), "mallory") {
				t.Errorf("%s: %s is %q", name, header, values)
			}
			if test.status != http.StatusNoContent && (strings.HasPrefix(header, "Remote-") || header == "X-Token-Expires") {
				t.Errorf("%s: a refusal has %s", name, header)
			}
		}
	}
}

func TestVerifyRefusesByTheBook(t *testing.T) {
	t.Parallel()
	const challenge = `Bearer realm="gatehouse"`
	for name, test := range map[string]struct {
		verdict   error
		header    []string
		status    int
		challenge string
	}{
		"no token":           {nil, nil, 401, challenge},
		"another scheme":     {nil, []string{"Authorization", "Basic Z29vZA=="}, 401, challenge},
		"a forged token":     {nil, []string{"Authorization", "Bearer forged"}, 401, challenge + `, error="invalid_token"`},
		"two tokens":         {nil, []string{"Authorization", "Bearer good", "Authorization", "Bearer good"}, 401, challenge + `, error="invalid_token"`},
		"a revoked token":    {fmt.Errorf("%w: revoked", auth.ErrInvalidToken), []string{"Authorization", "bearer good"}, 401, challenge + `, error="invalid_token"`},
		"nobody knows":       {fmt.Errorf("%w: gone", auth.ErrUnavailable), []string{"Authorization", "Bearer good"}, 503, ""},
		"something is amiss": {errors.New("amiss"), []string{"Authorization", "Bearer good"}, 500, ""},
	} {
		a := ask(gate(t, aliceAccess(), test.verdict), "POST", "/verify/x", test.header...)
		body, err := io.ReadAll(a.Body)
		must(t, err)
		if a.StatusCode != test.status || a.Header.Get("WWW-Authenticate") != test.challenge || strings.Contains(string(body), "amiss") {
			t.Errorf("%s: %d %q %s", name, a.StatusCode, a.Header.Get("WWW-Authenticate"), body)
		}
		if retry := a.Header.Get("Retry-After"); (retry != "") != (test.status == 503) {
			t.Errorf("%s: Retry-After %q", name, retry)
		}
	}
}

func TestOnlyVerifyHasEveryMethod(t *testing.T) {
	t.Parallel()
	g := gate(t, aliceAccess(), nil)
	for _, path := range []string{"/verify2", "/", "/x/verify"} {
		if a := ask(g, "PROPFIND", path, "Authorization", "Bearer good"); a.StatusCode == http.StatusNoContent {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
}

func TestAUsernameIsPercentEncodedInAHeader(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                  "",
		"alice@example.com": "alice@example.com",
		"Zoë":               "Zo%C3%AB",
		"a%20b":             "a%2520b",
		"a,b;c=\"d\"":       "a%2Cb%3Bc%3D%22d%22",
		"a\r\nX: y":         "a%0D%0AX%3A%20y",
		"名前":                "%E5%90%8D%E5%89%8D",
	} {
		access := aliceAccess()
		access.Username = name
		a := ask(gate(t, access, nil), "GET", "/verify", "Authorization", "Bearer good")
		if got := a.Header.Get("Remote-User"); got != want {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
	}
}

func FuzzHeaderValueIsSafeAndCanBeReadBack(f *testing.F) {
	for _, seed := range []string{"alice", "Zoë", "%", "a\nb", "+", "\xff", " "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := headerValue(text)
		for n := range len(encoded) {
			if c := encoded[n]; c <= ' ' || c >= utf8.RuneSelf || c == 0x7f || strings.IndexByte(`,;="'\`, c) >= 0 {
				t.Errorf("%q became %q", text, encoded)
			}
		}
		if decoded, err := url.PathUnescape(encoded); err != nil || decoded != text {
			t.Errorf("%q became %q, and that %q, %v", text, encoded, decoded, err)
		}
	})
}

// A line for each request that a proxy asks about would be most of the log, and the proxy has one already.
func TestTheLogHasWhatVerifyRefusesButWhatItAllowsOnlyAtDebug(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{slog.LevelInfo: "no_token", slog.LevelDebug: "success no_token"} {
		log := &logBuffer{}
		g := gateWithLog(t, slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level}), aliceAccess(), nil)
		ask(g, "GET", "/verify", "Authorization", "Bearer good")
		ask(g, "GET", "/verify")
		var outcomes []string
		for _, line := range log.lines(t) {
			outcomes = append(outcomes, line["outcome"].(string))
		}
		if got := strings.Join(outcomes, " "); got != want {
			t.Errorf("at %s: %q, want %q", level, got, want)
		}
	}
}

// nowhere is a ResponseWriter with nobody behind it.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// BenchmarkVerify is what an answer of /verify costs beyond net/http and the check itself.
func BenchmarkVerify(b *testing.B) {
	g := gateWithLog(b, slog.NewJSONHandler(io.Discard, nil), aliceAccess(), nil)
	r := httptest.NewRequest("GET", "/verify", nil)
	r.Header.Set("Authorization", "Bearer good")
	b.ReportAllocs()
	for b.Loop() {
		g.ServeHTTP(&nowhere{http.Header{}}, r)
	}
}

// A proxy guards a path by what it asks for: all of it is needed, and what it misspells must not let everybody in.
func TestVerifyAsksForEveryRoleAndPermission(t *testing.T) {
	t.Parallel()
	access := aliceAccess()
	access.Roles, access.Scope = "admin,clerk", "files:read gatehouse:*"
	g := gate(t, access, nil)
	for query, want := range map[string]int{
		"":                                   204,
		"role=admin":                         204,
		"role=clerk&role=admin":              204,
		"permission=files%3Aread":            204,
		"permission=gatehouse:users.read":    204,
		"role=clerk&permission=files:read":   204,
		"role=admi":                          403,
		"role=":                              403,
		"role=admin,clerk":                   403,
		"role=Admin":                         403,
		"role=admin&role=other":              403,
		"permission=files:write":             403,
		"permission=files":                   403,
		"permission=":                        403,
		"permission=gatehouse":               403,
		"permission=files:read&role=other":   403,
		"permission=files:read%20files:read": 403,
		"roles=admin":                        400,
		"Role=admin":                         400,
		"role=admin&x":                       400,
		"role=admin;role=clerk":              400,
		"role=%zz":                           400,
	} {
		a := ask(g, "GET", "/verify?"+query, "Authorization", "Bearer good")
		if a.StatusCode != want {
			t.Errorf("%s: %d, want %d", query, a.StatusCode, want)
		}
		if got := a.Header.Get("WWW-Authenticate"); (got == `Bearer realm="gatehouse", error="insufficient_scope"`) != (want == 403) {
			t.Errorf("%s: %q", query, got)
		}
		if got := a.Header.Get("Remote-Groups"); want == 204 && got != "admin,clerk" || want != 204 && got != "" {
			t.Errorf("%s: Remote-Groups %q", query, got)
		}
	}
	if a := ask(g, "BREW", "/verify?role=other", "Authorization", "Bearer good"); a.StatusCode != 403 {
		t.Errorf("another method: %d", a.StatusCode)
	}
	if a := ask(g, "GET", "/verify/shop?role=other&x=y", "Authorization", "Bearer good"); a.StatusCode != 204 {
		t.Errorf("the query of the request in question: %d", a.StatusCode)
	}
}
