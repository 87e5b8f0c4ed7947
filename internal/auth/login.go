package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/passkey"
	"gatehouse.example/internal/token"
)

// LoginStore stores what users prove their identity with.
type LoginStore interface {
	AccessStore
	FactorProofStore
	userFinder

	// UsernameOfLogin returns the key of the username of the account whose username or verified
	// address has one of the keys: that of what was typed as a username, which counts first, and as
	// an address. If there is no such account, it returns the address. The unproved key is that of
	// the newest account that must verify the address yet; if there is none, that of nobody.
	UsernameOfLogin(ctx context.Context, username, address string) (key, unproved string, err error)
	// CredentialsByKey is UserByKey and also returns the password hash, for a login. Errors:
	// [ErrUserNotFound].
	CredentialsByKey(ctx context.Context, key string) (Credentials, error)
	// InsertProvedCode stores a code without a browser, if neither its user nor the client has
	// changed. Errors: [ErrUserNotFound] if one has.
	InsertProvedCode(ctx context.Context, e Event, code NewCode) error
	// RehashPassword replaces a hash with another hash of the same password, if the stored one is
	// still oldHash. If it is not, somebody else was first, and nothing changes.
	RehashPassword(ctx context.Context, id uuid.UUID, oldHash, newHash string) error
	// ReplacePassword is [AccountStore.SetPassword] without an expiry. The user must not have
	// changed meanwhile, and the password must not have expired. Errors: [ErrUserNotFound].
	ReplacePassword(ctx context.Context, e Event, user User, passwordHash string) (User, error)
	// ChangePassword is [AccountStore.SetPassword] for a user who has not changed meanwhile. It
	// keeps one session, which must be live. It returns that session after the change, with the
	// user's new token version. Errors: [ErrUserNotFound].
	ChangePassword(ctx context.Context, e Event, change PasswordChange) (SessionState, error)
}

// Logins prove who users are, and start their sessions. A login has two steps: prove the user, and
// start a session. Between them comes what the account demands: that the address is verified, a
// second factor, and another password, in this order. A second factor is proved in a step of its
// own, to which a pending login leads ([FactorNeededError]).
type Logins struct {
	store      LoginStore
	passwords  *Passwords
	limits     *Limits
	pace       *Pace
	tokens     *Tokens
	browsers   *Browsers
	audit      *Audit
	notices    *Notices
	email      EmailMode
	factors    FactorMode
	pending    pendingLogins
	totp       totpSecrets
	challenges passkeyChallenges
	rp         *passkey.RelyingParty
	trustedFor time.Duration
	clock      func() time.Time
}

// LoginParts are what Logins is made of. All are needed, but for Notices, Email, RP and TrustedFor.
type LoginParts struct {
	Store     LoginStore
	Passwords *Passwords
	Limits    *Limits
	Pace      *Pace
	Tokens    *Tokens
	Browsers  *Browsers
	Audit     *Audit
	Notices   *Notices
	Email     EmailMode
	Factors   FactorMode
	Keys      *keychain.Keychain
	RP        *passkey.RelyingParty // nil: passkeys are good for nothing here
	// TrustedFor is how long a device that a user trusts may leave out the second factor; 0: none
	// may.
	TrustedFor time.Duration
	Clock      func() time.Time
}

// NewLogins makes Logins.
func NewLogins(p LoginParts) *Logins {
	return &Logins{
		store: p.Store, passwords: p.Passwords, limits: p.Limits, pace: p.Pace, tokens: p.Tokens,
		browsers: p.Browsers, audit: p.Audit, notices: p.Notices, email: p.Email,
		factors: p.Factors, pending: newPendingLogins(p.Keys, p.Clock),
		totp:       newTOTPSecrets(p.Keys),
		challenges: newPasskeyChallenges(p.Keys), rp: p.RP, trustedFor: p.TrustedFor,
		clock: p.Clock,
	}
}

// Proof says that somebody has proved to be a user, and how.
type Proof struct {
	Credentials
	// Methods are the authentication methods (RFC 8176 §2).
	Methods []string
	// At is the time of the proof.
	At time.Time
	// rehash is the hash that should replace the stored one; "" if the stored one is fine.
	rehash string
	// trusted is true if the second factor was left out, since the device is trusted.
	trusted bool
	// mode says whether addresses are required.
	mode EmailMode
}

// UnverifiedError is [ErrAddressUnverified] of a user, who has shown the password.
type UnverifiedError struct{ UserID uuid.UUID }

// Error implements error.
func (e *UnverifiedError) Error() string { return ErrAddressUnverified.Error() }

