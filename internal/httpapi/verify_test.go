package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/token"
)

// gate is /verify with a check that accepts one token.
func gate(t testing.TB, access token.Access, verdict error) http.Handler {
	return gateWithLog(t, slog.DiscardHandler, access, verdict)
}

func gateWithLog(t testing.TB, log slog.Handler, access token.Access, verdict error) http.Handler {
	t.Helper()
	return gateBehind(t, nil, log, func(good string) checkAccess {
		return func(_ context.Context, raw string) (token.Access, error) {
			if raw != good {
				return token.Access{}, fmt.Errorf("%w: another one", auth.ErrInvalidToken)
			}
			return access, verdict
		}
	})
}

// verifiedAt is when /verify is asked.
var verifiedAt = time.Unix(1767323045, 0)

const loginURL = "https://id.test/login?next=https%3A%2F%2Fwiki.test%2F"

// gateBehind is /verify behind trusted proxies. A check accepts one token or cookie. A browser that
// says so is sent to the login.
func gateBehind(
	t testing.TB, proxies []netip.Prefix, log slog.Handler, check func(good string) checkAccess,
) http.Handler {
	t.Helper()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(log), Metrics: prometheus.NewRegistry(), RequestTimeout: time.Minute,
		TrustedProxies: proxies, ForwardedHeader: edge.ForwardedFor, Issuer: "https://id.test",
		CookieDomain: "test.example",
	})
	must(t, err)
	a := &API{edge: outermost}
	notAllowed := func(*gin.Context) error { return edge.ErrMethodNotAllowed }
	g := &gatekeeper{
		edge: outermost, token: check("good"), cookie: check("ghs_good"),
		sibling: check("ghv_good"),
		loginFor: func(c *gin.Context, demand token.StepUp) string {
			query := url.Values{}
			if demand.AddTo(query); c.GetHeader("Accept") == "text/html" {
				return strings.TrimSuffix(loginURL+"&"+query.Encode(), "&")
			}
			return ""
		},
		clock: func() time.Time { return verifiedAt },
	}
	return outermost.Serve(edge.Fallbacks{
		MethodNotAllowed: route{guard: anybody, errors: asRefusal, handle: verifyOr(g, notAllowed)}.serve(a),
	}, a.mounted(verifyRoutes(g))...)
}

const (
	ownCookie     = "__Host-gatehouse"
	siblingCookie = "__Secure-gatehouse-verify"
)

func aliceAccess() token.Access {
	return token.Access{
		Subject: token.Subject{UserID: uuid.MustParse("01890000-0000-7000-8000-000000000001"),
			SessionID: uuid.New(), Username: "alice"},
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
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
		"TRACE", "CONNECT", "PROPFIND", "M-SEARCH", "any"} {
		for _, path := range []string{"/verify", "/verify/", "/verify/shop/../cart//x%2Fy?a=b"} {
			a := ask(g, method, path, "Authorization", "Bearer good")
			if a.StatusCode != http.StatusNoContent {
				t.Errorf("%s %s: %d", method, path, a.StatusCode)
			}
			for name, want := range map[string]string{
				"Remote-User": "alice", "Remote-User-Id": "01890000-0000-7000-8000-000000000001",
				"Remote-Groups":   "",
				"X-Token-Expires": "1767324845", "Cache-Control": "no-store",
			} {
				if got := a.Header[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
				}
			}
		}
	}
}

