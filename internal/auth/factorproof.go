package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/otp"
	"gatehouse.example/internal/passkey"
)

// mostWrongCodes is how many codes in a row may be wrong (NIST SP 800-63B-4 §3.2.2).
const mostWrongCodes = 100

// FactorProofStore stores what second factors are proved with. What is redeemed is redeemed once,
// by one statement, together with the login that it is proved for.
type FactorProofStore interface {
	// PendingLogin reads the user of a login between its two steps, and whether it was redeemed.
	// Errors: [ErrUserNotFound].
	PendingLogin(ctx context.Context, user uuid.UUID, digest ProofDigest) (User, bool, error)
	// TryFactorCode counts a code of a user before anybody looks at it. It returns the user, and the
	// sealed secret of the user's app, or nil. Errors: [ErrUserNotFound] if so many in a row were
	// wrong, if the login was redeemed, or if the user has changed. Then it counts nothing.
	TryFactorCode(ctx context.Context, p PendingProof, most int) (User, []byte, error)
	// UseTOTP uses a step of a user's app, and reports whether it did. It does not if this step or a
	// later one was used before, if the login was redeemed, or if the user has changed.
	UseTOTP(ctx context.Context, p PendingProof, step int64) (bool, error)
	// UseRecoveryCode is UseTOTP for the recovery code with a digest.
	UseRecoveryCode(ctx context.Context, e Event, p PendingProof, code []byte) (bool, error)
	// PasskeysToProve returns the ids and transports of a user's passkeys.
	PasskeysToProve(ctx context.Context, user uuid.UUID) ([]passkey.Credential, error)
	// PasskeyByCredential finds a passkey by the id that its authenticator has given it. Errors:
	// [ErrPasskeyNotFound].
	PasskeyByCredential(ctx context.Context, id []byte) (HeldPasskey, error)
	// UsePasskey stores that a passkey was used, and reports whether it did. It does not if its
	// counter or its user has changed, or if any of what it redeems was redeemed. It records the
	// event, if there is one.
	UsePasskey(ctx context.Context, e *Event, use PasskeyUse) (bool, error)
	// RedeemProof redeems a login between its steps that has proved all, and reports whether it did.
	RedeemProof(ctx context.Context, digest ProofDigest, lifetime time.Duration) (bool, error)
	// DeviceIsTrusted reports whether a user leaves out the second factor on a device.
	DeviceIsTrusted(ctx context.Context, user, device uuid.UUID) (bool, error)
	// TrustDevice stores that a user leaves out the second factor on a device for a while. Errors:
	// [ErrUserNotFound] if the user has changed.
	TrustDevice(ctx context.Context, e Event, t NewTrustedDevice) error
}

// PendingProof is what a second factor is proved for.
type PendingProof struct {
	UserID   uuid.UUID
	Version  int64 // of the user, when the login began
	Digest   ProofDigest
	Lifetime time.Duration // for which it is remembered that it was redeemed
}

// HeldPasskey is a stored passkey and its user.
type HeldPasskey struct {
	Passkey
	Holder User
}

// PasskeyUse is a use of a passkey, to be stored.
type PasskeyUse struct {
	Passkey           uuid.UUID
	User              User // as it was read
	Before, SignCount uint32
	BackedUp          bool
	Redeems           []ProofDigest
	Lifetime          time.Duration // for which it is remembered that they were redeemed
}

// FactorProof is a second factor as it is shown. It is one of the two.
type FactorProof struct {
	Code    string // of an app, or a recovery code, as it was typed
	Passkey []byte // what the browser says (PublicKeyCredential.toJSON, WebAuthn §5.1)
}

// proven is what a second factor has shown.
type proven struct {
	user    User
	methods []string
}

