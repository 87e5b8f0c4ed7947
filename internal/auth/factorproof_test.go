package auth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
	"gatehouse.example/internal/passkey"
	"gatehouse.example/internal/token"
)

// second is a replica whose users have second factors.
type second struct {
	*limited
	options authtest.Options
}

func startSecond(t *testing.T, o authtest.Options) *second {
	t.Helper()
	return secondOn(t, dbtest.New(t), o)
}

func secondOn(t *testing.T, url string, o authtest.Options) *second {
	t.Helper()
	s := &second{limited: limitedOn(t, url, o.Rates)}
	s.with(o)
	return s
}

// with builds the rules anew with other options. They share the database and the clock.
func (s *second) with(o authtest.Options) {
	s.Helper()
	if o.Secrets == nil {
		o.Secrets = [][]byte{[]byte(limitsSecret)}
	}
	o.Clock, s.options = s.clock, o
	s.anew(s.store, o)
}

// beside is another replica on the same database, with other options.
func (s *second) beside(change func(*authtest.Options)) *second {
	s.Helper()
	other := *s
	fixture := *s.fixture
	limited := &limited{fixture: &fixture, conn: s.conn, now: s.clock()}
	other.limited = limited
	o := s.options
	change(&o)
	other.with(o)
	return &other
}

// app is what an authenticator app knows.
type app struct{ otp.Secret }

// withApp gives a user an authenticator app.
func (s *second) withApp(user auth.User) app {
	s.Helper()
	keys, err := keychain.New(s.options.Secrets)
	must(s, err)
	secret := otp.NewSecret()
	s.exec("INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, $2, 0)", user.ID,
		keys.Sealer(keychain.TOTPSecrets).Seal(user.ID.String(), secret))
	return app{secret}
}

// enrolled registers a user who has an app.
func (s *second) enrolled(username string) (auth.User, app) {
	s.Helper()
	user := s.register(username)
	return user, s.withApp(user)
}

// parseSecret reads what somebody types into an app.
func parseSecret(text string) (app, error) {
	secret, err := otp.ParseSecret(text)
	return app{secret}, err
}

// freshAccess is the session of a browser as it is now.
func (s *second) freshAccess(b auth.Browser) token.Access {
	s.Helper()
	must(s, s.conn.QueryRow(s.Context(), "SELECT token_version FROM users WHERE id = $1", b.User.ID).Scan(&b.Access.Version))
	return b.Access
}

// code is what the app shows, so many steps later.
func (s *second) code(a app, later ...int) string {
	step := otp.Step(s.clock())
	for _, n := range later {
		step += int64(n)
	}
	return a.Code(step)
}

// wrongCode is none of those that are good.
func (s *second) wrongCode(a app) string {
	for n := range 1_000_000 {
		code := fmt.Sprintf("%06d", n)
		if _, ok := a.Match(code, s.clock()); !ok {
			return code
		}
	}
	panic("all codes are right")
}

// withCodes gives a user recovery codes.
func (s *second) withCodes(user auth.User) []otp.RecoveryCode {
	s.Helper()
	codes := otp.NewRecoveryCodes()
	for _, code := range codes {
		s.exec("INSERT INTO recovery_codes (user_id, digest) VALUES ($1, $2)", user.ID,
			code.Digest(user.ID))
	}
	return codes
}

// holder is a browser with a passkey of a user.
type holder struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	key  virtualwebauthn.Credential
}

// newHolder is a browser that has no passkey of the user yet.
func newHolder(user auth.User, synced bool) *holder {
	h := &holder{
		rp:   virtualwebauthn.RelyingParty{ID: "id.test", Name: "Gatehouse", Origin: "https://id.test"},
		auth: virtualwebauthn.NewAuthenticator(), key: virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2),
	}
	for len(h.key.Key.AttestationData()) != 77 { // coordinates without their leading zeros
		h.key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	h.auth.Options.UserHandle = user.ID[:]
	h.auth.Options.BackupEligible, h.auth.Options.BackupState = synced, synced
	return h
}

// withPasskey gives a user a passkey, which may be one on several devices.
func (s *second) withPasskey(user auth.User, synced bool) *holder {
	s.Helper()
	h := newHolder(user, synced)
	rp, err := passkey.New(passkey.Config{
		RPID: "id.test", RPName: "Gatehouse", Origins: []string{"https://id.test"},
	})
	must(s, err)
	creation := passkey.Creation{Challenge: make([]byte, 32), Verification: passkey.Required}
	options, err := rp.CreationOptions(creation, passkey.User{Handle: user.ID, Name: "x"}, nil)
	must(s, err)
	made, err := rp.Register(creation, h.makes(s, options))
	must(s, err)
	s.exec(`INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
		VALUES ($1, $2, $3, $4, 'key', $5, $6, $7, $8, true, '{}')`,
		uuid.New(), user.ID, made.ID, made.PublicKey, made.SignCount, made.AAGUID, made.BackupEligible, made.BackedUp)
	return h
}

