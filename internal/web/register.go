package web

import (
	"net/url"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/web/pages"
)

func (w *Web) getRegister(c *gin.Context) error {
	if !w.registrationOpen {
		return auth.ErrRegistrationClosed
	}
	to := w.destination(c, c.Query(pages.NextField))
	return w.render(c, w.registerPage(to), to)
}

func (w *Web) registerPage(to destination) pages.Register {
	return pages.Register{Next: to.next, To: to.title, MinLength: w.minPasswordLength}
}

// postRegister makes an account. Its owner then logs in, so that a browser with a store of
// passwords learns the new one by a login.
func (w *Web) postRegister(c *gin.Context) error {
	if !w.registrationOpen {
		return w.Registration.Refuse(c.Request.Context())
	}
	form := formOf(c)
	to := w.destination(c, form[pages.NextField])
	user, _, err := w.Registration.SignUp(c.Request.Context(), auth.Stranger{
		Username: form[pages.UsernameField], Password: form[pages.PasswordField],
	}, callerOf(c))
	switch {
	case err != nil && isTold(err):
		page := w.registerPage(to)
		page.Username = form[pages.UsernameField]
		page.UsernameProblem = usernameProblem(err)
		page.PasswordProblem = w.newPasswordProblem(c, err, pages.PasswordField)
		page.Failure = failureOf(err)
		return &again{page, to, err}
	case err != nil:
		return err
	}
	return w.redirect(c, w.with(pages.LoginPath, to, url.Values{
		pages.UsernameField: {user.Username.Given}, noticeField: {string(pages.NoticeRegistered)},
	}))
}
