package auth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/ratelimit"
)

// addressed is a limited service on which people log in by addresses.
func addressed(t *testing.T, mode auth.EmailMode, failures int) *limited {
	t.Helper()
	l := limitedOn(t, dbtest.New(t), auth.RateLimits{})
	l.mode(mode, failures)
	return l
}

func (l *limited) mode(mode auth.EmailMode, failures int) {
	l.Helper()
	l.anew(l.store, authtest.Options{
		Rates:   auth.RateLimits{Account: perHour(failures), AccountDay: ratelimit.PerDay(100)},
		Secrets: [][]byte{[]byte(limitsSecret)}, Clock: l.clock, Email: mode,
	})
}

// with makes an account with an address.
func (l *limited) with(username, address string, verified bool) auth.User {
	l.Helper()
	user, _, err := l.Accounts.Register(l.Context(), authtest.Operator(), auth.NewAccount{
		Username: username, Password: goodPassword, Email: address, EmailVerified: verified,
	})
	must(l, err)
	return user
}

func spellings() []string {
	return []string{
		"Jörg@Bücher.example", "jörg@xn--bcher-kva.example", "JÖRG@BÜCHER.EXAMPLE",
		"jo\u0308rg@bu\u0308cher.example", "jörg＠bücher.example", "jörg@XN--BCHER-KVA.example",
		" jörg@bücher。example ",
	}
}

// Whoever may guess once for each way to write an address has guesses without end. The owner must
// get in by each of them, on one device.
func TestAllTheWaysToWriteAnAddressAreOneLoginAndOneCounter(t *testing.T) {
	t.Parallel()
	const failures = 3
	l := addressed(t, auth.EmailOptional, failures)
	user := l.with("joerg", spellings()[0], true)
	var device string
	for _, name := range append(spellings(), "joerg", "JOERG") {
		grant, err := l.try(name, goodPassword, "192.0.2.1", device)
		if err != nil || grant.User.ID != user.ID {
			t.Fatalf("%q logs in as %v, %v", name, grant.User.Username, err)
		}
		if device != "" && grant.DeviceName == "" {
			t.Errorf("%q has no device", name)
		}
		device = grant.Device
	}
	guessed := []string{spellings()[0], spellings()[1], "joerg"}
	for n, name := range guessed {
		l.want(auth.ErrWrongPassword, name, "guess", "198.51.100."+string(rune('1'+n)))
	}
	for _, name := range append(spellings(), "joerg") {
		l.want(auth.ErrLimited, name, goodPassword, "198.51.100.9")
		l.want(nil, name, goodPassword, "192.0.2.1", device)
	}
	for _, name := range []string{spellings()[2], "joerg"} {
		_, err := l.Logins.ReplacePassword(t.Context(), name, goodPassword, "another good password",
			auth.Caller{Address: "198.51.100.9"})
		if !errors.Is(err, auth.ErrLimited) {
			t.Errorf("replace by %q: %v", name, err)
		}
	}
}

