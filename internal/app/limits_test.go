package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/dbtest"
)

// There are few connections. A client that never ends its header or its body must not keep one.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t))
	const header = "POST /users HTTP/1.1\r\nHost: gatehouse\r\nContent-Type: application/json\r\n"
	for name, sent := range map[string]string{
		"header without end": header,
		"body without end":   header + "Content-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := r.dial(t)
			_, err := io.WriteString(conn, sent)
			must(t, err)
			// A refusal of the half request may come before the end.
			if answer, err := io.ReadAll(conn); err != nil ||
				strings.HasPrefix(string(answer), "HTTP/1.1 2") {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
}

func TestHeadersThatAreTooLargeAreRefused(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t))
	conn := r.dial(t)
	_, err := fmt.Fprintf(conn,
		"GET /users/me HTTP/1.1\r\nHost: gatehouse\r\nAuthorization: Bearer %s\r\n\r\n",
		strings.Repeat("a", 32<<10))
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
}

// dial opens a connection to the public port. It fails the test if the server keeps the connection
// far too long.
func (r *replica) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	return conn
}
