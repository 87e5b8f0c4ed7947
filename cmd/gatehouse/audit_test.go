package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/dbtest"
)

// reading are the commands that change nothing of accounts, and those whose changes are in goose's table.
var reading = map[string]bool{
	"serve": true, "healthcheck": true, "version": true, "migrate up": true, "migrate down-to": true, "migrate status": true,
	"user list": true, "user show": true, "user sessions": true, "role list": true, "role show": true, "pepper list": true,
	"audit show": true, "key list": true, "client list": true,
}

// attempt is a command that changes something, in a house where alice has the role clerk.
type attempt struct {
	args  []string
	stdin string
	told  auth.Action
	user  string // whom it was done to; "" for nobody
	other string // what else; "*" for anything
}

func attempts(t *testing.T) map[string]attempt {
	return map[string]attempt{
		"user add":             {[]string{"bob", "--role=clerk", "--password-stdin"}, goodPassword, auth.ActionCreateUser, "bob", "clerk"},
		"user disable":         {[]string{"alice"}, "", auth.ActionDisableUser, "alice", ""},
		"user enable":          {[]string{"carol"}, "", auth.ActionEnableUser, "carol", ""},
		"user delete":          {[]string{"alice"}, "", auth.ActionDeleteUser, "", ""},
		"user password":        {[]string{"alice", "--password-stdin"}, goodPassword, auth.ActionSetPassword, "alice", ""},
		"user must-change":     {[]string{"alice"}, "", auth.ActionRequireChange, "alice", ""},
		"user unlock":          {[]string{"alice", "--secret-key=" + testKey}, "", auth.ActionUnlockUser, "alice", ""},
		"user logout":          {[]string{"alice"}, "", auth.ActionEndSessions, "alice", ""},
		"user role add":        {[]string{"alice", "reader"}, "", auth.ActionGrantRole, "alice", "reader"},
		"user role remove":     {[]string{"alice", "clerk"}, "", auth.ActionRevokeRole, "alice", "clerk"},
		"user import":          {[]string{writeFile(t, "accounts.jsonl", jsonLine("dora", someHash)+jsonLine("emil", someHash))}, "", auth.ActionImportUsers, "", "2 users"},
		"user export":          {[]string{filepath.Join(t.TempDir(), "accounts.jsonl")}, "", auth.ActionExportUsers, "", ""},
		"role set":             {[]string{"clerk", "files:write"}, "", auth.ActionSetRole, "", "clerk"},
		"role delete":          {[]string{"clerk"}, "", auth.ActionDeleteRole, "", "clerk"},
		"key rotate":           {[]string{"--algorithm=ES256", "--secret-key=" + testKey}, "", auth.ActionAddKey, "", "*"},
		"key retire":           {[]string{"spare"}, "", auth.ActionRetireKey, "", "spare"},
		"key revoke":           {[]string{"spare", "--force", "--secret-key=" + testKey}, "", auth.ActionRevokeKey, "", "spare"},
		"key rewrap":           {[]string{"--secret-key=" + testKey + "," + oldKey}, "", auth.ActionRewrapKeys, "", "1 keys"},
		"pepper retire":        {[]string{"feed"}, "", auth.ActionRetirePepper, "", "feed"},
		"audit prune":          {[]string{"--older-than=365d"}, "", auth.ActionPruneAudit, "", "8760h0m0s"},
		"client add":           {[]string{"shop", "--name=Shop"}, "", auth.ActionAddClient, "", "shop"},
		"client disable":       {[]string{"desk"}, "", auth.ActionDisableClient, "", "desk"},
		"client enable":        {[]string{"desk"}, "", auth.ActionEnableClient, "", "desk"},
		"client grant":         {[]string{"desk", "reader"}, "", auth.ActionGrantToClient, "", "desk reader"},
		"client revoke":        {[]string{"desk", "clerk"}, "", auth.ActionRevokeOfClient, "", "desk clerk"},
		"client rotate-secret": {[]string{"desk"}, "", auth.ActionRotateSecret, "", "desk"},
	}
}

func (a accounts) asOwner(statement string) {
	a.Helper()
	conn, err := pgx.Connect(a.Context(), dbtest.Owner(a, a.url))
	if err != nil {
		a.Fatal(err)
	}
	defer conn.Close(a.Context())
	if _, err := conn.Exec(a.Context(), statement); err != nil {
		a.Fatal(err)
	}
}

// events are those that audit shows.
func (a accounts) events(args ...string) (events []eventLine) {
	a.Helper()
	for line := range strings.Lines(a.run("", append([]string{"audit", "--json"}, args...)...).succeeded(a.T)) {
		events = append(events, fromJSON[eventLine](a.T, line))
	}
	return events
}

