package app_test

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// The names of these tests are those of the modules of OpenID's certification plans, so that
// whoever has the service certified knows what to look for. Each checks what the module of the name
// checks, in our own words.

// basicModules are those of the plan for OpenID providers of the profile Basic.
func basicModules() map[string]func(*flow) {
	return map[string]func(*flow){
		"oidcc-server":                server,
		"oidcc-response-type-missing": responseTypeMissing,
		"oidcc-idtoken-signature":     idTokenSignature,
		"oidcc-idtoken-unsigned":      idTokenUnsigned,
		"oidcc-userinfo-get":          func(f *flow) { f.userInfo(f.first()) },
		"oidcc-userinfo-post-header": func(f *flow) {
			t := f.first()
			f.wantUserInfo(f.postUserInfo(t.Access, nil), t)
		},
		"oidcc-userinfo-post-body": func(f *flow) {
			t := f.first()
			f.wantUserInfo(f.postUserInfo("", url.Values{"access_token": {t.Access}}), t)
		},
		"oidcc-ensure-request-without-nonce-succeeds-for-code-flow": func(f *flow) {
			f.first("nonce", "")
		},
		"oidcc-scope-profile": scope("openid profile", "name", "preferred_username", "updated_at"),
		"oidcc-scope-email":   scope("openid email"),
		"oidcc-scope-address": scope("openid address"),
		"oidcc-scope-phone":   scope("openid phone"),
		"oidcc-scope-all": scope("openid profile email address phone", "name",
			"preferred_username", "updated_at"),
		"oidcc-ensure-other-scope-order-succeeds": scope("email openid"),
		"oidcc-alternate-happy-flow":              alternateHappyFlow,
		"oidcc-display-page":                      func(f *flow) { f.first("display", "page") },
		"oidcc-display-popup":                     func(f *flow) { f.first("display", "popup") },
		"oidcc-prompt-login": func(f *flow) {
			loginAgain(f, time.Second, "prompt", "login")
		},
		"oidcc-prompt-none-not-logged-in": promptNoneNotLoggedIn,
		"oidcc-prompt-none-logged-in":     func(f *flow) { sameLogin(f, nil, "prompt", "none") },
		"oidcc-max-age-1": func(f *flow) {
			loginAgain(f, 2*time.Second, "max_age", "1")
		},
		"oidcc-max-age-10000": func(f *flow) {
			sameLogin(f, []string{"max_age", "15000"}, "max_age", "10000")
		},
		"oidcc-ensure-request-with-unknown-parameter-succeeds": func(f *flow) {
			f.first("extra", "foobar")
		},
		"oidcc-id-token-hint":                           idTokenHint,
		"oidcc-login-hint":                              loginHint,
		"oidcc-ui-locales":                              func(f *flow) { f.first("ui_locales", "se") },
		"oidcc-claims-locales":                          func(f *flow) { f.first("claims_locales", "se") },
		"oidcc-ensure-request-with-acr-values-succeeds": acrValues,
		"oidcc-codereuse":                               func(f *flow) { codeReuse(f, 0) },
		"oidcc-codereuse-30seconds":                     func(f *flow) { codeReuse(f, 30*time.Second) },
		"oidcc-ensure-registered-redirect-uri":          registeredRedirectURI,
		"oidcc-redirect-uri-query-OK":                   redirectURIWithQuery,
		"oidcc-redirect-uri-query-mismatch":             redirectURIOfAnotherQuery,
		"oidcc-redirect-uri-query-added":                redirectURIWithQueryAdded,
		"oidcc-redirect-uri-regfrag":                    redirectURIWithFragment,
		"oidcc-ensure-post-request-succeeds":            postRequest,
		"oidcc-server-client-secret-post":               clientSecretPost,
		"oidcc-claims-essential":                        claimsEssential,
		"oidcc-refresh-token":                           refreshTokens,
		"oidcc-ensure-request-with-valid-pkce-succeeds": validPKCE,
		"oidcc-ensure-request-object-with-redirect-uri": requestObjectWithRedirectURI,
		"oidcc-request-uri-unsigned-rejected-as-unsupported": func(f *flow) {
			f.refused("request_uri_not_supported", "request_uri", "https://rp.example/request.jwt")
		},
		"oidcc-unsigned-request-object-rejected-as-unsupported": func(f *flow) {
			f.refused("request_not_supported", "request", unsigned(map[string]any{"scope": "openid"}))
		},
	}
}

