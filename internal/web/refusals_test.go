package web_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/ratelimit"
)

// A stranger may learn nothing from a refused login: neither whether there is such an account, nor
// what is wrong with it.
func TestRefusedLoginsShowOnePageToTheByteAndHashAsMuch(t *testing.T) {
	t.Parallel()
	f := start(t, settings{options: authtest.Options{SecretLifetime: time.Nanosecond}})
	f.register("alice")
	f.register("disabled")
	_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"), nil)
	must(t, err)
	expired := f.demanded("expired")
	for _, path := range []string{"/login", "/login/password"} {
		pages, hashes := map[string][]string{}, map[uint64][]string{}
		for name, login := range map[string][2]string{
			"unknown":            {"nobody", goodPassword},
			"impossible name":    {"no body\x00", goodPassword},
			"no name":            {"", goodPassword},
			"endless name":       {strings.Repeat("a", 10000), goodPassword},
			"wrong":              {"alice", "wrong"},
			"no password":        {"alice", ""},
			"endless password":   {"alice", strings.Repeat(goodPassword, 100)},
			"disabled":           {"disabled", goodPassword},
			"disabled and wrong": {"disabled", "wrong"},
			"expired":            {"expired", expired},
			"expired and wrong":  {"expired", "wrong"},
		} {
			before := f.lane.Stats().Started
			a := f.browser().post(path, "username", login[0], "password", login[1],
				"current_password", login[1], "new_password", anotherPassword)
			if a.status != http.StatusUnauthorized || len(a.cookies) != 0 {
				t.Errorf("%s, %s: %d, %v", path, name, a.status, a.cookies)
			}
			body := strings.Replace(a.body, ` value="`+login[0]+`"`, "", 1)
			if login[0] == "" || strings.Contains(login[0], "\x00") {
				body = withoutName(a.body)
			}
			body = strings.Replace(body, " autofocus", "", 1) // it is on the first empty field
			pages[body] = append(pages[body], name)
			started := f.lane.Stats().Started - before
			hashes[started] = append(hashes[started], name)
		}
		if len(pages) != 1 || len(hashes) != 1 {
			t.Errorf("%s: the pages differ between %v, the hashes between %v", path, pages, hashes)
		}
	}
}

// withoutName is a page without the name that was typed.
func withoutName(page string) string {
	return regexp.MustCompile(`(autocomplete="username[^"]*") value="[^"]*"`).ReplaceAllString(page, "$1")
}

func TestTooManyAttemptsAreToldInTheForm(t *testing.T) {
	t.Parallel()
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	f := start(t, settings{rates: auth.RateLimits{Account: limit, Registration: limit}})
	f.register("alice")
	b := f.loggedInAs("alice")
	known := b.copied()
	stranger := f.browser()
	for name, test := range map[string]struct {
		who     *browser
		path    string
		form    []string
		refused int
	}{
		"login":          {stranger, "/login", []string{"username", "alice", "password", "x"}, 401},
		"login, unknown": {stranger, "/login", []string{"username", "nobody", "password", "x"}, 401},
		"password": {stranger, "/login/password", []string{"username", "somebody",
			"current_password", "x", "new_password", anotherPassword}, 401},
		"own password": {b, "/account/password", []string{"as", "alice", "current_password", "x",
			"new_password", anotherPassword}, 422},
	} {
		for _, want := range []int{test.refused, test.refused, 429} {
			a := test.who.post(test.path, test.form...)
			wait, err := strconv.Atoi(a.header.Get("Retry-After"))
			if a.status != want || want == 429 && (err != nil || wait < 1 || wait > 3600 ||
				!strings.Contains(a.body, "too many attempts")) {
				t.Errorf("%s: %d, Retry-After %q: %s", name, a.status, a.header.Get("Retry-After"),
					a.body)
			}
		}
	}
	// Others' failures do not hold up a device on which the account has logged in.
	f.sent(known.login("alice", goodPassword), "/")
	f.shows(stranger.login("alice", goodPassword), 429)
	for n, want := range []int{303, 303, 429} {
		a := stranger.post("/register", "username", "user"+strconv.Itoa(n), "password", goodPassword)
		if a.status != want || want == 429 && !strings.Contains(a.body, "too many attempts") {
			t.Errorf("registration %d: %d %s", n, a.status, a.body)
		}
	}
}

// The device cookie is for the login alone, as it is for /token in the API.
func TestTheDeviceCookieComesWithTheLoginAlone(t *testing.T) {
	t.Parallel()
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	f := start(t, settings{rates: auth.RateLimits{Account: limit}})
	f.register("alice")
	for _, c := range f.browser().login("alice", goodPassword).cookies {
		if strings.HasPrefix(c.Name, "gatehouse_device_") && c.Path == "/login" && c.HttpOnly &&
			c.SameSite == http.SameSiteStrictMode && c.MaxAge > 86400 {
			return
		}
	}
	t.Error("there is none")
}

