package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"gatehouse/internal/auth"
)

// What a request may be refused for before it reaches a rule of package auth.
var (
	errNoToken            = errors.New("no bearer token")
	errRegistrationClosed = errors.New("registration is closed")
	errMalformed          = errors.New("malformed request body")
	errInvalidRequest     = errors.New("invalid token request")
	errUnsupportedGrant   = errors.New("unsupported grant type")
	errTooLarge           = errors.New("request body is too large")
	errMediaType          = errors.New("unsupported media type")
	errNotFound           = errors.New("no such resource")
	errBadCursor          = errors.New("invalid cursor")
	errVerifyQuery        = errors.New("unknown demand on a token")
	errNoGuard            = errors.New("route without a guard")
	errMethodNotAllowed   = errors.New("method not allowed")
)

// statusClientClosedRequest is for the log alone: nobody is there to read the answer. The number is nginx's.
const statusClientClosedRequest = 499

// retryAfter is in seconds: about the time in which a full queue of passwords is worked off.
const retryAfter = 5

// answer is what a caller is told of an error.
type answer struct {
	err       error
	status    int
	code      string // names the outcome in the log where package auth has no name for it
	oauth     string // error of a token response (RFC 6749 §5.2)
	detail    string // printable ASCII without quotes: what an error_description may hold
	challenge string // WWW-Authenticate (RFC 6750 §3)
}

// Errors of a token response (RFC 6749 §5.2 and §4.1.2.1).
const (
	invalidRequest = "invalid_request"
	unavailable    = "temporarily_unavailable"
)

// answers is the one table from errors to answers. An error that is not here is a fault: the log has its text,
// and the caller is told nothing.
var answers = []answer{
	{auth.ErrBadCredentials, 401, "bad_credentials", "invalid_grant", "Incorrect username or password", `Bearer`},
	{auth.ErrMustChangePassword, 400, "password_change_required", "password_change_required", "Password change required", ""},
	{auth.ErrOtherClient, 400, "other_client", "invalid_grant", "The token was issued to another client", ""},
	{auth.ErrInvalidGrant, 400, "invalid_grant", "invalid_grant", "The refresh token is not valid", ""},
	{errNoToken, 401, "no_token", "", "Invalid authentication credentials", `Bearer realm="gatehouse"`},
	{auth.ErrInvalidToken, 401, "invalid_token", "", "Invalid authentication credentials", `Bearer realm="gatehouse", error="invalid_token"`},
	{auth.ErrNoSession, 400, "no_session", "unsupported_token_type", "A client's own token cannot be revoked by itself", ""},
	// A 401 must name a way to prove oneself (RFC 9110 §15.5.2), also to a client that has tried the form.
	{auth.ErrInvalidClient, 401, "invalid_client", "invalid_client", "Client authentication failed", `Basic realm="gatehouse"`},
	{auth.ErrUnauthorizedClient, 400, "unauthorized_client", "unauthorized_client", "The client may not use this grant", ""},
	{auth.ErrInvalidScope, 400, "invalid_scope", "invalid_scope", "The scope is malformed or more than may be had", ""},
	{auth.ErrBeyondRights, 403, "beyond_rights", "", "Nobody may give, take or overrule rights beyond their own", `Bearer realm="gatehouse", error="insufficient_scope"`},
	{auth.ErrForbidden, 403, "forbidden", "", "The token does not allow this", `Bearer realm="gatehouse", error="insufficient_scope"`},
	{auth.ErrLastAdmin, 409, "last_admin", "", "The last enabled admin must stay", ""},
	{auth.ErrRoleBuiltIn, 409, "role_built_in", "", "The role is built in", ""},
	{auth.ErrTooManyRights, 409, "too_many_rights", "", "The roles and permissions of a user would not fit into a token", ""},
	{auth.ErrChanged, 412, "changed", "", "It is not as it was when the client read it", ""},
	{auth.ErrRoleNotFound, 404, "role_not_found", "", "There is no such role", ""},
	// Behind the errors that hide it from whoever has no live token.
	{auth.ErrSessionNotFound, 404, "session_not_found", "", "There is no such session", ""},
	{auth.ErrUserNotFound, 404, "user_not_found", "", "There is no such user", ""},
	{auth.ErrUsernameTaken, 409, "username_taken", "", "The username is already taken", ""},
	{auth.ErrNoFeed, 404, "no_feed", "", "Revocations are signed only where the signing key has a public half", ""},
	{errRegistrationClosed, 403, "registration_closed", "", "Registration is closed", ""},
	{errMalformed, 400, "malformed", invalidRequest, "The request body is malformed", ""},
	{errInvalidRequest, 400, "invalid_request", invalidRequest, "A parameter is missing or given twice", ""},
	{errUnsupportedGrant, 400, "unsupported_grant_type", "unsupported_grant_type", "The grant type is not supported", ""},
	{errBadCursor, 400, "bad_cursor", "", "The cursor is not from an earlier answer to the same question", ""},
	{errVerifyQuery, 400, "verify_query", "", "Only role and permission may be asked for", ""},
	{errTooLarge, 413, "too_large", invalidRequest, "The request body is larger than 64 KiB", ""},
	{errMediaType, 415, "media_type", invalidRequest, "The media type of the request body is not supported", ""},
	{errNotFound, 404, "not_found", "", "There is no such resource", ""},
	{errMethodNotAllowed, 405, "method_not_allowed", "", "The resource does not have this method", ""},
	{auth.ErrLimited, 429, "limited", unavailable, "Too many attempts; try again later", ""},
	{auth.ErrOverloaded, 503, "overloaded", unavailable, "Too many requests are waiting; try again later", ""},
	{auth.ErrStopping, 503, "stopping", unavailable, "The service is stopping; try again", ""},
	{auth.ErrUnavailable, 503, "unavailable", unavailable, "The service is not available; try again later", ""},
	{context.DeadlineExceeded, 503, "timeout", unavailable, "The request took too long; try again later", ""},
	{context.Canceled, statusClientClosedRequest, "canceled", "server_error", "The request was canceled", ""},
}

