package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// tokens are those of a login.
type tokens struct{ access, refresh string }

func (f *fixture) tokensOf(a answered) tokens {
	f.Helper()
	if a.status != http.StatusOK {
		f.Fatalf("no tokens: %d %s", a.status, a.body)
	}
	access, _ := a.json(f, "access_token").(string)
	refresh, _ := a.json(f, "refresh_token").(string)
	return tokens{access, refresh}
}

func (f *fixture) refreshed(raw string) answered {
	f.Helper()
	return f.postToken(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {raw}}.Encode())
}

func (f *fixture) as(t tokens, method, path, body string) answered {
	f.Helper()
	header := []string{"Authorization", "Bearer " + t.access}
	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}
	return f.do(f.request(method, path, body, header...))
}

func (f *fixture) want(what string, a answered, status int) {
	f.Helper()
	if a.status != status {
		f.Errorf("%s: %d %s, want %d", what, a.status, a.body, status)
	}
}

func TestAClientStaysLoggedInByRefreshing(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	first := f.tokensOf(f.login("alice", goodPassword))
	second := f.tokensOf(f.refreshed(first.refresh))
	if again := f.tokensOf(f.refreshed(first.refresh)); again.refresh != second.refresh {
		t.Error("a retry got another successor")
	}
	f.want("the new access token", f.as(second, "GET", "/users/me", ""), 200)
	f.want("the old access token", f.as(first, "GET", "/users/me", ""), 200)
	f.tokensOf(f.refreshed(second.refresh))
	f.want("two back", f.refreshed(first.refresh), 400)
	f.want("the session's access token", f.as(second, "GET", "/users/me", ""), 401)
	if got := counted(t, f.metrics, "gatehouse_refreshes_total", "token_reused"); got != 1 {
		t.Errorf("gatehouse_refreshes_total{outcome=token_reused} is %v", got)
	}
}

