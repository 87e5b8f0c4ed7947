package web_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/ratelimit"
)

// way is a way in which a browser can have lines written into the audit log, or rows into other
// tables, again and again.
type way struct {
	does        string // method and path of the route
	app         func(*auth.Client)
	email       auth.EmailMode
	prepare     func(a *audited) // may be nil
	send        func(a *audited) answered
	times       int
	first, last int // the status of the first answer, and of the last one
	lines       int // the most lines that all of them may leave
	// events that are not even counted: remembered refusals by a limit, and what changes nothing
	unsaid int
	// outcomes of what is counted, each of which has a line; 0: one
	outcomes int
}

const (
	ofActor   = 20  // refusals of an actor that are logged one by one
	ofNetwork = 100 // of a network
	ofSession = 120 // codes, and what is allowed to apps
	ofData    = 10  // exports of a user's own data
	ofLimit   = 3   // refused passwords of an account: two, and that there were too many
)

// ways has one for each form, and for each other route that changes something.
func ways() map[string]way {
	again := request("prompt", "consent")
	stranger := func(a *audited) { a.b = a.browser() }
	loggedOut := func(a *audited) { // and still has the cookie
		thief := a.b.copied()
		a.sent(a.b.post("/end-session", "as", "alice", "choice", "log_out"), "/end-session")
		a.b = thief
	}
	consents := func(next, choice string) func(*audited) answered {
		return posts("/consent", "as", "alice", "choice", choice, "next", next)
	}
	n := 0
	all := map[string]way{
		"wrong password": {does: "POST /login",
			send:  posts("/login", "username", "alice", "password", "guess"),
			times: 40, first: 401, last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"address that is not verified": {does: "POST /login", email: auth.EmailRequired,
			prepare: (*audited).unproved, send: posts("/login", "username", "alice", "password",
				goodPassword), times: 40, first: 303, last: 303, lines: 40 + ofLimit, unsaid: -ofLimit},
		"names of nobody": {does: "POST /login", send: func(a *audited) answered {
			n++
			return a.b.post("/login", "username", fmt.Sprint("nobody", n), "password", "guess")
		}, times: 150, first: 401, last: 401, lines: ofNetwork},
		"going on": {does: "POST /login", send: posts("/login", "as", "alice", "choice", "current"),
			times: 30, first: 303, last: 303, unsaid: 30},
		"wrong password, to be replaced": {does: "POST /login/password", prepare: stranger,
			send: posts("/login/password", "username", "alice", "current_password", "guess",
				"new_password", anotherPassword),
			times: 40, first: 401, last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"name that is taken": {does: "POST /register",
			send:  posts("/register", "username", "bob", "password", goodPassword),
			times: 40, first: 409, last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"password that is too short": {does: "POST /register",
			send:  posts("/register", "username", "carol", "password", "x"),
			times: 30, first: 422, last: 422, unsaid: 30},
		"mails for the password": {does: "POST /password/mail",
			send:  posts("/password/mail", "login", "alice"),
			times: 40, first: 303, last: 303, lines: ofLimit, unsaid: 40 - ofLimit},
		"wrong code": {does: "POST /password/code",
			send: posts("/password/code", "challenge", uuid.NewString(), "code", "guess",
				"new_password", anotherPassword),
			times: 150, first: 400, last: 400, lines: ofNetwork},
		"wrong code for an address": {does: "POST /email/code",
			send: posts("/email/code", "challenge", uuid.NewString(), "code", "guess",
				"password", goodPassword),
			times: 150, first: 400, last: 400, lines: ofNetwork},
		"wrong password for another address": {does: "POST /account/email",
			send: posts("/account/email", "as", "alice", "email", "alice@example.net",
				"current_password", "guess"),
			times: 40, first: 422, last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"wrong password for no address": {does: "POST /account/email",
			send: posts("/account/email", "as", "alice", "choice", "remove", "current_password",
				"guess"),
			times: 40, first: 422, last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"mails for the own address": {does: "POST /account/email/mail",
			send:  posts("/account/email/mail", "as", "alice"),
			times: 40, first: 303, last: 303, lines: ofLimit, unsaid: 40 - ofLimit},
		"mails for an address": {does: "POST /email/mail",
			send:  posts("/email/mail", "challenge", uuid.NewString()),
			times: 40, first: 303, last: 303, lines: ofLimit, unsaid: 40 - ofLimit},
		"wrong link for an address": {does: "POST /email/verify/:token",
			send:  posts("/email/verify/guess", "password", goodPassword),
			times: 150, first: 400, last: 400, lines: ofNetwork},
		"wrong link for an old address": {does: "POST /email/undo/:token",
			send: posts("/email/undo/guess"), times: 150, first: 400, last: 400, lines: ofNetwork},
		"wrong link": {does: "POST /password/reset/:token",
			send:  posts("/password/reset/guess", "new_password", anotherPassword),
			times: 150, first: 400, last: 400, lines: ofNetwork},
		"wrong invitation": {does: "POST /invitation/:token",
			send:  posts("/invitation/guess", "username", "carol", "new_password", anotherPassword),
			times: 150, first: 400, last: 400, lines: ofNetwork},
		"end of a session that is none": {does: "POST /account/sessions",
			send: func(a *audited) answered {
				return a.b.post("/account/sessions", "as", "alice", "session", uuid.NewString())
			}, times: 150, first: 303, last: 303, lines: ofActor},
		"end of the others, of which there are none": {does: "POST /account/sessions",
			send:  posts("/account/sessions", "as", "alice", "choice", "others"),
			times: 150, first: 303, last: 303, lines: ofActor},
		"app that is not let in": {does: "POST /account/apps",
			send:  posts("/account/apps", "as", "alice", "client", "shop"),
			times: 150, first: 303, last: 303, lines: ofActor},
		"form that was another's": {does: "POST /account/sessions",
			send:  posts("/account/sessions", "as", "bob", "choice", "others"),
			times: 30, first: 303, last: 303, unsaid: 30},
		"wrong current password": {does: "POST /account/password",
			send: posts("/account/password", "as", "alice", "current_password", "guess",
				"new_password", anotherPassword),
			times: 40, first: 422, last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"wrong password for the deletion": {does: "POST /account/delete",
			send:  posts("/account/delete", "as", "alice", "password", "guess"),
			times: 40, first: 422, last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"export of one's own data": {does: "GET /account/data", send: gets("/account/data"),
			times: 150, first: 200, last: 429, lines: ofData + ofActor},
		"codes": {does: "GET /authorize", send: gets(request()),
			times: 150, first: 303, last: 429, lines: ofSession + ofActor},
		"codes of an app that does not let the user in": {does: "GET /authorize", app: forAdmins,
			send: gets(request()), times: 150, first: 303, last: 303, lines: ofActor},
		"login for an app": {does: "GET /authorize", prepare: stranger, send: gets(request()),
			times: 30, first: 303, last: 303, unsaid: 30},
		"quiet login for an app": {does: "GET /authorize", prepare: stranger,
			send: gets(request("prompt", "none")), times: 30, first: 303, last: 303, unsaid: 30},
		"quiet question": {does: "GET /authorize", app: asking,
			send: gets(request("prompt", "none")), times: 30, first: 303, last: 303, unsaid: 30},
		"app that is none": {does: "GET /authorize", send: gets(request("client_id", "nothing")),
			times: 30, first: 400, last: 400, unsaid: 30},
		"form of an app": {does: "POST /authorize",
			send:  posts("/authorize", "client_id", "shop", "redirect_uri", callback),
			times: 30, first: 303, last: 303, unsaid: 30},
		// Each that succeeds is told of twice, as consent and as code, and counts twice.
		"consent": {does: "POST /consent", app: asking, send: consents(again, "allow"),
			times: 150, first: 303, last: 429, lines: ofSession + ofActor, unsaid: -ofSession / 2},
		"refused consent": {does: "POST /consent", app: asking, send: consents(again, "deny"),
			times: 150, first: 303, last: 303, lines: ofActor},
		"consent that nobody asks for": {does: "POST /consent",
			send:  consents(request("client_id", "nothing"), "allow"),
			times: 30, first: 400, last: 400, unsaid: 30},
		"logout without a session": {does: "POST /end-session", prepare: stranger,
			send:  posts("/end-session", "as", "alice", "choice", "log_out"),
			times: 30, first: 303, last: 303, unsaid: 30},
		"logout again": {does: "POST /end-session", prepare: loggedOut,
			send:  posts("/end-session", "as", "alice", "choice", "log_out"),
			times: 30, first: 303, last: 303, unsaid: 30},
		"logout of another": {does: "POST /end-session",
			send:  posts("/end-session", "as", "bob", "choice", "log_out"),
			times: 30, first: 303, last: 303, unsaid: 30},
		"hint that is none": {does: "GET /end-session",
			send: gets("/end-session?id_token_hint=x.y.z"), times: 30, first: 400, last: 400,
			unsaid: 30},
		"hint of another": {does: "GET /end-session", prepare: func(a *audited) {
			a.b = a.loggedInAs("bob")
			hint := a.b.appIn(a.shop, "openid").IDToken
			a.b = a.loggedInAs("alice")
			a.b.header = http.Header{"X-Hint": {hint}}
		}, send: func(a *audited) answered {
			return a.b.get("/end-session?id_token_hint=" + url.QueryEscape(a.b.header.Get("X-Hint")))
		}, times: 30, first: 200, last: 200, unsaid: 30},
	}
	maps.Copy(all, factorWays())
	return all
}

// bounded are settings under which each way reaches its bounds at once, and stays there.
func bounded() settings {
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	return settings{
		rates:   auth.RateLimits{Account: limit, Registration: limit, Recovery: limit},
		options: authtest.Options{Bounds: frozen()},
	}
}

// Whoever could fill the disk by a browser could stop every login. A login with a password that
// succeeds is not in this table: it is bounded by the password lane, and by MAX_SESSIONS.
func TestNobodyFillsTheAuditLogOrATableByAPage(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, way := range ways() {
		tried[way.does] = true
	}
	for name := range attempts() {
		if !tried[routeOf(name)] {
			t.Errorf("%s has no row here", name)
		}
	}
	for _, r := range start(t, settings{}).routes {
		if r.Method == http.MethodPost && !tried[r.Method+" "+r.Path] {
			t.Errorf("%s %s has no row here", r.Method, r.Path)
		}
	}
	for name, way := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := bounded()
			s.email = way.email
			a := startAudited(t, s, way.app)
			if way.prepare != nil {
				way.prepare(a)
			}
			tablesBefore, rowsBefore := a.tables(), a.rows()
			linesBefore, countBefore := a.logged()
			for n := range way.times {
				answer := way.send(a)
				if n == 0 && answer.status != way.first || n == way.times-1 && answer.status != way.last {
					t.Fatalf("answer %d: %d %s", n, answer.status, answer.body)
				}
			}
			lines, _ := a.logged()
			if lines -= linesBefore; lines > way.lines {
				t.Errorf("%d lines, of which there may be %d", lines, way.lines)
			}
			if rows := a.rows() - rowsBefore; rows > way.lines {
				t.Errorf("%d rows, of which there may be %d", rows, way.lines)
			}
			if way.lines == 0 && a.tables() != tablesBefore {
				t.Error("something was written")
			}
			must(t, a.rules.Audit.TellCounted(t.Context()))
			summed, count := a.logged()
			if more := summed - linesBefore - lines; more > max(1, way.outcomes) {
				t.Errorf("%d more lines", more)
			}
			if told := count - countBefore; told != way.times-way.unsaid {
				t.Errorf("%d of %d are told of", told, way.times-way.unsaid)
			}
		})
	}
}

// Links, pictures of other sites and crawlers load pages without end, with whatever cookies.
func TestToLookAtAPageWritesNothingWhateverCookieComes(t *testing.T) {
	t.Parallel()
	a := startAudited(t, bounded(), nil)
	ended := a.loggedInAs("bob")
	late := ended.copied()
	a.sent(ended.post("/end-session", "as", "bob", "choice", "log_out"), "/end-session")
	forged := a.b.copied()
	forged.cookies["gatehouse"] = changed(forged.session())
	before := a.tables()
	linesBefore, _ := a.logged()
	looked := 0
	for name, b := range map[string]*browser{
		"session": a.b, "none": a.browser(), "ended": late, "forged": forged,
	} {
		for _, r := range a.routes {
			if r.Method != http.MethodGet || name == "session" && r.Path == "/account/data" {
				continue
			}
			path, _, _ := strings.Cut(r.Path, "*")
			for range 3 {
				if answer := b.get(path); answer.status >= 500 {
					t.Errorf("%s, %s: %d", name, path, answer.status)
				}
				looked++
			}
		}
	}
	must(t, a.rules.Audit.TellCounted(t.Context()))
	if lines, _ := a.logged(); lines != linesBefore || a.tables() != before || looked < 100 {
		t.Errorf("%d lines by %d requests, or other rows", lines-linesBefore, looked)
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

// rows counts what a browser may add to other tables.
func (a *audited) rows() (count int) {
	a.Helper()
	must(a, a.owner.QueryRow(a.Context(), `SELECT (SELECT count(*) FROM users) +
		(SELECT count(*) FROM sessions) + (SELECT count(*) FROM mails) + (SELECT count(*) FROM revocations) +
		(SELECT count(*) FROM authorization_codes) + (SELECT count(*) FROM consents)`).Scan(&count))
	return count
}
