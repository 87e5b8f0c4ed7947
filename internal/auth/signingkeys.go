package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/token"
)

const (
	// JWKSMaxAge is how long others may go on with the keys that they have fetched.
	JWKSMaxAge = 5 * time.Minute

	// ringStaleness is how long a replica goes by the keys that it has read. Then it neither signs nor publishes.
	ringStaleness = 30 * time.Second
)

// KeyState of a signing key. A key goes through them in this order, and to KeyRevoked from any but KeyRetired.
type KeyState string

// States.
const (
	KeyNext     KeyState = "next"     // published, so that everybody knows it before it signs
	KeyActive   KeyState = "active"   // signs
	KeyRetiring KeyState = "retiring" // has signed tokens that still live
	KeyRetired  KeyState = "retired"
	KeyRevoked  KeyState = "revoked" // its tokens are refused
)

// SigningKey is a key of access tokens, as it is stored.
type SigningKey struct {
	ID        string // kid
	Algorithm token.Algorithm
	State     KeyState
	PublicJWK string // empty: the key of HS256 is SECRET_KEY
	Sealed    []byte // private key, by token.Sealer; nil for HS256, and for what does not sign any more
	// TokenLifetime is the longest of any token that any replica signs with it.
	TokenLifetime time.Duration
	CreatedAt     time.Time
	ActivatedAt   *time.Time
	RetiringAt    *time.Time
	EndedAt       *time.Time
}

// MaySign is when everybody knows a key that is next: whoever fetched the keys just before it was published, from a replica
// that had not heard of it, has by then to fetch them again.
func (k SigningKey) MaySign() time.Time { return k.CreatedAt.Add(ringStaleness + JWKSMaxAge) }

// MayRetire is when all tokens of a retiring key are dead, also those of a replica that had not heard that it is retiring.
func (k SigningKey) MayRetire() time.Time {
	return k.RetiringAt.Add(ringStaleness + k.TokenLifetime + token.Leeway)
}

// ended is the key when nothing is signed or verified with it any more.
func (k SigningKey) ended(now time.Time, as KeyState) SigningKey {
	k.State, k.Sealed, k.EndedAt = as, nil, &now
	return k
}

func (k SigningKey) activated(now time.Time) SigningKey {
	k.State, k.ActivatedAt = KeyActive, &now
	return k
}

func (k SigningKey) retiring(now time.Time) SigningKey {
	k.State, k.Sealed, k.RetiringAt = KeyRetiring, nil, &now
	return k
}

// KeyChange is what is to become of some keys, in this order.
type KeyChange struct {
	Keys   []SigningKey
	Action Action // of the event
	Target string // that it names
}

// KeyStore keeps the signing keys. Its errors are those of Store.
type KeyStore interface {
	// SigningKeys returns those that have not ended or, if it is asked for them, all of them, the oldest first.
	SigningKeys(ctx context.Context, withEnded bool) ([]SigningKey, error)
	// ChangeSigningKeys has somebody decide, by the database's time and the keys that have not ended, what becomes of them.
	// Those who do so take turns. A decision to change nothing leaves no event, and an error of it is that of the method.
	ChangeSigningKeys(ctx context.Context, e Event, decide func(now time.Time, keys []SigningKey) (KeyChange, error)) error
	// RaiseTokenLifetime makes sure that no key has a shorter one.
	RaiseTokenLifetime(ctx context.Context, lifetime time.Duration) error
}

// What a change of signing keys may answer.
var (
	ErrKeyNotFound = errors.New("no such signing key, or it has ended")
	// ErrKeyPending: there is a next key already.
	ErrKeyPending = errors.New("another key is to be the next one")
	// ErrKeySigns: the active key cannot go before another one has taken over.
	ErrKeySigns = errors.New("the key is the active one")
	// ErrKeyIsSecret: the key of HS256 is SECRET_KEY, of which another one is put before it.
	ErrKeyIsSecret = errors.New("the key of HS256 is SECRET_KEY: replace that")
	// ErrTooEarly comes as a *TooEarlyError.
	ErrTooEarly = errors.New("too early")
)

