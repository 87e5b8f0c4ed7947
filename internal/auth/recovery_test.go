package auth_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/ratelimit"
)

const nextPassword = "another good password"

// recovery is a service on a database of its own, with accounts that have addresses.
type recovery struct {
	*fixture
	conn *pgx.Conn
	url  string
	mode auth.EmailMode
}

func startRecovery(t *testing.T, o authtest.Options) *recovery {
	t.Helper()
	url := dbtest.New(t)
	r := &recovery{fixture: on(t, open(t, url), cost), url: url}
	r.anew(r.store, o)
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	r.conn = conn
	return r
}

func (r *recovery) exec(sql string, args ...any) {
	r.Helper()
	_, err := r.conn.Exec(r.Context(), sql, args...)
	must(r, err)
}

// count is what a query of one number finds.
func (r *recovery) count(sql string, args ...any) (n int) {
	r.Helper()
	must(r, r.conn.QueryRow(r.Context(), sql, args...).Scan(&n))
	return n
}

// addressed registers a user who has a verified address.
func (r *recovery) addressed(username string) auth.User {
	r.Helper()
	user := r.register(username)
	r.exec(`UPDATE users SET email = $2, email_key = lower($2), email_verified_at = now() WHERE id = $1`,
		user.ID, strings.ToUpper(username[:1])+username[1:]+"@example.org")
	return user
}

// mailed asks for a mail, and returns it as the worker gets it.
func (r *recovery) mailed(login string) auth.Letter {
	r.Helper()
	challenge, err := r.Recovery.Forgot(r.Context(), login, "en", client)
	must(r, err)
	letter, err := r.Mails.Prepare(r.Context(), challenge)
	must(r, err)
	if letter.ID != challenge {
		r.Errorf("the mail %s is for the challenge %s", letter.ID, challenge)
	}
	_, err = r.Mails.Sent(r.Context(), letter)
	must(r, err)
	return letter
}

func byLink(l auth.Letter) auth.ChallengeProof {
	return auth.ChallengeProof{Token: l.Link[strings.LastIndexByte(l.Link, '/')+1:]}
}

func byCode(l auth.Letter) auth.ChallengeProof {
	return auth.ChallengeProof{Challenge: l.ID, Code: l.Code}
}

func (r *recovery) reset(proof auth.ChallengeProof) error {
	_, err := r.Recovery.Reset(r.Context(), proof, nextPassword, client)
	return err
}

func (r *recovery) wantReset(how string, proof auth.ChallengeProof, want error) {
	r.Helper()
	if err := r.reset(proof); !errors.Is(err, want) {
		r.Errorf("%s: %v, want %v", how, err, want)
	}
}

func TestWhoeverForgetsThePasswordGetsInAgainByTheLinkAndByTheCode(t *testing.T) {
	t.Parallel()
	for name, prove := range map[string]func(auth.Letter) auth.ChallengeProof{
		"link": byLink, "code": byCode,
		"code as people type it": func(l auth.Letter) auth.ChallengeProof {
			return auth.ChallengeProof{
				Challenge: l.ID, Code: " " + strings.ToLower(l.Code[:4]) + " - " + l.Code[4:],
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRecovery(t, authtest.Options{})
			user := r.addressed("alice")
			grant, err := r.Logins.Login(t.Context(), "alice", goodPassword, client)
			must(t, err)
			letter := r.mailed("ALICE")
			if letter.Kind != auth.MailReset || letter.To != "Alice@example.org" || letter.Username != "alice" ||
				letter.Language != "en" || letter.At.IsZero() ||
				!strings.HasPrefix(letter.Link, "https://id.test/password/reset/ghm_") {
				t.Errorf("%+v", letter)
			}
			if left := time.Until(letter.ExpiresAt); left < 9*time.Minute || left > 10*time.Minute {
				t.Errorf("it expires in %v", left)
			}
			r.wantReset("the first time", prove(letter), nil)
			r.wantReset("again", prove(letter), auth.ErrInvalidChallenge)
			r.wantReset("again by the link", byLink(letter), auth.ErrInvalidChallenge)
			r.wantReset("again by the code", byCode(letter), auth.ErrInvalidChallenge)
			r.wantLogin("alice", goodPassword, auth.ErrWrongPassword)
			r.wantLogin("alice", nextPassword, nil)
			if _, err := r.Tokens.Refresh(t.Context(), grant.RefreshToken, client); !errors.Is(err, auth.ErrInvalidGrant) {
				t.Errorf("the session from before goes on: %v", err)
			}
			access, err := r.Access.Authenticate(grant.AccessToken)
			must(t, err)
			if _, _, err := r.Access.Me(t.Context(), access); !errors.Is(err, auth.ErrInvalidToken) {
				t.Errorf("the access token from before is good: %v", err)
			}
			if n := r.count("SELECT count(*) FROM audit_events WHERE user_id = $1 AND action = 'password.reset' AND outcome = 'success' AND actor = 'user'", user.ID); n != 1 {
				t.Errorf("%d resets are in the audit log", n)
			}
		})
	}
}

