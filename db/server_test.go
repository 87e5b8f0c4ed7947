package db

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/dbtest"
)

// A connection that only looks as if it were private would be trusted with every password hash.
func TestAConnectionTellsWhoCouldReadIt(t *testing.T) {
	t.Parallel()
	through, root := overTLS(t, dbtest.New(t))
	for parameters, want := range map[string][2]bool{ // encrypted, verified
		"sslmode=disable":                         {false, false},
		"sslmode=require":                         {true, false},
		"sslmode=verify-ca&sslrootcert=" + root:   {true, true},
		"sslmode=verify-full&sslrootcert=" + root: {true, true},
	} {
		d := open(t, Options{URL: through + "?" + parameters})
		got, err := d.Server(t.Context(), time.Now)
		if err != nil || got.TLS != want[0] || got.Verified != want[1] || !got.Local {
			t.Errorf("%s: %+v, %v", parameters, got, err)
		}
	}
}

// overTLS stands before a server, and speaks TLS with whoever wants it. It returns the URL without
// parameters, and the file of the certificate.
func overTLS(t *testing.T, databaseURL string) (through, root string) {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	root = filepath.Join(t.TempDir(), "root.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw}
	must(t, os.WriteFile(root, pem.EncodeToMemory(block), 0o600))
	u, err := url.Parse(databaseURL)
	must(t, err)
	server := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(client, server, &tls.Config{Certificates: certified.TLS.Certificates})
		}
	}()
	u.Host, u.RawQuery = listener.Addr().String(), ""
	return u.String(), root
}

// pass passes on a connection, and what a client says in TLS in the clear. A client asks for TLS by
// its first eight bytes (SSLRequest of PostgreSQL's protocol).
func pass(client net.Conn, server string, config *tls.Config) {
	defer client.Close()
	to, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer to.Close()
	first := make([]byte, 8)
	if _, err := io.ReadFull(client, first); err != nil {
		return
	}
	if strings.HasSuffix(string(first), "\x04\xd2\x16\x2f") {
		if _, err := client.Write([]byte("S")); err != nil {
			return
		}
		client = tls.Server(client, config)
	} else if _, err := to.Write(first); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(to, client)
		to.Close()
	}()
	_, _ = io.Copy(client, to)
}
