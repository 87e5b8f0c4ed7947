package app

import (
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/ratelimit"
)

// Each setting must reach the limit that it names. 0 means no limit, and not the strictest one.
func TestSettingsBecomeTheLimitsThatTheyName(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		flags []string
		want  auth.RateLimits
	}{
		"default": {nil, auth.RateLimits{
			Account:      ratelimit.Limit{Burst: 10, Interval: time.Minute},
			AccountDay:   ratelimit.Limit{Burst: 50, Interval: 1728 * time.Second},
			Address:      ratelimit.Limit{Burst: 100, Interval: 6 * time.Second},
			Registration: ratelimit.Limit{Burst: 20, Interval: 3 * time.Minute},
			Recovery:     ratelimit.Limit{Burst: 20, Interval: 3 * time.Minute},
			Mails:        ratelimit.Limit{Burst: 500, Interval: 7200 * time.Millisecond},
		}},
		"set": {[]string{
			"--account-failures=2", "--account-failures-per-minute=60",
			"--account-failures-per-day=2",
			"--address-failures=3", "--address-failures-per-minute=4", "--address-registrations=5",
			"--address-registrations-per-hour=6", "--address-mails=7",
			"--address-mails-per-hour=12", "--mails-per-hour=100",
		}, auth.RateLimits{
			Account:      ratelimit.Limit{Burst: 2, Interval: time.Second},
			AccountDay:   ratelimit.Limit{Burst: 1, Interval: 24 * time.Hour},
			Address:      ratelimit.Limit{Burst: 3, Interval: 15 * time.Second},
			Registration: ratelimit.Limit{Burst: 5, Interval: 10 * time.Minute},
			Recovery:     ratelimit.Limit{Burst: 7, Interval: 5 * time.Minute},
			Mails:        ratelimit.Limit{Burst: 50, Interval: 72 * time.Second},
		}},
	} {
		if got := rateLimits(limitsOf(t, test.flags...)); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	for _, off := range [][]string{
		{"--account-failures=0", "--account-failures-per-day=0", "--address-failures=0",
			"--address-registrations=0", "--address-mails=0", "--mails-per-hour=0"},
		{"--account-failures-per-minute=0", "--account-failures-per-day=0",
			"--address-failures-per-minute=0", "--address-registrations-per-hour=0", "--address-mails-per-hour=0", "--mails-per-hour=0"},
	} {
		l := rateLimits(limitsOf(t, off...))
		if !l.Account.Off() || !l.AccountDay.Off() || !l.Address.Off() || !l.Registration.Off() ||
			!l.Recovery.Off() || !l.Mails.Off() {
			t.Errorf("%v: %+v", off, l)
		}
	}
}

func limitsOf(t *testing.T, flags ...string) config.Limits {
	t.Helper()
	s, err := config.Load(
		append([]string{"--database-url=postgres://127.0.0.1/x",
			"--secret-key=a secret key of the tests with 32 bytes or more"}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	return s.Limits
}
