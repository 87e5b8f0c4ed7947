package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/token"
)

const (
	// JWKSMaxAge is how long others may use the keys that they have fetched, before they fetch
	// again.
	JWKSMaxAge = 5 * time.Minute

	// ringStaleness is how long a replica uses the keys that it has read. After that it neither
	// signs nor publishes until it has read them again.
	ringStaleness = 30 * time.Second
)

// KeyState is the state of a signing key. A key goes through the states in this order. It may go to
// KeyRevoked from any state but KeyRetired.
type KeyState string

// States.
const (
	KeyNext     KeyState = "next"     // published, so that everybody knows the key before it signs
	KeyActive   KeyState = "active"   // signs
	KeyRetiring KeyState = "retiring" // does not sign any more, but its tokens may still be alive
	KeyRetired  KeyState = "retired"
	KeyRevoked  KeyState = "revoked" // its tokens are refused
)

// SigningKey is a stored key.
type SigningKey struct {
	ID        string // kid
	Use       KeyUse
	Algorithm token.Algorithm
	State     KeyState
	PublicJWK string // empty for HS256, whose key is SECRET_KEY
	// Sealed is the private key, sealed by a [keychain.Sealer]. It is nil for HS256, and once the
	// key signs no more.
	Sealed []byte
	// TokenLifetime is the longest lifetime of a token that any replica signs with the key.
	TokenLifetime time.Duration
	CreatedAt     time.Time
	ActivatedAt   *time.Time
	RetiringAt    *time.Time
	EndedAt       *time.Time
}

// MaySign is the time from which everybody knows a key in KeyNext. Somebody may have fetched the
// keys just before it was published, from a replica that had not read it yet. By then they have had
// to fetch the keys again.
func (k SigningKey) MaySign() time.Time { return k.CreatedAt.Add(ringStaleness + JWKSMaxAge) }

// MayRetire is the time from which all tokens of a key in KeyRetiring are dead. That includes
// tokens of a replica that had not read yet that the key is retiring.
func (k SigningKey) MayRetire() time.Time {
	return k.RetiringAt.Add(ringStaleness + k.TokenLifetime + token.Leeway)
}

// ended returns the key in a state in which nothing is signed or verified with it.
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

// KeyChange is what to do with some keys, in this order.
type KeyChange struct {
	Keys   []SigningKey
	Action Action // the action of the event
	Target string // the target of the event
	// Successors are the keys that take over from revoked ones. Each has an event of its own, after
	// the event of the revocation.
	Successors []KeyStep
	// Secrets are ids that replace all those on record; nil: those on record stay.
	Secrets []string
}

// KeyStep is what happens to one key, for the audit log.
type KeyStep struct {
	Action Action
	Target string
}

// SealedTOTP is the sealed secret of a user's authenticator app.
type SealedTOTP struct {
	UserID uuid.UUID
	Sealed []byte
}

// KeyStore stores the signing keys, and the ids of the secrets in use. What else is sealed with the
// secrets is read there, to be sealed anew.
type KeyStore interface {
	SecretStore

	// SealedTOTPs returns at most limit secrets of authenticator apps, in the order of their users,
	// beginning after the given one.
	SealedTOTPs(ctx context.Context, after uuid.UUID, limit int) ([]SealedTOTP, error)
	// ResealTOTPs replaces secrets of authenticator apps, but for those that are not as they were
	// before. It returns how many it has replaced.
	ResealTOTPs(ctx context.Context, e Event, before, after []SealedTOTP) (int, error)

	// SigningKeys returns the keys of all rings that have not ended, or all keys, the oldest first.
	SigningKeys(ctx context.Context, withEnded bool) ([]SigningKey, error)
	// ChangeSigningKeys calls decide with the time of the database and the keys of all rings that have
	// not ended, and makes the change that decide returns. Callers take turns. A change of nothing
	// records no event. An error of decide is returned as it is.
	ChangeSigningKeys(
		ctx context.Context, e Event,
		decide func(now time.Time, keys []SigningKey) (KeyChange, error),
	) error
	// RaiseTokenLifetime raises the TokenLifetime of every key that has a shorter one.
	RaiseTokenLifetime(ctx context.Context, lifetime time.Duration) error
}

