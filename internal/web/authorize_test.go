package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

const (
	callback = "https://shop.example/callback"
	verifier = "a-verifier-with-more-than-43-characters-0123456789"
)

// shop registers an app, and hands its own pages where a login leads.
func shop(t *testing.T, change func(*auth.Client)) (*fixture, auth.Client) {
	t.Helper()
	f := start(t, settings{})
	return f, f.addShop(change)
}

func (f *fixture) addShop(change func(*auth.Client)) auth.Client {
	f.Helper()
	c := auth.Client{
		ID: "shop", Title: "The <Shop>", Confidential: true, RedirectURIs: []string{callback},
		PostLogoutRedirectURIs: []string{"https://shop.example/bye"},
		GrantTypes:             []string{auth.GrantAuthorizationCode, auth.GrantRefreshToken},
	}
	if change != nil {
		change(&c)
	}
	added, _, err := f.rules.Clients.Add(f.Context(), authtest.Operator(), c)
	must(f, err)
	return added
}

// request is the URL of a request that is all right, with others set or, by "", left out.
func request(pairs ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {"shop"}, "redirect_uri": {callback}, "response_type": {"code"},
		"scope": {"openid profile"}, "state": {"x&y=z"}, "nonce": {"n-0S6"},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
	}
	for n := 0; n < len(pairs); n += 2 {
		query.Set(pairs[n], pairs[n+1])
		if pairs[n+1] == "" {
			query.Del(pairs[n])
		}
	}
	return "/authorize?" + query.Encode()
}

// back is what an app gets with the browser.
func (f *fixture) back(a answered) url.Values {
	f.Helper()
	to, ok := strings.CutPrefix(a.location(), callback+"?")
	if a.status != http.StatusSeeOther || !ok {
		f.Fatalf("not back at the app: %d %q %s", a.status, a.location(), a.body)
	}
	query, err := url.ParseQuery(to)
	must(f, err)
	issuer, _ := f.rules.Issuer.Names()
	if query.Get("iss") != issuer || query.Get("state") != "x&y=z" {
		f.Errorf("the app gets %v", query)
	}
	return query
}

func (f *fixture) wantError(when string, a answered, code string) {
	f.Helper()
	if got := f.back(a); got.Get("error") != code || got.Has("code") ||
		got.Get("error_description") == "" {
		f.Errorf("%s: the app gets %v, want %s", when, got, code)
	}
}

// grant is what the app gets for the code that the browser brings.
func (f *fixture) grant(by auth.Client, a answered) auth.Grant {
	f.Helper()
	code := f.back(a).Get("code")
	grant, err := f.rules.Tokens.Redeem(f.Context(), auth.CodeRedemption{
		Code: code, RedirectURI: callback, Verifier: verifier,
	}, auth.Caller{Client: by})
	must(f, err)
	return grant
}

func TestAnAppLogsItsUserInByTheBrowser(t *testing.T) {
	t.Parallel()
	f, app := shop(t, nil)
	f.register("alice")
	b := f.browser()
	first := b.get(request())
	f.sent(first, first.location())
	login, err := url.Parse(first.location())
	must(t, err)
	if login.Path != "/login" {
		t.Fatalf("sent to %s", first.location())
	}
	page := b.get(first.location())
	f.shows(page, 200, "The &lt;Shop&gt;")
	if got := page.header.Get("Content-Security-Policy"); !strings.Contains(got+";",
		"form-action 'self' https://shop.example;") {
		t.Errorf("the form may not lead to the app: %s", got)
	}
	next := login.Query().Get("next")
	after := b.login("alice", goodPassword, "next", next)
	f.sent(after, next)
	grant := f.grant(app, b.get(next))
	if grant.User.Username.Given != "alice" || grant.IDToken == "" {
		t.Errorf("%+v", grant)
	}
	again := f.grant(app, b.get(request())) // without a login
	if again.User.ID != grant.User.ID {
		t.Errorf("%+v", again)
	}
}

func TestAFormOfAnAppIsSentOnSoThatTheCookieComesAlong(t *testing.T) {
	t.Parallel()
	f, app := shop(t, nil)
	b := f.loggedIn("alice")
	path, query, _ := strings.Cut(request(), "?")
	b.site = "cross-site"
	a := b.do("POST", path, query)
	f.grant(app, b.get(a.location()))
}

