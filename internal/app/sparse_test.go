package app

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
)

// river says each second that it cannot fetch jobs, for as long as the database is away. Its other
// lines are about its own life.
func TestTheSameWarningOfRiverComesOnceAMinute(t *testing.T) {
	t.Parallel()
	buffer, now := &asynctest.Buffer{}, time.Now()
	log := slog.New(newSparse(slog.NewTextHandler(buffer, nil), func() time.Time { return now }))
	log.Info("started")
	for second := range 121 {
		now = now.Add(time.Second)
		log.With("second", second).Error("cannot fetch")
		log.WithGroup("group").Warn("cannot elect", "second", second)
	}
	for message, want := range map[string]int{"started": 0, "cannot fetch": 3, "cannot elect": 3} {
		if got := strings.Count(buffer.String(), message); got != want {
			t.Errorf("%d lines of %q, want %d:\n%s", got, message, want, buffer)
		}
	}
}
