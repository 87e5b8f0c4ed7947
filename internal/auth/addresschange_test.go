package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/ratelimit"
)

// startAddresses is a service where addresses count.
func startAddresses(t *testing.T, mode auth.EmailMode) *recovery {
	t.Helper()
	r := startRecovery(t, authtest.Options{Email: mode})
	r.mode = mode
	return r
}

// signUp registers a stranger with an address.
func (r *recovery) signUp(username, address string) (auth.User, uuid.UUID) {
	r.Helper()
	user, challenge, err := r.Registration.SignUp(r.Context(), auth.Stranger{
		Username: username, Password: goodPassword, Email: address, Language: "en",
	}, client)
	must(r, err)
	return user, challenge
}

// letter is a mail as the worker gets it.
func (r *recovery) letter(challenge uuid.UUID) auth.Letter {
	r.Helper()
	letter, err := r.Mails.Prepare(r.Context(), challenge)
	must(r, err)
	_, err = r.Mails.Sent(r.Context(), letter)
	must(r, err)
	return letter
}

func (r *recovery) wantNoMail(what string, challenge uuid.UUID, want auth.MailOutcome) {
	r.Helper()
	_, err := r.Mails.Prepare(r.Context(), challenge)
	if none, ok := errors.AsType[*auth.NoMailError](err); !ok || none.Outcome != want {
		r.Errorf("%s: %v, want %q", what, err, want)
	}
}

// told is the last mail of a kind that waits.
func (r *recovery) told(kind auth.MailKind) auth.Letter {
	r.Helper()
	var id uuid.UUID
	must(r, r.conn.QueryRow(r.Context(), `SELECT id FROM mails WHERE kind = $1 AND done_at IS NULL
		ORDER BY created_at DESC LIMIT 1`, string(kind)).Scan(&id))
	return r.letter(id)
}

// waiting is the last mail that waits. A challenge is not always that of its own mail.
func (r *recovery) waiting() (id uuid.UUID) {
	r.Helper()
	must(r, r.conn.QueryRow(r.Context(), `SELECT id FROM mails WHERE done_at IS NULL
		ORDER BY created_at DESC LIMIT 1`).Scan(&id))
	return id
}

// resend asks for another mail by a challenge, which stays the same, and returns the mail.
func (r *recovery) resend(of uuid.UUID) (mail uuid.UUID) {
	r.Helper()
	challenge, err := r.Addresses.ResendOf(r.Context(), of, "en", client)
	must(r, err)
	if challenge != of {
		r.Errorf("the challenge is %s, and was %s", challenge, of)
	}
	return r.waiting()
}

// aMinuteLater forgets what was counted, also in memory.
func (r *recovery) aMinuteLater() {
	r.Helper()
	r.exec("DELETE FROM rate_limits")
	r.anew(r.store, authtest.Options{Email: r.mode})
}

func (r *recovery) verify(proof auth.ChallengeProof, by auth.Confirmer) error {
	return r.Addresses.Verify(r.Context(), proof, by, "en", client)
}

func (r *recovery) byGrant(g auth.Grant) auth.Confirmer {
	r.Helper()
	access := r.access(g)
	return auth.Confirmer{Access: &access}
}

func byPassword(pw string) auth.Confirmer { return auth.Confirmer{Password: pw} }

func (r *recovery) wantVerified(user auth.User, want string) {
	r.Helper()
	now, err := r.Accounts.Find(r.Context(), auth.ByID(user.ID))
	must(r, err)
	got := ""
	if now.Email.Verified() {
		got = now.Email.Given
	}
	if got != want {
		r.Errorf("the verified address of %s is %q, want %q", user.Username.Given, got, want)
	}
}

// verified registers a user and verifies the address.
func (r *recovery) verified(username, address string) auth.User {
	r.Helper()
	user, challenge := r.signUp(username, address)
	must(r, r.verify(byLink(r.letter(challenge)), byPassword(goodPassword)))
	r.aMinuteLater()
	return user
}

// changed asks for another address, and returns the mail that proves it.
func (r *recovery) changed(g auth.Grant, address, current string) auth.Letter {
	r.Helper()
	challenge, err := r.Addresses.Change(r.Context(), r.access(g), address, current, "en")
	must(r, err)
	return r.letter(challenge)
}

