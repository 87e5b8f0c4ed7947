package auth_test

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/otp"
	"gatehouse.example/internal/token"
)

// factored is a fixture whose clock is right, and whose users set factors up.
type factored struct {
	*clocked
	at time.Time
}

func startFactored(t *testing.T, o authtest.Options) *factored {
	t.Helper()
	f := &factored{startClocked(t), time.Now()}
	o.Clock, o.Bounds = func() time.Time { return f.at }, time.Now
	f.anew(f.store, o)
	must(t, f.Factors.ClaimRP(t.Context()))
	return f
}

// enroller logs a user in, who may set factors up then.
func (f *factored) enroller(username string) auth.Enroller {
	f.Helper()
	return f.as(f.inBrowser(username, auth.BrowserLogin{}))
}

func (f *factored) as(grant auth.BrowserGrant) auth.Enroller {
	f.Helper()
	return auth.Enroller{Browser: f.browser(grant.Cookie)}
}

// secretOf reads the secret of an enrolment as people type it into their apps.
func (f *factored) secretOf(e auth.TOTPEnrolment) otp.Secret {
	f.Helper()
	secret, err := otp.ParseSecret(e.Secret)
	must(f, err)
	return secret
}

// confirm sets an app up.
func (f *factored) confirm(who auth.Enroller) (auth.FactorChange, error) {
	f.Helper()
	offered := f.Factors.NewTOTP(who.Browser.User)
	code := f.secretOf(offered).Code(otp.Step(f.at))
	return f.Factors.ConfirmTOTP(f.Context(), who, offered.Sealed, code)
}

func (f *factored) withTOTP(who auth.Enroller) auth.Enroller {
	f.Helper()
	change, err := f.confirm(who)
	must(f, err)
	return f.as(change.Browser)
}

// key is an authenticator with one passkey.
type key struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

// newKey makes a key that knows its user, or one that does not.
func newKey(knows bool) key {
	cred := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	for len(cred.Key.AttestationData()) != 77 { // it leaves out zeros at the begin of a coordinate
		cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return key{
		virtualwebauthn.RelyingParty{ID: "id.test", Name: "Gatehouse", Origin: "https://id.test"},
		virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{
			UserNotVerified: !knows,
		}), cred,
	}
}

// answers makes the passkey.
func (k key) answers(t testing.TB, options []byte) []byte {
	t.Helper()
	// The authenticator wants the options within those of a browser.
	asked, err := virtualwebauthn.ParseAttestationOptions(`{"publicKey":` + string(options) + `}`)
	must(t, err)
	return []byte(virtualwebauthn.CreateAttestationResponse(k.rp, k.auth, k.cred, *asked))
}

func (f *factored) options(who auth.Enroller) []byte {
	f.Helper()
	options, err := f.Factors.PasskeyOptions(f.Context(), who)
	must(f, err)
	return options
}

func (f *factored) addPasskey(who auth.Enroller, k key) (auth.FactorChange, error) {
	f.Helper()
	return f.Factors.AddPasskey(f.Context(), who, "My key", k.answers(f, f.options(who)))
}

func (f *factored) withPasskey(who auth.Enroller, k key) auth.Enroller {
	f.Helper()
	change, err := f.addPasskey(who, k)
	must(f, err)
	return f.as(change.Browser)
}

func (f *factored) of(who auth.Enroller) auth.FactorsShown {
	f.Helper()
	shown, err := f.Factors.Of(f.Context(), who.Browser.User.ID)
	must(f, err)
	return shown
}

func (f *factored) exec(statement string, args ...any) {
	f.Helper()
	_, err := f.conn.Exec(f.Context(), statement, args...)
	must(f, err)
}

// trust makes a device of a user a trusted one.
func (f *factored) trust(user uuid.UUID) (device uuid.UUID) {
	f.Helper()
	device = uuid.New()
	f.exec(`INSERT INTO trusted_devices (user_id, device_id, expires_at, client_address, user_agent)
		VALUES ($1, $2, now() + interval '1 day', '', '')`, user, device)
	return device
}

// stale makes all proofs as old.
func (f *factored) stale(by time.Duration) {
	f.Helper()
	f.exec("UPDATE sessions SET auth_time = auth_time - $1::interval", by)
}