// A page of this service that sends people wherever a link says is an open redirect.
func TestAnErrorOfTheClientOrTheRedirectURIStaysOnAPage(t *testing.T) {
	t.Parallel()
	f, _ := shop(t, nil)
	b := f.loggedIn("alice")
	for name, path := range map[string]string{
		"no client":            request("client_id", ""),
		"unknown client":       request("client_id", "nobody"),
		"no redirect URI":      request("redirect_uri", ""),
		"another redirect URI": request("redirect_uri", "https://evil.example/callback"),
		"two redirect URIs":    request() + "&redirect_uri=" + url.QueryEscape("https://evil.example/"),
		"two clients":          request() + "&client_id=other",
	} {
		a := b.get(path)
		if a.location() != "" {
			t.Errorf("%s: sent to %s", name, a.location())
		}
		f.shows(a, 400, "This app is not known here")
	}
}

func TestAnErrorOfTheRequestIsToldToTheApp(t *testing.T) {
	t.Parallel()
	f, _ := shop(t, nil)
	b := f.loggedIn("alice")
	for code, path := range map[string]string{
		"unsupported_response_type":         request("response_type", "token"),
		"invalid_request":                   request("response_type", ""),
		"request_not_supported":             request("request", "x.y.z"),
		"request_uri_not_supported":         request("request_uri", "https://shop.example/r"),
		"registration_not_supported":        request("registration", "{}"),
		"invalid_scope":                     request("scope", "openid \"x"),
		"invalid_target":                    request("resource", "https://other.example/"),
		"unmet_authentication_requirements": request("claims", `{"id_token":{"acr":{"essential":true,"value":"9"}}}`),
	} {
		f.wantError(code, b.get(path), code)
	}
	f.wantError("nobody logged in", f.browser().get(request("prompt", "none")), "login_required")
}

// step-up skipped
func TestALoginThatAnAppDemandsIsNotSkipped(t *testing.T) {
	t.Parallel()
	f, app := shop(t, nil)
	b := f.loggedIn("alice")
	for _, demand := range [][]string{{"prompt", "login"}, {"max_age", "0"}} {
		first := b.get(request(demand...))
		login, err := url.Parse(first.location())
		must(t, err)
		if login.Path != "/login" {
			t.Fatalf("%v: sent to %s", demand, first.location())
		}
		next := login.Query().Get("next")
		for how, skipped := range map[string]string{
			"the page that the login leads to": next,
			"the request again":                request(demand...),
			"the demand of another app":        strings.Replace(next, "gatehouse_login=", "gatehouse_login=A", 1),
		} {
			if a := b.get(skipped); !strings.HasPrefix(a.location(), "/login?") {
				t.Errorf("%v, %s: %d %s", demand, how, a.status, a.location())
			}
		}
		goesOn := b.post("/login", "choice", "current", "as", "alice", "next", next)
		if a := b.get(goesOn.location()); !strings.HasPrefix(a.location(), "/login?") {
			t.Errorf("%v, by going on: %d %s", demand, a.status, a.location())
		}
		b.login("alice", goodPassword, "next", next)
		f.grant(app, b.get(next))
		if a := b.get(request(demand...)); !strings.HasPrefix(a.location(), "/login?") {
			t.Errorf("%v, once more: %d %s", demand, a.status, a.location())
		}
	}
	quiet := b.get(request("prompt", "none", "max_age", "10000"))
	f.grant(app, quiet)
}

func TestAnAppMayLetItsUserChooseTheAccount(t *testing.T) {
	t.Parallel()
	f, app := shop(t, nil)
	b := f.loggedIn("alice")
	first := b.get(request("prompt", "select_account"))
	f.shows(b.get(first.location()), 200, "alice")
	login, err := url.Parse(first.location())
	must(t, err)
	goesOn := b.post("/login", "choice", "current", "as", "alice", "next",
		login.Query().Get("next"))
	f.grant(app, b.get(goesOn.location()))
}