// ProveFactor is the second step of a login in a browser. It starts the session. With trust, the
// device may leave out the second factor for a while. Errors: [ErrPendingLogin]; [ErrWrongFactor], as
// it is or as one of the errors that wrap it; [ErrFactorLocked]; [ErrLimited]; [ErrDisabled];
// [*ChangeNeededError] if the password must be changed first.
func (l *Logins) ProveFactor(
	ctx context.Context, pending string, proof FactorProof, trust bool, caller Caller,
	login BrowserLogin,
) (BrowserGrant, error) {
	p, err := l.pending.open(pending, true, Client{})
	if err != nil {
		return BrowserGrant{}, err
	}
	login.Remember = p.Remember
	return factorProved(ctx, l, p, proof, caller, func(e Event, proof Proof) (BrowserGrant, error) {
		if !trust || l.trustedFor <= 0 {
			return l.startInBrowser(ctx, e, proof, caller, login)
		}
		return l.startTrusted(ctx, e, proof, caller, login)
	})
}

// factorProved proves a second factor, and does what the login is for. It bounds how often, and
// records refusals.
func factorProved[T any](
	ctx context.Context, l *Logins, p pendingLogin, proof FactorProof, caller Caller,
	start func(Event, Proof) (T, error),
) (grant T, err error) {
	e := newEvent(ctx, Actor{}, ActionLogin, uuid.Nil, "").of(p.UserID)
	defer l.audit.told(ctx, &e, &err)
	a := &attempt{name: Username{Key: p.Account}, caller: caller}
	if p.hasFactor() {
		return grant, ErrPendingLogin // it is for a change of the password
	}
	if a.reserved, err = l.limits.reserveLogin(ctx, a.account(), caller); err == nil {
		var found proven
		if found, err = l.proveFactor(ctx, e, a, p, proof); err == nil {
			l.limits.giveBack(ctx, p.taken())
			known := a.reserved.isKnown(Credentials{User: found.user})
			grant, err = proceed(ctx, l, e, known, p, found, start)
		}
		l.limits.settleAs(ctx, a.reserved.taken,
			wasRight(err) || wasNotJudged(err) || errors.Is(err, ErrPendingLogin))
	}
	if l.limits.isLocked(a.account(), err) {
		e.Mails = l.notices.locked(ctx, a.account())
	}
	return grant, err
}

// proceed does what a login is for whose user has proved all but what proceeding demands.
func proceed[T any](
	ctx context.Context, l *Logins, e Event, known bool, p pendingLogin, found proven,
	start func(Event, Proof) (T, error),
) (none T, err error) {
	proof := Proof{
		Credentials: Credentials{User: found.user}, Methods: found.methods, At: l.clock(),
		mode: l.email,
	}
	if err := proof.demandAddress(); err != nil {
		return none, err
	}
	if proof.MustChangePassword && !proof.Passwordless {
		return none, &ChangeNeededError{
			Pending: l.pending.make(proof, p.kindOfLogin, nil), Username: proof.Username,
		}
	}
	if l.limits.knowsDevices() && !known {
		e.Mails = l.notices.newDevice(ctx, proof.User, proof.At)
	}
	return start(e, proof)
}

// proveFactor returns the user of a pending login, if the second factor is right. Then it has
// redeemed both. Errors: [ErrWrongFactor], [ErrFactorLocked], [ErrPendingLogin], [ErrLimited].
func (l *Logins) proveFactor(
	ctx context.Context, e Event, a *attempt, p pendingLogin, proof FactorProof,
) (proven, error) {
	if len(proof.Passkey) > 0 {
		return l.provePasskey(ctx, e, a, p, proof.Passkey)
	}
	user, sealed, err := l.store.TryFactorCode(ctx, p.proof(), mostWrongCodes)
	if errors.Is(err, ErrUserNotFound) {
		return proven{}, l.pendingOr(ctx, p, ErrFactorLocked)
	}
	if err == nil && !p.isOf(user) {
		err = ErrPendingLogin
	}
	if err == nil {
		err = l.limits.confirm(ctx, &a.reserved, Credentials{User: user})
	}
	if err == nil {
		err = l.useCode(ctx, p, user, proof.Code, sealed)
	}
	return proven{user, withFactor(p.Methods, methodOTP)}, err
}