// Unwrap returns [ErrAddressUnverified].
func (e *UnverifiedError) Unwrap() error { return ErrAddressUnverified }

// demandChange is what is demanded last: whoever changes a password has proved all else.
func (p Proof) demandChange() error {
	if p.MustChangePassword {
		return ErrMustChangePassword
	}
	return nil
}

// demandAddress is what stays to be demanded of whoever has just changed the password. Accounts
// that were there before addresses were required, or that an admin has made, need none.
func (p Proof) demandAddress() error {
	if p.mode == EmailRequired && p.VerifyUntil != nil {
		return &UnverifiedError{p.ID}
	}
	return nil
}

// attempt is a login that is under way.
type attempt struct {
	name     Username // the key is empty if no user can have the name
	address  string   // the key of what was typed as an address; "" if it is none
	unproved string   // the key of who must verify that address yet; "" if nobody may be asked to
	given    string
	caller   Caller
	reserved reservation
}

// Login proves a user with the password and starts a session. The session has all of the user's
// permissions or, with a scope, those of the scope. Errors: [ErrBadCredentials], as one of the
// errors that wrap it; [ErrMustChangePassword]; [ErrAddressUnverified]; [*FactorNeededError];
// [ErrInvalidScope] if the user lacks a permission of the scope; [ErrNotAdmitted]; [ErrLimited].
//
// A caller who does not know the password learns nothing about the account, not even whether it
// exists or is disabled. Every refusal costs the same hashing. Whether the account is disabled, or
// the password has expired or must be changed, is checked last.
func (l *Logins) Login(
	ctx context.Context, username, pw string, caller Caller, scope ...string,
) (Grant, error) {
	return loggedIn(ctx, l, username, pw, caller, programOf(caller), false,
		func(e Event, proof Proof) (Grant, error) {
			return l.start(ctx, e, proof, caller, strings.Join(scope, " "))
		})
}

// programOf is the kind of a login without a browser.
func programOf(caller Caller) kindOfLogin { return kindOfLogin{ClientID: caller.Client.ID} }

// LoginInBrowser is Login with a session of the browser, which has a cookie in place of tokens.
// Errors: those of Login, but for the one of the scope.
func (l *Logins) LoginInBrowser(
	ctx context.Context, username, pw string, caller Caller, login BrowserLogin,
) (BrowserGrant, error) {
	return loggedIn(ctx, l, username, pw, caller, login.kind(), login.MayTrust,
		func(e Event, proof Proof) (BrowserGrant, error) {
			return l.startInBrowser(ctx, e, proof, caller, login)
		})
}

// loggedIn proves a user, and starts a session when all that the account demands is there.
func loggedIn[T any](
	ctx context.Context, l *Logins, username, pw string, caller Caller, kind kindOfLogin,
	mayTrust bool, start func(Event, Proof) (T, error),
) (none T, err error) {
	// a flood that is refused must not reach the database
	if err := l.passwords.checkRoom(ctx); err != nil {
		return none, err
	}
	return limitedTo(ctx, l, ActionLogin, newAttempt(username, caller),
		func(e Event, a *attempt) (T, error) {
			proof, err := l.prove(ctx, a, pw)
			if err == nil {
				err = proof.demandAddress()
			}
			if err == nil {
				err = l.demandFactor(ctx, a, &proof, kind, mayTrust)
			}
			if err == nil {
				err = proof.demandChange()
			}
			if err != nil {
				return none, err
			}
			if l.limits.knowsDevices() && !a.reserved.isKnown(proof.Credentials) {
				e.Mails = l.notices.newDevice(ctx, proof.User, proof.At)
			}
			return start(e, proof)
		})
}

func newAttempt(username string, caller Caller) *attempt {
	// a malformed one has no key, and is refused like an unknown one
	name, _ := parseUsername(username)
	return &attempt{name: name, address: addressKey(username), given: username, caller: caller}
}

// resolve replaces the name of a login by that of the account whose address was typed. From there
// on nothing knows what was typed: the account has one counter of failures, and its devices are
// good whichever way its user names it.
func (l *Logins) resolve(ctx context.Context, a *attempt) (err error) {
	if a.address == "" || !l.email.IsOn() {
		return nil
	}
	key, unproved, err := l.store.UsernameOfLogin(ctx, a.name.Key, a.address)
	if err != nil {
		return err
	}
	a.name.Key = key
	if l.email == EmailRequired {
		a.unproved = unproved
	}
	return nil
}

