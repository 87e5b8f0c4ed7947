package auth

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/ratelimit"
	"gatehouse/internal/token"
)

// RateLimits are how often what may happen. One that is off allows it always.
type RateLimits struct {
	// Account and AccountDay are for failed logins of one account, wherever they come from. A device on which the account
	// has logged in before has as much for itself.
	Account, AccountDay ratelimit.Limit
	Address             ratelimit.Limit // failed logins from one address
	Registration        ratelimit.Limit // registrations from one address
}

// Rate is one limit on one thing.
type Rate struct {
	Key   ratelimit.Key
	Limit ratelimit.Limit
}

// TakenRate is what was taken from a Rate: so much that its state became this.
type TakenRate struct {
	Rate
	State time.Time
}

// RateStore keeps the states of rates for all replicas. Its errors are those of Store. What it keeps may be lost in a
// crash.
type RateStore interface {
	// TakeRates takes one from each rate and returns them, or from none if one has none left: then waits tells for how long,
	// in the order of the rates. Callers at once with some rates in common take turns.
	TakeRates(ctx context.Context, rates []Rate) (taken []TakenRate, waits []time.Duration, err error)
	// GiveBackRates undoes TakeRates, but for what has come back by itself.
	GiveBackRates(ctx context.Context, taken []TakenRate) error
	// ResetRates makes rates whole again, and tells all replicas and, with the event, the audit log.
	ResetRates(ctx context.Context, e Event, keys []ratelimit.Key) error
}

const (
	limitsLabel = "gatehouse rate limits"

	// mostRefusals bounds what a replica remembers of refusals: about 10 MB.
	mostRefusals = 100_000

	// giveBackTimeout bounds what a caller waits for after everything else is done.
	giveBackTimeout = time.Second
)

// Limiter holds logins and registrations to the limits. It counts under keyed hashes: neither names nor addresses leave it.
// The nil Limiter has no limits.
type Limiter struct {
	limits   RateLimits
	store    RateStore
	key      []byte
	devices  *token.DeviceKeys
	refusals *ratelimit.Refusals
	clock    func() time.Time
}

// NewLimiter derives its keys from the secrets (RFC 5869). Counters are under the first, so that they begin anew when it
// changes; a device is known by any.
func NewLimiter(limits RateLimits, store RateStore, secrets [][]byte, clock func() time.Time) (*Limiter, error) {
	devices, err := token.NewDeviceKeys(secrets)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secrets[0], nil, limitsLabel, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("key of the limits: %w", err)
	}
	return &Limiter{
		limits: limits, store: store, key: key, devices: devices, refusals: ratelimit.NewRefusals(mostRefusals), clock: clock,
	}, nil
}

// reserveLogin counts a login as failed before its password is looked at, so that guesses at once are no more than one
// after another. *LimitedError.
func (l *Limiter) reserveLogin(ctx context.Context, username string, client Client) ([]TakenRate, error) {
	if l == nil {
		return nil, nil
	}
	account := accountName(username)
	if device, err := l.devices.Verify(l.clock(), account, client.Device); err == nil {
		return l.take(ctx, l.failures("device", device.String()))
	}
	address := Rate{l.keyOf("address", network(client.Address)), l.limits.Address}
	return l.take(ctx, append(l.failures("account", account), address))
}

// failures are the rates of failed logins by whatever knows the account.
func (l *Limiter) failures(kind, value string) []Rate {
	return []Rate{{l.keyOf(kind, value), l.limits.Account}, {l.keyOf(kind+" day", value), l.limits.AccountDay}}
}

// reservePasswordCheck is reserveLogin for a user who is logged in: on an account of its own, so that nobody outside can
// keep the user from changing the password.
func (l *Limiter) reservePasswordCheck(ctx context.Context, user uuid.UUID) ([]TakenRate, error) {
	if l == nil {
		return nil, nil
	}
	return l.take(ctx, l.failures("password check", user.String()))
}

// countRegistration counts one from an address. *LimitedError.
func (l *Limiter) countRegistration(ctx context.Context, address string) error {
	if l == nil {
		return nil
	}
	_, err := l.take(ctx, []Rate{{l.keyOf("registration", network(address)), l.limits.Registration}})
	return err
}

