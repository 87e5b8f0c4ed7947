package pages

import "time"

// Failure says why a form as a whole was not accepted. The zero value says nothing.
type Failure struct {
	Why        FailureReason
	RetryAfter time.Duration // for [Limited]; 0 if it is not known
}

// FailureReason is one word, for which every language has a text.
type FailureReason string

const (
	// WrongCredentials is for every login that is refused. Whoever has no account, or one that is
	// disabled, must not see another text than whoever has mistyped the password.
	WrongCredentials FailureReason = "wrong_credentials"
	// WrongCode is for a code of a mail that is wrong, used up, or not good any more.
	WrongCode FailureReason = "wrong_code"
	// WrongFactor is for a code of an app or a recovery code, as WrongCode.
	WrongFactor FailureReason = "wrong_factor"
	// FactorLocked is for codes of an account of which so many were wrong that none is taken.
	FactorLocked FailureReason = "factor_locked"
	// PasskeyRefused is for each answer of a passkey that is not good.
	PasskeyRefused  FailureReason = "passkey_refused"
	PasskeyTaken    FailureReason = "passkey_taken" // it is another account's, or this one's already
	TooManyPasskeys FailureReason = "too_many_passkeys"
	FactorExists    FailureReason = "factor_exists"   // there is an authenticator app already
	FactorDemanded  FailureReason = "factor_demanded" // the last factor of an account that must have one
	LastWayIn       FailureReason = "last_way_in"     // nothing else would be left to log in with
	// EnrolLate is for a set-up that took too long.
	EnrolLate   FailureReason = "enrol_late"
	Limited     FailureReason = "limited"     // there were too many attempts
	Overloaded  FailureReason = "overloaded"  // nothing was done
	Unavailable FailureReason = "unavailable" // it is not known whether it was done
	// Stale is for a form that came from another site, or that is too old.
	Stale FailureReason = "stale"
	// Changed is for an account that was changed by somebody else meanwhile.
	Changed FailureReason = "changed"
	// AddressUnverified is for a right password of an account that needs a verified address.
	AddressUnverified FailureReason = "address_unverified"
	// AddressTaken is for an address that another account has verified.
	AddressTaken FailureReason = "address_taken"
	// LastAdmin is for the deletion of the only account that can manage the others.
	LastAdmin FailureReason = "last_admin"
)

// Problem says what is wrong with a field. The zero value says nothing.
type Problem struct {
	Why   ProblemReason
	Bound int // for [PasswordShort] and [PasswordLong], in characters
}

// NoProblem is for a field that is right, or that was not sent yet.
var NoProblem = Problem{}

// ProblemReason is one word, for which every language has a text.
type ProblemReason string

const (
	NameMissing    ProblemReason = "name_missing"
	NameLong       ProblemReason = "name_long"
	NameCharacters ProblemReason = "name_characters" // spaces, symbols, control characters
	NameSigns      ProblemReason = "name_signs"      // signs that few names have
	NameSignsAt    ProblemReason = "name_signs_at"   // the same where a name may have an @
	NameMixed      ProblemReason = "name_mixed"      // letters of several scripts
	NameLookalike  ProblemReason = "name_lookalike"  // it looks like a Latin name
	NameReserved   ProblemReason = "name_reserved"
	NameAddress    ProblemReason = "name_address" // it is an e-mail address
	NameTaken      ProblemReason = "name_taken"
	AddressMissing ProblemReason = "address_missing"
	AddressRefused ProblemReason = "address_refused" // it is none
	// NameRefused is for a reason that has no word of its own.
	NameRefused        ProblemReason = "name_refused"
	PasswordMissing    ProblemReason = "password_missing"
	PasswordShort      ProblemReason = "password_short"
	PasswordLong       ProblemReason = "password_long"
	PasswordCharacters ProblemReason = "password_characters"
	PasswordCommon     ProblemReason = "password_common"
	PasswordIsWord     ProblemReason = "password_is_word"
	PasswordBreached   ProblemReason = "password_breached"
	PasswordIsUsername ProblemReason = "password_is_username"
	PasswordSame       ProblemReason = "password_same"  // it is the one that the account has
	PasswordWrong      ProblemReason = "password_wrong" // it is not the one that the account has
	// PasswordRefused is for a reason that has no word of its own.
	PasswordRefused ProblemReason = "password_refused"
)

// Notice says what was done, or why the person is on this page. "" says nothing.
type Notice string

const (
	NoticePasswordChanged Notice = "password_changed"
	NoticeSessionEnded    Notice = "session_ended"
	NoticeOthersEnded     Notice = "others_ended"
	NoticeAppOut          Notice = "app_out" // what it was allowed is taken back
	NoticeRegistered      Notice = "registered"
	NoticePasswordReset   Notice = "password_reset"
	NoticeDeleted         Notice = "deleted"
	NoticeMailSent        Notice = "mail_sent"    // which verifies the address of a new account
	NoticeMailAgain       Notice = "mail_again"   // another one
	NoticeVerifyFirst     Notice = "verify_first" // the login wants a verified address
	NoticeAddressVerified Notice = "address_verified"
	NoticeAddressRemoved  Notice = "address_removed"
	NoticeAddressRestored Notice = "address_restored"
	NoticeLoginFirst      Notice = "login_first" // the page asked for wants a login
	NoticeProveFirst      Notice = "prove_first" // the page asked for wants another one
	NoticeLoginOver       Notice = "login_over"  // between its two steps
	NoticeFactorAdded     Notice = "factor_added"
	NoticePasskeyRenamed  Notice = "passkey_renamed"
	NoticeFactorRemoved   Notice = "factor_removed"
	NoticePasswordRemoved Notice = "password_removed"
	NoticeDeviceForgotten Notice = "device_forgotten" // one, or all
	// NoticeOtherUser is for a form that was shown to somebody who is not logged in any more.
	NoticeOtherUser Notice = "other_user"
)

// Fault says why a page cannot be shown.
type Fault string

const (
	FaultNotFound      Fault = "not_found"
	FaultBadRequest    Fault = "bad_request"
	FaultBadApp        Fault = "bad_app"        // no such client, or a redirect URI that is not its own
	FaultNoAccess      Fault = "no_access"      // the person may not use the app
	FaultStale         Fault = "stale"          // as [Stale], where no form can be shown again
	FaultLimited       Fault = "limited"        // there were too many attempts
	FaultClosed        Fault = "closed"         // registration is closed
	FaultBadLink       Fault = "bad_link"       // of a mail: it is wrong, used up, or not good any more
	FaultBadInvitation Fault = "bad_invitation" // as FaultBadLink, of an invitation
	FaultInvitedOnly   Fault = "invited_only"   // registration is for those who were invited
	FaultNoMail        Fault = "no_mail"        // the service sends none
	FaultFactorsOff    Fault = "factors_off"    // nobody sets up a second factor
	FaultUnavailable   Fault = "unavailable"    // overloaded, or without its database
	FaultInternal      Fault = "internal"
)
