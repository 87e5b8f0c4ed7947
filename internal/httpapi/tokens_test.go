package httpapi

import (
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse.example/internal/token"
)

const invalidToken = `Bearer realm="gatehouse", error="invalid_token"`

// Each case is one change to a valid token.
func TestEveryMutationOfALiveTokenIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	live := f.loggedIn("alice")
	if a := f.me("Authorization", "Bearer "+live); a.status != http.StatusOK {
		t.Fatalf("the live token: %d %s", a.status, a.body)
	}
	parts := strings.Split(live, ".")
	sign := func(header, claims map[string]any) string { return resign(t, live, header, claims) }
	if a := f.me("Authorization", "Bearer "+sign(nil, nil)); a.status != http.StatusOK {
		t.Fatalf("signed again without a change: %d %s", a.status, a.body)
	}
	encode := base64.RawURLEncoding.EncodeToString
	for name, raw := range map[string]string{
		"alg none": encode([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] +
			".",
		"alg none, signed": encode([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] +
			"." + parts[2],
		"alg None": encode([]byte(`{"alg":"None","typ":"at+jwt"}`)) + "." + parts[1] +
			".",
		"alg HS512": signWith(t, live, jwt.SigningMethodHS512, signingKey),
		"alg HS384": signWith(t, live, jwt.SigningMethodHS384, signingKey),
		"alg missing": encode([]byte(`{"typ":"at+jwt"}`)) + "." + parts[1] + "." +
			parts[2],
		"other key": signWith(t, live, jwt.SigningMethodHS256,
			"another signing key, with 32 bytes or more"),
		"empty key":         signWith(t, live, jwt.SigningMethodHS256, ""),
		"signature cut":     live[:len(live)-1],
		"signature missing": parts[0] + "." + parts[1] + ".",
		"signature changed": parts[0] + "." + parts[1] + "." + flip(parts[2]),
		"claims changed":    parts[0] + "." + flip(parts[1]) + "." + parts[2],
		"header changed":    flip(parts[0]) + "." + parts[1] + "." + parts[2],
		"unused bits set":   live[:len(live)-1] + string(live[len(live)-1]+1),
		"padding":           live + "=",
		"line break":        parts[0] + "." + parts[1] + ".\t" + parts[2],
		"standard base64":   strings.NewReplacer("-", "+", "_", "/").Replace(live) + "+",
		"part missing":      parts[0] + "." + parts[1],
		"part added":        live + ".",
		"empty parts":       "..",
		"expired": sign(nil,
			map[string]any{"exp": time.Now().Add(-6 * time.Second).Unix()}),
		"expired and forged": signWith(t, sign(nil, map[string]any{"exp": 1}),
			jwt.SigningMethodHS256, "another signing key, with 32 bytes or more"),
		"exp missing":       sign(nil, map[string]any{"exp": nil}),
		"exp a string":      sign(nil, map[string]any{"exp": "tomorrow"}),
		"exp negative":      sign(nil, map[string]any{"exp": -1}),
		"nbf in the future": sign(nil, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}),
		"iss wrong":         sign(nil, map[string]any{"iss": "https://evil.test"}),
		"iss missing":       sign(nil, map[string]any{"iss": nil}),
		"aud wrong":         sign(nil, map[string]any{"aud": "other"}),
		"aud missing":       sign(nil, map[string]any{"aud": nil}),
		"aud empty":         sign(nil, map[string]any{"aud": []string{}}),
		"sub missing":       sign(nil, map[string]any{"sub": nil}),
		"sub no UUID":       sign(nil, map[string]any{"sub": "alice"}),
		"sub of nobody": sign(nil,
			map[string]any{"sub": "01890000-0000-7000-8000-000000000000"}),
		"sid missing": sign(nil, map[string]any{"sid": nil}),
		"sid no UUID": sign(nil, map[string]any{"sid": "1"}),
		"sid of no session": sign(nil,
			map[string]any{"sid": "01890000-0000-7000-8000-000000000000"}),
		"jti missing":       sign(nil, map[string]any{"jti": nil}),
		"ver missing":       sign(nil, map[string]any{"ver": nil}),
		"ver old":           sign(nil, map[string]any{"ver": 0}),
		"ver of the future": sign(nil, map[string]any{"ver": 2}),
		"typ JWT":           sign(map[string]any{"typ": "JWT"}, nil),
		"typ missing":       sign(map[string]any{"typ": nil}, nil),
		"typ a number":      sign(map[string]any{"typ": 1}, nil),
		"crit":              sign(map[string]any{"crit": []string{"exp"}}, nil),
		"crit empty":        sign(map[string]any{"crit": []string{}}, nil),
		"over 4 KiB": sign(nil,
			map[string]any{"x": strings.Repeat("x", token.MaxLength)}),
		"dots":              strings.Repeat(".", 10000),
		"two tokens":        live + " " + live,
		"two tokens, comma": live + "," + live,
		"no JSON": encode([]byte("x")) + "." + encode([]byte("y")) + "." +
			encode([]byte("z")),
		"password for a token": goodPassword,
		"quoted":               `"` + live + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			a := f.me("Authorization", "Bearer "+raw)
			if got := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized ||
				got != invalidToken {
				t.Errorf("%d %s %s", a.status, got, a.body)
			}
		})
	}
	f.wantNoTokenIn(live)
}

