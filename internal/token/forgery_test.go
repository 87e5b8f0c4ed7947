package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func algorithms() []Algorithm { return []Algorithm{HS256, ES256, EdDSA, RS256} }

// keyOf makes a new key, or takes the secret keyA.
func keyOf(t testing.TB, a Algorithm) Key {
	t.Helper()
	key, err := GenerateKey(a)
	if a == HS256 {
		key, err = SecretKey([][]byte{keyA})
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ringOf(t testing.TB, signing Key, others ...Key) *Ring {
	t.Helper()
	r, err := NewRing(signing, others...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func issuerOf(t testing.TB, signing Key, others ...Key) *Issuer {
	t.Helper()
	i, err := NewIssuer(Settings{Ring: ringOf(t, signing, others...), Issuer: "https://id.test", Audience: "app", Lifetime: 30 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// signedAs is a token whose header says what it likes, with a true signature of a key, by its own
// algorithm or as a secret.
func signedAs(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, payload string) string {
	t.Helper()
	encoded, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString(encoded) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// wantRefused holds that neither way lets a token in.
func wantRefused(t *testing.T, i *Issuer, raw, name string) error {
	t.Helper()
	if len(raw) <= MaxLength && isCompact(raw) {
		if _, ok := i.verifyOwn(issued, raw); ok {
			t.Errorf("%s: the short way lets it in", name)
		}
	}
	_, err := i.Verify(issued, raw)
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("%s: %v", name, err)
	}
	return err
}

func TestALiveTokenWithAnyByteChangedIsRefused(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms() {
		i := issuerOf(t, keyOf(t, a))
		raw := issue(t, i)
		if _, ok := i.verifyOwn(issued, raw); !ok {
			t.Fatalf("%s: not even the token that is mutated", a)
		}
		for n, part := range strings.Split(raw, ".") {
			decoded, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil {
				t.Fatal(err)
			}
			spoilt := func(b []byte, name string) {
				parts := strings.Split(raw, ".")
				parts[n] = base64.RawURLEncoding.EncodeToString(b)
				wantRefused(t, i, strings.Join(parts, "."), string(a)+": "+name)
			}
			for at := range decoded {
				for _, bit := range []byte{1, 0x20, 0x80} {
					changed := slices.Clone(decoded)
					changed[at] ^= bit
					spoilt(changed, "a byte changed")
				}
			}
			spoilt(nil, "a part away")
			spoilt(decoded[:len(decoded)-1], "a part cut at its end")
			spoilt(decoded[1:], "a part cut at its start")
			spoilt(append(slices.Clone(decoded), 0), "a part padded behind")
			spoilt(append([]byte{0}, decoded...), "a part padded before")
			spoilt(append(slices.Clone(decoded), decoded...), "a part twice")
		}
		for n := range len(raw) {
			wantRefused(t, i, raw[:n], string(a)+": cut")
		}
		for _, more := range []string{"A", "=", ".", ".e30", raw} {
			wantRefused(t, i, raw+more, string(a)+": more behind")
		}
		own, other := strings.Split(raw, "."), strings.Split(issue(t, i), ".")
		wantRefused(t, i, own[0]+"."+own[1]+"."+other[2], string(a)+": the signature of another token")
		wantRefused(t, i, own[0]+"."+other[1]+"."+own[2], string(a)+": the payload of another token")
	}
}

// A signature has one writing: a second one would get around a list of refused tokens, and some let
// in what nobody signed.
func TestSignaturesInAnotherWritingAreRefused(t *testing.T) {
	t.Parallel()
	rewritten := func(i *Issuer, rewrite func(signature []byte) []byte) string {
		raw := issue(t, i)
		at := strings.LastIndex(raw, ".") + 1
		signature, err := base64.RawURLEncoding.DecodeString(raw[at:])
		if err != nil {
			t.Fatal(err)
		}
		return raw[:at] + base64.RawURLEncoding.EncodeToString(rewrite(signature))
	}
	ec, order := issuerOf(t, keyOf(t, ES256)), elliptic.P256().Params().N
	pair := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	numbers := map[string]*big.Int{
		"0": new(big.Int), "1": big.NewInt(1), "n-1": new(big.Int).Sub(order, big.NewInt(1)), "n": order,
		"n+1": new(big.Int).Add(order, big.NewInt(1)), "2^256-1": new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)),
	}
	for nameR, r := range numbers {
		wantRefused(t, ec, rewritten(ec, func(b []byte) []byte { return pair(r, new(big.Int).SetBytes(b[32:])) }), "r "+nameR)
		wantRefused(t, ec, rewritten(ec, func(b []byte) []byte { return pair(new(big.Int).SetBytes(b[:32]), r) }), "s "+nameR)
		for nameS, s := range numbers {
			wantRefused(t, ec, rewritten(ec, func([]byte) []byte { return pair(r, s) }), "r "+nameR+", s "+nameS)
		}
	}
	raw := issue(t, ec)
	text := raw[:strings.LastIndex(raw, ".")]
	digest := sha256.Sum256([]byte(text))
	signature, err := ecdsa.SignASN1(rand.Reader, ec.Ring().signing.private.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, ec, text+"."+base64.RawURLEncoding.EncodeToString(signature), "DER")
	wantRefused(t, ec, rewritten(ec, func([]byte) []byte { return nil }), "nothing")
	ed := issuerOf(t, keyOf(t, EdDSA))
	wantRefused(t, ed, rewritten(ed, plusOrder), "S that is not below the order (RFC 8032 §5.1.7)")
}

// plusOrder adds the order of Ed25519's group to S, which is little-endian.
func plusOrder(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(signature[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return append(slices.Clone(signature[:32]), sum...)
}

// A token's alg must never choose how a key is used (RFC 8725 §2.1).
func TestNoKeySignsForAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	keys := map[Algorithm]Key{}
	for _, a := range algorithms() {
		keys[a] = keyOf(t, a)
	}
	i := issuerOf(t, keys[HS256], keys[ES256], keys[EdDSA], keys[RS256])
	for _, signer := range algorithms() {
		for _, said := range append(algorithms(), "none", "None", "HS512", "RS512", "PS256", "ES384", "") {
			for _, named := range algorithms() {
				header := map[string]any{"alg": string(said), "kid": keys[named].id, "typ": mediaType}
				raw := signedAs(t, signer.method(), keys[signer].signing(), header, ownPayload("", ""))
				if signer == said && (signer == named || signer == HS256) {
					if _, err := i.Verify(issued, raw); err != nil {
						t.Errorf("%s: %v", signer, err)
					}
					continue
				}
				wantRefused(t, i, raw, string(signer+" said to be "+said+", by the kid of "+named))
			}
		}
	}
}

func TestAPublicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	for _, a := range []Algorithm{ES256, EdDSA, RS256} {
		key := keyOf(t, a)
		der, err := x509.MarshalPKIXPublicKey(key.public)
		if err != nil {
			t.Fatal(err)
		}
		for form, secret := range map[string][]byte{
			"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "JWK": key.jwk, "kid": []byte(key.id), "nothing": {},
		} {
			for name, i := range map[string]*Issuer{"alone": issuerOf(t, key), "beside a secret": issuerOf(t, key, keyOf(t, HS256))} {
				for _, kid := range []string{key.id, ""} {
					header := map[string]any{"alg": "HS256", "typ": mediaType, "kid": kid}
					wantRefused(t, i, signedAs(t, jwt.SigningMethodHS256, secret, header, ownPayload("", "")), string(a)+" "+form+" "+name)
				}
			}
		}
	}
}

func TestAKidThatIsNoNameOfAKeyIsRefusedAndIsAnUnknownOne(t *testing.T) {
	t.Parallel()
	key, foreign := keyOf(t, ES256), keyOf(t, ES256)
	i := issuerOf(t, key)
	sign := func(kid any) string {
		header := map[string]any{"alg": "ES256", "typ": mediaType, "kid": kid}
		return signedAs(t, jwt.SigningMethodES256, key.private, header, ownPayload("", ""))
	}
	for _, kid := range []string{
		foreign.id, "", "../../dev/null", "/etc/passwd", `' OR 1=1 --`, `"`, "\x00", key.id + "\x00", key.id + " ", strings.ToUpper(key.id),
		key.id[1:], "https://evil.test/jwks.json", strings.Repeat("k", 1<<10),
	} {
		if err := wantRefused(t, i, sign(kid), kid); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%.40q is not an unknown key: %v", kid, err)
		}
	}
	for _, kid := range []any{nil, 0, true, []string{key.id}, map[string]any{"kid": key.id}, strings.Repeat("k", 4<<10)} {
		wantRefused(t, i, sign(kid), "a kid that is no text, or too long")
	}
	if _, err := i.Verify(issued, sign(key.id)); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// Whoever brings a key along does not get to say that it is ours (RFC 8725 §3.10).
func TestAKeyThatATokenBringsAlongIsIgnored(t *testing.T) {
	t.Parallel()
	key, foreign := keyOf(t, ES256), keyOf(t, ES256)
	i := issuerOf(t, key)
	for name, value := range map[string]any{
		"jwk": json.RawMessage(foreign.jwk), "jku": "https://evil.test/jwks.json", "x5u": "https://evil.test/cert.pem", "x5c": []string{"MIIB"},
	} {
		for _, kid := range []string{key.id, foreign.id} {
			header := map[string]any{"alg": "ES256", "typ": mediaType, "kid": kid, name: value}
			wantRefused(t, i, signedAs(t, jwt.SigningMethodES256, foreign.private, header, ownPayload("", "")), name)
		}
		header := map[string]any{"alg": "ES256", "typ": mediaType, "kid": key.id, name: value}
		if _, err := i.Verify(issued, signedAs(t, jwt.SigningMethodES256, key.private, header, ownPayload("", ""))); err != nil {
			t.Errorf("%s beside a signature of ours: %v", name, err)
		}
	}
	for name, header := range map[string]map[string]any{
		"crit":   {"alg": "ES256", "typ": mediaType, "kid": key.id, "crit": []string{"exp"}},
		"no typ": {"alg": "ES256", "kid": key.id}, "another typ": {"alg": "ES256", "kid": key.id, "typ": "JWT"},
	} {
		wantRefused(t, i, signedAs(t, jwt.SigningMethodES256, key.private, header, ownPayload("", "")), name)
	}
}

func BenchmarkSignBy(b *testing.B) {
	for _, a := range algorithms() {
		b.Run(string(a), func(b *testing.B) {
			i := issuerOf(b, keyOf(b, a))
			b.ReportAllocs()
			for b.Loop() {
				issue(b, i)
			}
		})
	}
}

func BenchmarkVerifyBy(b *testing.B) {
	for _, a := range algorithms() {
		b.Run(string(a), func(b *testing.B) {
			i := issuerOf(b, keyOf(b, a))
			raw := issue(b, i)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Verify(issued, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
