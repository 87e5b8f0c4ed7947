package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

const otherPassword = "another good password"

// startWithConn is start with a connection to the database behind it.
func startWithConn(t *testing.T, s settings) (*fixture, *pgx.Conn) {
	t.Helper()
	s.databaseURL = dbtest.New(t)
	conn, err := pgx.Connect(t.Context(), s.databaseURL)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return start(t, s), conn
}

func (f *fixture) replaced(username, current, next string, header ...string) answered {
	f.Helper()
	body, err := json.Marshal(
		map[string]string{"username": username, "current_password": current, "new_password": next})
	must(f, err)
	return f.do(f.request("POST", "/token/password", string(body),
		append(header, "Content-Type", jsonType)...))
}

// invited makes a user with an initial secret.
func (f *fixture) invited(root tokens, name string) (secret string) {
	f.Helper()
	made := f.as(root, "POST", "/users", `{"username":"`+name+`","initial_secret":true}`)
	f.want("invite", made, 201)
	secret, _ = made.json(f, "initial_secret").(string)
	return secret
}

// wantChange checks that a login is told to change the password, and gets nothing else.
func (f *fixture) wantChange(what string, a answered) {
	f.Helper()
	if a.status != 400 || a.json(f, "error") != "password_change_required" ||
		strings.Contains(a.body, "_token") || a.header.Get("Gatehouse-Device") != "" {
		f.Errorf("%s: %d %v %s", what, a.status, a.header, a.body)
	}
}

