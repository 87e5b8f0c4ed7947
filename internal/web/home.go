package web

import (
	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/web/pages"
)

// getHome says who is logged in, and links on.
func (w *Web) getHome(c *gin.Context) error {
	browser, ok, err := w.sessionOf(c)
	if err != nil {
		return err
	}
	page := pages.Home{
		RegistrationOpen: w.registrationOpen, Notice: noticeOf(c, pages.NoticeDeleted),
	}
	if ok {
		page.Username, page.OffersPasskey = browser.User.LoginName(), w.offersPasskey(browser)
	}
	return w.render(c, page, destination{})
}
