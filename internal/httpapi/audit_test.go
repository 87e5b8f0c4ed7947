package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/api"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// audited is a fixture with a connection for what only the database's owner may do.
type audited struct {
	*fixture
	owner    *pgx.Conn
	root     tokens
	alice    tokens // with the role clerk
	session  string // alice's
	database string // its URL
	shop     program
	code     string      // for the shop
	letter   auth.Letter // that somebody got
}

func startAudited(t *testing.T, s settings) *audited {
	t.Helper()
	s.databaseURL = dbtest.New(t)
	owner, err := pgx.Connect(t.Context(), dbtest.Owner(t, s.databaseURL))
	must(t, err)
	t.Cleanup(func() { _ = owner.Close(t.Context()) })
	a := &audited{fixture: start(t, s), database: s.databaseURL, owner: owner}
	a.root = a.fixture.root()
	_, _, err = a.rules.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "alice", Password: goodPassword})
	must(t, err)
	for role, permission := range map[string]auth.Permission{"clerk": "files:read",
		"reader": "books:read"} {
		_, _, err := a.rules.Roles.Set(t.Context(), authtest.Operator(), role,
			auth.RoleEdit{Permissions: []auth.Permission{permission}}, auth.Condition{})
		must(t, err)
	}
	must(t, a.rules.Roles.Grant(t.Context(), authtest.Operator(), a.idOf("alice"), "clerk"))
	a.alice = a.tokensOf(a.login("alice", goodPassword))
	sessions := a.as(a.alice, "GET", "/users/me/sessions", "").json(t, "sessions").([]any)
	a.session, _ = sessions[0].(map[string]any)["id"].(string)
	return a
}

func (a *audited) exec(statement string, arguments ...any) {
	a.Helper()
	_, err := a.owner.Exec(a.Context(), statement, arguments...)
	must(a, err)
}

// tables returns all that is stored of accounts, sessions and roles.
func (a *audited) tables() (all string) {
	a.Helper()
	for _, table := range []string{"users", "sessions", "revocations", "user_roles", "clients",
		"client_roles", "roles", "role_permissions", "retired_usernames", "password_keys",
		"challenges", "consents", "mails", "totp_secrets", "recovery_codes", "passkeys", "trusted_devices"} {
		var rows string
		must(a, a.owner.QueryRow(a.Context(),
			"SELECT '"+table+"' || coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM "+
				table+" t").Scan(&rows))
		all += rows + "\n"
	}
	return all
}

// events returns the events that a query of GET /audit finds.
func (a *audited) events(query url.Values) (found []map[string]any) {
	a.Helper()
	answer := a.as(a.root, "GET", "/audit?"+query.Encode(), "")
	a.want("GET /audit?"+query.Encode(), answer, 200)
	for _, e := range answer.json(a, "events").([]any) {
		found = append(found, e.(map[string]any))
	}
	return found
}

// told returns what the log has of a request: the action and the outcome of each event.
func (a *audited) told(answer answered) (told []string) {
	a.Helper()
	for _, e := range a.events(url.Values{"request_id": {answer.header.Get("X-Request-Id")}}) {
		told = append(told, fmt.Sprint(e["action"], " ", e["outcome"]))
	}
	return told
}

// attempt is a request that changes something, with all that it needs.
type attempt struct {
	prepare func(a *audited) // may be nil
	send    func(a *audited) answered
	status  int
	told    auth.Action
	also    auth.Action // what follows by itself, if anything
	outcome string      // of the event; "": success
	kind    string      // of the actor; "": user
	actor   string      // name of the actor in the event
	user    string      // the user that it was done to; "" for nobody
}

func (a *audited) path(name, rest string) string { return "/users/" + a.idOf(name).String() + rest }