// TooEarlyError is an [ErrTooEarly] with the time from which the step is safe.
type TooEarlyError struct {
	At   time.Time
	Why  string
	Wait time.Duration // counted from the database's time of the decision
}

func (e *TooEarlyError) Error() string { return e.Unwrap().Error() }

// Unwrap returns an [ErrTooEarly] that says until when.
func (e *TooEarlyError) Unwrap() error {
	return outcome.Detail(ErrTooEarly, "%s until %s", e.Why, e.At.UTC().Format(time.RFC3339))
}

// Early reports whether it is too early for a key's next step, and why.
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

// find returns a key of a ring in a state. At most one key is in KeyNext, and at most one in
// KeyActive.
func find(keys []SigningKey, state KeyState) (SigningKey, bool) {
	n := slices.IndexFunc(keys, func(k SigningKey) bool { return k.State == state })
	if n < 0 {
		return SigningKey{}, false
	}
	return keys[n], true
}

// adding decides to publish a key: as the next one, or as the active one if no key signs yet.
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
	return KeyChange{Keys: []SigningKey{made}, Action: ActionAddKey, Target: made.ID}, nil
}

// activating decides that the next key signs. Errors: [*TooEarlyError].
func activating(now time.Time, keys []SigningKey) (KeyChange, error) {
	next, ok := find(keys, KeyNext)
	if !ok {
		return KeyChange{}, ErrKeyNotFound
	}
	if early, ok := next.Early(now); ok {
		return KeyChange{}, early
	}
	return KeyChange{Keys: succession(now, keys, next), Action: ActionActivateKey, Target: next.ID},
		nil
}

// succession makes a key sign in place of the active one.
func succession(now time.Time, keys []SigningKey, next SigningKey) []SigningKey {
	var changed []SigningKey
	if active, ok := find(keys, KeyActive); ok {
		changed = append(changed, active.retiring(now))
	}
	return append(changed, next.activated(now))
}

// retiring decides that a key verifies nothing any more. Errors: [*TooEarlyError].
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
	return KeyChange{
		Keys: []SigningKey{key.ended(now, KeyRetired)}, Action: ActionRetireKey, Target: id,
	}, nil
}

// revoking decides to refuse a key's tokens at once. If the key is the active one, the next key
// takes its place, whether or not everybody knows it. If there is no next key, one is made. Errors:
// [ErrKeyIsSecret] if another key is the same secret: then nothing would be refused.
func revoking(
	now time.Time, keys []SigningKey, id string, make func() (SigningKey, error),
) (KeyChange, error) {
	n := slices.IndexFunc(keys, func(k SigningKey) bool { return k.ID == id })
	if n < 0 {
		return KeyChange{}, ErrKeyNotFound
	}
	change := KeyChange{
		Keys: []SigningKey{keys[n].ended(now, KeyRevoked)}, Action: ActionRevokeKey, Target: id,
	}
	left := slices.Delete(slices.Clone(keys), n, n+1)
	if keys[n].State == KeyActive {
		next, ok := find(keys, KeyNext)
		takesOver := ActionActivateKey
		if !ok {
			var err error
			if next, err = make(); err != nil {
				return KeyChange{}, err
			}
			takesOver = ActionAddKey // it signs at once, as the first key does
		}
		change.Successors = []KeyStep{{takesOver, next.ID}}
		change.Keys, left = append(change.Keys, next.activated(now)), append(left, next)
	}
	if isSecret(keys[n]) && slices.ContainsFunc(left, isSecret) {
		return KeyChange{}, ErrKeyIsSecret
	}
	return change, nil
}

// resetting decides to begin anew with another secret. No key from before stays good. Each ring
// begins with a key that was made, the first of which is for access tokens.
func resetting(now time.Time, keys, made []SigningKey, secrets []string) KeyChange {
	change := KeyChange{Action: ActionResetKeys, Target: made[0].ID, Secrets: secrets}
	for _, k := range keys {
		change.Keys = append(change.Keys, k.ended(now, KeyRevoked))
	}
	for _, k := range made {
		change.Keys = append(change.Keys, k.activated(now))
		change.Successors = append(change.Successors, KeyStep{ActionAddKey, k.ID})
	}
	return change
}

func isSecret(k SigningKey) bool { return k.Algorithm == token.HS256 }

