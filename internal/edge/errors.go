package edge

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/token"
)

// Errors that arise outside the rules of package auth: before a request reaches them, or after.
var (
	ErrNoToken          = outcome.New("no_token", "there is no bearer token")
	ErrMalformed        = outcome.New("malformed", "the request body is malformed")
	ErrInvalidRequest   = outcome.New("invalid_request", "a parameter is missing or given twice")
	ErrUnsupportedGrant = outcome.New("unsupported_grant_type", "the grant type is not supported")
	ErrTooLarge         = outcome.New("too_large", "the request body is too large")
	ErrFile             = outcome.New("file", "a part of the form is a file")
	ErrMediaType        = outcome.New("media_type", "the media type is not supported")
	ErrNotFound         = outcome.New("not_found", "there is no such resource")
	ErrBadCursor        = outcome.New("bad_cursor", "the cursor is not from an earlier answer")
	ErrVerifyQuery      = outcome.New("verify_query", "the query asks for something unknown")
	ErrMethodNotAllowed = outcome.New("method_not_allowed", "the resource does not have this method")
	ErrCrossSite        = outcome.New("cross_site", "the form came from a page of another site")
	ErrMailOff          = outcome.New("mail_off", "the service sends no mail")
	ErrTimeout          = outcome.NewFault("timeout", "the request took too long")
	ErrCanceled         = outcome.NewFault("canceled", "the client has left")
)

// ErrNoGuard is a fault: a route lets nobody in.
var ErrNoGuard = errors.New("the route has no guard")

// StatusClientClosedRequest is for the log alone, since nobody reads the answer. The number is
// nginx's.
const StatusClientClosedRequest = 499

// RetryAfter is the Retry-After of a 503. In about that time, a full queue of passwords is worked
// off.
const RetryAfter = 5 * time.Second

// Answer is what the caller gets for an error.
type Answer struct {
	Status    int
	OAuth     string // error in a token response (RFC 6749 §5.2)
	Detail    string // printable ASCII without quotes, as an error_description must be
	Challenge string // WWW-Authenticate (RFC 6750 §3)
}

// Error codes of a token response (RFC 6749 §5.2 and §4.1.2.1).
const (
	invalidRequest = "invalid_request"
	unavailable    = "temporarily_unavailable"
)

// Answers that several rows share.
var (
	invalidInput = Answer{http.StatusUnprocessableEntity, "", "The input is not valid", ""}
	fault        = Answer{http.StatusInternalServerError, "server_error", "Internal server error", ""}
)

