package main

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/wire"
)

func TestAnOperatorSeesAndEndsSessions(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	if got := a.run("", "user", "sessions", "alice", "--json").succeeded(t); got != "" {
		t.Errorf("without sessions: %s", got)
	}
	const many = pageSize + 1
	if _, err := a.connect().Exec(t.Context(), `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		SELECT gen_random_uuid(), id, decode(repeat('00', 16), 'hex'), now() + interval '1 h', now() + interval '1 h', '192.0.2.1',
		       E'a\u202eb'
		FROM users, generate_series(1, $1)`, many); err != nil {
		t.Fatal(err)
	}
	lines := linesFromJSON[wire.Session](t, a.run("", "user", "sessions", "ALICE", "--json").succeeded(t))
	if len(lines) != many || lines[0].ClientAddress != "192.0.2.1" {
		t.Errorf("%d sessions", len(lines))
	}
	table := a.run("", "user", "sessions", "alice").succeeded(t)
	if strings.Count(table, "\n") != many+1 || !strings.Contains(table, `"a\u202eb"`) {
		t.Errorf("%s", table[:200])
	}
	a.wantNamed(lines[0].ID)
	if got := a.run("", "user", "logout", "alice").succeeded(t); got != "sessions ended: 502\n" {
		t.Error(got)
	}
	if l := fromJSON[endedLine](t, a.run("", "user", "logout", "alice", "--json").succeeded(t)); l.SessionsEnded != 0 {
		t.Errorf("%+v", l)
	}
	if got := a.run("", "user", "logout", "alice").succeeded(t); got != "sessions ended: 0\n" {
		t.Error(got)
	}
	for _, command := range []string{"sessions", "logout"} {
		if e := a.run("", "user", command, "nobody"); e.code != exitFailed {
			t.Errorf("%s of nobody: %+v", command, e)
		}
	}
}

// wantNamed wants the session of an app to be listed with the app, and with the browser's session
// through which it was started. It makes the given one that of a browser.
func (a accounts) wantNamed(browser uuid.UUID) {
	a.Helper()
	a.run("", "client", "add", "shop", "--name", "The shop").succeeded(a.T)
	for _, statement := range []string{
		"UPDATE sessions SET browser = true, idle_seconds = 60 WHERE id = $1",
		`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent, client_id, parent_id)
		SELECT gen_random_uuid(), user_id, salt, idle_expires_at, expires_at, '', '', 'shop', id FROM sessions WHERE id = $1`,
	} {
		if _, err := a.connect().Exec(a.Context(), statement, browser); err != nil {
			a.Fatal(err)
		}
	}
	seen := make(map[string]int)
	for _, l := range linesFromJSON[wire.Session](a.T, a.run("", "user", "sessions", "alice", "--json").succeeded(a.T)) {
		switch {
		case l.Browser && l.ID == browser && l.Client == nil && l.Parent == nil:
			seen["browser"]++
		case !l.Browser && l.Client != nil && *l.Client == (wire.App{ID: "shop", Title: "The shop"}) &&
			l.Parent != nil && *l.Parent == browser:
			seen["app"]++
		case l.Browser || l.Client != nil || l.Parent != nil:
			a.Errorf("%+v", l)
		}
	}
	if seen["browser"] != 1 || seen["app"] != 1 {
		a.Errorf("%v", seen)
	}
	table := a.run("", "user", "sessions", "alice").succeeded(a.T)
	for _, want := range []string{"(browser)", "shop", "THROUGH"} {
		if !strings.Contains(table, want) {
			a.Errorf("%q is not in the table", want)
		}
	}
	if strings.Count(table, browser.String()) != 2 {
		a.Error("the browser's session is not named by the app's")
	}
}
