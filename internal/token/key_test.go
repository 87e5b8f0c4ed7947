package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// The example of RFC 7638 §3.1.
func TestTheKidIsTheThumbprintOfRFC7638(t *testing.T) {
	t.Parallel()
	const jwk = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o` +
		`knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI` +
		`SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256",` +
		`"use":"sig","kid":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}`
	key, err := ParsePublicKey([]byte(jwk))
	if err != nil || key.ID() != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("%q, %v", key.ID(), err)
	}
}

func TestAKeyComesBackFromItsPrivateAndItsPublicForm(t *testing.T) {
	t.Parallel()
	for _, a := range []Algorithm{ES256, EdDSA, RS256} {
		key := keyOf(t, a)
		pkcs8, err := key.MarshalPrivate()
		if err != nil {
			t.Fatal(err)
		}
		private, err := ParsePrivateKey(a, pkcs8)
		if err != nil {
			t.Fatal(err)
		}
		public, err := ParsePublicKey(key.PublicJWK())
		if err != nil {
			t.Fatal(err)
		}
		if private.ID() != key.ID() || public.ID() != key.ID() || public.Algorithm() != a || !private.CanSign() || public.CanSign() {
			t.Errorf("%s: %s, %s, %s", a, key.ID(), private.ID(), public.ID())
		}
		if _, err := NewRing(public); err == nil {
			t.Errorf("%s: a public key signs", a)
		}
		if _, err := public.MarshalPrivate(); err == nil {
			t.Errorf("%s: a public key has a private form", a)
		}
		ring, err := NewVerifyingRing(public)
		if err != nil {
			t.Fatal(err)
		}
		i := issuerOf(t, private)
		raw := issue(t, i)
		i.SetRing(ring)
		if _, err := i.Verify(issued, raw); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if _, err := i.Issue(issued, Subject{UserID: alice, SessionID: session, Username: "Alice", Version: 7}, 1e12); err == nil {
			t.Errorf("%s: a ring that verifies has signed", a)
		}
		for _, other := range []Algorithm{HS256, ES256, EdDSA, RS256, "none", ""} {
			if _, err := ParsePrivateKey(other, pkcs8); (err == nil) != (other == a) {
				t.Errorf("a key of %s as one of %q: %v", a, other, err)
			}
		}
	}
}

func TestAJWKHasPublicMembersOnlyAndSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for a, want := range map[Algorithm][]string{
		ES256: {"alg", "crv", "kid", "kty", "use", "x", "y"}, EdDSA: {"alg", "crv", "kid", "kty", "use", "x"}, RS256: {"alg", "e", "kid", "kty", "n", "use"},
	} {
		key := keyOf(t, a)
		var jwk map[string]string
		if err := json.Unmarshal(key.PublicJWK(), &jwk); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(jwk)); !slices.Equal(got, want) || jwk["alg"] != string(a) || jwk["use"] != "sig" || jwk["kid"] != key.ID() {
			t.Errorf("%s: %v", a, jwk)
		}
	}
}

