package revocation

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// feedIssuers are one that signs by a key, and one that has its public keys alone, as they were
// fetched.
func feedIssuers(t testing.TB, a token.Algorithm, issuer string) (signs, verifies *token.Issuer, key token.Key) {
	t.Helper()
	key, err := token.GenerateKey(a)
	must(t, err)
	ring, err := token.NewRing(key)
	must(t, err)
	public, err := token.ParseJWKS(ring.JWKS())
	must(t, err)
	signs, err = token.NewIssuer(token.Settings{Ring: ring, Issuer: issuer, Audience: "test", Lifetime: time.Hour})
	must(t, err)
	verifies, err = token.NewIssuer(token.Settings{Ring: public, Issuer: issuer, Audience: "test", Lifetime: time.Hour})
	must(t, err)
	return signs, verifies, key
}

func feedOf(now time.Time, revocations int) Feed {
	f := Feed{IssuedAt: now, IssuedBefore: int64(revocations), Keep: 40 * time.Minute, Lifetime: 30 * time.Minute, Users: map[FeedID]int64{}, Sessions: []FeedID{}}
	for n := range revocations {
		if n%2 == 0 {
			f.Users[FeedID(uuid.New())] = int64(n + 1)
		} else {
			f.Sessions = append(f.Sessions, FeedID(uuid.New()))
		}
	}
	return f
}

func (f Feed) equal(other Feed) bool {
	return f.IssuedAt.Equal(other.IssuedAt) && f.Keep == other.Keep && f.Lifetime == other.Lifetime && f.IssuedBefore == other.IssuedBefore &&
		maps.Equal(f.Users, other.Users) && slices.Equal(f.Sessions, other.Sessions)
}

func TestAFeedSaysWhatWasSigned(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for _, a := range []token.Algorithm{token.ES256, token.EdDSA, token.RS256} {
		signs, verifies, _ := feedIssuers(t, a, "https://id.test")
		for _, revocations := range []int{0, 1, 1000} {
			want := feedOf(now, revocations)
			raw, err := SignFeed(signs, want)
			must(t, err)
			got, err := VerifyFeed(verifies, now, raw)
			if err != nil || !got.equal(want) {
				t.Errorf("%s, %d: %v", a, revocations, err)
			}
		}
	}
}

// Rounded up, a feed would claim to know what came after it.
func TestAFeedIsNotYoungerThanWhatItKnows(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 999_999_999)
	signs, verifies, _ := feedIssuers(t, token.ES256, "https://id.test")
	raw, err := SignFeed(signs, feedOf(now, 1))
	must(t, err)
	if got, err := VerifyFeed(verifies, now, raw); err != nil || got.IssuedAt.After(now) {
		t.Errorf("%v, %v", got.IssuedAt, err)
	}
}

// Nobody could verify it but those who can forge it.
func TestNoFeedIsSignedByASecret(t *testing.T) {
	t.Parallel()
	ring, err := token.SecretRing([][]byte{[]byte(strings.Repeat("k", 32))})
	must(t, err)
	issuer, err := token.NewIssuer(token.Settings{Ring: ring, Issuer: "https://id.test", Audience: "test", Lifetime: time.Hour})
	must(t, err)
	if _, err := SignFeed(issuer, feedOf(time.Now(), 1)); !errors.Is(err, ErrNoFeed) {
		t.Errorf("%v", err)
	}
}

func TestFeedsThatAreNotFromHereNowAreRefused(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	signs, verifies, key := feedIssuers(t, token.ES256, "https://id.test")
	other, _, _ := feedIssuers(t, token.ES256, "https://id.test")
	good, err := SignFeed(signs, feedOf(now, 4))
	must(t, err)
	unknown, err := SignFeed(other, feedOf(now, 4))
	must(t, err)
	access, err := signs.Issue(now, token.Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1}, time.Hour)
	must(t, err)
	elsewhere, err := token.NewIssuer(token.Settings{Ring: signs.Ring(), Issuer: "https://evil.test", Audience: "test", Lifetime: time.Hour})
	must(t, err)
	foreign, err := SignFeed(elsewhere, feedOf(now, 4))
	must(t, err)
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	encode := base64.RawURLEncoding.EncodeToString
	confused := encode([]byte(`{"alg":"HS256","typ":"revocations+jwt","kid":"`+key.ID()+`"}`)) + "." + payload
	mac, err := jwt.SigningMethodHS256.Sign(confused, key.PublicJWK())
	must(t, err)
	for name, test := range map[string]struct {
		now time.Time
		raw string
	}{
		"by an unknown key":       {now, unknown},
		"from another issuer":     {now, foreign},
		"an access token":         {now, access},
		"expired":                 {now.Add(FeedValidity + token.Leeway), good},
		"from the future":         {now.Add(-token.Leeway - time.Second), good},
		"cut":                     {now, good[:len(good)-2]},
		"cut in the middle":       {now, good[:len(good)/2]},
		"without a signature":     {now, header + "." + payload + "."},
		"with another payload":    {now, header + "." + encode([]byte(`{}`)) + "." + signature},
		"by no algorithm":         {now, encode([]byte(`{"alg":"none","typ":"revocations+jwt"}`)) + "." + payload + "."},
		"by HS256 of the public":  {now, confused + "." + encode(mac)},
		"nothing":                 {now, ""},
		"a page":                  {now, "<html>"},
		"with a line break":       {now, good + "\n"},
		"longer than any feed is": {now, good + strings.Repeat("A", MaxFeedLength)},
	} {
		if _, err := VerifyFeed(verifies, test.now, test.raw); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := VerifyFeed(verifies, now, unknown); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("an unknown key is not told: %v", err)
	}
	if _, err := verifies.Verify(now, good); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("a feed passes for an access token: %v", err)
	}
}

