// Package edge owns what every request passes, whether it is for the API or for a page. It says
// where a request came from, gives it an id, bounds its time, and reads its form. It has the one
// table from errors to answers. It logs and counts the answer.
package edge

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// Options are the settings of an Edge. All are needed, except CORSOrigins, CookieDomain,
// TrustedProxies and, without these, ForwardedHeader.
type Options struct {
	Log             *slog.Logger
	Metrics         prometheus.Registerer
	TrustedProxies  []netip.Prefix // proxies whose forwarded headers are believed
	ForwardedHeader string         // the header that names the client: ForwardedFor or Forwarded
	Issuer          string         // the service's URL as clients know it
	RequestTimeout  time.Duration
	CORSOrigins     []string // of the pages that may read what [ListedOrigins] has
	CookieDomain    string   // the domain whose hosts get a sibling cookie; "": there is none
}

// Edge is the outermost part of the public port.
type Edge struct {
	log             *slog.Logger
	metrics         *metrics
	trustedProxies  []netip.Prefix
	forwardedHeader string
	issuer          string
	base            base
	timeout         time.Duration
	corsOrigins     []string
	cookieDomain    string
	brake           *brake
}

// New makes an Edge.
func New(o Options) (*Edge, error) {
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	b, err := newBase(o.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	return &Edge{
		log: o.Log, metrics: m, trustedProxies: o.TrustedProxies,
		forwardedHeader: o.ForwardedHeader, issuer: o.Issuer, base: b, timeout: o.RequestTimeout,
		brake: newBrake(heldBack, mostHeldBack), corsOrigins: o.CORSOrigins,
		cookieDomain: o.CookieDomain,
	}, nil
}

// Issuer returns the service's URL as clients know it.
func (e *Edge) Issuer() string { return e.issuer }

// Base returns the path of the issuer's URL, as links and cookies have it. It is empty, or like
// /auth.
func (e *Edge) Base() string { return e.base.escaped }

// IsSecure reports whether the issuer's URL is https.
func (e *Edge) IsSecure() bool { return strings.HasPrefix(e.issuer, "https://") }

// Handler answers a request, or returns the error that answers it.
type Handler func(*gin.Context) error

// Route is what answers the requests of a method and a path.
type Route struct {
	Method, Path string
	Answer       gin.HandlerFunc // made by [Edge.Answer]
	// FromMemory is true for answers that wait for nothing, or bound their waits themselves. A
	// deadline would double their cost.
	FromMemory bool
	// Sharing says pages of which other origins may read the answers.
	Sharing Sharing
}

// Fallbacks answer what has no route.
type Fallbacks struct {
	NotFound         gin.HandlerFunc
	MethodNotAllowed gin.HandlerFunc
}

// Serve returns the handler of the public port. A route for GET also answers HEAD (RFC 9110
// §9.3.2). A path that is shared with pages of other origins also answers their preflights.
func (e *Edge) Serve(otherwise Fallbacks, routes ...Route) http.Handler {
	engine := newEngine()
	shared := sharersOf(routes, e.corsOrigins)
	engine.Use(e.observe)
	bounded := engine.Group("", e.deadline)
	for _, r := range routes {
		group := bounded
		if r.FromMemory {
			group = &engine.RouterGroup
		}
		if of := shared[r.Path]; of != nil {
			group = group.Group("", of.share)
		}
		for _, method := range methodsOf(r) {
			group.Handle(method, r.Path, r.Answer)
		}
	}
	for path, of := range shared {
		engine.OPTIONS(path, of.preflight(otherwise.MethodNotAllowed))
	}
	engine.NoRoute(otherwise.NotFound)
	engine.NoMethod(otherwise.MethodNotAllowed)
	return rooted(e.base.among(routes), engine)
}

// newEngine returns Gin's router without its logger, its recovery, its redirects, and its notion of
// the client's address.
func newEngine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	engine.ForwardedByClientIP = false
	return engine
}

// Answer makes a handler of Gin. Errors are answered from the table, in a form. An answer that
// turns a flood away is held back for a moment.
func (e *Edge) Answer(write Form, handle Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := recovered(c, handle); err != nil {
			e.brake.hold(c.Request.Context(), err)
			fail(c, write, err)
		}
	}
}

// recovered turns a panic into an error, so that the answer has the form of the route.
func recovered(c *gin.Context, handle Handler) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // net/http's own way to cut a connection off
			panic(v)
		default:
			NoteOf(c).stack = string(debug.Stack())
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return handle(c)
}
