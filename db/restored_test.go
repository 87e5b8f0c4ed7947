package db

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/dbtest"
)

// A number that comes again after a restore bars no token that was issued under it in the time that
// is lost.
func TestNoVersionComesTwiceHoweverItIsRaised(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d, conn := open(t, Options{URL: databaseURL}), connectTo(t, databaseURL)
	u := d.mustInsert(t, "alice")
	_, err := d.InsertClient(t.Context(), anEvent(), auth.Freely(), auth.StoredClient{Client: auth.Client{ID: "client1", Title: "Client"}}, 9)
	must(t, err)
	execOn(t, conn, "INSERT INTO roles (name) VALUES ('clerk')")
	for _, row := range []struct{ table, column, where string }{
		{"users", "token_version", "true"}, {"clients", "token_version", "true"}, {"roles", "version", "name = 'clerk'"},
	} {
		set := func(value string) (version int64) {
			t.Helper()
			statement := fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s RETURNING %[2]s", row.table, row.column, value, row.where)
			must(t, conn.QueryRow(t.Context(), statement).Scan(&version))
			return version
		}
		raise := row.column + " + 1"
		lost := set(raise)
		set("1") // the backup
		if again := set(raise); again <= lost || again >= 1<<53 {
			t.Errorf("%s: %d after a restore, and %d before", row.table, again, lost)
		}
		ahead := set(raise + " + 3600000000") // by a clock that was set back since
		if next := set(raise); next != ahead+1 {
			t.Errorf("%s: %d after %d", row.table, next, ahead)
		}
	}
	// Nor does that of an account that is deleted.
	var lost, barred int64
	must(t, conn.QueryRow(t.Context(), "UPDATE users SET token_version = 1 RETURNING token_version").Scan(&lost))
	must(t, conn.QueryRow(t.Context(), "UPDATE users SET token_version = token_version + 1 RETURNING token_version").Scan(&lost))
	execOn(t, conn, "UPDATE users SET token_version = 1; DELETE FROM revocations")
	must(t, d.DeleteUser(t.Context(), anEvent(), auth.Freely(), u.ID))
	must(t, conn.QueryRow(t.Context(), "SELECT version FROM revocations WHERE user_id = $1", u.ID).Scan(&barred))
	if barred <= lost {
		t.Errorf("deleted: tokens below %d are barred, and one of before has %d", barred, lost)
	}
}

// A row for each of a million sessions would be as many in the memory of every replica, and a
// session that goes on would have a refresh token that was used, or stolen, in the time that is
// lost.
func TestAfterARestoreEverySessionIsOverAndOneRowBarsAllTokens(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d, conn := open(t, Options{URL: databaseURL}), connectTo(t, databaseURL)
	alice, bob := d.mustInsert(t, "alice"), d.mustInsert(t, "bob")
	for _, u := range []auth.User{alice, bob} {
		d.startSession(t, u, 9)
		d.startSession(t, u, 9)
	}
	_, err := d.InsertClient(t.Context(), anEvent(), auth.Freely(), auth.StoredClient{Client: auth.Client{ID: "client1", Title: "Client"}}, 9)
	must(t, err)
	for _, apart := range []time.Duration{-time.Hour, time.Hour} {
		if _, err := d.RevokeAll(t.Context(), anEvent(), time.Now().Add(apart)); !errors.Is(err, auth.ErrClocksApart) {
			t.Errorf("clocks that are %v apart: %v", apart, err)
		}
	}
	before := time.Now()
	ended, err := d.RevokeAll(t.Context(), anEvent(), before)
	if err != nil || ended != 4 {
		t.Fatalf("%d sessions, %v", ended, err)
	}
	var live, all, ofClients, ofSessions int
	must(t, conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM sessions WHERE ended_at IS NULL),
		count(*) FILTER (WHERE user_id = '00000000-0000-0000-0000-000000000000' AND version >= $1),
		count(*) FILTER (WHERE user_id IN (SELECT subject FROM clients)), count(session_id) FROM revocations`, before.Unix()).
		Scan(&live, &all, &ofClients, &ofSessions))
	if live != 0 || all != 1 || ofClients != 1 || ofSessions != 0 {
		t.Errorf("%d live sessions; rows: %d of all tokens, %d of clients, %d of sessions", live, all, ofClients, ofSessions)
	}
}

// Whoever is banned in the time that a restore, or a fail-over with a loss, has taken back is not
// banned any more, and nobody would notice.
func TestAFollowerSaysThatTheDatabaseHasGoneBack(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	conn := connectTo(t, databaseURL)
	f := startFollowing(t, databaseURL, time.Millisecond)
	f.wantRead(true)
	kept, lost := revokeSession(t, conn), revokeSession(t, conn)
	f.awaitRevoked(kept)
	f.awaitRevoked(lost)
	f.wantRead(false)
	if text := f.log.String(); strings.Contains(text, "gone back") {
		t.Fatal(text)
	}
	execOn(t, conn, "DELETE FROM revocations WHERE session_id = $1", lost)
	asynctest.Await(t, "a word about the loss", func() bool { return strings.Contains(f.log.String(), "gone back") })
	for full := false; !full; full = <-f.reads {
	}
	if !f.bars(lost) {
		t.Error("what was revoked is forgotten as well")
	}
	f.awaitRevoked(revokeSession(t, conn))
	f.wantRead(false)
	if n := strings.Count(f.log.String(), "gone back"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestThePastIsContradictedByWhatIsLostAndByAClockThatIsSetBackAlone(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	seen := past{now: at.Add(time.Hour), id: 7, at: at}
	for name, test := range map[string]struct {
		past  past
		now   time.Time
		found bool
		want  string
	}{
		"nothing was seen":                {past{}, at, false, ""},
		"no revocation was seen":          {past{now: at}, at.Add(time.Second), false, ""},
		"as it was":                       {seen, at.Add(time.Hour), true, ""},
		"another server's clock":          {seen, at.Add(time.Hour - time.Second), true, ""},
		"a clock that was set back":       {seen, at.Add(time.Hour - 2*time.Second), true, "its time was 2s later"},
		"a row that is gone":              {seen, at.Add(2 * time.Hour), false, "a revocation of 2027-01-15T08:00:00Z is gone"},
		"a row that may have been pruned": {seen, at.Add(24 * time.Hour), false, ""},
	} {
		if got := test.past.contradiction(test.now, test.found); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	p := past{id: 7, at: at}
	p.note([]sqlcgen.ListRevocationsRow{{ID: 9, At: at.Add(2)}, {ID: 8, At: at.Add(3)}})
	if p.id != 9 || !p.at.Equal(at.Add(2)) {
		t.Errorf("%+v", p)
	}
}
