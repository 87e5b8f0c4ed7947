package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/ratelimit"
)

// outcomeOf is what becomes of a mail; sent if there is a letter.
func (r *recovery) outcomeOf(id uuid.UUID) auth.MailOutcome {
	r.Helper()
	letter, err := r.Mails.Prepare(r.Context(), id)
	if none, ok := errors.AsType[*auth.NoMailError](err); ok {
		return none.Outcome
	}
	must(r, err)
	_, err = r.Mails.Sent(r.Context(), letter)
	must(r, err)
	return auth.MailSent
}

func (r *recovery) forgot(login string) uuid.UUID {
	r.Helper()
	challenge, err := r.Recovery.Forgot(r.Context(), login, "en", client)
	must(r, err)
	return challenge
}

// Strangers must not fill a mailbox, however they write the name, and whatever they type.
func TestAnAccountGetsOneMailAMinuteAndAFewADay(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	for n, login := range []string{"alice", "ALICE", "alice@example.org", " Alice ", "ａｌｉｃｅ"} {
		want := auth.MailSuppressed
		if n == 0 {
			want = auth.MailSent
		}
		if got := r.outcomeOf(r.forgot(login)); got != want {
			t.Errorf("%q: %s", login, got)
		}
	}
	r.addressed("bob")
	if got := r.outcomeOf(r.forgot("bob")); got != auth.MailSent {
		t.Errorf("another account: %s", got)
	}
}

// queued queues a mail of a kind for an account, as whatever causes it does.
func (r *recovery) queued(kind auth.MailKind, user auth.User, to string) uuid.UUID {
	r.Helper()
	keys, err := keychain.New([][]byte{[]byte(strings.Repeat("k", 32))})
	must(r, err)
	plain, err := json.Marshal(map[string]string{
		"to": to, "to_key": strings.ToLower(to), "login": user.Username.Key, "language": "en",
	})
	must(r, err)
	id := uuid.New()
	e := anEvent()
	e.UserID = user.ID
	e.Mails = []auth.QueuedMail{{
		ID: id, Kind: kind, Lifetime: time.Hour, Sealed: keys.Sealer(keychain.Mails).Seal(id.String(), plain),
	}}
	must(r, r.store.RecordEvent(r.Context(), e))
	return id
}

// The reputation of the relay is everybody's. Whoever uses up what strangers have must not silence
// what warns of a theft.
func TestAllMailsOfStrangersTogetherAreBoundedAndNoticesAreNot(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Rates: auth.RateLimits{Mails: ratelimit.PerHour(4)}})
	sent := 0
	for _, name := range []string{"a1", "b1", "c1", "d1", "e1", "f1"} {
		r.addressed(name)
		if r.outcomeOf(r.forgot(name)) == auth.MailSent {
			sent++
		}
	}
	if sent != 2 {
		t.Errorf("%d mails at once, want half of what an hour has", sent)
	}
	alice := r.addressed("alice")
	for _, kind := range []auth.MailKind{
		auth.MailNewDevice, auth.MailPasswordChanged, auth.MailAccountDeleted, auth.MailAddressChanged,
	} {
		if got := r.outcomeOf(r.queued(kind, alice, "alice@example.org")); got != auth.MailSent {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// A minute between two mails makes more than a thousand a day.
func TestAnAccountGetsNoMoreThanAFewMailsADay(t *testing.T) {
	t.Parallel()
	passed := time.Duration(0)
	r := startRecovery(t, authtest.Options{Clock: func() time.Time { return time.Now().Add(passed) }})
	pass := func(d time.Duration) {
		passed += d
		r.exec("UPDATE rate_limits SET tat = tat - $1, taken_at = taken_at - $1", d.Microseconds())
	}
	r.addressed("alice")
	sent := 0
	for range 30 {
		if r.outcomeOf(r.forgot("alice")) == auth.MailSent {
			sent++
		}
		pass(61 * time.Second)
	}
	if sent != 4 {
		t.Errorf("%d mails in half an hour, want half of what a network has for a day", sent)
	}
	pass(24 * time.Hour)
	if got := r.outcomeOf(r.forgot("alice")); got != auth.MailSent {
		t.Errorf("a day later: %s", got)
	}
	// Whoever locks an account again and again must not write to its owner each time, wherever that
	// one reads mails.
	bob := r.addressed("bob")
	for n, want := range []auth.MailOutcome{auth.MailSent, auth.MailSuppressed, auth.MailSuppressed} {
		to := "bob@example" + strconv.Itoa(n) + ".org"
		r.exec("UPDATE users SET email = $2, email_key = $2 WHERE id = $1", bob.ID, to)
		if got := r.outcomeOf(r.queued(auth.MailLocked, bob, to)); got != want {
			t.Errorf("the mail %d that the account is locked: %s", n, got)
		}
		pass(time.Hour)
	}
}

// Somebody who registers a hundred accounts must not fill the mailbox of one person with them. The
// forms of an address that are one mailbox count together.
func TestAnAddressGetsAFewMailsADayWhateverAccountsTheyAreFor(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Email: auth.EmailOptional})
	signUp := func(name, address string) auth.MailOutcome {
		t.Helper()
		_, challenge, err := r.Registration.SignUp(t.Context(), auth.Stranger{
			Username: name, Password: goodPassword, Email: address, Language: "en",
		}, client)
		must(t, err)
		return r.outcomeOf(challenge)
	}
	forms := []string{
		"alice@bücher.example", "Alice@BÜCHER.example", "ALICE@xn--bcher-kva.example", "alice@bu\u0308cher.example",
		"ａｌｉｃｅ@bücher.example",
	}
	sent := 0
	for n := range 20 {
		if signUp("mallory"+strconv.Itoa(n), forms[n%len(forms)]) == auth.MailSent {
			sent++
		}
	}
	if sent != 4 {
		t.Errorf("%d mails at once, want half of what a network has for a day", sent)
	}
	if got := r.outcomeOf(r.queued(auth.MailNewDevice, r.register("alice"), "alice@xn--bcher-kva.example")); got != auth.MailSent {
		t.Errorf("a notice for whoever has the mailbox: %s", got)
	}
	if got := signUp("bob", "bob@bücher.example"); got != auth.MailSent {
		t.Errorf("another address: %s", got)
	}
}

