package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
)

// Each scrape of each replica would be a question to the database, and an outage would show figures
// from before it.
func TestScrapesAskForTheQueuesNowAndThenAndShowNothingOld(t *testing.T) {
	t.Parallel()
	now, asked, failure := time.Now(), 0, error(nil)
	m := newQueueMetrics(func(context.Context) ([]db.JobQueue, error) {
		asked++
		if failure != nil {
			return nil, failure
		}
		return []db.JobQueue{{Name: "mail", Waiting: 3, Oldest: time.Minute}, {Name: "other"}}, nil
	}, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	shown := func() map[string]float64 {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]float64{}
		for _, family := range families {
			for _, one := range family.GetMetric() {
				values[family.GetName()+" "+one.GetLabel()[0].GetValue()] = one.GetGauge().GetValue()
			}
		}
		return values
	}
	var scrapes sync.WaitGroup
	for range 10 {
		scrapes.Go(func() { shown() })
	}
	scrapes.Wait()
	got := shown()
	if asked != 1 || len(got) != 4 || got["gatehouse_jobs_waiting mail"] != 3 ||
		got["gatehouse_job_oldest_seconds mail"] != 60 {
		t.Errorf("asked %d times: %v", asked, got)
	}
	now, failure = now.Add(queuesEvery), errors.New("no connection")
	if got := shown(); asked != 2 || len(got) != 0 {
		t.Errorf("during an outage, asked %d times: %v", asked, got)
	}
	now, failure = now.Add(queuesEvery), nil
	if got := shown(); asked != 3 || len(got) != 4 {
		t.Errorf("after it, asked %d times: %v", asked, got)
	}
}
