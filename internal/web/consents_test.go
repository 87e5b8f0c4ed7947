package web_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
)

// askingAndTold is an app that asks, and that is told of logouts.
func askingAndTold(c *auth.Client) {
	c.Ask, c.BackchannelLogoutURI = true, "https://shop.example/logout"
}

// letsIn makes the user of a browser allow the shop what it asks for, and returns what it gets.
func (a *audited) letsIn(b *browser, as, scope string) auth.Grant {
	a.Helper()
	return a.grant(a.shop, b.post("/consent", "as", as, "choice", "allow", "next",
		request("scope", scope)))
}

func (a *audited) refresh(g auth.Grant) error {
	_, err := a.rules.Tokens.Refresh(a.Context(), g.RefreshToken, auth.Caller{Client: a.shop})
	return err
}

// logoutsQueued counts what is to be told to apps.
func (a *audited) logoutsQueued() (n int) {
	a.Helper()
	must(a, a.owner.QueryRow(a.Context(),
		"SELECT count(*) FROM river_job WHERE kind = 'backchannel_logout'").Scan(&n))
	return n
}

// Who takes back what an app may have believes that it has nothing more. It must not go on by an
// offline session, by a code, or without a question the next time.
func TestAnAppFromWhichItsUserTakesAllBackIsOutAndAsksAnew(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, askingAndTold)
	const card, offline = "Apps that you let in", "openid profile offline_access"
	if page := a.b.get("/account"); strings.Contains(page.body, card) {
		t.Errorf("an app is let in: %s", page.body)
	}
	online, away := a.letsIn(a.b, "alice", "openid profile"), a.letsIn(a.b, "alice", offline)
	code := a.b.get(request("scope", "openid"))
	bob := a.loggedInAs("bob")
	ofBob := a.letsIn(bob, "bob", offline)
	a.shows(a.b.get("/account"), 200, card, "The &lt;Shop&gt;", "your profile: your username",
		"access while you are away", ">today<", `name="client" value="shop"`)

	foreign := a.b.copied()
	foreign.site = "cross-site"
	a.shows(foreign.post("/account/apps", "as", "alice", "client", "shop"), 403)
	must(t, a.refresh(online))
	taken := a.b.post("/account/apps", "as", "alice", "client", "shop")
	a.sent(taken, "/account?notice=app_out")
	if told := a.told(taken); !slices.Equal(told,
		[]string{"consent.withdraw success by alice of alice shop"}) {
		t.Errorf("the log has %q", told)
	}
	page := a.b.get(taken.location())
	if a.shows(page, 200, "The app is logged out"); strings.Contains(page.body, card) {
		t.Errorf("the app is still let in: %s", page.body)
	}
	for name, grant := range map[string]auth.Grant{"with the browser": online, "offline": away} {
		if err := a.refresh(grant); !errors.Is(err, auth.ErrInvalidGrant) {
			t.Errorf("%s: a refresh: %v", name, err)
		}
		access, err := a.rules.Access.Authenticate(grant.AccessToken)
		must(t, err)
		if _, _, err := a.rules.Access.Me(t.Context(), access); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: an access token: %v", name, err)
		}
	}
	if _, err := a.rules.Tokens.Redeem(t.Context(), auth.CodeRedemption{
		Code: a.back(code).Get("code"), RedirectURI: callback, Verifier: verifier,
	}, auth.Caller{Client: a.shop}); !errors.Is(err, auth.ErrInvalidCode) {
		t.Errorf("a code of before: %v", err)
	}
	if n := a.logoutsQueued(); n != 2 {
		t.Errorf("the app is told of %d ends", n)
	}
	must(t, a.refresh(ofBob))
	if a.b.who() != "alice" || bob.who() != "bob" {
		t.Error("a browser is logged out")
	}

	a.wantError("quietly", a.b.get(request("prompt", "none")), "consent_required")
	a.shows(a.b.get(request()), 200, "wants to use your account")
	must(t, a.refresh(a.letsIn(a.b, "alice", "openid")))
}

// Whoever could name another's app would log others out.
func TestNobodyTakesBackWhatAnotherUserAllows(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, askingAndTold)
	grant := a.letsIn(a.b, "alice", "openid")
	bob := a.loggedInAs("bob")
	before := a.tables()
	own := bob.post("/account/apps", "as", "bob", "client", "shop")
	a.sent(own, "/account")
	if told := a.told(own); !slices.Equal(told,
		[]string{"consent.withdraw consent_not_found by bob of bob shop"}) {
		t.Errorf("the log has %q", told)
	}
	a.sent(bob.post("/account/apps", "as", "alice", "client", "shop"), "/account?notice=other_user")
	a.sent(a.browser().post("/account/apps", "as", "alice", "client", "shop"),
		"/login?next=%2Faccount")
	if a.tables() != before {
		t.Error("something was taken back")
	}
	must(t, a.refresh(grant))
}

// An app that asks for nothing but who is logged in would find no way in.
func TestAnAppThatWouldGetNothingMoreIsLetInAndTakenBackAsWell(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{}, asking)
	const nothing = "gatehouse:audit.read" // which an app does not get
	a.letsIn(a.b, "alice", nothing)
	a.shows(a.b.get("/account"), 200, "only that you are logged in")
	a.grant(a.shop, a.b.get(request("scope", nothing)))
	a.sent(a.b.post("/account/apps", "as", "alice", "client", "shop"), "/account?notice=app_out")
}
