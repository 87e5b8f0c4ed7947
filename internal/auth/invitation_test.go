package auth_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// invite invites somebody, and returns the mail as the worker gets it.
func (r *recovery) invite(n auth.NewInvitation) (auth.User, auth.Letter) {
	r.Helper()
	user, challenge, err := r.Invitations.Invite(r.Context(), authtest.Operator(), n)
	must(r, err)
	letter, err := r.Mails.Prepare(r.Context(), challenge)
	must(r, err)
	_, err = r.Mails.Sent(r.Context(), letter)
	must(r, err)
	return user, letter
}

// role makes a role.
func (r *recovery) role(name string, permissions ...auth.Permission) {
	r.Helper()
	_, _, err := r.Roles.Set(r.Context(), authtest.Operator(), name, auth.RoleEdit{Permissions: permissions}, auth.Condition{})
	must(r, err)
}

func (r *recovery) accept(proof auth.ChallengeProof, username string) error {
	_, err := r.Invitations.Accept(r.Context(), proof, username, nextPassword, client)
	return err
}

func (r *recovery) wantAccepted(how string, proof auth.ChallengeProof, username string, want error) {
	r.Helper()
	if err := r.accept(proof, username); !errors.Is(err, want) {
		r.Errorf("%s: %v, want %v", how, err, want)
	}
}

func TestWhoeverIsInvitedGetsAnAccountByTheLinkAndByTheCode(t *testing.T) {
	t.Parallel()
	for name, prove := range map[string]func(auth.Letter) auth.ChallengeProof{
		"link": byLink, "code": byCode,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRecovery(t, authtest.Options{Email: auth.EmailOptional})
			r.role("clerk", "orders:read")
			user, letter := r.invite(auth.NewInvitation{
				Email: "Alice@Example.ORG", Username: "alice", Roles: []string{"clerk", "clerk"}, Language: "de",
			})
			if letter.Kind != auth.MailInvite || letter.To != "Alice@example.org" || letter.Username != "alice" ||
				letter.Language != "de" || byLink(letter).Token == "" {
				t.Errorf("%+v", letter)
			}
			if left := time.Until(letter.ExpiresAt); left < 71*time.Hour || left > 72*time.Hour {
				t.Errorf("it expires in %v", left)
			}
			if user.Email.Verified() {
				t.Error("the address counts before anybody has read its mail")
			}
			if _, wrong := errors.AsType[auth.InputError](r.accept(prove(letter), "mallory")); !wrong {
				t.Error("it gives another name than that of the invitation")
			}
			r.wantAccepted("the first time", prove(letter), "", nil)
			r.wantAccepted("again by the link", byLink(letter), "", auth.ErrInvalidChallenge)
			r.wantAccepted("again by the code", byCode(letter), "", auth.ErrInvalidChallenge)
			grant, err := r.Logins.Login(t.Context(), "alice@example.org", nextPassword, client)
			must(t, err)
			access, err := r.Access.Authenticate(grant.AccessToken)
			must(t, err)
			now, _, err := r.Access.Me(t.Context(), access)
			must(t, err)
			if now.ID != user.ID || !now.Email.Verified() || now.MustChangePassword || len(now.Roles) != 1 {
				t.Errorf("%+v", now)
			}
			if n := r.count("SELECT count(*) FROM invitations"); n != 0 {
				t.Errorf("%d invitations are left", n)
			}
		})
	}
}

// An account that nobody has accepted must open to nobody.
func TestAnInvitedAccountIsOfNoUseBeforeItIsAccepted(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Email: auth.EmailOptional})
	_, letter := r.invite(auth.NewInvitation{Email: "alice@example.org", Username: "alice"})
	for _, pw := range []string{"", goodPassword, "alice@example.org"} {
		r.wantLogin("alice", pw, auth.ErrBadCredentials)
	}
	for _, login := range []string{"alice", "alice@example.org"} {
		if got := r.outcomeOf(r.forgot(login)); got != auth.MailVoid {
			t.Errorf("a mail that resets the password of %s: %s", login, got)
		}
	}
	r.wantReset("by the invitation", byLink(letter), auth.ErrInvalidChallenge)
	r.wantAccepted("after all that", byLink(letter), "", nil)
}

