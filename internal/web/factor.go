package web

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/otp"
	"gatehouse.example/internal/token"
	"gatehouse.example/internal/web/pages"
)

// pendingFor is how long a browser keeps what lies between the two steps of a login. The rules say
// themselves how long it is good.
const pendingFor = 10 * time.Minute

// next leads a login on whose error says what else the account demands. It returns any other error,
// and nil when it has answered.
func (w *Web) next(c *gin.Context, err error, login string, to destination) error {
	if needed, ok := errors.AsType[*auth.FactorNeededError](err); ok {
		w.edge.SetLoginCookie(c, needed.Pending, pendingFor)
		if needed.Enrol {
			return w.redirect(c, w.with(pages.EnrolPath, to, nil))
		}
		return w.redirect(c, w.with(pages.FactorPath, to, nil))
	}
	if needed, ok := errors.AsType[*auth.ChangeNeededError](err); ok {
		w.edge.SetLoginCookie(c, needed.Pending, pendingFor)
		return w.toChange(c, needed.Username, to)
	}
	switch {
	case errors.Is(err, auth.ErrMustChangePassword):
		w.edge.ClearLoginCookie(c) // that of another login, which the change would be taken for
		return w.redirect(c, w.with(pages.LoginPasswordPath, to, kept(formOf(c))))
	case w.mailOn && errors.Is(err, auth.ErrAddressUnverified):
		return w.verifyFirst(c, err, login, to)
	case errors.Is(err, auth.ErrPendingLogin):
		return w.loginOver(c, to)
	}
	return err
}

// toChange leads to the page that replaces a password, behind a second step.
func (w *Web) toChange(c *gin.Context, username auth.Username, to destination) error {
	return w.redirect(c, w.with(pages.LoginPasswordPath, to, url.Values{
		pages.UsernameField: {username.Given},
	}))
}

// loginOver leads back to the first step of a login.
func (w *Web) loginOver(c *gin.Context, to destination) error {
	w.edge.ClearLoginCookie(c)
	return w.redirect(c, w.with(pages.LoginPath, to, url.Values{
		noticeField: {string(pages.NoticeLoginOver)},
	}))
}

// mayTrust reports whether a trusted device may stand in for the second step: nothing demands more
// of the login than the account itself, and no app wants its user to prove anew who they are.
func (to destination) mayTrust() bool {
	return to.demand == (token.StepUp{}) && !auth.DemandsProof(to.query)
}

// pending returns the login of the browser between its two steps. Errors: [auth.ErrPendingLogin].
func (w *Web) pending(c *gin.Context) (auth.PendingLogin, error) {
	return w.Logins.Pending(c.Request.Context(), w.edge.LoginCookieOf(c.Request))
}

// getFactor shows the second step of a login.
func (w *Web) getFactor(c *gin.Context) error {
	to := w.destination(c, c.Query(pages.NextField))
	pending, err := w.pending(c)
	switch {
	case err != nil:
		return w.next(c, err, "", to)
	case pending.Enrol:
		return w.redirect(c, w.with(pages.EnrolPath, to, nil))
	case pending.Change:
		return w.toChange(c, pending.User.Username, to)
	}
	return w.render(c, w.factorPage(pending, to), to)
}

func (w *Web) factorPage(pending auth.PendingLogin, to destination) pages.Factor {
	has := pending.User.Factors
	page := pages.Factor{
		Username: pending.User.LoginName(), Next: to.next, App: has.TOTP,
		Passkeys: has.Passkeys > 0 && w.Factors.HasPasskeys(), Codes: has.RecoveryCodes > 0,
	}
	if to.mayTrust() {
		page.TrustDays = daysOf(w.trustedFor)
	}
	return page
}

// daysOf says a duration in days, which are at least one if it is any.
func daysOf(d time.Duration) int {
	const day = 24 * time.Hour
	return int((d + day - 1) / day)
}

// postFactor is the second step of a login.
func (w *Web) postFactor(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	trust := form[pages.TrustField] == checked && to.mayTrust()
	grant, err := w.Logins.ProveFactor(c.Request.Context(), w.edge.LoginCookieOf(c.Request),
		auth.FactorProof{Code: form[pages.FactorField], Passkey: []byte(form[pages.PasskeyField])},
		trust, callerOf(c), w.browserLogin(c, to))
	w.edge.CountLogin(err)
	if err == nil {
		return w.enter(c, grant, to)
	}
	err = w.next(c, err, "", to)
	if err == nil || !isTold(err) {
		return err
	}
	pending, over := w.pending(c)
	if over != nil {
		return w.next(c, over, "", to)
	}
	page := w.factorPage(pending, to)
	page.Failure = failureOf(err)
	if form[pages.PasskeyField] != "" {
		page.Failure = passkeyFailure(err)
	}
	return &again{page, to, err}
}

// passkeyFailure is failureOf for a form that has sent a passkey, or should have.
func passkeyFailure(err error) pages.Failure {
	failure := failureOf(err)
	if failure.Why == pages.WrongFactor || failure.Why == pages.WrongCredentials {
		failure.Why = pages.PasskeyRefused
	}
	return failure
}

// getFactorPasskey returns what the script asks for a passkey with, as the second step.
func (w *Web) getFactorPasskey(c *gin.Context) error {
	options, err := w.Logins.PasskeyOptionsFor(c.Request.Context(), w.edge.LoginCookieOf(c.Request))
	return w.options(c, options, err)
}

