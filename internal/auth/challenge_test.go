package auth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

// Each statement compares by itself what the challenge is bound to: between the look at it and its
// end, a password is hashed, and all may change meanwhile.
func TestOnlyAnOpenChallengeIsFoundGuessedAndRedeemed(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	ways := map[string]func(uuid.UUID) error{
		"found": func(id uuid.UUID) error {
			_, err := r.store.OpenChallenge(t.Context(), id, auth.ChallengeReset)
			return err
		},
		"guessed": func(id uuid.UUID) error {
			_, _, err := r.store.GuessChallenge(t.Context(), id, auth.ChallengeReset)
			return err
		},
		"redeemed": func(id uuid.UUID) error {
			_, err := r.store.ResetPassword(t.Context(), anEvent(), id, plainHash(t, nextPassword))
			return err
		},
	}
	// Only a reset is bound to the address.
	const user, challenge = "UPDATE users SET %s WHERE id = $1", "UPDATE challenges SET %s WHERE user_id = $1"
	changes := map[string]string{
		"nothing":         "",
		"disabled":        fmt.Sprintf(user, "disabled_at = now()"),
		"another version": fmt.Sprintf(user, "token_version = token_version + 1"),
		"expired":         fmt.Sprintf(challenge, "expires_at = now()"),
		"redeemed":        fmt.Sprintf(challenge, "redeemed_at = now()"),
		"another purpose": fmt.Sprintf(challenge, "purpose = 'verify'"),
		"guessed often":   fmt.Sprintf(challenge, "attempts = 5"),
		"another address": fmt.Sprintf(user, "email = id || '@example.org', email_key = id || '@example.org'"),
		"unverified":      fmt.Sprintf(user, "email_verified_at = NULL"),
	}
	stillGood := map[string]bool{
		"found nothing": true, "guessed nothing": true, "redeemed nothing": true,
		"found guessed often": true, "redeemed guessed often": true, // the link is good
		"found another address": true, "guessed another address": true,
		"found unverified": true, "guessed unverified": true,
	}
	n := 0
	for way, do := range ways {
		for change, sql := range changes {
			n++
			name := fmt.Sprintf("user%d", n)
			alice := r.addressed(name)
			letter := r.mailed(name)
			if sql != "" {
				r.exec(sql, alice.ID)
			}
			err := do(letter.ID)
			if want := stillGood[way+" "+change]; (err == nil) != want ||
				err != nil && !errors.Is(err, auth.ErrInvalidChallenge) {
				t.Errorf("%s after %s: %v", way, change, err)
			}
		}
	}
}

// What a mail carries must be of the account as it is, and a newer one must not be taken away.
func TestAChallengeIsPutForAnAccountAsItWasReadAlone(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	for name, test := range map[string]struct {
		sql  string // $1 is the user, $2 the mail
		want error
	}{
		"nothing":         {"SELECT $1::uuid, $2::uuid", nil},
		"disabled":        {"UPDATE users SET disabled_at = now() WHERE id = $1 AND $2::uuid IS NOT NULL", auth.ErrMailNotFound},
		"another version": {"UPDATE users SET token_version = token_version + 1 WHERE id = $1 AND $2::uuid IS NOT NULL", auth.ErrMailNotFound},
		"the mail is done": {`UPDATE mails SET sealed = NULL, done_at = now(), outcome = 'void' WHERE id = $2 AND $1::uuid IS NOT NULL`,
			auth.ErrMailNotFound},
		"a newer one": {`INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, created_at, expires_at)
			SELECT gen_random_uuid(), 'reset', id, token_version, email, email_key, now() + interval '1 s', now() + interval '1 min'
			FROM users WHERE id = $1 AND $2::uuid IS NOT NULL`, auth.ErrMailNotFound},
		"one of the same time": {`INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, created_at, expires_at)
			SELECT gen_random_uuid(), 'reset', u.id, u.token_version, u.email, u.email_key, m.created_at, now() + interval '1 min'
			FROM users u, mails m WHERE u.id = $1 AND m.id = $2`, auth.ErrMailNotFound},
		"it is redeemed": {`INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, created_at, expires_at, redeemed_at)
			SELECT $2, 'reset', id, token_version, email, email_key, now(), now() + interval '1 min', now() FROM users WHERE id = $1`,
			auth.ErrMailNotFound},
		"it is of a version before": {`INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, created_at, expires_at)
			SELECT m.id, 'reset', u.id, u.token_version - 1, u.email, u.email_key, m.created_at, now() + interval '1 min'
			FROM users u, mails m WHERE u.id = $1 AND m.id = $2`, auth.ErrMailNotFound},
		"an older one": {`INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, attempts, created_at, expires_at, redeemed_at)
			SELECT gen_random_uuid(), 'reset', id, token_version, email, email_key, 5, now() - interval '1 min', now() + interval '1 min', now()
			FROM users WHERE id = $1 AND $2::uuid IS NOT NULL`, nil},
	} {
		username := strings.ReplaceAll(name, " ", "")
		id := r.addressed(username).ID
		mail := r.forgot(username)
		user, err := r.store.UserByID(t.Context(), id)
		must(t, err)
		r.exec(test.sql, id, mail)
		_, err = r.store.PutChallenge(t.Context(), anEvent(), auth.NewChallenge{
			ID: mail, Purpose: auth.ChallengeReset, User: user, Email: user.Email,
		})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if test.want == nil && r.count("SELECT count(*) FROM challenges WHERE id = $1 AND attempts = 0 AND redeemed_at IS NULL", mail) != 1 {
			t.Errorf("%s: the challenge is not fresh", name)
		}
	}
}

