package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse.example/db"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// succeeded returns when a job last succeeded, 0 for never, and -1 if there is no such job.
func succeeded(t *testing.T, metrics *prometheus.Registry, job string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "gatehouse_upkeep_last_success_timestamp_seconds" && m.GetLabel()[0].GetValue() == job {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// If one job cannot work on its table, the other tables must not grow, and somebody must be told.
func TestAJobThatFailsIsReportedAndTheOthersAreDone(t *testing.T) {
	t.Parallel()
	var log asynctest.Buffer
	metrics := prometheus.NewRegistry()
	turns := make(chan string, 100)
	batches := []int64{10, 10, 3}
	u := newUpkeep([]job{
		{"broken", time.Hour, 10, func(context.Context, int) (int64, error) { turns <- "broken"; return 10, errors.New("no such table") }},
		{"big", time.Hour, 10, func(_ context.Context, rows int) (done int64, err error) {
			turns <- "big"
			if rows != 10 {
				t.Errorf("%d rows at once", rows)
			}
			done, batches = batches[0], batches[1:]
			return done, nil
		}},
		{"small", time.Hour, 10, func(context.Context, int) (int64, error) { turns <- "small"; return 9, nil }},
		{"often", time.Nanosecond, 0, func(context.Context, int) (int64, error) {
			select {
			case turns <- "often":
			default:
			}
			return 0, nil
		}},
	}, slog.New(slog.NewTextHandler(&log, nil)), metrics)
	if err := u.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Rows that are left have their turn after the other jobs, without a wait. After a failure, the
	// job waits for its next time.
	var got []string
	for often := 0; often < 5; {
		if turn := <-turns; turn == "often" {
			often++
		} else {
			got = append(got, turn)
		}
	}
	if err := u.stop(); err != nil {
		t.Error(err)
	}
	if order := strings.Join(got, " "); order != "broken big small big big" {
		t.Errorf("turns: %s", order)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), `level=WARN msg="upkeep failed" job=broken error="no such table"`) {
		t.Errorf("log:\n%s", &log)
	}
	if at := succeeded(t, metrics, "broken"); at != 0 {
		t.Errorf("the broken one succeeded at %v", at)
	}
	for _, job := range []string{"big", "small", "often"} {
		if at := succeeded(t, metrics, job); time.Since(time.Unix(int64(at), 0)) > time.Hour {
			t.Errorf("%s succeeded at %v", job, at)
		}
	}
}

// A replica must be able to stop whatever its database does, and stopping is no failure.
func TestUpkeepEndsInTheMiddleOfAJob(t *testing.T) {
	t.Parallel()
	var log asynctest.Buffer
	begun := make(chan struct{})
	u := newUpkeep([]job{{"hanging", time.Hour, 1, func(ctx context.Context, _ int) (int64, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("nothing bounds the job")
		}
		close(begun)
		<-ctx.Done()
		return 0, ctx.Err()
	}}}, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if err := u.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := u.stop(); err != nil {
		t.Error(err)
	}
	if log.String() != "" {
		t.Errorf("log: %s", &log)
	}
}

// A replica that cannot send mails would look well to whoever watches the metrics.
func TestMailsThatNothingHasSentCountAsGivenUp(t *testing.T) {
	t.Parallel()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	url := dbtest.New(t)
	store, err := db.Open(t.Context(), db.Options{URL: url, StatementTimeout: time.Minute})
	ok(err)
	t.Cleanup(store.Close)
	conn, err := pgx.Connect(t.Context(), url)
	ok(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `INSERT INTO mails (id, kind, sealed, expires_at)
		SELECT gen_random_uuid(), kind, decode(repeat('00', 40), 'hex'), now() - over
		FROM (VALUES ('reset', interval '2 h'), ('reset', '3 h'), ('verify', '2 h'), ('invite', '-1 h')) m (kind, over)`)
	ok(err)
	metrics := prometheus.NewRegistry()
	do := giveUpMails(authtest.New(t, store, authtest.Options{}).Mails, countMails(metrics))
	done, err := do(t.Context(), 10)
	ok(err)
	families, err := metrics.Gather()
	ok(err)
	dead := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if l := m.GetLabel(); len(l) == 2 && l[1].GetValue() == "dead" && m.GetCounter().GetValue() > 0 {
				dead[l[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if done != 3 || len(dead) != 2 || dead["reset"] != 2 || dead["verify"] != 1 {
		t.Errorf("%d are done, and counted are %v", done, dead)
	}
}
