package web

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/web/pages"
)

// render answers with a page. The destination is where its form leads to in the end.
func (w *Web) render(c *gin.Context, page pages.Page, to destination) error {
	return w.renderAs(c, http.StatusOK, page, to)
}

func (w *Web) renderAs(c *gin.Context, status int, page pages.Page, to destination) error {
	language := pages.Choose(to.locales(), c.GetHeader("Accept-Language"))
	var body bytes.Buffer
	if err := w.pages.Render(&body, language, page); err != nil {
		return err
	}
	c.Header("Content-Language", language.String())
	w.protect(c, to, pages.HasScript(page))
	c.Data(status, "text/html; charset=utf-8", body.Bytes())
	return nil
}

// LanguageFor returns the language of whoever asks, such as "en", for what is mailed to them.
func (w *Web) LanguageFor(c *gin.Context) string {
	return pages.Choose("", c.GetHeader("Accept-Language")).String()
}

// protect tells the browser what a page may do, and what others may do with it. The script of the
// pages asks this service for options, and nobody else.
func (w *Web) protect(c *gin.Context, to destination, script bool) {
	policy := policyFor(to.uri, w.returns.origins)
	if script {
		policy += "; script-src 'self'; connect-src 'self'"
	}
	c.Header("Content-Security-Policy", policy)
	c.Header("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	c.Header("Referrer-Policy", w.referrerPolicy())
	c.Header("Cross-Origin-Resource-Policy", "same-origin")
	if !to.isPopup() { // else the app that has opened the window would lose it
		c.Header("Cross-Origin-Opener-Policy", "same-origin")
	}
}

// policyFor lets a page load its stylesheet and its logo, and nothing else. Its form may lead to a
// URI too: browsers hold form-action against the redirects that follow a form (CSP3 §6.4.1). From
// there it may lead on to the listed origins, since one app may log users in for others.
func policyFor(uri string, onward []string) string {
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; " +
		"frame-ancestors 'none'; form-action 'self'"
	source := sourceOf(uri)
	if source == "" {
		return policy
	}
	sources := []string{policy, source}
	for _, origin := range onward {
		if listed := sourceOf(origin); !slices.Contains(sources, listed) {
			sources = append(sources, listed)
		}
	}
	return strings.Join(sources, " ")
}

// referrerPolicy keeps the URL of a page from everybody. Without TLS, this service itself gets it
// with its forms. A browser then sends no Sec-Fetch-Site, and by no-referrer no Origin either, so
// that the service could not tell its own forms from those of other sites (Fetch §3.2).
func (w *Web) referrerPolicy() string {
	if w.edge.IsSecure() {
		return "no-referrer"
	}
	return "same-origin"
}

// redirect sends the browser on by a GET. A page that answers a form would be sent anew by a
// reload.
func (w *Web) redirect(c *gin.Context, location string) error {
	c.Header("Location", location)
	c.Status(http.StatusSeeOther)
	c.Writer.WriteHeaderNow()
	return nil
}

// again is an error that is told in the form that it is about.
type again struct {
	page pages.Page
	to   destination
	err  error
}

// Error implements error.
func (a *again) Error() string { return a.err.Error() }

// Unwrap returns what the form is shown again for.
func (a *again) Unwrap() error { return a.err }

// asPage is the [edge.Form] of all pages.
func (w *Web) asPage(c *gin.Context, a edge.Answer, err error) {
	page, to := pages.Page(w.errorPage(c, a.Status, err)), destination{}
	if form, ok := errors.AsType[*again](err); ok {
		page, to = form.page, form.to
	}
	if err := w.renderAs(c, a.Status, page, to); err != nil {
		c.Data(a.Status, "text/plain; charset=utf-8", []byte(a.Detail+"\n"))
	}
}

func (w *Web) errorPage(c *gin.Context, status int, err error) pages.Error {
	page := pages.Error{
		Status: status, Why: faultOf(status, err),
		RequestID: c.Writer.Header().Get("X-Request-Id"), Username: usernameOf(c),
	}
	if limited, ok := errors.AsType[*auth.LimitedError](err); ok {
		page.RetryAfter = limited.RetryAfter
	}
	if known, ok := outcome.Of(err); ok && page.Why == pages.FaultBadApp {
		page.Detail = known.Error()
	}
	return page
}

// faultOf is what a person is told of an error that no form tells.
func faultOf(status int, err error) pages.Fault {
	switch {
	case errors.Is(err, edge.ErrCrossSite):
		return pages.FaultStale
	case errors.Is(err, auth.ErrRegistrationClosed):
		return pages.FaultClosed
	case errors.Is(err, auth.ErrFactorsOff):
		return pages.FaultFactorsOff
	case errors.Is(err, edge.ErrMailOff):
		return pages.FaultNoMail
	case errors.Is(err, auth.ErrUnknownApp), errors.Is(err, auth.ErrRedirectURI),
		errors.Is(err, auth.ErrLogoutHint):
		return pages.FaultBadApp
	}
	switch status {
	case http.StatusNotFound:
		return pages.FaultNotFound
	case http.StatusTooManyRequests:
		return pages.FaultLimited
	case http.StatusServiceUnavailable:
		return pages.FaultUnavailable
	}
	if status < http.StatusInternalServerError {
		return pages.FaultBadRequest
	}
	return pages.FaultInternal
}
