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
	"gatehouse.example/internal/ratelimit"
)

// startNoticed starts a service that tells all.
func startNoticed(t *testing.T, o authtest.Options) *recovery {
	t.Helper()
	o.Notices, o.Email = auth.NoticeKinds(), auth.EmailOptional
	o.Rates.Account = ratelimit.Limit{Burst: 3, Interval: time.Hour}
	return startRecovery(t, o)
}

// settled registers a user whose address was verified long ago.
func (r *recovery) settled(name string) auth.User {
	r.Helper()
	user := r.addressed(name)
	r.exec("UPDATE users SET created_at = now() - interval '1 day', email_verified_at = now() - interval '1 day' WHERE id = $1", user.ID)
	user, err := r.Accounts.Find(r.Context(), auth.ByID(user.ID))
	must(r, err)
	return user
}

// letters are all mails that wait, as the worker gets them. It ends them.
func (r *recovery) letters() (all []auth.Letter) {
	r.Helper()
	rows, err := r.conn.Query(r.Context(), "SELECT id FROM mails WHERE done_at IS NULL ORDER BY created_at")
	must(r, err)
	var ids []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		must(r, rows.Scan(&id))
		ids = append(ids, id)
	}
	must(r, rows.Err())
	for _, id := range ids {
		letter, err := r.Mails.Prepare(r.Context(), id)
		if _, none := errors.AsType[*auth.NoMailError](err); none {
			continue
		}
		must(r, err)
		_, err = r.Mails.Sent(r.Context(), letter)
		must(r, err)
		all = append(all, letter)
	}
	return all
}

// wantLetters compares the mails that wait with the kinds that there should be.
func (r *recovery) wantLetters(after string, kinds ...auth.MailKind) []auth.Letter {
	r.Helper()
	letters := r.letters()
	var got []auth.MailKind
	for _, letter := range letters {
		got = append(got, letter.Kind)
	}
	if !slices.Equal(got, kinds) {
		r.Errorf("after %s there are %v, want %v", after, got, kinds)
	}
	return letters
}

func TestALoginIsToldOnceFromEachDeviceThatIsNotKnown(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	r.settled("alice")
	r.register("bob") // without an address
	from := auth.Caller{Address: "192.0.2.7", UserAgent: "Browser/1"}
	ctx := auth.WithOrigin(t.Context(), auth.Origin{
		Address: from.Address, UserAgent: from.UserAgent, Language: "de-AT,de;q=0.9",
	})
	login := func(name string, caller auth.Caller) auth.Grant {
		t.Helper()
		grant, err := r.Logins.Login(ctx, name, goodPassword, caller)
		must(t, err)
		return grant
	}
	grant := login("alice", from)
	letters := r.wantLetters("a login", auth.MailNewDevice)
	if l := letters[0]; l.To != "Alice@example.org" || l.ClientAddress != "192.0.2.7" ||
		l.UserAgent != "Browser/1" || l.Username != "alice" || l.At.IsZero() || l.Code != "" ||
		l.Link != "https://id.test/password/forgot" || !strings.HasPrefix(l.Language, "de") {
		t.Errorf("%+v", l)
	}
	known := from
	known.Device = grant.Device
	login("alice", known)
	login("alice@example.org", known)
	_, err := r.Tokens.Refresh(ctx, grant.RefreshToken, from)
	must(t, err)
	login("bob", from)
	if n := r.count("SELECT count(*) FROM mails WHERE done_at IS NULL"); n != 0 {
		t.Errorf("%d mails for what is known, or has no address", n)
	}
	login("alice", from)
	_, err = r.Logins.LoginInBrowser(ctx, "alice", goodPassword, from, auth.BrowserLogin{})
	must(t, err)
	r.wantLetters("two logins without the device", auth.MailNewDevice, auth.MailNewDevice)
}

