package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/golang-jwt/jwt/v5"
)

// vectorFile is what is used of Project Wycheproof's files on JSON Web Signatures and Keys.
type vectorFile struct {
	NumberOfTests int          `json:"numberOfTests"`
	Groups        []vectorSets `json:"testGroups"`
}

type vectorSets struct {
	Comment string          `json:"comment"`
	Public  json.RawMessage `json:"public"`
	Private json.RawMessage `json:"private"`
	Tests   []struct {
		ID      int    `json:"tcId"`
		Comment string `json:"comment"`
		JWS     any    `json:"jws"`
		Result  string `json:"result"`
	} `json:"tests"`
}

func vectors(t *testing.T, name string) vectorFile {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// refusedAlthoughValid are the vectors that are right by RFC 7515, and are refused all the same.
func refusedAlthoughValid() map[int]string {
	why := map[int]string{372: "a character beyond base64url in the header", 373: "a character beyond base64url in the payload"}
	for reason, numbers := range map[string][]int{
		"RS384": {264, 265, 266, 267}, "RS512": {268, 269, 270, 271}, "PS256": {272, 273, 274, 275, 287, 288},
		"PS384": {320, 321, 322, 323}, "PS512": {325, 326, 327, 328}, "PS384 by a key for PS256": {346, 350}, "ES512": {347, 351},
	} {
		for _, n := range numbers {
			why[n] = reason
		}
	}
	return why
}

// twins are vectors that lost the padding which they are about: their text is that of another
// vector, which is valid.
func twins() map[int]int { return map[int]int{367: 357, 370: 357} }

// wantVerdicts holds a vector's verdict against that of the ring, which err explains where there is
// none.
func (g vectorSets) wantVerdicts(t *testing.T, ring *Ring, errRing error, refused map[int]string) (seen int) {
	t.Helper()
	for _, v := range g.Tests {
		raw, isText := v.JWS.(string)
		err := errRing
		if err == nil {
			err = signatureOf(ring, raw)
		}
		_, isRefused := refused[v.ID]
		if want := v.Result == "valid" && !isRefused; (err == nil) != want || !isText {
			t.Errorf("%d (%s, %s): %v, and it is %s", v.ID, g.Comment, v.Comment, err, v.Result)
		}
		delete(refused, v.ID)
		seen++
	}
	return seen
}

// signatureOf goes the way of a live token through a ring. The vectors' payloads are not claims,
// which are read after it.
func signatureOf(r *Ring, raw string) error {
	if !isCompact(raw) {
		return errors.New("not compact")
	}
	token, parts, _ := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(raw, jwt.MapClaims{})
	if token == nil || token.Method == nil && !readHeader(token, parts) || !slices.Contains(r.methods, token.Method.Alg()) {
		return errors.New("a header without an algorithm of the ring")
	}
	if _, err := r.keyFor(token); err != nil {
		return err
	}
	key := r.secret
	if token.Method.Alg() != string(HS256) {
		key = r.byID[token.Header["kid"].(string)]
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return err
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(parts[1]); err != nil {
		return err
	}
	if !key.verifies(parts[0]+"."+parts[1], signature) {
		return errors.New("another signature")
	}
	return nil
}

// readHeader finds the method, which golang-jwt does after it has read the claims.
func readHeader(t *jwt.Token, parts []string) bool {
	name, _ := t.Header["alg"].(string)
	t.Method = jwt.GetSigningMethod(name)
	return len(parts) == 3 && t.Method != nil
}

// ringOfVector reads a group's keys as ParsePublicKey and SecretKey do. The vectors name keys as
// they like, and leave away the use: a kid becomes the thumbprint while the key is read, and "use"
// is sig where there are only alg and key_ops.
func ringOfVector(jwks []byte) (*Ring, error) {
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(jwks, &set); err != nil || set.Keys == nil {
		set.Keys = make([]map[string]any, 1)
		if err := json.Unmarshal(jwks, &set.Keys[0]); err != nil {
			return nil, err
		}
	}
	var keys []Key
	var secrets [][]byte
	for _, jwk := range set.Keys {
		if jwk["kty"] == "oct" {
			if jwk["alg"] != "HS256" {
				return nil, errors.New("a secret that is not for HS256")
			}
			secret, err := base64.RawURLEncoding.DecodeString(jwk["k"].(string))
			if err != nil {
				return nil, err
			}
			secrets = append(secrets, secret)
			continue
		}
		key, err := keyOfVector(jwk)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if secrets != nil {
		key, err := SecretKey(secrets)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return NewVerifyingRing(keys...)
}

func keyOfVector(jwk map[string]any) (Key, error) {
	kid, _ := jwk["kid"].(string)
	if _, has := jwk["use"]; !has && jwk["alg"] != nil {
		jwk["use"] = "sig"
	}
	read := func() (Key, error) {
		text, err := json.Marshal(jwk)
		if err != nil {
			return Key{}, err
		}
		if parsed, err := parseJWK(text); err == nil {
			if key, err := newKey(nil, parsed.Key); err == nil {
				jwk["kid"] = key.id
			}
		}
		if text, err = json.Marshal(jwk); err != nil {
			return Key{}, err
		}
		return ParsePublicKey(text)
	}
	key, err := read()
	key.id = kid
	return key, err
}

func (g vectorSets) keys() json.RawMessage {
	if g.Public != nil {
		return g.Public
	}
	return g.Private
}

func TestWycheproofsSignaturesGetTheVerdictThatTheyShould(t *testing.T) {
	t.Parallel()
	file, refused, seen := vectors(t, "json_web_signature_test.json"), refusedAlthoughValid(), 0
	texts := map[int]any{}
	for _, g := range file.Groups {
		for n, v := range g.Tests {
			texts[v.ID] = v.JWS
			if twin, ok := twins()[v.ID]; ok {
				if v.JWS != texts[twin] {
					t.Errorf("%d is no longer the same as %d", v.ID, twin)
				}
				g.Tests[n].Result = "valid"
			}
		}
		ring, err := ringOfVector(g.keys())
		seen += g.wantVerdicts(t, ring, err, refused)
	}
	if seen != file.NumberOfTests || len(refused) > 0 {
		t.Errorf("%d vectors of %d; not among them: %v", seen, file.NumberOfTests, refused)
	}
}

func TestWycheproofsBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	file, seen := vectors(t, "json_web_key_test.json"), 0
	notApplicable := map[int]string{
		1: "a secret beside public keys: while ALGORITHM changes a ring has both, each for its own algorithm",
		4: "two secrets under one kid: secrets have none here, and all of them are tried",
		7: "a key made by a chip with CVE-2017-15361: keys are made here, by crypto/rsa, and no others are read in",
	}
	refused := map[int]string{14: "HS384", 15: "HS512"}
	for _, g := range file.Groups {
		if _, ok := notApplicable[g.Tests[0].ID]; ok {
			seen += len(g.Tests)
			delete(notApplicable, g.Tests[0].ID)
			continue
		}
		ring, err := ringOfVector(g.keys())
		seen += g.wantVerdicts(t, ring, err, refused)
	}
	if seen != file.NumberOfTests || len(refused)+len(notApplicable) > 0 {
		t.Errorf("%d vectors of %d; not among them: %v %v", seen, file.NumberOfTests, refused, notApplicable)
	}
}
