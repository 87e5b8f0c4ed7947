package edge

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// sessionCookie is the name of a browser's session cookie, without the prefix.
const sessionCookie = "gatehouse"

// siblingCookie is the name of the cookie for apps on sibling hosts, without the prefix.
const siblingCookie = "gatehouse-verify"

// SessionCookieName is the name of the cookie that holds a browser's session. By the prefix, a
// browser takes the cookie over TLS alone, and with __Host- from this very host alone (RFC 6265bis
// §4.1.3). No app on a sibling host can then put its own session into a browser. A browser takes
// __Host- for the root alone, so a service below a path has __Secure-, and one without TLS has
// neither.
func (e *Edge) SessionCookieName() string {
	switch {
	case !e.IsSecure():
		return sessionCookie
	case e.Base() == "":
		return "__Host-" + sessionCookie
	}
	return "__Secure-" + sessionCookie
}

// SessionCookieOf returns the session cookie that a request brings, or "". Two of them count as
// none. A browser sends two if another host of the domain has set one, and nobody knows which of
// them that is.
func (e *Edge) SessionCookieOf(r *http.Request) string {
	return onlyCookie(r, e.SessionCookieName())
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

// newSessionCookie makes a cookie that no script reads, and that no form of another site brings. A
// link of another site does bring it (SameSite=Lax), since apps send people here by links.
func (e *Edge) newSessionCookie(value string, maxAge int) *http.Cookie {
	path := e.Base()
	if path == "" {
		path = "/"
	}
	return &http.Cookie{
		Name: e.SessionCookieName(), Value: value, Path: path, MaxAge: maxAge,
		HttpOnly: true, Secure: e.IsSecure(), SameSite: http.SameSiteLaxMode,
	}
}

// newSiblingCookie makes a cookie like that of the session, but for every host of the domain.
func (e *Edge) newSiblingCookie(value string, maxAge int) *http.Cookie {
	cookie := e.newSessionCookie(value, maxAge)
	cookie.Name, cookie.Domain, cookie.Path = e.SiblingCookieName(), e.cookieDomain, "/"
	return cookie
}
