package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/ratelimit"
)

func tightRates() auth.RateLimits {
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	return auth.RateLimits{Account: limit, Registration: limit, Recovery: limit}
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
		if a.status != http.StatusTooManyRequests || a.body != body || err != nil || wait < 1 ||
			wait > 3600 {
			t.Errorf("%s: %d, Retry-After %q, %s", name, a.status, a.header.Get("Retry-After"),
				a.body)
		}
	}
	if got := counted(t, f.metrics, "gatehouse_logins_total", "limited"); got != 3 {
		t.Errorf("gatehouse_logins_total{outcome=limited} is %v", got)
	}
	lines := f.log.lines(t)
	if last := lines[len(lines)-1]; last["outcome"] != "limited" || last["status"] != 429.0 ||
		last["level"] != "INFO" {
		t.Errorf("%v", last)
	}
}

func TestRegistrationsOverTheLimitAreToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	for n, want := range []int{201, 201, 429} {
		if a := f.register("user"+strconv.Itoa(n), goodPassword); a.status != want ||
			(want == 429) != (a.header.Get("Retry-After") != "") {
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
		a := f.do(f.request("PUT", "/users/me/password",
			`{"current_password":"guess","new_password":"another good password"}`,
			"Content-Type", "application/json", "Authorization", "Bearer "+raw))
		if a.status != want || (want == 429) != (a.header.Get("Retry-After") != "") {
			t.Errorf("%d: %d %s", n, a.status, a.body)
		}
	}
}

// Both ways to send a device token must lead into an account that others have locked.
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
		"none": {nil, 429},
		"cookie": {[]string{"Cookie", "theme=dark; " + cookie.Name + "=" + device},
			200},
		"cookie of before": {[]string{"Cookie", "gatehouse_device=" + device}, 200},
		"both, one another's": {[]string{"Cookie",
			"gatehouse_device=forged; " + cookie.Name + "=" + device}, 200},
		"cookie, the same site": {[]string{"Cookie", cookie.Name + "=" + device, "Sec-Fetch-Site",
			"same-site"}, 200},
		"cookie, another site": {[]string{"Cookie", cookie.Name + "=" + device, "Sec-Fetch-Site",
			"cross-site"}, 429},
		"header, another site": {[]string{"Gatehouse-Device", device, "Sec-Fetch-Site",
			"cross-site"}, 200},
		"header":        {[]string{"Gatehouse-Device", device}, 200},
		"forged header": {[]string{"Gatehouse-Device", device[:len(device)-1]}, 429},
		"header before a cookie": {[]string{"Gatehouse-Device", "forged", "Cookie",
			cookie.Name + "=" + device}, 429},
	} {
		if a := f.loginWith("alice", goodPassword, test.header...); a.status != test.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := f.loginWith("alice", "wrong", "Gatehouse-Device",
		device); a.header.Get("Set-Cookie") != "" || a.header.Get("Gatehouse-Device") != "" {
		t.Errorf("a failure gives a device: %v", a.header)
	}
}

func TestTheDeviceCookieIsForNoScriptAndNoOtherSiteAndWithTLSForTLSAlone(t *testing.T) {
	t.Parallel()
	for issuer, secure := range map[string]map[string]bool{
		"http://id.test": {"http": false, "https": true},
		// a proxy that does not tell must not take it away
		"https://id.test": {"http": true, "https": true},
	} {
		f := start(t,
			settings{rates: tightRates(), trustedProxies: prefixes("127.0.0.0/8"), issuer: issuer})
		f.register("alice", goodPassword)
		for proto, want := range secure {
			c := cookieOf(f.loginWith("alice", goodPassword, "X-Forwarded-Proto", proto))
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/token" ||
				c.Secure != want || c.MaxAge < 86400 {
				t.Errorf("%s, %s: %v", issuer, proto, c)
			}
		}
	}
}

// browser keeps cookies as a browser does.
type browser map[string]string

func (b browser) cookies() string {
	var pairs []string
	for name, value := range b {
		pairs = append(pairs, name+"="+value)
	}
	return strings.Join(pairs, "; ")
}

func (b browser) login(f *fixture, username, pw string, header ...string) answered {
	a := f.loginWith(username, pw, append([]string{"Cookie", b.cookies()}, header...)...)
	b.keep(a)
	return a
}

func (b browser) keep(a answered) {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if b[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b, c.Name)
		}
	}
}

// A page of another site could log in with its own account, and so make the browser forget the
// owner's device. Then failed logins in the owner's name would lock the owner out.
func TestALoginWithAnotherAccountLeavesTheDevicesOfTheOthers(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	f.register("alice", goodPassword)
	f.rules.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "mallory", Password: goodPassword})
	b := browser{}
	b.login(f, "alice", goodPassword)
	b.login(f, "mallory", goodPassword)
	for name := range b {
		if strings.Contains(name, "alice") || strings.Contains(name, "mallory") {
			t.Errorf("a cookie tells a name: %s", name)
		}
	}
	for range 2 {
		f.login("alice", "wrong")
	}
	f.want("from elsewhere", f.login("alice", goodPassword), 429)
	f.want("from the known device", b.login(f, "Alice", goodPassword), 200)
}

