package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/api"
	"gatehouse.example/internal/edge"
)

const (
	appOrigin   = "https://app.example.com"
	otherOrigin = "https://other.example.com"
)

func listed() settings {
	return settings{corsOrigins: []string{"http://localhost:5173", appOrigin}}
}

// from sends a request as a page of an origin does.
func (f *fixture) from(origin, method, path, body string, header ...string) answered {
	f.Helper()
	return f.do(f.request(method, path, body, append([]string{"Origin", origin, "Sec-Fetch-Site",
		"cross-site", "Sec-Fetch-Mode", "cors"}, header...)...))
}

// wantShared checks that a page of an origin may read an answer, and send no cookies for it. Caches
// must not give the answer to a page of another origin.
func (f *fixture) wantShared(what, origin string, a answered, status int) {
	f.Helper()
	f.want(what, a, status)
	if got := a.header.Get("Access-Control-Allow-Origin"); got != origin {
		f.Errorf("%s: %q may read it, want %q", what, got, origin)
	}
	if a.header["Access-Control-Allow-Credentials"] != nil {
		f.Errorf("%s: cookies are part of it", what)
	}
	if !slices.Contains(a.header["Vary"], "Origin") {
		f.Errorf("%s: Vary %q", what, a.header["Vary"])
	}
}

// An app that cannot read a refusal cannot tell a wrong password from a service that is down.
func TestAPageOfAListedOriginReadsAnswersAndRefusals(t *testing.T) {
	t.Parallel()
	s := listed()
	s.rates = tightRates()
	f := start(t, s)
	const form, asJSON = "application/x-www-form-urlencoded", "application/json"
	send := func(method, path, body string, header ...string) answered {
		return f.from(appOrigin, method, path, body, header...)
	}
	f.wantShared("no password", appOrigin,
		send("POST", "/users", `{"username": "alice"}`, "Content-Type", asJSON), 422)
	f.wantShared("registered", appOrigin, send("POST", "/users",
		`{"username": "alice", "password": "`+goodPassword+`"}`, "Content-Type", asJSON), 201)
	login := send("POST", "/token", "username=alice&password=correct+horse+battery+staple",
		"Content-Type", form)
	f.wantShared("login", appOrigin, login, 200)
	held := f.tokensOf(login)
	f.wantShared("the account", appOrigin,
		send("GET", "/users/me", "", "Authorization", "Bearer "+held.access), 200)
	f.wantShared("no token", appOrigin, send("GET", "/users/me", ""), 401)
	f.wantShared("no right", appOrigin,
		send("GET", "/users", "", "Authorization", "Bearer "+held.access), 403)
	f.wantShared("refresh", appOrigin, send("POST", "/token",
		"grant_type=refresh_token&refresh_token="+held.refresh, "Content-Type", form), 200)
	f.wantShared("another grant", appOrigin,
		send("POST", "/token", "grant_type=x", "Content-Type", form), 400)
	f.wantShared("another media type", appOrigin,
		send("POST", "/token", "{}", "Content-Type", "text/plain"), 415)
	f.wantShared("revoke", appOrigin,
		send("POST", "/revoke", "token="+held.refresh, "Content-Type", form), 200)
	f.wantShared("logout", appOrigin,
		send("POST", "/logout", "", "Authorization", "Bearer "+held.access), 204)
	for range 2 {
		f.wantShared("a wrong password", appOrigin,
			send("POST", "/token", "username=alice&password=x", "Content-Type", form), 401)
	}
	limited := send("POST", "/token", "username=alice&password=x", "Content-Type", form)
	f.wantShared("over the limit", appOrigin, limited, 429)
	if got := limited.header.Get("Access-Control-Expose-Headers"); !strings.Contains(got,
		"Retry-After") || !strings.Contains(got, "Www-Authenticate") {
		t.Errorf("the page may read %q alone", got)
	}
	f.lane.Close()
	f.wantShared("stopping", appOrigin,
		send("POST", "/token", "username=bob&password=x", "Content-Type", form), 503)
}