// A password that somebody else has chosen must open only the way to another one.
func TestAPasswordThatMustBeChangedGivesNoTokenUntilItIs(t *testing.T) {
	t.Parallel()
	f := start(t, settings{registrationClosed: true})
	root := f.root()
	made := f.as(root, "POST", "/users",
		`{"username":"alice","password":"`+goodPassword+`","must_change_password":true}`)
	f.want("make", made, 201)
	if made.json(t, "user", "must_change_password") != true ||
		made.json(t, "initial_secret") != nil {
		t.Error(made.body)
	}
	f.want("role", f.as(root, "PUT", "/roles/clerk", `{"permissions":["files:read"]}`), 201)
	f.want("grant", f.as(root, "PUT", "/users/"+f.idOf("alice").String()+"/roles/clerk", ""), 204)
	f.wantChange("login", f.login("alice", goodPassword))
	f.wantChange("login for less",
		f.postToken("username=alice&password="+strings.ReplaceAll(goodPassword, " ", "+")+
			"&scope=files:read"))
	f.want("wrong password", f.login("alice", "wrong"), 401)
	f.want("replace with a wrong one", f.replaced("alice", "wrong", otherPassword), 401)
	for what, next := range map[string]string{"the same": goodPassword, "a common": "password123",
		"a short": "qxzw", "the name": "alice"} {
		if a := f.replaced("Alice", goodPassword, next); a.status != 422 ||
			!strings.Contains(a.body, `"field":"new_password"`) {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	f.wantChange("nothing has changed", f.login("alice", goodPassword))
	granted := f.replaced("Alice", goodPassword, otherPassword)
	alice := f.tokensOf(granted)
	if granted.json(t, "scope") != "files:read" {
		t.Error(granted.body)
	}
	f.want("use", f.as(alice, "GET", "/users/me", ""), 200)
	f.want("verify", f.as(alice, "GET", "/verify?permission=files:read", ""), 204)
	f.tokensOf(f.refreshed(alice.refresh))
	f.tokensOf(f.login("alice", otherPassword))
	f.want("the old password", f.login("alice", goodPassword), 401)
	if shown := f.as(root, "GET", "/users/"+f.idOf("alice").String(),
		""); strings.Contains(shown.body, "must_change") {
		t.Error(shown.body)
	}
	outcomes := map[any]int{}
	for _, line := range f.log.lines(t) {
		outcomes[line["outcome"]]++
	}
	if outcomes["password_change_required"] != 3 {
		t.Errorf("outcomes: %v", outcomes)
	}
}

// Somebody with the password that must go may be logged in already.
func TestADemandedChangeEndsAllThatThePasswordHasOpened(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root, clerk := f.root(), f.with("clerk", auth.WriteUsers)
	alice := f.tokensOf(f.loginNew("alice"))
	path := "/users/" + f.idOf("alice").String()
	tag := f.as(root, "GET", path, "").header.Get("ETag")
	for what, body := range map[string]string{
		"nothing": `{}`, "null": `{"must_change_password":null}`,
		"taken back":  `{"must_change_password":false}`,
		"two at once": `{"must_change_password":true,"disabled":true}`,
		"a word":      `{"must_change_password":"yes"}`,
	} {
		f.want(what, f.as(root, "PATCH", path, body), 422)
	}
	f.want("an account with more rights",
		f.as(clerk, "PATCH", "/users/"+f.idOf("root").String(), `{"must_change_password":true}`),
		403)
	f.want("still in", f.as(alice, "GET", "/verify", ""), 204)
	demanded := f.as(clerk, "PATCH", path, `{"must_change_password":true}`)
	f.want("demand", demanded, 200)
	if demanded.json(t, "user", "must_change_password") != true ||
		demanded.header.Get("ETag") == tag {
		t.Errorf("%v %s", demanded.header, demanded.body)
	}
	stale := f.request("PATCH", path, `{"must_change_password":true}`, "Authorization",
		"Bearer "+root.access, "Content-Type", jsonType, "If-Match", tag)
	f.want("of what has changed", f.do(stale), 412)
	f.want("verify", f.as(alice, "GET", "/verify", ""), 401)
	f.want("the own account", f.as(alice, "GET", "/users/me", ""), 401)
	f.want("change by the session",
		f.as(alice, "PUT", "/users/me/password",
			`{"current_password":"`+goodPassword+`","new_password":"`+otherPassword+`"}`), 401)
	f.want("refresh", f.refreshed(alice.refresh), 400)
	f.wantChange("login", f.login("alice", goodPassword))
	f.want("the way back",
		f.as(f.tokensOf(f.replaced("alice", goodPassword, otherPassword)), "GET", "/users/me", ""),
		200)
	f.want("refresh of the old session", f.refreshed(alice.refresh), 400)
}

// What a stranger may ask for must not depend on whether registration is open.
func TestOnlyManagersMakeAccountsWithMoreThanAPassword(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		f := start(t, settings{registrationClosed: closed, rates: tightRates()})
		root, user, clerk := f.root(), f.with("user"), f.with("clerk", auth.WriteUsers)
		stranger := 422
		if closed {
			stranger = 403
		}
		for n, body := range []string{
			`{"username":"%s","password":"` + goodPassword + `","must_change_password":true}`,
			`{"username":"%s","password":"` + goodPassword + `","must_change_password":false}`,
			`{"username":"%s","initial_secret":true}`,
			`{"username":"%s","password":"` + goodPassword + `","initial_secret":false}`,
		} {
			if n != 3 { // the contract does not have this form, and it is harmless
				// more than strangers may
				f.want("a manager",
					f.as(clerk, "POST", "/users", fmt.Sprintf(body, fmt.Sprint("made", n))), 201)
			}
			f.want("a stranger",
				f.do(f.request("POST", "/users", fmt.Sprintf(body, "alice"), "Content-Type",
					jsonType)), stranger)
			f.want("a user", f.as(user, "POST", "/users", fmt.Sprintf(body, "alice")), 403)
			f.want("a forger",
				f.as(tokens{access: root.access + "A"}, "POST", "/users",
					fmt.Sprintf(body, "alice")), 401)
		}
		for _, body := range []string{
			`{"initial_secret":true}`, `{"username":"alice"}`,
			`{"username":"","initial_secret":true}`,
			`{"username":"alice","initial_secret":1}`,
			`{"username":"alice","initial_secret":false}`,
			`{"username":"alice","initial_secret":true,"password":"` + goodPassword + `"}`,
			`{"username":"alice","initial_secret":true,"must_change_password":false}`,
		} {
			f.want(body, f.as(root, "POST", "/users", body), 422)
		}
		f.want("a name that is taken",
			f.as(root, "POST", "/users", `{"username":"ROOT","initial_secret":true}`), 409)
		f.wantUsers(6)
	}
}

func TestAnInitialSecretIsShownOnceAndGoodForOneChange(t *testing.T) {
	t.Parallel()
	f, conn := startWithConn(t, settings{})
	root := f.root()
	secret := f.invited(root, "alice")
	var left time.Duration
	must(t, conn.QueryRow(t.Context(),
		"SELECT password_expires_at - created_at FROM users WHERE username = 'alice'").Scan(&left))
	if left != time.Hour {
		t.Errorf("good for %v", left)
	}
	path := "/users/" + f.idOf("alice").String()
	shown := f.as(root, "GET", path, "")
	if strings.Contains(shown.body, "ghi_") || shown.json(t, "user", "password_expires_at") == nil {
		t.Error(shown.body)
	}
	if again := f.invited(root, "bob"); again == secret {
		t.Error("two users have one secret")
	}
	f.want("another demand", f.as(root, "PATCH", path, `{"must_change_password":true}`), 200)
	f.wantChange("login", f.login("alice", secret))
	f.wantChange("and again", f.login("alice", secret))
	f.want("the secret for a password", f.replaced("alice", secret, secret), 422)
	alice := f.tokensOf(f.replaced("alice", secret, goodPassword))
	f.want("use", f.as(alice, "GET", "/users/me", ""), 200)
	f.want("replace again", f.replaced("alice", secret, otherPassword), 401)
	f.want("login with the secret", f.login("alice", secret), 401)
	f.tokensOf(f.login("alice", goodPassword))
	if shown := f.as(root, "GET", path, ""); strings.Contains(shown.body, "password") {
		t.Error(shown.body)
	}
}

// If an attacker has read the mail, one of the attacker and the owner gets in. The other must
// notice that they do not.
func TestOfManyUsesOfASecretAtOnceOneGivesASession(t *testing.T) {
	t.Parallel()
	f, conn := startWithConn(t, settings{})
	secret := f.invited(f.root(), "alice")
	var answers [8]answered
	var all sync.WaitGroup
	release := authtest.FillLane(f.lane, 2, 0)
	for n := range answers {
		all.Go(func() {
			answers[n] = f.replaced("alice", secret, fmt.Sprintf("%s, the %dth", goodPassword, n))
		})
	}
	for f.lane.Stats().Queued < len(answers) { // by then, all have read what is stored
		runtime.Gosched()
	}
	release()
	all.Wait()
	won := -1
	for n, a := range answers {
		switch {
		case a.status == 200 && won < 0:
			won = n
		case a.status != 401:
			t.Errorf("%d: %d %s", n, a.status, a.body)
		}
	}
	if won < 0 {
		t.Fatal("nobody got in")
	}
	for n := range answers {
		want := 401
		if n == won {
			want = 200
		}
		f.want(fmt.Sprint("login ", n),
			f.login("alice", fmt.Sprintf("%s, the %dth", goodPassword, n)), want)
	}
	var sessions int
	must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM sessions WHERE user_id = $1",
		f.idOf("alice")).Scan(&sessions))
	if sessions != 2 { // the change, and the login after it
		t.Errorf("%d sessions", sessions)
	}
}

