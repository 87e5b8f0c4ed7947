package auth

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/ratelimit"
	"gatehouse.example/internal/token"
)

// RateLimits are how often something may happen. A limit that is off allows it always.
type RateLimits struct {
	// Account and AccountDay are for failed logins of one account, wherever they come from. A
	// device on which the account has logged in before has the limit Account for itself. All such
	// devices together have the limit AccountDay.
	Account, AccountDay ratelimit.Limit
	Address             ratelimit.Limit // failed logins from one address
	Registration        ratelimit.Limit // registrations from one address
	Recovery            ratelimit.Limit // mails that one address asks for
	Mails               ratelimit.Limit // all mails together that strangers can ask for
}

// Rate is one limit on one thing.
type Rate struct {
	Key   ratelimit.Key
	Limit ratelimit.Limit
	// Lenient is true of a rate that refuses nothing. A failure takes from it what is left.
	Lenient bool
	// Owner, unless it is zero, is a key by which ResetRates finds this rate.
	Owner ratelimit.Key
}

// TakenRate is what was taken from a Rate, and the state of the Rate after it.
type TakenRate struct {
	Rate
	State time.Time
}

// RefusedRate is a Rate that has nothing left.
type RefusedRate struct {
	Key  ratelimit.Key
	Wait time.Duration // until it has one again, if nothing is given back
	// Reserved is true if others have taken from the rate and may yet give that back.
	Reserved bool
}

// RateStore stores the states of rates for all replicas. A crash may lose them.
type RateStore interface {
	userFinder

	// TakeRates takes one from each rate. If a rate has nothing left, it takes from none, and
	// returns refusals. Concurrent callers with a rate in common take turns.
	//
	// With reserve, what is taken must be settled. What nobody has settled within
	// [ReservationLifetime] is taken for good.
	TakeRates(
		ctx context.Context, rates []Rate, reserve bool,
	) (taken []TakenRate, refused []RefusedRate, err error)
	// SettleRates ends a reservation. It gives back what has not come back by itself, or leaves it
	// taken for good.
	SettleRates(ctx context.Context, reserved []TakenRate, giveBack bool) error
	// ResetRates makes rates whole again: those with the given keys, which belong to the user of
	// the event, and all with this owner. Such changes are made one after the other (see [Rule]).
	// With codes, wrong codes of the user's second factor are forgotten too. It returns the keys of
	// all. It notifies all replicas, and records the event.
	ResetRates(
		ctx context.Context, e Event, rule Rule, keys []ratelimit.Key, owner ratelimit.Key, codes bool,
	) ([]ratelimit.Key, error)
	// GiveBackRates gives back what was taken for good, but for what has come back by itself.
	GiveBackRates(ctx context.Context, taken []TakenRate) error
}

// soon reports whether the rate may have one again in a moment. That may also be if a reservation
// was given back a moment ago, by a transaction that began after the one that was refused.
func (r RefusedRate) soon() bool { return r.Reserved || r.Wait < lookAgain }

const (
	// mostRefusals bounds what a replica remembers of refusals: about 10 MB.
	mostRefusals = 100_000

	// siteFactor is how many times as much the /48 of an IPv6 address has as a /64 in it. Whoever
	// rents a server often gets a /48, which has 65,536 networks of /64. But some providers put
	// many customers into one /48.
	siteFactor = 10

	// ReservationLifetime is how long a reservation lasts that a crashed replica leaves behind. It
	// is far longer than any password waits to be verified.
	ReservationLifetime = 30 * time.Second

	// mostWaiting and mostWaitingForOne bound how many logins wait for the reservations of others.
	mostWaiting       = 1000
	mostWaitingForOne = 100

	// longestWait is how long a login waits for the reservations of others. It leaves time for the
	// password. A caller without a deadline waits until its context ends, and undeadlined at most.
	// No request is without a deadline.
	longestWait = 5 * time.Second
	undeadlined = 10 * time.Minute

	// lookAgain is how often a waiting login looks whether another replica has settled its
	// reservation. Those of its own replica notify it.
	lookAgain = 100 * time.Millisecond

	// settleTimeout bounds how long a caller waits for this after everything else is done.
	settleTimeout = time.Second
)

// Limits bounds logins and registrations. It counts under keyed hashes, so that neither names nor
// addresses are stored. It also decides what makes a known device.
type Limits struct {
	rates    RateLimits
	store    RateStore
	audit    *Audit
	macs     keychain.MACs
	devices  *token.DeviceKeys
	refusals *ratelimit.Refusals
	lines    *ratelimit.Lines
	clock    func() time.Time
}

