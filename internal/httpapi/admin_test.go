package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/api"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/cursor"
	"gatehouse.example/internal/edge"
)

// with registers a user who has permissions by a role of the same name, and logs the user in.
func (f *fixture) with(name string, permissions ...auth.Permission) tokens {
	f.Helper()
	_, _, err := f.rules.Accounts.Register(f.Context(), authtest.Operator(),
		auth.NewAccount{Username: name, Password: goodPassword})
	must(f, err)
	_, _, err = f.rules.Roles.Set(f.Context(), authtest.Operator(), name, auth.RoleEdit{Permissions: permissions},
		auth.Condition{})
	must(f, err)
	must(f, f.rules.Roles.Grant(f.Context(), authtest.Operator(), f.idOf(name), name))
	return f.tokensOf(f.login(name, goodPassword))
}

// root registers an admin, and logs them in.
func (f *fixture) root() tokens {
	f.Helper()
	_, _, err := f.rules.Accounts.Register(f.Context(), authtest.Operator(),
		auth.NewAccount{Username: "root", Password: goodPassword, Roles: []string{auth.AdminRole}})
	must(f, err)
	return f.tokensOf(f.login("root", goodPassword))
}

func (f *fixture) idOf(name string) uuid.UUID {
	f.Helper()
	user, err := f.rules.Accounts.Find(f.Context(), auth.ByName(name))
	must(f, err)
	return user.ID
}

// A route requires a permission, or one of these words.
const (
	forAnybody = "anybody"
	forUsers   = "users"
)

// rights has a row for each route of the table, so that no new route is open by oversight.
func rights() map[string]auth.Permission {
	return map[string]auth.Permission{
		"POST /token":               forAnybody,
		"POST /authorize-challenge": forAnybody, // with the password
		"POST /token/password":      forAnybody,
		"POST /password/forgot":     forAnybody,
		"POST /password/reset":      forAnybody, // with what was mailed
		"POST /email/verify":        forAnybody, // with what was mailed
		"POST /email/resend":        forAnybody,
		"POST /email/undo":          forAnybody, // with what was mailed
		"PUT /users/me/email":       forUsers,
		"DELETE /users/me/email":    forUsers,
		"POST /invitations/accept":  forAnybody, // as well
		// where registration is closed
		"POST /users":                                 auth.WriteUsers,
		"POST /logout":                                forUsers,
		"GET /users/me":                               forUsers,
		"DELETE /users/me":                            forUsers,
		"GET /users/me/data":                          forUsers,
		"PUT /users/me/password":                      forUsers,
		"GET /users/me/sessions":                      forUsers,
		"DELETE /users/me/sessions":                   forUsers,
		"DELETE /users/me/sessions/:id":               forUsers,
		"GET /users/me/consents":                      forUsers,
		"DELETE /users/me/consents/:client_id":        forUsers,
		"GET /users":                                  auth.ReadUsers,
		"GET /users/:id":                              auth.ReadUsers,
		"PATCH /users/:id":                            auth.WriteUsers,
		"DELETE /users/:id":                           auth.WriteUsers,
		"POST /users/:id/unlock":                      auth.WriteUsers,
		"POST /users/:id/factors/reset":               auth.WriteUsers,
		"POST /users/:id/password-reset":              auth.WriteUsers,
		"POST /users/invitations":                     auth.WriteUsers,
		"PUT /users/:id/roles/:role":                  auth.GrantRoles,
		"DELETE /users/:id/roles/:role":               auth.GrantRoles,
		"GET /users/:id/sessions":                     auth.ReadSessions,
		"DELETE /users/:id/sessions":                  auth.EndSessions,
		"GET /roles":                                  auth.ReadRoles,
		"GET /roles/:name":                            auth.ReadRoles,
		"PUT /roles/:name":                            auth.WriteRoles,
		"DELETE /roles/:name":                         auth.WriteRoles,
		"GET /clients":                                auth.ReadClients,
		"POST /clients":                               auth.WriteClients,
		"GET /clients/:id":                            auth.ReadClients,
		"PATCH /clients/:id":                          auth.WriteClients,
		"POST /clients/:id/secrets":                   auth.WriteClients,
		"DELETE /clients/:id/secrets/old":             auth.WriteClients,
		"PUT /clients/:id/roles/:role":                auth.GrantRoles,
		"DELETE /clients/:id/roles/:role":             auth.GrantRoles,
		"GET /audit":                                  auth.ReadAudit,
		"GET /revocations":                            forAnybody, // with a service's token
		"GET /revocations.jwt":                        forAnybody,
		"GET /.well-known/jwks.json":                  forAnybody,
		"GET /.well-known/oauth-authorization-server": forAnybody,
		"GET /.well-known/openid-configuration":       forAnybody,
		"GET /userinfo":                               forUsers, // of apps
		"POST /userinfo":                              forUsers, // of apps
		"GET /docs":                                   forAnybody,
		"GET /docs/*asset":                            forAnybody,
		"GET /openapi.json":                           forAnybody,
		"GET /openapi.yaml":                           forAnybody,
		"POST /introspect":                            forAnybody, // with a client's secret
		"POST /revoke":                                forAnybody, // with a token
	}
}