// Whatever was typed, nothing comes but to an address that was verified.
func TestNoMailGoesToWhoHasNotShownToReadIt(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("unverified")
	r.exec("UPDATE users SET email_verified_at = NULL")
	r.addressed("disabled")
	_, err := r.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("disabled"), nil)
	must(t, err)
	r.register("without")
	for login, known := range map[string]bool{
		"nobody": false, "": false, "no body": false, "nobody@example.org": false, strings.Repeat("a", 100_000): false,
		"\xff\x00": false, "unverified": true, "disabled": true, "without": true,
		"unverified@example.org": false, "' OR true --": false,
	} {
		challenge, err := r.Recovery.Forgot(t.Context(), login, "en", client)
		must(t, err)
		_, err = r.Mails.Prepare(t.Context(), challenge)
		none, ok := errors.AsType[*auth.NoMailError](err)
		if !ok || none.Outcome != auth.MailVoid || none.Kind != auth.MailReset {
			t.Errorf("%.20q: %v", login, err)
		}
		if n := r.count("SELECT count(*) FROM mails WHERE id = $1 AND sealed IS NULL AND (user_id IS NOT NULL) = $2", challenge, known); n != 1 {
			t.Errorf("%.20q: its mail is not forgotten, or not in the log of its account", login)
		}
		r.wantReset(login, auth.ChallengeProof{Challenge: challenge, Code: "00000000"}, auth.ErrInvalidChallenge)
	}
	if n := r.count("SELECT count(*) FROM challenges"); n != 0 {
		t.Errorf("%d challenges", n)
	}
}

// A hundred programs that try one link at once must not set a hundred passwords.
func TestOfManyWhoRedeemOneChallengeAtOnceOneDoes(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	letter := r.mailed("alice")
	var done atomic.Int64
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			proof := byLink(letter)
			if n%25 == 0 {
				proof = byCode(letter)
			}
			_, err := r.Recovery.Reset(context.Background(), proof, nextPassword, client)
			switch {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, auth.ErrInvalidChallenge) && !errors.Is(err, auth.ErrOverloaded):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 {
		t.Errorf("%d have set a password", done.Load())
	}
	if n := r.count("SELECT count(*) FROM audit_events WHERE action = 'password.reset' AND outcome = 'success'"); n != 1 {
		t.Errorf("%d resets are in the audit log", n)
	}
}

