package web_test

import (
	"html"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/dbtest"
)

// A proxy that demands a strong or a recent login must get one: a click is none. Whoever has no
// second factor must be told, and not be sent around in a circle.
func TestALoginThatAProxyDemandsIsAProofAndLeadsBack(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	f := start(t, settings{
		databaseURL: databaseURL, returnOrigins: []string{"https://wiki.example.org"},
	})
	conn, err := pgx.Connect(t.Context(), databaseURL)
	must(t, err)
	t.Cleanup(func() { conn.Close(t.Context()) })
	exec := func(statement string, args ...any) {
		t.Helper()
		_, err := conn.Exec(t.Context(), statement, args...)
		must(t, err)
	}
	const wiki = "https://wiki.example.org/x?y=z"
	query := func(acr, maxAge string) string {
		q := url.Values{"next": {wiki}}
		if acr != "" {
			q.Set("acr", acr)
		}
		if maxAge != "" {
			q.Set("max_age", maxAge)
		}
		return "/login?" + q.Encode()
	}
	b := f.loggedIn("alice")
	const goOn, form = `value="current"`, `name="password"`
	shows := func(when, path string, wanted, unwanted string) {
		t.Helper()
		a := b.get(path)
		f.shows(a, 200, wanted)
		if strings.Contains(a.body, unwanted) {
			t.Errorf("%s: the page has %s: %s", when, unwanted, a.body)
		}
	}
	shows("a login of now", query("", "300"), goOn, "second factor")
	shows("a login of one factor", query("aal1", "300"), goOn, "second factor")
	shows("no demand that is known", query("aal3", "300"), goOn, "second factor")
	shows("no factor", query("aal2", "300"), "wiki.example.org wants a second factor", form)
	f.shows(b.get(query("aal2", "")), 200, `href="/account"`, "alice")
	exec(`UPDATE sessions SET auth_time = now() - interval '6 minutes'`)
	shows("an old login", query("", "300"), `value="alice"`, goOn)
	a := b.get(query("", "300"))
	next := "/login?" + url.Values{"max_age": {"300"}, "next": {wiki}}.Encode()
	f.shows(a, 200, `name="next" value="`+html.EscapeString(next)+`"`)
	f.shows(b.login("alice", "a wrong password", "next", next), 401, html.EscapeString(next))
	f.sent(b.login("alice", goodPassword, "next", next), wiki)
	shows("after the login", query("", "300"), goOn, "second factor")

	exec(`INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, $2, 0)`, f.user("alice").ID, make([]byte, 64))
	shows("a factor that is not proved", query("aal2", ""), form, goOn)
	exec(`UPDATE sessions SET amr = '{pwd,otp,mfa}'`)
	shows("both factors", query("aal2", "300"), goOn, "second factor")
	exec(`UPDATE sessions SET auth_time = now() - interval '6 minutes'`)
	shows("both factors, long ago", query("aal2", "300"), form, goOn)
	exec(`DELETE FROM totp_secrets`)

	for _, evil := range []string{
		"/login?acr=aal2&next=https%3A%2F%2Fevil.example%2F", "/login?max_age=300&next=%2F%2Fevil.example",
		"/login?max_age=300&next=%2Flogin%3Fmax_age%3D300%26next%3Dhttps%253A%252F%252Fevil.example",
		"/login?max_age=300", "//login?max_age=300&next=%2Faccount",
	} {
		f.sent(b.login("alice", goodPassword, "next", evil), "/")
	}
	f.sent(b.login("alice", goodPassword, "next", "/login?max_age=300&next=%2Faccount"), "/account")
}