// An app that logs in elsewhere by a certified provider must be able to log in here. All modules
// run for a client by PKCE, and for one that is excused from it.
func TestTheModulesOfTheBasicCertificationPlan(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	for kind, withoutPKCE := range map[string]bool{"by PKCE": false, "without PKCE": true} {
		for name, run := range basicModules() {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				run(p.flow(t, func(c *auth.Client) { c.WithoutPKCE = withoutPKCE }))
			})
		}
	}
}

func server(f *flow) {
	t := f.first()
	told := f.userInfo(t)
	if _, ok := t.claims["name"]; ok || len(told) != 1 {
		f.Errorf("the app is told more than it asked for: %v, %v", t.claims, told)
	}
	for _, name := range []string{"auth_time", "sid", "acr", "amr"} {
		if t.claims[name] == nil {
			f.Errorf("the ID token lacks %s", name)
		}
	}
}

// refused is a request that the app is told of, before its user sees a page.
func (f *flow) refused(code string, pairs ...string) {
	f.Helper()
	s := f.request(pairs...)
	f.wantError(s, f.authorize(s), code)
}

func responseTypeMissing(f *flow) { f.refused("invalid_request", "response_type", "") }

func idTokenSignature(f *flow) {
	header := headerOf(f, f.first().ID)
	if header.Alg != "RS256" || header.Kid == "" {
		f.Errorf("%+v", header)
	}
}

func idTokenUnsigned(f *flow) {
	_, _, err := f.p.admin.Clients.Add(f.Context(), authtest.Operator(), auth.Client{
		ID: "rp-" + rand.Text(), Title: "The App", IDTokenAlgorithm: "none",
	})
	if _, ok := errors.AsType[auth.InputError](err); !ok {
		f.Errorf("a client was registered for ID tokens without a signature: %v", err)
	}
}

func (f *flow) postUserInfo(access string, form url.Values) answer {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), http.MethodPost,
		f.p.endpoint("userinfo_endpoint"), strings.NewReader(form.Encode()))
	must(f, err)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if access != "" {
		request.Header.Set("Authorization", "Bearer "+access)
	}
	return f.p.do(request)
}

// scope makes a module whose app learns some claims, and no others.
func scope(asked string, claims ...string) func(*flow) {
	return func(f *flow) { wantTold(f, f.first("scope", asked), claims...) }
}

