package app_test

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/doctor"
	"gatehouse.example/internal/mail/mailtest"
)

// examine returns what is found, by check.
func examine(t *testing.T, e app.Examination, flags ...string) map[string]doctor.Finding {
	t.Helper()
	settings, err := config.Load(append([]string{"--secret-key=" + secretKey, "--bcrypt-cost=10"}, flags...))
	must(t, err)
	found := map[string]doctor.Finding{}
	e.Cores = 1
	_, err = app.Examine(t.Context(), settings, e,
		func(f doctor.Finding) error { found[f.Check] = f; return nil })
	must(t, err)
	return found
}

// examineAt is examine by somebody whose clock is wrong by so much.
func examineAt(t *testing.T, wrong time.Duration, flags ...string) map[string]doctor.Finding {
	t.Helper()
	return examine(t, app.Examination{Options: app.Options{
		Clock: func() time.Time { return time.Now().Add(wrong) },
	}}, flags...)
}

func wantStatus(t *testing.T, f doctor.Finding, want doctor.Status, says string) {
	t.Helper()
	if f.Status != want || !strings.Contains(f.Found, says) {
		t.Errorf("%+v, want %s with %q", f, want, says)
	}
}

// What goes wrong with time is seen by nobody until it hurts.
func TestDoctorComparesTimes(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	boot(t, databaseURL, "--algorithm=ES256").stop()
	_, err := connect(t, databaseURL).Exec(t.Context(), // which need not be replaced any more
		`INSERT INTO signing_keys (kid, algorithm, state, public_jwk, lifetime_seconds, created_at, activated_at, retiring_at)
		VALUES ('old', 'ES256', 'retiring', '{}', 60, now() - interval '1 year', now() - interval '1 year', now())`)
	must(t, err)
	today := time.Now().UTC()
	room := time.Date(today.Year(), today.Month()+4, 1, 0, 0, 0, 0, time.UTC)
	const years = 4 * 365 * 24 * time.Hour
	for _, test := range []struct {
		wrong  time.Duration
		check  string
		status doctor.Status
		says   string
	}{
		{0, "clock", doctor.OK, ""},
		{3 * time.Second, "clock", doctor.Warn, "apart"},
		{-7 * time.Second, "clock", doctor.Fail, "apart"},
		{0, "signing keys", doctor.OK, "ES256 for access tokens"},
		{89 * 24 * time.Hour, "signing keys", doctor.OK, ""},
		{0, "upkeep", doctor.OK, "has room until"},
		{time.Until(room.AddDate(0, 0, -15)), "upkeep", doctor.Warn, ""},
		{years, "upkeep", doctor.Fail, "no room for today"},
		{92 * 24 * time.Hour, "signing keys", doctor.Warn, "older than KEY_ROTATION_DAYS: ES256"},
		{years, "PostgreSQL", doctor.Warn, "gets no more fixes"},
	} {
		found := examineAt(t, test.wrong, "--database-url="+databaseURL)
		wantStatus(t, found[test.check], test.status, test.says)
	}
}

// Whoever is on the way to the database reads password hashes, and changes what is answered.
func TestDoctorFindsAConnectionThatOthersCanRead(t *testing.T) {
	t.Parallel()
	proxy, through := dbtest.Proxy(t, dbtest.New(t))
	wantStatus(t, examineAt(t, 0, "--database-url="+through)["encryption"], doctor.OK, "this machine")
	proxy.Stop()
	outside := outsideAddress(t)
	through = strings.Replace(through, proxy.Listen, outside, 1)
	proxy.Listen = outside
	must(t, proxy.Start())
	wantStatus(t, examineAt(t, 0, "--database-url="+through)["encryption"], doctor.Warn, "not encrypted")
}

// outsideAddress is one of this machine that others reach it by, with a free port.
func outsideAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	must(t, err)
	_, port, err := net.SplitHostPort(dbtest.FreeAddr(t))
	must(t, err)
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && !network.IP.IsLoopback() {
			return net.JoinHostPort(network.IP.String(), port)
		}
	}
	t.Skip("this machine has no address but that of its own")
	return ""
}