// NewLimits makes Limits with the keys of a keychain. All counts begin anew when another key
// becomes the newest, since they are counted under the newest key. A device is known by any of the
// keys.
func NewLimits(
	rates RateLimits, store RateStore, audit *Audit, keys *keychain.Keychain,
	clock func() time.Time,
) *Limits {
	return &Limits{
		rates: rates, store: store, audit: audit, macs: keys.MACs(keychain.RateLimits),
		devices: token.NewDeviceKeys(keys), clock: clock,
		refusals: ratelimit.NewRefusals(mostRefusals),
		lines:    ratelimit.NewLines(mostWaiting, mostWaitingForOne),
	}
}

// reservation is what a login takes before its password is verified. It is settled afterwards.
type reservation struct {
	taken            []TakenRate
	account, address string
	// device is the known device that the caller showed, and nil if none of its devices was made
	// for the account. Whether it belongs to the current password is known once the account has
	// been read.
	device *token.Device
}

// reserveLogin counts a login as failed before its password is verified. So many guesses at once
// count as much as one after another. Errors: [*LimitedError].
func (l *Limits) reserveLogin(
	ctx context.Context, account string, caller Caller,
) (r reservation, err error) {
	r = reservation{account: account, address: caller.Address}
	rates := l.ofStranger(r)
	if device, invalid := l.devices.Verify(
		l.clock(), account, l.deviceAmong(account, caller),
	); invalid == nil {
		r.device = &device
		rates = l.ofDevice(r)
	}
	r.taken, err = l.take(ctx, rates, true)
	return r, err
}

// confirm checks that the device of a reservation belongs to the current password of the account.
// If it does not, the login counts as one from an unknown device. Otherwise whoever has stolen a
// device could go on with it after the owner has changed the password. What was taken from the
// device stays taken until all is settled, so that nobody can use the device without end. Errors:
// [*LimitedError].
func (l *Limits) confirm(ctx context.Context, r *reservation, found Credentials) error {
	if r.device == nil || r.isKnown(found) {
		return nil
	}
	more, err := l.take(ctx, l.ofStranger(*r), true)
	r.taken = append(r.taken, more...)
	return err
}

// isKnown reports whether the caller has shown a device of the account's password.
func (r reservation) isKnown(found Credentials) bool {
	return r.device != nil && r.device.Password == found.passwordMark()
}

// isLocked reports whether a login was refused just now by the limits of the account, and not by
// those of a device or an address.
func (l *Limits) isLocked(account string, refusal error) bool {
	limited, ok := errors.AsType[*LimitedError](refusal)
	return ok && slices.ContainsFunc(l.failures("account", account), func(r Rate) bool {
		return slices.Contains(limited.keys, r.Key)
	})
}

// ofStranger returns the rates of a login from an unknown device.
func (l *Limits) ofStranger(r reservation) []Rate {
	return append(
		l.failures("account", r.account), l.ofAddress("address", r.address, l.rates.Address)...,
	)
}

// ofDevice returns the rates of a login from a known device. A failure there counts against the
// address too, but the address does not refuse the login. Otherwise a neighbour behind the same NAT
// could lock the owner out. The devices of an account share a limit for a day. Otherwise there
// would be as many guesses as devices, and whoever has had the password once can make as many
// devices as they like.
func (l *Limits) ofDevice(r reservation) []Rate {
	rates := []Rate{
		{
			Key: l.keyOf("device", r.device.ID.String()), Limit: l.rates.Account,
			Owner: l.ownerOf(r.account),
		},
		l.ofAllDevices(r.account, r.device.Password),
	}
	for _, rate := range l.ofAddress("address", r.address, l.rates.Address) {
		rate.Lenient = true
		rates = append(rates, rate)
	}
	return rates
}

// ofAllDevices returns the rate of all devices of one password. It is not of all passwords: whoever
// has a device of an earlier password could use up what the owner's devices have.
func (l *Limits) ofAllDevices(account string, mark int64) Rate {
	value := strconv.FormatInt(mark, 10) + " " + account
	return Rate{
		Key: l.keyOf("devices day", value), Limit: l.rates.AccountDay, Owner: l.ownerOf(account),
	}
}

