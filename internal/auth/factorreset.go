package auth

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// ResetFactors takes all that a user proves besides the password, for whoever has lost it, and ends
// the user's sessions. The next login needs the password alone, or sets up a factor anew where the
// account must have one. A user who is [User.Passwordless] has no way in then, until a password is
// set: by an initial secret, or by the mail of [Recovery]. Errors: [ErrUserNotFound],
// [ErrBeyondRights]; [ErrForbidden] for the user's own account.
func (a *Accounts) ResetFactors(ctx context.Context, by Actor, who UserRef) (user User, err error) {
	e := who.about(newEvent(ctx, by, ActionResetFactors, uuid.Nil, ""))
	defer a.audit.told(ctx, &e, &err)
	if user, err = who.find(ctx, a.store); err != nil {
		return User{}, err
	}
	done := e
	if user.Factors != (FactorCount{}) {
		done.Mails = a.notices.factorRemoved(ctx, user)
	}
	return a.store.ResetFactors(ctx, done, mayResetFactors(by), user.Username.Key)
}

// mayResetFactors is mayManage for the accounts of others. Whoever has stolen an administrator's
// token must not be able to take away what keeps them from logging in: the own factors are taken
// away on pages, with a proof that is fresh.
func mayResetFactors(by Actor) Rule {
	return Judged(func(seen Sight) error {
		if err := manages(by, seen.User); err != nil {
			return err
		}
		if by.Kind == ActorUser && by.ID == seen.User.ID {
			return fmt.Errorf("%w: the own factors", ErrForbidden)
		}
		return nil
	})
}
