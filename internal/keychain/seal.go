package keychain

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
)

// ErrUnsealed means that none of the keys opens what was sealed, or that it was sealed under
// another name.
var ErrUnsealed = errors.New("sealed with another secret")

// Sealer encrypts with the keys of one purpose (AES-256-GCM).
type Sealer struct {
	unprintable
	ciphers func() []cipher.AEAD // a function, as keys is
}

// Sealer returns the Sealer of a purpose.
func (k *Keychain) Sealer(p Purpose) Sealer {
	var ciphers []cipher.AEAD
	for _, key := range k.of(p)() {
		ciphers = append(ciphers, newCipher(key))
	}
	return Sealer{ciphers: func() []cipher.AEAD { return ciphers }}
}

func newCipher(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	sealing, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the cipher is AES
	}
	return sealing
}

// Seal encrypts with the newest key. The result can be opened only under the same name.
func (s Sealer) Seal(name string, plain []byte) []byte {
	return s.ciphers()[0].Seal(nil, nil, plain, []byte(name))
}

// Open returns what [Sealer.Seal] was given. It is outdated if it was sealed with another key than
// the newest. Errors: [ErrUnsealed].
func (s Sealer) Open(name string, sealed []byte) (plain []byte, outdated bool, err error) {
	for n, key := range s.ciphers() {
		if plain, err := key.Open(nil, nil, sealed, []byte(name)); err == nil {
			return plain, n > 0, nil
		}
	}
	return nil, false, ErrUnsealed
}
