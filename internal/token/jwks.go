package token

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxJWKSLength is the length in bytes of the longest key set that is read.
	MaxJWKSLength = 64 << 10

	maxJWKSKeys = 64
)

// ParseJWKS reads a JWK Set, as [KeySet] writes it, into a ring that verifies access tokens with
// its keys and with others that are given. It is an error if the text is no JWK Set or a key in it
// is malformed. Keys of unknown types are left out (RFC 7517 §5), and keys of ID tokens are too.
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
		wanted, err := isForAccessTokens(jwk)
		if err != nil {
			return nil, err
		}
		if !wanted {
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

// isForAccessTokens is false for keys of ID tokens, and for unknown types. It is false for secrets
// too (oct): anybody can fetch a key set, so a secret in it is none.
func isForAccessTokens(jwk []byte) (bool, error) {
	var key struct {
		Type string `json:"kty"`
		Use  string `json:"gatehouse_use"`
	}
	if err := json.Unmarshal(jwk, &key); err != nil || key.Type == "" {
		return false, errors.New("token: a key without kty")
	}
	switch key.Type {
	case "EC", "OKP", "RSA":
		return key.Use == "", nil
	}
	return false, nil
}
