package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
)

// challenge asks for a code, with a challenge if none is given.
func (f *fixture) challenge(p program, parameters ...string) answered {
	f.Helper()
	sum := sha256.Sum256([]byte(codeVerifier))
	all := map[string]string{
		"code_challenge":        base64.RawURLEncoding.EncodeToString(sum[:]),
		"code_challenge_method": "S256",
	}
	for n := 0; n < len(parameters); n += 2 {
		all[parameters[n]] = parameters[n+1]
	}
	var form []string
	for name, value := range all {
		form = append(form, name, value)
	}
	return f.post(p, "/authorize-challenge", form...)
}

// native is a registered program of the service's own.
func (f *fixture) native(id string) program {
	f.Helper()
	return f.program(id, auth.Client{FirstParty: true, RedirectURIs: []string{callback},
		GrantTypes: []string{auth.GrantAuthorizationCode, auth.GrantRefreshToken, auth.GrantPassword}})
}

// withApp gives a user an authenticator app, which shows the codes.
func (a *audited) withApp(username string) otp.Secret {
	a.Helper()
	id, secret := a.idOf(username), otp.NewSecret()
	a.exec("INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, $2, 0)", id,
		keychainOf(a, signingKey).Sealer(keychain.TOTPSecrets).Seal(id.String(), secret))
	return secret
}

// wantError checks the error of the challenge endpoint, and its status
// (draft-ietf-oauth-first-party-apps §5.2.2.1).
func (a *audited) wantError(name string, answer answered, want string) {
	a.Helper()
	status := http.StatusBadRequest
	if slices.Contains([]string{"insufficient_authorization", "redirect_to_web",
		"unmet_authentication_requirements"}, want) {
		status = http.StatusForbidden
	}
	if got := answer.json(a, "error"); answer.status != status || got != want {
		a.Errorf("%s: %d %s, want %d %s", name, answer.status, answer.body, status, want)
	}
}

func (f *fixture) redeemsProved(p program, code string) answered {
	f.Helper()
	return f.post(p, "/token", "grant_type", "authorization_code", "code", code,
		"code_verifier", codeVerifier)
}

// The whole conversation, as a program has it. The client that compares it with the contract is
// that of all tests here.
func TestAProgramLogsAUserInWithoutABrowser(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{issuer: "https://id.test"})
	metadata := a.do(a.request("GET", "/.well-known/oauth-authorization-server", ""))
	if at := metadata.json(t, "authorization_challenge_endpoint"); at != "https://id.test/authorize-challenge" {
		t.Errorf("the metadata says %v", at)
	}
	for name, p := range map[string]program{"built in": {}, "registered": a.native("phone")} {
		answer := a.challenge(p, "username", "alice", "password", goodPassword)
		a.want(name, answer, http.StatusOK)
		if answer.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v", name, answer.header)
		}
		code, _ := answer.json(t, "authorization_code").(string)
		got := a.tokensOf(a.redeemsProved(p, code))
		a.want(name+": me", a.as(got, "GET", "/users/me", ""), http.StatusOK)
		a.want(name+": refresh", a.post(p, "/token", "grant_type", "refresh_token", "refresh_token",
			got.refresh), http.StatusOK)
	}

	secret := a.withApp("alice")
	for name, begun := range map[string]answered{
		"the endpoint": a.challenge(program{}, "username", "alice", "password", goodPassword),
		"the grant":    a.login("alice", goodPassword),
		"another password": a.do(a.request("POST", "/token/password",
			`{"username": "alice", "current_password": "`+goodPassword+
				`", "new_password": "another good password"}`, "Content-Type", jsonType)),
	} {
		session, _ := begun.json(t, "auth_session").(string)
		factors, _ := begun.json(t, "factors").([]any)
		status := http.StatusBadRequest // RFC 6749 §5.2
		if name == "the endpoint" {
			status = http.StatusForbidden
		}
		if begun.status != status || session == "" || len(factors) != 1 || factors[0] != "otp" {
			t.Errorf("%s: %d %s", name, begun.status, begun.body)
		}
		if begun.json(t, "error") != "insufficient_authorization" && name != "another password" {
			t.Errorf("%s: %s", name, begun.body)
		}
		a.wantError(name+": nothing more", a.challenge(program{}, "auth_session", session),
			"insufficient_authorization")
		a.wantError(name+": a wrong code", a.challenge(program{}, "auth_session", session, "otp",
			"none"), "invalid_grant")
		a.wantError(name+": another client", a.challenge(a.native("phone-"+uuid.NewString()[:8]),
			"auth_session", session), "invalid_session")
	}
	begun := a.challenge(program{}, "username", "alice", "password", goodPassword)
	session, _ := begun.json(t, "auth_session").(string)
	done := a.challenge(program{}, "auth_session", session, "otp", secret.Code(otp.Step(time.Now())))
	a.want("the code", done, http.StatusOK)
	code, _ := done.json(t, "authorization_code").(string)
	a.want("the tokens", a.redeemsProved(program{}, code), http.StatusOK)
	a.wantError("used", a.challenge(program{}, "auth_session", session), "invalid_session")
	a.want("personal data", a.as(a.alice, "GET", "/users/me/data", ""), http.StatusOK)
}