func TestAnAddressIsVerifiedByItsMailTogetherWithTheAccount(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	n := 0
	for how, prove := range map[string]func(auth.Letter) auth.ChallengeProof{
		"link": byLink, "code": byCode,
	} {
		for _, bySession := range []bool{false, true} {
			n++
			name := fmt.Sprint("user", n)
			user, challenge := r.signUp(name, name+"@Example.org")
			r.wantVerified(user, "")
			r.wantLogin(name+"@example.org", goodPassword, auth.ErrUnknownUser)
			letter := r.letter(challenge)
			if letter.Kind != auth.MailVerify || letter.ID != challenge || letter.To != name+"@example.org" ||
				!strings.HasPrefix(letter.Link, "https://id.test/email/verify/ghm_") || letter.Code == "" {
				t.Errorf("%+v", letter)
			}
			by := byPassword(goodPassword)
			var grant auth.Grant
			if bySession {
				grant = r.login(name)
				by = r.byGrant(grant)
			}
			if err := r.verify(prove(letter), by); err != nil {
				t.Errorf("%s, session %t: %v", how, bySession, err)
			}
			r.wantVerified(user, name+"@Example.org")
			r.wantLogin(strings.ToUpper(name)+"@EXAMPLE.org", goodPassword, nil)
			if bySession {
				r.wantMe("the first address changes nothing for sessions", grant, nil)
			}
			for _, again := range []auth.ChallengeProof{byLink(letter), byCode(letter)} {
				if err := r.verify(again, by); !errors.Is(err, auth.ErrInvalidChallenge) {
					t.Errorf("%s, session %t, again: %v", how, bySession, err)
				}
			}
		}
	}
}

// Mallory registers with the address of alice, who gets a mail about it and opens its link. Were
// her mailbox enough, mallory would have an account with her address, and later on whatever she
// keeps there.
func TestTheMailboxAloneJoinsNoAddressToTheAccountOfAStranger(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	mallory, challenge := r.signUp("mallory", "alice@example.org")
	letter := r.letter(challenge)
	r.register("alice")
	for what, try := range map[string]struct {
		by   auth.Confirmer
		want error
	}{
		"nothing besides":      {auth.Confirmer{}, auth.ErrPasswordNeeded},
		"the session of alice": {r.byGrant(r.login("alice")), auth.ErrPasswordNeeded},
		"another password":     {byPassword("the password of alice"), auth.ErrWrongCurrentPassword},
	} {
		for _, proof := range []auth.ChallengeProof{byLink(letter), byCode(letter)} {
			if err := r.verify(proof, try.by); !errors.Is(err, try.want) {
				t.Errorf("%s: %v, want %v", what, err, try.want)
			}
		}
	}
	r.wantVerified(mallory, "")
	asked, err := r.Addresses.Asked(t.Context(), byLink(letter).Token)
	must(t, err)
	if asked.ID != mallory.ID || asked.Email != "alice@example.org" {
		t.Errorf("%+v", asked)
	}
	// She registers herself meanwhile, and the address is hers.
	alice, challenge := r.signUp("alice2", "Alice@Example.ORG")
	must(t, r.verify(byLink(r.letter(challenge)), byPassword(goodPassword)))
	r.wantVerified(alice, "Alice@Example.ORG")
	if err := r.verify(byLink(letter), byPassword(goodPassword)); !errors.Is(err, auth.ErrAddressTaken) {
		t.Errorf("mallory proves an address that is taken: %v", err)
	}
	r.wantVerified(mallory, "")
}

// Guesses of a password beside a proof have the bound of an account's own password.
func TestPasswordsBesideAProofAreGuessedOnlySoOften(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{
		Email: auth.EmailOptional,
		Rates: auth.RateLimits{Account: ratelimit.Limit{Burst: 3, Interval: time.Hour}},
	})
	_, challenge := r.signUp("alice", "alice@example.org")
	letter := r.letter(challenge)
	for n := range 5 {
		want := auth.ErrWrongCurrentPassword
		if n >= 3 {
			want = auth.ErrLimited
		}
		if err := r.verify(byCode(letter), byPassword("guess")); !errors.Is(err, want) {
			t.Errorf("guess %d: %v, want %v", n, err, want)
		}
	}
	r.mode = auth.EmailOptional
	r.aMinuteLater()
	if err := r.verify(byCode(letter), byPassword(goodPassword)); err != nil {
		t.Errorf("wrong passwords have used up the code: %v", err)
	}
}