// A secret that is not in the app would lock its owner out, and one that somebody else knows would
// let them in.
func TestAnAppIsAddedByACodeOfItsOwnSecretAlone(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	f.register("bob")
	alice, bob := f.enroller("alice"), f.enroller("bob")
	offered, other := f.Factors.NewTOTP(alice.Browser.User), f.Factors.NewTOTP(bob.Browser.User)
	now := otp.Step(f.at)
	right := f.secretOf(offered).Code(now)
	refused := func(when, sealed, code string, want error) {
		t.Helper()
		_, err := f.Factors.ConfirmTOTP(t.Context(), alice, sealed, code)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", when, err, want)
		}
	}
	refused("the code of another secret", offered.Sealed, f.secretOf(other).Code(now),
		auth.ErrWrongFactor)
	refused("no code", offered.Sealed, "", auth.ErrWrongFactor)
	refused("the secret of another user", other.Sealed, f.secretOf(other).Code(now),
		auth.ErrEnrolmentOver)
	refused("no secret", "", right, auth.ErrEnrolmentOver)
	refused("a secret that is cut", offered.Sealed[:len(offered.Sealed)-4], right,
		auth.ErrEnrolmentOver)
	f.at = f.at.Add(16 * time.Minute)
	refused("a secret of a while ago", offered.Sealed,
		f.secretOf(offered).Code(otp.Step(f.at)), auth.ErrEnrolmentOver)
	if shown := f.of(alice); shown.TOTPSince != nil || shown.RecoveryCodes != 0 {
		t.Fatalf("there is %+v", shown)
	}

	f.at = f.at.Add(-10 * time.Minute)
	same, err := f.Factors.SameTOTP(alice.Browser.User, offered.Sealed)
	must(t, err)
	if same != offered || !strings.HasPrefix(same.URI, "otpauth://totp/Gatehouse:alice?") {
		t.Errorf("%+v", same)
	}
	step := otp.Step(f.at)
	change, err := f.Factors.ConfirmTOTP(
		t.Context(), alice, offered.Sealed, f.secretOf(offered).Code(step),
	)
	must(t, err)
	var last int64
	must(t, f.conn.QueryRow(t.Context(), "SELECT last_step FROM totp_secrets").Scan(&last))
	if last != step || len(change.Codes) != 10 {
		t.Errorf("the step of the code is %d, of %d; %d codes", last, step, len(change.Codes))
	}
	alice = f.as(change.Browser)
	if u := alice.Browser.User; !u.Factors.TOTP || u.Factors.RecoveryCodes != 10 ||
		!slices.Equal(alice.Browser.Methods, []string{"pwd", "otp", "mfa"}) {
		t.Errorf("%+v by %v", u.Factors, alice.Browser.Methods)
	}
	if _, err := f.confirm(alice); !errors.Is(err, auth.ErrFactorExists) {
		t.Errorf("a second app: %v", err)
	}
}

// Whoever clicks twice would have an app with a secret that is not the stored one, or codes that
// are void.
func TestOfManyWhoAddAFactorAtOnceOneDoes(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	for what, add := range map[string]func(auth.Enroller) (auth.FactorChange, error){
		"totp":    f.confirm,
		"passkey": func(who auth.Enroller) (auth.FactorChange, error) { return f.addPasskey(who, newKey(true)) },
	} {
		f.register(what)
		who := f.enroller(what)
		const many = 20
		changes, errs := make([]auth.FactorChange, many), make([]error, many)
		var all sync.WaitGroup
		for n := range many {
			all.Go(func() { changes[n], errs[n] = add(who) })
		}
		all.Wait()
		done, shown, there := 0, 0, f.of(who)
		for n, err := range errs {
			switch {
			case err == nil:
				done++
				shown += len(changes[n].Codes)
			case !errors.Is(err, auth.ErrChanged) && !errors.Is(err, auth.ErrFactorExists):
				t.Errorf("%s: %v", what, err)
			}
		}
		// One passkey may come after another.
		added := len(there.Passkeys)
		if there.TOTPSince != nil {
			added++
		}
		if done == 0 || done != added || shown != 10 || there.RecoveryCodes != 10 {
			t.Errorf("%s: %d did, with %d codes, and there is %+v", what, done, shown, there)
		}
	}
}

// codesOf are the digests of the recovery codes of a user.
func (f *factored) codesOf(user uuid.UUID) (all [][]byte) {
	f.Helper()
	rows, err := f.conn.Query(f.Context(), "SELECT digest FROM recovery_codes WHERE user_id = $1", user)
	must(f, err)
	all, err = pgx.CollectRows(rows, pgx.RowTo[[]byte])
	must(f, err)
	return all
}