// TooEarlyError is ErrTooEarly with the time from which the step is safe.
type TooEarlyError struct {
	At   time.Time
	Why  string
	Wait time.Duration // from the database's time when it was decided
}

func (e *TooEarlyError) Error() string {
	return fmt.Sprintf("%v: %s until %s", ErrTooEarly, e.Why, e.At.UTC().Format(time.RFC3339))
}

// Unwrap makes it an ErrTooEarly.
func (e *TooEarlyError) Unwrap() error { return ErrTooEarly }

// Early tells whether it is too early for a key's next step.
func (k SigningKey) Early(now time.Time) (early *TooEarlyError, ok bool) {
	var at time.Time
	var why string
	switch k.State {
	case KeyNext:
		at, why = k.MaySign(), "others may not know the key"
	case KeyRetiring:
		at, why = k.MayRetire(), "tokens that it has signed live"
	}
	if !now.Before(at) {
		return nil, false
	}
	return &TooEarlyError{at, why, at.Sub(now)}, true
}

// find returns the key in a state; there may be one in KeyNext and in KeyActive.
func find(keys []SigningKey, state KeyState) (SigningKey, bool) {
	n := slices.IndexFunc(keys, func(k SigningKey) bool { return k.State == state })
	if n < 0 {
		return SigningKey{}, false
	}
	return keys[n], true
}

// adding is the decision to publish a key: as the next one, or as the active one where no other has ever signed.
func adding(now time.Time, keys []SigningKey, made SigningKey) (KeyChange, error) {
	if _, pending := find(keys, KeyNext); pending {
		return KeyChange{}, ErrKeyPending
	}
	active, signs := find(keys, KeyActive)
	switch {
	case !signs:
		made = made.activated(now)
	case isSecret(made) && isSecret(active):
		return KeyChange{}, ErrKeyIsSecret
	}
	return KeyChange{[]SigningKey{made}, ActionAddKey, made.ID}, nil
}

// activating is the decision to let the next key sign. *TooEarlyError.
func activating(now time.Time, keys []SigningKey) (KeyChange, error) {
	next, ok := find(keys, KeyNext)
	if !ok {
		return KeyChange{}, ErrKeyNotFound
	}
	if early, ok := next.Early(now); ok {
		return KeyChange{}, early
	}
	return KeyChange{succession(now, keys, next), ActionActivateKey, next.ID}, nil
}

// succession has a key sign in the place of the active one.
func succession(now time.Time, keys []SigningKey, next SigningKey) []SigningKey {
	var changed []SigningKey
	if active, ok := find(keys, KeyActive); ok {
		changed = append(changed, active.retiring(now))
	}
	return append(changed, next.activated(now))
}

// retiring is the decision to verify nothing with a key any more. *TooEarlyError.
func retiring(now time.Time, keys []SigningKey, id string) (KeyChange, error) {
	n := slices.IndexFunc(keys, func(k SigningKey) bool { return k.ID == id })
	if n < 0 {
		return KeyChange{}, ErrKeyNotFound
	}
	key := keys[n]
	switch key.State {
	case KeyActive:
		return KeyChange{}, ErrKeySigns
	case KeyRetiring:
		if early, ok := key.Early(now); ok {
			return KeyChange{}, early
		}
	}
	return KeyChange{[]SigningKey{key.ended(now, KeyRetired)}, ActionRetireKey, id}, nil
}