func TestAnAppThatAsksGetsNothingUntilItsUserAllowsIt(t *testing.T) {
	t.Parallel()
	f, app := shop(t, func(c *auth.Client) { c.Ask = true })
	b := f.loggedIn("alice")
	f.wantError("quietly", b.get(request("prompt", "none")), "consent_required")
	page := b.get(request())
	f.shows(page, 200, "The &lt;Shop&gt;", "alice")
	next := request()
	f.wantError("denied", b.post("/consent", "choice", "deny", "as", "alice", "next", next),
		"access_denied")
	f.shows(b.get(request()), 200)
	foreign := b.copied()
	foreign.site = "cross-site"
	f.shows(foreign.post("/consent", "choice", "allow", "as", "alice", "next", next), 403)
	f.shows(b.post("/consent", "choice", "allow", "as", "alice", "next",
		"https://evil.example/authorize"), 400)
	f.grant(app, b.post("/consent", "choice", "allow", "as", "alice", "next", next))
	f.grant(app, b.get(request())) // it was allowed before
	f.shows(b.get(request("scope", "openid profile groups")), 200)
	f.shows(b.get(request("prompt", "consent")), 200)
}

// A page that one of two tabs still shows must not speak for whoever has logged in by the other.
func TestTheAnswerOfOnePersonIsNotTakenForThatOfAnother(t *testing.T) {
	t.Parallel()
	f, app := shop(t, func(c *auth.Client) { c.Ask = true })
	b := f.loggedIn("alice")
	f.register("bob")
	f.shows(b.get(request()), 200, `name="as" value="alice"`)
	f.shows(b.get("/login?next=%2Faccount"), 200, `name="as" value="alice"`)
	f.sent(b.login("bob", goodPassword), "/")
	for _, choice := range []string{"allow", "deny"} {
		f.sent(b.post("/consent", "choice", choice, "as", "alice", "next", request()), request())
	}
	f.shows(b.get(request()), 200, "bob") // nothing was allowed
	f.sent(b.post("/login", "choice", "current", "as", "alice", "next", "/account"),
		"/login?next=%2Faccount")
	f.grant(app, b.post("/consent", "choice", "allow", "as", "bob", "next", request()))
}

func TestAnAppOfARoleAdmitsItsHoldersAlone(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	_, _, err := f.rules.Roles.Set(t.Context(), authtest.Operator(), "clerk", auth.RoleEdit{}, auth.Condition{})
	must(t, err)
	app, _, err := f.rules.Clients.Add(t.Context(), authtest.Operator(), auth.Client{
		ID: "shop", Title: "Shop", Confidential: true, RedirectURIs: []string{callback},
		GrantTypes: []string{auth.GrantAuthorizationCode}, RequiredRole: "clerk",
	})
	must(t, err)
	b := f.loggedIn("alice")
	f.wantError("without the role", b.get(request()), "access_denied")
	must(t, f.rules.Roles.Grant(t.Context(), authtest.Operator(), f.user("alice").ID, "clerk"))
	f.grant(app, b.get(request()))
}

func TestAnIDTokenOfTheUserLogsTheBrowserOutAndOthersAsk(t *testing.T) {
	t.Parallel()
	f, app := shop(t, nil)
	b := f.loggedIn("alice")
	grant := f.grant(app, b.get(request()))
	bob := f.loggedIn("bob")
	bobs := f.grant(app, bob.get(request()))
	end := func(pairs ...string) string {
		query := url.Values{}
		for n := 0; n < len(pairs); n += 2 {
			query.Set(pairs[n], pairs[n+1])
		}
		return "/end-session?" + query.Encode()
	}
	const bye = "https://shop.example/bye"
	for name, path := range map[string]string{
		"nothing":                end(),
		"the client alone":       end("client_id", "shop", "post_logout_redirect_uri", bye),
		"another user's token":   end("id_token_hint", bobs.IDToken),
		"another user's, and on": end("id_token_hint", bobs.IDToken, "post_logout_redirect_uri", bye),
	} {
		f.shows(b.get(path), 200)
		if who := b.who(); who != "alice" {
			t.Fatalf("%s: logged in as %q", name, who)
		}
	}
	for name, path := range map[string]string{
		"an access token":    end("id_token_hint", grant.AccessToken),
		"a forged token":     end("id_token_hint", grant.IDToken[:len(grant.IDToken)-2]+"AA"),
		"another client":     end("id_token_hint", grant.IDToken, "client_id", "other"),
		"another URI":        end("id_token_hint", grant.IDToken, "post_logout_redirect_uri", bye+"/"),
		"a URI of nobody":    end("post_logout_redirect_uri", bye),
		"a URI with a query": end("id_token_hint", grant.IDToken, "post_logout_redirect_uri", bye+"?a=b"),
		"the login's URI":    end("id_token_hint", grant.IDToken, "post_logout_redirect_uri", callback),
		"an unknown client":  end("client_id", "nobody"),
	} {
		if a := b.get(path); a.status != 400 || a.location() != "" {
			t.Errorf("%s: %d %s", name, a.status, a.location())
		}
	}
	a := b.get(end("id_token_hint", grant.IDToken, "post_logout_redirect_uri", bye, "state", "s t"))
	f.sent(a, bye+"?state=s+t")
	if who := b.who(); who != "" {
		t.Errorf("logged in as %q", who)
	}
	access, err := f.rules.Access.Authenticate(grant.AccessToken)
	must(t, err)
	if _, _, err := f.rules.Access.Me(t.Context(), access); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("the app goes on: %v", err)
	}
	f.shows(b.get(end()), 200)
}

