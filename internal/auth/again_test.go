package auth_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/ratelimit"
)

func codeOn(page uuid.UUID, l auth.Letter) auth.ChallengeProof {
	return auth.ChallengeProof{Challenge: page, Code: l.Code}
}

// forgotAgain asks for another mail by a challenge, which stays the same, and returns the mail.
func (r *recovery) forgotAgain(of uuid.UUID) (mail uuid.UUID) {
	r.Helper()
	challenge, err := r.Recovery.ForgotAgain(r.Context(), of, "en", client)
	must(r, err)
	if challenge != of {
		r.Errorf("the challenge is %s, and was %s", challenge, of)
	}
	return r.waiting()
}

// Whoever does not wait presses the button again and again, and then types the code of the mail
// that has come.
func TestWhoeverAsksAgainTooSoonTypesTheCodeOfTheMailThatCame(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	page := r.forgot("alice")
	first := r.letter(page)
	for range 2 {
		r.wantNoMail("within a minute", r.forgotAgain(page), auth.MailSuppressed)
	}
	r.wantReset("the code of the first mail", codeOn(page, first), nil)
	r.wantLogin("alice", nextPassword, nil)
}

// Both mails are in hand then, and only the newer one is good, as by the links.
func TestTheCodeOfAMailThatIsSentAgainTakesThePlaceOfTheEarlierOne(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	page := r.forgot("alice")
	first := r.letter(page)
	r.exec("DELETE FROM rate_limits") // as a minute later
	second := r.letter(r.forgotAgain(page))
	r.wantReset("the code of the first mail", codeOn(page, first), auth.ErrInvalidChallenge)
	r.wantReset("its link", byLink(first), auth.ErrInvalidChallenge)
	r.wantNoMail("a third time", r.forgotAgain(page), auth.MailSuppressed)
	r.wantReset("the code of the second mail", codeOn(page, second), nil)
	for _, proof := range []auth.ChallengeProof{codeOn(page, second), byCode(second), byLink(second)} {
		r.wantReset("again", proof, auth.ErrInvalidChallenge)
	}
}

// Somebody who asks for the same account gets a challenge too. With it, five guesses would be used
// up that are the owner's.
func TestWhoeverAsksForAnAccountOfAnotherCannotUseUpItsGuesses(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	page := r.forgot("alice")
	letter := r.letter(page)
	theirs := r.forgot("alice")
	r.wantNoMail("theirs", theirs, auth.MailSuppressed)
	r.wantNoMail("theirs once more", r.forgotAgain(theirs), auth.MailSuppressed)
	for range 10 {
		r.wantReset("their guess", codeOn(theirs, letter), auth.ErrInvalidChallenge)
	}
	r.wantReset("the code", codeOn(page, letter), nil)
}

// A browser that is used by several people keeps what one of them was answered with.
func TestABrowserGoesOnWithTheChallengeOfTheLoginThatIsTyped(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	r.addressed("bob")
	kept := ""
	ask := func(login string, again bool) (page, mail uuid.UUID) {
		t.Helper()
		f, err := r.Recovery.ForgotInBrowser(t.Context(), login, kept, "en", client)
		must(t, err)
		if f.Again != again {
			t.Errorf("%s: again is %t", login, f.Again)
		}
		kept = f.Keep
		return f.Challenge, r.waiting()
	}
	page, mail := ask("alice", false)
	first := r.letter(mail)
	same, mail := ask(" Alice", true)
	if same != page {
		t.Errorf("the challenge is %s, and was %s", same, page)
	}
	r.wantNoMail("within a minute", mail, auth.MailSuppressed)
	if theirs, mail := ask("bob", false); theirs == page || r.letter(mail).Username != "bob" {
		t.Error("bob goes on with what alice was answered with")
	}
	if other, mail := ask("alice", false); other == page {
		t.Error("what is kept is good for more than one login")
	} else {
		r.wantNoMail("within a minute", mail, auth.MailSuppressed)
	}
	r.wantReset("the code of the first mail", codeOn(page, first), nil)
	// The address is another account's by now. Its owner gets the mail, and goes on by its link.
	page, mail = ask("bob@example.org", false)
	r.wantNoMail("within a minute", mail, auth.MailSuppressed)
	r.exec("UPDATE users SET email = NULL, email_key = NULL, email_verified_at = NULL WHERE username = 'bob'")
	r.exec(`UPDATE users SET email = 'bob@example.org', email_key = 'bob@example.org', email_verified_at = now()
		WHERE username = 'alice'`)
	r.exec("DELETE FROM rate_limits")
	_, mail = ask("bob@example.org", true)
	letter := r.letter(mail)
	if letter.Username != "alice" {
		t.Errorf("%+v", letter)
	}
	r.wantReset("the code on the page of before", codeOn(page, letter), auth.ErrInvalidChallenge)
	r.wantReset("its link", byLink(letter), nil)
}

// What was answered is the same, whatever the challenge is, and nothing comes of it.
func TestAnotherMailByAChallengeThatIsNoneComesToNothing(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	r.addressed("alice")
	_, verify := r.signUp("bob", "bob@example.org")
	for what, of := range map[string]uuid.UUID{
		"unknown": uuid.New(), "of nobody": r.forgot("nobody"), "of another kind": verify,
	} {
		r.outcomeOf(of)
		r.wantNoMail(what, r.forgotAgain(of), auth.MailVoid)
	}
}