// attempts has one for each route that changes something. The fixture has alice, with a session and
// the role clerk.
func attempts() map[string]attempt {
	asRoot := func(method string, path func(a *audited) string,
		body string) func(a *audited) answered {
		return func(a *audited) answered { return a.as(a.root, method, path(a), body) }
	}
	at := func(path string) func(*audited) string { return func(*audited) string { return path } }
	alice := func(rest string) func(*audited) string {
		return func(a *audited) string { return a.path("alice", rest) }
	}
	byAlice := func(send func(a *audited, alice tokens) answered) func(a *audited) answered {
		return func(a *audited) answered {
			a.Helper()
			return send(a, a.alice)
		}
	}
	desk := func(a *audited) {
		a.program("desk", auth.Client{Confidential: true})
		must(a, a.rules.Clients.GrantRole(a.Context(), authtest.Operator(), "desk", "clerk"))
	}
	withCode := func(a *audited) {
		a.shop = a.shopForAPIs()
		a.code = a.codeOf(a.shop, "alice", "openid")
	}
	return map[string]attempt{
		"POST /password/forgot": {prepare: (*audited).addressed, send: func(a *audited) answered {
			return a.forgot("alice")
		}, status: 202, told: auth.ActionForgotPassword, kind: "anonymous"},
		"POST /password/reset": {prepare: (*audited).mailed, send: func(a *audited) answered {
			return a.resetBy(map[string]string{"token": tokenIn(a.letter)})
		}, status: 204, told: auth.ActionResetPassword, also: auth.ActionUnlockUser, actor: "alice",
			user: "alice"},
		"POST /users/:id/password-reset": {prepare: (*audited).addressed,
			send: asRoot("POST", alice("/password-reset"), ""), status: 202,
			told: auth.ActionSendReset, actor: "root", user: "alice"},
		"POST /email/verify": {prepare: (*audited).changing, send: func(a *audited) answered {
			return a.verifyBy(map[string]string{"token": tokenIn(a.letter), "password": goodPassword})
		}, status: 204, told: auth.ActionVerifyAddress, actor: "alice", user: "alice"},
		"POST /email/resend": {prepare: (*audited).changing, send: func(a *audited) answered {
			return a.postJSON("/email/resend", map[string]string{}, "Authorization", "Bearer "+a.alice.access)
		}, status: 202, told: auth.ActionResendProof, actor: "alice", user: "alice"},
		"POST /email/undo": {prepare: (*audited).undoable, send: func(a *audited) answered {
			return a.postJSON("/email/undo", map[string]string{"token": tokenIn(a.letter)})
		}, status: 204, told: auth.ActionUndoAddress, actor: "alice", user: "alice"},
		"PUT /users/me/email": {send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "PUT", "/users/me/email",
				`{"email":"alice@example.net","current_password":"`+goodPassword+`"}`)
		}), status: 202,
			told: auth.ActionChangeAddress, actor: "alice", user: "alice"},
		"DELETE /users/me/email": {prepare: (*audited).addressed, send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "DELETE", "/users/me/email", `{"current_password":"`+goodPassword+`"}`)
		}), status: 204,
			told: auth.ActionRemoveAddress, actor: "alice", user: "alice"},
		"POST /users/invitations": {send: asRoot("POST", at("/users/invitations"),
			`{"email":"bob@example.org","username":"bob","roles":["clerk"]}`), status: 202,
			told: auth.ActionInviteUser, actor: "root", user: "bob"},
		"POST /invitations/accept": {prepare: (*audited).invited, send: func(a *audited) answered {
			return a.accepts(map[string]string{"token": tokenIn(a.letter), "username": "bob"})
		}, status: 204, told: auth.ActionAcceptInvitation, actor: "bob", user: "bob"},
		"POST /clients": {send: asRoot("POST", at("/clients"),
			`{"client_id":"shop","name":"Shop","confidential":true}`), status: 201,
			told: auth.ActionAddClient, actor: "root"},
		"PATCH /clients/:id": {prepare: desk, send: asRoot("PATCH", at("/clients/desk"),
			`{"name":"Another"}`), status: 200, told: auth.ActionSetClient, actor: "root"},
		"PATCH /clients/:id (disable)": {prepare: desk, send: asRoot("PATCH",
			at("/clients/desk"), `{"disabled":true}`), status: 200,
			told: auth.ActionDisableClient, actor: "root"},
		"PATCH /clients/:id (enable)": {
			prepare: func(a *audited) {
				desk(a)
				must(a, a.rules.Clients.Disable(a.Context(), authtest.Operator(), "desk", nil))
			},
			send: asRoot("PATCH", at("/clients/desk"), `{"disabled":false}`), status: 200,
			told: auth.ActionEnableClient, actor: "root",
		},
		"POST /clients/:id/secrets": {prepare: desk, send: asRoot("POST",
			at("/clients/desk/secrets"), ""), status: 201, told: auth.ActionRotateSecret,
			actor: "root"},
		"DELETE /clients/:id/secrets/old": {prepare: desk, send: asRoot("DELETE",
			at("/clients/desk/secrets/old"), ""), status: 204, told: auth.ActionRetireSecret,
			actor: "root"},
		"PUT /clients/:id/roles/:role": {prepare: desk, send: asRoot("PUT",
			at("/clients/desk/roles/reader"), ""), status: 204, told: auth.ActionGrantToClient,
			actor: "root"},
		"DELETE /clients/:id/roles/:role": {prepare: desk, send: asRoot("DELETE",
			at("/clients/desk/roles/clerk"), ""), status: 204, told: auth.ActionRevokeOfClient,
			actor: "root"},
		"POST /token": {send: func(a *audited) answered {
			return a.login("alice", goodPassword)
		}, status: 200, told: auth.ActionLogin, actor: "alice", user: "alice"},
		"POST /authorize-challenge": {send: func(a *audited) answered {
			return a.challenge(program{}, "username", "alice", "password", goodPassword)
		}, status: 200, told: auth.ActionIssueCode, actor: "alice", user: "alice"},
		"POST /token (refresh)": {send: byAlice(func(a *audited, t tokens) answered {
			return a.refreshed(t.refresh)
		}), status: 200, told: auth.ActionRefresh, actor: "alice", user: "alice"},
		"POST /token (code)": {
			prepare: withCode,
			send:    func(a *audited) answered { return a.redeemed(a.shop, a.code) },
			status:  200, told: auth.ActionRedeemCode, kind: "client", actor: "shop", user: "alice"},
		"POST /token (code, again)": {
			prepare: func(a *audited) {
				withCode(a)
				a.want("redeem", a.redeemed(a.shop, a.code), 200)
			},
			send:   func(a *audited) answered { return a.redeemed(a.shop, a.code) },
			status: 400, told: auth.ActionRedeemCode, outcome: "code_reused", actor: "alice",
			user: "alice"},
		"POST /token (code, refused)": {
			prepare: withCode,
			send: func(a *audited) answered {
				return a.post(a.shop, "/token", "grant_type", "authorization_code", "code", a.code,
					"redirect_uri", callback, "code_verifier", strings.Repeat("x", 43))
			},
			status: 400, told: auth.ActionRedeemCode, outcome: "invalid_code", kind: "client",
			actor: "shop", user: "alice"},
		"POST /revoke": {send: byAlice(func(a *audited, t tokens) answered {
			return a.do(a.request("POST", "/revoke", url.Values{"token": {t.access}}.Encode(),
				"Content-Type", formType))
		}), status: 200, told: auth.ActionRevokeToken, actor: "alice", user: "alice"},
		"POST /users": {send: asRoot("POST", at("/users"),
			`{"username":"bob","password":"`+goodPassword+
				`"}`), status: 201, told: auth.ActionCreateUser, actor: "root", user: "bob"},
		"POST /logout": {send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "POST", "/logout", "")
		}), status: 204, told: auth.ActionLogout, actor: "alice", user: "alice"},
		"POST /logout (refresh)": {send: byAlice(func(a *audited, t tokens) answered {
			return a.do(a.request("POST", "/logout",
				url.Values{"refresh_token": {t.refresh}}.Encode(), "Content-Type", formType))
		}), status: 204, told: auth.ActionLogout, actor: "alice", user: "alice"},
		"PUT /users/me/password": {send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "PUT", "/users/me/password",
				`{"current_password":"`+goodPassword+`","new_password":"another good password"}`)
		}), status: 200, told: auth.ActionChangePassword, actor: "alice", user: "alice"},
		"DELETE /users/me": {send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "DELETE", "/users/me", `{"current_password":"`+goodPassword+`"}`)
		}), status: 204, told: auth.ActionDeleteUser, actor: "alice", user: "alice"},
		"GET /users/me/data": {send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "GET", "/users/me/data", "")
		}), status: 200, told: auth.ActionExportUser, actor: "alice", user: "alice"},
		"DELETE /users/me/sessions": {send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "DELETE", "/users/me/sessions", "")
		}), status: 204, told: auth.ActionEndSessions, actor: "alice", user: "alice"},
		"DELETE /users/me/sessions/:id": {send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "DELETE", "/users/me/sessions/"+a.session, "")
		}), status: 204, told: auth.ActionEndSession, actor: "alice", user: "alice"},
		"DELETE /users/me/consents/:client_id": {prepare: func(a *audited) {
			a.confidential("mail")
			a.allows("alice", "mail")
		}, send: byAlice(func(a *audited, t tokens) answered {
			return a.as(t, "DELETE", "/users/me/consents/mail", "")
		}), status: 204, told: auth.ActionWithdrawConsent, actor: "alice", user: "alice"},
		"PATCH /users/:id": {send: asRoot("PATCH", alice(""), `{"disabled":true}`),
			status: 200, told: auth.ActionDisableUser, actor: "root", user: "alice"},
		"PATCH /users/:id (enable)": {
			prepare: func(a *audited) {
				_, err := a.rules.Accounts.Disable(a.Context(), authtest.Operator(),
					auth.ByName("alice"), nil)
				must(a, err)
			},
			send: asRoot("PATCH", alice(""), `{"disabled":false}`), status: 200,
			told: auth.ActionEnableUser, actor: "root", user: "alice",
		},
		"DELETE /users/:id": {send: asRoot("DELETE", alice(""), ""), status: 204,
			told: auth.ActionDeleteUser, actor: "root", user: "alice"},
		"PUT /users/:id/roles/:role": {send: asRoot("PUT", alice("/roles/reader"), ""),
			status: 204, told: auth.ActionGrantRole, actor: "root", user: "alice"},
		"DELETE /users/:id/roles/:role": {send: asRoot("DELETE", alice("/roles/clerk"), ""),
			status: 204, told: auth.ActionRevokeRole, actor: "root", user: "alice"},
		"POST /users/:id/factors/reset": {send: asRoot("POST", alice("/factors/reset"), ""),
			status: 200, told: auth.ActionResetFactors, actor: "root", user: "alice"},
		"POST /users/:id/unlock": {send: asRoot("POST", alice("/unlock"), ""), status: 204,
			told: auth.ActionUnlockUser, actor: "root", user: "alice"},
		"PATCH /users/:id (must change)": {send: asRoot("PATCH", alice(""),
			`{"must_change_password":true}`), status: 200, told: auth.ActionRequireChange, actor: "root", user: "alice"},
		"POST /users (secret)": {send: asRoot("POST", at("/users"),
			`{"username":"bob","initial_secret":true}`), status: 201, told: auth.ActionCreateUser, actor: "root", user: "bob"},
		"POST /token/password": {send: func(a *audited) answered {
			return a.do(
				a.request("POST", "/token/password",
					`{"username":"alice","current_password":"`+goodPassword+
						`","new_password":"another good password"}`, "Content-Type", jsonType))
		}, status: 200, told: auth.ActionChangePassword, also: auth.ActionLogin, actor: "alice", user: "alice"},
		"DELETE /users/:id/sessions": {send: asRoot("DELETE", alice("/sessions"), ""), status: 204,
			told: auth.ActionEndSessions, actor: "root", user: "alice"},
		"PUT /roles/:name": {send: asRoot("PUT", at("/roles/clerk"),
			`{"permissions":["files:write"]}`), status: 200, told: auth.ActionSetRole, actor: "root"},
		"DELETE /roles/:name": {send: asRoot("DELETE", at("/roles/clerk"), ""), status: 204,
			told: auth.ActionDeleteRole, actor: "root"},
	}
}