func (f *factored) wantCodes(when string, user uuid.UUID, codes []otp.RecoveryCode) {
	f.Helper()
	stored := f.codesOf(user)
	if len(codes) != 10 || len(stored) != 10 {
		f.Errorf("%s: %d codes, %d are stored", when, len(codes), len(stored))
	}
	for _, code := range codes {
		if !slices.ContainsFunc(stored, func(d []byte) bool { return slices.Equal(d, code.Digest(user)) }) {
			f.Errorf("%s: a code is not stored", when)
		}
	}
}

func TestRecoveryCodesAreShownWithTheFirstFactorAndNewOnesVoidTheOld(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	alice := f.register("alice").ID
	who := f.enroller("alice")
	if _, err := f.Factors.NewRecoveryCodes(t.Context(), who); !errors.Is(err, auth.ErrChanged) {
		t.Errorf("without a factor: %v", err)
	}
	first, err := f.addPasskey(who, newKey(true))
	must(t, err)
	f.wantCodes("the first factor", alice, first.Codes)
	second, err := f.confirm(f.as(first.Browser))
	must(t, err)
	if len(second.Codes) != 0 {
		t.Errorf("the second factor comes with %d codes", len(second.Codes))
	}
	f.wantCodes("the second factor", alice, first.Codes)
	who = f.as(second.Browser)
	anew, err := f.Factors.NewRecoveryCodes(t.Context(), who)
	must(t, err)
	f.wantCodes("new ones", alice, anew.Codes)
	who = f.as(anew.Browser)
	gone, err := f.Factors.RemoveTOTP(t.Context(), who)
	must(t, err)
	f.wantCodes("one factor is left", alice, anew.Codes)
	who = f.as(gone.Browser)
	_, err = f.Factors.RemovePasskey(t.Context(), who, f.of(who).Passkeys[0].ID)
	must(t, err)
	if left := f.codesOf(alice); len(left) != 0 {
		t.Errorf("%d codes stand in for nothing", len(left))
	}
}

// Whoever reads a backup or a log must not be able to make codes.
func TestASecretAndItsCodesAreInNoDumpEventOrError(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	who := f.enroller("alice")
	offered := f.Factors.NewTOTP(who.Browser.User)
	secret := f.secretOf(offered)
	_, wrong := f.Factors.ConfirmTOTP(t.Context(), who, offered.Sealed, "000000")
	_, over := f.Factors.ConfirmTOTP(t.Context(), who, offered.Sealed+"x", "000000")
	change, err := f.Factors.ConfirmTOTP(
		t.Context(), who, offered.Sealed, secret.Code(otp.Step(f.at)),
	)
	must(t, err)
	_, twice := f.confirm(f.as(change.Browser))
	r := recovery{fixture: f.fixture, conn: f.conn}
	all := r.dump() + fmt.Sprintf("%v %v %v %+v %#v", wrong, over, twice, change, change.Codes)
	if !strings.Contains(all, "factor.add") || !strings.Contains(all, "wrong_factor") {
		t.Error("the dump is not whole")
	}
	secrets := []string{
		string(secret), hex.EncodeToString(secret), offered.Secret, offered.Sealed,
		base32.StdEncoding.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)[:20],
	}
	for _, code := range change.Codes {
		secrets = append(secrets, code.Text(), strings.ReplaceAll(code.Text(), "-", ""))
	}
	for _, secret := range secrets {
		if strings.Contains(strings.ToLower(all), strings.ToLower(secret)) {
			t.Errorf("there is %q", secret)
		}
	}
}

// before is what somebody may hold when a factor changes: two more sessions, a refresh token, and
// devices that are known and trusted.
type before struct {
	elsewhere, own auth.BrowserGrant
	program        auth.Grant
	user           auth.User
}

func (f *factored) held(username string) before {
	f.Helper()
	return before{
		elsewhere: f.inBrowser(username, auth.BrowserLogin{}), program: f.login(username),
		own: f.inBrowser(username, auth.BrowserLogin{}),
	}
}

