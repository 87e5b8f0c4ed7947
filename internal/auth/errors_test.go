package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse.example/internal/password"
	"gatehouse.example/internal/token"
)

// A word that changes here breaks the searches and alerts that operators have made of logs, metrics
// and the audit log.
func TestEveryErrorKeepsItsOutcomeHoweverItIsWrapped(t *testing.T) {
	t.Parallel()
	other := errors.New("another error")
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "success"},
		{other, "error"},
		{InputError{{"password", "is too short"}}, "invalid_input"},
		{ErrBadCredentials, "error"}, // it never comes without a reason
		{ErrUnknownUser, "unknown_user"},
		{ErrWrongPassword, "wrong_password"},
		{ErrDisabled, "disabled"},
		{ErrPasswordExpired, "expired"},
		{ErrSuperseded, "superseded"},
		{ErrUnusableHash, "unusable_hash"},
		{ErrWrongCurrentPassword, "wrong_password"},
		{ErrMustChangePassword, "password_change_required"},
		{ErrFactorNeeded, "factor_needed"},
		{ErrFactorEnrol, "factor_enrol"},
		{ErrPendingLogin, "pending_login_over"},
		{ErrWrongFactor, "wrong_factor"},
		{ErrFactorReused, "factor_reused"},
		{ErrPasskeyCloned, "passkey_cloned"},
		{ErrFactorsChanged, "factors_changed"},
		{ErrFactorLocked, "factor_locked"},
		{ErrFactorExists, "factor_exists"},
		{ErrFactorDemanded, "factor_demanded"},
		{ErrFactorsOff, "factors_off"},
		{ErrLastWayIn, "last_way_in"},
		{ErrPasskeyNotFound, "passkey_not_found"},
		{ErrPasskeyTaken, "passkey_taken"},
		{ErrInvalidPasskey, "invalid_passkey"},
		{ErrTooManyPasskeys, "too_many_passkeys"},
		{ErrFactorUnproved, "factor_unproved"},
		{ErrEnrolmentOver, "enrolment_over"},
		{ErrInsufficientAuthentication, "insufficient_authentication"},
		{&InsufficientError{}, "insufficient_authentication"},
		{ErrInvalidToken, "invalid_token"},
		{errRevoked, "invalid_token"},
		{errNoUser, "invalid_token"},
		{ErrInvalidGrant, "invalid_grant"},
		{ErrTokenReused, "token_reused"},
		{ErrSessionOver, "session_over"},
		{ErrOtherClient, "other_client"},
		{ErrInvalidChallenge, "invalid_challenge"},
		{ErrNoVerifiedAddress, "no_verified_address"},
		{ErrUserDisabled, "user_disabled"},
		{ErrMailNotFound, "error"},
		{ErrNoSession, "no_session"},
		{ErrInvalidClient, "invalid_client"},
		{ErrUnauthorizedClient, "unauthorized_client"},
		{ErrPasswordGrantOff, "password_grant_off"},
		{ErrClientNotFound, "client_not_found"},
		{ErrClientIDTaken, "client_id_taken"},
		{ErrTooManyClients, "too_many_clients"},
		{ErrClientPublic, "client_public"},
		{ErrNotAdmitted, "not_admitted"},
		{ErrInvalidScope, "invalid_scope"},
		{ErrForbidden, "forbidden"},
		{ErrBeyondRights, "beyond_rights"},
		{ErrLastAdmin, "last_admin"},
		{ErrTooManyRights, "too_many_rights"},
		{ErrRoleNotFound, "role_not_found"},
		{ErrRoleDemanded, "role_demanded"},
		{ErrRoleBuiltIn, "role_built_in"},
		{ErrChanged, "changed"},
		{ErrUserNotFound, "user_not_found"},
		{ErrSessionNotFound, "session_not_found"},
		{ErrConsentNotFound, "consent_not_found"},
		{ErrUsernameTaken, "username_taken"},
		{ErrRegistrationClosed, "registration_closed"},
		{ErrPasswordKeyInUse, "pepper_in_use"},
		{ErrPasswordKeyNotFound, "pepper_not_found"},
		{ErrKeyNotFound, "key_not_found"},
		{ErrKeyPending, "key_pending"},
		{ErrKeySigns, "key_signs"},
		{ErrKeyIsSecret, "key_is_secret"},
		{ErrTooEarly, "too_early"},
		{&TooEarlyError{At: time.Now(), Why: "tokens live"}, "too_early"},
		{ErrClocksApart, "clocks_apart"},
		{ErrBadLines, "bad_lines"},
		{ErrOtherSecret, "error"},
		{otherSecret([]string{"a"}, []string{"b"}), "error"},
		{ErrNotReplaced, "error"},
		{ErrLimited, "limited"},
		{&LimitedError{RetryAfter: time.Second}, "limited"},
		{ErrOverloaded, "overloaded"},
		{password.ErrOverloaded, "overloaded"},
		{ErrCrowded, "crowded"},
		{password.ErrCrowded, "crowded"},
		{ErrStopping, "stopping"},
		{password.ErrClosed, "stopping"},
		{ErrUnavailable, "unavailable"},
		{context.Canceled, "error"},
		{context.DeadlineExceeded, "error"},

		// Errors that come together.
		{
			errors.Join(InputError{{"current_password", "is not right"}}, ErrWrongCurrentPassword),
			"wrong_password",
		},
		{
			errors.Join(ErrWrongCurrentPassword, InputError{{"current_password", "is not right"}}),
			"wrong_password",
		},
		{fmt.Errorf("%w: %w", ErrInvalidToken, ErrUserNotFound), "invalid_token"},
		{fmt.Errorf("%w: %w", ErrInvalidToken, ErrSessionNotFound), "invalid_token"},
		{fmt.Errorf("%w: %w", ErrInvalidToken, ErrClientNotFound), "invalid_token"},
		{fmt.Errorf("%w: %w", ErrInvalidGrant, ErrSessionNotFound), "invalid_grant"},
		{fmt.Errorf("%w: %w", ErrInvalidGrant, token.ErrInvalidRefresh), "invalid_grant"},
		{fmt.Errorf("%w: %w", ErrUnusableHash, password.ErrUnusableHash), "unusable_hash"},
		{fmt.Errorf("%w: %w", ErrUnavailable, context.DeadlineExceeded), "unavailable"},
		{fmt.Errorf(
			"%w: revocations: %w", ErrUnavailable, fmt.Errorf("db: %w: %w", ErrUnavailable, other),
		), "unavailable"},
		{errors.Join(nil, fmt.Errorf("%w: no signing key yet", ErrUnavailable)), "unavailable"},
		{errors.Join(other, fmt.Errorf("%w: no signing key yet", ErrUnavailable)), "unavailable"},
		{
			errors.Join(ErrKeyPending, fmt.Errorf("%w: no signing key yet", ErrUnavailable)),
			"key_pending",
		},
	} {
		for how, err := range wrapped(test.err) {
			if got := Outcome(err); got != test.want {
				t.Errorf("%s, %v: outcome %s, want %s", how, err, got, test.want)
			}
		}
	}
}

