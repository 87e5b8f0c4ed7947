package web

import (
	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// accountAddress is what an account shows of its address. It shows none that the user has asked for
// since: whether that waits to be proved tells whether another account has it. Where no mails are
// sent, nothing can be done about it.
func (w *Web) accountAddress(user auth.User) pages.AccountAddress {
	shown := pages.AccountAddress{
		MayChange: w.mailOn, MayRemove: w.mailOn && w.email != auth.EmailRequired,
	}
	if user.Email.Verified() {
		shown.Verified = user.Email.Given
	} else {
		shown.Waiting = user.Email.Given
	}
	return shown
}

func (w *Web) getAccountEmail(c *gin.Context, browser auth.Browser) error {
	return w.render(c, w.accountEmail(browser.User), destination{})
}

func (w *Web) accountEmail(user auth.User) pages.AccountEmail {
	return pages.AccountEmail{
		Username: user.LoginName(), Address: w.accountAddress(user),
		Passwordless: user.Passwordless,
	}
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
	page := w.accountEmail(browser.User)
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
