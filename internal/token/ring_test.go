package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func algorithms() []Algorithm { return []Algorithm{HS256, ES256, EdDSA, RS256} }

func need[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// keyOf makes a key of an algorithm; of RSA a small one, which takes less time.
func keyOf(t testing.TB, a Algorithm) Key {
	t.Helper()
	switch a {
	case HS256:
		return need[Key](t)(SecretKey([][]byte{keyA}))
	case RS256:
		private := need[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, minRSABits))
		return need[Key](t)(newKey(private, private.Public()))
	}
	return need[Key](t)(GenerateKey(a))
}

func issuerOf(t testing.TB, signing Key, others ...Key) *Issuer {
	t.Helper()
	ring := need[*Ring](t)(NewRing(signing, others...))
	return need[*Issuer](t)(NewIssuer(Settings{Ring: ring, Issuer: "https://id.test", Audience: "app", Lifetime: 30 * time.Minute}))
}

// refused holds that neither way takes a token.
func refused(t testing.TB, i *Issuer, what, raw string) {
	t.Helper()
	if access, err := i.Verify(issued, raw); err == nil || !errors.Is(err, ErrInvalid) {
		t.Errorf("%s: %+v, %v: %s", what, access, err, raw)
	}
	if _, err := i.verifyAny(issued, raw); err == nil {
		t.Errorf("%s: the library takes it: %s", what, raw)
	}
}

func TestATokenWithAnyCharacterChangedIsRefused(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, a := range algorithms() {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			i := issuerOf(t, keyOf(t, a))
			raw := issue(t, i)
			if !wantAlike(t, i, issued, raw) {
				t.Fatal("the token itself is refused, or takes the long way")
			}
			for n := range raw {
				at := strings.IndexByte(alphabet, raw[n])
				if at < 0 {
					refused(t, i, fmt.Sprint("without the dot at ", n), raw[:n]+raw[n+1:])
					continue
				}
				refused(t, i, fmt.Sprint("changed at ", n), raw[:n]+string(alphabet[at^1])+raw[n+1:])
			}
			parts := strings.Split(raw, ".")
			other := strings.Split(need[string](t)(i.Issue(issued, Subject{UserID: session, SessionID: session, Version: 1}, time.Hour)), ".")
			for what, changed := range map[string]string{
				"no signature": parts[0] + "." + parts[1] + ".", "two parts": parts[0] + "." + parts[1], "padded": raw + "=", "a part more": raw + ".",
				"cut": raw[:len(raw)-4], "longer": raw + "AAAA", "twice": raw + raw, "another payload": parts[0] + "." + other[1] + "." + parts[2],
				"another signature": parts[0] + "." + parts[1] + "." + other[2],
			} {
				refused(t, i, what, changed)
			}
		})
	}
}

// with puts another signature behind a token.
func with(raw string, signature []byte) string {
	return raw[:strings.LastIndex(raw, ".")+1] + base64.RawURLEncoding.EncodeToString(signature)
}

func TestSignaturesThatOnlyACarelessVerifierTakesAreRefused(t *testing.T) {
	t.Parallel()
	curve := issuerOf(t, keyOf(t, ES256))
	raw := issue(t, curve)
	signature := need[[]byte](t)(base64.RawURLEncoding.DecodeString(raw[strings.LastIndex(raw, ".")+1:]))
	r, s, order := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]), elliptic.P256().Params().N
	fixed := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 33)), s.FillBytes(make([]byte, 33))...)
	}
	short := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	zero := new(big.Int)
	for what, forged := range map[string][]byte{
		"zeros (CVE-2022-21449)": make([]byte, 64), "r of 0": short(zero, s), "s of 0": short(r, zero), "r and s of n": short(order, order),
		"33 bytes each": fixed(r, s), "r + n": fixed(new(big.Int).Add(r, order), s), "n alone": short(order, s),
		"ASN.1": need[[]byte](t)(ecdsa.SignASN1(rand.Reader, curve.Ring().signing.private.(*ecdsa.PrivateKey), make([]byte, 32))), "empty": {},
	} {
		refused(t, curve, what, with(raw, forged))
	}

	edwards := issuerOf(t, keyOf(t, EdDSA))
	raw = issue(t, edwards)
	signature = need[[]byte](t)(base64.RawURLEncoding.DecodeString(raw[strings.LastIndex(raw, ".")+1:]))
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	little := func(b []byte) []byte {
		turned := make([]byte, len(b))
		for n := range b {
			turned[len(b)-1-n] = b[n]
		}
		return turned
	}
	more := new(big.Int).Add(new(big.Int).SetBytes(little(signature[32:])), l)
	refused(t, edwards, "S + L (RFC 8032 §5.1.7)", with(raw, append(append([]byte{}, signature[:32]...), little(more.FillBytes(make([]byte, 32)))...)))
	refused(t, edwards, "zeros", with(raw, make([]byte, ed25519.SignatureSize)))
}

