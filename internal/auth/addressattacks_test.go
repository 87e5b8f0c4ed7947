package auth_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/password"
)

// meanwhile is a store at which somebody else comes first, with one statement.
type meanwhile struct {
	auth.Store
	act func()
}

func (m meanwhile) AskForAddress(ctx context.Context, e auth.Event, u auth.User, to auth.Email) error {
	m.act()
	return m.Store.AskForAddress(ctx, e, u, to)
}

func (m meanwhile) RemoveAddress(
	ctx context.Context, e auth.Event, u auth.User, keep uuid.UUID,
) (auth.User, error) {
	m.act()
	return m.Store.RemoveAddress(ctx, e, u, keep)
}

func (m meanwhile) PutChallenge(
	ctx context.Context, e auth.Event, c auth.NewChallenge,
) (time.Time, error) {
	m.act()
	return m.Store.PutChallenge(ctx, e, c)
}

func (m meanwhile) UndoAddress(
	ctx context.Context, e auth.Event, u auth.User, challenge uuid.UUID,
) (auth.User, error) {
	m.act()
	return m.Store.UndoAddress(ctx, e, u, challenge)
}

// others lets the rules work on a store at which somebody else comes first.
func (r *recovery) others(act func()) {
	r.Helper()
	r.anew(meanwhile{r.store, act}, authtest.Options{Email: r.mode})
}

// Mallory asks for the addresses of others, for accounts of her own. What she may see of her own
// accounts is the same, whoever has an account: she could else try out a list of addresses.
func TestWhatUsersSeeOfTheirOwnDoesNotTellWhoHasAnAddress(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	r.verified("alice", "alice@example.org")
	banned := r.verified("bob", "bob@example.org")
	_, err := r.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByID(banned.ID), nil)
	must(t, err)
	var want []string
	for _, address := range []string{"nobody@example.org", "alice@example.org", "bob@example.org"} {
		name := "mallory" + address[:3]
		_, challenge := r.signUp(name, address)
		for range 2 { // the second one comes too soon
			r.outcomeOf(r.waiting())
			r.resend(challenge)
		}
		r.aMinuteLater()
		if letter, err := r.Mails.Prepare(t.Context(), r.waiting()); err == nil {
			must(t, r.Mails.Dead(t.Context(), letter, "no such mailbox"))
		}
		data, err := r.Personal.Data(t.Context(), r.access(r.login(name)))
		must(t, err)
		var seen []string
		for _, e := range data.Events {
			seen = append(seen, string(e.Action)+" "+e.Outcome)
		}
		for _, m := range data.Mails {
			seen = append(seen, "mail "+string(m.Kind)+" "+string(m.Outcome))
		}
		for _, c := range data.Challenges {
			seen = append(seen, "challenge "+string(c.Purpose))
		}
		slices.Sort(seen)
		if want == nil {
			want = seen
		}
		if !slices.Equal(seen, want) {
			t.Errorf("%s: %q, and of an address that nobody has %q", address, seen, want)
		}
	}
	if !slices.Contains(want, "user.register success") {
		t.Errorf("there is little to be seen: %q", want)
	}
}

// Mallory has a good code for an address of her own. If only an address that nobody has took its
// place, she would see by it who has an account.
func TestAnotherAddressVoidsTheCodeOfTheOneBeforeWhoeverHasIt(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"alice@example.org", "nobody@example.org"} {
		for _, sentLater := range []bool{false, true} {
			r := startAddresses(t, auth.EmailOptional)
			r.verified("alice", "alice@example.org")
			_, own := r.signUp("mallory", "mallory@example.org")
			grant := r.login("mallory")
			var letter auth.Letter
			if !sentLater {
				letter = r.letter(own)
			}
			challenge, err := r.Addresses.Change(t.Context(), r.access(grant), address, goodPassword, "en")
			must(t, err)
			if sentLater {
				r.wantNoMail("her own mail, for "+address, own, auth.MailVoid)
			} else {
				r.want("her own code, before the mail to "+address, r.verify(byCode(letter), byPassword(goodPassword)),
					auth.ErrInvalidChallenge)
				r.want("her own link, before the mail to "+address, r.verify(byLink(letter), byPassword(goodPassword)),
					auth.ErrInvalidChallenge)
			}
			next := r.letter(challenge)
			if next.To != address || (next.Kind == auth.MailVerify) != (address == "nobody@example.org") {
				t.Errorf("%+v", next)
			}
			if !sentLater {
				r.want("her own code, with "+address, r.verify(byCode(letter), byPassword(goodPassword)),
					auth.ErrInvalidChallenge)
			}
			if next.Kind == auth.MailVerify {
				must(t, r.verify(byCode(next), byPassword(goodPassword)))
			}
		}
	}
}