// Every role tries every route of the table. It gets through to what its permissions allow, and to
// nothing else.
func TestEachRouteIsOpenToItsPermissionAndToNoOther(t *testing.T) {
	t.Parallel()
	f := start(t, settings{registrationClosed: true})
	docs, err := newDocs(api.Service{})
	must(t, err)
	table := rights()
	routes := (&API{}).table(docs, &wellKnown{})
	all := map[auth.Permission]bool{"": true, "other:*": true, "gatehouse:users": false,
		"gatehouse:*": true}
	for _, r := range routes {
		needed, ok := table[r.method+" "+r.path]
		if !ok || r.guard == nil {
			t.Fatalf("%s %s has no row here, or no guard", r.method, r.path)
		}
		if strings.Contains(string(needed), ":") {
			all[needed] = true
		}
	}
	if len(table) != len(routes) {
		t.Errorf("%d rows for %d routes", len(table), len(routes))
	}
	f.with("victim")
	callers := map[auth.Permission]tokens{}
	for permission, use := range all {
		if use {
			name := "u" +
				strings.NewReplacer(":", "-", "*", "all", ".", "-").Replace(string(permission))
			callers[permission] = f.with(name,
				slices.DeleteFunc([]auth.Permission{permission},
					func(p auth.Permission) bool { return p == "" })...)
		}
	}
	for _, r := range routes {
		needed := table[r.method+" "+r.path]
		if !strings.Contains(string(needed), ":") {
			continue
		}
		// The targets do not exist, so that one try does not spoil the next. The guard comes before
		// the target.
		path := strings.NewReplacer(":id", uuid.NewString(), ":role", "nothing", ":name",
			"nothing").Replace(r.path)
		body := map[string]string{"POST": "{}", "PATCH": "{}", "PUT": "{}"}[r.method]
		if strings.Contains(path, "/roles/nothing") && !strings.HasPrefix(path, "/roles") {
			body = ""
		}
		if a := f.do(f.request(r.method, path, body, "Content-Type", jsonType)); a.status != 401 &&
			a.status != 403 {
			t.Errorf("nobody, %s %s: %d %s", r.method, path, a.status, a.body)
		}
		for has, caller := range callers {
			a := f.as(caller, r.method, path, body)
			refused := a.status == http.StatusForbidden
			if want := has != needed && has != "gatehouse:*"; refused != want || a.status >= 500 ||
				a.status == 401 {
				t.Errorf("%q, %s %s: %d %s", has, r.method, path, a.status, a.body)
			}
			if got := a.header.Get("WWW-Authenticate"); refused &&
				got != `Bearer realm="gatehouse", error="insufficient_scope"` {
				t.Errorf("%q, %s %s: %s", has, r.method, path, got)
			}
		}
	}
}

