package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/wire"
)

const goodPassword = "correct horse battery"

// accounts runs commands on the accounts of one database.
type accounts struct {
	*testing.T
	url   string
	flags []string
}

func newAccounts(t *testing.T, flags ...string) accounts {
	url := dbtest.New(t)
	return accounts{t, url, append(flags, "--database-url="+url)}
}

func (a accounts) run(stdin string, args ...string) ending {
	a.Helper()
	return gatehouse(a.T, stdin, append(args, a.flags...)...)
}

// insert makes accounts with a password that nobody knows, for tests that need not wait until one
// is hashed.
func (a accounts) insert(usernames ...string) {
	a.Helper()
	_, err := a.connect().Exec(a.Context(), `INSERT INTO users (id, username, username_key, password_hash)
		SELECT gen_random_uuid(), name, lower(name), '$2b$10$' || repeat('x', 53) FROM unnest($1::text[]) AS name`, usernames)
	if err != nil {
		a.Fatal(err)
	}
}

// user runs a command that prints a user as JSON.
func (a accounts) user(stdin string, args ...string) wire.Account {
	a.Helper()
	return fromJSON[wire.Account](a.T, a.run(stdin, append(args, "--json")...).succeeded(a.T))
}

func (a accounts) connect() *pgx.Conn {
	a.Helper()
	conn, err := pgx.Connect(a.Context(), a.url)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (a accounts) storedHash(name string) (stored string) {
	a.Helper()
	err := a.connect().QueryRow(a.Context(), "SELECT password_hash FROM users WHERE username = $1", name).Scan(&stored)
	if err != nil {
		a.Fatal(err)
	}
	return stored
}

func (a accounts) hasPassword(name, pw string) bool {
	a.Helper()
	lane := password.NewLane(password.LaneOptions{Threads: 1, Queue: 1})
	defer lane.Close()
	ring, ringErr := password.NewKeyRing(nil)
	hasher, hasherErr := password.NewHasher(lane, ring, 10)
	if err := errors.Join(ringErr, hasherErr); err != nil {
		a.Fatal(err)
	}
	verdict, err := hasher.Verify(a.Context(), "", a.storedHash(name), pw)
	if err != nil {
		a.Fatal(err)
	}
	return verdict.Match
}

// The keys are an interface: scripts are written against them.
func TestUserAsJSONHasTheDocumentedKeys(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	printed := a.run(goodPassword, "user", "add", "Alice", "--password-stdin", "--json").succeeded(t)
	var keys map[string]any
	if err := json.Unmarshal([]byte(printed), &keys); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"username": "Alice", "disabled": false, "disabled_at": nil, "token_version": 1.0,
		"must_change_password": false, "password_expires_at": nil, "email": nil, "email_verified": false,
		"id": keys["id"], "created_at": keys["created_at"], "updated_at": keys["updated_at"],
	} {
		if got, ok := keys[key]; !ok || got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if factors, ok := keys["factors"].(map[string]any); !ok || len(factors) != 5 {
		t.Errorf("factors: %v", keys["factors"])
	}
	if roles, ok := keys["roles"].([]any); !ok || len(roles) != 0 || len(keys) != 13 {
		t.Errorf("keys: %v", keys)
	}
	if shown := a.run("", "user", "show", "ALICE", "--json").succeeded(t); shown != printed {
		t.Errorf("added as %s, shown as %s", printed, shown)
	}
	if line := a.run("", "user", "list", "--json").succeeded(t); !reflect.DeepEqual(fromJSON[wire.Account](t, line), fromJSON[wire.Account](t, printed)) {
		t.Errorf("added as %s, listed as %s", printed, line)
	}
}

func TestUserIsShownAligned(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	shown := a.run(goodPassword, "user", "add", "alice", "--password-stdin").succeeded(t)
	id := a.user("", "user", "show", "alice").ID.String()
	column := strings.Index(shown, id)
	for _, line := range strings.Split(strings.TrimSuffix(shown, "\n"), "\n") {
		if column < 2 || line[column-1] != ' ' || line[column] == ' ' {
			t.Errorf("not aligned:\n%s", shown)
		}
	}
	if !strings.Contains(shown, `"alice"`) || !strings.Contains(shown, "disabled  no") {
		t.Errorf("shown as\n%s", shown)
	}
}

func TestPasswordIsTheFirstLineOfStandardInput(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	for name, stdin := range map[string]string{"bare": goodPassword, "lines": goodPassword + "\r\nmore\n"} {
		a.run(stdin, "user", "add", name, "--password-stdin").succeeded(t)
		if !a.hasPassword(name, goodPassword) {
			t.Errorf("%q is not the password %q", stdin, goodPassword)
		}
	}
}

func TestAccountIsRefusedWithTheField(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	for _, test := range []struct{ name, password, says string }{
		{"bob", "qxzw", "password: "},
		{"bob", "", "password: "},
		{"bob", "password123", "password: "},
		{"bob", "no\xffUnicode", "password: "},
		{"bob", strings.Repeat("long", 2000), "password: "},
		{"bob\x00", goodPassword, "username: "},
		{"", goodPassword, "username: "},
		{"ALICE", goodPassword, "username is taken"},
	} {
		e := a.run(test.password, "user", "add", test.name, "--password-stdin")
		e.failed(t, exitFailed, test.says)
		if test.password != "" && strings.Contains(e.err, test.password) {
			t.Errorf("quoted: %s", e.err)
		}
	}
	if listed := a.run("", "user", "list", "--json").succeeded(t); strings.Count(listed, "\n") != 1 {
		t.Errorf("accounts were made:\n%s", listed)
	}
}

func TestUnknownUserIsNamedAsSuch(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	for _, args := range [][]string{
		{"show", "nobody"}, {"disable", "nobody"}, {"enable", "nobody"}, {"show", "no\nbody"},
		{"password", "nobody", "--password-stdin"}, {"password", "nobody"}, // before it asks
	} {
		a.run(goodPassword, append([]string{"user"}, args...)...).failed(t, exitFailed, "no such user")
	}
}

func TestDisableAndEnableRevokeTokens(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	if u := a.user("", "user", "disable", "Alice"); !u.Disabled || u.DisabledAt == nil || u.TokenVersion < 2 {
		t.Errorf("disabled: %+v", u)
	}
	if shown := a.run("", "user", "show", "alice").succeeded(t); strings.Contains(shown, "disabled  no") {
		t.Errorf("disabled, and shown as\n%s", shown)
	}
	if u := a.user("", "user", "enable", "alice"); u.Disabled || u.DisabledAt != nil || u.TokenVersion < 2 {
		t.Errorf("enabled: %+v", u)
	}
}

func TestPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	if u := a.user(goodPassword+"\n", "user", "password", "alice", "--password-stdin"); u.TokenVersion < 2 {
		t.Errorf("tokens live on: %+v", u)
	}
	if !a.hasPassword("alice", goodPassword) {
		t.Error("the new password is not the password")
	}
	before := a.storedHash("alice")
	a.run("qxzw", "user", "password", "alice", "--password-stdin").failed(t, exitFailed, "password: ")
	if a.storedHash("alice") != before {
		t.Error("a refused password has replaced the one before")
	}
}

