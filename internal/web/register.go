package web

import (
	"net/url"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/web/pages"
)

func (w *Web) getRegister(c *gin.Context) error {
	if !w.registrationOpen {
		return w.closed(c, auth.ErrRegistrationClosed)
	}
	to := w.destination(c, c.Query(pages.NextField))
	return w.render(c, w.registerPage(to), to)
}

func (w *Web) registerPage(to destination) pages.Register {
	return pages.Register{
		Next: to.next, To: to.title, MinLength: w.minPasswordLength,
		AsksAddress: w.takesAddress(), NeedsAddress: w.email == auth.EmailRequired,
		NameMayBeAddress: !w.email.IsOn(),
	}
}

// takesAddress reports whether there is a field for an address, and a mail to it.
func (w *Web) takesAddress() bool { return w.email.IsOn() && w.mailOn }

// addressProblem says what is wrong with the address in a form.
func addressProblem(c *gin.Context, err error) pages.Problem {
	switch {
	case !isAbout(err, pages.AddressField):
		return pages.NoProblem
	case formOf(c)[pages.AddressField] == "":
		return pages.Problem{Why: pages.AddressMissing}
	}
	return pages.Problem{Why: pages.AddressRefused}
}

// postRegister makes an account. Its owner then logs in, so that a browser with a store of
// passwords learns the new one by a login. Whoever has given an address verifies it before, with
// the challenge in the path, so that a reload asks for no other mail.
func (w *Web) postRegister(c *gin.Context) error {
	if !w.registrationOpen {
		return w.closed(c, w.Registration.Refuse(c.Request.Context()))
	}
	form, address := formOf(c), ""
	if w.takesAddress() {
		address = form[pages.AddressField]
	}
	to := w.destination(c, form[pages.NextField])
	user, challenge, err := w.Registration.SignUp(c.Request.Context(), auth.Stranger{
		Username: form[pages.UsernameField], Password: form[pages.PasswordField],
		Email: address, Language: w.LanguageFor(c),
	}, callerOf(c))
	switch {
	case err != nil && isTold(err):
		page := w.registerPage(to)
		page.Username = form[pages.UsernameField]
		page.Address = form[pages.AddressField]
		page.UsernameProblem, page.AddressProblem = w.usernameProblem(err), addressProblem(c, err)
		page.PasswordProblem = w.newPasswordProblem(c, err, pages.PasswordField)
		page.Failure = failureOf(err)
		return &again{page, to, err}
	case err != nil:
		return err
	}
	name, notice, page := user.Username.Given, pages.NoticeRegistered, pages.LoginPath
	if challenge != uuid.Nil {
		notice, page = pages.NoticeMailSent, verifyCodePath(challenge)
	}
	if w.email == auth.EmailRequired {
		name = user.Email.Given // the username is an id, which nobody types
	}
	return w.redirect(c, w.with(page, to, url.Values{
		pages.UsernameField: {name}, noticeField: {string(notice)},
	}))
}
