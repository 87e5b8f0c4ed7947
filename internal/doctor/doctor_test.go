package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return t
}

// What is wrong and not told is found at night, and what is told for nothing is read by nobody.
func TestEachJudgementSaysHowBadItIs(t *testing.T) {
	t.Parallel()
	now := at("2026-12-01")
	week, year := now.AddDate(0, 0, -7), now.AddDate(-1, 0, 0)
	local := func(host string) bool { return host == "localhost" }
	issuer := func(url string) Finding { return Issuer(url, local) }
	version := func(number int) Finding { return PostgreSQL(Server{Version: number}, now) }
	clock := func(ahead time.Duration) Finding { return Clock(Server{Ahead: ahead}) }
	key := func(key string) Finding { return Secret("SECRET_KEY", [][]byte{[]byte(key)}) }
	keys := func(keys ...Key) Finding { return SigningKeys(keys, 90*24*time.Hour, now) }
	judged(t, []judgement{
		{version(130018), Fail, "PostgreSQL 13.18 is too old"},
		{version(140020), Warn, "2026-11-12"},
		{version(150004), OK, "PostgreSQL 15.4"},
		{version(190000), OK, "PostgreSQL 19.0"}, // which this version does not know

		{clock(900 * time.Millisecond), OK, ""},
		{clock(1100 * time.Millisecond), Warn, "1.1s apart"},
		{clock(-1100 * time.Millisecond), Warn, "1.1s apart"},
		{clock(5100 * time.Millisecond), Fail, "5.1s apart"},
		{clock(-time.Hour), Fail, "1h0m0s apart"},

		{Isolation(Server{Isolation: "read committed"}), OK, ""},
		{Isolation(Server{Isolation: "serializable"}), Fail, "serializable"},

		{Encryption(Server{Local: true}), OK, ""},
		{Encryption(Server{}), Warn, "not encrypted"},
		{Encryption(Server{TLS: true}), Warn, "nothing proves"},
		{Encryption(Server{TLS: true, Verified: true}), OK, ""},

		{Connections(Server{Connections: 11, MaxConns: 10}), Fail, "up to 12 connections, and the server has 11"},
		{Connections(Server{Connections: 23, MaxConns: 10}), Warn, "no room for a second"},
		{Connections(Server{Connections: 97, MaxConns: 10}), OK, "8 replicas"},

		{Rights(Role{}), OK, ""},
		{Rights(Role{MayCreate: true}), Warn, "may create objects"},
		{Rights(Role{MayChange: true, MayCreate: true}), Warn, "may change the audit log"},
		{Rights(Role{Superuser: true, MayChange: true}), Warn, "is a superuser"},

		{Priority(2, 2), OK, ""},
		{Priority(1, 2), Warn, "1 of 2 threads"},
		{Priority(0, 2), Warn, "2 of 2 threads"},

		{Secret("PASSWORD_PEPPER", nil), OK, "not set"},
		{key("6c1f0a9be2d74853a1c46f7092bd3e58"), OK, ""},        // openssl rand -hex 16
		{key("8e2b7f4c1d90a6358e2f7b4c1d09a653"), OK, ""},        // whose digits come more than once
		{key("uGZ4rW1Qy8kPz0mXvT5cLbN7dJhR2sFa"), OK, ""},        // base64
		{key("vkqzjxwpgmbhtrycdfnlsaeoiuvkzqwx"), OK, ""},        // letters alone
		{key(strings.Repeat("x", 64)), Warn, "could be guessed"}, // nothing by chance
		{key(strings.Repeat("password", 5)), Warn, "could be guessed"},
		{key("0123456789abcdef0123456789abcdef"), Warn, "could be guessed"},
		{key("abcdefghijklmnopqrstuvwxyz01234567890123456789"), Warn, "could be guessed"},
		{key("a secret key with thirty two bytes or more"), Warn, "could be guessed"},

		{OpenFiles(nil, nil), OK, "no secret"},
		{OpenFiles([]string{"/a", "/b"}, nil), OK, "/a, /b"},
		{OpenFiles([]string{"/a", "/b"}, []string{"/b"}), Warn, "read /b"},

		{issuer("https://id.example.org/auth"), OK, ""},
		{issuer("http://localhost:8000"), OK, ""},
		{issuer("http://id.example.org"), Warn, "not https"},
		{issuer("https://id.example.org/"), Warn, "slash"},
		{issuer("https://id.example.org?tenant=a"), Fail, "more than"},
		{issuer("id.example.org"), Fail, "no URL"},

		{keys(), Warn, "no key signs yet"},
		{keys(Key{ID: "next", Opens: true}), Warn, "no key signs yet"},
		{keys(Key{ID: "a", Algorithm: "ES256", Use: "access", Since: &week, Opens: true}), OK, "ES256 for access tokens since 2026-11-24"},
		{keys(Key{ID: "a", Algorithm: "ES256", Use: "access", Since: &year, Opens: true}), Warn, "older than"},
		{keys(Key{ID: "a", Since: &year, Fixed: true, Opens: true}), OK, ""},
		{SigningKeys([]Key{{ID: "a", Since: &year, Opens: true}}, 0, now), OK, ""},
		{keys(Key{ID: "a", Since: &week, Opens: true}, Key{ID: "sealed"}), Fail, "does not open sealed"},
	})
}

