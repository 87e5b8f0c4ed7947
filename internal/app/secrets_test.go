package app_test

import (
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

	"gatehouse/internal/app"
	"gatehouse/internal/asynctest"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/dbtest"
	"gatehouse/internal/token"
)

// The canaries: whoever finds one outside of the process has found a leak.
const (
	canaryPassword         = "canary password of alice, 5d0c"
	canaryOtherPassword    = "canary password that is wrong, 81f3"
	canarySecretKey        = "canary secret key with 32 bytes or more 2a77"
	canaryPepper           = "canary password pepper with 32 bytes or more c93e"
	canaryDatabasePassword = "canary-database-password-6b58"
	canaryToken            = "canary.access.token-e4a1"
)

// A log is read by many, kept for long and sent far: a secret in it is no secret any more.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t)
	databaseURL := canaryRole(t, server.URL())
	flags := []string{
		"--secret-key=" + canarySecretKey, "--password-pepper=" + canaryPepper,
		"--database-password=" + canaryDatabasePassword, "--log-level=debug", "--password-queue=1",
		"--account-failures=0", "--account-failures-per-day=0", // wrong passwords are to reach the lane
	}
	leaks := &leakSearch{T: t}
	leaks.add("password", canaryPassword)
	leaks.add("wrong password", canaryOtherPassword)
	leaks.add("SECRET_KEY", canarySecretKey)
	leaks.add("PASSWORD_PEPPER", canaryPepper)
	leaks.add("database password", canaryDatabasePassword)
	leaks.add("malformed token", canaryToken)
	// The forms of a password hash. Only the table of users has them.
	leaks.addPlain("password hash", "$hmac-sha256$", "$2a$10$", "$2b$10$")

	r := boot(t, databaseURL, flags...)
	token := r.useEveryPath(leaks)
	useCommandLine(leaks, databaseURL)
	r.useInitialSecrets(leaks, databaseURL)
	r.useClients(leaks, databaseURL)
	leaks.search("metrics", r.onOps("/metrics").body)
	leaks.searchRows("a row of the database", dump(t, server.URL()))

	server.Stop(t)
	for _, request := range []*http.Request{
		r.meRequest(token), r.loginRequest("alice", canaryPassword), r.registerRequest("bob", canaryPassword),
	} {
		leaks.searchAnswer(http.StatusServiceUnavailable, r.do(request))
	}
	leaks.search("readiness without a database", r.onOps("/readyz").body)
	leaks.searchError(claimKeys(t, databaseURL, canaryPepper))
	r.stop()
	server.Start(t)

	wrong := launch(t, databaseURL, append(flags, "--database-password="+canaryDatabasePassword+" with a typing error")...)
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

// canaryRole makes a role with a canary for its password, and returns a URL for it, without the password.
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