// from is a request that comes from an address.
func from(r *recovery, address string) context.Context {
	return auth.WithOrigin(r.Context(), auth.Origin{Address: address})
}

// Whoever registers again and again with the address of somebody must not keep the owner from the
// mail that resets the password.
func TestWhatTellsTheOwnerOfAnAddressUsesUpNothingThatTheOwnerNeeds(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Email: auth.EmailOptional})
	r.addressed("alice")
	sent := 0
	for n := range 20 {
		_, challenge, err := r.Registration.SignUp(from(r, "198.51.100."+strconv.Itoa(n)), auth.Stranger{
			Username: "mallory" + strconv.Itoa(n), Password: goodPassword, Email: "alice@example.org",
		}, client)
		must(t, err)
		r.exec("UPDATE rate_limits SET tat = tat - 60000000, taken_at = taken_at - 60000000")
		if r.outcomeOf(challenge) == auth.MailSent {
			sent++
		}
	}
	if sent == 0 || sent > 2 {
		t.Errorf("%d mails tell the owner", sent)
	}
	if got := r.outcomeOf(r.forgot("alice")); got != auth.MailSent {
		t.Errorf("a reset: %s", got)
	}
}

// A stranger asks as often as may be. The owner has a network of their own; and where strangers use
// many, an operator can help still.
func TestStrangersUseUpNeitherTheResetsOfAnotherNetworkNorThoseOfManagers(t *testing.T) {
	t.Parallel()
	passed := time.Duration(0)
	r := startRecovery(t, authtest.Options{Clock: func() time.Time { return time.Now().Add(passed) }})
	r.addressed("alice")
	asks := func(address string) auth.MailOutcome {
		t.Helper()
		passed += 61 * time.Second
		r.exec("UPDATE rate_limits SET tat = tat - 61000000, taken_at = taken_at - 61000000")
		challenge, err := r.Recovery.Forgot(from(r, address), "alice", "en", client)
		must(t, err)
		return r.outcomeOf(challenge)
	}
	exhausts := func(address string) (sent int) {
		for range 10 {
			if asks(address) == auth.MailSent {
				sent++
			}
		}
		return sent
	}
	if sent := exhausts("198.51.100.1"); sent != 4 {
		t.Errorf("%d mails of one network", sent)
	}
	if got := asks("203.0.113.1"); got != auth.MailSent {
		t.Errorf("the owner: %s", got)
	}
	all := 0
	for n := range 5 {
		all += exhausts("198.51.100.1" + strconv.Itoa(n))
	}
	if all != 5 {
		t.Errorf("%d more mails of many networks, want what is left of half a day's", all)
	}
	_, err := r.Recovery.Send(t.Context(), authtest.Operator(), auth.ByName("alice"), "en")
	must(t, err)
	if got := r.outcomeOf(r.waiting()); got != auth.MailSent {
		t.Errorf("the operator's: %s", got)
	}
}

// A suppressed mail has used up nothing for the one that comes after it.
func TestWhatIsSuppressedLeavesTheChallengeOfBeforeGood(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	letter := r.mailed("alice")
	if got := r.outcomeOf(r.forgot("alice")); got != auth.MailSuppressed {
		t.Errorf("%s", got)
	}
	r.wantReset("the first", byLink(letter), nil)
}

