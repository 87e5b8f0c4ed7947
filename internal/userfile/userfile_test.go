package userfile

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gatehouse.example/internal/auth"
)

const someHash = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"

// readAll reads a file that must have a good head.
func readAll(t *testing.T, content string, format Format) (lines []auth.ImportLine) {
	t.Helper()
	r, err := NewReader(strings.NewReader(content), format)
	if err != nil {
		t.Fatalf("%q: %v", content, err)
	}
	for line, err := range r.All {
		if err != nil {
			t.Fatalf("%q: %v", content, err)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestBothFormsSayTheSame(t *testing.T) {
	t.Parallel()
	created := time.Date(2024, 2, 29, 12, 0, 0, 123456000, time.UTC)
	for content, want := range map[string]auth.UserRecord{
		`{"username":"alice","password_hash":"h"}`:                                                                             {Username: "alice", PasswordHash: "h"},
		` {"password_hash": "h", "username": "\u0061lice"} ` + "\r\n\n \n":                                                     {Username: "alice", PasswordHash: "h"},
		"\ufeff" + `{"username":"a","password_hash":"h","disabled":true,"roles":[],"created_at":null}`:                         {Username: "a", PasswordHash: "h", Disabled: true, Roles: []string{}},
		`{"username":"a","password_hash":"h","roles":["x","y"]}`:                                                               {Username: "a", PasswordHash: "h", Roles: []string{"x", "y"}},
		`{"username":"a","password_hash":"h","created_at":"2024-02-29T13:00:00.123456+01:00"}`:                                 {Username: "a", PasswordHash: "h", CreatedAt: created},
		`{"username":"a","password_hash":"h","must_change_password":true,"password_expires_at":"2024-02-29T12:00:00.123456Z"}`: {Username: "a", PasswordHash: "h", MustChangePassword: true, PasswordExpiresAt: &created},
		"username,password_hash,must_change_password,password_expires_at\na,h,1,2024-02-29T12:00:00.123456Z\n":                 {Username: "a", PasswordHash: "h", MustChangePassword: true, PasswordExpiresAt: &created},
		"username,password_hash\nalice,h\n":                                                                                    {Username: "alice", PasswordHash: "h"},
		"\ufeffpassword_hash,username\r\n\"h\",\"ali\"\"ce\"\r\n":                                                              {Username: `ali"ce`, PasswordHash: "h"},
		"username,password_hash,disabled,roles,created_at\na,h,,,\n":                                                           {Username: "a", PasswordHash: "h"},
		"username,password_hash,disabled,roles,created_at\na,h,t,x y,2024-02-29T12:00:00.123456Z\n":                            {Username: "a", PasswordHash: "h", Disabled: true, Roles: []string{"x", "y"}, CreatedAt: created},
		"created_at,disabled,username,password_hash\n2024-02-29T13:00:00.123456+01:00,0,a,h\n":                                 {Username: "a", PasswordHash: "h", CreatedAt: created},
	} {
		lines := readAll(t, content, "")
		if len(lines) != 1 || lines[0].Problem != "" || !sameRecord(lines[0].UserRecord, want) {
			t.Errorf("%q is read as %+v", content, lines)
		}
	}
}

// psql \copy is how most people get at accounts, and writes times in a way of its own.
func TestTimesOfPostgreSQLAreRead(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"2025-01-02 03:04:05.678+00":    "2025-01-02T03:04:05.678Z",
		"2025-01-02 03:04:05+00":        "2025-01-02T03:04:05Z",
		"2025-01-02 03:04:05.678901+02": "2025-01-02T01:04:05.678901Z",
		"2025-01-02 03:04:05.6-03":      "2025-01-02T06:04:05.6Z",
		"2025-01-02 03:04:05+05:30":     "2025-01-01T21:34:05Z",
		"2025-01-02 03:04:05.1-02:30":   "2025-01-02T05:34:05.1Z",
		"1880-01-02 03:04:05+00:09:21":  "1880-01-02T02:54:44Z",
		"2025-01-02 03:04:05Z":          "2025-01-02T03:04:05Z",
		"2025-01-02 03:04:05":           "", // of which time zone?
		"2025-01-02":                    "",
		"infinity":                      "",
		"0044-03-15 00:00:00+00 BC":     "",
		"2025-01-02 03:04:05+00 ":       "",
	} {
		for _, content := range []string{
			`{"username":"a","password_hash":"h","created_at":"` + written + `"}`,
			"username,password_hash,created_at\na,h," + written + "\n",
		} {
			line := readAll(t, content, "")[0]
			got := ""
			if line.Problem == "" {
				got = line.CreatedAt.UTC().Format(time.RFC3339Nano)
			}
			if got != want {
				t.Errorf("%q is read as %q, %s; want %q", content, got, line.Problem, want)
			}
		}
	}
}

func sameRecord(a, b auth.UserRecord) bool {
	return a.Username == b.Username && a.PasswordHash == b.PasswordHash && a.Disabled == b.Disabled &&
		strings.Join(a.Roles, " ") == strings.Join(b.Roles, " ") && a.CreatedAt.Equal(b.CreatedAt) &&
		a.MustChangePassword == b.MustChangePassword && sameTime(a.PasswordExpiresAt, b.PasswordExpiresAt) &&
		a.Email == b.Email && a.EmailVerified == b.EmailVerified && sameTime(a.VerifyUntil, b.VerifyUntil)
}

func sameTime(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

func TestFilesWithoutAccountsHaveNone(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "\n", "\ufeff", "username,password_hash\n", "username,password_hash"} {
		if lines := readAll(t, content, ""); lines != nil {
			t.Errorf("%q is read as %+v", content, lines)
		}
	}
}

func TestWhatIsWrongWithALineIsSaidWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	const canary = "canary"
	for _, test := range []struct{ head, line, says string }{
		{"", `{"username":"canary","password_hash":"canary"`, "no JSON object"},
		{"", `{"username":"canary","password_hash":"canary"}}`, "no JSON object"},
		{"", `{"username":"canary","password_hash":"canary"}{}`, "no JSON object"},
		{"", `["canary"]`, "no JSON object"},
		{"", `"canary"`, "no JSON object"},
		{"", "{\"username\":\"canary\x00\"}", "no JSON object"},
		{"", "{\"username\":\"canary\xff\"}", "no JSON object"},
		{"", `{canary`, "no JSON object"},
		{"", `{"canary":1}`, "unknown"},
		{"", `{"Username":"canary"}`, "unknown"},
		{"", `{"username":"canary","username":"canary"}`, "twice"},
		{"", `{"username":"canary"}`, "has no password_hash"},
		{"", `{"password_hash":"canary"}`, "has no username"},
		{"", `{"username":null,"password_hash":"canary"}`, "has no username"},
		{"", `{"username":1,"password_hash":"canary"}`, "username is not a string"},
		{"", `{"disabled":"canary"}`, "disabled is not true or false"},
		{"", `{"roles":"canary"}`, "roles is not a list"},
		{"", `{"roles":["canary",1]}`, "roles is not a list"},
		{"", `{"created_at":"canary"}`, "created_at is not a time"},
		{"", `{"created_at":"2024-01-01"}`, "created_at is not a time"},
		{"", `{"must_change_password":"canary"}`, "must_change_password is not true or false"},
		{"username,password_hash,password_expires_at\n", "canary,canary,soon\n", "password_expires_at is not a time"},
		{"", `{"email":1}`, "email is not a string"},
		{"", `{"email_verified":"canary"}`, "email_verified is not true or false"},
		{"username,password_hash,email_verified\n", "canary,canary,perhaps\n", "email_verified is not true or false"},
		{"", strings.Repeat(" ", maxLine) + `{"username":"canary"}`, "longer than"},
		{"username,password_hash\n", "canary\n", "2 fields"},
		{"username,password_hash\n", "canary,canary,canary\n", "2 fields"},
		{"username,password_hash\n", "\"canary,canary\n", "2 fields"},
		{"username,password_hash\n", "canary\",canary\n", "2 fields"},
		{"username,password_hash\n", "canary,canary", "cut off"},
		{"username,password_hash,disabled\n", "canary,canary,maybe\n", "disabled is not true or false"},
		{"username,password_hash,created_at\n", "canary,canary,yesterday\n", "created_at is not a time"},
		{"username,password_hash,verify_until\n", "canary,canary,soon\n", "verify_until is not a time"},
		{"username,password_hash\n", strings.Repeat("canary", maxLine) + "\n", "longer than"},
	} {
		format := JSONLines
		if test.head != "" {
			format = CSV
		}
		lines := readAll(t, test.head+test.line, format)
		if len(lines) != 1 || !strings.Contains(lines[0].Problem, test.says) || strings.Contains(lines[0].Problem, canary) {
			t.Errorf("%.80q: %+v, want a problem with %q", test.line, lines, test.says)
		}
	}
}

// One bad line must not swallow those behind it, as a quotation mark does that is never closed.
func TestALineBehindABadOneIsReadUnderItsNumber(t *testing.T) {
	t.Parallel()
	good := map[Format]string{
		JSONLines: `{"username":"bob","password_hash":"h"}` + "\n",
		CSV:       "bob,h\n",
	}
	for format, bad := range map[Format][]string{
		JSONLines: {`{"username":"a`, `{`, strings.Repeat("x", 10*maxLine), "\x00"},
		CSV:       {`"a,b`, `a,"`, strings.Repeat("x", 10*maxLine), `a"b`},
	} {
		for _, line := range bad {
			head := map[Format]string{CSV: "username,password_hash\n"}[format]
			lines := readAll(t, head+line+"\n\n"+good[format], format)
			want := 3 + strings.Count(head, "\n")
			if len(lines) != 2 || lines[0].Problem == "" || lines[0].Number != want-2 ||
				lines[1].Problem != "" || lines[1].Username != "bob" || lines[1].Number != want {
				t.Errorf("%s: behind %.20q: %+v", format, line, lines)
			}
		}
	}
}

func TestACSVHeadThatIsNoneIsAnErrorOfTheFile(t *testing.T) {
	t.Parallel()
	for head, says := range map[string]string{
		"":                                   "names of the columns",
		"username\n":                         "no column password_hash",
		"password_hash\n":                    "no column username",
		"username,password_hash,canary\n":    "column 3",
		"username,password_hash,username\n":  "column 3",
		"Username,password_hash\n":           "column 1",
		"canary,$2b$12$canary\n":             "column 1",
		"\"username,password_hash\n":         "names of the columns",
		strings.Repeat("username,", maxLine): "longer than",
	} {
		_, err := NewReader(strings.NewReader(head), "csv")
		if err == nil || !strings.HasPrefix(err.Error(), "line 1: ") || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.40q: %v, want an error with %q", head, err, says)
		}
	}
}

