package db

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// recorded stores an event of some age.
func (d *DB) recorded(t *testing.T, age time.Duration, e auth.Event) {
	t.Helper()
	must(t, d.RecordEvent(t.Context(), e))
	_, err := d.pool.Exec(t.Context(), "UPDATE audit_events SET at = at - $1::interval WHERE id = (SELECT max(id) FROM audit_events)", age)
	must(t, err)
}

func eventBy(actor auth.ActorKind, actorID, userID uuid.UUID, action auth.Action, outcome, target string) auth.Event {
	return auth.Event{
		Action: action, Outcome: outcome, UserID: userID, Target: target,
		By:     auth.Actor{Kind: actor, ID: actorID},
		Origin: auth.Origin{RequestID: "R1", Address: "192.0.2.1", UserAgent: "curl"},
	}
}

func (d *DB) lines(t *testing.T) []string {
	t.Helper()
	rows, err := d.pool.Query(t.Context(), `
		SELECT concat_ws(' ', action, outcome, actor, '[' || target || ']', '[' || request_id || ']', '[' || client_address || ']', '[' || user_agent || ']')
		FROM audit_events WHERE action <> 'audit.prune' ORDER BY id`)
	must(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return lines
}

// onYoungLog is a log in which months do not end while a test makes events of some age.
func onYoungLog(t *testing.T) *DB {
	t.Helper()
	owner := open(t, Options{URL: dbtest.Owner(t, dbtest.New(t))})
	_, err := owner.pool.Exec(t.Context(), "CREATE TABLE audit_events_9999_01 PARTITION OF audit_events FOR VALUES FROM ('1999-01-01') TO ('"+
		time.Now().UTC().Format("2006-01")+"-01')")
	must(t, err)
	return owner
}

// Whoever has an account deleted may expect that what names the person goes too, some time after.
// What was done stays told of, and so does what others have done.
func TestOfAccountsThatWereDeletedLongAgoTheLogKeepsNothingPersonal(t *testing.T) {
	t.Parallel()
	d := onYoungLog(t)
	const day = 24 * time.Hour
	gone, recent, here := uuid.New(), uuid.New(), d.mustInsert(t, "alice").ID
	_, err := d.pool.Exec(t.Context(), "DELETE FROM audit_events")
	must(t, err)
	session := uuid.NewString()
	for _, user := range []uuid.UUID{gone, recent, here} {
		d.recorded(t, 40*day, eventBy(auth.ActorUser, user, user, auth.ActionLogin, "success", session))
		d.recorded(t, 40*day, eventBy(auth.ActorAnonymous, uuid.Nil, user, auth.ActionLogin, "wrong_password", ""))
		d.recorded(t, 40*day, eventBy(auth.ActorUser, user, user, auth.ActionRevokeToken, "success", session+" desk"))
		d.recorded(t, 40*day, eventBy(auth.ActorUser, user, here, auth.ActionGrantRole, "success", "clerk"))
		d.recorded(t, 40*day, eventBy(auth.ActorOperator, uuid.Nil, user, auth.ActionEndSession, "success", session))
	}
	d.recorded(t, 31*day, eventBy(auth.ActorUser, here, gone, auth.ActionDeleteUser, "success", ""))
	d.recorded(t, 29*day, eventBy(auth.ActorUser, here, recent, auth.ActionDeleteUser, "success", ""))
	before := d.lines(t)
	pruned, err := d.PruneEvents(t.Context(), anEvent(), auth.Prune{OlderThan: 3650 * day, Deleted: 30 * day})
	must(t, err)
	want := slices.Concat([]string{
		"login success user [] [] [] []",
		"login wrong_password anonymous [] [] [] []",
		"token.revoke success user [desk] [] [] []",
		"role.grant success user [clerk] [] [] []",
		"session.end success operator [] [R1] [192.0.2.1] [curl]",
	}, before[5:])
	if got := d.lines(t)[:len(before)]; !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if pruned.Blanked != 5 {
		t.Errorf("%d events blanked", pruned.Blanked)
	}
	if pruned, err = d.PruneEvents(t.Context(), anEvent(), auth.Prune{OlderThan: 3650 * day, Deleted: 30 * day}); err != nil || pruned.Blanked != 0 {
		t.Errorf("again: %d, %v", pruned.Blanked, err)
	}
	if pruned, err = d.PruneEvents(t.Context(), anEvent(), auth.Prune{OlderThan: 3650 * day, Deleted: time.Hour}); err != nil || pruned.Blanked != 5 {
		t.Errorf("of the other one: %d, %v", pruned.Blanked, err)
	}
}

// After a flood of refusals its room must come back without the loss of what was done.
func TestRefusalsAreDeletedOfTheCurrentMonthTooByTheOwnerAlone(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d, owner := open(t, Options{URL: url}), open(t, Options{URL: dbtest.Owner(t, url)})
	_, err := owner.pool.Exec(t.Context(), fmt.Sprintf(`
		INSERT INTO audit_events (action, outcome, actor, target, request_id, client_address, user_agent)
		SELECT 'login', 'wrong_password', 'anonymous', '', '', '', '' FROM generate_series(1, %d)`, refusalsAtOnce+1))
	must(t, err)
	must(t, owner.RecordEvent(t.Context(), eventBy(auth.ActorOperator, uuid.Nil, uuid.Nil, auth.ActionSetRole, "success", "clerk")))
	all := auth.Prune{Refusals: true, Deleted: time.Hour}
	if _, err := d.PruneEvents(t.Context(), anEvent(), all); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("by the service's role: %v", err)
	}
	young := all
	young.OlderThan = time.Hour
	if pruned, err := owner.PruneEvents(t.Context(), anEvent(), young); err != nil || pruned.Refusals != 0 {
		t.Errorf("of the last hour: %d, %v", pruned.Refusals, err)
	}
	pruned, err := owner.PruneEvents(t.Context(), anEvent(), all)
	if err != nil || pruned.Refusals != refusalsAtOnce+1 || pruned.Months != nil {
		t.Errorf("%+v, %v", pruned, err)
	}
	if lines := owner.lines(t); !slices.Contains(lines, "role.set success operator [clerk] [R1] [192.0.2.1] [curl]") || len(lines) != 3 {
		t.Errorf("%q", lines) // and one of each prune
	}
}

