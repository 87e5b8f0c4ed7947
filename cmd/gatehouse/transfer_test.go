package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/userfile"
)

const someHash = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"

const argon2idHash = "$argon2id$v=19$m=65536,t=3,p=4$wagCPXjifgvUFBzq4hqe3w$CYaIb8sB+wtD+Vu/P4uod1+Qof8h+1g7bbDlBID48Rc"

// tables is all that is in a database, by table, but for the audit log: it tells also of what
// changed nothing.
func (a accounts) tables() map[string]string {
	a.Helper()
	conn := a.connect()
	names := queried[string](a, conn, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'audit\\_%'")
	all := make(map[string]string)
	for _, name := range names {
		rows := queried[string](a, conn, "SELECT t::text FROM "+pgx.Identifier{name}.Sanitize()+" t ORDER BY 1")
		all[name] = strings.Join(rows, "\n")
	}
	return all
}

func (a accounts) wantTables(want map[string]string) {
	a.Helper()
	got := a.tables()
	for name := range want {
		if got[name] != want[name] {
			a.Errorf("table %s was\n%s\nand is\n%s", name, want[name], got[name])
		}
	}
	if len(want) < 3 || len(got) != len(want) {
		a.Errorf("%d tables, there were %d", len(got), len(want))
	}
}

func queried[T any](a accounts, conn *pgx.Conn, sql string) []T {
	a.Helper()
	rows, err := conn.Query(a.Context(), sql)
	if err != nil {
		a.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		a.Fatal(err)
	}
	return values
}

// users are all accounts but for what each database has its own of, in the order of their names.
func (a accounts) users() []string {
	a.Helper()
	return queried[string](a, a.connect(), `SELECT concat_ws(' ', username, username_key, password_hash, disabled_at IS NOT NULL,
		token_version, created_at, must_change_password, password_expires_at, email, email_key, email_verified_at IS NOT NULL, verify_until, username_address, roles) FROM users JOIN user_rights ON user_id = id ORDER BY username_key`)
}

// roles makes some.
func (a accounts) roles(names ...string) {
	a.Helper()
	for _, name := range names {
		a.run("", "role", "set", name, "files:"+name).succeeded(a.T)
	}
}

// wantUsers takes the names in the order of their bytes.
func (a accounts) wantUsers(names ...string) {
	a.Helper()
	if got := queried[string](a, a.connect(), `SELECT username FROM users ORDER BY username COLLATE "C"`); !slices.Equal(got, names) {
		a.Errorf("users: %q, want %q", got, names)
	}
}

// jsonLine is a line of a file; members are further ones.
func jsonLine(username, hash string, members ...string) string {
	name, err := json.Marshal(username)
	if err != nil {
		panic(err)
	}
	all := append([]string{fmt.Sprintf(`"username":%s,"password_hash":%q`, name, hash)}, members...)
	return "{" + strings.Join(all, ",") + "}\n"
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// reportOf takes the JSON lines of an import apart.
func reportOf(t *testing.T, e ending) (bad map[int]string, count importCount) {
	t.Helper()
	lines := strings.SplitAfter(strings.TrimSuffix(e.out, "\n"), "\n")
	bad = make(map[int]string)
	for _, line := range lines[:len(lines)-1] {
		b := fromJSON[struct {
			Line   int    `json:"line"`
			Reason string `json:"reason"`
		}](t, line)
		bad[b.Line] = b.Reason
	}
	count = fromJSON[importCount](t, lines[len(lines)-1])
	if count.BadLines != len(bad) {
		t.Errorf("%d bad lines, counted as %d", len(bad), count.BadLines)
	}
	return bad, count
}

func TestAccountsAreImportedWithAllThatTheFileSays(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"accounts.jsonl": jsonLine("Alice", someHash, `"disabled":true`, `"roles":["reader","clerk","reader"]`, `"created_at":"2020-02-29T12:00:00.5Z"`) +
			jsonLine("müller", "{CRYPT}"+someHash) + jsonLine("root", someHash, `"roles":["admin"]`),
		"accounts.csv": "username,password_hash,disabled,roles,created_at\nAlice," + someHash + ",true,reader clerk  reader,2020-02-29T12:00:00.5Z\n" +
			"müller,{CRYPT}" + someHash + ",,,\nroot," + someHash + ",,admin,\n",
	} {
		for _, way := range []string{"file", "standard input"} {
			a := newAccounts(t)
			a.roles("clerk", "reader")
			args := []string{"user", "import", writeFile(t, name, content)}
			stdin := ""
			if way != "file" {
				args[2], stdin = "-", content
			}
			if out := a.run(stdin, args...).succeeded(t); out != "accounts imported: 3\n" {
				t.Errorf("%s: %q", name, out)
			}
			a.wantUsers("Alice", "müller", "root")
			users := a.users()
			if !strings.HasPrefix(users[0], "Alice alice "+someHash+" t 1 2020-02-29 12:00:00.5+00") || !strings.HasSuffix(users[0], " {clerk,reader}") {
				t.Errorf("%s by %s: %s", name, way, users[0])
			}
			if !strings.HasPrefix(users[1], "müller müller "+someHash+" f 1 20") || !strings.HasSuffix(users[1], " {}") { // and now it is
				t.Errorf("%s by %s: %s", name, way, users[1])
			}
			if !strings.HasSuffix(users[2], " {admin}") {
				t.Errorf("%s by %s: %s", name, way, users[2])
			}
		}
	}
}

func TestAFileOfAnotherFormThanItsNameIsReadAsItIsSaidToBe(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	file := writeFile(t, "accounts.csv", jsonLine("alice", someHash))
	a.run("", "user", "import", file).failed(t, exitFailed, "line 1: ")
	a.run("", "user", "import", file, "--format=jsonl").succeeded(t)
	a.run("", "user", "import", file, "--format=xml").failed(t, exitUsage, "--format")
	a.run("", "user", "import", file+".none").failed(t, exitFailed, "no such file")
}

// Half an import is one that nobody can do again: the names of the first half are taken.
func TestOneBadLineLeavesEveryTableAsItWas(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("taken", "gone")
	a.run("", "user", "delete", "gone", "--yes").succeeded(t)
	a.tooManyRoles()
	before := a.tables()
	own := "$hmac-sha256$k=0$" + someHash // whose key would be put on record
	for name, bad := range map[string]string{
		"hash":            jsonLine("carol", "fakehashedsecret"),
		"name":            jsonLine("", someHash),
		"name in file":    jsonLine("ALICE", someHash),
		"name in table":   jsonLine("Taken", someHash),
		"retired name":    jsonLine("Gone", someHash),
		"role":            jsonLine("carol", someHash, `"roles":["big1","nothing"]`),
		"roles":           jsonLine("carol", someHash, `"roles":["big1","big2"]`),
		"unknown key":     jsonLine("carol", "$hmac-sha256$k=feed$"+someHash),
		"cut in the file": strings.TrimSuffix(jsonLine("carol", someHash), "\"}\n"),
		"huge":            strings.Repeat("x", 2*64<<10),
	} {
		file := writeFile(t, "accounts.jsonl", jsonLine("alice", own)+jsonLine("bob", someHash, `"roles":["big1","admin"]`)+bad)
		e := a.run("", "user", "import", file)
		if e.code != exitFailed || e.out != "accounts imported: 0\n" || !strings.HasPrefix(e.err, "line 3: ") ||
			!strings.HasSuffix(e.err, "\ngatehouse: nothing was imported: bad lines: 1\n") {
			t.Errorf("%s: %+v", name, e)
		}
		if strings.Contains(e.err, "fakehashedsecret") || strings.Contains(e.err, someHash[7:]) {
			t.Errorf("%s: quoted: %s", name, e.err)
		}
		a.wantTables(before)
	}
	a.run("", "user", "import", writeFile(t, "accounts.jsonl", jsonLine("alice", own))).succeeded(t)
	if len(a.peppers()) != 1 {
		t.Error("the key is not on record after a good import: the comparisons above prove nothing")
	}
}

func TestContinueImportsTheGoodLinesAndTellsEachBadOne(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("taken", "gone")
	a.run(goodPassword, "user", "add", "named@bücher.example", "--password-stdin").succeeded(t)
	a.run("", "user", "delete", "gone", "--yes").succeeded(t)
	a.run(goodPassword, "user", "add", "known", "--password-stdin", "--email=known@example.org", "--email-verified").succeeded(t)
	a.tooManyRoles()
	content, want := "", map[int]string{}
	n := 0
	line := func(text, reason string) {
		n++
		content += text
		if reason != "" {
			want[n] = reason
		}
	}
	line(jsonLine("alice", someHash), "")
	line(jsonLine("taken", someHash, `"roles":["admin"]`), "username: is taken")
	line("\n", "")
	line(jsonLine("ALICE", someHash), "username: is that of line 1")
	line(jsonLine("alice", "md5"), "password_hash: is no hash of a known kind")
	line(jsonLine("carol\x00", someHash), "username: may have letters")
	line(jsonLine("carol\u202e", someHash), "username: may have letters")
	line(jsonLine("\x1b[2J", someHash), "username: may have letters")
	line(jsonLine("pаypal", someHash), "username: must not mix letters") // a Cyrillic а
	line(jsonLine(strings.Repeat("c", 65), someHash), "username: must have at most 64")
	line(jsonLine("", ""), "username: must not be empty; password_hash: is no hash of a known kind")
	line(jsonLine("carol", "$2b$17$"+someHash[7:]), "cost 17")
	line(jsonLine("carol", "$hmac-sha256$k=feed$"+someHash), `needs the password key "feed"`)
	line(jsonLine("dora", someHash, `"password_expires_at":"2024-01-01T00:00:00Z"`), "password_expires_at: must not be there")
	line(jsonLine("dora", someHash, `"must_change_password":true`, `"password_expires_at":"0001-01-01T00:00:00Z"`), "password_expires_at: must be of a year")
	line(jsonLine("Gone", someHash), "username: is taken")
	line(jsonLine("carol", someHash, `"roles":["big1","nothing"]`), "roles: no such role; `gatehouse role list` shows all")
	line(jsonLine("carol", someHash, `"roles":["big1","big\u0000"]`), "roles: no such role; `gatehouse role list` shows all")
	line(jsonLine("carol", "md5", `"roles":["big1","big2"]`), "; roles: too many roles and permissions for a token; use fewer")
	line(jsonLine("alice", someHash, `"roles":["admin"]`), "username: is that of line 1")
	line(jsonLine("carol", someHash, `"created_at":"0001-01-01T00:00:00+01:00"`), "created_at: must be of a year")
	line(jsonLine("carol", someHash, `"e_mail":"carol@example.com"`), "line: has a member that is unknown")
	line(jsonLine("carol", someHash, `"email":"carol"`), "email: must be an e-mail address")
	line(jsonLine("carol", "md5", `"email":"carol@localhost"`), "; email: must have the name of a domain")
	line(jsonLine("carol", someHash, `"email_verified":true`), "email_verified: must not be there without email")
	line(jsonLine("carol", someHash, `"verify_until":"2099-01-01T00:00:00Z"`), "verify_until: must not be there without an email that is not verified")
	line(jsonLine("carol", someHash, `"email":"c@example.org"`, `"email_verified":true`, `"verify_until":"2099-01-01T00:00:00Z"`), "verify_until: must not be there")
	line(jsonLine("carol", someHash, `"email":"c@example.org"`, `"verify_until":"0001-01-01T00:00:00Z"`), "verify_until: must be of a year")
	line(jsonLine("erin", someHash, `"email":"Erin@bücher.example"`, `"email_verified":true`), "")
	erins := fmt.Sprint(": is that of line ", n)
	line(jsonLine("carol", someHash, `"email":"erin@xn--bcher-kva.example"`, `"email_verified":true`), "email"+erins)
	line(jsonLine("ERIN@xn--bcher-kva.example", someHash), "username"+erins)
	line(jsonLine("carol", someHash, `"email":"known@example.org"`, `"email_verified":true`), "email: is taken")
	line(jsonLine("KNOWN@example.org", someHash), "username: is that of line")
	line(jsonLine("carol", someHash, `"email":"named@bücher.example"`, `"email_verified":true`), "email: is taken")
	line(jsonLine("frank", someHash, `"email":"known@example.org"`), "") // which counts for nothing
	line("{\"username\":\"carol\xff\"}\n", "line: is no JSON object")
	line("\x00\n", "line: is no JSON object")
	line(strings.Repeat("x", 192<<10)+"\n", "line: is longer")
	line(jsonLine("ａｌｉｃｅ", someHash), "username: is that of line 1")
	line(jsonLine("bob", someHash, `"roles":["big2"]`), "")
	line(`{"username":"carol`, "line: is no JSON object")
	e := a.run("", "user", "import", writeFile(t, "accounts", content), "--continue", "--json")
	if e.code != exitFailed || e.err != fmt.Sprintf("gatehouse: bad lines that were left out: %d\n", len(want)) {
		t.Errorf("%d: %s", e.code, e.err)
	}
	bad, count := reportOf(t, e)
	if count.Imported != 4 {
		t.Errorf("%+v", count)
	}
	for n := range n + 1 {
		if reason := bad[n]; !strings.Contains(reason, want[n]) || (reason == "") != (want[n] == "") {
			t.Errorf("line %d: %q, want %q", n, reason, want[n])
		}
	}
	a.wantUsers("alice", "bob", "erin", "frank", "known", "named@bücher.example", "taken")
	if held := queried[string](a, a.connect(), "SELECT username || ' ' || role_name FROM user_roles JOIN users ON id = user_id"); !slices.Equal(held, []string{"bob big2"}) {
		t.Errorf("roles: %q", held)
	}
}

// tooManyRoles makes big1 and big2, of which a user can have one.
func (a accounts) tooManyRoles() {
	a.Helper()
	_, err := a.connect().Exec(a.Context(), `INSERT INTO roles (name) VALUES ('big1'), ('big2');
		INSERT INTO role_permissions SELECT 'big' || n, repeat('a', 20) || n || ':' || repeat('a', 20) || m
		FROM generate_series(1, 2) n, generate_series(1, 30) m`)
	if err != nil {
		a.Fatal(err)
	}
}

// A file can be wrong about a user's rights by one byte: whoever judges the line and the database
// must draw one line.
func TestAnImportTakesExactlyTheRightsThatFitIntoAToken(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	// b","c and 73 permissions of 27 bytes, with spaces between, are 2048 bytes; some permissions
	// are those of both.
	_, err := a.connect().Exec(t.Context(), `INSERT INTO roles (name) VALUES ('b'), ('bb'), ('c');
		INSERT INTO role_permissions SELECT r, 'a:' || repeat('a', 22) || m + 100 FROM unnest('{b,bb}'::text[]) r, generate_series(1, 40) m;
		INSERT INTO role_permissions SELECT 'c', 'a:' || repeat('a', 22) || m + 100 FROM generate_series(30, 73) m`)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "a.jsonl", jsonLine("alice", someHash, `"roles":["b","c"]`)+jsonLine("bob", someHash, `"roles":["bb","c"]`))
	bad, _ := reportOf(t, a.run("", "user", "import", file, "--continue", "--json"))
	if len(bad) != 1 || bad[2] != "roles: too many roles and permissions for a token; use fewer" {
		t.Errorf("%v", bad)
	}
	a.wantUsers("alice")
	a.run(jsonLine("carol", someHash, `"roles":["c"]`), "user", "import", "-").succeeded(t)
	a.run("", "user", "role", "add", "carol", "bb").failed(t, exitFailed, "too many roles")
	a.run("", "user", "role", "add", "carol", "b").succeeded(t)
}