// Whoever trusts a proxy that passes on what clients write lets every client choose its address.
// Whoever trusts none takes all clients for one.
func TestDoctorSeesWhatAProxyPassesOn(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	trusting := boot(t, databaseURL, "--trusted-proxies=127.0.0.1")
	wary := boot(t, databaseURL)
	for name, test := range map[string]struct {
		to     *replica
		https  bool
		set    func(http.Header)
		status doctor.Status
		says   string
	}{
		"passes all on":        {trusting, false, func(http.Header) {}, doctor.Fail, "believed a lie"},
		"passes all on, https": {trusting, true, func(http.Header) {}, doctor.Fail, "does not know"},
		"adds to what clients write": {trusting, true, func(h http.Header) { h.Set("X-Forwarded-Proto", "https") },
			doctor.Warn, "X-Request-Id"},
		"is not trusted": {wary, true, setAll("https"), doctor.Fail, "does not know"},
		"sets all":       {trusting, true, setAll("https"), doctor.OK, "no lie"},
		"sets all, http": {trusting, false, setAll("http"), doctor.OK, "no lie"},
		"is none":        {wary, false, func(http.Header) {}, doctor.OK, "no lie"},
	} {
		url, roots := proxyTo(t, test.to.public, test.https, test.set)
		found := examine(t, app.Examination{Via: url, Roots: roots}, "--database-url="+databaseURL)
		wantStatus(t, found["way"], test.status, test.says)
		wantStatus(t, found["certificate"], doctor.OK, "")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	found := examine(t, app.Examination{Via: wary.public}, "--database-url="+databaseURL, "--issuer=http://localhost:9")
	wantStatus(t, found["way"], doctor.Fail, "another ISSUER")
	found = examine(t, app.Examination{Via: wary.ops}, "--database-url="+databaseURL)
	wantStatus(t, found["way"], doctor.Fail, "not Gatehouse: status 404")
	found = examine(t, app.Examination{Via: "http://" + dbtest.FreeAddr(t)}, "--database-url="+databaseURL)
	wantStatus(t, found["way"], doctor.Fail, "refused")
}

// setAll does as deploy/haproxy.cfg.
func setAll(scheme string) func(http.Header) {
	return func(h http.Header) {
		h.Del("Forwarded")
		h.Set("X-Forwarded-For", "198.51.100.7")
		h.Set("X-Forwarded-Proto", scheme)
		h.Set("X-Request-Id", "of-the-proxy")
	}
}

// proxyTo starts a proxy that passes on the headers of its clients, as they are but for set.
func proxyTo(
	t *testing.T, target string, https bool, set func(http.Header),
) (address string, roots *x509.CertPool) {
	t.Helper()
	to, err := url.Parse(target)
	must(t, err)
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header = r.In.Header.Clone()
		set(r.Out.Header)
	}})
	if !https {
		proxy.Start()
		t.Cleanup(proxy.Close)
		return proxy.URL, nil
	}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	roots = x509.NewCertPool()
	roots.AddCert(proxy.Certificate())
	return proxy.URL, roots
}

// A certificate that has ended, or that is of another name, keeps everybody out at once.
func TestDoctorLooksAtTheCertificate(t *testing.T) {
	t.Parallel()
	databaseURL := "--database-url=" + dbtest.New(t)
	address, roots := proxyTo(t, "http://127.0.0.1:1", true, func(http.Header) {})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(address, "https://"))
	must(t, err)
	end := time.Date(2084, 1, 29, 16, 0, 0, 0, time.UTC) // of the certificate of package httptest
	for _, test := range []struct {
		via    string
		roots  *x509.CertPool
		before time.Duration // the end
		status doctor.Status
		says   string
	}{
		{address, roots, 30 * 24 * time.Hour, doctor.OK, "2084-01-29"},
		{address, roots, 20*24*time.Hour + time.Hour, doctor.Warn, "in 20 days"},
		{address, nil, 30 * 24 * time.Hour, doctor.Fail, "unknown authority"},
		{"https://localhost:" + port, roots, 30 * 24 * time.Hour, doctor.Fail, "localhost"},
		{"https://127.0.0.1:1", roots, 30 * 24 * time.Hour, doctor.Fail, "refused"},
	} {
		found := examine(t, app.Examination{
			Via: test.via, Roots: test.roots,
			Options: app.Options{Clock: func() time.Time { return end.Add(-test.before) }},
		}, databaseURL)
		wantStatus(t, found["certificate"], test.status, test.says)
		if way := found["way"]; test.status == doctor.Fail && way.Status != doctor.Skip {
			t.Errorf("%+v", way)
		}
	}
}

