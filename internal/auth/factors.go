package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/otp"
	"gatehouse.example/internal/passkey"
)

// FactorStore stores what users prove besides the password.
type FactorStore interface {
	AccessStore

	// FactorsOf reads what a user has set up. Errors: [ErrUserNotFound].
	FactorsOf(ctx context.Context, user uuid.UUID) (FactorsShown, error)
	// PasskeysOf returns the passkeys of a user, the oldest first.
	PasskeysOf(ctx context.Context, user uuid.UUID) ([]Passkey, error)
	// ChangeFactors changes what a user has set up. It returns the session that goes on, after the
	// change. Errors: [ErrUserNotFound] if the user or the session is not as it was read;
	// [ErrFactorExists], [ErrPasskeyTaken], [ErrPasskeyNotFound]; [ErrInvalidPasskey] if the
	// challenge was answered before, or if passkeys are made under another id by now.
	ChangeFactors(ctx context.Context, e Event, c FactorEdit) (SessionState, error)
	// RenamePasskey gives a passkey of a user another name. Errors: [ErrPasskeyNotFound].
	RenamePasskey(ctx context.Context, e Event, user, id uuid.UUID, name string) error
	// ForgetDevices makes devices unknown for the second factor: one, or all (uuid.Nil).
	ForgetDevices(ctx context.Context, e Event, user, device uuid.UUID) error
	// ClaimPasskeyRP notes under which id passkeys are made. If there are passkeys of another one,
	// it notes nothing, and returns that.
	ClaimPasskeyRP(ctx context.Context, id string) (other string, err error)
	// PasskeyRP returns under which id the passkeys that there are were made; "": there are none.
	PasskeyRP(ctx context.Context) (string, error)
}

// FactorEdit is a change of what a user has set up.
type FactorEdit struct {
	Before    User      // as it was read
	Session   uuid.UUID // that goes on; Nil: the user is just about to log in
	NewCookie bool      // its cookies of before are void
	Methods   []string  // how its user has proved who it is, from then on; nil: as before
	EndOthers bool      // all other sessions end, and what is open for the user's version
	// ForgetDevices is true if no device of the user is known any more.
	ForgetDevices bool

	AddTOTP       *StoredTOTP
	AddPasskey    *NewPasskey
	RemoveTOTP    bool
	RemovePasskey uuid.UUID
	// Codes are the digests of the recovery codes from then on; nil: they stay; empty: there are
	// none.
	Codes [][]byte
	// PasswordHash takes the place of the password; "": it stays. Nobody knows what it is made of.
	PasswordHash string
}

// FactorsShown is what a user has set up, as the user sees it.
type FactorsShown struct {
	User          User
	TOTPSince     *time.Time // nil: there is no app that shows codes
	Passkeys      []Passkey
	RecoveryCodes int // that were not used yet
	Devices       []TrustedDevice
}

// MayRemovePassword reports whether the user can do without a password: there are passkeys enough
// that know their user.
func (s FactorsShown) MayRemovePassword() bool { return haveWaysIn(s.Passkeys) }

// TrustedDevice is a device on which a user leaves out the second factor.
type TrustedDevice struct {
	ID        uuid.UUID
	TrustedAt time.Time
	ExpiresAt time.Time
	Caller    Caller // from where it was trusted
}

// Factors are what users prove besides the password, as they set it up and take it away themselves.
// Each change needs a proof that is fresh. Otherwise whoever has stolen a session could lock the
// owner out, or stay in after the owner's answer to it.
type Factors struct {
	store      FactorStore
	passwords  *Passwords
	browsers   *Browsers
	limits     *Limits
	pace       *Pace
	audit      *Audit
	notices    *Notices
	mode       FactorMode
	secrets    totpSecrets
	challenges passkeyChallenges
	rp         *passkey.RelyingParty
	appName    string
	clock      func() time.Time
}

// FactorParts are what Factors are made of. All are needed, but for RP and Notices.
type FactorParts struct {
	Store     FactorStore
	Passwords *Passwords
	Browsers  *Browsers
	Limits    *Limits
	Pace      *Pace
	Audit     *Audit
	Notices   *Notices // nil: nobody is told
	Mode      FactorMode
	Keys      *keychain.Keychain
	// RP asks for passkeys under an id. Without it there are none.
	RP      *passkey.RelyingParty
	AppName string // that authenticator apps show
	Clock   func() time.Time
}

// NewFactors makes Factors.
func NewFactors(p FactorParts) *Factors {
	return &Factors{
		store: p.Store, passwords: p.Passwords, browsers: p.Browsers, limits: p.Limits,
		pace: p.Pace, audit: p.Audit, notices: p.Notices, mode: p.Mode, secrets: newTOTPSecrets(p.Keys),
		challenges: newPasskeyChallenges(p.Keys), rp: p.RP, appName: p.AppName,
		clock: p.Clock,
	}
}

// Enroller is who sets factors up, or takes them away. It is a browser's session that has proved
// anew who its user is, or a login that cannot go on without a factor. The zero Enroller may do
// nothing.
type Enroller struct {
	Browser Browser
	// EndOthers ends the user's other sessions when a factor is added. When one is taken away they
	// end in any case.
	EndOthers bool

	pending *pendingEnroller
}

