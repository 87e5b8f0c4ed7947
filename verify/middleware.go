package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"gatehouse.example/internal/token"
)

type contextKey struct{}

// FromContext returns the claims of a request that [Verifier.Middleware] has let in.
func FromContext(ctx context.Context) (Claims, bool) {
	claims, ok := ctx.Value(contextKey{}).(Claims)
	return claims, ok
}

// Middleware lets a request in if its Authorization header has a valid access token, and puts the
// claims into its context. It refuses other requests as Gatehouse does (RFC 6750 §3, RFC 9457):
// with 401, or with 503 while it cannot know.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := token.Bearer(r.Header.Values("Authorization"))
		var claims Claims
		if err == nil {
			claims, err = v.Verify(raw)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, claims)))
	})
}

// RequireRole lets a request in if its user has a role. It goes behind [Verifier.Middleware], and
// lets nobody in without it.
func RequireRole(role string) func(http.Handler) http.Handler {
	return require(func(c Claims) bool { return c.HasRole(role) })
}

// RequirePermission lets a request in if its token has a permission: resource:action or a single
// word. It goes behind [Verifier.Middleware], as [RequireRole] does.
func RequirePermission(permission string) func(http.Handler) http.Handler {
	return require(func(c Claims) bool { return c.HasPermission(permission) })
}

func require(allowed func(Claims) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch claims, ok := FromContext(r.Context()); {
			case !ok:
				refuse(w, token.ErrNone)
			case !allowed(claims):
				refuse(w, errForbidden)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// errForbidden is for a valid token that does not allow the request.
var errForbidden = errors.New("verify: insufficient scope")

func refuse(w http.ResponseWriter, err error) {
	status, detail := http.StatusUnauthorized, "Invalid authentication credentials"
	switch {
	case errors.Is(err, token.ErrNone):
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatehouse"`)
	case errors.Is(err, errForbidden):
		status, detail = http.StatusForbidden, "The token does not allow this"
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatehouse", error="insufficient_scope"`)
	case errors.Is(err, ErrUnavailable):
		status, detail = http.StatusServiceUnavailable, "The service is not available; try again later"
		w.Header().Set("Retry-After", "1")
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatehouse", error="invalid_token"`)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d,"detail":%q}`+"\n", http.StatusText(status), status, detail)
}