// useCode uses a code that was counted. Errors: [ErrWrongFactor], [ErrPendingLogin].
func (l *Logins) useCode(
	ctx context.Context, p pendingLogin, user User, typed string, sealed []byte,
) error {
	switch otp.KindOf(typed) {
	case otp.KindTOTP:
		return l.useTOTP(ctx, p, typed, sealed)
	case otp.KindRecovery:
		return l.useRecoveryCode(ctx, p, user, typed)
	}
	return ErrWrongFactor
}

func (l *Logins) useTOTP(ctx context.Context, p pendingLogin, typed string, sealed []byte) error {
	if sealed == nil {
		return ErrWrongFactor
	}
	secret, err := l.totp.open(p.UserID, sealed)
	if err != nil {
		return fmt.Errorf("auth: the secret of a second factor: %w", err)
	}
	step, ok := secret.Match(typed, l.clock())
	if !ok {
		return ErrWrongFactor
	}
	used, err := l.store.UseTOTP(ctx, p.proof(), step)
	if err == nil && !used {
		err = l.pendingOr(ctx, p, ErrFactorReused)
	}
	return err
}

func (l *Logins) useRecoveryCode(
	ctx context.Context, p pendingLogin, user User, typed string,
) error {
	code, _ := otp.ParseRecoveryCode(typed)
	told := newEvent(ctx, Actor{}, ActionUseRecoveryCode, uuid.Nil, "").by(p.UserID)
	told.Mails = l.notices.recoveryCodeUsed(ctx, user)
	used, err := l.store.UseRecoveryCode(ctx, told, p.proof(), code.Digest(p.UserID))
	if err == nil && !used {
		err = l.pendingOr(ctx, p, ErrWrongFactor)
	}
	return err
}

// pendingOr returns [ErrPendingLogin] if a pending login is over, and else the other error.
func (l *Logins) pendingOr(ctx context.Context, p pendingLogin, other error) error {
	if _, err := l.pendingUser(ctx, p); err != nil {
		return err
	}
	return other
}

// What the challenges of passkeys are bound to.
func boundToPending(id uuid.UUID) string  { return "second step " + id.String() }
func boundToBrowser(cookie string) string { return "login " + cookie }

// PasskeyOptionsFor are what the browser asks for a passkey with, as the second step of a login: the
// JSON of PublicKeyCredentialRequestOptions (WebAuthn §5.1.9). Errors: [ErrPendingLogin];
// [ErrPasskeyNotFound] if there is none.
func (l *Logins) PasskeyOptionsFor(ctx context.Context, pending string) ([]byte, error) {
	p, err := l.pending.open(pending, true, Client{})
	if err != nil {
		return nil, err
	}
	return l.passkeyOptionsFor(ctx, p)
}

// PasskeyOptionsForCode is PasskeyOptionsFor for a client's program. Errors: also [ErrPendingLogin]
// for the pending login of another client.
func (l *Logins) PasskeyOptionsForCode(
	ctx context.Context, pending string, client Client,
) ([]byte, error) {
	p, err := l.pending.open(pending, false, client)
	if err != nil {
		return nil, err
	}
	return l.passkeyOptionsFor(ctx, p)
}

func (l *Logins) passkeyOptionsFor(ctx context.Context, p pendingLogin) ([]byte, error) {
	if _, err := l.pendingUser(ctx, p); err != nil {
		return nil, err
	}
	keys, err := l.store.PasskeysToProve(ctx, p.UserID)
	if err == nil && (len(keys) == 0 || l.rp == nil) {
		err = ErrPasskeyNotFound
	}
	if err != nil {
		return nil, err
	}
	return l.rp.RequestOptions(passkey.Request{
		Challenge:    l.challenges.make(l.clock(), boundToPending(p.ID)),
		Verification: passkey.Preferred,
	}, keys)
}

