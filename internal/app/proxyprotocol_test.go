package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
)

const plainRequest = "GET /users/me HTTP/1.1\r\nHost: gatehouse\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"

// exchange sends text over a connection of its own, and returns the status of the answer, or 0 if
// there is none.
func (r *replica) exchange(text string) int {
	r.Helper()
	conn := r.dial(r.T)
	_, err := io.WriteString(conn, text)
	must(r, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// lastClient returns the client's address in the last request's log line.
func (r *replica) lastClient() any {
	r.Helper()
	lines := r.log.lines(r, "request")
	if len(lines) == 0 {
		return nil
	}
	return lines[len(lines)-1]["client"]
}

func TestATrustedProxyNamesTheClientByThePROXYProtocol(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t), "--trusted-proxies=127.0.0.0/8", "--proxy-protocol")
	for _, test := range []struct {
		name, header string
		client       string
	}{
		{"IPv4", "PROXY TCP4 203.0.113.9 127.0.0.1 1234 8000\r\n", "203.0.113.9"},
		{"IPv6", "PROXY TCP6 2001:db8::9 ::1 1234 8000\r\n", "2001:db8::9"},
	} {
		if status := r.exchange(test.header + plainRequest); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", test.name, status)
		}
		asynctest.Await(t, "the log of "+test.name,
			func() bool { return r.lastClient() == test.client })
	}
	before := len(r.log.lines(t, "request"))
	for name, text := range map[string]string{"none": plainRequest,
		"malformed": "PROXY TCP4 nobody\r\n" + plainRequest} {
		if status := r.exchange(text); status != 0 && status != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if after := len(r.log.lines(t, "request")); after != before {
		t.Errorf("%d requests of an unnamed client were served", after-before)
	}
}

// Otherwise any client could claim to be another one.
func TestAStrangerNamesNobodyByThePROXYProtocol(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t), "--trusted-proxies=10.0.0.0/8", "--proxy-protocol")
	if status := r.exchange("PROXY TCP4 203.0.113.9 127.0.0.1 1234 8000\r\n" +
		plainRequest); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
	if status := r.exchange(plainRequest); status != http.StatusUnauthorized {
		t.Errorf("without: status %d", status)
	}
	asynctest.Await(t, "the log", func() bool { return r.lastClient() == "127.0.0.1" })
}

func TestHAProxyNamesTheClientByThePROXYProtocol(t *testing.T) {
	t.Parallel()
	proxyProgram{name: "haproxy"}.find(t)
	r := boot(t, dbtest.New(t), "--trusted-proxies=127.0.0.1/32", "--proxy-protocol")
	address := dbtest.FreeAddr(t)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	must(t, os.WriteFile(config, []byte(`
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen gatehouse
    bind `+address+`
    server replica `+strings.TrimPrefix(r.public, "http://")+` send-proxy-v2
`), 0o644))
	process := exec.Command("haproxy", "-db", "-f", config)
	must(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		_ = process.Wait()
	})
	// A client whose address differs from the proxy's own.
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: time.Minute}
	asynctest.Await(t, "an answer through the proxy", func() bool {
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		if _, err := io.WriteString(conn, plainRequest); err != nil {
			return false
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return false
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusUnauthorized
	})
	asynctest.Await(t, "the log", func() bool { return r.lastClient() == "127.0.0.2" })
}
