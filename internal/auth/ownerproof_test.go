package auth_test

import (
	"errors"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// ownerOnly are what only the owner of an account may do, with what is typed as the password.
func (f *factored) ownerOnly(who auth.Enroller) map[string]func(current string) error {
	access := who.Browser.Access
	return map[string]func(string) error{
		"password": func(current string) error {
			_, err := f.Logins.ChangePasswordInBrowser(f.Context(), access, current, "another good password")
			return err
		},
		"address": func(current string) error {
			_, err := f.Addresses.Change(f.Context(), access, "alice@example.org", current, "en")
			return err
		},
		"no address": func(current string) error {
			return f.Addresses.Remove(f.Context(), access, current, "en")
		},
		"deletion": func(current string) error {
			return f.Personal.Delete(f.Context(), access, current)
		},
	}
}

// Whoever has stolen a session and knows the password could otherwise take the account over, in
// spite of its second factor.
func TestWhatOnlyAnOwnerMayDoWantsTheSecondFactorAnewAndThePassword(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{Email: auth.EmailOptional})
	f.register("alice")
	f.register("bob")
	alice, bob := f.withTOTP(f.enroller("alice")), f.enroller("bob")
	for name, do := range f.ownerOnly(alice) {
		for proof, sessions := range map[string]string{
			"old":       "auth_time = now() - interval '6 minutes', amr = '{pwd,otp,mfa}'",
			"weak":      "auth_time = now(), amr = '{pwd}'",
			"a trusted": "auth_time = now(), amr = '{pwd}', trusted = true",
		} {
			f.exec("UPDATE sessions SET " + sessions)
			if err := do(goodPassword); !errors.Is(err, auth.ErrInsufficientAuthentication) {
				t.Errorf("%s with %s proof: %v", name, proof, err)
			}
		}
		f.exec("UPDATE sessions SET auth_time = now(), trusted = false, amr = '{pwd,otp,mfa}'")
		if err := do("guess"); !errors.Is(err, auth.ErrWrongCurrentPassword) {
			t.Errorf("%s without the password: %v", name, err)
		}
	}
	must(t, f.ownerOnly(alice)["password"](goodPassword))
	// With the password alone, that is the proof, however old the login is.
	f.exec("UPDATE sessions SET auth_time = now() - interval '6 minutes'")
	must(t, f.ownerOnly(bob)["password"](goodPassword))
}

// Nobody could change or leave such an account by a password that it does not have.
func TestWhatOnlyAnOwnerMayDoWantsAFreshProofOfAnAccountWithoutAPassword(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"address", "no address", "password", "deletion"} {
		f := startFactored(t, authtest.Options{Email: auth.EmailOptional})
		f.register("alice")
		alice := f.withPasskey(f.withPasskey(f.enroller("alice"), newKey(true)), newKey(true))
		change, err := f.Factors.RemovePassword(t.Context(), alice)
		must(t, err)
		alice = f.as(change.Browser)
		do := f.ownerOnly(alice)[name]
		f.exec("UPDATE sessions SET auth_time = now() - interval '6 minutes'")
		if err := do(""); !errors.Is(err, auth.ErrInsufficientAuthentication) {
			t.Errorf("%s by an old proof: %v", name, err)
		}
		f.exec("UPDATE sessions SET auth_time = now()")
		if err := do(""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name != "password" {
			continue
		}
		if now, err := f.store.UserByKey(t.Context(), "alice"); err != nil || now.Passwordless {
			t.Errorf("there is no password yet: %v", err)
		}
	}
}
