package auth_test

import (
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// enrolled gives a user one of each factor, and wrong codes.
func (r *recovery) enrolled(user auth.User) {
	r.Helper()
	for _, statement := range []string{
		"INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, decode(repeat('5a', 40), 'hex'), 1)",
		"INSERT INTO recovery_codes (user_id, digest) VALUES ($1, sha256('one')), ($1, sha256('other'))",
		`INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
			VALUES (gen_random_uuid(), $1::uuid, sha256($1::uuid::text::bytea), 'key', 'a key', 0, gen_random_uuid(), false, false, true, '{usb}')`,
		"INSERT INTO trusted_devices VALUES ($1, gen_random_uuid(), now(), now() + interval '1 h', '', '')",
		"UPDATE users SET factor_failures = 100 WHERE id = $1",
	} {
		r.exec(statement, user.ID)
	}
}

// What is left of the factors would be asked for at the next login, or would let somebody in.
func TestAResetLeavesNoFactorAndNobodyLoggedIn(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	alice, bob := r.settled("alice"), r.settled("bob")
	grant, err := r.Logins.Login(t.Context(), "alice", goodPassword, client)
	must(t, err)
	r.wantLetters("the login", auth.MailNewDevice)
	r.enrolled(alice)
	r.enrolled(bob)
	before, err := r.Accounts.Find(t.Context(), auth.ByID(bob.ID))
	must(t, err)
	if want := (auth.FactorCount{TOTP: true, Passkeys: 1, RecoveryCodes: 2}); before.Factors != want {
		t.Fatalf("%+v", before.Factors)
	}
	after, err := r.Accounts.ResetFactors(t.Context(), authtest.Operator(), auth.ByName("ALICE"))
	must(t, err)
	if after.Factors != (auth.FactorCount{}) || after.TokenVersion <= alice.TokenVersion || !after.PasswordChangedAt.After(alice.PasswordChangedAt) {
		t.Errorf("%+v", after)
	}
	for _, table := range []string{"totp_secrets", "recovery_codes", "passkeys", "trusted_devices"} {
		if n := r.count("SELECT count(*) FROM "+table+" WHERE user_id = $1", alice.ID); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
		if n := r.count("SELECT count(*) FROM "+table+" WHERE user_id = $1", bob.ID); n == 0 {
			t.Errorf("another has no %s any more", table)
		}
	}
	if n := r.count("SELECT count(*) FROM users WHERE factor_failures IS NULL AND id = $1", alice.ID); n != 1 {
		t.Error("wrong codes are remembered")
	}
	r.wantMe("the access token of before", grant, auth.ErrInvalidToken)
	r.wantLetters("the reset", auth.MailFactorRemoved)
	_, err = r.Accounts.ResetFactors(t.Context(), authtest.Operator(), auth.ByName("alice"))
	must(t, err)
	r.wantLetters("a reset of nothing")
	if now, err := r.Accounts.Find(t.Context(), auth.ByID(bob.ID)); err != nil || now.Factors != before.Factors {
		t.Errorf("another has %+v, %v", now.Factors, err)
	}
}

// Whoever reads the owner's mails could guess codes without end otherwise.
func TestWrongCodesAreForgottenByAnUnlockAndByNoMail(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	alice := r.addressed("alice")
	r.enrolled(alice)
	locked := func() bool {
		return r.count("SELECT count(*) FROM users WHERE factor_failures = 100 AND id = $1", alice.ID) == 1
	}
	r.wantReset("the link", byLink(r.mailed("alice")), nil)
	if !locked() {
		t.Error("a mail has unlocked the codes")
	}
	_, err := r.Limits.Unlock(t.Context(), authtest.Operator(), auth.ByName("alice"))
	if must(t, err); locked() {
		t.Error("an operator has not unlocked the codes")
	}
}

// A thief who sets up a factor, or takes one away, would go unnoticed otherwise.
func TestEachChangeOfAFactorIsToldByMail(t *testing.T) {
	t.Parallel()
	f := startFactored(t, authtest.Options{Notices: auth.NoticeKinds(), Email: auth.EmailOptional})
	f.register("alice")
	f.exec("UPDATE users SET email = 'a@example.org', email_key = 'a@example.org', email_verified_at = now()")
	told := func(after string, added, removed int) {
		t.Helper()
		for kind, want := range map[auth.MailKind]int{auth.MailFactorAdded: added, auth.MailFactorRemoved: removed} {
			var got int
			must(t, f.conn.QueryRow(t.Context(), "SELECT count(*) FROM mails WHERE kind = $1", string(kind)).Scan(&got))
			if got != want {
				t.Errorf("after %s there are %d mails %s, want %d", after, got, kind, want)
			}
		}
	}
	who := f.withTOTP(f.enroller("alice"))
	told("an app", 1, 0)
	who = f.withPasskey(who, newKey(true))
	told("a passkey", 2, 0)
	change, err := f.Factors.NewRecoveryCodes(t.Context(), who)
	must(t, err)
	told("new recovery codes", 2, 0)
	who = f.as(change.Browser)
	_, err = f.Factors.RemoveTOTP(t.Context(), who)
	must(t, err)
	told("an app that was removed", 2, 1)
}