// answerTo finds what to say of an error, and the fields to say it of.
func answerTo(err error) (answer, auth.InputError) {
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a, nil
		}
	}
	if fields, ok := errors.AsType[auth.InputError](err); ok {
		return answer{err: err, status: http.StatusUnprocessableEntity, code: "invalid_input", detail: "The input is not valid"}, fields
	}
	return answer{err: err, status: http.StatusInternalServerError, code: "error", oauth: "server_error", detail: "Internal server error"}, nil
}

// outcome prefers the finer name that package auth gives to an error.
func (a answer) outcome() string {
	if name := auth.Outcome(a.err); name != "error" {
		return name
	}
	return a.code
}

// problem is an error of every resource but the token endpoint (RFC 9457).
type problem struct {
	Type   string            `json:"type"`
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail"`
	Errors []auth.FieldError `json:"errors,omitempty"`
}

// tokenError is an error of the token endpoint (RFC 6749 §5.2); detail is where clients of FastAPI look.
type tokenError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Detail      string `json:"detail"`
}

// form of the errors of a route.
type form func(*gin.Context, answer, auth.InputError)

func asProblem(c *gin.Context, a answer, fields auth.InputError) {
	writeJSON(c, a.status, "application/problem+json", problem{"about:blank", title(a.status), a.status, a.detail, fields})
}

func asTokenError(c *gin.Context, a answer, _ auth.InputError) {
	writeJSON(c, a.status, "application/json", tokenError{a.oauth, a.detail, a.detail})
}

func title(status int) string {
	if status == statusClientClosedRequest {
		return "Client Closed Request"
	}
	return http.StatusText(status)
}

// fail answers a request with an error and leaves word of it for the log.
func fail(c *gin.Context, write form, err error) {
	a, fields := answerTo(err)
	if a.challenge != "" {
		c.Header("WWW-Authenticate", a.challenge)
	}
	if wait := waitFor(a.status, err); wait > 0 {
		c.Header("Retry-After", strconv.Itoa(wait))
	}
	a.err = err
	noteOf(c).failed(a)
	write(c, a, fields)
}

// waitFor is how long the caller should wait, in seconds; 0: there is nothing to say.
func waitFor(status int, err error) int {
	if limited, ok := errors.AsType[*auth.LimitedError](err); ok {
		return int((limited.RetryAfter + time.Second - 1) / time.Second)
	}
	if status == http.StatusServiceUnavailable {
		return retryAfter
	}
	return 0
}

func writeJSON(c *gin.Context, status int, mediaType string, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err) // the few bodies there are have only fields that can be encoded
	}
	c.Data(status, mediaType+"; charset=utf-8", append(encoded, '\n')) // for whoever reads it in a terminal
}