// The service's own certificate is looked at before it is too late.
func TestDoctorLooksAtTheCertificateOfTheService(t *testing.T) {
	t.Parallel()
	flags, renewed := withTLS(t)
	renewed()
	flags = append(flags, "--database-url=postgres://tester@"+dbtest.FreeAddr(t)+"/test")
	look := func(issuer string) doctor.Finding {
		found := examine(t, app.Examination{}, append(flags, "--issuer="+issuer)...)
		wantStatus(t, found["secret files"], doctor.OK, "tls.key")
		return found["TLS_CERT_FILE"]
	}
	wantStatus(t, look("https://127.0.0.1:8000"), doctor.Warn, "it ends in 0 days")
	wantStatus(t, look("https://id.example.org"), doctor.Fail, "id.example.org")
	must(t, os.WriteFile(flagOf(flags[0]), nil, 0o600))
	wantStatus(t, look("https://127.0.0.1:8000"), doctor.Fail, "TLS_CERT_FILE")
}

// People wait for a mail that never comes, and nobody tells the operator.
func TestDoctorAsksTheRelayAndSendsNothing(t *testing.T) {
	t.Parallel()
	databaseURL := "--database-url=" + dbtest.New(t)
	wantStatus(t, examine(t, app.Examination{}, databaseURL, "--email=optional")["mail"], doctor.Warn, "no mail is sent")
	for name, test := range map[string]struct {
		options mailtest.Options
		prepare func(*mailtest.Server)
		status  doctor.Status
		says    string
	}{
		"well":         {mailtest.Options{}, func(*mailtest.Server) {}, doctor.OK, "would take mails"},
		"refuses us":   {mailtest.Options{}, func(s *mailtest.Server) { s.Refuse(mailtest.Hello, 554, "not you") }, doctor.Fail, "not you"},
		"someone else": {mailtest.Options{STARTTLS: true}, func(*mailtest.Server) {}, doctor.Fail, "certificate"},
	} {
		relay := mailtest.New(t, test.options)
		test.prepare(relay)
		found := examine(t, app.Examination{}, databaseURL, "--email=optional", "--smtp-url="+relay.URL(),
			"--mail-from=login@example.org")
		wantStatus(t, found["mail"], test.status, test.says)
		relay.Nothing(t)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// Where no replica works, tables grow and jobs wait until somebody looks.
func TestDoctorSeesWhatIsLeftUndone(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	insertUser(t, databaseURL)
	_, err := connect(t, databaseURL).Exec(t.Context(), `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT gen_random_uuid(), u.id, decode(repeat('00', 16), 'hex'), now() - interval '40 days', now() - interval '40 days', '', ''
		FROM users u, generate_series(1, 1000);
		INSERT INTO river_job (kind, args, queue, max_attempts, created_at)
		VALUES ('mail', '{}', 'mail', 10, now() - interval '2 minutes')`)
	must(t, err)
	found := examine(t, app.Examination{}, "--database-url="+databaseURL)
	wantStatus(t, found["upkeep"], doctor.Warn, "at least 1000 rows of no use")
	wantStatus(t, found["jobs"], doctor.Warn, "1 jobs of the queue mail wait, the oldest for 2m")
}
