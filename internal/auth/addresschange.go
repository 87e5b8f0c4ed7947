package auth

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"gatehouse.example/internal/email"
	"gatehouse.example/internal/token"
)

// AddressStore stores the addresses of accounts.
type AddressStore interface {
	AccessStore
	ChallengeStore

	// UserByID is that of [AccountStore].
	UserByID(ctx context.Context, id uuid.UUID) (User, error)
	// CredentialsByKey is that of [LoginStore].
	CredentialsByKey(ctx context.Context, key string) (Credentials, error)
	// RecordEvent is that of [AuditStore]. It also queues the mails of the event.
	RecordEvent(ctx context.Context, e Event) error
	// AskForAddress records the event, which queues a mail to an address that a user wants to have.
	// It stores the address, unverified, if the user has none that is verified. Errors:
	// [ErrUserNotFound], also if the user has changed meanwhile.
	AskForAddress(ctx context.Context, e Event, user User, to Email) error
	// ProveAddress redeems a challenge for its address, which is verified from then on. If the user
	// had another one that was verified, all sessions end but the one to be kept. An account that
	// has the address as its name alone, with the Local of the proof, is disabled and renamed, and
	// the other event is recorded.
	// Errors: [ErrInvalidChallenge], [ErrAddressTaken], [ErrLastAdmin].
	ProveAddress(ctx context.Context, e, displacement Event, p AddressProof) (User, error)
	// RemoveAddress takes the address of a user who has not changed meanwhile, and ends all sessions
	// but one. Errors: [ErrUserNotFound].
	RemoveAddress(ctx context.Context, e Event, user User, keep uuid.UUID) (User, error)
	// UndoAddress redeems a challenge for an address of before, which is that of the user again. It
	// ends all sessions, and the password expires. Errors: [ErrInvalidChallenge], also if the user
	// has changed meanwhile; [ErrAddressTaken].
	UndoAddress(ctx context.Context, e Event, user User, challenge uuid.UUID) (User, error)
	// PruneUnproved deletes at most so many accounts whose time to prove their address is over. It
	// returns how many it deleted.
	PruneUnproved(ctx context.Context, e Event, most int) (int64, error)
}

// AddressProof is a challenge that somebody proves.
type AddressProof struct {
	Challenge uuid.UUID
	Local     string    // the local part of the address in lower case, as a username has it in its key
	Before    User      // with the address of before
	Keep      uuid.UUID // the session that does not end; Nil: all do
}

// Addresses are what users do with the addresses of their accounts. An address counts for nothing
// until its user has shown to read its mail, and to be the user of the account. The mailbox alone
// is not enough: somebody may have registered with the address of another, in the hope that the
// other one confirms it.
type Addresses struct {
	store  AddressStore
	logins *Logins
	limits *Limits
	mails  *Mails
	audit  *Audit
	mode   EmailMode
}

// AddressParts are what Addresses are made of. All are needed.
type AddressParts struct {
	Store  AddressStore
	Logins *Logins
	Limits *Limits
	Mails  *Mails
	Audit  *Audit
	Mode   EmailMode
}

// NewAddresses makes Addresses.
func NewAddresses(p AddressParts) *Addresses {
	return &Addresses{p.Store, p.Logins, p.Limits, p.Mails, p.Audit, p.Mode}
}

// Confirmer is who says to be the user of an account: by a session of the account, or by its
// password.
type Confirmer struct {
	Access   *token.Access // nil: there is no session
	Password string        // "": none was given
}

const passwordField = "password"

// Asked returns whose address the token of a link proves, and which one. It changes nothing.
// Errors: [ErrInvalidChallenge].
func (a *Addresses) Asked(ctx context.Context, link string) (ChallengedUser, error) {
	_, owner, err := prove(ctx, a.store, a.mails.challenges, ChallengeVerify, ChallengeProof{
		Token: link,
	})
	return owner, err
}