func (l *Limiter) take(ctx context.Context, rates []Rate) ([]TakenRate, error) {
	rates = slices.DeleteFunc(rates, func(r Rate) bool { return r.Limit.Off() })
	if len(rates) == 0 {
		return nil, nil
	}
	if wait := l.remembered(rates); wait > 0 {
		return nil, &LimitedError{RetryAfter: wait, Remembered: true}
	}
	forgotten := l.refusals.Forgotten()
	taken, waits, err := l.store.TakeRates(ctx, rates)
	if err != nil {
		return nil, err
	}
	if wait := slices.Max(waits); wait > 0 {
		now := l.clock()
		for n, rate := range rates {
			l.refusals.Add(now, rate.Key, waits[n], forgotten)
		}
		return nil, &LimitedError{RetryAfter: wait}
	}
	return taken, nil
}

func (l *Limiter) remembered(rates []Rate) (wait time.Duration) {
	now := l.clock()
	for _, rate := range rates {
		wait = max(wait, l.refusals.Wait(now, rate.Key))
	}
	return wait
}

// settle gives back what was reserved for a password that was right, or that the service itself failed to look at. Whoever
// left, or waited in vain, has perhaps had it looked at: that counts.
//
// An error is of no consequence but that what was taken comes back by itself, later.
func (l *Limiter) settle(ctx context.Context, taken []TakenRate, outcome error) {
	right := outcome == nil || errors.Is(outcome, ErrMustChangePassword)
	unjudged := errors.Is(outcome, ErrOverloaded) || errors.Is(outcome, ErrStopping) || errors.Is(outcome, ErrUnavailable)
	if len(taken) == 0 || !right && !unjudged {
		return
	}
	giving, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	_ = l.store.GiveBackRates(giving, taken)
}

// deviceFor is the token of the device that an account has logged in on: the one that it brought, with another expiry, or
// that of a new device. It is empty where it would be of no use.
func (l *Limiter) deviceFor(account, brought string) string {
	if l == nil || l.limits.Account.Off() && l.limits.AccountDay.Off() && l.limits.Address.Off() {
		return ""
	}
	now := l.clock()
	device, err := l.devices.Verify(now, account, brought)
	if err != nil {
		device = uuid.New()
	}
	return l.devices.Make(now, account, device)
}

// reset makes an account whole again, on this replica at once, and on others when they hear of it: those whose connection to
// the database is lost at the moment go on to refuse it for as long as ratelimit.Refusals remembers.
func (l *Limiter) reset(ctx context.Context, e Event, user User) error {
	if l == nil {
		return nil
	}
	var keys []ratelimit.Key
	for _, rate := range append(l.failures("account", user.Username.Key), l.failures("password check", user.ID.String())...) {
		keys = append(keys, rate.Key)
	}
	if err := l.store.ResetRates(ctx, e.of(user.ID), keys); err != nil {
		return err
	}
	l.refusals.Forget(keys...)
	return nil
}

func (l *Limiter) keyOf(kind, value string) ratelimit.Key {
	mac := hmac.New(sha256.New, l.key)
	mac.Write([]byte(kind))
	mac.Write([]byte{0}) // ends the kind, so that no value can pass for a part of it
	mac.Write([]byte(value))
	return ratelimit.Key(mac.Sum(nil))
}

// accountName is the key of a username or, of what cannot be one, the text itself, which then is no other name's key.
func accountName(username string) string {
	if name, err := parseUsername(username); err == nil {
		return name.Key
	}
	return username
}

// network is what one client has for itself: an IPv4 address, or the /64 of an IPv6 address (RFC 6177 §2 and RFC 4291
// §2.5.4), of which any host has all. IPv4 addresses that IPv6 ones stand for are found in them: else a host would have
// 65,536 networks by 6to4 (RFC 3056 §2), and all hosts behind a NAT64 only one (RFC 6052 §2.1).
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	bytes := addr.As16()
	switch {
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(bytes[2:6])).String()
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr):
		return netip.AddrFrom4([4]byte(bytes[12:16])).String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