// failures returns the rates of failed logins of an account.
func (l *Limits) failures(kind, value string) []Rate {
	return []Rate{
		{Key: l.keyOf(kind, value), Limit: l.rates.Account},
		{Key: l.keyOf(kind+" day", value), Limit: l.rates.AccountDay},
	}
}

// ofAddress returns the rates of what comes from an address.
func (l *Limits) ofAddress(kind, address string, limit ratelimit.Limit) []Rate {
	rates := []Rate{{Key: l.keyOf(kind, network(address)), Limit: limit}}
	if site, ok := siteOf(network(address)); ok {
		rates = append(
			rates, Rate{Key: l.keyOf(kind+" site", site), Limit: limit.Times(siteFactor)},
		)
	}
	return rates
}

// knows reports whether a caller shows a device of the account's password.
func (l *Limits) knows(user User, caller Caller) bool {
	_, known := l.shown(user, caller)
	return known
}

// shown returns the device of the account's password that a caller shows, if there is one.
func (l *Limits) shown(user User, caller Caller) (device token.Device, known bool) {
	account := user.Username.Key
	device, err := l.devices.Verify(l.clock(), account, l.deviceAmong(account, caller))
	return device, err == nil && device.Password == user.passwordMark()
}

// countFailure counts a failed login of an account that was not looked at for its limits. They
// refuse nothing here. Errors are ignored, as those of settle are.
func (l *Limits) countFailure(ctx context.Context, account string) {
	rates := l.failures("account", account)
	for n := range rates {
		rates[n].Lenient = true
	}
	_, _ = l.take(ctx, rates, false)
}

// reservePasswordCheck is reserveLogin for a user who is logged in. It has rates of its own, so
// that nobody outside can keep the user from changing the password.
func (l *Limits) reservePasswordCheck(ctx context.Context, user uuid.UUID) ([]TakenRate, error) {
	return l.take(ctx, l.failures("password check", user.String()), true)
}

// countRegistration counts a registration from an address. Errors: [*LimitedError].
func (l *Limits) countRegistration(ctx context.Context, address string) error {
	_, err := l.take(ctx, l.ofAddress("registration", address, l.rates.Registration), false)
	return err
}

// countRecovery counts a mail that somebody at an address asks for. Errors: [*LimitedError].
func (l *Limits) countRecovery(ctx context.Context, address string) error {
	_, err := l.take(ctx, l.ofAddress("recovery", address, l.rates.Recovery), false)
	return err
}

// reserveProof counts a challenge that somebody at an address proves as a failed login, until it is
// known whether it was proved. Errors: [*LimitedError].
func (l *Limits) reserveProof(ctx context.Context, address string) ([]TakenRate, error) {
	return l.take(ctx, l.ofAddress("address", address, l.rates.Address), true)
}

// settleProof ends a reservation of reserveProof. Whatever is not a wrong proof is given back.
func (l *Limits) settleProof(ctx context.Context, reserved []TakenRate, outcome error) {
	l.settleAs(ctx, reserved, !errors.Is(outcome, ErrInvalidChallenge))
}

const (
	// mostByOthers is how many mails one address gets in a day that no stranger can cause, whatever
	// accounts they are for.
	mostByOthers = 20
	// mostByNetwork is how many mails of a kind one network can have sent to one address in a day.
	// An account has a multiple of that for the kind that its owner needs to get in again.
	mostByNetwork = 8
)

// mailTo is what the rates of a mail depend on. The user and the address may be those of nobody.
type mailTo struct {
	kind       MailKind
	user       uuid.UUID
	addressKey string
	askedBy    string // the address of a stranger who asks for it; "": no stranger does
}

// ofMail returns the rates of a mail. What strangers ask for has a share for each kind, and a part
// of it for each network: they must not use up what the owner asks for, or what a manager sends.
func (l *Limits) ofMail(to mailTo) (rates []Rate) {
	rule, share := mailRuleOf(to.kind), string(to.kind)
	add := func(what, value string, limit ratelimit.Limit) {
		rates = append(rates, Rate{Key: l.keyOf(what, value), Limit: limit})
	}
	if rule.byStrangers && to.askedBy == "" {
		share += " by managers"
	}
	if to.user != uuid.Nil {
		// another address is another matter: somebody has mistyped the first one
		add("mail again", share+" "+to.user.String()+" "+to.addressKey, rule.again)
		add("mail day", share+" "+to.user.String(), ratelimit.PerDay(rule.perDay))
	}
	switch {
	case to.kind == MailTest:
	case rule.purpose == ChallengeUndo:
		// Whoever has the password can cause as many notices as the address may get. They must not
		// silence by that what takes a change back.
	case to.askedBy != "":
		add("mail address by strangers", share+" "+to.addressKey, ratelimit.PerDay(rule.perDay))
		add("mail network", share+" "+to.addressKey+" "+network(to.askedBy),
			ratelimit.PerDay(mostByNetwork))
		add("mails", "", l.rates.Mails)
	default:
		add("mail address", to.addressKey, ratelimit.PerDay(mostByOthers))
	}
	return rates
}

