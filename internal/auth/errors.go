package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/internal/password"
)

// What an operation may answer besides success. Anything else is a fault, of which the caller is told nothing.
var (
	// ErrBadCredentials is all that a caller learns of a refused login. The errors below that wrap it tell
	// the log why.
	ErrBadCredentials = errors.New("incorrect username or password")
	ErrUnknownUser    = fmt.Errorf("%w: unknown user", ErrBadCredentials)
	ErrWrongPassword  = fmt.Errorf("%w: wrong password", ErrBadCredentials)
	ErrDisabled       = fmt.Errorf("%w: disabled account", ErrBadCredentials)
	// ErrPasswordExpired: it was an initial secret that nobody has used in time.
	ErrPasswordExpired = fmt.Errorf("%w: expired password", ErrBadCredentials)
	// ErrSuperseded: the account was disabled or given another password while this one was being checked.
	ErrSuperseded = fmt.Errorf("%w: account changed meanwhile", ErrBadCredentials)
	// ErrUnusableHash: the stored hash is of a form, cost or key that is not accepted.
	ErrUnusableHash = fmt.Errorf("%w: unusable password hash", ErrBadCredentials)

	// ErrWrongCurrentPassword comes with an InputError: who changes a password must know the one before.
	ErrWrongCurrentPassword = errors.New("wrong current password")
	// ErrMustChangePassword: the password is right, and good for nothing but ReplacePassword.
	ErrMustChangePassword = errors.New("the password must be changed")

	// ErrInvalidToken is for an access token that is forged, malformed, expired or revoked.
	ErrInvalidToken = errors.New("invalid authentication credentials")

	// ErrNoFeed: revocations cannot be signed for others, since the signing key is a secret.
	ErrNoFeed = errors.New("no signed revocations by a secret")

	// ErrInvalidGrant is all that a caller learns of a refused refresh token.
	ErrInvalidGrant = errors.New("invalid refresh token")
	// ErrTokenReused: a refresh token was used that had a successor in use. The session is over.
	ErrTokenReused = fmt.Errorf("%w: used again", ErrInvalidGrant)

	// ErrSessionOver: it was ended, or nobody has used it for too long.
	ErrSessionOver = fmt.Errorf("%w: the session is over", ErrInvalidGrant)
	// ErrOtherClient: the token was issued to another client than the one that sends it.
	ErrOtherClient = fmt.Errorf("%w: another client's", ErrInvalidGrant)

	// ErrNoSession: the token is a client's own, and of no session that could be ended (RFC 7009 §2.2.1).
	ErrNoSession = errors.New("the token has no session")

	// ErrInvalidClient is all that a caller learns of refused credentials of a client (RFC 6749 §5.2).
	ErrInvalidClient = errors.New("invalid client")
	// ErrUnauthorizedClient: the client may not use this grant.
	ErrUnauthorizedClient = errors.New("the client may not use this grant")
	ErrClientNotFound     = errors.New("no such client")
	ErrClientIDTaken      = errors.New("client id is taken")
	// ErrClientPublic: a public client has no secrets.
	ErrClientPublic = errors.New("the client is public, and has no secret")

	// ErrInvalidScope: a token was asked for with more than may be had (RFC 6749 §5.2), after a right password.
	ErrInvalidScope = errors.New("invalid scope")

	// ErrForbidden is for who lacks a permission.
	ErrForbidden = errors.New("insufficient rights")
	// ErrBeyondRights: somebody would give, take or overrule rights that he has not.
	ErrBeyondRights = fmt.Errorf("%w: rights that are not one's own", ErrForbidden)
	// ErrLastAdmin: without this account, nobody could undo anything.
	ErrLastAdmin = errors.New("the last enabled admin must stay")
	// ErrTooManyRights: the rights of a user would not fit into a token.
	ErrTooManyRights = errors.New("too many roles and permissions")
	ErrRoleNotFound  = errors.New("no such role")
	ErrRoleBuiltIn   = errors.New("the role is built in")
	// ErrChanged: what was to be changed is not as the caller saw it.
	ErrChanged = errors.New("changed meanwhile")

	ErrUserNotFound    = errors.New("no such user")
	ErrSessionNotFound = errors.New("no such session")
	ErrUsernameTaken   = errors.New("username is taken")

	// ErrPasswordKeyInUse: a password key that stored hashes still need cannot be retired.
	ErrPasswordKeyInUse = errors.New("password key is in use")
	// ErrPasswordKeyNotFound: there is no record of such a password key.
	ErrPasswordKeyNotFound = errors.New("no such password key")

	// ErrLimited: there were too many attempts. It comes as a *LimitedError.
	ErrLimited = errors.New("too many attempts")
	// ErrOverloaded: more passwords wait to be hashed than can be hashed in time. The caller may try again.
	ErrOverloaded = password.ErrOverloaded
	// ErrStopping: the process is going down and hashes no more passwords.
	ErrStopping = password.ErrClosed
	// ErrUnavailable: the database cannot be reached or did not answer in time. Whether a change was made
	// is not known.
	ErrUnavailable = errors.New("storage is unavailable")
)