// compact signs any header and payload, by the rules of an algorithm and with whatever key that takes.
func compact(t testing.TB, method jwt.SigningMethod, key any, header, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// The header is the attacker's: whatever algorithm and key it names, only the key's own algorithm counts (RFC 8725 §3.1).
func TestNoHeaderMakesOneAlgorithmPassForAnother(t *testing.T) {
	t.Parallel()
	keys := map[Algorithm]Key{}
	var others []Key
	for _, a := range algorithms() {
		keys[a] = keyOf(t, a)
		others = append(others, keys[a])
	}
	i := issuerOf(t, others[0], others[1:]...)
	for _, signs := range algorithms() {
		for _, says := range algorithms() {
			for _, names := range algorithms() {
				header := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, says, keys[names].ID())
				raw := compact(t, signs.method(), keys[signs].signing(), header, ownPayload("", ""))
				if signs == says && (signs == names || signs == HS256) { // of HS256 there is one key, whatever its name
					if _, err := i.Verify(issued, raw); err != nil {
						t.Errorf("%s: %v", header, err)
					}
					continue
				}
				refused(t, i, fmt.Sprintf("signed by %s, %s of the key of %s", signs, says, names), raw)
			}
		}
	}
	// What anybody can fetch must not be a secret.
	public := keys[RS256]
	der := need[[]byte](t)(x509.MarshalPKIXPublicKey(public.public))
	for what, secret := range map[string][]byte{
		"JWK": public.PublicJWK(), "DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "id": []byte(public.ID()),
	} {
		for _, ring := range []*Issuer{i, issuerOf(t, public)} {
			raw := compact(t, jwt.SigningMethodHS256, secret, fmt.Sprintf(`{"alg":"HS256","kid":%q,"typ":"at+jwt"}`, public.ID()), ownPayload("", ""))
			refused(t, ring, what+" as a secret", raw)
		}
	}
	refused(t, i, "none", strings.TrimSuffix(compact(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, `{"alg":"none","typ":"at+jwt"}`, ownPayload("", "")), "."))
}

