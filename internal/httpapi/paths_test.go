package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/httpapi/apitest"
)

// Clients of frameworks that end each path with a slash would be sent elsewhere, or nowhere. A
// redirect is as bad, since a POST is repeated as a GET.
func TestASlashBehindAPathChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	registered := f.do(f.request("POST", "/users/",
		`{"username":"alice","password":"`+goodPassword+`"}`, "Content-Type", "application/json"))
	if registered.status != http.StatusCreated {
		t.Fatalf("POST /users/: %d %s", registered.status, registered.body)
	}
	login := "username=alice&password=" + url.QueryEscape(goodPassword)
	granted := f.do(
		f.request("POST", "/token/", login, "Content-Type", "application/x-www-form-urlencoded"))
	if granted.status != http.StatusOK {
		t.Fatalf("POST /token/: %d %s", granted.status, granted.body)
	}
	authorization := "Bearer " + granted.json(t, "access_token").(string)
	// This goes through the table of routes, so that none is left out.
	for _, r := range (&API{}).table(&docs{}, &wellKnown{}) {
		path := strings.NewReplacer(":id", "x", ":role", "y", ":name", "z", "*asset",
			"swagger-ui.css").Replace(r.path)
		if r.path == "/logout" || r.path == "/users/me/data" || // says when it was asked
			r.method == http.MethodDelete && strings.HasPrefix(path, "/users/me") {
			continue // the token is refused after it; see below
		}
		ask := func(path string) answered {
			return f.do(f.request(r.method, path, "", "Authorization", authorization))
		}
		want, got := ask(path), ask(path+"/")
		if !edge.MayEndInSlash(path) {
			want = answered{status: http.StatusNotFound, body: ask("/nothing").body}
		}
		if got.status != want.status || got.body != want.body || got.header.Get("Location") != "" {
			t.Errorf("%s %s/: %d %s, want %d %s", r.method, path, got.status, got.body, want.status,
				want.body)
		}
	}
	for _, ends := range []string{"DELETE /users/me/sessions/", "POST /logout/"} {
		method, path, _ := strings.Cut(ends, " ")
		if got := f.do(f.request(method, path, "", "Authorization",
			authorization)); got.status != http.StatusNoContent {
			t.Errorf("%s: %d %s", ends, got.status, got.body)
		}
	}
	if log := f.log.String(); !strings.Contains(log, `"route":"/token","status":200`) ||
		strings.Contains(log, `"route":"/token/"`) {
		t.Error("the log has another route for a path with a slash")
	}
}

// A cookie for another path never comes back. Then the owner of an account under attack is locked
// out.
func TestBelowAPathTheCookieAndTheContractAreOfThatPath(t *testing.T) {
	t.Parallel()
	f := start(t, settings{issuer: "https://id.test/auth", rates: tightRates()})
	f.client = apitest.ClientBelow(t, "/auth")
	f.url += "/auth"
	f.register("alice", goodPassword)
	granted := f.login("alice", goodPassword)
	if got := cookieOf(granted); got.Path != "/auth/token" {
		t.Errorf("the cookie is for %q", got.Path)
	}
	var contract struct {
		Servers    []struct{ URL string }
		Components struct {
			SecuritySchemes map[string]struct {
				Flows map[string]struct{ AuthorizationURL, TokenURL string }
			}
		}
	}
	must(t, json.Unmarshal([]byte(f.do(f.request("GET", "/openapi.json", "")).body), &contract))
	if len(contract.Servers) != 1 || contract.Servers[0].URL != "/auth" {
		t.Errorf("servers %+v", contract.Servers)
	}
	flows := contract.Components.SecuritySchemes["OAuth2PasswordBearer"].Flows
	if code := flows["authorizationCode"]; code.AuthorizationURL != "/auth/authorize" ||
		code.TokenURL != "/auth/token" || flows["password"].TokenURL != "/auth/token" {
		t.Errorf("flows %+v", flows)
	}
	page := f.do(f.request("GET", "/docs", "")).body
	if !strings.Contains(page, `window.location.origin + "/auth/docs/oauth2-redirect.html"`) {
		t.Error("a login at /docs comes back to another path")
	}
	asYAML := f.do(f.request("GET", "/openapi.yaml", "")).body
	if !strings.Contains(asYAML, `url: "/auth"`) ||
		!strings.Contains(asYAML, `tokenUrl: "/auth/token"`) {
		t.Error("the contract in YAML is another one")
	}
	if log := f.log.String(); !strings.Contains(log, `"route":"/token"`) ||
		strings.Contains(log, `"route":"/auth`) || strings.Contains(log, `"route":"none"`) {
		t.Error("the log has other routes below a path")
	}
}
