package httpapi

import (
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// sessionsSeen returns the ids of the sessions that a token is shown. current is the token's own
// session.
func (f *fixture) sessionsSeen(held tokens) (seen []string, current string) {
	f.Helper()
	a := f.as(held, "GET", "/users/me/sessions", "")
	f.want("sessions", a, 200)
	for _, one := range a.json(f, "sessions").([]any) {
		session := one.(map[string]any)
		seen = append(seen, session["id"].(string))
		if session["current"] == true {
			current = session["id"].(string)
		}
	}
	slices.Sort(seen)
	return seen, current
}

func sessionOf(t testing.TB, held tokens) string { return claimsOf(t, held.access)["sid"].(string) }

// accountRoutes are the routes that only a first-party program of the account's owner should use.
func accountRoutes(session string) [][3]string {
	return [][3]string{
		{"GET", "/users/me/sessions", ""}, {"DELETE", "/users/me/sessions/" + session, ""},
		{"DELETE", "/users/me/sessions", ""},
		{"DELETE", "/users/me/sessions?all=true", ""},
		{"PUT", "/users/me/password",
			`{"current_password":"` + goodPassword + `","new_password":"another good password"}`},
		{"GET", "/users/me/data", ""},
		{"DELETE", "/users/me", `{"current_password":"` + goodPassword + `"}`},
	}
}

// A program with a token for one thing could log its user out everywhere, and see from where the
// user logs in.
func TestANarrowedTokenDoesNothingToTheAccount(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.with("alice", "files:read", "gatehouse:*")
	shop := f.confidential("shop")
	bounded := f.program("bounded",
		auth.Client{Confidential: true, Scope: "files:*",
			GrantTypes: []string{auth.GrantPassword, auth.GrantRefreshToken}})
	owner := f.tokensOf(f.login("alice", goodPassword))
	whole := func(p program) tokens { return f.tokensOf(f.loginBy(p, "alice")) }
	narrow := func(p program, scope string) tokens {
		return f.tokensOf(f.post(p, "/token", "grant_type", "refresh_token", "refresh_token",
			whole(p).refresh, "scope", scope))
	}
	login := func() tokens {
		return f.tokensOf(f.loginBy(program{}, "alice", "scope", "files:read"))
	}
	for name, held := range map[string]tokens{
		"login":            login(),
		"login, refreshed": f.tokensOf(f.refreshed(login().refresh)),
		"login for all": f.tokensOf(
			f.loginBy(program{}, "alice", "scope", "files:read gatehouse:*")),
		"refresh":         narrow(program{}, "files:read"),
		"refresh for all": narrow(program{}, "files:read gatehouse:*"),
		"another client's login": f.tokensOf(
			f.loginBy(shop, "alice", "scope", "files:read")),
		"another client's refresh": narrow(shop, "files:read"),
		"login of a client with a bound": f.tokensOf(
			f.loginBy(bounded, "alice", "scope", "files:read")),
		"within the rights of an admin": narrow(program{}, "gatehouse:sessions.end"),
	} {
		for _, r := range accountRoutes(sessionOf(t, owner)) {
			a := f.as(held, r[0], r[1], r[2])
			f.want(name+", "+r[0]+" "+r[1], a, 403)
			if got := a.header.Get(
				"WWW-Authenticate"); got != `Bearer realm="gatehouse", error="insufficient_scope"` {
				t.Errorf("%s, %s %s: %s", name, r[0], r[1], got)
			}
		}
		f.want(name+", own user", f.as(held, "GET", "/users/me", ""), 200)
		f.want(name+", logout of itself", f.as(held, "POST", "/logout", ""), 204)
		f.want(name+", after it", f.as(held, "GET", "/users/me", ""), 401)
	}
	f.want("the owner goes on", f.as(owner, "GET", "/users/me", ""), 200)
}

// Otherwise a mail client that is taken over could end the sessions of first-party programs, and
// see from where they come.
func TestATokenOfAnotherClientReachesThatClientsSessionsAlone(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	held := map[string]tokens{"own": f.with("alice", "files:read")}
	both := []string{auth.GrantPassword, auth.GrantRefreshToken}
	mail, shop := f.confidential("mail"), f.confidential("shop")
	bounded := f.program("bounded",
		auth.Client{Confidential: true, Scope: "other:*", GrantTypes: both})
	phone := f.program("phone", auth.Client{FirstParty: true, GrantTypes: both})
	all := []string{sessionOf(t, held["own"])}
	for name, p := range map[string]program{"own 2": {}, "mail": mail, "mail 2": mail, "shop": shop,
		"bounded": bounded, "phone": phone} {
		held[name] = f.tokensOf(f.loginBy(p, "alice"))
		all = append(all, sessionOf(t, held[name]))
	}
	slices.Sort(all)
	for name, want := range map[string]string{"own": "*", "phone": "*", "mail": "mail,mail 2",
		"shop": "shop", "bounded": "bounded"} {
		var ids []string
		for one := range strings.SplitSeq(want, ",") {
			if one != "*" {
				ids = append(ids, sessionOf(t, held[one]))
			}
		}
		if slices.Sort(ids); want == "*" {
			ids = all
		}
		if seen, current := f.sessionsSeen(held[name]); !slices.Equal(seen, ids) ||
			current != sessionOf(t, held[name]) {
			t.Errorf("%s sees %v, want %v", name, seen, ids)
		}
	}
	for _, name := range []string{"mail", "bounded"} {
		for _, other := range []string{"own", "phone", "shop"} {
			f.want(name+" ends "+other,
				f.as(held[name], "DELETE", "/users/me/sessions/"+sessionOf(t, held[other]), ""),
				404)
		}
		f.want(name+" changes the password",
			f.as(held[name], "PUT", "/users/me/password", accountRoutes("")[4][2]), 403)
		for _, r := range accountRoutes("")[5:] {
			f.want(name+", "+r[0]+" "+r[1], f.as(held[name], r[0], r[1], r[2]), 403)
		}
	}
	f.want("mail ends the others", f.as(held["mail"], "DELETE", "/users/me/sessions", ""), 204)
	f.want("bounded ends all", f.as(held["bounded"], "DELETE", "/users/me/sessions?all=true", ""),
		204)
	for name, want := range map[string]int{"own": 200, "own 2": 200, "phone": 200, "shop": 200,
		"mail": 200, "mail 2": 401, "bounded": 401} {
		f.want(name+" after it", f.as(held[name], "GET", "/users/me", ""), want)
	}
	f.want("mail ends its own",
		f.as(held["mail"], "DELETE", "/users/me/sessions/"+sessionOf(t, held["mail"]), ""), 204)
	f.want("the phone ends the shop's",
		f.as(held["phone"], "DELETE", "/users/me/sessions/"+sessionOf(t, held["shop"]), ""), 204)
	changed := f.as(held["phone"], "PUT", "/users/me/password", accountRoutes("")[4][2])
	f.want("the phone changes the password", changed, 200)
	if seen, _ := f.sessionsSeen(f.tokensOf(changed)); len(seen) != 1 {
		t.Errorf("after the change of the password there are %v", seen)
	}
}

// A refresh token that leaks from one client would be useful to all others.
func TestALogoutByRefreshTokenIsForItsOwnClient(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	mail, shop := f.confidential("mail"), f.confidential("shop")
	app := f.program("app",
		auth.Client{GrantTypes: []string{auth.GrantPassword, auth.GrantRefreshToken}})
	all := []program{mail, shop, app, {}}
	for _, owner := range all {
		held := f.tokensOf(f.loginBy(owner, "alice"))
		for _, other := range all {
			if other != owner {
				f.want(owner.id+"'s by "+other.id,
					f.post(other, "/logout", "refresh_token", held.refresh), 400)
			}
		}
		if owner.secret != "" {
			f.want("without its secret",
				f.post(program{id: owner.id}, "/logout", "refresh_token", held.refresh), 401)
			f.want("with another secret",
				f.post(program{owner.id, "guess"}, "/logout", "refresh_token", held.refresh), 401)
		}
		f.want("live", f.as(held, "GET", "/users/me", ""), 200)
		f.want(owner.id+"'s own", f.post(owner, "/logout", "refresh_token", held.refresh), 204)
		f.want("over", f.as(held, "GET", "/users/me", ""), 401)
		f.want("again", f.post(owner, "/logout", "refresh_token", held.refresh), 204)
	}
}

// The bound of such a client would be useless, because its tokens can change accounts.
func TestAFirstPartyClientHasNoBound(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	_, _, err := f.rules.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "phone", Title: "x", FirstParty: true, Scope: "files:read"})
	if wrong, ok := err.(auth.InputError); !ok || wrong[0].Field != "scope" {
		t.Errorf("%v", err)
	}
}
