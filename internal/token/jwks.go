package token

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxJWKSLength bounds the key sets that are looked at, in bytes.
	MaxJWKSLength = 64 << 10

	maxJWKSKeys = 64
)

// ParseJWKS reads a JWK Set, as Ring.JWKS writes it, into a ring that verifies by its keys and by those that one has oneself. It
// is an error if that is none, or if one is malformed. Keys of other types are left out (RFC 7517 §5).
func ParseJWKS(set []byte, own ...Key) (*Ring, error) {
	if len(set) > MaxJWKSLength {
		return nil, fmt.Errorf("token: a key set longer than %d bytes", MaxJWKSLength)
	}
	var read struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(set, &read); err != nil {
		return nil, fmt.Errorf("token: malformed key set: %w", err)
	}
	if read.Keys == nil {
		return nil, errors.New("token: not a key set")
	}
	if len(read.Keys) > maxJWKSKeys {
		return nil, fmt.Errorf("token: a key set of more than %d keys", maxJWKSKeys)
	}
	keys := slices.Clone(own)
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