// The owner has just changed the password. A thief's request that was refused for that must send
// nothing, or else its mail would have a challenge that is good after the change.
func TestARequestAboutAnAddressThatIsRefusedSendsNoMail(t *testing.T) {
	t.Parallel()
	for what, do := range map[string]func(*recovery, auth.Grant) error{
		"change": func(r *recovery, g auth.Grant) error {
			_, err := r.Addresses.Change(r.Context(), r.access(g), "mallory@example.org", goodPassword, "en")
			return err
		},
		"removal": func(r *recovery, g auth.Grant) error {
			return r.Addresses.Remove(r.Context(), r.access(g), goodPassword, "en")
		},
	} {
		r := startAddresses(t, auth.EmailOptional)
		alice := r.verified("alice", "alice@example.org")
		stolen := r.login("alice")
		r.others(func() {
			r.exec("UPDATE users SET token_version = token_version + 1 WHERE id = $1", alice.ID)
		})
		r.want(what, do(r, stolen), auth.ErrInvalidToken)
		if n := r.count("SELECT count(*) FROM mails WHERE done_at IS NULL"); n != 0 {
			t.Errorf("%s: %d mails wait", what, n)
		}
		if n := r.count("SELECT count(*) FROM audit_events WHERE action LIKE 'email.%' AND outcome <> 'success'"); n != 1 {
			t.Errorf("%s: %d refusals are in the audit log", what, n)
		}
	}
}

// Whoever has taken an account over may change it again and again while the mail to the address of
// before is on its way, or an operator has just disabled it.
func TestNoChangeVoidsTheMailThatUndoesAnother(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]string{
		"another password": "UPDATE users SET token_version = token_version + 1",
		"a ban":            "UPDATE users SET token_version = token_version + 1, disabled_at = now()",
	} {
		r := startAddresses(t, auth.EmailOptional)
		alice := r.verified("alice", "alice@example.org")
		stolen := r.login("alice")
		must(t, r.verify(byLink(r.changed(stolen, "mallory@example.org", goodPassword)), r.byGrant(stolen)))
		r.others(func() { r.exec(change) })
		letter := r.told(auth.MailAddressChanged)
		r.aMinuteLater() // and nobody comes first any more
		r.exec("UPDATE users SET disabled_at = NULL")
		if err := r.Addresses.Undo(t.Context(), byLink(letter).Token, client); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		r.wantVerified(alice, "alice@example.org")
	}
}

// Whoever has taken the account over changes it over and over, so that no link of the owner finds
// it as it was a moment ago.
func TestChangesOfAThiefDoNotKeepTheOwnerFromUndoingOne(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	alice := r.verified("alice", "alice@example.org")
	stolen := r.login("alice")
	must(t, r.verify(byLink(r.changed(stolen, "mallory@example.org", goodPassword)), r.byGrant(stolen)))
	link := byLink(r.told(auth.MailAddressChanged)).Token
	changes := 0
	r.others(func() {
		if changes++; changes < 4 {
			r.exec("UPDATE users SET token_version = token_version + 1 WHERE id = $1", alice.ID)
		}
	})
	must(t, r.Addresses.Undo(t.Context(), link, client))
	r.wantVerified(alice, "alice@example.org")
	tries := changes
	r.want("again", r.Addresses.Undo(t.Context(), link, client), auth.ErrInvalidChallenge)
	if changes != tries {
		t.Errorf("a link that was used is tried %d times more", changes-tries)
	}
}

// A mail that comes too soon is that of whoever has asked for it, and not of the account that has
// the address. Otherwise mallory would learn who has one, and have mails sent to the other account.
func TestAMailThatIsSuppressedBelongsToWhoeverHasAskedForIt(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	r.verified("alice", "alice@example.org")
	for _, address := range []string{"nobody@example.org", "alice@example.org"} {
		mallory, challenge := r.signUp("mallory"+address[:3], address)
		r.outcomeOf(challenge)
		again := r.resend(challenge)
		r.wantNoMail(address, again, auth.MailSuppressed)
		if asked, err := r.Addresses.IsAskedBy(t.Context(), mallory.ID, again); err != nil || !asked {
			t.Errorf("%s: asked by mallory: %t, %v", address, asked, err)
		}
	}
}

