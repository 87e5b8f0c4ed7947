package auth

import (
	"context"
	"time"

	"gatehouse.example/internal/ratelimit"
)

// NoticeKinds are the kinds of mails that tell people what happened to their accounts, and that an
// installation may do without. The word of another address is none of them: it has the link that
// takes that back.
func NoticeKinds() []MailKind {
	return []MailKind{
		MailNewDevice, MailPasswordChanged, MailLocked, MailAccountDeleted, MailFactorAdded,
		MailFactorRemoved, MailRecoveryCodeUsed,
	}
}

const (
	// settling is how long an account is new, or its address. Its user logs in for the first time
	// then, from devices that cannot be known yet.
	settling = time.Hour

	// toldOfLock is how often a replica queues the word that an account is locked. The worker sends
	// one a day.
	toldOfLock = time.Hour
	mostLocked = 10_000 // accounts of which a replica remembers that, about 2 MB
)

// Notices tell people by mail what has happened to their accounts. A notice is queued with the
// change that it is about. It goes to the address that was verified by then: whoever takes an
// account over, and gives it another address, must not catch it. The nil Notices tell nothing.
type Notices struct {
	mails *Mails
	locks *ratelimit.Buckets[string]
	clock func() time.Time
}

// NewNotices makes Notices of the kinds that the Mails tell.
func NewNotices(mails *Mails, clock func() time.Time) *Notices {
	return &Notices{mails, ratelimit.NewBuckets[string](mostLocked), clock}
}

func (n *Notices) tells(kind MailKind) bool { return n != nil && n.mails.tells(kind) }

// of is the notice to a user, if it is told, and if there is an address that only the user reads.
func (n *Notices) of(ctx context.Context, kind MailKind, user User) []QueuedMail {
	if !n.tells(kind) || !user.Email.Verified() {
		return nil
	}
	mail := n.mails.queued(ctx, kind, sealedMail{
		To: user.Email.Given, ToKey: user.Email.Key, Username: shownName(user),
	})
	mail.OfNobody = kind == MailAccountDeleted
	return []QueuedMail{mail}
}

func (n *Notices) newDevice(ctx context.Context, user User, now time.Time) []QueuedMail {
	if !isSettled(user, now) {
		return nil
	}
	return n.of(ctx, MailNewDevice, user)
}

// isSettled is false as long as the account is new, or its address: whoever reads the mails there
// has shown that just now.
func isSettled(user User, now time.Time) bool {
	since := user.CreatedAt
	if verified := user.Email.VerifiedAt; verified != nil && verified.After(since) {
		since = *verified
	}
	return now.Sub(since) >= settling
}

func (n *Notices) passwordChanged(ctx context.Context, user User) []QueuedMail {
	return n.of(ctx, MailPasswordChanged, user)
}

func (n *Notices) factorAdded(ctx context.Context, user User) []QueuedMail {
	return n.of(ctx, MailFactorAdded, user)
}

func (n *Notices) factorRemoved(ctx context.Context, user User) []QueuedMail {
	return n.of(ctx, MailFactorRemoved, user)
}

func (n *Notices) recoveryCodeUsed(ctx context.Context, user User) []QueuedMail {
	return n.of(ctx, MailRecoveryCodeUsed, user)
}

func (n *Notices) accountDeleted(ctx context.Context, user User) []QueuedMail {
	return n.of(ctx, MailAccountDeleted, user)
}

// locked is the notice to the owner of an account that refuses logins by its own limit. It is queued
// for any name, and the worker finds out whose it is. So the time of the refusal does not tell
// whether there is such an account.
func (n *Notices) locked(ctx context.Context, account string) []QueuedMail {
	if !n.tells(MailLocked) {
		return nil
	}
	if n.locks.Take(n.clock(), ratelimit.Wanted[string]{
		Key: account, Limit: ratelimit.Limit{Burst: 1, Interval: toldOfLock},
	}) > 0 {
		return nil
	}
	mail := n.mails.queued(ctx, MailLocked, sealedMail{Login: cut(account, mostTyped)})
	mail.OfNobody = true
	return []QueuedMail{mail}
}
