package web

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// asked answers with the login for the request that a proxy at 192.0.2.1 asks about.
func asked(t testing.TB, issuer, trusted string) http.Handler {
	t.Helper()
	outermost, err := edge.New(edge.Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Issuer: issuer,
		RequestTimeout: time.Minute, ForwardedHeader: edge.ForwardedFor,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix(trusted)},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &Web{edge: outermost, returns: someReturns(outermost.Base())}
	return outermost.Serve(edge.Fallbacks{}, edge.Route{
		Method: http.MethodGet, Path: "/verify",
		Answer: func(c *gin.Context) { c.Header("Location", w.LoginFor(c, auth.StepUp{})) },
	})
}

// navigationTo is how a proxy describes the request of a browser for a page.
func navigationTo(host, uri string) http.Header {
	return http.Header{
		"X-Forwarded-Method": {"GET"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {host},
		"X-Forwarded-Uri": {uri}, "Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"},
	}
}

func loginFor(h http.Handler, header http.Header) string {
	r := httptest.NewRequest("GET", "https://evil.example/verify", nil)
	r.Header = header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Header().Get("Location")
}

func TestABrowserIsSentToTheLoginAndBackToWhatItAskedFor(t *testing.T) {
	t.Parallel()
	for issuer, login := range map[string]string{
		"https://id.example.org":       "https://id.example.org/login?next=",
		"https://id.example.org/":      "https://id.example.org/login?next=",
		"https://id.example.org/auth/": "https://id.example.org/auth/login?next=",
	} {
		h := asked(t, issuer, "192.0.2.0/24")
		for _, uri := range []string{
			"/", "/a/b?c=d&e=https://x.example/", "//evil.example", "/?next=/x", "/a,b", "/@evil.example",
			"/" + strings.Repeat("x", maxReturn-len("https://wiki.example.org/")), "/%0d%0a", "/../x",
		} {
			want := login + url.QueryEscape("https://wiki.example.org"+uri)
			if got := loginFor(h, navigationTo("wiki.example.org", uri)); got != want {
				t.Errorf("%s of %s: %q, want %q", uri, issuer, got, want)
			}
		}
		for uri, back := range map[string]string{
			`/a?b=\c`: "/a?b=%5Cc", `/?\\evil.example\?\`: "/?%5C%5Cevil.example%5C?%5C", `/?%5C`: "/?%5C",
		} {
			want := login + url.QueryEscape("https://wiki.example.org"+back)
			if got := loginFor(h, navigationTo("wiki.example.org", uri)); got != want {
				t.Errorf("%s of %s: %q, want %q", uri, issuer, got, want)
			}
		}
		local := navigationTo("localhost:3000", "/x")
		local.Set("X-Forwarded-Proto", "http")
		if got := loginFor(h, local); got != login+"http%3A%2F%2Flocalhost%3A3000%2Fx" {
			t.Errorf("without TLS: %q", got)
		}
	}
}

// tricked are descriptions by which somebody could be led to a site of somebody else, or a program
// to a page.
func tricked() (all []http.Header) {
	for _, host := range []string{
		"", "evil.example", "wiki.example.org.evil.example", "wiki.example.org@evil.example",
		"evil.example@wiki.example.org", "wiki.example.org:443", "wiki.example.org:8443",
		"wiki.example.org.", "WIKI.example.org", "wiki.example.org, evil.example",
		"evil.example, wiki.example.org", "wiki.example.org,", " wiki.example.org",
		"wiki.example.org ", "wiki.example.org/", "wiki.example.org/x", "wiki.example.org?x",
		"wiki.example.org#", `wiki.example.org\evil.example`, "wiki.example.org%2fevil.example",
		"wiki.example.org%00", "wiki.example.org\t", "wıki.example.org", "example.org",
		"x.wiki.example.org", "//wiki.example.org", "[::1]", "localhost:3000",
		"id.example.org", "null",
	} {
		all = append(all, navigationTo(host, "/x"))
	}
	for _, uri := range []string{
		"", "x", "https://evil.example/", "http://wiki.example.org/", "@evil.example/", ".evil.example/",
		":8443/", "*", "?x", "#", "/#x", `/\evil.example`, `/a\b?c`, `\?x`, `/\evil.example?\`,
		"/?" + strings.Repeat(`\`, maxReturn/3), "/a b", "/a\tb", "/ä", "/\u2028", "/<script>",
		`/"x`, "/%zz", "/\x7f", "/" + strings.Repeat("x", maxReturn), " /", "evil.example:443",
	} {
		all = append(all, navigationTo("wiki.example.org", uri))
	}
	for name, values := range map[string][][]string{
		"X-Forwarded-Method": {nil, {"POST"}, {"HEAD"}, {"get"}, {"GET", "GET"}, {"GET, POST"}, {"GET "}},
		"X-Forwarded-Proto": {
			nil, {"http"}, {"HTTPS"}, {"https", "https"}, {"https, http"}, {"wss"}, {"javascript"}, {""},
			{"https:"}, {"https://evil.example/?x="},
		},
		"X-Forwarded-Host": {
			nil, {"wiki.example.org", "wiki.example.org"}, {"wiki.example.org", "evil.example"},
		},
		"X-Forwarded-Uri": {nil, {"/", "/"}, {"/", "//evil.example"}},
		"Accept":          {nil, {"*/*"}, {"application/json"}, {"image/png,*/*"}, {"text/plain"}},
		"Authorization":   {{"Bearer x"}, {""}, {"Basic YTpi"}},
	} {
		for _, sent := range values {
			header := navigationTo("wiki.example.org", "/x")
			if header[name] = sent; sent == nil {
				delete(header, name)
			}
			all = append(all, header)
		}
	}
	return all
}

func TestNoDescriptionLeadsFromAProxyToAnotherSite(t *testing.T) {
	t.Parallel()
	trusting := asked(t, "https://id.example.org", "192.0.2.0/24")
	for _, header := range tricked() {
		if got := loginFor(trusting, header); got != "" {
			t.Errorf("%v: %s", header, got)
		}
	}
	if n := len(tricked()); n < 40 {
		t.Errorf("%d tricks", n)
	}
	stranger := asked(t, "https://id.example.org", "198.51.100.0/24")
	if got := loginFor(stranger, navigationTo("wiki.example.org", "/x")); got != "" {
		t.Errorf("on the word of a stranger: %s", got)
	}
}

// What a browser makes of the login's next must be on the list, whatever a client sent.
func FuzzALoginForAProxyLeadsBackToTheListAlone(f *testing.F) {
	for _, header := range tricked() {
		f.Add(header.Get("X-Forwarded-Method"), header.Get("X-Forwarded-Proto"),
			header.Get("X-Forwarded-Host"), header.Get("X-Forwarded-Uri"), header.Get("Accept"))
	}
	f.Add("GET", "https", "wiki.example.org", "/a?b=c", "text/html")
	h, origins := asked(f, "https://id.example.org", "192.0.2.0/24"), someReturns("").origins
	f.Fuzz(func(t *testing.T, method, proto, host, uri, accept string) {
		location := loginFor(h, http.Header{
			"X-Forwarded-Method": {method}, "X-Forwarded-Proto": {proto},
			"X-Forwarded-Host": {host}, "X-Forwarded-Uri": {uri}, "Accept": {accept},
		})
		if location == "" {
			return
		}
		login, err := url.Parse(location)
		if err != nil || !strings.HasPrefix(location, "https://id.example.org/login?next=") {
			t.Fatalf("%q: %v", location, err)
		}
		back, err := url.Parse(login.Query().Get("next"))
		if err != nil || back.User != nil || back.Fragment != "" || method != "GET" ||
			!slices.Contains(origins, back.Scheme+"://"+back.Host) || len(location) > 3*maxReturn+100 {
			t.Errorf("%q leads to %v: %v", location, back, err)
		}
	})
}
