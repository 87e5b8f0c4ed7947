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

	"gatehouse/internal/token"
)

// Action is what somebody did or wanted to do.
type Action string

// Actions that the audit log tells of. Reading is none, but for the export, which takes password hashes away, and for
// what was refused because of a missing permission (Authorize).
const (
	ActionLogin           Action = "login"
	ActionRefresh         Action = "refresh"
	ActionLogout          Action = "logout"
	ActionRevokeToken     Action = "token.revoke"
	ActionEndSession      Action = "session.end"
	ActionEndSessions     Action = "sessions.end"
	ActionRegister        Action = "user.register" // by a stranger
	ActionCreateUser      Action = "user.create"   // by whoever manages users
	ActionDisableUser     Action = "user.disable"
	ActionEnableUser      Action = "user.enable"
	ActionUnlockUser      Action = "user.unlock"
	ActionDeleteUser      Action = "user.delete"
	ActionImportUsers     Action = "users.import"
	ActionExportUsers     Action = "users.export"
	ActionChangePassword  Action = "password.change" // by its owner
	ActionSetPassword     Action = "password.set"    // by the operator
	ActionRequireChange   Action = "password.expire" // by whoever manages users
	ActionSetRole         Action = "role.set"
	ActionDeleteRole      Action = "role.delete"
	ActionGrantRole       Action = "role.grant"
	ActionRevokeRole      Action = "role.revoke"
	ActionIssueToken      Action = "token.issue" // to a client, for itself
	ActionGrantToClient   Action = "client.grant"
	ActionRevokeOfClient  Action = "client.revoke"
	ActionAddClient       Action = "client.add"
	ActionDisableClient   Action = "client.disable"
	ActionEnableClient    Action = "client.enable"
	ActionRotateSecret    Action = "client.rotate"
	ActionRetireSecret    Action = "client.retire"
	ActionRetirePepper    Action = "pepper.retire"
	ActionPruneAudit      Action = "audit.prune"
	ActionAddKey          Action = "key.add"
	ActionActivateKey     Action = "key.activate"
	ActionRetireKey       Action = "key.retire"
	ActionRevokeKey       Action = "key.revoke"
	ActionRewrapKeys      Action = "key.rewrap"
	ActionAuthorize       Action = "authorize"
	mostTargetCharacters         = 128
	mostRequestCharacters        = 128
	mostAddressCharacters        = 64
)

// Kinds of actors.
const (
	ActorAnonymous = "anonymous" // or whoever did not prove who he is
	ActorUser      = "user"
	ActorClient    = "client"   // an OAuth client, for itself
	ActorOperator  = "operator" // at the command line, with the database's password
	ActorService   = "service"  // a replica by itself
)

// Origin is who asks for an operation, and from where. It goes with the context: the audit log alone depends on it, and
// tells of every operation.
type Origin struct {
	Actor     string    // one of the kinds; "" is ActorAnonymous
	ActorID   uuid.UUID // of an ActorUser, or what stands for an ActorClient
	RequestID string
	Address   string
	UserAgent string
}

type originKey struct{}

// WithOrigin says who asks for the operations of a context.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// WithSubject says that the user or the client is known now.
func WithSubject(ctx context.Context, subject token.Subject) context.Context {
	o := originOf(ctx)
	o.Actor, o.ActorID = ActorUser, subject.UserID
	if subject.IsClient() {
		o.Actor = ActorClient
	}
	return WithOrigin(ctx, o)
}

func originOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// Event is what the audit log tells of an operation.
type Event struct {
	Action  Action
	Outcome string    // as the function Outcome names it
	UserID  uuid.UUID // whom it was done to; Nil: nobody, or whom UserKey names
	UserKey string    // of whoever has no name yet, or whose id is not known
	Target  string    // what else it was done to
	Origin
}

// RecordedEvent is a line of the audit log.
type RecordedEvent struct {
	Event
	ID        int64
	At        time.Time
	ActorName string // as it is now; empty if there is no such user any more
	UserName  string // likewise
}

// EventFilter says which events are looked for. The zero one says all.
type EventFilter struct {
	UserID, ActorID    uuid.UUID
	Action             Action
	Outcome, RequestID string
	Since, Until       time.Time // Until is the first moment after
}

// EventPosition is a place in the log, from which events go back in time. The zero one is its end.
type EventPosition struct {
	At time.Time
	ID int64
}

// Position is where the events before this one begin.
func (e RecordedEvent) Position() EventPosition { return EventPosition{e.At, e.ID} }

