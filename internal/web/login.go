package web

import (
	"cmp"
	"errors"
	"net/url"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// checked is the value of a checkbox.
const checked = "yes"

func (w *Web) getLogin(c *gin.Context) error {
	to := w.destination(c, c.Query(pages.NextField))
	if to.demand == (auth.StepUp{}) {
		to = w.demanding(c, c.Request.URL.Query())
	}
	browser, ok, err := w.sessionOf(c)
	if err != nil {
		return err
	}
	page := w.loginPage(to)
	page.Username = suggested(c, to)
	page.Notice = noticeOf(c, pages.NoticeRegistered, pages.NoticePasswordReset, pages.NoticeAddressVerified,
		pages.NoticeAddressRestored, pages.NoticeProveFirst, pages.NoticeLoginOver)
	if page.Passkeys {
		w.visitor(c)
	}
	switch {
	case ok && to.query == nil && to.title != "" && !browser.User.MayReach(to.demand):
		return w.render(c, pages.NoFactor{Username: browser.User.LoginName(), App: to.title}, to)
	case ok && mustProve(browser, to): // whoever demands it wants a proof, and not a click
		page.Username = cmp.Or(page.Username, browser.User.LoginName())
	case ok:
		page.AlreadyAs = browser.User.LoginName()
	case w.isBack(to):
		page.Notice = pages.NoticeLoginFirst
	}
	return w.render(c, page, to)
}

// mustProve reports whether somebody who is logged in has to prove anew who they are.
func mustProve(browser auth.Browser, to destination) bool {
	return to.query.Has(auth.DemandParameter) ||
		!browser.Access.Satisfies(to.demand, browser.Now)
}

func (w *Web) loginPage(to destination) pages.Login {
	return pages.Login{
		Next: to.next, To: to.title, RegistrationOpen: w.registrationOpen, ForgotOpen: w.mailOn,
		ByAddress: w.email.IsOn(),
		Passkeys:  w.Factors.HasPasskeys(),
	}
}

// suggested is the name with which a form begins: the one that an earlier form had, or else the
// hint of the app (OpenID Connect Core §3.1.2.1). No name is longer than an address.
func suggested(c *gin.Context, to destination) string {
	name := c.Query(pages.UsernameField)
	if name == "" {
		name = to.query.Get("login_hint")
	}
	if len(name) > auth.MaxAddressLength {
		return ""
	}
	return name
}

// postLogin logs a browser in. A browser that is logged in already may go on as it is.
func (w *Web) postLogin(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	if form[pages.ChoiceField] == pages.ChoiceCurrent {
		return w.goOn(c, to)
	}
	grant, err := w.Logins.LoginInBrowser(c.Request.Context(), form[pages.UsernameField],
		form[pages.PasswordField], callerOf(c), w.browserLogin(c, to))
	w.edge.CountLogin(err)
	if err == nil {
		return w.enter(c, grant, to)
	}
	if err = w.next(c, err, form[pages.UsernameField], to); err == nil || !isTold(err) {
		return err
	}
	page := w.loginPage(to)
	page.Username, page.Remember = form[pages.UsernameField], remember(form)
	page.Failure = failureOf(err)
	return &again{page, to, err}
}

// enter gives the browser its session, and leads on.
func (w *Web) enter(c *gin.Context, grant auth.BrowserGrant, to destination) error {
	w.begin(c, grant)
	return w.redirect(c, w.onward(to))
}

// goOn leads somebody on who is still logged in, and else back to the login.
func (w *Web) goOn(c *gin.Context, to destination) error {
	browser, ok, err := w.sessionOf(c)
	if err != nil {
		return err
	}
	if ok && isMeant(formOf(c), browser) {
		return w.redirect(c, w.onward(to))
	}
	if pending, err := w.pending(c); err == nil && pending.Change { // behind new recovery codes
		return w.toChange(c, pending.User.Username, to)
	}
	return w.redirect(c, w.loginURL(to))
}

// browserLogin is what a browser brings besides name and password.
func (w *Web) browserLogin(c *gin.Context, to destination) auth.BrowserLogin {
	return auth.BrowserLogin{
		Cookie: w.edge.SessionCookieOf(c.Request), Remember: remember(formOf(c)),
		MayTrust: to.mayTrust(), Pending: w.edge.LoginCookieOf(c.Request),
	}
}

func remember(form map[string]string) bool { return form[pages.RememberField] == checked }

// kept is what the next form begins with: all but the password.
func kept(form map[string]string) url.Values {
	query := url.Values{}
	if name := form[pages.UsernameField]; name != "" {
		query.Set(pages.UsernameField, name)
	}
	if remember(form) {
		query.Set(pages.RememberField, checked)
	}
	return query
}

// getLoginPassword asks for another password, which the account demands.
func (w *Web) getLoginPassword(c *gin.Context) error {
	to := w.destination(c, c.Query(pages.NextField))
	page := w.demandedPage(to)
	page.Username, page.Remember = suggested(c, to), c.Query(pages.RememberField) == checked
	return w.render(c, page, to)
}

func (w *Web) demandedPage(to destination) pages.DemandedPassword {
	return pages.DemandedPassword{Next: to.next, MinLength: w.minPasswordLength}
}

// postLoginPassword logs a browser in, and replaces the password.
func (w *Web) postLoginPassword(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	grant, err := w.Logins.ReplacePasswordInBrowser(c.Request.Context(), form[pages.UsernameField],
		form[pages.CurrentField], form[pages.NewField], callerOf(c), w.browserLogin(c, to))
	w.edge.CountLogin(err)
	if err == nil {
		return w.enter(c, grant, to)
	}
	if err = w.next(c, err, form[pages.UsernameField], to); err == nil || !isTold(err) {
		return err
	}
	page := w.demandedPage(to)
	page.Username, page.Remember = form[pages.UsernameField], remember(form)
	page.NewProblem = w.newPasswordProblem(c, err, pages.NewField)
	page.Failure = failureOf(err)
	return &again{page, to, err}
}

// verifyFirst leads whoever must verify an address to the page that takes the code of its mail.
// Another mail is on its way there: the page of the registration may be lost.
func (w *Web) verifyFirst(c *gin.Context, err error, login string, to destination) error {
	refused, ok := errors.AsType[*auth.UnverifiedError](err)
	if !ok {
		return err
	}
	challenge, err := w.Addresses.ResendTo(c.Request.Context(), refused, w.LanguageFor(c), edge.CallerOf(c))
	if err != nil {
		return err
	}
	return w.toVerifyCode(c, challenge, login, to, pages.NoticeVerifyFirst)
}
