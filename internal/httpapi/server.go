// Package httpapi owns the public HTTP interface: which routes there are and who may call them, how input is
// read, how results and errors are written, and what is logged and counted of a request. What it must do is in
// api/openapi.yaml.
package httpapi

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// Options of the interface. Every field is needed but TrustedProxies and, without them, ForwardedHeader.
type Options struct {
	Service          *auth.Service
	Cursors          *token.CursorKeys
	Clock            func() time.Time
	Log              *slog.Logger
	Metrics          prometheus.Registerer
	TrustedProxies   []netip.Prefix // whose forwarded headers are believed
	ForwardedHeader  string         // the one of them that names the client: ForwardedFor or Forwarded
	Issuer           string         // URL of the service as its clients know it
	RegistrationOpen bool
	RequestTimeout   time.Duration
}

type server struct {
	service          *auth.Service
	cursors          *token.CursorKeys
	clock            func() time.Time
	log              *slog.Logger
	metrics          *metrics
	trustedProxies   []netip.Prefix
	forwardedHeader  string
	registrationOpen bool
	requestTimeout   time.Duration
	brake            *brake
}

// New makes the handler of the public port.
func New(o Options) (http.Handler, error) {
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	docs, err := newDocs()
	if err != nil {
		return nil, err
	}
	s := &server{
		service: o.Service, cursors: o.Cursors, clock: o.Clock, log: o.Log, metrics: m, trustedProxies: o.TrustedProxies,
		forwardedHeader: o.ForwardedHeader, registrationOpen: o.RegistrationOpen, requestTimeout: o.RequestTimeout,
		brake: newBrake(heldBack, mostHeldBack),
	}
	wellKnown, err := newWellKnown(o.Service, o.Issuer)
	if err != nil {
		return nil, err
	}
	engine := newEngine()
	engine.Use(s.observe)
	s.handle(engine.Group("", s.deadline), s.routes(docs, wellKnown))
	s.handle(&engine.RouterGroup, s.verifyRoutes()) // from memory: a deadline would cost as much again
	engine.NoRoute(route{guard: anybody, handle: func(*gin.Context) error { return errNotFound }}.serve(s))
	engine.NoMethod(route{guard: anybody, handle: verifyOr(s.service.CheckAccess, func(*gin.Context) error { return errMethodNotAllowed })}.serve(s))
	return engine, nil
}

func (s *server) handle(group *gin.RouterGroup, routes []route) {
	for _, r := range routes {
		group.Handle(r.method, r.path, r.serve(s))
		if r.method == http.MethodGet {
			group.Handle(http.MethodHead, r.path, r.serve(s)) // RFC 9110 §9.1
		}
	}
}

// newEngine takes Gin's router without its logger, its recovery, its redirects and its idea of who the client is.
func newEngine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	engine.ForwardedByClientIP = false
	return engine
}