// The first logins are from devices that cannot be known yet, and whoever verifies an address has
// read its mail just now.
func TestTheFirstLoginsOfAnAccountAreNoNews(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	alice := r.addressed("alice")
	r.wantLogin("alice", goodPassword, nil)
	r.exec("UPDATE users SET created_at = now() - interval '1 day' WHERE id = $1", alice.ID)
	r.wantLogin("alice", goodPassword, nil)
	r.wantLetters("the first logins")
	r.exec("UPDATE users SET email_verified_at = now() - interval '61 minutes' WHERE id = $1", alice.ID)
	r.wantLogin("alice", goodPassword, nil)
	r.wantLetters("an hour", auth.MailNewDevice)
}

func TestWhateverChangesAPasswordIsToldToTheAddressOfBefore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*recovery, auth.User){
		"by its owner": func(r *recovery, _ auth.User) {
			grant, err := r.Logins.Login(r.Context(), "alice", goodPassword, client)
			must(r, err)
			r.wantLetters("the login", auth.MailNewDevice)
			access, err := r.Access.Authenticate(grant.AccessToken)
			must(r, err)
			_, err = r.Logins.ChangePassword(r.Context(), access, goodPassword, nextPassword)
			must(r, err)
		},
		"at a login": func(r *recovery, _ auth.User) {
			_, err := r.Logins.ReplacePassword(r.Context(), "alice", goodPassword, nextPassword, client)
			must(r, err)
		},
		"by a mail": func(r *recovery, _ auth.User) {
			r.wantReset("the link", byLink(r.mailed("alice")), nil)
		},
		"by an operator": func(r *recovery, user auth.User) {
			_, _, err := r.Accounts.SetPassword(r.Context(), authtest.Operator(), auth.ByID(user.ID), auth.NewPassword{Password: nextPassword})
			must(r, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startNoticed(t, authtest.Options{})
			change(r, r.settled("alice"))
			// Whoever has taken the account over must not catch the notice by another address.
			r.exec("UPDATE users SET email = 'mallory@example.org', email_key = 'mallory@example.org'")
			letters := r.wantLetters("the change", auth.MailPasswordChanged)
			if len(letters) == 1 && (letters[0].To != "Alice@example.org" || letters[0].Link != "https://id.test/password/forgot") {
				t.Errorf("%+v", letters[0])
			}
		})
	}
}

// An id in place of a name says nothing to the owner.
func TestANoticeToWhoeverHasNoNameSaysNone(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	alice := r.settled("alice")
	r.exec("UPDATE users SET username = id::text, username_key = id::text WHERE id = $1", alice.ID)
	_, _, err := r.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByID(alice.ID), auth.NewPassword{Password: nextPassword})
	must(t, err)
	must(t, r.Accounts.Delete(t.Context(), authtest.Operator(), r.settled("bob").ID))
	for _, l := range r.wantLetters("a password, and a deletion", auth.MailPasswordChanged, auth.MailAccountDeleted) {
		if want := map[auth.MailKind]string{auth.MailAccountDeleted: "bob"}[l.Kind]; l.Username != want {
			t.Errorf("%+v", l)
		}
	}
}

func TestADeletedAccountIsToldAndItsAddressStaysNowhere(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	alice, bob := r.settled("alice"), r.settled("bob")
	must(t, r.Accounts.Delete(t.Context(), authtest.Operator(), alice.ID))
	letters := r.wantLetters("a deletion", auth.MailAccountDeleted)
	if l := letters[0]; l.To != "Alice@example.org" || l.Username != "alice" || l.Link != "" {
		t.Errorf("%+v", l)
	}
	grant, err := r.Logins.Login(t.Context(), "bob", goodPassword, client)
	must(t, err)
	access, err := r.Access.Authenticate(grant.AccessToken)
	must(t, err)
	must(t, r.Personal.Delete(t.Context(), access, goodPassword))
	// The notice of the login is gone with the account.
	r.wantLetters("leaving", auth.MailAccountDeleted)
	for _, table := range []string{"mails", "challenges", "users", "login_keys", "river_job"} {
		if n := r.count("SELECT count(*) FROM " + table + " x WHERE x::text ILIKE '%alice%' OR x::text ILIKE '%bob%'"); n != 0 {
			t.Errorf("%s knows them still", table)
		}
	}
	if n := r.count("SELECT count(*) FROM mails WHERE user_id IN ($1, $2) OR sealed IS NOT NULL", alice.ID, bob.ID); n != 0 {
		t.Errorf("%d mails are of them", n)
	}
}