// Whoever types an address learns nothing of it. Its owner learns that somebody has.
func TestAKnownAddressGetsAnotherMailAndTheSameAnswer(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	alice := r.verified("alice", "Alice@example.org")
	mallory, challenge := r.signUp("mallory", "ALICE@example.org")
	if mallory.Email.Given != "ALICE@example.org" || challenge == uuid.Nil {
		t.Errorf("%+v, %s", mallory.Email, challenge)
	}
	letter := r.letter(challenge)
	if letter.Kind != auth.MailKnownAddress || letter.To != "Alice@example.org" || letter.Code != "" ||
		letter.Link != "https://id.test/login" || letter.Username != "alice" {
		t.Errorf("%+v", letter)
	}
	if err := r.verify(auth.ChallengeProof{Challenge: challenge, Code: "00000000"}, byPassword(goodPassword)); !errors.Is(err, auth.ErrInvalidChallenge) {
		t.Error(err)
	}
	r.wantNoMail("again within a minute", r.resend(challenge), auth.MailSuppressed)
	r.aMinuteLater()
	challenge, err := r.Addresses.Change(t.Context(), r.access(r.login("mallory")), "alice@EXAMPLE.org", goodPassword, "en")
	must(t, err)
	if letter := r.letter(challenge); letter.Kind != auth.MailKnownAddress {
		t.Errorf("%+v", letter)
	}
	r.wantVerified(alice, "Alice@example.org")
	r.wantVerified(mallory, "")
}

// A name is no proof. Whoever proves the address that it is gets the key, and the account that has
// it as a name must not log in by it any more.
func TestAnAccountThatHasAProvedAddressAsItsNameGivesItUp(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	squatter := r.register("Bob@Example.org")
	r.setRole("clerk", auth.ReadUsers)
	r.grant(squatter, "clerk")
	grant := r.login("bob@example.org")
	bob, challenge := r.signUp("bob", "bob@example.org")
	letter := r.letter(challenge)
	if letter.Kind != auth.MailVerify {
		t.Fatalf("%+v", letter)
	}
	must(t, r.verify(byLink(letter), byPassword(goodPassword)))
	r.wantVerified(bob, "bob@example.org")
	now, err := r.Accounts.Find(t.Context(), auth.ByID(squatter.ID))
	must(t, err)
	if !now.Disabled() || now.Username.Given != squatter.ID.String() || now.Username.Key != squatter.ID.String() {
		t.Errorf("%+v", now)
	}
	r.wantRefused("its session", grant.RefreshToken, auth.ErrInvalidGrant)
	access, err := r.Logins.Login(t.Context(), "bob@example.org", goodPassword, client)
	must(t, err)
	if r.access(access).UserID != bob.ID {
		t.Error("the key still means the other account")
	}
	if n := r.count("SELECT count(*) FROM audit_events WHERE action = 'user.displace' AND user_id = $1 AND actor_id = $2", squatter.ID, bob.ID); n != 1 {
		t.Errorf("%d events tell the operator", n)
	}
	if n := r.count("SELECT count(*) FROM user_roles WHERE user_id = $1 AND username_key = $2", squatter.ID, squatter.ID.String()); n != 1 {
		t.Error("its role is listed under the old name")
	}
}

func TestTheLastAdminKeepsANameThatIsAnAddress(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	root := r.register("root@example.org")
	r.grant(root, auth.AdminRole)
	bob, challenge := r.signUp("bob", "root@example.org")
	letter := r.letter(challenge)
	if err := r.verify(byLink(letter), byPassword(goodPassword)); !errors.Is(err, auth.ErrLastAdmin) {
		t.Error(err)
	}
	r.wantVerified(bob, "")
	r.wantLogin("root@example.org", goodPassword, nil)
}

