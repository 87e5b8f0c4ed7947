package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

var (
	issued  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	alice   = uuid.MustParse("01890000-0000-7000-8000-000000000001")
	session = uuid.MustParse("01890000-0000-7000-8000-000000000002")
	keyA    = []byte(strings.Repeat("a", MinKeyLength))
	keyB    = []byte(strings.Repeat("b", MinKeyLength))
)

func issuer(t testing.TB, keys ...[]byte) *Issuer {
	t.Helper()
	i, err := NewIssuer(Settings{Ring: secretRing(t, keys...), Issuer: "https://id.test", Audience: "app", Lifetime: 30 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func secretRing(t testing.TB, secrets ...[]byte) *Ring {
	t.Helper()
	r, err := SecretRing(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func issue(t testing.TB, i *Issuer) string {
	t.Helper()
	raw, err := i.Issue(issued, Subject{UserID: alice, SessionID: session, Username: "Alice", Version: 7, ClientID: "shop"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestATokenHasTheClaimsOfRFC9068(t *testing.T) {
	t.Parallel()
	raw := issue(t, issuer(t, keyA))
	header, payload := map[string]any{}, map[string]any{}
	for n, into := range []*map[string]any{&header, &payload} {
		part, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[n])
		if err == nil {
			err = json.Unmarshal(part, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if header["typ"] != "at+jwt" || header["alg"] != "HS256" || len(header) != 2 {
		t.Errorf("header %v", header)
	}
	if _, err := uuid.Parse(payload["jti"].(string)); err != nil {
		t.Errorf("jti: %v", err)
	}
	delete(payload, "jti")
	got, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"aud":"app","client_id":"shop","exp":1767324845,"iat":1767323045,"iss":"https://id.test",` +
		`"sid":"01890000-0000-7000-8000-000000000002","sub":"01890000-0000-7000-8000-000000000001","username":"Alice","ver":7}`
	if string(got) != want {
		t.Errorf("claims %s\nwant   %s", got, want)
	}
}

func TestVerifyGivesBackWhatWasIssued(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	got, err := i.Verify(issued, issue(t, i))
	if err != nil {
		t.Fatal(err)
	}
	want := Access{ID: got.ID, Subject: Subject{UserID: alice, SessionID: session, Username: "Alice", Version: 7, ClientID: "shop"}, IssuedAt: issued.Local(), Expires: issued.Add(30 * time.Minute).Local()}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestATokenExpiresAfterItsLifetimeAndTheLeeway(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	raw, end := issue(t, i), issued.Add(30*time.Minute+Leeway)
	if _, err := i.Verify(end.Add(-time.Nanosecond), raw); err != nil {
		t.Errorf("before its end: %v", err)
	}
	if _, err := i.Verify(end, raw); !errors.Is(err, ErrInvalid) {
		t.Errorf("at its end: %v", err)
	}
}

// A session that is about to end must not be outlived by its tokens.
func TestATokenIsValidNoLongerThanItIsIssuedFor(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	raw, err := i.Issue(issued, Subject{UserID: alice, SessionID: session, Username: "Alice", Version: 7}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := i.Verify(issued, raw); err != nil || !got.Expires.Equal(issued.Add(time.Minute)) {
		t.Errorf("expires %v, %v", got.Expires, err)
	}
}

// SECRET_KEY is rotated by putting the new key first: tokens of both must pass while the old one is
// listed.
func TestEveryListedKeyVerifiesAndTheFirstSigns(t *testing.T) {
	t.Parallel()
	before, during, after := issuer(t, keyA), issuer(t, keyB, keyA), issuer(t, keyB)
	for _, test := range []struct {
		name  string
		from  *Issuer
		to    *Issuer
		valid bool
	}{
		{"old token during", before, during, true},
		{"new token during", during, during, true},
		{"new token after", during, after, true},
		{"old token after", before, after, false},
		{"new token before", during, before, false},
	} {
		if _, err := test.to.Verify(issued, issue(t, test.from)); (err == nil) != test.valid {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestSettingsUnderWhichTokensAreForgeableOrDeadAreRefused(t *testing.T) {
	t.Parallel()
	good := Settings{Ring: secretRing(t, keyA), Issuer: "https://id.test", Audience: "app", Lifetime: time.Minute}
	for name, spoil := range map[string]func(*Settings){
		"no key":        func(s *Settings) { s.Ring = nil },
		"no issuer":     func(s *Settings) { s.Issuer = "" },
		"no audience":   func(s *Settings) { s.Audience = "" },
		"no lifetime":   func(s *Settings) { s.Lifetime = 0 },
		"short and odd": func(s *Settings) { s.Lifetime = time.Millisecond },
	} {
		s := good
		spoil(&s)
		if _, err := NewIssuer(s); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAMegabyteIsRefusedBeforeItIsDecoded(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	for _, raw := range []string{strings.Repeat(".", 1<<20), strings.Repeat("a", 1<<20), issue(t, i) + strings.Repeat("A", MaxLength)} {
		if _, err := i.Verify(issued, raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
	}
}

// One token has one spelling: else a list of refused tokens could be got around.
func TestALineBreakInATokenIsRefused(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	raw := issue(t, i)
	for at := range len(raw) {
		if _, err := i.Verify(issued, raw[:at]+"\n"+raw[at:]); !errors.Is(err, ErrInvalid) {
			t.Fatalf("at %d: %v", at, err)
		}
	}
}

// live was signed with keyA by other code than this package's. It is written down because the
// fuzzer's processes must agree on it.
const live = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9." +
	"eyJpc3MiOiJodHRwczovL2lkLnRlc3QiLCJzdWIiOiIwMTg5MDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEiLCJhdWQi" +
	"OlsiYXBwIl0sImV4cCI6MTc2NzMyNDg0NSwiaWF0IjoxNzY3MzIzMDQ1LCJqdGkiOiIxNGEwNDExMS0xYTIyLTQzOTMtYTI2MC1hYmE1N2QwM2E2YTAiLCJjbGllbnRfaWQiOiJnYXRlaG91c2UiLCJzaWQiOiIwMTg5MDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDIiLCJ1c2VybmFtZSI6IkFsaWNlIiwidmVyIjo3fQ." +
	"oiltmLMZ2cc7nfT2N-vWiV-Nej76kmxPWF4PsffW5Ec"

func FuzzVerify(f *testing.F) {
	i := issuer(f, keyA)
	f.Add(live)
	f.Add(live[1:])
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := i.Verify(issued, raw)
		if (err == nil) != (raw == live) {
			t.Errorf("%q: %v", raw, err)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v is not ErrInvalid", raw, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	i := issuer(b, keyA)
	raw := issue(b, i)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Verify(issued, raw); err != nil {
			b.Fatal(err)
		}
	}
}

// A user's token that is taken for a client's, or a client's for another's, has rights that nobody
// has given.
func TestAClientsOwnTokenComesBackAsTheClients(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	raw, err := i.Issue(issued, Subject{ClientID: "job", Version: 3, Roles: "clerk", Scope: "files:read"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got, err := i.Verify(issued, raw)
	want := Subject{UserID: ClientSubject("job"), ClientID: "job", Version: 3, Roles: "clerk", Scope: "files:read"}
	if err != nil || got.Subject != want || !got.IsClient() || got.Name() != "job" {
		t.Errorf("%+v, %v", got, err)
	}
	if ClientSubject("job") == ClientSubject("jobs") || ClientSubject("job").Version() != 5 {
		t.Error("two clients are one, or one may be a user")
	}
	for name, s := range map[string]Subject{
		"no subject": {Version: 1}, "no client": {UserID: alice, Version: 1}, "a user's name": {ClientID: "job", Username: "alice", Version: 1},
		"the first-party client": {ClientID: FirstParty, Version: 1},
		"a user's id":            {ClientID: alice.String(), Version: 1}, "no version": {ClientID: "job"},
	} {
		raw, err := i.Issue(issued, s, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := i.Verify(issued, raw); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