// useEveryPath sends secrets along every path of a request, and searches what comes back. It returns an access token.
func (r *replica) useEveryPath(leaks *leakSearch) (token string) {
	r.Helper()
	leaks.searchAnswer(http.StatusCreated, r.do(r.registerRequest("alice", canaryPassword)))
	leaks.searchAnswer(http.StatusConflict, r.do(r.registerRequest("alice", canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity, r.do(r.registerRequest("a\u0000b", canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity, r.do(r.registerRequest("bob", strings.Repeat(canaryPassword, 10))))
	login := r.do(r.loginRequest("alice", canaryPassword))
	r.want(http.StatusOK, login)
	token = tokenIn(r, login)
	leaks.add("access token", token)
	leaks.addPlain("signature of an access token", token[strings.LastIndex(token, ".")+1:])
	leaks.addPlain("device token", login.header.Get("Gatehouse-Device"))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(r.loginRequest("alice", canaryOtherPassword)))
	// Many a person has typed the password where the username belongs.
	leaks.searchAnswer(http.StatusUnauthorized, r.do(r.loginRequest(canaryPassword, canaryPassword)))

	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	form := "username=alice&password=" + url.QueryEscape(canaryPassword)
	for _, malformed := range []struct {
		path, mediaType, body string
		status                int
	}{
		{"/users", asJSON, `{"username": "bob", "password": "` + canaryPassword + `"`, 400},
		{"/users", asJSON, `{"username": "bob", "password": "` + canaryPassword + `", "` + canaryPassword + `": 1}`, 400},
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
		a := r.do(r.request("POST", malformed.path, malformed.body, "Content-Type", malformed.mediaType))
		leaks.searchAnswer(malformed.status, a)
	}

	leaks.searchAnswer(http.StatusOK, r.do(r.meRequest(token)))
	expired := issueToken(r, canarySecretKey, uuid.New(), time.Now().Add(-24*time.Hour))
	leaks.add("expired token", expired)
	for _, refused := range []string{canaryToken, expired, token + "A", token[:len(token)-4], token + "." + token} {
		leaks.searchAnswer(http.StatusUnauthorized, r.do(r.meRequest(refused)))
	}
	r.useSessions(leaks)
	r.askForRevocations(leaks)
	r.overload(leaks)
	return token
}

// useSessions refreshes a session, changes the password from it, and ends it, with good and bad tokens.
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
		{"POST", "/token", asForm, "grant_type=refresh_token&refresh_token=" + first.refresh + "A", 400},
		{"POST", "/token", asForm, "grant_type=refresh_token&refresh_token=" + canaryToken, 400},
		{"POST", "/token", asForm, "grant_type=refresh_token&refresh_token=" + first.refresh + "&refresh_token=" + second.refresh, 400},
		{"POST", "/token?grant_type=refresh_token&refresh_token=" + first.refresh, asForm, "", 400},
		{"POST", "/token", asJSON, `{"refresh_token": "` + first.refresh + `"}`, 415},
		{"GET", "/users/me/sessions", asJSON, "", 200},
		{"GET", "/users/me/sessions?before=" + canaryToken, asJSON, "", 422},
		{"DELETE", "/users/me/sessions/" + canaryToken, asJSON, "", 404},
		{"DELETE", "/users/me/sessions?all=" + canaryToken, asJSON, "", 422},
		{"PUT", "/users/me/password", asJSON, `{"current_password": "` + canaryOtherPassword + `", "new_password": "` + canaryPassword + `"}`, 422},
		{"PUT", "/users/me/password", asJSON, `{"current_password": "` + canaryPassword + `", "` + canaryPassword + `": ""}`, 400},
		{"PUT", "/users/me/password", asJSON, `{"current_password": "` + canaryPassword + `", "new_password": "` + strings.Repeat(canaryPassword, 10) + `"}`, 422},
		{"GET", "/verify/" + canaryToken + "?access_token=" + canaryToken, asJSON, "", 204},
		{"POST", "/logout", asForm, "refresh_token=" + second.refresh, 401}, // the header counts, and its token is refused
	} {
		access := second.access
		if test.path == "/logout" {
			access = canaryToken
		}
		a := r.do(r.request(test.method, test.path, test.body, "Content-Type", test.mediaType, "Authorization", "Bearer "+access))
		leaks.searchAnswer(test.status, a)
	}
	leaks.searchAnswer(http.StatusNoContent, r.do(r.request("POST", "/logout", "refresh_token="+second.refresh, "Content-Type", asForm)))
	leaks.searchAnswer(http.StatusBadRequest, r.do(r.refreshRequest(second.refresh)))
	asynctest.Await(r, "the logout to be known", func() bool {
		a := r.do(r.verifyRequest("GET", "/verify", second.access))
		leaks.searchAnswer(a.status, a)
		return a.status == http.StatusUnauthorized
	})
}

type tokens struct{ access, refresh string }

// addTokens adds those of an answer, and what makes each of them good.
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
	s.addPlain("MAC of a refresh token", hex.EncodeToString(raw[len(raw)-32:]), t.refresh[len(t.refresh)-42:])
	return t
}

