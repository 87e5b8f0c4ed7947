package token

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

func idKeyOf(t testing.TB, a Algorithm) Key {
	t.Helper()
	key, err := GenerateIDKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// idIssuerOf signs ID tokens with a key of each algorithm.
func idIssuerOf(t testing.TB) *IDIssuer {
	t.Helper()
	i, err := NewIDIssuer("https://id.test", 30*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var keys []Key
	for _, a := range IDAlgorithms() {
		keys = append(keys, idKeyOf(t, a))
	}
	ids, err := NewIDKeys(keys...)
	if err != nil {
		t.Fatal(err)
	}
	i.SetKeys(ids)
	return i
}

func anIDToken() IDToken {
	return IDToken{
		Subject: alice, Audience: "web", SessionID: session, AuthTime: issued.Add(-time.Minute),
		Nonce: "n-0S6_WzA2Mj", ACR: ACR1, AMR: []string{"pwd"}, AccessToken: live, Name: "Alice",
		PreferredUsername: "alice", UpdatedAt: issued.Add(-time.Hour), Groups: []string{"clerk"},
		Email: "alice@example.org", EmailVerified: true,
	}
}

func issueID(t testing.TB, i *IDIssuer, a Algorithm) string {
	t.Helper()
	raw, err := i.Issue(issued, a, anIDToken(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// partsOf are the header and the payload of a token.
func partsOf(t testing.TB, raw string) (header, payload map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	for n, into := range []*map[string]any{&header, &payload} {
		text, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, payload
}

func TestAnIDTokenHasTheClaimsOfOpenIDConnect(t *testing.T) {
	t.Parallel()
	long, short := sha512.Sum512([]byte(live)), sha256.Sum256([]byte(live))
	i := idIssuerOf(t)
	for a, hash := range map[Algorithm][]byte{RS256: short[:16], ES256: short[:16], EdDSA: long[:32]} {
		header, payload := partsOf(t, issueID(t, i, a))
		if want := (map[string]any{"alg": string(a), "kid": i.Keys().signing[a].ID(), "typ": "JWT"}); !reflect.DeepEqual(header, want) {
			t.Errorf("%s: header %v, want %v", a, header, want)
		}
		want := map[string]any{
			"iss": "https://id.test", "sub": alice.String(), "aud": "web", "sid": session.String(),
			"iat": float64(issued.Unix()), "exp": float64(issued.Unix() + 1800),
			"auth_time": float64(issued.Unix() - 60), "nonce": "n-0S6_WzA2Mj", "acr": "aal1", "amr": []any{"pwd"},
			"at_hash": base64.RawURLEncoding.EncodeToString(hash),
			"name":    "Alice", "preferred_username": "alice", "updated_at": float64(issued.Unix() - 3600),
			"groups": []any{"clerk"}, "email": "alice@example.org", "email_verified": true,
		}
		if !reflect.DeepEqual(payload, want) {
			t.Errorf("%s: %v\nwant %v", a, payload, want)
		}
	}
}

// A claim that is null or empty is one that the client may take for an answer.
func TestAnIDTokenLeavesOutWhatItWasNotTold(t *testing.T) {
	t.Parallel()
	raw, err := idIssuerOf(t).Issue(issued, ES256, IDToken{Subject: alice, Audience: "web"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, payload := partsOf(t, raw)
	want := map[string]any{
		"iss": "https://id.test", "sub": alice.String(), "aud": "web",
		"iat": float64(issued.Unix()), "exp": float64(issued.Unix() + 60),
	}
	if !reflect.DeepEqual(payload, want) {
		t.Errorf("%v, want %v", payload, want)
	}
}

// A logout token with a nonce would pass for an ID token, and one of the wrong type for anything.
func TestALogoutTokenHasTheClaimsOfBackChannelLogout(t *testing.T) {
	t.Parallel()
	i := idIssuerOf(t)
	for name, test := range map[string]struct {
		token LogoutToken
		who   map[string]any
	}{
		"a session":    {LogoutToken{"web", alice, session}, map[string]any{"sub": alice.String(), "sid": session.String()}},
		"all of them":  {LogoutToken{"web", alice, uuid.Nil}, map[string]any{"sub": alice.String()}},
		"a sid alone":  {LogoutToken{"web", uuid.Nil, session}, map[string]any{"sid": session.String()}},
		"nobody":       {LogoutToken{Audience: "web"}, nil},
		"no recipient": {LogoutToken{Subject: alice}, nil},
	} {
		raw, err := i.IssueLogout(issued, RS256, test.token)
		if (err == nil) != (test.who != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		header, payload := partsOf(t, raw)
		if header["typ"] != "logout+jwt" || header["alg"] != "RS256" {
			t.Errorf("%s: header %v", name, header)
		}
		if id, err := uuid.Parse(payload["jti"].(string)); err != nil || id == uuid.Nil {
			t.Errorf("%s: jti %v", name, payload["jti"])
		}
		delete(payload, "jti")
		want := map[string]any{
			"iss": "https://id.test", "aud": "web", "iat": float64(issued.Unix()), "exp": float64(issued.Unix() + 120),
			"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
		}
		for claim, value := range test.who {
			want[claim] = value
		}
		if !reflect.DeepEqual(payload, want) {
			t.Errorf("%s: %v, want %v", name, payload, want)
		}
	}
}

func TestAHintSaysWhatTheIDTokenSaidLongAfterItHasExpired(t *testing.T) {
	t.Parallel()
	i := idIssuerOf(t)
	for _, a := range IDAlgorithms() {
		want := anIDToken()
		want.IssuedAt, want.Expires, want.AccessToken = issued, issued.Add(30*time.Minute), ""
		for _, now := range []time.Time{issued.Add(-Leeway), issued, issued.AddDate(1, 0, 0)} {
			got, err := i.VerifyHint(now, issueID(t, i, a))
			for _, at := range []*time.Time{&got.IssuedAt, &got.Expires, &got.AuthTime, &got.UpdatedAt} {
				*at = at.UTC()
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s at %s: %+v, %v", a, now, got, err)
			}
		}
		if _, err := i.VerifyHint(issued.Add(-Leeway-time.Second), issueID(t, i, a)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s from the future: %v", a, err)
		}
	}
}

// Whoever can have another text taken for an ID token can log others out, or see who they are.
func TestNothingElseIsTakenForAHint(t *testing.T) {
	t.Parallel()
	i := idIssuerOf(t)
	foreign := idIssuerOf(t)
	other, err := NewIDIssuer("https://other.test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other.SetKeys(i.Keys())
	logout, err := i.IssueLogout(issued, RS256, LogoutToken{"web", alice, session})
	if err != nil {
		t.Fatal(err)
	}
	key := i.Keys().signing[ES256]
	signed := func(mediaType string, c jwt.Claims) string {
		raw, err := sign(key, mediaType, c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{
			"iss": "https://id.test", "sub": alice.String(), "aud": "web", "iat": issued.Unix(), "exp": issued.Unix() + 60,
		}
		change(c)
		return c
	}
	if _, err := i.VerifyHint(issued, signed("JWT", claims(func(jwt.MapClaims) {}))); err != nil {
		t.Fatalf("what the others differ from is refused: %v", err)
	}
	good := issueID(t, i, RS256)
	parts := strings.Split(good, ".")
	for name, raw := range map[string]string{
		"nothing":              "",
		"a logout token":       logout,
		"an access token":      issue(t, issuerOf(t, keyOf(t, ES256))),
		"of foreign keys":      issueID(t, foreign, RS256),
		"of another issuer":    issueID(t, other, RS256),
		"no signature":         parts[0] + "." + parts[1] + ".",
		"another's signature":  parts[0] + "." + parts[1] + "." + strings.Split(issueID(t, i, ES256), ".")[2],
		"no algorithm":         base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + ".",
		"padding":              good + "=",
		"a line break":         good + "\n",
		"longer than any":      good + strings.Repeat("A", MaxIDTokenLength),
		"typ of access tokens": signed("at+jwt", claims(func(jwt.MapClaims) {})),
		"no typ":               signed("", claims(func(jwt.MapClaims) {})),
		"no issuer":            signed("JWT", claims(func(c jwt.MapClaims) { delete(c, "iss") })),
		"no user":              signed("JWT", claims(func(c jwt.MapClaims) { delete(c, "sub") })),
		"nil user":             signed("JWT", claims(func(c jwt.MapClaims) { c["sub"] = uuid.Nil.String() })),
		"a client":             signed("JWT", claims(func(c jwt.MapClaims) { c["sub"] = "job" })),
		"no audience":          signed("JWT", claims(func(c jwt.MapClaims) { delete(c, "aud") })),
		"empty audience":       signed("JWT", claims(func(c jwt.MapClaims) { c["aud"] = "" })),
		"two audiences":        signed("JWT", claims(func(c jwt.MapClaims) { c["aud"] = []string{"web", "shop"} })),
		"no iat":               signed("JWT", claims(func(c jwt.MapClaims) { delete(c, "iat") })),
		"no exp":               signed("JWT", claims(func(c jwt.MapClaims) { delete(c, "exp") })),
		"a sid of another":     signed("JWT", claims(func(c jwt.MapClaims) { c["sid"] = "x" })),
	} {
		if got, err := i.VerifyHint(issued, raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// The access keys of an installation verify no ID token and the other way round, even where a
// service has all of the key set, and whatever the typ says.
func TestNoAccessTokenPassesForAnIDTokenAndNoIDTokenForAnAccessToken(t *testing.T) {
	t.Parallel()
	for _, a := range IDAlgorithms() {
		access, ids := issuerOf(t, keyOf(t, a)), idIssuerOf(t)
		set := KeySet(access.Ring(), ids.Keys())
		ring, err := ParseJWKS(set)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere, err := NewIssuer(Settings{Ring: ring, Issuer: "https://id.test", Audience: "app", Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := elsewhere.Verify(issued, issue(t, access)); err != nil {
			t.Errorf("%s: the key set does not verify access tokens: %v", a, err)
		}
		posing, err := NewIssuer(Settings{Ring: ringOf(t, ids.Keys().signing[a]), Issuer: "https://id.test", Audience: "app", Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		forAccess, err := ids.Issue(issued, a, IDToken{Subject: alice, Audience: "app", SessionID: session}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for name, raw := range map[string]string{
			"an ID token": issueID(t, ids, a), "an ID token for the audience of access tokens": forAccess,
			"an access token that an ID key has signed": issue(t, posing),
		} {
			for where, i := range map[string]*Issuer{"here": access, "elsewhere": elsewhere} {
				if got, err := i.Verify(issued, raw); !errors.Is(err, ErrInvalid) {
					t.Errorf("%s, %s: %s is accepted: %+v, %v", a, where, name, got, err)
				}
			}
		}
		c := idClaims{commonClaims: commonClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: "https://id.test", Subject: alice.String(), IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(issued),
			},
			Audience: audience{"web"},
		}}
		byAccessKey, err := sign(access.Ring().signing, "JWT", c)
		if err != nil {
			t.Fatal(err)
		}
		for name, raw := range map[string]string{"an access token": issue(t, access), "an ID token that an access key has signed": byAccessKey} {
			if got, err := ids.VerifyHint(issued, raw); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %s is a hint: %+v, %v", a, name, got, err)
			}
		}
	}
}

// A reader that knows nothing of the mark reads the key set as any other. One that takes the first
// key verifies access tokens with it, although RS256 is the last in the alphabet.
func TestTheKeySetHasTheKeysOfBothThatOfAccessTokensFirstAndNoPrivateOnes(t *testing.T) {
	t.Parallel()
	access, ids := keyOf(t, RS256), idIssuerOf(t)
	for name, test := range map[string]struct {
		ring *Ring
		want int
	}{"a key": {ringOf(t, access), 4}, "a secret": {secretRing(t, keyA), 3}} {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		text := KeySet(test.ring, ids.Keys())
		if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) != test.want {
			t.Fatalf("%s: %s, %v", name, text, err)
		}
		if again := KeySet(test.ring, ids.Keys()); string(again) != string(text) {
			t.Errorf("%s: %s, and then %s", name, text, again)
		}
		if ring, err := ParseJWKS(text); (err == nil) != (test.want == 4) || err == nil && len(ring.byID) != 1 {
			t.Errorf("%s: keys for access tokens: %v, %v", name, ring, err)
		}
		for i, k := range set.Keys {
			mark := k["gatehouse_use"]
			if test.want == 4 && (mark == nil) != (i == 0) {
				t.Errorf("%s: key %d is marked %v", name, i, mark)
			}
			delete(k, "gatehouse_use")
			jwk, err := json.Marshal(k)
			if err != nil {
				t.Fatal(err)
			}
			key, err := ParsePublicKey(jwk)
			if err != nil || (mark == "id") != (key.ID() != access.ID()) || k["d"] != nil || k["k"] != nil {
				t.Errorf("%s: %v %v: %v", name, mark, k, err)
			}
		}
	}
}

// A client that is registered with one algorithm must not get a token of another.
func TestAnIDTokenIsSignedByTheKeyOfItsAlgorithmOrNotAtAll(t *testing.T) {
	t.Parallel()
	signing, published := idKeyOf(t, ES256), idKeyOf(t, EdDSA)
	public, err := ParsePublicKey(published.PublicJWK())
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIDIssuer("https://id.test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Issue(issued, RS256, anIDToken(), time.Hour); err == nil {
		t.Error("it signs before it has keys")
	}
	ids, err := NewIDKeys(signing, public)
	if err != nil {
		t.Fatal(err)
	}
	i.SetKeys(ids)
	for a, want := range map[Algorithm]bool{ES256: true, EdDSA: false, RS256: false, HS256: false, "": false, "none": false} {
		if raw, err := i.Issue(issued, a, anIDToken(), time.Hour); (err == nil) != want {
			t.Errorf("%q: %s, %v", a, raw, err)
		}
	}
	for name, keys := range map[string][]Key{
		"a secret": {keyOf(t, HS256)}, "two that sign": {signing, idKeyOf(t, ES256)}, "no key": {{}},
	} {
		if _, err := NewIDKeys(keys...); err == nil {
			t.Errorf("%s signs ID tokens", name)
		}
	}
	for name, bad := range map[string]IDToken{"nobody": {Audience: "web"}, "for nobody": {Subject: alice}} {
		if _, err := i.Issue(issued, ES256, bad, time.Hour); err == nil {
			t.Errorf("%s has an ID token", name)
		}
	}
}

// Each login signs one: 3072 bits would take three times as long.
func TestAnIDKeyOfRSAHasAsManyBitsAsItMust(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		key  Key
		want int
	}{{idKeyOf(t, RS256), 2048}, {keyOf(t, RS256), 3072}} {
		if bits := test.key.public.(*rsa.PublicKey).N.BitLen(); bits != test.want {
			t.Errorf("%d bits, want %d", bits, test.want)
		}
	}
}

func FuzzHint(f *testing.F) {
	i := idIssuerOf(f)
	good := map[string]bool{}
	for _, a := range IDAlgorithms() {
		raw := issueID(f, i, a)
		good[raw] = true
		f.Add(raw)
		f.Add(raw[1:])
		logout, err := i.IssueLogout(issued, a, LogoutToken{"web", alice, session})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(logout)
	}
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := i.VerifyHint(issued, raw)
		if (err == nil) != good[raw] || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

func BenchmarkIssueID(b *testing.B) {
	i := idIssuerOf(b)
	for _, a := range IDAlgorithms() {
		b.Run(string(a), func(b *testing.B) {
			for b.Loop() {
				issueID(b, i, a)
			}
		})
	}
}