// For another try the limits are not taken again: a relay that is down would use them up.
func TestAnotherTryTakesNoLimitsAndSaysTheSame(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	id := r.forgot("alice")
	first, err := r.Mails.Prepare(t.Context(), id)
	must(t, err)
	for range 15 {
		again, err := r.Mails.Prepare(t.Context(), id)
		must(t, err)
		if again != first {
			t.Errorf("%+v, before %+v", again, first)
		}
	}
	if n := r.count("SELECT count(*) FROM audit_events WHERE action = 'challenge.make'"); n != 1 {
		t.Errorf("one challenge is %d events", n)
	}
	r.wantReset("the link", byLink(first), nil)
	// It has done its work, and another try must not make it good again.
	if got := r.outcomeOf(id); got != auth.MailVoid {
		t.Errorf("a mail whose challenge is redeemed: %s", got)
	}
	r.wantReset("again", byLink(first), auth.ErrInvalidChallenge)
}

// A mail that was queued before must not open an account whose password was changed since.
func TestAnotherTryOpensNothingThatWasVoidedMeanwhile(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	id := r.forgot("alice")
	letter, err := r.Mails.Prepare(t.Context(), id)
	must(t, err)
	_, err = r.Logins.ReplacePassword(t.Context(), "alice", goodPassword, "a third good password", client)
	must(t, err)
	if got := r.outcomeOf(id); got != auth.MailVoid {
		t.Errorf("after another password: %s", got)
	}
	r.wantReset("the link", byLink(letter), auth.ErrInvalidChallenge)
}

// An older mail that comes late must not take the place of a newer one, which the person has in
// hand.
func TestALateMailDoesNotVoidANewerOne(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	late := r.forgot("alice")
	letter := r.mailed("alice")
	r.exec("DELETE FROM rate_limits")
	r.exec("UPDATE mails SET created_at = created_at - interval '1 minute' WHERE id = $1", late)
	if got := r.outcomeOf(late); got != auth.MailVoid {
		t.Errorf("the late one: %s", got)
	}
	r.wantReset("the newer one", byLink(letter), nil)
}

// Beyond the limit of a network there is the same answer, and nothing else.
func TestANetworkThatAsksTooOftenGetsTheSameAnswerAndNoMail(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{
		Rates: auth.RateLimits{Recovery: ratelimit.Limit{Burst: 3, Interval: time.Hour}},
	})
	r.addressed("alice")
	for range 10 {
		if r.forgot("nobody") == uuid.Nil {
			t.Error("there is no challenge in the answer")
		}
	}
	if n := r.count("SELECT count(*) FROM mails"); n != 3 {
		t.Errorf("%d mails", n)
	}
	if n := r.count("SELECT count(*) FROM audit_events WHERE action = 'password.forgot' AND outcome = 'limited'"); n == 0 {
		t.Error("the audit log does not tell")
	}
	// Another network still may.
	other, err := r.Recovery.Forgot(t.Context(), "alice", "en", auth.Caller{Address: "198.51.100.7"})
	must(t, err)
	if got := r.outcomeOf(other); got != auth.MailSent {
		t.Errorf("another network: %s", got)
	}
}

// The audit log of the request is what an administrator sees at once. It must not say whose it was
// before somebody has shown to read the mail.
func TestTheRequestTellsNothingOfTheAccount(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	for _, login := range []string{"alice", "nobody"} {
		r.forgot(login)
	}
	if n := r.count(`SELECT count(DISTINCT (outcome, actor, actor_id, user_id, target))
		FROM audit_events WHERE action = 'password.forgot'`); n != 1 {
		t.Errorf("%d kinds of events", n)
	}
	if n := r.count("SELECT count(DISTINCT (kind, user_id, attempts)) FROM mails WHERE user_id IS NULL"); n != 1 {
		t.Errorf("%d kinds of mails", n)
	}
}

// What was sealed with a secret that leaked is not sent, and the operator is told.
func TestAMailUnderASecretThatIsGoneIsGivenUp(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	id := r.forgot("alice")
	r.anew(r.store, authtest.Options{Secrets: [][]byte{[]byte(strings.Repeat("n", 32))}})
	if got := r.outcomeOf(id); got != auth.MailDead {
		t.Errorf("%s", got)
	}
	if n := r.count("SELECT count(*) FROM audit_events WHERE action = 'mail.fail' AND outcome = 'undeliverable'"); n != 1 {
		t.Errorf("%d events", n)
	}
}

// An administrator who may read users is not one who may read which mails they asked for.
func TestTheLogOfMailsIsForOperatorsAlone(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	admin := r.addressed("alice")
	must(t, r.Roles.Grant(t.Context(), authtest.Operator(), admin.ID, "admin"))
	admin, err := r.Accounts.Find(t.Context(), auth.ByID(admin.ID))
	must(t, err)
	r.mailed("alice")
	if _, err := r.MailLog.Last(t.Context(), admin.As(), auth.ByName("alice"), 10); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("an administrator: %v", err)
	}
	log, err := r.MailLog.Last(context.Background(), authtest.Operator(), auth.ByName("alice"), 10)
	must(t, err)
	if len(log) != 1 || log[0].Outcome != auth.MailSent || log[0].Attempts != 1 {
		t.Errorf("%+v", log)
	}
}