// Of good lines there is nothing to report, and scripts go by the exit code.
func TestContinueWithoutABadLineSucceeds(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	if out := a.run(jsonLine("alice", someHash), "user", "import", "-", "--continue", "--json").succeeded(t); out != `{"imported":1,"bad_lines":0}`+"\n" {
		t.Errorf("%q", out)
	}
}

func TestControlCharactersOfACSVFileAreInNoAccount(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	content := "username,password_hash\n"
	for _, name := range []string{"\x00", "a\x00b", "\x1b[2J", "a\xff", "\"a\tb\"", "a\rb", "a b"} {
		content += name + "," + someHash + "\n"
	}
	bad, _ := reportOf(t, a.run("", "user", "import", writeFile(t, "a.csv", content), "--json"))
	for n := range 7 {
		if !strings.Contains(bad[n+2], "may have letters") {
			t.Errorf("line %d: %q", n+2, bad[n+2])
		}
	}
	a.wantUsers()
}

// An operator who does not know that time tells of some accounts cannot have their passwords
// changed.
func TestAnImportWarnsOfHashesThatShowByTheirTime(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	e := a.run("", "user", "import", writeFile(t, "a.jsonl", jsonLine("alice", "$2b$15$"+strings.Repeat("x", 53))+jsonLine("bob", someHash)))
	if e.code != exitOK || e.out != "accounts imported: 2\n" || !strings.HasPrefix(e.err, "warning: hashes of bcrypt cost 15 or 16: 1. ") {
		t.Errorf("%+v", e)
	}
}