func TestOfAHundredAccountsThatProveOneAddressOneGetsIt(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	type claim struct {
		proof auth.ChallengeProof
		by    auth.Confirmer
	}
	claims := make([]claim, 100)
	for n := range claims {
		name := fmt.Sprint("user", n)
		_, challenge := r.signUp(name, "alice@example.org")
		claims[n] = claim{byLink(r.letter(challenge)), r.byGrant(r.login(name))}
		r.aMinuteLater()
	}
	var done, taken atomic.Int64
	var all sync.WaitGroup
	for _, c := range claims {
		all.Go(func() {
			switch err := r.Addresses.Verify(context.Background(), c.proof, c.by, "en", client); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, auth.ErrAddressTaken):
				taken.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 || taken.Load() != 99 {
		t.Errorf("%d have it, %d were told that it is taken", done.Load(), taken.Load())
	}
	if n := r.count("SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL"); n != 1 {
		t.Errorf("%d accounts have it", n)
	}
}

func TestOfAHundredWhoRedeemOneProofAtOnceOneDoes(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	_, challenge := r.signUp("alice", "alice@example.org")
	letter, by := r.letter(challenge), r.byGrant(r.login("alice"))
	var done atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			switch err := r.Addresses.Verify(context.Background(), byLink(letter), by, "en", client); {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, auth.ErrInvalidChallenge):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 {
		t.Errorf("%d have redeemed it", done.Load())
	}
}

// Each of these is an incident that has happened somewhere.
func TestAProofOfAnAddressIsVoidAfterWhateverHasChangedTheAccount(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	n := 0
	for name, change := range map[string]func(user auth.User, letter auth.Letter){
		"another password": func(user auth.User, _ auth.Letter) {
			_, err := r.Logins.ReplacePassword(t.Context(), user.Username.Given, goodPassword, nextPassword, client)
			must(t, err)
		},
		"disabled and enabled again": func(user auth.User, _ auth.Letter) {
			_, err := r.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByID(user.ID), nil)
			must(t, err)
			_, err = r.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByID(user.ID), nil)
			must(t, err)
		},
		"deleted": func(user auth.User, _ auth.Letter) {
			must(t, r.Accounts.Delete(t.Context(), authtest.Operator(), user.ID))
		},
		"expired": func(user auth.User, _ auth.Letter) {
			r.exec("UPDATE challenges SET expires_at = now() WHERE user_id = $1", user.ID)
		},
		"a newer challenge": func(user auth.User, _ auth.Letter) {
			r.changed(r.login(user.Username.Given), user.Username.Given+"@example.net", goodPassword)
		},
		"another purpose": func(user auth.User, _ auth.Letter) {
			r.exec("UPDATE challenges SET purpose = 'reset' WHERE user_id = $1", user.ID)
		},
		"no address any more": func(user auth.User, _ auth.Letter) {
			must(t, r.Addresses.Remove(t.Context(), r.access(r.login(user.Username.Given)), goodPassword, "en"))
		},
	} {
		n++
		who := fmt.Sprint("user", n)
		user, challenge := r.signUp(who, who+"@example.org")
		letter := r.letter(challenge)
		change(user, letter)
		for _, pw := range []string{goodPassword, nextPassword} {
			for _, proof := range []auth.ChallengeProof{byLink(letter), byCode(letter)} {
				if err := r.verify(proof, byPassword(pw)); !errors.Is(err, auth.ErrInvalidChallenge) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if n := r.count("SELECT count(*) FROM users WHERE id = $1 AND email_verified_at IS NOT NULL", user.ID); n > 0 {
			t.Errorf("%s: it is verified", name)
		}
	}
	hers, challenge := r.signUp("alice", "alice@example.org")
	letter := r.letter(challenge)
	_, challenge = r.signUp("mallory", "mallory@example.org")
	his := r.letter(challenge)
	for what, proof := range map[string]auth.ChallengeProof{
		"another's code": {Challenge: letter.ID, Code: his.Code}, "nothing": {},
		"a code without a challenge": {Code: letter.Code}, "a forged token": {Token: byLink(letter).Token + "A"},
	} {
		if err := r.verify(proof, r.byGrant(r.login("alice"))); !errors.Is(err, auth.ErrInvalidChallenge) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.verify(byLink(letter), r.byGrant(r.login("mallory"))); !errors.Is(err, auth.ErrPasswordNeeded) {
		t.Errorf("her token in his session: %v", err)
	}
	r.wantVerified(hers, "")
}

func TestACodeOfAnAddressIsGuessedFiveTimes(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	_, challenge := r.signUp("alice", "alice@example.org")
	letter := r.letter(challenge)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_ = r.Addresses.Verify(context.Background(), auth.ChallengeProof{Challenge: challenge, Code: "0000-0000"}, byPassword(goodPassword), "en", client)
		})
	}
	all.Wait()
	if err := r.verify(byCode(letter), byPassword(goodPassword)); !errors.Is(err, auth.ErrInvalidChallenge) {
		t.Errorf("the sixth: %v", err)
	}
	if err := r.verify(byLink(letter), byPassword(goodPassword)); err != nil {
		t.Errorf("the link: %v", err)
	}
}

