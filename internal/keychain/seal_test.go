package keychain

import (
	"bytes"
	"errors"
	"testing"
)

func TestASealedKeyOpensUnderItsNameAndSecretAlone(t *testing.T) {
	t.Parallel()
	old, current := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("c"), 32)
	sealer := func(secrets ...[]byte) Sealer {
		return keychainOf(t, secrets...).Sealer(SigningKeys)
	}
	plain := []byte("a private key")
	sealed := sealer(old).Seal("kid", plain)
	if bytes.Contains(sealed, plain) || bytes.Equal(sealed, sealer(old).Seal("kid", plain)) {
		t.Error("it can be read, or two are alike")
	}
	if got, outdated, err := sealer(old).Open("kid", sealed); err != nil || outdated ||
		!bytes.Equal(got, plain) {
		t.Errorf("%q, %t, %v", got, outdated, err)
	}
	if got, outdated, err := sealer(current, old).Open("kid", sealed); err != nil || !outdated ||
		!bytes.Equal(got, plain) {
		t.Errorf("behind a new secret: %q, %t, %v", got, outdated, err)
	}
	for what, open := range map[string]func() ([]byte, bool, error){
		"another secret": func() ([]byte, bool, error) {
			return sealer(current).Open("kid", sealed)
		},
		"another purpose": func() ([]byte, bool, error) {
			return keychainOf(t, old).Sealer(Cursors).Open("kid", sealed)
		},
		"another name": func() ([]byte, bool, error) { return sealer(old).Open("other", sealed) },
		"nothing":      func() ([]byte, bool, error) { return sealer(old).Open("kid", nil) },
		"a part": func() ([]byte, bool, error) {
			return sealer(old).Open("kid", sealed[:len(sealed)-1])
		},
	} {
		if got, _, err := open(); !errors.Is(err, ErrUnsealed) || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	for n := range sealed {
		changed := bytes.Clone(sealed)
		changed[n] ^= 1
		if _, _, err := sealer(old).Open("kid", changed); !errors.Is(err, ErrUnsealed) {
			t.Errorf("with byte %d changed: %v", n, err)
		}
	}
}
