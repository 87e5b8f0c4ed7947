package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
)

// program is an OAuth client of the tests.
type program struct{ id, secret string }

func (f *fixture) program(id string, c auth.Client) program {
	f.Helper()
	c.ID, c.Title = id, "A client of the tests"
	_, secret, err := f.rules.Clients.Add(f.Context(), authtest.Operator(), c)
	must(f, err)
	return program{id, secret}
}

// confidential is a client with both grants.
func (f *fixture) confidential(id string) program {
	f.Helper()
	return f.program(id,
		auth.Client{Confidential: true,
			GrantTypes: []string{auth.GrantPassword, auth.GrantRefreshToken}})
}

// basic returns an Authorization header (RFC 6749 §2.3.1).
func (p program) basic() string {
	return "Basic " +
		base64.StdEncoding.EncodeToString(
			[]byte(url.QueryEscape(p.id)+":"+url.QueryEscape(p.secret)))
}

// post sends a form as the client, by Basic if it has a secret.
func (f *fixture) post(p program, path string, parameters ...string) answered {
	f.Helper()
	form := formFrom(parameters...)
	header := []string{"Content-Type", formType}
	switch {
	case p.secret != "":
		header = append(header, "Authorization", p.basic())
	case p.id != "":
		form.Set("client_id", p.id)
	}
	return f.do(f.request("POST", path, form.Encode(), header...))
}

func formFrom(parameters ...string) url.Values {
	form := url.Values{}
	for n := 0; n < len(parameters); n += 2 {
		form.Add(parameters[n], parameters[n+1])
	}
	return form
}

func (f *fixture) loginBy(p program, username string, more ...string) answered {
	f.Helper()
	return f.post(p, "/token",
		append([]string{"grant_type", "password", "username", username, "password", goodPassword},
			more...)...)
}

func (f *fixture) refreshBy(p program, raw string) answered {
	f.Helper()
	return f.post(p, "/token", "grant_type", "refresh_token", "refresh_token", raw)
}

func claimsOf(t testing.TB, raw string) map[string]any {
	t.Helper()
	decoded, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	must(t, err)
	var claims map[string]any
	must(t, json.Unmarshal(decoded, &claims))
	return claims
}

const basicChallenge = `Basic realm="gatehouse"`

// Whoever passes for a client without its secret gets its users' tokens.
func TestOnlyItsOwnSecretProvesAClient(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	shop, desk := f.confidential("shop"), f.confidential("desk")
	app := f.program("app", auth.Client{GrantTypes: []string{auth.GrantPassword}})
	banned := f.confidential("banned")
	must(t, f.rules.Clients.Disable(t.Context(), authtest.Operator(), "banned", nil))
	encode := func(text string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
	}
	const login = "grant_type=password&username=alice&password=correct+horse+battery+staple"
	inForm := func(id, secret string) string {
		return login + "&" + url.Values{"client_id": {id}, "client_secret": {secret}}.Encode()
	}
	for name, test := range map[string]struct {
		form          string
		authorization []string
		status        int
		says          string
	}{
		"Basic": {login, []string{shop.basic()}, 200, ""},
		"Basic, another case": {login,
			[]string{"bASIC " + strings.TrimPrefix(shop.basic(), "Basic ")}, 200, ""},
		"Basic, all of it encoded": {login,
			[]string{encode("%73%68op:" + strings.ReplaceAll(shop.secret, "_", "%5F"))}, 200, ""},
		"form":          {inForm("shop", shop.secret), nil, 200, ""},
		"public":        {inForm("app", ""), nil, 200, ""},
		"public, Basic": {login, []string{encode("app:")}, 200, ""},
		"first-party":   {inForm("gatehouse", ""), nil, 200, ""},
		"nobody":        {login, nil, 200, ""},
		// RFC 6749 §3.2.1
		"Basic and the id":          {login + "&client_id=shop", []string{shop.basic()}, 200, ""},
		"Basic, the rest is empty":  {inForm("", ""), []string{shop.basic()}, 200, ""},
		"public, Basic and the id":  {inForm("app", ""), []string{encode("app:")}, 200, ""},
		"a form left empty":         {inForm("", ""), []string{encode(":")}, 200, ""},
		"a bearer token goes along": {login, []string{"Bearer something"}, 200, ""},

		"both": {inForm("shop", shop.secret), []string{shop.basic()}, 400,
			"invalid_request"},
		"Basic and another's id": {login + "&client_id=desk", []string{shop.basic()}, 400,
			"invalid_request"},
		"Basic and the first party": {login + "&client_id=gatehouse", []string{shop.basic()}, 400,
			"invalid_request"},
		"Basic and the id otherwise": {login + "&client_id=Shop", []string{shop.basic()}, 400,
			"invalid_request"},
		"Basic and the secret": {login + "&client_secret=" + shop.secret,
			[]string{shop.basic()}, 400, "invalid_request"},
		"half of each": {inForm("shop", shop.secret), []string{encode("shop:")}, 400,
			"invalid_request"},
		"Basic of one, form of other": {inForm("desk", desk.secret), []string{shop.basic()}, 400,
			"invalid_request"},
		"secret without id": {inForm("", shop.secret), nil, 400, "invalid_request"},
		"id twice": {login + "&client_id=shop&client_id=desk", nil, 400,
			"invalid_request"},

		"no secret":        {inForm("shop", ""), nil, 401, "invalid_client"},
		"no secret, Basic": {login, []string{encode("shop:")}, 401, "invalid_client"},
		"another's secret": {inForm("shop", desk.secret), nil, 401, "invalid_client"},
		"another's secret, Basic": {login, []string{program{"shop", desk.secret}.basic()}, 401,
			"invalid_client"},
		"secret cut": {inForm("shop", shop.secret[:len(shop.secret)-1]), nil, 401,
			"invalid_client"},
		"secret with more": {inForm("shop", shop.secret+"a"), nil, 401,
			"invalid_client"},
		"id in another case":     {inForm("Shop", shop.secret), nil, 401, "invalid_client"},
		"unknown":                {inForm("nobody", shop.secret), nil, 401, "invalid_client"},
		"unknown without secret": {inForm("nobody", ""), nil, 401, "invalid_client"},
		"disabled": {inForm("banned", banned.secret), nil, 401,
			"invalid_client"},
		"public with a secret": {inForm(app.id, shop.secret), nil, 401, "invalid_client"},
		"first-party with a secret": {inForm("gatehouse", shop.secret), nil, 401,
			"invalid_client"},
		"id that is no text": {inForm("a\x00b", "x"), nil, 401, "invalid_client"},
		"endless id": {inForm(strings.Repeat("a", 10000), "x"), nil, 401,
			"invalid_client"},
		"digest for a secret": {inForm("shop", strings.Repeat("\x00", 32)), nil, 401,
			"invalid_client"},
		"Basic without a colon": {login, []string{encode("shop")}, 401, "invalid_client"},
		"Basic that is no base64": {login, []string{"Basic shop:secret"}, 401,
			"invalid_client"},
		"Basic without credentials": {login, []string{"Basic"}, 401, "invalid_client"},
		"Basic, malformed escape":   {login, []string{encode("shop:%zz")}, 401, "invalid_client"},
		"Basic, secret without id": {login, []string{encode(":" + shop.secret)}, 401,
			"invalid_client"},
		"two headers": {login, []string{shop.basic(), desk.basic()}, 401,
			"invalid_client"},
		"a bearer token before Basic": {login, []string{"Bearer something", shop.basic()}, 401,
			"invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			header := []string{"Content-Type", formType}
			for _, line := range test.authorization {
				header = append(header, "Authorization", line)
			}
			a := f.do(f.request("POST", "/token", test.form, header...))
			said, _ := a.json(t, "error").(string)
			if a.status != test.status || said != test.says {
				t.Errorf("%d %s", a.status, a.body)
			}
			if got := a.header.Get(
				"WWW-Authenticate"); (got == basicChallenge) != (test.status == 401) {
				t.Errorf("WWW-Authenticate: %q", got)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" {
				t.Errorf("%v", a.header)
			}
		})
	}
}