// A proxy copies these headers from the answer onto the request. What the sender wrote into them
// must not survive.
func TestForgedIdentityHeadersAreNeverEchoed(t *testing.T) {
	t.Parallel()
	forged := []string{"Remote-User", "mallory", "remote-user-id", "mallory", "Remote-Groups",
		"mallory", "X-Token-Expires", "mallory"}
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
		a := ask(gate(t, aliceAccess(), test.verdict), "GET", "/verify",
			append(forged, "Authorization", test.authorization)...)
		if a.StatusCode != test.status {
			t.Errorf("%s: status %d", name, a.StatusCode)
		}
		for header, values := range a.Header {
			if strings.Contains(strings.Join(values, ","), "mallory") {
				t.Errorf("%s: %s is %q", name, header, values)
			}
			if test.status != http.StatusNoContent &&
				(strings.HasPrefix(header, "Remote-") || header == "X-Token-Expires") {
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
		"no token":       {nil, nil, 401, challenge},
		"another scheme": {nil, []string{"Authorization", "Basic Z29vZA=="}, 401, challenge},
		"a forged token": {nil, []string{"Authorization", "Bearer forged"}, 401,
			challenge + `, error="invalid_token"`},
		"two tokens": {nil,
			[]string{"Authorization", "Bearer good", "Authorization", "Bearer good"}, 401,
			challenge + `, error="invalid_token"`},
		"a revoked token": {fmt.Errorf("%w: revoked", auth.ErrInvalidToken),
			[]string{"Authorization", "bearer good"}, 401, challenge + `, error="invalid_token"`},
		"nobody knows": {fmt.Errorf("%w: gone", auth.ErrUnavailable),
			[]string{"Authorization", "Bearer good"}, 503, ""},
		"something is amiss": {errors.New("amiss"), []string{"Authorization", "Bearer good"}, 500,
			""},
	} {
		a := ask(gate(t, aliceAccess(), test.verdict), "POST", "/verify/x", test.header...)
		body, err := io.ReadAll(a.Body)
		must(t, err)
		if a.StatusCode != test.status || a.Header.Get("WWW-Authenticate") != test.challenge ||
			strings.Contains(string(body), "amiss") {
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
		if a := ask(g, "PROPFIND", path, "Authorization",
			"Bearer good"); a.StatusCode == http.StatusNoContent {
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
			if c := encoded[n]; c <= ' ' || c >= utf8.RuneSelf || c == 0x7f ||
				strings.IndexByte(`,;="'\`, c) >= 0 {
				t.Errorf("%q became %q", text, encoded)
			}
		}
		if decoded, err := url.PathUnescape(encoded); err != nil || decoded != text {
			t.Errorf("%q became %q, and that %q, %v", text, encoded, decoded, err)
		}
	})
}

// Lines for the requests that a proxy asks about would be most of the log, and the proxy has one
// for each already.
func TestTheLogHasWhatVerifyRefusesButWhatItAllowsOnlyAtDebug(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{slog.LevelInfo: "no_token",
		slog.LevelDebug: "success no_token"} {
		log := &logBuffer{}
		g := gateWithLog(t, slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level}),
			aliceAccess(), nil)
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

// nowhere is an [http.ResponseWriter] that sends nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// BenchmarkVerify measures what an answer of /verify costs beyond net/http and the check itself.
func BenchmarkVerify(b *testing.B) {
	g := gateWithLog(b, slog.NewJSONHandler(io.Discard, nil), aliceAccess(), nil)
	r := httptest.NewRequest("GET", "/verify", nil)
	r.Header.Set("Authorization", "Bearer good")
	b.ReportAllocs()
	for b.Loop() {
		g.ServeHTTP(&nowhere{http.Header{}}, r)
	}
}

// A proxy guards a path by its demands. All of them must hold, and a misspelt one must not let
// everybody in.
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
		if got := a.Header.Get(
			"WWW-Authenticate"); (got == `Bearer realm="gatehouse", error="insufficient_scope"`) != (want == 403) {
			t.Errorf("%s: %q", query, got)
		}
		if got := a.Header.Get("Remote-Groups"); want == 204 && got != "admin,clerk" ||
			want != 204 && got != "" {
			t.Errorf("%s: Remote-Groups %q", query, got)
		}
	}
}

// If a slash at the end changed the meaning, a proxy whose address has one would let everybody in.
func TestADemandIsOneHoweverTheProxyWritesThePath(t *testing.T) {
	t.Parallel()
	access := aliceAccess()
	access.Roles, access.Scope = "clerk", "files:read"
	g := gate(t, access, nil)
	for target, want := range map[string]int{
		"/verify?role=admin":              403,
		"/verify/?role=admin":             403,
		"/verify//?role=admin":            403,
		"/verify%2f?role=admin":           403,
		"/%76erify/?role=admin":           403,
		"/verify/?role=clerk":             204,
		"/verify/?role=clerk&role=admin":  403,
		"/verify/?role=admin&role=clerk":  403,
		"/verify/?%72ole=admin":           403,
		"/verify/?role":                   403,
		"/verify/?role=clerk;role=admin":  403,
		"/verify/?x;role=admin":           403,
		"/verify/?role=%zz":               400,
		"/verify/?permission=files:write": 403,
		// the app's own query, which Envoy appends
		"/verify/?permission=files:read&x=y&z": 204,
		"/verify/?x=100%&y;z":                  204,
		"/verify/?%zz=role":                    204,
		"/verify/?":                            204,
		// the query of the request in question
		"/verify/shop?role=admin&x=y":                    204,
		"/verify/shop/?role=admin":                       204,
		"/verify/verify?role=admin":                      204,
		"//verify?role=clerk":                            404,
		"/verify%3Frole=admin":                           404,
		"/verify?role=clerk&x":                           400,
		"/verify?role=clerk;x":                           400,
		"/verify?role=clerk&" + url.QueryEscape("role="): 400,
	} {
		for _, method := range []string{"GET", "POST", "PROPFIND", "BREW"} {
			a := ask(g, method, target, "Authorization", "Bearer good")
			if got := a.StatusCode; got != want {
				t.Errorf("%s %s: %d, want %d", method, target, got, want)
			}
		}
	}
}

// The identity headers are the same, so an app cannot tell the ways apart, and need not.
func TestVerifyAnswersACookieAsItAnswersAToken(t *testing.T) {
	t.Parallel()
	access := aliceAccess()
	access.Roles, access.Scope = "clerk", "files:read"
	g := gate(t, access, nil)
	for _, cookie := range []string{
		ownCookie + "=ghs_good", siblingCookie + "=ghv_good",
		"theme=dark; " + ownCookie + "=ghs_good; x=y",
		ownCookie + "=ghs_good; " + siblingCookie + "=ghv_dead",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"} {
			for target, status := range map[string]int{
				"/verify": 204, "/verify/x?role=admin": 204, "/verify?role=clerk": 204,
				"/verify?permission=files:read": 204, "/verify?role=admin": 403,
				"/verify?permission=files:write": 403, "/verify?rolle=clerk": 400,
			} {
				a := ask(g, method, target, "Cookie", cookie, "Accept", "text/html")
				byToken := ask(g, method, target, "Authorization", "Bearer good")
				for _, one := range []*http.Response{a, byToken} {
					one.Header.Del("X-Request-Id")
				}
				if a.StatusCode != status || !reflect.DeepEqual(a.Header, byToken.Header) {
					t.Errorf("%s %s by %s: %d %v, by a token %v", method, target, cookie,
						a.StatusCode, a.Header, byToken.Header)
				}
			}
		}
	}
}

// An app that takes tokens must not be fooled by a cookie that a browser adds by itself. A cookie
// for sibling hosts must not become more by another name.
func TestVerifyTakesOneProofAndNoOtherInItsPlace(t *testing.T) {
	t.Parallel()
	g := gate(t, aliceAccess(), nil)
	const good = ownCookie + "=ghs_good"
	for name, header := range map[string][]string{
		"a bad token":            {"Cookie", good, "Authorization", "Bearer bad"},
		"another scheme":         {"Cookie", good, "Authorization", "Basic YTpi"},
		"an empty header":        {"Cookie", good, "Authorization", ""},
		"two tokens":             {"Cookie", good, "Authorization", "Bearer good", "Authorization", "Bearer good"},
		"a cookie as token":      {"Authorization", "Bearer ghs_good"},
		"a token as cookie":      {"Cookie", ownCookie + "=good"},
		"the sibling's as own":   {"Cookie", ownCookie + "=ghv_good"},
		"own as the sibling's":   {"Cookie", siblingCookie + "=ghs_good"},
		"two":                    {"Cookie", good + "; " + good},
		"two of the sibling":     {"Cookie", siblingCookie + "=ghv_good; " + siblingCookie + "=ghv_good"},
		"two headers":            {"Cookie", good, "Cookie", good},
		"without the prefix":     {"Cookie", "gatehouse=ghs_good"},
		"of another prefix":      {"Cookie", "__Secure-gatehouse=ghs_good"},
		"sibling without prefix": {"Cookie", "gatehouse-verify=ghv_good"},
		"in capitals":            {"Cookie", "__HOST-gatehouse=ghs_good"},
		"empty":                  {"Cookie", ownCookie + "="},
		"a dead own cookie":      {"Cookie", ownCookie + "=ghs_dead; " + siblingCookie + "=ghv_good"},
	} {
		a := ask(g, "GET", "/verify", header...)
		if a.StatusCode != http.StatusUnauthorized || a.Header.Get("Remote-User") != "" ||
			a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %v", name, a.StatusCode, a.Header)
		}
	}
}

// nginx makes 500 of every redirect, and so asks for 401. A program that gets a page in place of
// 401 would not know that it has to log in.
func TestABrowserThatIsNotLoggedInIsSentToTheLoginAndNothingElseIs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		verdict  error
		header   []string
		status   int
		location bool
	}{
		"no cookie":           {nil, nil, 302, true},
		"a dead one":          {nil, []string{"Cookie", ownCookie + "=ghs_dead"}, 302, true},
		"a dead sibling":      {nil, []string{"Cookie", siblingCookie + "=ghv_dead"}, 302, true},
		"as 401":              {nil, []string{"Gatehouse-Redirect", "401"}, 401, true},
		"as something else":   {nil, []string{"Gatehouse-Redirect", "200"}, 302, true},
		"with a token":        {nil, []string{"Authorization", "Bearer bad"}, 401, false},
		"with a bad scheme":   {nil, []string{"Authorization", "Basic YTpi"}, 401, false},
		"nobody knows":        {auth.ErrUnavailable, []string{"Cookie", ownCookie + "=ghs_good"}, 503, false},
		"something is amiss":  {errors.New("amiss"), []string{"Cookie", ownCookie + "=ghs_good"}, 500, false},
		"logged in":           {nil, []string{"Cookie", ownCookie + "=ghs_good"}, 204, false},
		"a session that ends": {auth.ErrInvalidToken, []string{"Cookie", ownCookie + "=ghs_good"}, 302, true},
	} {
		g := gate(t, aliceAccess(), test.verdict)
		for _, method := range []string{"GET", "HEAD", "POST", "BREW"} {
			a := ask(g, method, "/verify", append(test.header, "Accept", "text/html")...)
			location := a.Header.Get("Location")
			if a.StatusCode != test.status || (location != "") != test.location ||
				location != "" && location != loginURL ||
				(a.Header.Get("WWW-Authenticate") != "") != (test.status == 401) ||
				a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s is answered %d %v", name, method, a.StatusCode, a.Header)
			}
			program := ask(g, method, "/verify", test.header...)
			if program.StatusCode == 302 || program.Header.Get("Location") != "" {
				t.Errorf("%s: a program is sent to a page", name)
			}
		}
	}
	g := gate(t, aliceAccess(), nil)
	forbidden := ask(g, "GET", "/verify?role=admin", "Cookie", ownCookie+"=ghs_good", "Accept", "text/html")
	if forbidden.StatusCode != 403 || forbidden.Header.Get("Location") != "" {
		t.Errorf("without a role: %d %v", forbidden.StatusCode, forbidden.Header)
	}
}

// Caddy appends the query of the request in question. Nobody else may write what the proxy did not,
// and what looks like a demand is one all the same.
func TestOnlyTheWholeQueryThatAProxyRepeatsIsNoDemand(t *testing.T) {
	t.Parallel()
	access := aliceAccess()
	access.Roles = "clerk"
	check := func(good string) checkAccess {
		return func(context.Context, string) (token.Access, error) { return access, nil }
	}
	trusting := gateBehind(t, prefixes("192.0.2.0/24"), slog.DiscardHandler, check)
	others := gateBehind(t, prefixes("198.51.100.0/24"), slog.DiscardHandler, check)
	for _, test := range []struct {
		query, uri string
		status     int
	}{
		{"a=b&c", "/x?a=b&c", 204},
		{"x;y", "/x?x;y", 204},
		{"%zz", "/?%zz", 204},
		{"a?b", "/x?a?b", 204},
		{"role=clerk&a=b", "/x?role=clerk&a=b", 204},
		{"role=admin&a=b", "/x?role=admin&a=b", 403},
		{"a;role=admin", "/x?a;role=admin", 403},
		{"role=%zz", "/x?role=%zz", 400},
		{"a=b", "/x", 400},
		{"a=b", "", 400},
		{"a=b", "a=b", 400},
		{"a=b", "/x?a=b&c", 400},
		{"a=b&c", "/x?a=b", 400},
		{"a=b", "/x?A=b", 400},
		{"a=b", "/x?a=%62", 400},
		{"a=b", "/x?c?a=b", 400},
		{"rolle=admin", "/x?role=admin", 400},
	} {
		header := []string{"Authorization", "Bearer good", "X-Forwarded-Uri", test.uri}
		if a := ask(trusting, "GET", "/verify?"+test.query, header...); a.StatusCode != test.status {
			t.Errorf("%s of %s: %d, want %d", test.query, test.uri, a.StatusCode, test.status)
		}
		a := ask(trusting, "GET", "/verify?"+test.query, append(header, "X-Forwarded-Uri", test.uri)...)
		if a.StatusCode == 204 {
			t.Errorf("%s, told twice: %d", test.query, a.StatusCode)
		}
		if a := ask(others, "GET", "/verify?"+test.query, header...); a.StatusCode == 204 {
			t.Errorf("%s, told by a stranger: %d", test.query, a.StatusCode)
		}
	}
}
