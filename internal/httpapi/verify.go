package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/token"
)

// checkAccess returns what an access token or a cookie is good for, if it is valid and was not
// revoked. It asks no
// database where it can. The errors are [auth.ErrInvalidToken] and [auth.ErrUnavailable].
type checkAccess func(ctx context.Context, raw string) (token.Access, error)

// gatekeeper answers a proxy that asks before it passes a request on. The answer is 204 with whose
// request it is, or the refusal.
//
// The method, the path behind /verify with its query, and the body belong to the request in
// question. They do not matter here. The query of /verify itself is the proxy's: see allowed.
type gatekeeper struct {
	edge    *edge.Edge
	token   checkAccess
	cookie  checkAccess // of the cookie of a browser's session
	sibling checkAccess // of the cookie for sibling hosts
	// loginFor returns the URL of the login for the browser behind a question, or "".
	loginFor func(*gin.Context, token.StepUp) string
	clock    func() time.Time
}

func (a *API) gatekeeper() *gatekeeper {
	return &gatekeeper{
		a.edge, a.Access.Check, a.Browsers.Check, a.Browsers.CheckSibling, a.loginFor, a.clock,
	}
}

func (g *gatekeeper) verify(c *gin.Context) error {
	access, err := g.holder(c)
	if err == nil {
		err = g.allowed(c, access)
	}
	if err != nil {
		g.sendToLogin(c, err)
		return err
	}
	n := edge.NoteOf(c)
	sub := n.Holder(access.Subject)
	n.Routine = true // the proxy logs the request itself
	writeIdentity(c.Writer.Header(), sub, access)
	c.Status(http.StatusNoContent)
	return nil
}

// holder returns whose request it is. The Authorization header decides alone, where there is one.
func (g *gatekeeper) holder(c *gin.Context) (token.Access, error) {
	if len(c.Request.Header["Authorization"]) == 0 {
		return g.browser(c)
	}
	raw, err := bearer(c.Request)
	if err != nil {
		return token.Access{}, err
	}
	return g.token(c.Request.Context(), raw)
}

// browser returns whose browser sent the request.
func (g *gatekeeper) browser(c *gin.Context) (token.Access, error) {
	if own := g.edge.SessionCookieOf(c.Request); own != "" {
		return g.cookie(c.Request.Context(), own)
	}
	if sibling := g.edge.SiblingCookieOf(c.Request); sibling != "" {
		return g.sibling(c.Request.Context(), sibling)
	}
	return token.Access{}, edge.ErrNoToken
}

// sendToLogin sends a browser to the login that would let it in, if there is one.
func (g *gatekeeper) sendToLogin(c *gin.Context, err error) {
	helps := errors.Is(err, auth.ErrInvalidToken) || errors.Is(err, edge.ErrNoToken) ||
		errors.Is(err, auth.ErrInsufficientAuthentication)
	if !helps || len(c.Request.Header["Authorization"]) > 0 {
		return
	}
	demand, err := demandOf(c)
	if err != nil {
		return
	}
	if login := g.loginFor(c, demand); login != "" {
		c.Header("Location", login)
	}
}

// redirectStatus is the header by which a proxy asks for 401 in place of a redirect's 302.
const redirectStatus = "Gatehouse-Redirect"

// asRefusal is the form of errors of /verify. A proxy passes a redirect on to its browser. One that
// cannot do so asks for 401, and makes the redirect from the Location itself.
func asRefusal(c *gin.Context, a edge.Answer, err error) {
	header := c.Writer.Header()
	if header.Get("Location") == "" || c.GetHeader(redirectStatus) == "401" {
		asProblem(c, a, err)
		return
	}
	header.Del("WWW-Authenticate")
	c.Status(http.StatusFound)
	c.Writer.WriteHeaderNow()
}

// allowed reports whether a token has each role= and permission= that the proxy demands, and
// whether its login satisfies acr= and max_age=. Errors: [auth.ErrForbidden],
// [auth.ErrInsufficientAuthentication], [edge.ErrVerifyQuery].
func (g *gatekeeper) allowed(c *gin.Context, access token.Access) error {
	var demand token.StepUp
	err := eachDemand(c, func(name, value string) error {
		switch {
		case demand.Set(name, value):
			return nil
		case name == token.ACRParameter || name == token.MaxAgeParameter:
			return edge.ErrVerifyQuery
		case !has(access, name, value):
			return auth.ErrForbidden
		}
		return nil
	})
	if err == nil && demand != (token.StepUp{}) && !access.Satisfies(demand, g.clock()) {
		err = &auth.InsufficientError{Demand: demand}
	}
	return err
}

