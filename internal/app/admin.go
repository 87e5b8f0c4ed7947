package app

import (
	"context"
	"time"

	"gatehouse/db"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/password"
	"gatehouse/internal/token"
)

// Admin is the service as the command line uses it: it issues no tokens and hashes one password at a time.
type Admin struct {
	*auth.Service
	Ring *password.KeyRing

	store *db.DB
	lane  *password.Lane
}

// OpenAdmin makes the service on a database; Close ends it.
func OpenAdmin(ctx context.Context, d config.Database, p config.Passwords) (*Admin, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	ring, err := keyRing(p)
	if err != nil {
		return nil, err
	}
	lane := password.NewLane(password.LaneOptions{Threads: 1, Queue: 1})
	hasher, err := password.NewHasher(lane, ring, p.BcryptCost)
	if err != nil {
		lane.Close()
		return nil, err
	}
	store, err := openStore(ctx, d)
	if err != nil {
		lane.Close()
		return nil, err
	}
	service := auth.NewService(auth.Parts{
		Store: store, Hasher: hasher, Policy: password.Policy{MinLength: p.PasswordMinLength}, Clock: time.Now,
		SecretLifetime: p.InitialSecretLifetime(),
	})
	return &Admin{Service: service, Ring: ring, store: store, lane: lane}, nil
}

// ClaimPasswordKeys must be called before a password is hashed.
func (a *Admin) ClaimPasswordKeys(ctx context.Context) error {
	return auth.ClaimPasswordKeys(ctx, a.store, a.Ring)
}

// Unlock is that of the service that has these secrets: an account's failures are counted under a key of theirs.
func (a *Admin) Unlock(ctx context.Context, username string, s config.Secrets) (auth.User, error) {
	keys, err := s.Keys()
	if err != nil {
		return auth.User{}, err
	}
	limiter, err := auth.NewLimiter(auth.RateLimits{}, a.store, keys, time.Now)
	if err != nil {
		return auth.User{}, err
	}
	return auth.NewService(auth.Parts{Store: a.store, Limiter: limiter, Clock: time.Now}).Unlock(ctx, username)
}

// Keys is the service that makes and encrypts signing keys, new ones of an algorithm.
func (a *Admin) Keys(s config.Secrets, algorithm token.Algorithm) (*auth.Service, error) {
	secrets, err := s.Keys()
	if err != nil {
		return nil, err
	}
	policy, err := auth.NewKeyPolicy(algorithm, 0, secrets)
	if err != nil {
		return nil, err
	}
	return auth.NewService(auth.Parts{Store: a.store, Clock: time.Now, Keys: policy}), nil
}

// Close gives everything back.
func (a *Admin) Close() {
	a.lane.Close()
	a.store.Close()
}
