package web

import (
	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// accountAddress is what an account shows of its address. Where no mails are sent, nothing can be
// done about it.
func (w *Web) accountAddress(c *gin.Context, user auth.User) (pages.AccountAddress, error) {
	shown := pages.AccountAddress{
		MayChange: w.mailOn, MayRemove: w.mailOn && w.email != auth.EmailRequired,
	}
	if user.Email.Verified() {
		shown.Verified = user.Email.Given
	} else {
		shown.Waiting = user.Email.Given
	}
	if !w.mailOn {
		return shown, nil
	}
	asked, err := w.Addresses.ToProve(c.Request.Context(), user)
	shown.Waiting = asked.Given
	return shown, err
}

func (w *Web) getAccountEmail(c *gin.Context, browser auth.Browser) error {
	page, err := w.accountEmail(c, browser)
	if err != nil {
		return err
	}
	return w.render(c, page, destination{})
}

func (w *Web) accountEmail(c *gin.Context, browser auth.Browser) (pages.AccountEmail, error) {
	address, err := w.accountAddress(c, browser.User)
	return pages.AccountEmail{Username: browser.User.Username.Given, Address: address}, err
}

// postAccountEmail asks for another address, or removes the one that there is. Both need the
// password: whoever finds a browser that is logged in must not get the account for good.
func (w *Web) postAccountEmail(c *gin.Context, browser auth.Browser) error {
	form, ctx := formOf(c), c.Request.Context()
	if form[pages.ChoiceField] == pages.ChoiceRemove {
		err := w.Addresses.Remove(ctx, browser.Access, form[pages.CurrentField], w.LanguageFor(c))
		if err != nil {
			return w.emailAgain(c, browser, err)
		}
		return w.toAccount(c, pages.NoticeAddressRemoved)
	}
	challenge, err := w.Addresses.Change(ctx, browser.Access, form[pages.AddressField],
		form[pages.CurrentField], w.LanguageFor(c))
	if err != nil {
		return w.emailAgain(c, browser, err)
	}
	return w.redirect(c, w.with(verifyCodePath(challenge), destination{}, nil))
}

func (w *Web) emailAgain(c *gin.Context, browser auth.Browser, err error) error {
	if !isTold(err) {
		return err
	}
	page, unread := w.accountEmail(c, browser)
	if unread != nil {
		return err
	}
	page.Given = formOf(c)[pages.AddressField]
	page.AddressProblem, page.CurrentProblem = addressProblem(c, err), currentPasswordProblem(err)
	page.Failure = failureOf(err)
	return &again{page, destination{}, err}
}

// postAccountMail has another mail sent to the address that waits to be verified, at most each
// minute.
func (w *Web) postAccountMail(c *gin.Context, browser auth.Browser) error {
	challenge, err := w.Addresses.Resend(c.Request.Context(), browser.Access, w.LanguageFor(c),
		edge.CallerOf(c))
	if err != nil {
		return err
	}
	return w.toVerifyCode(c, challenge, "", destination{}, pages.NoticeMailAgain)
}
