package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/mail"
	"gatehouse.example/internal/mail/mailtest"
)

// mailpit is a relay that others have written, with the credentials that it demands.
type mailpit struct {
	smtp, api string
	roots     *x509.CertPool
}

const relayPassword = "correct-horse-battery-staple"

func startMailpit(t *testing.T) mailpit {
	t.Helper()
	proxyProgram{name: "mailpit"}.find(t)
	dir := t.TempDir()
	m := mailpit{smtp: dbtest.FreeAddr(t), api: dbtest.FreeAddr(t), roots: x509.NewCertPool()}
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	m.roots.AddCert(writeCertificate(t, certificate, key))
	users := filepath.Join(dir, "users")
	must(t, os.WriteFile(users, []byte("gatehouse:"+relayPassword+"\n"), 0o600))
	program := exec.Command("mailpit", "--smtp="+m.smtp, "--listen="+m.api,
		"--database="+filepath.Join(dir, "mails.db"), "--smtp-auth-file="+users,
		"--smtp-tls-cert="+certificate, "--smtp-tls-key="+key, "--smtp-require-starttls")
	program.Env = append(os.Environ(), "MP_DISABLE_VERSION_CHECK=true")
	said := &asynctest.Buffer{}
	program.Stdout, program.Stderr = said, said
	must(t, program.Start())
	t.Cleanup(func() {
		_ = program.Process.Kill()
		_ = program.Wait()
		if t.Failed() {
			t.Logf("mailpit:\n%s", said)
		}
	})
	asynctest.Await(t, "mailpit", func() bool {
		response, err := http.Get("http://" + m.api + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return m
}

// writeCertificate makes one for this machine, in the files that programs read.
func writeCertificate(t *testing.T, certificate, key string) *x509.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: encoded},
	} {
		must(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	}
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	return parsed
}

// asked is the answer of its API.
func (m mailpit) asked(t *testing.T, path string) []byte {
	t.Helper()
	response, err := http.Get("http://" + m.api + path)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s\n%s", path, response.Status, body)
	}
	return body
}

// mails are the sources of all that have arrived.
func (m mailpit) mails(t *testing.T) (sources [][]byte) {
	t.Helper()
	var list struct{ Messages []struct{ ID string } }
	must(t, json.Unmarshal(m.asked(t, "/api/v1/messages"), &list))
	for _, one := range list.Messages {
		sources = append(sources, m.asked(t, "/api/v1/message/"+one.ID+"/raw"))
	}
	return sources
}

// What our own server for tests takes may be refused by those that others have written.
func TestAMailGoesByTLSAndAUTHThroughARelayOfOthersAndItsCodeWorks(t *testing.T) {
	t.Parallel()
	pit, databaseURL := startMailpit(t), dbtest.New(t)
	host, port, err := net.SplitHostPort(pit.smtp)
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	relay := mail.NewSMTP(mail.SMTPOptions{
		Host: host, Port: number, Encryption: mail.STARTTLS, Roots: pit.roots,
		User: "gatehouse", Password: relayPassword, Hello: "example.org",
	})
	t.Cleanup(func() { _ = relay.Close() })
	r := launchWith(t, app.Options{Relay: relay}, databaseURL,
		"--mail-from=Gatehouse <login@example.org>", "--email=optional")
	r.awaitStart()
	r.want(http.StatusCreated, r.do(r.registerRequest("alice", goodPassword)))
	m := withMail{replica: r, conn: connect(t, databaseURL)}
	m.exec(`UPDATE users SET email = 'Alice@example.org', email_key = 'alice@example.org',
		email_verified_at = now()`)
	challenge := m.forgot("alice")
	var sources [][]byte
	asynctest.Await(t, "the mail", func() bool {
		sources = pit.mails(t)
		return len(sources) > 0
	})
	received, err := mailtest.Parse(sources[0])
	must(t, err)
	if len(sources) != 1 || received.Header.Get("To") != "<Alice@example.org>" ||
		received.Header.Get("Auto-Submitted") != "auto-generated" || received.HTML == "" || received.Code() == "" {
		t.Errorf("%d mails:\n%s", len(sources), sources[0])
	}
	m.want(http.StatusNoContent, m.reset(map[string]string{
		"challenge": challenge, "code": received.Code(),
	}))
	m.login("alice", nextPassword)
}
