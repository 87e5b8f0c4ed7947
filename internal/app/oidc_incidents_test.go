package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

// as sends a request with an access token.
func (f *flow) as(access, method, path, body string) answer {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), method, f.p.issuer+path,
		strings.NewReader(body))
	must(f, err)
	request.Header.Set("Authorization", "Bearer "+access)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	return f.p.do(request)
}

func (f *flow) wantStatus(when string, status int, a answer) {
	f.Helper()
	if a.status != status {
		f.Errorf("%s: %d %s, want %d", when, a.status, a.body, status)
	}
}

// payloadOf is what a token says, whoever signed it.
func payloadOf(t testing.TB, raw string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(raw, claims)
	must(t, err)
	return claims
}

// code injection: an attacker slips a code of the attacker's own login into the victim's, so that
// the victim works in the attacker's account. By PKCE the service refuses the code. Without PKCE
// the app sees a foreign nonce (RFC 9700 §4.5.3).
func TestACodeOfAnotherLoginDoesNotPassForOnesOwn(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	for name, withoutPKCE := range map[string]bool{"by PKCE": false, "without PKCE": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			victim := p.flow(t, func(c *auth.Client) { c.WithoutPKCE = withoutPKCE })
			attacker := p.flow(t)
			attacker.app = victim.app
			stolen := attacker.request()
			code := attacker.code(stolen, attacker.logIn(attacker.authorize(stolen)))
			own := victim.request()
			injected := victim.exchange(victim.app, own, code)
			if !withoutPKCE {
				victim.wantRefused("the attacker's code", injected, 400, "invalid_grant")
				return
			}
			got := victim.granted(injected, victim.app, stolen.query.Get("nonce"))
			if got.claims["nonce"] == own.query.Get("nonce") {
				t.Error("the victim's app cannot tell the attacker's code from its own")
			}
		})
	}
}

// An ID token that an app got must be of no use to another app: it would tell that app whether a
// user of the first is here.
func TestAnIDTokenIsAHintOfItsOwnAppAndUserAlone(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	f, other := p.flow(t), p.flow(t)
	first := f.app
	own, others := f.first(), other.first()
	f.app = f.register()
	f.refused("invalid_request", "id_token_hint", own.ID)
	f.refused("invalid_request", "id_token_hint", own.Access)
	f.app = other.app
	f.refused("login_required", "id_token_hint", others.ID, "prompt", "none")
	if page := f.authorize(f.request("id_token_hint", others.ID)); page.away ||
		!strings.HasSuffix(page.at.Path, "/login") {
		t.Errorf("somebody else than the app means goes on to %s", page.at)
	}
	f.app = first
	f.again("id_token_hint", own.ID)
}

// An app that names its user in claims must get that user or none (OpenID Connect Core §3.1.2.2):
// it would show one person's things to another.
func TestAnAppThatNamesItsUserInClaimsGetsNoOther(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	f, other := p.flow(t), p.flow(t)
	named := func(sub any, of string) string {
		claims, err := json.Marshal(map[string]any{"id_token": map[string]any{"sub": map[string]any{of: sub}}})
		must(t, err)
		return string(claims)
	}
	own, others := f.first(), other.first()
	sub, theirs := own.claims["sub"], others.claims["sub"]
	for _, claims := range []string{
		named(sub, "value"), named([]any{theirs, sub}, "values"), `{"id_token":{"sub":null}}`,
		`{"id_token":{"sub":{"essential":true}}}`, `{"userinfo":{"sub":{"value":"x"}}}`,
	} {
		if got := f.again("claims", claims, "prompt", "none"); got.claims["sub"] != sub {
			t.Errorf("%s: %v", claims, got.claims)
		}
	}
	f.refused("login_required", "claims", named(theirs, "value"), "prompt", "none")
	f.refused("login_required", "claims", named(uuid.NewString(), "value"), "prompt", "none")
	f.refused("invalid_request", "claims", named("alice", "value"))
	f.refused("invalid_request", "claims", named("", "value"))
	f.refused("invalid_request", "claims", named(strings.ToUpper(sub.(string)), "value"))
	f.refused("invalid_request", "claims", named(7, "value"))
	f.refused("invalid_request", "claims", named(theirs, "value"), "id_token_hint", own.ID)
	f.again("claims", named(sub, "value"), "id_token_hint", own.ID)

	// The other one logs in, and the app gets whom it meant.
	s := f.request("claims", named(theirs, "value"))
	page := f.authorize(s)
	if page.away || !strings.HasSuffix(page.at.Path, "/login") {
		t.Fatalf("somebody else than the app means goes on to %s", page.at)
	}
	page = f.logIn(page)
	if page.away || !strings.HasSuffix(page.at.Path, "/login") {
		t.Fatalf("after a login as the same user again: %s", page.at)
	}
	code := f.code(s, f.browser.submit(page, "username", other.username, "password", goodPassword))
	if got := f.redeem(s, code); got.claims["sub"] != theirs {
		t.Errorf("the app gets %v", got.claims)
	}
}

