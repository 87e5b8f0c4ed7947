package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// note collects what the log line of a request says beyond the request itself.
type note struct {
	requestID string
	userID    string
	service   string // that showed a token of its own
	clientID  string // of an OAuth client that has named itself
	outcome   string
	err       error // only of a fault: other errors may quote what the caller sent
	stack     string
	routine   bool // a success so frequent that it has a line at debug only
}

// noted carries the note, and where it is from, with a request. Among the keys of Gin's context it would cost each request a map.
type noted struct {
	gin.ResponseWriter
	note
	origin origin
}

func noteOf(c *gin.Context) *note { return &c.Writer.(*noted).note }

func (n *note) failed(a answer) {
	n.outcome = a.outcome()
	if a.status >= http.StatusInternalServerError {
		n.err = a.err
	}
}

// holder notes whose access token came with the request, and returns its sub.
func (n *note) holder(s token.Subject) (sub string) {
	sub = s.Name()
	if s.IsClient() {
		n.clientID = sub
	} else {
		n.userID = sub
	}
	return sub
}

// metrics of the HTTP layer.
type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	logins    *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	meters    sync.Map // of *meter by meterKey
}

// meter is what is counted of one kind of request. It saves each request the look-up by labels.
type meter struct {
	answered prometheus.Counter
	duration prometheus.Observer
}

type meterKey struct {
	route, method string
	class         int // hundreds of the status
}

// meter finds the one of a kind, of which there must not be more than the routes and a few methods make.
func (m *metrics) meter(k meterKey) *meter {
	if known, ok := m.meters.Load(k); ok {
		return known.(*meter)
	}
	made, _ := m.meters.LoadOrStore(k, &meter{
		m.requests.WithLabelValues(k.route, k.method, strconv.Itoa(k.class)+"xx"), m.duration.WithLabelValues(k.route, k.method),
	})
	return made.(*meter)
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

// observe wraps every request: it gives it an id, and leaves one log line and the metrics.
func (s *server) observe(c *gin.Context) {
	start := time.Now()
	from := s.originOf(c.Request)
	id := requestID(c.Request, from.trusted)
	c.Writer = &noted{c.Writer, note{requestID: id, outcome: "success"}, from}
	h := c.Writer.Header()
	h["X-Request-Id"] = []string{id}
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noStore
	if from.tls {
		h["Strict-Transport-Security"] = aYear
	}
	c.Next()
	s.record(c, noteOf(c), time.Since(start))
}

// Values that all responses share. Nobody changes a value in place: Set, Add and Del of a header do not.
var (
	nosniff = []string{"nosniff"}
	noStore = []string{"no-store"}
	aYear   = []string{"max-age=31536000"}
)

// deadline bounds a request that waits for others: for its turn, for a password, for the database. What it does there is
// told of with where it came from.
func (s *server) deadline(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.requestTimeout)
	ctx = auth.WithOrigin(ctx, auth.Origin{RequestID: noteOf(c).requestID, Address: addressOf(c), UserAgent: c.Request.UserAgent()})
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}

func (s *server) record(c *gin.Context, n *note, took time.Duration) {
	route, method, status := c.FullPath(), c.Request.Method, c.Writer.Status()
	if route == "" {
		route = "none"
	}
	if !isStandard(method) {
		method = "other" // else a caller could make metrics without end
	}
	m := s.metrics.meter(meterKey{route, method, status / 100})
	m.answered.Inc()
	m.duration.Observe(took.Seconds())

	severity := level(status, n)
	if !s.log.Enabled(c.Request.Context(), severity) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", n.requestID),
		slog.String("method", method),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", addressOf(c)),
		slog.String("outcome", n.outcome),
	}
	if n.userID != "" {
		attrs = append(attrs, slog.String("user_id", n.userID))
	}
	if n.service != "" {
		attrs = append(attrs, slog.String("service", n.service))
	}
	if n.clientID != "" {
		attrs = append(attrs, slog.String("client_id", n.clientID))
	}
	if n.err != nil {
		attrs = append(attrs, slog.String("error", n.err.Error()))
	}
	if n.stack != "" {
		attrs = append(attrs, slog.String("stack", n.stack))
	}
	s.log.LogAttrs(c.Request.Context(), severity, "request", attrs...)
}

// level is that of faults for what somebody must look into, and not for a flood of logins that was turned away.
func level(status int, n *note) slog.Level {
	switch {
	case n.routine:
		return slog.LevelDebug
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