// limitedTo does what a user proves their identity for with a password. It bounds how often, and
// records refusals. Errors: [ErrLimited].
func limitedTo[T any](
	ctx context.Context, l *Logins, action Action, a *attempt, do func(Event, *attempt) (T, error),
) (grant T, err error) {
	e := newEvent(ctx, Actor{}, action, uuid.Nil, "")
	defer l.audit.told(ctx, &e, &err)
	if err := l.resolve(ctx, a); err != nil {
		return grant, err
	}
	e.UserKey = a.name.Key
	if a.reserved, err = l.limits.reserveLogin(ctx, a.account(), a.caller); err == nil {
		grant, err = do(e, a)
		l.limits.settle(ctx, a.reserved.taken, err)
	}
	if refused, ok := errors.AsType[*UnverifiedError](err); ok {
		e = e.of(refused.UserID) // which may be another account than that of the name
		e.UserKey = ""
	}
	if l.limits.isLocked(a.account(), err) {
		e.Mails = l.notices.locked(ctx, a.account())
	}
	return grant, err
}

// account is what the limits count a login under: the key of the name. Text that cannot be a name
// is counted as it is. It cannot be the key of another name.
func (a *attempt) account() string {
	if a.name.Key != "" {
		return a.name.Key
	}
	return a.given
}

// start starts the session of a proved user. Hashing takes long enough for an administrator to act
// meanwhile, so the session starts only if the user has not changed.
func (l *Logins) start(
	ctx context.Context, e Event, proof Proof, caller Caller, requested string,
) (Grant, error) {
	if _, requested = SplitScope(requested); requested != "" {
		var err error
		if requested, err = checkScope(
			caller.Client.narrowed(scopeOf(proof.Permissions)), requested,
		); err != nil {
			return Grant{}, err
		}
	}
	if err := l.rehash(ctx, proof); err != nil {
		return Grant{}, err
	}
	return l.startSession(ctx, e, proof, caller, requested)
}

func (l *Logins) startInBrowser(
	ctx context.Context, e Event, proof Proof, caller Caller, login BrowserLogin,
) (BrowserGrant, error) {
	if err := l.rehash(ctx, proof); err != nil {
		return BrowserGrant{}, err
	}
	grant, err := l.browsers.start(ctx, e, proof, caller, login)
	if errors.Is(err, ErrUserNotFound) {
		return BrowserGrant{}, l.superseded(ctx, proof.User)
	}
	if err == nil {
		grant.Device, grant.DeviceName = l.limits.deviceFor(proof.User, caller)
	}
	return grant, err
}

// rehash stores the hash that should replace the one of the proof, if there is one.
func (l *Logins) rehash(ctx context.Context, proof Proof) error {
	if proof.rehash == "" {
		return nil
	}
	return l.store.RehashPassword(ctx, proof.ID, proof.PasswordHash, proof.rehash)
}

// startSession starts a session, and makes its device known. Errors: [ErrBadCredentials] if the
// user has changed.
func (l *Logins) startSession(
	ctx context.Context, e Event, proof Proof, caller Caller, scope string,
) (Grant, error) {
	grant, err := l.tokens.start(ctx, e, proof.User, proof.Methods, caller, scope)
	if errors.Is(err, ErrUserNotFound) {
		return Grant{}, l.superseded(ctx, proof.User)
	}
	if err != nil {
		return Grant{}, err
	}
	grant.Device, grant.DeviceName = l.limits.deviceFor(proof.User, caller)
	return grant, nil
}

// superseded returns the reason why a user has changed.
func (l *Logins) superseded(ctx context.Context, before User) error {
	now, err := l.store.UserByID(ctx, before.ID)
	switch {
	case err != nil && !errors.Is(err, ErrUserNotFound):
		return err
	case now.Disabled():
		return ErrDisabled
	}
	return ErrSuperseded
}

// prove returns the user, if the password is right. Errors: [ErrBadCredentials], [ErrLimited].
func (l *Logins) prove(ctx context.Context, a *attempt, pw string) (Proof, error) {
	found, err := l.credentials(ctx, a.name.Key)
	if err != nil {
		return Proof{}, err
	}
	if err := l.limits.confirm(ctx, &a.reserved, found); err != nil {
		return Proof{}, err
	}
	proof, err := l.compare(ctx, found, pw)
	if a.unproved == "" || !errors.Is(err, ErrBadCredentials) {
		return proof, err
	}
	return l.proveUnproved(ctx, a.unproved, pw, err)
}