// A replica that was thought to be dead may come back to a mail that another one has sent.
func TestAMailThatIsDoneIsNotTouchedAnyMore(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	id := r.mailed("alice").ID
	seen := func() string {
		var row string
		must(t, r.conn.QueryRow(t.Context(), "SELECT m::text FROM mails m WHERE id = $1", id).Scan(&row))
		return row
	}
	before := seen()
	_, begun := r.store.BeginMail(t.Context(), id)
	_, settled := r.store.SettleMail(t.Context(), id, auth.MailEnd{Outcome: auth.MailDead})
	for what, err := range map[string]error{
		"begun": begun, "settled": settled, "admitted": r.store.AdmitMail(t.Context(), id, uuid.Nil),
		"failed": r.store.FailMail(t.Context(), id, "451 later"),
	} {
		if !errors.Is(err, auth.ErrMailNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if now := seen(); now != before {
		t.Errorf("%s, before %s", now, before)
	}
}

// Relays repeat what they were sent. The log of mails outlives the account, and operators read it.
func TestWhatARelaySaysOfAMailIsKeptWithoutAddressesLinksAndCodes(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	letter, err := r.Mails.Prepare(t.Context(), r.forgot("alice"))
	must(t, err)
	for _, secret := range []string{
		"<Alice@example.org>:", "ALICE@EXAMPLE.ORG", "mailbox=alice", "alice%40example.org", "bob%40example.net", "bob@example.net",
		"Alice＠example.org", letter.Code, token.ShownCode(letter.Code), "(" + letter.Code + ")", letter.Link,
	} {
		must(t, r.Mails.Failed(t.Context(), letter, "550 5.7.1 "+secret+" is refused"))
		var problem string
		must(t, r.conn.QueryRow(t.Context(), "SELECT problem FROM mails").Scan(&problem))
		if problem != "550 5.7.1 … is refused" {
			t.Errorf("%q becomes %q", secret, problem)
		}
	}
	must(t, r.Mails.Failed(t.Context(), letter, strings.Repeat("ü ", 300)+"\x00\r\n\xff"))
	must(t, r.Mails.Failed(t.Context(), letter, ""))
}

// The audit log must tell from where a challenge was asked for, and not that a worker made it.
func TestTheAuditLogTellsFromWhereAChallengeWasAskedFor(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	alice := r.addressed("alice")
	from := auth.Origin{RequestID: "a request", Address: "192.0.2.77", UserAgent: "a browser"}
	id, err := r.Recovery.Forgot(auth.WithOrigin(t.Context(), from), "alice", "en", client)
	must(t, err)
	_, err = r.Mails.Prepare(t.Context(), id)
	must(t, err)
	events, err := r.Audit.LastEvents(t.Context(), auth.EventFilter{Action: auth.ActionMakeChallenge}, 10)
	must(t, err)
	if len(events) != 1 || events[0].Origin != from || events[0].UserID != alice.ID || events[0].Target != "reset" {
		t.Errorf("%+v", events)
	}
}

// Without a bound, one network could try codes of many accounts.
func TestWrongProofsCountAsFailedLoginsOfTheirNetworkAndRightOnesDoNot(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Rates: auth.RateLimits{Address: perHour(3)}})
	for _, name := range []string{"alice", "bob", "carol", "dora"} {
		r.addressed(name)
		r.wantReset("a right one", byLink(r.mailed(name)), nil)
	}
	wrong := auth.ChallengeProof{Challenge: uuid.New(), Code: "0000-0000"}
	for range 3 {
		r.wantReset("a guess", wrong, auth.ErrInvalidChallenge)
	}
	r.wantReset("one guess more", wrong, auth.ErrLimited)
	if _, err := r.Recovery.Reset(t.Context(), wrong, nextPassword, auth.Caller{Address: "198.51.100.7"}); !errors.Is(err, auth.ErrInvalidChallenge) {
		t.Errorf("another network: %v", err)
	}
}

// The limits are for mails that are sent. One that comes to nothing must not keep the next one from
// coming.
func TestAMailThatComesToNothingGivesBackWhatItTookOfTheLimits(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	alice := r.addressed("alice")
	late := r.forgot("alice")
	r.exec("UPDATE mails SET created_at = created_at - interval '1 minute'")
	// There is a newer challenge, which the late one does not replace.
	r.exec(`INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, created_at, expires_at)
		SELECT gen_random_uuid(), 'reset', id, token_version, email, email_key, now() - interval '1 s', now() + interval '1 min'
		FROM users WHERE id = $1`, alice.ID)
	if got := r.outcomeOf(late); got != auth.MailVoid {
		t.Errorf("the late one: %s", got)
	}
	if got := r.outcomeOf(r.forgot("alice")); got != auth.MailSent {
		t.Errorf("the next one: %s", got)
	}
}