func TestAPageOfAnotherSiteSetsNoCookie(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	f.register("alice", goodPassword)
	for site, want := range map[string]bool{"cross-site": false, "same-site": true,
		"same-origin": true, "none": true} {
		a := f.loginWith("alice", goodPassword, "Sec-Fetch-Site", site)
		if set := a.header.Get("Set-Cookie") != ""; a.status != 200 || set != want ||
			a.header.Get("Gatehouse-Device") == "" {
			t.Errorf("%s: %d, a cookie %v", site, a.status, set)
		}
	}
}

// Cookies come with every login, and proxies refuse requests whose headers are too long.
func TestABrowserKeepsTheDevicesOfTheLastAccountsAlone(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	b := browser{"gatehouse_device_" + strings.Repeat("x", 22): "made by somebody else",
		"theme": "dark", "gatehouse_device": "of before"}
	last := ""
	for n := range edge.MostDevices + 2 {
		f.rules.Accounts.Register(t.Context(), authtest.Operator(),
			auth.NewAccount{Username: "user" + strconv.Itoa(n), Password: goodPassword})
		last = cookieOf(b.login(f, "user"+strconv.Itoa(n), goodPassword)).Name
	}
	if _, kept := b[last]; !kept || b["theme"] != "dark" || b["gatehouse_device"] != "of before" ||
		len(b) != edge.MostDevices+2 {
		t.Errorf("%d cookies: %v", len(b), b)
	}
	if _, kept := b["gatehouse_device_"+strings.Repeat("x", 22)]; kept {
		t.Error("what is no device was kept, and one was not")
	}
}

// Otherwise an owner who answers an attack with a new password would be locked out on all devices
// by it.
func TestTheAnswerToAChangeOfThePasswordBringsAnotherDevice(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	f.register("alice", goodPassword)
	b := browser{}
	access := b.login(f, "alice", goodPassword).json(t, "access_token").(string)
	stolen := browser{}
	for name, value := range b {
		stolen[name] = value
	}
	changed := f.do(f.request("PUT", "/users/me/password",
		`{"current_password":"`+goodPassword+`","new_password":"another good password"}`,
		"Content-Type", "application/json", "Authorization", "Bearer "+access))
	f.want("change", changed, 200)
	b.keep(changed)
	if device := changed.header.Get("Gatehouse-Device"); device == "" ||
		cookieOf(changed).Value != device || len(b) != 1 {
		t.Errorf("device %q, cookies %v", device, b)
	}
	for range 2 {
		f.login("alice", "wrong")
	}
	f.want("with the device of before", stolen.login(f, "alice", "another good password"), 429)
	f.want("with that of the answer", b.login(f, "alice", "another good password"), 200)
}

// Through a trusted proxy, the client is counted, whatever it claims. Through any other proxy, the
// proxy is.
func TestAForgedForwardedHeaderDoesNotMoveTheLimit(t *testing.T) {
	t.Parallel()
	rates := auth.RateLimits{Address: ratelimit.Limit{Burst: 2, Interval: time.Hour}}
	trusting := start(t, settings{rates: rates, trustedProxies: prefixes("127.0.0.0/8")})
	direct := start(t, settings{rates: rates})
	for n, want := range []int{401, 401, 429, 429} {
		forged := "203.0.113." + strconv.Itoa(n)
		for name, a := range map[string]answered{
			"through a proxy": trusting.loginWith("user"+strconv.Itoa(n), "wrong",
				"X-Forwarded-For", forged+", 192.0.2.1"),
			"direct": direct.loginWith("user"+strconv.Itoa(n), "wrong", "X-Forwarded-For",
				forged, "Forwarded", "for="+forged),
		} {
			if a.status != want {
				t.Errorf("%s, %d: %d %s", name, n, a.status, a.body)
			}
		}
	}
	if a := trusting.loginWith("alice", "wrong", "X-Forwarded-For",
		"192.0.2.2"); a.status != http.StatusUnauthorized {
		t.Errorf("another client of the proxy: %d", a.status)
	}
}

// cookieOf returns the device cookie of an answer.
func cookieOf(a answered) *http.Cookie {
	cookies := (&http.Response{Header: a.header}).Cookies()
	if n := slices.IndexFunc(cookies,
		func(c *http.Cookie) bool { return strings.HasPrefix(c.Name, "gatehouse_device_") }); n >= 0 {
		return cookies[n]
	}
	return &http.Cookie{}
}

func (f *fixture) loginWith(username, pw string, header ...string) answered {
	f.Helper()
	return f.do(f.request("POST", "/token",
		"username="+username+"&password="+strings.ReplaceAll(pw, " ", "+"),
		append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...))
}
