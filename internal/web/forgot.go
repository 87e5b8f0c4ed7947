package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// mailed lets in whom another guard lets in, if mails are sent here.
func mailed(also guard) guard {
	return func(w *Web, c *gin.Context) error {
		if !w.mailOn {
			return edge.ErrMailOff
		}
		return also(w, c)
	}
}

func (w *Web) getForgot(c *gin.Context) error {
	to := w.destination(c, c.Query(pages.NextField))
	return w.render(c, pages.Forgot{Next: to.next}, to)
}

// postForgotMail leads everybody to the same page, whether a mail comes or not. The challenge is in
// its path, so that a reload asks for no other mail, whose code would be another one. Whoever is on
// that page already stays there, and so does whoever sends the first form once more: the browser
// keeps the challenge.
func (w *Web) postForgotMail(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	if form[pages.ChallengeField] != "" {
		return w.forgotAgain(c, form, to)
	}
	asked, err := w.Recovery.ForgotInBrowser(c.Request.Context(), form[pages.LoginField],
		w.edge.ForgotCookieOf(c.Request), w.LanguageFor(c), edge.CallerOf(c))
	switch {
	case err != nil && isTold(err):
		page := pages.Forgot{Login: form[pages.LoginField], Next: to.next, Failure: failureOf(err)}
		return &again{page, to, err}
	case err != nil:
		return err
	}
	w.edge.SetForgotCookie(c, asked.Keep, auth.KeptFor)
	query := url.Values{}
	if asked.Again {
		query.Set(noticeField, string(pages.NoticeMailAgain))
	}
	return w.redirect(c, w.with(resetCodePath(asked.Challenge), to, query))
}

func resetCodePath(challenge uuid.UUID) string {
	return pages.ResetCodePath + "/" + challenge.String()
}

// forgotAgain has another mail sent to whoever an earlier one was for.
func (w *Web) forgotAgain(c *gin.Context, form map[string]string, to destination) error {
	challenge, err := challengeOf(form)
	if err != nil {
		return err
	}
	challenge, err = w.Recovery.ForgotAgain(c.Request.Context(), challenge, w.LanguageFor(c),
		edge.CallerOf(c))
	if err != nil {
		return err
	}
	return w.redirect(c, w.with(resetCodePath(challenge), to, url.Values{
		noticeField: {string(pages.NoticeMailAgain)},
	}))
}

func (w *Web) getResetCode(c *gin.Context) error {
	challenge, err := uuid.Parse(c.Param("challenge"))
	if err != nil {
		return edge.ErrNotFound
	}
	to := w.destination(c, c.Query(pages.NextField))
	page := w.resetByCode(challenge.String(), to)
	page.Notice = noticeOf(c, pages.NoticeMailAgain)
	return w.render(c, page, to)
}

func (w *Web) resetByCode(challenge string, to destination) pages.ResetByCode {
	return pages.ResetByCode{
		Challenge: challenge, Next: to.next, MinLength: w.minPasswordLength,
	}
}

// challengeOf reads the challenge that a page keeps in its form. Errors: [edge.ErrInvalidRequest].
func challengeOf(form map[string]string) (uuid.UUID, error) {
	challenge, err := uuid.Parse(form[pages.ChallengeField])
	if err != nil {
		return uuid.Nil, edge.ErrInvalidRequest
	}
	return challenge, nil
}

// postResetCode sets the password of whoever has the code of a mail.
func (w *Web) postResetCode(c *gin.Context) error {
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	challenge, err := challengeOf(form)
	if err != nil {
		return err
	}
	user, err := w.Recovery.Reset(c.Request.Context(),
		auth.ChallengeProof{Challenge: challenge, Code: form[pages.CodeField]},
		form[pages.NewField], edge.CallerOf(c))
	switch {
	case err != nil && isTold(err):
		page := w.resetByCode(challenge.String(), to)
		page.Failure = failureOf(err)
		page.NewProblem = w.newPasswordProblem(c, err, pages.NewField)
		if !errors.Is(err, auth.ErrInvalidChallenge) {
			page.Code = form[pages.CodeField]
		}
		return &again{page, to, err}
	case err != nil:
		return err
	}
	return w.afterReset(c, user, to)
}

// getResetLink shows a form. It changes nothing and says nothing of the account: what opens the
// links of mails may be a scanner on their way.
func (w *Web) getResetLink(c *gin.Context) error {
	token := c.Param("token")
	if err := w.Recovery.CheckLink(c.Request.Context(), token); err != nil {
		return w.badLink(c, err)
	}
	return w.render(c, w.resetByLink(token), destination{})
}

func (w *Web) resetByLink(token string) pages.ResetByLink {
	return pages.ResetByLink{Token: token, MinLength: w.minPasswordLength}
}

// badLink says what to do about a link that is not good any more.
func (w *Web) badLink(c *gin.Context, err error) error {
	if !errors.Is(err, auth.ErrInvalidChallenge) {
		return err
	}
	page := w.errorPage(c, http.StatusBadRequest, err)
	page.Why, page.AskAgain = pages.FaultBadLink, true
	return &again{page, destination{}, err}
}

// postResetLink sets the password of whoever has the link of a mail.
func (w *Web) postResetLink(c *gin.Context) error {
	token := c.Param("token")
	user, err := w.Recovery.Reset(c.Request.Context(), auth.ChallengeProof{Token: token},
		formOf(c)[pages.NewField], edge.CallerOf(c))
	switch {
	case errors.Is(err, auth.ErrInvalidChallenge):
		return w.badLink(c, err)
	case err != nil && isTold(err):
		page := w.resetByLink(token)
		page.Failure = failureOf(err)
		page.NewProblem = w.newPasswordProblem(c, err, pages.NewField)
		return &again{page, destination{}, err}
	case err != nil:
		return err
	}
	return w.afterReset(c, user, destination{})
}

// afterReset leads to the login, so that a browser with a store of passwords learns the new one by
// it.
func (w *Web) afterReset(c *gin.Context, user auth.User, to destination) error {
	edge.NoteOf(c).UserID = user.ID.String()
	return w.redirect(c, w.with(pages.LoginPath, to, url.Values{
		pages.UsernameField: {user.LoginName()},
		noticeField:         {string(pages.NoticePasswordReset)},
	}))
}