// IsAskedBy reports whether a user has asked for the mail of a challenge. It says nothing of
// whether the mail was sent.
func (a *Addresses) IsAskedBy(ctx context.Context, user, challenge uuid.UUID) (bool, error) {
	found, err := a.mails.store.UserOfMail(ctx, challenge, MailVerify)
	return err == nil && found == user, err
}

// Verify makes an address that of its user, who proves to read its mail, and to be the user. It
// logs nobody in. If the user had another address, it is told, and all other sessions end. Errors:
// [ErrInvalidChallenge]; [ErrPasswordNeeded] if there is neither a session of the account nor a
// password; [InputError] if the password is wrong; [ErrAddressTaken], [ErrLastAdmin], [ErrLimited].
func (a *Addresses) Verify(
	ctx context.Context, proof ChallengeProof, by Confirmer, language string, caller Caller,
) (err error) {
	if err := a.logins.passwords.checkRoom(ctx); err != nil {
		return err
	}
	e := newEvent(ctx, Actor{}, ActionVerifyAddress, uuid.Nil, "")
	defer a.audit.told(ctx, &e, &err)
	reserved, err := a.limits.reserveProof(ctx, caller.Address)
	if err != nil {
		return err
	}
	err = a.verify(ctx, &e, proof, by, language)
	a.limits.settleProof(ctx, reserved, err)
	return err
}

func (a *Addresses) verify(
	ctx context.Context, e *Event, proof ChallengeProof, by Confirmer, language string,
) (err error) {
	id, owner, err := prove(ctx, a.store, a.mails.challenges, ChallengeVerify, proof)
	*e = e.of(owner.ID)
	if err != nil {
		return err
	}
	defer func() {
		// A right code must not be used up by a password that is wrong.
		if err != nil && proof.Token == "" && !errors.Is(err, ErrInvalidChallenge) {
			_ = a.store.TakeBackGuess(context.WithoutCancel(ctx), id)
		}
	}()
	before, err := a.store.UserByID(ctx, owner.ID)
	if errors.Is(err, ErrUserNotFound) {
		return ErrInvalidChallenge
	}
	if err != nil {
		return err
	}
	keep, err := a.confirm(ctx, owner, by)
	if err != nil {
		return err
	}
	done := e.by(owner.ID)
	done.Mails = a.notice(ctx, before, owner.Email, language)
	_, err = a.store.ProveAddress(ctx, done,
		newEvent(ctx, Actor{}, ActionDisplaceUser, uuid.Nil, "").by(owner.ID),
		AddressProof{Challenge: id, Local: ownLocal(owner.Email), Before: before, Keep: keep})
	return err
}

// ownLocal is the local part of an address for comparisons with keys of usernames. It keeps apart
// what the keys of addresses do not, such as strauß and strauss, which may be two people.
func ownLocal(given string) string {
	address, _ := email.Parse(given)
	local, _, _ := cutAddress(address.Mailbox)
	return strings.ToLower(local)
}

// confirm finds out whether somebody is the user of an account, and returns the session that shows
// it, if one does. The session of another account shows nothing. Errors: [ErrPasswordNeeded],
// [InputError], [ErrLimited].
func (a *Addresses) confirm(
	ctx context.Context, owner ChallengedUser, by Confirmer,
) (session uuid.UUID, err error) {
	if by.Access != nil && !by.Access.IsClient() && by.Access.UserID == owner.ID {
		state, err := liveSession(ctx, a.store, *by.Access)
		if err == nil {
			err = mayRuleAccount(state, *by.Access)
		}
		return by.Access.SessionID, err
	}
	if by.Password == "" {
		return uuid.Nil, ErrPasswordNeeded
	}
	found, err := a.store.CredentialsByKey(ctx, owner.UsernameKey)
	if err != nil {
		return uuid.Nil, err
	}
	if err := a.logins.checkPasswordOf(ctx, found, by.Password, passwordField); err != nil {
		return uuid.Nil, err
	}
	if found.PasswordExpired { // it is good for nothing, as after an undo
		return uuid.Nil, errors.Join(
			InputError{{passwordField, "is not right"}}, ErrPasswordExpired,
		)
	}
	return uuid.Nil, nil
}