// lift makes the limits on failed logins of an account whole again, for its owner. Codes stay locked:
// a mail takes the place of no second factor.
func (l *Limits) lift(ctx context.Context, owner User) error {
	e := newEvent(ctx, Actor{}, ActionUnlockUser, uuid.Nil, "").by(owner.ID)
	keys, mark := l.ratesOf(owner)
	reset, err := l.store.ResetRates(ctx, e, Freely(), keys, mark, false)
	if err == nil {
		l.Forget(reset)
	}
	return err
}

// reservedError means that a rate has nothing left, but may get back what others have reserved.
type reservedError struct{ key ratelimit.Key }

func (e *reservedError) Error() string { return "reserved by others" }

// take takes one from each rate, or from none. If others have reserved what is missing, it waits
// until that is settled: right logins at once must not keep each other out. Errors:
// [*LimitedError].
func (l *Limits) take(ctx context.Context, rates []Rate, reserve bool) ([]TakenRate, error) {
	rates = slices.DeleteFunc(rates, func(r Rate) bool { return r.Limit.Off() })
	if len(rates) == 0 {
		return nil, nil
	}
	taken, err := l.askUnlessBusy(ctx, rates, reserve)
	if reserved, ok := errors.AsType[*reservedError](err); ok {
		return l.wait(ctx, rates, reserve, reserved.key)
	}
	return taken, err
}

// askUnlessBusy is ask, unless somebody waits for one of the rates already.
func (l *Limits) askUnlessBusy(
	ctx context.Context, rates []Rate, reserve bool,
) ([]TakenRate, error) {
	for _, rate := range rates {
		if !rate.Lenient && l.lines.Busy(rate.Key) {
			return nil, &reservedError{rate.Key}
		}
	}
	return l.ask(ctx, rates, reserve)
}

// wait takes from rates, one of which, that of the key, is reserved by others. If it waits in vain,
// nothing is decided, and so there is no refusal to be remembered.
func (l *Limits) wait(
	ctx context.Context, rates []Rate, reserve bool, key ratelimit.Key,
) ([]TakenRate, error) {
	waiting, cancel := context.WithTimeout(ctx, patience(ctx))
	defer cancel()
	for {
		taken, err := l.stand(ctx, waiting, rates, reserve, key)
		reserved, ok := errors.AsType[*reservedError](err)
		if !ok {
			return taken, err
		}
		key = reserved.key // the other one is in the way now
	}
}

// patience is how long a caller waits for others: half of the time until its deadline at most.
func patience(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(longestWait, time.Until(deadline)/2)
	}
	return undeadlined
}

// stand waits in the line of a key, and asks each time that its turn comes. Errors:
// [*reservedError] of another key.
func (l *Limits) stand(
	ctx, waiting context.Context, rates []Rate, reserve bool, key ratelimit.Key,
) ([]TakenRate, error) {
	place, ok := l.lines.Join(key)
	if !ok {
		return nil, errUndecided()
	}
	defer place.Leave()
	for {
		if err := awaitTurn(ctx, waiting, place); err != nil {
			return nil, err
		}
		taken, err := l.ask(ctx, rates, reserve)
		if reserved, ok := errors.AsType[*reservedError](err); ok && reserved.key == key {
			continue
		}
		return taken, err
	}
}

func awaitTurn(ctx, waiting context.Context, place *ratelimit.Place) error {
	var again <-chan time.Time
	if place.First() {
		timer := time.NewTimer(lookAgain)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-place.Turn():
	case <-again:
	case <-waiting.Done():
		if err := ctx.Err(); err != nil {
			return err
		}
		return errUndecided()
	}
	return nil
}

// errUndecided is the error when the answer may soon be another one.
func errUndecided() error { return &LimitedError{RetryAfter: time.Second, Undecided: true} }

