package auth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// refused is a service that refuses, at a moment that does not pass, and the log that it writes.
type refused struct {
	*testing.T
	*authtest.Rules
	owner *pgx.Conn
}

func startRefused(t *testing.T) refused {
	t.Helper()
	url, now := dbtest.New(t), time.Now()
	owner := connectTo(t, dbtest.Owner(t, url))
	clock := func() time.Time { return now }
	return refused{t, authtest.New(t, open(t, url), authtest.Options{Clock: clock}), owner}
}

// refuse refuses a client from an address.
func (r refused) refuse(address, agent, clientID string) {
	r.Helper()
	ctx := auth.WithOrigin(
		r.Context(), auth.Origin{Address: address, UserAgent: agent, RequestID: "R" + clientID},
	)
	if err := r.Clients.Refuse(
		ctx, auth.Client{ID: clientID}, auth.ErrInvalidClient,
	); !errors.Is(err, auth.ErrInvalidClient) {
		r.Fatal(err)
	}
}

func (r refused) lines(where string) (lines []string) {
	r.Helper()
	rows, err := r.owner.Query(
		r.Context(),
		"SELECT concat_ws(' ', action, outcome, actor, target, client_address, user_agent, request_id, count) FROM audit_events "+where,
	)
	must(r, err)
	lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
	must(r, err)
	return lines
}

// A line that stands for many refusals must have only what they have in common. Otherwise it would
// accuse somebody who did not do it.
func TestALineThatStandsForManyTellsWhatAllHaveInCommon(t *testing.T) {
	t.Parallel()
	r := startRefused(t)
	for range 100 {
		r.refuse("2001:db8::1", "curl", "shop")
	}
	for range 5 {
		r.refuse("2001:db8::1", "curl", "shop")
	}
	r.refuse("2001:db8::2", "wget", "desk")
	must(t, r.Audit.TellCounted(t.Context()))
	want := "client.authenticate invalid_client anonymous  2001:db8::/64   6"
	if lines := r.lines("WHERE count > 1"); len(lines) != 1 || lines[0] != want {
		t.Errorf("%q, want %q", lines, want)
	}
	must(t, r.Audit.TellCounted(t.Context()))
	if lines := r.lines("WHERE count > 1"); len(lines) != 1 {
		t.Errorf("told twice: %q", lines)
	}
	r.refuse("2001:db8::1", "curl", "shop")
	must(t, r.Audit.TellCounted(t.Context()))
	want = "client.authenticate invalid_client anonymous shop 2001:db8::1 curl Rshop 1"
	if lines := r.lines("ORDER BY id DESC LIMIT 1"); lines[0] != want {
		t.Errorf("one alone: %q, want %q", lines, want)
	}
}

// A flood from everywhere must not write much more than one from one place. Nor may it use up the
// memory.
func TestRefusalsFromMoreNetworksThanAreCountedApartAreOneLine(t *testing.T) {
	t.Parallel()
	r := startRefused(t)
	for n := range 2500 {
		r.refuse(fmt.Sprintf("10.0.%d.%d", n/256, n%256), "curl", "")
	}
	if lines := r.lines(""); len(lines) != 1000 {
		t.Errorf("%d lines before they are summed up", len(lines))
	}
	must(t, r.Audit.TellCounted(t.Context()))
	if lines := r.lines(""); len(lines) != 2001 {
		t.Errorf("%d lines", len(lines))
	}
	if lines := r.lines("WHERE action = 'refusals'"); len(lines) != 1 ||
		lines[0] != "refusals several anonymous     500" {
		t.Errorf("the rest: %q", lines)
	}
}

// The counts are in memory alone. They must survive an outage of the database.
func TestWhatCouldNotBeToldIsToldLater(t *testing.T) {
	t.Parallel()
	r := startRefused(t)
	for n := range 2500 {
		r.refuse(fmt.Sprintf("10.0.%d.%d", n/256, n%256), "curl", "")
	}
	_, err := r.owner.Exec(t.Context(), dbtest.BreakAudit)
	must(t, err)
	if err := r.Audit.TellCounted(t.Context()); err == nil {
		t.Error("told without a log")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Audit.TellCounted(ctx); err == nil {
		t.Error("told without a connection")
	}
	r.refuse("192.0.2.1", "curl", "") // from more networks than there is room for
	_, err = r.owner.Exec(t.Context(), dbtest.MendAudit)
	must(t, err)
	must(t, r.Audit.TellCounted(t.Context()))
	var lines, count int
	must(t, r.owner.QueryRow(
		t.Context(), "SELECT count(*), sum(count) FROM audit_events",
	).Scan(&lines, &count))
	if lines != 2001 || count != 2501 {
		t.Errorf("%d lines that stand for %d", lines, count)
	}
}