// A new row without a guard must serve nobody.
func TestARouteWithoutAGuardServesNobody(t *testing.T) {
	t.Parallel()
	if err := (route{handle: (&gatekeeper{}).verify}).run(&API{}, nil); !errors.Is(err, edge.ErrNoGuard) {
		t.Error("it was served")
	}
}

func TestAnAdminRunsTheHouseByTheAPI(t *testing.T) {
	t.Parallel()
	f := start(t, settings{registrationClosed: true})
	root := f.root()
	f.want("register by a stranger", f.register("alice", goodPassword), 403)
	made := f.as(root, "POST", "/users", `{"username":"Alice","password":"`+goodPassword+`"}`)
	f.want("make a user", made, 201)
	alice := "/users/" + made.json(t, "user", "id").(string)
	f.want("make a role",
		f.as(root, "PUT", "/roles/clerk", `{"permissions":["files:read","files:write"]}`), 201)
	f.want("change it",
		f.as(root, "PUT", "/roles/clerk", `{"permissions":["gatehouse:users.read"]}`), 200)
	f.want("make it again",
		f.as(root, "PUT", "/roles/clerk", `{"permissions":["gatehouse:users.read"]}`), 200)
	f.want("grant", f.as(root, "PUT", alice+"/roles/clerk", ""), 204)
	f.want("have it demand a factor", f.as(root, "PUT", "/roles/clerk",
		`{"permissions":["gatehouse:users.read"],"factor":true}`), 200)
	// Programs that know nothing of factors must not take the demand away.
	f.want("make it again", f.as(root, "PUT", "/roles/clerk",
		`{"permissions":["gatehouse:users.read"]}`), 200)
	if got := f.as(root, "GET", "/roles/clerk", "").json(t, "role", "factor"); got != true {
		t.Errorf("factor: %v", got)
	}
	if got := f.as(root, "GET", alice, "").json(t, "user", "factors", "demanded"); got != true {
		t.Errorf("demanded: %v", got)
	}
	f.want("have it demand none", f.as(root, "PUT", "/roles/clerk",
		`{"permissions":["gatehouse:users.read"],"factor":false}`), 200)
	f.want("have admins set one up", f.as(root, "PUT", "/roles/admin",
		`{"permissions":["gatehouse:*"],"factor":false}`), 200)
	session := f.tokensOf(f.login("alice", goodPassword))
	me := f.as(session, "GET", "/users/me", "")
	if roles, _ := me.json(t, "user", "roles").([]any); len(roles) != 1 || roles[0] != "clerk" {
		t.Errorf("roles in %s", me.body)
	}
	f.want("use", f.as(session, "GET", "/users", ""), 200)
	f.want("beyond", f.as(session, "DELETE", alice, ""), 403)
	if a := f.as(root, "GET", alice+"/sessions", ""); a.status != 200 ||
		len(a.json(t, "sessions").([]any)) != 1 {
		t.Errorf("sessions: %d %s", a.status, a.body)
	}
	f.want("end the sessions", f.as(root, "DELETE", alice+"/sessions", ""), 204)
	f.want("the ended session", f.as(session, "GET", "/users/me", ""), 401)
	f.want("disable", f.as(root, "PATCH", alice, `{"disabled":true}`), 200)
	f.want("login", f.login("alice", goodPassword), 401)
	f.want("enable", f.as(root, "PATCH", alice, `{"disabled":false}`), 200)
	f.want("take the role", f.as(root, "DELETE", alice+"/roles/clerk", ""), 204)
	f.want("the role", f.as(root, "GET", "/roles/clerk", ""), 200)
	f.want("roles", f.as(root, "GET", "/roles", ""), 200)
	f.want("drop the role", f.as(root, "DELETE", "/roles/clerk", ""), 204)
	f.want("the role is gone", f.as(root, "GET", "/roles/clerk", ""), 404)
	f.want("the built-in role", f.as(root, "DELETE", "/roles/admin", ""), 409)
	f.want("delete", f.as(root, "DELETE", alice, ""), 204)
	f.want("gone", f.as(root, "GET", alice, ""), 404)
	f.want("the name",
		f.as(root, "POST", "/users", `{"username":"alice","password":"`+goodPassword+`"}`), 409)
	self := "/users/" + f.idOf("root").String()
	f.want("disable the last admin", f.as(root, "PATCH", self, `{"disabled":true}`), 409)
	f.want("delete the last admin", f.as(root, "DELETE", self, ""), 409)
	f.want("demote the last admin", f.as(root, "DELETE", self+"/roles/admin", ""), 409)
}

