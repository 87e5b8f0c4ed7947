package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
)

// withTLS are the flags of a certificate in files of the test's own. Renewed makes another one, and
// returns a client that trusts that one alone.
func withTLS(t *testing.T) (flags []string, renewed func() *http.Client) {
	t.Helper()
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	return []string{"--tls-cert-file=" + chain, "--tls-key-file=" + key}, func() *http.Client {
		roots := x509.NewCertPool()
		roots.AddCert(writeCertificate(t, chain, key))
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
}

// A certificate lives for weeks, and a replica for as long as it can. One that has to be restarted
// for a new certificate is forgotten once, and keeps everybody out.
func TestARenewedCertificateIsTakenWithoutARestart(t *testing.T) {
	t.Parallel()
	flags, renewed := withTLS(t)
	client := renewed()
	r := boot(t, dbtest.New(t), flags...)
	secure := strings.Replace(r.public, "http:", "https:", 1) + "/.well-known/jwks.json"
	get := func(client *http.Client) (*http.Response, error) {
		response, err := client.Get(secure)
		if err == nil {
			response.Body.Close()
		}
		return response, err
	}
	wantsIt := func(client *http.Client) {
		t.Helper()
		response, err := get(client)
		must(t, err)
		if response.StatusCode != http.StatusOK || response.Proto != "HTTP/2.0" ||
			response.TLS.Version < tls.VersionTLS12 ||
			response.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s %s %v", response.Status, response.Proto, response.Header)
		}
	}
	wantsIt(client)
	plain, err := newClient(t).Get(r.public + "/.well-known/jwks.json")
	must(t, err)
	plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %s", plain.Status)
	}

	next := renewed()
	asynctest.Await(t, "the new certificate", func() bool {
		_, err := get(next)
		return err == nil
	})
	wantsIt(client) // the connection from before goes on
	ends := func() string {
		for line := range strings.Lines(r.onOps("/metrics").body) {
			if strings.HasPrefix(line, "gatehouse_tls_certificate_expiry_timestamp_seconds ") {
				return line
			}
		}
		return "nothing"
	}
	leaf, err := tls.LoadX509KeyPair(flagOf(flags[0]), flagOf(flags[1]))
	must(t, err)
	want := fmt.Sprintf("%g", float64(leaf.Leaf.NotAfter.Unix()))
	if got := ends(); !strings.Contains(got, want) {
		t.Errorf("the metrics say %s, want %s", got, want)
	}

	must(t, os.WriteFile(flagOf(flags[0]), []byte("half a certi"), 0o600))
	logged := func(message string) func() bool {
		return func() bool { return len(r.log.lines(t, message)) > 0 }
	}
	asynctest.Await(t, "a word of the broken file",
		logged("the certificate cannot be read anew, the one before stays in use"))
	next.CloseIdleConnections()
	wantsIt(next)
	last := renewed()
	asynctest.Await(t, "the end of the trouble", logged("the certificate can be read again"))
	wantsIt(last)
}

func flagOf(flag string) string {
	_, value, _ := strings.Cut(flag, "=")
	return value
}

// With HTTP/2 a client is told to leave by a frame of its own, and not by a header.
func TestNoRequestByHTTP2IsLostWhenAReplicaStopsUnderLoad(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	token := insertUser(t, databaseURL)
	flags, renewed := withTLS(t)
	client := renewed()
	r, delayed, settled := bootPausing(t, databaseURL, flags...)
	r.public = strings.Replace(r.public, "http:", "https:", 1)
	var (
		clients  sync.WaitGroup
		leaving  atomic.Bool
		answered atomic.Int64
	)
	for range 12 {
		clients.Go(func() {
			for last := false; !last; {
				last = leaving.Load()
				a, err := send(client, r.meRequest(token))
				if err != nil || a.status != http.StatusOK {
					t.Errorf("lost: %d %v", a.status, err)
				}
				answered.Add(1)
			}
		})
	}
	r.drains(&clients, &leaving, &answered, delayed, settled)
}

// Whoever mistypes a file's name must not get a service that speaks without TLS.
func TestAServiceDoesNotStartWithoutTheCertificateThatItShallHave(t *testing.T) {
	t.Parallel()
	flags, renewed := withTLS(t)
	renewed()
	others, othersRenewed := withTLS(t)
	othersRenewed()
	databaseURL := dbtest.New(t)
	for name, given := range map[string][]string{
		"no file":               {"--tls-cert-file=/nowhere", flags[1]},
		"the key of another":    {flags[0], others[1]},
		"a key in place of one": {"--tls-cert-file=" + flagOf(flags[1]), flags[1]},
	} {
		r := launch(t, databaseURL, given...)
		<-r.ended
		if wrong, ok := errors.AsType[*config.Error](r.err); !ok || wrong.Setting != "TLS_CERT_FILE" {
			t.Errorf("%s: %v", name, r.err)
		}
	}
}
