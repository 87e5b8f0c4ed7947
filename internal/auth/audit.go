package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse.example/internal/outcome"
)

// Action is what somebody did, or tried to do.
type Action string

// Actions that the audit log records. Reading is not recorded, with two exceptions: an export,
// since it takes data away, and a request that lacks a permission (ActionAuthorize).
const (
	ActionLogin            Action = "login"
	ActionRefresh          Action = "refresh"
	ActionLogout           Action = "logout"
	ActionRevokeToken      Action = "token.revoke"
	ActionEndSession       Action = "session.end"
	ActionEndSessions      Action = "sessions.end"
	ActionVerifyAddress    Action = "email.verify"
	ActionChangeAddress    Action = "email.change" // asked for; it is done by ActionVerifyAddress
	ActionRemoveAddress    Action = "email.remove"
	ActionUndoAddress      Action = "email.undo"
	ActionResendProof      Action = "email.resend"
	ActionDisplaceUser     Action = "user.displace" // its name is the address of another
	ActionRegister         Action = "user.register" // by a stranger
	ActionCreateUser       Action = "user.create"   // by somebody who manages users
	ActionInviteUser       Action = "user.invite"   // by them too, with a mail
	ActionAcceptInvitation Action = "invitation.accept"
	ActionDisableUser      Action = "user.disable"
	ActionEnableUser       Action = "user.enable"
	ActionUnlockUser       Action = "user.unlock"
	ActionResetFactors     Action = "factors.reset" // by somebody who manages users
	ActionDeleteUser       Action = "user.delete"
	ActionForgotPassword   Action = "password.forgot" // somebody asked for a mail that resets it
	ActionResetPassword    Action = "password.reset"  // by whoever got that mail
	ActionSendReset        Action = "password.mail"   // somebody else asked for it
	ActionMakeChallenge    Action = "challenge.make"  // by a mail that somebody asked for
	ActionFailMail         Action = "mail.fail"       // it was given up
	ActionImportUsers      Action = "users.import"
	ActionExportUser       Action = "user.export" // by its owner
	ActionExportUsers      Action = "users.export"
	ActionChangePassword   Action = "password.change" // by its owner
	ActionUseRecoveryCode  Action = "recovery.use"    // in place of a second factor
	ActionTrustDevice      Action = "device.trust"    // by a login, for the second factor
	ActionRegressPasskey   Action = "passkey.regress" // its counter went back
	ActionSetPassword      Action = "password.set"    // by the operator
	ActionRequireChange    Action = "password.expire" // by somebody who manages users
	ActionRemovePassword   Action = "password.remove" // by its owner, who has passkeys
	ActionAddFactor        Action = "factor.add"
	ActionRemoveFactor     Action = "factor.remove"
	ActionRenamePasskey    Action = "passkey.rename"
	ActionMakeCodes        Action = "recovery.codes"
	ActionForgetDevices    Action = "devices.forget"
	ActionSetRole          Action = "role.set"
	ActionDeleteRole       Action = "role.delete"
	ActionGrantRole        Action = "role.grant"
	ActionRevokeRole       Action = "role.revoke"
	ActionIssueToken       Action = "token.issue" // to a client for itself
	ActionIssueCode        Action = "code.issue"
	ActionRedeemCode       Action = "code.redeem"
	ActionConsent          Action = "consent.give"
	ActionWithdrawConsent  Action = "consent.withdraw"
	ActionGrantToClient    Action = "client.grant"
	ActionRevokeOfClient   Action = "client.revoke"
	ActionAddClient        Action = "client.add"
	ActionSetClient        Action = "client.set"
	ActionDisableClient    Action = "client.disable"
	ActionEnableClient     Action = "client.enable"
	ActionRotateSecret     Action = "client.rotate"
	ActionRetireSecret     Action = "client.retire"
	ActionRetirePepper     Action = "pepper.retire"
	ActionPruneAudit       Action = "audit.prune"
	ActionAddKey           Action = "key.add"
	ActionActivateKey      Action = "key.activate"
	ActionRetireKey        Action = "key.retire"
	ActionRevokeKey        Action = "key.revoke"
	ActionRewrapKeys       Action = "key.rewrap"
	ActionResetKeys        Action = "key.reset"
	ActionRestored         Action = "database.restored"
	ActionAuthorize        Action = "authorize"
	ActionProveClient      Action = "client.authenticate"
	ActionRefusals         Action = "refusals" // refusals of more kinds than are counted apart
	mostTargetCharacters          = 128
	mostRequestCharacters         = 128
	mostAddressCharacters         = 64
	mostNameCharacters            = 64
)

