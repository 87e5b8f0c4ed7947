package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/wire"
)

// reading are the commands that change nothing of accounts, and those whose changes are in goose's
// table.
var reading = map[string]bool{
	"serve": true, "doctor": true, "healthcheck": true, "version": true, "migrate up": true, "migrate down-to": true, "migrate status": true,
	"user list": true, "user show": true, "user sessions": true, "role list": true, "role show": true, "pepper list": true,
	"audit show": true, "key list": true, "client list": true, "client show": true, "mail log": true, "mail test": true,
	"passwords build": true,
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
		"user delete":          {[]string{"alice", "--yes"}, "", auth.ActionDeleteUser, "", ""},
		"user password":        {[]string{"alice", "--password-stdin"}, goodPassword, auth.ActionSetPassword, "alice", ""},
		"user must-change":     {[]string{"alice"}, "", auth.ActionRequireChange, "alice", ""},
		"user invite":          {[]string{"dora@example.org", "--username=dora", "--role=clerk", "--secret-key=" + testKey}, "", auth.ActionInviteUser, "dora", "clerk"},
		"user send-reset":      {[]string{"alice", "--secret-key=" + testKey}, "", auth.ActionSendReset, "alice", ""},
		"user factors reset":   {[]string{"alice"}, "", auth.ActionResetFactors, "alice", ""},
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
		"key revoke":           {[]string{"spare", "--force", "--secret-key=" + testKey + "," + oldKey}, "", auth.ActionRevokeKey, "", "spare"},
		"key reset":            {[]string{"--yes", "--secret-key=" + testKey}, "", auth.ActionResetKeys, "", "*"},
		"key rewrap":           {[]string{"--secret-key=" + testKey + "," + oldKey}, "", auth.ActionRewrapKeys, "", "1 keys"},
		"restored":             {[]string{"--yes"}, "", auth.ActionRestored, "", ""},
		"pepper retire":        {[]string{"feed", "--yes"}, "", auth.ActionRetirePepper, "", "feed"},
		"audit prune":          {[]string{"--older-than=365d"}, "", auth.ActionPruneAudit, "", "8760h0m0s"},
		"client add":           {[]string{"shop", "--name=Shop"}, "", auth.ActionAddClient, "", "shop"},
		"client set":           {[]string{"desk", "--redirect-uri=https://a.example/cb"}, "", auth.ActionSetClient, "", "desk"},
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
func (a accounts) events(args ...string) (events []wire.Event) {
	a.Helper()
	for line := range strings.Lines(a.run("", append([]string{"audit", "--json"}, args...)...).succeeded(a.T)) {
		events = append(events, fromJSON[wire.Event](a.T, line))
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
			case "user send-reset":
				a.asOwner("UPDATE users SET email = 'alice@example.org', email_key = 'alice@example.org', email_verified_at = now() WHERE username = 'alice'")
			case "key retire", "key revoke", "key rewrap":
				a.asOwner(fmt.Sprintf(`INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private, lifetime_seconds, created_at)
					VALUES ('spare', 'ES256', 'next', '{}', '\x%x', 0, now())`, sealedBefore(t, "spare")))
			case "user invite":
				a.run("", "user", "invite", "no address", "--secret-key="+testKey).failed(t, exitFailed, "email") // as well
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
			var events []wire.Event
			for _, e := range a.events() {
				if e.ID > last {
					events = append(events, e)
				}
			}
			if name == "key reset" {
				rest := slices.DeleteFunc(slices.Clone(events), func(e wire.Event) bool { return e.Action == auth.ActionAddKey })
				if len(events)-len(rest) != 4 { // of the keys that take over, one in each ring
					t.Errorf("%+v", events)
				}
				events = rest
			}
			if len(events) != 1 {
				t.Fatalf("%d events: %+v", len(events), events)
			}
			e := events[0]
			user := ""
			if e.User != nil && e.User.Username != nil {
				user = *e.User.Username
			}
			if e.Action != try.told || e.Outcome != "success" || e.Actor.Kind != "operator" || user != try.user ||
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
	a.asOwner(`SELECT record_event('{"action":"password.change","outcome":"password_change_required","actor":"operator","target":"","request_id":"R3",
		"client_address":"2001:db8::1","user_agent":"","count":1234567}', NULL)`)
	lines := strings.Split(strings.TrimSuffix(a.run("", "audit").succeeded(t), "\n"), "\n")
	if want := "TIME ACTION OUTCOME COUNT USER BY CLIENT REQUEST TARGET AGENT"; strings.Join(strings.Fields(lines[0]), " ") != want {
		t.Errorf("head: %s", lines[0])
	}
	for n, want := range []string{"", `login wrong_password 1 alice anonymous 192.0.2.1 R1 - "curl"`, `login unknown_user 1 - anonymous 192.0.2.1 R2 - "curl"`,
		`password.change password_change_required 1234567 - operator 2001:db8::1 R3 - ""`} {
		if n == 0 {
			continue
		}
		if cells := strings.Fields(lines[n]); strings.Join(cells[1:], " ") != want {
			t.Errorf("%q, want %q", cells[1:], want)
		}
		for at, head := range strings.Fields(lines[0]) {
			if column := strings.Index(lines[0], head); !strings.HasPrefix(lines[n][column:], strings.Fields(lines[n])[at]) {
				t.Errorf("%s is not aligned:\n%s\n%s", head, lines[0], lines[n])
			}
		}
	}
	if only := a.run("", "audit", "--request-id=R1").succeeded(t); strings.Count(only, "\n") != 2 || !strings.Contains(only, " R1 ") {
		t.Errorf("%q", only)
	}
	id := a.events("--request-id=R1")[0].User.ID
	for what, args := range map[string][]string{
		"by name": {"--user=ALICE"}, "by id": {"--user=" + id.String()}, "by outcome": {"--outcome=wrong_password"},
		"since": {"--since=1h", "--user=alice"},
	} {
		if events := a.events(args...); len(events) != 1 || events[0].RequestID != "R1" {
			t.Errorf("%s: %+v", what, events)
		}
	}
	if events := a.events("--actor=operator"); len(events) != 1 || events[0].RequestID != "R3" {
		t.Errorf("the operator's: %+v", events)
	}
	a.run("", "user", "disable", "alice").succeeded(t)
	name := operatorName()
	if events := a.events("--actor=operator:" + name); len(events) != 1 || events[0].Action != auth.ActionDisableUser {
		t.Errorf("that of the operator %s: %+v", name, events)
	}
	if events := a.events("--actor=operator:nobody"); len(events) != 0 {
		t.Errorf("that of another operator: %+v", events)
	}
	if shown := a.run("", "audit", "--action=user.disable").succeeded(t); !strings.Contains(shown, " operator:"+name+" ") {
		t.Errorf("the operator has no name:\n%s", shown)
	}
	a.asOwner("DELETE FROM audit_events WHERE action = 'user.disable'")
	if events := a.events("--actor=anonymous"); len(events) != 2 {
		t.Errorf("of nobody who is known: %+v", events)
	}
	for option, known := range map[string]string{"--action=logins": "user.delete", "--outcome=wrong": "wrong_password", "--outcome=invalid_input": "success"} {
		a.run("", "audit", option).failed(t, exitUsage, known)
	}
	if events := a.events("--limit=1"); len(events) != 1 || events[0].RequestID != "R3" {
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

// A name or a user agent must not draw a line of its own on an operator's terminal, nor turn one
// round.
func TestWhatOthersChoseStaysOnItsLine(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.asOwner("INSERT INTO users (id, username, username_key, password_hash) VALUES (gen_random_uuid(), E'al\u202Eice', 'x', '$2b$10$" + strings.Repeat("x", 53) + `');
		SELECT record_event('{"action":"login","outcome":"disabled","actor":"anonymous","target":"a\nb c","request_id":"r\u001b[31m",
			"client_address":"\r","user_agent":"x\u202e\u2066\u2028\u0085\" by=operator"}', (SELECT id FROM users))`)
	for _, args := range [][]string{{"audit"}, {"audit", "--json"}} {
		shown := a.run("", args...).succeeded(t)
		if args[len(args)-1] == "audit" {
			_, shown, _ = strings.Cut(shown, "\n") // of the head
		}
		line, more, _ := strings.Cut(shown, "\n")
		if more != "" || args[len(args)-1] == "audit" && strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", shown)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q", shown)
		}
	}
	if shown := a.run("", "audit").succeeded(t); !strings.Contains(shown, ` "al\u202eice" `) || !strings.Contains(shown, ` "a\nb c" `) {
		t.Error(shown)
	}
}

// Whoever manages accounts chooses their names, and must not make one whose acts look like those of
// an operator or a client.
func TestNoAccountPassesForAnotherKindOfActorInTheLog(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	for _, name := range []string{"operator:root", "client:shop", "client"} {
		a.insert(name)
		a.asOwner(`SELECT record_event(jsonb_build_object('action', 'login', 'outcome', 'success', 'actor', 'user', 'actor_id', u.id,
			'target', '', 'request_id', 'R', 'client_address', '', 'user_agent', ''), u.id) FROM users u WHERE u.username = '` + name + `'`)
		shown := a.run("", "audit", "--user="+name).succeeded(t)
		if _, line, _ := strings.Cut(shown, "\n"); len(strings.Fields(line)) < 6 || strings.Fields(line)[5] != "user:"+name {
			t.Errorf("%s is shown as\n%s", name, shown)
		}
		if events := a.events("--actor=user:" + name); len(events) != 1 || *events[0].Actor.User.Username != name {
			t.Errorf("what %s did: %+v", name, events)
		}
	}
	if events := a.events("--actor=operator:root"); len(events) != 0 {
		t.Errorf("the operator root did nothing: %+v", events)
	}
	a.run("", "audit", "--actor=user:").failed(t, exitFailed, "no such user")
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
		code <- runHere(ctx, append([]string{"audit", "-f", "--json"}, a.flags...), terminal{out: writer, err: io.Discard})
		writer.Close()
	}()
	lines := make(chan wire.Event)
	go func() {
		buffer := make([]byte, 4096) // a line is written at once
		for {
			n, err := reader.Read(buffer)
			if err != nil {
				close(lines)
				return
			}
			lines <- fromJSON[wire.Event](t, string(buffer[:n]))
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
