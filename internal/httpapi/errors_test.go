package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/token"
)

// Challenges of the answers.
const (
	anyBearer = `Bearer`
	noBearer  = `Bearer realm="gatehouse"`
	badBearer = `Bearer realm="gatehouse", error="invalid_token"`
	weakLogin = `Bearer realm="gatehouse", error="insufficient_user_authentication", ` +
		`error_description="A stronger or more recent login is needed"`
	narrowBearer  = `Bearer realm="gatehouse", error="insufficient_scope"`
	clientByBasic = `Basic realm="gatehouse"`
)

// expected is the answer to an error, and its name in the log.
type expected struct {
	err       error
	status    int
	outcome   string
	oauth     string // error of a token response
	detail    string
	challenge string
	wait      int // Retry-After
}

// wantAnswers returns the answers to all errors that a handler may return.
func wantAnswers() []expected {
	const (
		refused = "Incorrect username or password"
		noProof = "Invalid authentication credentials"
		noRight = "The token does not allow this"
	)
	other := errors.New("another error")
	guessed := auth.InputError{{Field: "current_password", Message: "is not right"}}
	return []expected{
		{auth.ErrUnknownUser, 401, "unknown_user", "invalid_grant", refused, anyBearer, 0},
		{auth.ErrWrongPassword, 401, "wrong_password", "invalid_grant", refused, anyBearer, 0},
		{auth.ErrDisabled, 401, "disabled", "invalid_grant", refused, anyBearer, 0},
		{auth.ErrPasswordExpired, 401, "expired", "invalid_grant", refused, anyBearer, 0},
		{auth.ErrSuperseded, 401, "superseded", "invalid_grant", refused, anyBearer, 0},
		{auth.ErrUnusableHash, 401, "unusable_hash", "invalid_grant", refused, anyBearer, 0},
		{fmt.Errorf("%w: %w", auth.ErrUnusableHash, password.ErrUnusableHash), 401, "unusable_hash",
			"invalid_grant", refused, anyBearer, 0},
		{auth.ErrMustChangePassword, 400, "password_change_required", "password_change_required",
			"Password change required", "", 0},
		{auth.ErrFactorNeeded, 400, "factor_needed", "insufficient_authorization",
			"The second factor must be proved as well", "", 0},
		{auth.ErrFactorEnrol, 400, "factor_enrol", "redirect_to_web",
			"The account must have a second factor; log in in a browser to set one up", "", 0},
		{auth.ErrPendingLogin, 400, "pending_login_over", "invalid_session",
			"The login took too long, or is over; begin anew", "", 0},
		{auth.ErrWrongFactor, 400, "wrong_factor", "invalid_grant",
			"The code or the passkey is not right", "", 0},
		{auth.ErrFactorReused, 400, "factor_reused", "invalid_grant",
			"The code or the passkey is not right", "", 0},
		{auth.ErrPasskeyCloned, 400, "passkey_cloned", "invalid_grant",
			"The code or the passkey is not right", "", 0},
		{auth.ErrFactorsChanged, 409, "factors_changed", "",
			"The account's factors have changed meanwhile; look at them again", "", 0},
		{auth.ErrFactorLocked, 403, "factor_locked", "access_denied",
			"Too many codes were wrong; use a passkey, or ask an administrator", "", 0},
		{auth.ErrFactorExists, 409, "factor_exists", "",
			"The account has such a factor already; remove that first", "", 0},
		{auth.ErrFactorDemanded, 409, "factor_demanded", "",
			"The account must have a second factor; set up another one first", "", 0},
		{auth.ErrFactorsOff, 409, "factors_off", "", "No second factors are set up here", "", 0},
		{auth.ErrLastWayIn, 409, "last_way_in", "",
			"It is the last way in to the account; set up another one first", "", 0},
		{auth.ErrPasskeyNotFound, 404, "passkey_not_found", "", "There is no such passkey", "", 0},
		{auth.ErrPasskeyTaken, 409, "passkey_taken", "", "The passkey has been added already", "", 0},
		{auth.ErrInvalidPasskey, 400, "invalid_passkey", "",
			"The passkey could not be added; try again", "", 0},
		{auth.ErrTooManyPasskeys, 409, "too_many_passkeys", "",
			"The account has as many passkeys as it may have; remove one first", "", 0},
		{auth.ErrEnrolmentOver, 400, "enrolment_over", "",
			"Setting up the app took too long; begin anew", "", 0},
		{auth.ErrFactorUnproved, 400, "factor_unproved", "invalid_grant",
			"The account must prove a second factor; log in in a browser", "", 0},
		{auth.ErrInvalidGrant, 400, "invalid_grant", "invalid_grant",
			"The refresh token is not valid; log in again", "", 0},
		{fmt.Errorf("%w: %w", auth.ErrInvalidGrant, auth.ErrSessionNotFound), 400, "invalid_grant",
			"invalid_grant", "The refresh token is not valid; log in again", "", 0},
		{auth.ErrTokenReused, 400, "token_reused", "invalid_grant",
			"The refresh token is not valid; log in again", "", 0},
		{auth.ErrSessionOver, 400, "session_over", "invalid_grant",
			"The refresh token is not valid; log in again", "", 0},
		{auth.ErrOtherClient, 400, "other_client", "invalid_grant",
			"The token was issued to another client", "", 0},
		{edge.ErrNoToken, 401, "no_token", "", noProof, noBearer, 0},
		{auth.ErrInvalidToken, 401, "invalid_token", "", noProof, badBearer, 0},
		{fmt.Errorf("%w: %w", auth.ErrInvalidToken, auth.ErrUserNotFound), 401, "invalid_token", "",
			noProof, badBearer, 0},
		{fmt.Errorf("%w: %w", auth.ErrInvalidToken, auth.ErrSessionNotFound), 401, "invalid_token",
			"", noProof, badBearer, 0},
		{fmt.Errorf("%w: %w", auth.ErrInvalidToken, auth.ErrClientNotFound), 401, "invalid_token",
			"", noProof, badBearer, 0},
		{auth.ErrNoSession, 400, "no_session", "unsupported_token_type",
			"A client's own token cannot be revoked; it expires soon", "", 0},
		{auth.ErrInvalidClient, 401, "invalid_client", "invalid_client",
			"Client authentication failed", clientByBasic, 0},
		{auth.ErrUnauthorizedClient, 400, "unauthorized_client", "unauthorized_client",
			"The client may not use this grant", "", 0},
		{auth.ErrNotAdmitted, 400, "not_admitted", "invalid_grant",
			"The account may not use this client", "", 0},
		{auth.ErrPasswordGrantOff, 400, "password_grant_off", "unsupported_grant_type",
			"Passwords are not exchanged for tokens here", "", 0},
		{auth.ErrInvalidScope, 400, "invalid_scope", "invalid_scope",
			"The scope is malformed, or asks for more than is allowed", "", 0},
		{auth.ErrInsufficientAuthentication, 401, "insufficient_authentication", "",
			token.InsufficientLogin, weakLogin, 0},
		{&auth.InsufficientError{Demand: token.StepUp{ACR: "aal2", MaxAge: 5 * time.Minute}}, 401,
			"insufficient_authentication", "", token.InsufficientLogin,
			weakLogin + `, acr_values="aal2", max_age="300"`, 0},
		{auth.ErrForbidden, 403, "forbidden", "", noRight, narrowBearer, 0},
		{auth.ErrBeyondRights, 403, "beyond_rights", "",
			"You cannot give, take or overrule rights that you do not have", narrowBearer, 0},
		{auth.ErrLastAdmin, 409, "last_admin", "",
			"The last enabled admin must stay; make another account an admin first", "", 0},
		{auth.ErrRoleDemanded, 409, "role_demanded", "",
			"A client lets only holders of the role in; give the client another required role first", "", 0},
		{auth.ErrRoleBuiltIn, 409, "role_built_in", "",
			"The role is built in; it keeps its permissions, and cannot be deleted", "", 0},
		{auth.ErrTooManyRights, 409, "too_many_rights", "",
			"The roles and permissions would not fit into a token; use fewer", "", 0},
		{auth.ErrChanged, 412, "changed", "",
			"It has changed since the client read it; read it again", "", 0},
		{auth.ErrClientNotFound, 404, "client_not_found", "", "There is no such client", "", 0},
		{auth.ErrClientIDTaken, 409, "client_id_taken", "", "The client id is already taken", "", 0},
		{auth.ErrTooManyClients, 409, "too_many_clients", "",
			"There are as many clients as there may be", "", 0},
		{auth.ErrClientPublic, 409, "client_public", "", "The client is public and has no secret",
			"", 0},
		{auth.ErrRoleNotFound, 404, "role_not_found", "", "There is no such role", "", 0},
		{auth.ErrInvalidChallenge, 400, "invalid_challenge", "",
			"The link or the code is not valid, or not any more; ask for another mail", "", 0},
		{edge.ErrMailOff, 404, "mail_off", "",
			"No mail is sent here; ask an administrator for a new password", "", 0},
		{auth.ErrNoVerifiedAddress, 409, "no_verified_address", "",
			"The account has no verified e-mail address; give it an initial secret", "", 0},
		{auth.ErrUserDisabled, 409, "user_disabled", "",
			"The account is disabled; enable it first", "", 0},
		{auth.ErrSessionNotFound, 404, "session_not_found", "", "There is no such session", "", 0},
		{auth.ErrConsentNotFound, 404, "consent_not_found", "", "Nothing is allowed to such an app", "",
			0},
		{auth.ErrUserNotFound, 404, "user_not_found", "", "There is no such user", "", 0},
		{auth.ErrUsernameTaken, 409, "username_taken", "", "The username is already taken", "", 0},
		{auth.ErrAddressUnverified, 400, "address_unverified", "address_unverified",
			"The e-mail address must be verified first", "", 0},
		{auth.ErrAddressTaken, 409, "address_taken", "",
			"The e-mail address belongs to another account", "", 0},
		{auth.ErrAddressRequired, 409, "address_required", "",
			"An account must have an e-mail address", "", 0},
		{auth.ErrPasswordNeeded, 403, "password_needed", "",
			"Log in to the account, or give its password", "", 0},
		{auth.ErrNoFeed, 404, "no_feed", "",
			"Revocations are not signed here: the signing key is a secret", "", 0},
		{auth.ErrRegistrationClosed, 403, "registration_closed", "", "Registration is closed", "",
			0},
		{edge.ErrMalformed, 400, "malformed", "invalid_request", "The request body is malformed", "", 0},
		{edge.ErrInvalidRequest, 400, "invalid_request", "invalid_request",
			"A parameter is missing or given twice", "", 0},
		{edge.ErrUnsupportedGrant, 400, "unsupported_grant_type", "unsupported_grant_type",
			"The grant type is not supported", "", 0},
		{edge.ErrBadCursor, 400, "bad_cursor", "",
			"The cursor is not from an earlier answer to this question; start without it", "", 0},
		{edge.ErrVerifyQuery, 400, "verify_query", "",
			"The query may have role, permission, acr and max_age, and nothing else", "", 0},
		{edge.ErrTooLarge, 413, "too_large", "invalid_request", "The request body is larger than 64 KiB",
			"", 0},
		{edge.ErrFile, 400, "file", "invalid_request",
			"The parts of a form must be plain text and no files", "", 0},
		{edge.ErrMediaType, 415, "media_type", "invalid_request",
			"The media type of the request body is not supported", "", 0},
		{edge.ErrNotFound, 404, "not_found", "", "There is no such resource", "", 0},
		{edge.ErrCrossSite, 403, "cross_site", "", "The form came from a page of another site", "", 0},
		{edge.ErrMethodNotAllowed, 405, "method_not_allowed", "",
			"The resource does not have this method", "", 0},
		{auth.ErrLimited, 429, "limited", "temporarily_unavailable",
			"Too many attempts; try again later", "", 0},
		{&auth.LimitedError{RetryAfter: 1500 * time.Millisecond}, 429, "limited",
			"temporarily_unavailable", "Too many attempts; try again later", "", 2},
		{auth.ErrOverloaded, 503, "overloaded", "temporarily_unavailable",
			"Too many requests are waiting; try again later", "", 5},
		{password.ErrOverloaded, 503, "overloaded", "temporarily_unavailable",
			"Too many requests are waiting; try again later", "", 5},
		{auth.ErrCrowded, 503, "crowded", "temporarily_unavailable",
			"Too many requests are waiting; try again later", "", 1},
		{password.ErrCrowded, 503, "crowded", "temporarily_unavailable",
			"Too many requests are waiting; try again later", "", 1},
		{auth.ErrStopping, 503, "stopping", "temporarily_unavailable",
			"The service is stopping; try again", "", 5},
		{auth.ErrUnavailable, 503, "unavailable", "temporarily_unavailable",
			"The service is not available; try again later", "", 5},
		{fmt.Errorf("%w: %w", auth.ErrUnavailable, context.DeadlineExceeded), 503, "unavailable",
			"temporarily_unavailable", "The service is not available; try again later", "", 5},
		{context.DeadlineExceeded, 503, "timeout", "temporarily_unavailable",
			"The request took too long; try again later", "", 5},
		{context.Canceled, 499, "canceled", "server_error", "The request was canceled", "", 0},
		{guessed, 422, "invalid_input", "", "The input is not valid", "", 0},
		{errors.Join(guessed, auth.ErrWrongCurrentPassword), 422, "wrong_password", "",
			"The input is not valid", "", 0},
		{errors.Join(auth.ErrWrongCurrentPassword, guessed), 422, "wrong_password", "",
			"The input is not valid", "", 0},
		{errors.Join(guessed, auth.ErrUsernameTaken), 409, "username_taken", "",
			"The username is already taken", "", 0},

		// These are faults. No request may lead to them, and callers learn no more.
		{other, 500, "error", "server_error", "Internal server error", "", 0},
		{edge.ErrNoGuard, 500, "error", "server_error", "Internal server error", "", 0},
		{auth.ErrPasswordKeyInUse, 500, "pepper_in_use", "server_error", "Internal server error",
			"", 0},
		{auth.ErrPasswordKeyNotFound, 500, "pepper_not_found", "server_error",
			"Internal server error", "", 0},
		{auth.ErrKeyNotFound, 500, "key_not_found", "server_error", "Internal server error", "", 0},
		{auth.ErrKeyPending, 500, "key_pending", "server_error", "Internal server error", "", 0},
		{auth.ErrKeySigns, 500, "key_signs", "server_error", "Internal server error", "", 0},
		{auth.ErrKeyIsSecret, 500, "key_is_secret", "server_error", "Internal server error", "", 0},
		{&auth.TooEarlyError{At: time.Now()}, 500, "too_early", "server_error",
			"Internal server error", "", 0},
		{auth.ErrClocksApart, 500, "clocks_apart", "server_error", "Internal server error", "", 0},
		{auth.ErrBadLines, 500, "bad_lines", "server_error", "Internal server error", "", 0},
		{auth.ErrOtherSecret, 500, "error", "server_error", "Internal server error", "", 0},
		{auth.ErrNotReplaced, 500, "error", "server_error", "Internal server error", "", 0},
	}
}