// Actions returns all actions that the audit log may have, by name.
func Actions() []Action {
	return []Action{
		ActionPruneAudit, ActionAuthorize, ActionMakeChallenge, ActionAddClient, ActionProveClient, ActionDisableClient,
		ActionEnableClient, ActionGrantToClient, ActionRetireSecret, ActionRevokeOfClient,
		ActionRotateSecret, ActionSetClient, ActionActivateKey, ActionAddKey, ActionRetireKey, ActionRevokeKey,
		ActionResetKeys, ActionRewrapKeys, ActionRestored, ActionLogin, ActionLogout,
		ActionChangeAddress, ActionRemoveAddress, ActionResendProof, ActionUndoAddress,
		ActionVerifyAddress, ActionForgetDevices, ActionAddFactor, ActionRemoveFactor, ActionResetFactors, ActionFailMail,
		ActionUseRecoveryCode, ActionTrustDevice, ActionRegressPasskey,
		ActionRenamePasskey, ActionMakeCodes, ActionRemovePassword, ActionChangePassword, ActionRequireChange, ActionForgotPassword,
		ActionSendReset, ActionResetPassword, ActionSetPassword, ActionRetirePepper,
		ActionRefresh, ActionRefusals, ActionDeleteRole, ActionGrantRole, ActionRevokeRole,
		ActionAcceptInvitation, ActionIssueCode, ActionRedeemCode, ActionConsent, ActionWithdrawConsent, ActionSetRole, ActionEndSession, ActionEndSessions, ActionIssueToken, ActionRevokeToken,
		ActionCreateUser, ActionDeleteUser, ActionDisableUser, ActionDisplaceUser,
		ActionEnableUser, ActionInviteUser, ActionRegister,
		ActionExportUser, ActionUnlockUser, ActionExportUsers, ActionImportUsers,
	}
}

// Outcomes returns all outcomes that the audit log may have, by name.
func Outcomes() (names []string) {
	for _, err := range Refusals() {
		if known, ok := outcome.Of(err); ok && !known.IsFault() && known.Outcome() != "" {
			names = append(names, known.Outcome())
		}
	}
	names = append(names, outcomeSuccess, outcomeSeveral, outcomeUndeliverable, OutcomeRepeated,
		OutcomeRepeatedElsewhere)
	slices.Sort(names)
	return slices.Compact(names)
}

// Outcomes of a refresh token that is answered again, within the grace. The function [Outcome] has
// the others.
const (
	OutcomeRepeated = "repeated"
	// OutcomeRepeatedElsewhere is a repeat from another network than that of the refresh.
	OutcomeRepeatedElsewhere = "repeated_elsewhere"
)

// Event is what the audit log records of an operation.
type Event struct {
	Action  Action
	Outcome string    // of the function Outcome, or one of the constants
	UserID  uuid.UUID // the user it was done to; Nil: none, or the one that UserKey names
	UserKey string    // the key of a username, for a user whose id is not known
	Target  string    // what it was done to besides
	Count   int64     // how many operations it stands for
	By      Actor
	Mails   []QueuedMail // that are sent if the event is recorded
	Origin
}

// outcomeUndeliverable is the outcome of a mail that was given up.
const outcomeUndeliverable = "undeliverable"

// outcomeSeveral is the outcome of an event that stands for refusals with different reasons.
const outcomeSeveral = "several"

// RecordedEvent is a line of the audit log.
type RecordedEvent struct {
	Event
	ID        int64
	At        time.Time
	ActorName string // the name now; empty if the user was deleted
	UserName  string // as ActorName
}

// EventFilter says which events to find. The zero EventFilter matches all.
type EventFilter struct {
	UserID, ActorID    uuid.UUID
	Actor              ActorKind
	Operator           string // the name of an operator; only with ActorOperator
	Action             Action
	Outcome, RequestID string
	Since, Until       time.Time // Until is the first moment after the period
}