// If an unknown client looked different from a wrong secret, anybody could find out which clients
// there are.
func TestRefusedClientsAreAlikeToTheByte(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	shop := f.confidential("shop")
	banned := f.confidential("banned")
	must(t, f.rules.Clients.Disable(t.Context(), authtest.Operator(), "banned", nil))
	const want = `{"error":"invalid_client","error_description":"Client authentication failed","detail":"Client authentication failed"}` + "\n"
	for _, path := range []string{"/token", "/introspect", "/revoke"} {
		for name, p := range map[string]program{
			"unknown": {"nobody", shop.secret}, "wrong secret": {"shop", "guess"},
			"disabled": banned, "disabled and wrong": {"banned", "guess"},
		} {
			a := f.post(p, path, "token", "x", "username", "alice", "password", "guess")
			if a.status != http.StatusUnauthorized || a.body != want ||
				a.header.Get("WWW-Authenticate") != basicChallenge {
				t.Errorf("%s, %s: %d %s", path, name, a.status, a.body)
			}
		}
	}
}

func TestATokenSaysWhichClientItIsForAndARefreshTokenIsOfUseToNoOther(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	shop, desk := f.confidential("shop"), f.confidential("desk")
	app := f.program("app",
		auth.Client{GrantTypes: []string{auth.GrantPassword, auth.GrantRefreshToken}})
	all := []program{shop, desk, app, {}}
	for _, owner := range all {
		first := f.tokensOf(f.loginBy(owner, "alice"))
		want := owner.id
		if want == "" {
			want = "gatehouse"
		}
		if got := claimsOf(t, first.access)["client_id"]; got != want {
			t.Errorf("%q: client_id is %v", owner.id, got)
		}
		for _, other := range all {
			if other == owner {
				continue
			}
			a := f.refreshBy(other, first.refresh)
			if a.status != http.StatusBadRequest || a.json(t, "error") != "invalid_grant" {
				t.Errorf("%q's token used by %q: %d %s", owner.id, other.id, a.status, a.body)
			}
		}
		// Nothing has changed: the token was not used up, and its session goes on.
		second := f.tokensOf(f.refreshBy(owner, first.refresh))
		if got := claimsOf(t, second.access)["client_id"]; got != want {
			t.Errorf("%q, refreshed: client_id is %v", owner.id, got)
		}
		third := f.tokensOf(f.refreshBy(owner, second.refresh))
		for _, other := range all { // not even a used token ends the session of another client
			if other != owner {
				f.want("used up, of another", f.refreshBy(other, first.refresh), 400)
			}
		}
		f.want("live", f.as(third, "GET", "/users/me", ""), 200)
	}
}

