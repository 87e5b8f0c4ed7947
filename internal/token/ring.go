package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// ErrUnknownKey, beside ErrInvalid, means that a token names a key that is not in the ring: whoever has an older ring than
// the issuer may look for a newer one.
var ErrUnknownKey = errors.New("token: unknown key")

// Ring is the keys of a moment: one signs, all verify. It is never changed.
type Ring struct {
	signing  Key            // the zero one: the ring verifies
	byHeader map[string]Key // of an access token, in base64url
	byID     map[string]Key // without the secret
	secret   Key            // the zero one: no token of HS256 is accepted
	methods  []string       // that are looked at; of HS256 only with a secret
	jwks     []byte
}

// NewRing makes a ring in which the first key signs. An error means that it cannot.
func NewRing(signing Key, others ...Key) (*Ring, error) {
	if !signing.CanSign() {
		return nil, errors.New("token: no signing key")
	}
	r, err := NewVerifyingRing(append([]Key{signing}, others...)...)
	if err != nil {
		return nil, err
	}
	r.signing = signing
	return r, nil
}

// SecretRing is a ring of the secrets of HS256.
func SecretRing(secrets [][]byte) (*Ring, error) {
	key, err := SecretKey(secrets)
	if err != nil {
		return nil, err
	}
	return NewRing(key)
}

// NewVerifyingRing makes a ring that signs nothing. A key that is there twice, as the secret may be, counts once;
// another list of secrets beside the first is an error.
func NewVerifyingRing(keys ...Key) (*Ring, error) {
	// All that a kid may belong to, so that one of an algorithm that is new here is an unknown key too.
	r := &Ring{byHeader: map[string]Key{}, byID: map[string]Key{}, methods: []string{string(ES256), string(EdDSA), string(RS256)}}
	for _, k := range keys {
		if k.algorithm == "" {
			return nil, errors.New("token: a ring of no key")
		}
		if k.algorithm == HS256 && r.secret.CanSign() && !r.secret.same(k) {
			return nil, errors.New("token: two lists of secrets, of which tokens do not tell whose they are")
		}
		r.byHeader[k.header] = k
		if k.algorithm == HS256 {
			r.secret = k
			r.methods = append(r.methods, string(HS256))
		} else {
			r.byID[k.id] = k
		}
	}
	r.jwks = jwksOf(r.byID)
	return r, nil
}

// jwksOf is a JWK Set (RFC 7517 §5), the same text for the same keys.
func jwksOf(keys map[string]Key) []byte {
	var members []string
	for _, k := range keys {
		members = append(members, string(k.jwk))
	}
	slices.Sort(members)
	return []byte(`{"keys":[` + strings.Join(members, ",") + `]}`)
}

// Format shows the public keys and nothing of the others, by any verb.
func (r Ring) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "ring %s", r.jwks) }

// JWKS are the public keys as a JWK Set.
func (r *Ring) JWKS() []byte { return r.jwks }

// HasPublicKeys is false for a ring of a secret alone.
func (r *Ring) HasPublicKeys() bool { return len(r.byID) > 0 }

// lacks tells whether another ring has a key that this one has not.
func (r *Ring) lacks(other *Ring) bool {
	for header, k := range other.byHeader {
		if mine, ok := r.byHeader[header]; !ok || !mine.same(k) {
			return true
		}
	}
	return false
}

// keyFor finds the key of a token by its header: that of HS256, or the one that it names, if that is for the algorithm. Where
// a header offers keys of its own (jwk, jku, x5c, x5u; RFC 8725 §3.10), they are nobody's.
func (r *Ring) keyFor(t *jwt.Token) (any, error) {
	algorithm := Algorithm(t.Method.Alg())
	if algorithm == HS256 {
		return r.secret.verification(), nil // it is in the ring: else the method was refused before
	}
	id, ok := t.Header["kid"].(string)
	if !ok {
		return nil, errors.New("no kid")
	}
	key, ok := r.byID[id]
	switch {
	case !ok:
		return nil, ErrUnknownKey
	case key.algorithm != algorithm:
		return nil, fmt.Errorf("the key is for %s", key.algorithm)
	}
	return key.verification(), nil
}
