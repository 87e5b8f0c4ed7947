package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

const verifierShards = 64

// Verifier is an Issuer's Verify that remembers the tokens which have passed it, so that a token which comes with each
// request of a user is parsed and verified once. It is safe for use by many goroutines.
//
// What it remembers is that a token was signed here: as good for as long as the key stays in the ring of the Issuer. That it
// has not expired is looked at each time. Whether it was revoked is no more its business than the Issuer's, and is to be asked
// each time after it.
type Verifier struct {
	issuer *Issuer
	// perGeneration bounds the tokens in half a shard.
	perGeneration int
	shards        [verifierShards]verifierShard
}

// verifierShard keeps two generations: when the young one is full, it becomes the old one, and what was in that and has
// not been asked for since is forgotten.
type verifierShard struct {
	mu         sync.RWMutex
	losses     uint64 // of the Issuer, when what is here was verified
	young, old map[digest]*Access
}

// digest stands for a token, so that a dump of the memory gives none away.
type digest = [sha256.Size]byte

// NewVerifier remembers at most size tokens, and none at all for a size under 128.
func NewVerifier(issuer *Issuer, size int) *Verifier {
	return &Verifier{issuer: issuer, perGeneration: size / (2 * verifierShards)}
}

// Verify is that of Issuer.
func (v *Verifier) Verify(now time.Time, raw string) (Access, error) {
	if v.perGeneration == 0 || len(raw) > MaxLength {
		return v.issuer.Verify(now, raw)
	}
	var buffer [MaxLength]byte // else the conversion would allocate
	key := sha256.Sum256(buffer[:copy(buffer[:], raw)])
	shard := &v.shards[key[0]%verifierShards]
	losses := v.issuer.losses.Load() // before the ring is looked at: so what it loses meanwhile is forgotten
	if known := shard.get(key, losses, v.perGeneration); known != nil && now.Before(known.Expires.Add(Leeway)) {
		return *known, nil
	}
	access, err := v.issuer.Verify(now, raw)
	if err != nil {
		return Access{}, err
	}
	shard.put(key, &access, losses, v.perGeneration)
	return access, nil
}

// Len is the number of tokens that are remembered.
func (v *Verifier) Len() int {
	total := 0
	for n := range v.shards {
		s := &v.shards[n]
		s.mu.RLock()
		total += len(s.young) + len(s.old)
		s.mu.RUnlock()
	}
	return total
}

func (s *verifierShard) get(key digest, losses uint64, perGeneration int) *Access {
	s.mu.RLock()
	if s.losses != losses {
		s.mu.RUnlock()
		return nil
	}
	known := s.young[key]
	isOld := false
	if known == nil {
		known, isOld = s.old[key], true
	}
	s.mu.RUnlock()
	if known != nil && isOld {
		s.put(key, known, losses, perGeneration)
	}
	return known
}

func (s *verifierShard) put(key digest, access *Access, losses uint64, perGeneration int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case losses < s.losses:
		return
	case losses > s.losses:
		s.losses, s.young, s.old = losses, nil, nil
	}
	if _, again := s.young[key]; !again && len(s.young) >= perGeneration {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = map[digest]*Access{}
	}
	delete(s.old, key)
	s.young[key] = access
}
