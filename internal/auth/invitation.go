package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// InvitationStore stores the accounts of people who are invited.
type InvitationStore interface {
	ChallengeStore

	// Invite stores an account for somebody at an address, as [AccountStore].InsertUser does. If
	// there is one already that nobody has accepted yet, it changes nothing, and returns that one.
	// The Sight of the rule has that one too, and the roles. Errors: those of InsertUser, and
	// [ErrAddressTaken] also if the address is not verified.
	Invite(ctx context.Context, e Event, rule Rule, account StoredAccount) (User, error)
	// AcceptInvitation redeems a challenge for an account that was invited. Of many callers with one
	// challenge, one succeeds. Errors: [ErrInvalidChallenge], [ErrUsernameTaken],
	// [ErrAddressTaken].
	AcceptInvitation(ctx context.Context, e Event, a Acceptance) (User, error)
	// PruneInvitations deletes at most so many accounts that were invited so long ago, and that
	// nobody has accepted or changed. It records the event for each of them.
	PruneInvitations(ctx context.Context, e Event, over time.Duration, most int) (int64, error)
}

// Acceptance is what somebody who was invited sets.
type Acceptance struct {
	Challenge uuid.UUID
	Username  Username // zero: the account has one
	Hash      string   // of the password
}

// Invitations make accounts for people whose addresses are known. An account is made at once, with
// its roles, but with a password that nobody knows, and that is over. Whoever gets the mail sets
// the password, and has shown by that to read the mails of the address.
type Invitations struct {
	store      InvitationStore
	passwords  *Passwords
	limits     *Limits
	mails      *Mails
	challenges *token.ChallengeKeys
	names      *Registration // what a name may be that somebody chooses
	audit      *Audit
}

// InvitationParts are what Invitations are made of. All are needed, but for Registration where
// nobody accepts.
type InvitationParts struct {
	Store        InvitationStore
	Passwords    *Passwords
	Limits       *Limits
	Mails        *Mails
	Registration *Registration
	Audit        *Audit
}

// NewInvitations makes Invitations.
func NewInvitations(p InvitationParts) *Invitations {
	return &Invitations{
		p.Store, p.Passwords, p.Limits, p.Mails, p.Mails.challenges, p.Registration, p.Audit,
	}
}

// unacceptedFor is how long an account is kept that was invited, and that nobody has accepted. Its
// mail is good for 72 hours.
const unacceptedFor = 7 * 24 * time.Hour

// NewInvitation is an invitation to be sent.
type NewInvitation struct {
	Email    string
	Username string // "": whoever accepts chooses one
	Roles    []string
	Language string // of the mail; "": that of the request
}

// Invite makes an account, and queues the mail for its owner. The challenge is for whoever types
// the code of the mail. If somebody was invited at the address who has not accepted yet, the
// account stays as it is, with its name and its roles, and gets another mail: the one of before is
// good for nothing then. Whoever has deleted the inviter has not taken back the invitation. Errors:
// [InputError], [ErrUsernameTaken], [ErrAddressTaken], [ErrUserDisabled], [ErrRoleNotFound], and
// [ErrBeyondRights] if the actor may not give a role, or has less rights than the account.
func (i *Invitations) Invite(
	ctx context.Context, by Actor, n NewInvitation,
) (user User, challenge uuid.UUID, err error) {
	account, err := invited(n)
	if err != nil {
		return User{}, uuid.Nil, err
	}
	e := newEvent(ctx, by, ActionInviteUser, uuid.Nil, strings.Join(account.Roles, " ")).
		named(n.Username)
	defer i.audit.told(ctx, &e, &err)
	if err := mayGiveAny(by, account.Roles); err != nil {
		return User{}, uuid.Nil, err
	}
	if _, account.Password, err = i.passwords.newSecret(ctx); err != nil {
		return User{}, uuid.Nil, err
	}
	account.Password.GoodFor = new(time.Duration)
	mail := i.mails.queued(ctx, MailInvite, sealedMail{
		To: account.Email.Given, ToKey: account.Email.Key, Language: n.Language,
	})
	done := e
	done.Mails = []QueuedMail{mail}
	user, err = i.store.Invite(ctx, done, mayInvite(by), account)
	return user, mail.ID, err
}

// invited reads an invitation. An account without a name has its id for one. Errors: [InputError].
func invited(n NewInvitation) (StoredAccount, error) {
	a := StoredAccount{ID: uuid.New(), Roles: slices.Sorted(slices.Values(n.Roles))}
	a.Roles = slices.Compact(a.Roles)
	var wrong InputError
	var reasons []error
	blame := func(field string, err error) {
		if err != nil {
			wrong, reasons = append(wrong, FieldError{field, err.Error()}), append(reasons, err)
		}
	}
	var err error
	a.Email, err = newEmail(n.Email)
	if n.Email == "" {
		err = errAddressMissing
	}
	blame("email", err)
	a.Username = Username{Given: a.ID.String(), Key: a.ID.String()}
	if n.Username != "" {
		a.Username, err = newUsername(n.Username)
		blame("username", err)
	}
	for _, role := range a.Roles {
		if !roleNames.MatchString(role) { // it may not even be text
			return StoredAccount{}, ErrRoleNotFound
		}
	}
	if wrong != nil {
		return StoredAccount{}, because(wrong, reasons...)
	}
	return a, nil
}

