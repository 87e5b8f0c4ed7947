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
	"gatehouse/internal/config"
	"gatehouse/internal/dbtest"
)

// The canaries: whoever finds one outside of the process has found a leak.
const (
	canaryPassword         = "canary password of alice, 5d0c"
	canaryOtherPassword    = "canary password that is wrong, 81f3"
	canarySecretKey        = "canary secret key with 32 bytes or more 2a77"
	canaryPepper           = "canary password pepper with 32 bytes or more c93e"
	canaryDatabasePassword = "canary-database-password-6b58"
	canaryToken            = "canary.access.token-e4a1"
	canaryRefresh          = "ghr_canary-refresh-token-77b0"
	canaryNewPassword      = "canary password that replaces it, 3fd2"
)

// A log is read by many, kept for long and sent far: a secret in it is no secret any more.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t)
	databaseURL := canaryRole(t, server.URL())
	flags := []string{
		"--secret-key=" + canarySecretKey, "--password-pepper=" + canaryPepper,
		"--database-password=" + canaryDatabasePassword, "--log-level=debug", "--password-queue=1",
	}
	leaks := &leakSearch{T: t}
	leaks.add("password", canaryPassword)
	leaks.add("wrong password", canaryOtherPassword)
	leaks.add("SECRET_KEY", canarySecretKey)
	leaks.add("PASSWORD_PEPPER", canaryPepper)
	leaks.add("database password", canaryDatabasePassword)
	leaks.add("malformed token", canaryToken)
	leaks.add("malformed refresh token", canaryRefresh)
	leaks.add("new password", canaryNewPassword)
	// The forms of a password hash. Only the table of users has them.
	leaks.addPlain("password hash", "$hmac-sha256$", "$2a$10$", "$2b$10$")

	r := boot(t, databaseURL, flags...)
	r.useEveryPath(leaks)
	l := r.useSessions(leaks)
	useCommandLine(leaks, databaseURL)
	leaks.search("metrics", r.onOps("/metrics").body)
	leaks.searchRows("a row of the database", dump(t, server.URL()))

	server.Stop(t)
	for _, request := range []*http.Request{
		r.meRequest(l.access), r.loginRequest("alice", canaryPassword), r.registerRequest("bob", canaryPassword),
		r.refreshRequest(l.refresh), r.logoutRequest(l.refresh), r.passwordRequest(l.access, canaryNewPassword, canaryPassword),
		r.sessionsRequest("GET", "", l.access), r.sessionsRequest("DELETE", "", l.access), r.sessionsRequest("DELETE", "/"+uuid.NewString(), l.access),
		r.request("POST", "/logout", "", "Authorization", "Bearer "+l.access),
	} {
		leaks.searchAnswer(http.StatusServiceUnavailable, r.do(request))
	}
	await(t, "/verify to know nothing", func() bool {
		a := r.do(r.verifyRequest("GET", "/verify", l.access))
		leaks.searchAnswer(a.status, a)
		return a.status == http.StatusServiceUnavailable
	})
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