func TestKeysThatAreWeakWrongOrPrivateAreRefused(t *testing.T) {
	t.Parallel()
	ec, rs, ed := keyOf(t, ES256), keyOf(t, RS256), keyOf(t, EdDSA)
	with := func(k Key, changes map[string]any) string {
		var jwk map[string]any
		if err := json.Unmarshal(k.jwk, &jwk); err != nil {
			t.Fatal(err)
		}
		for name, value := range changes {
			if jwk[name] = value; value == nil {
				delete(jwk, name)
			}
		}
		text, err := json.Marshal(jwk)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	private := func(k Key) string {
		text, err := jose.JSONWebKey{Key: k.private, KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig"}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, k := range []Key{ec, rs, ed} {
		if _, err := ParsePublicKey([]byte(with(k, nil))); err != nil {
			t.Fatalf("not even the key that the others are made of: %v", err)
		}
	}
	for name, jwk := range map[string]string{
		"a private EC key":      private(ec),
		"a private RSA key":     private(rs),
		"a private Ed25519 key": private(ed),
		"a secret":              `{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","alg":"HS256","use":"sig","kid":"k"}`,
		"a point off the curve": with(ec, map[string]any{"y": jwkMember(t, ec, "x")}),
		"half a point":          with(ec, map[string]any{"y": nil}),
		"another curve":         with(ec, map[string]any{"crv": "P-384"}),
		"a short Ed25519 key":   with(ed, map[string]any{"x": "AAAA"}),
		"exponent 1":            with(rs, map[string]any{"e": "AQ"}),
		"an even exponent":      with(rs, map[string]any{"e": "AQAA"}),
		"no modulus":            with(rs, map[string]any{"n": ""}),
		"a modulus of 128 bits": with(rs, map[string]any{"n": "_____________________w"}),
		"a modulus of 16K":      with(rs, map[string]any{"n": strings.Repeat("_", 2731)}),
		"for encryption":        with(ec, map[string]any{"use": "enc"}),
		"for nothing":           with(ec, map[string]any{"use": nil}),
		"another algorithm":     with(rs, map[string]any{"alg": "PS256"}),
		"HS256":                 with(ec, map[string]any{"alg": "HS256"}),
		"no algorithm":          with(ec, map[string]any{"alg": nil}),
		"another kid":           with(ec, map[string]any{"kid": ed.id}),
		"no kid":                with(ec, map[string]any{"kid": nil}),
		"another type":          with(ec, map[string]any{"kty": "RSA"}),
		"a member twice":        strings.Replace(with(ec, nil), `{`, `{"kid":"x",`, 1),
		"more behind":           with(ec, nil) + "{}",
		"null":                  "null",
		"nothing":               "",
	} {
		if _, err := ParsePublicKey([]byte(jwk)); err == nil {
			t.Errorf("%s is accepted: %s", name, jwk)
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa1024, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for a, key := range map[Algorithm]any{ES256: p384, RS256: rsa1024} {
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePrivateKey(a, pkcs8); err == nil {
			t.Errorf("a weak or foreign private key for %s is accepted", a)
		}
	}
}

func jwkMember(t *testing.T, k Key, name string) string {
	t.Helper()
	var jwk map[string]string
	if err := json.Unmarshal(k.jwk, &jwk); err != nil {
		t.Fatal(err)
	}
	return jwk[name]
}

func TestASecretIsTheKeysOwnCopy(t *testing.T) {
	t.Parallel()
	secret := slices.Clone(keyA)
	key, err := SecretKey([][]byte{secret})
	if err != nil {
		t.Fatal(err)
	}
	clear(secret)
	if _, err := issuer(t, keyA).Verify(issued, issue(t, issuerOf(t, key))); err != nil {
		t.Error(err)
	}
}

// A key may come into a log or an error by mistake.
func TestNoPrivateKeyIsPrinted(t *testing.T) {
	t.Parallel()
	secret := keyOf(t, HS256)
	for _, key := range []Key{secret, keyOf(t, ES256), keyOf(t, EdDSA)} {
		private := string(keyA)
		if key.private != nil {
			pkcs8, err := key.MarshalPrivate()
			if err != nil {
				t.Fatal(err)
			}
			private = string(pkcs8[len(pkcs8)-16:])
			if k, ok := key.private.(*ecdsa.PrivateKey); ok {
				scalar, err := k.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				private = string(scalar)
			}
		}
		ring := ringOf(t, key)
		var log strings.Builder
		for _, logger := range []*slog.Logger{slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil))} {
			logger.Info("x", "key", key, "pointer", &key, "ring", ring, "value", *ring)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, value := range []any{key, &key, ring, *ring, []Key{key}, issuerOf(t, key)} {
				fmt.Fprintf(&log, verb+"\n", value)
			}
		}
		numbers := strings.Trim(fmt.Sprint([]byte(private)), "[]")
		for _, form := range []string{private, numbers, strings.ReplaceAll(numbers, " ", ", "), hex.EncodeToString([]byte(private)), new(big.Int).SetBytes([]byte(private)).String()} {
			if strings.Contains(log.String(), form) {
				t.Errorf("%s: the private key is printed", key.algorithm)
			}
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	for _, a := range []Algorithm{ES256, EdDSA, RS256} {
		f.Add(keyOf(f, a).jwk)
	}
	f.Add([]byte(`{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","alg":"HS256","use":"sig","kid":"k"}`))
	f.Add([]byte(`{"kty":"RSA","n":"","e":"","alg":"RS256","use":"sig"}`))
	f.Fuzz(func(t *testing.T, jwk []byte) {
		key, err := ParsePublicKey(jwk)
		if err != nil {
			return
		}
		again, err := ParsePublicKey(key.PublicJWK())
		if err != nil || again.ID() != key.ID() || string(again.PublicJWK()) != string(key.PublicJWK()) {
			t.Errorf("%s comes back as %s, %v", key.PublicJWK(), again.PublicJWK(), err)
		}
		if key.CanSign() || key.algorithm == HS256 {
			t.Errorf("%s signs", jwk)
		}
		if _, err := NewVerifyingRing(key); err != nil {
			t.Error(err)
		}
	})
}
