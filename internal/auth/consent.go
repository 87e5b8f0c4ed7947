package auth

import (
	"context"

	"github.com/google/uuid"
)

// ConsentStore stores what users have allowed apps, for their users.
type ConsentStore interface {
	// ListConsents returns at most limit consents within a reach, the newest first.
	ListConsents(ctx context.Context, reach Reach, limit int) ([]PersonalConsent, error)
	// WithdrawConsent deletes what a user has allowed a client, voids the codes that the client
	// could still redeem, and ends its sessions of that user, the offline ones too. It reports
	// whether there was anything to delete. If not, it changes nothing, and records no event.
	WithdrawConsent(
		ctx context.Context, e Event, userID uuid.UUID, clientID, reason string,
	) (bool, error)
}

// Consents lists and takes back what users have allowed apps, within a [Reach]. What an app may
// have then is decided by [Authorizations], which asks anew.
type Consents struct {
	store ConsentStore
	audit *Audit
}

// NewConsents makes Consents.
func NewConsents(store ConsentStore, audit *Audit) *Consents { return &Consents{store, audit} }

// List returns what the user of a reach has allowed, the newest first. There is one for each client
// at most.
func (c *Consents) List(ctx context.Context, reach Reach) ([]PersonalConsent, error) {
	return c.store.ListConsents(ctx, reach, mostClients)
}

// Withdraw takes back what the user of a reach has allowed a client, and logs the client out.
// Errors: [ErrConsentNotFound], also for a client that is not within the reach.
func (c *Consents) Withdraw(ctx context.Context, reach Reach, clientID string) (err error) {
	e := newEvent(ctx, Actor{}, ActionWithdrawConsent, uuid.Nil, clientID).by(reach.UserID)
	defer c.audit.told(ctx, &e, &err)
	if !clientIDs.MatchString(clientID) || !reach.AllClients && reach.ClientID != clientID {
		return ErrConsentNotFound // it may not even be text
	}
	withdrawn, err := c.store.WithdrawConsent(ctx, e, reach.UserID, clientID, endedByLogout)
	if err == nil && !withdrawn {
		return ErrConsentNotFound
	}
	return err
}
