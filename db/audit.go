package db

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/auth"
)

// storedEvent is an event as the function record_event takes it. Whom it was done to it takes apart
// from it, but from a list of them.
type storedEvent struct {
	Action        auth.Action  `json:"action"`
	Outcome       string       `json:"outcome"`
	Actor         string       `json:"actor"`
	ActorID       *uuid.UUID   `json:"actor_id"`
	OperatorName  string       `json:"operator_name"`
	Target        string       `json:"target"`
	RequestID     string       `json:"request_id"`
	ClientAddress string       `json:"client_address"`
	UserAgent     string       `json:"user_agent"`
	Count         int64        `json:"count"`
	UserID        *uuid.UUID   `json:"user_id,omitzero"`
	UsernameKey   string       `json:"username_key,omitzero"`
	Mails         []storedMail `json:"mails,omitzero"`
}

func stored(e auth.Event) storedEvent {
	return storedEvent{
		Action: e.Action, Outcome: e.Outcome, Actor: string(e.By.Kind), ActorID: orNull(e.By.ID), OperatorName: e.By.Name, Target: e.Target,
		RequestID: e.RequestID, ClientAddress: e.Address, UserAgent: e.UserAgent, Count: max(e.Count, 1),
		Mails: storedMails(e.Mails),
	}
}

func eventJSON(e auth.Event) string { return encoded(stored(e)) }

func encoded(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts that are valid UTF-8 can be encoded
	}
	return string(text)
}

func recordParams(e auth.Event) sqlcgen.RecordEventParams {
	return sqlcgen.RecordEventParams{Event: eventJSON(e), UserID: orNull(e.UserID), UsernameKey: e.UserKey}
}

// RecordEvent implements auth.Store.
func (d *DB) RecordEvent(ctx context.Context, e auth.Event) error {
	return translate("record event", d.queries.RecordEvent(ctx, recordParams(e)))
}

// RecordByRule implements auth.Store.
func (d *DB) RecordByRule(ctx context.Context, e auth.Event, rule auth.Rule) error {
	return d.inTurnUnlessFree(ctx, "record event", e.By, rule, target{userID: e.UserID}, func(q *sqlcgen.Queries) error {
		return translate("record event", q.RecordEvent(ctx, recordParams(e)))
	})
}

// RecordEvents implements auth.Store.
func (d *DB) RecordEvents(ctx context.Context, events []auth.Event) error {
	list := make([]storedEvent, len(events))
	for n, e := range events {
		list[n] = stored(e)
		list[n].UserID, list[n].UsernameKey = orNull(e.UserID), e.UserKey
	}
	return translate("record events", d.queries.RecordEvents(ctx, encoded(list)))
}

// endOfTime is after every event.
func endOfTime() time.Time { return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }

// FindEvents implements auth.Store.
func (d *DB) FindEvents(ctx context.Context, f auth.EventFilter, before auth.EventPosition, limit int) ([]auth.RecordedEvent, error) {
	if before.At.IsZero() {
		before.At = endOfTime()
	}
	if !f.Until.IsZero() && f.Until.Before(before.At) {
		before = auth.EventPosition{At: f.Until}
	}
	rows, err := sqlcgen.New(planned{d.retrying()}).FindEvents(ctx, sqlcgen.FindEventsParams{
		Since: f.Since, Before: before.At, BeforeID: before.ID, UserID: orNull(f.UserID), ActorID: orNull(f.ActorID),
		Actor: orNull(string(f.Actor)), OperatorName: orNull(f.Operator), Action: orNull(string(f.Action)), Outcome: orNull(f.Outcome), RequestID: orNull(f.RequestID), MaxRows: int32(limit),
	})
	events := make([]auth.RecordedEvent, len(rows))
	for n, row := range rows {
		events[n] = auth.RecordedEvent{
			ID: row.ID, At: row.At, ActorName: cmp.Or(orZero(row.ActorName), orZero(row.ActorClientID), row.OperatorName), UserName: orZero(row.UserName),
			Event: auth.Event{
				Action: auth.Action(row.Action), Outcome: row.Outcome, UserID: orZero(row.UserID), Target: row.Target, Count: row.Count,
				By:     auth.Actor{Kind: auth.ActorKind(row.Actor), ID: orZero(row.ActorID), Name: row.OperatorName},
				Origin: auth.Origin{RequestID: row.RequestID, Address: row.ClientAddress, UserAgent: row.UserAgent},
			},
		}
	}
	return events, translate("find events", err)
}