// Each guess could bring a mail otherwise, and the victim would turn notices off.
func TestALockedAccountIsToldOnceADayHoweverManyGuess(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	r.settled("alice")
	guess := func(name string, times int) {
		for n := range times {
			from := auth.Caller{Address: "192.0.2." + string(rune('1'+n%9))}
			_, err := r.Logins.Login(t.Context(), name, "guess", from)
			if err == nil {
				t.Fatal("a guess was right")
			}
		}
	}
	guess("alice", 3)
	r.wantLetters("failures that the account may have")
	guess("alice", 3)
	guess("ALICE@example.org", 20)
	letters := r.wantLetters("the lock", auth.MailLocked)
	if l := letters[0]; l.To != "Alice@example.org" || l.Link != "https://id.test/password/forgot" {
		t.Errorf("%+v", l)
	}
	// Another replica knows nothing of the first mail, and the worker does.
	r.anew(r.store, authtest.Options{
		Notices: auth.NoticeKinds(), Rates: auth.RateLimits{Account: ratelimit.Limit{Burst: 3, Interval: time.Hour}},
	})
	guess("alice", 3)
	if n := r.count("SELECT count(*) FROM mails WHERE kind = 'locked' AND done_at IS NULL"); n != 1 {
		t.Errorf("%d mails are queued by another replica", n)
	}
	r.wantLetters("another replica")
}

// Who is told must not show in what a refusal costs.
func TestALockQueuesTheSameForAccountsWithAndWithoutAnAddressAndForNone(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	r.settled("alice")
	r.register("bob")
	for n, name := range []string{"alice", "bob", "nobody", "nobody@example.org"} {
		for range 5 {
			if _, err := r.Logins.Login(t.Context(), name, "guess", client); err == nil {
				t.Fatal("a guess was right")
			}
		}
		if got := r.count("SELECT count(*) FROM mails WHERE kind = 'locked' AND user_id IS NULL AND octet_length(sealed) > 28"); got != n+1 {
			t.Errorf("%s: %d mails are queued, want %d", name, got, n+1)
		}
		if got := r.count("SELECT count(*) FROM river_job WHERE queue = 'mail'"); got != n+1 {
			t.Errorf("%s: %d jobs, want %d", name, got, n+1)
		}
	}
	r.wantLetters("locks of four names", auth.MailLocked)
}

func TestNoticesThatAreTurnedOffAreNeitherQueuedNorSent(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	r.settled("alice")
	r.wantLogin("alice", goodPassword, nil)
	r.anew(r.store, authtest.Options{Notices: []auth.MailKind{auth.MailPasswordChanged}})
	r.wantLetters("a login that was queued before") // the worker leaves it out
	r.wantLogin("alice", goodPassword, nil)
	if n := r.count("SELECT count(*) FROM mails WHERE kind = 'new_device'"); n != 1 {
		t.Errorf("%d notices of a login", n)
	}
	_, err := r.Logins.ReplacePassword(t.Context(), "alice", goodPassword, nextPassword, client)
	must(t, err)
	r.wantLetters("another password", auth.MailPasswordChanged)
}

// An address that nobody has verified may be that of somebody else.
func TestNoNoticeGoesToAnAddressThatIsNotVerified(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	alice := r.settled("alice")
	r.exec("UPDATE users SET email_verified_at = NULL")
	r.wantLogin("alice", goodPassword, nil)
	for range 5 {
		_, err := r.Logins.Login(t.Context(), "alice", "guess", client)
		if err == nil {
			t.Fatal("a guess was right")
		}
	}
	_, _, err := r.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByID(alice.ID), auth.NewPassword{Password: nextPassword})
	must(t, err)
	must(t, r.Accounts.Delete(t.Context(), authtest.Operator(), alice.ID))
	r.wantLetters("all that")
}
