package httpapi

import (
	"net/http"
	"strings"
	"testing"
)

// Somebody who is logged in is a stranger too. The routes of a session answer abuse as a mistake,
// and change nothing.
func TestAbuseOfASessionsRoutesIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	this, other := f.tokensOf(f.login("alice", goodPassword)),
		f.tokensOf(f.login("alice", goodPassword))
	const good = `{"current_password":"` + goodPassword + `","new_password":"another good password"`
	const right = `{"current_password":"` + goodPassword + `"}`
	deep := strings.Repeat("[", 30000) + strings.Repeat("]", 30000)
	forged := flip(other.refresh)
	for _, test := range []struct {
		name, method, path, mediaType, body string
		bearer                              string
		status                              int
	}{
		{"no token", "POST", "/token", formType, "grant_type=refresh_token", "", 400},
		{"empty token", "POST", "/token", formType, "grant_type=refresh_token&refresh_token=", "",
			400},
		{"repeated token", "POST", "/token", formType,
			"grant_type=refresh_token&refresh_token=" + other.refresh + "&refresh_token=" +
				other.refresh, "", 400},
		{"repeated grant type", "POST", "/token", formType,
			"grant_type=refresh_token&grant_type=password&refresh_token=" + other.refresh, "", 400},
		{"no grant type", "POST", "/token", formType, "refresh_token=" + other.refresh, "", 400},
		{"refresh token in capitals", "POST", "/token", formType,
			"grant_type=refresh_token&refresh_token=" + strings.ToUpper(other.refresh), "", 400},
		{"token with a space", "POST", "/token", formType,
			"grant_type=refresh_token&refresh_token=+" + other.refresh, "", 400},
		{"padded token", "POST", "/token", formType,
			"grant_type=refresh_token&refresh_token=" + other.refresh + "%3D", "", 400},
		{"invalid UTF-8", "POST", "/token", formType, "grant_type=refresh_token&refresh_token=%ff",
			"", 400},
		{"NUL", "POST", "/token", formType,
			"grant_type=refresh_token&refresh_token=%00" + other.refresh, "", 400},
		{"SQL", "POST", "/token", formType, "grant_type=refresh_token&refresh_token=%27+OR+1%3D1--",
			"", 400},
		{"changed token", "POST", "/token", formType,
			"grant_type=refresh_token&refresh_token=" + forged, "", 400},
		{"token as JSON", "POST", "/token", jsonType,
			`{"grant_type":"refresh_token","refresh_token":"` + other.refresh + `"}`, "", 415},
		{"token in the header", "POST", "/token", formType, "grant_type=refresh_token",
			other.refresh, 400},
		{"64 KiB and one byte", "POST", "/token", formType,
			"grant_type=refresh_token&refresh_token=" + strings.Repeat("x", 64<<10), "", 413},

		{"nothing", "POST", "/logout", "", "", "", 401},
		{"an empty form", "POST", "/logout", formType, "", "", 401},
		{"another parameter", "POST", "/logout", formType, "token=" + other.refresh, "", 401},
		{"repeated token", "POST", "/logout", formType,
			"refresh_token=" + other.refresh + "&refresh_token=" + other.refresh, "", 400},
		{"token in the URL", "POST", "/logout?refresh_token=" + other.refresh, formType, "", "",
			401},
		{"bad escape", "POST", "/logout", formType, "refresh_token=%zz", "", 400},
		{"changed token", "POST", "/logout", formType, "refresh_token=" + forged, "", 204},
		{"access token for a refresh token", "POST", "/logout", formType,
			"refresh_token=" + other.access, "", 204},
		{"refresh token for an access token", "POST", "/logout", "", "", other.refresh, 401},
		{"changed access token", "POST", "/logout", "", "", flip(other.access), 401},
		{"bad header beside a good form", "POST", "/logout", formType,
			"refresh_token=" + other.refresh, "x", 401},
		{"JSON", "POST", "/logout", jsonType, `{"refresh_token":"` + other.refresh + `"}`, "", 415},
		{"multipart", "POST", "/logout", "multipart/form-data; boundary=x", "--x--", "", 401},
		{"64 KiB and one byte", "POST", "/logout", formType,
			"refresh_token=" + strings.Repeat("x", 64<<10), "", 413},
		{"by GET", "GET", "/logout", "", "", other.access, 405},

		{"no token", "GET", "/users/me/sessions", "", "", "", 401},
		{"refresh token", "GET", "/users/me/sessions", "", "", this.refresh, 401},
		{"NUL", "GET", "/users/me/sessions?before=%00", "", "", this.access, 422},
		{"empty", "GET", "/users/me/sessions?before=", "", "", this.access, 422},
		{"SQL", "GET", "/users/me/sessions?before=%27+OR+1%3D1--", "", "", this.access, 422},
		{"invalid UTF-8", "GET", "/users/me/sessions?before=%ff", "", "", this.access, 422},
		{"SQL behind an id", "GET",
			"/users/me/sessions?before=ffffffff-ffff-ffff-ffff-ffffffffffff'", "", "", this.access,
			422},
		{"long", "GET", "/users/me/sessions?before=" + strings.Repeat("x", 5000), "", "",
			this.access, 422},

		{"no token", "DELETE", "/users/me/sessions", "", "", "", 401},
		{"refresh token", "DELETE", "/users/me/sessions", "", "", this.refresh, 401},
		{"neither true nor false", "DELETE", "/users/me/sessions?all=yes", "", "", this.access,
			422},
		{"empty", "DELETE", "/users/me/sessions?all=", "", "", this.access, 422},
		{"NUL", "DELETE", "/users/me/sessions?all=true%00", "", "", this.access, 422},
		{"no token", "DELETE", "/users/me/sessions/01890000-0000-7000-8000-000000000000", "", "",
			"", 401},
		{"nobody's", "DELETE", "/users/me/sessions/01890000-0000-7000-8000-000000000000", "", "",
			this.access, 404},
		{"no id", "DELETE", "/users/me/sessions/%00", "", "", this.access, 404},
		{"SQL", "DELETE", "/users/me/sessions/%27%20OR%201=1--", "", "", this.access, 404},
		{"invalid UTF-8", "DELETE", "/users/me/sessions/%ff", "", "", this.access, 404},
		{"a path", "DELETE", "/users/me/sessions/..%2F..", "", "", this.access, 404},
		{"long", "DELETE", "/users/me/sessions/" + strings.Repeat("x", 5000), "", "", this.access,
			404},

		{"no token", "GET", "/users/me/data", "", "", "", 401},
		{"refresh token", "GET", "/users/me/data", "", "", this.refresh, 401},
		{"by POST", "POST", "/users/me/data", "", "", this.access, 405},
		{"no token", "DELETE", "/users/me", jsonType, right, "", 401},
		{"refresh token", "DELETE", "/users/me", jsonType, right, this.refresh, 401},
		{"no body", "DELETE", "/users/me", "", "", this.access, 415},
		{"empty body", "DELETE", "/users/me", jsonType, "", this.access, 400},
		{"no password", "DELETE", "/users/me", jsonType, "{}", this.access, 422},
		{"null", "DELETE", "/users/me", jsonType, `{"current_password":null}`, this.access, 422},
		{"empty password", "DELETE", "/users/me", jsonType, `{"current_password":""}`, this.access,
			422},
		{"wrong type", "DELETE", "/users/me", jsonType, `{"current_password":["` + goodPassword +
			`"]}`, this.access, 422},
		{"trailing data", "DELETE", "/users/me", jsonType, right + right, this.access, 400},
		{"duplicate key", "DELETE", "/users/me", jsonType,
			`{"current_password":"x","current_password":"` + goodPassword + `"}`, this.access, 400},
		{"another's id", "DELETE", "/users/me", jsonType,
			`{"current_password":"` + goodPassword + `","id":"x"}`, this.access, 422},
		{"password in the URL", "DELETE", "/users/me?current_password=x", jsonType, "{}",
			this.access, 422},
		{"form", "DELETE", "/users/me", formType, "current_password=x", this.access, 415},
		{"deep nesting", "DELETE", "/users/me", jsonType, deep, this.access, 400},

		{"no token", "PUT", "/users/me/password", jsonType, good + "}", "", 401},
		{"refresh token", "PUT", "/users/me/password", jsonType, good + "}", this.refresh, 401},
		{"no body", "PUT", "/users/me/password", jsonType, "", this.access, 400},
		{"unfinished", "PUT", "/users/me/password", jsonType, good, this.access, 400},
		{"trailing data", "PUT", "/users/me/password", jsonType, good + "} {}", this.access, 400},
		{"unknown field", "PUT", "/users/me/password", jsonType, good + `,"username":"bob"}`,
			this.access, 422},
		{"duplicate key", "PUT", "/users/me/password", jsonType,
			good + `,"new_password":"yet another password"}`, this.access, 400},
		{"field in capitals", "PUT", "/users/me/password", jsonType,
			`{"current_password":"` + goodPassword + `","New_Password":"another good password"}`,
			this.access, 422},
		{"invalid UTF-8", "PUT", "/users/me/password", jsonType,
			`{"current_password":"` + goodPassword + `","new_password":"another good` + "\xff" +
				`"}`, this.access, 400},
		{"half a surrogate pair", "PUT", "/users/me/password", jsonType,
			`{"current_password":"` + goodPassword + `","new_password":"another good\ud800"}`,
			this.access, 400},
		{"deep nesting", "PUT", "/users/me/password", jsonType, deep, this.access, 400},
		{"null", "PUT", "/users/me/password", jsonType, "null", this.access, 422},
		{"missing fields", "PUT", "/users/me/password", jsonType, "{}", this.access, 422},
		{"null and an array", "PUT", "/users/me/password", jsonType,
			`{"current_password":null,"new_password":[]}`, this.access, 422},
		{"object for a string", "PUT", "/users/me/password", jsonType,
			`{"current_password":{},"new_password":"another good password"}`, this.access, 422},
		{"wrong password", "PUT", "/users/me/password", jsonType,
			`{"current_password":"wrong","new_password":"another good password"}`, this.access,
			422},
		{"NUL in the current password", "PUT", "/users/me/password", jsonType,
			`{"current_password":"` + goodPassword +
				`\u0000","new_password":"another good password"}`, this.access, 422},
		{"NUL in the new password", "PUT", "/users/me/password", jsonType,
			`{"current_password":"` + goodPassword +
				`","new_password":"another\u0000 good password"}`, this.access, 422},
		{"short password", "PUT", "/users/me/password", jsonType,
			`{"current_password":"` + goodPassword + `","new_password":"7 chars"}`, this.access,
			422},
		{"long password", "PUT", "/users/me/password", jsonType,
			`{"current_password":"` + goodPassword + `","new_password":"` +
				strings.Repeat("x", 257) + `"}`, this.access, 422},
		{"form for JSON", "PUT", "/users/me/password", formType,
			"current_password=x&new_password=y", this.access, 415},
		{"64 KiB and one byte", "PUT", "/users/me/password", jsonType,
			`{"new_password":"` + strings.Repeat("x", 64<<10) + `"}`, this.access, 413},

		{"no token", "GET", "/verify", "", "", "", 401},
		{"refresh token", "GET", "/verify", "", "", this.refresh, 401},
		{"changed token", "POST", "/verify/cart", "", "", flip(this.access), 401},
		{"two tokens in one", "GET", "/verify", "", "", this.access + "," + this.access, 401},
		{"token in the URL", "GET", "/verify?access_token=" + this.access, "", "", "", 401},
		{"token in the path", "GET", "/verify/" + this.access, "", "", "", 401},
		{"token in a form", "POST", "/verify", formType, "access_token=" + this.access, "", 401},
		{"long token", "GET", "/verify", "", "", strings.Repeat("x", 8000), 401},
	} {
		t.Run(test.method+" "+test.path[:min(40, len(test.path))]+" "+test.name,
			func(t *testing.T) {
				r := f.request(test.method, test.path, test.body)
				if test.mediaType != "" {
					r.Header.Set("Content-Type", test.mediaType)
				}
				if test.bearer != "" {
					r.Header.Set("Authorization", "Bearer "+test.bearer)
				}
				a := f.do(r)
				if a.status != test.status {
					t.Errorf("%d %s, want %d", a.status, a.body, test.status)
				}
				for _, secret := range []string{this.access, this.refresh, other.access,
					other.refresh,
					forged} {
					if strings.Contains(a.body, secret) {
						t.Errorf("the answer repeats a token: %s", a.body)
					}
				}
			})
	}
	for name, session := range map[string]tokens{"this": this, "other": other} {
		f.want(name, f.as(session, "GET", "/users/me", ""), http.StatusOK)
		f.want(name, f.as(session, "GET", "/verify", ""), http.StatusNoContent)
		f.tokensOf(f.refreshed(session.refresh)) // a token in a refused form is still unused
	}
	f.want("the password", f.login("alice", goodPassword), http.StatusOK)
}
