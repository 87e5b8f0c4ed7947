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

	"gatehouse/internal/config"
)

// listener is an HTTP server at work.
type listener struct {
	addr   net.Addr
	socket net.Listener
	server *http.Server
	failed chan error    // gets one error if the server ends by itself
	ended  chan struct{} // closed when the server takes no more connections
}

// readHeaderTimeout bounds how long a client may take to say what it wants, and a proxy for whom it asks.
const readHeaderTimeout = 5 * time.Second

func listen(
	ctx context.Context, addr string, wrap func(net.Listener) net.Listener, h http.Handler, s config.Serve, log *slog.Logger,
) (*listener, error) {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	socket = wrap(socket)
	l := &listener{
		addr: socket.Addr(), socket: socket, server: newServer(h, s, log),
		failed: make(chan error, 1), ended: make(chan struct{}),
	}
	go func() {
		defer close(l.ended)
		if err := l.server.Serve(socket); !errors.Is(err, net.ErrClosed) {
			l.failed <- fmt.Errorf("serve %s: %w", addr, err)
		}
	}()
	return l, nil
}

// direct leaves connections as they are.
func direct(socket net.Listener) net.Listener { return socket }

// behind takes the client of a connection from the proxies by the PROXY protocol, version 1 or 2. A connection of theirs that
// does not begin with it is closed. Those of others are as they are, so that nobody can name himself.
func behind(proxies []netip.Prefix) func(net.Listener) net.Listener {
	policy := func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		peer, err := netip.ParseAddrPort(o.Upstream.String())
		if err == nil && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap().WithZone("")) }) {
			return proxyproto.REQUIRE, nil
		}
		return proxyproto.SKIP, nil
	}
	return func(socket net.Listener) net.Listener {
		return &proxyproto.Listener{Listener: socket, ReadHeaderTimeout: readHeaderTimeout, ConnPolicy: policy}
	}
}

// newServer bounds what a client may make the process wait for and keep.
func newServer(h http.Handler, s config.Serve, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      s.RequestTimeout + 15*time.Second, // reading counts too
		IdleTimeout:       2 * time.Minute,                   // longer than a proxy keeps its connections
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// stop takes no more connections, but those that there are may still send a request until settle returns. Then it
// lets requests under way end within the grace; what runs even longer is cut off.
//
// The settling is for connections that were taken just before: Shutdown drops a request whose header it has not read
// when it is called. A connection that only the kernel has taken gets a reset all the same: no call closes a socket to
// new connections and keeps those. But clients that still connect after SHUTDOWN_DELAY would be refused a moment later.
func (l *listener) stop(settle func(), grace time.Duration) (cutOff bool, err error) {
	_ = l.socket.Close() // fails only if the server has failed, and closed it
	<-l.ended
	settle()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err = l.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return true, l.server.Close()
	}
	return false, err
}

// closeConnections lets clients know during the drain that their connection ends with the answer: closing it
// while it is idle could cross with their next request, which would be lost.
func closeConnections(draining *atomic.Bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
