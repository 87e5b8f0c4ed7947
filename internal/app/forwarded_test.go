package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/httpapi/apitest"
)

// bakeryID is the ISSUER of a service whose apps are on other hosts of the same domain.
const bakeryID = "http://id.bakery.localhost:8000"

// page is what a browser sends for a page, with cookies and without a token.
func page(cookies ...string) http.Header {
	header := http.Header{
		"Authorization": nil, "Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"},
	}
	if len(cookies) > 0 {
		header["Cookie"] = cookies
	}
	return header
}

func (g *guarded) letsBrowsersInByTheirCookie() {
	g.Helper()
	for _, cookie := range []string{"gatehouse=" + g.cookie, "gatehouse-verify=" + g.sibling} {
		for _, method := range []string{"GET", "POST", "PROPFIND"} {
			forged := forgery()
			forged["Authorization"], forged["Cookie"] = nil, []string{"theme=dark; " + cookie}
			g.want(http.StatusOK, g.ask(g.Context(), method, "/cart", nil, forged))
			got := identity(g.wantOne(g.app).header)
			if user := got["Remote-User"]; len(user) != 1 || user[0] != "alice" {
				g.Errorf("%s: the app takes the sender for %v", method, got)
			}
		}
		g.want(http.StatusForbidden, g.ask(g.Context(), "GET", "/admin", nil, page(cookie)))
		g.want(http.StatusUnauthorized,
			g.ask(g.Context(), "POST", "/", nil, page(cookie+"x")))
		g.want(http.StatusUnauthorized,
			g.ask(g.Context(), "GET", "/", nil, http.Header{
				"Cookie": {cookie}, "Authorization": {"Bearer " + g.token + "x"},
			}))
	}
	g.wantNothingGotThrough()
}

// With the cookie, an app that leaks its requests would leak its users' sessions.
func (g *guarded) keepsTheCookiesFromTheApp() {
	g.Helper()
	own, sibling := "gatehouse="+g.cookie, "gatehouse-verify="+g.sibling
	for _, sent := range []struct {
		cookies []string
		want    string // of the app's own; "": the app may get all or none of them
	}{
		{[]string{own}, ""}, {[]string{sibling}, ""}, {[]string{own + "; " + sibling}, ""},
		{[]string{own + "; a=b"}, "a=b"}, {[]string{"a=b; " + own}, "a=b"},
		{[]string{"a=b; " + own + "; c=d"}, "a=b; c=d"},
		{[]string{"a=b; " + sibling + "; c=d; " + own + "; e=f"}, "a=b; c=d; e=f"},
		{[]string{sibling + "; " + own + "; a=b; c=d"}, "a=b; c=d"},
		{[]string{"__Host-" + own + "; a=b; __Secure-" + sibling}, "a=b"},
		{[]string{"a=b; __Secure-" + own}, "a=b"},
		{[]string{"mygatehouse=1; gatehouses=2; gatehouse-verified=3; gatehouse_device=4; " + own},
			"mygatehouse=1; gatehouses=2; gatehouse-verified=3; gatehouse_device=4"},
		{[]string{"a=gatehouse; b=x gatehouse=y"}, "a=gatehouse; b=x gatehouse=y"},
		{[]string{own + "; " + own}, ""}, {[]string{sibling + "; " + sibling + "; a=b"}, ""},
		{[]string{own + "; a=b; " + own + "; " + own + "; " + sibling + "; " + sibling}, ""},
		{[]string{own + ";a=b;" + sibling}, ""}, {[]string{"a=b;" + own + ";;" + own}, ""},
		{[]string{own, sibling, "a=b", own}, ""}, {[]string{"__Host-" + own + "; " + own}, ""},
	} {
		for _, path := range []string{"/", "/healthz"} {
			g.ask(g.Context(), "GET", path, nil, http.Header{"Cookie": sent.cookies})
			for _, got := range g.app.take() {
				cookies := strings.Join(got.header["Cookie"], "; ")
				if strings.Contains(cookies, g.cookie) || strings.Contains(cookies, g.sibling) ||
					sent.want != "" && cookies != sent.want {
					g.Errorf("of %q at %s, the app got %q", sent.cookies, path, cookies)
				}
			}
		}
	}
}