// EventPosition is a place in the log, from which events go back in time. The zero position is the
// end of the log.
type EventPosition struct {
	At time.Time
	ID int64
}

// Position is the place from which a list goes on with the events before this one.
func (e RecordedEvent) Position() EventPosition { return EventPosition{e.At, e.ID} }

// newEvent returns the event of an operation that succeeds. A store records it in the transaction
// of the operation.
func newEvent(ctx context.Context, by Actor, action Action, userID uuid.UUID, target string) Event {
	o := originOf(ctx)
	o.RequestID, o.Address = oneLine(o.RequestID, mostRequestCharacters),
		oneLine(o.Address, mostAddressCharacters)
	o.UserAgent = oneLine(o.UserAgent, maxUserAgent)
	by.Kind, by.Name = cmp.Or(by.Kind, ActorAnonymous), oneLine(by.Name, mostNameCharacters)
	return Event{
		Action: action, Outcome: Outcome(nil), UserID: userID,
		Target: oneLine(target, mostTargetCharacters), Count: 1, By: by, Origin: o,
	}
}

// by returns the event as one of a user, who has just proved who they are.
func (e Event) by(userID uuid.UUID) Event {
	e.UserID, e.By = userID, Actor{Kind: ActorUser, ID: userID}
	return e
}

// byClient returns the event as one of a client, which has just authenticated.
func (e Event) byClient(subject uuid.UUID) Event {
	e.By = Actor{Kind: ActorClient, ID: subject}
	return e
}

// of returns the event as one of something that is done to a user.
func (e Event) of(userID uuid.UUID) Event {
	e.UserID = userID
	return e
}

// named returns the event as one about the user who has, had or would have a username. Text that
// cannot be a username changes nothing.
func (e Event) named(username string) Event {
	if name, err := parseUsername(username); err == nil {
		e.UserKey = name.Key
	}
	return e
}

// oneLine returns text that a database takes, and that stays on one line of a printed log.
func oneLine(text string, most int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, cut(text, most))
}

// recordTimeout bounds how long a caller waits for the audit log after everything else is done,
// including the turn at the database.
const recordTimeout = 5 * time.Second

// AuditStore stores the audit log.
type AuditStore interface {
	// RecordEvent stores an event by itself. It is for refusals.
	RecordEvent(ctx context.Context, e Event) error
	// RecordEvents is RecordEvent for many. It stores all of them or none.
	RecordEvents(ctx context.Context, events []Event) error
	// FindEvents returns at most limit events that match the filter, the newest first. It begins
	// with the first one before a position.
	FindEvents(
		ctx context.Context, filter EventFilter, before EventPosition, limit int,
	) ([]RecordedEvent, error)
	// PruneEvents deletes from the log. If it fails, it may have deleted some of the refusals.
	PruneEvents(ctx context.Context, e Event, p Prune) (Pruned, error)
}

// Audit is the audit log. A store records what succeeds, in the transaction of the operation.
// Refusals are recorded here.
type Audit struct {
	store AuditStore
	tally *Tally
}

// NewAudit makes an Audit that records refusals as far as the tally admits them.
func NewAudit(store AuditStore, tally *Tally) *Audit { return &Audit{store, tally} }

// told records an operation that was refused. An operation that succeeded was recorded by its
// store. It is deferred, with the operation's error. If it cannot write the line, the error becomes
// [ErrUnavailable], so that nobody learns whether a guess was right. Whether a line is written or
// counted depends on the caller alone, so that reveals nothing either.
func (a *Audit) told(ctx context.Context, e *Event, err *error) {
	if !worthTelling(*err) || e.Action == "" {
		return
	}
	e.Outcome = Outcome(*err)
	if failed := a.tell(ctx, *e); failed != nil {
		*err = failed
	}
}

// record records something that succeeded and changed nothing.
func (a *Audit) record(ctx context.Context, e Event) error { return a.store.RecordEvent(ctx, e) }

// tell records something that changed nothing, or counts it.
func (a *Audit) tell(ctx context.Context, e Event) error {
	// One that brings a mail is never only counted: its mail would be lost.
	if len(e.Mails) == 0 && !a.tally.admits(e) {
		return nil
	}
	// It is recorded even if the caller has gone by now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := a.store.RecordEvent(ctx, e); err != nil {
		return fmt.Errorf("audit of %s (%s): %w", e.Action, e.Outcome, err)
	}
	return nil
}

