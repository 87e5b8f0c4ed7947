package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/revocation"
)

func followed(
	t *testing.T, databaseURL string,
) (*revocation.Set, *revocations, *prometheus.Registry) {
	t.Helper()
	store, err := db.Open(context.Background(),
		db.Options{URL: databaseURL, StatementTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	log, metrics := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	set, listener := revocation.NewSet(time.Now(), time.Minute), store.NewListener(log)
	v := newRevocations(set, listener, time.Minute, time.Now, log, metrics)
	listening := &background{run: listener.Run}
	if err := listening.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = v.stop(), listening.stop() })
	return set, v, metrics
}

func value(t *testing.T, metrics *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A replica that is ready before it knows who was banned would let them in.
func TestRevocationsAreLoadedWhenStartReturns(t *testing.T) {
	t.Parallel()
	set, v, metrics := followed(t, dbtest.New(t))
	ctx, cancel := context.WithCancel(t.Context())
	if age := value(t, metrics, "gatehouse_revocations_age_seconds"); age < 1e9 {
		t.Errorf("age %v before the first read", age)
	}
	if err := v.start(ctx); err != nil {
		t.Fatal(err)
	}
	if age := set.Age(time.Now()); age > time.Hour {
		t.Errorf("age %v", age)
	}
	for name, want := range map[string]float64{"gatehouse_revocations_reloads_total": 1,
		"gatehouse_revocations_entries": 0} {
		if got := value(t, metrics, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	// Requests are answered while the replica drains, and somebody may be banned then.
	cancel()
	before := set.Age(time.Now())
	for deadline := time.After(time.Minute); ; before = max(before, set.Age(time.Now())) {
		if set.Age(time.Now()) < before {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the end of the context has ended the polls")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAStartIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	_, v, _ := followed(t, "postgres://u@127.0.0.1:1/x?sslmode=disable")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.start(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
