package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/revocation"
	"gatehouse.example/internal/token"
)

// KeyLoader gives the issuers of access tokens and of ID tokens the keys that all replicas share.
// It must load them again and again: keys that were read longer than ringStaleness ago are not
// fresh.
type KeyLoader struct {
	keys   *Keys
	policy *KeyPolicy
	tokens *token.Issuer
	ids    *token.IDIssuer
	read   atomic.Pointer[time.Time] // when the keys were read from the database
}

// NewKeyLoader makes a KeyLoader that has loaded nothing.
func NewKeyLoader(
	keys *Keys, policy *KeyPolicy, tokens *token.Issuer, ids *token.IDIssuer,
) *KeyLoader {
	return &KeyLoader{keys: keys, policy: policy, tokens: tokens, ids: ids}
}

// Tend is [Keys.Tend] with the policy of this replica.
func (l *KeyLoader) Tend(ctx context.Context) (changed bool, err error) {
	return l.keys.Tend(ctx, l.policy)
}

// ClaimSecrets is [Keys.ClaimSecrets] with the policy of this replica.
func (l *KeyLoader) ClaimSecrets(ctx context.Context) error {
	return l.keys.ClaimSecrets(ctx, l.policy)
}

// SecretIDs name the keys of SECRET_KEY, for a log. They do not give the keys away.
func (l *KeyLoader) SecretIDs() []string { return l.policy.SecretIDs() }

// Load makes this replica sign and verify with the keys that are stored now. It makes the first key
// of each ring that has none. It raises the token lifetime that is recorded with the keys to that
// of this replica's tokens. Errors: [keychain.ErrUnsealed] if the secrets do not open a key that
// signs; [ErrOtherSecret].
func (l *KeyLoader) Load(ctx context.Context) error {
	for range 2 * len(allRings()) { // other steps may be due before
		if done, err := l.loadStored(ctx); done || err != nil {
			return err
		}
		if _, err := l.Tend(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: no signing key yet", ErrUnavailable)
}

// loadStored is Load where each ring has a key that signs. Else it is not done.
func (l *KeyLoader) loadStored(ctx context.Context) (done bool, err error) {
	began := time.Now()
	stored, err := l.Stored(ctx)
	if err != nil {
		return false, err
	}
	// Before a first key is made: it would be sealed under a secret that others do not have.
	keys, err := l.readable(ctx, stored)
	if err != nil {
		return false, errors.Join(err, l.stopSigning(stored, err))
	}
	if !complete(stored) {
		return false, nil
	}
	lifetime := l.tokens.Lifetime()
	if slices.ContainsFunc(stored, func(k SigningKey) bool { return k.TokenLifetime < lifetime }) {
		// before a token with this lifetime is signed
		if err := l.keys.store.RaiseTokenLifetime(ctx, lifetime); err != nil {
			return false, err
		}
	}
	l.use(keys)
	l.read.Store(&began)
	return true, nil
}

// Check makes sure that SECRET_KEY is that of the installation, and opens the keys that are stored.
// Errors: [ErrOtherSecret], [keychain.ErrUnsealed].
func (l *KeyLoader) Check(ctx context.Context) error {
	stored, err := l.Stored(ctx)
	if err != nil {
		return err
	}
	_, err = l.readable(ctx, stored)
	return err
}

// Stored returns the keys of all rings that have not ended.
func (l *KeyLoader) Stored(ctx context.Context) ([]SigningKey, error) {
	return l.keys.store.SigningKeys(ctx, false)
}

// Opens reports whether SECRET_KEY opens the private half of a key, if the key has one.
func (l *KeyLoader) Opens(k SigningKey) bool {
	_, _, err := l.policy.unseal(k)
	return err == nil
}

// keySets are the keys of one moment.
type keySets struct {
	access *token.Ring
	ids    *token.IDKeys
}

// setsOf puts stored keys into their sets. An active key signs if open gives its private half. All
// keys verify.
func setsOf(stored []SigningKey, open func(SigningKey) (token.Key, error)) (keySets, error) {
	var signing token.Key
	var access, ofIDs []token.Key
	for _, k := range stored {
		key, err := open(k)
		if err != nil {
			return keySets{}, err
		}
		if k.Use == KeyForID {
			ofIDs = append(ofIDs, key)
			continue
		}
		access = append(access, key)
		if k.State == KeyActive {
			signing = key
		}
	}
	ids, err := token.NewIDKeys(ofIDs...)
	if err != nil {
		return keySets{}, err
	}
	ring, err := token.NewVerifyingRing(access...)
	if signing.CanSign() {
		ring, err = token.NewRing(signing, access...)
	}
	return keySets{ring, ids}, err
}

func (l *KeyLoader) use(keys keySets) {
	l.tokens.SetRing(keys.access)
	l.ids.SetKeys(keys.ids)
}

// readable returns the stored keys, if SECRET_KEY is that of the installation. Errors:
// [ErrOtherSecret], [keychain.ErrUnsealed].
func (l *KeyLoader) readable(ctx context.Context, stored []SigningKey) (keySets, error) {
	recorded, err := l.keys.store.SecretIDs(ctx)
	if err != nil {
		return keySets{}, err
	}
	if err := checkSecret(recorded, l.policy.secretIDs); err != nil {
		return keySets{}, err
	}
	return setsOf(stored, l.keyOf)
}

// stopSigning makes this replica verify with public keys alone, if the installation has another
// SECRET_KEY by now. The secret may have leaked and been replaced. Without this, the replica would
// accept what was revoked for that reason, until its restart.
func (l *KeyLoader) stopSigning(stored []SigningKey, because error) error {
	if !errors.Is(because, ErrOtherSecret) && !errors.Is(because, keychain.ErrUnsealed) {
		return nil
	}
	keys, err := setsOf(slices.DeleteFunc(stored, isSecret), publicKeyOf)
	if err != nil {
		return err
	}
	l.read.Store(nil)
	l.use(keys)
	return nil
}

func publicKeyOf(k SigningKey) (token.Key, error) {
	return token.ParsePublicKey([]byte(k.PublicJWK))
}

func (l *KeyLoader) keyOf(k SigningKey) (token.Key, error) {
	if k.Algorithm == token.HS256 {
		return token.SecretKey(l.policy.chain.Secrets())
	}
	// A next key is opened too, so that the start finds the fault that a rotation would find later.
	private, _, err := l.policy.unseal(k)
	if err != nil {
		return token.Key{}, err
	}
	if k.State == KeyActive {
		return token.ParsePrivateKey(k.Algorithm, private)
	}
	return publicKeyOf(k)
}

// Fresh returns nil if the keys may still be those of the other replicas. It uses the monotonic
// clock of the process, which nobody can set. Errors: [ErrUnavailable].
func (l *KeyLoader) Fresh() error {
	if read := l.read.Load(); read == nil || revocation.Elapsed(*read, time.Now()) > ringStaleness {
		return fmt.Errorf("%w: the signing keys have not been read for too long", ErrUnavailable)
	}
	return nil
}