// The address of before stays until the new one is proved: a typing error must lock nobody out.
func TestAnotherAddressCountsWhenItIsProvedAndNotBefore(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailRequired)
	alice := r.verified("alice", "alice@example.org")
	own, other := r.login("alice"), r.login("alice")
	reset := r.mailed("alice")
	letter := r.changed(own, "alice@example.net", goodPassword)
	if letter.To != "alice@example.net" {
		t.Errorf("%+v", letter)
	}
	r.wantVerified(alice, "alice@example.org")
	must(t, r.verify(byLink(letter), r.byGrant(own)))
	r.wantVerified(alice, "alice@example.net")
	r.wantLogin("alice@example.org", goodPassword, auth.ErrUnknownUser)
	r.wantLogin("alice@example.net", goodPassword, nil)
	r.mustRefresh(own.RefreshToken)
	r.wantRefused("another session", other.RefreshToken, auth.ErrInvalidGrant)
	r.wantReset("the link to the old address", byLink(reset), auth.ErrInvalidChallenge)
	told := r.told(auth.MailAddressChanged)
	if told.To != "alice@example.org" || told.NewAddress != "alice@example.net" || told.Code != "" ||
		!strings.HasPrefix(told.Link, "https://id.test/email/undo/ghm_") {
		t.Errorf("%+v", told)
	}
	if left := time.Until(told.ExpiresAt); left < 6*24*time.Hour || left > 7*24*time.Hour {
		t.Errorf("it can be undone for %v", left)
	}
	if err := r.verify(byLink(letter), byPassword(goodPassword)); !errors.Is(err, auth.ErrInvalidChallenge) {
		t.Errorf("again: %v", err)
	}
}

func TestNobodyChangesAnAddressByASessionAlone(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	r.verified("alice", "alice@example.org")
	grant := r.login("alice")
	if _, err := r.Addresses.Change(t.Context(), r.access(grant), "mallory@example.org", "guess", "en"); !errors.Is(err, auth.ErrWrongCurrentPassword) {
		t.Error(err)
	}
	if err := r.Addresses.Remove(t.Context(), r.access(grant), "guess", "en"); !errors.Is(err, auth.ErrWrongCurrentPassword) {
		t.Error(err)
	}
	for _, bad := range []string{"", " ", "alice", "alice@example.org\r\nBcc: mallory@example.org", "a@b"} {
		_, err := r.Addresses.Change(t.Context(), r.access(grant), bad, goodPassword, "en")
		if _, ok := errors.AsType[auth.InputError](err); !ok {
			t.Errorf("%q: %v", bad, err)
		}
	}
	narrowed, err := r.Logins.Login(t.Context(), "alice", goodPassword, client, "openid")
	if err == nil {
		if _, err := r.Addresses.Change(t.Context(), r.access(narrowed), "mallory@example.org", goodPassword, "en"); err != nil && !errors.Is(err, auth.ErrForbidden) {
			t.Error(err)
		}
	}
	if n := r.count("SELECT count(*) FROM mails WHERE done_at IS NULL"); n != 0 && err != nil {
		t.Errorf("%d mails are queued", n)
	}
}

