package auth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

const (
	filesAPI = "https://files.example/"
	mailAPI  = "https://mail.example/"
)

// shopForAPIs is an app that may have tokens for two other services, and a browser in which alice
// is logged in.
func shopForAPIs(t *testing.T) (*clocked, auth.Client, auth.Browser) {
	t.Helper()
	c := startClocked(t)
	c.register("alice")
	shop := c.app("shop", func(c *auth.Client) { c.Audiences = []string{filesAPI, mailAPI} })
	return c, shop, c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
}

// codeFor makes a code for resources.
func (f *fixture) codeFor(b auth.Browser, scope string, resources ...string) string {
	f.Helper()
	asked := parameters("scope", scope)
	if resources != nil {
		asked["resource"] = resources
	}
	request, err := f.Authorizations.Parse(f.Context(), asked)
	must(f, err)
	to, err := f.Authorizations.Issue(f.Context(), request, b)
	must(f, err)
	_, code, _ := strings.Cut(to, "code=")
	code, _, _ = strings.Cut(code, "&")
	return code
}

func (f *fixture) redeemFor(c auth.Client, code string, resources ...string) (auth.Grant, error) {
	return f.Tokens.Redeem(f.Context(), auth.CodeRedemption{
		Code: code, RedirectURI: redirectURI, Verifier: verifier, Resources: resources,
	}, auth.Caller{Client: c})
}

func (f *fixture) refreshFor(c auth.Client, raw string, resources ...string) (auth.Grant, error) {
	return f.Tokens.Refresh(f.Context(), raw, auth.Caller{Client: c},
		auth.Narrowing{Resources: resources})
}

// wantFor looks at what an access token is for.
func (f *fixture) wantFor(what string, grant auth.Grant, err error, want ...string) {
	f.Helper()
	must(f, err)
	access, err := f.Issuer.VerifyForAny(time.Now(), grant.AccessToken)
	must(f, err)
	if got := strings.Fields(access.Resources); !slices.Equal(got, want) {
		f.Errorf("%s is for %q, want %q", what, got, want)
	}
}

// An app that asks for a token for one service must not get one that is good at another.
func TestATokenIsForTheResourcesThatWereAskedForAndForNoOther(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopForAPIs(t)
	userInfo := c.Issuer.UserInfo()

	grant, err := c.redeemFor(shop, c.codeFor(alice, "files:read"))
	c.wantFor("nothing asked", grant, err)
	grant, err = c.redeemFor(shop, c.codeFor(alice, "files:read", mailAPI, filesAPI, mailAPI))
	c.wantFor("all", grant, err, filesAPI, mailAPI)
	grant, err = c.redeemFor(shop, c.codeFor(alice, "openid", filesAPI))
	c.wantFor("with openid", grant, err, filesAPI, userInfo)
	code := c.codeFor(alice, "openid", filesAPI, mailAPI)
	grant, err = c.redeemFor(shop, code, mailAPI)
	c.wantFor("a part", grant, err, mailAPI, userInfo)
	grant, err = c.refreshFor(shop, grant.RefreshToken)
	c.wantFor("a refresh", grant, err, filesAPI, mailAPI, userInfo)
	grant, err = c.refreshFor(shop, grant.RefreshToken, filesAPI)
	c.wantFor("a part of a refresh", grant, err, filesAPI, userInfo)
}

// Whoever asks for more than the user saw, or than the operator allows, gets nothing, and may ask
// again for less.
func TestNoTokenIsForMoreThanWasGranted(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopForAPIs(t)
	const elsewhere = "https://elsewhere.example/"
	for name, test := range map[string]struct{ login, asked []string }{
		"another of the app's": {[]string{filesAPI}, []string{mailAPI}},
		"one and another":      {[]string{filesAPI}, []string{filesAPI, mailAPI}},
		"none of the app's":    {[]string{filesAPI}, []string{elsewhere}},
		"a login for none":     {nil, []string{filesAPI}},
		"a part of the name":   {[]string{filesAPI}, []string{"https://files.example"}},
		"no name":              {[]string{filesAPI}, []string{""}},
		"this service":         {[]string{filesAPI}, []string{"test"}},
	} {
		code := c.codeFor(alice, "openid", test.login...)
		if _, err := c.redeemFor(shop, code, test.asked...); !errors.Is(err, auth.ErrInvalidTarget) {
			t.Errorf("%s, by a code: %v", name, err)
		}
		grant, err := c.redeemFor(shop, code)
		if err != nil {
			t.Fatalf("%s: the code is used up: %v", name, err)
		}
		if _, err := c.refreshFor(shop, grant.RefreshToken, test.asked...); !errors.Is(err, auth.ErrInvalidTarget) {
			t.Errorf("%s, by a refresh: %v", name, err)
		}
		if _, err := c.refreshFor(shop, grant.RefreshToken); err != nil {
			t.Errorf("%s: the refresh token is used up: %v", name, err)
		}
	}
}

// What the operator takes from an app must not come back by a refresh.
func TestAResourceThatIsTakenFromTheAppIsTakenFromItsTokens(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopForAPIs(t)
	grant, err := c.redeemFor(shop, c.codeFor(alice, "files:read", filesAPI, mailAPI))
	c.wantFor("at first", grant, err, filesAPI, mailAPI)
	_, err = c.Clients.Set(t.Context(), authtest.Operator(), "shop",
		auth.ClientChange{Audiences: &[]string{mailAPI}}, nil)
	must(t, err)
	grant, err = c.refreshFor(shop, grant.RefreshToken)
	c.wantFor("after one was taken", grant, err, mailAPI)
	if _, err := c.refreshFor(shop, grant.RefreshToken, filesAPI); !errors.Is(err, auth.ErrInvalidTarget) {
		t.Errorf("the one that was taken: %v", err)
	}
	_, err = c.Clients.Set(t.Context(), authtest.Operator(), "shop",
		auth.ClientChange{Audiences: &[]string{}}, nil)
	must(t, err)
	if _, err := c.refreshFor(shop, grant.RefreshToken); !errors.Is(err, auth.ErrInvalidTarget) {
		t.Errorf("after all were taken: %v", err)
	}
}

// A token that is too long is refused everywhere.
func TestNoTokenIsTooLongForItsRightsAndResourcesTogether(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	user := c.register("alice")
	var words []auth.Permission
	for n := range 120 {
		words = append(words, auth.Permission("files:read"+strings.Repeat("x", n%7)+string(rune('a'+n%26))+string(rune('a'+n/26))))
	}
	_, _, err := c.Roles.Set(t.Context(), authtest.Operator(), "clerk", auth.RoleEdit{Permissions: words[:100]}, auth.Condition{})
	must(t, err)
	c.grant(user, "clerk")
	long := make([]string, 3)
	for n := range long {
		long[n] = filesAPI + strings.Repeat("x", 300) + string(rune('a'+n))
	}
	shop := c.app("shop", func(c *auth.Client) { c.Audiences = long })
	alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
	if _, err := c.redeemFor(shop, c.codeFor(alice, "openid", long...)); !errors.Is(err, auth.ErrInvalidTarget) {
		t.Errorf("all at once: %v", err)
	}
	grant, err := c.redeemFor(shop, c.codeFor(alice, "openid "+string(words[0]), long...))
	c.wantFor("with a narrow scope", grant, err, append(long, c.Issuer.UserInfo())...)
}