// Whoever reads the log of a proxy must not get in by the links of mails.
func (g *guarded) keepsTokensOfMailsOutOfItsLog() {
	g.Helper()
	const secret = "ghc_s3cret"
	var want []string
	for _, page := range []string{"/password/reset/", "/email/verify/", "/email/undo/", "/invitation/"} {
		for _, more := range []string{"", "/", "?lang=de", "/more"} {
			g.ask(g.Context(), "GET", page+secret+more, nil, nil)
		}
		want = append(want, "GET "+page+"* HTTP/")
	}
	const last = "/cart/last?lang=de" // of other paths all is logged
	g.ask(g.Context(), "GET", last, nil, nil)
	g.app.take()
	g.asked.take()
	if g.proxy.logs {
		asynctest.Await(g, "the log of the proxy", func() bool { return strings.Contains(g.log.String(), "GET "+last+" HTTP/") })
		for _, line := range want {
			if got := strings.Count(g.log.String(), line); got != 4 {
				g.Errorf("the log has %q %d times, want 4", line, got)
			}
		}
	}
	if strings.Contains(g.log.String(), secret) {
		g.Errorf("the log has a token: %s", g.log)
	}
}

func (g *guarded) sendsBrowsersToTheLoginAndProgramsNowhere() {
	g.Helper()
	for _, uri := range []string{"/", "/cart?a=b&c=%20", "//evil.example", "/admin"} {
		want := bakeryID + "/login?next=" + url.QueryEscape(g.url+uri)
		for _, sent := range []http.Header{page(), page("gatehouse=" + g.cookie + "x")} {
			for _, name := range []string{"Host", "Proto", "Uri", "Method"} {
				sent["X-Forwarded-"+name] = []string{"evil.example"}
			}
			a := g.ask(g.Context(), "GET", uri, nil, sent)
			if a.status != http.StatusFound || a.header.Get("Location") != want {
				g.Errorf("%s: %d to %q, want %q", uri, a.status, a.header.Get("Location"), want)
			}
		}
	}
	long := g.ask(g.Context(), "GET", "/"+strings.Repeat("/", 1900), nil, page())
	g.want(http.StatusFound, long)

	withToken, other := page(), page()
	withToken["Authorization"] = []string{"Bearer " + g.token + "x"}
	other["Accept"] = []string{"application/json"}
	for name, a := range map[string]answer{
		"a form":           g.ask(g.Context(), "POST", "/", strings.NewReader("a=b"), page()),
		"a bad token":      g.ask(g.Context(), "GET", "/", nil, withToken),
		"a program":        g.ask(g.Context(), "GET", "/", nil, other),
		"too long":         g.ask(g.Context(), "GET", "/"+strings.Repeat("x", 2048), nil, page()),
		"an unlisted host": g.askOfHost("evil.example", page()),
	} {
		if a.status != http.StatusUnauthorized || a.header.Get("Location") != "" ||
			a.header.Get("WWW-Authenticate") == "" {
			g.Errorf("%s: %d %v", name, a.status, a.header)
		}
	}
	g.wantNothingGotThrough()
}

// askOfHost asks for a page of a host that the proxy does not have.
func (g *guarded) askOfHost(host string, header http.Header) answer {
	g.Helper()
	request, err := http.NewRequestWithContext(g.Context(), http.MethodGet, g.url, nil)
	must(g, err)
	request.Host, request.Header = host, header
	a, err := send(g.client, request)
	must(g, err)
	return a
}