func TestPasswordIsNotAskedForWithoutATerminal(t *testing.T) {
	t.Parallel()
	newAccounts(t).run(goodPassword, "user", "add", "alice").failed(t, exitFailed, "--password-stdin")
}

// The last page is full, so that a list which stops at a page that is not full asks once more.
func TestListShowsEveryUserOfEveryPage(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	var usernames []string
	for n := range 2 * pageSize {
		usernames = append(usernames, fmt.Sprint("User ", n))
	}
	a.insert(usernames...)
	names := make(map[string]bool)
	lines := json.NewDecoder(strings.NewReader(a.run("", "user", "list", "--json").succeeded(t)))
	for {
		var u wire.Account
		if err := lines.Decode(&u); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if names[u.Username] {
			t.Errorf("%s is listed twice", u.Username)
		}
		names[u.Username] = true
	}
	if len(names) != 2*pageSize {
		t.Errorf("%d of %d users are listed", len(names), 2*pageSize)
	}

	table := strings.Split(strings.TrimSuffix(a.run("", "user", "list").succeeded(t), "\n"), "\n")
	if len(table) != 1+2*pageSize {
		t.Errorf("%d lines", len(table))
	}
	column := strings.Index(table[0], "USERNAME")
	if n := slices.IndexFunc(table[1:], func(line string) bool { return strings.Index(line, `"User `) != column }); n >= 0 {
		t.Errorf("not aligned:\n%s\n%s", table[0], table[1+n])
	}
}