func wantTold(f *flow, t grantedTokens, claims ...string) {
	f.Helper()
	told := f.userInfo(t)
	var names []string
	for name, value := range told {
		switch _, isText := value.(string); {
		case name == "updated_at":
			if at, ok := value.(float64); !ok || time.Since(time.Unix(int64(at), 0)) < 0 {
				f.Errorf("updated_at %v", value)
			}
		case !isText:
			f.Errorf("%s is %v", name, value)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if want := slices.Sorted(slices.Values(append(claims, "sub"))); !slices.Equal(names, want) {
		f.Errorf("told %v, want %v", names, want)
	}
}

func alternateHappyFlow(f *flow) {
	s := f.request("scope", "email openid")
	var names, reordered []string
	for name := range s.query {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return -cmp.Compare(a, b) })
	for _, name := range names {
		reordered = append(reordered, name+"="+url.QueryEscape(s.query.Get(name)))
	}
	at := f.browser.open(f.p.endpoint("authorization_endpoint") + "?" + strings.Join(reordered, "&"))
	wantTold(f, f.redeem(s, f.code(s, f.logIn(at))))
}

// loginAgain is a module whose app demands a login, though there was one a while ago.
func loginAgain(f *flow, ago time.Duration, demand ...string) {
	before := f.first()
	f.pass(ago)
	asked := time.Now()
	after := f.first(demand...)
	was, is := authTime(f, before), authTime(f, after)
	if !is.After(was.Add(-ago)) || is.Before(asked.Add(-5*time.Minute)) || after.claims["sub"] != before.claims["sub"] {
		f.Errorf("first %v, then %v", before.claims, after.claims)
	}
}

func authTime(f *flow, t grantedTokens) time.Time {
	f.Helper()
	seconds, ok := t.claims["auth_time"].(float64)
	if !ok {
		f.Fatalf("no auth_time: %v", t.claims)
	}
	return time.Unix(int64(seconds), 0)
}

// sameLogin is a module whose app gets by with the login before.
func sameLogin(f *flow, first []string, second ...string) {
	f.Helper()
	before := f.first(first...)
	after := f.again(second...)
	if !authTime(f, after).Equal(authTime(f, before)) || after.claims["sub"] != before.claims["sub"] {
		f.Errorf("first %v, then %v", before.claims, after.claims)
	}
}

func promptNoneNotLoggedIn(f *flow) {
	f.refused("login_required", "prompt", "none", "state", strings.Repeat("long-state+&=/%", 9)[:128])
}

func idTokenHint(f *flow) {
	before := f.first()
	after := f.again("prompt", "none", "id_token_hint", before.ID)
	if !authTime(f, after).Equal(authTime(f, before)) || after.claims["sub"] != before.claims["sub"] {
		f.Errorf("first %v, then %v", before.claims, after.claims)
	}
}

func loginHint(f *flow) {
	s := f.request("login_hint", "buffy@rp.example")
	page := f.authorize(s)
	if !slices.ContainsFunc(page.forms(f), func(form *htmlForm) bool {
		return form.values.Get("username") == "buffy@rp.example"
	}) {
		f.Error("the form does not begin with the hint")
	}
	f.redeem(s, f.code(s, f.logIn(page)))
}

func acrValues(f *flow) {
	var offered []string
	for _, value := range f.p.metadata["acr_values_supported"].([]any) {
		offered = append(offered, value.(string))
	}
	got := f.first("acr_values", strings.Join(offered, " "))
	if acr, _ := got.claims["acr"].(string); !slices.Contains(offered, acr) {
		f.Errorf("acr %v, want one of %v", got.claims["acr"], offered)
	}
}

func codeReuse(f *flow, later time.Duration) {
	s := f.request()
	code := f.code(s, f.logIn(f.authorize(s)))
	got := f.redeem(s, code)
	f.userInfo(got)
	f.exec(`UPDATE authorization_codes SET redeemed_at = redeemed_at - make_interval(secs => $1),
		expires_at = expires_at - make_interval(secs => $1)
		WHERE client_id = $2`, later.Seconds(), f.app.ID)
	f.wantRefused("a second use", f.exchange(f.app, s, code), 400, "invalid_grant")
	if a := f.get(f.p.endpoint("userinfo_endpoint"), got.Access); a.status != 401 {
		f.Errorf("the access token of the first use: %d", a.status)
	}
	f.wantRefused("the refresh token of the first use", f.refresh(f.app, got.Refresh), 400,
		"invalid_grant")
}

func (f *flow) refresh(by relyingParty, token string, pairs ...string) answer {
	f.Helper()
	return f.ask(by, "token_endpoint",
		append([]string{"grant_type", "refresh_token", "refresh_token", token}, pairs...)...)
}

// strayed is a request that must not lead to its redirect URI, whether its user is logged in or
// not.
func (f *flow) strayed(to string, pairs ...string) {
	f.Helper()
	s := f.request(append(pairs, "redirect_uri", to)...)
	f.wantPage(f.authorize(s), 400, to)
}

func registeredRedirectURI(f *flow) {
	to := callback + "/" + rand.Text()
	f.strayed(to)
	f.strayed(to, "prompt", "none")
	f.first()
	f.strayed(to)
}

func redirectURIWithQuery(f *flow) {
	f.app = f.register(func(c *auth.Client) { c.RedirectURIs = []string{callback + "?foo=bar"} })
	f.first()
}

func redirectURIOfAnotherQuery(f *flow) {
	f.app = f.register(func(c *auth.Client) { c.RedirectURIs = []string{callback + "?foo=bar"} })
	f.strayed(callback + "?baz=bar")
	f.strayed(callback)
}

func redirectURIWithQueryAdded(f *flow) { f.strayed(callback + "?foo=bar") }

func redirectURIWithFragment(f *flow) {
	_, _, err := f.p.admin.Clients.Add(f.Context(), authtest.Operator(), auth.Client{
		ID: "rp-" + rand.Text(), Title: "The App", RedirectURIs: []string{callback + "#foobar"},
	})
	if _, ok := errors.AsType[auth.InputError](err); !ok {
		f.Errorf("a client was registered with a fragment: %v", err)
	}
}

// postRequest has the request in a form. A form of another site brings no cookie, so it also runs
// for a browser that is logged in.
func postRequest(f *flow) {
	for _, page := range []func(stop) stop{f.logIn, func(at stop) stop { return at }} {
		s := f.request()
		at := f.browser.post(f.p.endpoint("authorization_endpoint"), s.query)
		f.redeem(s, f.code(s, page(at)))
	}
}

func clientSecretPost(f *flow) {
	f.app.inForm = true
	f.userInfo(f.first())
}

func claimsEssential(f *flow) {
	got := f.first("claims", `{"userinfo":{"name":{"essential":true}}}`)
	wantTold(f, got, "name")
	if _, ok := got.claims["name"]; ok {
		f.Errorf("the name is in the ID token: %v", got.claims)
	}
	if in := f.again("claims", `{"id_token":{"name":{"essential":true}}}`); in.claims["name"] != f.username {
		f.Errorf("the name is not in the ID token: %v", in.claims)
	}
}

// offline is a login whose app may go on without its user, who is asked.
func (f *flow) offline() grantedTokens {
	f.Helper()
	s := f.request("scope", "openid offline_access", "prompt", "consent")
	at := f.authorize(s)
	if strings.HasSuffix(at.at.Path, "/login") {
		at = f.logIn(at)
	}
	return f.redeem(s, f.code(s, f.browser.submit(at, "choice", "allow")))
}

func refreshTokens(f *flow) {
	first, second := f.app, f.register(func(c *auth.Client) { c.WithoutPKCE = f.app.WithoutPKCE })
	before := f.offline()
	after := f.granted(f.refresh(first, before.Refresh, "scope", "openid offline_access"), first, "")
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "sid", "acr"} {
		if after.claims[name] != before.claims[name] {
			f.Errorf("%s was %v, and is %v", name, before.claims[name], after.claims[name])
		}
	}
	if after.Access == before.Access || after.Refresh == "" ||
		after.claims["iat"].(float64) < before.claims["iat"].(float64) {
		f.Errorf("%v, then %v", before.claims, after.claims)
	}
	f.userInfo(after)
	f.app = second
	its := f.offline()
	f.wantRefused("by another app of the same browser", f.refresh(first, its.Refresh), 400,
		"invalid_grant")
	f.granted(f.refresh(second, its.Refresh), second, "")
}

