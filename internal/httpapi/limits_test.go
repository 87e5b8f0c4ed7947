package httpapi

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/ratelimit"
)

func tightRates() auth.RateLimits {
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	return auth.RateLimits{Account: limit, Registration: limit}
}

func TestALimitedLoginIsAnsweredAlikeForKnownAndUnknownAccounts(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	f.loggedIn("alice")
	const body = `{"error":"temporarily_unavailable","error_description":"Too many attempts; try again later",` +
		`"detail":"Too many attempts; try again later"}` + "\n"
	for _, name := range []string{"alice", "nobody", "no body"} {
		for range 2 {
			if a := f.login(name, "wrong"); a.status != http.StatusUnauthorized {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		a := f.login(name, goodPassword)
		wait, err := strconv.Atoi(a.header.Get("Retry-After"))
		if a.status != http.StatusTooManyRequests || a.body != body || err != nil || wait < 1 || wait > 3600 {
			t.Errorf("%s: %d, Retry-After %q, %s", name, a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	if got := counted(t, f.metrics, "gatehouse_logins_total", "limited"); got != 3 {
		t.Errorf("gatehouse_logins_total{outcome=limited} is %v", got)
	}
	lines := f.log.lines(t)
	if last := lines[len(lines)-1]; last["outcome"] != "limited" || last["status"] != 429.0 || last["level"] != "INFO" {
		t.Errorf("%v", last)
	}
}

func TestRegistrationsOverTheLimitAreToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	for n, want := range []int{201, 201, 429} {
		if a := f.register("user"+strconv.Itoa(n), goodPassword); a.status != want || (want == 429) != (a.header.Get("Retry-After") != "") {
			t.Errorf("%d: %d %s", n, a.status, a.body)
		}
	}
	f.wantUsers(2)
}

func TestGuessesAtTheOwnPasswordAreToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	raw := f.loggedIn("alice")
	for n, want := range []int{422, 422, 429} {
		a := f.do(f.request("PUT", "/users/me/password", `{"current_password":"guess","new_password":"another good password"}`,
			"Content-Type", "application/json", "Authorization", "Bearer "+raw))
		if a.status != want || (want == 429) != (a.header.Get("Retry-After") != "") {
			t.Errorf("%d: %d %s", n, a.status, a.body)
		}
	}
}

// Both ways to bring a device lead into the account that others have locked.
func TestAKnownDeviceLogsInByCookieAndByHeader(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	f.register("alice", goodPassword)
	first := f.login("alice", goodPassword)
	device, cookie := first.header.Get("Gatehouse-Device"), cookieOf(first)
	if device == "" || cookie.Value != device {
		t.Fatalf("header %q, cookie %v", device, cookie)
	}
	for range 2 {
		f.login("alice", "wrong")
	}
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"none":                   {nil, 429},
		"cookie":                 {[]string{"Cookie", "theme=dark; gatehouse_device=" + device}, 200},
		"header":                 {[]string{"Gatehouse-Device", device}, 200},
		"forged header":          {[]string{"Gatehouse-Device", device[:len(device)-1]}, 429},
		"header before a cookie": {[]string{"Gatehouse-Device", "forged", "Cookie", "gatehouse_device=" + device}, 429},
	} {
		if a := f.loginWith("alice", goodPassword, test.header...); a.status != test.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := f.loginWith("alice", "wrong", "Gatehouse-Device", device); a.header.Get("Set-Cookie") != "" || a.header.Get("Gatehouse-Device") != "" {
		t.Errorf("a failure gives a device: %v", a.header)
	}
}

func TestTheDeviceCookieIsForNoScriptAndNoOtherSiteAndWithTLSForTLSAlone(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates(), trustedProxies: prefixes("127.0.0.0/8")})
	f.register("alice", goodPassword)
	for _, proto := range []string{"http", "https"} {
		c := cookieOf(f.loginWith("alice", goodPassword, "X-Forwarded-Proto", proto))
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/token" || c.Secure != (proto == "https") || c.MaxAge < 86400 {
			t.Errorf("%s: %v", proto, c)
		}
	}
}

// Through a proxy that is trusted the client is counted, whatever it claims; through any other, the proxy is.
func TestAForgedForwardedHeaderDoesNotMoveTheLimit(t *testing.T) {
	t.Parallel()
	rates := auth.RateLimits{Address: ratelimit.Limit{Burst: 2, Interval: time.Hour}}
	trusting := start(t, settings{rates: rates, trustedProxies: prefixes("127.0.0.0/8")})
	direct := start(t, settings{rates: rates})
	for n, want := range []int{401, 401, 429, 429} {
		forged := "203.0.113." + strconv.Itoa(n)
		for name, a := range map[string]answered{
			"through a proxy": trusting.loginWith("user"+strconv.Itoa(n), "wrong", "X-Forwarded-For", forged+", 192.0.2.1"),
			"direct":          direct.loginWith("user"+strconv.Itoa(n), "wrong", "X-Forwarded-For", forged, "Forwarded", "for="+forged),
		} {
			if a.status != want {
				t.Errorf("%s, %d: %d %s", name, n, a.status, a.body)
			}
		}
	}
	if a := trusting.loginWith("alice", "wrong", "X-Forwarded-For", "192.0.2.2"); a.status != http.StatusUnauthorized {
		t.Errorf("another client of the proxy: %d", a.status)
	}
}
