package wire

import (
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// PersonalData is all that is stored of a user, for that user.
type PersonalData struct {
	ExportedAt time.Time           `json:"exported_at"`
	Account    PersonalAccount     `json:"account"`
	Sessions   []PersonalSession   `json:"sessions"`
	Consents   []PersonalConsent   `json:"consents"`
	Codes      []PersonalCode      `json:"codes"`
	Mails      []PersonalMail      `json:"mails"`
	Challenges []PersonalChallenge `json:"challenges"`
	Events     []PersonalEvent     `json:"events"`

	TOTP           []PersonalTOTP         `json:"totp"` // one at most
	Passkeys       []PersonalPasskey      `json:"passkeys"`
	RecoveryCodes  []PersonalRecoveryCode `json:"recovery_codes"`
	TrustedDevices []PersonalDevice       `json:"trusted_devices"`

	Limit int      `json:"limit"` // of each list
	Cut   []string `json:"cut"`   // the names of the lists that had more
}

// PersonalAccount is the account itself.
type PersonalAccount struct {
	ID                 uuid.UUID         `json:"id"`
	Username           string            `json:"username"`
	Roles              []string          `json:"roles"`
	Permissions        []auth.Permission `json:"permissions"`
	CreatedAt          time.Time         `json:"created_at"`
	UpdatedAt          time.Time         `json:"updated_at"`
	DisabledAt         *time.Time        `json:"disabled_at"`
	TokenVersion       int64             `json:"token_version"`
	MustChangePassword bool              `json:"must_change_password"`
	PasswordExpiresAt  *time.Time        `json:"password_expires_at"`
	PasswordChangedAt  *time.Time        `json:"password_changed_at"` // null: not recorded
	PasswordRemovedAt  *time.Time        `json:"password_removed_at"` // null: there is one
	Email              *string           `json:"email"`
	EmailVerifiedAt    *time.Time        `json:"email_verified_at"`
	VerifyUntil        *time.Time        `json:"verify_until"`
}

// PersonalSession is a session, which may have ended.
type PersonalSession struct {
	Session
	EndedAt   *time.Time    `json:"ended_at"`
	EndReason *string       `json:"end_reason"`
	Network   *netip.Prefix `json:"network"` // of the last refresh
	AuthTime  time.Time     `json:"auth_time"`
	Methods   []string      `json:"amr"`
	Scope     *string       `json:"scope"` // null: all permissions
	OpenID    *string       `json:"openid"`
	Claims    *string       `json:"claims"`
	Resources *string       `json:"resource"`
	Offline   bool          `json:"offline"`
	Trusted   bool          `json:"trusted"`
}

// PersonalConsent is what the user has allowed an app.
type PersonalConsent struct {
	Client    *App      `json:"client"`
	Scope     string    `json:"scope"`
	GrantedAt time.Time `json:"granted_at"`
}

// PersonalCode is an authorization code.
type PersonalCode struct {
	Client      *App       `json:"client"`
	Session     *uuid.UUID `json:"session"` // the browser's; null: it came without one
	RedirectURI *string    `json:"redirect_uri"`
	Scope       *string    `json:"scope"`
	OpenID      *string    `json:"openid"`
	Claims      *string    `json:"claims"`
	Resources   *string    `json:"resource"`
	AuthTime    time.Time  `json:"auth_time"`
	ExpiresAt   time.Time  `json:"expires_at"`
	RedeemedAt  *time.Time `json:"redeemed_at"`
	Started     *uuid.UUID `json:"started"` // the session that it started
}

// PersonalTOTP is an authenticator app, whose secret is not told.
type PersonalTOTP struct {
	CreatedAt time.Time `json:"created_at"`
}

// PersonalPasskey is a passkey, whose key is not told.
type PersonalPasskey struct {
	Name           string     `json:"name"`
	AAGUID         uuid.UUID  `json:"aaguid"`
	BackupEligible bool       `json:"backup_eligible"`
	BackedUp       bool       `json:"backed_up"`
	UserVerified   bool       `json:"user_verified"`
	Transports     []string   `json:"transports"`
	CreatedAt      time.Time  `json:"created_at"`
	LastUsedAt     *time.Time `json:"last_used_at"`
}

// PersonalRecoveryCode is a recovery code.
type PersonalRecoveryCode struct {
	CreatedAt time.Time  `json:"created_at"`
	UsedAt    *time.Time `json:"used_at"`
}

// PersonalDevice is a device that the user trusts.
type PersonalDevice struct {
	CreatedAt     time.Time `json:"created_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	ClientAddress string    `json:"client_address"`
	UserAgent     string    `json:"user_agent"`
}

// PersonalMail is a mail for the user.
type PersonalMail struct {
	Kind      auth.MailKind     `json:"kind"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt time.Time         `json:"expires_at"`
	Outcome   *auth.MailOutcome `json:"outcome"` // null: it waits
	DoneAt    *time.Time        `json:"done_at"`
}

// PersonalChallenge is what the user can prove by a mail.
type PersonalChallenge struct {
	Purpose    auth.ChallengePurpose `json:"purpose"`
	Email      string                `json:"email"`
	CreatedAt  time.Time             `json:"created_at"`
	ExpiresAt  time.Time             `json:"expires_at"`
	RedeemedAt *time.Time            `json:"redeemed_at"`
}

// PersonalEvent is an event of the audit log, as the user sees it.
type PersonalEvent struct {
	At            time.Time   `json:"at"`
	Action        auth.Action `json:"action"`
	Outcome       string      `json:"outcome"`
	Actor         string      `json:"actor"`
	About         *string     `json:"about"`
	Target        string      `json:"target"`
	RequestID     string      `json:"request_id"`
	ClientAddress string      `json:"client_address"`
	UserAgent     string      `json:"user_agent"`
	Count         int64       `json:"count"`
}

// PersonalDataOf is the form of a user's data. The session with the given id is the current one.
func PersonalDataOf(d auth.PersonalData, current uuid.UUID) PersonalData {
	return PersonalData{
		ExportedAt: d.At.UTC(), Account: personalAccountOf(d),
		Sessions: each(d.Sessions, func(s auth.PersonalSession) PersonalSession {
			return personalSessionOf(s, current)
		}),
		Consents: each(d.Consents, PersonalConsentOf), Codes: each(d.Codes, personalCodeOf),
		Mails:      each(d.Mails, personalMailOf),
		Challenges: each(d.Challenges, personalChallengeOf),
		Events:     each(d.Events, personalEventOf), Limit: d.Limit, Cut: d.Cut,
		TOTP:           each(d.Factors.TOTP, personalTOTPOf),
		Passkeys:       each(d.Factors.Passkeys, personalPasskeyOf),
		RecoveryCodes:  each(d.Factors.RecoveryCodes, personalRecoveryCodeOf),
		TrustedDevices: each(d.Factors.Devices, personalDeviceOf),
	}
}

func personalAccountOf(d auth.PersonalData) PersonalAccount {
	u := d.User
	a := PersonalAccount{
		ID: u.ID, Username: u.Username.Given, Roles: u.Roles, Permissions: u.Permissions,
		CreatedAt: u.CreatedAt.UTC(), UpdatedAt: u.UpdatedAt.UTC(), DisabledAt: utc(u.DisabledAt),
		TokenVersion: u.TokenVersion, MustChangePassword: u.MustChangePassword,
		PasswordExpiresAt: utc(u.PasswordExpiresAt),
		Email:             orNull(u.Email.Given), EmailVerifiedAt: utc(u.Email.VerifiedAt),
		VerifyUntil: utc(u.VerifyUntil), PasswordRemovedAt: utc(d.Factors.PasswordRemovedAt),
	}
	if u.PasswordChangedAt.Unix() > 0 {
		a.PasswordChangedAt = utc(&u.PasswordChangedAt)
	}
	return a
}

func personalTOTPOf(since time.Time) PersonalTOTP { return PersonalTOTP{since.UTC()} }

func personalPasskeyOf(p auth.PersonalPasskey) PersonalPasskey {
	return PersonalPasskey{
		Name: p.Name, AAGUID: p.AAGUID, BackupEligible: p.BackupEligible, BackedUp: p.BackedUp,
		UserVerified: p.UserVerified, Transports: all(p.Transports), CreatedAt: p.CreatedAt.UTC(),
		LastUsedAt: utc(p.LastUsedAt),
	}
}

func personalRecoveryCodeOf(c auth.PersonalRecoveryCode) PersonalRecoveryCode {
	return PersonalRecoveryCode{c.CreatedAt.UTC(), utc(c.UsedAt)}
}

func personalDeviceOf(d auth.PersonalDevice) PersonalDevice {
	return PersonalDevice{d.CreatedAt.UTC(), d.ExpiresAt.UTC(), d.Caller.Address, d.Caller.UserAgent}
}

func personalSessionOf(s auth.PersonalSession, current uuid.UUID) PersonalSession {
	out := PersonalSession{
		Session: SessionOf(s.Session), EndedAt: utc(s.EndedAt), EndReason: orNull(s.EndReason),
		Network: orNull(s.Network), AuthTime: s.AuthTime.UTC(), Methods: s.Methods,
		Scope: orNull(s.Scope), OpenID: orNull(s.OpenID), Claims: orNull(s.Claims),
		Resources: orNull(s.Resources), Offline: s.Offline, Trusted: s.Trusted,
	}
	out.Current = new(s.ID == current)
	return out
}

// PersonalConsentOf returns what a user has allowed an app.
func PersonalConsentOf(c auth.PersonalConsent) PersonalConsent {
	return PersonalConsent{appOf(c.Client), strings.Join(c.Words, " "), c.GrantedAt.UTC()}
}

func personalCodeOf(c auth.PersonalCode) PersonalCode {
	return PersonalCode{
		Client: appOf(c.Client), Session: orNull(c.SessionID), RedirectURI: orNull(c.RedirectURI),
		Scope: orNull(c.Scope), OpenID: orNull(c.OpenID), Claims: orNull(c.Claims),
		Resources: orNull(c.Resources), AuthTime: c.AuthTime.UTC(), ExpiresAt: c.ExpiresAt.UTC(), RedeemedAt: utc(c.RedeemedAt),
		Started: orNull(c.Started),
	}
}

func personalMailOf(m auth.PersonalMail) PersonalMail {
	return PersonalMail{
		Kind: m.Kind, CreatedAt: m.QueuedAt.UTC(), ExpiresAt: m.ExpiresAt.UTC(),
		Outcome: orNull(m.Outcome), DoneAt: utc(m.DoneAt),
	}
}

func personalChallengeOf(c auth.PersonalChallenge) PersonalChallenge {
	return PersonalChallenge{
		Purpose: c.Purpose, Email: c.Address, CreatedAt: c.MadeAt.UTC(),
		ExpiresAt: c.ExpiresAt.UTC(), RedeemedAt: utc(c.RedeemedAt),
	}
}

func personalEventOf(e auth.PersonalEvent) PersonalEvent {
	return PersonalEvent{
		At: e.At.UTC(), Action: e.Action, Outcome: e.Outcome, Actor: e.Actor,
		About: orNull(e.About), Target: e.Target, RequestID: e.RequestID,
		ClientAddress: e.Address, UserAgent: e.UserAgent, Count: e.Count,
	}
}

// each is never nil, so that a list without entries is written as one.
func each[T, U any](all []T, form func(T) U) []U {
	written := make([]U, len(all))
	for n, one := range all {
		written[n] = form(one)
	}
	return written
}