// Origins that only look like a listed one belong to others.
func TestAPageOfAnotherOriginReadsNothingButIsServed(t *testing.T) {
	t.Parallel()
	f := start(t, listed())
	f.loggedIn("alice")
	for _, origin := range []string{
		otherOrigin, "null", "http://app.example.com", "https://app.example.com:8443",
		"https://app.example.com.evil.test", "https://evil.test/https://app.example.com",
		"https://evilapp.example.com", "https://example.com", "https://x.app.example.com",
		"https://app.example.com@evil.test", "https://app.example.com/", "http://localhost:5174",
		"http://localhost", "*", "https://app.example.com,https://evil.test",
	} {
		a := f.from(origin, "POST", "/token", "username=alice&password=correct+horse+battery+staple",
			"Content-Type", "application/x-www-form-urlencoded")
		f.wantShared(origin, "", a, http.StatusOK)
		if a.header["Set-Cookie"] != nil {
			t.Errorf("%s: %v", origin, a.header)
		}
		asked := f.from(origin, "OPTIONS", "/users/me", "", "Access-Control-Request-Method", "GET",
			"Access-Control-Request-Headers", "authorization")
		f.want(origin, asked, http.StatusNoContent)
		for name := range asked.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", origin, name)
			}
		}
	}
}

// A page that is let in by CORS is of another site all the same. Its user's cookies are none of its
// business: with them it could push out those of others, or guess as a known device.
func TestAlsoAPageOfAListedOriginNeitherReadsNorSetsCookies(t *testing.T) {
	t.Parallel()
	s := listed()
	s.rates = tightRates()
	f := start(t, s)
	f.register("alice", goodPassword)
	const form = "username=alice&password=correct+horse+battery+staple"
	header := []string{"Content-Type", "application/x-www-form-urlencoded"}
	known := f.do(f.request("POST", "/token", form, header...))
	cookie, _, _ := strings.Cut(known.header.Get("Set-Cookie"), ";")
	if cookie == "" {
		t.Fatal("no cookie at a login from the same site")
	}
	foreign := f.from(appOrigin, "POST", "/token", form, header...)
	if foreign.header["Set-Cookie"] != nil || foreign.header.Get("Gatehouse-Device") == "" {
		t.Errorf("%v", foreign.header)
	}
	for range 2 { // by others
		f.login("alice", "wrong")
	}
	f.want("a cookie from another site", f.from(appOrigin, "POST", "/token", form,
		append(header, "Cookie", cookie)...), http.StatusTooManyRequests)
	f.want("the header from another site", f.from(appOrigin, "POST", "/token", form,
		append(header, "Gatehouse-Device", foreign.header.Get("Gatehouse-Device"))...),
		http.StatusOK)
	f.want("the cookie from its own", f.do(f.request("POST", "/token", form,
		append(header, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")...)), http.StatusOK)
}

// What is shared by mistake is read by every page that a user visits. A browser that is not
// answered before a request does not send it.
func TestPreflightsAreAnsweredWhereAnAppIsAndNowhereElse(t *testing.T) {
	t.Parallel()
	open, shut := start(t, listed()), start(t, settings{})
	docs, err := newDocs(api.Service{})
	must(t, err)
	for _, r := range append((&API{}).table(docs, &wellKnown{}), verifyRoutes(nil)...) {
		for _, test := range []struct {
			to     *fixture
			origin string
		}{{open, appOrigin}, {open, otherOrigin}, {shut, appOrigin}} {
			status, reads := http.StatusMethodNotAllowed, ""
			switch {
			case strings.HasPrefix(r.path, "/verify"): // every method gets the same
				status = http.StatusUnauthorized
			case strings.HasPrefix(r.path, "/.well-known/"):
				status, reads = http.StatusNoContent, "*"
			case isForApps(r.path) && test.origin == appOrigin && test.to == open:
				status, reads = http.StatusNoContent, appOrigin
			case isForApps(r.path) && test.to == open:
				status = http.StatusNoContent
			}
			a := test.to.from(test.origin, "OPTIONS", pathOf(r), "", "Access-Control-Request-Method",
				r.method, "Access-Control-Request-Headers", "authorization,content-type")
			if got := a.header.Get("Access-Control-Allow-Origin"); a.status != status ||
				got != reads {
				t.Errorf("%s %s from %s: %d for %q, want %d for %q", r.method, r.path, test.origin,
					a.status, got, status, reads)
			}
			if reads != "" && (a.header.Get("Access-Control-Allow-Methods") != r.method ||
				a.header.Get("Access-Control-Allow-Headers") == "" ||
				a.header["Access-Control-Allow-Credentials"] != nil) {
				t.Errorf("%s %s: %v", r.method, r.path, a.header)
			}
		}
	}
}

// isForApps reports whether apps in a browser need a path. All do that are for users, and not for
// operators, services and proxies. So whoever adds a route has to say which it is.
func isForApps(path string) bool {
	of := func(parents ...string) bool {
		return slices.ContainsFunc(parents, func(p string) bool {
			return path == p || strings.HasPrefix(path, p+"/")
		})
	}
	return !of("/introspect", "/roles", "/clients", "/audit", "/revocations", "/revocations.jwt",
		"/docs", "/openapi.json", "/openapi.yaml", "/verify", "/.well-known")
}

// pathOf fills the parameters of a route.
func pathOf(r route) string {
	return strings.NewReplacer(":id", "0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", ":role", "clerk",
		":name", "clerk", "*path", "x", "*asset", "swagger-ui.css").Replace(r.path)
}

// The headers must be on the answers too, and only where the preflight says so.
func TestNothingElseIsShared(t *testing.T) {
	t.Parallel()
	f := start(t, listed())
	docs, err := newDocs(api.Service{})
	must(t, err)
	for _, r := range append((&API{}).table(docs, &wellKnown{}), verifyRoutes(nil)...) {
		a := f.from(appOrigin, r.method, pathOf(r), "")
		reads := a.header.Get("Access-Control-Allow-Origin")
		switch {
		case strings.HasPrefix(r.path, "/.well-known/"):
			if reads != "*" {
				t.Errorf("%s is for %q", r.path, reads)
			}
		case isForApps(r.path):
			if reads != appOrigin {
				t.Errorf("%s %s is for %q", r.method, r.path, reads)
			}
		case reads != "" || slices.Contains(a.header["Vary"], "Origin"):
			t.Errorf("%s %s is for %q, Vary %q", r.method, r.path, reads, a.header["Vary"])
		}
	}
}

// A cache keeps the documents for all. If it kept one that was fetched without an origin, and that
// had no header for pages, no page could log in until it is gone.
func TestPublicDocumentsHaveTheSameHeadersWhoeverAsks(t *testing.T) {
	t.Parallel()
	for _, f := range []*fixture{start(t, settings{}), start(t, listed())} {
		for _, path := range []string{"/.well-known/jwks.json", edge.MetadataPath} {
			plain := f.do(f.request("GET", path, ""))
			for what, a := range map[string]answered{
				"plain": plain, "a page": f.from(otherOrigin, "GET", path, ""),
				"a listed page": f.from(appOrigin, "GET", path, ""),
				"HEAD":          f.do(f.request("HEAD", path, "")),
				"304": f.from(otherOrigin, "GET", path, "", "If-None-Match",
					plain.header.Get("ETag")),
			} {
				if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header["Vary"] != nil ||
					!strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "ETag") ||
					a.header.Get("Cache-Control") != "public, max-age=300" {
					t.Errorf("%s, %s: %v", path, what, a.header)
				}
			}
			f.want("a conditional request", f.from(otherOrigin, "OPTIONS", path, "",
				"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers",
				"if-none-match"), http.StatusNoContent)
		}
	}
}

// A preflight is a request like others, and is found in the log. Without what makes it one, OPTIONS
// is a method that there is not.
func TestPreflightsAreLoggedAndWhatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, listed())
	a := f.from(appOrigin, "OPTIONS", "/users/me/sessions/x", "", "Access-Control-Request-Method",
		"DELETE", "Access-Control-Request-Headers", "authorization")
	f.want("a preflight", a, http.StatusNoContent)
	if a.header.Get("Access-Control-Max-Age") != "3600" {
		t.Errorf("%v", a.header)
	}
	lines := f.log.lines(t)
	if last := lines[len(lines)-1]; last["request_id"] != a.header.Get("X-Request-Id") ||
		last["method"] != "OPTIONS" || last["route"] != "/users/me/sessions/:id" ||
		last["status"] != 204.0 {
		t.Errorf("%v", last)
	}
	plain := f.do(f.request("OPTIONS", "/token", "", "Origin", appOrigin))
	f.want("no preflight", plain, http.StatusMethodNotAllowed)
	if plain.header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("Allow %q", plain.header.Get("Allow"))
	}
	for what, asked := range map[string][]string{
		"another method": {"Access-Control-Request-Method", "PUT"},
		"another header": {"Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "x-forwarded-for"},
	} {
		a := f.from(appOrigin, "OPTIONS", "/token", "", asked...)
		f.want(what, a, http.StatusNoContent)
		if a.header["Access-Control-Allow-Origin"] != nil {
			t.Errorf("%s: %v", what, a.header)
		}
	}
}
