package token

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

const sealLabel = "gatehouse signing keys"

// ErrUnsealed means that none of the secrets opens what was sealed, or that it was sealed for something else.
var ErrUnsealed = errors.New("token: sealed with another secret")

// Sealer encrypts the private keys of access tokens for the database: AES-256-GCM under keys that are derived from the
// secrets (RFC 5869), so that whoever reads the database alone can sign nothing.
type Sealer struct{ keys []cipher.AEAD }

// NewSealer takes the secrets of Settings: the first seals, all of them open.
func NewSealer(secrets [][]byte) (*Sealer, error) {
	derived, err := derive(secrets, sealLabel)
	if err != nil {
		return nil, err
	}
	s := &Sealer{}
	for _, key := range derived {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("token: seal: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("token: seal: %w", err)
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// Seal encrypts what belongs to a name, under which alone it can be opened.
func (s *Sealer) Seal(name string, plain []byte) []byte {
	return s.keys[0].Seal(nil, nil, plain, []byte(name))
}

// Open undoes Seal, and tells whether another secret than the first was needed. ErrUnsealed.
func (s *Sealer) Open(name string, sealed []byte) (plain []byte, outdated bool, err error) {
	for n, key := range s.keys {
		if plain, err := key.Open(nil, nil, sealed, []byte(name)); err == nil {
			return plain, n > 0, nil
		}
	}
	return nil, false, ErrUnsealed
}