// Each of these is an incident that has happened somewhere.
func TestAChallengeIsVoidAfterWhateverHasChangedTheAccount(t *testing.T) {
	t.Parallel()
	ofAlice := auth.ByName("alice")
	for name, change := range map[string]func(*recovery){
		"another password": func(r *recovery) {
			_, err := r.Logins.ReplacePassword(r.Context(), "alice", goodPassword, "a third good password", client)
			must(r, err)
		},
		"a password of the operator": func(r *recovery) {
			_, _, err := r.Accounts.SetPassword(r.Context(), authtest.Operator(), ofAlice, auth.NewPassword{Password: "a third good password"})
			must(r, err)
		},
		"disabled": func(r *recovery) {
			_, err := r.Accounts.Disable(r.Context(), authtest.Operator(), ofAlice, nil)
			must(r, err)
		},
		"disabled and enabled again": func(r *recovery) {
			_, err := r.Accounts.Disable(r.Context(), authtest.Operator(), ofAlice, nil)
			must(r, err)
			_, err = r.Accounts.Enable(r.Context(), authtest.Operator(), ofAlice, nil)
			must(r, err)
		},
		"deleted": func(r *recovery) {
			alice, err := r.Accounts.Find(r.Context(), ofAlice)
			must(r, err)
			must(r, r.Accounts.Delete(r.Context(), authtest.Operator(), alice.ID))
		},
		"another address": func(r *recovery) {
			r.exec("UPDATE users SET email = 'new@example.org', email_key = 'new@example.org'")
		},
		"an address that is not verified any more": func(r *recovery) {
			r.exec("UPDATE users SET email_verified_at = NULL")
		},
		"no address": func(r *recovery) {
			r.exec("UPDATE users SET email = NULL, email_key = NULL, email_verified_at = NULL")
		},
		"expired": func(r *recovery) {
			r.exec("UPDATE challenges SET expires_at = now()")
		},
		"a newer challenge": func(r *recovery) {
			r.exec("DELETE FROM rate_limits") // as a minute later
			r.mailed("alice")
		},
		"another purpose": func(r *recovery) { r.exec("UPDATE challenges SET purpose = 'invite'") },
		"another secret": func(r *recovery) {
			r.anew(r.store, authtest.Options{Secrets: [][]byte{[]byte(strings.Repeat("n", 32))}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRecovery(t, authtest.Options{})
			r.addressed("alice")
			letter := r.mailed("alice")
			change(r)
			before := r.count("SELECT count(*) FROM users WHERE password_hash IS NOT NULL AND token_version > 0")
			r.wantReset("the link", byLink(letter), auth.ErrInvalidChallenge)
			r.wantReset("the code", byCode(letter), auth.ErrInvalidChallenge)
			if before > 0 {
				r.wantLogin("alice", nextPassword, auth.ErrBadCredentials)
			}
		})
	}
}

func TestALinkStaysGoodWhileTheOldSecretIsOnTheList(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	r.addressed("bob")
	letter, other := r.mailed("alice"), r.mailed("bob")
	r.anew(r.store, authtest.Options{
		Secrets: [][]byte{[]byte(strings.Repeat("n", 32)), []byte(strings.Repeat("k", 32))},
	})
	r.wantReset("by the link", byLink(letter), nil)
	r.wantReset("by the code", byCode(other), nil)
}

func TestAChallengeIsGoodForItsOwnAccountAlone(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	r.addressed("mallory")
	hers, his := r.mailed("alice"), r.mailed("mallory")
	r.wantReset("another's code", auth.ChallengeProof{Challenge: hers.ID, Code: his.Code}, auth.ErrInvalidChallenge)
	r.wantReset("a code without a challenge", auth.ChallengeProof{Code: hers.Code}, auth.ErrInvalidChallenge)
	r.wantReset("nothing", auth.ChallengeProof{}, auth.ErrInvalidChallenge)
	r.wantReset("a forged token", auth.ChallengeProof{Token: byLink(hers).Token + "A"}, auth.ErrInvalidChallenge)
	// The token counts, whatever comes beside it.
	r.wantReset("his token with her challenge", auth.ChallengeProof{
		Token: byLink(his).Token, Challenge: hers.ID, Code: his.Code,
	}, nil)
	r.wantLogin("alice", goodPassword, nil)
	r.wantLogin("mallory", nextPassword, nil)
}

// Forty bits are safe only if guesses are counted, however many come at once.
func TestACodeIsGuessedFiveTimesAndTheLinkStaysGood(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	letter := r.mailed("alice")
	wrong := auth.ChallengeProof{Challenge: letter.ID, Code: "0000-0000"}
	for range 4 {
		r.wantReset("a guess", wrong, auth.ErrInvalidChallenge)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { _, _ = r.Recovery.Reset(context.Background(), wrong, nextPassword, client) })
	}
	all.Wait()
	if n := r.count("SELECT attempts FROM challenges"); n != 5 {
		t.Errorf("%d attempts", n)
	}
	r.wantReset("the code", byCode(letter), auth.ErrInvalidChallenge)
	r.wantReset("the link", byLink(letter), nil)
}

// Nobody can burn the code of another: a guess needs the challenge, which only the answer to the
// request has.
func TestGuessesWithOtherChallengesBurnNothing(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	letter := r.mailed("alice")
	for range 20 {
		r.wantReset("a guess", auth.ChallengeProof{Challenge: uuid.New(), Code: letter.Code}, auth.ErrInvalidChallenge)
	}
	r.wantReset("the code", byCode(letter), nil)
}

// A person who has the right code must not lose it to a password that is refused.
func TestARefusedPasswordConsumesNothing(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	user := r.addressed("alicealice")
	letter := r.mailed("alicealice")
	for range 7 {
		for _, proof := range []auth.ChallengeProof{byLink(letter), byCode(letter)} {
			for _, refused := range []string{"", "short", "password", user.Username.Given, "ALICEALICE", strings.Repeat("a", 10_000)} {
				_, err := r.Recovery.Reset(t.Context(), proof, refused, client)
				if _, ok := errors.AsType[auth.InputError](err); !ok {
					t.Errorf("%.20q: %v", refused, err)
				}
			}
		}
	}
	r.wantReset("the code", byCode(letter), nil)
}