// judgement is a finding, how bad it should be, and some of its words.
type judgement struct {
	got  Finding
	want Status
	says string
}

func judged(t *testing.T, all []judgement) {
	t.Helper()
	for _, test := range all {
		if test.got.Status != test.want || !strings.Contains(test.got.Found, test.says) {
			t.Errorf("%+v, want %s with %q", test.got, test.want, test.says)
		}
		if (test.got.Status == OK) != (test.got.Next == "") {
			t.Errorf("what to do is missing, or is there for nothing: %+v", test.got)
		}
	}
}

// Whatever is not looked at must not look as if it were well.
func TestWhatCannotBeLookedAtIsSkippedAndTheRestIsNot(t *testing.T) {
	t.Parallel()
	looked := func(status Status) func(context.Context) Finding {
		return func(context.Context) Finding { return Finding{Status: status} }
	}
	var got []string
	failed, err := Run(t.Context(), []Check{
		{"a", "", looked(Warn)},
		{"b", "a", looked(Fail)},
		{"c", "b", looked(OK)},
		{"d", "c", looked(OK)},
		{"e", "a", looked(OK)},
	}, func(f Finding) error { got = append(got, f.Check+" "+string(f.Status)); return nil })
	if want := []string{"a warn", "b fail", "c skip", "d skip", "e ok"}; !failed || err != nil || !slices.Equal(got, want) {
		t.Errorf("failed: %t, %v, %v", failed, err, got)
	}
	failed, err = Run(t.Context(), []Check{{"a", "", looked(Warn)}}, func(Finding) error { return nil })
	if failed || err != nil {
		t.Errorf("a warning fails: %t, %v", failed, err)
	}
}

// A check that hangs must not keep the others from the operator.
func TestACheckHasALimitOfTimeAndAnInterruptEndsAll(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	told := 0
	_, err := Run(ctx, []Check{
		{"a", "", func(ctx context.Context) Finding {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("no limit")
			}
			interrupt()
			return Good("done")
		}},
		{"b", "", func(context.Context) Finding { t.Error("goes on"); return Finding{} }},
	}, func(Finding) error { told++; return nil })
	if !errors.Is(err, context.Canceled) || told > 0 {
		t.Errorf("%v, %d findings", err, told)
	}
}

// A replica that starts in spite of a failure serves wrongly. One that ends for a warning does not
// serve.
func TestAStartEndsWithTheFirstFailureAndIsToldOfWarnings(t *testing.T) {
	t.Parallel()
	mark := errors.New("mark")
	warns := Check{"a", "", func(context.Context) Finding { return Warned("found", "next") }}
	for want, f := range map[error]Finding{mark: Unless(mark, "next", "good"), nil: Good("good")} {
		warnings, err := Require(t.Context(), []Check{warns, {"b", "", func(context.Context) Finding { return f }}})
		if !errors.Is(err, want) || err == nil && (len(warnings) != 1 || warnings[0].Text() != "found: next") {
			t.Errorf("%v, %v; want %v", err, warnings, want)
		}
	}
	_, err := Require(t.Context(), []Check{{"a", "", func(context.Context) Finding { return Failed("found", "next") }}})
	if err == nil || err.Error() != "found: next" {
		t.Error(err)
	}
}
