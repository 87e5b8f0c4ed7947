package token

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxJWKSLength bounds the key sets that are looked at, in bytes.
	MaxJWKSLength = 64 << 10

	maxJWKSKeys = 64
)

// ParseJWKS reads a JWK Set, as Ring.JWKS writes it, into a ring that verifies by its keys and by no secret. It is an error if
// there is no key in it, or one that is malformed. Keys of other types are left out (RFC 7517 §5).
func ParseJWKS(set []byte) (*Ring, error) {
	if len(set) > MaxJWKSLength {
		return nil, fmt.Errorf("token: a key set longer than %d bytes", MaxJWKSLength)
	}
	var read struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(set, &read); err != nil {
		return nil, fmt.Errorf("token: malformed key set: %w", err)
	}
	if len(read.Keys) > maxJWKSKeys {
		return nil, fmt.Errorf("token: a key set of more than %d keys", maxJWKSKeys)
	}
	var keys []Key
	for _, jwk := range read.Keys {
		known, err := isKnownType(jwk)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		key, err := ParsePublicKey(jwk)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("token: no public key in the key set")
	}
	return NewVerifyingRing(keys...)
}

// isKnownType is false for a secret too (oct): what anybody can fetch signs nothing.
func isKnownType(jwk []byte) (bool, error) {
	var key struct {
		Type string `json:"kty"`
	}
	if err := json.Unmarshal(jwk, &key); err != nil || key.Type == "" {
		return false, errors.New("token: a key without kty")
	}
	switch key.Type {
	case "EC", "OKP", "RSA":
		return true, nil
	}
	return false, nil
}