// Neither the answer nor the work may reveal whether a guess was an old initial secret.
func TestAnExpiredSecretIsRefusedAsAWrongPassword(t *testing.T) {
	t.Parallel()
	f, conn := startWithConn(t, settings{})
	root := f.root()
	secret, banned := f.invited(root, "alice"), f.invited(root, "banned")
	_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("banned"), nil)
	must(t, err)
	_, err = conn.Exec(t.Context(),
		"UPDATE users SET password_expires_at = now() WHERE username = 'alice'")
	must(t, err)
	for name, try := range map[string]func(username, pw string) answered{
		"login": f.login,
		"replace": func(username,
			pw string) answered {
			return f.replaced(username, pw, otherPassword)
		},
	} {
		var first answered
		for n, test := range []struct{ username, pw, outcome string }{
			{"alice", "wrong", "wrong_password"}, {"alice", secret, "expired"},
			{"banned", banned, "disabled"}, {"nobody", secret, "unknown_user"},
		} {
			before := f.hasher.Work()
			a := try(test.username, test.pw)
			if got := f.hasher.Work() - before; got != 1<<cost {
				t.Errorf("%s, %s: work %d", name, test.outcome, got)
			}
			for _, h := range []string{"Date", "X-Request-Id"} {
				a.header.Del(h)
			}
			if n == 0 {
				first = a
			}
			if a.status != http.StatusUnauthorized || a.body != first.body ||
				fmt.Sprint(a.header) != fmt.Sprint(first.header) {
				t.Errorf("%s, %s: %d %v %s", name, test.outcome, a.status, a.header, a.body)
			}
			lines := f.log.lines(t)
			if got := lines[len(lines)-1]["outcome"]; got != test.outcome {
				t.Errorf("%s: outcome %v, want %s", name, got, test.outcome)
			}
		}
	}
	// An operator gives a new one.
	_, secret, err = f.rules.Accounts.SetPassword(t.Context(), authtest.Operator(),
		auth.ByName("alice"), auth.NewPassword{Initial: true})
	must(t, err)
	f.tokensOf(f.replaced("alice", secret, goodPassword))
}

