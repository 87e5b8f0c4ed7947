package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
)

// useFactors logs in with a second factor, without a browser and in one, and puts what is secret of
// it where it belongs and where it does not. A code of six digits is not searched: a time in
// nanoseconds may have it.
func (r *replica) useFactors(leaks *leakSearch, databaseURL, ownerURL string) {
	r.Helper()
	app, codes := r.withFactors(leaks, databaseURL, ownerURL, "frida")
	const verifier = "canary-verifier-of-a-native-app-0123456789-0123456789-37c2"
	leaks.add("verifier", verifier)
	sum := sha256.Sum256([]byte(verifier))
	post := func(path, cookie string, form url.Values) answer {
		return r.do(r.request("POST", path, form.Encode(), "Cookie", cookie,
			"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"))
	}
	challenge := func(pairs ...string) answer {
		form := url.Values{
			"code_challenge_method": {"S256"},
			"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		}
		for n := 0; n < len(pairs); n += 2 {
			form.Set(pairs[n], pairs[n+1])
		}
		return post("/authorize-challenge", "", form)
	}
	var told struct {
		Session string `json:"auth_session"`
		Code    string `json:"authorization_code"`
	}
	begun := challenge("username", "frida", "password", canaryPassword)
	r.want(http.StatusForbidden, begun)
	must(r, json.Unmarshal([]byte(begun.body), &told))
	leaks.add("auth_session", told.Session)
	for _, wrong := range [][]string{
		{"auth_session", told.Session + "A", "otp", codes[0]},
		{"auth_session", codes[0], "otp", told.Session},
		{"auth_session", told.Session, "otp", codes[0] + "A"},
		{"auth_session", told.Session, "otp", strings.ReplaceAll(app.Text(), " ", "")},
		{"auth_session", told.Session, "passkey", codes[0]},
		{"auth_session", told.Session, "otp", codes[0], "response_type", told.Session},
		{"auth_session", told.Session, "otp", codes[0], "claims", told.Session},
		{"auth_session", told.Session, "otp", codes[0], "client_secret", codes[0]},
	} {
		leaks.searchAnswer(http.StatusBadRequest, challenge(wrong...))
	}
	for _, path := range []string{
		"/verify?acr=" + codes[0], "/login?auth_session=" + told.Session, "/" + told.Session,
		"/login/factor?factor=" + codes[0], "/account/security?" + url.QueryEscape(app.Text()),
	} {
		a := r.do(r.request("GET", path, "", "Accept", "text/html"))
		leaks.searchAnswer(a.status, a)
	}
	proved := challenge("auth_session", told.Session, "otp", codes[0])
	r.want(http.StatusOK, proved)
	must(r, json.Unmarshal([]byte(proved.body), &told))
	leaks.add("code", told.Code)
	redeem := func() answer {
		return post("/token", "", url.Values{
			"grant_type": {"authorization_code"}, "code": {told.Code}, "code_verifier": {verifier},
		})
	}
	granted := redeem()
	r.want(http.StatusOK, granted)
	leaks.addTokens(r, granted)
	leaks.searchAnswer(http.StatusBadRequest, redeem())

	first := post("/login", "", url.Values{"username": {"frida"}, "password": {canaryPassword}})
	r.want(http.StatusSeeOther, first)
	pending := cookieNamed(first, "gatehouse_login")
	leaks.add("cookie of a login between its steps", pending)
	at := "gatehouse_login=" + pending
	leaks.searchAnswer(http.StatusBadRequest,
		post("/login/factor", at, url.Values{"factor": {codes[1] + "A"}}))
	r.want(http.StatusSeeOther, post("/login/factor", at, url.Values{"factor": {codes[1]}}))
	again := post("/login/factor", at, url.Values{"factor": {codes[1]}})
	leaks.searchAnswer(again.status, again)
}

// withFactors makes an account with an authenticator app and recovery codes, which are canaries.
func (r *replica) withFactors(
	leaks *leakSearch, databaseURL, ownerURL, username string,
) (app otp.Secret, codes []string) {
	r.Helper()
	admin, err := openCanaryAdmin(leaks.T, databaseURL, canaryPepper)
	must(leaks, err)
	defer admin.Close()
	user, _, err := admin.Accounts.Register(r.Context(), authtest.Operator(),
		auth.NewAccount{Username: username, Password: canaryPassword})
	must(leaks, err)
	conn := connect(leaks.T, ownerURL)
	app = insertApp(leaks.T, conn, canarySecretKey, user.ID)
	leaks.add("secret of an app", app.Text())
	leaks.add("secret of an app", strings.ReplaceAll(app.Text(), " ", ""))
	leaks.addPlain("secret of an app", string(app))
	for _, code := range otp.NewRecoveryCodes() {
		codes = append(codes, code.Text())
		leaks.add("recovery code", code.Text())
		leaks.add("recovery code", strings.ReplaceAll(code.Text(), "-", ""))
		_, err = conn.Exec(r.Context(),
			"INSERT INTO recovery_codes (user_id, digest) VALUES ($1, $2)", user.ID, code.Digest(user.ID))
		must(leaks, err)
	}
	return app, codes
}

// insertApp gives a user an authenticator app, whose secret is sealed under a SECRET_KEY.
func insertApp(t testing.TB, conn *pgx.Conn, secretKey string, user uuid.UUID) otp.Secret {
	t.Helper()
	keys, err := keychain.New([][]byte{[]byte(secretKey)})
	must(t, err)
	app := otp.NewSecret()
	_, err = conn.Exec(t.Context(),
		"INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, $2, 0)", user,
		keys.Sealer(keychain.TOTPSecrets).Seal(user.String(), app))
	must(t, err)
	return app
}

// cookieNamed returns the value of a cookie that an answer sets, or "".
func cookieNamed(a answer, name string) (value string) {
	for _, set := range a.header["Set-Cookie"] {
		if got, ok := strings.CutPrefix(set, name+"="); ok {
			value, _, _ = strings.Cut(got, ";")
		}
	}
	return value
}