// A caller's own rights must not reach another's account through the id in the path.
func TestAnotherUsersIdOpensNothing(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.root()
	mallory, victim := f.tokensOf(f.loginNew("mallory")), f.tokensOf(f.loginNew("victim"))
	id := f.idOf("victim").String()
	session := f.as(victim, "GET", "/users/me/sessions", "").json(t,
		"sessions").([]any)[0].(map[string]any)["id"].(string)
	f.want("end the session", f.as(mallory, "DELETE", "/users/me/sessions/"+session, ""), 404)
	for _, try := range [][3]string{
		{"GET", "/users/" + id, ""}, {"PATCH", "/users/" + id, `{"disabled":true}`},
		{"DELETE", "/users/" + id, ""},
		{"PUT", "/users/" + id + "/roles/admin", ""},
		{"DELETE", "/users/" + id + "/roles/admin", ""},
		{"POST", "/users/" + id + "/unlock", ""}, {"POST", "/users/" + id + "/factors/reset", ""},
		{"GET", "/users/" + id + "/sessions", ""},
		{"DELETE", "/users/" + id + "/sessions", ""},
		{"PUT", "/users/" + f.idOf("mallory").String() + "/roles/admin", ""},
	} {
		f.want(try[0]+" "+try[1], f.as(mallory, try[0], try[1], try[2]), 403)
	}
	f.want("the victim is as before", f.as(victim, "GET", "/users/me", ""), 200)
	// An id has one notation. An id of nobody is not found, whoever asks.
	manager := f.with("manager", "gatehouse:*")
	for _, other := range []string{uuid.NewString(), "x", "me2", "urn:uuid:" + id, "{" + id + "}",
		strings.ReplaceAll(id, "-", ""), id + "%00"} {
		f.want("GET "+other, f.as(manager, "GET", "/users/"+other, ""), 404)
		f.want("DELETE "+other, f.as(manager, "DELETE", "/users/"+other, ""), 404)
	}
}

func (f *fixture) loginNew(name string) answered {
	f.Helper()
	f.want("register", f.register(name, goodPassword), 201)
	return f.login(name, goodPassword)
}

// A field that a handler does not know must not reach a column.
func TestEveryExtraFieldIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	f.want("register", f.register("alice", goodPassword), 201)
	alice := f.idOf("alice").String()
	for path, body := range map[string]map[string]any{
		"POST /users":           {"username": "bob", "password": goodPassword},
		"PATCH /users/" + alice: {"disabled": true},
		"PUT /roles/clerk":      {"permissions": []string{"gatehouse:users.read"}},
		"PUT /users/me/password": {"current_password": goodPassword,
			"new_password": "another good password"},
		"POST /clients":       {"client_id": "shop", "name": "Shop", "confidential": true},
		"PATCH /clients/desk": {"name": "Desk"},
		"DELETE /users/me":    {"current_password": goodPassword},
	} {
		method, path, _ := strings.Cut(path, " ")
		for _, extra := range []string{"id", "roles", "role", "permissions ", "admin", "is_admin",
			"Disabled", "username_key", "password_hash", "token_version", "created_at", "version"} {
			body[extra] = true
			raw, err := json.Marshal(body)
			must(t, err)
			delete(body, extra)
			f.want(method+" "+path+" with "+extra, f.as(root, method, path, string(raw)), 422)
		}
	}
	if user, err := f.rules.Accounts.Find(t.Context(), auth.ByName("alice")); err != nil ||
		user.Disabled() || user.TokenVersion != 1 {
		t.Errorf("%+v, %v", user, err)
	}
	f.wantUsers(2)
}

