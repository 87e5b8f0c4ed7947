package web

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/web/pages"
	"gatehouse.example/internal/wire"
)

// getAccountData answers with a file of all that is stored of the user.
func (w *Web) getAccountData(c *gin.Context, browser auth.Browser) error {
	data, err := w.Personal.Data(c.Request.Context(), browser.Access)
	if err != nil {
		return err
	}
	written, err := json.Marshal(wire.PersonalDataOf(data, browser.Access.SessionID))
	if err != nil {
		return err
	}
	w.protect(c, destination{}, false)
	c.Header("Content-Disposition", `attachment; filename="account-data.json"`)
	c.Data(http.StatusOK, "application/json; charset=utf-8", append(written, '\n'))
	return nil
}

func (w *Web) getDeleteAccount(c *gin.Context, browser auth.Browser) error {
	return w.render(c, deletionOf(browser), destination{})
}

func deletionOf(browser auth.Browser) pages.DeleteAccount {
	return pages.DeleteAccount{
		Username: browser.User.LoginName(), Passwordless: browser.User.Passwordless,
	}
}

// postDeleteAccount deletes the account of whoever shows its password. The browser forgets its
// session, and its start page says what was done.
func (w *Web) postDeleteAccount(c *gin.Context, browser auth.Browser) error {
	err := w.Personal.Delete(c.Request.Context(), browser.Access, formOf(c)[pages.PasswordField])
	switch {
	case err != nil && isTold(err):
		page := deletionOf(browser)
		page.PasswordProblem, page.Failure = currentPasswordProblem(err), failureOf(err)
		return &again{page, destination{}, err}
	case err != nil:
		return err
	}
	w.edge.ClearSessionCookie(c)
	forget(c)
	return w.redirect(c, w.with(pages.HomePath, destination{}, url.Values{
		noticeField: {string(pages.NoticeDeleted)},
	}))
}