// makes a passkey by a browser's options.
func (h *holder) makes(t testing.TB, options []byte) []byte {
	t.Helper()
	return []byte(virtualwebauthn.CreateAttestationResponse(
		h.rp, h.auth, h.key, virtualwebauthn.AttestationOptions{Challenge: askedOf(t, options)}))
}

func askedOf(t testing.TB, options []byte) []byte {
	t.Helper()
	var asked struct {
		Challenge string `json:"challenge"`
	}
	must(t, json.Unmarshal(options, &asked))
	challenge, err := base64.RawURLEncoding.DecodeString(asked.Challenge)
	must(t, err)
	return challenge
}

// answers a browser's options.
func (h *holder) answers(t testing.TB, options []byte) []byte {
	t.Helper()
	return []byte(virtualwebauthn.CreateAssertionResponse(
		h.rp, h.auth, h.key, virtualwebauthn.AssertionOptions{Challenge: askedOf(t, options)}))
}

// begin is the first step of a login in a browser, which leads to a second.
func (s *second) begin(username string, login ...auth.BrowserLogin) string {
	s.Helper()
	var with auth.BrowserLogin
	for _, with = range login {
	}
	_, err := s.Logins.LoginInBrowser(s.Context(), username, goodPassword, client, with)
	return s.pendingOf(err)
}

// several logins of one user are between their steps.
func (s *second) several(username string) []string {
	s.Helper()
	pendings := make([]string, 10)
	for n := range pendings {
		pendings[n] = s.begin(username)
	}
	return pendings
}

func (s *second) pendingOf(err error) string {
	s.Helper()
	needed, ok := errors.AsType[*auth.FactorNeededError](err)
	if !ok {
		s.Fatalf("no second step: %v", err)
	}
	return needed.Pending
}

func (s *second) prove(pending, code string) (auth.BrowserGrant, error) {
	return s.Logins.ProveFactor(s.Context(), pending, auth.FactorProof{Code: code}, false, client,
		auth.BrowserLogin{})
}

func (s *second) wantProve(want error, when, pending, code string) {
	s.Helper()
	if _, err := s.prove(pending, code); !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", when, err, want)
	}
}

func (s *second) provePasskey(pending string, response []byte) (auth.BrowserGrant, error) {
	return s.Logins.ProveFactor(s.Context(), pending, auth.FactorProof{Passkey: response}, false,
		client, auth.BrowserLogin{})
}

func (s *second) passkeyOptions(pending string) []byte {
	s.Helper()
	options, err := s.Logins.PasskeyOptionsFor(s.Context(), pending)
	must(s, err)
	return options
}

// count is what a query of one number finds.
func (s *second) count(sql string, args ...any) (n int) {
	s.Helper()
	must(s, s.conn.QueryRow(s.Context(), sql, args...).Scan(&n))
	return n
}

func (s *second) sessions() int { s.Helper(); return s.count("SELECT count(*) FROM sessions") }

// wantMethods looks how a session says that its user has logged in.
func (s *second) wantMethods(g auth.BrowserGrant, err error, want ...string) {
	s.Helper()
	must(s, err)
	if got := s.browser(g.Cookie).Methods; fmt.Sprint(got) != fmt.Sprint(want) {
		s.Errorf("the session was started by %v, want %v", got, want)
	}
}

func TestASecondFactorIsDemandedOfWhoeverHasOneAndSaysHowTheUserLoggedIn(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user, app := s.enrolled("alice")
	codes, key := s.withCodes(user), s.withPasskey(user, false)
	pending := s.begin("alice", auth.BrowserLogin{Remember: true})
	shown, err := s.Logins.Pending(t.Context(), pending)
	must(t, err)
	if shown.User.ID != user.ID || shown.Enrol || shown.Change || !shown.Remember ||
		shown.User.Factors != (auth.FactorCount{TOTP: true, Passkeys: 1, RecoveryCodes: 10}) {
		t.Errorf("%+v", shown)
	}
	if s.sessions() != 0 {
		t.Error("the password alone has started a session")
	}
	s.wantProve(auth.ErrWrongFactor, "a wrong code", pending, s.wrongCode(app))
	grant, err := s.prove(pending, s.code(app))
	s.wantMethods(grant, err, "pwd", "otp", "mfa")
	if grant.MaxAge == 0 {
		t.Error("the second step has forgotten that the user wants to stay logged in")
	}
	grant, err = s.prove(s.begin("alice"), codes[0].Text())
	s.wantMethods(grant, err, "pwd", "otp", "mfa")
	pending = s.begin("alice")
	grant, err = s.provePasskey(pending, key.answers(t, s.passkeyOptions(pending)))
	s.wantMethods(grant, err, "pwd", "pop", "mfa")
	options, err := s.Logins.PasskeyOptions("a cookie")
	must(t, err)
	grant, err = s.Logins.LoginByPasskey(t.Context(), "a cookie", key.answers(t, options), client, auth.BrowserLogin{})
	s.wantMethods(grant, err, "pop", "user", "mfa")
}