// If two people edit what both have read, the second must learn of the first.
func TestAnEditOfWhatHasChangedIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	f.want("register", f.register("alice", goodPassword), 201)
	f.want("role", f.as(root, "PUT", "/roles/clerk", `{"permissions":[]}`), 201)
	f.confidential("desk")
	alice := "/users/" + f.idOf("alice").String()
	edit := func(method, path, body, tag string) answered {
		f.Helper()
		return f.do(f.request(method, path, body, "Authorization", "Bearer "+root.access,
			"Content-Type", jsonType, "If-Match", tag))
	}
	for _, test := range []struct{ method, path, first, second string }{
		{"PATCH", alice, `{"disabled":true}`, `{"disabled":false}`},
		{"PUT", "/roles/clerk", `{"permissions":["gatehouse:users.read"]}`,
			`{"permissions":["gatehouse:roles.read"]}`},
		{"PATCH", "/clients/desk", `{"scope":"files:read"}`, `{"scope":null}`},
		{"PATCH", "/clients/desk", `{"disabled":true}`, `{"disabled":false}`},
	} {
		tag := f.as(root, "GET", test.path, "").header.Get("ETag")
		first := edit(test.method, test.path, test.first, `"other", `+tag)
		f.want(test.path+" first", first, 200)
		f.want(test.path+" second", edit(test.method, test.path, test.second, tag), 412)
		f.want(test.path+" weak",
			edit(test.method, test.path, test.second, "W/"+first.header.Get("ETag")), 412)
		f.want(test.path+" read again",
			edit(test.method, test.path, test.second, first.header.Get("ETag")), 200)
		f.want(test.path+" any", edit(test.method, test.path, test.first, "*"), 200)
	}
	tag := f.as(root, "GET", alice, "").header.Get("ETag")
	var statuses [8]int
	var all sync.WaitGroup
	for n := range statuses {
		all.Go(func() {
			statuses[n] = edit("PATCH", alice, fmt.Sprintf(`{"disabled":%t}`, n%2 == 1), tag).status
		})
	}
	all.Wait()
	changes := 0
	for n, status := range statuses {
		if n%2 == 0 && status == 200 { // the user is disabled, so enabling is a change
			changes++
		}
	}
	if changes > 1 {
		t.Errorf("%d edits of one version passed: %v", changes, statuses)
	}
	f.want("make what is there",
		f.do(f.request("PUT", "/roles/clerk", `{"permissions":[]}`, "Authorization",
			"Bearer "+root.access,
			"Content-Type", jsonType, "If-None-Match", "*")), 412)
}

func (f *fixture) page(t tokens, query url.Values) (names []string, next string) {
	f.Helper()
	a := f.as(t, "GET", "/users?"+query.Encode(), "")
	f.want("page "+query.Encode(), a, 200)
	for _, u := range a.json(f, "users").([]any) {
		names = append(names, u.(map[string]any)["username"].(string))
	}
	next, _ = a.json(f, "next").(string)
	return names, next
}

func TestPagesUnderInsertsAndDeletesNeitherRepeatNorSkip(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	var stay []string
	for n := range 40 {
		name := fmt.Sprintf("stay%02d", n)
		f.insert(name)
		stay = append(stay, name)
	}
	var seen []string
	query := url.Values{"limit": {"7"}, "q": {"ST"}}
	for n := 0; ; n++ {
		names, next := f.page(root, query)
		seen = append(seen, names...)
		if next == "" {
			break
		}
		query.Set("cursor", next)
		f.insert(fmt.Sprintf("sta%02d", n))                  // before
		f.insert(fmt.Sprintf("stay%02d-%02d", (n*13)%40, n)) // anywhere
		if n == 2 {                                          // at the cursor's position
			must(t, f.rules.Accounts.Delete(t.Context(), authtest.Operator(),
				f.idOf(names[len(names)-1])))
		}
	}
	if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
		t.Errorf("out of order, or twice: %v", seen)
	}
	for _, name := range stay {
		if !slices.Contains(seen, name) {
			t.Errorf("%s was skipped: %v", name, seen)
		}
	}
}