// Whoever comes back from a backup, or moves to another server, must find everything.
func TestExportIntoAnEmptyDatabaseIsTheSame(t *testing.T) {
	t.Parallel()
	old, peppered := newAccounts(t), "--password-pepper="+testKey
	old.run(goodPassword, "user", "add", "Alice", "--password-stdin").succeeded(t)
	old.flags = append(old.flags, peppered)
	old.serveOnce("--secret-key=" + testKey)
	old.run(goodPassword, "user", "add", "ｂｏｂ", "--password-stdin").succeeded(t)
	old.run("", "user", "import", writeFile(t, "a.jsonl", jsonLine("müller", someHash, `"created_at":"1999-12-31T23:59:59.123456Z"`)+
		jsonLine(`quote"comma,'=back\`, someHash, `"must_change_password":true`)+
		jsonLine("דוד@example.com", someHash, `"email":"דוד@example.com"`, `"email_verified":true`)+
		jsonLine("erin", someHash, `"email":"=Erin@BÜCHER.example"`, `"verify_until":"2099-02-28T12:00:00.123456Z"`)+jsonLine(strings.Repeat("a", 242)+"@example.com", someHash)+
		jsonLine("invited", someHash, `"must_change_password":true`, `"password_expires_at":"2024-02-29T13:00:00.123456+01:00"`))).succeeded(t)
	formulas := []string{"=1+1", "+1", "-1", "@a", "x＝1", "'=1", "''", "'", "'a", "''=1"}                              // of before strangers were refused them
	if e := old.run("", "user", "import", writeFile(t, "argon.jsonl", jsonLine("argon", argon2idHash))); e.code != 0 { // it warns
		t.Fatal(e)
	}
	for _, name := range formulas {
		old.run("", "user", "import", writeFile(t, "f.jsonl", jsonLine(name, someHash))).succeeded(t)
	}
	old.run("", "user", "disable", "müller").succeeded(t)
	old.roles("clerk", "reader")
	for _, held := range []string{"Alice admin", "Alice reader", "Alice clerk", "müller reader"} {
		old.run("", append([]string{"user", "role", "add"}, strings.Fields(held)...)...).succeeded(t)
	}
	if _, err := old.connect().Exec(t.Context(), "UPDATE users SET token_version = 1"); err != nil { // no token goes along
		t.Fatal(err)
	}
	want := old.users()
	if len(want) != 9+len(formulas) {
		t.Fatal(want)
	}
	for _, format := range []string{"jsonl", "csv"} {
		file := filepath.Join(t.TempDir(), "accounts."+format)
		if out := old.run("", "user", "export", file).succeeded(t); out != fmt.Sprintf("accounts exported: %d\n", len(want)) {
			t.Errorf("%q", out)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if format == "csv" && strings.Contains(string(content), "\n=") {
			t.Errorf("a name is a formula to a spreadsheet:\n%s", content)
		}
		if piped := old.run("", "user", "export", "--format="+format).succeeded(t); piped != string(content) {
			t.Errorf("%s: the file is\n%s\nand standard output\n%s", format, content, piped)
		}
		restored := newAccounts(t, peppered)
		restored.roles("clerk", "reader")
		if e := restored.run("", "user", "import", file); e.code != 0 {
			t.Fatal(e)
		}
		if got := restored.users(); !slices.Equal(got, want) {
			t.Errorf("%s: were\n%s\nare\n%s", format, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
		if again := restored.run("", "user", "export", "--format="+format).succeeded(t); again != string(content) {
			t.Errorf("%s: exported again as\n%s\nafter\n%s", format, again, content)
		}
		if keys := restored.peppers(); len(keys) != 2 {
			t.Errorf("keys on record: %+v", keys)
		}
	}
}

// Without the pepper, the owners of such hashes could not log in. Where the key is on record,
// replicas do not start without it, so that it need not be there for the import.
func TestAnOwnHashNeedsItsKey(t *testing.T) {
	t.Parallel()
	peppered, bare := newAccounts(t, "--password-pepper="+testKey), newAccounts(t)
	peppered.run(goodPassword, "user", "add", "alice", "--password-stdin").succeeded(t)
	key := peppered.peppers()[0].Key
	exported := peppered.run("", "user", "export").succeeded(t)
	e := bare.run(exported, "user", "import", "-")
	if e.code != exitFailed || !strings.Contains(e.err, fmt.Sprintf("line 1: password_hash: needs the password key %q", key)) {
		t.Errorf("%+v", e)
	}
	bare.wantUsers()

	onRecord := accounts{t, peppered.url, []string{"--database-url=" + peppered.url}} // and no pepper
	onRecord.run(strings.Replace(exported, "alice", "bob", 1), "user", "import", "-").succeeded(t)
	onRecord.wantUsers("alice", "bob")
}

func TestAKeyThatIsAnotherThanTheOneOnRecordStopsAnImport(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	if _, err := a.connect().Exec(t.Context(), "INSERT INTO password_keys VALUES ('0', decode(repeat('00', 32), 'hex'))"); err != nil {
		t.Fatal(err)
	}
	a.run(jsonLine("alice", someHash), "user", "import", "-").failed(t, exitFailed, "PASSWORD_PEPPER has another key")
}

func TestAnExportIsForItsOwnerAndReplacesNothing(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	file := filepath.Join(t.TempDir(), "accounts")
	a.run("", "user", "export", file).succeeded(t)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("mode %v, %d bytes", info.Mode(), info.Size())
	}
	other := writeFile(t, "other", "precious")
	a.run("", "user", "export", other).failed(t, exitFailed, "exists")
	if content, err := os.ReadFile(other); err != nil || string(content) != "precious" {
		t.Errorf("%q, %v", content, err)
	}
}

// A file that is not whole could be taken for one that is.
func TestAnExportThatFailsLeavesNoFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "accounts")
	gatehouse(t, "", "user", "export", file, "--database-url=postgres://tester@127.0.0.1:1/test").failed(t, exitFailed, "cannot be reached")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

// Nothing wakes a reader of a pipe whose other end is silent; Ctrl-C must still end the import, and
// undo it.
func TestAnInterruptedImportLeavesNothing(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	before, watcher := a.tables(), a.connect()
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer to.Close() // ends the read that outlives the import
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan ending, 1)
	go func() {
		var out, errs bytes.Buffer
		code := runHere(ctx, append([]string{"user", "import", "-"}, a.flags...), terminal{in: in, out: &out, err: &errs})
		ended <- ending{code, out.String(), errs.String()}
	}()
	if _, err := to.WriteString(jsonLine("alice", someHash)); err != nil {
		t.Fatal(err)
	}
	for copying := false; !copying; {
		select {
		case e := <-ended:
			t.Fatalf("ended by itself: %+v", e)
		default:
		}
		err := watcher.QueryRow(t.Context(), `SELECT EXISTS (
			SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'copy %')`).Scan(&copying)
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	e := <-ended
	e.failed(t, exitFailed, "interrupted")
	a.wantTables(before)
}

// The fields of an account are listed for JSON and for CSV: neither may lack one.
func TestBothFormsOfAnExportHaveTheDocumentedFields(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	fields := fromJSON[map[string]any](t, a.run("", "user", "export").succeeded(t))
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, slices.Sorted(slices.Values(userfile.Columns()))) {
		t.Errorf("JSON has %q", got)
	}
	if roles, ok := fields["roles"].([]any); !ok || len(roles) != 0 {
		t.Errorf("roles: %v", fields["roles"])
	}
	head, _, _ := strings.Cut(a.run("", "user", "export", "--format=csv").succeeded(t), "\n")
	if head != "username,password_hash,disabled,roles,created_at,must_change_password,password_expires_at,email,email_verified,verify_until" {
		t.Errorf("CSV has %s", head)
	}
}

// BenchmarkImportAndExport has what an account with a role costs, through the command line. For a
// million of them:
//
//	go run ./internal/dbtest/withdb -- go test -run '^$' -bench ImportAndExport -benchtime 1000000x ./cmd/gatehouse
func BenchmarkImportAndExport(b *testing.B) {
	url, dir := dbtest.New(b), b.TempDir()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(b.Context(), `INSERT INTO roles (name) SELECT 'role' || n FROM generate_series(0, 9) n;
		INSERT INTO role_permissions SELECT 'role' || n, 'files:action' || m FROM generate_series(0, 9) n, generate_series(1, 5) m;
		INSERT INTO retired_usernames (key_digest) SELECT retired_digest(secret, sha256(convert_to('gone' || n, 'UTF8'))) FROM retired_usernames_key, generate_series(1, 10000) n`); err != nil {
		b.Fatal(err)
	}
	var content bytes.Buffer
	for n := range b.N {
		content.WriteString(jsonLine(fmt.Sprintf("user%d", n), someHash, fmt.Sprintf(`"roles":["role%d"]`, n%10)))
	}
	file := filepath.Join(dir, "in.jsonl")
	if err := os.WriteFile(file, content.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	command := func(args ...string) {
		var out, errs bytes.Buffer
		if code := runHere(b.Context(), append(args, "--database-url="+url), terminal{out: &out, err: &errs}); code != exitOK {
			b.Fatal(code, errs.String())
		}
	}
	b.ResetTimer()
	command("user", "import", file)
	b.StopTimer()
	start := time.Now()
	command("user", "export", filepath.Join(dir, "out.jsonl"))
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(b.N), "ns-export/op")
}