// askForRevocations does what other services do, with good and bad tokens.
func (r *replica) askForRevocations(leaks *leakSearch) {
	r.Helper()
	for now, status := range map[time.Time]int{time.Now(): http.StatusOK, time.Now().Add(-time.Hour): http.StatusUnauthorized} {
		raw := serviceToken(r, canarySecretKey, now)
		leaks.add("token of a service", raw)
		leaks.addPlain("signature of a service's token", raw[strings.LastIndex(raw, ".")+1:])
		leaks.searchAnswer(status, r.do(r.request("GET", "/revocations?since="+canaryToken, "", "Authorization", "Bearer "+raw)))
		leaks.searchAnswer(http.StatusUnauthorized, r.do(r.verifyRequest("GET", "/verify", raw)))
	}
	leaks.searchAnswer(http.StatusUnauthorized, r.do(r.request("GET", "/revocations", "", "Authorization", "Bearer "+canaryToken)))
}

func serviceToken(t testing.TB, key string, now time.Time) string {
	t.Helper()
	keys, err := token.NewServiceKeys([][]byte{[]byte(key)}, "http://localhost:8000")
	must(t, err)
	raw, err := keys.Issue(now, "shop")
	must(t, err)
	return raw
}

// useInitialSecrets makes them by the API and the command line, tries one where it is refused, and replaces it.
func (r *replica) useInitialSecrets(leaks *leakSearch, databaseURL string) {
	r.Helper()
	admin, err := openCanaryAdmin(leaks.T, databaseURL, canaryPepper)
	must(leaks, err)
	defer admin.Close()
	_, err = admin.Register(r.Context(), "root", canaryOtherPassword, "admin")
	must(leaks, err)
	root := tokenIn(r, r.do(r.loginRequest("root", canaryOtherPassword)))
	const asJSON = "application/json"
	made := r.do(r.request("POST", "/users", `{"username": "carol", "initial_secret": true}`, "Content-Type", asJSON, "Authorization", "Bearer "+root))
	r.want(http.StatusCreated, made)
	var in struct {
		InitialSecret string `json:"initial_secret"`
	}
	must(r, json.Unmarshal([]byte(made.body), &in))
	_, byCommand, err := admin.RegisterInitial(r.Context(), "dave")
	must(r, err)
	_, replaced, err := admin.SetInitialSecret(r.Context(), "dave")
	must(r, err)
	for _, secret := range []string{in.InitialSecret, byCommand, replaced} {
		leaks.add("initial secret", secret)
	}
	replace := func(username, current, next string) *http.Request {
		return r.request("POST", "/token/password", `{"username": "`+username+`", "current_password": "`+current+`", "new_password": "`+next+`"}`,
			"Content-Type", asJSON)
	}
	leaks.searchAnswer(http.StatusBadRequest, r.do(r.loginRequest("carol", in.InitialSecret)))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(r.loginRequest(in.InitialSecret, in.InitialSecret)))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(replace("carol", replaced, canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity, r.do(replace("carol", in.InitialSecret, in.InitialSecret)))
	leaks.searchAnswer(http.StatusNotFound, r.do(r.request("GET", "/users/"+in.InitialSecret, "", "Authorization", "Bearer "+root)))
	changed := r.do(replace("carol", in.InitialSecret, canaryPassword))
	r.want(http.StatusOK, changed)
	leaks.addTokens(r, changed)
	leaks.searchAnswer(http.StatusUnauthorized, r.do(replace("carol", in.InitialSecret, canaryOtherPassword)))
}