func (f *fixture) wantNoTokenIn(live string) {
	f.Helper()
	const noToken = `Bearer realm="gatehouse"`
	for name, test := range map[string]struct {
		header    []string
		challenge string
	}{
		"none":         {nil, noToken},
		"empty":        {[]string{"Authorization", ""}, noToken},
		"scheme alone": {[]string{"Authorization", "Bearer"}, noToken},
		"Basic":        {[]string{"Authorization", "Basic YWxpY2U6eA=="}, noToken},
		"no scheme":    {[]string{"Authorization", live}, noToken},
		"two headers": {[]string{"Authorization", "Bearer " + live, "Authorization",
			"Bearer " + live}, invalidToken},
		"cookie":           {[]string{"Cookie", "access_token=" + live}, noToken},
		"twice the scheme": {[]string{"Authorization", "Bearer Bearer " + live}, invalidToken},
	} {
		f.Run("header "+name, func(t *testing.T) {
			a := f.me(test.header...)
			if got := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized ||
				got != test.challenge {
				t.Errorf("%d %s, want %s", a.status, got, test.challenge)
			}
		})
	}
	if a := f.do(
		f.request("GET", "/users/me?access_token="+live, "")); a.status != http.StatusUnauthorized {
		f.Errorf("token in the URL: %d %s", a.status, a.body)
	}
}

// A megabyte in a header is too much for every route. net/http itself refuses it (RFC 6585 §5).
func TestAMegabyteOfDotsForATokenIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	r := f.request("GET", "/users/me", "", "Authorization", "Bearer "+strings.Repeat(".", 1<<20))
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	must(t, err)
	defer response.Body.Close()
	if s := response.StatusCode; s != http.StatusRequestHeaderFieldsTooLarge &&
		s != http.StatusUnauthorized {
		t.Error(response.Status)
	}
}

// resign changes members of a token's header and claims, and signs it with the right key. nil
// removes a member.
func resign(t *testing.T, raw string, header, changes map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{}
	old, _, err := jwt.NewParser().ParseUnverified(raw, claims)
	must(t, err)
	changed := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	maps.Copy(changed.Header, old.Header)
	change(changed.Header, header)
	change(claims, changes)
	signed, err := changed.SignedString([]byte(signingKey))
	must(t, err)
	return signed
}

func change(m, changes map[string]any) {
	for name, value := range changes {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
}

func signWith(t *testing.T, raw string, method jwt.SigningMethod, key string) string {
	t.Helper()
	claims := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(raw, claims)
	must(t, err)
	forged := jwt.NewWithClaims(method, claims)
	forged.Header["typ"] = "at+jwt"
	signed, err := forged.SignedString([]byte(key))
	must(t, err)
	return signed
}

// flip changes one character in the middle.
func flip(part string) string {
	changed := []byte(part)
	if n := len(part) / 2; changed[n] == 'A' {
		changed[n] = 'B'
	} else {
		changed[n] = 'A'
	}
	return string(changed)
}