// What is done but not logged cannot be found out later. What is logged but not done is a false
// accusation.
func TestWithoutItsEventNoActionOfTheAPIIsDoneAndWithItThereIsOne(t *testing.T) {
	t.Parallel()
	docs, err := newDocs(api.Service{})
	must(t, err)
	tried := attempts()
	for _, r := range (&API{}).table(docs, &wellKnown{}) {
		// it only reads
		if _, ok := tried[r.method+" "+r.path]; !ok && r.method != http.MethodGet &&
			r.path != "/introspect" && r.path != "/userinfo" {
			t.Errorf("%s %s has no row here", r.method, r.path)
		}
	}
	for name, try := range tried {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAudited(t, settings{registrationClosed: true})
			if try.prepare != nil {
				try.prepare(a)
			}
			before := a.tables()
			a.exec(dbtest.BreakAudit)
			if answer := try.send(a); answer.status != http.StatusInternalServerError {
				t.Errorf("without an event: %d %s", answer.status, answer.body)
			}
			if after := a.tables(); after != before {
				t.Errorf("without an event there is\n%s\nand was\n%s", after, before)
			}
			a.exec(dbtest.MendAudit)
			ids := map[string]string{"": "", "root": a.idOf("root").String(),
				"alice": a.idOf("alice").String(), "shop": auth.Client{ID: "shop"}.Subject().String()}
			answer := try.send(a)
			a.want("with an event", answer, try.status)
			found := a.events(url.Values{"request_id": {answer.header.Get("X-Request-Id")}})
			if try.also != "" && len(found) == 2 && found[0]["action"] == string(try.also) {
				found = found[1:]
			}
			if len(found) != 1 {
				t.Fatalf("%d events: %v", len(found), found)
			}
			if try.user == "bob" {
				ids["bob"] = a.idOf("bob").String()
			}
			e := found[0]
			actor, _ := e["actor"].(map[string]any)
			if e["action"] != string(try.told) || e["outcome"] != cmp.Or(try.outcome, "success") ||
				actor["kind"] != cmp.Or(try.kind, "user") || idIn(actor["user"]) != ids[try.actor] ||
				idIn(e["user"]) != ids[try.user] || e["client_address"] != "127.0.0.1" ||
				e["user_agent"] != "Go-http-client/1.1" {
				t.Errorf("%+v", e)
			}
		})
	}
}

