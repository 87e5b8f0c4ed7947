package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/token"
)

// The canaries. Whoever finds one outside the process has found a leak.
const (
	canaryPassword         = "canary password of alice, 5d0c"
	canaryOtherPassword    = "canary password that is wrong, 81f3"
	canarySecretKey        = "canary secret key with 32 bytes or more 2a77"
	canaryPepper           = "canary password pepper with 32 bytes or more c93e"
	canaryDatabasePassword = "canary-database-password-6b58"
	canaryToken            = "canary.access.token-e4a1"
)

// A log is read by many, kept for long and sent far. A secret in it is no secret any more.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t)
	databaseURL := canaryRole(t, server.URL())
	flags := []string{
		"--secret-key=" + canarySecretKey, "--password-pepper=" + canaryPepper,
		"--database-password=" + canaryDatabasePassword, "--log-level=debug", "--password-queue=1",
		// wrong passwords are to reach the lane
		"--account-failures=0", "--account-failures-per-day=0",
	}
	leaks := &leakSearch{T: t}
	leaks.add("password", canaryPassword)
	leaks.add("wrong password", canaryOtherPassword)
	leaks.add("SECRET_KEY", canarySecretKey)
	leaks.add("PASSWORD_PEPPER", canaryPepper)
	leaks.add("database password", canaryDatabasePassword)
	leaks.add("malformed token", canaryToken)
	// The forms of a password's hash. Only the table of users may have them.
	leaks.addPlain("password hash", "$hmac-sha256$", "$2a$10$", "$2b$10$")

	r := boot(t, databaseURL, flags...)
	token := r.useEveryPath(leaks)
	useCommandLine(leaks, databaseURL)
	r.useInitialSecrets(leaks, databaseURL)
	r.useClients(leaks, databaseURL)
	r.useApp(leaks, databaseURL)
	r.useFactors(leaks, databaseURL, server.URL())
	leaks.search("metrics", r.onOps("/metrics").body)
	leaks.searchRows("a row of the database", dump(t, server.URL()))

	server.Stop(t)
	for _, request := range []*http.Request{
		r.meRequest(token), r.loginRequest("alice", canaryPassword),
		r.registerRequest("bob", canaryPassword),
	} {
		leaks.searchAnswer(http.StatusServiceUnavailable, r.do(request))
	}
	leaks.search("readiness without a database", r.onOps("/readyz").body)
	leaks.searchError(claimKeys(t, databaseURL, canaryPepper))
	r.stop()
	server.Start(t)

	wrong := launch(t, databaseURL,
		append(flags, "--database-password="+canaryDatabasePassword+" with a typing error")...)
	<-wrong.ended
	if wrong.err == nil || !strings.Contains(wrong.err.Error(), "28P01") {
		t.Errorf("a wrong database password: %v", wrong.err)
	}
	leaks.search("error of the start", fmt.Sprintf("%v %+v", wrong.err, wrong.err))
	for _, log := range []*logBuffer{r.log, wrong.log} {
		for line := range strings.Lines(log.String()) {
			leaks.search("log", line)
		}
	}
	if len(r.log.lines(t, "request")) < 20 {
		t.Error("the log that was searched has hardly any requests")
	}
}

// canaryRole makes a role whose password is a canary, and returns a URL for it without the
// password.
func canaryRole(t *testing.T, superuserURL string) string {
	t.Helper()
	_, err := connect(t, superuserURL).Exec(t.Context(),
		"CREATE ROLE canary SUPERUSER LOGIN PASSWORD '"+canaryDatabasePassword+"'")
	must(t, err)
	u, err := url.Parse(superuserURL)
	must(t, err)
	u.User = url.User("canary")
	return u.String()
}

