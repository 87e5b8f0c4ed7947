package edge

import (
	"net/url"
	"testing"
)

func TestRequestsAreKnownBelowTheIssuersPathAndAtTheRoot(t *testing.T) {
	t.Parallel()
	var all []Route
	for _, path := range []string{"/token", "/users/me", "/users/:id", "/verify", "/verify/*path"} {
		all = append(all, Route{Path: path})
	}
	for issuer, paths := range map[string]map[string]string{
		"https://id.test/auth": {
			"/auth/token": "/token", "/token": "/token", "/auth/token/": "/token",
			"/auth/auth/token": "/auth/token", "/authx/token": "/authx/token",
			"/auth": "/", "/auth/": "/", "/AUTH/token": "/AUTH/token",
			"/auth%2Ftoken": "/token", "/auth//token": "//token",
			"/auth/verify": "/verify", "/auth/verify/": "/verify/",
			"/auth/verify/auth/token/": "/verify/auth/token/", "/verify/auth": "/verify/auth",
			"/.well-known/oauth-authorization-server/auth":  "/.well-known/oauth-authorization-server",
			"/.well-known/oauth-authorization-server/auth/": "/.well-known/oauth-authorization-server",
			"/.well-known/oauth-authorization-server":       "/.well-known/oauth-authorization-server",
			"/auth/.well-known/oauth-authorization-server":  "/.well-known/oauth-authorization-server",
			"/.well-known/oauth-authorization-server/other": "/.well-known/oauth-authorization-server/other",
		},
		"https://id.test/a%20b/auth/": {"/a%20b/auth/token": "/token",
			"/a%20b/token": "/a b/token"},
		"https://id.test/": {"/token": "/token", "//token": "//token"},
		// Nobody would know whether /users/me is the account, or the rest of another path after a
		// proxy.
		"https://id.test/users": {
			"/users/me": "/users/me", "/users/users/me": "/users/users/me",
			"/.well-known/oauth-authorization-server/users": "/.well-known/oauth-authorization-server",
		},
		"https://id.test/verify/x": {"/verify/x/token": "/verify/x/token"},
	} {
		b, err := newBase(issuer)
		if err != nil {
			t.Fatal(err)
		}
		b = b.among(all)
		for path, want := range paths {
			u, err := url.ParseRequestURI(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.routeOf(u); got != want {
				t.Errorf("%s: %s is taken for %s, want %s", issuer, path, got, want)
			}
		}
	}
}

// Another spelling is another resource: a role whose name ends in a slash is not the one without
// it.
func TestOnlyOneSlashThatIsWrittenAsOneIsLeftOut(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "/", "//": "/", "/users/": "/users", "/users//": "/users/", "/roles/x%2F": "/roles/x/",
		"/roles/x%2F/":  "/roles/x/",
		"/roles/a%2Fb/": "/roles/a/b", "/verify/": "/verify/", "/verify/x/": "/verify/x/",
		"/verifyx/":               "/verifyx",
		"/revocations.jwt/":       "/revocations.jwt/",
		"/.well-known/jwks.json/": "/.well-known/jwks.json/",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := (base{}).routeOf(u); got != want {
			t.Errorf("%s is taken for %s, want %s", path, got, want)
		}
	}
}
