package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
)

const (
	// queuesEvery is how long the figures of the queues are kept. Each scraper of each replica would
	// ask the database otherwise.
	queuesEvery = 15 * time.Second

	// queuesPatience bounds what a scrape waits for the database. The other metrics wait with it.
	queuesPatience = time.Second
)

// queueMetrics is a [prometheus.Collector] of what waits in the queues of jobs. All replicas show
// the same, since they share the queues. While the database does not answer, there are no figures:
// old ones would hide that nothing is worked off.
type queueMetrics struct {
	waiting, oldest *prometheus.Desc
	read            func(context.Context) ([]db.JobQueue, error)
	clock           func() time.Time
	log             *slog.Logger

	mu    sync.Mutex
	asked time.Time
	last  []db.JobQueue
}

func newQueueMetrics(
	read func(context.Context) ([]db.JobQueue, error), clock func() time.Time, log *slog.Logger,
) *queueMetrics {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("gatehouse_"+name, help, []string{"queue"}, nil)
	}
	return &queueMetrics{
		waiting: describe("jobs_waiting", "Jobs that wait to be done, by queue."),
		oldest:  describe("job_oldest_seconds", "Age of the oldest job that waits, by queue; 0: none."),
		read:    read, clock: clock, log: log,
	}
}

// Describe implements [prometheus.Collector].
func (m *queueMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.waiting
	to <- m.oldest
}

// Collect implements [prometheus.Collector].
func (m *queueMetrics) Collect(to chan<- prometheus.Metric) {
	for _, q := range m.queues() {
		to <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(q.Waiting), q.Name)
		to <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, q.Oldest.Seconds(), q.Name)
	}
}

// queues asks the database, unless it was asked a moment ago. Scrapes at the same time wait for one
// answer.
func (m *queueMetrics) queues() []db.JobQueue {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.clock(); now.Sub(m.asked) >= queuesEvery {
		ctx, cancel := context.WithTimeout(context.Background(), queuesPatience)
		defer cancel()
		all, err := m.read(ctx)
		if err != nil {
			m.log.Warn("the queues of jobs cannot be read", "error", err.Error())
		}
		m.last, m.asked = all, now
	}
	return m.last
}
