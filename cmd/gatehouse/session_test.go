package main

import (
	"strings"
	"testing"
)

func TestAnOperatorSeesAndEndsSessions(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	if got := a.run("", "user", "sessions", "alice", "--json").succeeded(t); strings.TrimSpace(got) != "[]" {
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
	lines := fromJSON[[]sessionLine](t, a.run("", "user", "sessions", "ALICE", "--json").succeeded(t))
	if len(lines) != many || lines[0].ClientAddress != "192.0.2.1" {
		t.Errorf("%d sessions", len(lines))
	}
	table := a.run("", "user", "sessions", "alice").succeeded(t)
	if strings.Count(table, "\n") != many+1 || !strings.Contains(table, `"a\u202eb"`) {
		t.Errorf("%s", table[:200])
	}
	if got := a.run("", "user", "logout", "alice").succeeded(t); got != "sessions ended: 501\n" {
		t.Error(got)
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
