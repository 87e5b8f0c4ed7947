package auth

import (
	"context"
	"slices"
	"strings"

	"gatehouse.example/internal/outcome"
)

// SecretStore stores which keys of SECRET_KEY the replicas run with, by the ids of
// [keychain.Keychain.IDs].
type SecretStore interface {
	// SecretIDs returns the ids on record. There are none before the first replica has started.
	SecretIDs(ctx context.Context) ([]string, error)
	// RenewSecrets records that ids are in use now, if judge returns nil for those on record. It
	// also forgets ids that no replica has renewed for a day. It returns the error of judge as it
	// is. It takes turns with [KeyStore].ChangeSigningKeys.
	RenewSecrets(ctx context.Context, ids []string, judge func(recorded []string) error) error
}

// checkSecret returns nil if one of the given keys of SECRET_KEY is on record, or if none is on
// record yet. A caller that only reads gives all its keys: a replica that is given a new key has
// the old one too. A caller that writes gives only the first key, which it writes with.
func checkSecret(recorded, held []string) error {
	if len(recorded) == 0 || slices.ContainsFunc(held, func(id string) bool {
		return slices.Contains(recorded, id)
	}) {
		return nil
	}
	return otherSecret(recorded, held)
}

func otherSecret(recorded, held []string) error {
	return outcome.Detail(ErrOtherSecret,
		"its replicas log \"secret_keys\" with %s, and this one is %s. Where theirs is lost or has leaked, see docs/keys.md",
		strings.Join(recorded, " and "), strings.Join(held, ", "))
}

// ProveSecrets makes sure that replicas can read what this process writes with SECRET_KEY. The key
// must be on record, and open the signing keys. Before a replica has started, the latter is the
// only proof. Errors: [ErrOtherSecret], [keychain.ErrUnsealed].
func (k *Keys) ProveSecrets(ctx context.Context, p *KeyPolicy) error {
	recorded, err := k.store.SecretIDs(ctx)
	if err != nil {
		return err
	}
	if err := checkSecret(recorded, p.secretIDs[:1]); err != nil {
		return err
	}
	keys, err := k.store.SigningKeys(ctx, false)
	if err != nil {
		return err
	}
	return p.opens(keys)
}

// ClaimSecrets records the keys of a replica, if one of them is on record already, or if none is.
// Errors: [ErrOtherSecret].
func (k *Keys) ClaimSecrets(ctx context.Context, p *KeyPolicy) error {
	return k.store.RenewSecrets(ctx, p.secretIDs, func(recorded []string) error {
		return checkSecret(recorded, p.secretIDs)
	})
}

// SecretIDs name the keys of SECRET_KEY, for a log. They do not give the keys away.
func (p *KeyPolicy) SecretIDs() []string { return p.secretIDs }
