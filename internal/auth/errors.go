package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/ratelimit"
	"gatehouse.example/internal/token"
)

// The errors that an operation may return. Any other error is a fault, and the caller learns
// nothing about it. Each of these is in [Refusals] too.
var (
	// ErrBadCredentials is all that a caller learns of a refused login. The errors below that wrap
	// it say the reason, for the log.
	ErrBadCredentials = outcome.NewFamily("incorrect username or password")
	ErrUnknownUser    = outcome.Reason(
		ErrBadCredentials, "unknown_user", "there is no such account",
	)
	ErrWrongPassword = outcome.Reason(ErrBadCredentials, "wrong_password", "the password is wrong")
	ErrDisabled      = outcome.Reason(ErrBadCredentials, "disabled", "the account is disabled")
	// ErrPasswordExpired: the password was an initial secret, and was not used in time.
	ErrPasswordExpired = outcome.Reason(
		ErrBadCredentials, "expired", "the initial secret has expired",
	)
	// ErrSuperseded: the account was disabled or given another password while this password was
	// being verified.
	ErrSuperseded = outcome.Reason(
		ErrBadCredentials, "superseded", "the account has changed meanwhile",
	)
	// ErrUnusableHash: the stored hash has a form, cost or key that is not accepted.
	ErrUnusableHash = outcome.Reason(
		ErrBadCredentials, "unusable_hash", "the stored hash cannot be used",
	)

	// ErrWrongCurrentPassword comes with an [InputError]. Whoever changes a password must know the
	// current one.
	ErrWrongCurrentPassword = outcome.New("wrong_password", "the current password is wrong")
	// ErrMustChangePassword: the password is right, but good only for [Logins.ReplacePassword].
	ErrMustChangePassword = outcome.New(
		"password_change_required", "the password must be changed first",
	)

	// ErrAddressUnverified: the password is right, and the address that the user has registered
	// with must be verified before a login.
	ErrAddressUnverified = outcome.New(
		"address_unverified", "the e-mail address must be verified first",
	)

	// ErrFactorNeeded: the password is right, and a second factor is still to be proved. It comes
	// as a [*FactorNeededError].
	ErrFactorNeeded = outcome.New("factor_needed", "the second factor must be proved as well")
	// ErrFactorEnrol: the password is right, and the account must have a second factor and has none
	// yet. It is set up on pages alone. It comes as a [*FactorNeededError].
	ErrFactorEnrol = outcome.New(
		"factor_enrol", "the account must have a second factor; log in in a browser to set one up",
	)
	// ErrPendingLogin: what lies between the two steps of a login is not good any more. It has
	// expired, has become a session before, or the user has changed.
	ErrPendingLogin = outcome.New(
		"pending_login_over", "the login took too long, or is over; begin anew",
	)
	// ErrWrongFactor is all that a caller learns of a second factor that is refused.
	ErrWrongFactor = outcome.New(
		"wrong_factor", "the code or the passkey is not right",
	)
	// ErrFactorReused: the code was right, and was used before.
	ErrFactorReused = outcome.Reason(ErrWrongFactor, "factor_reused", "it was used before")
	// ErrPasskeyCloned: the counter of a passkey that is on one device went back. There is a copy.
	ErrPasskeyCloned = outcome.Reason(
		ErrWrongFactor, "passkey_cloned", "its counter went back, so there is a copy of it",
	)
	// ErrFactorsChanged: what was to be done with factors suits them no more.
	ErrFactorsChanged = outcome.Reason(ErrChanged, "factors_changed", "the factors are others by now")
	// ErrFactorLocked: too many codes in a row were wrong. Passkeys are still good.
	ErrFactorLocked = outcome.New(
		"factor_locked",
		"too many codes were wrong; use a passkey, or ask an operator for `gatehouse user unlock`",
	)
	// ErrFactorExists: the account has such a factor already.
	ErrFactorExists = outcome.New(
		"factor_exists", "the account has such a factor already; remove that first",
	)
	// ErrFactorDemanded: the account must have a second factor, and this is the last one.
	ErrFactorDemanded = outcome.New(
		"factor_demanded", "the account must have a second factor; set up another one first",
	)
	// ErrFactorsOff: nobody sets up a second factor.
	ErrFactorsOff = outcome.New("factors_off", "no second factors are set up here: FACTORS is none")
	// ErrLastWayIn: without it nobody could log in to the account any more.
	ErrLastWayIn = outcome.New(
		"last_way_in", "it is the last way in to the account; set up another one first",
	)
	ErrPasskeyNotFound = outcome.New("passkey_not_found", "the account has no such passkey")
	// ErrPasskeyTaken: the passkey is there already, in this account or in another.
	ErrPasskeyTaken = outcome.New("passkey_taken", "the passkey has been added already")
	// ErrInvalidPasskey: a browser's answer makes no passkey, or came too late or twice.
	ErrInvalidPasskey = outcome.New(
		"invalid_passkey", "the passkey could not be added; try again",
	)
	// ErrEnrolmentOver: what a form has sent back of a new secret is not good, or not any more.
	ErrEnrolmentOver = outcome.New(
		"enrolment_over", "setting up the app took too long; begin anew, with another secret",
	)
	// ErrInsufficientAuthentication: the user has to prove anew, or better, who it is. It comes as
	// an [*InsufficientError].
	ErrInsufficientAuthentication = outcome.New(
		"insufficient_authentication", "log in once more, with all that the account demands",
	)
	ErrTooManyPasskeys = outcome.New(
		"too_many_passkeys", "the account has as many passkeys as it may have; remove one first",
	)

	// ErrInvalidToken is for an access token that is forged, malformed, expired or revoked.
	ErrInvalidToken = outcome.New("invalid_token", "the token is not valid")

	// ErrNoFeed: revocations cannot be signed for others, since the signing key is a secret.
	ErrNoFeed = outcome.NewFault(
		"no_feed", "revocations are not signed here: the signing key is a secret",
	)

	// ErrInvalidGrant is all that a caller learns of a refused refresh token.
	ErrInvalidGrant = outcome.New("invalid_grant", "the refresh token is not valid")
	// ErrTokenReused: a refresh token was used again although its successor was in use. The session
	// is over.
	ErrTokenReused = outcome.Reason(ErrInvalidGrant, "token_reused", "it was used before")
	// ErrSessionOver: the session was ended, or was not used for too long.
	ErrSessionOver = outcome.Reason(ErrInvalidGrant, "session_over", "the session is over")
	// ErrOtherClient: the token was issued to another client than the one that sends it.
	ErrOtherClient = outcome.Reason(
		ErrInvalidGrant, "other_client", "it was issued to another client",
	)

	// ErrFactorUnproved: the account must prove a second factor, and the login that the token comes
	// from did not.
	ErrFactorUnproved = outcome.Reason(
		ErrInvalidGrant, "factor_unproved",
		"the account must prove a second factor; log in in a browser",
	)

	// ErrInvalidCode is all that a caller learns of a refused authorization code.
	ErrInvalidCode = outcome.Reason(ErrInvalidGrant, "invalid_code", "the code is not valid")
	// ErrCodeReused: the code was redeemed before. The session that it started is over.
	ErrCodeReused = outcome.Reason(ErrInvalidCode, "code_reused", "it was used before")

	// ErrUnknownApp: the authorization endpoint does not know the client, or the client may not use
	// it.
	ErrUnknownApp = outcome.New("unknown_app", "there is no such app here, or it may not log in")
	// ErrRedirectURI: the redirect URI is missing, or is none of the client's.
	ErrRedirectURI = outcome.New("redirect_uri", "the redirect URI is not one of the app's")
	// ErrLogoutHint: what came as an ID token is none of this service.
	ErrLogoutHint = outcome.New("logout_hint", "id_token_hint is not an ID token of this service")
	// ErrAuthorizationRequest comes with a detail of what is wrong.
	ErrAuthorizationRequest = outcome.New(
		"authorization_request", "the request for authorization is not valid",
	)
	ErrResponseType = outcome.New(
		"response_type", "the response type is not supported: it must be code",
	)
	// Objects of OpenID Connect Core §6 and §7.2.1 are not supported.
	ErrRequestObject      = outcome.New("request_object", "request is not supported")
	ErrRequestURI         = outcome.New("request_uri", "request_uri is not supported")
	ErrRegistrationObject = outcome.New("registration_object", "registration is not supported")
	// ErrInvalidTarget: the client's tokens may not be for this resource (RFC 8707 §2).
	ErrInvalidTarget = outcome.New("invalid_target", "the resource is none of the app's")
	// ErrUnmetRequirements: the app demands another acr than a login here has.
	ErrUnmetRequirements = outcome.New(
		"unmet_requirements", "the login cannot be as strong as the app demands",
	)
	// ErrLoginRequired and ErrConsentRequired: the app wants no page to be shown.
	ErrLoginRequired   = outcome.New("login_required", "the user has to log in")
	ErrConsentRequired = outcome.New("consent_required", "the user has to be asked")
	// ErrAccessDenied: the user does not let the app in.
	ErrAccessDenied = outcome.New("access_denied", "the user does not let the app in")
	// ErrNotForUser: the user lacks the role that the app demands.
	ErrNotForUser = outcome.Reason(ErrAccessDenied, "not_for_user", "the user lacks a role")

	// ErrInvalidChallenge is all that a caller learns of a link or a code that is refused: it is
	// unknown, wrong, expired or used, or the account has changed.
	ErrInvalidChallenge = outcome.New(
		"invalid_challenge", "the link or the code is not valid, or not any more; ask for another mail",
	)
	// ErrNoVerifiedAddress: nothing may be mailed to the account. An address that nobody has
	// verified may be somebody else's.
	ErrNoVerifiedAddress = outcome.New(
		"no_verified_address", "the account has no verified e-mail address; give it an initial secret",
	)
	// ErrUserDisabled: the account would get no use of it.
	ErrUserDisabled = outcome.New("user_disabled", "the account is disabled; enable it first")
	// ErrMailNotFound: the mail is done, or its account is gone.
	ErrMailNotFound = outcome.NewFault(outcomeFault, "there is no such mail that waits")

	// ErrNoSession: the token is a client's own. It has no session that could be ended (RFC 7009
	// §2.2.1).
	ErrNoSession = outcome.New("no_session", "the token is a client's own, and has no session")

	// ErrInvalidClient is all that a caller learns of refused credentials of a client (RFC 6749
	// §5.2).
	ErrInvalidClient = outcome.New("invalid_client", "the client could not be authenticated")
	// ErrUnauthorizedClient: the client may not use this grant.
	ErrUnauthorizedClient = outcome.New("unauthorized_client", "the client may not use this grant")
	// ErrPasswordGrantOff: no passwords are exchanged for tokens.
	ErrPasswordGrantOff = outcome.New(
		"password_grant_off", "passwords are not exchanged for tokens: PASSWORD_GRANT is off",
	)
	// ErrNotAdmitted: the user lacks the role that the client demands of its users.
	ErrNotAdmitted = outcome.New(
		"not_admitted", "the account does not have the role that the client demands",
	)
	ErrClientNotFound = outcome.New(
		"client_not_found", "no such client; `gatehouse client list` shows all",
	)
	ErrClientIDTaken = outcome.New(
		"client_id_taken", "the client id is taken; choose another one",
	)
	// ErrTooManyClients: a thousand clients are registered.
	ErrTooManyClients = outcome.New(
		"too_many_clients", "there are as many clients as there may be",
	)
	// ErrClientPublic: a public client has no secrets.
	ErrClientPublic = outcome.New(
		"client_public", "the client is public and has no secret; a confidential client has one",
	)

	// ErrInvalidScope: the request asked for more than may be given (RFC 6749 §5.2). The password
	// was right.
	ErrInvalidScope = outcome.New(
		"invalid_scope", "the scope is malformed, or asks for more than is allowed",
	)

	// ErrForbidden: the caller lacks a permission.
	ErrForbidden = outcome.New("forbidden", "the token does not allow this")
	// ErrBeyondRights: the caller would give, take or overrule rights that the caller does not
	// have.
	ErrBeyondRights = outcome.Reason(
		ErrForbidden, "beyond_rights",
		"it would give, take or overrule rights that the caller does not have",
	)
	// ErrLastAdmin: without this account, nobody could manage the others.
	ErrLastAdmin = outcome.New(
		"last_admin", "the last enabled admin must stay; make another account an admin first",
	)
	// ErrTooManyRights: the rights of a user would not fit into a token.
	ErrTooManyRights = outcome.New(
		"too_many_rights", "too many roles and permissions for a token; use fewer",
	)
	ErrRoleNotFound = outcome.New(
		"role_not_found", "no such role; `gatehouse role list` shows all",
	)
	// ErrRoleDemanded: without the role, a client would let everybody in.
	ErrRoleDemanded = outcome.New(
		"role_demanded",
		"a client lets only holders of the role in; give the client another required role first",
	)
	ErrRoleBuiltIn = outcome.New(
		"role_built_in",
		"the role is built in; it keeps its permissions, and cannot be deleted",
	)
	// ErrChanged: what is to be changed is no longer as the caller saw it.
	ErrChanged = outcome.New(
		"changed", "it has changed meanwhile; look at it again, then try again",
	)

	ErrUserNotFound = outcome.New(
		"user_not_found", "no such user; `gatehouse user list` shows all",
	)
	ErrSessionNotFound = outcome.New("session_not_found", "no such session")
	ErrConsentNotFound = outcome.New("consent_not_found", "nothing is allowed to such an app")
	ErrUsernameTaken   = outcome.New("username_taken", "the username is taken; choose another one")
	// ErrAddressTaken: another account has verified the address, or has it as its username.
	ErrAddressTaken = outcome.New(
		"address_taken", "the e-mail address belongs to another account",
	)
	// ErrAddressRequired: an account cannot be without an address.
	ErrAddressRequired = outcome.New(
		"address_required", "an account must have an e-mail address; change it instead",
	)
	// ErrPasswordNeeded: whoever proves an address has no session of the account, and has given no
	// password.
	ErrPasswordNeeded = outcome.New(
		"password_needed", "log in to the account, or give its password",
	)
	// ErrRegistrationClosed: strangers may not make accounts.
	ErrRegistrationClosed = outcome.New(
		"registration_closed", "registration is closed; ask an administrator for an account",
	)

	// ErrPasswordKeyInUse: a password key that stored hashes still need cannot be retired.
	ErrPasswordKeyInUse = outcome.New("pepper_in_use", "the password key is still in use")
	// ErrPasswordKeyNotFound: there is no record of such a password key.
	ErrPasswordKeyNotFound = outcome.New(
		"pepper_not_found", "no such password key; `gatehouse pepper list` shows all",
	)

	ErrKeyNotFound = outcome.New(
		"key_not_found", "no such signing key, or it has ended; `gatehouse key list` shows all",
	)
	// ErrKeyPending: there is a next key already.
	ErrKeyPending = outcome.New(
		"key_pending", "there is a next key already; let it sign or retire it first",
	)
	// ErrKeySigns: the active key cannot end before another key has taken over.
	ErrKeySigns = outcome.New(
		"key_signs", "the key is the active one; run `gatehouse key rotate` first",
	)
	// ErrKeyIsSecret: the key of HS256 is SECRET_KEY. It is replaced by putting another one before
	// it.
	ErrKeyIsSecret = outcome.New(
		"key_is_secret",
		"the key of HS256 is SECRET_KEY: replace SECRET_KEY instead, as docs/keys.md says",
	)
	// ErrTooEarly comes as a [*TooEarlyError].
	ErrTooEarly = outcome.New("too_early", "too early")
	// ErrOtherSecret: SECRET_KEY is not that of this installation. The error's text names those
	// that are.
	ErrOtherSecret = outcome.NewFault(
		outcomeFault, "SECRET_KEY is not the one of this installation",
	)
	// ErrNotReplaced: what was made with a leaked SECRET_KEY would stay good.
	ErrNotReplaced = outcome.NewFault(
		outcomeFault,
		"SECRET_KEY must be a new key alone: with the old key beside it, all that was made with that stays good",
	)

	// ErrClocksApart: the clocks of the caller and of the database disagree on what is past.
	ErrClocksApart = outcome.New(
		"clocks_apart",
		"the clocks of this machine and of the database differ; set them right first",
	)
	// ErrBadLines: there was a bad line, so nothing was imported.
	ErrBadLines = outcome.New("bad_lines", "nothing was imported")

	// ErrLimited: there were too many attempts. It comes as a [*LimitedError].
	ErrLimited = outcome.New("limited", "too many attempts")
	// ErrOverloaded: more passwords wait to be hashed than can be hashed in time. The caller may
	// try again.
	ErrOverloaded = password.ErrOverloaded
	// ErrCrowded is [ErrOverloaded] because of requests from the caller's own network. There may be
	// room again in a second.
	ErrCrowded = password.ErrCrowded
	// ErrStopping: the process is stopping, and hashes no more passwords.
	ErrStopping = password.ErrClosed
	// ErrUnavailable: the database cannot be reached, or did not answer in time. It is not known
	// whether a change was made.
	ErrUnavailable = outcome.NewFault(
		"unavailable", "the database cannot be reached, or did not answer in time",
	)
)

