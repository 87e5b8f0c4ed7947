package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
)

// server is an HTTP server: a component.
type server struct {
	address string
	wrap    func(net.Listener) net.Listener
	drain   drain
	http    *http.Server
	socket  net.Listener  // set once the server has started
	failed  chan error    // gets one error if the server ends by itself
	ended   chan struct{} // closed when the server takes no more connections
}

// drain is how a server stops: see [server.stop].
type drain struct {
	settle func()
	grace  time.Duration
	cutOff func() // called when requests took longer than the grace
}

// readHeaderTimeout bounds how long a client may take to send a request's header, and a proxy to
// name its client.
const readHeaderTimeout = 5 * time.Second

// newServer sets bounds on what a client may make the process wait for and keep.
func newServer(
	address string, wrap func(net.Listener) net.Listener, h http.Handler, d drain,
	requestTimeout time.Duration, log *slog.Logger,
) *server {
	return &server{
		address: address, wrap: wrap, drain: d, failed: make(chan error, 1),
		ended: make(chan struct{}),
		http: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      requestTimeout + 15*time.Second, // reading counts too
			// longer than a proxy keeps its connections
			IdleTimeout:    2 * time.Minute,
			MaxHeaderBytes: 16 << 10,
			ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
	}
}

func (s *server) start(ctx context.Context) error {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.socket = s.wrap(socket)
	serve := s.http.Serve
	if s.http.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	go func() {
		defer close(s.ended)
		if err := serve(s.socket); !errors.Is(err, net.ErrClosed) {
			s.failed <- fmt.Errorf("serve %s: %w", s.address, err)
		}
	}()
	return nil
}

// addr is the address on which a started server listens.
func (s *server) addr() net.Addr { return s.socket.Addr() }

// stop takes no more connections. The open ones may still send a request until settle returns. Then
// requests under way may end within the grace. Those that take longer are cut off.
//
// The settling is for connections that were taken just before. Shutdown drops a request whose
// header it has not read when it is called. A connection that only the kernel has taken still gets
// a reset, because no call closes a socket to new connections and keeps those. But clients that
// connect after SHUTDOWN_DELAY would be refused a moment later anyway.
func (s *server) stop() error {
	_ = s.socket.Close() // fails only if the server has failed, and closed it
	<-s.ended
	s.drain.settle()
	ctx, cancel := context.WithTimeout(context.Background(), s.drain.grace)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
		s.drain.cutOff()
	}
	return err
}

// direct leaves connections as they are.
func direct(socket net.Listener) net.Listener { return socket }

// behind lets the proxies name the client of a connection, by the PROXY protocol, version 1 or 2. A
// proxy's connection that does not begin with it is closed. Connections of others are taken as they
// are, so that nobody else can name a client.
func behind(proxies []netip.Prefix) func(net.Listener) net.Listener {
	policy := func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		peer, err := netip.ParseAddrPort(o.Upstream.String())
		if err == nil &&
			slices.ContainsFunc(proxies,
				func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap().WithZone("")) }) {
			return proxyproto.REQUIRE, nil
		}
		return proxyproto.SKIP, nil
	}
	return func(socket net.Listener) net.Listener {
		return &proxyproto.Listener{Listener: socket, ReadHeaderTimeout: readHeaderTimeout,
			ConnPolicy: policy}
	}
}

// closeConnections tells clients during the drain that their connection ends with the answer.
// Closing an idle connection could cross with the next request, which would be lost. At any time,
// it also closes the connection after a request whose end a proxy may see elsewhere.
func closeConnections(draining *atomic.Bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() || mayEndElsewhere(r) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// mayEndElsewhere reports whether a request may have had both Content-Length and Transfer-Encoding,
// or the latter in HTTP/1.0. The connection must be closed after such a request (RFC 9112 §6.1),
// because what a proxy took for the end of its body would be the next request here. net/http takes
// one of the headers and does not mention the other. So this is true for every request in chunks,
// and every one of HTTP/1.0. There are few.
func mayEndElsewhere(r *http.Request) bool {
	return len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1)
}
