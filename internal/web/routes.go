package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// guard returns an error if a request must not reach its handler.
type guard func(*Web, *gin.Context) error

// route is a line of the table: what it serves, and what it lets in.
type route struct {
	method, path string
	guard        guard // nil lets nobody in
	handle       edge.Handler
}

func (w *Web) table() []route {
	return []route{
		{http.MethodGet, pages.HomePath, anybody, w.getHome},
		{http.MethodGet, pages.LoginPath, anybody, w.getLogin},
		{http.MethodPost, pages.LoginPath, ownForm, w.postLogin},
		{http.MethodGet, pages.LoginPasswordPath, anybody, w.getLoginPassword},
		{http.MethodPost, pages.LoginPasswordPath, ownForm, w.postLoginPassword},
		{http.MethodGet, pages.LoginPasskeyPath, anybody, w.getLoginPasskey},
		{http.MethodPost, pages.LoginPasskeyPath, ownForm, w.postLoginPasskey},
		{http.MethodGet, pages.FactorPath, anybody, w.getFactor},
		{http.MethodPost, pages.FactorPath, ownForm, w.postFactor},
		{http.MethodGet, pages.FactorPasskeyPath, anybody, w.getFactorPasskey},
		{http.MethodGet, pages.EnrolPath, anybody, w.getEnrol},
		{http.MethodPost, pages.EnrolPath, ownForm, w.postEnrol},
		{http.MethodGet, pages.EnrolPasskeyPath, anybody, w.getEnrolPasskey},
		{http.MethodGet, pages.RegisterPath, anybody, w.getRegister},
		{http.MethodPost, pages.RegisterPath, ownForm, w.postRegister},
		{http.MethodGet, pages.ForgotPath, mailed(anybody), w.getForgot},
		{http.MethodPost, pages.ForgotMailPath, mailed(ownForm), w.postForgotMail},
		{http.MethodGet, pages.ResetCodePath + "/:challenge", mailed(anybody), w.getResetCode},
		{http.MethodPost, pages.ResetCodePath, mailed(ownForm), w.postResetCode},
		{http.MethodGet, pages.ResetLinkPath + ":token", mailed(anybody), w.getResetLink},
		{http.MethodPost, pages.ResetLinkPath + ":token", mailed(ownForm), w.postResetLink},
		{http.MethodGet, pages.VerifyCodePath + "/:challenge", mailed(anybody), w.getVerifyCode},
		{http.MethodPost, pages.VerifyCodePath, mailed(ownForm), w.postVerifyCode},
		{http.MethodPost, pages.VerifyMailPath, mailed(ownForm), w.postVerifyMail},
		{http.MethodGet, pages.VerifyLinkPath + ":token", mailed(anybody), w.getVerifyLink},
		{http.MethodPost, pages.VerifyLinkPath + ":token", mailed(ownForm), w.postVerifyLink},
		{http.MethodGet, pages.UndoLinkPath + ":token", mailed(anybody), w.getUndoLink},
		{http.MethodPost, pages.UndoLinkPath + ":token", mailed(ownForm), w.postUndoLink},
		{http.MethodGet, pages.InvitationPath + ":token", mailed(anybody), w.getInvitation},
		{http.MethodPost, pages.InvitationPath + ":token", mailed(ownForm), w.postInvitation},
		{http.MethodGet, pages.AccountPath, anybody, w.loggedIn(w.getAccount)},
		{http.MethodPost, pages.AccountSessionPath, ownForm, w.meant(w.postAccountSessions)},
		{http.MethodPost, pages.AccountAppsPath, ownForm, w.meant(w.postAccountApps)},
		{http.MethodPost, pages.ChangePasswordPath, ownForm, w.meant(w.postAccountPassword)},
		{http.MethodGet, pages.AccountDataPath, anybody, w.loggedIn(w.getAccountData)},
		{http.MethodGet, pages.AccountEmailPath, mailed(anybody), w.loggedIn(w.getAccountEmail)},
		{http.MethodPost, pages.AccountEmailPath, mailed(ownForm), w.meant(w.postAccountEmail)},
		{http.MethodPost, pages.AccountMailPath, mailed(ownForm), w.meant(w.postAccountMail)},
		{http.MethodGet, pages.DeleteAccountPath, anybody, w.loggedIn(w.getDeleteAccount)},
		{http.MethodPost, pages.DeleteAccountPath, ownForm, w.meant(w.postDeleteAccount)},
		{http.MethodGet, pages.SecurityPath, anybody, w.loggedIn(w.getSecurity)},
		{http.MethodGet, pages.AppPath, anybody, w.proved(w.getApp)},
		{http.MethodPost, pages.AppPath, ownForm, w.meant(w.postApp)},
		{http.MethodGet, pages.AddPasskeyPath, anybody, w.proved(w.getAddPasskey)},
		{http.MethodPost, pages.AddPasskeyPath, ownForm, w.meant(w.postAddPasskey)},
		{http.MethodGet, pages.NewPasskeyPath, anybody, w.getNewPasskey},
		{http.MethodGet, pages.OfferedPasskeyPath, anybody, w.getOfferedPasskey},
		{http.MethodPost, pages.OfferedPasskeyPath, ownForm, w.meant(w.postOfferedPasskey)},
		{http.MethodGet, pages.PasskeyPath + ":id", anybody, w.loggedIn(w.getPasskey)},
		{http.MethodPost, pages.PasskeyPath + ":id", ownForm, w.meant(w.postPasskey)},
		{http.MethodPost, pages.RecoveryCodesPath, ownForm, w.meant(w.postRecoveryCodes)},
		{http.MethodPost, pages.DevicesPath, ownForm, w.meant(w.postDevices)},
		{http.MethodPost, pages.NoPasswordPath, ownForm, w.meant(w.postNoPassword)},
		{http.MethodPost, pages.LaterPath, ownForm, w.meant(w.postLater)},
		{http.MethodGet, authorizePath, anybody, w.getAuthorize},
		{http.MethodPost, authorizePath, anybody, w.postAuthorize},
		{http.MethodPost, pages.ConsentPath, ownForm, w.postConsent},
		{http.MethodGet, pages.EndSessionPath, anybody, w.getEndSession},
		{http.MethodPost, pages.EndSessionPath, anybody, w.postEndSession},
		{http.MethodGet, pages.ForgetPath, anybody, w.getForget},
		{http.MethodGet, assetPath, anybody, w.getAsset},
	}
}

