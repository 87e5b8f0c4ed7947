package token

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const memoryShards = 64

// Memory remembers what bearers' secrets are good for, under their digests. So a dump of it shows
// none. Many goroutines may use it.
type Memory struct {
	// perGeneration bounds the entries in half a shard.
	perGeneration int
	shards        [memoryShards]memoryShard
}

// memoryShard keeps two generations of entries. When the young one is full, it becomes the old one.
// Entries that stay in the old one until then are forgotten.
type memoryShard struct {
	mu         sync.RWMutex
	losses     uint64
	young, old map[digest]*Access
}

// digest takes the place of a secret.
type digest = [sha256.Size]byte

// NewMemory makes a Memory of at most size entries, or of none if size is less than 128.
func NewMemory(size int) *Memory { return &Memory{perGeneration: size / (2 * memoryShards)} }

// off tells whether nothing is remembered of a secret.
func (m *Memory) off(raw string) bool { return m.perGeneration == 0 || len(raw) > MaxLength }

// Get returns what was put under a secret, or nil. It forgets what was put with fewer losses: what
// was true then may not be true any more.
func (m *Memory) Get(raw string, losses uint64) *Access {
	if m.off(raw) {
		return nil
	}
	return m.get(digestOf(raw), losses)
}

// Put remembers what a secret is good for. The Access must not change any more.
func (m *Memory) Put(raw string, access *Access, losses uint64) {
	if !m.off(raw) {
		m.put(digestOf(raw), access, losses)
	}
}

func (m *Memory) get(key digest, losses uint64) *Access {
	return m.shards[key[0]%memoryShards].get(key, losses, m.perGeneration)
}

func (m *Memory) put(key digest, access *Access, losses uint64) {
	m.shards[key[0]%memoryShards].put(key, access, losses, m.perGeneration)
}

// Len is the number of entries.
func (m *Memory) Len() int {
	total := 0
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.RLock()
		total += len(s.young) + len(s.old)
		s.mu.RUnlock()
	}
	return total
}

func digestOf(raw string) digest {
	var buffer [MaxLength]byte // else the conversion would allocate
	return sha256.Sum256(buffer[:copy(buffer[:], raw)])
}

// Verifier verifies access tokens like [Issuer.Verify], and remembers those that were valid. So a
// token that comes with each request of a user is parsed and verified once. Many goroutines may use
// it.
//
// It remembers that a key in the Issuer's ring has signed a token, for as long as the key stays in
// the ring. It looks each time whether the token has expired. Like the Issuer, it does not know
// whether a token was revoked: that must be asked each time after it.
type Verifier struct {
	issuer *Issuer
	memory *Memory
}

// NewVerifier makes a Verifier that remembers at most size tokens, or none if size is less than
// 128.
func NewVerifier(issuer *Issuer, size int) *Verifier {
	return &Verifier{issuer, NewMemory(size)}
}

// Verify is like [Issuer.Verify].
func (v *Verifier) Verify(now time.Time, raw string) (Access, error) {
	return v.issuer.isFor(v.VerifyForAny(now, raw))
}

// VerifyForUserInfo is Verify for a token that is for the issuer's audience or for the UserInfo
// endpoint.
func (v *Verifier) VerifyForUserInfo(now time.Time, raw string) (Access, error) {
	access, err := v.VerifyForAny(now, raw)
	if err == nil && !access.IsFor(v.issuer.settings.Audience, v.issuer.UserInfo()) {
		return Access{}, refuse(jwt.ErrTokenInvalidAudience)
	}
	return access, err
}

// VerifyForAny is like [Issuer.VerifyForAny].
func (v *Verifier) VerifyForAny(now time.Time, raw string) (Access, error) {
	if v.memory.off(raw) {
		return v.issuer.VerifyForAny(now, raw)
	}
	key := digestOf(raw)
	losses := v.issuer.losses.Load() // before the ring is looked at: so what it loses meanwhile is forgotten
	if known := v.memory.get(key, losses); known != nil && now.Before(known.Expires.Add(Leeway)) {
		return *known, nil
	}
	access, err := v.issuer.VerifyForAny(now, raw)
	if err != nil {
		return Access{}, err
	}
	v.memory.put(key, &access, losses)
	return access, nil
}

// Len is the number of tokens that are remembered.
func (v *Verifier) Len() int { return v.memory.Len() }

func (s *memoryShard) get(key digest, losses uint64, perGeneration int) *Access {
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

func (s *memoryShard) put(key digest, access *Access, losses uint64, perGeneration int) {
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
