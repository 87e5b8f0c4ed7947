package web

import (
	"errors"
	"net/url"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// getVerifyLink shows a form. It changes nothing and says nothing of the account but to the account
// itself: what opens the links of mails may be a scanner on their way.
func (w *Web) getVerifyLink(c *gin.Context) error {
	token := c.Param("token")
	page, err := w.verifyByLink(c, token)
	if err != nil {
		return w.badAddressLink(c, err)
	}
	return w.render(c, page, destination{})
}

// verifyByLink asks for a password where the account is not logged in.
func (w *Web) verifyByLink(c *gin.Context, token string) (pages.VerifyByLink, error) {
	page := pages.VerifyByLink{Token: token}
	owner, err := w.Addresses.Asked(c.Request.Context(), token)
	if err != nil {
		return page, err
	}
	browser, ok, err := w.sessionOf(c)
	if ok && browser.User.ID == owner.ID {
		page.Username = browser.User.Username.Given
	}
	return page, err
}

// badAddressLink says that a link is not good any more. Another mail comes by another way than that
// for a forgotten password.
func (w *Web) badAddressLink(c *gin.Context, err error) error {
	told := w.badLink(c, err)
	if form, ok := errors.AsType[*again](told); ok {
		page, _ := form.page.(pages.Error)
		page.AskAgain = false
		form.page = page
	}
	return told
}

// postVerifyLink makes an address that of the account. Whoever is logged in to another one shows
// nothing by that.
func (w *Web) postVerifyLink(c *gin.Context) error {
	token, form := c.Param("token"), formOf(c)
	by := auth.Confirmer{Password: form[pages.PasswordField]}
	browser, ok, err := w.sessionOf(c)
	if err != nil {
		return err
	}
	if ok && form[pages.AsField] == browser.User.Username.Given {
		by.Access = &browser.Access
	}
	err = w.Addresses.Verify(c.Request.Context(), auth.ChallengeProof{Token: token}, by,
		w.LanguageFor(c), edge.CallerOf(c))
	switch {
	case errors.Is(err, auth.ErrInvalidChallenge):
		return w.badAddressLink(c, err)
	case err != nil && (isTold(err) || errors.Is(err, auth.ErrPasswordNeeded)):
		page, unread := w.verifyByLink(c, token)
		if unread != nil {
			return w.badAddressLink(c, unread)
		}
		page.Failure = failureOf(err)
		switch {
		case errors.Is(err, auth.ErrPasswordNeeded):
			page.Username, page.PasswordProblem.Why = "", pages.PasswordMissing
		case isAbout(err, pages.PasswordField):
			page.PasswordProblem.Why = pages.PasswordWrong
		}
		return &again{page, destination{}, err}
	case err != nil:
		return err
	}
	if by.Access != nil {
		return w.toAccount(c, pages.NoticeAddressVerified)
	}
	return w.redirect(c, w.with(pages.LoginPath, destination{}, url.Values{
		noticeField: {string(pages.NoticeAddressVerified)},
	}))
}

// getUndoLink shows a form, as getVerifyLink does.
func (w *Web) getUndoLink(c *gin.Context) error {
	token := c.Param("token")
	if _, err := w.Addresses.Undone(c.Request.Context(), token); err != nil {
		return w.badAddressLink(c, err)
	}
	return w.render(c, pages.UndoByLink{Token: token}, destination{})
}

// postUndoLink brings an address of before back, and leads to the login. There is a link for whoever
// has no password, as the owner by then.
func (w *Web) postUndoLink(c *gin.Context) error {
	token := c.Param("token")
	err := w.Addresses.Undo(c.Request.Context(), token, edge.CallerOf(c))
	switch {
	case errors.Is(err, auth.ErrInvalidChallenge):
		return w.badAddressLink(c, err)
	case err != nil && isTold(err):
		return &again{pages.UndoByLink{Token: token, Failure: failureOf(err)}, destination{}, err}
	case err != nil:
		return err
	}
	return w.redirect(c, w.with(pages.LoginPath, destination{}, url.Values{
		noticeField: {string(pages.NoticeAddressRestored)},
	}))
}