func TestWhoeverIsInvitedWithoutANameChoosesOneThatIsFree(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{
		Email: auth.EmailOptional, Reserved: auth.NewReservedNames([]string{"root"}),
	})
	r.role("clerk", "orders:read")
	r.register("bob")
	gone := r.register("carol")
	must(t, r.Accounts.Delete(t.Context(), authtest.Operator(), gone.ID))
	r.register("раша")
	_, letter := r.invite(auth.NewInvitation{Email: "alice@example.org", Roles: []string{"clerk"}})
	if letter.Username != "" {
		t.Errorf("the mail calls its reader %q", letter.Username)
	}
	for name, want := range map[string]error{
		"": auth.ErrNameEmpty, "root": auth.ErrNameReserved, "dave@example.org": auth.ErrNameAddress,
		"Bob": auth.ErrUsernameTaken, "carol": auth.ErrUsernameTaken,
	} {
		r.wantAccepted(name, byCode(letter), name, want)
	}
	r.wantAccepted("a free one", byCode(letter), "Alice", nil)
	r.wantLogin("alice", nextPassword, nil)
	found, err := r.Accounts.List(t.Context(), auth.UserFilter{Role: "clerk", Prefix: "ali"}, "", 10)
	must(t, err)
	if len(found) != 1 || found[0].Username.Given != "Alice" {
		t.Errorf("the role knows another name: %+v", found)
	}
	_, second := r.invite(auth.NewInvitation{Email: "eve@example.org"})
	r.wantAccepted("a name that looks like another", byLink(second), "рaша", auth.ErrNameMixed)
	r.wantAccepted("the name of one who accepted", byLink(second), "alice", auth.ErrUsernameTaken)
}

func TestWhereAddressesAreRequiredAnInvitationNeedsNoName(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Email: auth.EmailRequired})
	_, letter := r.invite(auth.NewInvitation{Email: "alice@example.org"})
	r.wantAccepted("without a name", byLink(letter), "", nil)
	r.wantLogin("alice@example.org", nextPassword, nil)
}

func TestOfAHundredWhoAcceptAnInvitationAtOnceOneDoes(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	_, letter := r.invite(auth.NewInvitation{Email: "alice@example.org"})
	var accepted atomic.Int32
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			name := "alice" + string(rune('a'+n%26)) + string(rune('a'+n/26))
			err := r.accept(byLink(letter), name)
			if err == nil {
				accepted.Add(1)
			} else if !errors.Is(err, auth.ErrInvalidChallenge) && !errors.Is(err, auth.ErrOverloaded) &&
				!errors.Is(err, auth.ErrCrowded) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d have the account", n)
	}
}

func TestAnInvitationIsGoodForItsOwnAccountAndInItsTime(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	_, alice := r.invite(auth.NewInvitation{Email: "alice@example.org", Username: "alice"})
	_, bob := r.invite(auth.NewInvitation{Email: "bob@example.org", Username: "bob"})
	r.wantAccepted("with the code of another", auth.ChallengeProof{Challenge: alice.ID, Code: bob.Code}, "",
		auth.ErrInvalidChallenge)
	r.wantAccepted("guessed", auth.ChallengeProof{Token: "ghm_guess"}, "", auth.ErrInvalidChallenge)
	r.addressed("carol")
	r.wantAccepted("with a mail for the password", byLink(r.mailed("carol")), "", auth.ErrInvalidChallenge)
	r.exec("UPDATE challenges SET expires_at = now() WHERE id = $1", bob.ID)
	r.wantAccepted("too late", byLink(bob), "", auth.ErrInvalidChallenge)
	_, err := r.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("alice"), nil)
	must(t, err)
	r.wantAccepted("disabled", byLink(alice), "", auth.ErrInvalidChallenge)
	// An operator who gives the account a password has it, and not whoever finds the mail later.
	r.exec("DELETE FROM rate_limits")
	_, again := r.invite(auth.NewInvitation{Email: "bob@example.org"})
	_, _, err = r.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByName("bob"),
		auth.NewPassword{Password: goodPassword})
	must(t, err)
	r.wantAccepted("after a password was set", byLink(again), "", auth.ErrInvalidChallenge)
	r.wantLogin("bob", goodPassword, nil)
}