func idIn(subject any) string {
	s, _ := subject.(map[string]any)
	id, _ := s["id"].(string)
	return id
}

// Somebody who was refused knows only the request's id. The reason must be in the log, and nowhere
// else.
func TestARefusalIsToldOfByItsReason(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	rootID := a.idOf("root").String()
	a.want("register", a.register("bob", goodPassword), 201)
	clerk := a.with("manager", auth.WriteUsers, auth.GrantRoles, auth.ReadUsers)
	clients := a.with("clients", auth.WriteClients)
	old := a.tokensOf(a.login("alice", goodPassword))
	a.want("refresh", a.refreshed(old.refresh), 200)
	next := a.tokensOf(a.refreshed(old.refresh))
	a.want("refresh", a.refreshed(next.refresh), 200)
	_, err := a.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("bob"), nil)
	must(t, err)
	_, _, err = a.rules.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "erin", Password: goodPassword, MustChange: true})
	must(t, err)
	_, fred, err := a.rules.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "fred", Initial: true})
	must(t, err)
	a.exec("UPDATE users SET password_expires_at = now() WHERE username = 'fred'")
	for _, test := range []struct {
		told   string
		status int
		send   func() answered
	}{
		{"login unknown_user", 401, func() answered { return a.login("nobody", goodPassword) }},
		{"login unknown_user", 401, func() answered { return a.login("no\x00body", goodPassword) }},
		{"login wrong_password", 401, func() answered { return a.login("alice", "guess") }},
		{"login disabled", 401, func() answered { return a.login("bob", goodPassword) }},
		{"login wrong_password", 401, func() answered { return a.login("bob", "guess") }},
		{"login password_change_required", 400,
			func() answered { return a.login("erin", goodPassword) }},
		{"login expired", 401, func() answered { return a.login("fred", fred) }},
		{"login invalid_scope", 400, func() answered {
			return a.postToken(url.Values{"username": {"alice"}, "password": {goodPassword},
				"scope": {"gatehouse:*"}}.Encode())
		}},
		{"user.register username_taken", 409,
			func() answered { return a.register("alice", goodPassword) }},
		{"password.change wrong_password", 422, func() answered {
			return a.as(a.alice, "PUT", "/users/me/password",
				`{"current_password":"guess","new_password":"another good password"}`)
		}},
		{"authorize forbidden", 403, func() answered { return a.as(a.alice, "GET", "/users", "") }},
		{"user.disable beyond_rights", 403,
			func() answered {
				return a.as(clerk, "PATCH", a.path("root", ""), `{"disabled":true}`)
			}},
		{"role.grant beyond_rights", 403,
			func() answered { return a.as(clerk, "PUT", a.path("alice", "/roles/admin"), "") }},
		{"user.disable last_admin", 409,
			func() answered {
				return a.as(a.root, "PATCH", "/users/"+rootID, `{"disabled":true}`)
			}},
		{"user.delete user_not_found", 404,
			func() answered { return a.as(a.root, "DELETE", "/users/"+uuid.NewString(), "") }},
		{"role.delete role_not_found", 404,
			func() answered { return a.as(a.root, "DELETE", "/roles/nothing", "") }},
		{"role.set role_built_in", 409,
			func() answered {
				return a.as(a.root, "PUT", "/roles/admin", `{"permissions":["files:read"]}`)
			}},
		{"role.set changed", 412, func() answered {
			return a.do(a.request("PUT", "/roles/clerk", `{"permissions":[]}`, "Authorization",
				"Bearer "+a.root.access, "Content-Type", jsonType, "If-None-Match", "*"))
		}},
		{"client.set client_not_found", 404, func() answered {
			return a.as(a.root, "PATCH", "/clients/nobody", `{"name":"x"}`)
		}},
		{"client.add beyond_rights", 403, func() answered {
			return a.as(clients, "POST", "/clients",
				`{"client_id":"shop","name":"Shop","confidential":true,"first_party":true}`)
		}},
		{"session.end session_not_found", 404,
			func() answered {
				return a.as(a.alice, "DELETE", "/users/me/sessions/"+uuid.NewString(), "")
			}},
		{"refresh token_reused", 400, func() answered { return a.refreshed(old.refresh) }},
		{"refresh session_over", 400, func() answered { return a.refreshed(next.refresh) }},
	} {
		answer := test.send()
		a.want(test.told, answer, test.status)
		if told := a.told(answer); !slices.Equal(told, []string{test.told}) {
			t.Errorf("%s: the log has %q", test.told, told)
		}
		reason := strings.Fields(test.told)[1]
		if answer.status == 401 && strings.Contains(answer.body+fmt.Sprint(answer.header), reason) {
			t.Errorf("%s: the caller learns it: %s", test.told, answer.body)
		}
	}
	// The event names the user although the request gave only a name. The actor is not known.
	e := a.events(url.Values{"outcome": {"disabled"}})[0]
	if idIn(e["user"]) != a.idOf("bob").String() ||
		fmt.Sprint(e["actor"]) != "map[kind:anonymous operator:<nil> user:<nil>]" {
		t.Errorf("%v", e)
	}
	deleted := a.events(url.Values{"action": {"user.delete"}})[0]["user"].(map[string]any)
	if deleted["username"] != nil || deleted["id"] == nil {
		t.Errorf("nobody: %v", deleted)
	}
}