// issuer mix-up: an attacker's issuer sends the browser on to an honest one, and the app takes the
// honest one's code to the attacker. An app of two issuers refuses an answer that does not name the
// one that it has asked (RFC 9207 §2.4). So each answer must name its issuer, and no other.
func TestAnAppOfTwoIssuersIsNotMixedUp(t *testing.T) {
	t.Parallel()
	providers := []*provider{startProvider(t, ""), startProvider(t, "/tenant")}
	for n, p := range providers {
		other := providers[1-n].issuer
		if p.metadata["authorization_response_iss_parameter_supported"] != true ||
			p.metadata["issuer"] != p.issuer {
			t.Errorf("the metadata of %s: %v", p.issuer, p.metadata)
		}
		f := p.flow(t)
		f.first()
		answers := map[string]func(s sent) stop{
			"code": f.authorize,
			"access_denied": func(s sent) stop {
				return f.browser.submit(f.authorize(s), "choice", "deny")
			},
		}
		for name, change := range map[string][]string{
			"code": nil, "access_denied": {"prompt", "consent"},
			"login_required":            {"prompt", "none", "max_age", "0"},
			"consent_required":          {"prompt", "none", "client_id", f.register(asked).ID},
			"invalid_request":           {"code_challenge", ""},
			"invalid_scope":             {"scope", "openid Ä"},
			"unsupported_response_type": {"response_type", "token"},
			"request_not_supported":     {"request", "x.y.z"},
			"invalid_target":            {"resource", "https://other.example/"},
		} {
			s := f.request(change...)
			get := answers[name]
			if get == nil {
				get = f.authorize
			}
			at := get(s)
			said := at.at.Query()
			if !at.away || said.Get("error") != name && !(name == "code" && said.Has("code")) {
				t.Errorf("%s: the browser is at %s: %d %s", name, at.at, at.status, at.body)
			}
			if iss := said["iss"]; !slices.Equal(iss, []string{p.issuer}) || iss[0] == other {
				t.Errorf("%s: the answer of %s names %q", name, p.issuer, iss)
			}
		}
	}
}

func asked(c *auth.Client) { c.Ask = true }

// An app would otherwise get more of its user than it was given, or another user.
func TestUserInfoTellsWhatTheTokenIsForAndToNoOtherToken(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "", "--algorithm=HS256") // so that the test can sign
	f := p.flow(t, func(c *auth.Client) {
		c.GrantTypes = append(c.GrantTypes, auth.GrantClientCredentials)
	})
	must(t, p.give(f.username, "clerk", "files:read", "files:write"))
	info := p.endpoint("userinfo_endpoint")

	narrow := f.first("scope", "openid files:read")
	if narrow.Scope != "files:read" {
		t.Errorf("scope %q", narrow.Scope)
	}
	wantTold(f, narrow)
	narrower := f.granted(f.refresh(f.app, f.again("scope", "openid profile").Refresh, "scope", "files:read"),
		f.app, "")
	wantTold(f, narrower, "name", "preferred_username", "updated_at")

	s := f.request("scope", "files:read") // no login by OpenID Connect
	var plain struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	must(t, json.Unmarshal([]byte(f.exchange(f.app, s, f.code(s, f.authorize(s))).body), &plain))
	f.wantStatus("without openid", 403, f.get(info, plain.Access))
	if plain.ID != "" {
		t.Error("an app that did not ask for openid got an ID token")
	}

	forAudience := func(audience string) string {
		ring, err := token.SecretRing([][]byte{[]byte(secretKey)})
		must(t, err)
		issuer, err := token.NewIssuer(token.Settings{
			Ring: ring, Issuer: p.issuer, Audience: audience, Lifetime: time.Hour,
		})
		must(t, err)
		said := payloadOf(t, narrow.Access)
		signed, err := issuer.Issue(time.Now(), token.Subject{
			UserID: uuid.MustParse(said["sub"].(string)), SessionID: uuid.MustParse(said["sid"].(string)),
			Username: f.username, Version: int64(said["ver"].(float64)), ClientID: f.app.ID,
		}, time.Hour)
		must(t, err)
		return signed
	}
	f.wantStatus("as the service signs", 200, f.get(info, forAudience("gatehouse")))
	f.wantStatus("for another service", 401, f.get(info, forAudience("another")))
	f.wantStatus("an ID token", 401, f.get(info, narrow.ID))
	f.wantStatus("a refresh token", 401, f.get(info, narrow.Refresh))
	var its struct {
		Access string `json:"access_token"`
	}
	must(t, json.Unmarshal([]byte(
		f.ask(f.app, "token_endpoint", "grant_type", "client_credentials").body), &its))
	f.wantStatus("the client's own", 401, f.get(info, its.Access))
}

// give makes a role, and gives it to a user.
func (p *provider) give(username, role string, permissions ...auth.Permission) error {
	p.Helper()
	_, _, err := p.admin.Roles.Set(p.Context(), authtest.Operator(), role, auth.RoleEdit{Permissions: permissions}, auth.Condition{})
	if err != nil {
		return err
	}
	return p.grant(username, role)
}

