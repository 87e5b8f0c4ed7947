package edge

import (
	"net/http"
	"net/url"
	"strings"
)

// MetadataPath is the path of the metadata of a server without a path (RFC 8414 §3).
const MetadataPath = "/.well-known/oauth-authorization-server"

// DiscoveryPath is the path of the same metadata behind the path of the issuer (OpenID Connect
// Discovery §4).
const DiscoveryPath = "/.well-known/openid-configuration"

// base is the path of ISSUER, below which clients reach the service. It is empty, or like /auth.
type base struct {
	path    string // as requests have it after decoding
	escaped string // as links and cookies have it
	strip   bool   // requests may have the path; else a proxy must strip it
}

func newBase(issuer string) (base, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return base{}, err
	}
	return base{path: strings.TrimRight(u.Path, "/"),
		escaped: strings.TrimRight(u.EscapedPath(), "/")}, nil
}

// among lets requests come with the issuer's path too, unless a route begins with it. Below /users,
// for example, it would not be clear which of the two is meant.
func (b base) among(routes []Route) base {
	b.strip = b.path != ""
	for _, r := range routes {
		if firstSegment(r.Path) == firstSegment(b.path) {
			b.strip = false
		}
	}
	return b
}

func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// rooted serves the routes below the base as well as at the root, so a proxy may strip the base or
// not. A slash at the end of a path changes nothing. Nobody is redirected: a client would repeat a
// POST as a GET, or send a password twice.
func rooted(b base, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := b.routeOf(r.URL); path != r.URL.Path {
			copied, u := *r, *r.URL // a handler must not change the server's own
			u.Path, u.RawPath = path, ""
			copied.URL = &u
			r = &copied
		}
		next.ServeHTTP(w, r)
	})
}

// routeOf returns the path by which the router knows a URL.
func (b base) routeOf(u *url.URL) string {
	path := u.Path
	if rest, ok := strings.CutPrefix(path, b.path); b.strip && ok {
		switch {
		case rest == "": // people leave the slash out
			path = "/"
		case rest[0] == '/':
			path = rest
		}
	}
	if path == "/verify" || strings.HasPrefix(path, "/verify/") {
		return path // a slash has a meaning there
	}
	if trimmed, ok := strings.CutSuffix(path, "/"); ok && MayEndInSlash(trimmed) &&
		strings.HasSuffix(u.EscapedPath(), "/") {
		path = trimmed
	}
	if path == MetadataPath+b.path { // RFC 8414 §3.1
		return MetadataPath
	}
	return path
}

// MayEndInSlash is false for the root, and for names of files. Whoever blocks /revocations.jwt at a
// proxy means the same file with a slash too.
func MayEndInSlash(path string) bool {
	return path != "" && !strings.Contains(path[strings.LastIndexByte(path, '/')+1:], ".")
}