// revoking is the decision to refuse a key's tokens at once. If it is the active one, the next takes its place, known to
// everybody or not, or one that is made for that. ErrKeyIsSecret if another key is the same secret: nothing would be refused.
func revoking(now time.Time, keys []SigningKey, id string, make func() (SigningKey, error)) (KeyChange, error) {
	n := slices.IndexFunc(keys, func(k SigningKey) bool { return k.ID == id })
	if n < 0 {
		return KeyChange{}, ErrKeyNotFound
	}
	change := KeyChange{[]SigningKey{keys[n].ended(now, KeyRevoked)}, ActionRevokeKey, id}
	left := slices.Delete(slices.Clone(keys), n, n+1)
	if keys[n].State == KeyActive {
		next, ok := find(keys, KeyNext)
		if !ok {
			var err error
			if next, err = make(); err != nil {
				return KeyChange{}, err
			}
		}
		change.Keys, left = append(change.Keys, next.activated(now)), append(left, next)
	}
	if isSecret(keys[n]) && slices.ContainsFunc(left, isSecret) {
		return KeyChange{}, ErrKeyIsSecret
	}
	return change, nil
}

func isSecret(k SigningKey) bool { return k.Algorithm == token.HS256 }

// KeyPolicy is how a replica signs.
type KeyPolicy struct {
	Algorithm   token.Algorithm // of new keys
	RotateAfter time.Duration   // how long a key signs; 0: until somebody rotates
	secrets     [][]byte        // of HS256
	sealer      *token.Sealer   // for the private keys of the others
}

// NewKeyPolicy is one by the secrets: HS256 signs with the first, which private keys are encrypted under too.
func NewKeyPolicy(algorithm token.Algorithm, rotateAfter time.Duration, secrets [][]byte) (*KeyPolicy, error) {
	sealer, err := token.NewSealer(secrets)
	if err != nil {
		return nil, err
	}
	return &KeyPolicy{algorithm, rotateAfter, secrets, sealer}, nil
}

// due is the decision what a replica does by itself, one step at a time. A next key that somebody else has made is
// activated too: so a rotation that was interrupted comes to its end.
func due(now time.Time, keys []SigningKey, p KeyPolicy, make func() (SigningKey, error)) (KeyChange, error) {
	active, signs := find(keys, KeyActive)
	next, pending := find(keys, KeyNext)
	switch {
	case pending && !now.Before(next.MaySign()):
		return activating(now, keys)
	case !signs && !pending, signs && !pending && p.rotates(now, active):
		made, err := make()
		if err != nil {
			return KeyChange{}, err
		}
		return adding(now, keys, made)
	}
	for _, k := range keys {
		if k.State == KeyRetiring && !now.Before(k.MayRetire()) {
			return retiring(now, keys, k.ID)
		}
	}
	return KeyChange{}, nil
}

// rotates tells whether the active key should have a successor: early enough that it is known when the time has come. A
// secret has none unless somebody says so: there may be services that verify by it.
func (p KeyPolicy) rotates(now time.Time, active SigningKey) bool {
	return p.RotateAfter > 0 && !isSecret(active) && !now.Before(active.ActivatedAt.Add(p.RotateAfter-ringStaleness-JWKSMaxAge))
}

// SigningKeys returns all keys, the oldest first.
func (s *Service) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	return s.store.SigningKeys(ctx, true)
}

// AddSigningKey makes the next key, of an algorithm. ErrKeyPending.
func (s *Service) AddSigningKey(ctx context.Context, algorithm token.Algorithm) (err error) {
	e := newEvent(ctx, ActionAddKey, uuid.Nil, string(algorithm))
	defer s.told(ctx, &e, &err)
	return s.addKey(ctx, e, algorithm)
}

func (s *Service) addKey(ctx context.Context, e Event, algorithm token.Algorithm) error {
	return s.store.ChangeSigningKeys(ctx, e, func(now time.Time, keys []SigningKey) (KeyChange, error) {
		made, err := s.makeKey(now, algorithm)
		if err != nil {
			return KeyChange{}, err
		}
		return adding(now, keys, made)
	})
}