// useEveryPath sends secrets along every path of a request, and searches what comes back. useSessions has the rest.
func (r *replica) useEveryPath(leaks *leakSearch) {
	r.Helper()
	leaks.searchAnswer(http.StatusCreated, r.do(r.registerRequest("alice", canaryPassword)))
	leaks.searchAnswer(http.StatusConflict, r.do(r.registerRequest("alice", canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity, r.do(r.registerRequest("a\u0000b", canaryPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity, r.do(r.registerRequest("bob", strings.Repeat(canaryPassword, 10))))
	login := r.do(r.loginRequest("alice", canaryPassword))
	r.want(http.StatusOK, login)
	token := tokenIn(r, login)
	leaks.add("access token", token)
	leaks.addPlain("signature of an access token", token[strings.LastIndex(token, ".")+1:])
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
	r.overload(leaks)
}

// useSessions is useEveryPath for what a session can do. It returns one that goes on.
func (r *replica) useSessions(leaks *leakSearch) login {
	r.Helper()
	stolen := r.loggedInAs(leaks, "alice", canaryPassword)
	next := r.mustRefresh(leaks, stolen.refresh)
	r.mustRefresh(leaks, next.refresh)
	leaks.searchAnswer(http.StatusBadRequest, r.do(r.refreshRequest(stolen.refresh)))
	leaks.searchAnswer(http.StatusBadRequest, r.do(r.refreshRequest(next.refresh)))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(r.verifyRequest("GET", "/verify", next.access)))

	l := r.loggedInAs(leaks, "alice", canaryPassword)
	leaks.searchAnswer(http.StatusNoContent, r.do(r.verifyRequest("GET", "/verify", l.access)))
	leaks.searchAnswer(http.StatusNoContent, r.do(r.verifyRequest("POST", "/verify/"+canaryToken+"?token="+url.QueryEscape(canaryRefresh), l.access)))
	leaks.searchAnswer(http.StatusOK, r.do(r.sessionsRequest("GET", "", l.access)))
	for path, status := range map[string]int{"?before=" + canaryToken: 422, "?all=" + canaryToken: 422, "/" + canaryToken: 404, "/" + url.PathEscape(l.refresh): 404} {
		method := "DELETE"
		if strings.HasPrefix(path, "?before") {
			method = "GET"
		}
		leaks.searchAnswer(status, r.do(r.sessionsRequest(method, path, l.access)))
	}
	for _, refused := range []string{canaryRefresh, l.refresh + "A", l.refresh[:len(l.refresh)-4], l.access, canaryPassword} {
		leaks.searchAnswer(http.StatusBadRequest, r.do(r.refreshRequest(refused)))
		leaks.searchAnswer(http.StatusNoContent, r.do(r.logoutRequest(refused)))
		if refused != l.access {
			leaks.searchAnswer(http.StatusUnauthorized, r.do(r.verifyRequest("GET", "/verify", refused)))
			leaks.searchAnswer(http.StatusUnauthorized, r.do(r.request("POST", "/logout", "", "Authorization", "Bearer "+refused)))
		}
	}
	twice := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {l.refresh, l.refresh}}
	leaks.searchAnswer(http.StatusBadRequest, r.postForm("/token", twice))
	leaks.searchAnswer(http.StatusBadRequest, r.postForm("/logout", twice))
	leaks.searchAnswer(http.StatusUnauthorized, r.postForm("/logout?"+twice.Encode(), nil))

	leaks.searchAnswer(http.StatusUnprocessableEntity, r.do(r.passwordRequest(l.access, canaryOtherPassword, canaryNewPassword)))
	leaks.searchAnswer(http.StatusUnauthorized, r.do(r.passwordRequest(canaryToken, canaryPassword, canaryNewPassword)))
	leaks.searchAnswer(http.StatusUnprocessableEntity, r.do(r.passwordRequest(l.access, canaryPassword, strings.Repeat(canaryNewPassword, 10))))
	half := r.request("PUT", "/users/me/password", `{"current_password": "`+canaryPassword+`", "`+canaryNewPassword, "Authorization", "Bearer "+l.access, "Content-Type", "application/json")
	leaks.searchAnswer(http.StatusBadRequest, r.do(half))
	l = r.tokensIn(leaks, r.do(r.passwordRequest(l.access, canaryPassword, canaryNewPassword)))

	for _, logout := range []func(login) *http.Request{
		func(l login) *http.Request { return r.logoutRequest(l.refresh) },
		func(l login) *http.Request {
			return r.request("POST", "/logout", "", "Authorization", "Bearer "+l.access)
		},
	} {
		leaks.searchAnswer(http.StatusNoContent, r.do(logout(r.loggedInAs(leaks, "alice", canaryNewPassword))))
	}
	leaks.searchAnswer(http.StatusNoContent, r.do(r.sessionsRequest("DELETE", "", l.access)))
	return l
}

// loggedInAs logs a user in, and has the tokens searched for.
func (r *replica) loggedInAs(leaks *leakSearch, username, password string) login {
	r.Helper()
	return r.tokensIn(leaks, r.do(r.loginRequest(username, password)))
}

func (r *replica) mustRefresh(leaks *leakSearch, raw string) login {
	r.Helper()
	return r.tokensIn(leaks, r.do(r.refreshRequest(raw)))
}

func (r *replica) tokensIn(leaks *leakSearch, a answer) login {
	r.Helper()
	r.want(http.StatusOK, a)
	var body struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	must(r, json.Unmarshal([]byte(a.body), &body))
	leaks.add("access token", body.AccessToken)
	leaks.add("refresh token", body.RefreshToken)
	return login{access: body.AccessToken, refresh: body.RefreshToken}
}

func (r *replica) postForm(path string, form url.Values) answer {
	r.Helper()
	return r.do(r.request("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

func (r *replica) refreshRequest(raw string) *http.Request {
	r.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {raw}}
	return r.request("POST", "/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (r *replica) logoutRequest(raw string) *http.Request {
	r.Helper()
	return r.request("POST", "/logout", url.Values{"refresh_token": {raw}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (r *replica) sessionsRequest(method, path, token string) *http.Request {
	r.Helper()
	return r.request(method, "/users/me/sessions"+path, "", "Authorization", "Bearer "+token)
}

func (r *replica) passwordRequest(token, current, next string) *http.Request {
	r.Helper()
	body, err := json.Marshal(map[string]string{"current_password": current, "new_password": next})
	must(r, err)
	return r.request("PUT", "/users/me/password", string(body), "Authorization", "Bearer "+token, "Content-Type", "application/json")
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
	}, config.Passwords{BcryptCost: 10, PasswordMinLength: 8, PasswordPepper: pepper})
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