func TestWhoIsAskedWhetherToLogOutIsLoggedOutByTheAnswer(t *testing.T) {
	t.Parallel()
	f, _ := shop(t, nil)
	b := f.loggedIn("alice")
	foreign := b.copied()
	foreign.site = "cross-site"
	a := foreign.post("/end-session", "as", "alice", "choice", "log_out", "client_id", "shop")
	f.sent(a, "/end-session?client_id=shop")
	if who := b.who(); who != "alice" {
		t.Fatalf("logged in as %q", who)
	}
	f.sent(b.post("/end-session", "as", "alice", "choice", "log_out", "client_id", "shop",
		"post_logout_redirect_uri", "https://shop.example/bye", "state", "1"),
		"https://shop.example/bye?state=1")
	if who := b.who(); who != "" {
		t.Errorf("logged in as %q", who)
	}
	b = f.loggedInAs("alice")
	f.sent(b.post("/end-session", "as", "alice", "choice", "log_out"), "/end-session")
	f.shows(b.get("/end-session"), 200)
}

// A code in a log, or a token in a URL, is a login for whoever reads it.
func TestNoCodeAndNoTokenIsInALog(t *testing.T) {
	t.Parallel()
	f, app := shop(t, nil)
	b := f.loggedIn("alice")
	a := b.get(request())
	code := f.back(a).Get("code")
	grant := f.grant(app, b.get(request()))
	b.get("/end-session?id_token_hint=" + grant.IDToken)
	logged := f.log.String()
	for _, secret := range []string{code, grant.AccessToken, grant.IDToken, grant.RefreshToken, b.session()} {
		if secret != "" && strings.Contains(logged, secret) {
			t.Errorf("%s… is in the log", secret[:8])
		}
	}
	if !slices.ContainsFunc(strings.Split(logged, "\n"), func(line string) bool {
		return strings.Contains(line, `"route":"/authorize"`) && strings.Contains(line, `"client_id":"shop"`)
	}) {
		t.Error("the log does not name the app")
	}
}

// A client that asks by POST may ask for as much as by GET (RFC 8707 §2).
func TestAnAppThatAsksByPOSTMayNameSeveralResources(t *testing.T) {
	t.Parallel()
	stock, orders := "https://stock.example", "https://orders.example"
	f, app := shop(t, func(c *auth.Client) { c.Audiences = []string{stock, orders} })
	b := f.loggedIn("alice")
	asked, err := url.Parse(request())
	must(t, err)
	form := []string{"resource", stock, "resource", orders}
	for name, values := range asked.Query() {
		form = append(form, name, values[0])
	}
	sent := b.post("/authorize", form...)
	if sent.status != http.StatusSeeOther {
		t.Fatalf("%d %s", sent.status, sent.body)
	}
	parts := strings.Split(f.grant(app, b.get(sent.location())).AccessToken, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	if !strings.Contains(string(claims), stock) || !strings.Contains(string(claims), orders) {
		t.Errorf("the token is %s", claims)
	}
	a := b.post("/authorize", append(form, "client_id", "another")...)
	if a.status != http.StatusBadRequest {
		t.Errorf("two clients: %d", a.status)
	}
}