// The log must not be a way to fill the disk. What anybody can send without end leaves nothing in
// it.
func TestAFloodThatDecidesNothingIsNotTold(t *testing.T) {
	t.Parallel()
	rates := tightRates()
	rates.Registration.Burst = 100
	a := startAudited(t, settings{rates: rates})
	for name, send := range map[string]func() answered{
		"malformed": func() answered {
			return a.postToken("username=alice&username=bob&password=x")
		},
		"weak password":  func() answered { return a.register("carol", "short") },
		"forged refresh": func() answered { return a.refreshed("ghr_" + strings.Repeat("A", 80)) },
		"foreign token": func() answered {
			return a.me("Authorization", "Bearer "+a.alice.access[:40])
		},
		"no token":     func() answered { return a.me() },
		"unknown path": func() answered { return a.do(a.request("GET", "/nothing", "")) },
		"wrong type": func() answered {
			return a.do(a.request("POST", "/users", "{}", "Content-Type", "text/plain"))
		},
		"revocation of trash": func() answered {
			return a.do(a.request("POST", "/revoke", "token=trash", "Content-Type", formType))
		},
		"logout by trash": func() answered {
			return a.do(
				a.request("POST", "/logout", "refresh_token=trash", "Content-Type", formType))
		},
	} {
		answer := send()
		if told := a.told(answer); told != nil {
			t.Errorf("%s (%d): %v", name, answer.status, told)
		}
	}
	limited := 0
	for range 20 {
		if answer := a.login("alice", "guess"); answer.status == http.StatusTooManyRequests {
			limited += len(a.told(answer))
		}
	}
	if limited != 1 {
		t.Errorf("%d events of refusals by a limit that was reached once", limited)
	}
}