// wantAfter looks at what is still good of what somebody held.
func (f *factored) wantAfter(when string, b before, after auth.BrowserGrant, others bool) {
	f.Helper()
	now := f.browser(after.Cookie)
	f.wantCookieRefused(when+": the own cookie of before", b.own.Cookie)
	_, refreshErr := f.Tokens.Refresh(f.Context(), b.program.RefreshToken, client)
	if others {
		f.browser(b.elsewhere.Cookie)
		must(f, refreshErr)
	} else {
		f.wantCookieRefused(when+": another session", b.elsewhere.Cookie)
		if !errors.Is(refreshErr, auth.ErrInvalidGrant) {
			f.Errorf("%s: a refresh token of before: %v", when, refreshErr)
		}
	}
	raised := now.User.TokenVersion != b.user.TokenVersion
	if raised == others {
		f.Errorf("%s: what is open for the version %d of before is good", when, b.user.TokenVersion)
	}
	if shown := f.of(auth.Enroller{Browser: now}); len(shown.Devices) != 0 {
		f.Errorf("%s: a device is trusted", when)
	}
}

// Nothing that a thief holds outlives the owner's answer to it.
func TestTakingAFactorAwayEndsEverythingButTheOwnSession(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	for name, remove := range map[string]func(auth.Enroller) (auth.FactorChange, error){
		"totp": func(who auth.Enroller) (auth.FactorChange, error) {
			return f.Factors.RemoveTOTP(t.Context(), who)
		},
		"passkey": func(who auth.Enroller) (auth.FactorChange, error) {
			return f.Factors.RemovePasskey(t.Context(), who, f.of(who).Passkeys[0].ID)
		},
		"password": func(who auth.Enroller) (auth.FactorChange, error) {
			return f.Factors.RemovePassword(t.Context(), who)
		},
	} {
		f.register(name)
		b := f.held(name)
		who := f.withTOTP(f.as(b.own))
		who = f.withPasskey(f.withPasskey(who, newKey(true)), newKey(true))
		b.user = who.Browser.User
		known := b.user.PasswordChangedAt
		f.trust(b.user.ID)
		change, err := remove(who)
		must(t, err)
		f.wantAfter(name, b, change.Browser, false)
		now := f.as(change.Browser)
		if now.Browser.User.PasswordChangedAt.Equal(known) {
			t.Errorf("%s: the devices of before are known", name)
		}
		if now.Browser.Access.SessionID != who.Browser.Access.SessionID {
			t.Errorf("%s: the own session has ended", name)
		}
		if len(change.Codes) != 0 {
			t.Errorf("%s: %d new codes", name, len(change.Codes))
		}
	}
	f.wantLogin("password", goodPassword, auth.ErrWrongPassword)
}

func TestAddingAFactorEndsOtherSessionsOnlyIfItsUserAsksForThat(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	for name, add := range map[string]func(auth.Enroller) (auth.FactorChange, error){
		"totp":    f.confirm,
		"passkey": func(who auth.Enroller) (auth.FactorChange, error) { return f.addPasskey(who, newKey(false)) },
	} {
		for _, others := range []bool{false, true} {
			name := fmt.Sprintf("%s-%t", name, others)
			f.register(name)
			b := f.held(name)
			who := f.as(b.own)
			who.EndOthers, b.user = !others, who.Browser.User
			f.trust(b.user.ID)
			change, err := add(who)
			must(t, err)
			f.wantAfter(name, b, change.Browser, others)
		}
	}
}

// Its user is about to look at another page, with the cookie of before.
func TestAPasskeyThatTheBrowserMakesByItselfEndsNothing(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	b := f.held("alice")
	who := f.as(b.own)
	who.EndOthers = true
	options, err := f.Factors.OfferedPasskeyOptions(t.Context(), who)
	must(t, err)
	k := newKey(false)
	if _, err := f.Factors.AddPasskey(t.Context(), who, "", k.answers(t, options)); !errors.Is(err, auth.ErrInvalidPasskey) {
		t.Errorf("the answer to an offer, as one that was asked for: %v", err)
	}
	change, err := f.Factors.AddPasskeyAsOffered(t.Context(), who, " ", k.answers(t, options))
	must(t, err)
	if change.Browser.Cookie != "" || len(change.Codes) != 10 {
		t.Errorf("%+v, with %d codes", change.Browser, len(change.Codes))
	}
	own := f.browser(b.own.Cookie)
	f.browser(b.elsewhere.Cookie)
	if !slices.Equal(own.Methods, []string{"pwd"}) {
		t.Errorf("the session is one by %v", own.Methods)
	}
	if name := f.of(who).Passkeys[0].Name; name != "Passkey" {
		t.Errorf("it is called %q", name)
	}
}

