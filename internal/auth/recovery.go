package auth

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// RecoveryStore stores what a user without a password needs.
type RecoveryStore interface {
	ChallengeStore
	userFinder

	// RecordEvent is that of [AuditStore]. It also queues the mails of the event.
	RecordEvent(ctx context.Context, e Event) error
	// RecordByRule is RecordEvent for what a rule has to allow to be done to the user of the event.
	RecordByRule(ctx context.Context, e Event, rule Rule) error
	// ResetPassword redeems a challenge, sets the password, and ends all sessions of the user. Of
	// many callers with one challenge, one succeeds. Errors: [ErrInvalidChallenge].
	ResetPassword(ctx context.Context, e Event, challenge uuid.UUID, hash string) (User, error)
}

// Recovery lets users in again who have forgotten their password, by a mail to their verified
// address.
type Recovery struct {
	store      RecoveryStore
	passwords  *Passwords
	limits     *Limits
	mails      *Mails
	notices    *Notices
	challenges *token.ChallengeKeys
	audit      *Audit
}

// RecoveryParts are what Recovery is made of. All are needed but Notices.
type RecoveryParts struct {
	Store     RecoveryStore
	Passwords *Passwords
	Limits    *Limits
	Mails     *Mails
	Notices   *Notices
	Audit     *Audit
}

// NewRecovery makes Recovery.
func NewRecovery(p RecoveryParts) *Recovery {
	return &Recovery{p.Store, p.Passwords, p.Limits, p.Mails, p.Notices, p.Mails.challenges, p.Audit}
}

// Forgot queues a mail with which the owner of an account can set another password. It does the
// same whatever was typed, and the worker that sends the mail finds out whose it is. So neither the
// answer, nor its time, nor the audit log of the request tells whether there is such an account.
// The challenge is for whoever types the code of the mail. Beyond the limit of the caller's
// network, the answer is the same, and there is no mail.
func (r *Recovery) Forgot(
	ctx context.Context, login, language string, caller Caller,
) (challenge uuid.UUID, err error) {
	return r.forgot(ctx, sealedMail{
		Login: cut(strings.TrimSpace(login), mostTyped), Language: language,
	}, caller)
}

// KeptFor is how long a browser keeps what it is answered with: as long as a mail is good.
const KeptFor = 10 * time.Minute

// Forgotten is the answer to a browser in which somebody has forgotten the password.
type Forgotten struct {
	Challenge uuid.UUID
	Keep      string // for the browser; for KeptFor
	Again     bool   // the challenge is the one of before
}

// ForgotInBrowser is Forgot for a browser, and for what it has kept of the answer of before.
// Whoever types the same login there once more goes on with the same challenge: within a minute
// there is no other mail, and the code of the first one must be good where they are.
func (r *Recovery) ForgotInBrowser(
	ctx context.Context, login, kept, language string, caller Caller,
) (f Forgotten, err error) {
	content := sealedMail{Login: cut(strings.TrimSpace(login), mostTyped), Language: language}
	username, address := loginKeys(content.Login)
	same := username + " " + address
	if before, err := r.challenges.VerifyKept(kept, same); err == nil {
		content.Again, f.Again = before, true
	}
	f.Challenge, err = r.forgot(ctx, content, caller)
	f.Keep = r.challenges.Kept(f.Challenge, same)
	return f, err
}

// ForgotAgain is Forgot for whoever was answered with a challenge, and has no mail yet. They go on
// with that challenge: if the earlier mail comes after all, its code is good until that of a newer
// one is.
func (r *Recovery) ForgotAgain(
	ctx context.Context, of uuid.UUID, language string, caller Caller,
) (challenge uuid.UUID, err error) {
	return r.forgot(ctx, sealedMail{Again: of, Language: language}, caller)
}

func (r *Recovery) forgot(
	ctx context.Context, content sealedMail, caller Caller,
) (challenge uuid.UUID, err error) {
	mail := r.mails.queued(ctx, MailReset, content)
	challenge = cmp.Or(content.Again, mail.ID)
	e := newEvent(ctx, Actor{}, ActionForgotPassword, uuid.Nil, "")
	if err := r.limits.countRecovery(ctx, caller.Address); err != nil {
		r.audit.told(ctx, &e, &err)
		if errors.Is(err, ErrLimited) {
			return challenge, nil
		}
		return uuid.Nil, err
	}
	e.Mails = []QueuedMail{mail}
	return challenge, r.store.RecordEvent(ctx, e)
}

// Reset sets the password of whoever proves to read the mail of a challenge. It logs nobody in. It
// ends all sessions and voids all challenges of the user, makes known devices unknown, and lifts
// the limits on failed logins: whoever has forgotten the password has used them up. Errors:
// [InputError], [ErrInvalidChallenge], [ErrLimited]. An InputError leaves the challenge as it was.
func (r *Recovery) Reset(
	ctx context.Context, proof ChallengeProof, next string, caller Caller,
) (user User, err error) {
	if err := r.passwords.checkRoom(ctx); err != nil {
		return User{}, err
	}
	if _, err := r.passwords.checkNext(next, "", "", ""); err != nil {
		return User{}, err
	}
	e := newEvent(ctx, Actor{}, ActionResetPassword, uuid.Nil, "")
	defer r.audit.told(ctx, &e, &err)
	reserved, err := r.limits.reserveProof(ctx, caller.Address)
	if err != nil {
		return User{}, err
	}
	user, err = r.reset(ctx, &e, proof, next)
	r.limits.settleProof(ctx, reserved, err)
	if err == nil {
		// An account whose limits could not be lifted is let in a little later.
		_ = r.limits.lift(ctx, user)
	}
	return user, err
}

// CheckLink looks whether the token of a link could reset a password now. It changes nothing, so
// that whatever opens links on their way uses none up. Errors: [ErrInvalidChallenge].
func (r *Recovery) CheckLink(ctx context.Context, raw string) error {
	id, err := r.challenges.VerifyLink(raw)
	if err != nil {
		return ErrInvalidChallenge
	}
	_, err = r.store.OpenChallenge(ctx, id, ChallengeReset)
	return err
}

func (r *Recovery) reset(
	ctx context.Context, e *Event, proof ChallengeProof, next string,
) (user User, err error) {
	id, owner, err := prove(ctx, r.store, r.challenges, ChallengeReset, proof)
	*e = e.of(owner.ID)
	if err != nil {
		return User{}, err
	}
	defer func() {
		// A right code must not be used up by a password that is refused, or by a full queue.
		if err != nil && proof.Token == "" && !errors.Is(err, ErrInvalidChallenge) {
			_ = r.store.TakeBackGuess(context.WithoutCancel(ctx), id)
		}
	}()
	prepared, err := r.passwords.checkNext(next, "", owner.UsernameKey, addressKey(owner.Email))
	if err != nil {
		return User{}, err
	}
	hash, err := r.passwords.hash(ctx, prepared)
	if err != nil {
		return User{}, err
	}
	before, err := r.store.UserByID(ctx, owner.ID)
	if errors.Is(err, ErrUserNotFound) {
		return User{}, ErrInvalidChallenge
	}
	if err != nil {
		return User{}, err
	}
	done := e.by(owner.ID)
	done.Mails = r.notices.passwordChanged(ctx, before)
	return r.store.ResetPassword(ctx, done, id, hash)
}

// loginKeys are the keys that what was typed may have: that of a username, and that of an address.
func loginKeys(login string) (username, address string) {
	name, _ := parseUsername(login) // a malformed one has no key
	return name.Key, addressKey(login)
}
