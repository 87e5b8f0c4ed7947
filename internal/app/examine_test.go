package app_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/doctor"
)

// examineAt returns what is found by somebody whose clock is wrong by so much.
func examineAt(t *testing.T, wrong time.Duration, flags ...string) map[string]doctor.Finding {
	t.Helper()
	settings, err := config.Load(append([]string{"--secret-key=" + secretKey, "--bcrypt-cost=10"}, flags...))
	must(t, err)
	found := map[string]doctor.Finding{}
	_, err = app.Examine(t.Context(), settings, app.Examination{
		Options: app.Options{Cores: 1, Clock: func() time.Time { return time.Now().Add(wrong) }},
	}, func(f doctor.Finding) error { found[f.Check] = f; return nil })
	must(t, err)
	return found
}

// What goes wrong with time is seen by nobody until it hurts.
func TestDoctorComparesTimes(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	boot(t, databaseURL, "--algorithm=ES256").stop()
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
		{92 * 24 * time.Hour, "signing keys", doctor.Warn, "older than KEY_ROTATION_DAYS: ES256"},
		{years, "PostgreSQL", doctor.Warn, "gets no more fixes"},
	} {
		found := examineAt(t, test.wrong, "--database-url="+databaseURL)[test.check]
		if found.Status != test.status || !strings.Contains(found.Found, test.says) {
			t.Errorf("%v: %+v", test, found)
		}
	}
}

// Whoever is on the way to the database reads password hashes, and changes what is answered.
func TestDoctorFindsAConnectionThatOthersCanRead(t *testing.T) {
	t.Parallel()
	proxy, through := dbtest.Proxy(t, dbtest.New(t))
	if got := examineAt(t, 0, "--database-url="+through)["encryption"]; got.Status != doctor.OK {
		t.Errorf("on this machine: %+v", got)
	}
	proxy.Stop()
	outside := outsideAddress(t)
	through = strings.Replace(through, proxy.Listen, outside, 1)
	proxy.Listen = outside
	must(t, proxy.Start())
	if got := examineAt(t, 0, "--database-url="+through)["encryption"]; got.Status != doctor.Warn {
		t.Errorf("over a network: %+v", got)
	}
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
