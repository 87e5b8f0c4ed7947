package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/api"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// way is a way in which a caller can have lines written into the audit log, again and again.
type way struct {
	does    string // method and path of the route
	prepare func(w *wayward)
	send    func(w *wayward) answered
	times   int
	first   int // status of the first answer
	last    int // status of the last answer
	lines   int // the most lines that all of them may leave
	// events that are not even counted: remembered refusals by a limit, and what changes nothing
	unsaid int
}

// wayward is a fixture with clients.
type wayward struct {
	*audited
	secret string // the secret of the client job, which gets tokens for itself
	kept   tokens
}

func (w *wayward) form(path string, form url.Values, more ...string) answered {
	return w.do(w.request("POST", path, form.Encode(),
		append([]string{"Content-Type", formType}, more...)...))
}

func basic(id, secret string) string {
	r, _ := http.NewRequest("POST", "/", nil)
	r.SetBasicAuth(id, secret)
	return r.Header.Get("Authorization")
}

const (
	ofActor   = 20   // refusals of an actor that are logged one by one
	ofNetwork = 100  // of a network
	ofSession = 120  // refreshes
	ofRepeats = 10   // repeats of one older token that are logged
	ofData    = 10   // exports of a user's own data
	ofAdmin   = 1000 // changes of an admin, and tokens of a client
)

