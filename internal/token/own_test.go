package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// signedBy is a token of any header and payload, with a signature that is right.
func signedBy(t testing.TB, key []byte, header, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := jwt.SigningMethodHS256.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const ownHeaderText = `{"alg":"HS256","typ":"at+jwt"}`

// ownPayload is what Issue writes, with one thing replaced.
func ownPayload(old, replacement string) string {
	const payload = `{"iss":"https://id.test","sub":"01890000-0000-7000-8000-000000000001","aud":"app","exp":1767324845,"iat":1767323045,` +
		`"jti":"01890000-0000-4000-8000-000000000003","client_id":"gatehouse","sid":"01890000-0000-7000-8000-000000000002","username":"Alice","ver":7}`
	return strings.Replace(payload, old, replacement, 1)
}

// The two ways must agree: what the fast one lets in, the library lets in, and as the same; what
// Issue makes, both do.
func wantAlike(t testing.TB, i *Issuer, now time.Time, raw string) (own bool) {
	t.Helper()
	if !isCompact(raw) || len(raw) > MaxLength {
		return false
	}
	fast, own := i.verifyOwn(now, raw)
	if !own {
		return false
	}
	slow, err := i.verifyAny(now, raw)
	if err != nil || fast != slow {
		t.Errorf("%s\nis %+v\nand by the library %+v, %v", raw, fast, slow, err)
	}
	return true
}

func TestEveryTokenThatIsIssuedIsKnownByItsWriting(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA, keyB)
	for name, s := range map[string]Subject{
		"plain": {Username: "Alice", Version: 7, ClientID: "shop"}, "roles": {Username: "alice", Version: 1, Roles: "admin,clerk", Scope: "files:read files:write"},
		"a login": {Username: "alice", Version: 1, ACR: ACR2, AuthTime: issued.Add(-time.Hour)},
		"letters": {Username: `"<&>\ü𝄞` + "\u2028", Version: 1 << 60},
	} {
		for keyName, signing := range map[string]*Issuer{"the first key": i, "another key": issuer(t, keyB)} {
			s.UserID, s.SessionID = alice, session
			raw, err := signing.Issue(issued, s, time.Hour, "pwd", "otp", "mfa")
			if err != nil {
				t.Fatal(err)
			}
			if !wantAlike(t, i, issued, raw) {
				t.Errorf("%s, %s: %s", name, keyName, raw)
			}
		}
	}
	expiry := issued.Add(30*time.Minute + Leeway)
	raw := issue(t, i)
	if !wantAlike(t, i, expiry.Add(-1), raw) || wantAlike(t, i, expiry, raw) {
		t.Error("the leeway differs")
	}
}

// What the library refuses, or reads in another way, must not get in by the short way.
func TestWhatIsWrittenOtherwiseIsLeftToTheLibrary(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	if !wantAlike(t, i, issued, signedBy(t, keyA, ownHeaderText, ownPayload("", ""))) {
		t.Fatal("not even the token that the others are made of")
	}
	for _, audiences := range []string{`["app"]`, `["other","app"]`} { // as releases before have written it, and others may
		if !wantAlike(t, i, issued, signedBy(t, keyA, ownHeaderText, ownPayload(`"app"`, audiences))) {
			t.Errorf("aud %s: it is not let in", audiences)
		}
	}
	for name, raw := range map[string]string{
		"another key":           signedBy(t, keyB, ownHeaderText, ownPayload("", "")),
		"none":                  signedBy(t, keyA, `{"alg":"none","typ":"at+jwt"}`, ownPayload("", "")),
		"crit":                  signedBy(t, keyA, `{"alg":"HS256","crit":["x"],"typ":"at+jwt"}`, ownPayload("", "")),
		"another type":          signedBy(t, keyA, `{"alg":"HS256","typ":"service+jwt"}`, ownPayload("", "")),
		"another issuer":        signedBy(t, keyA, ownHeaderText, ownPayload("id.test", "id2.test")),
		"two in one audience":   signedBy(t, keyA, ownHeaderText, ownPayload(`"aud":"app"`, `"aud":"apps app"`)),
		"an empty audience":     signedBy(t, keyA, ownHeaderText, ownPayload(`"app"`, `["","app"]`)),
		"no audience in a list": signedBy(t, keyA, ownHeaderText, ownPayload(`"app"`, `[]`)),
		"a number among them":   signedBy(t, keyA, ownHeaderText, ownPayload(`"app"`, `["app",5]`)),
		"null":                  signedBy(t, keyA, ownHeaderText, ownPayload(`"app"`, `null`)),
		"another's form":        signedBy(t, keyA, ownHeaderText, ownPayload(`"sid"`, `"uid":"01890000-0000-7000-8000-000000000001","sid"`)),
		"no audience":           signedBy(t, keyA, ownHeaderText, ownPayload(`"aud":"app",`, ``)),
		"no expiry":             signedBy(t, keyA, ownHeaderText, ownPayload(`"exp":1767324845,`, ``)),
		"expired":               signedBy(t, keyA, ownHeaderText, ownPayload(`1767324845`, `1767323039`)),
		"an endless expiry":     signedBy(t, keyA, ownHeaderText, ownPayload(`1767324845`, `9223372036854775807`)),
		"a negative expiry":     signedBy(t, keyA, ownHeaderText, ownPayload(`1767324845`, `-1`)),
		"not valid yet":         signedBy(t, keyA, ownHeaderText, ownPayload(`"exp"`, `"nbf":1767325000,"exp"`)),
		"two expiries":          signedBy(t, keyA, ownHeaderText, ownPayload(`"exp"`, `"exp":1,"exp"`)),
		"no version":            signedBy(t, keyA, ownHeaderText, ownPayload(`,"ver":7`, ``)),
		"no session":            signedBy(t, keyA, ownHeaderText, ownPayload(`"sid":"01890000-0000-7000-8000-000000000002",`, ``)),
		"no subject":            signedBy(t, keyA, ownHeaderText, ownPayload(`"sub":"01890000-0000-7000-8000-000000000001",`, ``)),
		"a role with a comma":   signedBy(t, keyA, ownHeaderText, ownPayload(`"ver"`, `"roles":["a,admin"],"ver"`)),
		"a negative login":      signedBy(t, keyA, ownHeaderText, ownPayload(`"ver"`, `"auth_time":-1,"ver"`)),
		"a login in words":      signedBy(t, keyA, ownHeaderText, ownPayload(`"ver"`, `"auth_time":"now","ver"`)),
		"a number for an acr":   signedBy(t, keyA, ownHeaderText, ownPayload(`"ver"`, `"acr":2,"ver"`)),
		"one method, no list":   signedBy(t, keyA, ownHeaderText, ownPayload(`"ver"`, `"amr":"pwd","ver"`)),
		"more behind":           signedBy(t, keyA, ownHeaderText, ownPayload("", "")+"{}"),
		"a cut signature":       strings.TrimSuffix(signedBy(t, keyA, ownHeaderText, ownPayload("", "")), "A")[:300],
		"a payload that is no":  signedBy(t, keyA, ownHeaderText, "null"),
		"nothing":               signedBy(t, keyA, ownHeaderText, ""),
	} {
		if wantAlike(t, i, issued, raw) {
			t.Errorf("%s: it is let in", name)
		}
	}
}

