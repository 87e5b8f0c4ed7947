package auth

import (
	"cmp"
	"slices"

	"gatehouse.example/internal/token"
)

// KeyUse is what a signing key signs.
type KeyUse string

// Uses.
const (
	KeyForAccess KeyUse = "access" // access tokens
	KeyForID     KeyUse = "id"     // ID tokens and logout tokens
)

// KeyRing names the keys that take over from each other: one of them signs. Each ring goes through
// its states on its own. The zero KeyRing has no keys.
type KeyRing struct {
	use KeyUse
	// algorithm is that of each key. It is empty for access tokens: there a key of another
	// algorithm may take over.
	algorithm token.Algorithm
}

// AccessRing has the keys of access tokens.
func AccessRing() KeyRing { return KeyRing{use: KeyForAccess} }

// IDRing has the keys of ID tokens of an algorithm: a client is registered with one.
func IDRing(algorithm token.Algorithm) KeyRing { return KeyRing{KeyForID, algorithm} }

// RingsFor returns the rings for a use.
func RingsFor(use KeyUse) (rings []KeyRing) {
	for _, r := range allRings() {
		if r.use == use {
			rings = append(rings, r)
		}
	}
	return rings
}

// allRings are the rings of an installation, that of access tokens first.
func allRings() []KeyRing {
	rings := []KeyRing{AccessRing()}
	for _, algorithm := range token.IDAlgorithms() {
		rings = append(rings, IDRing(algorithm))
	}
	return rings
}

// Ring is the ring to which a key belongs.
func (k SigningKey) Ring() KeyRing {
	if k.Use == KeyForID {
		return IDRing(k.Algorithm)
	}
	return KeyRing{use: k.Use}
}

// of returns those of the keys that belong to the ring.
func (r KeyRing) of(keys []SigningKey) []SigningKey {
	return slices.DeleteFunc(slices.Clone(keys), func(k SigningKey) bool { return k.Ring() != r })
}

// newAlgorithm is that of the ring's next key, where new keys of access tokens have an algorithm.
func (r KeyRing) newAlgorithm(ofAccess token.Algorithm) token.Algorithm {
	return cmp.Or(r.algorithm, ofAccess)
}

// ringWith returns the ring of a key. Errors: [ErrKeyNotFound].
func ringWith(keys []SigningKey, id string) (KeyRing, error) {
	n := slices.IndexFunc(keys, func(k SigningKey) bool { return k.ID == id })
	if n < 0 {
		return KeyRing{}, ErrKeyNotFound
	}
	return keys[n].Ring(), nil
}

// complete reports whether each ring has a key that signs.
func complete(keys []SigningKey) bool {
	return !slices.ContainsFunc(allRings(), func(r KeyRing) bool {
		_, signs := find(r.of(keys), KeyActive)
		return !signs
	})
}
