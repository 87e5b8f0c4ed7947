package auth_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/ratelimit"
)

// forCode is a first step for a code, as a program sends it.
func forCode(username string) auth.CodeLogin {
	return auth.CodeLogin{
		Username: username, Password: goodPassword, Request: asks("code_challenge", challengeOf(verifier)),
	}
}

// goesOn is a later step.
func goesOn(pending string, factor auth.FactorProof) auth.CodeLogin {
	return auth.CodeLogin{
		Session: pending, Factor: factor, Request: asks("code_challenge", challengeOf(verifier)),
	}
}

// asks are parameters of a request with a challenge.
func asks(pairs ...string) map[string]string {
	all := map[string]string{"code_challenge_method": "S256"}
	for n := 0; n < len(pairs); n += 2 {
		all[pairs[n]] = pairs[n+1]
	}
	return all
}

func typed(code string) auth.FactorProof { return auth.FactorProof{Code: code} }

func (s *second) codeFor(in auth.CodeLogin, caller auth.Caller) string {
	s.Helper()
	grant, err := s.Logins.LoginForCode(s.Context(), in, caller)
	must(s, err)
	return grant.Code
}

// beginForCode is a first step that leads to a second.
func (s *second) beginForCode(in auth.CodeLogin, caller auth.Caller) string {
	s.Helper()
	_, err := s.Logins.LoginForCode(s.Context(), in, caller)
	return s.pendingOf(err)
}

func (s *second) redeemProved(code, verifier string, caller auth.Caller) (auth.Grant, error) {
	return s.Tokens.Redeem(s.Context(), auth.CodeRedemption{Code: code, Verifier: verifier}, caller)
}

// native is a caller by a program of the service's own.
func (s *second) native(id string) auth.Caller {
	s.Helper()
	s.app(id, func(c *auth.Client) { c.FirstParty, c.Confidential = true, false })
	caller := client
	var err error
	caller.Client, err = s.Clients.Find(s.Context(), id) // as a request finds it, with its version
	must(s, err)
	return caller
}

func (s *second) methodsOf(grant auth.Grant) (methods []string, root bool) {
	s.Helper()
	access, err := s.Access.Authenticate(grant.AccessToken)
	must(s, err)
	must(s, s.conn.QueryRow(s.Context(), "SELECT amr, parent_id IS NULL AND NOT browser FROM sessions WHERE id = $1",
		access.SessionID).Scan(&methods, &root))
	return methods, root
}

func TestALoginWithoutABrowserProvesAllAndItsSessionSaysHow(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	phone := s.native("phone")
	s.register("alice")
	_, bobs := s.enrolled("bob")
	carol := s.register("carol")
	key := s.withPasskey(carol, false)
	dave, _ := s.enrolled("dave")
	codes := s.withCodes(dave)
	withOTP := forCode("bob")
	withOTP.Factor = typed(s.code(bobs))
	pending := s.beginForCode(forCode("carol"), phone)
	options, err := s.Logins.PasskeyOptionsForCode(t.Context(), pending, phone.Client)
	must(t, err)
	for name, test := range map[string]struct {
		in   auth.CodeLogin
		want []string
	}{
		"the password": {forCode("alice"), []string{"pwd"}},
		"both at once": {withOTP, []string{"pwd", "otp", "mfa"}},
		"a passkey": {goesOn(pending, auth.FactorProof{Passkey: key.answers(t, options)}),
			[]string{"pwd", "pop", "mfa"}},
		"a recovery code": {goesOn(s.beginForCode(forCode("dave"), phone), typed(codes[0].Text())),
			[]string{"pwd", "otp", "mfa"}},
	} {
		grant, err := s.redeemProved(s.codeFor(test.in, phone), verifier, phone)
		must(t, err)
		if methods, root := s.methodsOf(grant); !slices.Equal(methods, test.want) || !root {
			t.Errorf("%s: %q, a session of its own: %t", name, methods, root)
		}
		_, err = s.Tokens.Refresh(t.Context(), grant.RefreshToken, phone)
		must(t, err)
	}
}