// makeKey makes one that is next.
func (s *Service) makeKey(now time.Time, algorithm token.Algorithm) (SigningKey, error) {
	made := SigningKey{Algorithm: algorithm, State: KeyNext, CreatedAt: now}
	if algorithm == token.HS256 {
		made.ID = "secret-" + strings.ToLower(rand.Text())
		return made, nil
	}
	key, err := token.GenerateKey(algorithm)
	for err == nil && strings.HasPrefix(key.ID(), "-") { // a command line would take it for an option
		key, err = token.GenerateKey(algorithm)
	}
	if err != nil {
		return SigningKey{}, err
	}
	private, err := key.MarshalPrivate()
	if err != nil {
		return SigningKey{}, err
	}
	made.ID, made.PublicJWK = key.ID(), string(key.PublicJWK())
	made.Sealed = s.keys.sealer.Seal(made.ID, private)
	return made, nil
}

// ActivateSigningKey lets the next key sign, and the one before verify what it has signed. ErrKeyNotFound, *TooEarlyError.
func (s *Service) ActivateSigningKey(ctx context.Context) (err error) {
	e := newEvent(ctx, ActionActivateKey, uuid.Nil, "")
	defer s.told(ctx, &e, &err)
	return s.store.ChangeSigningKeys(ctx, e, activating)
}

// RetireSigningKey ends a key that has not signed yet, or whose tokens are dead. ErrKeyNotFound, ErrKeySigns, *TooEarlyError.
func (s *Service) RetireSigningKey(ctx context.Context, id string) (err error) {
	e := newEvent(ctx, ActionRetireKey, uuid.Nil, id)
	defer s.told(ctx, &e, &err)
	return s.retireKey(ctx, e, id)
}

func (s *Service) retireKey(ctx context.Context, e Event, id string) error {
	return s.store.ChangeSigningKeys(ctx, e, func(now time.Time, keys []SigningKey) (KeyChange, error) {
		return retiring(now, keys, id)
	})
}

// RevokeSigningKey has all replicas refuse what a key signed, for one that others may know. ErrKeyNotFound.
func (s *Service) RevokeSigningKey(ctx context.Context, id string) (err error) {
	e := newEvent(ctx, ActionRevokeKey, uuid.Nil, id)
	defer s.told(ctx, &e, &err)
	return s.store.ChangeSigningKeys(ctx, e, func(now time.Time, keys []SigningKey) (KeyChange, error) {
		return revoking(now, keys, id, func() (SigningKey, error) { return s.makeKey(now, s.keys.Algorithm) })
	})
}

// RewrapSigningKeys encrypts the private keys under the first of the secrets, so that the others may go, and tells how many.
// token.ErrUnsealed if one is under none of them: then none is changed.
func (s *Service) RewrapSigningKeys(ctx context.Context) (rewrapped int, err error) {
	e := newEvent(ctx, ActionRewrapKeys, uuid.Nil, "")
	defer s.told(ctx, &e, &err)
	err = s.store.ChangeSigningKeys(ctx, e, func(_ time.Time, keys []SigningKey) (change KeyChange, err error) {
		for _, k := range keys {
			private, outdated, err := s.unseal(k)
			if err != nil {
				return KeyChange{}, err
			}
			if outdated {
				k.Sealed = s.keys.sealer.Seal(k.ID, private)
				change.Keys = append(change.Keys, k)
			}
		}
		rewrapped = len(change.Keys)
		change.Action, change.Target = ActionRewrapKeys, fmt.Sprintf("%d keys", rewrapped)
		return change, nil
	})
	return rewrapped, err
}

// unseal is nothing for a key that does not sign.
func (s *Service) unseal(k SigningKey) (private []byte, outdated bool, err error) {
	if k.Sealed == nil {
		return nil, false, nil
	}
	private, outdated, err = s.keys.sealer.Open(k.ID, k.Sealed)
	if err != nil {
		return nil, false, fmt.Errorf("SECRET_KEY does not open the signing key %s: %w", k.ID, err)
	}
	return private, outdated, nil
}