// The two have one key, and may be two mailboxes. Mallory reads the mails of one, and must not have
// the account disabled that is named by the other.
func TestNobodyIsDisplacedByAnotherMailboxOfTheSameKey(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	for n, names := range [][2]string{
		{"strauss@example.org", "strauß@example.org"}, {"gauß@example.org", "gauss@example.org"},
	} {
		strauss := r.register(names[0])
		mallory, challenge := r.signUp("mallory"+names[0][:2], names[1])
		err := r.verify(byLink(r.letter(challenge)), byPassword(goodPassword))
		r.want(names[1], err, auth.ErrAddressTaken)
		r.wantVerified(mallory, "")
		r.wantLogin(names[0], goodPassword, nil)
		if now, err := r.Accounts.Find(t.Context(), auth.ByID(strauss.ID)); err != nil || now.Disabled() {
			t.Errorf("%d: %+v, %v", n, now, err)
		}
	}
	// However it is written, it is the same mailbox.
	r.register("Bob@Bücher.example")
	bob, challenge := r.signUp("bob", "BOB＠xn--bcher-kva.example")
	must(t, r.verify(byLink(r.letter(challenge)), byPassword(goodPassword)))
	r.wantLogin("bob@bücher.example", goodPassword, nil)
	if n := r.count("SELECT count(*) FROM users WHERE disabled_at IS NOT NULL AND id <> $1", bob.ID); n != 1 {
		t.Errorf("%d accounts were displaced", n)
	}
}

// Keyboards for Japanese have a wide @. The mail would go to a mailbox that nobody has, or to that
// of somebody else.
func TestAnAddressWithAWideSignGetsItsMail(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	for given, want := range map[string]string{
		"Alice＠Example.org": "Alice@example.org", "bob@BÜCHER.example": "bob@xn--bcher-kva.example",
	} {
		_, challenge := r.signUp("user"+want[:2], given)
		if letter := r.letter(challenge); letter.To != want {
			t.Errorf("%s: the mail goes to %s", given, letter.To)
		}
	}
}

// Whoever knows somebody's address would try it first, in any of its spellings.
func TestNoWayToAPasswordTakesTheOwnAddressForOne(t *testing.T) {
	t.Parallel()
	r := startAddresses(t, auth.EmailOptional)
	const given, spelt = "alice@bücher.example", "Alice@xn--bcher-kva.EXAMPLE"
	_, challenge := r.signUp("alice", given)
	must(t, r.verify(byLink(r.letter(challenge)), byPassword(goodPassword)))
	access := r.access(r.login("alice"))
	_, invitation := r.invite(auth.NewInvitation{Email: "bob@bücher.example"})
	reset := r.mailed("alice")
	for way, take := range map[string]func() error{
		"registration": func() error {
			_, _, err := r.Registration.SignUp(t.Context(), auth.Stranger{Username: "eve", Password: spelt, Email: given}, client)
			return err
		},
		"by an operator": func() error {
			_, _, err := r.Accounts.Register(t.Context(), authtest.Operator(), auth.NewAccount{Username: "eve", Password: spelt, Email: given})
			return err
		},
		"set by an operator": func() error {
			_, _, err := r.Accounts.SetPassword(t.Context(), authtest.Operator(), auth.ByName("alice"), auth.NewPassword{Password: spelt})
			return err
		},
		"change": func() error {
			_, err := r.Logins.ChangePassword(t.Context(), access, goodPassword, spelt)
			return err
		},
		"replacement": func() error {
			_, err := r.Logins.ReplacePassword(t.Context(), given, goodPassword, spelt, client)
			return err
		},
		"reset": func() error {
			_, err := r.Recovery.Reset(t.Context(), byLink(reset), spelt, client)
			return err
		},
		"invitation": func() error {
			_, err := r.Invitations.Accept(t.Context(), byLink(invitation), "bob", "BOB@xn--bcher-kva.example", client)
			return err
		},
	} {
		err := take()
		if wrong, ok := errors.AsType[auth.InputError](err); !ok || len(wrong) != 1 ||
			wrong[0].Message != password.ErrIsUsername.Error() {
			t.Errorf("%s: %v", way, err)
		}
	}
}