func TestRefusedRefreshTokensAreAlikeToTheByte(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	ended := f.tokensOf(f.login("alice", goodPassword))
	f.want("logout", f.as(ended, "POST", "/logout", ""), 204)
	const want = `{"error":"invalid_grant","error_description":"The refresh token is not valid; log in again","detail":"The refresh token is not valid; log in again"}` + "\n"
	for name, raw := range map[string]string{
		"garbage": "x", "of an ended session": ended.refresh, "access token": ended.access,
		"changed": flip(ended.refresh),
		"long":    strings.Repeat("x", 60000), "with NUL": ended.refresh + "\x00",
		"with a line break": ended.refresh + "\n",
	} {
		if a := f.refreshed(raw); a.status != http.StatusBadRequest || a.body != want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	f.want("missing", f.postToken("grant_type=refresh_token"), 400)
	f.want("empty", f.postToken("grant_type=refresh_token&refresh_token="), 400)
	f.want("repeated", f.postToken("grant_type=refresh_token&refresh_token=x&refresh_token=x"), 400)
	f.want("in the URL",
		f.do(f.request("POST", "/token?grant_type=refresh_token&refresh_token="+ended.refresh, "",
			"Content-Type", formType)), 400)
}

func TestAUserSeesWhereSheIsLoggedInAndEndsIt(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	f.loggedIn("bob")
	this, other := f.tokensOf(f.login("alice", goodPassword)),
		f.tokensOf(f.login("alice", goodPassword))
	ofBob := f.tokensOf(f.login("bob", goodPassword))
	list := f.as(this, "GET", "/users/me/sessions", "")
	sessions, _ := list.json(t, "sessions").([]any)
	if list.status != 200 || len(sessions) != 3 || list.json(t, "next") != nil {
		t.Fatalf("%d %s", list.status, list.body)
	}
	newest, mine := sessions[0].(map[string]any), sessions[1].(map[string]any)
	if newest["current"] != false || mine["current"] != true ||
		mine["client_address"] != "127.0.0.1" ||
		!strings.HasPrefix(mine["user_agent"].(string), "Go-http-client") {
		t.Errorf("%s", list.body)
	}
	id := newest["id"].(string)
	foreign, unknown := f.as(ofBob, "DELETE", "/users/me/sessions/"+id, ""),
		f.as(ofBob, "DELETE", "/users/me/sessions/"+uuid.NewString(), "")
	if f.want("bob ends it", foreign, 404); foreign.body != unknown.body || unknown.status != 404 {
		t.Errorf("bob can tell it from none: %s, %s", foreign.body, unknown.body)
	}
	f.want("alice ends it", f.as(this, "DELETE", "/users/me/sessions/"+id, ""), 204)
	f.want("again", f.as(this, "DELETE", "/users/me/sessions/"+id, ""), 404)
	f.want("no id", f.as(this, "DELETE", "/users/me/sessions/x", ""), 404)
	f.want("the ended one", f.as(other, "GET", "/users/me", ""), 401)
	f.want("a page after it", f.as(this, "GET", "/users/me/sessions?before="+id, ""), 200)
	f.want("a page after nothing", f.as(this, "GET", "/users/me/sessions?before=x", ""), 422)

	f.want("all others", f.as(this, "DELETE", "/users/me/sessions", ""), 204)
	f.want("this one", f.as(this, "GET", "/users/me", ""), 200)
	f.want("neither true nor false", f.as(this, "DELETE", "/users/me/sessions?all=maybe", ""), 422)
	f.want("all", f.as(this, "DELETE", "/users/me/sessions?all=true", ""), 204)
	for method, path := range map[string]string{"GET": "/users/me/sessions",
		"DELETE": "/users/me/sessions"} {
		f.want("afterwards "+method, f.as(this, method, path, ""), 401)
	}
	f.want("bob", f.as(ofBob, "GET", "/users/me", ""), 200)
}

// A thief who polls the list could learn when a refresh token is used, and use it again within the
// grace.
func TestTheListOfSessionsDoesNotTellWhenOneIsRefreshed(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	grant := f.tokensOf(f.login("alice", goodPassword))
	before := f.as(grant, "GET", "/users/me/sessions", "")
	f.tokensOf(f.refreshed(grant.refresh))
	if after := f.as(grant, "GET", "/users/me/sessions", ""); after.body != before.body {
		t.Errorf("%s, and before: %s", after.body, before.body)
	}
}

func TestSessionsArePaged(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	var last tokens
	for range sessionsPage { // loggedIn has made one more
		last = f.tokensOf(f.login("alice", goodPassword))
	}
	first := f.as(last, "GET", "/users/me/sessions", "")
	next, _ := first.json(t, "next").(string)
	second := f.as(last, "GET", "/users/me/sessions?before="+next, "")
	if got := len(first.json(t, "sessions").([]any)) +
		len(second.json(t, "sessions").([]any)); got != sessionsPage+1 ||
		second.json(t, "next") != nil {
		t.Errorf("%d sessions on two pages; %s", got, second.body)
	}
	f.want("from nowhere", f.as(last, "GET", "/users/me/sessions?before="+uuid.NewString(), ""),
		422)
}

// Whoever follows next to its end would be led to an empty page.
func TestAPageThatIsFullAndTheLastHasNoNext(t *testing.T) {
	t.Parallel()
	f, conn := startWithConn(t, settings{})
	root := f.root()
	_, err := conn.Exec(t.Context(),
		`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT gen_random_uuid(), s.user_id, s.salt, s.idle_expires_at, s.expires_at, s.client_address, s.user_agent
		FROM sessions s, generate_series(2, $1)`, sessionsPage)
	must(t, err)
	for _, list := range []struct {
		path, items string
		rows        int
	}{
		{"/users/me/sessions", "sessions", sessionsPage},
		{"/users?limit=1", "users", 1},
		{"/audit?limit=1&action=user.create", "events", 1},
	} {
		a := f.as(root, "GET", list.path, "")
		if items, _ := a.json(t, list.items).([]any); len(items) != list.rows ||
			a.json(t, "next") != nil {
			t.Errorf("%s: %d rows, next %v", list.path, len(items), a.json(t, "next"))
		}
	}
}

func TestLogoutTakesEitherTokenAndIsIdempotent(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	byAccess, byRefresh := f.tokensOf(f.login("alice", goodPassword)),
		f.tokensOf(f.login("alice", goodPassword))
	form := func(body string) answered {
		return f.do(f.request("POST", "/logout", body, "Content-Type", formType))
	}
	for range 2 {
		f.want("by access token", f.as(byAccess, "POST", "/logout", ""), 204)
		f.want("by refresh token", form("refresh_token="+byRefresh.refresh), 204)
	}
	f.want("garbage", form("refresh_token=x"), 204)
	f.want("nothing", f.do(f.request("POST", "/logout", "")), 401)
	f.want("an empty form", form(""), 401)
	f.want("twice", form("refresh_token=x&refresh_token=x"), 400)
	f.want("JSON", f.do(f.request("POST", "/logout", "{}", "Content-Type", jsonType)), 415)
	f.want("too large", form("refresh_token="+strings.Repeat("x", 64<<10)), 413)
	f.want("forged access token",
		f.do(f.request("POST", "/logout", "", "Authorization", "Bearer x")), 401)
	for _, ended := range []tokens{byAccess, byRefresh} {
		f.want("afterwards", f.as(ended, "GET", "/users/me", ""), 401)
		f.want("afterwards", f.refreshed(ended.refresh), 400)
	}
}

func TestAPasswordIsChangedByItsUser(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	this, other := f.tokensOf(f.login("alice", goodPassword)),
		f.tokensOf(f.login("alice", goodPassword))
	change := func(t tokens, current, next any) answered {
		body, err := json.Marshal(map[string]any{"current_password": current, "new_password": next})
		must(f, err)
		return f.as(t, "PUT", "/users/me/password", string(body))
	}
	f.want("wrong", change(this, "wrong", "another good password"), 422)
	f.want("weak", change(this, goodPassword, "password1"), 422)
	f.want("null", change(this, nil, "another good password"), 422)
	f.want("a number", change(this, 1, "another good password"), 422)
	f.want("not JSON", f.as(this, "PUT", "/users/me/password", "x"), 400)
	f.want("no token", f.do(f.request("PUT", "/users/me/password", "{}", "Content-Type", jsonType)),
		401)
	next := f.tokensOf(change(this, goodPassword, "another good password"))
	f.want("the new token", f.as(next, "GET", "/users/me", ""), 200)
	f.want("the old token", f.as(this, "GET", "/users/me", ""), 401)
	f.want("the other session", f.as(other, "GET", "/users/me", ""), 401)
	f.want("the other session's refresh token", f.refreshed(other.refresh), 400)
	f.want("the old token again", change(this, goodPassword, "another good password"), 401)
	f.want("the old password", f.login("alice", goodPassword), 401)
	f.want("the new password", f.login("alice", "another good password"), 200)
}