func TestAClientGetsTokensByItsOwnGrantsOnly(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	asks := f.program("asks", auth.Client{Confidential: true})
	once := f.program("once", auth.Client{GrantTypes: []string{auth.GrantPassword}})
	for name, a := range map[string]answered{
		"no grant": f.loginBy(asks, "alice"), "no refresh": f.refreshBy(once, "ghr_x"),
		"no refresh either": f.refreshBy(asks, "ghr_x"),
	} {
		if a.status != http.StatusBadRequest || a.json(t, "error") != "unauthorized_client" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	login := f.loginBy(once, "alice")
	f.want("login", login, 200)
	if _, there := login.json(t).(map[string]any)["refresh_token"]; there {
		t.Errorf("a refresh token that is of no use: %s", login.body)
	}
	f.want("unknown grant", f.post(asks, "/token", "grant_type", "implicit"), 400)
}

// A client's bound would be useless if roles, a refresh or a change of the password got around it.
func TestATokenPermitsNoMoreThanItsClientMay(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.root()
	f.with("alice", "files:*", "books:read", "gatehouse:users.read")
	both := []string{auth.GrantPassword, auth.GrantRefreshToken}
	for bound, test := range map[string]struct{ scope, asked, granted string }{
		"files:read":             {"files:read", "files:read", "files:read"},
		"files:read files:write": {"files:read files:write", "files:write", "files:write"},
		"files:* books:*":        {"books:read files:*", "files:read", "files:read"},
		"books:write":            {"", "", ""},
		"other:*":                {"", "", ""},
		// Gatehouse's own permissions are not among all: an app in which an administrator logs in
		// must not become one.
		"": {"books:read files:*", "books:read", "books:read"},
		"gatehouse:*": {"gatehouse:users.read", "gatehouse:users.read",
			"gatehouse:users.read"},
	} {
		p := f.program("c"+strings.NewReplacer(":", "-", "*", "all", " ", "_").Replace(bound),
			auth.Client{Confidential: true, GrantTypes: both, Scope: bound})
		login := f.loginBy(p, "alice")
		if got := scopeOf(t, login); got != test.scope {
			t.Errorf("%q: scope is %q", bound, got)
		}
		held := f.tokensOf(login)
		claims := claimsOf(t, held.access)
		if _, has := claims["roles"]; has != (bound == "") {
			t.Errorf("%q: roles are %v", bound, claims["roles"])
		}
		if got := f.as(held, "GET", "/users",
			"").status; got != map[bool]int{true: 200, false: 403}[bound == "gatehouse:*"] {
			t.Errorf("%q: the admin API says %d", bound, got)
		}
		if got := scopeOf(t, f.refreshBy(p, held.refresh)); got != test.scope {
			t.Errorf("%q, refreshed: scope is %q", bound, got)
		}
		if test.asked != "" {
			if got := f.loginBy(p, "alice", "scope", test.asked).json(t,
				"scope"); got != test.granted {
				t.Errorf("%q, asked for %q: scope is %q", bound, test.asked, got)
			}
		}
		if bound != "gatehouse:*" {
			a := f.loginBy(p, "alice", "scope", "gatehouse:users.read")
			if a.status != 400 || a.json(t, "error") != "invalid_scope" {
				t.Errorf("%q, asked for more: %d %s", bound, a.status, a.body)
			}
		}
	}
}

// A library for OpenID Connect asks for openid, profile and email. Its users must not lose their
// rights by that, nor gain any.
func TestWordsOfOpenIDConnectInAScopeNarrowNoToken(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.with("alice", "files:read", "files:write")
	shop := f.confidential("shop")
	for asked, want := range map[string]string{
		"openid": "files:read files:write", "openid profile groups": "files:read files:write",
		"openid files:read": "files:read", "files:read email": "files:read",
	} {
		login := f.loginBy(shop, "alice", "scope", asked)
		f.want("login for "+asked, login, 200)
		held := f.tokensOf(login)
		if got := scopeOf(t, login); got != want {
			t.Errorf("login for %q: %q", asked, got)
		}
		if roles := claimsOf(t, held.access)["roles"]; (roles != nil) != (want == "files:read files:write") {
			t.Errorf("login for %q has the roles %v", asked, roles)
		}
		whole := f.tokensOf(f.loginBy(shop, "alice"))
		refreshed := f.post(shop, "/token", "grant_type", "refresh_token", "refresh_token",
			whole.refresh, "scope", asked)
		f.want("refresh for "+asked, refreshed, 200)
		if got := scopeOf(t, refreshed); got != want {
			t.Errorf("refresh for %q: %q", asked, got)
		}
	}
	for _, asked := range []string{"openid books:read", "openid gatehouse:*", "OPENID", "openid  "} {
		f.want("login for "+asked, f.loginBy(shop, "alice", "scope", asked), 400)
	}
}

// After the bound of a client has changed, and while an older replica gives Gatehouse's permissions
// to clients, a token of before still ends its own client's sessions.
func TestATokenFromBeforeItsClientsBoundChangedIsNotTakenForANarrowedOne(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.root()
	f.with("alice", "files:read", "gatehouse:users.read")
	phone := f.program("phone", auth.Client{FirstParty: true, GrantTypes: []string{auth.GrantPassword}})
	held := f.tokensOf(f.loginBy(phone, "alice"))
	f.want("an administrator", f.as(held, "GET", "/users", ""), 200)
	no := false
	_, err := f.rules.Clients.Set(t.Context(), authtest.Operator(), "phone",
		auth.ClientChange{FirstParty: &no}, nil)
	must(t, err)
	f.want("sessions of the client", f.as(held, "GET", "/users/me/sessions", ""), 200)
	f.want("a narrowed one", f.as(f.tokensOf(f.loginBy(phone, "alice", "scope", "files:read")), "GET",
		"/users/me/sessions", ""), 403)
}

// An app that lets in the holders of a role must not be entered by others, by the password or by a
// session of before.
func TestNobodyGetsATokenByAClientWhoseRoleTheyDoNotHave(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	held := f.with("clerk", "files:read")
	f.want("register", f.register("alice", goodPassword), 201)
	grants := []string{auth.GrantPassword, auth.GrantRefreshToken}
	desk := f.program("desk", auth.Client{Confidential: true, GrantTypes: grants, RequiredRole: "clerk"})
	session := f.tokensOf(f.loginBy(desk, "clerk"))
	session = f.tokensOf(f.refreshBy(desk, session.refresh))
	refused := func(name string, a answered) {
		t.Helper()
		if a.status != 400 || a.json(t, "error") != "invalid_grant" ||
			a.json(t, "detail") != "The account may not use this client" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	refused("without the role", f.loginBy(desk, "alice"))
	f.want("by another client", f.loginBy(program{}, "alice"), 200)
	must(t, f.rules.Roles.Revoke(t.Context(), authtest.Operator(), f.idOf("clerk"), "clerk"))
	refused("refresh after the loss", f.refreshBy(desk, session.refresh))
	refused("login after the loss", f.loginBy(desk, "clerk"))
	f.want("refresh by another client", f.refreshed(held.refresh), 200)
	must(t, f.rules.Roles.Grant(t.Context(), authtest.Operator(), f.idOf("clerk"), "clerk"))
	f.want("refresh with the role again", f.refreshBy(desk, session.refresh), 200)
	if a := f.as(f.root(), "DELETE", "/roles/clerk", ""); a.status != 409 ||
		!strings.Contains(a.json(t, "detail").(string), "lets only holders of the role in") {
		t.Errorf("the role is deleted: %d %s", a.status, a.body)
	}
	_, _, err := f.rules.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "none", Title: "x", RequiredRole: "nothing"})
	if !errors.Is(err, auth.ErrRoleNotFound) {
		t.Errorf("a role that is none: %v", err)
	}
}