func TestListShowsThoseWhoAreAskedFor(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice", "albert")
	a.run(goodPassword, "user", "add", "bob", "--password-stdin", "--email=Bob@example.org", "--email-verified").succeeded(t)
	a.run("", "user", "disable", "albert").succeeded(t)
	a.run("", "user", "role", "add", "bob", "admin").succeeded(t)
	for flags, want := range map[string]string{
		"--prefix=AL": "albert alice", "--state=disabled": "albert", "--state=enabled --prefix=al": "alice", "--role=admin": "bob",
		"--email=bob@EXAMPLE.org": "bob", "--email=bob@example.org --state=disabled": "", "--role=nothing": "", "--state=any": "albert alice bob", "--limit=2": "albert alice", "--limit=3": "albert alice bob", "--limit=0": "albert alice bob",
	} {
		var names []string
		for line := range strings.Lines(a.run("", append([]string{"user", "list", "--json"}, strings.Fields(flags)...)...).succeeded(t)) {
			names = append(names, fromJSON[wire.Account](t, line).Username)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", flags, got, want)
		}
	}
	a.run("", "user", "list", "--state=x").failed(t, exitUsage, "--state")
	a.run("", "user", "list", "--limit=-1").failed(t, exitUsage, "--limit")
	table := strings.Split(a.run("", "user", "list").succeeded(t), "\n")
	roles := strings.Index(table[0], "ROLES")
	for n, want := range []string{"-  ", "-  ", "admin  "} {
		if !strings.HasPrefix(table[1+n][roles:], want) {
			t.Errorf("roles of %s", table[1+n])
		}
	}
}

func TestListOfNoUsers(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	if out := a.run("", "user", "list", "--json").succeeded(t); out != "" {
		t.Errorf("JSON: %q", out)
	}
	if out := a.run("", "user", "list").succeeded(t); !strings.HasPrefix(out, "ID ") || strings.Count(out, "\n") != 1 {
		t.Errorf("table: %q", out)
	}
}

// A name that came into the database by another way could take over the terminal that it is shown
// on.
func TestNamesAreShownWithoutControlCharacters(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	const name = "evil\u202e\x1b[2J"
	a.insert(name)
	if _, err := a.connect().Exec(t.Context(), "UPDATE users SET username_key = 'evil'"); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"user", "list"}, {"user", "show", "evil"}} {
		if out := a.run("", command...).succeeded(t); !strings.Contains(out, `"evil\u202e\x1b[2J"`) {
			t.Errorf("%q: %q", command, out)
		}
	}
}

// What unlocks nothing because it counts under another key must not look as if it had.
func TestUnlockNeedsTheKeyOfTheService(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.run("", "user", "unlock", "alice").failed(t, exitUsage, "SECRET_KEY: must be set")
	a.run("", "user", "unlock", "alice", "--secret-key=short").failed(t, exitUsage, "SECRET_KEY: ")
	a.run("", "user", "unlock", "nobody", "--secret-key="+testKey).failed(t, exitFailed, "no such user")
	if u := a.user("", "user", "unlock", "ALICE", "--secret-key="+testKey); u.Username != "alice" {
		t.Errorf("%+v", u)
	}
}