// A page of another origin could send nothing to an app that refuses preflights. An app that takes
// more than preflights without asking is open to everybody.
func (g *guarded) asksAboutPreflights() {
	g.Helper()
	preflight := http.Header{
		"Authorization": nil, "Origin": {"https://shop.example"},
		"Access-Control-Request-Method": {"PUT"},
	}
	g.want(http.StatusUnauthorized, g.ask(g.Context(), "OPTIONS", "/", nil, preflight))

	address := dbtest.FreeAddr(g.T)
	startProxyProgram(g.T, g.proxy, address, g.app.address(), g.asked.address(),
		"# "+g.proxy.preflight, g.proxy.preflight)
	open := *g
	open.url = "http://" + address
	g.asked.take()
	for _, path := range []string{"/", "/admin"} {
		forged := preflight.Clone()
		for name, values := range forgery() {
			forged[name] = values
		}
		open.want(http.StatusOK, open.ask(g.Context(), "OPTIONS", path, nil, forged))
		got := open.wantOne(g.app)
		if who := identity(got.header); len(who) > 0 || got.method != "OPTIONS" {
			g.Errorf("the app takes a preflight for %s of %v", got.method, who)
		}
	}
	if asked := g.asked.take(); len(asked) > 0 {
		g.Errorf("Gatehouse was asked about a preflight: %+v", asked)
	}
	for name, values := range map[string][]string{
		"Authorization": {"Basic YTpi"}, "Cookie": {"a=b"}, "Origin": nil,
		"Access-Control-Request-Method": nil,
	} {
		other := preflight.Clone()
		if other[name] = values; values == nil {
			delete(other, name)
		}
		open.want(http.StatusUnauthorized, open.ask(g.Context(), "OPTIONS", "/", nil, other))
	}
	for _, method := range []string{"GET", "POST", "PUT"} {
		open.want(http.StatusUnauthorized, open.ask(g.Context(), method, "/", nil, preflight))
	}
	// Headers that would make a preflight of any request, if they were read as one text.
	for _, written := range []string{
		"|OPTIONS|a|b", "||OPTIONS|a|b", "OPTIONS|a|b", "a|b|", "a|b||", "a||", "|", "|a|b|", "a|",
	} {
		for _, method := range []string{"GET", "OPTIONS"} {
			for _, names := range [][]string{
				{"Authorization"}, {"Cookie"}, {"Authorization", "Cookie"}, {"Origin"},
				{"Access-Control-Request-Method"}, {"Origin", "Cookie"},
				{"Access-Control-Request-Method", "Authorization"},
			} {
				header := http.Header{"Authorization": nil}
				for _, name := range names {
					header[name] = []string{written}
				}
				for _, path := range []string{"/", "/admin", "/_gatehouse||OPTIONS|a|b"} {
					open.ask(g.Context(), method, path, nil, header)
				}
			}
		}
	}
	g.wantNothingGotThrough()
}