// A thief who has the password changes the address, the password, and the address once more. The
// owner has one link from before.
func TestTheOwnerTakesBackWhateverAThiefHasChanged(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	alice := r.verified("alice", "alice@example.org")
	thief := r.login("alice")
	must(t, r.verify(byLink(r.changed(thief, "mallory@example.org", goodPassword)), r.byGrant(thief)))
	owners := r.told(auth.MailAddressChanged)
	thief, err := r.Logins.ReplacePassword(t.Context(), "alice", goodPassword, "the thief's good password", client)
	must(t, err)
	must(t, r.verify(byLink(r.changed(thief, "mallory@example.net", "the thief's good password")), r.byGrant(thief)))
	thiefs := r.told(auth.MailAddressChanged)
	if thiefs.To != "mallory@example.org" {
		t.Fatalf("%+v", thiefs)
	}
	r.aMinuteLater()
	thief = r.mustRefresh(thief.RefreshToken)
	pending := r.changed(thief, "mallory@example.com", "the thief's good password")
	thief, err = r.Logins.Login(t.Context(), "alice", "the thief's good password", client)
	must(t, err)

	undone, err := r.Addresses.Undone(t.Context(), byLink(owners).Token)
	must(t, err)
	if undone.ID != alice.ID || undone.Email != "alice@example.org" {
		t.Errorf("%+v", undone)
	}
	must(t, r.Addresses.Undo(t.Context(), byLink(owners).Token, client))
	r.wantVerified(alice, "alice@example.org")
	r.wantRefused("the thief's session", thief.RefreshToken, auth.ErrInvalidGrant)
	for _, pw := range []string{goodPassword, "the thief's good password"} {
		r.wantLogin("alice", pw, auth.ErrBadCredentials)
		if _, err := r.Logins.ReplacePassword(t.Context(), "alice", pw, nextPassword, client); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("the password is still good to replace itself: %v", err)
		}
	}
	for what, try := range map[string]func() error{
		"the thief's link":       func() error { return r.Addresses.Undo(t.Context(), byLink(thiefs).Token, client) },
		"the owner's link again": func() error { return r.Addresses.Undo(t.Context(), byLink(owners).Token, client) },
		"the thief's address that was to be proved": func() error {
			return r.verify(byLink(pending), byPassword("the thief's good password"))
		},
	} {
		if err := try(); !errors.Is(err, auth.ErrInvalidChallenge) {
			t.Errorf("%s: %v", what, err)
		}
	}
	r.exec("UPDATE challenges SET expires_at = expires_at - interval '6 days 23 hours'")
	_, err = r.store.PruneChallenges(t.Context(), time.Hour, 100)
	must(t, err)
	if err := r.Addresses.Undo(t.Context(), byLink(thiefs).Token, client); !errors.Is(err, auth.ErrInvalidChallenge) {
		t.Errorf("the thief's link, days later: %v", err)
	}
	r.wantReset("by mail", byLink(r.mailed("alice")), nil)
	r.wantLogin("alice@example.org", nextPassword, nil)
	// Another change can be undone in turn.
	own, err := r.Logins.Login(t.Context(), "alice", nextPassword, client)
	must(t, err)
	must(t, r.verify(byLink(r.changed(own, "alice@example.com", nextPassword)), r.byGrant(own)))
	must(t, r.Addresses.Undo(t.Context(), byLink(r.told(auth.MailAddressChanged)).Token, client))
	r.wantVerified(alice, "alice@example.org")
}

func TestAnExpiredPasswordConfirmsNoAddress(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	alice, challenge := r.signUp("alice", "alice@example.org")
	letter := r.letter(challenge)
	r.exec("UPDATE users SET must_change_password = true, password_expires_at = now()")
	if err := r.verify(byLink(letter), byPassword(goodPassword)); !errors.Is(err, auth.ErrPasswordExpired) {
		t.Error(err)
	}
	r.wantVerified(alice, "")
}

func TestAnAddressIsRemovedAndThatIsUndone(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	alice := r.verified("alice", "alice@example.org")
	own, other := r.login("alice"), r.login("alice")
	must(t, r.Addresses.Remove(t.Context(), r.access(own), goodPassword, "en"))
	r.wantVerified(alice, "")
	r.wantLogin("alice@example.org", goodPassword, auth.ErrUnknownUser)
	own = r.mustRefresh(own.RefreshToken)
	r.wantRefused("another session", other.RefreshToken, auth.ErrInvalidGrant)
	must(t, r.Addresses.Remove(t.Context(), r.access(own), goodPassword, "en")) // there is none
	must(t, r.Addresses.Undo(t.Context(), byLink(r.told(auth.MailAddressChanged)).Token, client))
	r.wantVerified(alice, "alice@example.org")

	required := startAddresses(t, auth.EmailRequired)
	bob := required.verified("bob", "bob@example.org")
	if err := required.Addresses.Remove(t.Context(), required.access(required.login("bob")), goodPassword, "en"); !errors.Is(err, auth.ErrAddressRequired) {
		t.Error(err)
	}
	required.wantVerified(bob, "bob@example.org")
}