// PasskeyOptions are PasskeyOptionsFor for a login without a name. They are bound to a cookie of the
// browser, which must be random. Errors: [ErrPasskeyNotFound] if passkeys are good for nothing here.
func (l *Logins) PasskeyOptions(cookie string) ([]byte, error) {
	if l.rp == nil || cookie == "" {
		return nil, ErrPasskeyNotFound
	}
	return l.rp.RequestOptions(passkey.Request{
		Challenge:    l.challenges.make(l.clock(), boundToBrowser(cookie)),
		Verification: passkey.Required, Discoverable: true,
	}, nil)
}

// provePasskey is proveFactor for a passkey.
func (l *Logins) provePasskey(
	ctx context.Context, e Event, a *attempt, p pendingLogin, response []byte,
) (proven, error) {
	shown, err := l.shownPasskey(ctx, response, boundToPending(p.ID), passkey.Request{
		Verification: passkey.Preferred,
	})
	if err != nil {
		return proven{}, err
	}
	holder := shown.held.Holder
	if holder.ID != p.UserID {
		return proven{}, ErrWrongFactor
	}
	if !p.isOf(holder) {
		return proven{}, ErrPendingLogin
	}
	if err := l.limits.confirm(ctx, &a.reserved, Credentials{User: holder}); err != nil {
		return proven{}, err
	}
	used, err := l.usePasskey(ctx, e, shown, p.digest())
	if err == nil && !used {
		err = l.pendingOr(ctx, p, ErrFactorReused)
	}
	return proven{holder, withFactor(p.Methods, methodPasskey)}, err
}

// shownPasskey is a passkey that has signed a challenge of ours.
type shownPasskey struct {
	held      HeldPasskey
	use       passkey.Use
	challenge []byte
}

// shownPasskey verifies a browser's answer. If the passkey is known, it is returned with the error.
// Errors: [ErrWrongFactor].
func (l *Logins) shownPasskey(
	ctx context.Context, response []byte, boundTo string, request passkey.Request,
) (s shownPasskey, err error) {
	if l.rp == nil {
		return s, ErrWrongFactor
	}
	challenge, ok := l.challenges.answered(l.clock(), response, boundTo)
	if !ok {
		return s, fmt.Errorf("%w: not an answer to a challenge that is good here", ErrWrongFactor)
	}
	answer, err := passkey.ParseAssertion(response)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrWrongFactor, err)
	}
	held, err := l.store.PasskeyByCredential(ctx, answer.ID)
	if errors.Is(err, ErrPasskeyNotFound) {
		return s, fmt.Errorf("%w: the passkey is not known", ErrWrongFactor)
	}
	if err != nil {
		return s, err
	}
	s.held, s.challenge, request.Challenge = held, challenge, challenge
	s.use, err = l.rp.Verify(request, held.Holder.ID, held.Credential, answer)
	switch {
	case errors.Is(err, passkey.ErrCounter):
		err = ErrPasskeyCloned
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrWrongFactor, err)
	}
	return s, err
}

// usePasskey stores a use, and reports whether it did. A counter that went back of a passkey that is
// on several devices is recorded: it may be a copy that nobody wanted.
func (l *Logins) usePasskey(
	ctx context.Context, e Event, s shownPasskey, more ...ProofDigest,
) (bool, error) {
	var told *Event
	if s.use.Regressed {
		regressed := newEvent(
			ctx, Actor{}, ActionRegressPasskey, uuid.Nil, s.held.ID.String(),
		).by(s.held.Holder.ID)
		told = &regressed
	}
	return l.store.UsePasskey(ctx, told, PasskeyUse{
		Passkey: s.held.ID, User: s.held.Holder, Before: s.held.SignCount,
		SignCount: s.use.SignCount, BackedUp: s.use.BackedUp,
		Redeems: append(more, ProofDigest(digestOf(s.challenge))), Lifetime: redeemedFor,
	})
}

