package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"gatehouse.example/internal/auth"
)

const (
	filesAPI     = "https://files.example/"
	mailAPI      = "https://mail.example/"
	callback     = "https://shop.example/cb"
	codeVerifier = "a-verifier-with-more-than-43-characters-0123456789"
)

// shopForAPIs is an app that may have tokens for two other services.
func (f *fixture) shopForAPIs() program {
	f.Helper()
	return f.program("shop", auth.Client{
		Confidential: true, RedirectURIs: []string{callback},
		GrantTypes: []string{
			auth.GrantAuthorizationCode, auth.GrantRefreshToken, auth.GrantClientCredentials,
			auth.GrantPassword,
		},
		Audiences: []string{filesAPI, mailAPI},
	})
}

// codeOf logs a user in, in a browser, and returns the code that the app gets.
func (f *fixture) codeOf(p program, username, scope string, resources ...string) string {
	f.Helper()
	login, err := f.rules.Logins.LoginInBrowser(f.Context(), username, goodPassword, auth.Caller{},
		auth.BrowserLogin{})
	must(f, err)
	browser, err := f.rules.Browsers.Open(f.Context(), login.Cookie)
	must(f, err)
	sum := sha256.Sum256([]byte(codeVerifier))
	asked := url.Values{
		"client_id": {p.id}, "redirect_uri": {callback}, "response_type": {"code"},
		"scope": {scope}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	if resources != nil {
		asked["resource"] = resources
	}
	request, err := f.rules.Authorizations.Parse(f.Context(), asked)
	must(f, err)
	to, err := f.rules.Authorizations.Issue(f.Context(), request, browser)
	must(f, err)
	answer, err := url.Parse(to)
	must(f, err)
	return answer.Query().Get("code")
}

func (f *fixture) redeemed(p program, code string, more ...string) answered {
	f.Helper()
	return f.post(p, "/token", append([]string{
		"grant_type", "authorization_code", "code", code, "redirect_uri", callback,
		"code_verifier", codeVerifier,
	}, more...)...)
}

// A service that an app calls must not be able to use the app's token here (RFC 8707 §3).
func TestATokenForAnotherServiceIsNotGoodHereButForUserInfo(t *testing.T) {
	t.Parallel()
	f := start(t, settings{issuer: "https://id.test"})
	desk := f.program("desk", auth.Client{Confidential: true})
	shop := f.shopForAPIs()
	f.loggedIn("alice")
	held := f.tokensOf(f.redeemed(shop, f.codeOf(shop, "alice", "openid", filesAPI)))
	discovered := f.do(f.request("GET", "/.well-known/openid-configuration", ""))
	if got, want := claimsOf(t, held.access)["aud"],
		[]any{filesAPI, discovered.json(t, "userinfo_endpoint")}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("aud is %v, want %v", got, want)
	}
	f.want("userinfo", f.as(held, "GET", "/userinfo", ""), 200)
	f.want("userinfo, by a form", f.do(f.request("POST", "/userinfo",
		url.Values{"access_token": {held.access}}.Encode(), "Content-Type", formType)), 200)
	f.want("verify", f.verified(held.access), 401)
	f.want("users/me", f.as(held, "GET", "/users/me", ""), 401)
	f.want("sessions", f.as(held, "GET", "/users/me/sessions", ""), 401)
	f.want("the password", f.as(held, "PUT", "/users/me/password",
		`{"current_password":"correct horse battery staple","new_password":"another good password"}`), 401)
	f.want("users", f.as(held, "GET", "/users", ""), 401)
	a := f.introspect(desk, held.access)
	if a.json(t, "active") != true || len(a.json(t, "aud").([]any)) != 2 {
		t.Errorf("introspection: %s", a.body)
	}

	quiet := f.tokensOf(f.redeemed(shop, f.codeOf(shop, "alice", "files:read", filesAPI)))
	if got := claimsOf(t, quiet.access)["aud"]; got != filesAPI {
		t.Errorf("without openid, aud is %v", got)
	}
	f.want("userinfo without openid", f.as(quiet, "GET", "/userinfo", ""), 401)
	f.want("revoke", f.post(shop, "/revoke", "token", quiet.access), 200)
	if a := f.introspect(desk, quiet.access); a.body != inactiveBody {
		t.Errorf("after the end: %s", a.body)
	}
}

func TestTheTokenEndpointNarrowsTheResourcesAndGivesNoMore(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	shop := f.shopForAPIs()
	f.loggedIn("alice")
	wantAud := func(what string, a answered, want string) tokens {
		t.Helper()
		held := f.tokensOf(a)
		if got := fmt.Sprint(claimsOf(t, held.access)["aud"]); got != want {
			t.Errorf("%s: aud is %s, want %s", what, got, want)
		}
		return held
	}
	wantRefused := func(what string, a answered) {
		t.Helper()
		if a.status != http.StatusBadRequest || a.json(t, "error") != "invalid_target" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	code := f.codeOf(shop, "alice", "files:read", filesAPI, mailAPI)
	wantRefused("another", f.redeemed(shop, code, "resource", "https://elsewhere.example/"))
	wantRefused("one of two", f.redeemed(shop, code, "resource", filesAPI, "resource", "test"))
	held := wantAud("one", f.redeemed(shop, code, "resource", mailAPI), mailAPI)
	both := "[" + filesAPI + " " + mailAPI + "]"
	refresh := func(more ...string) answered {
		return f.post(shop, "/token",
			append([]string{"grant_type", "refresh_token", "refresh_token", held.refresh}, more...)...)
	}
	wantRefused("by a refresh", refresh("resource", "https://elsewhere.example/"))
	held = wantAud("two", refresh("resource", mailAPI, "resource", filesAPI), both)
	held = wantAud("all", refresh(), both)

	wantAud("its own", f.ownToken(shop, "resource", filesAPI), filesAPI)
	wantAud("its own, for here", f.ownToken(shop), "test")
	wantRefused("its own, for others", f.ownToken(shop, "resource", "https://elsewhere.example/"))
	wantRefused("a password", f.loginBy(shop, "alice", "resource", filesAPI))
}
