package token

import (
	"fmt"
	"strings"
	"testing"
)

// A set that is read in part, or one that brings a secret, must not pass for Gatehouse's keys.
func TestKeySetsThatAreNotWholeAreRefused(t *testing.T) {
	t.Parallel()
	one, err := GenerateKey(ES256)
	must(t, err)
	two, err := GenerateKey(EdDSA)
	must(t, err)
	private, err := one.MarshalPrivate()
	must(t, err)
	good, other := string(one.PublicJWK()), string(two.PublicJWK())
	const secret, future = `{"kty":"oct","alg":"HS256","use":"sig","kid":"x","k":"AAAA"}`, `{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA","kid":"y"}`
	for name, test := range map[string]struct {
		set  string
		keys int // 0: it is refused
	}{
		"one":                 {`{"keys":[` + good + `]}`, 1},
		"two":                 {`{"keys":[` + good + `,` + other + `]}`, 2},
		"and members more":    {`{"keys":[` + good + `],"x":1}`, 1},
		"a type of later":     {`{"keys":[` + future + `,` + good + `]}`, 1},
		"a secret is no key":  {`{"keys":[` + good + `,` + secret + `]}`, 1},
		"a secret alone":      {`{"keys":[` + secret + `]}`, 0},
		"a type of later and": {`{"keys":[` + future + `]}`, 0},
		"empty":               {`{"keys":[]}`, 0},
		"null":                {`{"keys":null}`, 0},
		"nothing":             {``, 0},
		"no set":              {`{}`, 0},
		"a key alone":         {good, 0},
		"two lists":           {`{"keys":[` + good + `],"keys":[` + other + `]}`, 0},
		"cut":                 {(`{"keys":[` + good)[:100], 0},
		"another kid":         {`{"keys":[` + strings.Replace(good, one.ID(), two.ID(), 1) + `]}`, 0},
		"another alg":         {`{"keys":[` + strings.Replace(good, "ES256", "HS256", 1) + `]}`, 0},
		"one good, one bad":   {`{"keys":[` + good + `,` + strings.Replace(other, two.ID(), one.ID(), 1) + `]}`, 0},
		"another use":         {`{"keys":[` + strings.Replace(good, `"sig"`, `"enc"`, 1) + `]}`, 0},
		"a number":            {`{"keys":[5]}`, 0},
		"no type":             {`{"keys":[{}]}`, 0},
		"huge":                {`{"keys":[` + good + `],"x":"` + strings.Repeat("x", MaxJWKSLength) + `"}`, 0},
		"many":                {`{"keys":[` + good + strings.Repeat(`,`+secret, maxJWKSKeys) + `]}`, 0},
		"a private key":       {`{"keys":[` + strings.Replace(good, `"kty"`, fmt.Sprintf(`"d":%q,"kty"`, strings.Repeat("A", 43)), 1) + `]}`, 0},
	} {
		ring, err := ParseJWKS([]byte(test.set))
		if (err == nil) != (test.keys > 0) || err == nil && (len(ring.byID) != test.keys || ring.secret.algorithm != "") {
			t.Errorf("%s: %+v, %v", name, ring, err)
		}
		if err != nil && strings.Contains(err.Error(), string(private)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzJWKS(f *testing.F) {
	key, err := GenerateKey(ES256)
	must(f, err)
	f.Add([]byte(`{"keys":[` + string(key.PublicJWK()) + `]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, set []byte) {
		ring, err := ParseJWKS(set)
		if err != nil {
			return
		}
		again, err := ParseJWKS(ring.JWKS())
		if err != nil || string(again.JWKS()) != string(ring.JWKS()) || ring.signing.CanSign() {
			t.Errorf("%s: %v", set, err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
