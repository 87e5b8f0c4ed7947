package auth_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// wantLet looks how many of many logins at once were let in: one.
func (s *second) wantLet(what string, errs []error, refusals ...error) {
	s.Helper()
	let := 0
	for n, err := range errs {
		expected := err == nil
		for _, refusal := range refusals {
			expected = expected || errors.Is(err, refusal)
		}
		if err == nil {
			let++
		}
		if !expected {
			s.Errorf("%s, login %d: %v", what, n, err)
		}
	}
	if let != 1 || s.sessions() != 1 {
		s.Errorf("%s: %d were let in, and there are %d sessions", what, let, s.sessions())
	}
	s.exec("DELETE FROM sessions")
}

// Whoever has a pending login and several good factors must not make several sessions of it.
func TestAPendingLoginBecomesOneSessionHoweverManyFactorsProveItAtOnce(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user, app := s.enrolled("alice")
	codes, key := s.withCodes(user), s.withPasskey(user, true)
	pending, code := s.begin("alice"), s.code(app)
	s.wantLet("one code", atOnce(90, func(int) error {
		_, err := s.prove(pending, code)
		return err
	}), auth.ErrPendingLogin, auth.ErrFactorReused)
	pending = s.begin("alice")
	s.wantLet("ten codes", atOnce(len(codes), func(n int) error {
		_, err := s.prove(pending, codes[n].Text())
		return err
	}), auth.ErrPendingLogin)
	pending = s.begin("alice")
	answers := make([][]byte, 30)
	for n := range answers {
		answers[n] = key.answers(t, s.passkeyOptions(pending))
	}
	s.wantLet("answers of a passkey", atOnce(len(answers), func(n int) error {
		_, err := s.provePasskey(pending, answers[n])
		return err
	}), auth.ErrPendingLogin)
	options, err := s.Logins.PasskeyOptions("cookie")
	must(t, err)
	answer := key.answers(t, options)
	s.wantLet("one answer without a name", atOnce(100, func(int) error {
		_, err := s.Logins.LoginByPasskey(t.Context(), "cookie", answer, client, auth.BrowserLogin{})
		return err
	}), auth.ErrFactorReused)
}

// A clone of a key that is on one device has a counter of its own, which falls behind.
func TestACopyOfAPasskeyIsRefusedUnlessItIsMeantToBeOnSeveralDevices(t *testing.T) {
	t.Parallel()
	for name, synced := range map[string]bool{"on one device": false, "on several devices": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSecond(t, authtest.Options{})
			key := s.withPasskey(s.register("alice"), synced)
			login := func(counter uint32) error {
				key.key.Counter = counter
				pending := s.begin("alice")
				_, err := s.provePasskey(pending, key.answers(t, s.passkeyOptions(pending)))
				return err
			}
			must(t, login(5))
			want, events := auth.ErrPasskeyCloned, 0
			if synced {
				want, events = nil, 2
			}
			for _, counter := range []uint32{5, 4} {
				if err := login(counter); !errors.Is(err, want) {
					t.Errorf("the counter went from 5 to %d: %v", counter, err)
				}
			}
			if n := s.count("SELECT count(*) FROM audit_events WHERE action = 'passkey.regress'"); n != events {
				t.Errorf("it is recorded %d times", n)
			}
			if n := s.count("SELECT sign_count FROM passkeys"); n != 5 {
				t.Errorf("the counter is %d by now", n)
			}
			must(t, login(6))
		})
	}
}

// Two devices with one key at the same moment: one of them is a clone.
func TestOfClonesAtOnceOneIsGood(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	key := s.withPasskey(s.register("alice"), false)
	key.key.Counter = 7
	pendings, answers := s.several("alice"), make([][]byte, 10)
	for n := range pendings {
		answers[n] = key.answers(t, s.passkeyOptions(pendings[n]))
	}
	other := s.beside(func(*authtest.Options) {})
	s.wantLet("clones", atOnce(len(pendings), func(n int) error {
		_, err := []*second{s, other}[n%2].provePasskey(pendings[n], answers[n])
		return err
	}), auth.ErrFactorReused, auth.ErrPasskeyCloned)
}