// notice tells the address of before that it is not that of the user any more, and how to undo
// that. It returns nothing if there was none, or if it was not verified.
func (a *Addresses) notice(
	ctx context.Context, before User, next, language string,
) []QueuedMail {
	if !before.Email.Verified() || addressKey(next) == before.Email.Key {
		return nil
	}
	return []QueuedMail{a.mails.queued(ctx, MailAddressChanged, sealedMail{
		To: before.Email.Given, ToKey: before.Email.Key, NewAddress: next, Language: language,
	})}
}

// queuedProof is the mail by which an address is proved.
func (m *Mails) queuedProof(ctx context.Context, to Email, language string) QueuedMail {
	return m.queued(ctx, MailVerify, sealedMail{To: to.Given, ToKey: to.Key, Language: language})
}

// Change asks for another address for the account of an access token. It becomes that of the
// account when it is proved, and the one of before stays until then. The answer is the same whoever
// has the address. Whoever has stolen a session must not be able to do that, so it needs what
// [Logins.ChangePassword] does. Errors: [InputError], [ErrInsufficientAuthentication],
// [ErrInvalidToken], [ErrForbidden], [ErrLimited].
func (a *Addresses) Change(
	ctx context.Context, access token.Access, given, current, language string,
) (challenge uuid.UUID, err error) {
	e, err := a.begin(ctx, ActionChangeAddress, access)
	if err != nil {
		return uuid.Nil, err
	}
	defer a.audit.told(ctx, &e, &err)
	next, err := neededEmail(given)
	if err != nil {
		return uuid.Nil, err
	}
	user, err := a.owner(ctx, access, current)
	if err != nil {
		return uuid.Nil, err
	}
	mail := a.mails.queuedProof(ctx, next, language)
	done := e // a refusal is recorded too, and sends no mail
	done.Mails = []QueuedMail{mail}
	err = a.store.AskForAddress(ctx, done, user, next)
	if errors.Is(err, ErrUserNotFound) {
		return uuid.Nil, errRevoked
	}
	return mail.ID, err
}

// begin returns the event of what the user of an access token does. Errors: [ErrInvalidToken].
func (a *Addresses) begin(ctx context.Context, action Action, access token.Access) (Event, error) {
	if access.IsClient() {
		return Event{}, errNoUser
	}
	return newEvent(ctx, Actor{}, action, uuid.Nil, access.SessionID.String()).by(access.UserID), nil
}

// owner returns the user of an access token, who shows what only the owner has. Errors: those of
// [Logins.ChangePassword].
func (a *Addresses) owner(
	ctx context.Context, access token.Access, current string,
) (User, error) {
	session, err := a.ruler(ctx, access)
	if err != nil {
		return User{}, err
	}
	return session.User, a.logins.checkOwner(ctx, session, current)
}

// ruler returns the session of an access token that may rule the account. Errors:
// [ErrInvalidToken], [ErrForbidden].
func (a *Addresses) ruler(ctx context.Context, access token.Access) (SessionState, error) {
	session, err := liveSession(ctx, a.store, access)
	if err == nil {
		err = mayRuleAccount(session, access)
	}
	return session, err
}

// Resend queues another mail by which the user of an access token proves an address. Which one, the
// worker finds out. The challenge, as that of any earlier mail, is good for the code of the mail
// that was sent last. Errors: [ErrInvalidToken], [ErrForbidden].
func (a *Addresses) Resend(
	ctx context.Context, access token.Access, language string, caller Caller,
) (challenge uuid.UUID, err error) {
	e, err := a.begin(ctx, ActionResendProof, access)
	if err != nil {
		return uuid.Nil, err
	}
	defer a.audit.told(ctx, &e, &err)
	if _, err := a.ruler(ctx, access); err != nil {
		return uuid.Nil, err
	}
	return a.resend(ctx, e, sealedMail{Language: language}, caller)
}