// A file that cannot be read to its end is not one that ends there.
func TestAnErrorOfTheFileEndsTheLines(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r, err := NewReader(io.MultiReader(strings.NewReader("{}\n{}"), failing{broken}), "jsonl")
	if err != nil {
		t.Fatal(err)
	}
	count, last := 0, error(nil)
	for _, last = range r.All {
		count++
	}
	if count != 2 || !errors.Is(last, broken) {
		t.Errorf("%d lines, the last with %v", count, last)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Whatever is in a file, its lines come one by one, say nothing of what is in them, and are written
// as they were read.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`{"username":"alice","password_hash":"` + someHash + `","disabled":true,"roles":["a"],"created_at":"2024-01-01T00:00:00Z"}` + "\n",
		"username,password_hash,disabled,roles,created_at\nalice," + someHash + ",true,a b,2024-01-01T00:00:00.5+02:00\r\n",
		"username,password_hash\n\"a\"\"b\",\"c,d\"\n\"", "{}\n\n{\x00}\n", "\ufeff{\"username\":\"\\u0000\",\"password_hash\":\"\\n\"}",
	} {
		f.Add([]byte(seed), "")
		f.Add([]byte(seed), "csv")
	}
	f.Fuzz(func(t *testing.T, content []byte, format string) {
		r, err := NewReader(bytes.NewReader(content), Format(format))
		if err != nil {
			return
		}
		last := 0
		for line, err := range r.All {
			if err != nil {
				t.Fatal(err)
			}
			if line.Number <= last || line.Number > 1+bytes.Count(content, []byte("\n")) {
				t.Fatalf("line %d comes after line %d", line.Number, last)
			}
			last = line.Number
			if line.Problem == "" {
				comesBack(t, line.UserRecord)
			}
		}
	})
}