// Whoever runs the command knows why no mail will come, and sees nothing of one that does.
func TestAResetIsMailedToAVerifiedAddressAlone(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	send := func(name string, more ...string) ending {
		return a.run("", append([]string{"user", "send-reset", name, "--secret-key=" + testKey}, more...)...)
	}
	count := func() (n int) {
		if err := a.connect().QueryRow(t.Context(), "SELECT count(*) FROM mails WHERE kind = 'reset' AND user_id IS NOT NULL").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	a.run("", "user", "send-reset", "alice").failed(t, exitUsage, "SECRET_KEY: must be set")
	send("alice", "--language=fr").failed(t, exitUsage, "--language")
	send("nobody").failed(t, exitFailed, "no such user")
	send("alice").failed(t, exitFailed, "no verified e-mail address")
	a.asOwner("UPDATE users SET email = 'alice@example.org', email_key = 'alice@example.org'")
	send("alice").failed(t, exitFailed, "no verified e-mail address")
	a.asOwner("UPDATE users SET email_verified_at = now(), disabled_at = now()")
	send("alice").failed(t, exitFailed, "is disabled")
	a.asOwner("UPDATE users SET disabled_at = NULL")
	if n := count(); n != 0 {
		t.Errorf("%d mails were queued for nobody", n)
	}
	if u := a.user("", "user", "send-reset", "ALICE", "--secret-key="+testKey); u.Username != "alice" {
		t.Errorf("%+v", u)
	}
	if n := count(); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// Whoever runs the command sees nothing with which somebody gets in.
func TestAnInvitationIsMailedAndItsAccountIsShown(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.asOwner("UPDATE users SET email = 'alice@example.org', email_key = 'alice@example.org', email_verified_at = now()")
	invite := func(address string, more ...string) ending {
		return a.run("", append([]string{"user", "invite", address, "--secret-key=" + testKey}, more...)...)
	}
	count := func() (n int) {
		if err := a.connect().QueryRow(t.Context(), "SELECT count(*) FROM mails WHERE kind = 'invite' AND user_id IS NOT NULL").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	a.run("", "user", "invite", "bob@example.org").failed(t, exitUsage, "SECRET_KEY: must be set")
	invite("bob@example.org", "--language=fr").failed(t, exitUsage, "--language")
	invite("bob").failed(t, exitFailed, "email: ")
	invite("ALICE@example.org").failed(t, exitFailed, "belongs to another account")
	invite("bob@example.org", "--username=alice").failed(t, exitFailed, "the username is taken")
	invite("bob@example.org", "--role=nothing").failed(t, exitFailed, "no such role")
	if n := count(); n != 0 {
		t.Errorf("%d mails were queued for nobody", n)
	}
	u := a.user("", "user", "invite", "Bob@example.org", "--username=bob", "--role=admin", "--secret-key="+testKey)
	if u.Username != "bob" || *u.Email != "Bob@example.org" || u.EmailVerified || u.InitialSecret != "" || !slices.Contains(u.Roles, "admin") {
		t.Errorf("%+v", u)
	}
	if again := a.user("", "user", "invite", "bob@EXAMPLE.org", "--secret-key="+testKey); again.ID != u.ID {
		t.Errorf("%+v", again)
	}
	if n := count(); n != 2 {
		t.Errorf("%d mails", n)
	}
}

// The owner must hear of what an operator does, or somebody with the operator's password.
func TestAnOperatorWithTheKeyTellsTheOwner(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	for _, name := range []string{"alice", "bob"} {
		a.insert(name)
	}
	a.asOwner("UPDATE users SET email = username || '@example.org', email_key = username || '@example.org', email_verified_at = now()")
	a.run(goodPassword, "user", "password", "alice", "--password-stdin").succeeded(t)
	a.run("", "user", "delete", "bob", "--yes").succeeded(t)
	kinds := func() (kinds []string) {
		if err := a.connect().QueryRow(t.Context(), "SELECT coalesce(array_agg(kind ORDER BY kind), '{}') FROM mails").Scan(&kinds); err != nil {
			t.Fatal(err)
		}
		return kinds
	}
	if got := kinds(); len(got) != 0 {
		t.Errorf("%v without the key", got)
	}
	a.run(goodPassword, "user", "password", "alice", "--password-stdin", "--secret-key="+testKey).succeeded(t)
	a.run("", "user", "delete", "alice", "--yes", "--secret-key="+testKey).succeeded(t)
	// The mail of the password is gone with the account.
	if got := kinds(); !slices.Equal(got, []string{"account_deleted"}) {
		t.Errorf("%v", got)
	}
}

// Who loses what was printed can only make another one.
func TestAnInitialSecretIsPrintedOnceAndIsThePassword(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	made := a.user("", "user", "add", "alice", "--initial-secret", "--role", "admin")
	if !made.MustChangePassword || made.PasswordExpiresAt == nil || made.PasswordExpiresAt.Sub(made.CreatedAt) != 72*time.Hour ||
		!a.hasPassword("alice", made.InitialSecret) || len(made.Roles) != 1 {
		t.Errorf("%+v", made)
	}
	if shown := a.user("", "user", "show", "alice"); shown.InitialSecret != "" || !shown.MustChangePassword {
		t.Errorf("%+v", shown)
	}
	printed := a.run("", "user", "password", "alice", "--initial-secret", "--initial-secret-hours=1").succeeded(t)
	_, secret, found := strings.Cut(printed, "secret    ")
	if secret = strings.TrimSpace(secret); !found || secret == made.InitialSecret || !a.hasPassword("alice", secret) {
		t.Errorf("printed\n%s", printed)
	}
	if shown := a.run("", "user", "show", "alice").succeeded(t); strings.Contains(shown, "ghi_") || !strings.Contains(shown, "must be changed") {
		t.Errorf("shown as\n%s", shown)
	}
	a.run("", "user", "password", "nobody", "--initial-secret").failed(t, exitFailed, "no such user")
	stored := a.storedHash("alice")
	for _, flags := range [][]string{{"--password-stdin", "--initial-secret"}, {"--initial-secret", "--must-change"}, {"--initial-secret", "--initial-secret-hours=0"}} {
		if e := a.run(goodPassword, append([]string{"user", "password", "alice"}, flags...)...); e.code != exitUsage {
			t.Errorf("%v: %+v", flags, e)
		}
	}
	if a.storedHash("alice") != stored {
		t.Error("a refused command has changed the password")
	}
}

func TestAnOperatorDemandsAChangeOfThePassword(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	if u := a.user(goodPassword, "user", "add", "alice", "--password-stdin", "--must-change"); !u.MustChangePassword || u.PasswordExpiresAt != nil || u.InitialSecret != "" {
		t.Errorf("added: %+v", u)
	}
	if u := a.user(goodPassword, "user", "password", "alice", "--password-stdin", "--must-change"); !u.MustChangePassword {
		t.Errorf("given one to change: %+v", u)
	}
	a.insert("bob")
	if u := a.user("", "user", "must-change", "Bob"); !u.MustChangePassword || u.TokenVersion < 2 {
		t.Errorf("demanded: %+v", u)
	}
	a.run("", "user", "must-change", "nobody").failed(t, exitFailed, "no such user")
}

// Whose word an address is must be seen, or an operator takes a claim for a proof.
func TestAnAddressIsShownWithWhetherItIsVerified(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	add := func(name string, flags ...string) ending {
		return a.run(goodPassword, append([]string{"user", "add", name, "--password-stdin"}, flags...)...)
	}
	add("alice", "--email=Alice@example.org").succeeded(t)
	add("bob", "--email=bob@example.org", "--email-verified").succeeded(t)
	for name, want := range map[string]string{
		"alice": `"Alice@example.org", not verified`, "bob": `"bob@example.org", verified`,
	} {
		if shown := a.run("", "user", "show", name).succeeded(t); !strings.Contains(shown, want) {
			t.Errorf("%s: %s", name, shown)
		}
	}
	add("carol", "--email=BOB@example.org", "--email-verified").failed(t, exitFailed, "belongs to another account")
	add("carol", "--email=bob").failed(t, exitFailed, "email: must be an e-mail address")
	add("carol", "--email-verified").failed(t, exitFailed, "email: must be there to be verified")
}