func TestEventsAreFoundByWhatIsAskedForAndOnPages(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	a.want("grant", a.as(a.root, "PUT", a.path("alice", "/roles/reader"), ""), 204)
	a.want("failure", a.login("alice", "guess"), 401)
	_, err := a.rules.Accounts.Disable(t.Context(), auth.Operator("otto"), auth.ByName("alice"),
		nil)
	must(t, err)
	_, err = a.rules.Accounts.Enable(t.Context(), auth.Operator("emma"), auth.ByName("alice"), nil)
	must(t, err)
	all := a.events(url.Values{"limit": {"200"}})
	alice, root := a.idOf("alice").String(), a.idOf("root").String()
	third, _ := all[2]["at"].(string)
	for name, test := range map[string]struct {
		query url.Values
		keep  func(e map[string]any) bool
	}{
		"user": {url.Values{"user": {alice}},
			func(e map[string]any) bool { return idIn(e["user"]) == alice }},
		"actor": {url.Values{"actor": {root}},
			func(e map[string]any) bool {
				return idIn(e["actor"].(map[string]any)["user"]) == root
			}},
		"kind of actor": {url.Values{"actor_kind": {"operator"}},
			func(e map[string]any) bool {
				return e["actor"].(map[string]any)["kind"] == "operator"
			}},
		"operator": {url.Values{"operator": {"otto"}},
			func(e map[string]any) bool {
				return e["actor"].(map[string]any)["operator"] == "otto"
			}},
		"action": {url.Values{"action": {"role.grant"}},
			func(e map[string]any) bool { return e["action"] == "role.grant" }},
		"outcome": {url.Values{"outcome": {"wrong_password"}},
			func(e map[string]any) bool { return e["outcome"] == "wrong_password" }},
		"since": {url.Values{"since": {third}},
			func(e map[string]any) bool { return e["at"].(string) >= third }},
		"until": {url.Values{"until": {third}},
			func(e map[string]any) bool { return e["at"].(string) < third }},
		"several": {url.Values{"user": {alice}, "action": {"login"}, "outcome": {"success"}},
			func(e map[string]any) bool {
				return idIn(e["user"]) == alice && e["action"] == "login" &&
					e["outcome"] == "success"
			}},
		"nothing": {url.Values{"request_id": {"no such request"}},
			func(map[string]any) bool { return false }},
	} {
		want := slices.DeleteFunc(slices.Clone(all),
			func(e map[string]any) bool { return !test.keep(e) })
		query := maps.Clone(test.query)
		query.Set("limit", "200")
		got := a.events(query)
		if !equalJSON(t, got, want) || len(want) == 0 && name != "nothing" ||
			len(want) == len(all) {
			t.Errorf("%s: %d events, want %d of %d", name, len(got), len(want), len(all))
		}
		var paged []map[string]any
		query.Set("limit", "1")
		for next := ""; ; query.Set("cursor", next) {
			answer := a.as(a.root, "GET", "/audit?"+query.Encode(), "")
			for _, e := range answer.json(t, "events").([]any) {
				paged = append(paged, e.(map[string]any))
			}
			if next, _ = answer.json(t, "next").(string); next == "" {
				break
			}
			// A later event is not on the older pages. One is enough: with one a page, the log
			// would double with each case.
			if len(paged) == 1 {
				a.want("one more", a.login("alice", goodPassword), 200)
			}
		}
		if !equalJSON(t, paged, want) {
			t.Errorf("%s, page by page: %d events, want %d", name, len(paged), len(want))
		}
		all = a.events(url.Values{"limit": {"200"}})
	}
	for _, query := range []string{"user=x", "actor=%00", "since=yesterday", "until=", "action=%ff",
		"request_id=%00", "limit=201", "outcome=%00", "actor_kind=operators", "operator=%00"} {
		a.want(query, a.as(a.root, "GET", "/audit?"+query, ""), 422)
	}
	a.want("forged cursor", a.as(a.root, "GET", "/audit?cursor=x", ""), 400)
}