// wrapped returns an error in the forms in which it reaches code that asks for its outcome.
func wrapped(err error) map[string]error {
	forms := map[string]error{"as it is": err}
	if err != nil {
		forms["by the store"] = fmt.Errorf("db: some query: %w", err)
		forms["with a detail"] = fmt.Errorf("%w: some detail", err)
		forms["joined"] = errors.Join(errors.New("another error"), err)
		forms["twice"] = fmt.Errorf(
			"%w: some step: %w", fmt.Errorf("db: some query: %w", err), errors.New("another error"),
		)
	}
	return forms
}

// The contract and the command line list these words. A missing word cannot be asked for. A word
// that never comes is asked for in vain.
func TestTheAuditLogHasTheseOutcomes(t *testing.T) {
	t.Parallel()
	want := []string{
		"access_denied", "address_required", "address_taken", "address_unverified",
		"authorization_request", "bad_lines", "beyond_rights", "changed", "client_id_taken",
		"client_not_found", "client_public", "clocks_apart", "code_reused", "consent_not_found",
		"consent_required",
		"crowded", "disabled", "enrolment_over", "expired", "factor_demanded", "factor_enrol",
		"factor_exists", "factor_locked", "factor_needed", "factor_reused", "factor_unproved",
		"factors_changed", "factors_off", "forbidden", "insufficient_authentication",
		"invalid_challenge", "invalid_client", "invalid_code", "invalid_grant", "invalid_passkey",
		"invalid_scope", "invalid_target", "invalid_token", "key_is_secret", "key_not_found",
		"key_pending", "key_signs", "last_admin", "last_way_in", "limited", "login_required",
		"logout_hint", "no_session", "no_verified_address", "not_admitted", "not_for_user",
		"other_client", "passkey_cloned", "passkey_not_found", "passkey_taken",
		"password_change_required", "password_grant_off", "password_needed", "pending_login_over",
		"pepper_in_use", "pepper_not_found", "redirect_uri", "registration_closed",
		"registration_object", "repeated", "repeated_elsewhere", "request_object", "request_uri",
		"response_type", "role_built_in", "role_demanded", "role_not_found", "session_not_found",
		"session_over", "several", "success", "superseded", "token_reused", "too_early",
		"too_many_clients", "too_many_passkeys", "too_many_rights", "unauthorized_client",
		"undeliverable", "unknown_app", "unknown_user", "unmet_requirements", "unusable_hash",
		"user_disabled", "user_not_found", "username_taken", "wrong_factor", "wrong_password",
	}
	if got := Outcomes(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Faults, floods that are turned away and mistakes in a form would fill the audit log. The faults
// are in the log of requests.
func TestTheAuditLogTellsOfRefusalsByARule(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		told bool
	}{
		"a success": {nil, false},
		"a fault":   {errors.New("another error"), false},
		"a mistake": {InputError{{"password", "is too short"}}, false},
		"a wrong password": {errors.Join(
			InputError{{"current_password", "is not right"}}, ErrWrongCurrentPassword,
		), true},
		"a refusal":         {fmt.Errorf("db: some query: %w", ErrLastAdmin), true},
		"the first refusal": {&LimitedError{RetryAfter: time.Second}, true},
		"a remembered one":  {&LimitedError{RetryAfter: time.Second, Remembered: true}, false},
		"an undecided one":  {&LimitedError{RetryAfter: time.Second, Undecided: true}, false},
		"a crowd":           {ErrCrowded, true},
		"an overload":       {ErrOverloaded, false},
		"a stop":            {ErrStopping, false},
		"a database away": {fmt.Errorf(
			"%w: %w", ErrUnavailable, context.DeadlineExceeded,
		), false},
		"another SECRET_KEY":  {otherSecret([]string{"a"}, []string{"b"}), false},
		"one not replaced":    {ErrNotReplaced, false},
		"no feed":             {ErrNoFeed, false},
		"a caller who left":   {context.Canceled, false},
		"a caller in a hurry": {context.DeadlineExceeded, false},
	} {
		if got := worthTelling(test.err); got != test.told {
			t.Errorf("%s (%v): told %v", name, test.err, got)
		}
	}
}

// A page could not say what is wrong in its own language.
func TestTheReasonsOfARefusedInputAreWithinTheError(t *testing.T) {
	t.Parallel()
	err := because(InputError{{"username", "x"}, {"password", "y"}}, ErrNameSigns,
		fmt.Errorf("%w: at least 8", password.ErrTooShort))
	for _, reason := range []error{ErrNameSigns, password.ErrTooShort} {
		if !errors.Is(err, reason) {
			t.Errorf("%v is not within the error", reason)
		}
	}
	if wrong, ok := errors.AsType[InputError](err); !ok || len(wrong) != 2 ||
		err.Error() != wrong.Error() || Outcome(err) != "invalid_input" ||
		errors.Is(err, ErrNameLong) {
		t.Errorf("%v, %s", err, Outcome(err))
	}
}
