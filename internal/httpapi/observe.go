package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// note collects what the log line of a request says beyond the request itself.
type note struct {
	userID  string
	outcome string
	err     error // only of a fault: other errors may quote what the caller sent
	stack   string
}

const noteKey = "gatehouse.note"

func noteOf(c *gin.Context) *note { return c.MustGet(noteKey).(*note) }

func (n *note) failed(a answer) {
	n.outcome = a.outcome()
	if a.status >= http.StatusInternalServerError {
		n.err = a.err
	}
}

// metrics of the HTTP layer.
type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	logins    *prometheus.CounterVec
	refreshes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_http_requests_total", Help: "Requests answered.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_http_request_duration_seconds", Help: "Time from the request's header to the answer's end.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_logins_total", Help: "Logins by outcome.",
		}, []string{"outcome"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_refreshes_total", Help: "Refreshes by outcome.",
		}, []string{"outcome"}),
	}
	return m, errors.Join(r.Register(m.requests), r.Register(m.duration), r.Register(m.logins), r.Register(m.refreshes))
}

// observe wraps every request: it gives it an id and a deadline, and leaves one log line and the metrics.
func (s *server) observe(c *gin.Context) {
	start, n := time.Now(), &note{outcome: "success"}
	c.Set(noteKey, n)
	trusted := s.fromTrustedProxy(c.Request)
	id := requestID(c.Request, trusted)
	c.Header("X-Request-Id", id)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Cache-Control", "no-store")
	if c.Request.TLS != nil || trusted && c.GetHeader("X-Forwarded-Proto") == "https" {
		c.Header("Strict-Transport-Security", "max-age=31536000")
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.requestTimeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)

	c.Next()
	s.record(c, id, n, time.Since(start))
}

func (s *server) record(c *gin.Context, id string, n *note, took time.Duration) {
	route, method, status := c.FullPath(), c.Request.Method, c.Writer.Status()
	if route == "" {
		route = "none"
	}
	if !isStandard(method) {
		method = "other" // else a caller could make metrics without end
	}
	s.metrics.requests.WithLabelValues(route, method, strconv.Itoa(status/100)+"xx").Inc()
	s.metrics.duration.WithLabelValues(route, method).Observe(took.Seconds())

	attrs := []slog.Attr{
		slog.String("request_id", id),
		slog.String("method", method),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", c.ClientIP()),
		slog.String("outcome", n.outcome),
	}
	if n.userID != "" {
		attrs = append(attrs, slog.String("user_id", n.userID))
	}
	if n.err != nil {
		attrs = append(attrs, slog.String("error", n.err.Error()))
	}
	if n.stack != "" {
		attrs = append(attrs, slog.String("stack", n.stack))
	}
	s.log.LogAttrs(c.Request.Context(), level(status), "request", attrs...)
}

// level is that of faults for what somebody must look into, and not for a flood of logins that was turned away.
func level(status int) slog.Level {
	switch {
	case status == http.StatusServiceUnavailable:
		return slog.LevelWarn
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

func isStandard(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// requestID is a trusted proxy's, so that its log and this one can be joined, if it is one that no log or header
// can be broken with; else a new one.
func requestID(r *http.Request, trusted bool) string {
	if id := r.Header.Get("X-Request-Id"); trusted && isRequestID(id) {
		return id
	}
	return rand.Text()
}

func isRequestID(id string) bool {
	if len(id) < 1 || len(id) > 128 {
		return false
	}
	for n := range len(id) {
		switch c := id[n]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return true
}

func (s *server) fromTrustedProxy(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, network := range s.trustedProxies {
		if network.Contains(peer.Addr().Unmap()) {
			return true
		}
	}
	return false
}
