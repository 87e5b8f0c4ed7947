package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/token"
)

// userNow returns the user of a session, and the user's token version.
func userNow(t *testing.T, conn *pgx.Conn, username string) (id uuid.UUID, version int64) {
	t.Helper()
	must(t, conn.QueryRow(t.Context(), "SELECT id, token_version FROM users WHERE username = $1",
		username).Scan(&id, &version))
	return id, version
}

// A backup knows nothing of what came after it: neither whose tokens were issued, nor which
// sessions were ended, nor which versions were in use.
func TestARestoreLetsNobodyInWhoWasLockedOutSinceTheBackupOrIsNotKnown(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	conn, err := pgx.Connect(t.Context(), databaseURL)
	must(t, err)
	loggedOut, kept := logins(t, conn, "alice")
	banned, _ := logins(t, conn, "bob")
	must(t, conn.Close(t.Context()))
	backup := dbtest.Copy(t, databaseURL)

	// This is the time that the restore loses.
	conn, err = pgx.Connect(t.Context(), databaseURL)
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	before := boot(t, databaseURL)
	newcomer, _ := logins(t, conn, "carol")
	alice, _ := userNow(t, conn, "alice")
	unknown := logIn(t, conn, alice, "alice")
	before.want(http.StatusNoContent, before.as(loggedOut, "POST", "/logout", ""))
	lost := openAdmin(t, databaseURL)
	_, err = lost.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("bob"), nil)
	must(t, err)
	_, err = lost.Accounts.Enable(t.Context(), authtest.Operator(), auth.ByName("bob"), nil)
	must(t, err)
	bob, version := userNow(t, conn, "bob")
	raised := logIn(t, conn, bob, "bob")
	raised.access = issue(t, secretKey,
		token.Subject{UserID: bob, SessionID: raised.session, Username: "bob", Version: version},
		time.Now())
	before.wantCached(raised)
	before.stop()

	// The restored database, before anybody says that it is one.
	replicas := []*replica{boot(t, backup), boot(t, backup)}
	restored := connect(t, backup)
	everybody := map[string]login{
		"a session that was ended": loggedOut, "one that was not": kept, "of before a ban": banned,
		"of after a ban":              raised,
		"a session that is not known": unknown, "a user who is not known": newcomer,
	}
	for name, l := range everybody {
		if got := replicas[0].verified(l); got != http.StatusNoContent {
			t.Errorf("%s: %d before anything was done about it", name, got)
		}
	}
	operator := openAdmin(t, backup)
	_, err = operator.Accounts.Disable(t.Context(), authtest.Operator(), auth.ByName("bob"), nil)
	must(t, err)
	asynctest.Await(t, "the ban after the restore to bar the tokens of before it", func() bool {
		return replicas[0].verified(raised) == http.StatusUnauthorized &&
			replicas[1].verified(raised) == http.StatusUnauthorized
	})

	ended, err := operator.Sessions.Restored(t.Context(), authtest.Operator(), time.Now())
	if err != nil || ended != 2 { // bob's have ended with the ban
		t.Fatalf("%d sessions, %v", ended, err)
	}
	for _, r := range replicas {
		for name, l := range everybody {
			asynctest.Await(t, name+" to be refused",
				func() bool { return r.verified(l) == http.StatusUnauthorized })
			r.want(http.StatusUnauthorized, r.do(r.meRequest(l.access)))
			r.want(http.StatusBadRequest, r.do(r.refreshRequest(l.refresh)))
		}
		again := logIn(t, restored, alice, "alice")
		again.access = issue(t, secretKey,
			token.Subject{UserID: alice, SessionID: again.session, Username: "alice", Version: 1},
			time.Now().Add(time.Second))
		r.wantCached(again)
		r.want(http.StatusOK, r.do(r.refreshRequest(again.refresh)))
	}
	var told struct {
		IssuedBefore int64 `json:"issued_before"`
	}
	page := replicas[1].do(replicas[1].request("GET", "/revocations", "", "Authorization",
		"Bearer "+serviceToken(t, secretKey, time.Now())))
	must(t, json.Unmarshal([]byte(page.body), &told))
	if told.IssuedBefore < time.Now().Add(-time.Hour).Unix() {
		t.Errorf("other services are told of the time %d", told.IssuedBefore)
	}
	// A replica that starts now is told as well.
	late := boot(t, backup)
	if got := late.verified(newcomer); got != http.StatusUnauthorized {
		t.Errorf("a replica that has just started: %d", got)
	}
}