// worthTelling is true for refusals by a rule. Malformed input decides nothing. Faults are in the
// log of requests. A flood of requests that are turned away must not become a flood of writes.
func worthTelling(err error) bool {
	if known, ok := outcome.Of(err); !ok || known.IsFault() {
		return false
	}
	limited, ok := errors.AsType[*LimitedError](err)
	return !ok || !limited.Remembered && !limited.Undecided
}

// Events returns at most limit events that match the filter, the newest first. It begins with the
// first one before a position.
func (a *Audit) Events(
	ctx context.Context, filter EventFilter, before EventPosition, limit int,
) ([]RecordedEvent, error) {
	return a.store.FindEvents(ctx, filter, before, limit)
}

// Prune says what is deleted from the audit log.
type Prune struct {
	OlderThan time.Duration
	Refusals  bool // delete refusals alone, also of the current month; false: delete whole months
	// Deleted is an age. Of accounts that were deleted longer ago, nothing personal stays:
	// addresses, programs, request ids and session ids are blanked.
	Deleted time.Duration
}

// Pruned is what was deleted: the names of months, how many refusals, and how many events were
// blanked.
type Pruned struct {
	Months   []string
	Refusals int64
	Blanked  int64
}

// Prune deletes old events from the audit log, and blanks what is personal of accounts that are
// gone. Only the owner of the schema may do that.
func (a *Audit) Prune(ctx context.Context, by Actor, p Prune) (Pruned, error) {
	if err := by.operates(); err != nil {
		return Pruned{}, err
	}
	what := p.OlderThan.String()
	if p.Refusals {
		what = "refusals " + what
	}
	return a.store.PruneEvents(ctx, newEvent(ctx, by, ActionPruneAudit, uuid.Nil, what), p)
}

const (
	followEvery = time.Second
	followPage  = 500

	// followOverlap is how much later than others an event may become visible, although it is
	// older. An event is visible when its transaction is committed, and that may have to wait for a
	// standby.
	followOverlap = 30 * time.Second
)

// LastEvents returns the last events of the log, in the order in which they happened.
func (a *Audit) LastEvents(
	ctx context.Context, filter EventFilter, limit int,
) ([]RecordedEvent, error) {
	events, err := a.Events(ctx, filter, EventPosition{}, limit)
	slices.Reverse(events)
	return events, err
}

// FollowEvents calls each with the last events, and then with those that happen, each event once.
// It returns when the context ends, or when each returns an error, which it returns. It goes on
// after an outage of the database.
func (a *Audit) FollowEvents(
	ctx context.Context, filter EventFilter, last int, each func(RecordedEvent) error,
) error {
	events, err := a.LastEvents(ctx, filter, last)
	if err != nil {
		return err
	}
	given := make(map[int64]time.Time)
	if len(events) > 0 {
		filter.Since = events[0].At
	}
	for {
		for _, e := range events {
			if _, before := given[e.ID]; before {
				continue
			}
			if err := each(e); err != nil {
				return err
			}
			given[e.ID] = e.At
		}
		if n := len(events); n > 0 {
			filter.Since = latest(filter.Since, events[n-1].At.Add(-followOverlap))
			maps.DeleteFunc(given, func(_ int64, at time.Time) bool {
				return at.Before(filter.Since)
			})
		}
		if err := pause(ctx, followEvery); err != nil {
			return err
		}
		if events, err = a.allEvents(ctx, filter); err != nil && !errors.Is(err, ErrUnavailable) {
			return err
		}
	}
}

// allEvents reads all events that match a filter, page by page, in the order in which they
// happened.
func (a *Audit) allEvents(
	ctx context.Context, filter EventFilter,
) (all []RecordedEvent, err error) {
	for before := (EventPosition{}); ; {
		page, err := ReadPage(followPage, func(limit int) ([]RecordedEvent, error) {
			return a.Events(ctx, filter, before, limit)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		last := page.Last()
		if last == nil {
			slices.Reverse(all)
			return all, nil
		}
		before = last.Position()
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