// answers is the only table from errors to answers. An error without a row has the answer of the
// error that it wraps.
var answers = []struct {
	err error
	Answer
}{
	{auth.ErrBadCredentials, Answer{401, "invalid_grant", "Incorrect username or password", `Bearer`}},
	{auth.ErrWrongCurrentPassword, invalidInput},
	{auth.ErrMustChangePassword, Answer{400, "password_change_required", "Password change required", ""}},
	{auth.ErrAddressUnverified, Answer{400, "address_unverified", "The e-mail address must be verified first", ""}},
	{auth.ErrFactorNeeded, Answer{400, "insufficient_authorization", "The second factor must be proved as well", ""}},
	{auth.ErrFactorEnrol, Answer{400, "redirect_to_web", "The account must have a second factor; log in in a browser to set one up", ""}},
	{auth.ErrPendingLogin, Answer{400, "invalid_session", "The login took too long, or is over; begin anew", ""}},
	{auth.ErrWrongFactor, Answer{400, "invalid_grant", "The code or the passkey is not right", ""}},
	{auth.ErrFactorsChanged, Answer{409, "", "The account's factors have changed meanwhile; look at them again", ""}},
	{auth.ErrFactorLocked, Answer{403, "access_denied", "Too many codes were wrong; use a passkey, or ask an administrator", ""}},
	{auth.ErrFactorExists, Answer{409, "", "The account has such a factor already; remove that first", ""}},
	{auth.ErrFactorDemanded, Answer{409, "", "The account must have a second factor; set up another one first", ""}},
	{auth.ErrFactorsOff, Answer{409, "", "No second factors are set up here", ""}},
	{auth.ErrLastWayIn, Answer{409, "", "It is the last way in to the account; set up another one first", ""}},
	{auth.ErrPasskeyNotFound, Answer{404, "", "There is no such passkey", ""}},
	{auth.ErrPasskeyTaken, Answer{409, "", "The passkey has been added already", ""}},
	{auth.ErrInvalidPasskey, Answer{400, "", "The passkey could not be added; try again", ""}},
	{auth.ErrTooManyPasskeys, Answer{409, "", "The account has as many passkeys as it may have; remove one first", ""}},
	{auth.ErrEnrolmentOver, Answer{400, "", "Setting up the app took too long; begin anew", ""}},
	{auth.ErrFactorUnproved, Answer{400, "invalid_grant", "The account must prove a second factor; log in in a browser", ""}},
	{auth.ErrOtherClient, Answer{400, "invalid_grant", "The token was issued to another client", ""}},
	{auth.ErrInvalidCode, Answer{400, "invalid_grant", "The authorization code is not valid; log in again", ""}},
	{auth.ErrInvalidChallenge, Answer{400, "", "The link or the code is not valid, or not any more; ask for another mail", ""}},
	{auth.ErrNoVerifiedAddress, Answer{409, "", "The account has no verified e-mail address; give it an initial secret", ""}},
	{auth.ErrUserDisabled, Answer{409, "", "The account is disabled; enable it first", ""}},
	{auth.ErrUnknownApp, Answer{400, "invalid_request", "There is no such app here, or it may not log in", ""}},
	{auth.ErrRedirectURI, Answer{400, "invalid_request", "The redirect URI is not one of the app's", ""}},
	{auth.ErrLogoutHint, Answer{400, "invalid_request", "id_token_hint is not an ID token of this service", ""}},
	{auth.ErrAuthorizationRequest, Answer{400, "invalid_request", "The request for authorization is not valid", ""}},
	{auth.ErrResponseType, Answer{400, "unsupported_response_type", "The response type must be code", ""}},
	{auth.ErrRequestObject, Answer{400, "request_not_supported", "request is not supported", ""}},
	{auth.ErrRequestURI, Answer{400, "request_uri_not_supported", "request_uri is not supported", ""}},
	{auth.ErrRegistrationObject, Answer{400, "registration_not_supported", "registration is not supported", ""}},
	{auth.ErrInvalidTarget, Answer{400, "invalid_target", "The resource is none of the app's", ""}},
	{auth.ErrUnmetRequirements, Answer{403, "unmet_authentication_requirements", "The login cannot be as strong as the app demands", ""}},
	{auth.ErrLoginRequired, Answer{401, "login_required", "The user has to log in", `Bearer realm="gatehouse"`}},
	{auth.ErrConsentRequired, Answer{403, "consent_required", "The user has to be asked", ""}},
	{auth.ErrAccessDenied, Answer{403, "access_denied", "The user may not use the app, or does not let it in", ""}},
	{auth.ErrInvalidGrant, Answer{400, "invalid_grant", "The refresh token is not valid; log in again", ""}},
	{ErrNoToken, Answer{401, "", "Invalid authentication credentials", `Bearer realm="gatehouse"`}},
	{auth.ErrInvalidToken, Answer{401, "", "Invalid authentication credentials", `Bearer realm="gatehouse", error="invalid_token"`}},
	{auth.ErrNoSession, Answer{400, "unsupported_token_type", "A client's own token cannot be revoked; it expires soon", ""}},
	// A 401 must name a way to authenticate (RFC 9110 §15.5.2), even to a client that has used the
	// form.
	{auth.ErrInvalidClient, Answer{401, "invalid_client", "Client authentication failed", `Basic realm="gatehouse"`}},
	{auth.ErrUnauthorizedClient, Answer{400, "unauthorized_client", "The client may not use this grant", ""}},
	{auth.ErrNotAdmitted, Answer{400, "invalid_grant", "The account may not use this client", ""}},
	{auth.ErrPasswordGrantOff, Answer{400, "unsupported_grant_type", "Passwords are not exchanged for tokens here", ""}},
	{auth.ErrInvalidScope, Answer{400, "invalid_scope", "The scope is malformed, or asks for more than is allowed", ""}},
	{auth.ErrBeyondRights, Answer{403, "", "You cannot give, take or overrule rights that you do not have", `Bearer realm="gatehouse", error="insufficient_scope"`}},
	{auth.ErrInsufficientAuthentication, Answer{401, "", token.InsufficientLogin, token.StepUp{}.Challenge()}},
	{auth.ErrForbidden, Answer{403, "", "The token does not allow this", `Bearer realm="gatehouse", error="insufficient_scope"`}},
	{auth.ErrLastAdmin, Answer{409, "", "The last enabled admin must stay; make another account an admin first", ""}},
	{auth.ErrRoleDemanded, Answer{409, "", "A client lets only holders of the role in; give the client another required role first", ""}},
	{auth.ErrRoleBuiltIn, Answer{409, "", "The role is built in; it keeps its permissions, and cannot be deleted", ""}},
	{auth.ErrTooManyRights, Answer{409, "", "The roles and permissions would not fit into a token; use fewer", ""}},
	{auth.ErrChanged, Answer{412, "", "It has changed since the client read it; read it again", ""}},
	{auth.ErrClientNotFound, Answer{404, "", "There is no such client", ""}},
	{auth.ErrClientIDTaken, Answer{409, "", "The client id is already taken", ""}},
	{auth.ErrTooManyClients, Answer{409, "", "There are as many clients as there may be", ""}},
	{auth.ErrClientPublic, Answer{409, "", "The client is public and has no secret", ""}},
	{auth.ErrRoleNotFound, Answer{404, "", "There is no such role", ""}},
	{auth.ErrSessionNotFound, Answer{404, "", "There is no such session", ""}},
	{auth.ErrConsentNotFound, Answer{404, "", "Nothing is allowed to such an app", ""}},
	{auth.ErrUserNotFound, Answer{404, "", "There is no such user", ""}},
	{auth.ErrUsernameTaken, Answer{409, "", "The username is already taken", ""}},
	{auth.ErrAddressTaken, Answer{409, "", "The e-mail address belongs to another account", ""}},
	{auth.ErrNoFeed, Answer{404, "", "Revocations are not signed here: the signing key is a secret", ""}},
	{auth.ErrAddressRequired, Answer{409, "", "An account must have an e-mail address", ""}},
	{auth.ErrPasswordNeeded, Answer{403, "", "Log in to the account, or give its password", ""}},
	{auth.ErrRegistrationClosed, Answer{403, "", "Registration is closed", ""}},
	{ErrMalformed, Answer{400, invalidRequest, "The request body is malformed", ""}},
	{ErrInvalidRequest, Answer{400, invalidRequest, "A parameter is missing or given twice", ""}},
	{ErrUnsupportedGrant, Answer{400, "unsupported_grant_type", "The grant type is not supported", ""}},
	{ErrBadCursor, Answer{400, "", "The cursor is not from an earlier answer to this question; start without it", ""}},
	{ErrVerifyQuery, Answer{400, "", "The query may have role, permission, acr and max_age, and nothing else", ""}},
	{ErrTooLarge, Answer{413, invalidRequest, "The request body is larger than 64 KiB", ""}},
	{ErrFile, Answer{400, invalidRequest, "The parts of a form must be plain text and no files", ""}},
	{ErrMediaType, Answer{415, invalidRequest, "The media type of the request body is not supported", ""}},
	{ErrNotFound, Answer{404, "", "There is no such resource", ""}},
	{ErrMailOff, Answer{404, "", "No mail is sent here; ask an administrator for a new password", ""}},
	{ErrCrossSite, Answer{403, "", "The form came from a page of another site", ""}},
	{ErrMethodNotAllowed, Answer{405, "", "The resource does not have this method", ""}},
	{auth.ErrLimited, Answer{429, unavailable, "Too many attempts; try again later", ""}},
	{auth.ErrOverloaded, Answer{503, unavailable, "Too many requests are waiting; try again later", ""}},
	{auth.ErrStopping, Answer{503, unavailable, "The service is stopping; try again", ""}},
	{auth.ErrUnavailable, Answer{503, unavailable, "The service is not available; try again later", ""}},
	{ErrTimeout, Answer{503, unavailable, "The request took too long; try again later", ""}},
	{ErrCanceled, Answer{StatusClientClosedRequest, "server_error", "The request was canceled", ""}},

	// These reach only the command line and the start of a replica.
	{auth.ErrPasswordKeyInUse, fault},
	{auth.ErrPasswordKeyNotFound, fault},
	{auth.ErrMailNotFound, fault},
	{auth.ErrKeyNotFound, fault},
	{auth.ErrKeyPending, fault},
	{auth.ErrKeySigns, fault},
	{auth.ErrKeyIsSecret, fault},
	{auth.ErrTooEarly, fault},
	{auth.ErrClocksApart, fault},
	{auth.ErrBadLines, fault},
	{auth.ErrOtherSecret, fault},
	{auth.ErrNotReplaced, fault},
}

