package edge

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// The names of cookies, without the prefix.
const (
	sessionCookie = "gatehouse"         // of a browser's session
	siblingCookie = "gatehouse-verify"  // for apps on sibling hosts
	loginCookie   = "gatehouse_login"   // of a login between its two steps
	visitorCookie = "gatehouse_visitor" // of whoever is about to log in
	laterCookie   = "gatehouse_later"   // of whoever has put an offer off
	forgotCookie  = "gatehouse_forgot"  // of whoever has forgotten the password
)

// SessionCookieName is the name of the cookie that holds a browser's session. By the prefix, a
// browser takes the cookie over TLS alone, and with __Host- from this very host alone (RFC 6265bis
// §4.1.3). No app on a sibling host can then put its own session into a browser. A browser takes
// __Host- for the root alone, so a service below a path has __Secure-, and one without TLS has
// neither.
func (e *Edge) SessionCookieName() string { return e.hostCookie(sessionCookie) }

func (e *Edge) hostCookie(name string) string {
	switch {
	case !e.IsSecure():
		return name
	case e.Base() == "":
		return "__Host-" + name
	}
	return "__Secure-" + name
}

// SessionCookieOf returns the session cookie that a request brings, or "". Two of them count as
// none. A browser sends two if another host of the domain has set one, and nobody knows which of
// them that is.
func (e *Edge) SessionCookieOf(r *http.Request) string {
	return onlyCookie(r, e.SessionCookieName())
}

// LoginCookieOf returns the cookie of a login between its two steps, or "". Two of them count as
// none, as with the session cookie.
func (e *Edge) LoginCookieOf(r *http.Request) string {
	return onlyCookie(r, e.hostCookie(loginCookie))
}

// SetLoginCookie gives the browser what lies between the two steps of a login. It is good for so
// long.
func (e *Edge) SetLoginCookie(c *gin.Context, value string, maxAge time.Duration) {
	http.SetCookie(c.Writer, e.newHostCookie(loginCookie, value, int(maxAge.Seconds())))
}

// ClearLoginCookie takes it from a browser that has one.
func (e *Edge) ClearLoginCookie(c *gin.Context) {
	if len(c.Request.CookiesNamed(e.hostCookie(loginCookie))) > 0 {
		http.SetCookie(c.Writer, e.newHostCookie(loginCookie, "", -1))
	}
}

// VisitorCookieOf returns the cookie by which a browser is known before anybody has logged in
// there, or "". Two of them count as none, as with the session cookie.
func (e *Edge) VisitorCookieOf(r *http.Request) string {
	return onlyCookie(r, e.hostCookie(visitorCookie))
}

// SetVisitorCookie gives the browser such a cookie until it is closed. The value must be random.
func (e *Edge) SetVisitorCookie(c *gin.Context, value string) {
	http.SetCookie(c.Writer, e.newHostCookie(visitorCookie, value, 0))
}

// HasPutOff reports whether an offer was put off on this browser.
func (e *Edge) HasPutOff(r *http.Request) bool {
	return len(r.CookiesNamed(e.hostCookie(laterCookie))) > 0
}

// PutOff makes the browser say so for a while.
func (e *Edge) PutOff(c *gin.Context, howLong time.Duration) {
	http.SetCookie(c.Writer, e.newHostCookie(laterCookie, "yes", int(howLong.Seconds())))
}

// ForgotCookieOf returns what a browser has kept since somebody has forgotten the password there,
// or "". Two of them count as none, as with the session cookie.
func (e *Edge) ForgotCookieOf(r *http.Request) string {
	return onlyCookie(r, e.hostCookie(forgotCookie))
}

// SetForgotCookie makes the browser keep that for a while.
func (e *Edge) SetForgotCookie(c *gin.Context, value string, maxAge time.Duration) {
	http.SetCookie(c.Writer, e.newHostCookie(forgotCookie, value, int(maxAge.Seconds())))
}

func onlyCookie(r *http.Request, name string) string {
	sent := r.CookiesNamed(name)
	if len(sent) != 1 {
		return ""
	}
	return sent[0].Value
}

// SiblingCookieName is the name of the cookie that every host of the domain gets.
func (e *Edge) SiblingCookieName() string {
	if e.IsSecure() {
		return "__Secure-" + siblingCookie
	}
	return siblingCookie
}

// SiblingCookieOf returns the sibling cookie that a request brings, or "". As with the session
// cookie, two of them count as none.
func (e *Edge) SiblingCookieOf(r *http.Request) string {
	if e.cookieDomain == "" {
		return ""
	}
	return onlyCookie(r, e.SiblingCookieName())
}

// SetSiblingCookie gives the browser the cookie for the other hosts of the domain, if there is a
// domain. It lives as long as the session cookie.
func (e *Edge) SetSiblingCookie(c *gin.Context, value string, maxAge time.Duration) {
	if e.cookieDomain != "" {
		http.SetCookie(c.Writer, e.newSiblingCookie(value, int(maxAge.Seconds())))
	}
}

// SetSessionCookie gives the browser its session. It keeps the cookie so long, or with 0 until it
// is closed.
func (e *Edge) SetSessionCookie(c *gin.Context, value string, maxAge time.Duration) {
	http.SetCookie(c.Writer, e.newSessionCookie(value, int(maxAge.Seconds())))
}

// ClearSessionCookie takes the session cookie from the browser, and the sibling cookie with it.
func (e *Edge) ClearSessionCookie(c *gin.Context) {
	http.SetCookie(c.Writer, e.newSessionCookie("", -1))
	if e.cookieDomain != "" {
		http.SetCookie(c.Writer, e.newSiblingCookie("", -1))
	}
}

func (e *Edge) newSessionCookie(value string, maxAge int) *http.Cookie {
	return e.newHostCookie(sessionCookie, value, maxAge)
}

// newHostCookie makes a cookie that no script reads, and that no form of another site brings. A
// link of another site does bring it (SameSite=Lax), since apps send people here by links.
func (e *Edge) newHostCookie(name, value string, maxAge int) *http.Cookie {
	path := e.Base()
	if path == "" {
		path = "/"
	}
	return &http.Cookie{
		Name: e.hostCookie(name), Value: value, Path: path, MaxAge: maxAge,
		HttpOnly: true, Secure: e.IsSecure(), SameSite: http.SameSiteLaxMode,
	}
}

// newSiblingCookie makes a cookie like that of the session, but for every host of the domain.
func (e *Edge) newSiblingCookie(value string, maxAge int) *http.Cookie {
	cookie := e.newSessionCookie(value, maxAge)
	cookie.Name, cookie.Domain, cookie.Path = e.SiblingCookieName(), e.cookieDomain, "/"
	return cookie
}