// ResendOf is Resend for whoever has registered, and was answered with a challenge. They go on with
// that one. It does the same whatever the challenge is.
func (a *Addresses) ResendOf(
	ctx context.Context, of uuid.UUID, language string, caller Caller,
) (challenge uuid.UUID, err error) {
	e := newEvent(ctx, Actor{}, ActionResendProof, uuid.Nil, "")
	return a.resend(ctx, e, sealedMail{Again: of, Language: language}, caller)
}

// ResendTo is Resend for a user whose login is refused until the address is verified. The password
// was right, so the answer shows nothing that its user does not know.
func (a *Addresses) ResendTo(
	ctx context.Context, refused *UnverifiedError, language string, caller Caller,
) (challenge uuid.UUID, err error) {
	e := newEvent(ctx, Actor{}, ActionResendProof, uuid.Nil, "").by(refused.UserID)
	return a.resend(ctx, e, sealedMail{Language: language}, caller)
}

// resend queues a mail. Beyond the limit of the caller's network there is none, and its challenge
// would be good for nothing.
func (a *Addresses) resend(
	ctx context.Context, e Event, content sealedMail, caller Caller,
) (challenge uuid.UUID, err error) {
	mail := a.mails.queued(ctx, MailVerify, content)
	challenge = cmp.Or(content.Again, mail.ID)
	if err := a.limits.countRecovery(ctx, caller.Address); err != nil {
		a.audit.told(ctx, &e, &err)
		switch {
		case !errors.Is(err, ErrLimited):
			return uuid.Nil, err
		case content.Again != uuid.Nil:
			return challenge, nil
		}
		return a.lastAsked(ctx, e.UserID, challenge)
	}
	e.Mails = []QueuedMail{mail}
	return challenge, a.store.RecordEvent(ctx, e)
}

// mostLooked is of how many mails lastAsked looks for one by which an address is proved.
const mostLooked = 50

// lastAsked is the challenge that a user was answered with last; none: if there is no such one. It
// says nothing of whether that mail was sent.
func (a *Addresses) lastAsked(
	ctx context.Context, user, none uuid.UUID,
) (challenge uuid.UUID, err error) {
	mails, err := a.mails.store.MailsOfUser(ctx, user, mostLooked)
	for _, mail := range mails {
		if mail.Kind == MailVerify {
			return mail.ID, nil
		}
	}
	return none, err
}

// Remove takes the address of the account of an access token. If it was verified, it is told, and
// all other sessions end. Errors: [InputError], [ErrInvalidToken], [ErrForbidden], [ErrLimited],
// and [ErrAddressRequired] where no account is without.
func (a *Addresses) Remove(
	ctx context.Context, access token.Access, current, language string,
) (err error) {
	e, err := a.begin(ctx, ActionRemoveAddress, access)
	if err != nil {
		return err
	}
	defer a.audit.told(ctx, &e, &err)
	if a.mode == EmailRequired {
		return ErrAddressRequired
	}
	user, err := a.owner(ctx, access, current)
	if err != nil || user.Email.Given == "" {
		return err
	}
	done := e // a refusal is recorded too, and sends no mail
	done.Mails = a.notice(ctx, user, "", language)
	_, err = a.store.RemoveAddress(ctx, done, user, access.SessionID)
	if errors.Is(err, ErrUserNotFound) {
		return errRevoked
	}
	return err
}

// Undone returns whose address of before the token of a link brings back, and which one. It changes
// nothing. Errors: [ErrInvalidChallenge].
func (a *Addresses) Undone(ctx context.Context, link string) (ChallengedUser, error) {
	_, owner, err := prove(ctx, a.store, a.mails.challenges, ChallengeUndo, ChallengeProof{
		Token: link,
	})
	return owner, err
}