// scopeOf returns the scope of a token response. It is "" if the response has none, since an empty
// scope cannot be written (RFC 6749 §3.3).
func scopeOf(t testing.TB, a answered) string {
	t.Helper()
	scope, there := a.json(t).(map[string]any)["scope"]
	if there && scope == "" {
		t.Errorf("an empty scope: %s", a.body)
	}
	text, _ := scope.(string)
	return text
}

func TestAnEmptyScopeIsLeftOut(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	desk := f.program("desk", auth.Client{Confidential: true})
	f.want("register", f.register("alice", goodPassword), 201)
	login := f.login("alice", goodPassword)
	held := f.tokensOf(login)
	for name, text := range map[string]string{
		"login": login.body, "refresh": f.refreshed(held.refresh).body,
		"of the access token": f.introspect(desk, held.access).body,
	} {
		if strings.Contains(text, `"scope"`) || strings.Contains(text, `"active":false`) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if scope, there := claimsOf(t, held.access)["scope"]; there {
		t.Errorf("the access token has %v", scope)
	}
}

func (f *fixture) introspect(p program, raw string, more ...string) answered {
	f.Helper()
	return f.post(p, "/introspect", append([]string{"token", raw}, more...)...)
}

const inactiveBody = `{"active":false}` + "\n"

func TestIntrospectionTellsOfALiveTokenWhatItSays(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	desk := f.program("desk", auth.Client{Confidential: true})
	shop := f.confidential("shop")
	f.with("alice", "files:read")
	held := f.tokensOf(f.loginBy(shop, "alice"))
	claims := claimsOf(t, held.access)
	for _, hint := range []string{"", "access_token", "refresh_token", "nonsense"} {
		a := f.introspect(desk, held.access, "token_type_hint", hint)
		f.want("access token", a, 200)
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control: %s", a.header.Get("Cache-Control"))
		}
		got := a.json(t).(map[string]any)
		want := map[string]any{
			"active": true, "scope": "files:read", "client_id": "shop", "username": "alice",
			"token_type": "bearer", "exp": claims["exp"],
			"iat": claims["iat"], "sub": f.idOf("alice").String(), "aud": "test",
			"iss": "https://id.test", "jti": claims["jti"],
			"acr": "aal1", "amr": []any{"pwd"}, "auth_time": claims["auth_time"],
		}
		if !equalJSON(t, []map[string]any{got}, []map[string]any{want}) {
			t.Errorf("hint %q: %s, want %v", hint, a.body, want)
		}
	}
	before := f.sessionRow(held.access)
	own := f.introspect(shop, held.refresh).json(t).(map[string]any)
	if own["active"] != true || own["client_id"] != "shop" || own["username"] != "alice" ||
		own["sub"] != f.idOf("alice").String() ||
		own["scope"] != "files:read" || own["token_type"] != nil || own["aud"] != nil ||
		own["jti"] != nil || own["acr"] != "aal1" || own["auth_time"] != claims["auth_time"] {
		t.Errorf("refresh token: %v", own)
	}
	if exp, _ := own["exp"].(float64); time.Until(time.Unix(int64(exp), 0)) < 13*24*time.Hour {
		t.Errorf("refresh token: %v", own)
	}
	if a := f.introspect(desk, held.refresh); a.body != inactiveBody {
		t.Errorf("another's refresh token: %s", a.body)
	}
	if after := f.sessionRow(held.access); after != before {
		t.Errorf("to ask has changed the session from %s to %s", before, after)
	}
	f.want("refresh after all", f.refreshBy(shop, held.refresh), 200)
}

// sessionRow is all that is stored of a token's session.
func (f *fixture) sessionRow(access string) (row string) {
	f.Helper()
	id, _ := claimsOf(f, access)["sid"].(string)
	state, err := f.store.SessionByID(f.Context(), uuid.MustParse(id))
	must(f, err)
	state.Now = time.Time{}
	return fmt.Sprintf("%+v", state)
}