func TestNoKidLeadsAnywhereButToAKey(t *testing.T) {
	t.Parallel()
	key, attacker := keyOf(t, ES256), keyOf(t, ES256)
	i := issuerOf(t, key, keyOf(t, HS256))
	for what, member := range map[string]string{
		"none": ``, "empty": `"kid":"",`, "a path": `"kid":"../../../dev/null",`, "SQL": `"kid":"' OR 1=1 --",`, "a NUL": `"kid":"\u0000",`,
		"huge": `"kid":"` + strings.Repeat("k", 2000) + `",`, "a number": `"kid":1,`, "null": `"kid":null,`, "a list": `"kid":["` + key.ID() + `"],`,
		"an object": `"kid":{},`, "another's": `"kid":"` + attacker.ID() + `",`, "cut": `"kid":"` + key.ID()[1:] + `",`,
		"two": `"kid":"` + key.ID() + `","kid":"` + attacker.ID() + `",`,
	} {
		for signs, private := range map[string]any{"our key": key.private, "another": attacker.private} {
			raw := compact(t, jwt.SigningMethodES256, private, `{"alg":"ES256",`+member+`"typ":"at+jwt"}`, ownPayload("", ""))
			refused(t, i, what+", signed by "+signs, raw)
		}
	}
	raw := compact(t, jwt.SigningMethodES256, attacker.private, `{"alg":"ES256","kid":"`+attacker.ID()+`","typ":"at+jwt"}`, ownPayload("", ""))
	if _, err := i.Verify(issued, raw); !errors.Is(err, ErrUnknownKey) || !errors.Is(err, ErrInvalid) {
		t.Errorf("an unknown key: %v", err)
	}
	// A header that brings the key along, or the address of one (RFC 8725 §3.10).
	for _, member := range []string{
		`"jwk":` + string(attacker.PublicJWK()), `"jku":"https://evil.example/jwks.json"`, `"x5u":"https://evil.example/x5u"`, `"x5c":["AAAA"]`,
	} {
		header := `{"alg":"ES256","kid":"` + key.ID() + `","typ":"at+jwt",` + member + `}`
		refused(t, i, member, compact(t, jwt.SigningMethodES256, attacker.private, header, ownPayload("", "")))
		if _, err := i.Verify(issued, compact(t, jwt.SigningMethodES256, key.private, header, ownPayload("", ""))); err != nil {
			t.Errorf("%s is not ignored: %v", member, err)
		}
	}
}

func TestAKeyComesBackAsItWasAndNoOtherWay(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms()[1:] {
		k := keyOf(t, a)
		private := need[[]byte](t)(k.MarshalPrivate())
		again := need[Key](t)(ParsePrivateKey(a, private))
		public := need[Key](t)(ParsePublicKey(k.PublicJWK()))
		if again.ID() != k.ID() || public.ID() != k.ID() || !again.CanSign() || public.CanSign() || public.Algorithm() != a {
			t.Errorf("%s: %v, %v, %v", a, k, again, public)
		}
		if _, err := issuerOf(t, public.withPrivate(k), again).Verify(issued, issue(t, issuerOf(t, again))); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if _, err := public.MarshalPrivate(); err == nil {
			t.Errorf("%s: a public key has a private half", a)
		}
		if _, err := NewRing(public); err == nil {
			t.Errorf("%s: a public key signs", a)
		}
		for _, other := range algorithms() {
			if _, err := ParsePrivateKey(other, private); (err == nil) != (other == a) {
				t.Errorf("a key of %s as one of %s: %v", a, other, err)
			}
		}
		var members map[string]any
		if err := json.Unmarshal(k.PublicJWK(), &members); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, ok := members[secret]; ok {
				t.Errorf("%s: %s is public", a, secret)
			}
		}
		for member, value := range map[string]any{"alg": "HS256", "use": "enc", "kid": "other", "kty": "oct", "d": "AAAA"} {
			changed := map[string]any{}
			for name, v := range members {
				changed[name] = v
			}
			changed[member] = value
			if _, err := ParsePublicKey(need[[]byte](t)(json.Marshal(changed))); err == nil {
				t.Errorf("%s: a key with %s %v is taken", a, member, value)
			}
		}
	}
	weak := need[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
	if _, err := newKey(weak, weak.Public()); err == nil {
		t.Error("RSA of 1024 bits is taken")
	}
	strong := need[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	if _, err := newKey(strong, strong.Public()); err == nil {
		t.Error("P-384 is taken for ES256")
	}
	if _, err := SecretKey([][]byte{keyA, keyB[:31]}); err == nil {
		t.Error("a short secret is taken")
	}
}

// withPrivate lets a key that was read sign.
func (k Key) withPrivate(of Key) Key { k.private = of.private; return k }

func TestNobodyPrintsWhatIsPrivate(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms() {
		k := keyOf(t, a)
		private := keyA
		if a != HS256 {
			private = need[[]byte](t)(k.MarshalPrivate())
			private = private[len(private)-16:]
		}
		ring := need[*Ring](t)(NewRing(k))
		var logged strings.Builder
		slog.New(slog.NewTextHandler(&logged, nil)).Info("keys", "key", k, "ring", ring)
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("keys", "key", k, "ring", ring)
		for _, v := range []any{k, &k, ring, *ring} {
			fmt.Fprintf(&logged, "%v %+v %#v %s %q", v, v, v, v, v)
		}
		for _, form := range []string{string(private), fmt.Sprint(private), strings.Trim(fmt.Sprint(private), "[]"), fmt.Sprintf("%x", private)} {
			if strings.Contains(logged.String(), form) {
				t.Errorf("%s: %s", a, logged.String())
			}
		}
	}
}

// A key that was revoked is refused also where its tokens are remembered; those of a key that stays are not asked for anew.
func TestWhatIsRememberedGoesWithItsKey(t *testing.T) {
	t.Parallel()
	stays, goes := keyOf(t, ES256), keyOf(t, EdDSA)
	i := issuerOf(t, goes, stays)
	byGoing := issue(t, i)
	v := NewVerifier(i, 1000)
	mustVerify(t, v, byGoing)
	i.SetRing(need[*Ring](t)(NewRing(stays, goes))) // the next one signs: nothing is lost
	byStaying := issue(t, i)
	mustVerify(t, v, byStaying)
	if v.Len() != 2 {
		t.Errorf("%d tokens are remembered", v.Len())
	}
	i.SetRing(need[*Ring](t)(NewRing(stays)))
	if _, err := v.Verify(issued, byGoing); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a remembered token outlives its key: %v", err)
	}
	mustVerify(t, v, byStaying)
	i.SetRing(need[*Ring](t)(NewRing(stays, keyOf(t, HS256), keyOf(t, HS256)))) // the secret counts once
	mustVerify(t, v, signedBy(t, keyA, ownHeaderText, ownPayload("", "")))
	other := need[Key](t)(SecretKey([][]byte{keyB}))
	i.SetRing(need[*Ring](t)(NewRing(stays, other)))
	if _, err := v.Verify(issued, signedBy(t, keyA, ownHeaderText, ownPayload("", ""))); err == nil {
		t.Error("a remembered token outlives the secret")
	}
}