// Whoever steals an auth_session, or keeps one, must get nowhere with it.
func TestAnAuthSessionIsGoodOnceForItsClientItsRequestAndItsUser(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	phone, other := s.native("phone"), s.native("other")
	user, app := s.enrolled("alice")
	_, mallorys := s.enrolled("mallory")
	begin := func() string {
		in := forCode("alice")
		in.Request["scope"] = "openid"
		return s.beginForCode(in, phone)
	}
	try := func(in auth.CodeLogin, caller auth.Caller) error {
		_, err := s.Logins.LoginForCode(t.Context(), in, caller)
		return err
	}
	pending := begin()
	otherChallenge, otherScope, weaker := goesOn(pending, typed(s.code(app))),
		goesOn(pending, typed(s.code(app))), goesOn(pending, typed(s.code(app)))
	otherChallenge.Request["code_challenge"] = challengeOf(verifier + "x")
	otherScope.Request["scope"] = "openid email"
	weaker.Request["code_challenge_method"] = "plain"
	_, inBrowser := s.Logins.ProveFactor(t.Context(), pending, typed(s.code(app)), false, client,
		auth.BrowserLogin{})
	for name, test := range map[string]struct{ got, want error }{
		"another client":      {try(goesOn(pending, typed(s.code(app))), other), auth.ErrPendingLogin},
		"the built-in client": {try(goesOn(pending, typed(s.code(app))), client), auth.ErrPendingLogin},
		"another challenge":   {try(otherChallenge, phone), auth.ErrPendingLogin},
		"another scope":       {try(otherScope, phone), auth.ErrPendingLogin},
		"another method":      {try(weaker, phone), auth.ErrAuthorizationRequest},
		"in a browser":        {inBrowser, auth.ErrPendingLogin},
		"of a browser": {try(goesOn(s.begin("alice"), typed(s.code(app))), client),
			auth.ErrPendingLogin},
		"without a factor":     {try(goesOn(pending, auth.FactorProof{}), phone), auth.ErrFactorNeeded},
		"the code of somebody": {try(goesOn(pending, typed(s.code(mallorys))), phone), auth.ErrWrongFactor},
		"a grant's, without a challenge": {func() error {
			_, err := s.Logins.Login(t.Context(), "alice", goodPassword, phone)
			return try(auth.CodeLogin{Session: s.pendingOf(err), Factor: typed(s.code(app))}, phone)
		}(), auth.ErrAuthorizationRequest},
	} {
		if !errors.Is(test.got, test.want) {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}

	must(t, try(goesOn(pending, typed(s.code(app))), phone))
	if err := try(goesOn(pending, typed(s.code(app, 1))), phone); !errors.Is(err, auth.ErrPendingLogin) {
		t.Errorf("used: %v", err)
	}
	_, err := s.Logins.Login(t.Context(), "alice", goodPassword, phone)
	must(t, try(goesOn(s.pendingOf(err), typed(s.code(app, 1))), phone)) // of the password grant
	s.pass(time.Minute)
	old := begin()
	_, _, err = s.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByID(user.ID),
		auth.NewPassword{Password: "another good password"})
	must(t, err)
	if err := try(goesOn(old, typed(s.code(app, 1))), phone); !errors.Is(err, auth.ErrPendingLogin) {
		t.Errorf("after another password: %v", err)
	}
	in := forCode("mallory")
	pending = s.beginForCode(in, phone)
	s.pass(10 * time.Minute)
	if err := try(goesOn(pending, typed(s.code(mallorys))), phone); !errors.Is(err, auth.ErrPendingLogin) {
		t.Errorf("after ten minutes: %v", err)
	}
}

