package web_test

import (
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/otp"
)

// demandFactor makes the admins have a second factor.
func (a *audited) demandFactor() {
	a.Helper()
	a.exec("UPDATE roles SET factor = true WHERE name = 'admin'")
}

// second is a way to the second step of alice, in a browser in which nobody is logged in.
type second struct {
	secret otp.Secret
	codes  []string
	key    *key
	sealed string
}

// withApp gives alice an app.
func (s *second) withApp(a *audited) {
	a.Helper()
	var done answered
	s.secret, done = a.setUpApp(a.b, "alice")
	s.codes = codesIn(done)
}

func (s *second) withKey(a *audited) {
	a.Helper()
	s.key, _ = a.addKey(a.b, "alice", "Key")
}

// atSecondStep leaves alice with an app before the second step.
func (s *second) atSecondStep(a *audited) {
	a.Helper()
	s.withApp(a)
	a.b = a.browser()
	a.sent(a.b.login("alice", goodPassword), "/login/factor")
}

// bothSteps logs alice in with the password, and with what a step sends.
func (s *second) bothSteps(step func(*audited) answered) func(*audited) answered {
	return func(a *audited) answered {
		if first := a.b.login("alice", goodPassword); first.status != 303 {
			return first
		}
		return step(a)
	}
}

func (s *second) byApp(more ...string) func(*audited) answered {
	return s.bothSteps(func(a *audited) answered {
		return a.b.post("/login/factor", append([]string{"factor", a.now(s.secret)}, more...)...)
	})
}

// enrolling leaves root, who must have a second factor, before its set-up.
func (s *second) enrolling(a *audited) {
	a.Helper()
	a.demandFactor()
	a.b = a.browser()
	a.sent(a.b.login("root", goodPassword), "/login/enrol")
	s.secret, s.sealed = a.scanned(a.b.get("/login/enrol"))
}

func (s *second) enrols(a *audited) answered {
	return a.b.post("/login/enrol", "sealed", s.sealed, "factor", s.secret.Code(otp.Step(time.Now())))
}

// offered leaves alice before a page on which she sets up an app.
func (s *second) offered(a *audited) {
	a.Helper()
	s.secret, s.sealed = a.scanned(a.b.get("/account/security/app"))
}

func (s *second) confirms(a *audited) answered {
	return a.b.post("/account/security/app", "as", "alice", "sealed", s.sealed, "factor",
		s.secret.Code(otp.Step(time.Now())))
}

func (a *audited) firstPasskey() string {
	a.Helper()
	return a.found(a.b.get("/account/security"), `href="(/account/security/passkey/[0-9a-f-]{36})"`)
}