// Whoever waits for a mail gets another one each minute, and nobody learns which challenges are
// some.
func TestAMailThatProvesAnAddressIsSentAgain(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailRequired)
	alice, challenge := r.signUp("", "alice@example.org")
	first := r.letter(challenge)
	r.wantNoMail("within a minute", r.resend(challenge), auth.MailSuppressed)
	r.aMinuteLater()
	second := r.letter(r.resend(challenge))
	r.aMinuteLater()
	third := r.letter(r.resend(second.ID)) // by the second one
	for _, old := range []auth.Letter{first, second} {
		if err := r.verify(byLink(old), byPassword(goodPassword)); !errors.Is(err, auth.ErrInvalidChallenge) {
			t.Errorf("an older one is good: %v", err)
		}
	}
	must(t, r.verify(byCode(third), byPassword(goodPassword)))
	r.wantVerified(alice, "alice@example.org")
	r.aMinuteLater()
	for what, of := range map[string]uuid.UUID{
		"verified": challenge, "unknown": uuid.New(), "of another kind": r.mailed("alice@example.org").ID,
	} {
		r.wantNoMail(what, r.resend(of), auth.MailVoid)
	}
	// By a session: the address that was asked for last.
	grant := r.login("alice@example.org")
	r.changed(grant, "alice@example.net", goodPassword)
	r.aMinuteLater()
	again, err := r.Addresses.Resend(t.Context(), r.access(grant), "en", client)
	must(t, err)
	if letter := r.letter(again); letter.To != "alice@example.net" {
		t.Errorf("%+v", letter)
	}
}

// Somebody who mistypes the address types another one at once, and must not wait.
func TestAnotherAddressGetsItsMailWithinTheMinute(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	r.signUp("alice", "alise@example.org")
	r.told(auth.MailVerify)
	if letter := r.changed(r.login("alice"), "alice@example.org", goodPassword); letter.To != "alice@example.org" {
		t.Errorf("%+v", letter)
	}
}

// Otherwise one mailbox would get ten mails a day for each of the ways to write its address.
func TestAllTheWaysToWriteAnAddressShareOneLimit(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	ways := []string{"jörg@bücher.example", "JÖRG@BÜCHER.EXAMPLE", "jo\u0308rg@xn--bcher-kva.example", "Jörg@Bücher.Example"}
	sent := 0
	for n := range 12 {
		_, challenge := r.signUp(fmt.Sprint("user", n), ways[n%len(ways)])
		if _, err := r.Mails.Prepare(t.Context(), challenge); err == nil {
			sent++
		}
	}
	if sent != 4 { // half of those that one network has for a day
		t.Errorf("%d mails were sent at once", sent)
	}
}

func TestAStrangerWithAnAddressAloneIsNamedByTheID(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailRequired)
	user, challenge := r.signUp("", "alice@example.org")
	if user.Username.Given != user.ID.String() {
		t.Errorf("%+v", user)
	}
	must(t, r.verify(byLink(r.letter(challenge)), byPassword(goodPassword)))
	r.wantLogin("alice@example.org", goodPassword, nil)
	for what, s := range map[string]auth.Stranger{
		"no address":                     {Username: "bob"},
		"a name that is an address":      {Username: "bob@example.org", Email: "bob@example.org"},
		"a name that is an id":           {Username: user.ID.String(), Email: "bob@example.org"},
		"a password that is the address": {Email: "bobbobbob@example.org", Password: "BobBobBob@example.org"},
	} {
		if s.Password == "" {
			s.Password = goodPassword
		}
		_, _, err := r.Registration.SignUp(t.Context(), s, client)
		if _, ok := errors.AsType[auth.InputError](err); !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	off := startAddresses(t, auth.EmailOff)
	_, _, err := off.Registration.SignUp(t.Context(), auth.Stranger{Username: "bob", Password: goodPassword, Email: "bob@example.org"}, client)
	if _, ok := errors.AsType[auth.InputError](err); !ok {
		t.Errorf("an address where none counts: %v", err)
	}
}