// During an upgrade, the pages of one list may come from replicas of both versions. One that does
// not know a filter must not go on without it.
func TestACursorOfTheVersionBeforeGoesOnUnlessAFilterIsNewer(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	const action = "action=login"
	before := "audit\x00" + a.idOf("root").String() + "\x00\x00\x00login\x00\x00\x00\x00"
	position := fmt.Sprint(time.Now().Add(time.Hour).UnixMicro(), " 1")
	cursor := cursorOf(t, signingKey, time.Now(), before, position)
	a.want("of the version before", a.as(a.root, "GET", "/audit?"+action+"&cursor="+cursor, ""), 200)
	for _, newer := range []string{"&actor_kind=user", "&operator=root"} {
		a.want(newer, a.as(a.root, "GET", "/audit?"+action+newer+"&cursor="+cursor, ""), 400)
	}
}

func equalJSON(t *testing.T, a, b []map[string]any) bool {
	t.Helper()
	left, err := json.Marshal(a)
	must(t, err)
	right, err := json.Marshal(b)
	must(t, err)
	return string(left) == string(right) || len(a)+len(b) == 0
}

// Text that others choose must not look like an event, nor reverse the order of a line.
func TestWhatACallerSendsStaysOnItsLineOfTheLog(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	evil := "x\u202e\u2066\u2028\u0085y" + strings.Repeat("z", 300)
	r := a.request("POST", "/token",
		url.Values{"username": {"alice"}, "password": {"guess"}}.Encode(), "Content-Type", formType,
		"User-Agent", evil)
	a.want("login", a.do(r), 401)
	for _, name := range []string{"a%0Ab", "a%0D%0Ab", "a%00b", "a%E2%80%AEb", "a%FFb", "a%7Fb",
		strings.Repeat("a", 300)} {
		a.want(name, a.as(a.root, "DELETE", "/roles/"+name, ""), 404)
	}
	found := a.events(url.Values{"limit": {"200"}})
	seen := 0
	for _, e := range found {
		target, agent := e["target"].(string), e["user_agent"].(string)
		if len([]rune(target)) > 128 || len([]rune(agent)) > 256 ||
			strings.ContainsFunc(target+agent, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q %q", target, agent)
		}
		if e["outcome"] == "role_not_found" || e["outcome"] == "wrong_password" {
			seen++
		}
	}
	if seen != 8 {
		t.Errorf("%d of 8 events", seen)
	}
	for _, line := range a.log.lines(t) {
		raw, err := json.Marshal(line)
		must(t, err)
		if strings.ContainsFunc(string(raw), unicode.IsControl) {
			t.Errorf("%s", raw)
		}
	}
}
