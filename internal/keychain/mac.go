package keychain

import (
	"crypto/hmac"
	"crypto/sha256"
)

// MACs makes and verifies message authentication codes (HMAC-SHA-256) with the keys of one purpose.
type MACs struct {
	unprintable
	keys keys
}

// MACs returns the MACs of a purpose.
func (k *Keychain) MACs(p Purpose) MACs { return MACs{keys: k.of(p)} }

// Make returns the code of a message under the newest key. The message is given in parts. The code
// is that of all parts in a row, and does not depend on where one ends.
func (m MACs) Make(parts ...[]byte) []byte { return mac(m.keys()[0], parts) }

// Each returns the codes of a message under all keys, beginning with the newest.
func (m MACs) Each(parts ...[]byte) [][]byte {
	var codes [][]byte
	for _, key := range m.keys() {
		codes = append(codes, mac(key, parts))
	}
	return codes
}

// Verify reports whether a code of a message was made with any of the keys.
func (m MACs) Verify(code []byte, parts ...[]byte) bool {
	for _, key := range m.keys() {
		if hmac.Equal(code, mac(key, parts)) {
			return true
		}
	}
	return false
}

func mac(key []byte, parts [][]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}
