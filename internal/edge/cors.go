package edge

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/rs/cors"
)

// Sharing says pages of which origins a browser lets read what a route answers (CORS, the Fetch
// standard §3.3). It shares what a page may get without cookies. Nobody is refused by an origin:
// that would keep no program but a browser out.
type Sharing int

const (
	// OwnOrigin shares nothing: only pages of the service's own origin may read the answers.
	OwnOrigin Sharing = iota
	// ListedOrigins shares with pages of the origins in [Options.CORSOrigins].
	ListedOrigins
	// AnyOrigin shares with every page, as is right for what is public anyway.
	AnyOrigin
)

// preflightSeconds is how long a browser may remember the answer to a preflight.
const preflightSeconds = 3600

// sharer sets the headers of CORS at one path.
type sharer struct {
	policy  *cors.Cors
	toAll   bool
	methods []string
}

// sharersOf makes the sharers of routes, by path. Without origins there are none for
// [ListedOrigins]: to the library, an empty list means every origin.
func sharersOf(routes []Route, origins []string) map[string]*sharer {
	methods, sharing := map[string][]string{}, map[string]Sharing{}
	for _, r := range routes {
		if r.Sharing == AnyOrigin || r.Sharing == ListedOrigins && len(origins) > 0 {
			methods[r.Path] = append(methods[r.Path], methodsOf(r)...)
			sharing[r.Path] = r.Sharing
		}
	}
	all := map[string]*sharer{}
	for path, allowed := range methods {
		list := origins
		if sharing[path] == AnyOrigin {
			list = []string{"*"}
		}
		all[path] = &sharer{
			toAll: sharing[path] == AnyOrigin, methods: allowed,
			policy: cors.New(cors.Options{
				AllowedOrigins: list, AllowedMethods: allowed, MaxAge: preflightSeconds,
				AllowedHeaders: []string{"Authorization", "Content-Type", "Gatehouse-Device",
					"If-Match", "If-None-Match"},
				ExposedHeaders: exposedHeaders(),
			}),
		}
	}
	return all
}

// exposedHeaders are those that a page may read beside the few that every page may. There is
// Gatehouse-Device, since a page of another site gets no cookie.
func exposedHeaders() []string {
	return []string{"ETag", "Gatehouse-Device", "Retry-After", "WWW-Authenticate", "X-Request-Id"}
}

// methodsOf returns the methods that a route answers.
func methodsOf(r Route) []string {
	if r.Method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{r.Method}
}

// share sets the headers of an answer before it is made, so that refusals have them too. Without
// them a page could not tell a wrong password from a failure.
func (s *sharer) share(c *gin.Context) {
	if !s.toAll {
		s.policy.HandlerFunc(c.Writer, c.Request)
		return
	}
	// These do not depend on who asks. So caches keep one copy for all, and there is no Vary.
	c.Header("Access-Control-Allow-Origin", "*")
	c.Header("Access-Control-Expose-Headers", strings.Join(exposedHeaders(), ", "))
}

// preflight answers a browser that asks whether a page may send a request. The answer is the same
// for every origin, but for the headers that let the browser go on. What is no preflight is
// answered by otherwise.
func (s *sharer) preflight(otherwise gin.HandlerFunc) gin.HandlerFunc {
	allow := strings.Join(slices.Concat(s.methods, []string{http.MethodOptions}), ", ")
	return func(c *gin.Context) {
		if c.GetHeader("Access-Control-Request-Method") == "" {
			c.Header("Allow", allow)
			otherwise(c)
			return
		}
		s.policy.HandlerFunc(c.Writer, c.Request)
		c.Writer.WriteHeaderNow()
	}
}