// proveUnproved returns who must verify the address that was typed, if the password is theirs. Else
// it returns the refusal of the login by that address.
//
// It is asked whether somebody has verified the address or not, and hashes whether somebody must or
// not. Otherwise a stranger could register with any address, log in by it with their own password,
// and see by the answer or its time whether it has an owner. The owner of the address counts first,
// so that no stranger keeps them out.
func (l *Logins) proveUnproved(
	ctx context.Context, key, pw string, refusal error,
) (Proof, error) {
	found, err := l.credentials(ctx, key)
	if err != nil {
		return Proof{}, err
	}
	proof, err := l.compare(ctx, found, pw)
	switch {
	case errors.Is(err, ErrBadCredentials), err == nil && proof.VerifyUntil == nil:
		return Proof{}, refusal
	case err != nil:
		return Proof{}, err
	}
	return proof, nil
}

// compare returns the user, if the password is that of the credentials. Errors:
// [ErrBadCredentials].
func (l *Logins) compare(ctx context.Context, found Credentials, pw string) (Proof, error) {
	verdict, err := l.passwords.verify(ctx, found.PasswordHash, pw)
	if err == nil {
		err = refusal(found, verdict.Match)
	}
	if errors.Is(err, ErrBadCredentials) {
		_ = pause(ctx, verdict.Owed) // who has left is refused too
	}
	if err != nil {
		return Proof{}, err
	}
	return Proof{
		Credentials: found, Methods: []string{methodPassword}, At: l.clock(), rehash: verdict.Rehash,
		mode: l.email,
	}, nil
}

// pause returns nil when a time is over, or the error of the context when that ends before.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// credentials returns the zero Credentials for a user who does not exist.
func (l *Logins) credentials(ctx context.Context, key string) (Credentials, error) {
	if key == "" {
		return Credentials{}, nil
	}
	found, err := l.store.CredentialsByKey(ctx, key)
	if errors.Is(err, ErrUserNotFound) {
		return Credentials{}, nil
	}
	return found, err
}

func refusal(found Credentials, match bool) error {
	switch {
	case found.PasswordHash == "":
		return ErrUnknownUser
	case !match:
		return ErrWrongPassword
	case found.PasswordExpired:
		return ErrPasswordExpired
	case found.Disabled():
		return ErrDisabled
	}
	return nil
}

// ReplacePassword is a login that gives the user another password, and ends all other sessions. Of
// many such logins at once with one password, one succeeds. Errors: [InputError], which depends on
// the input alone and says nothing about the account; [ErrBadCredentials], [ErrAddressUnverified],
// [*FactorNeededError], [ErrLimited].
func (l *Logins) ReplacePassword(
	ctx context.Context, username, current, next string, caller Caller,
) (Grant, error) {
	start := func(e Event, proof Proof) (Grant, error) {
		return l.startSession(ctx, e, proof, caller, "")
	}
	return replaced(ctx, l, username, current, next, caller, programOf(caller), "", start)
}

// ReplacePasswordInBrowser is ReplacePassword with a session of the browser. Where a second factor
// is demanded, what is pending has to come with it ([ChangeNeededError]). Errors: also
// [ErrPendingLogin].
func (l *Logins) ReplacePasswordInBrowser(
	ctx context.Context, username, current, next string, caller Caller, login BrowserLogin,
) (BrowserGrant, error) {
	start := func(e Event, proof Proof) (BrowserGrant, error) {
		return l.startInBrowser(ctx, e, proof, caller, login)
	}
	return replaced(ctx, l, username, current, next, caller, login.kind(), login.Pending, start)
}

func replaced[T any](
	ctx context.Context, l *Logins, username, current, next string, caller Caller,
	kind kindOfLogin, pending string, start func(Event, Proof) (T, error),
) (none T, err error) {
	if err := l.passwords.checkRoom(ctx); err != nil {
		return none, err
	}
	a := newAttempt(username, caller)
	prepared, err := l.passwords.checkNext(next, current, a.name.Key, a.address)
	if err != nil {
		return none, err
	}
	return limitedTo(ctx, l, ActionChangePassword, a, func(e Event, a *attempt) (T, error) {
		proof, err := l.prove(ctx, a, current)
		if err == nil {
			err = proof.demandAddress() // otherwise this would be a way around it
		}
		var before ProofDigest
		if err == nil {
			before, err = l.demandProved(ctx, a, &proof, kind, pending)
		}
		if err != nil {
			return none, err
		}
		hash, err := l.passwords.hash(ctx, prepared)
		if err == nil && pending != "" {
			err = l.redeem(ctx, before)
		}
		if err != nil {
			return none, err
		}
		done := e.by(proof.ID)
		done.Mails = l.notices.passwordChanged(ctx, proof.User)
		user, err := l.store.ReplacePassword(ctx, done, proof.User, hash)
		if errors.Is(err, ErrUserNotFound) {
			return none, l.superseded(ctx, proof.User)
		}
		if err != nil {
			return none, err
		}
		proof.User, proof.rehash = user, ""
		return start(newEvent(ctx, Actor{}, ActionLogin, uuid.Nil, ""), proof)
	})
}

