package db

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/db/internal/sqlcgen"
	"gatehouse/internal/auth"
)

// eventJSON is an event as the function record_event takes it.
func eventJSON(e auth.Event) string {
	encoded, err := json.Marshal(struct {
		Action        auth.Action `json:"action"`
		Outcome       string      `json:"outcome"`
		Actor         string      `json:"actor"`
		ActorID       *uuid.UUID  `json:"actor_id"`
		Target        string      `json:"target"`
		RequestID     string      `json:"request_id"`
		ClientAddress string      `json:"client_address"`
		UserAgent     string      `json:"user_agent"`
	}{e.Action, e.Outcome, e.Actor, orNull(e.ActorID), e.Target, e.RequestID, e.Address, e.UserAgent})
	if err != nil {
		panic(err) // texts that are valid UTF-8 can be encoded
	}
	return string(encoded)
}

func recordParams(e auth.Event) sqlcgen.RecordEventParams {
	return sqlcgen.RecordEventParams{Event: eventJSON(e), UserID: orNull(e.UserID), UsernameKey: e.UserKey}
}

// RecordEvent implements auth.Store.
func (d *DB) RecordEvent(ctx context.Context, e auth.Event) error {
	return translate("record event", d.queries.RecordEvent(ctx, recordParams(e)))
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
	rows, err := sqlcgen.New(planned{d.pool}).FindEvents(ctx, sqlcgen.FindEventsParams{
		Since: f.Since, Before: before.At, BeforeID: before.ID, UserID: orNull(f.UserID), ActorID: orNull(f.ActorID),
		Action: orNull(string(f.Action)), Outcome: orNull(f.Outcome), RequestID: orNull(f.RequestID), MaxRows: int32(limit),
	})
	events := make([]auth.RecordedEvent, len(rows))
	for n, row := range rows {
		events[n] = auth.RecordedEvent{
			ID: row.ID, At: row.At, ActorName: cmp.Or(orZero(row.ActorName), orZero(row.ActorClientID)), UserName: orZero(row.UserName),
			Event: auth.Event{
				Action: auth.Action(row.Action), Outcome: row.Outcome, UserID: orZero(row.UserID), Target: row.Target,
				Origin: auth.Origin{
					Actor: row.Actor, ActorID: orZero(row.ActorID), RequestID: row.RequestID, Address: row.ClientAddress, UserAgent: row.UserAgent,
				},
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

// MayChangeEvents tells whether the role of the connection could take something out of the log.
func (d *DB) MayChangeEvents(ctx context.Context) (bool, error) {
	may, err := d.queries.MayChangeAudit(ctx)
	return may, translate("may change audit", err)
}

// PruneEvents implements auth.Store.
func (d *DB) PruneEvents(ctx context.Context, e auth.Event, olderThan time.Duration) (pruned []string, err error) {
	err = d.inTransaction(ctx, "prune events", func(tx pgx.Tx) error {
		q := d.queries.WithTx(tx)
		months, err := q.ListEndedAuditPartitions(ctx, olderThan.Seconds())
		if err != nil {
			return translate("list audit partitions", err)
		}
		for _, name := range months {
			if _, err := tx.Exec(ctx, "DROP TABLE "+pgx.Identifier{name}.Sanitize()); err != nil {
				return translate("drop "+name, err)
			}
			pruned = append(pruned, strings.ReplaceAll(strings.TrimPrefix(name, "audit_events_"), "_", "-"))
		}
		return translate("record event", q.RecordEvent(ctx, recordParams(e)))
	})
	return pruned, err
}