func (f *fixture) insert(name string) {
	f.Helper()
	_, err := f.store.InsertUser(f.Context(),
		auth.Event{Action: auth.ActionCreateUser, Outcome: auth.Outcome(nil),
			By: authtest.Operator()}, auth.Freely(),
		auth.StoredAccount{
			ID: uuid.Must(uuid.NewV7()), Username: auth.Username{Given: name, Key: name},
			Password: auth.StoredPassword{Hash: "$2a$04$" + strings.Repeat("x", 53)},
		})
	must(f, err)
}

func TestUsersAreFoundByWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	f.with("clerk", "files:read")
	for _, name := range []string{"anna", "annabel", "bert", "ann_"} {
		f.insert(name)
	}
	_, err := f.rules.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("annabel"),
		nil)
	must(t, err)
	for query, want := range map[string]string{
		"":                      "ann_ anna annabel bert clerk root",
		"q=ann":                 "ann_ anna annabel",
		"q=ANN_":                "ann_",
		"q=ann%25":              "",
		"q=%EF%BD%81nna":        "anna annabel",
		"disabled=true":         "annabel",
		"disabled=false&q=anna": "anna",
		"role=clerk":            "clerk",
		"role=admin":            "root",
		"role=nothing":          "",
		"limit=2":               "ann_ anna",
	} {
		values, err := url.ParseQuery(query)
		must(t, err)
		if names, _ := f.page(root, values); strings.Join(names, " ") != want {
			t.Errorf("%s: %v, want %s", query, names, want)
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "limit=-1", "disabled=yes",
		"disabled=", "q=a%20b", "q=%00", "role=%00"} {
		f.want(query, f.as(root, "GET", "/users?"+query, ""), 422)
	}
}

func TestACursorThatIsForgedCutOldOrForeignIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root, other := f.root(), f.with("reader", "gatehouse:*")
	f.insert("anna")
	f.insert("annabel")
	_, cursor := f.page(root, url.Values{"limit": {"1"}, "q": {"ann"}})
	if raw, err := base64.RawURLEncoding.DecodeString(cursor); err != nil ||
		strings.Contains(string(raw), "anna") {
		t.Errorf("the cursor shows whom it names: %q, %v", raw, err)
	}
	f.want("the cursor", f.as(root, "GET", "/users?limit=1&q=ann&cursor="+cursor, ""), 200)
	question := "users\x00" + f.idOf("root").String() + "\x00ann\x00\x00"
	foreign := "another signing key, with 32 bytes or more"
	f.want("made here",
		f.as(root, "GET",
			"/users?q=ann&cursor="+cursorOf(t, signingKey, time.Now(), question, "anna"), ""), 200)
	for name, bad := range map[string]string{
		"empty":         "",
		"cut":           cursor[:len(cursor)-1],
		"cut short":     cursor[:10],
		"longer":        cursor + "A",
		"flipped":       flip(cursor),
		"a name":        "anna",
		"endless":       strings.Repeat("A", 5000),
		"line break":    cursor + "%0A",
		"old":           cursorOf(t, signingKey, time.Now().Add(-25*time.Hour), question, "anna"),
		"of other keys": cursorOf(t, foreign, time.Now(), question, "anna"),
	} {
		f.want(name, f.as(root, "GET", "/users?q=ann&cursor="+bad, ""), 400)
	}
	f.want("of another filter", f.as(root, "GET", "/users?q=an&cursor="+cursor, ""), 400)
	f.want("of another list", f.as(root, "GET", "/users?q=ann&disabled=false&cursor="+cursor, ""),
		400)
	f.want("of another user", f.as(other, "GET", "/users?q=ann&cursor="+cursor, ""), 400)
}

// (A test of package auth covers what is under way at that moment.)
func TestADemotedAdminsNextRequestIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	second := f.with("second", "gatehouse:*")
	f.want("before", f.as(second, "GET", "/users", ""), 200)
	f.want("demote", f.as(root, "DELETE", "/users/"+f.idOf("second").String()+"/roles/second", ""),
		204)
	f.want("the old token", f.as(second, "GET", "/users", ""), 401)
	refreshed := f.tokensOf(f.refreshed(second.refresh))
	f.want("the new token", f.as(refreshed, "GET", "/users", ""), 403)
	f.want("the session", f.as(refreshed, "GET", "/users/me", ""), 200)
}

