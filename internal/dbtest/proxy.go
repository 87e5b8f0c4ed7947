package dbtest

import (
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy stands between a test and its database until the test ends, and returns the URL that leads
// through it. The test may stop it and start it again. It is Toxiproxy, which can keep a connection
// open and silent, as a broken network does.
func Proxy(t testing.TB, databaseURL string) (proxy *toxiproxy.Proxy, through string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatalf("dbtest: proxy: %v", err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy = toxiproxy.NewProxy(server, "database", FreeAddr(t), u.Host)
	if err := proxy.Start(); err != nil {
		t.Fatalf("dbtest: proxy: %v", err)
	}
	t.Cleanup(proxy.Stop)
	u.Host = proxy.Listen
	return proxy, u.String()
}

// FreeAddr returns an address on which nobody listens. No other test gets it before this one ends,
// in whatever process, since the UDP port of that number is kept for as long. The port is outside
// the range that a system gives away by itself. Otherwise it could become a client's port before
// the test listens on it, or listens again.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(10000)))
		if claim, err := net.ListenPacket("udp", addr); err == nil {
			t.Cleanup(func() { _ = claim.Close() })
			if socket, err := net.Listen("tcp", addr); err == nil {
				_ = socket.Close()
				return addr
			}
		}
	}
	t.Fatal("dbtest: no free port")
	return ""
}
