package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

const passwordGrantOff = "Passwords are not exchanged for tokens here"

// startWithoutPasswords starts a service with the password grant, and one without it, on the same
// database.
func startWithoutPasswords(t *testing.T) (on *audited, off *fixture) {
	t.Helper()
	on = startAudited(t, settings{})
	return on, start(t, settings{passwordGrantOff: true, databaseURL: on.database,
		issuer: "https://id.test"})
}

// A single way that stays open makes the setting worthless. A refusal that depends on the password
// lets anybody guess at it, past all limits.
func TestWithoutThePasswordGrantNoPasswordGetsTokens(t *testing.T) {
	t.Parallel()
	on, off := startWithoutPasswords(t)
	_, _, err := on.rules.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "app", Title: "App", GrantTypes: []string{auth.GrantPassword}})
	must(t, err)
	_, secret, err := on.rules.Clients.Add(t.Context(), authtest.Operator(), auth.Client{ID: "job",
		Title: "Job", Confidential: true, GrantTypes: []string{auth.GrantClientCredentials}})
	must(t, err)
	right := url.Values{"username": {"alice"}, "password": {goodPassword}}.Encode()
	form := func(fields string, header ...string) answered {
		return off.do(off.request("POST", "/token", fields,
			append([]string{"Content-Type", formType}, header...)...))
	}
	for name, test := range map[string]struct {
		answer answered
		told   string // action and target
	}{
		"the grant":             {form("grant_type=password&" + right), "login gatehouse"},
		"as FastAPI's clients":  {form(right), "login gatehouse"},
		"an empty grant_type":   {form("grant_type=&" + right), "login gatehouse"},
		"a wrong password":      {form("username=alice&password=wrong"), "login gatehouse"},
		"an unknown user":       {form("username=nobody&password=wrong"), "login gatehouse"},
		"no password":           {form("grant_type=password"), "login gatehouse"},
		"a client":              {form("client_id=app&" + right), "login app"},
		"one without the grant": {form(right, "Authorization", basic("job", secret)), "login job"},
	} {
		off.want(name, test.answer, http.StatusBadRequest)
		if got := test.answer.json(t, "error"); got != "unsupported_grant_type" ||
			test.answer.json(t, "detail") != passwordGrantOff {
			t.Errorf("%s: %s", name, test.answer.body)
		}
		on.wantRefusedPassword(name, test.answer, test.told)
	}
	for name, body := range map[string]string{
		"another password": `{"username": "alice", "current_password": "` + goodPassword +
			`", "new_password": "another good password"}`,
		"anything else": `{}`,
	} {
		answer := off.do(off.request("POST", "/token/password", body, "Content-Type",
			"application/json"))
		off.want(name, answer, http.StatusBadRequest)
		if answer.json(t, "detail") != passwordGrantOff {
			t.Errorf("%s: %s", name, answer.body)
		}
		on.wantRefusedPassword(name, answer, "password.change gatehouse")
	}
	if got := counted(t, off.metrics, "gatehouse_logins_total", "password_grant_off"); got != 10 {
		t.Errorf("%v are counted", got)
	}
	on.want("alice's password is as it was", on.login("alice", goodPassword), http.StatusOK)
}

// wantRefusedPassword checks that a refusal is told once, that it names no user, and that it gives
// no device away.
func (a *audited) wantRefusedPassword(name string, answer answered, told string) {
	a.Helper()
	events := a.events(url.Values{"request_id": {answer.header.Get("X-Request-Id")}})
	if len(events) != 1 {
		a.Fatalf("%s: %d events: %v", name, len(events), events)
	}
	e := events[0]
	action, _ := e["action"].(string)
	target, _ := e["target"].(string)
	if action+" "+target != told || e["outcome"] != "password_grant_off" || e["user"] != nil {
		a.Errorf("%s: %v, want %s", name, e, told)
	}
	if answer.header["Set-Cookie"] != nil || answer.header["Gatehouse-Device"] != nil {
		a.Errorf("%s: %v", name, answer.header)
	}
}

// Who is logged in stays so. Whoever asks what the service can do must not be sent to a door that
// is shut.
func TestWithoutThePasswordGrantAllElseGoesOnAndTheMetadataSaysSo(t *testing.T) {
	t.Parallel()
	on, off := startWithoutPasswords(t)
	off.want("an access token", off.as(on.alice, "GET", "/users/me", ""), http.StatusOK)
	off.want("a refresh", off.refreshed(on.alice.refresh), http.StatusOK)
	off.want("one's own password", off.as(on.alice, "PUT", "/users/me/password",
		`{"current_password": "`+goodPassword+`", "new_password": "another good password"}`),
		http.StatusOK)
	for f, has := range map[*fixture]bool{on.fixture: true, off: false} {
		metadata := f.do(f.request("GET", "/.well-known/oauth-authorization-server", ""))
		grants, _ := metadata.json(t, "grant_types_supported").([]any)
		if slices.Contains(grants, any("password")) != has ||
			!slices.Contains(grants, any("refresh_token")) ||
			!slices.Contains(grants, any("client_credentials")) {
			t.Errorf("grants: %v", grants)
		}
		contract := f.do(f.request("GET", "/openapi.json", ""))
		flows := contract.json(t, "components", "securitySchemes", "OAuth2PasswordBearer", "flows",
			"password")
		if (flows != nil) != has {
			t.Errorf("the contract has the flow: %v, want %v", flows, has)
		}
		if contract.json(t, "components", "securitySchemes", "OAuth2PasswordBearer", "flows",
			"authorizationCode") == nil {
			t.Error("the contract has no flow by an authorization code")
		}
		if yaml := f.do(f.request("GET", "/openapi.yaml", "")); strings.Contains(yaml.body,
			"\n        password:\n          tokenUrl: ") != has {
			t.Errorf("the contract in YAML has the flow: %v", !has)
		}
	}
}