// demandOf returns which login the proxy demands.
func demandOf(c *gin.Context) (demand token.StepUp, err error) {
	err = eachDemand(c, func(name, value string) error {
		demand.Set(name, value)
		return nil
	})
	return demand, err
}

// eachDemand passes on each parameter by which the proxy demands something, until one is refused.
//
// At /verify the query is the proxy's own. Anything else in it is refused, because a misspelt
// demand would let everybody in. Caddy may append the query of the request in question there, and
// says what that is. At /verify/ some proxies (Envoy does) append the path and the
// query of the request in question, so anything else is ignored. A demand counts there too, because
// the proxy may have written the slash itself. Below /verify/ the query is the request's.
func eachDemand(c *gin.Context, look func(name, value string) error) error {
	query, behind := c.Request.URL.RawQuery, strings.TrimPrefix(c.Request.URL.Path, "/verify")
	if query == "" || strings.Trim(behind, "/") != "" {
		return nil
	}
	strict := behind == "" && !isAppended(c, query)
	// parsers disagree on whether it separates parameters
	if strict && strings.Contains(query, ";") {
		return edge.ErrVerifyQuery
	}
	for parameter := range strings.FieldsFuncSeq(query,
		func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(parameter, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || !isDemand(name) {
			if strict {
				return edge.ErrVerifyQuery
			}
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return edge.ErrVerifyQuery
		}
		if err := look(name, value); err != nil {
			return err
		}
	}
	return nil
}

func isDemand(name string) bool {
	switch name {
	case "role", "permission", token.ACRParameter, token.MaxAgeParameter:
		return true
	}
	return false
}

// isAppended reports whether a query is that of the request in question, as a trusted proxy says.
func isAppended(c *gin.Context, query string) bool {
	asked := c.Request.Header["X-Forwarded-Uri"]
	if len(asked) != 1 || !edge.ByTrustedProxy(c) {
		return false
	}
	_, ofRequest, _ := strings.Cut(asked[0], "?")
	return query == ofRequest
}

func has(access token.Access, kind, name string) bool {
	if kind == "role" {
		return access.HasRole(name)
	}
	return token.ScopeHas(access.Scope, name)
}

// verifyRoutes returns /verify for the methods that the contract can name. verifyOr handles the
// others.
func verifyRoutes(g *gatekeeper) []route {
	var all []route
	for _, method := range []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodTrace,
	} {
		for _, path := range []string{"/verify", "/verify/*path"} {
			all = append(all, route{method, path, anybody, asRefusal, g.verify})
		}
	}
	return all
}

// verifyOr is verify for methods that the router does not know, because a proxy may ask about a
// request of any method. Other paths go to another handler.
func verifyOr(g *gatekeeper, other edge.Handler) edge.Handler {
	return func(c *gin.Context) error {
		if path := c.Request.URL.Path; path == "/verify" || strings.HasPrefix(path, "/verify/") {
			return g.verify(c)
		}
		return other(c)
	}
}

// writeIdentity sets every header, even to an empty value. So a proxy that copies them onto the
// request overwrites headers that the sender may have forged.
//
// The names are in canonical form and the values share one array, which saves an allocation for
// each. A client has no username, so a client cannot pass for a user of the same name. Names of
// roles, with commas between, need no encoding.
func writeIdentity(h http.Header, sub string, access token.Access) {
	values := &[...]string{headerValue(access.Username), sub, access.Roles,
		strconv.FormatInt(access.Expires.Unix(), 10)}
	h["Remote-User"] = values[0:1:1]
	h["Remote-User-Id"] = values[1:2:2]
	h["Remote-Groups"] = values[2:3:3]
	h["X-Token-Expires"] = values[3:4:4]
}

// headerValue encodes any text as a header's value. Different texts have different values. The
// value-chars of RFC 8187 §3.2.1 and @ stay. Every other byte of the UTF-8 is percent-encoded (RFC
// 3986 §2.1).
func headerValue(text string) string {
	const hex = "0123456789ABCDEF"
	safe := 0
	for safe < len(text) && isValueChar(text[safe]) {
		safe++
	}
	if safe == len(text) {
		return text
	}
	encoded := append(make([]byte, 0, 3*len(text)), text[:safe]...)
	for n := safe; n < len(text); n++ {
		if c := text[n]; isValueChar(c) {
			encoded = append(encoded, c)
		} else {
			encoded = append(encoded, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(encoded)
}

func isValueChar(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$&+-.^_`|~@", c) >= 0
}
