package web

import (
	"context"
	"errors"
	"slices"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/web/pages"
)

// failureOf says in a form why it was not accepted. It says nothing of what is wrong with a single
// field, and nothing of what no form tells.
func failureOf(err error) pages.Failure {
	var failure pages.Failure
	switch {
	case errors.Is(err, auth.ErrBadCredentials):
		failure.Why = pages.WrongCredentials
	case errors.Is(err, auth.ErrAddressUnverified):
		failure.Why = pages.AddressUnverified
	case errors.Is(err, auth.ErrInvalidChallenge):
		failure.Why = pages.WrongCode
	case errors.Is(err, auth.ErrWrongFactor):
		failure.Why = pages.WrongFactor
	case errors.Is(err, auth.ErrFactorLocked):
		failure.Why = pages.FactorLocked
	case errors.Is(err, auth.ErrInvalidPasskey):
		failure.Why = pages.PasskeyRefused
	case errors.Is(err, auth.ErrPasskeyTaken):
		failure.Why = pages.PasskeyTaken
	case errors.Is(err, auth.ErrTooManyPasskeys):
		failure.Why = pages.TooManyPasskeys
	case errors.Is(err, auth.ErrFactorExists):
		failure.Why = pages.FactorExists
	case errors.Is(err, auth.ErrFactorDemanded):
		failure.Why = pages.FactorDemanded
	case errors.Is(err, auth.ErrLastWayIn):
		failure.Why = pages.LastWayIn
	case errors.Is(err, auth.ErrEnrolmentOver):
		failure.Why = pages.EnrolLate
	case errors.Is(err, auth.ErrChanged):
		failure.Why = pages.Changed
	case errors.Is(err, auth.ErrAddressTaken):
		failure.Why = pages.AddressTaken
	case errors.Is(err, auth.ErrLastAdmin):
		failure.Why = pages.LastAdmin
	case errors.Is(err, auth.ErrLimited):
		failure.Why = pages.Limited
	case errors.Is(err, auth.ErrOverloaded), errors.Is(err, auth.ErrStopping):
		failure.Why = pages.Overloaded
	case errors.Is(err, auth.ErrUnavailable), errors.Is(err, edge.ErrTimeout),
		errors.Is(err, context.DeadlineExceeded):
		failure.Why = pages.Unavailable
	}
	if limited, ok := errors.AsType[*auth.LimitedError](err); ok {
		failure.RetryAfter = limited.RetryAfter
	}
	return failure
}

// isTold reports whether a form tells an error.
func isTold(err error) bool {
	_, isInput := errors.AsType[auth.InputError](err)
	return isInput || errors.Is(err, auth.ErrUsernameTaken) || failureOf(err).Why != ""
}

// isAbout reports whether a field has something to do with an error.
func isAbout(err error, field string) bool {
	wrong, _ := errors.AsType[auth.InputError](err)
	return slices.ContainsFunc(wrong, func(f auth.FieldError) bool { return f.Field == field })
}

// usernameProblem says what is wrong with the name in a form.
func (w *Web) usernameProblem(err error) pages.Problem {
	switch {
	case errors.Is(err, auth.ErrUsernameTaken):
		return pages.Problem{Why: pages.NameTaken}
	case !isAbout(err, pages.UsernameField):
		return pages.NoProblem
	}
	for reason, why := range map[error]pages.ProblemReason{
		auth.ErrNameEmpty: pages.NameMissing, auth.ErrNameLong: pages.NameLong,
		auth.ErrNameCharacters: pages.NameCharacters, auth.ErrNameSigns: pages.NameSigns,
		auth.ErrNameMixed: pages.NameMixed, auth.ErrNameLookalike: pages.NameLookalike,
		auth.ErrNameSignsAt: pages.NameSignsAt, auth.ErrNameReserved: pages.NameReserved, auth.ErrNameAddress: pages.NameAddress,
	} {
		if errors.Is(err, reason) {
			return pages.Problem{Why: why}
		}
	}
	return pages.Problem{Why: pages.NameRefused}
}

// newPasswordProblem says what is wrong with a new password, which was sent in a field.
func (w *Web) newPasswordProblem(c *gin.Context, err error, field string) pages.Problem {
	switch {
	case !isAbout(err, field):
		return pages.NoProblem
	case formOf(c)[field] == "":
		return pages.Problem{Why: pages.PasswordMissing}
	case errors.Is(err, password.ErrTooShort):
		return pages.Problem{Why: pages.PasswordShort, Bound: w.minPasswordLength}
	case errors.Is(err, password.ErrTooLong):
		return pages.Problem{Why: pages.PasswordLong, Bound: password.MaxLength}
	}
	for reason, why := range map[error]pages.ProblemReason{
		password.ErrCharacters: pages.PasswordCharacters, password.ErrCommon: pages.PasswordCommon,
		password.ErrIsUsername: pages.PasswordIsUsername, auth.ErrSamePassword: pages.PasswordSame,
		password.ErrBreached: pages.PasswordBreached, password.ErrIsWord: pages.PasswordIsWord,
	} {
		if errors.Is(err, reason) {
			return pages.Problem{Why: why}
		}
	}
	return pages.Problem{Why: pages.PasswordRefused}
}

// currentPasswordProblem says that the password which was sent is not that of the account.
func currentPasswordProblem(err error) pages.Problem {
	if isAbout(err, pages.CurrentField) {
		return pages.Problem{Why: pages.PasswordWrong}
	}
	return pages.NoProblem
}

const noticeField = "notice"

// noticeOf is what a page says was done, if this service has sent the browser there. A link of
// another site could otherwise make the page say so.
func noticeOf(c *gin.Context, known ...pages.Notice) pages.Notice {
	notice := pages.Notice(c.Query(noticeField))
	site := c.GetHeader("Sec-Fetch-Site")
	if site != "" && site != "same-origin" || !slices.Contains(known, notice) {
		return ""
	}
	return notice
}