// ways are all ways that there are, with their bounds.
func ways() map[string]way {
	guess := url.Values{"username": {"alice"}, "password": {"guess"}}
	unknownSession := func(*wayward) string { return "/users/me/sessions/" + uuid.NewString() }
	byAlice := func(method string, path func(*wayward) string,
		body string) func(*wayward) answered {
		return func(w *wayward) answered { return w.as(w.alice, method, path(w), body) }
	}
	byRoot := func(method string, path func(*wayward) string, body string) func(*wayward) answered {
		return func(w *wayward) answered { return w.as(w.root, method, path(w), body) }
	}
	at := func(path string) func(*wayward) string { return func(*wayward) string { return path } }
	ofAlice := func(rest string) func(*wayward) string {
		return func(w *wayward) string { return w.path("alice", rest) }
	}
	nobody := func(rest string) func(*wayward) string {
		return func(*wayward) string { return "/users/" + uuid.NewString() + rest }
	}
	withShop := func(w *wayward) {
		w.shop = w.shopForAPIs()
		w.code = w.codeOf(w.shop, "alice", "openid")
	}
	return map[string]way{
		// Anonymous.
		"wrong secret of a client": {"POST /token", nil, func(w *wayward) answered {
			return w.form("/token", guess, "Authorization", basic("job", "guess"))
		}, 150, 401, 401, ofNetwork, 0},
		"malformed credentials of a client": {"POST /token", nil, func(w *wayward) answered {
			return w.form("/token", guess, "Authorization", "Basic ?")
		}, 150, 401, 401, ofNetwork, 0},
		"questions of nobody's client": {"POST /introspect", nil, func(w *wayward) answered {
			return w.form("/introspect", url.Values{"token": {"x"}})
		}, 150, 401, 401, ofNetwork, 0},
		"revocation by an unknown client": {"POST /revoke", nil, func(w *wayward) answered {
			return w.form("/revoke", url.Values{"token": {"x"}}, "Authorization",
				basic("nobody", "guess"))
		}, 150, 401, 401, ofNetwork, 0},
		"closed registration": {"POST /users", nil,
			func(w *wayward) answered { return w.register("carol", goodPassword) }, 150, 403, 403,
			ofNetwork, 0},
		"wrong password": {"POST /token", nil,
			func(w *wayward) answered { return w.form("/token", guess) }, 40, 401, 429, 3, 37},
		"wrong password, to be replaced": {"POST /token/password", nil, func(w *wayward) answered {
			return w.do(
				w.request("POST", "/token/password",
					`{"username":"alice","current_password":"guess","new_password":"another good password"}`, "Content-Type", jsonType))
		}, 40, 401, 429, 3, 37},
		"wrong password, for a code": {"POST /authorize-challenge", nil, func(w *wayward) answered {
			return w.challenge(program{}, "username", "alice", "password", "guess")
		}, 40, 400, 429, 3, 37},
		"codes that are none": {"POST /token", withShop, func(w *wayward) answered {
			return w.redeemed(w.shop, "gha_"+uuid.NewString())
		}, 150, 400, 400, ofActor, 0},
		"code with another verifier": {"POST /token", withShop, func(w *wayward) answered {
			return w.post(w.shop, "/token", "grant_type", "authorization_code", "code", w.code,
				"redirect_uri", callback, "code_verifier", strings.Repeat("x", 43))
		}, 150, 400, 400, ofActor, 0},
		// The first time ends what the code has started.
		"code that was used": {"POST /token", func(w *wayward) {
			withShop(w)
			w.want("redeem", w.redeemed(w.shop, w.code), 200)
		}, func(w *wayward) answered {
			return w.redeemed(w.shop, w.code)
		}, 150, 400, 400, 1 + ofActor, 0},
		"mails for the password": {"POST /password/forgot", nil,
			func(w *wayward) answered { return w.forgot("alice") }, 150, 202, 202, 3, 147},
		"wrong invitations": {"POST /invitations/accept", nil, func(w *wayward) answered {
			return w.accepts(map[string]string{"token": "guess"})
		}, 150, 400, 400, ofNetwork, 0},
		"wrong links": {"POST /password/reset", nil, func(w *wayward) answered {
			return w.resetBy(map[string]string{"token": "guess"})
		}, 150, 400, 400, ofNetwork, 0},
		"mails for a registration": {"POST /email/resend", nil, func(w *wayward) answered {
			return w.postJSON("/email/resend", map[string]string{"challenge": uuid.NewString()})
		}, 150, 202, 202, 3, 147},
		"wrong links for an address": {"POST /email/verify", nil, func(w *wayward) answered {
			return w.postJSON("/email/verify", map[string]string{"token": "guess"})
		}, 150, 400, 400, ofNetwork, 0},
		"wrong links for an old address": {"POST /email/undo", nil, func(w *wayward) answered {
			return w.postJSON("/email/undo", map[string]string{"token": "guess"})
		}, 150, 400, 400, ofNetwork, 0},
		// With the tokens of a login.
		"guesses of the password for an address": {"PUT /users/me/email", nil, byAlice("PUT", at("/users/me/email"),
			`{"email":"alice@example.net","current_password":"guess"}`), 40, 422, 429, 3, 37},
		"guesses of the password without an address": {"DELETE /users/me/email", nil, byAlice("DELETE", at("/users/me/email"),
			`{"current_password":"guess"}`), 40, 422, 429, 3, 37},
		"refresh token of a session that is over": {"POST /token", func(w *wayward) {
			w.kept = w.alice
			w.want("logout", w.as(w.alice, "POST", "/logout", ""), 204)
		}, func(w *wayward) answered {
			return w.refreshed(w.kept.refresh)
		}, 150, 400, 400, ofActor, 0},
		"logout again": {"POST /logout", func(w *wayward) {
			w.want("logout", w.as(w.alice, "POST", "/logout", ""), 204)
		}, func(w *wayward) answered {
			return w.as(w.alice, "POST", "/logout", "")
		}, 150, 204, 204, 0, 150},
		"another client's token": {"POST /revoke", nil, func(w *wayward) answered {
			return w.form("/revoke", url.Values{"token": {w.alice.access}}, "Authorization",
				basic("job", w.secret))
		}, 150, 400, 400, ofActor, 0},
		// With an account.
		"refresh": {"POST /token", nil, func(w *wayward) answered {
			answer := w.refreshed(w.alice.refresh)
			if answer.status == http.StatusOK {
				w.alice = w.tokensOf(answer)
			}
			return answer
		}, 150, 200, 429, ofSession + ofActor, 0},
		"refresh with the token before": {"POST /token", func(w *wayward) {
			w.want("refresh", w.refreshed(w.alice.refresh), 200)
		}, func(w *wayward) answered {
			return w.refreshed(w.alice.refresh)
		}, 150, 200, 429, ofRepeats + ofActor, ofSession - 1 - ofRepeats},
		"refresh for more than may be had": {"POST /token", nil, func(w *wayward) answered {
			return w.form("/token",
				url.Values{"grant_type": {"refresh_token"}, "refresh_token": {w.alice.refresh},
					"scope": {"gatehouse:*"}})
		}, 150, 400, 400, ofActor, 0},
		"what is forbidden": {"GET /users", nil, byAlice("GET", at("/users"), ""), 150,
			403, 403, ofActor, 0},
		"end of a session that is none": {"DELETE /users/me/sessions/:id", nil,
			byAlice("DELETE", unknownSession, ""), 150, 404, 404, ofActor, 0},
		"app that is not let in": {"DELETE /users/me/consents/:client_id", nil,
			byAlice("DELETE", at("/users/me/consents/nothing"), ""), 150, 404, 404, ofActor, 0},
		"end of other sessions, of which there are none": {
			"DELETE /users/me/sessions", nil, byAlice("DELETE", at("/users/me/sessions"), ""), 150,
			204, 204, ofActor, 0,
		},
		"wrong current password": {"PUT /users/me/password", nil,
			byAlice("PUT", at("/users/me/password"),
				`{"current_password":"guess","new_password":"another good password"}`), 40, 422, 429, 3, 37},
		"wrong password for the deletion": {"DELETE /users/me", nil,
			byAlice("DELETE", at("/users/me"), `{"current_password":"guess"}`), 40, 422, 429, 3, 37},
		"export of one's own data": {"GET /users/me/data", nil,
			byAlice("GET", at("/users/me/data"), ""), 150, 200, 429, ofData + ofActor, 0},
		// With an administrator's account. All that succeeds shares one bound, and the first of
		// these reaches it.
		"change of a user that is none": {"PATCH /users/:id", nil,
			byRoot("PATCH", nobody(""), `{"disabled":true}`), 150, 404, 404, ofActor, 0},
		"deletion of a user that is none": {"DELETE /users/:id", nil,
			byRoot("DELETE", nobody(""), ""), 150, 404, 404, ofActor, 0},
		"role that is none": {"DELETE /users/:id/roles/:role", nil,
			byRoot("DELETE", ofAlice("/roles/nothing"), ""), 150, 404, 404, ofActor, 0},
		"change of the built-in role": {"PUT /roles/:name", nil,
			byRoot("PUT", at("/roles/admin"), `{"permissions":[]}`), 150, 409, 409, ofActor, 0},
		"deletion of the built-in role": {"DELETE /roles/:name", nil,
			byRoot("DELETE", at("/roles/admin"), ""), 150, 409, 409, ofActor, 0},
		"end of all sessions of a user": {"DELETE /users/:id/sessions", nil,
			byRoot("DELETE", ofAlice("/sessions"), ""), 150, 204, 204, 1 + ofActor, 0},
		"role that the user has already": {"PUT /users/:id/roles/:role", nil,
			byRoot("PUT", ofAlice("/roles/clerk"), ""), 1100, 204, 429, ofAdmin + ofActor, 0},
		"user who needs not be unlocked": {"POST /users/:id/unlock", nil,
			byRoot("POST", ofAlice("/unlock"), ""), 30, 204, 204, ofAdmin, 0},
		"user without factors": {"POST /users/:id/factors/reset", nil,
			byRoot("POST", ofAlice("/factors/reset"), ""), 30, 200, 200, ofAdmin, 0},
		"invitations": {"POST /users/invitations", nil, byRoot("POST", at("/users/invitations"),
			`{"email":"carol@example.org"}`), 30, 202, 202, ofAdmin, 0},
		"mails for a user": {"POST /users/:id/password-reset",
			func(w *wayward) { w.addressed() }, byRoot("POST", ofAlice("/password-reset"), ""), 30,
			202, 202, ofAdmin, 0},
		"user who is disabled already": {"PATCH /users/:id", nil,
			byRoot("PATCH", ofAlice(""), `{"disabled":true}`), 30, 200, 200, ofAdmin, 0},
		"client that is there": {"POST /clients", nil, byRoot("POST", at("/clients"),
			`{"client_id":"job","name":"Job","confidential":true}`), 150, 409, 409, ofActor, 0},
		"change of a client that is none": {"PATCH /clients/:id", nil, byRoot("PATCH",
			at("/clients/nobody"), `{"name":"x"}`), 150, 404, 404, ofActor, 0},
		"change of a client to what it is": {"PATCH /clients/:id", nil, byRoot("PATCH",
			at("/clients/job"), `{"name":"Job"}`), 1100, 200, 429, ofAdmin + ofActor, 0},
		"secrets of a client": {"POST /clients/:id/secrets", nil, byRoot("POST",
			at("/clients/job/secrets"), ""), 30, 201, 201, ofAdmin, 0},
		"old secret that is none": {"DELETE /clients/:id/secrets/old", nil, byRoot("DELETE",
			at("/clients/job/secrets/old"), ""), 30, 204, 204, ofAdmin, 0},
		"role that the client has already": {"PUT /clients/:id/roles/:role", nil, byRoot("PUT",
			at("/clients/job/roles/clerk"), ""), 30, 204, 204, ofAdmin, 0},
		"role that the client has not": {"DELETE /clients/:id/roles/:role", nil,
			byRoot("DELETE", at("/clients/job/roles/clerk"), ""), 30, 204, 204, ofAdmin, 0},
		// As a client.
		"tokens of a client for itself": {"POST /token", nil, func(w *wayward) answered {
			return w.form("/token", url.Values{"grant_type": {"client_credentials"}},
				"Authorization", basic("job", w.secret))
		}, 1100, 200, 429, ofAdmin + ofActor, 0},
		"scope that the client has not": {"POST /token", nil, func(w *wayward) answered {
			return w.form("/token",
				url.Values{"grant_type": {"client_credentials"}, "scope": {"gatehouse:*"}},
				"Authorization", basic("job", w.secret))
		}, 150, 400, 400, ofActor, 0},
		"grant that the client has not": {"POST /token", nil, func(w *wayward) answered {
			return w.form("/token", guess, "Authorization", basic("job", w.secret))
		}, 150, 400, 400, ofActor, 0},
	}
}