func TestATokenThatIsGoodForNothingIsExactlyInactive(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	shop := f.confidential("shop")
	f.root()
	f.with("alice", "files:read")
	login := func() tokens { return f.tokensOf(f.loginBy(shop, "alice")) }
	live := login()
	inactive := func(name, raw string) {
		t.Helper()
		if a := f.introspect(shop, raw); a.status != 200 || a.body != inactiveBody {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	active := func(name, raw string) {
		t.Helper()
		if a := f.introspect(shop, raw); a.json(t, "active") != true {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	both := func(name string, held tokens) {
		t.Helper()
		inactive(name+", access token", held.access)
		inactive(name+", refresh token", held.refresh)
	}
	inactive("no token", "trash")
	inactive("malformed refresh token", "ghr_trash")
	inactive("forged",
		signWith(t, live.access, jwt.SigningMethodHS256,
			"another signing key, with 32 bytes or more"))
	inactive("expired",
		resign(t, live.access, nil, map[string]any{"exp": time.Now().Add(-6 * time.Second).Unix()}))
	active("for a service", resign(t, live.access, nil, map[string]any{"aud": "other"}))
	inactive("of another user",
		resign(t, live.access, nil, map[string]any{"sub": f.idOf("root").String()}))
	inactive("refresh token of another key", live.refresh[:len(live.refresh)-4]+"AAAA")
	active("live", live.access)
	next := f.tokensOf(f.refreshBy(shop, live.refresh))
	inactive("used up, within the grace", live.refresh)
	active("its successor", next.refresh)
	active("the older access token", live.access)

	ended := login()
	f.want("logout", f.as(ended, "POST", "/logout", ""), 204)
	both("logged out", ended)
	before := login()
	must(t, f.rules.Roles.Grant(t.Context(), authtest.Operator(), f.idOf("alice"), "admin"))
	inactive("of before a role", before.access)
	active("the session goes on", before.refresh)
	must(t, f.rules.Roles.Revoke(t.Context(), authtest.Operator(), f.idOf("alice"), "admin"))
	_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	both("of a disabled user", next)
	_, err = f.rules.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	banned := f.confidential("banned")
	held := f.tokensOf(f.loginBy(banned, "alice"))
	active("of a client", held.access)
	must(t, f.rules.Clients.Disable(t.Context(), authtest.Operator(), "banned", nil))
	inactive("of a disabled client", held.access)
	f.want("at the service itself", f.as(held, "GET", "/users/me", ""), 401)
	deleted := login()
	must(t, f.rules.Accounts.Delete(t.Context(), authtest.Operator(), f.idOf("alice")))
	both("of a deleted user", deleted)
}

func TestOnlyConfidentialClientsMayAsk(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	live := f.loggedIn("alice")
	public := f.program("app", auth.Client{})
	desk := f.program("desk", auth.Client{Confidential: true})
	for name, a := range map[string]answered{
		"nobody": f.introspect(program{}, live), "a public client": f.introspect(public, live),
		"the first-party client": f.introspect(program{id: "gatehouse"}, live),
		"a user": f.do(f.request("POST", "/introspect", "token="+live, "Content-Type", formType,
			"Authorization", "Bearer "+live)),
	} {
		if a.status != http.StatusUnauthorized || a.json(t, "error") != "invalid_client" ||
			a.header.Get("WWW-Authenticate") != basicChallenge {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	f.want("by the form",
		f.do(f.request("POST", "/introspect",
			url.Values{"token": {live}, "client_id": {"desk"},
				"client_secret": {desk.secret}}.Encode(), "Content-Type", formType)), 200)
	f.want("without a token", f.introspect(desk, ""), 400)
	f.want("with two", f.post(desk, "/introspect", "token", live, "token", live), 400)
	f.want("in the URL",
		f.do(f.request("POST", "/introspect?token="+live, "", "Content-Type", formType,
			"Authorization", desk.basic())), 400)
	f.want("as JSON",
		f.do(f.request("POST", "/introspect", "{}", "Content-Type", jsonType, "Authorization",
			desk.basic())), 415)
}

func TestRevokingEitherTokenEndsTheSession(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	shop := f.confidential("shop")
	for _, p := range []program{shop, {}} {
		for name, pick := range map[string]func(tokens) string{
			"access token":  func(h tokens) string { return h.access },
			"refresh token": func(h tokens) string { return h.refresh },
		} {
			held, other := f.tokensOf(f.loginBy(p, "alice")), f.tokensOf(f.loginBy(p, "alice"))
			f.want(name, f.post(p, "/revoke", "token", pick(held), "token_type_hint", "nonsense"),
				200)
			f.want(name+": access", f.as(held, "GET", "/users/me", ""), 401)
			f.want(name+": refresh", f.refreshBy(p, held.refresh), 400)
			f.want(name+", again", f.post(p, "/revoke", "token", pick(held)), 200)
			f.want(name+": another session", f.as(other, "GET", "/users/me", ""), 200)
		}
		f.want("unknown", f.post(p, "/revoke", "token", "trash"), 200)
		f.want("forged", f.post(p, "/revoke", "token", "ghr_"+strings.Repeat("A", 75)), 200)
		f.want("of somewhere else", f.post(p, "/revoke", "token", "eyJhbGciOiJub25lIn0.e30."), 200)
		f.want("none", f.post(p, "/revoke"), 400)
	}
}

func TestATokenOfAnotherClientIsNotRevoked(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	shop, desk := a.confidential("shop"), a.confidential("desk")
	for _, owner := range []program{shop, {}} {
		held := a.tokensOf(a.loginBy(owner, "alice"))
		before := a.tables()
		for _, raw := range []string{held.access, held.refresh} {
			refused := a.post(desk, "/revoke", "token", raw)
			if refused.status != http.StatusBadRequest ||
				refused.json(t, "error") != "invalid_grant" {
				t.Errorf("%d %s", refused.status, refused.body)
			}
			if told := a.told(refused); len(told) != 1 || told[0] != "token.revoke other_client" {
				t.Errorf("the log has %q", told)
			}
		}
		if a.tables() != before {
			t.Error("something has changed")
		}
		revoked := a.post(owner, "/revoke", "token", held.refresh)
		a.want("by its own client", revoked, 200)
		if told := a.told(revoked); len(told) != 1 || told[0] != "token.revoke success" {
			t.Errorf("the log has %q", told)
		}
		e := a.events(url.Values{"request_id": {revoked.header.Get("X-Request-Id")}})[0]
		if want := fmt.Sprint(claimsOf(t, held.access)["sid"], " ",
			claimsOf(t, held.access)["client_id"]); e["target"] != want {
			t.Errorf("the log has %v, want %s", e["target"], want)
		}
	}
}

// A client that is disabled while its login is checked must not have a session afterwards.
func TestNoSessionStartsForADisabledClient(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	f.confidential("shop")
	must(t, f.rules.Clients.Disable(t.Context(), authtest.Operator(), "shop", nil))
	caller := auth.Caller{Client: auth.Client{ID: "shop", GrantTypes: []string{auth.GrantPassword}}}
	if _, err := f.rules.Logins.Login(t.Context(), "alice", goodPassword,
		caller); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("%v", err)
	}
	must(t, f.rules.Clients.Enable(t.Context(), authtest.Operator(), "shop", nil))
	_, err := f.rules.Logins.Login(t.Context(), "alice", goodPassword, caller)
	must(t, err)
}

func TestBothSecretsAreGoodDuringARotationAndNoThird(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	first := f.confidential("shop")
	proves := func(secret string) bool {
		return f.post(program{"shop", secret}, "/introspect", "token", "x").status == http.StatusOK
	}
	rotate := func() string {
		secret, err := f.rules.Clients.RotateSecret(t.Context(), authtest.Operator(), "shop")
		must(t, err)
		return secret
	}
	want := func(step string, secrets []string, good ...bool) {
		t.Helper()
		for n, secret := range secrets {
			if proves(secret) != good[n] {
				t.Errorf("%s: secret %d proves the client: %v", step, n+1, !good[n])
			}
		}
	}
	second := rotate()
	want("rotated", []string{first.secret, second}, true, true)
	third := rotate()
	want("rotated again", []string{first.secret, second, third}, false, true, true)
	must(t, f.rules.Clients.RetireSecret(t.Context(), authtest.Operator(), "shop"))
	want("retired", []string{first.secret, second, third}, false, false, true)
	must(t, f.rules.Clients.RetireSecret(t.Context(), authtest.Operator(), "shop"))
	want("retired again", []string{third}, true)
	f.program("app", auth.Client{})
	if _, err := f.rules.Clients.RotateSecret(t.Context(), authtest.Operator(),
		"app"); !errors.Is(err, auth.ErrClientPublic) {
		t.Errorf("a public client: %v", err)
	}
	if _, err := f.rules.Clients.RotateSecret(t.Context(), authtest.Operator(),
		"nobody"); !errors.Is(err, auth.ErrClientNotFound) {
		t.Errorf("no client: %v", err)
	}
}

// If the database cannot be asked, nobody must hear that a token is inactive or revoked.
func TestWithoutADatabaseNothingIsSaidOfAToken(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	live := f.tokensOf(f.loginNew("alice"))
	desk := f.confidential("desk")
	f.store.Close()
	f.want("introspection", f.introspect(desk, live.access), 503)
	f.want("revocation", f.post(program{}, "/revoke", "token", live.access), 503)
	f.want("revocation by refresh token", f.post(program{}, "/revoke", "token", live.refresh), 503)
}

func FuzzBasicCredentials(f *testing.F) {
	for _, line := range []string{"Basic c2hvcDpzZWNyZXQ=", "basic  Og==", "Basic c2hvcA==",
		"Bearer x", "Basic JTczOiU3Mw==", "Basic \n", ""} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		id, secret, err := parseBasic([]string{line})
		if err != nil {
			if !errors.Is(err, auth.ErrInvalidClient) || id != "" || secret != "" {
				t.Fatalf("%q %q %v", id, secret, err)
			}
			return
		}
		if id == "" && secret != "" {
			t.Fatalf("a secret of nobody: %q", secret)
		}
		if again, same, err := parseBasic([]string{program{id, secret}.basic()}); err != nil ||
			again != id || same != secret {
			t.Fatalf("%q %q written and read again: %q %q %v", id, secret, again, same, err)
		}
	})
}

// job makes a client that gets tokens for itself, with a role of the same name that has these
// permissions.
func (f *fixture) job(id string, permissions ...auth.Permission) program {
	f.Helper()
	p := f.program(id,
		auth.Client{Confidential: true, GrantTypes: []string{auth.GrantClientCredentials}})
	_, _, err := f.rules.Roles.Set(f.Context(), authtest.Operator(), id, auth.RoleEdit{Permissions: permissions},
		auth.Condition{})
	must(f, err)
	must(f, f.rules.Clients.GrantRole(f.Context(), authtest.Operator(), id, id))
	return p
}

func (f *fixture) ownToken(p program, more ...string) answered {
	f.Helper()
	return f.post(p, "/token", append([]string{"grant_type", "client_credentials"}, more...)...)
}

func (f *fixture) verified(access string) answered {
	f.Helper()
	return f.do(f.request("GET", "/verify", "", "Authorization", "Bearer "+access))
}

func TestAClientGetsATokenOfItsOwnForWhatItsRolesPermit(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	job := f.job("job", "files:*", "gatehouse:users.read")
	given := f.ownToken(job)
	f.want("token", given, 200)
	if _, there := given.json(t).(map[string]any)["refresh_token"]; there ||
		given.json(t, "scope") != "files:* gatehouse:users.read" {
		t.Errorf("%s", given.body)
	}
	held := f.tokensOf(given)
	claims := claimsOf(t, held.access)
	if claims["sub"] != "job" || claims["client_id"] != "job" ||
		fmt.Sprint(claims["roles"]) != "[job]" || claims["sid"] != nil ||
		claims["username"] != nil {
		t.Errorf("%v", claims)
	}
	if got := f.ownToken(job, "scope", "files:read").json(t, "scope"); got != "files:read" {
		t.Errorf("asked for less: %v", got)
	}
	f.want("asked for more", f.ownToken(job, "scope", "gatehouse:users.write"), 400)
	f.want("what it may", f.as(held, "GET", "/users", ""), 200)
	f.want("what it may not", f.as(held, "GET", "/roles", ""), 403)
	f.want("by less", f.as(f.tokensOf(f.ownToken(job, "scope", "files:read")), "GET", "/users", ""),
		403)
	seen := f.verified(held.access)
	f.want("at the proxy", seen, 204)
	if h := seen.header; h.Get("Remote-User") != "" || len(h["Remote-User"]) != 1 ||
		h.Get("Remote-User-Id") != "job" || h.Get("Remote-Groups") != "job" {
		t.Errorf("%v", h)
	}
	got := f.introspect(job, held.access).json(t).(map[string]any)
	if got["active"] != true || got["sub"] != "job" || got["client_id"] != "job" ||
		got["username"] != nil || got["scope"] != given.json(t, "scope") {
		t.Errorf("%v", got)
	}
}

// A token without a user must not pass for a user's, nor do what only users may do.
func TestAClientsOwnTokenIsNoUsers(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("job") // a user of the same name is somebody else
	job := f.job("job", "files:read")
	held := f.tokensOf(f.ownToken(job))
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/users/me", ""}, {"GET", "/users/me/sessions", ""},
		{"DELETE", "/users/me/sessions", ""}, {"POST", "/logout", ""},
		{"GET", "/users/me/data", ""},
		{"DELETE", "/users/me", `{"current_password":"` + goodPassword + `"}`},
		{"DELETE", "/users/me/sessions/" + uuid.NewString(), ""},
		{"PUT", "/users/me/password",
			`{"current_password":"` + goodPassword + `","new_password":"another good password"}`},
	} {
		f.want(r.method+" "+r.path, f.as(held, r.method, r.path, r.body), 401)
	}
	a := f.post(job, "/revoke", "token", held.access)
	if a.status != 400 || a.json(t, "error") != "unsupported_token_type" {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.want("it goes on", f.verified(held.access), 204)
	user := f.tokensOf(f.login("job", goodPassword)).access
	for name, raw := range map[string]string{
		"user's token without session": resign(t, user, nil, map[string]any{"sid": nil}),
		"user's token, client's sub":   resign(t, user, nil, map[string]any{"sub": "gatehouse"}),
		"sub of another client": resign(t, held.access, nil,
			map[string]any{"sub": "other"}),
		"client's token with a session": resign(t, held.access, nil,
			map[string]any{"sid": uuid.NewString()}),
		"client's token with the session": resign(t, held.access, nil,
			map[string]any{"sid": uuid.Nil.String()}),
		"client's token with a username": resign(t, held.access, nil,
			map[string]any{"username": "job"}),
		"no sub and no client_id": resign(t, held.access, nil,
			map[string]any{"sub": "", "client_id": ""}),
		"client that does not exist": resign(t, held.access, nil,
			map[string]any{"sub": "other", "client_id": "other"}),
		"client with a user's id": resign(t, held.access, nil,
			map[string]any{"sub": f.idOf("job").String(), "client_id": f.idOf("job").String()}),
		"the first-party client": resign(t, held.access, nil,
			map[string]any{"sub": "gatehouse", "client_id": "gatehouse"}),
		"older version":         resign(t, held.access, nil, map[string]any{"ver": 1}),
		"version of the future": resign(t, held.access, nil, map[string]any{"ver": 3}),
	} {
		f.want(name, f.verified(raw), 401)
	}
}

func TestOnlyConfidentialClientsWithTheGrantGetTokensOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for name, p := range map[string]program{
		"first-party": {}, "without the grant": f.confidential("shop"),
		"public": f.program("app", auth.Client{GrantTypes: []string{auth.GrantPassword}}),
	} {
		if a := f.ownToken(p); a.status != 400 || a.json(t, "error") != "unauthorized_client" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	job := f.job("job")
	if a := f.ownToken(program{id: "job"}); a.status != 401 {
		t.Errorf("without its secret: %d %s", a.status, a.body)
	}
	f.want("for users", f.loginBy(job, "alice"), 400)
	wide := f.program("wide",
		auth.Client{Confidential: true, GrantTypes: []string{auth.GrantClientCredentials},
			Scope: "files:read"})
	_, _, err := f.rules.Roles.Set(t.Context(), authtest.Operator(), "keeper",
		auth.RoleEdit{Permissions: []auth.Permission{"files:*", "gatehouse:*"}}, auth.Condition{})
	must(t, err)
	must(t, f.rules.Clients.GrantRole(t.Context(), authtest.Operator(), "wide", "keeper"))
	a := f.ownToken(wide)
	if raw, _ := a.json(t, "access_token").(string); a.json(t, "scope") != "files:read" ||
		claimsOf(t, raw)["roles"] != nil ||
		f.as(tokens{access: raw}, "GET", "/users", "").status != 403 {
		t.Errorf("beyond its bound: %s", a.body)
	}
	if _, _, err := f.rules.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "bad", Title: "x",
			GrantTypes: []string{auth.GrantClientCredentials}}); err == nil {
		t.Error("a public client has the grant")
	}
}

// Each of these takes rights from a client. Its earlier tokens must be refused by the database, and
// by the revocations that replicas follow.
func TestWhatChangesAClientRevokesItsOwnTokens(t *testing.T) {
	t.Parallel()
	f := startAudited(t, settings{})
	job := f.job("job", "files:read", "gatehouse:users.read")
	_, _, err := f.rules.Roles.Set(t.Context(), authtest.Operator(), "spare", auth.RoleEdit{}, auth.Condition{})
	must(t, err)
	ctx := t.Context()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"role granted",
			func() error {
				return f.rules.Clients.GrantRole(ctx, authtest.Operator(), "job", "spare")
			}},
		{"role changed", func() error {
			_, _, err := f.rules.Roles.Set(ctx, authtest.Operator(), "spare",
				auth.RoleEdit{Permissions: []auth.Permission{"books:read"}}, auth.Condition{})
			return err
		}},
		{"role taken",
			func() error {
				return f.rules.Clients.RevokeRole(ctx, authtest.Operator(), "job", "spare")
			}},
		{"granted again",
			func() error {
				return f.rules.Clients.GrantRole(ctx, authtest.Operator(), "job", "spare")
			}},
		{"role deleted",
			func() error {
				return f.rules.Roles.Delete(ctx, authtest.Operator(), "spare", auth.Condition{})
			}},
		{"disabled",
			func() error { return f.rules.Clients.Disable(ctx, authtest.Operator(), "job", nil) }},
	} {
		held := f.tokensOf(f.ownToken(job))
		f.want(step.name+", before", f.verified(held.access), 204)
		before := f.heard(job.id)
		must(t, step.do())
		f.want(step.name, f.verified(held.access), 401)
		f.want(step.name+", at the API", f.as(held, "GET", "/users", ""), 401)
		if f.heard(job.id) != before+1 {
			t.Errorf("%s: %d revocations, and %d before", step.name, f.heard(job.id), before)
		}
		if a := f.introspect(f.confidential("asks"+strings.ReplaceAll(step.name, " ", "-")),
			held.access); a.body != inactiveBody {
			t.Errorf("%s: %s", step.name, a.body)
		}
	}
	f.want("a disabled client", f.ownToken(job), 401)
	must(t, f.rules.Clients.Enable(ctx, authtest.Operator(), "job", nil))
	held := f.tokensOf(f.ownToken(job))
	// it has this role already
	must(t, f.rules.Clients.GrantRole(ctx, authtest.Operator(), "job", "job"))
	must(t, f.rules.Clients.RevokeRole(ctx, authtest.Operator(), "job", "admin"))
	f.want("nothing has changed", f.verified(held.access), 204)
	for name, err := range map[string]error{
		"no such role":   f.rules.Clients.GrantRole(ctx, authtest.Operator(), "job", "nothing"),
		"no such client": f.rules.Clients.GrantRole(ctx, authtest.Operator(), "nobody", "job"),
	} {
		if !errors.Is(err, auth.ErrRoleNotFound) && !errors.Is(err, auth.ErrClientNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// heard counts the revocations of a client's own tokens that every replica hears of.
func (a *audited) heard(clientID string) (n int) {
	a.Helper()
	must(a, a.owner.QueryRow(a.Context(), "SELECT count(*) FROM revocations WHERE user_id = $1",
		token.ClientSubject(clientID)).Scan(&n))
	return n
}

func TestTheAuditLogTellsWhatAClientDidForItself(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	job := a.job("job", "gatehouse:roles.write", "gatehouse:audit.read")
	given := a.ownToken(job)
	held := a.tokensOf(given)
	for name, test := range map[string]struct {
		answer answered
		status int
		told   string
	}{
		"issued":  {given, 200, "token.issue success"},
		"refused": {a.ownToken(job, "scope", "other:read"), 400, "token.issue invalid_scope"},
		"done": {a.as(held, "PUT", "/roles/job",
			`{"permissions":["gatehouse:audit.read","gatehouse:roles.write"]}`), 200, "role.set success"},
		"may not": {a.as(held, "GET", "/users", ""), 403, "authorize forbidden"},
	} {
		a.want(name, test.answer, test.status)
		found := a.events(url.Values{"request_id": {test.answer.header.Get("X-Request-Id")}})
		if len(found) != 1 ||
			fmt.Sprint(found[0]["action"], " ", found[0]["outcome"]) != test.told ||
			found[0]["user"] != nil {
			t.Fatalf("%s: %v", name, found)
		}
		actor := found[0]["actor"].(map[string]any)
		if who, _ := actor["user"].(map[string]any); actor["kind"] != "client" ||
			who["username"] != "job" || who["id"] != token.ClientSubject("job").String() {
			t.Errorf("%s: %v", name, actor)
		}
	}
	// A token from before a loss of rights must not keep them.
	must(t, a.rules.Clients.RevokeRole(t.Context(), authtest.Operator(), "job", "job"))
	a.want("of before", a.as(held, "PUT", "/roles/job", `{"permissions":[]}`), 401)
	before := a.tables()
	a.exec(dbtest.BreakAudit)
	a.want("without an event", a.ownToken(job), 500)
	a.exec(dbtest.MendAudit)
	if a.tables() != before {
		t.Error("something has changed")
	}
}
