package web_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// audited is a fixture with the shop, with alice, bob and the admin root, and with a connection for
// what only the database's owner may do.
type audited struct {
	*fixture
	owner *pgx.Conn
	shop  auth.Client
	ids   map[uuid.UUID]string // the users' names
	b     *browser             // alice is logged in there
	// letter is what somebody got.
	letter auth.Letter
}

func startAudited(t *testing.T, s settings, change func(*auth.Client)) *audited {
	t.Helper()
	s.databaseURL = dbtest.New(t)
	owner, err := pgx.Connect(t.Context(), dbtest.Owner(t, s.databaseURL))
	must(t, err)
	t.Cleanup(func() { _ = owner.Close(t.Context()) })
	a := &audited{fixture: start(t, s), owner: owner, ids: map[uuid.UUID]string{}}
	a.shop = a.addShop(change)
	for _, name := range []string{"alice", "bob"} {
		a.register(name)
	}
	_, _, err = a.rules.Accounts.Register(t.Context(), authtest.Operator(), auth.NewAccount{
		Username: "root", Password: goodPassword, Roles: []string{auth.AdminRole},
	})
	must(t, err)
	for _, name := range []string{"alice", "bob", "root"} {
		a.ids[a.user(name).ID] = name
	}
	a.b = a.loggedInAs("alice")
	return a
}

func (a *audited) exec(statement string) {
	a.Helper()
	_, err := a.owner.Exec(a.Context(), statement)
	must(a, err)
}

// tables returns all that is stored of accounts, sessions, apps, and what users allow them.
func (a *audited) tables() (all string) {
	a.Helper()
	for _, table := range []string{"users", "sessions", "revocations", "user_roles", "clients",
		"retired_usernames", "authorization_codes", "consents", "mails", "totp_secrets", "recovery_codes",
		"passkeys", "trusted_devices"} {
		// Of these, what a refused proof leaves is no change of the account.
		counted := map[string]string{
			"users": "{factor_failures}", "passkeys": "{sign_count,last_used_at}", "totp_secrets": "{last_step}",
		}
		var rows string
		must(a, a.owner.QueryRow(a.Context(),
			"SELECT '"+table+"' || coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM "+
				table+" t, LATERAL (SELECT to_jsonb(t) - $1::text[]) s(r)",
			cmp.Or(counted[table], "{}")).Scan(&rows))
		all += rows + "\n"
	}
	return all
}

// told returns what the log has of a request, the oldest first: for each event its action and its
// outcome, who did it, to whom, and what it was done to.
func (a *audited) told(answer answered) (told []string) {
	a.Helper()
	id := answer.header.Get("X-Request-Id")
	found, err := a.rules.Audit.LastEvents(a.Context(), auth.EventFilter{RequestID: id}, 10)
	must(a, err)
	for _, e := range found {
		actor, target := string(e.By.Kind), e.Target
		if e.By.ID != uuid.Nil {
			actor = a.name(e.By.ID)
		}
		if _, err := uuid.Parse(target); err == nil {
			target = "session"
		}
		if strings.HasPrefix(target, "passkey ") {
			target = "passkey"
		}
		told = append(told, strings.TrimSpace(fmt.Sprintf("%s %s by %s of %s %s", e.Action, e.Outcome,
			actor, a.name(e.UserID), target)))
		if e.Address != "127.0.0.1" || e.UserAgent != "Go-http-client/1.1" {
			a.Errorf("%s comes from %q by %q", e.Action, e.Address, e.UserAgent)
		}
	}
	return told
}

func (a *audited) name(id uuid.UUID) string {
	switch name, known := a.ids[id]; {
	case known:
		return name
	case id == uuid.Nil:
		return "nobody"
	}
	return "a new one"
}

// attempt is a request that changes something, or is refused, with all that it needs.
type attempt struct {
	settings settings
	app      func(*auth.Client)
	prepare  func(a *audited) // may be nil
	send     func(a *audited) answered
	status   int
	told     []string // as audited.told has it
}

func asking(c *auth.Client)    { c.Ask = true }
func forAdmins(c *auth.Client) { c.RequiredRole = auth.AdminRole }

// posts makes a request of the browser of alice.
func posts(path string, form ...string) func(*audited) answered {
	return func(a *audited) answered { return a.b.post(path, form...) }
}

func gets(path string) func(*audited) answered {
	return func(a *audited) answered { return a.b.get(path) }
}