// KeyPolicy is how a replica makes keys and signs.
type KeyPolicy struct {
	Algorithm   token.Algorithm // of new keys of access tokens
	RotateAfter time.Duration   // how long a key signs; 0: until an operator rotates
	chain       *keychain.Keychain
	secretIDs   []string        // the ids of its secrets
	sealer      keychain.Sealer // for the private keys of all algorithms but HS256
}

// NewKeyPolicy makes a policy with the keys of a keychain. HS256 signs with its secrets. The
// private keys of other algorithms are encrypted with a key that is derived from the secrets.
func NewKeyPolicy(
	algorithm token.Algorithm, rotateAfter time.Duration, keys *keychain.Keychain,
) *KeyPolicy {
	return &KeyPolicy{algorithm, rotateAfter, keys, keys.IDs(), keys.Sealer(keychain.SigningKeys)}
}

// due decides what a replica does by itself for a ring, one step at a time. It also activates a
// next key that somebody else made, so that a rotation that was interrupted is completed.
func due(
	now time.Time, keys []SigningKey, p KeyPolicy, make func() (SigningKey, error),
) (KeyChange, error) {
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

// rotates reports whether the active key should have a successor now. That is early enough for
// everybody to know the successor when the time has come. A secret is rotated only by an operator,
// since there may be services that verify with it.
func (p KeyPolicy) rotates(now time.Time, active SigningKey) bool {
	return p.RotateAfter > 0 && !isSecret(active) &&
		!now.Before(active.ActivatedAt.Add(p.RotateAfter-ringStaleness-JWKSMaxAge))
}

// make makes a key of a ring in KeyNext.
func (p *KeyPolicy) make(now time.Time, ring KeyRing) (SigningKey, error) {
	made := SigningKey{
		Use: ring.use, Algorithm: ring.newAlgorithm(p.Algorithm), State: KeyNext, CreatedAt: now,
	}
	if made.Algorithm == token.HS256 {
		made.ID = "secret-" + strings.ToLower(rand.Text())
		return made, nil
	}
	generate := token.GenerateKey
	if ring.use == KeyForID {
		generate = token.GenerateIDKey
	}
	key, err := generate(made.Algorithm)
	// a command line would take it for an option
	for err == nil && strings.HasPrefix(key.ID(), "-") {
		key, err = generate(made.Algorithm)
	}
	if err != nil {
		return SigningKey{}, err
	}
	private, err := key.MarshalPrivate()
	if err != nil {
		return SigningKey{}, err
	}
	made.ID, made.PublicJWK = key.ID(), string(key.PublicJWK())
	made.Sealed = p.sealer.Seal(made.ID, private)
	return made, nil
}

// unseal returns the private key, and nil for a key that does not sign.
func (p *KeyPolicy) unseal(k SigningKey) (private []byte, outdated bool, err error) {
	if k.Sealed == nil {
		return nil, false, nil
	}
	private, outdated, err = p.sealer.Open(k.ID, k.Sealed)
	if err != nil {
		return nil, false, fmt.Errorf("SECRET_KEY does not open the signing key %s: %w", k.ID, err)
	}
	return private, outdated, nil
}

// opens returns nil if the secrets open all keys that sign, or are going to. Errors:
// [keychain.ErrUnsealed].
func (p *KeyPolicy) opens(keys []SigningKey) error {
	for _, k := range keys {
		if _, _, err := p.unseal(k); err != nil {
			return err
		}
	}
	return nil
}

// Keys manages the stored signing keys. Methods that make or open private keys take the policy of
// the caller.
type Keys struct {
	store KeyStore
	audit *Audit
}

// NewKeys makes Keys.
func NewKeys(store KeyStore, audit *Audit) *Keys { return &Keys{store, audit} }

// List returns all keys of all rings, the oldest first.
func (k *Keys) List(ctx context.Context) ([]SigningKey, error) {
	return k.store.SigningKeys(ctx, true)
}

// Add makes the next key of a ring. Errors: [ErrKeyPending].
func (k *Keys) Add(ctx context.Context, by Actor, p *KeyPolicy, ring KeyRing) error {
	e := newEvent(ctx, by, ActionAddKey, uuid.Nil, string(ring.newAlgorithm(p.Algorithm)))
	return k.change(ctx, e, func(now time.Time, keys []SigningKey) (KeyChange, error) {
		made, err := p.make(now, ring)
		if err != nil {
			return KeyChange{}, err
		}
		return adding(now, ring.of(keys), made)
	})
}

// change makes a change that an operator wants, and records a refusal.
func (k *Keys) change(
	ctx context.Context, e Event, decide func(time.Time, []SigningKey) (KeyChange, error),
) (err error) {
	defer k.audit.told(ctx, &e, &err)
	if err := e.By.operates(); err != nil {
		return err
	}
	return k.store.ChangeSigningKeys(ctx, e, decide)
}

// Activate makes the next key of a ring sign. The key before goes on to verify. Errors:
// [ErrKeyNotFound], [*TooEarlyError].
func (k *Keys) Activate(ctx context.Context, by Actor, ring KeyRing) error {
	return k.change(ctx, newEvent(ctx, by, ActionActivateKey, uuid.Nil, ""),
		func(now time.Time, keys []SigningKey) (KeyChange, error) {
			return activating(now, ring.of(keys))
		})
}

// Retire ends a key that has never signed, or whose tokens are all dead. Errors: [ErrKeyNotFound],
// [ErrKeySigns], [*TooEarlyError].
func (k *Keys) Retire(ctx context.Context, by Actor, id string) error {
	return k.change(ctx, newEvent(ctx, by, ActionRetireKey, uuid.Nil, id),
		func(now time.Time, keys []SigningKey) (KeyChange, error) {
			return retiring(now, keys, id)
		})
}

// Revoke makes all replicas refuse what a key signed. It is for a key that others may know. Errors:
// [ErrKeyNotFound].
func (k *Keys) Revoke(ctx context.Context, by Actor, p *KeyPolicy, id string) error {
	return k.change(ctx, newEvent(ctx, by, ActionRevokeKey, uuid.Nil, id),
		func(now time.Time, keys []SigningKey) (KeyChange, error) {
			ring, err := ringWith(keys, id)
			if err != nil {
				return KeyChange{}, err
			}
			return revoking(now, ring.of(keys), id, func() (SigningKey, error) {
				return p.make(now, ring)
			})
		})
}

// Reset revokes all keys and makes new ones under the current SECRET_KEY. It is for a secret that
// is lost or has leaked. Replicas with another secret stop signing, and stop accepting what they
// have signed. All users must log in again. Errors: [ErrNotReplaced].
func (k *Keys) Reset(ctx context.Context, by Actor, p *KeyPolicy) (err error) {
	e := newEvent(ctx, by, ActionResetKeys, uuid.Nil, "")
	recorded, err := k.store.SecretIDs(ctx)
	if err != nil {
		return err
	}
	return k.change(ctx, e, func(now time.Time, keys []SigningKey) (KeyChange, error) {
		// With keys under a lost secret, no replica starts. The version before leaves some.
		done := slices.Equal(recorded, p.secretIDs) && p.opens(keys) == nil
		if len(p.secretIDs) > 1 || done {
			return KeyChange{}, ErrNotReplaced
		}
		var made []SigningKey
		for _, ring := range allRings() {
			key, err := p.make(now, ring)
			if err != nil {
				return KeyChange{}, err
			}
			made = append(made, key)
		}
		return resetting(now, keys, made, p.secretIDs), nil
	})
}

// Rewrapped is what [Keys.Rewrap] has encrypted anew.
type Rewrapped struct {
	Keys int
	TOTP int // secrets of authenticator apps
}

// Rewrap encrypts the private keys and the secrets of authenticator apps under the first of the
// secrets, so that the others can be removed. What a [Keys.Reset] has left behind of the apps opens
// with the old Keychain, unless that is nil. Errors: [keychain.ErrUnsealed] if a key is under none
// of the secrets: then nothing is changed. It is also the error if an app is: then the others are
// changed.
func (k *Keys) Rewrap(
	ctx context.Context, by Actor, p *KeyPolicy, old *keychain.Keychain,
) (done Rewrapped, err error) {
	if done.Keys, err = k.rewrapKeys(ctx, by, p); err != nil {
		return Rewrapped{}, err
	}
	done.TOTP, err = k.rewrapTOTPs(ctx, by, totpWrapper(p.chain, old))
	return done, err
}

func (k *Keys) rewrapKeys(ctx context.Context, by Actor, p *KeyPolicy) (rewrapped int, err error) {
	e := newEvent(ctx, by, ActionRewrapKeys, uuid.Nil, "")
	err = k.change(ctx, e, func(_ time.Time, keys []SigningKey) (change KeyChange, err error) {
		for _, key := range keys {
			private, outdated, err := p.unseal(key)
			if err != nil {
				return KeyChange{}, err
			}
			if outdated {
				key.Sealed = p.sealer.Seal(key.ID, private)
				change.Keys = append(change.Keys, key)
			}
		}
		rewrapped = len(change.Keys)
		change.Action, change.Target = ActionRewrapKeys, fmt.Sprintf("%d keys", rewrapped)
		return change, nil
	})
	return rewrapped, err
}

// rewrapper opens what is sealed for a user, and seals it with the newest key. It returns nil for
// what is sealed with that already.
type rewrapper func(SealedTOTP) ([]byte, error)

func totpWrapper(current, old *keychain.Keychain) rewrapper {
	sealer := current.Sealer(keychain.TOTPSecrets)
	return func(found SealedTOTP) ([]byte, error) {
		name := found.UserID.String()
		plain, outdated, err := sealer.Open(name, found.Sealed)
		if err != nil && old != nil {
			plain, _, err = old.Sealer(keychain.TOTPSecrets).Open(name, found.Sealed)
			outdated = true
		}
		if err != nil || !outdated {
			return nil, err
		}
		return sealer.Seal(name, plain), nil
	}
}

const totpBatch = 500

// rewrapTOTPs goes through all secrets of apps. There may be one for each user, so it changes them
// in batches. Whatever interrupts it, it can be run again.
func (k *Keys) rewrapTOTPs(ctx context.Context, by Actor, wrap rewrapper) (done int, err error) {
	lost := 0
	for after := uuid.Nil; ; {
		found, err := k.store.SealedTOTPs(ctx, after, totpBatch)
		if err != nil {
			return done, err
		}
		var from, to []SealedTOTP
		for _, one := range found {
			after = one.UserID
			sealed, err := wrap(one)
			if err != nil {
				lost++
			} else if sealed != nil {
				from, to = append(from, one), append(to, SealedTOTP{one.UserID, sealed})
			}
		}
		if len(to) > 0 {
			n, err := k.resealTOTPs(ctx, by, from, to)
			if done += n; err != nil {
				return done, err
			}
		}
		if len(found) < totpBatch {
			break
		}
	}
	if lost > 0 {
		return done, fmt.Errorf(
			"%d authenticator apps are sealed with another SECRET_KEY: %w", lost, keychain.ErrUnsealed,
		)
	}
	return done, nil
}

func (k *Keys) resealTOTPs(
	ctx context.Context, by Actor, from, to []SealedTOTP,
) (done int, err error) {
	e := newEvent(ctx, by, ActionRewrapKeys, uuid.Nil, fmt.Sprintf("%d apps", len(to)))
	defer k.audit.told(ctx, &e, &err)
	return k.store.ResealTOTPs(ctx, e, from, to)
}

// Tend does one step that is due in a ring, and reports whether there was one. If several replicas
// do so at once, one of them does the step.
func (k *Keys) Tend(ctx context.Context, p *KeyPolicy) (changed bool, err error) {
	e := newEvent(ctx, Replica(), "", uuid.Nil, "")
	err = k.store.ChangeSigningKeys(ctx, e,
		func(now time.Time, keys []SigningKey) (KeyChange, error) {
			change, err := p.dueInAny(now, keys)
			changed = len(change.Keys) > 0
			return change, err
		})
	return changed, err
}

// dueInAny is due for the first ring in which there is something to do.
func (p *KeyPolicy) dueInAny(now time.Time, keys []SigningKey) (change KeyChange, err error) {
	for _, ring := range allRings() {
		change, err = due(now, ring.of(keys), *p, func() (SigningKey, error) {
			return p.make(now, ring)
		})
		if err != nil || len(change.Keys) > 0 {
			break
		}
	}
	return change, err
}
