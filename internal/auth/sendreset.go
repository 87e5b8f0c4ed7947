package auth

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// Send queues the mail of Forgot for a user, at the word of somebody who manages accounts. They
// learn neither the address nor what is in the mail: whoever could read it would own the account.
// The limits on mails hold here too, and are looked at by the worker that sends it. Errors:
// [ErrUserNotFound], [ErrBeyondRights], [ErrUserDisabled], [ErrNoVerifiedAddress].
func (r *Recovery) Send(
	ctx context.Context, by Actor, who UserRef, language string,
) (user User, err error) {
	e := who.about(newEvent(ctx, by, ActionSendReset, uuid.Nil, ""))
	defer r.audit.told(ctx, &e, &err)
	if user, err = who.find(ctx, r.store); err != nil {
		return User{}, err
	}
	sent := e.of(user.ID)
	sent.Mails = []QueuedMail{r.mails.queued(ctx, MailReset, sealedMail{
		Login: user.Username.Key, Language: language,
	})}
	return user, r.store.RecordByRule(ctx, sent, maySend(by))
}

// maySend is mayManage, and wants an account that gets the mail. Whoever does not manage the
// account does not learn whether it does.
func maySend(by Actor) Rule {
	return Judged(func(seen Sight) error {
		if err := manages(by, seen.User); err != nil {
			return err
		}
		switch {
		case seen.User.Disabled():
			return fmt.Errorf("%w: no mail is sent to it", ErrUserDisabled)
		case !seen.User.Email.Verified():
			return ErrNoVerifiedAddress
		}
		return nil
	})
}