// takeForMail is take for a mail, which never waits.
func (l *Limits) takeForMail(
	ctx context.Context, store MailStore, mail uuid.UUID, rates []Rate,
) ([]TakenRate, error) {
	rates = slices.DeleteFunc(rates, func(r Rate) bool { return r.Limit.Off() })
	if len(rates) == 0 {
		return nil, nil
	}
	taken, err := l.askFor(rates, func() ([]TakenRate, []RefusedRate, error) {
		return store.TakeMailRates(ctx, mail, rates)
	})
	if _, soon := errors.AsType[*reservedError](err); soon {
		return nil, errUndecided()
	}
	return taken, err
}

// ask takes from the rates without waiting. Errors: [*LimitedError], [*reservedError].
func (l *Limits) ask(ctx context.Context, rates []Rate, reserve bool) ([]TakenRate, error) {
	return l.askFor(rates, func() ([]TakenRate, []RefusedRate, error) {
		return l.store.TakeRates(ctx, rates, reserve)
	})
}

func (l *Limits) askFor(
	rates []Rate, take func() ([]TakenRate, []RefusedRate, error),
) ([]TakenRate, error) {
	if wait := l.remembered(rates); wait > 0 {
		return nil, &LimitedError{RetryAfter: wait, Remembered: true}
	}
	forgotten := l.refusals.Forgotten()
	taken, refused, err := take()
	if err != nil || len(refused) == 0 {
		return taken, err
	}
	final := slices.DeleteFunc(slices.Clone(refused), RefusedRate.soon)
	if len(final) == 0 {
		return nil, &reservedError{refused[0].Key}
	}
	limited := &LimitedError{}
	now := l.clock()
	for _, rate := range final {
		l.refusals.Add(now, rate.Key, rate.Wait, forgotten)
		limited.RetryAfter = max(limited.RetryAfter, rate.Wait)
		limited.keys = append(limited.keys, rate.Key)
	}
	return nil, limited
}

func (l *Limits) remembered(rates []Rate) (wait time.Duration) {
	now := l.clock()
	for _, rate := range rates {
		if !rate.Lenient {
			wait = max(wait, l.refusals.Wait(now, rate.Key))
		}
	}
	return wait
}

// settle ends a reservation. It gives back what was reserved if the password was right, or if
// nobody verified it. A caller who left may have had the password verified. That counts, unless the
// caller was still waiting for a turn.
//
// Errors are ignored: then what was taken comes back by itself, later.
func (l *Limits) settle(ctx context.Context, reserved []TakenRate, outcome error) {
	l.settleAs(ctx, reserved, wasRight(outcome) || wasNotJudged(outcome))
}

func (l *Limits) settleAs(ctx context.Context, reserved []TakenRate, giveBack bool) {
	l.afterwards(ctx, reserved, func(ctx context.Context) error {
		return l.store.SettleRates(ctx, reserved, giveBack)
	})
}

// afterwards does what remains to be done with rates, whether the caller is there still or not. It
// tells those who wait for them.
func (l *Limits) afterwards(
	ctx context.Context, rates []TakenRate, do func(context.Context) error,
) {
	if len(rates) == 0 {
		return
	}
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_ = do(settling)
	for _, rate := range rates {
		l.lines.Settled(rate.Key)
	}
}

// wasRight reports whether the password was right. It may still need a change, or may have been
// sent with a scope that is too wide.
func wasRight(outcome error) bool {
	return outcome == nil || errors.Is(outcome, ErrMustChangePassword) ||
		errors.Is(outcome, ErrAddressUnverified) || errors.Is(outcome, ErrInvalidScope)
}

func wasNotJudged(outcome error) bool {
	return errors.Is(outcome, ErrOverloaded) || errors.Is(outcome, ErrStopping) ||
		errors.Is(outcome, ErrUnavailable) || errors.Is(outcome, password.ErrNotStarted)
}

// giveBack gives back what a login has taken whose second factor has come by now. Errors are
// ignored, as those of settle are.
func (l *Limits) giveBack(ctx context.Context, taken []TakenRate) {
	l.afterwards(ctx, taken, func(ctx context.Context) error {
		return l.store.GiveBackRates(ctx, taken)
	})
}

// deviceFor returns the token of the device on which an account has logged in, and the name under
// which to keep the token. It is the device that the caller showed, with a new expiry, or a new
// device. Both are empty if a device would be of no use.
func (l *Limits) deviceFor(user User, caller Caller) (device, name string) {
	if !l.knowsDevices() {
		return "", ""
	}
	return l.nameDevice(user, l.deviceOf(user, caller))
}