// A resource server that gets a token could use it elsewhere, if its audience did not count (RFC
// 8707 §3).
func TestATokenForOtherResourcesIsGoodThereAlone(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	const info, mail = "https://id.test/userinfo", "https://mail.example/"
	for resources, want := range map[string]struct {
		own, info bool
		read      string
	}{
		"":                {own: true, info: true},
		"app":             {own: true, info: true},
		info:              {info: true, read: info},
		mail:              {read: mail},
		info + " " + mail: {info: true, read: info + " " + mail},
		"app " + info:     {own: true, info: true, read: "app " + info},
		mail + " apps":    {read: mail + " apps"},
	} {
		s := Subject{
			UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1,
			Resources: resources,
		}
		raw, err := i.Issue(issued, s, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		wantAlike(t, i, issued, raw)
		verifier := NewVerifier(i, 128)
		for range 2 { // also from memory
			_, errOwn := verifier.Verify(issued, raw)
			_, errInfo := verifier.VerifyForUserInfo(issued, raw)
			all, err := verifier.VerifyForAny(issued, raw)
			if (errOwn == nil) != want.own || (errInfo == nil) != want.info || err != nil ||
				all.Resources != want.read {
				t.Errorf("for %q: %v, %v, %q, %v", resources, errOwn, errInfo, all.Resources, err)
			}
		}
	}
	if _, err := i.Verify(issued, signedBy(t, keyA, ownHeaderText,
		ownPayload(`"app"`, `["apps","ap"]`))); !errors.Is(err, ErrInvalid) {
		t.Errorf("other audiences: %v", err)
	}
}

// FuzzTheShortWayLetsInNothingThatTheLibraryRefuses signs whatever it is given, as if the key had
// leaked to a bad writer.
func FuzzTheShortWayLetsInNothingThatTheLibraryRefuses(f *testing.F) {
	f.Add(ownHeaderText, ownPayload("", ""), int64(0))
	f.Add(ownHeaderText, ownPayload(`"ver":7`, `"roles":["admin"],"scope":"a:b","ver":7`), int64(1800))
	f.Add(ownHeaderText, ownPayload(`"ver"`, `"auth_time":1767320000,"acr":"aal2","amr":["pwd","mfa"],"ver"`), int64(0))
	f.Add(ownHeaderText, ownPayload(`"ver"`, `"auth_time":0,"acr":"1","amr":null,"ver"`), int64(0))
	f.Add(ownHeaderText, ownPayload(`1767324845`, `1.7673248455e9`), int64(1))
	f.Add(ownHeaderText, ownPayload(`"Alice"`, `"\ud800"`), int64(0))
	f.Add(ownHeaderText, ownPayload(`"Alice"`, `null`), int64(0))
	f.Add(ownHeaderText, ownPayload(`01890000-0000-7000-8000-000000000001`, `{01890000-0000-7000-8000-000000000001}`), int64(0))
	f.Add(`{"typ":"at+jwt","alg":"HS256"}`, ownPayload(`"app"`, `["app"]`), int64(0))
	f.Fuzz(func(t *testing.T, header, payload string, after int64) {
		wantAlike(t, issuer(t, keyA), issued.Add(time.Duration(after%1e6)*time.Second), signedBy(t, keyA, header, payload))
	})
}

func BenchmarkVerifyByLength(b *testing.B) {
	i := issuer(b, keyA)
	for _, scope := range []string{"", "files:read files:write", strings.Repeat("resource:action ", 100)} {
		raw, err := i.Issue(issued, Subject{UserID: uuid.New(), SessionID: uuid.New(), Username: "alice", Version: 1, Scope: scope}, time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		for name, verify := range map[string]func() error{
			"own": func() error { _, err := i.Verify(issued, raw); return err },
			"any": func() error { _, err := i.verifyAny(issued, raw); return err },
		} {
			b.Run(fmt.Sprint(name, "/", len(raw)), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := verify(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
