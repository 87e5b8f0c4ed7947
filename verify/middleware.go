package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gatehouse.example/internal/token"
)

type contextKey struct{}

// verified is a request that the middleware has let in.
type verified struct {
	Claims
	at time.Time
}

// FromContext returns the claims of a request that [Verifier.Middleware] has let in.
func FromContext(ctx context.Context) (Claims, bool) {
	v, ok := ctx.Value(contextKey{}).(verified)
	return v.Claims, ok
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
		next.ServeHTTP(w, r.WithContext(context.WithValue(
			r.Context(), contextKey{}, verified{claims, v.clock()})))
	})
}

// RequireRole lets a request in if its user has a role. It goes behind [Verifier.Middleware], and
// lets nobody in without it.
func RequireRole(role string) func(http.Handler) http.Handler {
	return require(errForbidden, func(v verified) bool { return v.HasRole(role) })
}

// RequirePermission lets a request in if its token has a permission: resource:action or a single
// word. It goes behind [Verifier.Middleware], as [RequireRole] does.
func RequirePermission(permission string) func(http.Handler) http.Handler {
	return require(errForbidden, func(v verified) bool { return v.HasPermission(permission) })
}

// RequireACR lets a request in if its user has logged in as strongly as an acr says: [ACR2] is with
// two factors. It goes behind [Verifier.Middleware], as [RequireRole] does. A refusal tells the app
// by which acr_values to have the user log in (RFC 9470 §3).
func RequireACR(acr string) func(http.Handler) http.Handler {
	return requireLogin(acr != "", token.StepUp{ACR: acr})
}

// RequireFresh lets a request in if its user has logged in, or has proved anew who it is, no longer
// ago than so long. Less than a second counts as a second. It goes behind [Verifier.Middleware], as
// [RequireRole] does. A refusal tells the app by which max_age to have the user log in (RFC 9470
// §3).
//
// The time of the login is by Gatehouse's clock, which may be 5 seconds apart from this one. Nobody
// can log in again in much less than a minute.
func RequireFresh(maxAge time.Duration) func(http.Handler) http.Handler {
	return requireLogin(true, token.StepUp{MaxAge: max(maxAge, time.Second)})
}

// RequireLogin is [RequireACR] and [RequireFresh] in one. A refusal tells the app both, so that one
// login suffices for them.
func RequireLogin(acr string, maxAge time.Duration) func(http.Handler) http.Handler {
	return requireLogin(acr != "", token.StepUp{ACR: acr, MaxAge: max(maxAge, time.Second)})
}

// requireLogin lets nobody in if the demand is not possible: an empty acr would demand nothing.
func requireLogin(possible bool, demand token.StepUp) func(http.Handler) http.Handler {
	return require(&loginError{demand}, func(v verified) bool {
		login := token.Subject{ACR: v.ACR, AuthTime: v.AuthTime}
		return possible && login.Satisfies(demand, v.at)
	})
}

func require(refusal error, allowed func(verified) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch v, ok := r.Context().Value(contextKey{}).(verified); {
			case !ok:
				refuse(w, token.ErrNone)
			case !allowed(v):
				refuse(w, refusal)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// errForbidden is for a valid token that does not allow the request.
var errForbidden = errors.New("verify: insufficient scope")

// loginError is for a valid token whose login does not satisfy a demand.
type loginError struct{ demand token.StepUp }

func (e *loginError) Error() string { return "verify: insufficient user authentication" }

func refuse(w http.ResponseWriter, err error) {
	status, detail := http.StatusUnauthorized, "Invalid authentication credentials"
	login, isLogin := errors.AsType[*loginError](err)
	switch {
	case isLogin:
		detail = token.InsufficientLogin
		w.Header().Set("WWW-Authenticate", login.demand.Challenge())
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