// useEveryPath sends secrets along every path of a request, and searches the answers. It returns an
// access token.
func (r *replica) useEveryPath(leaks *leakSearch) (token string) {
	r.Helper()
	leaks.searchAnswer(http.StatusCreated, r.do(r.registerRequest("alice", canaryPassword)))
	leaks.searchAnswer(http.StatusConflict, r.do(r.registerRequest("alice", canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity,
		r.do(r.registerRequest("a\u0000b", canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity,
		r.do(r.registerRequest("bob", strings.Repeat(canaryPassword, 10))))
	login := r.do(r.loginRequest("alice", canaryPassword))
	r.want(http.StatusOK, login)
	token = tokenIn(r, login)
	leaks.add("access token", token)
	leaks.addPlain("signature of an access token", token[strings.LastIndex(token, ".")+1:])
	leaks.addPlain("device token", login.header.Get("Gatehouse-Device"))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(r.loginRequest("alice", canaryOtherPassword)))
	// Many people have typed the password into the field for the username.
	leaks.searchAnswer(http.StatusUnauthorized,
		r.do(r.loginRequest(canaryPassword, canaryPassword)))

	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	form := "username=alice&password=" + url.QueryEscape(canaryPassword)
	for _, malformed := range []struct {
		path, mediaType, body string
		status                int
	}{
		{"/users", asJSON, `{"username": "bob", "password": "` + canaryPassword + `"`, 400},
		{"/users", asJSON,
			`{"username": "bob", "password": "` + canaryPassword + `", "` + canaryPassword +
				`": 1}`, 422},
		{"/users", asJSON, `{"username": "bob", "password": ["` + canaryPassword + `"]}`, 422},
		{"/users", asJSON, `{"password": "` + canaryPassword + `"}`, 422},
		{"/users", asForm, form, 415},
		{"/users", asJSON, `"` + strings.Repeat(canaryPassword, 3000) + `"`, 413},
		{"/token", asForm, form + "&%zz=" + canaryPassword, 400},
		{"/token", asForm, form + "&password=" + url.QueryEscape(canaryOtherPassword), 400},
		{"/token", asForm, form + "&grant_type=" + canaryToken, 400},
		{"/token", asJSON, form, 415},
		{"/" + url.PathEscape(canaryPassword), asJSON, "", 404},
		{"/users/me?access_token=" + canaryToken, asJSON, "", 405},
	} {
		a := r.do(r.request("POST", malformed.path, malformed.body, "Content-Type",
			malformed.mediaType))
		leaks.searchAnswer(malformed.status, a)
	}

	leaks.searchAnswer(http.StatusOK, r.do(r.meRequest(token)))
	expired := issueToken(r, canarySecretKey, uuid.New(), time.Now().Add(-24*time.Hour))
	leaks.add("expired token", expired)
	for _, refused := range []string{canaryToken, expired, token + "A", token[:len(token)-4],
		token + "." + token} {
		leaks.searchAnswer(http.StatusUnauthorized, r.do(r.meRequest(refused)))
	}
	r.useSessions(leaks)
	r.useBrowser(leaks)
	r.askForRevocations(leaks)
	r.overload(leaks)
	return token
}

// useSessions refreshes a session, changes the password in it, and ends it, each with valid and
// invalid tokens.
func (r *replica) useSessions(leaks *leakSearch) {
	r.Helper()
	login := r.do(r.loginRequest("alice", canaryPassword))
	r.want(http.StatusOK, login)
	first := leaks.addTokens(r, login)
	refreshed := r.do(r.refreshRequest(first.refresh))
	r.want(http.StatusOK, refreshed)
	second := leaks.addTokens(r, refreshed)
	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	for _, test := range []struct {
		method, path, mediaType, body string
		status                        int
	}{
		{"POST", "/token", asForm, "grant_type=refresh_token&refresh_token=" + first.refresh + "A",
			400},
		{"POST", "/token", asForm, "grant_type=refresh_token&refresh_token=" + canaryToken, 400},
		{"POST", "/token", asForm,
			"grant_type=refresh_token&refresh_token=" + first.refresh + "&refresh_token=" +
				second.refresh, 400},
		{"POST", "/token?grant_type=refresh_token&refresh_token=" + first.refresh, asForm, "", 400},
		{"POST", "/token", asJSON, `{"refresh_token": "` + first.refresh + `"}`, 415},
		{"GET", "/users/me/sessions", asJSON, "", 200},
		{"GET", "/users/me/sessions?before=" + canaryToken, asJSON, "", 422},
		{"DELETE", "/users/me/sessions/" + canaryToken, asJSON, "", 404},
		{"DELETE", "/users/me/sessions?all=" + canaryToken, asJSON, "", 422},
		{"GET", "/users/me/data?" + canaryToken, asJSON, "", 200},
		{"DELETE", "/users/me", asJSON,
			`{"current_password": "` + canaryOtherPassword + `"}`, 422},
		{"DELETE", "/users/me", asJSON, `{"` + canaryPassword + `": ""}`, 422},
		{"PUT", "/users/me/password", asJSON,
			`{"current_password": "` + canaryOtherPassword + `", "new_password": "` +
				canaryPassword + `"}`, 422},
		{"PUT", "/users/me/password", asJSON,
			`{"current_password": "` + canaryPassword + `", "` + canaryPassword + `": ""}`, 422},
		{"PUT", "/users/me/password", asJSON,
			`{"current_password": "` + canaryPassword + `", "new_password": "` +
				strings.Repeat(canaryPassword, 10) + `"}`, 422},
		{"GET", "/verify/" + canaryToken + "?access_token=" + canaryToken, asJSON, "", 204},
		// the header counts, and its token is refused
		{"POST", "/logout", asForm, "refresh_token=" + second.refresh, 401},
	} {
		access := second.access
		if test.path == "/logout" {
			access = canaryToken
		}
		a := r.do(r.request(test.method, test.path, test.body, "Content-Type", test.mediaType,
			"Authorization", "Bearer "+access))
		leaks.searchAnswer(test.status, a)
	}
	leaks.searchAnswer(http.StatusNoContent,
		r.do(r.request("POST", "/logout", "refresh_token="+second.refresh, "Content-Type", asForm)))
	leaks.searchAnswer(http.StatusBadRequest, r.do(r.refreshRequest(second.refresh)))
	asynctest.Await(r, "the logout to be known", func() bool {
		a := r.do(r.verifyRequest("GET", "/verify", second.access))
		leaks.searchAnswer(a.status, a)
		return a.status == http.StatusUnauthorized
	})
}

// inBrowser logs alice in, and returns the cookie.
func (r *replica) inBrowser(leaks *leakSearch) (cookie string) {
	r.Helper()
	form := url.Values{"username": {"alice"}, "password": {canaryPassword}}.Encode()
	const asForm = "application/x-www-form-urlencoded"
	login := r.do(r.request("POST", "/login", form, "Content-Type", asForm,
		"Sec-Fetch-Site", "same-origin"))
	r.want(http.StatusSeeOther, login)
	cookie = cookieNamed(login, "gatehouse")
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(cookie, "ghs_"))
	must(r, err)
	if len(raw) < 32 {
		r.Fatalf("the login gave no cookie: %v", login.header)
	}
	leaks.add("session cookie", cookie)
	leaks.addPlain("MAC of a session cookie", hex.EncodeToString(raw[len(raw)-32:]),
		cookie[len(cookie)-42:])
	return cookie
}

// useBrowser puts the cookie of a browser where it belongs and where it does not.
func (r *replica) useBrowser(leaks *leakSearch) {
	r.Helper()
	cookie := r.inBrowser(leaks)
	for _, test := range []struct {
		path, cookies, authorization string
		status                       int
	}{
		{"/verify", "gatehouse=" + cookie, "", 204},
		{"/verify", "gatehouse=" + cookie + "A", "", 401},
		{"/verify", "gatehouse-verify=" + cookie, "", 401},
		{"/verify?" + cookie, "gatehouse=" + cookie, "", 400},
		{"/verify?role=" + cookie, "gatehouse=" + cookie, "", 403},
		{"/verify/" + cookie, cookie, "", 401},
		{"/verify", "", "Bearer " + cookie, 401},
		{"/account", "gatehouse=" + cookie, "", 200},
		{"/login?next=" + cookie, "gatehouse=" + cookie, "", 200},
		{"/" + cookie, "", "", 404},
	} {
		request := r.request("GET", test.path, "", "Cookie", test.cookies, "Accept", "text/html")
		if test.authorization != "" {
			request.Header.Set("Authorization", test.authorization)
		}
		leaks.searchAnswer(test.status, r.do(request))
	}
}

// useApp logs alice in to an app, and puts the code, the verifier and the ID token where they
// belong and where they do not. The URLs of a browser have codes and hints, so only what is kept of
// them is searched.
func (r *replica) useApp(leaks *leakSearch, databaseURL string) {
	r.Helper()
	const callback, verifier = "https://app.example/back", "canary-verifier-of-an-app-0123456789-0123456789-91be"
	leaks.add("verifier", verifier)
	admin, err := openCanaryAdmin(leaks.T, databaseURL, canaryPepper)
	must(leaks, err)
	defer admin.Close()
	_, _, err = admin.Clients.Add(r.Context(), authtest.Operator(), auth.Client{
		ID: "app", Title: "App", RedirectURIs: []string{callback}, Ask: true,
		GrantTypes: []string{auth.GrantAuthorizationCode, auth.GrantRefreshToken},
	})
	must(leaks, err)
	sum := sha256.Sum256([]byte(verifier))
	asked := url.Values{
		"client_id": {"app"}, "redirect_uri": {callback}, "response_type": {"code"},
		"scope": {"openid"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	cookie := r.inBrowser(leaks)
	browse := func(method, path, body string) answer {
		return r.do(r.request(method, path, body, "Cookie", "gatehouse="+cookie, "Accept", "text/html",
			"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"))
	}
	code := func() string {
		to, err := url.Parse(browse("GET", "/authorize?"+asked.Encode(), "").header.Get("Location"))
		must(r, err)
		code := to.Query().Get("code")
		if code == "" {
			r.Fatalf("the app got no code, and the browser goes to %s", to)
		}
		leaks.add("code", code)
		leaks.addPlain("code without its prefix", code[len(code)-42:])
		return code
	}
	allowed := browse("POST", "/consent",
		url.Values{
			"next": {"/authorize?" + asked.Encode()}, "choice": {"allow"}, "as": {"alice"},
		}.Encode())
	r.want(http.StatusSeeOther, allowed)
	redeem := func(code, verifier string) answer {
		return r.do(r.request("POST", "/token", url.Values{
			"grant_type": {"authorization_code"}, "client_id": {"app"}, "redirect_uri": {callback},
			"code": {code}, "code_verifier": {verifier},
		}.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	}
	one := code()
	leaks.searchAnswer(http.StatusBadRequest, redeem(one, verifier+"x"))
	leaks.searchAnswer(http.StatusBadRequest, redeem(one+"A", verifier))
	leaks.searchAnswer(http.StatusBadRequest, redeem(verifier, one))
	granted := redeem(one, verifier)
	r.want(http.StatusOK, granted)
	leaks.addTokens(r, granted)
	var body struct {
		ID string `json:"id_token"`
	}
	must(r, json.Unmarshal([]byte(granted.body), &body))
	leaks.add("ID token", body.ID)
	leaks.addPlain("signature of an ID token", body.ID[strings.LastIndex(body.ID, ".")+1:])
	leaks.searchAnswer(http.StatusBadRequest, redeem(one, verifier)) // ends the session
	unused := code()
	for _, path := range []string{
		"/authorize?" + asked.Encode() + "&code=" + unused + "&code_verifier=" + verifier,
		"/authorize?" + asked.Encode() + "&id_token_hint=" + body.ID,
		"/authorize?" + asked.Encode() + "&id_token_hint=" + body.ID + "x",
		"/authorize?client_id=" + unused, "/authorize?client_id=app&redirect_uri=" + unused,
		"/verify?code=" + unused, "/" + unused, "/login?next=/authorize%3Fcode%3D" + unused,
		"/end-session?id_token_hint=" + body.ID + "&state=" + unused,
		"/end-session?client_id=" + unused,
	} {
		browse("GET", path, "")
	}
	browse("POST", "/end-session", url.Values{"id_token_hint": {body.ID}}.Encode())
}

type tokens struct{ access, refresh string }

// addTokens adds the tokens of an answer, and their signatures, to the secrets.
func (s *leakSearch) addTokens(r *replica, a answer) (t tokens) {
	s.Helper()
	var body struct {
		Refresh string `json:"refresh_token"`
	}
	must(s, json.Unmarshal([]byte(a.body), &body))
	t = tokens{tokenIn(r, a), body.Refresh}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(t.refresh, "ghr_"))
	must(s, err)
	s.add("access token", t.access)
	s.add("refresh token", t.refresh)
	s.addPlain("signature of an access token", t.access[strings.LastIndex(t.access, ".")+1:])
	s.addPlain("MAC of a refresh token", hex.EncodeToString(raw[len(raw)-32:]),
		t.refresh[len(t.refresh)-42:])
	return t
}

// askForRevocations does what other services do, with valid and invalid tokens.
func (r *replica) askForRevocations(leaks *leakSearch) {
	r.Helper()
	for now, status := range map[time.Time]int{time.Now(): http.StatusOK,
		time.Now().Add(-time.Hour): http.StatusUnauthorized} {
		raw := serviceToken(r, canarySecretKey, now)
		leaks.add("token of a service", raw)
		leaks.addPlain("signature of a service's token", raw[strings.LastIndex(raw, ".")+1:])
		leaks.searchAnswer(status,
			r.do(r.request("GET", "/revocations?since="+canaryToken, "", "Authorization",
				"Bearer "+raw)))
		leaks.searchAnswer(http.StatusUnauthorized, r.do(r.verifyRequest("GET", "/verify", raw)))
	}
	leaks.searchAnswer(http.StatusUnauthorized,
		r.do(r.request("GET", "/revocations", "", "Authorization", "Bearer "+canaryToken)))
}

func serviceToken(t testing.TB, key string, now time.Time) string {
	t.Helper()
	keys, err := token.NewServiceKeys([][]byte{[]byte(key)}, "http://localhost:8000")
	must(t, err)
	raw, err := keys.Issue(now, "shop")
	must(t, err)
	return raw
}

// useInitialSecrets makes initial secrets by the API and the command line, tries one where it is
// refused, and replaces it.
func (r *replica) useInitialSecrets(leaks *leakSearch, databaseURL string) {
	r.Helper()
	admin, err := openCanaryAdmin(leaks.T, databaseURL, canaryPepper)
	must(leaks, err)
	defer admin.Close()
	_, _, err = admin.Accounts.Register(r.Context(), authtest.Operator(),
		auth.NewAccount{Username: "root", Password: canaryOtherPassword, Roles: []string{"admin"}})
	must(leaks, err)
	root := tokenIn(r, r.do(r.loginRequest("root", canaryOtherPassword)))
	const asJSON = "application/json"
	made := r.do(r.request("POST", "/users", `{"username": "carol", "initial_secret": true}`,
		"Content-Type", asJSON, "Authorization", "Bearer "+root))
	r.want(http.StatusCreated, made)
	var in struct {
		InitialSecret string `json:"initial_secret"`
	}
	must(r, json.Unmarshal([]byte(made.body), &in))
	_, byCommand, err := admin.Accounts.Register(r.Context(), authtest.Operator(),
		auth.NewAccount{Username: "dave", Initial: true})
	must(r, err)
	_, replaced, err := admin.Accounts.SetPassword(r.Context(), authtest.Operator(),
		auth.ByName("dave"), auth.NewPassword{Initial: true})
	must(r, err)
	for _, secret := range []string{in.InitialSecret, byCommand, replaced} {
		leaks.add("initial secret", secret)
	}
	replace := func(username, current, next string) *http.Request {
		return r.request("POST", "/token/password",
			`{"username": "`+username+`", "current_password": "`+current+`", "new_password": "`+
				next+`"}`,
			"Content-Type", asJSON)
	}
	leaks.searchAnswer(http.StatusBadRequest, r.do(r.loginRequest("carol", in.InitialSecret)))
	leaks.searchAnswer(http.StatusUnauthorized,
		r.do(r.loginRequest(in.InitialSecret, in.InitialSecret)))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(replace("carol", replaced, canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity,
		r.do(replace("carol", in.InitialSecret, in.InitialSecret)))
	leaks.searchAnswer(http.StatusNotFound,
		r.do(r.request("GET", "/users/"+in.InitialSecret, "", "Authorization", "Bearer "+root)))
	changed := r.do(replace("carol", in.InitialSecret, canaryPassword))
	r.want(http.StatusOK, changed)
	leaks.addTokens(r, changed)
	leaks.searchAnswer(http.StatusUnauthorized,
		r.do(replace("carol", in.InitialSecret, canaryOtherPassword)))
}

// useClients sends a client's secrets, right and wrong ones, in each place where they belong, or
// may be put by mistake.
func (r *replica) useClients(leaks *leakSearch, databaseURL string) {
	r.Helper()
	admin, err := openCanaryAdmin(leaks.T, databaseURL, canaryPepper)
	must(leaks, err)
	defer admin.Close()
	both := []string{auth.GrantPassword, auth.GrantRefreshToken}
	_, first, err := admin.Clients.Add(r.Context(), authtest.Operator(),
		auth.Client{ID: "shop", Title: "Shop", Confidential: true, GrantTypes: both})
	must(leaks, err)
	second, err := admin.Clients.RotateSecret(r.Context(), authtest.Operator(), "shop")
	must(leaks, err)
	leaks.add("client's secret", first)
	leaks.add("client's secret", second)
	_, err = admin.Clients.RotateSecret(r.Context(), authtest.Operator(), first)
	leaks.searchError(err)
	post := func(path string, form url.Values, header ...string) *http.Request {
		return r.request("POST", path, form.Encode(),
			append(header, "Content-Type", "application/x-www-form-urlencoded")...)
	}
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	login := url.Values{"username": {"alice"}, "password": {canaryPassword}}
	granted := r.do(post("/token", login, "Authorization", basic("shop", first)))
	r.want(http.StatusOK, granted)
	leaks.addTokens(r, granted)
	raw := tokenIn(r, granted)
	for _, path := range []string{"/introspect", "/revoke"} {
		leaks.searchAnswer(http.StatusOK,
			r.do(post(path,
				url.Values{"token": {raw}, "client_id": {"shop"}, "client_secret": {second}})))
		leaks.searchAnswer(http.StatusUnauthorized,
			r.do(post(path,
				url.Values{"token": {raw}, "client_id": {"shop"},
					"client_secret": {second + canaryOtherPassword}})))
		leaks.searchAnswer(http.StatusUnauthorized,
			r.do(post(path, url.Values{"token": {raw}}, "Authorization", basic(second, second))))
		leaks.searchAnswer(http.StatusUnauthorized,
			r.do(post(path, url.Values{"token": {raw}}, "Authorization", "Basic "+second)))
		leaks.searchAnswer(http.StatusUnauthorized,
			r.do(post(path, url.Values{"token": {raw}}, "Authorization",
				basic("shop", second+"%zz"))))
		leaks.searchAnswer(http.StatusBadRequest,
			r.do(post(path, url.Values{"token": {raw}, "client_id": {second}}, "Authorization",
				basic("shop", second))))
		leaks.searchAnswer(http.StatusOK,
			r.do(post(path, url.Values{"token": {second}}, "Authorization", basic("shop", second))))
	}
	must(leaks, admin.Clients.RetireSecret(r.Context(), authtest.Operator(), "shop"))
	leaks.searchAnswer(http.StatusUnauthorized,
		r.do(post("/token", login, "Authorization", basic("shop", first))))
}

// overload logs in from more clients than may wait at the same time.
func (r *replica) overload(leaks *leakSearch) {
	r.Helper()
	const logins = 10
	answers := r.atOnce(logins,
		func() *http.Request { return r.loginRequest("alice", canaryOtherPassword) })
	statuses := map[int]int{}
	for range logins {
		a := <-answers
		statuses[a.status]++
		leaks.searchAnswer(a.status, a)
	}
	if statuses[http.StatusServiceUnavailable] == 0 {
		r.Errorf("no login was refused: %v", statuses)
	}
}

// useCommandLine does what operators do, and searches the errors.
func useCommandLine(leaks *leakSearch, databaseURL string) {
	leaks.Helper()
	admin, err := openCanaryAdmin(leaks.T, databaseURL, canaryPepper)
	must(leaks, err)
	defer admin.Close()
	must(leaks, admin.Peppers.Prove(leaks.Context()))
	_, _, err = admin.Accounts.Register(leaks.Context(), authtest.Operator(),
		auth.NewAccount{Username: "alice", Password: canaryPassword})
	leaks.searchError(err)
	_, _, err = admin.Accounts.SetPassword(leaks.Context(), authtest.Operator(),
		auth.ByName("nobody"), auth.NewPassword{Password: canaryPassword})
	leaks.searchError(err)
	_, _, err = admin.Accounts.SetPassword(leaks.Context(), authtest.Operator(),
		auth.ByName("alice"), auth.NewPassword{Password: canaryPassword + "\x00"})
	leaks.searchError(err)
	peppers, err := config.Pepper{PasswordPepper: canaryPepper}.Peppers()
	must(leaks, err)
	ring, err := password.NewKeyRing(peppers)
	must(leaks, err)
	leaks.search("key ring", fmt.Sprintf("%v %+v %#v", ring, ring, ring.Records()))
	leaks.searchError(claimKeys(leaks.T, databaseURL, canaryPepper[:20]))
	leaks.searchError(claimKeys(leaks.T, databaseURL, strings.Repeat("another pepper", 3)))
}

func openCanaryAdmin(t *testing.T, databaseURL, pepper string) (*app.Admin, error) {
	return app.OpenAdmin(t.Context(), config.Database{
		DatabaseURL: databaseURL, DatabasePassword: canaryDatabasePassword,
		DatabaseStatementTimeout: time.Minute,
	}, config.Passwords{BcryptCost: 10, PasswordMinLength: 8, InitialSecretHours: 72,
		Pepper: config.Pepper{PasswordPepper: pepper}})
}

func claimKeys(t *testing.T, databaseURL, pepper string) error {
	admin, err := openCanaryAdmin(t, databaseURL, pepper)
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.Peppers.Prove(t.Context())
}

// dump returns every row of every table in every schema, as text.
func dump(t *testing.T, databaseURL string) (rows []string) {
	t.Helper()
	conn := connect(t, databaseURL)
	names, err := conn.Query(t.Context(), `SELECT schemaname || '.' || tablename FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	must(t, err)
	tables, err := pgx.CollectRows(names, pgx.RowTo[string])
	must(t, err)
	for _, table := range tables {
		result, err := conn.Query(t.Context(), "SELECT whole::text FROM "+table+" AS whole")
		must(t, err)
		found, err := pgx.CollectRows(result, pgx.RowTo[string])
		must(t, err)
		rows = append(rows, found...)
	}
	if !slices.ContainsFunc(rows,
		func(row string) bool { return strings.Contains(row, "$hmac-sha256$") }) {
		t.Error("the dump has no password hash, so it is not whole")
	}
	return rows
}

// leakSearch looks for secrets in all their forms.
type leakSearch struct {
	*testing.T
	secrets []secret
}

type secret struct {
	name, form string
	hash       bool // may be in the database
}

func (s *leakSearch) add(name, value string) {
	for _, form := range []string{
		value, url.QueryEscape(value), url.PathEscape(value), hex.EncodeToString([]byte(value)),
		// The base64 of the bytes in the middle depends on where the value begins.
		base64Middle(value, 0), base64Middle(value, 1), base64Middle(value, 2),
	} {
		s.secrets = append(s.secrets, secret{name: name, form: form})
	}
}

// base64Middle returns what base64 makes of a value after some other bytes, without the digits that
// depend on its neighbours.
func base64Middle(value string, before int) string {
	encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("-", before) + value))
	return encoded[4 : len(encoded)-4]
}

func (s *leakSearch) addPlain(name string, forms ...string) {
	for _, form := range forms {
		s.secrets = append(s.secrets,
			secret{name: name, form: form, hash: strings.HasPrefix(form, "$")})
	}
}

func (s *leakSearch) search(where, text string) {
	s.Helper()
	for _, secret := range s.secrets {
		if strings.Contains(text, secret.form) {
			s.Errorf("%s is in the %s: %s", secret.name, where, text)
		}
	}
}

func (s *leakSearch) searchRows(where string, rows []string) {
	s.Helper()
	for _, row := range rows {
		for _, secret := range s.secrets {
			if !secret.hash && strings.Contains(row, secret.form) {
				s.Errorf("%s is in %s: %s", secret.name, where, row)
			}
		}
	}
}

func (s *leakSearch) searchAnswer(status int, a answer) {
	s.Helper()
	if a.status != status {
		s.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	s.search("answer", fmt.Sprint(a.header, a.body))
}

// searchError also checks that there is an error.
func (s *leakSearch) searchError(err error) {
	s.Helper()
	if err == nil {
		s.Error("no error where there should be one")
	}
	s.search("error", fmt.Sprintf("%v %+v", err, err))
}