// ChangePassword gives the user of an access token another password, ends the user's other
// sessions, and gives this session new tokens. Errors: [InputError], [ErrInvalidToken],
// [ErrForbidden], [ErrInsufficientAuthentication], [ErrLimited].
//
// The earlier refresh tokens of this session become unknown. If they did not, a stolen one would be
// answered within the grace like the owner's. Using one does not end the session either, since the
// owner's second browser tab may send one.
func (l *Logins) ChangePassword(
	ctx context.Context, access token.Access, current, next string,
) (Grant, error) {
	after, err := l.changePassword(ctx, access, current, next)
	if err != nil {
		return Grant{}, err
	}
	if after.Browser {
		return Grant{}, fmt.Errorf("%w: a browser's session has no tokens", ErrInvalidToken)
	}
	grant, err := l.tokens.grant(after, access.SessionID, after.Scope, "")
	if err == nil { // all devices from before are unknown from now on, even this one
		grant.Device, grant.DeviceName = l.limits.deviceFor(after.User, Caller{})
	}
	return grant, err
}

// ChangePasswordInBrowser is ChangePassword for the session of a browser, which gets a new cookie.
func (l *Logins) ChangePasswordInBrowser(
	ctx context.Context, access token.Access, current, next string,
) (BrowserGrant, error) {
	after, err := l.changePassword(ctx, access, current, next)
	if err != nil {
		return BrowserGrant{}, err
	}
	grant := l.browsers.regrant(access.SessionID, after)
	grant.Device, grant.DeviceName = l.limits.deviceFor(after.User, Caller{})
	return grant, nil
}

func (l *Logins) changePassword(
	ctx context.Context, access token.Access, current, next string,
) (after SessionState, err error) {
	if access.IsClient() {
		return SessionState{}, errNoUser
	}
	e := newEvent(
		ctx, Actor{}, ActionChangePassword, uuid.Nil, access.SessionID.String(),
	).by(access.UserID)
	defer l.audit.told(ctx, &e, &err)
	before, err := liveSession(ctx, l.store, access)
	if err != nil {
		return SessionState{}, err
	}
	if err := mayRuleAccount(before, access); err != nil {
		return SessionState{}, err
	}
	prepared, err := l.passwords.checkNext(next, current, before.User.Username.Key,
		before.User.Email.Key)
	if err != nil {
		return SessionState{}, err
	}
	if err := l.checkOwner(ctx, before, current); err != nil {
		return SessionState{}, err
	}
	hash, err := l.passwords.hash(ctx, prepared)
	if err != nil {
		return SessionState{}, err
	}
	done := e
	done.Mails = l.notices.passwordChanged(ctx, before.User)
	after, err = l.store.ChangePassword(ctx, done, PasswordChange{
		SessionID: access.SessionID, Before: before, Salt: newSalt(), Hash: hash,
		Idle: l.tokens.limits.Idle,
	})
	if errors.Is(err, ErrUserNotFound) {
		return SessionState{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return after, err
}

// checkOwner is for what only the owner of an account may do, and not whoever has stolen a session.
// It wants the password. Of an account with a second factor it also wants a login with that which
// is fresh, and of one without a password that alone. Errors: [InputError], [ErrLimited],
// [ErrInsufficientAuthentication].
func (l *Logins) checkOwner(ctx context.Context, session SessionState, current string) error {
	user := session.User
	if user.Factors.Any() || user.Passwordless {
		if err := session.provedAnew(session.Now); err != nil {
			return err
		}
	}
	if user.Passwordless {
		return nil
	}
	found, err := l.store.CredentialsByKey(ctx, user.Username.Key)
	if err != nil {
		return err
	}
	return l.checkPasswordOf(ctx, found, current, "current_password")
}

// checkPasswordOf wants the password of an account, which came in a field. It is limited too.
// Otherwise whoever has stolen a session could guess it. Errors: [InputError], [ErrLimited].
func (l *Logins) checkPasswordOf(
	ctx context.Context, found Credentials, current, field string,
) error {
	reserved, err := l.limits.reservePasswordCheck(ctx, found.ID)
	if err != nil {
		return err
	}
	verdict, err := l.passwords.verify(ctx, found.PasswordHash, current)
	if err == nil && !verdict.Match {
		err = errors.Join(InputError{{field, "is not right"}}, ErrWrongCurrentPassword)
	}
	l.limits.settle(ctx, reserved, err)
	return err
}