func TestTheTokenResponseHasTheScopeThatWasGranted(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.with("alice", "files:read", "gatehouse:*")
	login := func(scope string) answered {
		f.Helper()
		return f.postToken(url.Values{"username": {"alice"}, "password": {goodPassword},
			"scope": {scope}}.Encode())
	}
	for asked, want := range map[string]string{"": "files:read gatehouse:*",
		"gatehouse:users.read": "gatehouse:users.read"} {
		if got := login(asked).json(t, "scope"); got != want {
			t.Errorf("%q: %v", asked, got)
		}
	}
	for _, asked := range []string{"files:write", "c", "files:read money:spend", "files:*"} {
		if a := login(asked); a.status != 400 || a.json(t, "error") != "invalid_scope" {
			t.Errorf("%q: %d %s", asked, a.status, a.body)
		}
	}
	narrow := f.tokensOf(login("files:read"))
	f.want("within the user's rights, but not the token's", f.as(narrow, "GET", "/users", ""), 403)
	f.root()
	part := f.tokensOf(
		f.postToken(url.Values{"username": {"root"}, "password": {goodPassword},
			"scope": {"gatehouse:roles.grant"}}.Encode()))
	f.want("an admin's token for less gives no more",
		f.as(part, "PUT", "/users/"+f.idOf("alice").String()+"/roles/admin", ""), 403)
	wide := f.postToken(url.Values{"grant_type": {"refresh_token"},
		"refresh_token": {narrow.refresh}, "scope": {"gatehouse:*"}}.Encode())
	if wide.status != 400 || wide.json(t, "error") != "invalid_scope" {
		t.Errorf("a refresh that widens: %d %s", wide.status, wide.body)
	}
	if again := f.refreshed(narrow.refresh); again.json(t, "scope") != "files:read" {
		t.Errorf("a refresh: %d %s", again.status, again.body)
	}
}

// A scope would be useless if the roles beside it allowed what it does not name.
func TestATokenForWhichAScopeWasAskedHasNoRoles(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.root()
	f.with("vip", "files:read")
	must(t, f.rules.Roles.Grant(t.Context(), authtest.Operator(), f.idOf("vip"), auth.AdminRole))
	job := f.job("job", "files:read")
	scope := []string{"scope", "files:read"}
	whole := f.tokensOf(f.login("vip", goodPassword))
	asked := f.tokensOf(f.loginBy(program{}, "vip", scope...))
	wholeAgain := f.tokensOf(f.refreshed(whole.refresh))
	refreshing := []string{"grant_type", "refresh_token", "refresh_token"}
	for name, test := range map[string]struct {
		held  tokens
		roles string
	}{
		"all": {whole, "admin,vip"}, "all, refreshed": {wholeAgain, "admin,vip"},
		"login": {asked, ""}, "refreshed": {f.tokensOf(f.refreshed(asked.refresh)), ""},
		"refresh": {f.tokensOf(f.post(program{}, "/token",
			append(append(refreshing, wholeAgain.refresh), scope...)...)), ""},
		"client":        {f.tokensOf(f.ownToken(job)), "job"},
		"client, asked": {f.tokensOf(f.ownToken(job, scope...)), ""},
	} {
		var roles []string
		claimed, _ := claimsOf(t, test.held.access)["roles"].([]any)
		for _, role := range claimed {
			roles = append(roles, role.(string))
		}
		if got := strings.Join(roles, ","); got != test.roles {
			t.Errorf("%s: the claim is %q", name, got)
		}
		if got := f.verified(test.held.access).header.Get("Remote-Groups"); got != test.roles {
			t.Errorf("%s: Remote-Groups: %q", name, got)
		}
		for role := range strings.SplitSeq("admin,vip,job", ",") {
			want := 403
			if slices.Contains(roles, role) {
				want = 204
			}
			f.want(name+", "+role,
				f.do(f.request("GET", "/verify?role="+role, "", "Authorization",
					"Bearer "+test.held.access)), want)
		}
		if strings.HasPrefix(name, "client") {
			continue
		}
		me := f.as(test.held, "GET", "/users/me", "")
		shown, _ := me.json(t, "user", "roles").([]any)
		if me.status != 200 || len(shown) != len(roles) {
			t.Errorf("%s: /users/me: %d %s", name, me.status, me.body)
		}
	}
}