// A challenge that can be answered again, or in another session, lets somebody add a key of their
// own.
func TestAPasskeyAnswersAChallengeOfItsOwnSessionOnce(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	f.register("bob")
	alice, again, bob := f.enroller("alice"), f.enroller("alice"), f.enroller("bob")
	refused := func(when string, who auth.Enroller, response []byte) {
		t.Helper()
		_, err := f.Factors.AddPasskey(t.Context(), who, "", response)
		if !errors.Is(err, auth.ErrInvalidPasskey) {
			t.Errorf("%s: %v", when, err)
		}
	}
	options := f.options(alice)
	response := newKey(true).answers(t, options)
	refused("another session", again, response)
	refused("another user", bob, response)
	refused("no answer", alice, []byte("{}"))
	changed := newKey(true)
	changed.rp.Origin = "https://evil.test"
	refused("another origin", alice, changed.answers(t, options))
	f.at = f.at.Add(121 * time.Second)
	refused("too late", alice, response)
	f.at = f.at.Add(-2 * time.Second)

	const many = 20
	var all sync.WaitGroup
	errs := make([]error, many)
	for n := range many {
		all.Go(func() {
			_, errs[n] = f.Factors.AddPasskey(t.Context(), alice, "", newKey(true).answers(t, options))
		})
	}
	all.Wait()
	if done := len(slices.DeleteFunc(errs, func(err error) bool { return err != nil })); done != 1 {
		t.Errorf("%d passkeys answer one challenge", done)
	}
	refused("one after another", alice, newKey(true).answers(t, options))
	own := f.inBrowser("bob", auth.BrowserLogin{})
	options = f.options(f.as(own))
	_, err := f.Factors.AddPasskey(t.Context(), f.as(own), "", newKey(true).answers(t, options))
	must(t, err)
}

func TestAPasskeyIsOfOneAccount(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	f.register("bob")
	shared := newKey(true)
	alice := f.withPasskey(f.withPasskey(f.enroller("alice"), shared), newKey(true))
	bob := f.withPasskey(f.enroller("bob"), newKey(true))
	for name, who := range map[string]auth.Enroller{"another": bob, "the same": alice} {
		if _, err := f.addPasskey(who, shared); !errors.Is(err, auth.ErrPasskeyTaken) {
			t.Errorf("%s account: %v", name, err)
		}
	}
	of := f.of(bob).Passkeys[0].ID
	if err := f.Factors.RenamePasskey(t.Context(), alice, of, "Mine"); !errors.Is(err, auth.ErrPasskeyNotFound) {
		t.Errorf("alice calls bob's key another name: %v", err)
	}
	if _, err := f.Factors.RemovePasskey(t.Context(), alice, of); !errors.Is(err, auth.ErrPasskeyNotFound) {
		t.Errorf("alice takes bob's key away: %v", err)
	}
	must(t, f.Factors.RenamePasskey(t.Context(), bob, of, "  Bob's\nkey "+strings.Repeat("x", 100)))
	if got := f.of(bob).Passkeys[0].Name; got != "Bob's\ufffdkey "+strings.Repeat("x", 52) {
		t.Errorf("%q", got)
	}
	must(t, f.Accounts.Delete(t.Context(), authtest.Operator(), alice.Browser.User.ID))
	bob = f.withPasskey(bob, shared) // the account that had it is gone, and so is the key
	if shown := f.of(bob); len(shown.Passkeys) != 2 {
		t.Errorf("%+v", shown)
	}
}

func TestAnAccountHasThirtyPasskeysAtMost(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	who := f.enroller("alice")
	for range 30 {
		who = f.withPasskey(who, newKey(false))
	}
	if _, err := f.Factors.PasskeyOptions(t.Context(), who); !errors.Is(err, auth.ErrTooManyPasskeys) {
		t.Errorf("one more is asked for: %v", err)
	}
	_, err := f.Factors.AddPasskey(t.Context(), who, "", nil)
	if !errors.Is(err, auth.ErrTooManyPasskeys) {
		t.Errorf("one more: %v", err)
	}
	if there := len(f.of(who).Passkeys); there != 30 {
		t.Errorf("there are %d", there)
	}
}