func validPKCE(f *flow) {
	f.app.WithoutPKCE = false // the app sends a challenge, whether it has to or not
	f.first()
	s := f.request()
	code := f.code(s, f.authorize(s))
	s.verifier = ""
	f.wantRefused("without the verifier", f.exchange(f.app, s, code), 400, "invalid_grant")
}

func requestObjectWithRedirectURI(f *flow) {
	f.strayed(callback+"/"+rand.Text(), "request", unsigned(map[string]any{"redirect_uri": callback}))
}

// Without a demand for PKCE, a stolen code is as good as a login.
func TestAnAppThatIsNotExcusedFromPKCEIsRefusedWithoutIt(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	for name, change := range map[string]func(*auth.Client){
		"confidential": func(*auth.Client) {},
		"public":       func(c *auth.Client) { c.Confidential = false },
	} {
		f := p.flow(t, change)
		f.refused("invalid_request", "code_challenge", "", "code_challenge_method", "")
		f.refused("invalid_request", "code_challenge_method", "plain")
		f.refused("invalid_request", "code_challenge_method", "")
		if f.first(); !f.isLoggedIn() {
			t.Errorf("%s: by PKCE it is not logged in", name)
		}
	}
}

// unsigned is a JWT with the algorithm none.
func unsigned(claims map[string]any) string {
	encoded := func(part any) string {
		text, err := json.Marshal(part)
		if err != nil {
			panic(err)
		}
		return base64URL(text)
	}
	return encoded(map[string]any{"alg": "none", "typ": "JWT"}) + "." + encoded(claims) + "."
}