// TendSigningKeys does one step that is due, and tells whether there was one. Of replicas that do so at once, one does it.
func (s *Service) TendSigningKeys(ctx context.Context) (changed bool, err error) {
	e := newEvent(WithOrigin(ctx, Origin{Actor: ActorService}), "", uuid.Nil, "")
	err = s.store.ChangeSigningKeys(ctx, e, func(now time.Time, keys []SigningKey) (KeyChange, error) {
		change, err := due(now, keys, *s.keys, func() (SigningKey, error) { return s.makeKey(now, s.keys.Algorithm) })
		changed = len(change.Keys) > 0
		return change, err
	})
	return changed, err
}

// LoadRing has this replica sign and verify by the keys as they are stored now, for tokens that live as long as its own. The
// first key is made if there is none. token.ErrUnsealed if the secrets do not open one that signs.
func (s *Service) LoadRing(ctx context.Context) error {
	began := time.Now()
	keys, err := s.store.SigningKeys(ctx, false)
	if err != nil {
		return err
	}
	if _, signs := find(keys, KeyActive); !signs {
		return s.loadFirst(ctx)
	}
	ring, err := s.ringOf(keys)
	if err != nil {
		return err
	}
	lifetime := s.tokens.Lifetime()
	if slices.ContainsFunc(keys, func(k SigningKey) bool { return k.TokenLifetime < lifetime }) {
		if err := s.store.RaiseTokenLifetime(ctx, lifetime); err != nil { // before a token is signed that lives so long
			return err
		}
	}
	s.tokens.SetRing(ring)
	s.ringRead.Store(&began)
	return nil
}

// loadFirst is LoadRing where no key signs yet.
func (s *Service) loadFirst(ctx context.Context) error {
	changed, err := s.TendSigningKeys(ctx)
	if err != nil || !changed {
		return errors.Join(err, fmt.Errorf("%w: no signing key yet", ErrUnavailable))
	}
	return s.LoadRing(ctx)
}

// ringOf makes the keys what they are good for.
func (s *Service) ringOf(stored []SigningKey) (*token.Ring, error) {
	var signing token.Key
	var others []token.Key
	for _, k := range stored {
		key, err := s.keyOf(k)
		switch {
		case err != nil:
			return nil, err
		case k.State == KeyActive:
			signing = key
		default:
			others = append(others, key)
		}
	}
	return token.NewRing(signing, others...)
}

func (s *Service) keyOf(k SigningKey) (token.Key, error) {
	if k.Algorithm == token.HS256 {
		return token.SecretKey(s.keys.secrets)
	}
	private, _, err := s.unseal(k) // also of the next one, so that the start finds out what rotation would else find out
	if err != nil {
		return token.Key{}, err
	}
	if k.State == KeyActive {
		return token.ParsePrivateKey(k.Algorithm, private)
	}
	return token.ParsePublicKey([]byte(k.PublicJWK))
}

// JWKS are the public keys by which others verify access tokens (RFC 7517 §5). ErrUnavailable while this replica may not
// know all of them.
func (s *Service) JWKS() ([]byte, error) {
	if err := s.checkRing(); err != nil {
		return nil, err
	}
	return s.tokens.Ring().JWKS(), nil
}

// issue signs an access token, by keys that are those of all replicas.
func (s *Service) issue(subject token.Subject, validity time.Duration) (string, error) {
	if err := s.checkRing(); err != nil {
		return "", err
	}
	return s.tokens.Issue(s.clock(), subject, validity)
}

// checkRing refuses to sign by keys that may not be those of the other replicas any more. The time is that of the process,
// which nobody sets.
func (s *Service) checkRing() error {
	if s.keys == nil {
		return nil
	}
	if read := s.ringRead.Load(); read == nil || time.Since(*read) > ringStaleness {
		return fmt.Errorf("%w: the signing keys have not been read for too long", ErrUnavailable)
	}
	return nil
}