// Whoever could fill the disk with the log could stop every login. What costs a hash of a password
// (a login, a registration, a change of one's own password) is bounded by the password lane, so it
// is not in this table.
func TestNobodyFillsTheAuditLog(t *testing.T) {
	t.Parallel()
	tried := make(map[string]bool)
	for _, way := range ways() {
		tried[way.does] = true
	}
	docs, err := newDocs(api.Service{})
	must(t, err)
	for _, r := range (&API{}).table(docs, &wellKnown{}) {
		reads := r.method == http.MethodGet || r.path == "/userinfo"
		if !tried[r.method+" "+r.path] && !reads {
			t.Errorf("%s %s has no row here", r.method, r.path)
		}
	}
	for name, way := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rates := tightRates()
			rates.Registration.Burst = 100
			w := &wayward{audited: startAudited(t,
				settings{registrationClosed: true, frozen: true, rates: rates})}
			var err error // its own: the others run beside it
			_, w.secret, err = w.rules.Clients.Add(t.Context(), authtest.Operator(), auth.Client{
				ID: "job", Title: "Job", Confidential: true,
				GrantTypes: []string{auth.GrantClientCredentials},
			})
			must(t, err)
			if way.prepare != nil {
				way.prepare(w)
			}
			linesBefore, countBefore := w.logged()
			for n := range way.times {
				answer := way.send(w)
				if n == 0 && answer.status != way.first ||
					n == way.times-1 && answer.status != way.last {
					t.Fatalf("answer %d: %d %s", n, answer.status, answer.body)
				}
			}
			lines, _ := w.logged()
			if lines -= linesBefore; lines > way.lines {
				t.Errorf("%d lines, of which there may be %d", lines, way.lines)
			}
			must(t, w.rules.Audit.TellCounted(t.Context()))
			summed, count := w.logged()
			if more := summed - linesBefore - lines; more > 1 {
				t.Errorf("%d more lines", more)
			}
			if told := count - countBefore; told != way.times-way.unsaid {
				t.Errorf("%d of %d are told of", told, way.times-way.unsaid)
			}
		})
	}
}