func TestAnAnswerOfAPasskeyIsGoodForTheLoginThatAskedForItAndForTwoMinutes(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	alice, bob := s.register("alice"), s.register("bob")
	key, theirs := s.withPasskey(alice, true), s.withPasskey(bob, true)
	without := func(cookie string, response []byte) error {
		_, err := s.Logins.LoginByPasskey(t.Context(), cookie, response, client, auth.BrowserLogin{})
		return err
	}
	options, err := s.Logins.PasskeyOptions("cookie")
	must(t, err)
	first, second := s.begin("alice"), s.begin("alice")
	asked := s.passkeyOptions(first)
	elsewhere := *key
	elsewhere.rp.Origin = "https://id.test.evil.example"
	otherID := *key
	otherID.rp.ID = "evil.example"
	unnamed := *key
	unnamed.auth.Options.UserHandle = bob.ID[:]
	unverified := *key
	unverified.auth.Options.UserNotVerified = true
	for name, err := range map[string]error{
		"of another browser": without("another", key.answers(t, options)),
		"without a cookie":   without("", key.answers(t, options)),
		"of a second step":   without("cookie", key.answers(t, asked)),
		"another origin":     without("cookie", elsewhere.answers(t, options)),
		"another RP ID":      without("cookie", otherID.answers(t, options)),
		"another's handle":   without("cookie", unnamed.answers(t, options)),
		"not verified":       without("cookie", unverified.answers(t, options)),
		"nonsense":           without("cookie", []byte("{}")),
		"of a login without a name": func() error {
			_, err := s.provePasskey(first, key.answers(t, options))
			return err
		}(),
		"of another pending login": func() error {
			_, err := s.provePasskey(second, key.answers(t, asked))
			return err
		}(),
		"another's key": func() error {
			_, err := s.provePasskey(first, theirs.answers(t, asked))
			return err
		}(),
	} {
		if !errors.Is(err, auth.ErrWrongFactor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.sessions() != 0 {
		t.Error("there is a session")
	}
	answer, late := key.answers(t, options), key.answers(t, s.passkeyOptions(first))
	s.pass(2*time.Minute + time.Millisecond)
	if err := without("cookie", answer); !errors.Is(err, auth.ErrWrongFactor) {
		t.Errorf("too late: %v", err)
	}
	if _, err := s.provePasskey(first, late); !errors.Is(err, auth.ErrWrongFactor) {
		t.Errorf("too late as a second step: %v", err)
	}
	_, err = s.provePasskey(first, unverified.answers(t, s.passkeyOptions(first)))
	must(t, err) // a key without a PIN is good enough beside the password
	if _, err := s.beside(func(o *authtest.Options) { o.PasskeysAt = "none" }).Logins.PasskeyOptions("cookie"); !errors.Is(err, auth.ErrPasskeyNotFound) {
		t.Errorf("without passkeys: %v", err)
	}
}

func TestAPendingLoginIsOfItsAccountItsClientAndItsKindAlone(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	_, app := s.enrolled("alice")
	_, theirs := s.enrolled("bob")
	s.wantProve(auth.ErrWrongFactor, "another's code", s.begin("alice"), s.code(theirs))
	two := s.native("two")
	ofTwo := s.beginForCode(forCode("alice"), two)
	_, err := s.Logins.Login(t.Context(), "alice", goodPassword, client)
	ofOurs, ofBrowser := s.pendingOf(err), s.begin("alice")
	inBrowser := func(pending string) error {
		_, err := s.prove(pending, s.code(app))
		return err
	}
	forACode := func(pending string, caller auth.Caller) error {
		_, err := s.Logins.LoginForCode(t.Context(), goesOn(pending, typed(s.code(app))), caller)
		return err
	}
	for name, err := range map[string]error{
		"another client's":            forACode(ofTwo, client),
		"ours, by another client":     forACode(ofOurs, two),
		"a client's in a browser":     inBrowser(ofTwo),
		"a program's in a browser":    inBrowser(ofOurs),
		"a browser's for a code":      forACode(ofBrowser, client),
		"one that nobody has made":    inBrowser("bm9uZQ"),
		"no Base64":                   inBrowser("%%%"),
		"nothing":                     inBrowser(""),
		"one with another last digit": inBrowser(ofBrowser[:len(ofBrowser)-2] + "AA"),
	} {
		if !errors.Is(err, auth.ErrPendingLogin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, forACode(ofTwo, two))
}

func TestAPendingLoginOutlivesTheRotationOfTheSecretAndNotItsEnd(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	_, app := s.enrolled("alice")
	pending, another := s.begin("alice"), s.begin("alice")
	next := []byte("another secret key of the tests with 32 bytes")
	rotated := s.beside(func(o *authtest.Options) { o.Secrets = [][]byte{next, []byte(limitsSecret)} })
	ended := s.beside(func(o *authtest.Options) { o.Secrets = [][]byte{next} })
	ended.wantProve(auth.ErrPendingLogin, "without the key", pending, s.code(app))
	rotated.wantProve(nil, "with the key behind another", pending, s.code(app))
	s.wantProve(auth.ErrPendingLogin, "on a replica with the old one", pending, s.code(app, 1))
	rotated.wantProve(nil, "another login", another, s.code(app, 1))
}

// NIST SP 800-63B-4 §3.2.2: at most 100 in a row.
func TestCodesAreLockedAfterAHundredWrongOnesHoweverManyNetworksGuess(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user, app := s.enrolled("alice")
	codes, key := s.withCodes(user), s.withPasskey(user, true)
	must(t, func() error { _, err := s.prove(s.begin("alice"), s.code(app)); return err }())
	pendings, wrong := s.several("alice"), s.wrongCode(app)
	guess := func(n int) error {
		code := wrong
		if n%3 == 0 {
			code = "0000-0000-0000-0000-0000-0000"
		}
		_, err := s.Logins.ProveFactor(t.Context(), pendings[n%len(pendings)], auth.FactorProof{Code: code}, false,
			auth.Caller{Address: fmt.Sprint("203.0.113.", n)}, auth.BrowserLogin{})
		if n%50 == 0 { // a right password in between is no right code
			s.begin("alice")
		}
		return err
	}
	looked := 0
	for n := range 130 {
		switch err := guess(n); {
		case errors.Is(err, auth.ErrWrongFactor):
			looked++
		case !errors.Is(err, auth.ErrFactorLocked):
			t.Errorf("a guess: %v", err)
		}
	}
	if looked != 100 {
		t.Errorf("%d guesses were looked at", looked)
	}
	s.wantProve(auth.ErrFactorLocked, "the right code", s.begin("alice"), s.code(app, 1))
	s.wantProve(auth.ErrFactorLocked, "a recovery code", s.begin("alice"), codes[0].Text())
	pending := s.begin("alice")
	if _, err := s.provePasskey(pending, key.answers(t, s.passkeyOptions(pending))); err != nil {
		t.Errorf("a passkey: %v", err)
	}
	s.wantProve(auth.ErrFactorLocked, "the right code behind the passkey", s.begin("alice"), s.code(app, 1))
	_, err := s.Limits.Unlock(t.Context(), authtest.Operator(), auth.ByName("alice"))
	must(t, err)
	s.wantProve(nil, "unlocked", s.begin("alice"), s.code(app, 1))
	if n := s.count("SELECT count(*) FROM users WHERE factor_failures IS NOT NULL"); n != 0 {
		t.Error("a right code leaves the wrong ones counted")
	}
}

// A mail takes the place of the password, and not of the second factor.
func TestAResetByMailLeavesCodesLockedAndDemandsTheFactor(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user, app := s.enrolled("alice")
	s.exec("UPDATE users SET factor_failures = 100, email = 'a@example.org', email_key = 'a@example.org', email_verified_at = now() WHERE id = $1", user.ID)
	must(t, s.resetByMail("alice")(nextPassword))
	if s.sessions() != 0 {
		t.Error("the reset has started a session")
	}
	_, err := s.Logins.LoginInBrowser(t.Context(), "alice", nextPassword, client, auth.BrowserLogin{})
	s.wantProve(auth.ErrFactorLocked, "after the reset", s.pendingOf(err), s.code(app))
}

// resetByMail asks for a mail, and returns what resets the password with it.
func (s *second) resetByMail(username string) (reset func(next string) error) {
	s.Helper()
	challenge, err := s.Recovery.Forgot(s.Context(), username, "en", client)
	must(s, err)
	letter, err := s.Mails.Prepare(s.Context(), challenge)
	must(s, err)
	return func(next string) error {
		_, err := s.Recovery.Reset(s.Context(), byLink(letter), next, client)
		return err
	}
}

// Whoever knows a password must not try it out, nor guess codes, more often than passwords are
// guessed. The owner must not be locked out by logging in.
func TestAPasswordWithoutItsFactorCountsOnTheLimitsUntilTheFactorComes(t *testing.T) {
	t.Parallel()
	limits := auth.RateLimits{Account: perHour(4), Address: perHour(100)}
	s := startSecond(t, authtest.Options{Rates: limits})
	_, app := s.enrolled("alice")
	for range 6 { // more often than there are failures
		pending := s.begin("alice")
		s.wantCharged(2, 0, "with the password alone")
		s.wantProve(nil, "with the factor", pending, s.code(app))
		s.wantCharged(0, 0, "after the login")
		s.pass(30 * time.Second)
	}
	pending := s.begin("alice")
	s.wantProve(auth.ErrWrongFactor, "a wrong code", pending, s.wrongCode(app))
	s.wantProve(auth.ErrWrongFactor, "another wrong code", pending, s.wrongCode(app))
	s.wantProve(nil, "the right one", pending, s.code(app))
	s.wantCharged(2, 0, "after two wrong codes")
	s.begin("alice")
	s.begin("alice")
	if _, err := s.Logins.LoginInBrowser(t.Context(), "alice", goodPassword, client, auth.BrowserLogin{}); !errors.Is(err, auth.ErrLimited) {
		t.Errorf("the right password once more: %v", err)
	}
	s.wantProve(auth.ErrLimited, "a code", pending, s.wrongCode(app))
	s.want(auth.ErrLimited, "alice", "guess", "198.51.100.1")
}

// Without the factor in time, and again and again, nothing comes back twice.
func TestWhatAPendingLoginHasTakenComesBackOnce(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{Rates: auth.RateLimits{Account: perHour(5), Address: perHour(100)}})
	_, app := s.enrolled("alice")
	pending, left := s.begin("alice"), s.begin("alice")
	s.wantProve(nil, "the first", pending, s.code(app))
	for range 3 {
		s.wantProve(auth.ErrPendingLogin, "once more", pending, s.code(app, 1))
	}
	s.pass(10 * time.Minute)
	s.wantProve(auth.ErrPendingLogin, "too late", left, s.code(app))
	s.wantCharged(2, 0, "of the one that was left")
}

// Otherwise whoever knows a password would change it without the factor that protects it.
func TestADemandedChangeOfThePasswordComesBehindTheFactor(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user, app := s.enrolled("alice")
	demand := func() {
		s.exec("UPDATE users SET must_change_password = true WHERE id = $1", user.ID)
	}
	change := func(pending string) (auth.BrowserGrant, error) {
		return s.Logins.ReplacePasswordInBrowser(t.Context(), "alice", goodPassword, nextPassword, client,
			auth.BrowserLogin{Pending: pending})
	}
	demand()
	if _, err := change(""); !errors.Is(err, auth.ErrFactorNeeded) {
		t.Errorf("without the factor: %v", err)
	}
	if _, err := s.Logins.ReplacePassword(t.Context(), "alice", goodPassword, nextPassword, client); !errors.Is(err, auth.ErrFactorNeeded) {
		t.Errorf("without the factor, by a program: %v", err)
	}
	half := s.begin("alice")
	if _, err := change(half); !errors.Is(err, auth.ErrPendingLogin) {
		t.Errorf("before the factor: %v", err)
	}
	_, err := s.prove(half, s.code(app))
	needed, ok := errors.AsType[*auth.ChangeNeededError](err)
	if !ok {
		t.Fatalf("behind the factor: %v", err)
	}
	if shown, err := s.Logins.Pending(t.Context(), needed.Pending); err != nil || !shown.Change {
		t.Errorf("%+v, %v", shown, err)
	}
	s.wantProve(auth.ErrPendingLogin, "what is for the change", needed.Pending, s.code(app, 1))
	grant, err := change(needed.Pending)
	s.wantMethods(grant, err, "pwd", "otp", "mfa")
	demand()
	if _, err := s.Logins.ReplacePasswordInBrowser(t.Context(), "alice", nextPassword, goodPassword, client,
		auth.BrowserLogin{Pending: needed.Pending}); !errors.Is(err, auth.ErrPendingLogin) {
		t.Errorf("for another change: %v", err)
	}
}

// A session from before the factor was demanded must not go on without.
func TestASessionThatIsWeakerThanItsUserMustBeGivesNothing(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user := s.register("alice")
	s.register("bob")
	program, browser := s.login("alice"), s.inBrowser("alice", auth.BrowserLogin{})
	required := s.beside(func(o *authtest.Options) { o.Factors = auth.FactorsRequired })
	refused := func(when string, by *second) {
		t.Helper()
		by.wantRefused(when, program.RefreshToken, auth.ErrFactorUnproved)
		by.wantCookieRefused(when, browser.Cookie)
		if told, err := by.Tokens.Introspect(t.Context(), auth.Client{}, program.RefreshToken); err != nil || told.Active {
			t.Errorf("%s, it is told to be active: %t, %v", when, told.Active, err)
		}
		if _, err := by.Logins.Login(t.Context(), "alice", goodPassword, client); !errors.Is(err, auth.ErrFactorEnrol) {
			t.Errorf("%s, the password grant: %v", when, err)
		}
	}
	refused("by the setting", required)
	s.browser(browser.Cookie) // elsewhere it goes on
	program = s.mustRefresh(program.RefreshToken)
	s.exec("INSERT INTO roles (name, factor) VALUES ('staff', true)")
	s.grant(user, "staff")
	refused("by a role", s.beside(func(o *authtest.Options) { o.Factors = auth.FactorsNone }))
	s.wantLogin("bob", goodPassword, nil)
	s.withApp(user) // elsewhere
	s.wantRefused("with a factor that was set up elsewhere", program.RefreshToken, auth.ErrFactorUnproved)
	s.wantCookieRefused("with a factor that was set up elsewhere", browser.Cookie)
	// The browser's own session ends when its user logs in there once more.
	_, err := s.Logins.LoginInBrowser(t.Context(), "alice", goodPassword, client, auth.BrowserLogin{Cookie: browser.Cookie})
	if !errors.Is(err, auth.ErrFactorNeeded) {
		t.Errorf("%v", err)
	}
}

// trusting is a browser that keeps its device.
type trusting struct {
	*second
	key     *holder
	devices map[string]string
}

func (b *trusting) caller() auth.Caller {
	return auth.Caller{Address: "192.0.2.1", Devices: b.devices}
}

// trusts logs in with a passkey, and trusts the device.
func (b *trusting) trusts(username string) auth.BrowserGrant {
	b.Helper()
	_, err := b.Logins.LoginInBrowser(b.Context(), username, goodPassword, b.caller(), auth.BrowserLogin{})
	pending := b.pendingOf(err)
	grant, err := b.Logins.ProveFactor(b.Context(), pending,
		auth.FactorProof{Passkey: b.key.answers(b, b.passkeyOptions(pending))}, true, b.caller(), auth.BrowserLogin{})
	must(b, err)
	b.devices = map[string]string{grant.DeviceName: grant.Device}
	return grant
}

func (b *trusting) login(username string, mayTrust bool) (auth.BrowserGrant, error) {
	return b.Logins.LoginInBrowser(b.Context(), username, goodPassword, b.caller(), auth.BrowserLogin{MayTrust: mayTrust})
}

func TestATrustedDeviceLeavesOutTheFactorWhereNothingDemandsIt(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user := s.register("alice")
	b := &trusting{second: s, key: s.withPasskey(user, true)}
	b.trusts("alice")
	grant, err := b.login("alice", true)
	s.wantMethods(grant, err, "pwd")
	if n := s.count("SELECT count(*) FROM sessions WHERE trusted"); n != 1 {
		t.Errorf("%d sessions know that the device is trusted", n)
	}
	required := s.beside(func(o *authtest.Options) { o.Factors = auth.FactorsRequired })
	required.browser(grant.Cookie) // it is good for what needs no second factor
	if n := s.count("SELECT count(*) FROM audit_events WHERE action = 'device.trust'"); n != 1 {
		t.Errorf("it is recorded %d times", n)
	}
	bob := s.register("bob")
	s.withPasskey(bob, true)
	s.exec("INSERT INTO trusted_devices (user_id, device_id, expires_at, client_address, user_agent) SELECT $1, device_id, expires_at, '', '' FROM trusted_devices", bob.ID)
	mine := b.devices
	refused := func(when, username string, mayTrust bool) {
		t.Helper()
		if _, err := b.login(username, mayTrust); !errors.Is(err, auth.ErrFactorNeeded) {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("where the login must be strong", "alice", false)
	refused("as somebody else, whose device is another", "bob", true)
	b.devices = nil
	refused("in another browser", "alice", true)
	b.devices = mine
	s.exec("UPDATE users SET must_change_password = true WHERE id = $1", user.ID)
	refused("where the password must be changed", "alice", true)
	s.exec("UPDATE users SET must_change_password = false WHERE id = $1", user.ID)
	must(t, func() error { _, err := b.login("alice", true); return err }())
	s.exec("UPDATE trusted_devices SET expires_at = expires_at - interval '30 days'")
	refused("after 30 days", "alice", true)
	b.trusts("alice")
	_, err = s.Logins.Login(t.Context(), "alice", goodPassword, b.caller())
	if !errors.Is(err, auth.ErrFactorNeeded) {
		t.Errorf("in a program: %v", err)
	}
}

func TestATrustedDeviceIsOneNoLongerAfterAnotherPasswordOrOtherFactors(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *second, b auth.Browser){
		"another password": func(s *second, b auth.Browser) {
			_, err := s.Logins.ChangePasswordInBrowser(s.Context(), b.Access, goodPassword, nextPassword)
			must(s, err)
			_, err = s.Logins.ChangePasswordInBrowser(s.Context(), s.freshAccess(b), nextPassword, goodPassword)
			must(s, err)
		},
		"a password by an operator": func(s *second, b auth.Browser) {
			_, _, err := s.Accounts.SetPassword(s.Context(), authtest.Operator(), auth.ByID(b.User.ID), auth.NewPassword{Password: goodPassword})
			must(s, err)
		},
		"new codes": func(s *second, b auth.Browser) {
			_, err := s.Factors.NewRecoveryCodes(s.Context(), auth.Enroller{Browser: b})
			must(s, err)
		},
		"a passkey less": func(s *second, b auth.Browser) {
			other := uuid.UUID{}
			s.withPasskey(b.User, true)
			must(s, s.conn.QueryRow(s.Context(), "SELECT id FROM passkeys ORDER BY created_at DESC LIMIT 1").Scan(&other))
			_, err := s.Factors.RemovePasskey(s.Context(), auth.Enroller{Browser: b}, other)
			must(s, err)
		},
		"its owner's wish": func(s *second, b auth.Browser) {
			must(s, s.Factors.ForgetDevices(s.Context(), auth.Enroller{Browser: b}, uuid.Nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSecond(t, authtest.Options{})
			b := &trusting{second: s, key: s.withPasskey(s.register("alice"), true)}
			grant := b.trusts("alice")
			if _, err := b.login("alice", true); err != nil {
				t.Errorf("before: %v", err)
			}
			change(s, s.browser(grant.Cookie))
			if n := s.count("SELECT count(*) FROM trusted_devices"); n != 0 {
				t.Errorf("%d devices are shown as trusted", n)
			}
			if _, err := b.login("alice", true); !errors.Is(err, auth.ErrFactorNeeded) {
				t.Errorf("after: %v", err)
			}
		})
	}
}

func TestAUserTrustsTwentyDevicesAndOfMoreTheLast(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user := s.register("alice")
	b := &trusting{second: s, key: s.withPasskey(user, true)}
	b.trusts("alice")
	first := b.devices
	for range 19 {
		b.devices = nil
		b.trusts("alice")
	}
	last := b.devices
	b.devices = first
	must(t, func() error { _, err := b.login("alice", true); return err }())
	b.devices = nil
	b.trusts("alice")
	if n := s.count("SELECT count(*) FROM trusted_devices"); n != 20 {
		t.Errorf("%d devices", n)
	}
	b.devices = first
	if _, err := b.login("alice", true); !errors.Is(err, auth.ErrFactorNeeded) {
		t.Errorf("the one that was trusted longest ago: %v", err)
	}
	b.devices = last
	must(t, func() error { _, err := b.login("alice", true); return err }())
}