// planned has each statement planned for the arguments that it comes with.
type planned struct{ sqlcgen.DBTX }

// Query implements sqlcgen.DBTX.
func (p planned) Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error) {
	return p.DBTX.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, arguments...)...)
}

// AddEventPartitions makes room for the events of this month and the next ones.
func (d *DB) AddEventPartitions(ctx context.Context) error {
	return translate("add audit partitions", d.queries.AddAuditPartitions(ctx))
}

// refusalsAtOnce is how many are deleted in one transaction, so that an interrupted one is not for
// nothing.
const refusalsAtOnce = 10_000

// PruneEvents implements auth.Store.
func (d *DB) PruneEvents(ctx context.Context, e auth.Event, p auth.Prune) (pruned auth.Pruned, err error) {
	err = d.inTransaction(ctx, "prune events", func(tx pgx.Tx) error {
		pruned = auth.Pruned{}
		if _, err := tx.Exec(ctx, withoutTimeouts); err != nil {
			return translate("prepare", err)
		}
		q := d.queries.WithTx(tx)
		months, err := q.ListEndedAuditPartitions(ctx, p.OlderThan.Seconds())
		if err != nil {
			return translate("list audit partitions", err)
		}
		if pruned.Blanked, err = blankEvents(ctx, q, p.Deleted); err != nil {
			return err
		}
		if p.Refusals {
			pruned.Refusals, err = deleteRefusals(ctx, q, p.OlderThan)
		} else { // at the end, since it keeps everybody from the log
			pruned.Months, err = dropPartitions(ctx, tx, months)
		}
		if err != nil {
			return err
		}
		return translate("record event", q.RecordEvent(ctx, recordParams(e)))
	})
	for more := pruned.Refusals == refusalsAtOnce; err == nil && more; {
		var deleted int64
		deleted, err = deleteRefusals(ctx, d.queries, p.OlderThan)
		pruned.Refusals += deleted
		more = deleted == refusalsAtOnce
	}
	return pruned, err
}

func blankEvents(ctx context.Context, q *sqlcgen.Queries, deleted time.Duration) (blanked int64, err error) {
	users, err := q.ListForgottenUsers(ctx, deleted.Seconds())
	if err != nil || len(users) == 0 {
		return 0, translate("list forgotten users", err)
	}
	by, err := q.BlankEventsBy(ctx, users)
	if err != nil {
		return 0, translate("blank events", err)
	}
	of, err := q.BlankEventsOf(ctx, users)
	return by + of, translate("blank events", err)
}

func deleteRefusals(ctx context.Context, q *sqlcgen.Queries, olderThan time.Duration) (int64, error) {
	deleted, err := q.DeleteRefusals(ctx, sqlcgen.DeleteRefusalsParams{OlderThanSeconds: olderThan.Seconds(), MaxRows: refusalsAtOnce})
	return deleted, translate("delete refusals", err)
}

func dropPartitions(ctx context.Context, tx pgx.Tx, names []string) (dropped []string, err error) {
	for _, name := range names {
		if _, err := tx.Exec(ctx, "DROP TABLE "+pgx.Identifier{name}.Sanitize()); err != nil {
			return nil, translate("drop "+name, err)
		}
		dropped = append(dropped, strings.ReplaceAll(strings.TrimPrefix(name, "audit_events_"), "_", "-"))
	}
	return dropped, nil
}