// logged returns the number of lines in the audit log, and the number of events that they stand
// for.
func (a *audited) logged() (lines, count int) {
	a.Helper()
	must(a, a.owner.QueryRow(a.Context(),
		"SELECT count(*), coalesce(sum(count), 0) FROM audit_events").Scan(&lines, &count))
	return lines, count
}

// A program that refreshes in a loop is slowed down. It must neither lose its login nor hold up
// another program.
func TestAClientThatRefreshesInALoopKeepsItsSession(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	f := start(t, settings{frozen: true, databaseURL: url})
	f.loggedIn("alice")
	looping, other := f.tokensOf(f.login("alice", goodPassword)),
		f.tokensOf(f.login("alice", goodPassword))
	for range ofSession {
		looping = f.tokensOf(f.refreshed(looping.refresh))
	}
	answer := f.refreshed(looping.refresh)
	f.want("one more", answer, 429)
	if answer.header.Get("Retry-After") != "6" {
		t.Errorf("%v", answer.header)
	}
	f.want("its access token", f.as(looping, "GET", "/users/me", ""), 200)
	f.want("another session", f.refreshed(other.refresh), 200)
	later := start(t, settings{databaseURL: url})
	f.want("later", later.refreshed(looping.refresh), 200)
}

// The log says which client somebody tried to be, but never what was sent as its name if no client
// has that name. It may be a secret.
func TestARefusedClientIsTold(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{registrationClosed: true})
	add := func(id string, public bool, grants ...string) string {
		_, secret, err := a.rules.Clients.Add(t.Context(), authtest.Operator(),
			auth.Client{ID: id, Title: id, Confidential: !public, GrantTypes: grants})
		must(t, err)
		return secret
	}
	shop, gone := add("shop", false), add("gone", false)
	add("app", true, auth.GrantPassword)
	must(t, a.rules.Clients.Disable(t.Context(), authtest.Operator(), "gone", nil))
	job := add("job", false, auth.GrantClientCredentials)
	own := func() string {
		answer := a.do(a.request("POST", "/token", "grant_type=client_credentials", "Content-Type",
			formType, "Authorization", basic("job", job)))
		a.want("job", answer, 200)
		access, _ := answer.json(t, "access_token").(string)
		return access
	}()
	send := func(path, body string, header ...string) func() answered {
		return func() answered {
			return a.do(a.request("POST", path, body,
				append([]string{"Content-Type", formType}, header...)...))
		}
	}
	for name, test := range map[string]struct {
		send   func() answered
		status int
		told   string // action, outcome, kind of the actor, and target
	}{
		"wrong secret at /token": {send("/token", "username=alice&password=x", "Authorization",
			basic("shop", "guess")), 401, "client.authenticate invalid_client anonymous shop"},
		"wrong secret at /introspect": {send("/introspect", "token=x", "Authorization",
			basic("shop", "guess")), 401, "client.authenticate invalid_client anonymous shop"},
		"wrong secret at /revoke": {send("/revoke", "token=x", "Authorization",
			basic("shop", "guess")), 401, "client.authenticate invalid_client anonymous shop"},
		"wrong secret in the form": {send("/revoke",
			"token=x&client_id=shop&client_secret=guess"), 401, "client.authenticate invalid_client anonymous shop"},
		"unknown client": {send("/token", "username=alice&password=x", "Authorization",
			basic("hunter2", "guess")), 401, "client.authenticate invalid_client anonymous "},
		"no id at all": {send("/token", "username=alice&password=x", "Authorization",
			basic("a b", "guess")), 401, "client.authenticate invalid_client anonymous "},
		"malformed": {send("/token", "username=alice&password=x", "Authorization",
			"Basic ?"), 401, "client.authenticate invalid_client anonymous "},
		"disabled client": {send("/introspect", "token=x", "Authorization",
			basic("gone", gone)), 401, "client.authenticate invalid_client anonymous gone"},
		"public client asks": {send("/introspect", "token=x&client_id=app"), 401,
			"client.authenticate invalid_client anonymous app"},
		"first-party client asks": {send("/introspect", "token=x"), 401,
			"client.authenticate invalid_client anonymous "},
		"another grant": {send("/token", "username=alice&password=x", "Authorization",
			basic("shop", shop)), 400, "token.issue unauthorized_client client shop"},
		"another grant, public": {send("/token",
			"grant_type=refresh_token&refresh_token=x&client_id=app"), 400, "token.issue unauthorized_client anonymous app"},
		"its own token": {send("/revoke", "token="+own, "Authorization",
			basic("job", job)), 400, "token.revoke no_session client job"},
		"another client's own token": {send("/revoke", "token="+own, "Authorization",
			basic("shop", shop)), 400, "token.revoke other_client client shop"},
		"registration": {func() answered {
			return a.register("carol", goodPassword)
		}, 403, "user.register registration_closed anonymous "},
	} {
		answer := test.send()
		a.want(name, answer, test.status)
		var told []string
		for _, e := range a.events(url.Values{"request_id": {answer.header.Get("X-Request-Id")}}) {
			told = append(told,
				fmt.Sprint(e["action"], " ", e["outcome"], " ", e["actor"].(map[string]any)["kind"],
					" ", e["target"]))
		}
		if len(told) != 1 || told[0] != test.told {
			t.Errorf("%s: %q, want %q", name, told, test.told)
		}
	}
}
