package auth_test

import (
	"errors"
	"testing"

	"gatehouse.example/internal/auth"
)

const othersPassword = "a stranger's own password"

func (r *recovery) signUpWith(address, pw string) auth.User {
	r.Helper()
	user, _, err := r.Registration.SignUp(r.Context(), auth.Stranger{
		Email: address, Password: pw, Language: "en",
	}, client)
	must(r, err)
	return user
}

// wantUnproved logs in by an address, and must be told that an account is to be verified first.
func (r *recovery) wantUnproved(what, address, pw string, want auth.User) *auth.UnverifiedError {
	r.Helper()
	_, err := r.Logins.Login(r.Context(), address, pw, client)
	refused, ok := errors.AsType[*auth.UnverifiedError](err)
	if !ok || refused.UserID != want.ID {
		r.Fatalf("%s: %v, want that %s is to be verified", what, err, want.ID)
	}
	return refused
}

// Whoever has registered with an address alone knows no name to log in by.
func TestALoginByAnAddressThatIsNotProvedLeadsToItsCode(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailRequired)
	alice := r.signUpWith("alice@example.org", goodPassword)
	r.wantLogin("alice@example.org", "a guess", auth.ErrBadCredentials)
	r.wantLogin("nobody@example.org", goodPassword, auth.ErrBadCredentials)
	refused := r.wantUnproved("the address", "Alice@EXAMPLE.org", goodPassword, alice)
	challenge, err := r.Addresses.ResendTo(t.Context(), refused, "en", client)
	must(t, err)
	must(t, r.verify(byCode(r.letter(challenge)), byPassword(goodPassword)))
	r.wantLogin("alice@example.org", goodPassword, nil)

	r.signUpWith("bob@example.org", goodPassword)
	r.exec("UPDATE users SET disabled_at = now() WHERE email_key = 'bob@example.org'")
	r.wantLogin("bob@example.org", goodPassword, auth.ErrBadCredentials)
	r.signUpWith("carol@example.org", goodPassword)
	r.mode = auth.EmailOptional
	r.aMinuteLater()
	r.wantLogin("carol@example.org", goodPassword, auth.ErrBadCredentials)
}

// A stranger who registers with the same address, before or after, must not keep its owner out.
func TestNoStrangerKeepsTheOwnerOfAnAddressFromProvingIt(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailRequired)
	_, page := r.signUp("", "alice@example.org")
	letter := r.letter(page)
	stranger := r.signUpWith("alice@example.org", othersPassword)
	r.wantUnproved("the newest", "alice@example.org", othersPassword, stranger)
	again := r.signUpWith("alice@example.org", goodPassword)
	refused := r.wantUnproved("the owner again", "alice@example.org", goodPassword, again)
	r.aMinuteLater()
	challenge, err := r.Addresses.ResendTo(t.Context(), refused, "en", client)
	must(t, err)
	next := r.letter(challenge)
	if next.To != "alice@example.org" || next.Kind != auth.MailVerify {
		t.Errorf("%+v", next)
	}
	must(t, r.verify(byCode(letter), byPassword(goodPassword))) // the first page takes its code still
	r.wantLogin("alice@example.org", goodPassword, nil)
	r.signUpWith("alice@example.org", othersPassword)
	r.wantLogin("alice@example.org", goodPassword, nil)
}

// Mallory registers with the address of somebody else and logs in by it, with her own password. She
// could else learn who has an account.
func TestALoginByAnAddressDoesNotTellWhetherItIsProved(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailRequired)
	_, page := r.signUp("", "alice@example.org")
	must(t, r.verify(byLink(r.letter(page)), byPassword(goodPassword)))
	for _, address := range []string{"alice@example.org", "nobody@example.org"} {
		r.aMinuteLater()
		mallory := r.signUpWith(address, othersPassword)
		for range 12 { // more than may fail
			r.wantUnproved(address, address, othersPassword, mallory)
		}
		var told int
		must(t, r.conn.QueryRow(t.Context(), `SELECT count(*) FROM audit_events
			WHERE action = 'login' AND outcome = 'address_unverified' AND user_id = $1`, mallory.ID).Scan(&told))
		if told == 0 {
			t.Errorf("%s: the refusal is told of another account", address)
		}
	}
}
