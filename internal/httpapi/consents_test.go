package httpapi

import (
	"net/url"
	"testing"

	"gatehouse.example/internal/auth"
)

// allows gives a user a row of what an app may have.
func (a *audited) allows(username, client string) {
	a.Helper()
	a.exec("INSERT INTO consents (user_id, client_id, words) VALUES ($1, $2, '{openid,profile}')",
		a.idOf(username), client)
}

// consentsSeen are the clients of GET /users/me/consents, the newest first.
func (a *audited) consentsSeen(held tokens) (ids string) {
	a.Helper()
	answer := a.as(held, "GET", "/users/me/consents", "")
	a.want("consents", answer, 200)
	for _, one := range answer.json(a, "consents").([]any) {
		consent := one.(map[string]any)
		if consent["scope"] != "openid profile" {
			a.Errorf("the scope is %v", consent["scope"])
		}
		ids += " " + consent["client"].(map[string]any)["id"].(string)
	}
	return ids
}

// A program of the user must see and take back what its user has allowed, and nobody else's. What
// is taken back must not go on by a refresh token.
func TestAUserSeesAndTakesBackByAProgramWhatAppsMayHave(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	mail, shop := a.confidential("mail"), a.confidential("shop")
	bob := a.with("bob", "files:read")
	a.allows("alice", "mail")
	a.allows("alice", "shop")
	a.allows("bob", "mail")
	ofMail, ofShop := a.tokensOf(a.loginBy(mail, "alice")), a.tokensOf(a.loginBy(shop, "alice"))
	const list, one = "/users/me/consents", "/users/me/consents/shop"
	a.want("a list without a token", a.do(a.request("GET", list, "")), 401)
	a.want("one without a token", a.do(a.request("DELETE", one, "")), 401)
	narrowed := a.tokensOf(a.loginBy(program{}, "alice", "scope", "files:read"))
	a.want("a list for a narrowed token", a.as(narrowed, "GET", list, ""), 403)
	a.want("one by a narrowed token", a.as(narrowed, "DELETE", one, ""), 403)
	a.want("bob's, whom the shop has not asked", a.as(bob, "DELETE", one, ""), 404)
	a.want("by the token of another client", a.as(ofMail, "DELETE", one, ""), 404)
	for _, nobodys := range []string{"nothing", "%00", "%ff", "%27%20OR%201=1--", "gatehouse"} {
		a.want(nobodys, a.as(a.alice, "DELETE", list+"/"+nobodys, ""), 404)
	}
	for want, held := range map[string]tokens{" mail": ofMail, " shop": ofShop, " shop mail": a.alice} {
		if seen := a.consentsSeen(held); seen != want {
			t.Errorf("%q is seen, want %q", seen, want)
		}
	}
	a.want("own", a.as(a.alice, "DELETE", one, ""), 204)
	a.want("again", a.as(a.alice, "DELETE", one, ""), 404)
	a.want("a refresh of the shop", a.refreshBy(shop, ofShop.refresh), 400)
	a.want("an access token of the shop", a.as(ofShop, "GET", "/users/me", ""), 401)
	a.want("a refresh of another app", a.refreshBy(mail, ofMail.refresh), 200)
	if seen := a.consentsSeen(a.alice); seen != " mail" {
		t.Errorf("%q is left", seen)
	}
	if seen := a.consentsSeen(bob); seen != " mail" {
		t.Errorf("bob allows %q", seen)
	}
	events := a.events(url.Values{"action": {string(auth.ActionWithdrawConsent)}, "outcome": {"success"}})
	if len(events) != 1 || events[0]["target"] != "shop" {
		t.Errorf("the log has %v", events)
	}
}