// A code that anybody else can redeem is a password for a minute.
func TestACodeWithoutABrowserIsGoodOnceForTheClientAndTheVerifierThatItIsFor(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	phone, other := s.native("phone"), s.native("other")
	alice := s.register("alice")
	for name, use := range map[string]struct {
		redemption auth.CodeRedemption
		caller     auth.Caller
	}{
		"another verifier":    {auth.CodeRedemption{Verifier: verifier + "x"}, phone},
		"no verifier":         {auth.CodeRedemption{}, phone},
		"another client":      {auth.CodeRedemption{Verifier: verifier}, other},
		"the built-in client": {auth.CodeRedemption{Verifier: verifier}, client},
		"a redirect URI":      {auth.CodeRedemption{Verifier: verifier, RedirectURI: redirectURI}, phone},
	} {
		use.redemption.Code = s.codeFor(forCode("alice"), phone)
		if _, err := s.Tokens.Redeem(t.Context(), use.redemption, use.caller); !errors.Is(err, auth.ErrInvalidCode) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stale := s.codeFor(forCode("alice"), phone)
	s.exec("UPDATE users SET token_version = token_version + 1 WHERE id = $1", alice.ID)
	if _, err := s.redeemProved(stale, verifier, phone); !errors.Is(err, auth.ErrInvalidCode) {
		t.Errorf("after the user has changed: %v", err)
	}
	demoted := s.codeFor(forCode("alice"), phone)
	s.exec("UPDATE clients SET first_party = false WHERE client_id = 'phone'")
	if _, err := s.redeemProved(demoted, verifier, phone); !errors.Is(err, auth.ErrInvalidCode) {
		t.Errorf("for a client that is not first-party any more: %v", err)
	}

	code := s.codeFor(forCode("alice"), client)
	var all sync.WaitGroup
	grants := make(chan auth.Grant, 100)
	for range 100 {
		all.Go(func() {
			switch grant, err := s.redeemProved(code, verifier, client); {
			case err == nil:
				grants <- grant
			case !errors.Is(err, auth.ErrInvalidCode):
				t.Error(err)
			}
		})
	}
	all.Wait()
	close(grants)
	if len(grants) != 1 {
		t.Fatalf("%d have redeemed one code", len(grants))
	}
	if _, err := s.Tokens.Refresh(t.Context(), (<-grants).RefreshToken, client); !errors.Is(err, auth.ErrInvalidGrant) {
		t.Errorf("the session of a code that came twice: %v", err)
	}
}

// Without a bound of theirs, these sessions would be a way around MAX_SESSIONS.
func TestSessionsWithoutABrowserCountAsLoginsDo(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	s.limits.PerUser = 2
	s.with(s.options)
	user := s.register("alice")
	for range 4 {
		_, err := s.redeemProved(s.codeFor(forCode("alice"), client), verifier, client)
		must(t, err)
	}
	var live int
	must(t, s.conn.QueryRow(t.Context(), "SELECT count(*) FROM sessions WHERE user_id = $1 AND ended_at IS NULL",
		user.ID).Scan(&live))
	if live != 2 {
		t.Errorf("%d sessions live", live)
	}
}

// Guesses at the second factor count, on the endpoint and by way of the grant alike.
func TestWrongCodesWithoutABrowserCountOnTheLimits(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{Rates: auth.RateLimits{
		Account: perHour(5), AccountDay: ratelimit.PerDay(100),
	}})
	_, app := s.enrolled("alice")
	pending := s.beginForCode(forCode("alice"), client)
	_, err := s.Logins.LoginForCode(t.Context(), goesOn(pending, typed(s.wrongCode(app))), client)
	for tries := 1; !errors.Is(err, auth.ErrLimited); tries++ {
		if !errors.Is(err, auth.ErrWrongFactor) || tries > 5 {
			t.Fatalf("guess %d: %v", tries, err)
		}
		_, err = s.Logins.LoginForCode(t.Context(), goesOn(pending, typed(s.wrongCode(app))), client)
	}
	_, err = s.Logins.LoginForCode(t.Context(), goesOn(pending, typed(s.code(app))), client)
	if !errors.Is(err, auth.ErrLimited) {
		t.Errorf("the right code after the limit: %v", err)
	}
	if _, err := s.Logins.Login(t.Context(), "alice", goodPassword, client); !errors.Is(err, auth.ErrLimited) {
		t.Errorf("the grant after the limit: %v", err)
	}
}

// What an account demands cannot be left out: such a code would be worth the password alone.
func TestNoCodeComesWithoutWhatTheAccountDemands(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{Factors: auth.FactorsRequired})
	phone := s.native("phone")
	s.register("alice")
	_, err := s.Logins.LoginForCode(t.Context(), forCode("alice"), phone)
	if !errors.Is(err, auth.ErrFactorEnrol) {
		t.Errorf("must enrol: %v", err)
	}
	bob, app := s.enrolled("bob")
	s.exec("UPDATE users SET must_change_password = true WHERE id = $1", bob.ID)
	_, err = s.Logins.LoginForCode(t.Context(),
		goesOn(s.beginForCode(forCode("bob"), phone), typed(s.code(app))), phone)
	if !errors.Is(err, auth.ErrMustChangePassword) {
		t.Errorf("must change the password: %v", err)
	}
	for name, in := range map[string]auth.CodeLogin{
		"no password":  {Username: "bob", Factor: typed(s.code(app)), Request: forCode("bob").Request},
		"no challenge": {Username: "bob", Password: goodPassword, Factor: typed(s.code(app))},
	} {
		if grant, err := s.Logins.LoginForCode(t.Context(), in, phone); err == nil || grant.Code != "" {
			t.Errorf("%s: a code", name)
		}
	}
	if _, err := s.redeemProved("gha_"+uuid.NewString(), verifier, phone); !errors.Is(err, auth.ErrInvalidCode) {
		t.Errorf("an invented code: %v", err)
	}
}