// Refusals returns all errors of this package that have a name. Their outcomes are the words of the
// audit log, and package httpapi has an answer for each.
func Refusals() []error {
	return []error{
		ErrBadCredentials, ErrUnknownUser, ErrWrongPassword, ErrDisabled, ErrPasswordExpired,
		ErrSuperseded, ErrUnusableHash,
		ErrWrongCurrentPassword, ErrMustChangePassword, ErrAddressUnverified,
		ErrFactorNeeded, ErrFactorEnrol, ErrPendingLogin, ErrWrongFactor, ErrFactorReused,
		ErrPasskeyCloned, ErrFactorsChanged, ErrFactorLocked, ErrFactorExists, ErrFactorDemanded, ErrFactorsOff,
		ErrLastWayIn, ErrPasskeyNotFound, ErrPasskeyTaken, ErrInvalidPasskey, ErrTooManyPasskeys,
		ErrFactorUnproved, ErrEnrolmentOver, ErrInsufficientAuthentication,
		ErrInvalidToken, ErrNoFeed, ErrInvalidGrant, ErrTokenReused, ErrSessionOver, ErrOtherClient,
		ErrInvalidCode, ErrCodeReused, ErrUnknownApp, ErrRedirectURI, ErrLogoutHint, ErrAuthorizationRequest,
		ErrResponseType, ErrRequestObject, ErrRequestURI, ErrRegistrationObject, ErrInvalidTarget,
		ErrUnmetRequirements, ErrLoginRequired, ErrConsentRequired, ErrAccessDenied,
		ErrNotForUser,
		ErrInvalidChallenge, ErrNoVerifiedAddress, ErrUserDisabled, ErrMailNotFound, ErrNoSession,
		ErrInvalidClient, ErrUnauthorizedClient, ErrPasswordGrantOff, ErrClientNotFound,
		ErrClientIDTaken, ErrTooManyClients, ErrClientPublic, ErrNotAdmitted, ErrInvalidScope,
		ErrForbidden, ErrBeyondRights, ErrLastAdmin, ErrTooManyRights, ErrRoleNotFound,
		ErrRoleDemanded, ErrRoleBuiltIn, ErrChanged,
		ErrUserNotFound, ErrSessionNotFound, ErrConsentNotFound, ErrUsernameTaken, ErrAddressTaken,
		ErrAddressRequired, ErrPasswordNeeded,
		ErrRegistrationClosed,
		ErrPasswordKeyInUse, ErrPasswordKeyNotFound,
		ErrKeyNotFound, ErrKeyPending, ErrKeySigns, ErrKeyIsSecret, ErrTooEarly, ErrOtherSecret,
		ErrNotReplaced,
		ErrClocksApart, ErrBadLines,
		ErrLimited, ErrOverloaded, ErrCrowded, ErrStopping, ErrUnavailable,
	}
}