// Mails whose jobs are lost would keep what was typed forever. Those that wait and those of last
// week must stay.
func TestMailsAndChallengesGoWhenTheirTimeIsOverAndNoneBefore(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	alice := d.mustInsert(t, "alice").ID
	const hour = time.Hour
	_, err := d.pool.Exec(t.Context(), `
		INSERT INTO mails (id, kind, sealed, expires_at, done_at, outcome, problem)
		SELECT gen_random_uuid(), 'reset', CASE WHEN done IS NULL THEN decode(repeat('00', 40), 'hex') END,
			now() - over, now() - done, CASE WHEN done IS NOT NULL THEN 'sent' END, name
		FROM (VALUES ('waits', interval '-1 h', NULL::interval), ('over for a moment', interval '59 min', NULL), ('over', interval '61 min', NULL),
			('over, and sent', interval '3 h', interval '119 min'), ('old', interval '3 h', interval '121 min')) m (name, over, done)`)
	must(t, err)
	_, err = d.pool.Exec(t.Context(), `
		INSERT INTO challenges (id, purpose, user_id, email, email_key, created_at, expires_at)
		SELECT gen_random_uuid(), 'undo', $1, name, name, now(), now() - over
		FROM (VALUES ('open', interval '-1 h'), ('over for a moment', interval '59 min'), ('over', interval '61 min')) c (name, over)`, alice)
	must(t, err)
	e := anEvent()
	end := auth.MailEnd{Outcome: auth.MailDead, Problem: "given up", Event: &e}
	ended, err := d.ExpireMails(t.Context(), end, hour, 10)
	must(t, err)
	deleted, err := d.PruneMails(t.Context(), 2*hour, 10)
	must(t, err)
	gone, err := d.PruneChallenges(t.Context(), hour, 10)
	must(t, err)
	var mails, challenges string
	must(t, d.pool.QueryRow(t.Context(), `SELECT
		(SELECT string_agg(problem || ' ' || coalesce(outcome, '-') || ' ' || (sealed IS NULL)::text, '|' ORDER BY problem) FROM mails),
		(SELECT string_agg(email, '|' ORDER BY email) FROM challenges)`).Scan(&mails, &challenges))
	if !slices.Equal(ended, []auth.MailKind{auth.MailReset}) || deleted != 1 || gone != 1 || challenges != "open|over for a moment" ||
		mails != "given up dead true|over for a moment - false|over, and sent sent true|waits - false" {
		t.Errorf("%q ended, %d and %d deleted, left: %s; %s", ended, deleted, gone, mails, challenges)
	}
}

// A challenge that was answered must not be good again as long as it could be taken for a new one.
func TestProofsAndTrustedDevicesGoWhenTheirTimeIsOverAndNoneBefore(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	alice := d.mustInsert(t, "alice").ID
	const times = "(VALUES ('open', interval '-1 h'), ('over for a moment', interval '59 min'), ('over', interval '61 min')) x (name, over)"
	d.exec(t, "INSERT INTO redeemed_proofs (digest, expires_at) SELECT sha256(name::bytea), now() - over FROM "+times)
	d.exec(t, `INSERT INTO trusted_devices (user_id, device_id, expires_at, client_address, user_agent)
		SELECT $1, gen_random_uuid(), now() - over, '', name FROM `+times, alice)
	proofs, err := d.PruneProofs(t.Context(), time.Hour, 10)
	must(t, err)
	devices, err := d.PruneTrustedDevices(t.Context(), 1)
	must(t, err)
	more, err := d.PruneTrustedDevices(t.Context(), 10)
	must(t, err)
	var left int
	var names string
	must(t, d.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM redeemed_proofs WHERE expires_at > now() - interval '1 h'),
		(SELECT string_agg(user_agent, '|') FROM trusted_devices)`).Scan(&left, &names))
	if proofs != 1 || devices != 1 || more != 1 || left != 2 || names != "open" {
		t.Errorf("%d proofs and %d and %d devices are deleted; left: %d proofs, devices %s", proofs, devices, more, left, names)
	}
}