// Undo brings an address of before back, for whoever reads its mail. All that whoever has changed
// it can have is good for nothing from then on: sessions, devices, and the password. The owner goes
// on with a mail for another password. Errors: [ErrInvalidChallenge], [ErrAddressTaken],
// [ErrLimited].
func (a *Addresses) Undo(ctx context.Context, link string, caller Caller) (err error) {
	e := newEvent(ctx, Actor{}, ActionUndoAddress, uuid.Nil, "")
	defer a.audit.told(ctx, &e, &err)
	reserved, err := a.limits.reserveProof(ctx, caller.Address)
	if err != nil {
		return err
	}
	err = a.undo(ctx, &e, link)
	a.limits.settleProof(ctx, reserved, err)
	return err
}

// mostUndone is how often it is tried to undo a change, while whoever has taken the account over
// goes on to change it. Otherwise the owner would be told that the link is not good.
const mostUndone = 10

func (a *Addresses) undo(ctx context.Context, e *Event, link string) error {
	id, owner, err := prove(ctx, a.store, a.mails.challenges, ChallengeUndo, ChallengeProof{
		Token: link,
	})
	*e = e.of(owner.ID)
	if err != nil {
		return err
	}
	before := User{}
	for range mostUndone {
		user, err := a.store.UserByID(ctx, owner.ID)
		if errors.Is(err, ErrUserNotFound) {
			return ErrInvalidChallenge
		}
		if err != nil {
			return err
		}
		if user.TokenVersion == before.TokenVersion {
			break // that was not the reason
		}
		before = user
		_, err = a.store.UndoAddress(ctx, e.by(owner.ID), user, id)
		if !errors.Is(err, ErrInvalidChallenge) {
			return err
		}
	}
	return ErrInvalidChallenge
}

// PruneUnproved deletes at most so many accounts whose strangers have not proved their addresses in
// time. Their names and addresses are free again. It returns how many it deleted. Where addresses
// are not required, such an account may be in use, and stays.
func (a *Addresses) PruneUnproved(ctx context.Context, most int) (int64, error) {
	if a.mode != EmailRequired {
		return 0, nil
	}
	e := newEvent(ctx, Replica(), ActionDeleteUser, uuid.Nil, "unproved")
	return a.store.PruneUnproved(ctx, e, most)
}

var (
	errEmailMissing = errors.New("is required")
	errEmailUnused  = errors.New("is of no use here, where addresses count for nothing")
)

// neededEmail is newEmail for an address that must be there. Errors: [InputError].
func neededEmail(given string) (Email, error) {
	address, err := newEmail(given)
	if given == "" {
		err = errEmailMissing
	}
	if err != nil {
		return Email{}, because(InputError{{"email", err.Error()}}, err)
	}
	return address, nil
}

// toProve finds out to whom the mail goes by which an address is proved. An address that somebody
// has verified gets a mail of another kind: whoever typed it learns nothing, and its owner does.
func (m *Mails) toProve(
	ctx context.Context, begun *BegunMail, content sealedMail,
) (user User, to Email, problem string, err error) {
	if content.Again != uuid.Nil {
		user, err = m.userOf(ctx, content.Again, MailVerify)
	} else {
		user, err = m.store.UserByID(ctx, begun.UserID)
	}
	if err != nil {
		return User{}, Email{}, "", goneIsNotFound(err)
	}
	begun.UserID = user.ID
	to = Email{Given: content.To, Key: content.ToKey}
	if to.Key == "" {
		if to = user.Email; to.Given == "" || to.Verified() {
			if to, err = m.store.AddressToProve(ctx, user.ID); err != nil {
				return User{}, Email{}, "", err
			}
		}
	}
	switch {
	case user.Disabled():
		return user, to, "the account is disabled", nil
	case to.Key == "", user.Email.Verified() && user.Email.Key == to.Key:
		return user, to, "there is no address to be proved", nil
	}
	holder, err := m.store.HolderOfAddress(ctx, to.Key)
	switch {
	case errors.Is(err, ErrUserNotFound):
		return user, to, "", nil
	case err != nil:
		return User{}, Email{}, "", err
	case holder.ID == user.ID:
		return user, to, "there is no address to be proved", nil
	case holder.Disabled():
		return user, to, "the address belongs to an account that is disabled", nil
	}
	begun.Kind = MailKnownAddress
	return holder, holder.Email, "", nil
}