func TestAFullPasswordLaneIsToldInTheForm(t *testing.T) {
	t.Parallel()
	f := start(t, settings{queue: 1})
	b := f.loggedIn("alice")
	release := authtest.FillLane(f.lane, 2, 1)
	defer release()
	for path, form := range map[string][]string{
		"/login": {"username", "alice", "password", goodPassword},
		"/login/password": {"username", "alice", "current_password", goodPassword, "new_password",
			anotherPassword},
		"/register": {"username", "bob", "password", goodPassword},
		"/account/password": {"as", "alice", "current_password", goodPassword, "new_password",
			anotherPassword},
	} {
		a := b.post(path, form...)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" ||
			!strings.Contains(a.body, `id="failure"`) || strings.Contains(a.body, goodPassword) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	f.shows(b.get("/account"), 200)
}

// Nobody is logged out by a database that is away for a moment.
func TestWithoutItsDatabaseEveryPageSaysSoAndNobodyIsLoggedOut(t *testing.T) {
	t.Parallel()
	proxy, through := dbtest.Proxy(t, dbtest.New(t))
	f := start(t, settings{databaseURL: through})
	b := f.loggedIn("alice")
	proxy.Stop()
	for _, path := range []string{"/", "/login", "/account"} {
		f.shows(b.get(path), 503, "Try again")
	}
	f.shows(b.login("alice", goodPassword, "next", "/account"), 503, `id="failure"`, `value="alice"`)
	f.shows(f.browser().get("/login"), 200) // nobody is logged in, so nobody is asked
	must(t, proxy.Start())
	if who := b.who(); who != "alice" {
		t.Errorf("logged in as %q", who)
	}
}

// hostile are texts by which a page would run a script, load a picture or close an element.
func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg onload=alert(1)>`,
		`" autofocus onfocus="alert(1)`, `javascript:alert(1)`, `</title><script>x</script>`,
		`{{.}}`, `&lt;script&gt;`, "\u202e<b>", `--><script>`, `]]><script>`,
	}
}

func TestNoTextThatSomebodySendsBecomesPartOfThePage(t *testing.T) {
	t.Parallel()
	f := start(t, settings{destinations: hostileApp{}, returnOrigins: []string{"https://x.example"}})
	for n, text := range hostile() {
		b := f.browser()
		b.header = http.Header{"User-Agent": {text}, "Accept-Language": {text}}
		q := url.QueryEscape(text)
		name := "user" + strconv.Itoa(n)
		f.register(name)
		f.sent(b.login(name, goodPassword), "/")
		for what, a := range map[string]answered{
			"login":     b.get("/login?username=" + q + "&next=" + q + "&notice=" + q),
			"app":       b.get("/login?next=" + url.QueryEscape("/authorize?title="+q+"&login_hint="+q)),
			"host":      b.get("/login?next=" + url.QueryEscape("https://x.example/"+q)),
			"password":  b.get("/login/password?username=" + q + "&remember=" + q),
			"register":  b.get("/register?next=" + q),
			"refused":   b.login(text, text, "next", text, "remember", text),
			"mistaken":  b.post("/register", "username", text, "password", text, "next", text),
			"account":   b.get("/account?notice=" + q),
			"after":     b.get("/account?after=" + q),
			"missing":   b.get("/" + url.PathEscape(text)),
			"asset":     b.get("/assets/" + url.PathEscape(text)),
			"session":   b.post("/account/sessions", "as", name, "session", text, "choice", text),
			"change":    b.post("/account/password", "as", name, "current_password", text, "new_password", text),
			"demanded":  b.post("/login/password", "username", text, "current_password", text),
			"malformed": b.do("POST", "/login", text),
		} {
			for _, part := range []string{"<script", "<img src=x", "<svg", "<b>", "onfocus=\"", "onerror=alert(1)>"} {
				// the one script of the pages is no text of theirs
				if strings.Contains(strings.Replace(a.body, `<script type="module" src="/assets/`, "", 1), part) {
					t.Errorf("%s: %q became %q: %s", what, text, part, a.body)
				}
			}
			if strings.Contains(a.body, `href="javascript:`) {
				t.Errorf("%s: a link that runs a script: %s", what, a.body)
			}
		}
	}
}

// hostileApp has the title that its query asks for.
type hostileApp struct{}

func (hostileApp) Destination(_ context.Context, query url.Values) (string, string, bool) {
	return query.Get("title"), "https://orders.example/cb;" + query.Get("title"), true
}

func TestNoSecretIsInALogOrInAPage(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: auth.RateLimits{Account: ratelimit.Limit{Burst: 9, Interval: time.Hour}}})
	const first, second, wrong = "canary of the first, 5d0c", "canary of the second, 81f3", "canary that is wrong"
	b := f.browser()
	var all []string
	saw := func(answers ...answered) {
		for _, a := range answers {
			all = append(all, a.body, a.location(), a.header.Get("X-Request-Id"))
		}
	}
	secrets := []string{first, second, wrong}
	noted := func() {
		for _, value := range b.cookies {
			secrets = append(secrets, value)
		}
	}
	saw(b.post("/register", "username", "alice", "password", first))
	saw(b.login("alice", wrong), b.login("alice", first))
	noted()
	saw(b.get("/account"), b.post("/account/password", "as", "alice", "current_password", wrong,
		"new_password", second))
	saw(b.post("/account/password", "as", "alice", "current_password", first, "new_password", second),
		b.get("/account"))
	noted()
	secret := f.demanded("bob")
	secrets = append(secrets, secret)
	asked := b.login("bob", secret)
	saw(asked, b.get(asked.location()), b.post("/login/password", "username", "bob",
		"current_password", secret, "new_password", first))
	noted()
	saw(b.get("/login"), b.get("/"))
	if len(secrets) < 8 {
		t.Fatalf("too few secrets: %q", secrets)
	}
	for _, secret := range secrets {
		for _, text := range append(all, f.log.String()) {
			if strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
				t.Errorf("%q is in %s", secret, text)
			}
		}
	}
}