// pendingEnroller is a login that cannot go on without a factor.
type pendingEnroller struct {
	id      uuid.UUID
	user    User
	methods []string
}

// FactorChange is what a change of factors leads to.
type FactorChange struct {
	// Browser has the new cookie of the session that goes on. It has none if nothing has changed
	// for the session, or if there is none yet.
	Browser BrowserGrant
	// Codes are shown once: with the first factor, or when they are made anew.
	Codes []otp.RecoveryCode

	methods []string // how the user has proved who it is, with what was added
}

// enrolling is an [Enroller] who was found to be one.
type enrolling struct {
	user    User
	session uuid.UUID // Nil: there is none yet
	methods []string
	bound   string // what the challenges of passkeys are bound to
}

// may decides whether somebody may change the factors of an account, and reads the account. Errors:
// [ErrInvalidToken], [ErrForbidden], [ErrInsufficientAuthentication].
func (f *Factors) may(ctx context.Context, who Enroller) (enrolling, error) {
	if p := who.pending; p != nil {
		return enrolling{
			user: p.user, methods: p.methods, bound: "pending " + p.id.String(),
		}, nil
	}
	access := who.Browser.Access
	if access.SessionID == uuid.Nil || access.IsClient() {
		return enrolling{}, errNoUser
	}
	state, err := liveSession(ctx, f.store, access)
	if err == nil {
		err = mayRuleAccount(state, access)
	}
	if err == nil && !state.Browser {
		err = fmt.Errorf("%w: not of a browser", ErrForbidden)
	}
	if err == nil {
		err = state.provedAnew(state.Now)
	}
	return enrolling{
		user: state.User, session: access.SessionID, methods: state.Methods,
		bound: "session " + access.SessionID.String(),
	}, err
}

// change is what all changes of factors have in common. They are audited, and bounded: whoever has
// proved who they are could otherwise fill the audit log.
func (f *Factors) change(
	ctx context.Context, who Enroller, action Action, target string,
	decide func(enrolling) (FactorEdit, []otp.RecoveryCode, error),
) (done FactorChange, err error) {
	e := newEvent(ctx, Actor{}, action, uuid.Nil, target)
	defer f.audit.told(ctx, &e, &err)
	by, err := f.begin(ctx, who, &e)
	if err != nil {
		return FactorChange{}, err
	}
	edit, codes, err := decide(by)
	if err != nil {
		return FactorChange{}, err
	}
	edit.Before, edit.Session = by.user, by.session
	if len(codes) > 0 {
		edit.Codes = digests(codes, by.user.ID)
	}
	told := e
	told.Mails = f.told(ctx, by.user, edit)
	after, err := f.store.ChangeFactors(ctx, told, edit)
	if errors.Is(err, ErrUserNotFound) {
		return FactorChange{}, f.overtaken(ctx, who)
	}
	if err != nil {
		return FactorChange{}, err
	}
	done = FactorChange{
		Browser: BrowserGrant{User: after.User}, Codes: codes, methods: edit.Methods,
	}
	if edit.NewCookie && by.session != uuid.Nil {
		done.Browser = f.browsers.regrant(by.session, after)
	}
	if edit.ForgetDevices { // even this one
		done.Browser.Device, done.Browser.DeviceName = f.limits.deviceFor(after.User, Caller{})
	}
	return done, nil
}

// told is the mail to the user whose factors are changed.
func (f *Factors) told(ctx context.Context, user User, edit FactorEdit) []QueuedMail {
	switch {
	case edit.AddTOTP != nil, edit.AddPasskey != nil:
		return f.notices.factorAdded(ctx, user)
	case edit.RemoveTOTP, edit.RemovePasskey != uuid.Nil, edit.PasswordHash != "":
		return f.notices.factorRemoved(ctx, user)
	}
	return nil
}

// overtaken is the error of whoever finds that the user or the session has changed meanwhile.
func (f *Factors) overtaken(ctx context.Context, who Enroller) error {
	if who.pending != nil {
		return ErrPendingLogin
	}
	if _, err := f.may(ctx, who); err != nil {
		return err
	}
	return ErrFactorsChanged
}

func digests(codes []otp.RecoveryCode, user uuid.UUID) (all [][]byte) {
	for _, code := range codes {
		all = append(all, code.Digest(user))
	}
	return all
}

// MaySetUp reports whether a user may have one more factor. Where nobody sets one up, those may who
// must: they could never log in again.
func (f *Factors) MaySetUp(user User) bool {
	return f.mode != FactorsNone || f.mode.requires(user)
}

// mayAdd is MaySetUp. Errors: [ErrFactorsOff].
func (f *Factors) mayAdd(user User) error {
	if !f.MaySetUp(user) {
		return ErrFactorsOff
	}
	return nil
}