// Nobody could log in to the account any more.
func TestTheLastWayInCannotBeTakenAway(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	who := f.withPasskey(f.withPasskey(f.withTOTP(f.enroller("alice")), newKey(true)), newKey(false))
	// A key that does not know its user is no factor by itself.
	if _, err := f.Factors.RemovePassword(t.Context(), who); !errors.Is(err, auth.ErrLastWayIn) {
		t.Errorf("with one key that knows its user: %v", err)
	}
	who = f.withPasskey(who, newKey(true))
	change, err := f.Factors.RemovePassword(t.Context(), who)
	must(t, err)
	who = f.as(change.Browser)
	if !who.Browser.User.Passwordless {
		t.Error("the account has a password")
	}
	if _, err := f.Factors.RemovePassword(t.Context(), who); !errors.Is(err, auth.ErrChanged) {
		t.Errorf("once more: %v", err)
	}
	remove := func(n int) error {
		change, err := f.Factors.RemovePasskey(t.Context(), who, f.of(who).Passkeys[n].ID)
		if err == nil {
			who = f.as(change.Browser)
		}
		return err
	}
	must(t, remove(0))
	if err := remove(1); !errors.Is(err, auth.ErrLastWayIn) {
		t.Errorf("the last key that knows its user: %v", err)
	}
	must(t, remove(0))
	change, err = f.Factors.RemoveTOTP(t.Context(), who)
	must(t, err)
	who = f.as(change.Browser)
	_, _, err = f.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByName("alice"),
		auth.NewPassword{Password: goodPassword})
	must(t, err)
	if f.of(who).User.Passwordless {
		t.Error("the account has no password, although it was given one")
	}
}

// An account without its factor gets no further than to set another one up.
func TestTheLastFactorStaysWhereTheAccountMustHaveOne(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		demand func(*factored, uuid.UUID)
		want   error
	}{
		"role": {func(f *factored, user uuid.UUID) {
			f.exec("INSERT INTO roles (name, factor) VALUES ('clerk', true)")
			f.exec("INSERT INTO user_roles (user_id, role_name) VALUES ($1, 'clerk')", user)
		}, auth.ErrFactorDemanded},
		"setting": {func(f *factored, _ uuid.UUID) {
			f.anew(f.store, authtest.Options{
				Factors: auth.FactorsRequired, Clock: func() time.Time { return f.at }, Bounds: time.Now,
			})
		}, auth.ErrFactorDemanded},
		"none": {func(*factored, uuid.UUID) {}, nil},
	} {
		for last, takes := range map[string][]func(*factored, auth.Enroller) (auth.FactorChange, error){
			"the app":     {(*factored).removePasskey, (*factored).removeTOTP},
			"the passkey": {(*factored).removeTOTP, (*factored).removePasskey},
		} {
			f := startFactored(t, authtest.Options{})
			alice := f.register("alice")
			first, err := f.confirm(f.enroller("alice"))
			must(t, err)
			second, err := f.addPasskey(f.as(first.Browser), newKey(true))
			must(t, err)
			test.demand(f, alice.ID)
			left, err := takes[0](f, f.as(second.Browser))
			must(t, err)
			if _, err := takes[1](f, f.as(left.Browser)); !errors.Is(err, test.want) {
				t.Errorf("%s, %s: %v, want %v", name, last, err, test.want)
			}
		}
	}
}

func (f *factored) removeTOTP(who auth.Enroller) (auth.FactorChange, error) {
	return f.Factors.RemoveTOTP(f.Context(), who)
}

func (f *factored) removePasskey(who auth.Enroller) (auth.FactorChange, error) {
	f.Helper()
	return f.Factors.RemovePasskey(f.Context(), who, f.of(who).Passkeys[0].ID)
}

func TestWithFactorsOffNobodySetsOneUpAndWhoHasOneTakesItAway(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	f.register("bob")
	alice, bob := f.withTOTP(f.enroller("alice")), f.enroller("bob")
	f.anew(f.store, authtest.Options{
		Factors: auth.FactorsNone, Clock: func() time.Time { return f.at }, Bounds: time.Now,
	})
	_, totp := f.confirm(bob)
	_, options := f.Factors.PasskeyOptions(t.Context(), bob)
	_, passkey := f.Factors.AddPasskey(t.Context(), bob, "", nil)
	_, offered := f.Factors.AddPasskeyAsOffered(t.Context(), bob, "", nil)
	for _, err := range []error{totp, options, passkey, offered} {
		if !errors.Is(err, auth.ErrFactorsOff) {
			t.Errorf("%v", err)
		}
	}
	_, err := f.Factors.RemoveTOTP(t.Context(), alice)
	must(t, err)
}