// LoginByPasskey is a login with a passkey alone, whose authenticator knows its user. It needs
// neither a name nor a password. The cookie is that of [Logins.PasskeyOptions]. Errors:
// [ErrWrongFactor], as it is or as one of the errors that wrap it; [ErrDisabled];
// [ErrAddressUnverified]; [*ChangeNeededError]; [ErrLimited].
//
// Nobody can guess a passkey. So whoever has used up the limits of an account with wrong passwords
// does not keep its owner from logging in like this.
func (l *Logins) LoginByPasskey(
	ctx context.Context, cookie string, response []byte, caller Caller, login BrowserLogin,
) (grant BrowserGrant, err error) {
	e := newEvent(ctx, Actor{}, ActionLogin, uuid.Nil, "")
	defer l.audit.told(ctx, &e, &err)
	reserved, err := l.limits.reserveProof(ctx, caller.Address)
	if err != nil {
		return BrowserGrant{}, err
	}
	grant, err = l.byPasskey(ctx, &e, cookie, response, caller, login)
	l.limits.settleAs(ctx, reserved, !errors.Is(err, ErrWrongFactor))
	return grant, err
}

func (l *Logins) byPasskey(
	ctx context.Context, e *Event, cookie string, response []byte, caller Caller, login BrowserLogin,
) (BrowserGrant, error) {
	if cookie == "" {
		return BrowserGrant{}, ErrWrongFactor
	}
	shown, err := l.shownPasskey(ctx, response, boundToBrowser(cookie), passkey.Request{
		Verification: passkey.Required, Discoverable: true,
	})
	holder := shown.held.Holder
	*e = e.of(holder.ID)
	if errors.Is(err, ErrWrongFactor) && holder.ID != uuid.Nil {
		l.limits.countFailure(ctx, holder.Username.Key)
	}
	if err != nil {
		return BrowserGrant{}, err
	}
	if holder.Disabled() {
		return BrowserGrant{}, ErrDisabled
	}
	// No hash of a password bounds how many sessions and lines of the audit log this makes.
	if err := l.pace.logIn(holder.ID); err != nil {
		return BrowserGrant{}, err
	}
	used, err := l.usePasskey(ctx, *e, shown)
	if err == nil && !used {
		err = ErrFactorReused
	}
	if err != nil {
		return BrowserGrant{}, err
	}
	p := pendingLogin{kindOfLogin: kindOfLogin{Browser: true, Remember: login.Remember}}
	found := proven{holder, []string{methodPasskey, methodUser, methodMultiple}}
	return proceed(ctx, l, *e, l.limits.knows(holder, caller), p, found,
		func(e Event, proof Proof) (BrowserGrant, error) {
			return l.startInBrowser(ctx, e, proof, caller, login)
		})
}

// enrolled goes on with a login of a browser whose user has just set up the factor that the account
// demands. Errors: [ErrPendingLogin], [*ChangeNeededError], [ErrDisabled].
func (l *Logins) enrolled(
	ctx context.Context, pending string, done FactorChange, caller Caller, login BrowserLogin,
) (grant BrowserGrant, err error) {
	user := done.Browser.User
	e := newEvent(ctx, Actor{}, ActionLogin, uuid.Nil, "").of(user.ID)
	defer l.audit.told(ctx, &e, &err)
	p, err := l.pending.open(pending, true, Client{})
	if err == nil && (p.UserID != user.ID || len(done.methods) == 0 || p.hasFactor()) {
		err = ErrPendingLogin
	}
	if err == nil {
		err = l.redeem(ctx, p.digest())
	}
	if err != nil {
		return BrowserGrant{}, err
	}
	l.limits.giveBack(ctx, p.taken())
	login.Remember = p.Remember
	return proceed(ctx, l, e, l.limits.knows(user, caller), p, proven{user, done.methods},
		func(e Event, proof Proof) (BrowserGrant, error) {
			return l.startInBrowser(ctx, e, proof, caller, login)
		})
}