// LimitedError is ErrLimited with the time after which another attempt may be let through.
type LimitedError struct {
	RetryAfter time.Duration
	// Remembered is true of one that only repeats an earlier decision, without a look at the database.
	Remembered bool
}

func (e *LimitedError) Error() string { return fmt.Sprintf("%v: wait %v", ErrLimited, e.RetryAfter) }

// Unwrap makes it an ErrLimited.
func (e *LimitedError) Unwrap() error { return ErrLimited }

// FieldError is one thing wrong with an input, in words for whoever filled it in.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// InputError holds all that is wrong with an input.
type InputError []FieldError

func (e InputError) Error() string {
	lines := make([]string, len(e))
	for n, f := range e {
		lines[n] = f.Field + ": " + f.Message
	}
	return strings.Join(lines, "; ")
}

// Outcome names how an operation ended, by words that log lines and metrics are searched for.
func Outcome(err error) string {
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	if _, ok := errors.AsType[InputError](err); ok {
		return "invalid_input"
	}
	return "error"
}

type outcome struct {
	err  error
	name string
}

// outcomes is in order of precedence: a refused login's reason before the refusal that it wraps.
var outcomes = []outcome{
	{nil, "success"},
	{ErrUnknownUser, "unknown_user"},
	{ErrWrongPassword, "wrong_password"},
	{ErrWrongCurrentPassword, "wrong_password"},
	{ErrDisabled, "disabled"},
	{ErrPasswordExpired, "expired"},
	{ErrSuperseded, "superseded"},
	{ErrUnusableHash, "unusable_hash"},
	{ErrMustChangePassword, "password_change_required"},
	{ErrInvalidToken, "invalid_token"},
	{ErrTokenReused, "token_reused"},
	{ErrSessionOver, "session_over"},
	{ErrOtherClient, "other_client"},
	{ErrInvalidGrant, "invalid_grant"},
	{ErrNoSession, "no_session"},
	{ErrInvalidClient, "invalid_client"},
	{ErrUnauthorizedClient, "unauthorized_client"},
	{ErrClientNotFound, "client_not_found"},
	{ErrClientIDTaken, "client_id_taken"},
	{ErrClientPublic, "client_public"},
	{ErrInvalidScope, "invalid_scope"},
	{ErrBeyondRights, "beyond_rights"},
	{ErrForbidden, "forbidden"},
	{ErrLastAdmin, "last_admin"},
	{ErrTooManyRights, "too_many_rights"},
	{ErrRoleBuiltIn, "role_built_in"},
	{ErrChanged, "changed"},
	{ErrRoleNotFound, "role_not_found"},
	{ErrSessionNotFound, "session_not_found"},
	{ErrUserNotFound, "user_not_found"},
	{ErrUsernameTaken, "username_taken"},
	{ErrPasswordKeyInUse, "pepper_in_use"},
	{ErrPasswordKeyNotFound, "pepper_not_found"},
	{ErrKeyNotFound, "key_not_found"},
	{ErrKeyPending, "key_pending"},
	{ErrKeySigns, "key_signs"},
	{ErrKeyIsSecret, "key_is_secret"},
	{ErrTooEarly, "too_early"},
	{ErrBadLines, "bad_lines"},
	{ErrLimited, "limited"},
	{ErrOverloaded, "overloaded"},
	{ErrStopping, "stopping"},
	{ErrUnavailable, "unavailable"},
}
