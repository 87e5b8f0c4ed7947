package auth

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// mostTrustedDevices is how many devices a user trusts at most. A further one takes the place of the
// one that was trusted longest ago.
const mostTrustedDevices = 20

// NewTrustedDevice is a device on which a user leaves out the second factor, to be stored.
type NewTrustedDevice struct {
	User      User      // as it was when the factor was proved
	Device    uuid.UUID // which nobody has had before
	InPlaceOf uuid.UUID // what the browser was before; Nil: nothing
	Caller    Caller
	Lifetime  time.Duration
	Most      int // how many the user may have with this one
}

// isTrusted reports whether a user logs in on a device that is trusted. It must be a known device of
// the account, and of its password.
func (l *Logins) isTrusted(ctx context.Context, a *attempt, proof Proof) (bool, error) {
	if l.trustedFor <= 0 || !a.reserved.isKnown(proof.Credentials) {
		return false, nil
	}
	return l.store.DeviceIsTrusted(ctx, proof.ID, a.reserved.device.ID)
}

// startTrusted starts a session on a device that is trusted from now on. It is trusted first: the
// browser must not be told so of a device that is not. It is another device than the one that the
// browser was: whoever has a copy of that has no copy of this.
func (l *Logins) startTrusted(
	ctx context.Context, e Event, proof Proof, caller Caller, login BrowserLogin,
) (BrowserGrant, error) {
	before, _ := l.limits.shown(proof.User, caller)
	device := token.Device{ID: uuid.New(), Password: proof.User.passwordMark()}
	trusted := newEvent(
		ctx, Actor{}, ActionTrustDevice, uuid.Nil, device.ID.String(),
	).by(proof.ID)
	err := l.store.TrustDevice(ctx, trusted, NewTrustedDevice{
		User: proof.User, Device: device.ID, InPlaceOf: before.ID, Caller: caller.bounded(),
		Lifetime: l.trustedFor, Most: mostTrustedDevices,
	})
	if errors.Is(err, ErrUserNotFound) {
		return BrowserGrant{}, l.superseded(ctx, proof.User)
	}
	if err != nil {
		return BrowserGrant{}, err
	}
	grant, err := l.startInBrowser(ctx, e, proof, caller, login)
	if err == nil {
		grant.Device, grant.DeviceName = l.limits.nameDevice(proof.User, device)
	}
	return grant, err
}