// A code that somebody has looked at over a shoulder must not be good once more.
func TestAStepIsUsedOnceByWhomeverAndOnWhicheverReplica(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	_, app := s.enrolled("alice")
	other := s.beside(func(*authtest.Options) {})
	pendings := s.several("alice")
	code := s.code(app)
	let := 0
	for n, err := range atOnce(100, func(n int) error {
		replica := []*second{s, other}[n%2]
		_, err := replica.prove(pendings[n/2%len(pendings)], code)
		return err
	}) {
		switch {
		case err == nil:
			let++
		case !errors.Is(err, auth.ErrFactorReused) && !errors.Is(err, auth.ErrPendingLogin):
			t.Errorf("login %d: %v", n, err)
		}
	}
	if let != 1 || s.sessions() != 1 {
		t.Errorf("%d logins, %d sessions", let, s.sessions())
	}
	s.exec("UPDATE users SET factor_failures = NULL")
	s.wantProve(auth.ErrFactorReused, "once more", s.begin("alice"), code)
	s.wantProve(auth.ErrFactorReused, "the step before", s.begin("alice"), s.code(app, -1))
	s.wantProve(nil, "the step after", s.begin("alice"), s.code(app, 1))
}

func TestACodeIsGoodForOneStepOfSkewAndNoMore(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	for later, want := range map[int]error{
		-2: auth.ErrWrongFactor, -1: nil, 0: nil, 1: nil, 2: auth.ErrWrongFactor,
	} {
		name := fmt.Sprint("user", later+2)
		_, app := s.enrolled(name)
		s.wantProve(want, fmt.Sprint(later, " steps later"), s.begin(name), s.code(app, later))
	}
}

func TestARecoveryCodeIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user, _ := s.enrolled("alice")
	codes := s.withCodes(user)
	pendings := s.several("alice")
	let := 0
	for n, err := range atOnce(100, func(n int) error {
		_, err := s.prove(pendings[n%len(pendings)], codes[0].Text())
		return err
	}) {
		switch {
		case err == nil:
			let++
		case !errors.Is(err, auth.ErrWrongFactor) && !errors.Is(err, auth.ErrPendingLogin):
			t.Errorf("login %d: %v", n, err)
		}
	}
	s.exec("UPDATE users SET factor_failures = NULL")
	if used := s.count("SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL"); let != 1 || used != 1 {
		t.Errorf("%d logins with %d codes", let, used)
	}
	s.wantProve(auth.ErrWrongFactor, "once more", s.begin("alice"), codes[0].Text())
	s.wantProve(nil, "another one", s.begin("alice"), codes[1].Text())
	stranger, _ := s.enrolled("bob")
	theirs := s.withCodes(stranger)
	s.wantProve(auth.ErrWrongFactor, "that of another", s.begin("alice"), theirs[0].Text())
}

// What lies between the steps may be stolen. It is good for nothing without the factor, and for
// nothing once it has become a session.
func TestAPendingLoginIsGoodOnceAndAsLongAsItsUserStaysTheSame(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	for name, test := range map[string]struct {
		change func(user auth.User)
	}{
		"another password": {func(u auth.User) {
			_, _, err := s.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByID(u.ID), auth.NewPassword{Password: nextPassword})
			must(t, err)
		}},
		"another password by hand": {func(u auth.User) {
			s.exec("UPDATE users SET password_changed_at = now() WHERE id = $1", u.ID)
		}},
		"a ban": {func(u auth.User) {
			_, err := s.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByID(u.ID), nil)
			must(t, err)
		}},
		"a ban and its end": {func(u auth.User) {
			_, err := s.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByID(u.ID), nil)
			must(t, err)
			_, err = s.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByID(u.ID), nil)
			must(t, err)
		}},
		"a change of factors": {func(u auth.User) {
			s.exec("UPDATE users SET token_version = token_version + 1 WHERE id = $1", u.ID)
		}},
		"ten minutes": {func(auth.User) { s.pass(10 * time.Minute) }},
		"a deletion": {func(u auth.User) {
			s.exec("DELETE FROM users WHERE id = $1", u.ID)
		}},
	} {
		user, app := s.enrolled(fmt.Sprintf("u%x", sha256.Sum256([]byte(name)))[:20])
		pending := s.begin(user.Username.Given)
		test.change(user)
		s.wantProve(auth.ErrPendingLogin, "after "+name, pending, s.code(app))
		if _, err := s.Logins.Pending(t.Context(), pending); !errors.Is(err, auth.ErrPendingLogin) {
			t.Errorf("after %s, it is shown: %v", name, err)
		}
		if n := s.count("SELECT count(*) FROM sessions WHERE user_id = $1", user.ID); n != 0 {
			t.Errorf("after %s there are %d sessions", name, n)
		}
	}
	_, app := s.enrolled("alice")
	pending := s.begin("alice")
	s.wantProve(nil, "in time", pending, s.code(app))
	s.wantProve(auth.ErrPendingLogin, "once more, with a good code", pending, s.code(app, 1))
	s.wantProve(nil, "a code that was wasted on it", s.begin("alice"), s.code(app, 1))
	if _, err := s.Logins.PasskeyOptionsFor(t.Context(), pending); !errors.Is(err, auth.ErrPendingLogin) {
		t.Errorf("options for it: %v", err)
	}
}