func (r route) serve(w *Web) edge.Handler {
	return func(c *gin.Context) error {
		if r.guard == nil {
			return edge.ErrNoGuard
		}
		if err := r.guard(w, c); err != nil {
			return err
		}
		return r.handle(c)
	}
}

// anybody lets everybody in.
func anybody(*Web, *gin.Context) error { return nil }

const formKey = "gatehouse.form"

// ownForm lets in the forms of these pages. A page of another site could send one in the name of
// whoever is logged in, or log them in to an account of its own. Errors: [edge.ErrCrossSite], those
// of [edge.ReadForm].
func ownForm(w *Web, c *gin.Context) error {
	if w.forms.Check(c.Request) != nil {
		return edge.ErrCrossSite
	}
	form, err := edge.ReadForm(c)
	if err != nil {
		return err
	}
	c.Set(formKey, form)
	return nil
}

func formOf(c *gin.Context) map[string]string { return c.MustGet(formKey).(map[string]string) }

// loggedIn passes on the session of a browser, and sends anybody else to the login. From there they
// come back to their account.
func (w *Web) loggedIn(handle func(*gin.Context, auth.Browser) error) edge.Handler {
	return func(c *gin.Context) error {
		browser, ok, err := w.sessionOf(c)
		if err != nil {
			return err
		}
		if ok {
			err = handle(c, browser)
			if !errors.Is(err, auth.ErrInvalidToken) { // else it has ended meanwhile
				return w.stepUp(c, err)
			}
		}
		return w.redirect(c, w.loginURL(w.destination(c, w.path(pages.AccountPath))))
	}
}

// meant is loggedIn for a form, which must have been shown to whoever is logged in now. Anybody
// else is sent to their own account.
func (w *Web) meant(handle func(*gin.Context, auth.Browser) error) edge.Handler {
	return w.loggedIn(func(c *gin.Context, browser auth.Browser) error {
		if !isMeant(formOf(c), browser) {
			return w.toAccount(c, pages.NoticeOtherUser)
		}
		return handle(c, browser)
	})
}

// isMeant reports whether a form was shown to whoever is logged in now. In another tab, somebody
// else may have logged in since. The form would act on their account.
func isMeant(form map[string]string, browser auth.Browser) bool {
	return form[pages.AsField] == browser.User.LoginName()
}

// wantsPage reports whether a person asks for a page, as far as the browser says so.
func wantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Authorization") == "" && acceptsPage(r.Header)
}

// acceptsPage is true of what browsers send for a page, and not of what scripts send by default.
func acceptsPage(h http.Header) bool { return strings.Contains(h.Get("Accept"), "text/html") }