// A queue that is full passes, and the person comes again.
func TestAFullQueueConsumesNothing(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	letter := r.mailed("alice")
	for range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		err := r.duringHashingOf(func() error {
			_, err := r.Recovery.Reset(ctx, byCode(letter), nextPassword, client)
			return err
		}, cancel)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	r.wantReset("the code", byCode(letter), nil)
}

// An account that changes while the password is hashed is not the one that was proved.
func TestAnAccountDisabledWhileThePasswordIsHashedIsNotReset(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	letter := r.mailed("alice")
	err := r.duringHashingOf(func() error { return r.reset(byLink(letter)) }, func() {
		_, err := r.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
		must(t, err)
	})
	if !errors.Is(err, auth.ErrInvalidChallenge) {
		t.Errorf("%v", err)
	}
	_, err = r.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	r.wantLogin("alice", goodPassword, nil)
}

// Without that, an account whose initial secret has expired would stay shut, though its owner has
// chosen a password.
func TestAResetClearsWhatAPasswordWasOnlyGoodFor(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	for name, was := range map[string]string{
		"secret":   "must_change_password = true, password_expires_at = now() - interval '1 hour'",
		"expired":  "must_change_password = true",
		"unusable": "password_hash = '$2a$17$" + strings.Repeat(".", 53) + "'",
	} {
		r.addressed(name)
		r.exec("UPDATE users SET "+was+" WHERE username = $1", name)
		letter := r.mailed(name)
		r.wantReset(name, byLink(letter), nil)
		r.wantLogin(name, nextPassword, nil)
	}
}

// Whoever has forgotten the password has tried some, and would wait for an hour with the new one.
func TestAResetLiftsTheLimitsThatTheForgottenPasswordUsedUp(t *testing.T) {
	t.Parallel()
	limit := ratelimit.Limit{Burst: 2, Interval: time.Hour}
	r := startRecovery(t, authtest.Options{Rates: auth.RateLimits{Account: limit, AccountDay: limit}})
	r.addressed("alice")
	for range 2 {
		r.wantLogin("alice", "wrong", auth.ErrWrongPassword)
	}
	r.wantLogin("alice", "wrong", auth.ErrLimited)
	r.wantReset("the link", byLink(r.mailed("alice")), nil)
	r.wantLogin("alice", nextPassword, nil)
}

// A thief's device must not be known to the account any more.
func TestAResetMakesKnownDevicesUnknown(t *testing.T) {
	t.Parallel()
	limit := ratelimit.Limit{Burst: 1, Interval: time.Hour}
	r := startRecovery(t, authtest.Options{Rates: auth.RateLimits{Account: limit}})
	r.addressed("alice")
	grant, err := r.Logins.Login(t.Context(), "alice", goodPassword, client)
	must(t, err)
	r.wantReset("the link", byLink(r.mailed("alice")), nil)
	r.wantLogin("alice", "wrong", auth.ErrWrongPassword) // uses up what strangers have
	onDevice := client
	onDevice.Device = grant.Device
	if _, err := r.Logins.Login(t.Context(), "alice", nextPassword, onDevice); !errors.Is(err, auth.ErrLimited) {
		t.Errorf("the device from before is known: %v", err)
	}
}

// Codes and links are in nobody's hands but the reader's of the mail.
func TestNothingOfAChallengeIsStoredOrLogged(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("alice")
	_, err := r.Recovery.Forgot(t.Context(), "canary-typed@example.org", "en", client)
	must(t, err)
	letter := r.mailed("alice")
	r.wantReset("a wrong code", auth.ChallengeProof{Challenge: letter.ID, Code: "0000-0000"}, auth.ErrInvalidChallenge)
	r.wantReset("the link", byLink(letter), nil)
	dump := r.dump()
	for _, secret := range []string{letter.Code, letter.Code[:4] + "-" + letter.Code[4:], byLink(letter).Token, "canary-typed", nextPassword} {
		if strings.Contains(strings.ToLower(dump), strings.ToLower(secret)) {
			t.Errorf("the database has %q", secret)
		}
	}
}

// dump is all that is in the database, as text.
func (r *recovery) dump() string {
	r.Helper()
	var all strings.Builder
	rows, err := r.conn.Query(r.Context(), "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT relispartition UNION ALL SELECT 'audit_events'")
	must(r, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(r, err)
	for _, table := range tables {
		rows, err := r.conn.Query(r.Context(), "SELECT t::text FROM "+pgx.Identifier{table}.Sanitize()+" t")
		must(r, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(r, err)
		all.WriteString(table + "\n" + strings.Join(lines, "\n") + "\n")
	}
	return all.String()
}