// newEvent is of an operation that succeeds: a Store tells of it in the transaction in which it happens.
func newEvent(ctx context.Context, action Action, userID uuid.UUID, target string) Event {
	o := originOf(ctx)
	o.Actor = cmp.Or(o.Actor, ActorAnonymous)
	o.RequestID, o.Address = oneLine(o.RequestID, mostRequestCharacters), oneLine(o.Address, mostAddressCharacters)
	o.UserAgent = oneLine(o.UserAgent, maxUserAgent)
	return Event{Action: action, Outcome: Outcome(nil), UserID: userID, Target: oneLine(target, mostTargetCharacters), Origin: o}
}

// by makes an event that of a user who has just proved who he is.
func (e Event) by(userID uuid.UUID) Event {
	e.UserID, e.Actor, e.ActorID = userID, ActorUser, userID
	return e
}

// byClient makes an event that of a client that has just proved itself.
func (e Event) byClient(subject uuid.UUID) Event {
	e.Actor, e.ActorID = ActorClient, subject
	return e
}

// of makes an event that of what is done to a user.
func (e Event) of(userID uuid.UUID) Event {
	e.UserID = userID
	return e
}

// named makes an event that of whoever has, had or would have a username. Nobody has a name that is none.
func (e Event) named(username string) Event {
	if name, err := parseUsername(username); err == nil {
		e.UserKey = name.Key
	}
	return e
}

// oneLine is text that a database takes and that stays on the line of a log where it is printed.
func oneLine(text string, most int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, cut(text, most))
}

// recordTimeout bounds what a caller waits for after everything else is done: his turn at the database, among others.
const recordTimeout = 5 * time.Second

// told leaves a line of an operation that was refused: of one that succeeded, the Store has left it. It is deferred, with
// the operation's error. If the line cannot be written, nobody learns whether a guess was right: the error becomes
// ErrUnavailable.
func (s *Service) told(ctx context.Context, e *Event, err *error) {
	if !worthTelling(*err) || e.Action == "" {
		return
	}
	e.Outcome = Outcome(*err)
	// Whoever has left in the meantime is told of all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if failed := s.store.RecordEvent(ctx, *e); failed != nil {
		*err = fmt.Errorf("audit of %s (%s): %w", e.Action, e.Outcome, failed)
	}
}

// worthTelling is true for refusals by a rule. Malformed input decides nothing, faults are in the log of the requests, and
// a flood that is turned away must not become one of writes.
func worthTelling(err error) bool {
	switch Outcome(err) {
	case "success", "error", "invalid_input", "overloaded", "stopping", "unavailable":
		return false
	}
	limited, ok := errors.AsType[*LimitedError](err)
	return !ok || !limited.Remembered
}

// Events returns at most limit events that the filter names, the newest first, from the first before a position.
func (s *Service) Events(ctx context.Context, filter EventFilter, before EventPosition, limit int) ([]RecordedEvent, error) {
	return s.store.FindEvents(ctx, filter, before, limit)
}

// PruneEvents drops the months of the audit log that ended so long ago, and returns their names. Only the owner of the
// schema may.
func (s *Service) PruneEvents(ctx context.Context, olderThan time.Duration) ([]string, error) {
	return s.store.PruneEvents(ctx, newEvent(ctx, ActionPruneAudit, uuid.Nil, olderThan.String()), olderThan)
}

const (
	followEvery = time.Second
	followPage  = 500

	// followOverlap is how long after others an event may come to light that is older: it is committed when its
	// transaction is, for instance after a standby has it.
	followOverlap = 30 * time.Second
)

// LastEvents is Events from the end of the log, in the order in which they happened.
func (s *Service) LastEvents(ctx context.Context, filter EventFilter, limit int) ([]RecordedEvent, error) {
	events, err := s.Events(ctx, filter, EventPosition{}, limit)
	slices.Reverse(events)
	return events, err
}

// FollowEvents gives each the last events, and then those that happen, each once, until the context ends or each has an
// error, which it returns. It goes on when the database has been gone for a while.
func (s *Service) FollowEvents(ctx context.Context, filter EventFilter, last int, each func(RecordedEvent) error) error {
	events, err := s.LastEvents(ctx, filter, last)
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
			maps.DeleteFunc(given, func(_ int64, at time.Time) bool { return at.Before(filter.Since) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
		if events, err = s.allEvents(ctx, filter); err != nil && !errors.Is(err, ErrUnavailable) {
			return err
		}
	}
}

// allEvents reads all that a filter names, page by page, in the order in which they happened.
func (s *Service) allEvents(ctx context.Context, filter EventFilter) (all []RecordedEvent, err error) {
	for before := (EventPosition{}); ; before = all[len(all)-1].Position() {
		page, err := s.Events(ctx, filter, before, followPage)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(page) < followPage {
			slices.Reverse(all)
			return all, nil
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