// factorAttempts are those of the pages for second factors and passkeys.
func factorAttempts() map[string]attempt {
	const added, byAlice = "factor.add success by alice of alice ", "login success by alice of alice session"
	var app, key, recovery, trust, wrong, enrol, offered, refused second
	withApp := func(s *second) func(*audited) {
		return func(a *audited) {
			s.withApp(a)
			a.b = a.browser()
		}
	}
	withKey := func(a *audited) { new(second).withKey(a) }
	twoKeys := func(a *audited) { withKey(a); withKey(a) }
	ownApp := func(a *audited) { new(second).withApp(a) }
	adds := func(path string) func(*audited) answered {
		return func(a *audited) answered {
			made := newKey()
			options := a.b.get(map[string]string{"passkey": "/account/security/options"}[path] +
				map[string]string{"offered": "/account/security/offered"}[path])
			if options.status != 200 {
				return options
			}
			return a.b.post("/account/security/"+path, "as", "alice", "passkey", made.makes(a.fixture, options))
		}
	}
	changes := func(form ...string) func(*audited) answered {
		return func(a *audited) answered {
			return a.b.post(a.firstPasskey(), append([]string{"as", "alice"}, form...)...)
		}
	}
	return map[string]attempt{
		"POST /login (second step)": {prepare: withApp(new(second)),
			send: posts("/login", "username", "alice", "password", goodPassword), status: 303,
			told: []string{"login factor_needed by anonymous of alice"}},
		"POST /login/factor": {prepare: withApp(&app), send: app.byApp(), status: 303,
			told: []string{byAlice}},
		"POST /login/factor (trust)": {prepare: withApp(&trust), send: trust.byApp("trust", "yes"),
			status: 303, told: []string{"device.trust success by alice of alice session", byAlice}},
		"POST /login/factor (recovery code)": {prepare: recovery.atSecondStep,
			send: func(a *audited) answered {
				return a.b.post("/login/factor", "factor", recovery.codes[3])
			}, status: 303, told: []string{"recovery.use success by alice of alice", byAlice}},
		"POST /login/factor (wrong code)": {prepare: wrong.atSecondStep,
			send: posts("/login/factor", "factor", "000000"), status: 400,
			told: []string{"login wrong_factor by anonymous of alice"}},
		"POST /login/passkey": {prepare: func(a *audited) {
			key.withKey(a)
			a.b = a.browser()
			a.b.get("/login")
		}, send: func(a *audited) answered {
			return a.b.post("/login/passkey", "passkey", key.key.proves(a.fixture, a.b.get("/login/passkey")))
		}, status: 303, told: []string{byAlice}},
		"POST /login/passkey (refused)": {send: posts("/login/passkey", "passkey", "{}"), status: 400,
			told: []string{"login wrong_factor by anonymous of nobody"}},
		"POST /login/enrol": {prepare: enrol.enrolling, send: enrol.enrols, status: 200,
			told: []string{"factor.add success by root of root totp", "login success by root of root session"}},
		"POST /login/enrol (wrong code)": {prepare: refused.enrolling, send: func(a *audited) answered {
			return a.b.post("/login/enrol", "sealed", refused.sealed, "factor", "000000")
		}, status: 400, told: []string{"factor.add wrong_factor by root of root totp"}},
		"POST /account/security/app": {prepare: offered.offered, send: offered.confirms, status: 200,
			told: []string{added + "totp"}},
		"POST /account/security/app (too late)": {
			send: posts("/account/security/app", "as", "alice", "sealed", "x", "factor", "000000"), status: 400,
			told: []string{"factor.add enrolment_over by alice of alice totp"}},
		"POST /account/security/app (old proof)": {prepare: (*audited).stale,
			send: posts("/account/security/app", "as", "alice"), status: 303,
			told: []string{"factor.add insufficient_authentication by alice of alice totp"}},
		"POST /account/security/app (remove)": {prepare: ownApp,
			send: posts("/account/security/app", "as", "alice", "choice", "remove"), status: 303,
			told: []string{"factor.remove success by alice of alice totp"}},
		"POST /account/security/passkey": {send: adds("passkey"), status: 200,
			told: []string{added + "passkey"}},
		"POST /account/security/passkey (refused)": {
			send: posts("/account/security/passkey", "as", "alice", "passkey", "{}"), status: 400,
			told: []string{"factor.add invalid_passkey by alice of alice passkey"}},
		"POST /account/security/offered": {prepare: ownApp, send: adds("offered"), status: 303,
			told: []string{added + "passkey"}},
		"POST /account/security/passkey/:id": {prepare: withKey, send: changes("name", "Red key"), status: 303,
			told: []string{"passkey.rename success by alice of alice passkey"}},
		"POST /account/security/passkey/:id (remove)": {prepare: withKey, send: changes("choice", "remove"),
			status: 303, told: []string{"factor.remove success by alice of alice passkey"}},
		"POST /account/security/passkey/:id (none)": {
			send: posts("/account/security/passkey/"+uuid.NewString(), "as", "alice", "name", "x"), status: 404,
			told: []string{"passkey.rename passkey_not_found by alice of alice passkey"}},
		"POST /account/security/codes": {prepare: ownApp,
			send: posts("/account/security/codes", "as", "alice"), status: 200,
			told: []string{"recovery.codes success by alice of alice"}},
		"POST /account/security/codes (no factor)": {
			send: posts("/account/security/codes", "as", "alice"), status: 409,
			told: []string{"recovery.codes factors_changed by alice of alice"}},
		"POST /account/security/devices": {prepare: func(a *audited) {
			a.exec(`INSERT INTO trusted_devices (user_id, device_id, expires_at, client_address, user_agent)
				SELECT id, gen_random_uuid(), now() + interval '1 day', '', '' FROM users WHERE username = 'alice'`)
		}, send: posts("/account/security/devices", "as", "alice", "choice", "all"), status: 303,
			told: []string{"devices.forget success by alice of alice"}},
		"POST /account/security/password": {prepare: twoKeys,
			send: posts("/account/security/password", "as", "alice"), status: 303,
			told: []string{"password.remove success by alice of alice"}},
		"POST /account/security/password (last way in)": {
			send: posts("/account/security/password", "as", "alice"), status: 409,
			told: []string{"password.remove last_way_in by alice of alice"}},
	}
}

