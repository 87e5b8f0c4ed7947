package token

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof" // attacks on JOSE libraries that others have collected
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

type wycheproofGroup struct {
	Comment         string
	Private, Public json.RawMessage
	Tests           []struct {
		TcID    int
		Comment string
		JWS     json.RawMessage
		Result  string
	}
}

func wycheproofGroups(t *testing.T, file string) []wycheproofGroup {
	t.Helper()
	raw, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ TestGroups []wycheproofGroup }
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all.TestGroups
}

// keys are those that the signatures are to be checked with: the public half where there is one.
func (g wycheproofGroup) keys(t *testing.T) []json.RawMessage {
	t.Helper()
	source := g.Public
	if source == nil {
		source = g.Private
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(source, &set); err != nil {
		t.Fatal(err)
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{source}
	}
	return set.Keys
}

var errOurs = errors.New("nothing that we would take")

// vectorKey reads a key as ParsePublicKey does, but under the kid that the vectors have for it, and the secrets that they have.
func vectorKey(raw json.RawMessage) (Key, string, error) {
	var says struct{ Kty, Kid, Alg, Use, K string }
	if err := json.Unmarshal(raw, &says); err != nil {
		return Key{}, "", err
	}
	if says.Alg != "HS256" && says.Alg != "ES256" && says.Alg != "RS256" || says.Use != "sig" && says.Use != "" {
		return Key{}, "", errOurs
	}
	if says.Kty == "oct" {
		if _, err := ParsePublicKey(raw); err == nil {
			return Key{}, "", errors.New("a secret passes for a public key")
		}
		secret, err := base64.RawURLEncoding.DecodeString(says.K)
		if err != nil {
			return Key{}, "", err
		}
		k, err := SecretKey([][]byte{secret})
		return k, says.Kid, err
	}
	parsed, err := parseJWK(raw)
	if err != nil {
		var private jose.JSONWebKey // some groups have no public half
		if private.UnmarshalJSON(raw) != nil || private.IsPublic() || !private.Valid() {
			return Key{}, "", err
		}
		parsed = private.Public()
	}
	k, err := newKey(nil, parsed.Key)
	if err == nil && string(k.algorithm) != says.Alg {
		err = errOurs
	}
	return k, says.Kid, err
}

// accepts runs a vector through what decides on live tokens: the alphabet, the algorithms of the ring, the key for the header,
// and the signature. Vectors are no access tokens: their typ and claims are not looked at.
func (r *Ring) accepts(raw, onlyID string) bool {
	if !isCompact(raw) {
		return false
	}
	parts := strings.Split(raw, ".")
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	t := &jwt.Token{}
	if err != nil || json.Unmarshal(decoded, &t.Header) != nil {
		return false
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(parts[1]); err != nil {
		return false
	}
	alg, _ := t.Header["alg"].(string)
	if t.Method = jwt.GetSigningMethod(alg); t.Method == nil || !slices.Contains(r.methods, alg) {
		return false
	}
	if _, named := t.Header["kid"]; !named {
		t.Header["kid"] = onlyID
	}
	if _, err := r.keyFor(t); err != nil {
		return false
	}
	key := r.secret
	if alg != "HS256" {
		key = r.byID[t.Header["kid"].(string)]
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	return err == nil && key.verifies(parts[0]+"."+parts[1], signature)
}

// notOurs are vectors that we answer in another way than they want, and why.
func notOurs(file string, id int) string {
	switch {
	case file == "json_web_key_test.json" && id == 1:
		return "a set of secrets and public keys, which no code here reads"
	case file == "json_web_key_test.json" && id == 4:
		return "two keys under one kid: the kid of ours is their thumbprint"
	case file == "json_web_key_test.json" && id == 7, file == "json_web_crypto_test.json" && id == 46:
		return "an RSA key of a broken smart card: keys are made here alone"
	case file == "json_web_crypto_test.json" && id == 47:
		return "as 1 of the keys"
	case file == "json_web_signature_test.json" && (id == 367 || id == 370):
		return "to the letter the valid vector 357: the padding that it tells of was lost"
	case file == "json_web_signature_test.json" && (id == 372 || id == 373):
		return "a character that is not base64url: we refuse it, they let it pass"
	}
	return ""
}

func TestWycheproofsForgeriesAreRefused(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		checked, valid := 0, 0
		for _, g := range wycheproofGroups(t, file) {
			ring := &Ring{byHeader: map[string]Key{}, byID: map[string]Key{}}
			var refused error
			id := ""
			for _, raw := range g.keys(t) {
				k, kid, err := vectorKey(raw)
				refused = errors.Join(refused, err)
				if id = kid; k.algorithm == HS256 {
					ring.secret = Key{algorithm: HS256, secrets: append(ring.secret.secrets, k.secrets...)}
				} else {
					ring.byID[kid] = k
				}
				ring.methods = append(ring.methods, string(k.algorithm))
			}
			for _, v := range g.Tests {
				if v.JWS == nil || notOurs(file, v.TcID) != "" {
					continue // without one it is about encryption
				}
				var raw string
				compact := json.Unmarshal(v.JWS, &raw) == nil // else it is the JSON serialization, which a header cannot hold
				name := fmt.Sprintf("%s %d %s: %s", file, v.TcID, g.Comment, v.Comment)
				got := refused == nil && compact && ring.accepts(raw, id)
				switch {
				case got && v.Result != "valid":
					t.Errorf("%s is accepted", name)
				case !got && v.Result == "valid" && !errors.Is(refused, errOurs):
					t.Errorf("%s is refused: %v", name, refused)
				case got:
					valid++
				}
				checked++
			}
		}
		if checked < 20 || valid < 3 {
			t.Errorf("%s: only %d vectors, %d of them good ones", file, checked, valid)
		}
	}
}

// The example of RFC 7638 §3.1.
func TestAKeyIsNamedByItsThumbprint(t *testing.T) {
	t.Parallel()
	const jwk = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	parsed, err := parseJWK([]byte(jwk))
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKey(nil, parsed.Key)
	if err != nil || k.ID() != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("%s, %v", k.ID(), err)
	}
	var signer crypto.Signer = k.private
	if signer != nil || k.CanSign() {
		t.Error("a public half signs")
	}
}
