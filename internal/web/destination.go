package web

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/web/pages"
)

// destination is where somebody goes on to after a login. The zero value is the home page.
type destination struct {
	next  string     // a target that is allowed, or ""; with a demand of a proxy, the login for it
	page  string     // to which it leads in the end
	title string     // of the app or the host there; "" for this service
	uri   string     // where the browser gets to in the end; "" if it stays here
	query url.Values // of /authorize; nil for other targets
	// demand is what the app or the proxy there demands of the login.
	demand auth.StepUp
}

// destination finds out where a target leads to. A target that is not allowed is dropped. The
// target may be the login for another one with a demand of a proxy, so that the demand is not lost
// on the way through the pages.
func (w *Web) destination(c *gin.Context, target string) destination {
	query, ok := w.returns.query(target, pages.LoginPath)
	if !ok || len(target) > maxNext {
		return w.target(c, target)
	}
	return w.demanding(c, query)
}

// demanding is the destination that the query of the login says.
func (w *Web) demanding(c *gin.Context, query url.Values) destination {
	to := w.target(c, query.Get(pages.NextField))
	demand, ok := auth.StepUpOf(query)
	if to.next == "" || to.query != nil || !ok || demand == (auth.StepUp{}) { // an app says its own
		return to
	}
	login := url.Values{pages.NextField: {to.page}}
	demand.AddTo(login)
	to.next, to.demand = w.path(pages.LoginPath)+"?"+login.Encode(), demand
	return to
}

// target is a destination without a demand of a proxy.
func (w *Web) target(c *gin.Context, target string) destination {
	if !w.returns.allows(target) {
		return destination{}
	}
	to := destination{next: target, page: target}
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		to.title, to.uri = u.Host, target
		return to
	}
	query, ok := w.returns.query(target, authorizePath)
	if !ok {
		return to
	}
	to.query, to.demand.ACR = query, auth.DemandedACR(query)
	if w.destinations != nil {
		title, uri, ok := w.destinations.Destination(c.Request.Context(), query)
		if ok {
			to.title, to.uri = title, uri
		}
	}
	return to
}

// onward is the URL to which a login leads.
func (w *Web) onward(to destination) string {
	if to.page == "" {
		return w.path(pages.HomePath)
	}
	return to.page
}

// isPopup is true for an app that has opened a window of its own for the login (OpenID Connect Core
// §3.1.2.1).
func (to destination) isPopup() bool { return to.query.Get("display") == "popup" }

// locales are the languages that the app asks for (OpenID Connect Core §3.1.2.1).
func (to destination) locales() string { return to.query.Get("ui_locales") }

// isBack is true for somebody who is sent to the login from a page of this service.
func (w *Web) isBack(to destination) bool { return to.page == w.path(pages.AccountPath) }

// path is a page of this service, as links have it.
func (w *Web) path(page string) string { return w.edge.Base() + page }

func (w *Web) loginURL(to destination) string { return w.with(pages.LoginPath, to, nil) }

// with is the URL of a page, with a destination and parameters.
func (w *Web) with(page string, to destination, more url.Values) string {
	query := url.Values{}
	for name, values := range more {
		query[name] = values
	}
	if to.next != "" {
		query.Set(pages.NextField, to.next)
	}
	if len(query) == 0 {
		return w.path(page)
	}
	return w.path(page) + "?" + query.Encode()
}

// sourceOf is what a Content-Security-Policy calls the place of a URI (CSP3 §2.3.1). It is the
// scheme alone where the policy has no word for the host: that of an app on a device, and an IPv6
// address. It is empty for what is no URI.
func sourceOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || !isWord(u.Scheme, "+-.") {
		return ""
	}
	isWeb := slices.Contains([]string{"http", "https"}, u.Scheme)
	if !isWeb || net.ParseIP(u.Hostname()).To4() == nil && strings.Contains(u.Hostname(), ":") ||
		!isWord(u.Host, ".-:") {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

// isWord is true for letters, digits and some signs, so that nothing else gets into a policy.
func isWord(text, signs string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
			strings.ContainsRune(signs, r))
	})
}