const (
	ofFactors  = 60  // changes of factors of an account
	ofPasskeys = 120 // logins of an account by a passkey
)

// factorWays are those of the pages for second factors and passkeys.
func factorWays() map[string]way {
	var wrong, enrol, again, key second
	withApp := func(a *audited) {
		new(second).withApp(a)
		a.b = a.browser()
	}
	ownApp := func(a *audited) { again.withApp(a) }
	own := func(path string, first, last int, prepare func(*audited), form ...string) way {
		w := way{does: "POST " + path, prepare: prepare,
			send:  posts(path, append([]string{"as", "alice"}, form...)...),
			times: 150, first: first, last: last, lines: ofFactors + ofActor}
		if first >= 400 {
			w.outcomes = 2 // what is wrong, and the limit
		}
		return w
	}
	withKey := func(a *audited) { new(second).withKey(a) }
	renamed := own("/account/security/passkey/:id", 303, 429, withKey)
	renamed.send = func(a *audited) answered {
		return a.b.post(a.firstPasskey(), "as", "alice", "name", "Red key")
	}
	return map[string]way{
		"password without its second step": {does: "POST /login", prepare: withApp,
			send: posts("/login", "username", "alice", "password", goodPassword), times: 40, first: 303,
			last: 429, lines: ofLimit, unsaid: 40 - ofLimit},
		"wrong code of an app": {does: "POST /login/factor", prepare: wrong.atSecondStep,
			send: posts("/login/factor", "factor", "000000"), times: 40, first: 400, last: 429,
			lines: ofLimit, unsaid: 40 - ofLimit + 1}, // the first step is one of them
		"second step of no login": {does: "POST /login/factor",
			prepare: func(a *audited) { a.b = a.browser() }, send: posts("/login/factor", "factor", "000000"),
			times: 30, first: 303, last: 303, unsaid: 30},
		"wrong passkey": {does: "POST /login/passkey", send: posts("/login/passkey", "passkey", "{}"),
			times: 150, first: 400, last: 400, lines: ofNetwork},
		"wrong code of an app to be set up": {does: "POST /login/enrol", prepare: enrol.enrolling,
			send: func(a *audited) answered {
				return a.b.post("/login/enrol", "sealed", enrol.sealed, "factor", "000000")
			}, times: 150, first: 400, last: 429, lines: ofActor, outcomes: 2},
		"login by a passkey": {does: "POST /login/passkey", prepare: func(a *audited) {
			key.withKey(a)
			a.b = a.browser()
			a.b.get("/login")
		}, send: func(a *audited) answered {
			return a.b.post("/login/passkey", "passkey", key.key.proves(a.fixture, a.b.get("/login/passkey")))
		}, times: 250, first: 303, last: 429, lines: ofPasskeys + ofNetwork},
		"app that is not confirmed":     own("/account/security/app", 400, 429, nil, "sealed", "x"),
		"passkey that is none":          own("/account/security/passkey", 400, 429, nil, "passkey", "{}"),
		"names of a passkey":            renamed,
		"offered passkey that is none":  own("/account/security/offered", 400, 429, ownApp, "passkey", "{}"),
		"recovery codes":                own("/account/security/codes", 200, 429, ownApp),
		"devices that are forgotten":    own("/account/security/devices", 303, 429, nil, "choice", "all"),
		"password that is the last way": own("/account/security/password", 409, 429, nil),
		"offer that is put off": {does: "POST /account/security/later",
			send: posts("/account/security/later", "as", "alice"), times: 30, first: 303, last: 303, unsaid: 30},
	}
}