// answeredError is an error with another answer than that of the table.
type answeredError struct {
	error
	answer Answer
}

// Unwrap returns the error.
func (e *answeredError) Unwrap() error { return e.error }

// As gives an error another answer than that of the table, for a route whose clients know it by
// another name. The log, the metrics and the audit log know it as ever.
func As(err error, a Answer) error { return &answeredError{err, a} }

// AnswerTo finds the answer to an error, and the error's name in the log. The text of an unknown
// error goes to the log alone.
func AnswerTo(err error) (a Answer, name string) {
	if answered, ok := errors.AsType[*answeredError](err); ok {
		return answered.answer, auth.Outcome(err)
	}
	if known, ok := outcome.Of(err); ok {
		err = known
	} else if errors.Is(err, context.DeadlineExceeded) {
		err = ErrTimeout
	} else if errors.Is(err, context.Canceled) {
		err = ErrCanceled
	} else if _, ok := errors.AsType[auth.InputError](err); ok {
		return invalidInput, auth.Outcome(err)
	}
	a, ok := answerOf(err)
	if !ok {
		a = fault
	}
	return a, auth.Outcome(err)
}

// answerOf finds the row of an expected error, or of the first error below it that has one.
func answerOf(known error) (a Answer, ok bool) {
	for ; known != nil; known = errors.Unwrap(known) {
		for _, row := range answers {
			if row.err == known {
				return row.Answer, true
			}
		}
	}
	return Answer{}, false
}

// Form writes an answer in the form that a route uses for errors.
type Form func(*gin.Context, Answer, error)

// fail answers a request with an error, and notes it for the log.
func fail(c *gin.Context, write Form, err error) {
	a, name := AnswerTo(err)
	if insufficient, ok := errors.AsType[*auth.InsufficientError](err); ok {
		a.Challenge = insufficient.Demand.Challenge()
	}
	if a.Challenge != "" {
		c.Header("WWW-Authenticate", a.Challenge)
	}
	if wait := waitFor(a.Status, err); wait > 0 {
		c.Header("Retry-After", strconv.Itoa(wait))
	}
	asked(c, &a, err)
	NoteOf(c).failed(a.Status, name, err)
	write(c, a, err)
}

// waitFor returns the Retry-After in seconds, or 0 for none.
func waitFor(status int, err error) int {
	if limited, ok := errors.AsType[*auth.LimitedError](err); ok {
		return int((limited.RetryAfter + time.Second - 1) / time.Second)
	}
	switch {
	case errors.Is(err, auth.ErrCrowded):
		return 1
	case status == http.StatusServiceUnavailable:
		return int(RetryAfter / time.Second)
	}
	return 0
}