// A person is answered with another challenge on each way back to the page that takes the code. If
// the mail is suppressed, or none is sent, the code of the mail before is all that they have.
func TestEveryChallengeOfAnAccountTakesTheCodeOfTheLastMailToItsAddress(t *testing.T) {
	t.Parallel()
	for _, limited := range []bool{false, true} {
		r := startRecovery(t, authtest.Options{Email: auth.EmailOptional})
		_, first := r.signUp("alice", "alice@example.org")
		letter := r.letter(first)
		grant := r.login("alice")
		if limited {
			r.anew(r.store, authtest.Options{Email: auth.EmailOptional, Rates: auth.RateLimits{
				Recovery: ratelimit.Limit{Burst: 1, Interval: time.Hour},
			}})
			_, err := r.Recovery.Forgot(t.Context(), "nobody", "en", client)
			must(t, err)
		}
		pages := map[string]uuid.UUID{"the first one": first}
		var err error
		pages["by the challenge"], err = r.Addresses.ResendOf(t.Context(), first, "en", client)
		must(t, err)
		pages["by a session"], err = r.Addresses.Resend(t.Context(), r.access(grant), "en", client)
		must(t, err)
		pages["by the password"], err = r.Addresses.ResendTo(t.Context(),
			&auth.UnverifiedError{UserID: r.access(grant).UserID}, "en", client)
		must(t, err)
		pages["the same address"], err = r.Addresses.Change(t.Context(), r.access(grant),
			"alice@example.org", goodPassword, "en")
		must(t, err)
		n := 0
		for what, page := range pages {
			if page != first {
				if _, err := r.Mails.Prepare(t.Context(), page); err == nil {
					t.Errorf("%s: another mail is sent", what)
				}
			}
			if n++; n < len(pages) { // a right code with a wrong password uses nothing up
				err := r.verify(codeOn(page, letter), auth.Confirmer{})
				r.want(what, err, auth.ErrPasswordNeeded)
				continue
			}
			must(t, r.verify(codeOn(page, letter), byPassword(goodPassword)))
		}
		for what, page := range pages {
			err := r.verify(codeOn(page, letter), byPassword(goodPassword))
			r.want(what+" again", err, auth.ErrInvalidChallenge)
		}
	}
}

// The guesses of an account are counted together, whatever challenges they come with.
func TestAllChallengesOfAnAccountShareTheFiveGuesses(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	_, page := r.signUp("alice", "alice@example.org")
	letter := r.letter(page)
	grant := r.login("alice")
	for n := range 5 {
		other, err := r.Addresses.Resend(t.Context(), r.access(grant), "en", client)
		must(t, err)
		r.want("a guess", r.verify(auth.ChallengeProof{Challenge: other, Code: "00000000"},
			r.byGrant(grant)), auth.ErrInvalidChallenge)
		if got := r.count("SELECT attempts FROM challenges"); got != n+1 {
			t.Errorf("%d guesses are counted of %d", got, n+1)
		}
	}
	r.want("one more", r.verify(codeOn(page, letter), r.byGrant(grant)), auth.ErrInvalidChallenge)
}

// cutOff is a store whose database goes down between two statements of one try to send a mail.
type cutOff struct{ auth.Store }

func (cutOff) PutChallenge(context.Context, auth.Event, auth.NewChallenge) (time.Time, error) {
	return time.Time{}, auth.ErrUnavailable
}

func (cutOff) AdmitMail(context.Context, uuid.UUID, uuid.UUID) error { return auth.ErrUnavailable }

func (cutOff) SettleRates(context.Context, []auth.TakenRate, bool) error { return auth.ErrUnavailable }

func (cutOff) GiveBackRates(context.Context, []auth.TakenRate) error { return auth.ErrUnavailable }

// The limits would take the second try for another mail, and the person would wait in vain.
func TestAMailIsNotSuppressedByWhatAnEarlierTryToSendItHasCounted(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Notices: auth.NoticeKinds()})
	user := r.addressed("alice")
	reset := r.forgot("alice")
	queueLocked := func() uuid.UUID {
		id := r.queued(auth.MailLocked, user, "")
		r.exec("UPDATE mails SET user_id = NULL WHERE id = $1", id)
		return id
	}
	locked := queueLocked()
	for _, mail := range []uuid.UUID{reset, locked} { // one of the two has a challenge
		r.anew(cutOff{r.store}, authtest.Options{Notices: auth.NoticeKinds()})
		for range 2 {
			_, err := r.Mails.Prepare(t.Context(), mail)
			r.want("while the database is down", err, auth.ErrUnavailable)
		}
		r.anew(r.store, authtest.Options{Notices: auth.NoticeKinds()})
		if letter := r.letter(mail); letter.Username != user.Username.Given {
			t.Errorf("%+v", letter)
		}
	}
	r.wantNoMail("another one", r.forgot("alice"), auth.MailSuppressed)
	r.wantNoMail("another one", queueLocked(), auth.MailSuppressed)
}
