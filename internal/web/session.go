package web

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

const browserKey = "gatehouse.browser"

// sessionOf returns the session of the browser. It is not ok if nobody is logged in there. The
// session is read from the database, once for each request.
func (w *Web) sessionOf(c *gin.Context) (browser auth.Browser, ok bool, err error) {
	if known, ok := c.Get(browserKey); ok {
		return known.(auth.Browser), true, nil
	}
	cookie := w.edge.SessionCookieOf(c.Request)
	if cookie == "" {
		return auth.Browser{}, false, nil
	}
	browser, err = w.Browsers.Open(c.Request.Context(), cookie)
	if errors.Is(err, auth.ErrInvalidToken) {
		return auth.Browser{}, false, nil
	}
	if err != nil {
		return auth.Browser{}, false, err
	}
	edge.NoteOf(c).UserID = browser.User.ID.String()
	c.Set(browserKey, browser)
	return browser, true, nil
}

// usernameOf returns who is logged in, as far as this request has asked already.
func usernameOf(c *gin.Context) string {
	if known, ok := c.Get(browserKey); ok {
		return known.(auth.Browser).User.LoginName()
	}
	return ""
}

// callerOf describes the caller of a login, with the devices that the browser shows.
func callerOf(c *gin.Context) auth.Caller {
	caller := edge.CallerOf(c)
	caller.Devices = edge.DevicesOf(c)
	return caller
}

// begin gives the browser what a login gave.
func (w *Web) begin(c *gin.Context, grant auth.BrowserGrant) {
	edge.NoteOf(c).UserID = grant.User.ID.String()
	w.edge.ClearLoginCookie(c)
	w.edge.SetSessionCookie(c, grant.Cookie, grant.MaxAge)
	w.edge.SetSiblingCookie(c, grant.Sibling, grant.MaxAge)
	w.edge.SetDevice(c, pages.LoginPath, grant.DeviceName, grant.Device)
}

// end ends the session of the browser, and takes its cookie and its pages back. A browser without a
// cookie is told that it is logged out, so it keeps the cookie of a session that could not be
// ended.
func (w *Web) end(c *gin.Context, browser auth.Browser) error {
	err := w.Sessions.Logout(c.Request.Context(), browser.Access)
	if err != nil && !errors.Is(err, auth.ErrInvalidToken) {
		return err
	}
	w.edge.ClearSessionCookie(c)
	forget(c)
	return nil
}

// forget makes the browser drop the pages that it has kept for its back button (Clear Site Data
// §3.1). Chromium keeps pages in spite of no-store, and drops them when a cookie changes. But it
// keeps one whose own redirect has set a cookie, as after a login.
func forget(c *gin.Context) { c.Header("Clear-Site-Data", `"cache"`) }

// getForget is loaded by the page that follows a logout. By then the browser has kept the page
// before it, which the answer to the logout was too early for. A page of another site may not make
// the browser load everything anew.
func (w *Web) getForget(c *gin.Context) error {
	if c.GetHeader("Sec-Fetch-Site") == "same-origin" {
		forget(c)
	}
	c.Header("Cross-Origin-Resource-Policy", "same-origin")
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
	return nil
}
