// Package rows asks the questions, each of which is a row of the report: how fast one thing is,
// against another.
package rows

import (
	"gatehouse.example/bench/internal/report"
)

// rows are the questions, in the order in which they are asked.
func rows() []Row {
	return []Row{
		{
			name: "verify", about: "GET /verify with a known token ÷ a Gin handler that answers 204",
			figures: []report.Figure{
				{Name: "requests/s", Goal: 0.75}, {Name: "processor time of one"}, {Name: "p99 at a fixed rate"},
				{Name: "÷ one with its headers"}, {Name: "a cookie ÷ a token", Goal: 0.95},
			},
			measureAll: verifyWarm,
		},
		{
			name: "verify-cold", about: "GET /verify with a token never seen before, requests/s ÷ the same handler",
			goal: 0.5, measure: verifyCold,
		},
		{
			name: "me", about: "GET /users/me, requests/s ÷ its query, alone and without HTTP, by a pool like the service's",
			figures:    []report.Figure{{Name: "÷ the query", Goal: 0.7}, {Name: "÷ a Gin handler with the query"}},
			measureAll: me,
		},
		{
			name: "logins", about: "logins/s at cost 12 ÷ processors ÷ the time of one bcrypt alone; then with 10 times more offered ÷ before",
			figures: []report.Figure{
				{Name: "closed loop", Goal: 0.95},
				{Name: "10× overload", Goal: 0.95},
				{Name: "p99 of a 503", Goal: 50, Most: true, Unit: "ms"},
			},
			measureAll: logins,
		},
		{
			name: "factors", about: "logins/s on the pages with a second factor, and with a passkey alone ÷ with a password alone, at the cost of -cost",
			figures:    []report.Figure{{Name: "password and code"}, {Name: "password and passkey"}, {Name: "passkey alone"}},
			measureAll: factors, ask: byName,
		},
		{
			name: "leaked-passwords", about: "a look-up among 100,000,000 passwords that are known from leaks; ÷ the SHA-1 of one; the file of them",
			figures:    []report.Figure{{Name: "a look-up", Unit: "ns"}, {Name: "÷ SHA-1"}, {Name: "file", Unit: "MB"}},
			measureAll: leakedPasswords, once: true, ask: byName,
		},
		{
			name: "flood", about: "while 64 clients for each processor of the service flood POST /token ÷ without",
			figures: []report.Figure{
				{Name: "/verify requests/s", Goal: 0.65},
				{Name: "/users/me requests/s", Goal: 0.65},
				{Name: "/verify p99", Goal: 3, Most: true},
				{Name: "/users/me p99", Goal: 3, Most: true},
			},
			measureAll: flood,
		},
		{
			name: "refresh", about: "refreshes/s ÷ a bare transaction of the same two statements",
			goal: 0.6, measure: refresh,
		},
		{
			name: "code", about: "logins of an app by code, with a session of the browser: GET /authorize and POST /token, for each processor of the service",
			figures:    []report.Figure{{Name: "logins/s of a processor", Goal: 500}},
			measureAll: codes,
		},
		{
			name: "mails", about: "mails of one replica to those who have forgotten their passwords, by a relay that takes them at once; then POST /password/forgot for accounts, and for none",
			figures: []report.Figure{
				{Name: "mails/s"}, {Name: "memory that it takes", Unit: "MB"},
				{Name: "requests/s"}, {Name: "known ÷ unknown"},
			},
			measureAll: mails, once: true, ask: byName,
		},
		{
			name: "forgot-statements", about: "statements of one POST /password/forgot",
			figures:    []report.Figure{{Name: "known", Goal: 2, Most: true}, {Name: "unknown", Goal: 2, Most: true}},
			measureAll: forgotStatements, once: true, ask: byName,
		},
		{
			name: "growth", about: "p50 with 10,000,000 users and 20,000,000 sessions ÷ with 1,000 and 2,000",
			figures: []report.Figure{
				{Name: opLogin, Goal: 1.2, Most: true},
				{Name: opRefresh, Goal: 1.2, Most: true},
				{Name: opMe, Goal: 1.2, Most: true},
				{Name: opVerify, Goal: 1.2, Most: true},
			},
			measureAll: growth,
		},
		{
			name: "ban", about: "from the answer to a ban until the last of three replicas refuses the token; ÷ a round trip of NOTIFY",
			figures:    []report.Figure{{Name: "p99", Goal: 100, Most: true, Unit: "ms"}, {Name: "p50 ÷ NOTIFY"}},
			measureAll: ban, once: true,
		},
		{
			name: "start", about: "from the start of the process until /readyz says yes, with 100,000 live revocations; ÷ with none",
			figures:    []report.Figure{{Name: "until ready", Goal: 0.3, Most: true, Unit: "s"}, {Name: "÷ without revocations"}},
			measureAll: startUp,
		},
		{
			name: "memory", about: "resident memory of a replica",
			figures: []report.Figure{
				{Name: "idle", Goal: 30, Most: true, Unit: "MB"},
				{Name: "100,000 cached tokens", Unit: "MB"},
			},
			measureAll: memory,
		},
		{
			name: "image", about: "the container image",
			figures:    []report.Figure{{Name: "size", Goal: 30, Most: true, Unit: "MB"}},
			measureAll: image, once: true,
		},
		{
			name: "replicas", about: "GET /users/me by HAProxy, three replicas on the processors of one ÷ one; no loss is 1, less the noise",
			goal: 0.95, measure: replicas,
		},
		{
			name: "connections", about: "GET /verify with 10,000 idle clients that keep their connections ÷ without",
			figures:    []report.Figure{{Name: "requests/s", Goal: 0.9}, {Name: "memory of a connection", Unit: "kB"}},
			measureAll: idleConnections,
		},
		{
			name: "algorithms", about: "GET /verify by how tokens are signed, with one that is known and with one that is verified each time ÷ the handler that does nothing",
			figures: []report.Figure{
				{Name: "HS256 known"}, {Name: "HS256 new"}, {Name: "ES256 known"}, {Name: "ES256 new"},
				{Name: "EdDSA known"}, {Name: "EdDSA new"}, {Name: "RS256 known"}, {Name: "RS256 new"},
			},
			measureAll: algorithms, ask: byName,
		},
		{
			name: "login-limits", about: "logins/s with limits on ÷ with all of them off, at the cost of -cost",
			measure: loginLimits,
			ask:     byName,
		},
		{
			name: "login-audit", about: "logins/s ÷ with an audit log that records nothing, at the cost of -cost",
			measure: loginAudit,
			ask:     byName,
		},
		{
			name: "timing", about: "whether accounts can be told apart by the time of an answer; 1: no goal is missed",
			goal: 1, measure: timing, once: true,
			ask: byName,
		},
		{
			name: "users-pages", about: "pages of GET /users among 1,000,000 accounts; the slowest p99 ÷ that of the first page",
			measure: userPages, once: true,
			ask: byName,
		},
		{
			name: "pgo", about: "processor time of a request with cmd/gatehouse/default.pgo ÷ without",
			figures:    []report.Figure{{Name: "/verify"}, {Name: "/users/me"}},
			measureAll: pgo, ask: hasProfile,
		},
		{
			name: "fastapi", about: "Gatehouse ÷ the service of FastAPI's tutorial, which has no database, with a worker for each processor",
			figures:    []report.Figure{{Name: "GET /users/me"}, {Name: "/verify ÷ its /users/me"}, {Name: "logins"}},
			measureAll: fastAPI, ask: func(o Options) bool { return o.Peers },
		},
		{
			name: "gotrue", about: "Gatehouse ÷ GoTrue (supabase/auth) on the same PostgreSQL",
			figures:    []report.Figure{{Name: "the user of a token"}, {Name: "logins"}},
			measureAll: goTrue, ask: func(o Options) bool { return o.Peers && o.Gotrue != "" },
		},
	}
}

// byName runs a row only for those who name it. Such rows are about the rules more than about
// speed, and take as long as all others together.
func byName(o Options) bool { return o.Short || len(o.Only) > 0 }
