package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
)

// A proxy and the service may differ on where a request ends. What one takes for the rest of it is,
// for the other, the next request of somebody else.
func TestNothingIsReadBehindARequestWhoseEndIsInDoubt(t *testing.T) {
	t.Parallel()
	r := boot(t, dbtest.New(t))
	host := strings.TrimPrefix(r.public, "http://")
	const next = "GET /openapi.json HTTP/1.1\r\nHost: id.test\r\n\r\n"
	request := func(version, header, body string) string {
		return fmt.Sprintf(
			"POST /token HTTP/%s\r\nHost: id.test\r\nContent-Type: application/x-www-form-urlencoded\r\n%s\r\n%s", version, header, body)
	}
	for name, test := range map[string]struct {
		sent    string
		answers int
	}{
		"an end that is clear": {request("1.1", "Content-Length: 3\r\n", "a=b") + next, 2},
		"both lengths, chunks first": {request("1.1",
			"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"+next) + next, 1},
		"both lengths, chunks second": {request("1.1",
			"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n",
			"3\r\na=b\r\n0\r\n\r\n"+next), 1},
		"chunks in HTTP/1.0": {request("1.0",
			"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+next), 1},
		"both lengths in HTTP/1.0": {request("1.0",
			"Connection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
			"0\r\n\r\n"+next), 1},
		"two lengths": {request("1.1",
			"Content-Length: 3\r\nContent-Length: 0\r\n", "a=b") + next, 1},
		"another coding": {request("1.1",
			"Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n", "a=b") + next, 1},
		"two codings": {request("1.1",
			"Content-Length: 3\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
			"a=b") + next, 1},
		"a coding behind a line break": {request("1.1",
			"Content-Length: 3\r\nTransfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n") + next, 1},
	} {
		conn, err := net.Dial("tcp", host)
		must(t, err)
		_, err = io.WriteString(conn, test.sent)
		must(t, err)
		must(t, conn.(*net.TCPConn).CloseWrite()) // so that a connection that is kept ends too
		answers, reader := 0, bufio.NewReader(conn)
		for {
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				break
			}
			_, err = io.Copy(io.Discard, response.Body)
			must(t, err)
			answers++
		}
		conn.Close()
		if answers != test.answers {
			t.Errorf("%s: %d answers, want %d", name, answers, test.answers)
		}
	}
}
