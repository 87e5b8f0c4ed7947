package edge

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

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/token"
)

// Note collects what the log line of a request says beyond the request itself.
type Note struct {
	requestID string
	UserID    string
	Service   string // a service that authenticated with a token of its own
	ClientID  string // the OAuth client, once it is authenticated
	Routine   bool   // a success so frequent that it is logged at debug only
	outcome   string
	err       error // set for faults only: other errors may quote what the caller sent
	stack     string
}

// noted carries the note and the origin of a request. In the keys of Gin's context, they would cost
// each request a map.
type noted struct {
	gin.ResponseWriter
	note   Note
	origin Origin
}

// NoteOf returns the note of a request.
func NoteOf(c *gin.Context) *Note { return &c.Writer.(*noted).note }

func (n *Note) failed(status int, name string, err error) {
	n.outcome = name
	if status >= http.StatusInternalServerError {
		n.err = err
	}
}

// Refuse notes an error that was not answered from the table, but told to an app by a redirect.
func (n *Note) Refuse(err error) {
	_, n.outcome = AnswerTo(err)
}

// Holder notes whose access token came with the request, and returns the token's sub.
func (n *Note) Holder(s token.Subject) (sub string) {
	sub = s.Name()
	if s.IsClient() {
		n.ClientID = sub
	} else {
		n.UserID = sub
	}
	return sub
}

// metrics count all requests, and logins wherever they come from.
type metrics struct {
	logins   *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	meters   sync.Map // *meter by meterKey
}

// meter counts the requests of one kind. Keeping it saves each request the look-up by labels.
type meter struct {
	answered prometheus.Counter
	duration prometheus.Observer
}

type meterKey struct {
	route, method string
	class         int // the status, divided by 100
}

// meter returns the meter of a kind. Kinds are few: the routes, times a few methods and classes.
func (m *metrics) meter(k meterKey) *meter {
	if known, ok := m.meters.Load(k); ok {
		return known.(*meter)
	}
	made, _ := m.meters.LoadOrStore(k, &meter{
		m.requests.WithLabelValues(k.route, k.method, strconv.Itoa(k.class)+"xx"),
		m.duration.WithLabelValues(k.route, k.method),
	})
	return made.(*meter)
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_logins_total", Help: "Logins by outcome.",
		}, []string{"outcome"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_http_requests_total", Help: "Requests answered.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_http_request_duration_seconds",
			Help:    "Time from the request's header to the answer's end.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method"}),
	}
	return m, errors.Join(r.Register(m.logins), r.Register(m.requests), r.Register(m.duration))
}

// CountLogin counts a login by a password, by how it ended.
func (e *Edge) CountLogin(err error) { e.metrics.logins.WithLabelValues(auth.Outcome(err)).Inc() }

// observe wraps every request. It gives the request an id, writes one log line, and counts.
func (e *Edge) observe(c *gin.Context) {
	start := time.Now()
	from := e.originOf(c.Request)
	id := requestID(c.Request, from.trusted)
	c.Writer = &noted{c.Writer, Note{requestID: id, outcome: "success"}, from}
	h := c.Writer.Header()
	h["X-Request-Id"] = []string{id}
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noStore
	if from.TLS {
		h["Strict-Transport-Security"] = aYear
	}
	c.Next()
	e.record(c, NoteOf(c), time.Since(start))
}

// Header values that all responses share. This is safe because Set, Add and Del of a header never
// change a value in place.
var (
	nosniff = []string{"nosniff"}
	noStore = []string{"no-store"}
	aYear   = []string{"max-age=31536000"}
)

// deadline limits the time of a request that may wait: in a queue, for a password's hash, or for
// the database. It also puts the origin of the request into the context, for the audit log.
func (e *Edge) deadline(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), e.timeout)
	ctx = auth.WithOrigin(ctx,
		auth.Origin{RequestID: NoteOf(c).requestID, Address: AddressOf(c),
			UserAgent: c.Request.UserAgent(), Language: c.GetHeader("Accept-Language")})
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}

func (e *Edge) record(c *gin.Context, n *Note, took time.Duration) {
	route, method, status := c.FullPath(), c.Request.Method, c.Writer.Status()
	if route == "" {
		route = "none"
	}
	if !isStandard(method) {
		method = "other" // else a caller could create any number of metrics
	}
	m := e.metrics.meter(meterKey{route, method, status / 100})
	m.answered.Inc()
	m.duration.Observe(took.Seconds())

	severity := level(status, n)
	if !e.log.Enabled(c.Request.Context(), severity) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", n.requestID),
		slog.String("method", method),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", AddressOf(c)),
		slog.String("outcome", n.outcome),
	}
	if n.UserID != "" {
		attrs = append(attrs, slog.String("user_id", n.UserID))
	}
	if n.Service != "" {
		attrs = append(attrs, slog.String("service", n.Service))
	}
	if n.ClientID != "" {
		attrs = append(attrs, slog.String("client_id", n.ClientID))
	}
	if n.err != nil {
		attrs = append(attrs, slog.String("error", n.err.Error()))
	}
	if n.stack != "" {
		attrs = append(attrs, slog.String("stack", n.stack))
	}
	e.log.LogAttrs(c.Request.Context(), severity, "request", attrs...)
}

// level returns a fault's level if somebody must look into it. A flood of logins that is turned
// away is not a fault.
func level(status int, n *Note) slog.Level {
	switch {
	case n.Routine:
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
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// requestID returns the request id of a trusted proxy, so that its log and ours can be joined. It
// makes a new one if there is none, or if it could break a log or a header.
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
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_',
			c == '.', c == ':':
		default:
			return false
		}
	}
	return true
}
