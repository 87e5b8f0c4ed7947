package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse.example/db"
	"gatehouse.example/internal/password"
	"gatehouse.example/migrations"
)

var (
	errSchemaBehind = errors.New("the schema is older than this binary: run `gatehouse migrate`")
	errNotServing   = errors.New("starting or draining")
)

// readiness tells whether a replica should get requests.
type readiness struct {
	serving  atomic.Bool
	draining atomic.Bool
	schema   func(context.Context) (int64, error)
	sign     func() error
}

// drain asks for no more requests.
func (r *readiness) drain() {
	r.serving.Store(false)
	r.draining.Store(true)
}

func (r *readiness) check(ctx context.Context) error {
	if !r.serving.Load() {
		return errNotServing
	}
	if err := r.checkSchema(ctx); err != nil {
		return err
	}
	return r.sign() // after an outage, the database may be back before the keys are read
}

// checkSchema accepts a schema that is newer than this binary's. The migrations of the next release
// come before its binary, and suit this one too.
func (r *readiness) checkSchema(ctx context.Context) error {
	version, err := r.schema(ctx)
	switch {
	case err != nil:
		return err
	case version < migrations.Latest():
		return fmt.Errorf("%w: it has version %d, not %d", errSchemaBehind, version,
			migrations.Latest())
	}
	return nil
}

// opsHandler serves the port for operators.
func opsHandler(ready *readiness, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez",
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		// Far shorter than the time-outs of load balancers' checks.
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := ready.check(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// newMetrics has the metrics of the process and its connections. Package httpapi adds the others.
func newMetrics(version string, store *db.DB) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	gauge(r, "db_pool_max_connections", "Most connections allowed.",
		func() float64 { return float64(store.Stat().MaxConns()) })
	gauge(r, "db_pool_acquired_connections", "Connections in use.",
		func() float64 { return float64(store.Stat().AcquiredConns()) })
	gauge(r, "db_pool_idle_connections", "Connections not in use.",
		func() float64 { return float64(store.Stat().IdleConns()) })
	counter(r, "db_pool_acquires_total", "Connections taken.",
		func() float64 { return float64(store.Stat().AcquireCount()) })
	counter(r, "db_pool_waits_total", "Connections that had to be waited for.",
		func() float64 { return float64(store.Stat().EmptyAcquireCount()) })
	counter(r, "db_pool_wait_seconds_total", "Time spent waiting for connections.",
		func() float64 { return store.Stat().EmptyAcquireWaitTime().Seconds() })
	counter(r, "db_pool_new_connections_total", "Connections opened.",
		func() float64 { return float64(store.Stat().NewConnsCount()) })
	return r
}

// gauge registers a value that is read on each scrape.
func gauge(r prometheus.Registerer, name, help string, value func() float64) {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gatehouse_" + name, Help: help}, value))
}

// counter is gauge for a value that only grows.
func counter(r prometheus.Registerer, name, help string, value func() float64) {
	r.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gatehouse_" + name, Help: help},
			value))
}

// laneWait registers the time that passwords wait to be hashed, and returns its observer.
func laneWait(r prometheus.Registerer) func(time.Duration) {
	wait := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "gatehouse_password_lane_wait_seconds",
		Help:    "Time that passwords waited to be hashed.",
		Buckets: []float64{.001, .01, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})
	r.MustRegister(wait)
	return func(d time.Duration) { wait.Observe(d.Seconds()) }
}

func laneMetrics(r prometheus.Registerer, stats func() password.LaneStats) {
	gauge(r, "password_lane_threads", "Threads that hash passwords.",
		func() float64 { return float64(stats().Threads) })
	gauge(r, "password_lane_low_priority_threads",
		"Those of them that the system runs at low priority.",
		func() float64 { return float64(stats().LowPriority) })
	gauge(r, "password_lane_busy", "Passwords that are being hashed.",
		func() float64 { return float64(stats().Busy) })
	gauge(r, "password_lane_queued", "Passwords that wait to be hashed.",
		func() float64 { return float64(stats().Queued) })
	counter(r, "password_lane_refused_total", "Passwords refused because too many were waiting.",
		func() float64 { return float64(stats().Refused) })
}