// Passkeys of another id are good for nothing, and their owners could not get in.
func TestPasskeysKeepTheirRPIDAsLongAsThereAreAny(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	f.register("alice")
	own := f.Rules
	claim := func(origin string) error {
		f.anew(f.store, authtest.Options{
			Clock: func() time.Time { return f.at }, Bounds: time.Now, PasskeysAt: origin,
		})
		return f.Factors.ClaimRP(t.Context())
	}
	must(t, claim("https://other.test"))
	// A replica of before is still there. What it makes would be lost.
	stale := f.Rules
	f.Rules = own
	who := f.enroller("alice")
	if _, err := f.addPasskey(who, newKey(true)); !errors.Is(err, auth.ErrInvalidPasskey) {
		t.Errorf("a passkey of the id before: %v", err)
	}
	must(t, f.Factors.ClaimRP(t.Context()))
	who = f.withPasskey(who, newKey(true))
	f.Rules = stale
	for _, origin := range []string{"https://other.test", "none"} {
		err := claim(origin)
		if err == nil || !strings.Contains(err.Error(), "set WEBAUTHN_RP_ID=id.test") {
			t.Errorf("at %q: %v", origin, err)
		}
	}
	f.Rules = own
	must(t, f.Factors.ClaimRP(t.Context()))
	_, err := f.Factors.RemovePasskey(t.Context(), who, f.of(who).Passkeys[0].ID)
	must(t, err)
	must(t, claim("https://other.test"))
}

// factorActions are the methods of Factors that change something, or lead to that, each as somebody
// may use it who has set up all that there is.
func (f *factored) factorActions() map[string]func(auth.Enroller) error {
	ctx := f.Context()
	change := func(_ auth.FactorChange, err error) error { return err }
	passkey := func(who auth.Enroller) uuid.UUID {
		shown, err := f.Factors.Of(ctx, who.Browser.User.ID)
		if err != nil || len(shown.Passkeys) == 0 {
			return uuid.Nil
		}
		return shown.Passkeys[0].ID
	}
	return map[string]func(auth.Enroller) error{
		"ConfirmTOTP": func(who auth.Enroller) error { return change(f.confirm(who)) },
		"RemoveTOTP":  func(who auth.Enroller) error { return change(f.Factors.RemoveTOTP(ctx, who)) },
		"PasskeyOptions": func(who auth.Enroller) error {
			_, err := f.Factors.PasskeyOptions(ctx, who)
			return err
		},
		"OfferedPasskeyOptions": func(who auth.Enroller) error {
			_, err := f.Factors.OfferedPasskeyOptions(ctx, who)
			return err
		},
		"AddPasskey": func(who auth.Enroller) error {
			options, err := f.Factors.PasskeyOptions(ctx, who)
			if err != nil {
				options = []byte(`{"challenge":"AAAA"}`)
			}
			return change(f.Factors.AddPasskey(ctx, who, "", newKey(true).answers(f, options)))
		},
		"AddPasskeyAsOffered": func(who auth.Enroller) error {
			options, err := f.Factors.OfferedPasskeyOptions(ctx, who)
			if err != nil {
				options = []byte(`{"challenge":"AAAA"}`)
			}
			return change(f.Factors.AddPasskeyAsOffered(ctx, who, "", newKey(true).answers(f, options)))
		},
		"RenamePasskey": func(who auth.Enroller) error {
			return f.Factors.RenamePasskey(ctx, who, passkey(who), "Another")
		},
		"RemovePasskey": func(who auth.Enroller) error {
			return change(f.Factors.RemovePasskey(ctx, who, passkey(who)))
		},
		"NewRecoveryCodes": func(who auth.Enroller) error { return change(f.Factors.NewRecoveryCodes(ctx, who)) },
		"RemovePassword":   func(who auth.Enroller) error { return change(f.Factors.RemovePassword(ctx, who)) },
		"ForgetDevices":    func(who auth.Enroller) error { return f.Factors.ForgetDevices(ctx, who, uuid.Nil) },
	}
}

// freeOfProof are the methods that change nothing, and that nobody can gain anything by.
func freeOfProof() []string {
	return []string{"Of", "NewTOTP", "SameTOTP", "HasPasskeys", "MaySetUp", "ClaimRP", "CheckRP"}
}