func (p *provider) grant(username, role string) error {
	p.Helper()
	user, err := p.admin.Accounts.Find(p.Context(), auth.ByName(username))
	if err != nil {
		return err
	}
	return p.admin.Roles.Grant(p.Context(), authtest.Operator(), user.ID, role)
}

// Apps know an account again by sub. One that differs makes two people of one.
func TestAUserHasOneNameInEveryAnswer(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	f := p.flow(t)
	got := f.first()
	want := got.claims["sub"]
	said := map[string]any{
		"access token": payloadOf(t, got.Access)["sub"], "userinfo": f.userInfo(got)["sub"],
		"refreshed": f.granted(f.refresh(f.app, got.Refresh), f.app, "").claims["sub"],
	}
	var introspected map[string]any
	var me struct{ User struct{ ID string } }
	must(t, json.Unmarshal(
		[]byte(f.ask(f.app, "introspection_endpoint", "token", got.Access).body), &introspected))
	must(t, json.Unmarshal([]byte(f.as(got.Access, "GET", "/users/me", "").body), &me))
	said["introspection"], said["/users/me"] = introspected["sub"], me.User.ID
	for _, algorithm := range []token.Algorithm{"RS256", "ES256", "EdDSA"} {
		f.app = f.register(func(c *auth.Client) { c.IDTokenAlgorithm = algorithm })
		said["another app by "+string(algorithm)] = f.again().claims["sub"]
	}
	for where, sub := range said {
		if sub != want {
			t.Errorf("%s: %v, want %v", where, sub, want)
		}
	}
}

// An app that is taken over must not take over the accounts of those who log in to it, least of all
// that of an administrator.
func TestAnAppOfAnAdministratorIsNoAdministrator(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	f := p.flow(t)
	must(t, p.grant(f.username, "admin"))
	plain := f.first()
	asked := f.again("scope", "openid gatehouse:*")
	browser := f.sessionsOf("")
	for name, held := range map[string]grantedTokens{"plain": plain, "that asked for it": asked} {
		for _, path := range []string{"/users", "/roles", "/clients", "/audit"} {
			f.wantStatus(name+" GET "+path, 403, f.as(held.Access, "GET", path, ""))
		}
		f.wantStatus(name+" changes the password", 403, f.as(held.Access, "PUT", "/users/me/password",
			`{"current_password":"`+goodPassword+`","new_password":"another good password"}`))
		f.wantStatus(name+" takes the data", 403, f.as(held.Access, "GET", "/users/me/data", ""))
		f.wantStatus(name+" deletes the account", 403, f.as(held.Access, "DELETE", "/users/me",
			`{"current_password":"`+goodPassword+`"}`))
	}
	f.wantStatus("it ends the browser's session", 404,
		f.as(plain.Access, "DELETE", "/users/me/sessions/"+browser[0], ""))
	if seen := f.sessionsSeen(plain.Access); len(seen) == 0 || slices.Contains(seen, browser[0]) {
		t.Errorf("it sees %v, and %v is the browser's", seen, browser)
	}

	first := f.app
	f.app = f.register(func(c *auth.Client) { c.Scope = string(auth.ReadUsers) })
	named := f.again()
	f.wantStatus("what --scope names", 200, f.as(named.Access, "GET", "/users", ""))
	f.wantStatus("what --scope does not name", 403, f.as(named.Access, "GET", "/roles", ""))
	f.wantStatus("the account", 403, f.as(named.Access, "GET", "/users/me/data", ""))
	if seen := f.sessionsSeen(named.Access); !slices.Equal(seen, f.sessionsOf(f.app.ID)) {
		t.Errorf("it sees %v", seen)
	}
	f.app = f.register(func(c *auth.Client) { c.FirstParty = true })
	own := f.again()
	f.wantStatus("a first-party app", 200, f.as(own.Access, "GET", "/roles", ""))
	f.wantStatus("the account of a first-party app", 200, f.as(own.Access, "GET", "/users/me/data", ""))
	f.app = first
}

// sessionsOf are the user's sessions at a client, or with "" the browsers'.
func (f *flow) sessionsOf(client string) (ids []string) {
	f.Helper()
	rows, err := connect(f, f.p.databaseURL).Query(f.Context(), `
		SELECT s.id::text FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE u.username = $1 AND s.ended_at IS NULL AND coalesce(s.client_id, '') = $2 ORDER BY 1`,
		f.username, client)
	must(f, err)
	defer rows.Close()
	for rows.Next() {
		var id string
		must(f, rows.Scan(&id))
		ids = append(ids, id)
	}
	must(f, rows.Err())
	return ids
}

func (f *flow) sessionsSeen(access string) (ids []string) {
	f.Helper()
	a := f.as(access, "GET", "/users/me/sessions", "")
	f.wantStatus("its sessions", 200, a)
	var seen struct{ Sessions []struct{ ID string } }
	must(f, json.Unmarshal([]byte(a.body), &seen))
	for _, one := range seen.Sessions {
		ids = append(ids, one.ID)
	}
	slices.Sort(ids)
	return ids
}