// useClients sends secrets of a client, those that are right and those that are not, in each place where one belongs or may
// be put by mistake.
func (r *replica) useClients(leaks *leakSearch, databaseURL string) {
	r.Helper()
	admin, err := openCanaryAdmin(leaks.T, databaseURL, canaryPepper)
	must(leaks, err)
	defer admin.Close()
	both := []string{auth.GrantPassword, auth.GrantRefreshToken}
	_, first, err := admin.AddClient(r.Context(), auth.OAuthClient{ID: "shop", Title: "Shop", Confidential: true, GrantTypes: both})
	must(leaks, err)
	second, err := admin.RotateClientSecret(r.Context(), "shop")
	must(leaks, err)
	leaks.add("client's secret", first)
	leaks.add("client's secret", second)
	_, err = admin.RotateClientSecret(r.Context(), first)
	leaks.searchError(err)
	post := func(path string, form url.Values, header ...string) *http.Request {
		return r.request("POST", path, form.Encode(), append(header, "Content-Type", "application/x-www-form-urlencoded")...)
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
		leaks.searchAnswer(http.StatusOK, r.do(post(path, url.Values{"token": {raw}, "client_id": {"shop"}, "client_secret": {second}})))
		leaks.searchAnswer(http.StatusUnauthorized, r.do(post(path, url.Values{"token": {raw}, "client_id": {"shop"}, "client_secret": {second + canaryOtherPassword}})))
		leaks.searchAnswer(http.StatusUnauthorized, r.do(post(path, url.Values{"token": {raw}}, "Authorization", basic(second, second))))
		leaks.searchAnswer(http.StatusUnauthorized, r.do(post(path, url.Values{"token": {raw}}, "Authorization", "Basic "+second)))
		leaks.searchAnswer(http.StatusUnauthorized, r.do(post(path, url.Values{"token": {raw}}, "Authorization", basic("shop", second+"%zz"))))
		leaks.searchAnswer(http.StatusBadRequest, r.do(post(path, url.Values{"token": {raw}, "client_id": {second}}, "Authorization", basic("shop", second))))
		leaks.searchAnswer(http.StatusOK, r.do(post(path, url.Values{"token": {second}}, "Authorization", basic("shop", second))))
	}
	must(leaks, admin.RetireClientSecret(r.Context(), "shop"))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(post("/token", login, "Authorization", basic("shop", first))))
}

// overload logs in from more clients than may wait at once.
func (r *replica) overload(leaks *leakSearch) {
	r.Helper()
	const logins = 10
	answers := r.atOnce(logins, func() *http.Request { return r.loginRequest("alice", canaryOtherPassword) })
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
	must(leaks, admin.ClaimPasswordKeys(leaks.Context()))
	_, err = admin.Register(leaks.Context(), "alice", canaryPassword)
	leaks.searchError(err)
	_, err = admin.SetPassword(leaks.Context(), "nobody", canaryPassword)
	leaks.searchError(err)
	_, err = admin.SetPassword(leaks.Context(), "alice", canaryPassword+"\x00")
	leaks.searchError(err)
	leaks.search("key ring", fmt.Sprintf("%v %+v %#v", admin.Ring, admin.Ring, admin.Ring.Records()))
	leaks.searchError(claimKeys(leaks.T, databaseURL, canaryPepper[:20]))
	leaks.searchError(claimKeys(leaks.T, databaseURL, strings.Repeat("another pepper", 3)))
}

func openCanaryAdmin(t *testing.T, databaseURL, pepper string) (*app.Admin, error) {
	return app.OpenAdmin(t.Context(), config.Database{
		DatabaseURL: databaseURL, DatabasePassword: canaryDatabasePassword, DatabaseStatementTimeout: time.Minute,
	}, config.Passwords{BcryptCost: 10, PasswordMinLength: 8, InitialSecretHours: 72, PasswordPepper: pepper})
}

func claimKeys(t *testing.T, databaseURL, pepper string) error {
	admin, err := openCanaryAdmin(t, databaseURL, pepper)
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.ClaimPasswordKeys(t.Context())
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
	if !slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, "$hmac-sha256$") }) {
		t.Error("the dump has no password hash, so it is not whole")
	}
	return rows
}

// leakSearch looks for secrets, in whatever form they may be.
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
		// What base64 makes of the bytes in the middle depends on where the value begins.
		base64Middle(value, 0), base64Middle(value, 1), base64Middle(value, 2),
	} {
		s.secrets = append(s.secrets, secret{name: name, form: form})
	}
}

// base64Middle is what base64 makes of a value behind some other bytes, less the digits that depend on its neighbours.
func base64Middle(value string, before int) string {
	encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("-", before) + value))
	return encoded[4 : len(encoded)-4]
}

func (s *leakSearch) addPlain(name string, forms ...string) {
	for _, form := range forms {
		s.secrets = append(s.secrets, secret{name: name, form: form, hash: strings.HasPrefix(form, "$")})
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

// searchError also holds that there is one.
func (s *leakSearch) searchError(err error) {
	s.Helper()
	if err == nil {
		s.Error("no error where there should be one")
	}
	s.search("error", fmt.Sprintf("%v %+v", err, err))
}
