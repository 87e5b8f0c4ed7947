package auth_test

import (
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// A thief who has the password causes notices until the address has had its share of a day, and
// then changes the address. The mail that takes that back comes all the same.
func TestAFloodOfNoticesDoesNotSilenceWhatUndoesAChange(t *testing.T) {
	t.Parallel()
	r := startNoticed(t, authtest.Options{})
	alice := r.settled("alice")
	grant := r.login("alice")
	for range 30 {
		r.login("alice")
	}
	if told := len(r.letters()); told >= 30 {
		t.Fatalf("%d notices were sent, and no limit is reached", told)
	}
	must(t, r.verify(byLink(r.changed(grant, "mallory@example.org", goodPassword)), r.byGrant(grant)))
	for _, letter := range r.wantLetters("the change", auth.MailAddressChanged) {
		must(t, r.Addresses.Undo(t.Context(), byLink(letter).Token, client))
	}
	r.wantVerified(alice, "Alice@example.org")
}

// The two have one key, and may be two mailboxes. Mallory invites whoever was invited before, at a
// mailbox of her own. She must not get the account with its roles, which she may not give.
func TestASecondInvitationGoesToTheMailboxOfTheFirst(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Email: auth.EmailOptional})
	r.role("clerk", "orders:read")
	first, _ := r.invite(auth.NewInvitation{Email: "strauss@example.org", Roles: []string{"clerk"}})
	r.exec("DELETE FROM rate_limits")
	r.role("inviter", auth.ReadUsers, auth.WriteUsers)
	mallory := r.register("mallory")
	r.grant(mallory, "inviter")
	mallory, err := r.Accounts.Find(t.Context(), auth.ByID(mallory.ID))
	must(t, err)
	user, challenge, err := r.Invitations.Invite(t.Context(), mallory.As(),
		auth.NewInvitation{Email: "strauß@example.org"})
	must(t, err)
	letter, err := r.Mails.Prepare(t.Context(), challenge)
	must(t, err)
	if user.ID != first.ID || letter.To != "strauss@example.org" {
		t.Errorf("account %s, which is that of before: %t; the mail goes to %s", user.ID, user.ID == first.ID, letter.To)
	}
}

// The mail waits for the relay. Meanwhile the operator sees that the address is mistyped, and gives
// the person a password. Whoever reads the mail that comes late must not take the account over.
func TestALateInvitationDoesNotTakeBackThePasswordThatAnOperatorHasSet(t *testing.T) {
	t.Parallel()
	r := startRecovery(t, authtest.Options{Email: auth.EmailOptional})
	_, challenge, err := r.Invitations.Invite(t.Context(), authtest.Operator(),
		auth.NewInvitation{Email: "mistyped@example.org", Username: "alice"})
	must(t, err)
	_, _, err = r.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByName("alice"),
		auth.NewPassword{Password: goodPassword})
	must(t, err)
	letter, err := r.Mails.Prepare(t.Context(), challenge)
	must(t, err)
	r.wantAccepted("the late mail", byLink(letter), "", auth.ErrInvalidChallenge)
	r.wantLogin("alice", goodPassword, nil)
}
