package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/web/pages"
)

// maxReturn is the longest URL to which a login leads back from a proxy, in bytes. Encoded into the
// URL of the login, a longer one would not fit into the headers that proxies take.
const maxReturn = 2 << 10

// LoginFor returns the URL of the login for a browser whose request a proxy asks about, with what
// the proxy demands of the login. From there the browser comes back to what it asked for. It is ""
// unless a trusted proxy describes the request as one for a page, on an origin to which a login may
// lead.
func (w *Web) LoginFor(c *gin.Context, demand auth.StepUp) string {
	if !edge.ByTrustedProxy(c) {
		return ""
	}
	origin, uri, ok := navigation(c.Request.Header)
	target := origin + uri
	if !ok || !slices.Contains(w.returns.origins, origin) || len(target) > maxReturn ||
		!w.returns.allows(target) {
		return ""
	}
	query := url.Values{pages.NextField: {target}}
	demand.AddTo(query)
	return strings.TrimRight(w.edge.Issuer(), "/") + pages.LoginPath + "?" + query.Encode()
}

// navigation reads how a proxy describes the request that it asks about. It is not ok for what is
// no request of a browser for a page. What a program asks for must not be answered with a page.
func navigation(h http.Header) (origin, uri string, ok bool) {
	uri = encoded(only(h, "X-Forwarded-Uri"))
	origin = only(h, "X-Forwarded-Proto") + "://" + only(h, "X-Forwarded-Host")
	ok = only(h, "X-Forwarded-Method") == http.MethodGet && strings.HasPrefix(uri, "/") &&
		len(h["Authorization"]) == 0 && acceptsPage(h)
	return origin, uri, ok
}

// encoded writes backslashes of the query as %5C, which means the same. Browsers send them as they
// are (URL Standard §1.3: the query percent-encode set). In a path, a browser would make a slash of
// each, so there they stay and are refused.
func encoded(uri string) string {
	path, query, found := strings.Cut(uri, "?")
	if !found {
		return uri
	}
	return path + "?" + strings.ReplaceAll(query, `\`, "%5C")
}

// only returns the value of a header, or "" if it comes twice. Of two values, a client may have
// written one.
func only(h http.Header, name string) string {
	if len(h[name]) != 1 {
		return ""
	}
	return h[name][0]
}
