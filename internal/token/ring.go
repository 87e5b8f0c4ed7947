package token

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// ErrUnknownKey comes together with [ErrInvalid]. It means that a token names a key that is not in
// the ring. Whoever has an older ring than the issuer may look for a newer one.
var ErrUnknownKey = errors.New("token: unknown key")

// Ring has the keys of one moment. One of them signs, and all of them verify. A Ring never changes.
type Ring struct {
	signing  Key            // the zero one: the ring verifies
	byHeader map[string]Key // of an access token, in base64url
	byID     map[string]Key // without the secret
	secret   Key            // the zero one: no token of HS256 is accepted
	methods  []string       // that are looked at; of HS256 only with a secret
	members  []string       // of the key set
}

// NewRing makes a ring in which the first key signs. It is an error if that key cannot sign.
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

// SecretRing is a ring with the secrets of HS256 alone.
func SecretRing(secrets [][]byte) (*Ring, error) {
	key, err := SecretKey(secrets)
	if err != nil {
		return nil, err
	}
	return NewRing(key)
}

// NewVerifyingRing makes a ring that signs nothing. A key that is given twice counts once, as the
// secret may be. Two different lists of secrets are an error.
func NewVerifyingRing(keys ...Key) (*Ring, error) {
	// The list has every algorithm with a kid, also those of which there is no key here. So a token
	// of such an algorithm has an unknown key, and no unknown method.
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
	for _, k := range r.byID {
		r.members = append(r.members, string(k.jwk))
	}
	return r, nil
}

// jwksOf is a JWK Set (RFC 7517 §5) of kinds of keys, one kind after the other. The same keys make
// the same text.
func jwksOf(kinds ...[]string) []byte {
	var members []string
	for _, kind := range kinds {
		members = append(members, slices.Sorted(slices.Values(kind))...)
	}
	return []byte(`{"keys":[` + strings.Join(members, ",") + `]}`)
}

// Format prints the public keys, and nothing of the others with any verb.
func (r Ring) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "ring %s", r.JWKS()) }

// JWKS are the public keys as a JWK Set.
func (r *Ring) JWKS() []byte { return jwksOf(r.members) }

// HasPublicKeys is false for a ring that has only a secret.
func (r *Ring) HasPublicKeys() bool { return len(r.byID) > 0 }

// Algorithms are those of the keys, in alphabetical order.
func (r *Ring) Algorithms() []string {
	all := map[string]bool{}
	for _, k := range r.byHeader {
		all[string(k.algorithm)] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// WithSecrets is a ring that verifies with the public keys of this ring and with other secrets,
// which may be none.
func (r *Ring) WithSecrets(secrets ...Key) (*Ring, error) {
	return NewVerifyingRing(slices.AppendSeq(slices.Clone(secrets), maps.Values(r.byID))...)
}

// SignsBySecret is true if HS256 signs tokens.
func (r *Ring) SignsBySecret() bool { return r.signing.algorithm == HS256 && r.signing.CanSign() }

// lacks tells whether another ring has a key that this ring does not have.
func (r *Ring) lacks(other *Ring) bool {
	for header, k := range other.byHeader {
		if mine, ok := r.byHeader[header]; !ok || !mine.same(k) {
			return true
		}
	}
	return false
}

// keyFor finds the key of a token by its header. It is the secret for HS256, and else the key that
// the header names, if that key is of the algorithm. Keys that the header itself brings (jwk, jku,
// x5c, x5u) are ignored (RFC 8725 §3.10).
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
