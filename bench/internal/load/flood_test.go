package load

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A flood in which nobody is let through, or nobody turned away, would pass for one of both.
func TestAFloodCountsItsAnswersByStatus(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("wrk is not installed")
	}
	const enough, clients = 300, 4
	var asked atomic.Int64
	statuses := []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusServiceUnavailable}
	all := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if r.Method != http.MethodPost || r.FormValue("username") != "alice" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(statuses[n%int64(len(statuses))])
		if n == enough {
			close(all)
		}
	}))
	t.Cleanup(server.Close)
	f, err := StartFlood(t.Context(), filepath.Join(t.TempDir(), "flood"), server.URL, []string{"username=alice"}, clients)
	must(t, err)
	select {
	case <-all:
	case <-t.Context().Done():
	}
	got, err := f.End()
	must(t, err)
	let, turned := got.Counts[http.StatusOK], got.Counts[http.StatusServiceUnavailable]
	if len(got.Counts) != 2 || let+turned < enough-clients || turned < 2*let-2*clients || turned > 2*let+2*clients {
		t.Errorf("%v of %d requests", got.Counts, asked.Load())
	}
	if got.Took <= 0 {
		t.Errorf("it took %s", got.Took)
	}
}