// adding is the edit that adds a factor, and the recovery codes that come with the first one.
func (who Enroller) adding(by enrolling, method string) (FactorEdit, []otp.RecoveryCode) {
	edit := FactorEdit{
		NewCookie: true, EndOthers: who.EndOthers || by.session == uuid.Nil,
		Methods: withFactor(by.methods, method),
	}
	if by.user.Factors.Any() {
		return edit, nil
	}
	return edit, otp.NewRecoveryCodes()
}

// withFactor are the methods of a login that has proved another factor.
func withFactor(methods []string, method string) []string {
	if slices.Contains(methods, methodMultiple) {
		return methods
	}
	return append(slices.Clone(methods), method, methodMultiple)
}

// removal is the edit that takes something away, which leaves these factors.
func (f *Factors) removal(user User, totp bool, passkeys []Passkey) (FactorEdit, error) {
	edit := FactorEdit{NewCookie: true, EndOthers: true, ForgetDevices: true}
	if !totp && len(passkeys) == 0 {
		edit.Codes = [][]byte{} // they stand in for a factor
		if f.mode.requires(user) {
			return FactorEdit{}, ErrFactorDemanded
		}
	}
	if user.Passwordless && !slices.ContainsFunc(passkeys, Passkey.isWayIn) {
		return FactorEdit{}, ErrLastWayIn
	}
	return edit, nil
}

// Of returns what a user has set up. Errors: [ErrUserNotFound].
func (f *Factors) Of(ctx context.Context, user uuid.UUID) (FactorsShown, error) {
	return f.store.FactorsOf(ctx, user)
}

// NewRecoveryCodes makes the recovery codes anew. Those of before are void. Errors:
// [ErrInvalidToken], [ErrForbidden], [ErrInsufficientAuthentication], [ErrLimited];
// [ErrFactorsChanged] if there is no factor that they could stand in for.
func (f *Factors) NewRecoveryCodes(ctx context.Context, who Enroller) (FactorChange, error) {
	return f.change(ctx, who, ActionMakeCodes, "",
		func(by enrolling) (FactorEdit, []otp.RecoveryCode, error) {
			if !by.user.Factors.Any() {
				return FactorEdit{}, nil, ErrFactorsChanged
			}
			return FactorEdit{NewCookie: true}, otp.NewRecoveryCodes(), nil
		})
}

// waysIn is how many passkeys an account has that does without a password. Whoever loses one still
// has another.
const waysIn = 2

func haveWaysIn(passkeys []Passkey) bool {
	found := 0
	for _, one := range passkeys {
		if one.isWayIn() {
			found++
		}
	}
	return found >= waysIn
}

// RemovePassword leaves an account with its passkeys alone. Errors: [ErrInvalidToken],
// [ErrForbidden], [ErrInsufficientAuthentication], [ErrLimited]; [ErrLastWayIn] if there are not
// two passkeys that know their user; [ErrFactorsChanged] if there is no password.
func (f *Factors) RemovePassword(ctx context.Context, who Enroller) (FactorChange, error) {
	return f.change(ctx, who, ActionRemovePassword, "",
		func(by enrolling) (FactorEdit, []otp.RecoveryCode, error) {
			if by.user.Passwordless {
				return FactorEdit{}, nil, ErrFactorsChanged
			}
			passkeys, err := f.store.PasskeysOf(ctx, by.user.ID)
			if err != nil {
				return FactorEdit{}, nil, err
			}
			if !haveWaysIn(passkeys) {
				return FactorEdit{}, nil, ErrLastWayIn
			}
			edit, err := f.removal(by.user, by.user.Factors.TOTP, passkeys)
			if err != nil {
				return FactorEdit{}, nil, err
			}
			_, stored, err := f.passwords.newSecret(ctx) // which nobody gets
			edit.PasswordHash = stored.Hash
			return edit, nil, err
		})
}

// ForgetDevices makes devices unknown for the second factor: one, or all (uuid.Nil). Errors:
// [ErrInvalidToken], [ErrForbidden], [ErrInsufficientAuthentication], [ErrLimited].
func (f *Factors) ForgetDevices(ctx context.Context, who Enroller, device uuid.UUID) error {
	target := ""
	if device != uuid.Nil {
		target = device.String()
	}
	return f.note(ctx, who, ActionForgetDevices, target, func(e Event, user uuid.UUID) error {
		return f.store.ForgetDevices(ctx, e, user, device)
	})
}

// note is change for what leaves the factors as they are.
func (f *Factors) note(
	ctx context.Context, who Enroller, action Action, target string,
	do func(Event, uuid.UUID) error,
) (err error) {
	e := newEvent(ctx, Actor{}, action, uuid.Nil, target)
	defer f.audit.told(ctx, &e, &err)
	by, err := f.begin(ctx, who, &e)
	if err != nil {
		return err
	}
	return do(e, by.user.ID)
}

// begin finds who is about to do something with factors, names them in its event, and bounds how
// often they do.
func (f *Factors) begin(ctx context.Context, who Enroller, e *Event) (enrolling, error) {
	by, err := f.may(ctx, who)
	if by.user.ID != uuid.Nil {
		*e = e.by(by.user.ID)
	}
	if err == nil {
		err = f.pace.enrol(by.user.ID)
	}
	return by, err
}