// mustChange makes alice change the password at the next login, which has to be of another browser.
func mustChange(a *audited) {
	_, err := a.rules.Accounts.RequirePasswordChange(a.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(a, err)
	a.b = a.browser()
}

// another is a second session of alice.
func another(a *audited) { a.loggedInAs("alice") }

// attempts has one for each route that changes something, and for each reason to refuse that.
func attempts() map[string]attempt {
	asBob := func(a *audited) { a.b = a.loggedInAs("bob") }
	asRoot := func(a *audited) { a.b = a.loggedInAs("root") }
	logins := func(username, pw string) func(*audited) answered {
		return posts("/login", "username", username, "password", pw)
	}
	demanded := func(current string) func(*audited) answered {
		return posts("/login/password", "username", "alice", "current_password", current,
			"new_password", anotherPassword)
	}
	registers := func(username string) func(*audited) answered {
		return posts("/register", "username", username, "password", goodPassword)
	}
	changes := func(current string) func(*audited) answered {
		return posts("/account/password", "as", "alice", "current_password", current,
			"new_password", anotherPassword)
	}
	answers := func(choice string) func(*audited) answered {
		return posts("/consent", "as", "alice", "choice", choice, "next", request())
	}
	var hint string
	all := map[string]attempt{
		"POST /login": {send: logins("alice", goodPassword), status: 303,
			told: []string{"login success by alice of alice session"}},
		"POST /login (as another)": {prepare: asBob, send: logins("alice", goodPassword), status: 303,
			told: []string{"login success by alice of alice session",
				"logout success by bob of bob session"}},
		"POST /login (wrong password)": {send: logins("alice", "guess"), status: 401,
			told: []string{"login wrong_password by anonymous of alice"}},
		"POST /login (nobody's name)": {send: logins("carol", "guess"), status: 401,
			told: []string{"login unknown_user by anonymous of nobody"}},
		"POST /login (must change)": {prepare: mustChange, send: logins("alice", goodPassword),
			status: 303,
			told:   []string{"login password_change_required by anonymous of alice"}},
		"POST /login (unverified)": {settings: settings{email: auth.EmailRequired},
			prepare: (*audited).unproved, send: logins("alice", goodPassword), status: 303,
			told: []string{"login address_unverified by anonymous of alice",
				"email.resend success by alice of alice"}},
		"POST /login/password": {prepare: mustChange, send: demanded(goodPassword), status: 303,
			told: []string{"password.change success by alice of alice",
				"login success by alice of alice session"}},
		"POST /login/password (wrong password)": {prepare: mustChange, send: demanded("guess"),
			status: 401, told: []string{"password.change wrong_password by anonymous of alice"}},
		"POST /register": {send: registers("carol"), status: 303,
			told: []string{"user.register success by anonymous of a new one"}},
		"POST /register (taken)": {send: registers("alice"), status: 409,
			told: []string{"user.register username_taken by anonymous of alice"}},
		"POST /register (closed)": {settings: settings{registrationClosed: true},
			send: registers("carol"), status: 403,
			told: []string{"user.register registration_closed by anonymous of nobody"}},
		"POST /password/mail": {send: posts("/password/mail", "login", "alice"), status: 303,
			told: []string{"password.forgot success by anonymous of nobody"}},
		"POST /password/code": {prepare: (*audited).mailed, send: func(a *audited) answered {
			return a.b.post("/password/code", "challenge", a.letter.ID.String(), "code", a.letter.Code,
				"new_password", anotherPassword)
		}, status: 303, told: []string{"password.reset success by alice of alice",
			"user.unlock success by alice of alice"}},
		"POST /password/code (wrong code)": {prepare: (*audited).mailed,
			send: func(a *audited) answered {
				return a.b.post("/password/code", "challenge", a.letter.ID.String(), "code", "guess",
					"new_password", anotherPassword)
			}, status: 400, told: []string{"password.reset invalid_challenge by anonymous of alice"}},
		"POST /email/code": {prepare: (*audited).changing, send: func(a *audited) answered {
			return a.b.post("/email/code", "challenge", a.letter.ID.String(), "code", a.letter.Code,
				"password", goodPassword)
		}, status: 303, told: []string{"email.verify success by alice of alice"}},
		"POST /email/code (wrong code)": {prepare: (*audited).changing,
			send: func(a *audited) answered {
				return a.b.post("/email/code", "challenge", a.letter.ID.String(), "code", "guess",
					"password", goodPassword)
			}, status: 400, told: []string{"email.verify invalid_challenge by anonymous of alice"}},
		"POST /account/email": {send: posts("/account/email", "as", "alice", "email",
			"alice@example.net", "current_password", goodPassword), status: 303,
			told: []string{"email.change success by alice of alice session"}},
		"POST /account/email (wrong password)": {send: posts("/account/email", "as", "alice", "email",
			"alice@example.net", "current_password", "guess"), status: 422,
			told: []string{"email.change wrong_password by alice of alice session"}},
		"POST /account/email (remove)": {
			prepare: func(a *audited) { a.verify("alice", "now()") },
			send: posts("/account/email", "as", "alice", "choice", "remove", "current_password",
				goodPassword), status: 303,
			told: []string{"email.remove success by alice of alice session"}},
		"POST /account/email (remove, required)": {settings: settings{email: auth.EmailRequired},
			send: posts("/account/email", "as", "alice", "choice", "remove", "current_password",
				goodPassword), status: 409,
			told: []string{"email.remove address_required by alice of alice session"}},
		"POST /account/email/mail": {send: posts("/account/email/mail", "as", "alice"), status: 303,
			told: []string{"email.resend success by alice of alice session"}},
		"POST /email/mail": {send: posts("/email/mail", "challenge", uuid.NewString()), status: 303,
			told: []string{"email.resend success by anonymous of nobody"}},
		"POST /email/verify/:token": {prepare: (*audited).changing, send: (*audited).verifies,
			status: 303, told: []string{"email.verify success by alice of alice"}},
		"POST /email/undo/:token": {prepare: (*audited).undoable, send: (*audited).undoes,
			status: 303, told: []string{"email.undo success by alice of alice"}},
		"POST /password/reset/:token": {prepare: (*audited).mailed, send: (*audited).resets,
			status: 303, told: []string{"password.reset success by alice of alice",
				"user.unlock success by alice of alice"}},
		"POST /password/reset/:token (used)": {prepare: func(a *audited) {
			a.mailed()
			a.shows(a.resets(), 303)
		}, send: (*audited).resets, status: 400,
			told: []string{"password.reset invalid_challenge by anonymous of nobody"}},
		"POST /invitation/:token": {prepare: (*audited).invited, send: (*audited).accepts,
			status: 303, told: []string{"invitation.accept success by a new one of a new one"}},
		"POST /invitation/:token (used)": {prepare: func(a *audited) {
			a.invited()
			a.shows(a.accepts(), 303)
		}, send: (*audited).accepts, status: 400,
			told: []string{"invitation.accept invalid_challenge by anonymous of nobody"}},
		"POST /account/sessions": {prepare: another, send: func(a *audited) answered {
			id := idsOf(a.b.get("/account").body)[0]
			return a.b.post("/account/sessions", "as", "alice", "session", id)
		}, status: 303, told: []string{"session.end success by alice of alice session"}},
		"POST /account/sessions (others)": {prepare: another,
			send: posts("/account/sessions", "as", "alice", "choice", "others"), status: 303,
			told: []string{"sessions.end success by alice of alice"}},
		"POST /account/sessions (none)": {send: posts("/account/sessions", "as", "alice", "session",
			uuid.NewString()), status: 303,
			told: []string{"session.end session_not_found by alice of alice session"}},
		"POST /account/apps": {app: asking, prepare: func(a *audited) {
			a.letsIn(a.b, "alice", "openid")
		}, send: posts("/account/apps", "as", "alice", "client", "shop"), status: 303,
			told: []string{"consent.withdraw success by alice of alice shop"}},
		"POST /account/apps (none)": {send: posts("/account/apps", "as", "alice", "client", "shop"),
			status: 303, told: []string{"consent.withdraw consent_not_found by alice of alice shop"}},
		"POST /account/password": {send: changes(goodPassword), status: 303,
			told: []string{"password.change success by alice of alice session"}},
		"POST /account/password (wrong password)": {send: changes("guess"), status: 422,
			told: []string{"password.change wrong_password by alice of alice session"}},
		"GET /account/data": {send: gets("/account/data"), status: 200,
			told: []string{"user.export success by alice of alice"}},
		"POST /account/delete": {
			send: posts("/account/delete", "as", "alice", "password", goodPassword), status: 303,
			told: []string{"user.delete success by alice of alice"}},
		"POST /account/delete (wrong password)": {
			send: posts("/account/delete", "as", "alice", "password", "guess"), status: 422,
			told: []string{"user.delete wrong_password by alice of alice"}},
		"POST /account/delete (last admin)": {prepare: asRoot,
			send: posts("/account/delete", "as", "root", "password", goodPassword), status: 409,
			told: []string{"user.delete last_admin by root of root"}},
		"GET /authorize": {send: gets(request()), status: 303,
			told: []string{"code.issue success by alice of alice shop"}},
		"GET /authorize (not admitted)": {app: forAdmins, send: gets(request()), status: 303,
			told: []string{"code.issue not_for_user by alice of alice shop"}},
		"POST /consent": {app: asking, send: answers("allow"), status: 303,
			told: []string{"consent.give success by alice of alice shop",
				"code.issue success by alice of alice shop"}},
		"POST /consent (denied)": {app: asking, send: answers("deny"), status: 303,
			told: []string{"consent.give access_denied by alice of alice shop"}},
		"GET /end-session": {prepare: func(a *audited) {
			hint = a.b.appIn(a.shop, "openid").IDToken
		}, send: func(a *audited) answered {
			return a.b.get("/end-session?id_token_hint=" + url.QueryEscape(hint))
		}, status: 303, told: []string{"logout success by alice of alice session"}},
		"POST /end-session": {send: posts("/end-session", "as", "alice", "choice", "log_out"),
			status: 303, told: []string{"logout success by alice of alice session"}},
	}
	maps.Copy(all, factorAttempts())
	return all
}

// byNoPage are the actions that no page causes: those of the API and of the command line.
func byNoPage() []auth.Action {
	return []auth.Action{
		auth.ActionRefresh, auth.ActionRevokeToken, auth.ActionCreateUser, auth.ActionDisableUser,
		auth.ActionEnableUser, auth.ActionImportUsers, auth.ActionExportUsers,
		auth.ActionSetPassword, auth.ActionRequireChange, auth.ActionSetRole, auth.ActionDeleteRole,
		auth.ActionGrantRole, auth.ActionRevokeRole, auth.ActionIssueToken, auth.ActionRedeemCode,
		auth.ActionGrantToClient, auth.ActionRevokeOfClient, auth.ActionAddClient,
		auth.ActionSetClient, auth.ActionDisableClient, auth.ActionEnableClient,
		auth.ActionRotateSecret, auth.ActionRetireSecret, auth.ActionRetirePepper,
		auth.ActionPruneAudit, auth.ActionAddKey, auth.ActionActivateKey, auth.ActionRetireKey,
		auth.ActionRevokeKey, auth.ActionRewrapKeys, auth.ActionResetKeys, auth.ActionRestored,
		auth.ActionAuthorize, auth.ActionProveClient, auth.ActionRefusals,
		auth.ActionResetFactors, auth.ActionDisplaceUser, auth.ActionRegressPasskey,
		auth.ActionSendReset, auth.ActionInviteUser, auth.ActionMakeChallenge, auth.ActionFailMail,
	}
}

// routeOf is the method and the path of a row.
func routeOf(row string) string {
	route, _, _ := strings.Cut(row, " (")
	return route
}

func TestEveryActionOfAPageAndEveryFormHasARow(t *testing.T) {
	t.Parallel()
	caused, tried := map[auth.Action]bool{}, map[string]bool{
		"POST /authorize":              true, // sent on by GET
		"POST /account/security/later": true, // a cookie alone
	}
	for name, try := range attempts() {
		tried[routeOf(name)] = true
		for _, told := range try.told {
			action, _, _ := strings.Cut(told, " ")
			caused[auth.Action(action)] = true
		}
	}
	for _, action := range auth.Actions() {
		if caused[action] == slices.Contains(byNoPage(), action) {
			t.Errorf("%s: has a row: %t", action, caused[action])
		}
	}
	for _, r := range start(t, settings{}).routes {
		if r.Method == http.MethodPost && !tried[r.Method+" "+r.Path] {
			t.Errorf("%s %s has no row", r.Method, r.Path)
		}
	}
}

// What is done but not logged cannot be found out later. A browser that loses its cookie for a
// session that goes on would be told that it is logged out.
func TestWithoutItsEventNoPageDoesAnythingAndWithItThereIsOne(t *testing.T) {
	t.Parallel()
	for name, try := range attempts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAudited(t, try.settings, try.app)
			if try.prepare != nil {
				try.prepare(a)
			}
			before := a.tables()
			a.exec(dbtest.BreakAudit)
			if answer := try.send(a); answer.status != 500 || len(answer.cookies) != 0 ||
				answer.location() != "" {
				t.Errorf("without an event: %d, to %q, cookies %v: %s", answer.status,
					answer.location(), answer.cookies, answer.body)
			}
			if after := a.tables(); after != before {
				t.Errorf("without an event there is\n%s\nand was\n%s", after, before)
			}
			a.exec(dbtest.MendAudit)
			answer := try.send(a)
			if answer.status != try.status {
				t.Errorf("with an event: %d %s", answer.status, answer.body)
			}
			if told := a.told(answer); !slices.Equal(told, try.told) {
				t.Errorf("the log has %q, want %q", told, try.told)
			}
			changes := slices.ContainsFunc(try.told, func(told string) bool {
				return strings.Contains(told, " success ")
			}) && name != "GET /account/data"
			if changes == (a.tables() == before) {
				t.Error("what is stored is not what the log says")
			}
		})
	}
}

// frozen is a clock for what is bounded in time.
func frozen() func() time.Time {
	now := time.Now()
	return func() time.Time { return now }
}
