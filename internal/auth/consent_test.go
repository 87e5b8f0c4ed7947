package auth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

func (f *fixture) request(pairs ...string) auth.AuthorizationRequest {
	f.Helper()
	request, err := f.Authorizations.Parse(f.Context(), parameters(pairs...))
	must(f, err)
	return request
}

func (f *fixture) wantStep(
	when string, b auth.Browser, want auth.AuthorizationStep, pairs ...string,
) {
	f.Helper()
	step, err := f.Authorizations.Decide(f.Context(), f.request(pairs...), &b)
	if step != want || err != nil {
		f.Errorf("%s: step %d, %v", when, step, err)
	}
}

// The page of consent would say less than what the app gets, and nobody would know.
func TestAUserIsAskedForAllThatAnAppWouldGet(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.app("shop", nil)
	c.app("wiki", func(c *auth.Client) { c.Scope = "wiki:*" })
	const claims = `{"id_token":{"groups":null},"userinfo":{"name":{"essential":true}}}`
	for name, test := range map[string]struct {
		pairs []string
		want  string
	}{
		"no permission named":        {[]string{"scope", "openid"}, "openid *"},
		"no scope at all":            {[]string{"scope", ""}, "*"},
		"a permission":               {[]string{"scope", "openid files:read"}, "openid files:read"},
		"within the client's":        {[]string{"scope", "openid wiki:read", "client_id", "wiki"}, "openid wiki:read"},
		"none, of a bounded client":  {[]string{"scope", "openid", "client_id", "wiki"}, "openid wiki:*"},
		"beyond a bounded client":    {[]string{"scope", "openid files:read", "client_id", "wiki"}, "openid"},
		"Gatehouse's own":            {[]string{"scope", "openid gatehouse:*"}, "openid"},
		"claims in place of a scope": {[]string{"scope", "openid a:b", "claims", claims}, "openid profile groups a:b"},
	} {
		if got := strings.Join(c.request(test.pairs...).Asks(), " "); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// What was allowed in part must not be taken for the whole.
func TestAnAppThatWasAllowedOneRightIsNotGivenAllOfThem(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	c.app("shop", func(c *auth.Client) { c.Ask = true })
	alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
	must(t, c.Authorizations.Allow(
		t.Context(), c.request("scope", "openid files:read"), alice))
	c.wantStep("the same", alice, auth.StepCode, "scope", "openid files:read")
	c.wantStep("all rights", alice, auth.StepConsent, "scope", "openid")
	c.wantStep("the name", alice, auth.StepConsent, "scope", "openid files:read",
		"claims", `{"userinfo":{"name":null}}`)
	must(t, c.Authorizations.Allow(t.Context(), c.request("scope", "openid"), alice))
	c.wantStep("all rights, allowed", alice, auth.StepCode, "scope", "openid")
}

// An app that asks for other rights each time would fill the row, and then its users could allow
// nothing more.
func TestAUserMayAllowAnAppEverMore(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	c.app("shop", func(c *auth.Client) { c.Ask = true })
	alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
	for n := range 10 {
		var words []string
		for m := range 30 {
			words = append(words, strings.Repeat("r", 30)+string(rune('a'+n))+":"+
				strings.Repeat("a", 25)+string(rune('a'+m%26))+string(rune('a'+m/26)))
		}
		scope := strings.Join(words, " ")
		must(t, c.Authorizations.Allow(t.Context(), c.request("scope", scope), alice))
		c.wantStep("what was allowed just now", alice, auth.StepCode, "scope", scope)
	}
}

// An app that may not refresh would keep its access token after the logout, and take the place of a
// browser, for nothing.
func TestOnlyAnAppThatMayRefreshIsOffline(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	shop := c.app("shop", func(c *auth.Client) { c.GrantTypes = []string{auth.GrantAuthorizationCode} })
	alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
	if asks := c.request("scope", "openid offline_access").Asks(); slices.Contains(asks, "offline_access") {
		t.Errorf("a user is asked for %v", asks)
	}
	grant, err := c.redeem(shop, c.code(alice, "scope", "openid offline_access"))
	must(t, err)
	must(t, c.Sessions.Logout(t.Context(), alice.Access))
	c.wantMe("after the logout", grant, auth.ErrInvalidToken)
}

// A client that demands a role from now on must not let in whoever has a code from before.
func TestACodeIsNoGoodForWhoeverTheClientNoLongerAdmits(t *testing.T) {
	t.Parallel()
	c, _, alice := shopWithAlice(t)
	code := c.code(alice)
	c.setRole("clerk")
	role := "clerk"
	shop, err := c.Clients.Set(t.Context(), authtest.Operator(), "shop",
		auth.ClientChange{RequiredRole: &role}, nil)
	must(t, err)
	if _, err := c.redeem(shop, code); !errors.Is(err, auth.ErrInvalidCode) {
		t.Errorf("without the role: %v", err)
	}
}

// An app would get more by the next refresh, and its users would know of nothing.
func TestUsersAreAskedAnewBeforeAnAppMayHaveMoreThanTheyAllowed(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	yes := true
	for name, test := range map[string]struct {
		ask    bool
		scope  string
		change auth.ClientChange
		anew   bool
	}{
		"a wider scope":    {true, "wiki:read", auth.ClientChange{Scope: text("wiki:read wiki:write")}, true},
		"another scope":    {true, "wiki:read", auth.ClientChange{Scope: text("wiki:write")}, true},
		"all rights":       {true, "wiki:read", auth.ClientChange{Scope: text("")}, true},
		"it is to ask":     {false, "", auth.ClientChange{Ask: &yes}, true},
		"a narrower scope": {true, "wiki:read wiki:write", auth.ClientChange{Scope: text("wiki:read")}, false},
		"the first scope":  {true, "", auth.ClientChange{Scope: text("wiki:read")}, false},
		"another title":    {true, "wiki:read", auth.ClientChange{Title: text("Wiki")}, false},
		"it does not ask":  {false, "wiki:read", auth.ClientChange{Scope: text("")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startClocked(t)
			c.register("alice")
			shop := c.app("shop", func(c *auth.Client) { c.Ask, c.Scope = test.ask, test.scope })
			alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
			before := c.request("scope", "openid")
			if test.ask {
				must(t, c.Authorizations.Allow(t.Context(), before, alice))
			}
			grant, err := c.redeem(shop, c.code(alice, "scope", "openid"))
			must(t, err)
			code := c.code(alice, "scope", "openid")
			shop, err = c.Clients.Set(t.Context(), authtest.Operator(), "shop", test.change, nil)
			must(t, err)

			_, err = c.Tokens.Refresh(t.Context(), grant.RefreshToken, auth.Caller{Client: shop})
			if errors.Is(err, auth.ErrInvalidGrant) != test.anew || !test.anew && err != nil {
				t.Errorf("a refresh: %v", err)
			}
			_, err = c.redeem(shop, code)
			if errors.Is(err, auth.ErrInvalidCode) != test.anew || !test.anew && err != nil {
				t.Errorf("a code from before: %v", err)
			}
			if !test.anew {
				return
			}
			_, err = c.Authorizations.Issue(t.Context(), before, alice)
			if !errors.Is(err, auth.ErrSessionNotFound) {
				t.Errorf("a request that was decided before: %v", err)
			}
			c.wantStep("afterwards", alice, auth.StepConsent, "scope", "openid")
		})
	}
}

// What an app is about to get while its user takes everything back would outlive that.
func TestNoLoginThatIsUnderWayOutlivesAConsentThatIsTakenBack(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	of := auth.Reach{UserID: c.register("alice").ID, AllClients: true}
	shop := c.app("shop", func(c *auth.Client) { c.Ask = true })
	alice := c.browser(c.inBrowser("alice", auth.BrowserLogin{}).Cookie)
	request := c.request()
	withdraw := func() error { return c.Consents.Withdraw(t.Context(), of, "shop") }
	allow := func() { must(t, c.Authorizations.Allow(t.Context(), request, alice)) }
	const everything = "LOCK TABLE audit_events IN SHARE MODE" // waits for it before it is done

	allow()
	letGo := c.hold(everything)
	var to string
	issued := c.sendOff(0, func() (err error) {
		to, err = c.Authorizations.Issue(t.Context(), request, alice)
		return err
	})
	withdrawn := c.sendOff(1, withdraw)
	letGo()
	must(t, <-issued)
	must(t, <-withdrawn)
	_, err := c.redeem(shop, codeIn(t, to))
	c.want("a code that was being made", err, auth.ErrInvalidCode)

	allow()
	code := c.code(alice)
	letGo = c.hold(everything)
	var grant auth.Grant
	redeemed := c.sendOff(0, func() (err error) { grant, err = c.redeem(shop, code); return err })
	withdrawn = c.sendOff(1, withdraw)
	letGo()
	must(t, <-redeemed)
	must(t, <-withdrawn)
	_, err = c.Tokens.Refresh(t.Context(), grant.RefreshToken, auth.Caller{Client: shop})
	c.want("a session that was being started", err, auth.ErrInvalidGrant)

	_, err = c.Authorizations.Issue(t.Context(), request, alice)
	c.want("a code that was decided before", err, auth.ErrSessionNotFound)
	must(t, c.Authorizations.Allow(t.Context(), c.request("scope", "openid"), alice))
	_, err = c.Authorizations.Issue(t.Context(), request, alice)
	c.want("a code for more than is allowed now", err, auth.ErrSessionNotFound)
}