// Whoever has stolen the token of an administrator must not take away what keeps them from logging
// in. And an app need not know how its user logs in.
func TestFactorsAreResetForOthersAloneAndShownToWhomTheyConcern(t *testing.T) {
	t.Parallel()
	f, conn := startWithConn(t, settings{})
	root, clerk := f.root(), f.with("clerk", auth.WriteUsers)
	alice := f.tokensOf(f.loginNew("alice"))
	f.want("the own ones", f.as(root, "POST", "/users/"+f.idOf("root").String()+"/factors/reset", ""), 403)
	f.want("as they were", f.as(root, "GET", "/users/me", ""), 200)
	f.want("of one with more rights",
		f.as(clerk, "POST", "/users/"+f.idOf("root").String()+"/factors/reset", ""), 403)
	if me := f.as(alice, "GET", "/users/me", ""); strings.Contains(me.body, "factors") {
		t.Errorf("there is nothing to tell: %s", me.body)
	}
	for _, name := range []string{"alice", "clerk"} {
		_, err := conn.Exec(t.Context(),
			"INSERT INTO recovery_codes (user_id, digest) VALUES ($1, sha256('a code'))", f.idOf(name))
		must(t, err)
	}
	me := f.as(alice, "GET", "/users/me", "")
	if got := me.json(t, "user", "factors", "passwordless"); got != false {
		t.Errorf("to the own user: %s", me.body)
	}
	narrow := f.as(f.tokensOf(f.loginBy(program{}, "clerk", "scope", "gatehouse:users.write")),
		"GET", "/users/me", "")
	if narrow.status != 200 || strings.Contains(narrow.body, "factors") {
		t.Errorf("to an app with a narrower token: %d %s", narrow.status, narrow.body)
	}
	reset := f.as(clerk, "POST", "/users/"+f.idOf("alice").String()+"/factors/reset", "")
	if f.want("of another", reset, 200); reset.header.Get("ETag") == "" {
		t.Error("there is no ETag")
	}
	f.want("with the token of before", f.as(alice, "GET", "/users/me", ""), 401)
	f.want("of nobody", f.as(clerk, "POST", "/users/"+uuid.NewString()+"/factors/reset", ""), 404)
}

// A refusal that the replica remembers must end with the unlocking.
func TestAnAccountThatIsUnlockedLogsInAtOnce(t *testing.T) {
	t.Parallel()
	f := start(t, settings{rates: tightRates()})
	root, clerk := f.root(), f.with("clerk", auth.WriteUsers)
	f.want("register", f.register("alice", goodPassword), 201)
	for _, name := range []string{"alice", "root"} {
		for n, want := range []int{401, 401, 429, 429} {
			f.want(fmt.Sprint(name, n), f.login(name, "wrong"), want)
		}
	}
	f.want("locked", f.login("alice", goodPassword), 429)
	f.want("unlock", f.as(clerk, "POST", "/users/"+f.idOf("alice").String()+"/unlock", ""), 204)
	f.want("unlocked", f.login("alice", goodPassword), 200)
	f.want("an account with more rights",
		f.as(clerk, "POST", "/users/"+f.idOf("root").String()+"/unlock", ""), 403)
	f.want("is locked still", f.login("root", goodPassword), 429)
	f.want("nobody", f.as(root, "POST", "/users/"+uuid.NewString()+"/unlock", ""), 404)
}

func cursorOf(t testing.TB, secret string, now time.Time, question, position string) string {
	t.Helper()
	return cursor.New(keychainOf(t, secret)).Make(now, question, position)
}