// The owner takes the account back by another address, and a thief's device must not go on to guess
// the password. The first address takes nothing from anybody.
func TestAnotherAddressMakesKnownDevicesUnknownAndTheFirstOneDoesNot(t *testing.T) {
	t.Parallel()
	login := func(r *recovery) auth.Grant { return r.login("alice") }
	change := func(r *recovery) auth.Grant {
		grant := r.login("alice")
		letter := r.changed(grant, "alice@example.net", goodPassword)
		must(r, r.verify(byLink(letter), r.byGrant(grant)))
		return grant
	}
	for what, test := range map[string]struct {
		first  bool
		change func(*recovery) auth.Grant
		want   error
	}{
		"nothing":       {false, login, nil},
		"the first one": {true, change, nil},
		"another one":   {false, change, auth.ErrLimited},
		"none any more": {false, func(r *recovery) auth.Grant {
			grant := r.login("alice")
			must(r, r.Addresses.Remove(r.Context(), r.access(grant), goodPassword, "en"))
			return grant
		}, auth.ErrLimited},
		"the old one again": {false, func(r *recovery) auth.Grant {
			change(r)
			grant := r.login("alice")
			link := byLink(r.told(auth.MailAddressChanged)).Token
			must(r, r.Addresses.Undo(r.Context(), link, client))
			return grant
		}, auth.ErrLimited},
	} {
		r := startRecovery(t, authtest.Options{Email: auth.EmailOptional, Rates: auth.RateLimits{
			Account: ratelimit.Limit{Burst: 1, Interval: time.Hour},
		}})
		if r.mode = auth.EmailOptional; test.first {
			r.register("alice")
		} else {
			r.addressed("alice")
		}
		onDevice := client
		onDevice.Device = test.change(r).Device
		r.wantLogin("alice", "wrong", auth.ErrBadCredentials) // uses up what strangers have
		_, err := r.Logins.Login(t.Context(), "alice", goodPassword, onDevice)
		r.want(what, err, test.want)
	}
}

// Names and addresses must not be kept by forms that lead nowhere. What an operator has made, and
// what is in use, stays.
func TestAccountsThatAreNotProvedInTimeAreDeletedAndTheirNamesAreFree(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailRequired)
	r.signUp("late", "late@example.org")
	r.signUp("later", "later@example.org")
	used, _ := r.signUp("used", "used@example.org")
	r.verified("proved", "proved@example.org")
	_, _, err := r.Accounts.Register(t.Context(), authtest.Operator(), auth.NewAccount{
		Username: "made", Password: goodPassword, Email: "made@example.org",
	})
	must(t, err)
	r.setRole("clerk", auth.ReadUsers)
	r.grant(used, "clerk")
	r.exec("UPDATE users SET verify_until = verify_until - interval '71 hours'")
	if n, err := r.Addresses.PruneUnproved(t.Context(), 10); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	r.exec("UPDATE users SET verify_until = verify_until - interval '2 hours'")
	for range 2 {
		if n, err := r.Addresses.PruneUnproved(t.Context(), 1); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if n, err := r.Addresses.PruneUnproved(t.Context(), 10); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n := r.count("SELECT count(*) FROM users WHERE username IN ('used', 'proved', 'made')"); n != 3 {
		t.Errorf("%d are left", n)
	}
	if n := r.count("SELECT count(*) FROM audit_events WHERE action = 'user.delete' AND actor = 'service'"); n != 2 {
		t.Errorf("%d deletions are in the audit log", n)
	}
	r.signUp("late", "late@example.org")
	off := startAddresses(t, auth.EmailOptional)
	off.signUp("alice", "alice@example.org")
	off.exec("UPDATE users SET verify_until = now()")
	if n, err := off.Addresses.PruneUnproved(t.Context(), 10); n != 0 || err != nil {
		t.Errorf("where none is required: %d, %v", n, err)
	}
}