// The snippet in Caddy's own documentation appends the query of the request. It must neither fail
// for that, nor take what is in it for more than it is.
func TestCaddyMayAppendTheQueryOfTheRequest(t *testing.T) {
	t.Parallel()
	proxy := proxyPrograms()[2]
	proxy.find(t)
	g := guard(t, proxy)
	address := dbtest.FreeAddr(t)
	startProxyProgram(t, proxy, address, g.app.address(), g.asked.address(),
		"uri /verify? #", "uri /verify #")
	g.url = "http://" + address
	for query, status := range map[string]int{
		"": 200, "?a=b&c=%20&d": 200, "?x;y": 200, "?a=b+c": 200, "?role=admin": 403,
		"?a=b&permission=x": 403, "?next=https://x.example/?a=b": 200,
	} {
		g.want(status, g.ask(t.Context(), "GET", "/cart"+query, nil, nil))
		if asked := g.wantOne(g.asked); asked.uri != "/verify"+query {
			t.Errorf("Caddy asks %s about %s", asked.uri, query)
		}
		if got := g.app.take(); status == 200 && (len(got) != 1 || got[0].uri != "/cart"+query) {
			t.Errorf("of %s the app got %v", query, got)
		}
	}
	a := g.ask(t.Context(), "GET", "/cart?a=b", nil, page())
	if a.header.Get("Location") != bakeryID+"/login?next="+url.QueryEscape(g.url+"/cart?a=b") &&
		a.status != http.StatusUnauthorized {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// The sibling cookie goes to every app of the domain. An app that keeps it must get nothing by it
// but what /verify says.
func TestTheSiblingCookieIsGoodAtVerifyAlone(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	insertUser(t, databaseURL)
	var user uuid.UUID
	must(t, connect(t, databaseURL).QueryRow(t.Context(), "SELECT id FROM users").Scan(&user))
	own, sibling := insertBrowser(t, databaseURL, user)
	r := boot(t, databaseURL, "--issuer="+bakeryID, "--cookie-domain=bakery.localhost")
	r.client = r.plain // since the contract allows few of these requests
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	// The replica remembers both from here on.
	for _, cookie := range []string{"gatehouse=" + own, "gatehouse-verify=" + sibling} {
		r.want(http.StatusNoContent, r.do(r.request("GET", "/verify", "", "Cookie", cookie)))
	}
	tell := func(method, path, cookies string) string {
		a := r.do(r.request(method, path, "", "Cookie", cookies, "Accept", "text/html",
			"Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded"))
		var set []string
		for _, cookie := range a.header["Set-Cookie"] {
			name, _, _ := strings.Cut(cookie, "=")
			set = append(set, name)
		}
		body := strings.ReplaceAll(a.body, a.header.Get("X-Request-Id"), "")
		body = regexp.MustCompile(`"challenge":"[^"]*"`).ReplaceAllString(body, "") // one of its own each time
		return fmt.Sprintln(a.status, a.header["Location"], set, body)
	}
	if tell("GET", "/account", "gatehouse="+own) == tell("GET", "/account", "") {
		t.Error("not even the own cookie is good at /account")
	}
	contract := apitest.Contract(t)
	for path, item := range contract.Paths.Map() {
		if strings.HasPrefix(path, "/verify") {
			continue
		}
		path = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, user.String())
		for method := range item.Operations() {
			without := tell(method, path, "")
			for _, cookies := range []string{
				"gatehouse-verify=" + sibling, "gatehouse=" + sibling,
				"__Host-gatehouse=" + sibling, "__Secure-gatehouse-verify=" + sibling,
				"gatehouse=" + sibling + "; gatehouse-verify=" + sibling,
				"gatehouse-verify=" + own,
			} {
				if got := tell(method, path, cookies); got != without {
					t.Errorf("%s %s: %s\nwithout cookies: %s", method, path, got, without)
				}
			}
		}
	}
	if n := len(contract.Paths.Map()); n < 40 {
		t.Errorf("%d paths", n)
	}
}

// A replica that knows a cookie asks nobody about it. It must hear of whatever ends the session.
func TestWhateverEndsABrowsersSessionIsRefusedByEveryReplicaThatHasSeenItsCookie(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	flags := []string{"--issuer=" + bakeryID, "--cookie-domain=bakery.localhost"}
	replicas := []*replica{boot(t, databaseURL, flags...), boot(t, databaseURL, flags...)}
	conn, admin := connect(t, databaseURL), openAdmin(t, databaseURL)
	for username, end := range map[string]func(auth.UserRef) error{
		"disabled": func(user auth.UserRef) error {
			_, err := admin.Accounts.Disable(t.Context(), authtest.Operator(), user, nil)
			return err
		},
		"logged-out": func(user auth.UserRef) error {
			_, err := admin.Sessions.EndAllOf(t.Context(), authtest.Operator(), user)
			return err
		},
		"of-a-new-password": func(user auth.UserRef) error {
			_, _, err := admin.Accounts.SetPassword(t.Context(), authtest.Operator(), user,
				auth.NewPassword{Password: goodPassword})
			return err
		},
	} {
		logins(t, conn, username)
		var user uuid.UUID
		must(t, conn.QueryRow(t.Context(), "SELECT id FROM users WHERE username = $1", username).
			Scan(&user))
		own, sibling := insertBrowser(t, databaseURL, user)
		status := func(r *replica, cookie string) int {
			return r.do(r.request("GET", "/verify", "", "Cookie", cookie)).status
		}
		cookies := []string{"gatehouse=" + own, "gatehouse-verify=" + sibling}
		for _, r := range replicas {
			for _, cookie := range append(cookies, cookies...) {
				if got := status(r, cookie); got != http.StatusNoContent {
					t.Errorf("%s: %d", username, got)
				}
			}
		}
		must(t, end(auth.ByName(username)))
		for _, r := range replicas {
			for _, cookie := range cookies {
				asynctest.Await(t, username, func() bool {
					return status(r, cookie) == http.StatusUnauthorized
				})
			}
		}
	}
}