// A stolen session, an unlocked screen, or a device on which the second factor is left out must not
// be enough to lock the owner out, or to stay in.
func TestNothingOfFactorsIsChangedWithoutAFreshProofOfAllThatTheAccountDemands(t *testing.T) {
	t.Parallel()
	type case_ struct {
		spoil func(*factored, *auth.Enroller)
		want  error
	}
	weak := auth.ErrInsufficientAuthentication
	cases := map[string]case_{
		"nobody": {func(_ *factored, who *auth.Enroller) {
			*who = auth.Enroller{}
		}, auth.ErrInvalidToken},
		"a proof of a while ago": {func(f *factored, _ *auth.Enroller) {
			f.stale(5*time.Minute + time.Second)
		}, weak},
		"the password alone": {func(f *factored, _ *auth.Enroller) {
			f.exec("UPDATE sessions SET amr = '{pwd}'")
		}, weak},
		"a trusted device": {func(f *factored, _ *auth.Enroller) {
			f.exec("UPDATE sessions SET amr = '{pwd}', trusted = true")
		}, weak},
		"a session that has ended": {func(f *factored, who *auth.Enroller) {
			must(f, f.Sessions.Logout(f.Context(), who.Browser.Access))
		}, auth.ErrInvalidToken},
		"a session of before the owner's answer": {func(f *factored, who *auth.Enroller) {
			f.exec("UPDATE users SET token_version = token_version + 1")
		}, auth.ErrInvalidToken},
		"a disabled account": {func(f *factored, who *auth.Enroller) {
			f.exec("UPDATE users SET disabled_at = now()")
		}, auth.ErrInvalidToken},
		"the session of another": {func(f *factored, who *auth.Enroller) {
			who.Browser.Access.UserID = uuid.New()
		}, auth.ErrInvalidToken},
		"a client": {func(_ *factored, who *auth.Enroller) {
			who.Browser.Access = token.Access{Subject: token.Subject{
				UserID: uuid.New(), ClientID: "shop", SessionID: uuid.New(),
			}}
		}, auth.ErrInvalidToken},
		"a narrowed token": {func(_ *factored, who *auth.Enroller) {
			who.Browser.Access.Scope = "a:b"
		}, auth.ErrForbidden},
		"a program": {func(f *factored, _ *auth.Enroller) {
			f.exec("UPDATE sessions SET browser = false, idle_seconds = NULL")
		}, auth.ErrForbidden},
	}
	prepared := func(t *testing.T, action string) (*factored, auth.Enroller) {
		f := startFactored(t, authtest.Options{})
		f.register("alice")
		who := f.withPasskey(f.withPasskey(f.enroller("alice"), newKey(true)), newKey(true))
		if action != "ConfirmTOTP" {
			who = f.withTOTP(who)
		}
		f.trust(who.Browser.User.ID)
		return f, who
	}
	f, _ := prepared(t, "")
	for method := range reflect.TypeFor[*auth.Factors]().Methods() {
		if (f.factorActions()[method.Name] == nil) != slices.Contains(freeOfProof(), method.Name) {
			t.Errorf("Factors.%s has no row, or two", method.Name)
		}
	}
	for action := range f.factorActions() {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			for name, spoiled := range cases {
				f, who := prepared(t, action)
				before := f.of(who)
				meant := who
				spoiled.spoil(f, &meant)
				if err := f.factorActions()[action](meant); !errors.Is(err, spoiled.want) {
					t.Errorf("%s: %v, want %v", name, err, spoiled.want)
				}
				after := f.of(who)
				after.User, before.User = auth.User{}, auth.User{}
				if !reflect.DeepEqual(before, after) {
					t.Errorf("%s: there is %+v, and was %+v", name, after, before)
				}
			}
			f, who := prepared(t, action)
			must(t, f.factorActions()[action](who)) // so it was refused for the reason alone
		})
	}
}

// Somebody who has logged in could fill the audit log, and the owner's mailbox.
func TestSoManyChangesOfFactorsAreRefusedForAWhile(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{})
	alice, bob := f.register("alice"), f.register("bob")
	_, _ = alice, bob
	who := f.withTOTP(f.enroller("alice"))
	for n := range 100 {
		change, err := f.Factors.NewRecoveryCodes(t.Context(), who)
		if errors.Is(err, auth.ErrLimited) {
			if n != 59 {
				t.Errorf("after %d", n)
			}
			f.withTOTP(f.enroller("bob"))
			return
		}
		must(t, err)
		who = f.as(change.Browser)
	}
	t.Error("nobody was refused")
}