func TestRingsAreSwappedWhileOthersSignAndVerify(t *testing.T) {
	t.Parallel()
	keys := []Key{keyOf(t, ES256), keyOf(t, EdDSA), keyOf(t, HS256)}
	i := issuerOf(t, keys[0], keys[1:]...)
	v := NewVerifier(i, 1000)
	var others sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := v.Verify(issued, issue(t, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 300 {
		i.SetRing(need[*Ring](t)(NewRing(keys[n%3], keys[(n+1)%3], keys[(n+2)%3])))
	}
	close(done)
	others.Wait()
}

func FuzzParsePublicKey(f *testing.F) {
	for _, a := range algorithms()[1:] {
		f.Add(keyOf(f, a).PublicJWK())
	}
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","alg":"ES256","use":"sig","kid":"x"}`))
	f.Fuzz(func(t *testing.T, jwk []byte) {
		k, err := ParsePublicKey(jwk)
		if err != nil {
			return
		}
		if again, err := ParsePublicKey(k.PublicJWK()); err != nil || again.ID() != k.ID() || k.CanSign() {
			t.Errorf("%s: %v", jwk, err)
		}
	})
}

func BenchmarkAlgorithms(b *testing.B) {
	for _, a := range algorithms() {
		key := keyOf(b, a)
		if a == RS256 {
			key = need[Key](b)(GenerateKey(a))
		}
		i := issuerOf(b, key)
		raw := issue(b, i)
		b.Run("sign/"+string(a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				issue(b, i)
			}
		})
		b.Run("verify/"+string(a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Verify(issued, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