// deviceOf is the device that a caller has shown, or a new one.
func (l *Limits) deviceOf(user User, caller Caller) token.Device {
	if device, known := l.shown(user, caller); known {
		return device
	}
	return token.Device{ID: uuid.New(), Password: user.passwordMark()}
}

func (l *Limits) nameDevice(user User, known token.Device) (device, name string) {
	account := user.Username.Key
	return l.devices.Make(l.clock(), account, known), l.devices.Names(account)[0]
}

// deviceAmong returns the device that a caller has for an account, of all that it keeps. The names
// reveal no account.
func (l *Limits) deviceAmong(account string, caller Caller) string {
	if caller.Device != "" || len(caller.Devices) == 0 {
		return caller.Device
	}
	for _, name := range l.devices.Names(account) {
		if kept, ok := caller.Devices[name]; ok {
			return kept
		}
	}
	return caller.Devices[unnamedDevice]
}

// unnamedDevice is the name of the only device that a client of an older release keeps.
const unnamedDevice = ""

// knowsDevices is false if logins have no limits, so that a device would be of no use.
func (l *Limits) knowsDevices() bool {
	return !(l.rates.Account.Off() && l.rates.AccountDay.Off() && l.rates.Address.Off())
}

// Unlock resets the failures of an account, so that it can log in again, also from its known
// devices, and with codes of its second factor. Failures of addresses stay. On this replica it works at once. Other replicas are
// notified. A replica that has lost its connection to the database at that moment goes on to refuse
// the account, for as long as [ratelimit.Refusals] remembers. Errors: [ErrUserNotFound],
// [ErrBeyondRights].
func (l *Limits) Unlock(ctx context.Context, by Actor, who UserRef) (user User, err error) {
	e := who.about(newEvent(ctx, by, ActionUnlockUser, uuid.Nil, ""))
	defer l.audit.told(ctx, &e, &err)
	if user, err = who.find(ctx, l.store); err != nil {
		return User{}, err
	}
	keys, owner := l.ratesOf(user)
	reset, err := l.store.ResetRates(ctx, e.of(user.ID), mayManage(by), keys, owner, true)
	if err != nil {
		return User{}, err
	}
	l.Forget(reset)
	return user, nil
}

// Forget drops the remembered refusals of rates that another replica has reset.
func (l *Limits) Forget(keys []ratelimit.Key) { l.refusals.Forget(keys...) }

// ratesOf returns the keys of the rates that lock an account, and the owner of the rates of its
// devices.
func (l *Limits) ratesOf(user User) (keys []ratelimit.Key, owner ratelimit.Key) {
	rates := append(
		l.failures("account", user.Username.Key), l.failures("password check", user.ID.String())...,
	)
	for _, rate := range rates {
		keys = append(keys, rate.Key)
	}
	return keys, l.ownerOf(user.Username.Key)
}

// ownerOf is the key by which the rates of an account's devices are found.
func (l *Limits) ownerOf(account string) ratelimit.Key { return l.keyOf("owner", account) }

func (l *Limits) keyOf(kind, value string) ratelimit.Key {
	// The zero byte ends the kind, so that no value can pass for a part of it.
	return ratelimit.Key(l.macs.Make([]byte(kind), []byte{0}, []byte(value)))
}

// shareOf names the share of the password lane that an operation uses. It is the network that the
// operation comes from, or the whole /48 with IPv6. Whoever rents a server may have the 65,536
// networks of a /48, and one login in each would fill the lane. Operations without an address are
// the operator's or the service's own, and share one.
func shareOf(ctx context.Context) string {
	own := network(originOf(ctx).Address)
	if site, ok := siteOf(own); ok {
		return site
	}
	return own
}

// network is what one caller has for itself: an IPv4 address, or the /64 of an IPv6 address (RFC
// 6177 §2 and RFC 4291 §2.5.4), since any host can use the whole /64. For an IPv6 address that
// stands for an IPv4 address, it is the latter. Otherwise a host would have 65,536 networks with
// 6to4 (RFC 3056 §2), and all hosts behind a NAT64 would have one together (RFC 6052 §2.1).
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

// siteOf returns the /48 of a network. Its holder has all 65,536 networks in it (RFC 6177 §2). An
// IPv4 address has none.
func siteOf(network string) (site string, ok bool) {
	prefix, err := netip.ParsePrefix(network)
	if err != nil {
		return "", false
	}
	return netip.PrefixFrom(prefix.Addr(), 48).Masked().String(), true
}