func TestWithoutItsEventNoCommandIsDoneAndWithItThereIsOne(t *testing.T) {
	t.Parallel()
	tried := attempts(t)
	for _, leaf := range kong.Must(&commandLine{}, config.Environment()).Model.Leaves(true) {
		name := strings.TrimSpace(leaf.Path())
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "gatehouse "), " <")
		if _, ok := tried[name]; ok == reading[name] {
			t.Errorf("%q has no row here", name)
		}
	}
	for name, try := range tried {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccounts(t)
			a.insert("alice", "carol")
			a.asOwner(`INSERT INTO roles (name) VALUES ('clerk'), ('reader');
				INSERT INTO clients (client_id, subject, name, secret_digest, grant_types) VALUES ('desk', gen_random_uuid(), 'Desk', sha256('x'), '{}');
				INSERT INTO client_roles (client_id, role_name) VALUES ('desk', 'clerk');
				INSERT INTO user_roles (user_id, role_name) SELECT id, 'clerk' FROM users WHERE username = 'alice';
				UPDATE users SET disabled_at = now() WHERE username = 'carol'`)
			switch name {
			case "pepper retire":
				a.asOwner("INSERT INTO password_keys (id, check_value) VALUES ('feed', sha256('x'))")
			case "key retire", "key revoke", "key rewrap":
				a.asOwner(fmt.Sprintf(`INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at)
					VALUES ('spare', 'ES256', 'next', '{}', '\x%x', 0, now())`, sealedBefore(t, "spare")))
			case "user add", "user password":
				a.run("short", append(strings.Fields(name), try.args...)...) // puts the key on record, which is no action
			}
			before := a.tables()
			a.asOwner(dbtest.BreakAudit)
			args := append(strings.Fields(name), try.args...)
			if e := a.run(try.stdin, args...); e.code != exitFailed {
				t.Errorf("without an event: %+v", e)
			}
			a.wantTables(before)
			a.asOwner(dbtest.MendAudit)
			last := int64(0)
			for _, e := range a.events() {
				last = e.ID
			}
			a.run(try.stdin, args...).succeeded(t)
			var events []eventLine
			for _, e := range a.events() {
				if e.ID > last {
					events = append(events, e)
				}
			}
			if len(events) != 1 {
				t.Fatalf("%d events: %+v", len(events), events)
			}
			e := events[0]
			user := ""
			if e.UserName != nil {
				user = *e.UserName
			}
			if e.Action != try.told || e.Outcome != "success" || e.Actor != "operator" || user != try.user ||
				e.Target != try.other && (try.other != "*" || e.Target == "") ||
				e.RequestID == "" || !strings.HasPrefix(e.UserAgent, "gatehouse ") {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestAnOperatorSeesWhyARequestWasRefused(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.asOwner(`SELECT record_event('{"action":"login","outcome":"wrong_password","actor":"anonymous","target":"","request_id":"R1",
			"client_address":"192.0.2.1","user_agent":"curl"}', (SELECT id FROM users));
		SELECT record_event('{"action":"login","outcome":"unknown_user","actor":"anonymous","target":"","request_id":"R2",
			"client_address":"192.0.2.1","user_agent":"curl"}', NULL)`)
	line := a.run("", "audit", "--request-id=R1").succeeded(t)
	if !strings.HasSuffix(line, "Z  login            wrong_password    user=alice  by=anonymous  client=192.0.2.1  request=R1  target=-  agent=\"curl\"\n") ||
		strings.Count(line, "\n") != 1 {
		t.Errorf("%q", line)
	}
	id := *a.events("--request-id=R1")[0].UserID
	for what, args := range map[string][]string{
		"by name": {"--user=ALICE"}, "by id": {"--user=" + id.String()}, "by outcome": {"--outcome=wrong_password"},
		"since": {"--since=1h", "--user=alice"},
	} {
		if events := a.events(args...); len(events) != 1 || events[0].RequestID != "R1" {
			t.Errorf("%s: %+v", what, events)
		}
	}
	if events := a.events("--limit=1"); len(events) != 1 || events[0].RequestID != "R2" {
		t.Errorf("the newest: %+v", events)
	}
	if events := a.events("--since=" + time.Now().Add(time.Hour).Format(time.RFC3339)); events != nil {
		t.Errorf("of the future: %+v", events)
	}
	a.run("", "audit", "--user=nobody").failed(t, exitFailed, "no such user")
	for _, since := range []string{"yesterday", "-1h", "0d", "7 days", "99999d", "2026-13-01T00:00:00Z"} {
		a.run("", "audit", "--since="+since).failed(t, exitUsage, "--since")
	}
	a.run("", "audit", "prune").failed(t, exitUsage, "--older-than")
}

// A name or a user agent must not draw a line of its own on an operator's terminal, nor turn one round.
func TestWhatOthersChoseStaysOnItsLine(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.asOwner("INSERT INTO users (id, username, username_key, password_hash) VALUES (gen_random_uuid(), E'al\u202Eice', 'x', '$2b$10$" + strings.Repeat("x", 53) + `');
		SELECT record_event('{"action":"login","outcome":"disabled","actor":"anonymous","target":"a\nb c","request_id":"r\u001b[31m",
			"client_address":"\r","user_agent":"x\u202e\u2066\u2028\u0085\" by=operator"}', (SELECT id FROM users))`)
	for _, args := range [][]string{{"audit"}, {"audit", "--json"}} {
		shown := a.run("", args...).succeeded(t)
		line, more, _ := strings.Cut(shown, "\n")
		if more != "" || args[len(args)-1] == "audit" && strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", shown)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q", shown)
		}
	}
	if shown := a.run("", "audit").succeeded(t); !strings.Contains(shown, `user="al\u202eice"`) || !strings.Contains(shown, `target="a\nb c"`) {
		t.Error(shown)
	}
}

func TestTheLogIsFollowedUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.run("", "user", "disable", "alice").succeeded(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"audit", "-f", "--json"}, a.flags...), terminal{out: writer, err: io.Discard})
		writer.Close()
	}()
	lines := make(chan eventLine)
	go func() {
		buffer := make([]byte, 4096) // a line is written at once
		for {
			n, err := reader.Read(buffer)
			if err != nil {
				close(lines)
				return
			}
			lines <- fromJSON[eventLine](t, string(buffer[:n]))
		}
	}()
	if e := <-lines; e.Action != auth.ActionDisableUser {
		t.Errorf("%+v", e)
	}
	a.run("", "user", "enable", "alice").succeeded(t)
	if e := <-lines; e.Action != auth.ActionEnableUser {
		t.Errorf("%+v", e)
	}
	cancel()
	if _, more := <-lines; more {
		t.Error("one more")
	}
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d", got)
	}
}
