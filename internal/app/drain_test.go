package app_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
)

// bootPausing starts a replica whose drain has two pauses, one before the listener closes and one
// after. Each ends when the test says so.
func bootPausing(
	t *testing.T, databaseURL string, flags ...string,
) (r *replica, delayed, settled func()) {
	t.Helper()
	delay, settling := make(chan time.Time), make(chan time.Time)
	after := func(d time.Duration) <-chan time.Time {
		if d == time.Hour {
			return delay
		}
		return settling
	}
	r = launchWith(t, app.Options{After: after}, databaseURL,
		append(flags, "--shutdown-delay=1h")...)
	delayed, settled = sync.OnceFunc(func() { close(delay) }),
		sync.OnceFunc(func() { close(settling) })
	t.Cleanup(func() { delayed(); settled() }) // for a test that fails before
	r.awaitStart()
	return r, delayed, settled
}

// Every deployment stops each replica once. Clients that leave when they are told to must not
// notice.
func TestNoRequestIsLostWhenAReplicaStopsUnderLoad(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	r, delayed, settled := bootPausing(t, databaseURL, "--account-failures=0",
		"--account-failures-per-day=0", "--address-failures=0")

	var (
		clients  sync.WaitGroup
		leaving  atomic.Bool // the test has seen that the replica is not ready
		answered atomic.Int64
	)
	load := func(client *http.Client, status int, request func() *http.Request) {
		for last := false; !last; {
			last = leaving.Load() // one more request after all know that the replica will stop
			a, err := send(client, request())
			switch {
			case err != nil:
				t.Errorf("lost: %v", err)
			case a.status != status:
				t.Errorf("refused: %d %s", a.status, a.body)
			case last && !a.close:
				t.Error("a client was not told that its connection ends")
			}
			answered.Add(1)
		}
	}
	for range 12 {
		clients.Go(func() {
			load(newClient(t), http.StatusOK, func() *http.Request { return r.meRequest(token) })
		})
	}
	for range 12 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			load(client, http.StatusOK, func() *http.Request { return r.meRequest(token) })
		})
	}
	for range 2 { // as many as threads: a busy machine takes long to hash at low priority
		clients.Go(func() {
			for !leaving.Load() {
				a, err := send(r.client, r.loginRequest("nobody", goodPassword))
				if err != nil || a.status != http.StatusUnauthorized {
					t.Errorf("login: %d %s %v", a.status, a.body, err)
				}
				answered.Add(1)
			}
		})
	}
	r.drains(&clients, &leaving, &answered, delayed, settled)
}

// drains stops a replica under load, once clients have come. They leave when they see leaving, and
// count their answers. The replica must have served just those.
func (r *replica) drains(
	clients *sync.WaitGroup, leaving *atomic.Bool, answered *atomic.Int64, delayed, settled func(),
) {
	r.Helper()
	asynctest.Await(r, "requests to come", func() bool { return answered.Load() > 200 })
	r.terminate()
	r.awaitReadiness(http.StatusServiceUnavailable)
	leaving.Store(true)
	clients.Wait()
	delayed()
	settled()
	r.stop()
	if served := len(r.log.lines(r, "request")); int64(served) != answered.Load() {
		r.Errorf("the replica served %d requests, clients had %d answers", served, answered.Load())
	}
}

// A client that does not leave is refused in the end. But a request on a connection that the
// service has accepted must not be dropped. With net/http's Shutdown alone, it would be.
func TestNoAcceptedRequestIsDroppedWhenTheListenerCloses(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	r, delayed, settled := bootPausing(t, databaseURL)
	var (
		clients  sync.WaitGroup
		answered atomic.Int64
	)
	for range 16 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for {
				a, err := send(client, r.meRequest(token))
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("dropped: %v", err)
				}
				if err != nil {
					return // refused, or reset by the kernel
				}
				answered.Add(1)
				r.want(http.StatusOK, a)
			}
		})
	}
	asynctest.Await(t, "requests to come", func() bool { return answered.Load() > 200 })
	delayed()
	r.terminate()
	clients.Wait()
	settled()
	r.stop()
	if served := len(r.log.lines(t, "request")); int64(served) != answered.Load() {
		t.Errorf("the replica served %d requests, clients had %d answers", served, answered.Load())
	}
}

// A request that began before the listener closed must be finished, and its client told not to come
// back.
func TestRequestsUnderWayAreFinishedAfterTheListenerClosed(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	r := boot(t, databaseURL)
	table := lockUsers(t, databaseURL)

	const requests = 4
	answers := r.atOnce(requests, func() *http.Request { return r.meRequest(token) })
	table.awaitWaiting(requests)
	r.terminate()
	r.awaitClosedListener()
	r.want(http.StatusServiceUnavailable, r.onOps("/readyz"))
	table.unlock()
	for range requests {
		a := <-answers
		r.want(http.StatusOK, a)
		if !a.close {
			t.Error("the connection stays open")
		}
	}
	r.stop()
}

func (r *replica) awaitClosedListener() {
	r.Helper()
	asynctest.Await(r, "the listener to close", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// A request that never ends must not keep a replica from stopping.
func TestRequestsLongerThanTheGraceAreCutOff(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	r := boot(t, databaseURL, "--shutdown-grace=100ms")
	table := lockUsers(t, databaseURL)
	failed := make(chan error, 1)
	go func() {
		_, err := send(newClient(t), r.meRequest(token))
		failed <- err
	}()
	table.awaitWaiting(1)
	r.stop()
	if err := <-failed; err == nil {
		t.Error("a request was answered though it could not be")
	}
	if len(r.log.lines(t, "requests were cut off")) != 1 {
		t.Error("the log does not tell that requests were lost")
	}
	table.unlock()
}
