package load

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// A loop that waited for an answer would not count the requests that came meanwhile.
func TestASlowAnswerKeepsNoOtherRequestOfAnOpenLoopBack(t *testing.T) {
	t.Parallel()
	const others = 50
	var came atomic.Int64
	all := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch came.Add(1) {
		case 1:
			<-all
		case others:
			close(all)
		}
	}))
	t.Cleanup(server.Close)
	shots, err := OpenLoop(t.Context(), 1000, time.Second, Get(server.URL, []string{"a", "b"}))
	must(t, err)
	if len(shots) < others {
		t.Errorf("%d requests", len(shots))
	}
}

func TestRefusalsAreNoLatenciesOfSuccess(t *testing.T) {
	t.Parallel()
	if _, err := Latencies([]Shot{{Status: 200}, {Status: 503}}, nil); err == nil {
		t.Error("a 503 was taken for an answer")
	}
}

func TestFiguresOfWrkAreReadAndItsFaultsToo(t *testing.T) {
	t.Parallel()
	const out = "  Latency Distribution\n     50%    1.07ms\n     99%  950.00us\n  10 requests in 1.00s\nRequests/sec:   4711.50\n"
	got, err := readWrk(out)
	if want := (Result{RPS: 4711.5, p99: 950 * time.Microsecond, Requests: 10}); err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, fault := range []string{"  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"} {
		if _, err := readWrk(out + fault); err == nil {
			t.Errorf("%q was passed over", fault)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
