package auth_test

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// A login with two factors of which one is gone would let in an account that has none, and must
// have one.
func TestASessionOutlivesItsFactorOnlyWhereNoneIsDemanded(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user, app := s.enrolled("alice")
	grant, err := s.prove(s.begin("alice"), s.code(app))
	must(t, err)
	change, err := s.Factors.RemoveTOTP(t.Context(), auth.Enroller{Browser: s.browser(grant.Cookie)})
	must(t, err)
	s.browser(change.Browser.Cookie)
	required := s.beside(func(o *authtest.Options) { o.Factors = auth.FactorsRequired })
	required.wantCookieRefused("by the setting", change.Browser.Cookie)
	s.exec("INSERT INTO roles (name, factor) VALUES ('staff', true)")
	s.grant(user, "staff")
	s.wantCookieRefused("by a role", change.Browser.Cookie)
}

// Whoever has a program that answers for a passkey could fill the disk: such a login costs no hash
// of a password.
func TestSoManyLoginsByAPasskeyAreRefusedForAWhile(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	user := s.register("alice")
	key := s.withPasskey(user, true)
	for n := range 1000 {
		options, err := s.Logins.PasskeyOptions("cookie")
		must(t, err)
		_, err = s.Logins.LoginByPasskey(t.Context(), "cookie", key.answers(t, options), client, auth.BrowserLogin{})
		if errors.Is(err, auth.ErrLimited) {
			if n < 50 {
				t.Errorf("after %d", n)
			}
			return
		}
		must(t, err)
	}
	t.Error("there is no end")
}

// A copy of what a browser keeps, from before its device was trusted, would skip the factor too.
func TestADeviceThatIsTrustedIsNoneThatWasCopiedBefore(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{Rates: auth.RateLimits{Account: perHour(20)}})
	b := &trusting{second: s, key: s.withPasskey(s.register("alice"), true)}
	b.knows("alice")
	thief := &trusting{second: s, devices: maps.Clone(b.devices)}
	b.trusts("alice")
	if _, err := thief.login("alice", true); !errors.Is(err, auth.ErrFactorNeeded) {
		t.Errorf("the copy from before: %v", err)
	}
	if _, err := b.login("alice", true); err != nil {
		t.Errorf("the device itself: %v", err)
	}
	b.trusts("alice")
	if n := s.count("SELECT count(*) FROM trusted_devices"); n != 1 {
		t.Errorf("one device is trusted as %d", n)
	}
}

// knows logs in with a passkey, and does not trust the device.
func (b *trusting) knows(username string) {
	b.Helper()
	_, err := b.Logins.LoginInBrowser(b.Context(), username, goodPassword, b.caller(), auth.BrowserLogin{})
	pending := b.pendingOf(err)
	grant, err := b.Logins.ProveFactor(b.Context(), pending,
		auth.FactorProof{Passkey: b.key.answers(b, b.passkeyOptions(pending))}, false, b.caller(), auth.BrowserLogin{})
	must(b, err)
	b.devices = map[string]string{grant.DeviceName: grant.Device}
}

// A browser that is not asked to make sure of its user may leave that out. Whoever finds a key
// would be in by it alone, or its owner would be refused.
func TestOnlyAPasskeyThatIsTheOnlyFactorMustKnowItsUser(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{})
	s.withPasskey(s.register("alice"), true)
	alone, err := s.Logins.PasskeyOptions("cookie")
	must(t, err)
	for want, options := range map[string][]byte{
		"required": alone, "preferred": s.passkeyOptions(s.begin("alice")),
	} {
		var asked struct {
			UserVerification string `json:"userVerification"`
		}
		must(t, json.Unmarshal(options, &asked))
		if asked.UserVerification != want {
			t.Errorf("%q is asked for, want %q", asked.UserVerification, want)
		}
	}
}

// byPasskey logs in with a passkey alone.
func (s *second) byPasskey(key *holder) (auth.BrowserGrant, error) {
	s.Helper()
	options, err := s.Logins.PasskeyOptions("cookie")
	must(s, err)
	return s.Logins.LoginByPasskey(s.Context(), "cookie", key.answers(s, options), client, auth.BrowserLogin{})
}

// A thief who has set up passkeys, and has taken the password away, would be in again as soon as
// the owner has taken the address back.
func TestNoPasskeyOfAThiefOutlivesTheUndoingOfAnAddress(t *testing.T) {
	t.Parallel()
	s := startSecond(t, authtest.Options{Email: auth.EmailOptional})
	alice := s.register("alice")
	s.exec("UPDATE users SET email = $1, email_key = $1, email_verified_at = now()", "alice@example.org")
	key := s.withPasskey(alice, true)
	s.withPasskey(alice, true)
	grant, err := s.byPasskey(key)
	must(t, err)
	change, err := s.Factors.RemovePassword(t.Context(), auth.Enroller{Browser: s.browser(grant.Cookie)})
	must(t, err)
	_, err = s.byPasskey(key)
	must(t, err)
	must(t, s.Addresses.Remove(t.Context(), s.browser(change.Browser.Cookie).Access, "", "en"))
	var mail uuid.UUID
	must(t, s.conn.QueryRow(t.Context(), "SELECT id FROM mails WHERE kind = $1",
		string(auth.MailAddressChanged)).Scan(&mail))
	letter, err := s.Mails.Prepare(t.Context(), mail)
	must(t, err)
	must(t, s.Addresses.Undo(t.Context(), byLink(letter).Token, client))
	if _, err := s.byPasskey(key); !errors.Is(err, auth.ErrMustChangePassword) {
		t.Errorf("the thief's passkey: %v", err)
	}
}
