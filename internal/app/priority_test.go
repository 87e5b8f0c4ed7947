package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"gatehouse.example/internal/password"
)

// Where the system forbids low priority, an operator must know before the first flood of logins.
func TestHashingAtNormalPriorityIsLogged(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lowPriority int
		warnings    int
	}{{0, 1}, {1, 1}, {2, 0}} {
		var log bytes.Buffer
		warnOfPriority(slog.New(slog.NewJSONHandler(&log, nil)),
			password.LaneStats{Threads: 2, LowPriority: test.lowPriority})
		if got := strings.Count(log.String(), `"level":"WARN"`); got != test.warnings {
			t.Errorf("%d of 2 threads at low priority: %d warnings, want %d: %s", test.lowPriority,
				got, test.warnings, &log)
		}
	}
}