// options answers the script with what it asks the browser with.
func (w *Web) options(c *gin.Context, options []byte, err error) error {
	if err != nil {
		return err
	}
	w.protect(c, destination{}, false)
	c.Data(http.StatusOK, "application/json; charset=utf-8", options)
	return nil
}

// visitor is the cookie that a passkey's challenge is bound to. A form of another site could
// otherwise log the browser in with a passkey of that site's owner.
func (w *Web) visitor(c *gin.Context) string {
	if had := w.edge.VisitorCookieOf(c.Request); had != "" {
		return had
	}
	made := rand.Text()
	w.edge.SetVisitorCookie(c, made)
	return made
}

// getLoginPasskey returns what the script asks for a passkey with, whosever it is.
func (w *Web) getLoginPasskey(c *gin.Context) error {
	options, err := w.Logins.PasskeyOptions(w.visitor(c))
	return w.options(c, options, err)
}

// postLoginPasskey logs a browser in with a passkey alone.
func (w *Web) postLoginPasskey(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	grant, err := w.Logins.LoginByPasskey(c.Request.Context(), w.edge.VisitorCookieOf(c.Request),
		[]byte(form[pages.PasskeyField]), callerOf(c), w.browserLogin(c, to))
	w.edge.CountLogin(err)
	if err == nil {
		return w.enter(c, grant, to)
	}
	err = w.next(c, err, "", to)
	if err == nil || !isTold(err) {
		return err
	}
	page := w.loginPage(to)
	page.Remember, page.Failure = remember(form), passkeyFailure(err)
	return &again{page, to, err}
}

// getEnrol shows how to set up what the second step of a login needs.
func (w *Web) getEnrol(c *gin.Context) error {
	to := w.destination(c, c.Query(pages.NextField))
	pending, err := w.pending(c)
	switch {
	case err != nil:
		return w.next(c, err, "", to)
	case !pending.Enrol:
		return w.redirect(c, w.with(pages.FactorPath, to, nil))
	}
	return w.render(c, w.enrolPage(c, pending, appOffer(w.Factors.NewTOTP(pending.User)), to), to)
}

func (w *Web) enrolPage(
	c *gin.Context, pending auth.PendingLogin, app pages.AppOffer, to destination,
) pages.Enrol {
	return pages.Enrol{
		Username: pending.User.LoginName(), Next: to.next, App: app,
		Passkeys: w.Factors.HasPasskeys(), PasskeyName: deviceName(c),
	}
}

func appOffer(app auth.TOTPEnrolment) pages.AppOffer {
	return pages.AppOffer{URI: app.URI, Secret: app.Secret, Sealed: app.Sealed}
}

// deviceName is how a new passkey is called unless its owner says another name.
func deviceName(c *gin.Context) string { return pages.DeviceOf(c.Request.UserAgent()).String() }

// getEnrolPasskey returns what the script has the browser make a passkey with.
func (w *Web) getEnrolPasskey(c *gin.Context) error {
	options, err := w.Logins.EnrolOptions(c.Request.Context(), w.Factors, w.edge.LoginCookieOf(c.Request))
	return w.options(c, options, err)
}

// postEnrol sets up what the second step of a login needs, and goes on with the login. New recovery
// codes come before all else.
func (w *Web) postEnrol(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	grant, codes, err := w.enrol(c, form, to)
	w.edge.CountLogin(err)
	if err == nil {
		w.begin(c, grant)
	}
	switch needed, ok := errors.AsType[*auth.ChangeNeededError](err); {
	case err == nil && len(codes) == 0:
		return w.redirect(c, w.onward(to))
	case err == nil:
		return w.showCodes(c, grant.User.Username, codes, to)
	case ok && len(codes) > 0:
		w.edge.SetLoginCookie(c, needed.Pending, pendingFor)
		return w.showCodes(c, needed.Username, codes, to)
	}
	if err = w.next(c, err, "", to); err == nil || !isTold(err) {
		return err
	}
	pending, over := w.pending(c)
	if over != nil {
		return w.next(c, over, "", to)
	}
	page := w.enrolPage(c, pending, w.sameApp(pending.User, form), to)
	page.Failure = failureOf(err)
	return &again{page, to, err}
}

func (w *Web) enrol(
	c *gin.Context, form map[string]string, to destination,
) (auth.BrowserGrant, []otp.RecoveryCode, error) {
	ctx, pending, login := c.Request.Context(), w.edge.LoginCookieOf(c.Request), w.browserLogin(c, to)
	if made := form[pages.PasskeyField]; made != "" {
		return w.Logins.EnrolPasskey(ctx, w.Factors, pending, form[pages.PasskeyNameField],
			[]byte(made), callerOf(c), login)
	}
	return w.Logins.EnrolTOTP(ctx, w.Factors, pending, form[pages.SealedField],
		form[pages.FactorField], callerOf(c), login)
}

// showCodes shows new recovery codes. From there the browser goes on.
func (w *Web) showCodes(
	c *gin.Context, username auth.Username, codes []otp.RecoveryCode, to destination,
) error {
	page := pages.RecoveryCodes{Username: username.Given, Next: to.next}
	for _, code := range codes {
		page.Codes = append(page.Codes, code.Text())
	}
	return w.render(c, page, to)
}
