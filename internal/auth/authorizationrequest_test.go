package auth

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/token"
)

// FuzzAuthorizationQuery looks for a query that sends the browser, or what the app is told, to
// another place than a registered one; and for one that is taken, but cannot be stored.
func FuzzAuthorizationQuery(f *testing.F) {
	for _, query := range []string{
		"", "redirect_uri=https://rp.example/cb", "redirect_uri=https://rp.example/cb&state=%00%ff",
		"redirect_uri=https://rp.example/cb?a=b&response_type=code&state=a%26iss%3Dx",
		"redirect_uri=http://127.0.0.1:4711/cb&response_type=code&scope=openid+files:read&nonce=n" +
			"&code_challenge=" + strings.Repeat("A", 43) + "&code_challenge_method=S256&max_age=1",
		"redirect_uri=https://rp.example/cb&redirect_uri=https://evil.example/&prompt=none+login",
		"redirect_uri=https://rp.example/cb%23&response_type=token&request=x&claims=%7B%7D",
		"redirect_uri=com.example.app:/cb&response_type=code&id_token_hint=a.b.c&resource=x",
		"redirect_uri=com.example.app:/cb&response_type=code&nonce=%00",
		"redirect_uri=com.example.app:/cb&response_type=code&nonce=%ff&scope=openid+openid",
	} {
		f.Add(query, true)
		f.Add(query, false)
	}
	a := fuzzedAuthorizations(f)
	f.Fuzz(func(t *testing.T, raw string, withoutPKCE bool) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		client := Client{
			ID: "shop", Confidential: true, WithoutPKCE: withoutPKCE,
			RedirectURIs: []string{
				"https://rp.example/cb", "https://rp.example/cb?a=b", "http://127.0.0.1/cb",
				"com.example.app:/cb",
			},
		}
		r, err := a.parseOf(client, query)
		if known, ok := outcome.Of(err); err != nil && (!ok || known.IsFault() || !isPlain(known.Error())) {
			t.Fatalf("%q: %v", raw, err)
		}
		switch {
		case r.RedirectURI != "":
			wantAnswered(t, a, r)
		case err == nil:
			t.Fatalf("%q is taken without a redirect URI", raw)
		}
		if err == nil {
			wantStorable(t, r)
		}
	})
}

func fuzzedAuthorizations(f *testing.F) *Authorizations {
	f.Helper()
	keys, err := keychain.New([][]byte{[]byte(strings.Repeat("k", 32))})
	if err != nil {
		f.Fatal(err)
	}
	ids, err := token.NewIDIssuer("https://id.test", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	return NewAuthorizations(AuthorizationParts{
		IDs: NewIDTokens(ids, time.Now, func() error { return nil }), Keys: keys,
		Issuer: "https://id.test", Clock: time.Now,
	})
}

// isPlain reports whether a text may be an error_description (RFC 6749 §4.1.2.1).
func isPlain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r > '~' || r == '"' || r == '\\'
	})
}

// wantAnswered wants the app to get its own state and our issuer, once each, and at its own URI.
func wantAnswered(t *testing.T, a *Authorizations, r AuthorizationRequest) {
	t.Helper()
	to := a.Answer(r, url.Values{"error": {"invalid_request"}})
	rest, ok := strings.CutPrefix(to, r.RedirectURI)
	if !ok || !r.Client.MatchRedirectURI(r.RedirectURI) || rest == "" ||
		!strings.Contains("?&", rest[:1]) {
		t.Fatalf("an answer to %q goes to %q", r.RedirectURI, to)
	}
	u, err := url.Parse(to)
	if err != nil || u.Fragment != "" || u.User != nil {
		t.Fatalf("%q: %v", to, err)
	}
	got := u.Query()
	for name, want := range map[string]string{
		"iss": "https://id.test", "error": "invalid_request", "state": r.State,
	} {
		if got.Get(name) != want || len(got[name]) > 1 {
			t.Fatalf("%s is %q in %q, want %q", name, got[name], to, want)
		}
	}
}

// wantStorable wants what is stored of a request to be text within its bounds, and a challenge of
// whoever is not excused from it.
func wantStorable(t *testing.T, r AuthorizationRequest) {
	t.Helper()
	openid := strings.Join(r.OpenID, " ")
	for _, stored := range []string{r.Scope, openid, r.Nonce, r.Challenge, r.Claims.String()} {
		if !utf8.ValidString(stored) || strings.ContainsRune(stored, 0) {
			t.Fatalf("%q is no text", stored)
		}
	}
	if len(r.Nonce) > mostNonce || len(r.Scope) > maxRights || len(r.Claims.String()) > mostClaim ||
		len(r.State) > mostState {
		t.Fatalf("beyond a bound: %+v", r)
	}
	if len(r.Challenge) != 43 && (r.Challenge != "" || !r.Client.WithoutPKCE) {
		t.Fatalf("the challenge is %q", r.Challenge)
	}
}
