package app

import (
	"context"
	"time"

	"golang.org/x/crypto/bcrypt"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/token"
)

// Admin has the rules for the command line. It issues no tokens, and hashes one password at a time.
type Admin struct {
	Accounts *auth.Accounts
	Transfer *auth.Transfer
	Sessions *auth.Sessions
	Roles    *auth.Roles
	Clients  *auth.Clients
	Keys     *auth.Keys
	Peppers  *auth.Peppers
	Audit    *auth.Audit
	Mails    *auth.MailLog

	store     *db.DB
	passwords *auth.Passwords
	lane      *password.Lane
}

// OpenAdmin connects to a database that has the schema. The caller must call [Admin.Close].
func OpenAdmin(ctx context.Context, d config.Database, p config.Passwords) (*Admin, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return openAdmin(ctx, d, p, password.NewLane(password.LaneOptions{Threads: 1, Queue: 1}))
}

// OpenAdminWithoutPasswords is [OpenAdmin] for commands that give nobody a password. It hashes
// none: a hash by other settings than the service's would be a weaker one.
func OpenAdminWithoutPasswords(
	ctx context.Context, d config.Database, p config.Pepper,
) (*Admin, error) {
	lane := password.NewLane(password.LaneOptions{Threads: 1, Queue: 1})
	lane.Close()
	return openAdmin(ctx, d, config.Passwords{Pepper: p, BcryptCost: bcrypt.DefaultCost}, lane)
}

func openAdmin(
	ctx context.Context, d config.Database, p config.Passwords, lane *password.Lane,
) (*Admin, error) {
	ring, err := keyRing(p.Pepper)
	if err != nil {
		lane.Close()
		return nil, err
	}
	leaked, err := openBreached(p.BreachedPasswords)
	if err != nil {
		lane.Close()
		return nil, err
	}
	hasher, passwords, err := newPasswords(p, leaked, ring, lane)
	if err != nil {
		lane.Close()
		return nil, err
	}
	store, err := openStore(ctx, d)
	if err != nil {
		lane.Close()
		return nil, err
	}
	if err := (&readiness{schema: store.SchemaVersion}).checkSchema(ctx); err != nil {
		lane.Close()
		store.Close()
		return nil, err
	}
	audit := auth.NewAudit(store, auth.NewTally(time.Now))
	roles := auth.NewRoles(store, audit)
	return &Admin{
		Accounts: auth.NewAccounts(store, passwords, nil, audit),
		Transfer: auth.NewTransfer(store, hasher, ring, audit),
		Sessions: auth.NewSessions(store, audit),
		Roles:    roles,
		Clients:  auth.NewClients(store, audit),
		Keys:     auth.NewKeys(store, audit),
		Peppers:  auth.NewPeppers(store, ring, audit),
		Audit:    audit,
		Mails:    auth.NewMailLog(store),
		store:    store, passwords: passwords, lane: lane,
	}, nil
}

// Limits returns the limits of the service that has these secrets. The failures of an account are
// counted under a key that is derived from them.
func (a *Admin) Limits(ctx context.Context, s config.Secrets) (*auth.Limits, error) {
	keys, err := s.Keychain()
	if err != nil {
		return nil, err
	}
	// proves that the service has these secrets
	if _, err := a.KeyPolicy(ctx, s, token.ES256); err != nil {
		return nil, err
	}
	return auth.NewLimits(auth.RateLimits{}, a.store, a.Audit, keys, time.Now), nil
}

// mails returns what queues mails for a service with these secrets, which makes the links.
func (a *Admin) mails(
	ctx context.Context, s config.Secrets, notices ...auth.MailKind,
) (*auth.Limits, *auth.Mails, error) {
	limits, err := a.Limits(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	keys, err := s.Keychain()
	if err != nil {
		return nil, nil, err
	}
	return limits, auth.NewMails(a.store, limits, keys, "", notices), nil
}

// TellOwners has a service with these secrets tell the owners of accounts what is done to these
// from now on. Without secrets, it changes nothing.
func (a *Admin) TellOwners(ctx context.Context, s config.Teller) error {
	if s.SecretKey == "" {
		return nil
	}
	_, mails, err := a.mails(ctx, config.Secrets(s), auth.NoticeKinds()...)
	if err != nil {
		return err
	}
	a.Accounts = auth.NewAccounts(a.store, a.passwords, auth.NewNotices(mails, time.Now), a.Audit)
	return nil
}

// Invitations returns what has a service with these secrets invite people.
func (a *Admin) Invitations(ctx context.Context, s config.Secrets) (*auth.Invitations, error) {
	limits, mails, err := a.mails(ctx, s)
	if err != nil {
		return nil, err
	}
	return auth.NewInvitations(auth.InvitationParts{
		Store: a.store, Passwords: a.passwords, Limits: limits, Mails: mails, Audit: a.Audit,
	}), nil
}

// Recovery returns what has a service with these secrets send a mail that resets a password.
func (a *Admin) Recovery(ctx context.Context, s config.Secrets) (*auth.Recovery, error) {
	limits, mails, err := a.mails(ctx, s)
	if err != nil {
		return nil, err
	}
	return auth.NewRecovery(auth.RecoveryParts{
		Store: a.store, Limits: limits, Mails: mails, Audit: a.Audit,
	}), nil
}

// KeyPolicy returns the policy by which signing keys are made, with an algorithm for new ones, and
// encrypted. It fails unless the replicas have these secrets.
func (a *Admin) KeyPolicy(
	ctx context.Context, s config.Secrets, algorithm token.Algorithm,
) (*auth.KeyPolicy, error) {
	policy, err := a.NewKeyPolicy(s, algorithm)
	if err != nil {
		return nil, err
	}
	return policy, a.Keys.ProveSecrets(ctx, policy)
}

// NewKeyPolicy is [Admin.KeyPolicy] for secrets that the replicas need not have.
func (a *Admin) NewKeyPolicy(s config.Secrets, algorithm token.Algorithm) (*auth.KeyPolicy, error) {
	keys, err := s.Keychain()
	if err != nil {
		return nil, err
	}
	return auth.NewKeyPolicy(algorithm, 0, keys), nil
}

// Close frees everything. An error means that the audit log lacks some refusals.
func (a *Admin) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), jobTimeout)
	defer cancel()
	err := a.Audit.TellCounted(ctx)
	a.lane.Close()
	a.store.Close()
	return err
}