// Outcomes that are not refusals.
const (
	outcomeSuccess = "success"
	outcomeInvalid = "invalid_input"
	outcomeFault   = "error"
)

// Outcome names how an operation ended, in one word for logs, metrics and the audit log. If several
// errors were wrapped or joined, the first expected one counts ([outcome.Of]).
func Outcome(err error) string {
	if err == nil {
		return outcomeSuccess
	}
	if known, ok := outcome.Of(err); ok && known.Outcome() != "" {
		return known.Outcome()
	}
	if _, ok := errors.AsType[InputError](err); ok {
		return outcomeInvalid
	}
	return outcomeFault
}

// LimitedError is an [ErrLimited] with the time after which another attempt may succeed.
type LimitedError struct {
	RetryAfter time.Duration
	// Remembered is true if this only repeats an earlier decision, without asking the database.
	Remembered bool
	// Undecided is true if too many wait already for what others have reserved.
	Undecided bool
	// keys are of the rates that had nothing left.
	keys []ratelimit.Key
}

func (e *LimitedError) Error() string {
	return fmt.Sprintf("%v: wait %v", ErrLimited, e.RetryAfter)
}

// Unwrap returns [ErrLimited].
func (e *LimitedError) Unwrap() error { return ErrLimited }

// InsufficientError is an [ErrInsufficientAuthentication] with the login that would do.
type InsufficientError struct{ Demand token.StepUp }

func (e *InsufficientError) Error() string { return ErrInsufficientAuthentication.Error() }

// Unwrap returns [ErrInsufficientAuthentication].
func (e *InsufficientError) Unwrap() error { return ErrInsufficientAuthentication }

// FieldError is one thing that is wrong with an input, in words for whoever filled it in.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// InputError holds everything that is wrong with an input.
type InputError []FieldError

func (e InputError) Error() string {
	lines := make([]string, len(e))
	for n, f := range e {
		lines[n] = f.Field + ": " + f.Message
	}
	return strings.Join(lines, "; ")
}

// because returns an [InputError] within which its reasons are found too. A page can say them in
// another language.
func because(wrong InputError, reasons ...error) error {
	return reasonedError{wrong, errors.Join(reasons...)}
}

type reasonedError struct {
	InputError
	reasons error
}

// Unwrap returns the InputError and its reasons.
func (e reasonedError) Unwrap() []error { return []error{e.InputError, e.reasons} }