// A feed without its lists would pass for one that has nothing to tell, and one without an end for
// ever.
func TestASignedFeedMustBeWhole(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	_, verifies, key := feedIssuers(t, token.EdDSA, "https://id.test")
	const good = `"iss":"https://id.test","iat":1800000000,"exp":1800000005,"keep_seconds":9,"lifetime_seconds":9,"users":{},"sessions":[]`
	for name, change := range map[string][2]string{
		"as it should be":   {"", ""},
		"no users":          {`"users":{},`, ""},
		"no sessions":       {`,"sessions":[]`, ""},
		"null":              {`[]`, `null`},
		"no iat":            {`"iat":1800000000,`, ""},
		"no exp":            {`"exp":1800000005,`, ""},
		"long valid":        {`1800000005`, `1800000006`},
		"no lifetime":       {`"lifetime_seconds":9,`, ""},
		"lifetime overlong": {`"lifetime_seconds":9`, `"lifetime_seconds":10`},
		"keep overlong":     {`"keep_seconds":9`, `"keep_seconds":9999999999`},
		"no issuer":         {`"iss":"https://id.test",`, ""},
		"a short id":        {`[]`, `["AAAA"]`},
		"id in two ways":    {`[]`, `["AZOhssPUfl-KmwwdLj9KX7"]`},
		"usual id":          {`[]`, `["0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"]`},
		"a null id":         {`[]`, `["AAAAAAAAAAAAAAAAAAAAAA"]`},
		"a null session":    {`[]`, `[null]`},
		"a time":            {`"users"`, `"issued_before":1800000000,"users"`},
		"a negative time":   {`"users"`, `"issued_before":-1,"users"`},
		"a time as text":    {`"users"`, `"issued_before":"5","users"`},
		"no version":        {`{}`, `{"AZOhssPUfl-KmwwdLj9KXw":0}`},
		"negative version":  {`{}`, `{"AZOhssPUfl-KmwwdLj9KXw":-1}`},
		"version as text":   {`{}`, `{"AZOhssPUfl-KmwwdLj9KXw":"5"}`},
	} {
		payload := "{" + strings.Replace(good, change[0], change[1], 1) + "}"
		_, err := VerifyFeed(verifies, now, signedFeed(t, key, payload))
		if wantGood := change[0] == "" || name == "a time"; (err == nil) != wantGood || err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// signedFeed signs any payload.
func signedFeed(t testing.TB, key token.Key, payload string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"revocations+jwt"}`, key.Algorithm(), key.ID()))) + "." + encode([]byte(payload))
	pkcs8, err := key.MarshalPrivate()
	must(t, err)
	private, err := x509.ParsePKCS8PrivateKey(pkcs8)
	must(t, err)
	signature, err := jwt.GetSigningMethod(string(key.Algorithm())).Sign(text, private)
	must(t, err)
	return text + "." + encode(signature)
}

// Whatever is read, signed or not, is refused or can be written again as it was meant.
func FuzzFeed(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	signs, verifies, key := feedIssuers(f, token.EdDSA, "https://id.test")
	const good = `{"iss":"https://id.test","iat":1800000000,"exp":1800000005,"keep_seconds":9,"lifetime_seconds":9,`
	f.Add(good + `"users":{},"sessions":[]}`)
	f.Add(good + `"users":{"AZOhssPUfl-KmwwdLj9KXw":5},"sessions":["AZOhssPUfl-KmwwdLj9KXw"]}`)
	f.Add(good + `"users":{"":5},"sessions":[""]}`)
	f.Add(strings.Replace(good, "1800000000", "1e9.5", 1))
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := VerifyFeed(verifies, now, text); err == nil {
			t.Errorf("a feed that nobody has signed is accepted: %q", text)
		}
		feed, err := VerifyFeed(verifies, now, signedFeed(t, key, text))
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%v", err)
			}
			return
		}
		feed.IssuedAt = feed.IssuedAt.Truncate(time.Second)
		raw, err := SignFeed(signs, feed)
		must(t, err)
		if again, err := VerifyFeed(verifies, now, raw); err != nil || !again.equal(feed) {
			t.Errorf("%q: %+v, %+v, %v", text, feed, again, err)
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	for _, a := range []token.Algorithm{token.ES256, token.EdDSA} {
		signs, verifies, _ := feedIssuers(b, a, "https://id.test")
		now := time.Now()
		feed := feedOf(now, 10_000)
		raw, err := SignFeed(signs, feed)
		must(b, err)
		b.Run(string(a)+"/sign", func(b *testing.B) {
			for b.Loop() {
				_, _ = SignFeed(signs, feed)
			}
			b.ReportMetric(float64(len(raw)), "bytes/feed")
		})
		b.Run(string(a)+"/verify", func(b *testing.B) {
			for b.Loop() {
				_, _ = VerifyFeed(verifies, now, raw)
			}
		})
	}
}