// Names may be anybody's choice, and whoever opens an export in a spreadsheet runs what stands in
// it.
func FuzzNoCellIsAFormulaAndEveryNameComesBack(f *testing.F) {
	for _, name := range []string{"", "alice", "=1+1", "+1", "-1", "@a", "＝1", "＋", "－", "＠", "\t=1", "\r", "'", "''", "'=1", "''=1", "'''", "'a", "\xff", "'\xff"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		cell := toCell(name)
		if beginsWith(cell, "=+-@＝＋－＠\t\r") {
			t.Errorf("%q is written as %q, a formula", name, cell)
		}
		if back := fromCell(cell); back != name {
			t.Errorf("%q is written as %q, and read as %q", name, cell, back)
		}
	})
}

// What other programs have written is read as it stands, unless it has the mark of an export.
func TestNamesOfOtherFilesAreReadAsTheyStand(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{"=1": "=1", "'tis": "'tis", "'": "'", "'=1": "=1", "''": "'"} {
		if got := readAll(t, "username,password_hash\n"+cell+",h\n", "csv")[0].Username; got != want {
			t.Errorf("%q is read as %q, want %q", cell, got, want)
		}
	}
}

func comesBack(t *testing.T, record auth.UserRecord) {
	for _, format := range []Format{JSONLines, CSV} {
		year := record.CreatedAt.UTC().Year()
		text := record.Username + record.PasswordHash
		if year < 1970 || year > 9999 || !utf8.ValidString(text) || // which Import refuses
			format == CSV && (strings.ContainsAny(text, "\r\n") || len(record.Roles) > 0) {
			continue
		}
		var written bytes.Buffer
		out, err := NewWriter(&written, format)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Write(record); err != nil {
			t.Fatal(err)
		}
		if written.Len() > maxLine {
			continue // as JSON needs more for a character than was read
		}
		lines := readAll(t, written.String(), format)
		if len(lines) != 1 || lines[0].Problem != "" || !sameRecord(lines[0].UserRecord, record) {
			t.Errorf("%+v is written as %q and read as %+v", record, written.String(), lines)
		}
	}
}
