package web

import (
	"errors"
	"net/url"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

func verifyCodePath(challenge uuid.UUID) string {
	return pages.VerifyCodePath + "/" + challenge.String()
}

// getVerifyCode says what to do with a mail, and takes its code. It knows of no address whether it
// can be verified.
func (w *Web) getVerifyCode(c *gin.Context) error {
	challenge, err := uuid.Parse(c.Param("challenge"))
	if err != nil {
		return edge.ErrNotFound
	}
	to := w.destination(c, c.Query(pages.NextField))
	page, err := w.verifyByCode(c, challenge, c.Query(pages.UsernameField), to)
	if err != nil {
		return err
	}
	page.Notice = noticeOf(c, pages.NoticeMailSent, pages.NoticeMailAgain, pages.NoticeVerifyFirst)
	return w.render(c, page, to)
}

// verifyByCode asks for a password unless the account that has asked for the mail is logged in.
func (w *Web) verifyByCode(
	c *gin.Context, challenge uuid.UUID, login string, to destination,
) (pages.VerifyByCode, error) {
	page := pages.VerifyByCode{Challenge: challenge.String(), Next: to.next}
	if len(login) <= auth.MaxAddressLength {
		page.Login = login
	}
	browser, ok, err := w.sessionOf(c)
	if err != nil || !ok {
		return page, err
	}
	asked, err := w.Addresses.IsAskedBy(c.Request.Context(), browser.User.ID, challenge)
	if asked {
		page.Username = browser.User.LoginName()
	}
	return page, err
}

// postVerifyCode makes an address that of the account, by the code of a mail.
func (w *Web) postVerifyCode(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	challenge, err := challengeOf(form)
	if err != nil {
		return err
	}
	by, err := w.confirmer(c)
	if err != nil {
		return err
	}
	proof := auth.ChallengeProof{Challenge: challenge, Code: form[pages.CodeField]}
	err = w.Addresses.Verify(c.Request.Context(), proof, by, w.LanguageFor(c), edge.CallerOf(c))
	if err == nil {
		return w.afterVerify(c, by, form[pages.UsernameField], to)
	}
	if !isTold(err) && !errors.Is(err, auth.ErrPasswordNeeded) {
		return err
	}
	page, unread := w.verifyByCode(c, challenge, form[pages.UsernameField], to)
	if unread != nil {
		return err
	}
	page.Failure = failureOf(err)
	if !errors.Is(err, auth.ErrInvalidChallenge) {
		page.Code = form[pages.CodeField]
	}
	page.Username, page.PasswordProblem = passwordOfVerify(page.Username, err)
	return &again{page, to, err}
}

// postVerifyMail has another mail sent, at most each minute. It leads everybody back to the page
// where they are: if no other mail is sent, the earlier one is good there.
func (w *Web) postVerifyMail(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	challenge, err := challengeOf(form)
	if err != nil {
		return err
	}
	by, err := w.confirmer(c)
	if err != nil {
		return err
	}
	if by.Access != nil {
		_, err = w.Addresses.Resend(c.Request.Context(), *by.Access, w.LanguageFor(c), edge.CallerOf(c))
	} else {
		_, err = w.Addresses.ResendOf(c.Request.Context(), challenge, w.LanguageFor(c), edge.CallerOf(c))
	}
	if err != nil {
		return err
	}
	return w.toVerifyCode(c, challenge, form[pages.UsernameField], to, pages.NoticeMailAgain)
}

// toVerifyCode leads to the page that takes the code of another mail.
func (w *Web) toVerifyCode(
	c *gin.Context, challenge uuid.UUID, login string, to destination, notice pages.Notice,
) error {
	query := url.Values{noticeField: {string(notice)}}
	if login != "" && len(login) <= auth.MaxAddressLength {
		query.Set(pages.UsernameField, login)
	}
	return w.redirect(c, w.with(verifyCodePath(challenge), to, query))
}

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
		page.Username = browser.User.LoginName()
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

// postVerifyLink makes an address that of the account.
func (w *Web) postVerifyLink(c *gin.Context) error {
	token := c.Param("token")
	by, err := w.confirmer(c)
	if err != nil {
		return err
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
		page.Username, page.PasswordProblem = passwordOfVerify(page.Username, err)
		return &again{page, destination{}, err}
	case err != nil:
		return err
	}
	return w.afterVerify(c, by, "", destination{})
}

// confirmer is who sends a form that verifies an address. Whoever is logged in to another account
// shows nothing by that.
func (w *Web) confirmer(c *gin.Context) (auth.Confirmer, error) {
	form := formOf(c)
	by := auth.Confirmer{Password: form[pages.PasswordField]}
	browser, ok, err := w.sessionOf(c)
	if ok && isMeant(form, browser) {
		by.Access = &browser.Access
	}
	return by, err
}

// passwordOfVerify says what is wrong with the password. Where none was sent, the form has to ask
// for one, whoever is logged in.
func passwordOfVerify(username string, err error) (string, pages.Problem) {
	switch {
	case errors.Is(err, auth.ErrPasswordNeeded):
		return "", pages.Problem{Why: pages.PasswordMissing}
	case isAbout(err, pages.PasswordField):
		return username, pages.Problem{Why: pages.PasswordWrong}
	}
	return username, pages.NoProblem
}

// afterVerify leads to the account where it is logged in, and else to the login.
func (w *Web) afterVerify(
	c *gin.Context, by auth.Confirmer, login string, to destination,
) error {
	if by.Access != nil {
		return w.toAccount(c, pages.NoticeAddressVerified)
	}
	query := url.Values{noticeField: {string(pages.NoticeAddressVerified)}}
	if login != "" && len(login) <= auth.MaxAddressLength {
		query.Set(pages.UsernameField, login)
	}
	return w.redirect(c, w.with(pages.LoginPath, to, query))
}

// getUndoLink shows a form, as getVerifyLink does.
func (w *Web) getUndoLink(c *gin.Context) error {
	token := c.Param("token")
	if _, err := w.Addresses.Undone(c.Request.Context(), token); err != nil {
		return w.badAddressLink(c, err)
	}
	return w.render(c, pages.UndoByLink{Token: token}, destination{})
}

// postUndoLink brings an address of before back, and leads to the login. There is a link for
// whoever has no password, as the owner by then.
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