// Two accounts for one person, of which the one with the roles is forgotten, help nobody.
func TestAnAddressIsInvitedOnceAndANewMailReplacesTheOneBefore(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.addressed("bob")
	for _, taken := range []string{"bob@example.org", "BOB@Example.org"} {
		_, _, err := r.Invitations.Invite(t.Context(), authtest.Operator(), auth.NewInvitation{Email: taken})
		if !errors.Is(err, auth.ErrAddressTaken) {
			t.Errorf("%s: %v", taken, err)
		}
	}
	user, first := r.invite(auth.NewInvitation{Email: "alice@example.org", Username: "alice"})
	r.exec("DELETE FROM rate_limits")
	again, second := r.invite(auth.NewInvitation{Email: "ALICE@example.org", Username: "another"})
	if again.ID != user.ID || again.Username.Given != "alice" {
		t.Errorf("%+v", again)
	}
	r.wantAccepted("the first mail", byLink(first), "", auth.ErrInvalidChallenge)
	r.wantAccepted("the second mail", byLink(second), "", nil)
	_, _, err := r.Invitations.Invite(t.Context(), authtest.Operator(), auth.NewInvitation{Email: "alice@example.org"})
	if !errors.Is(err, auth.ErrAddressTaken) {
		t.Errorf("after it was accepted: %v", err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, _, err := r.Invitations.Invite(t.Context(), authtest.Operator(), auth.NewInvitation{Email: "dave@example.org"})
			if err != nil && !errors.Is(err, auth.ErrOverloaded) && !errors.Is(err, auth.ErrCrowded) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := r.count("SELECT count(*) FROM users WHERE email_key = 'dave@example.org'"); n != 1 {
		t.Errorf("%d accounts of one address", n)
	}
}

// Whoever reads the mail of an address of their own would have the rights otherwise.
func TestNobodyInvitesWithMoreRightsThanTheyHave(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.role("clerk", "orders:read")
	r.role("support", auth.WriteUsers)
	r.role("lead", auth.WriteUsers, auth.GrantRoles)
	actor := func(name string, roles ...string) auth.Actor {
		user := r.register(name)
		for _, role := range roles {
			must(t, r.Roles.Grant(t.Context(), authtest.Operator(), user.ID, role))
		}
		user, err := r.Accounts.Find(t.Context(), auth.ByID(user.ID))
		must(t, err)
		return user.As()
	}
	support, lead := actor("support1", "support"), actor("lead1", "lead", "clerk")
	invite := func(by auth.Actor, address string, roles ...string) error {
		_, _, err := r.Invitations.Invite(t.Context(), by, auth.NewInvitation{Email: address, Roles: roles})
		return err
	}
	for n, try := range []struct {
		by    auth.Actor
		roles []string
		want  error
	}{
		{support, nil, nil},
		{support, []string{"support"}, auth.ErrBeyondRights},
		{support, []string{"admin"}, auth.ErrBeyondRights},
		{lead, []string{"clerk"}, nil},
		{lead, []string{"lead", "clerk"}, nil},
		{lead, []string{"clerk", "support"}, auth.ErrBeyondRights},
		{lead, []string{"admin"}, auth.ErrBeyondRights},
		{authtest.Operator(), []string{"nothing"}, auth.ErrRoleNotFound},
		{authtest.Operator(), []string{"N O"}, auth.ErrRoleNotFound},
		{auth.Actor{}, nil, auth.ErrForbidden},
	} {
		if err := invite(try.by, "a"+string(rune('a'+n))+"@example.org", try.roles...); !errors.Is(err, try.want) {
			t.Errorf("%s with %v: %v, want %v", try.by.ID, try.roles, err, try.want)
		}
	}
	// Another mail to an account with more rights would go where the account's mail goes, but whoever
	// may not manage the account may not renew its invitation either.
	must(t, invite(authtest.Operator(), "boss@example.org", "admin"))
	if err := invite(support, "boss@example.org"); !errors.Is(err, auth.ErrBeyondRights) {
		t.Errorf("another mail to an admin: %v", err)
	}
}

// Who has left must not take along the invitations that others count on, nor act by a token of
// before.
func TestAnInvitationOutlivesItsInviter(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	r.role("support", auth.WriteUsers)
	inviter := r.register("support1")
	must(t, r.Roles.Grant(t.Context(), authtest.Operator(), inviter.ID, "support"))
	inviter, err := r.Accounts.Find(t.Context(), auth.ByID(inviter.ID))
	must(t, err)
	by := inviter.As()
	_, challenge, err := r.Invitations.Invite(t.Context(), by, auth.NewInvitation{Email: "alice@example.org", Username: "alice"})
	must(t, err)
	must(t, r.Accounts.Delete(t.Context(), authtest.Operator(), inviter.ID))
	letter, err := r.Mails.Prepare(t.Context(), challenge)
	must(t, err)
	r.wantAccepted("of somebody who has left", byLink(letter), "", nil)
	_, _, err = r.Invitations.Invite(t.Context(), by, auth.NewInvitation{Email: "bob@example.org"})
	if !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("by somebody who has left: %v", err)
	}
}

func TestInvitationsThatNobodyAcceptsAreDeletedAfterAWeekAndNothingElse(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	invite := func(name string, roles ...string) auth.User {
		user, _ := r.invite(auth.NewInvitation{Email: name + "@example.org", Username: name, Roles: roles})
		return user
	}
	stale, taken := invite("alice"), invite("bob")
	boss := invite("boss", "admin")
	r.exec("UPDATE invitations SET created_at = now() - interval '8 days'")
	invite("carol")
	_, letter := r.invite(auth.NewInvitation{Email: "dave@example.org", Username: "dave"})
	r.wantAccepted("in time", byLink(letter), "", nil)
	_, _, err := r.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByID(taken.ID), auth.NewPassword{Password: goodPassword})
	must(t, err)
	prune := func(want int64) {
		t.Helper()
		deleted, err := r.Invitations.Prune(t.Context(), 100)
		must(t, err)
		if deleted != want {
			t.Errorf("%d were deleted, want %d", deleted, want)
		}
	}
	prune(1)
	prune(0)
	if n := r.count("SELECT count(*) FROM users WHERE id = $1", stale.ID); n != 0 {
		t.Error("an account that nobody wants is still there")
	}
	if n := r.count("SELECT count(*) FROM users WHERE username IN ('bob', 'boss', 'carol', 'dave')"); n != 4 {
		t.Errorf("%d of 4 accounts are left", n)
	}
	// The only admin stays. With another one, it goes.
	admin := r.register("root1")
	must(t, r.Roles.Grant(t.Context(), authtest.Operator(), admin.ID, "admin"))
	prune(1)
	if n := r.count("SELECT count(*) FROM users WHERE id = $1", boss.ID); n != 0 {
		t.Error("an admin who never came is still there")
	}
	// The name and the address are free again.
	invite("alice")
	if n := r.count("SELECT count(*) FROM audit_events WHERE action = 'user.delete' AND target = 'invitation' AND user_id IN ($1, $2)", stale.ID, boss.ID); n != 2 {
		t.Errorf("%d deletions are in the audit log", n)
	}
}

// Neither the inviter nor a reader of the database gets in by what is stored.
func TestNothingOfAnInvitationIsInTheClear(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{})
	_, challenge, err := r.Invitations.Invite(t.Context(), authtest.Operator(), auth.NewInvitation{Email: "alice@example.org"})
	must(t, err)
	letter, err := r.Mails.Prepare(t.Context(), challenge)
	must(t, err)
	for _, secret := range []string{byLink(letter).Token, letter.Code} {
		if n := r.count("SELECT count(*) FROM mails m, challenges c WHERE m::text LIKE $1 OR c::text LIKE $1", "%"+secret+"%"); n != 0 {
			t.Errorf("%q is stored", secret)
		}
	}
	if challenge == uuid.Nil || letter.ID != challenge {
		t.Errorf("%s is not the mail", challenge)
	}
}