// bodies returns the body of an error at a token endpoint, and that of every other route.
func (e expected) bodies(title string) (asTokenError, asProblem string) {
	fields := ""
	if e.status == http.StatusUnprocessableEntity {
		fields = `,"errors":[{"field":"current_password","message":"is not right"}]`
	}
	return fmt.Sprintf(`{"error":%q,"error_description":%q,"detail":%q}`+"\n", e.oauth, e.detail,
			e.detail),
		fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d,"detail":%q%s}`+"\n", title,
			e.status, e.detail, fields)
}

// A refusal that is answered as a fault wakes somebody up, and a fault that is answered as a
// refusal goes unseen. An answer to a login with its reason would reveal who has an account.
func TestEveryErrorKeepsItsAnswerHoweverItIsWrapped(t *testing.T) {
	t.Parallel()
	for _, want := range wantAnswers() {
		title := http.StatusText(want.status)
		if want.status == 499 {
			title = "Client Closed Request"
		}
		tokenError, problem := want.bodies(title)
		for how, err := range map[string]error{
			"as it is": want.err, "by the store": fmt.Errorf("db: some query: %w", want.err),
			"with a detail": fmt.Errorf("%w: some detail", want.err),
			"joined":        errors.Join(errors.New("another error"), want.err),
		} {
			for mediaType, test := range map[string]struct {
				write edge.Form
				body  string
			}{"application/json": {asTokenError, tokenError},
				"application/problem+json": {asProblem, problem}} {
				name := fmt.Sprintf("%s as %s, %v", how, mediaType, err)
				h, log := bare(t,
					route{guard: anybody, errors: test.write,
						handle: func(*gin.Context) error { return err }})
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				if w.Code != want.status || w.Body.String() != test.body ||
					w.Header().Get("Content-Type") != mediaType+"; charset=utf-8" {
					t.Errorf("%s: %d %s %s; want %d %s", name, w.Code,
						w.Header().Get("Content-Type"), w.Body, want.status, test.body)
				}
				wantWait := ""
				if want.wait > 0 {
					wantWait = strconv.Itoa(want.wait)
				}
				if wait, challenge := w.Header().Get("Retry-After"),
					w.Header().Get("WWW-Authenticate"); wait != wantWait ||
					challenge != want.challenge {
					t.Errorf("%s: Retry-After %q, WWW-Authenticate %q; want %q and %q", name, wait,
						challenge, wantWait, want.challenge)
				}
				line := log.lines(t)[0]
				if line["outcome"] != want.outcome ||
					line["request_id"] != w.Header().Get("X-Request-Id") {
					t.Errorf("%s: logged %v; want outcome %s", name, line, want.outcome)
				}
				if said, _ := line["error"].(string); want.status >= 500 && said != err.Error() ||
					want.status < 500 && said != "" {
					t.Errorf("%s: logged the error %q", name, said)
				}
			}
		}
	}
}