// The failures of one address must be seen in the audit log of its account, whatever was typed.
func TestALoginByAnAddressIsAuditedAsOneOfTheAccount(t *testing.T) {
	t.Parallel()
	l := addressed(t, auth.EmailOptional, 0)
	user := l.with("joerg", spellings()[0], true)
	for _, name := range spellings() {
		l.want(auth.ErrWrongPassword, name, "guess", "192.0.2.1")
		_, err := l.Logins.ReplacePassword(t.Context(), name, "guess", "another good password",
			auth.Caller{Address: "192.0.2.1"})
		if !errors.Is(err, auth.ErrWrongPassword) {
			t.Errorf("replace by %q: %v", name, err)
		}
	}
	var others, own int
	must(t, l.conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE user_id IS DISTINCT FROM $1),
		count(*) FILTER (WHERE user_id = $1) FROM audit_events
		WHERE action IN ('login', 'password.change') AND outcome = 'wrong_password'`,
		user.ID).Scan(&others, &own))
	if others != 0 || own != 2*len(spellings()) {
		t.Errorf("%d events of the account, %d of others", own, others)
	}
}

// An address that nobody has verified may be that of somebody else. That of a disabled account must
// not be told from one that nobody has.
func TestAnAddressThatCountsForNothingIsAnsweredAsAnUnknownOne(t *testing.T) {
	t.Parallel()
	l := addressed(t, auth.EmailOptional, 0)
	l.with("alice", "alice@example.org", false)
	l.with("bob", "bob@example.org", true)
	_, err := l.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("bob"), nil)
	must(t, err)
	l.want(auth.ErrUnknownUser, "alice@example.org", goodPassword, "192.0.2.1")
	l.want(auth.ErrUnknownUser, "nobody@example.org", goodPassword, "192.0.2.1")
	l.want(auth.ErrDisabled, "bob@example.org", goodPassword, "192.0.2.1")
	before := l.hashes()
	for _, name := range []string{"alice@example.org", "bob@example.org", "nobody@example.org"} {
		if _, err := l.try(name, "guess", "192.0.2.1"); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := l.hashes() - before; n != 3 {
		t.Errorf("%d hashes of 3", n)
	}
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	l.mode(auth.EmailOff, 0)
	l.with("carol", "carol@example.org", true)
	l.want(auth.ErrUnknownUser, "carol@example.org", goodPassword, "192.0.2.1")
}

// A stranger who takes another's address as a name would be taken for its owner, by people and by
// apps.
func TestAStrangerGetsNoNameThatIsAnAddress(t *testing.T) {
	t.Parallel()
	l := addressed(t, auth.EmailOptional, 0)
	refused := func(name string, want error) {
		t.Helper()
		if _, _, err := l.Registration.SignUp(t.Context(), auth.Stranger{Username: name, Password: goodPassword}, client); !errors.Is(
			err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	for _, name := range []string{"bob@example.org", "bob@example", "bob＠example.org"} {
		refused(name, auth.ErrNameAddress)
	}
	for _, name := range []string{"@bob", "bob!", "bob!@example.org"} {
		refused(name, auth.ErrNameSigns) // which must not offer an @
	}
	l.register("bob@example.org") // by an operator
	l.mode(auth.EmailOff, 0)
	refused("bob!", auth.ErrNameSignsAt)
	_, _, err := l.Registration.SignUp(t.Context(), auth.Stranger{Username: "carol@example.org", Password: goodPassword}, client)
	must(t, err)
}

// A name and an address that are the same would be two accounts for one login.
func TestNoNameIsTheVerifiedAddressOfAnotherAccount(t *testing.T) {
	t.Parallel()
	l := addressed(t, auth.EmailOff, 0)
	l.with("alice", "alice@bücher.example", true)
	l.register("bob@bücher.example")
	for name, test := range map[string]struct {
		account auth.NewAccount
		want    error
	}{
		"the address as a name": {auth.NewAccount{Username: "alice@xn--bcher-kva.example"},
			auth.ErrUsernameTaken},
		"in another form": {auth.NewAccount{Username: "Alice@Bücher.example"}, auth.ErrUsernameTaken},
		"the address again": {auth.NewAccount{Username: "eve", Email: "ALICE@bücher.example",
			EmailVerified: true}, auth.ErrAddressTaken},
		"a name as an address": {auth.NewAccount{Username: "eve", Email: "bob@xn--bcher-kva.example",
			EmailVerified: true}, auth.ErrAddressTaken},
	} {
		test.account.Password = goodPassword
		if _, _, err := l.Accounts.Register(t.Context(), authtest.Operator(), test.account); !errors.Is(
			err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, _, err := l.Registration.SignUp(
		t.Context(), auth.Stranger{Username: "alice@bücher.example", Password: goodPassword}, client,
	); !errors.Is(err, auth.ErrUsernameTaken) {
		t.Errorf("a stranger: %v", err)
	}
	l.with("eve", "alice@bücher.example", false) // which counts for nothing
	l.with("bob@example.org", "bob@example.org", true)
	l.mode(auth.EmailOptional, 0)
	grant, err := l.try("BOB@example.org", goodPassword, "192.0.2.1")
	if err != nil || grant.User.Username.Key != "bob@example.org" {
		t.Errorf("%v, %v", grant.User.Username, err)
	}
}

// Of two names of before that are one address, each must still open its own account.
func TestANameAsItWasTypedComesBeforeWhatItIsAsAnAddress(t *testing.T) {
	t.Parallel()
	l := addressed(t, auth.EmailOptional, 0)
	first, second := l.register("bob@xn--bcher-kva.example"), l.register("was")
	l.exec("UPDATE users SET username = 'bob@bücher.example', username_key = 'bob@bücher.example' WHERE id = $1",
		second.ID)
	for name, want := range map[string]auth.User{
		"bob@xn--bcher-kva.example": first, "Bob@Bücher.example": second,
	} {
		grant, err := l.try(name, goodPassword, "192.0.2.1")
		if err != nil || grant.User.ID != want.ID {
			t.Errorf("%s logs in as %s, %v", name, grant.User.Username.Given, err)
		}
	}
}

// Somebody who registered with another's address must not log in, nor get around that by another
// password. Accounts that were there before must not be locked out.
func TestWhoMustVerifyAnAddressDoesNotLogInBefore(t *testing.T) {
	t.Parallel()
	l := addressed(t, auth.EmailRequired, 2)
	l.with("alice", "alice@example.org", false) // by an operator
	l.register("bob")
	within := time.Hour
	eve, err := l.store.InsertUser(t.Context(), anEvent(), auth.Freely(), auth.StoredAccount{
		ID: uuid.New(), Username: auth.Username{Given: "eve", Key: "eve"},
		Password:     auth.StoredPassword{Hash: l.hashOf("bob")}, // of the same password
		Email:        auth.Email{Given: "eve@example.org", Key: "eve@example.org"},
		VerifyWithin: &within,
	})
	if err != nil || eve.VerifyUntil == nil || eve.VerifyUntil.Sub(eve.CreatedAt) != within {
		t.Fatalf("%+v, %v", eve, err)
	}
	l.want(nil, "alice", goodPassword, "192.0.2.1")
	l.want(nil, "bob", goodPassword, "192.0.2.1")
	for range 5 { // it is no failure
		l.want(auth.ErrAddressUnverified, "eve", goodPassword, "192.0.2.1")
	}
	l.want(auth.ErrWrongPassword, "eve", "guess", "192.0.2.1")
	if _, err := l.Logins.ReplacePassword(t.Context(), "eve", goodPassword, "another good password",
		client); !errors.Is(err, auth.ErrAddressUnverified) {
		t.Errorf("replace: %v", err)
	}
	l.mode(auth.EmailOptional, 2)
	l.want(nil, "eve", goodPassword, "192.0.2.1")
	l.mode(auth.EmailRequired, 2)
	l.exec("UPDATE users SET verify_until = NULL, email_verified_at = now() WHERE username = 'eve'")
	l.want(nil, "eve@example.org", goodPassword, "192.0.2.1")
}

// Whoever says that an address is verified gets into what it opens in other apps. An admin with
// rights on users alone could take over the accounts of others there.
func TestOnlyAnOperatorSaysThatAnAddressIsVerified(t *testing.T) {
	t.Parallel()
	l := addressed(t, auth.EmailOptional, 0)
	root := l.register("root")
	must(t, l.Roles.Grant(t.Context(), authtest.Operator(), root.ID, auth.AdminRole))
	root, err := l.Accounts.Find(t.Context(), auth.ByName("root"))
	must(t, err)
	admin := auth.Actor{
		Kind: auth.ActorUser, ID: root.ID, Version: root.TokenVersion, Roles: root.Roles,
		Permissions: root.Permissions,
	}
	account := auth.NewAccount{
		Username: "eve", Password: goodPassword, Email: "ceo@example.org", EmailVerified: true,
	}
	if _, _, err := l.Accounts.Register(t.Context(), admin, account); !errors.Is(
		err, auth.ErrBeyondRights) {
		t.Errorf("verified by an admin: %v", err)
	}
	account.EmailVerified = false
	user, _, err := l.Accounts.Register(t.Context(), admin, account)
	if err != nil || user.Email.Given != "ceo@example.org" || user.Email.Verified() {
		t.Errorf("unverified by an admin: %+v, %v", user.Email, err)
	}
	for _, bad := range []auth.NewAccount{
		{Username: "a", Password: goodPassword, Email: "no address"},
		{Username: "a", Password: goodPassword, EmailVerified: true},
		{Username: "", Initial: true, Email: "no address"},
	} {
		_, _, err := l.Accounts.Register(t.Context(), authtest.Operator(), bad)
		wrong, _ := errors.AsType[auth.InputError](err)
		if !slices.ContainsFunc(wrong, func(f auth.FieldError) bool { return f.Field == "email" }) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// An app that takes an account of its own for the user's, by an address that the user has only
// claimed, lets the user into the account of somebody else.
func TestAnAppIsToldOfAVerifiedAddressAlone(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	told := func() (email string, verified bool) {
		t.Helper()
		grant, err := c.redeem(shop, c.code(alice, "scope", "openid email"))
		must(t, err)
		id, err := c.IDTokens.VerifyHint(grant.IDToken)
		must(t, err)
		info, err := c.Access.UserInfo(t.Context(), c.access(grant))
		must(t, err)
		if info.Email != id.Email || info.EmailVerified != id.EmailVerified {
			t.Errorf("the ID token says %+v, userinfo %+v", id, info)
		}
		plain, err := c.redeem(shop, c.code(alice, "scope", "openid profile"))
		must(t, err)
		without, err := c.IDTokens.VerifyHint(plain.IDToken)
		if err != nil || without.Email != "" || without.EmailVerified {
			t.Errorf("without the scope: %+v, %v", without, err)
		}
		return info.Email, info.EmailVerified
	}
	if email, verified := told(); email != "" || verified {
		t.Errorf("without an address: %q, %t", email, verified)
	}
	_, err := c.conn.Exec(t.Context(), "UPDATE users SET email = 'Ceo@example.org', email_key = 'ceo@example.org'")
	must(t, err)
	if email, verified := told(); email != "" || verified {
		t.Errorf("unverified: %q, %t", email, verified)
	}
	_, err = c.conn.Exec(t.Context(), "UPDATE users SET email_verified_at = now()")
	must(t, err)
	if email, verified := told(); email != "Ceo@example.org" || !verified {
		t.Errorf("verified: %q, %t", email, verified)
	}
	for _, claim := range []string{"email", "email_verified"} {
		if !slices.Contains(auth.ClaimsSupported(), claim) {
			t.Errorf("%s is not in %s", claim, strings.Join(auth.ClaimsSupported(), " "))
		}
	}
}
