package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"gatehouse.example/internal/password"
)

// StoredPassword is a password as it is stored.
//
// A password that must be changed was not chosen by its user, or is to be given up. It logs nobody
// in: it is good only for [Logins.ReplacePassword]. A login that gave tokens with fewer rights
// would not be safe. Everything that checks tokens would have to know what such a token is not for,
// including services of older releases and in other languages. An initial secret is good once,
// since its use replaces it.
type StoredPassword struct {
	Hash       string
	MustChange bool
	GoodFor    *time.Duration // from now on; nil: without end
}

// Passwords makes and verifies the stored forms of passwords, and decides which passwords are
// acceptable. All hashing goes through the password lane, so its methods return [ErrOverloaded],
// [ErrCrowded] and [ErrStopping].
type Passwords struct {
	hasher         *password.Hasher
	policy         password.Policy
	secretLifetime time.Duration // of initial secrets; 0: they cannot be used
}

// NewPasswords makes Passwords whose initial secrets live this long.
func NewPasswords(
	hasher *password.Hasher, policy password.Policy, secretLifetime time.Duration,
) *Passwords {
	return &Passwords{hasher, policy, secretLifetime}
}

// checkRoom returns the error that hash or verify would return now. It is for callers with other
// work to do first.
func (p *Passwords) checkRoom(ctx context.Context) error { return p.hasher.CheckRoom(shareOf(ctx)) }

// check returns the form of a new password that is hashed, or the reason why it is not acceptable.
// The keys are those of the user's name and address, which are no secrets.
func (p *Passwords) check(pw, usernameKey, address string) (prepared string, err error) {
	if prepared, err = password.Prepare(pw); err != nil {
		return "", err
	}
	if address != "" && addressKey(prepared) == address {
		return "", password.ErrIsUsername
	}
	return prepared, p.policy.Check(prepared, usernameKey)
}

// ErrSamePassword: a password is to be replaced by itself. It is within an [InputError].
const ErrSamePassword password.PolicyError = "must not be the current one"

// checkNext is check for a password that replaces another. It looks only at the input, so it
// reveals nothing about the account. Errors: [InputError].
func (p *Passwords) checkNext(
	next, current, usernameKey, address string,
) (prepared string, err error) {
	prepared, err = p.check(next, usernameKey, address)
	if before, malformed := password.Prepare(current); err == nil && malformed == nil &&
		before == prepared {
		err = ErrSamePassword
	}
	if err != nil {
		return "", because(InputError{{"new_password", err.Error()}}, err)
	}
	return prepared, nil
}

func (p *Passwords) hash(ctx context.Context, prepared string) (string, error) {
	return p.hasher.Hash(ctx, shareOf(ctx), prepared)
}

// mostPasswordBytes is the limit of passlib, which refuses longer passwords too.
const mostPasswordBytes = 4096

// verify hashes whatever it is given, so that a password that cannot be right takes as long as any
// other. Errors: [ErrUnusableHash].
func (p *Passwords) verify(ctx context.Context, hash, pw string) (password.Verdict, error) {
	if pw == "" || len(pw) > mostPasswordBytes {
		hash, pw = "", "" // the password of no account
	}
	verdict, err := p.hasher.Verify(ctx, shareOf(ctx), hash, pw)
	if errors.Is(err, password.ErrUnusableHash) {
		err = fmt.Errorf("%w: %w", ErrUnusableHash, err)
	}
	return verdict, err
}

// secretPrefix lets scanners for leaked secrets recognise initial ones.
const secretPrefix = "ghi_"

// newSecret makes an initial secret, of 130 random bits, and what is stored of it.
func (p *Passwords) newSecret(
	ctx context.Context,
) (secret string, stored StoredPassword, err error) {
	secret = secretPrefix + rand.Text()
	hash, err := p.hash(ctx, secret)
	return secret, StoredPassword{Hash: hash, MustChange: true, GoodFor: &p.secretLifetime}, err
}

// CostStore stores the highest cost of any stored hash.
type CostStore interface {
	// RaisePasswordCosts records that there are hashes of these costs.
	RaisePasswordCosts(ctx context.Context, c password.Costs) error
	// PasswordCosts returns the highest recorded cost of each kind. [TransferStore].ImportUsers
	// records the costs of what it stores.
	PasswordCosts(ctx context.Context) (password.Costs, error)
}

// LoadCosts gives the hasher the highest recorded costs. First it records the hasher's own cost:
// hashes of today may be the dearest after the setting has been lowered.
func (p *Passwords) LoadCosts(ctx context.Context, store CostStore) error {
	dearest, err := store.PasswordCosts(ctx)
	if err != nil {
		return err
	}
	if own := p.hasher.Cost(); dearest.Bcrypt < own.Bcrypt {
		if err := store.RaisePasswordCosts(ctx, own); err != nil {
			return err
		}
		dearest.Bcrypt = own.Bcrypt
	}
	p.hasher.SetDearest(dearest)
	return nil
}
