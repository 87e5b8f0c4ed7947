package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
)

const (
	// publicKeyID is the id of the key for hashes without a pepper. That key is no secret. It only
	// keeps bcrypt from cutting passwords at 72 bytes.
	publicKeyID = "0"
	publicKey   = "gatehouse password key 0: public, not a secret"

	minPepperBytes = 32
)

// A KeyRing holds the keys that passwords go through before bcrypt. New hashes use the current key.
// The others verify older hashes.
type KeyRing struct {
	keys []key // the current one first
}

// A KeyRecord names a key without giving it away. Replicas compare records through the database. So
// none runs with another key under the same id, or without a key that stored hashes need.
type KeyRecord struct {
	ID    string // 1 to 16 lower-case hexadecimal digits
	Check []byte // 32 bytes
}

type key struct {
	id string
	// mac is HMAC-SHA-256 with the secret. A function holds the secret, so that printing a ring
	// cannot show it.
	mac func(message string) []byte
}

// NewKeyRing makes a ring of the peppers, the current one first, and of the public key "0". Without
// a pepper, that key is the current one. A pepper that is shorter than 32 bytes or is given twice
// is an error. The error tells its place, counted from 1, and not its value.
func NewKeyRing(peppers [][]byte) (*KeyRing, error) {
	var keys []key
	for i, pepper := range peppers {
		if len(pepper) < minPepperBytes {
			return nil, fmt.Errorf("pepper %d has %d bytes, needs at least %d", i+1, len(pepper), minPepperBytes)
		}
		k := pepperKey(pepper)
		if at := slices.IndexFunc(keys, func(other key) bool { return other.id == k.id }); at >= 0 {
			return nil, fmt.Errorf("peppers %d and %d are the same, or share the id %s", at+1, i+1, k.id)
		}
		keys = append(keys, k)
	}
	return &KeyRing{keys: append(keys, key{id: publicKeyID, mac: macUnder([]byte(publicKey))})}, nil
}

func pepperKey(pepper []byte) key {
	mac := macUnder(pepper)
	return key{id: hex.EncodeToString(mac("gatehouse password key id"))[:8], mac: mac}
}

func macUnder(secret []byte) func(message string) []byte {
	secret = slices.Clone(secret)
	return func(message string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(message))
		return h.Sum(nil)
	}
}

// Records lists the keys, the current one first.
func (r *KeyRing) Records() []KeyRecord {
	records := make([]KeyRecord, len(r.keys))
	for i, k := range r.keys {
		records[i] = k.record()
	}
	return records
}

// Current is the record of the key that new hashes use.
func (r *KeyRing) Current() KeyRecord {
	return r.current().record()
}

func (r *KeyRing) current() key {
	return r.keys[0]
}

func (r *KeyRing) find(id string) (key, error) {
	i := slices.IndexFunc(r.keys, func(k key) bool { return k.id == id })
	if i < 0 {
		return key{}, fmt.Errorf("its key %s is not in the ring", id)
	}
	return r.keys[i], nil
}

func (k key) record() KeyRecord {
	return KeyRecord{ID: k.id, Check: k.mac("gatehouse password key check")}
}

// digest is what bcrypt gets in place of the password. It has 44 bytes, which are within bcrypt's
// 72. It is base64, because many a bcrypt stops at a zero byte.
func (k key) digest(password string) []byte {
	return base64.StdEncoding.AppendEncode(nil, k.mac(password))
}