var (
	errAddressMissing = errors.New("is required")
	errNameGiven      = errors.New("was chosen by whoever has sent the invitation")
)

// mayGiveAny lets only those give roles to somebody new who may give them to others. Errors:
// [ErrBeyondRights].
func mayGiveAny(by Actor, roles []string) error {
	if len(roles) > 0 && !by.May(GrantRoles) {
		return fmt.Errorf("%w: the roles of a new account", ErrBeyondRights)
	}
	return nil
}

// mayInvite is the rule for making an account with roles by an invitation, and for sending another
// mail to one: whoever gets the mail gets the roles. Errors: [ErrRoleNotFound], [ErrUserDisabled],
// [ErrBeyondRights].
func mayInvite(by Actor) Rule {
	return Judged(func(seen Sight) error {
		for _, role := range seen.Roles {
			if role.Name == "" {
				return ErrRoleNotFound
			}
			if err := mayHandOut(by, role, role.Permissions); err != nil {
				return err
			}
		}
		if seen.User.ID == uuid.Nil {
			return nil
		}
		if err := manages(by, seen.User); err != nil {
			return err
		}
		if seen.User.Disabled() {
			return fmt.Errorf("%w: it was invited before", ErrUserDisabled)
		}
		return nil
	})
}

// Asked reports whether the link of an invitation could be accepted now, and whether its account
// needs a name. It changes nothing, so that whatever opens links on their way uses none up. Errors:
// [ErrInvalidChallenge].
func (i *Invitations) Asked(ctx context.Context, link string) (needsName bool, err error) {
	_, owner, err := prove(ctx, i.store, i.challenges, ChallengeInvite, ChallengeProof{Token: link})
	return owner.hasNoName(), err
}

func (c ChallengedUser) hasNoName() bool { return c.UsernameKey == c.ID.String() }

// Accept sets the password of an account that was invited, and its name if it has none. The address
// counts as verified from then on. It logs nobody in. Errors: [InputError], [ErrUsernameTaken],
// [ErrInvalidChallenge], [ErrAddressTaken], [ErrLimited]. The first two leave the challenge as it
// was.
func (i *Invitations) Accept(
	ctx context.Context, proof ChallengeProof, username, next string, caller Caller,
) (user User, err error) {
	if err := i.passwords.checkRoom(ctx); err != nil {
		return User{}, err
	}
	e := newEvent(ctx, Actor{}, ActionAcceptInvitation, uuid.Nil, "")
	defer i.audit.told(ctx, &e, &err)
	reserved, err := i.limits.reserveProof(ctx, caller.Address)
	if err != nil {
		return User{}, err
	}
	user, err = i.accept(ctx, &e, proof, username, next, caller)
	i.limits.settleProof(ctx, reserved, err)
	return user, err
}

func (i *Invitations) accept(
	ctx context.Context, e *Event, proof ChallengeProof, username, next string, caller Caller,
) (user User, err error) {
	id, owner, err := prove(ctx, i.store, i.challenges, ChallengeInvite, proof)
	*e = e.of(owner.ID)
	if err != nil {
		return User{}, err
	}
	defer func() {
		// A right code must not be used up by a name that is taken.
		if err != nil && proof.Token == "" && !errors.Is(err, ErrInvalidChallenge) {
			_ = i.store.TakeBackGuess(context.WithoutCancel(ctx), id)
		}
	}()
	name, prepared, err := i.check(owner, username, next)
	if err != nil {
		return User{}, err
	}
	if name.Key != "" { // whoever is told that a name is taken learns of an account
		if err := i.limits.countRegistration(ctx, caller.Address); err != nil {
			return User{}, err
		}
	}
	hash, err := i.passwords.hash(ctx, prepared)
	if err != nil {
		return User{}, err
	}
	return i.store.AcceptInvitation(ctx, e.by(owner.ID), Acceptance{
		Challenge: id, Username: name, Hash: hash,
	})
}

// check reads what somebody sets who accepts. It reports everything that is wrong at once. Errors:
// [InputError].
func (i *Invitations) check(
	owner ChallengedUser, username, next string,
) (name Username, prepared string, err error) {
	var wrong InputError
	key := owner.UsernameKey
	var nameErr error
	switch {
	case !owner.hasNoName():
		if given, err := parseUsername(username); username != "" && (err != nil || given.Key != key) {
			nameErr = errNameGiven
		}
	case username == "" && i.names.email == EmailRequired: // where addresses are names enough
	default:
		name, nameErr = i.names.username(username)
		key = name.Key
	}
	if nameErr != nil {
		wrong = InputError{{"username", nameErr.Error()}}
	}
	prepared, passwordErr := i.passwords.check(next, key, addressKey(owner.Email))
	if passwordErr != nil {
		wrong = append(wrong, FieldError{"new_password", passwordErr.Error()})
	}
	if wrong != nil {
		return Username{}, "", because(wrong, nameErr, passwordErr)
	}
	return name, prepared, nil
}

// Prune deletes at most so many accounts that were invited a week ago, and that nobody has
// accepted. Their names are free again. It returns how many it deleted.
func (i *Invitations) Prune(ctx context.Context, most int) (int64, error) {
	e := newEvent(ctx, Replica(), ActionDeleteUser, uuid.Nil, "invitation")
	return i.store.PruneInvitations(ctx, e, unacceptedFor, most)
}