// What an app asks the authorization endpoint for, it may ask for here, in its first step or for
// what the password grant has begun. An app would take an ID token without its nonce for a replayed
// one.
func TestTheChallengeEndpointTakesWhatTheAuthorizationEndpointTakes(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{issuer: "https://id.test"})
	p := a.program("phone", auth.Client{FirstParty: true, RedirectURIs: []string{callback},
		GrantTypes: []string{auth.GrantAuthorizationCode, auth.GrantPassword},
		Audiences:  []string{filesAPI, mailAPI}})
	asked := []string{
		"response_type", "code", "scope", "openid", "nonce", "n-0S6", "resource", filesAPI,
		"acr_values", "aal2", "claims", `{"id_token":{"preferred_username":null}}`,
	}
	secret := a.withApp("alice")
	grant := a.loginBy(p, "alice")
	first := a.challenge(p, append(asked, "username", "alice", "password", goodPassword)...)
	for n, begun := range []answered{grant, first} {
		session, _ := begun.json(t, "auth_session").(string)
		later := []string{"auth_session", session, "otp", secret.Code(otp.Step(time.Now()) + int64(n))}
		if n == 0 {
			later = append(later, asked...)
		} else {
			a.wantError("another nonce", a.challenge(p, append(later, "nonce", "x")...), "invalid_session")
			a.wantError("another resource", a.challenge(p, append(later, "resource", mailAPI)...),
				"invalid_session")
		}
		proved := a.challenge(p, later...)
		a.want("the code", proved, http.StatusOK)
		code, _ := proved.json(t, "authorization_code").(string)
		a.want("a resource that was not asked for", a.post(p, "/token", "grant_type",
			"authorization_code", "code", code, "code_verifier", codeVerifier, "resource", mailAPI), 400)
		got := a.redeemsProved(p, code)
		a.want("the tokens", got, http.StatusOK)
		raw, _ := got.json(t, "id_token").(string)
		var id jwt.MapClaims
		_, _, err := jwt.NewParser().ParseUnverified(raw, &id)
		must(t, err)
		if id["nonce"] != "n-0S6" || id["acr"] != "aal2" || id["preferred_username"] != "alice" {
			t.Errorf("the ID token says %v", id)
		}
		access, _ := got.json(t, "access_token").(string)
		var claims jwt.MapClaims
		_, _, err = jwt.NewParser().ParseUnverified(access, &claims)
		must(t, err)
		if audience, err := claims.GetAudience(); err != nil || !slices.Contains(audience, filesAPI) ||
			slices.Contains(audience, mailAPI) {
			t.Errorf("the token is for %v, %v", audience, err)
		}
	}
}

// A client must be told in the words of the draft, and a stranger must learn nothing.
func TestTheChallengeEndpointRefusesInTheWordsOfTheDraft(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{issuer: "https://id.test"})
	right := []string{"username", "alice", "password", goodPassword}
	with := func(more ...string) answered { return a.challenge(program{}, append(right, more...)...) }
	for name, test := range map[string]struct {
		answer answered
		want   string
	}{
		"no challenge":         {with("code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		"a short one":          {with("code_challenge", "x"), "invalid_request"},
		"no username":          {a.challenge(program{}, "password", goodPassword), "invalid_request"},
		"too wide a scope":     {with("scope", "gatehouse:users"), "invalid_scope"},
		"no scope at all":      {with("scope", "a\"b"), "invalid_scope"},
		"another response":     {with("response_type", "token"), "unsupported_response_type"},
		"request object":       {with("request", "x"), "request_not_supported"},
		"a resource of others": {with("resource", "https://other.test"), "invalid_target"},
		"a user by claims": {with("claims",
			`{"id_token":{"sub":{"value":"`+uuid.NewString()+`"}}}`), "invalid_request"},
		"a factor that there is not": {with("acr_values", "aal2"), "unmet_authentication_requirements"},
		"an invented auth_session": {a.challenge(program{}, "auth_session", "x", "otp", "123456"),
			"invalid_session"},
		"a client of others": {a.challenge(a.shopForAPIs(), right...), "unauthorized_client"},
		"one without codes": {a.challenge(a.program("cli", auth.Client{FirstParty: true,
			GrantTypes: []string{auth.GrantPassword}}), right...), "unauthorized_client"},
		"no password":         {a.challenge(program{}, "username", "alice"), "redirect_to_web"},
		"no password, nobody": {a.challenge(program{}, "username", "nobody"), "redirect_to_web"},
	} {
		a.wantError(name, test.answer, test.want)
		if page := "https://id.test/login"; test.want == "redirect_to_web" &&
			!strings.HasSuffix(test.answer.json(t, "error_description").(string), page) {
			t.Errorf("%s does not name the login page: %s", name, test.answer.body)
		}
	}
	nobody := a.challenge(program{}, "username", "nobody", "password", goodPassword)
	a.wantError("nobody", nobody, "invalid_grant")
	if wrong := a.challenge(program{}, "username", "alice", "password", "wrong"); wrong.body !=
		nobody.body {
		t.Errorf("a wrong password is told from an unknown user: %s", wrong.body)
	}
	a.exec("UPDATE users SET must_change_password = true WHERE username = 'alice'")
	a.wantError("must change", with(), "redirect_to_web")
	a.exec("UPDATE users SET must_change_password = false WHERE username = 'alice'")
	a.exec("UPDATE roles SET factor = true WHERE name = 'clerk'")
	a.wantError("must enrol", with(), "redirect_to_web")

	off := start(t, settings{passwordGrantOff: true, databaseURL: a.database})
	a.exec("UPDATE roles SET factor = false WHERE name = 'clerk'")
	a.wantError("without the password grant", off.challenge(program{}, right...),
		"unsupported_grant_type")
	a.want("a registered program", off.challenge(a.native("phone"), right...), http.StatusOK)
}