// To somebody who guesses, the route that replaces a password is a login too.
func TestFailuresToReplaceAPasswordCountAsThoseOfLogins(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	secret := f.invited(f.root(), "alice")
	for range 5 { // the right one counts for nothing
		f.wantChange("login", f.login("alice", secret))
	}
	first := f.replaced("alice", secret, goodPassword)
	device := first.header.Get("Gatehouse-Device")
	if cookieOf(first).Value != device || device == "" {
		t.Errorf("%v", first.header)
	}
	f.want("login", f.login("alice", "wrong"), 401)
	f.want("replace", f.replaced("alice", "wrong", otherPassword), 401)
	if a := f.replaced("alice", goodPassword, otherPassword); a.status != 429 ||
		a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	f.want("login", f.login("alice", goodPassword), 429)
	f.want("a password that is none counts nothing", f.replaced("bob", "wrong", "qxzw"), 422)
	f.tokensOf(f.replaced("alice", goodPassword, otherPassword, "Gatehouse-Device", device))
}

func TestBodiesThatReplaceNothingAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("alice")
	good := `"username":"alice","current_password":"` + goodPassword + `","new_password":"` +
		otherPassword + `"`
	for body, want := range map[string]int{
		"": 400, "{}": 422, "[]": 400, `{` + good: 400, `{` + good + `} {}`: 400,
		`{` + good + `,"roles":[]}`: 422,
		`{"username":"alice","current_password":null,"new_password":"` + otherPassword + `"}`: 422,
		`{` + strings.Replace(good, "battery", `b\u0000attery`, 1) + `}`:                      401,
		`{` + strings.Replace(good, "alice", `no body`, 1) + `}`:                              401,
		`{"username":"` + strings.Repeat("x", 64<<10) + `"}`:                                  413,
	} {
		a := f.do(f.request("POST", "/token/password", body, "Content-Type", jsonType))
		f.want(body[:min(len(body), 120)], a, want)
	}
	f.want("a form",
		f.do(f.request("POST", "/token/password", "username=alice", "Content-Type", formType)), 415)
	f.want("parameters in the URL",
		f.do(f.request("POST", "/token/password?username=alice&new_password=x", "{}",
			"Content-Type", jsonType)), 422)
	f.tokensOf(f.login("alice", goodPassword))
	f.want("of nobody",
		f.as(f.root(), "PATCH", "/users/"+uuid.NewString(), `{"must_change_password":true}`), 404)
}
