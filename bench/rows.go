package main

// rows are the questions, in the order in which they are asked.
func rows() []row {
	return []row{
		{
			name: "verify", about: "GET /verify with a known token ÷ a Gin handler that answers 204",
			figures: []figure{
				{name: "requests/s", goal: 0.75}, {name: "processor time of one"}, {name: "p99 at a fixed rate"},
				{name: "÷ one with its headers"},
			},
			measureAll: verifyWarm,
		},
		{
			name: "verify-cold", about: "GET /verify with a token never seen before, requests/s ÷ the same handler",
			goal: 0.5, measure: verifyCold,
		},
		{
			name: "me", about: "GET /users/me, requests/s ÷ its query, alone and without HTTP, by a pool like the service's",
			figures:    []figure{{name: "÷ the query", goal: 0.7}, {name: "÷ a Gin handler with the query"}},
			measureAll: me,
		},
		{
			name: "logins", about: "logins/s at cost 12 ÷ processors ÷ the time of one bcrypt alone; then with 10 times more offered ÷ before",
			figures: []figure{
				{name: "closed loop", goal: 0.95},
				{name: "10× overload", goal: 0.95},
				{name: "p99 of a 503", goal: 50, most: true, unit: "ms"},
			},
			measureAll: logins,
		},
		{
			name: "flood", about: "while 64 clients flood POST /token ÷ without",
			figures: []figure{
				{name: "/verify requests/s", goal: 0.65},
				{name: "/users/me requests/s", goal: 0.65},
				{name: "/verify p99", goal: 3, most: true},
				{name: "/users/me p99", goal: 3, most: true},
			},
			measureAll: flood,
		},
		{
			name: "refresh", about: "refreshes/s ÷ a bare transaction of the same two statements",
			goal: 0.6, measure: refresh,
		},
		{
			name: "growth", about: "p50 with 10,000,000 users and 20,000,000 sessions ÷ with 1,000 and 2,000",
			figures: []figure{
				{name: opLogin, goal: 1.2, most: true},
				{name: opRefresh, goal: 1.2, most: true},
				{name: opMe, goal: 1.2, most: true},
				{name: opVerify, goal: 1.2, most: true},
			},
			measureAll: growth,
		},
		{
			name: "ban", about: "from the answer to a ban until the last of three replicas refuses the token; ÷ a round trip of NOTIFY",
			figures:    []figure{{name: "p99", goal: 100, most: true, unit: "ms"}, {name: "p50 ÷ NOTIFY"}},
			measureAll: ban, once: true,
		},
		{
			name: "start", about: "from the start of the process until /readyz says yes, with 100,000 live revocations; ÷ with none",
			figures:    []figure{{name: "until ready", goal: 0.3, most: true, unit: "s"}, {name: "÷ without revocations"}},
			measureAll: startUp,
		},
		{
			name: "memory", about: "resident memory of a replica",
			figures: []figure{
				{name: "idle", goal: 30, most: true, unit: "MB"},
				{name: "100,000 cached tokens", unit: "MB"},
			},
			measureAll: memory,
		},
		{
			name: "image", about: "the container image",
			figures:    []figure{{name: "size", goal: 30, most: true, unit: "MB"}},
			measureAll: image, once: true,
		},
		{
			name: "replicas", about: "GET /users/me by HAProxy, three replicas on the processors of one ÷ one; no loss is 1, less the noise",
			goal: 0.95, measure: replicas,
		},
		{
			name: "connections", about: "GET /verify with 10,000 idle clients that keep their connections ÷ without",
			figures:    []figure{{name: "requests/s", goal: 0.9}, {name: "memory of a connection", unit: "kB"}},
			measureAll: idleConnections,
		},
		{
			name: "algorithms", about: "GET /verify by how tokens are signed, with one that is known and with one that is verified each time ÷ the handler that does nothing",
			figures: []figure{
				{name: "HS256 known"}, {name: "HS256 new"}, {name: "ES256 known"}, {name: "ES256 new"},
				{name: "EdDSA known"}, {name: "EdDSA new"}, {name: "RS256 known"}, {name: "RS256 new"},
			},
			measureAll: algorithms, ask: byName,
		},
		{
			name: "login-limits", about: "logins/s with limits on ÷ with all of them off, at the cost of -cost",
			measure: loginLimits,
			ask:     byName,
		},
		{
			name: "login-audit", about: "logins/s ÷ with an audit log that takes nothing down, at the cost of -cost",
			measure: loginAudit,
			ask:     byName,
		},
		{
			name: "timing", about: "whether accounts can be told apart by the time of a refusal; 1: no goal is missed",
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
			figures:    []figure{{name: "/verify"}, {name: "/users/me"}},
			measureAll: pgo, ask: hasProfile,
		},
		{
			name: "fastapi", about: "Gatehouse ÷ the service of FastAPI's tutorial, which has no database, with a worker for each processor",
			figures:    []figure{{name: "GET /users/me"}, {name: "/verify ÷ its /users/me"}, {name: "logins"}},
			measureAll: fastAPI, ask: func(o options) bool { return o.peers },
		},
		{
			name: "gotrue", about: "Gatehouse ÷ GoTrue (supabase/auth) on the same PostgreSQL",
			figures:    []figure{{name: "the user of a token"}, {name: "logins"}},
			measureAll: goTrue, ask: func(o options) bool { return o.peers && o.gotrue != "" },
		},
	}
}

// byName is for rows that are about the rules more than about speed: they take as long as all others together.
func byName(o options) bool { return o.short || len(o.only) > 0 }
