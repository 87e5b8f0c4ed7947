package app_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/httpapi/apitest"
)

// bootBelow starts a service that clients reach at a path of nginx, which passes the path on or
// strips it. The client and the public URL of the returned replica go through nginx.
func bootBelow(t *testing.T, databaseURL, path string, strip bool, flags ...string) *replica {
	t.Helper()
	nginx := nginx()
	nginx.find(t)
	address := dbtest.FreeAddr(t)
	r := boot(t, databaseURL, append([]string{"--issuer=http://" + address + path}, flags...)...)
	service := r.public
	if strip {
		service += "/" // the location in nginx is replaced by what follows the host
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(`
events {}
http {
    server {
        listen `+address+`;
        location `+path+`/ { proxy_pass `+service+`; }
        location /.well-known/ { proxy_pass `+r.public+`; }
    }
}
`), 0o644))
	nginx.run(t, dir, address)
	r.public, r.client = "http://"+address+path, apitest.ClientBelow(t, path)
	return r
}

// A link, a cookie or a document that forgets the path leads to another app on the same host.
func TestBelowAPathAServiceWorksThroughAProxyThatStripsItAndOneThatDoesNot(t *testing.T) {
	t.Parallel()
	for name, strip := range map[string]bool{"stripped": true, "passed on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bootBelow(t, dbtest.New(t), "/auth", strip)
			host := strings.TrimSuffix(r.public, "/auth")

			var metadata map[string]any
			// RFC 8414 §3.1
			must(t, json.Unmarshal(
				[]byte(r.got(host+"/.well-known/oauth-authorization-server/auth").body), &metadata))
			if metadata["issuer"] != r.public || metadata["token_endpoint"] != r.public+"/token" {
				t.Errorf("%v", metadata)
			}
			r.got(metadata["jwks_uri"].(string))

			r.want(http.StatusCreated, r.do(r.registerRequest("alice", goodPassword)))
			granted := r.do(r.loginRequest("alice", goodPassword))
			r.want(http.StatusOK, granted)
			if cookie := granted.header.Get(
				"Set-Cookie"); !strings.Contains(cookie, "; Path=/auth/token;") {
				t.Errorf("the cookie is %q", cookie)
			}
			r.want(http.StatusOK, r.do(r.meRequest(tokenIn(t, granted))))
			authorized := func(path string) answer {
				return r.do(
					r.request("GET", path, "", "Authorization", "Bearer "+tokenIn(t, granted)))
			}
			r.want(http.StatusNoContent, authorized("/verify"))
			r.want(http.StatusForbidden, authorized("/verify?role=admin"))

			for _, route := range r.routesLogged() {
				if strings.HasPrefix(route, "/auth") || route == "none" {
					t.Errorf("the log has the route %s", route)
				}
			}
			if metrics := r.onOps("/metrics").body; !strings.Contains(metrics, `route="/token"`) ||
				strings.Contains(metrics, `route="/auth`) {
				t.Error("the metrics have other routes below a path")
			}
		})
	}
}

// The page must load its own files, the contract and tokens from below the path.
func TestBelowAPathThePageAtDocsLoadsWhatItRefersTo(t *testing.T) {
	t.Parallel()
	for name, strip := range map[string]bool{"stripped": true, "passed on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bootBelow(t, dbtest.New(t), "/auth", strip)
			host := strings.TrimSuffix(r.public, "/auth")
			page := r.got(r.public + "/docs").body
			found := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
			found = append(found,
				regexp.MustCompile(`"swaggerJsonUrl":\s*"([^"]+)"`).FindAllStringSubmatch(page,
					-1)...)
			if len(found) < 4 {
				t.Errorf("the page refers to %v", found)
			}
			for _, reference := range found {
				if !strings.HasPrefix(reference[1], "/auth/") {
					t.Errorf("the page refers to %s", reference[1])
				}
				r.got(host + reference[1])
			}
		})
	}
}

// got returns a document, which must exist.
func (r *replica) got(url string) answer {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	must(r, err)
	a, err := send(r.plain, request)
	must(r, err)
	if a.status != http.StatusOK {
		r.Errorf("%s: %d %s", url, a.status, a.body)
	}
	return a
}

// routesLogged returns the routes of all requests.
func (r *replica) routesLogged() (routes []string) {
	r.Helper()
	for _, line := range r.log.lines(r, "request") {
		routes = append(routes, line["route"].(string))
	}
	slices.Sort(routes)
	return slices.Compact(routes)
}
