package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// checkAccess tells what an access token says if it is valid and was not revoked, without a database where it can.
// auth.ErrInvalidToken, auth.ErrUnavailable.
type checkAccess func(ctx context.Context, raw string) (token.Access, error)

// verify answers a proxy that asks about a request before it passes it on: 204 and who sent it, or the refusal. The
// method, the path behind /verify with its query, and the body are those of the request in question, and say nothing
// here; the query of /verify itself is the proxy's.
func verify(check checkAccess) handler {
	return func(c *gin.Context) error {
		raw, err := bearer(c.Request)
		if err != nil {
			return err
		}
		access, err := check(c.Request.Context(), raw)
		if err != nil {
			return err
		}
		if err := allowed(c, access); err != nil {
			return err
		}
		n := noteOf(c)
		sub := n.holder(access.Subject)
		n.routine = true // the proxy has a line of its own for the request that it asks about
		writeIdentity(c.Writer.Header(), sub, access)
		c.Status(http.StatusNoContent)
		return nil
	}
}

// allowed tells whether a token has each role= and permission= that the proxy asks for. A query that says anything else is
// refused, since a misspelt demand would let everybody in.
func allowed(c *gin.Context, access token.Access) error {
	query := c.Request.URL.RawQuery
	if query == "" || c.Request.URL.Path != "/verify" {
		return nil
	}
	needed, err := url.ParseQuery(query)
	if err != nil {
		return errVerifyQuery
	}
	for name, values := range needed {
		for _, value := range values {
			held := false
			switch name {
			case "role":
				held = access.HasRole(value)
			case "permission":
				held = token.ScopeHas(access.Scope, value)
			default:
				return errVerifyQuery
			}
			if !held {
				return auth.ErrForbidden
			}
		}
	}
	return nil
}

// verifyRoutes are /verify by the methods that the contract can name; verifyOr has the others.
func (s *server) verifyRoutes() []route {
	var all []route
	for _, method := range []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace,
	} {
		for _, path := range []string{"/verify", "/verify/*path"} {
			all = append(all, route{method, path, anybody, nil, verify(s.service.CheckAccess)})
		}
	}
	return all
}

// verifyOr is verify for the methods that the router does not know, and another handler for other paths: a proxy may
// ask about a request of any method.
func verifyOr(check checkAccess, other handler) handler {
	known := verify(check)
	return func(c *gin.Context) error {
		if path := c.Request.URL.Path; path == "/verify" || strings.HasPrefix(path, "/verify/") {
			return known(c)
		}
		return other(c)
	}
}

// writeIdentity sets every header, also an empty one: a proxy that copies them onto the request in question thereby
// overwrites those that its sender may have forged. The names are in their canonical form, and the values share one
// array, which spares this path an allocation for each. A client has no username: one that is named like a user is not him. Names of roles, with commas between, need no encoding.
func writeIdentity(h http.Header, sub string, access token.Access) {
	values := &[...]string{headerValue(access.Username), sub, access.Roles, strconv.FormatInt(access.Expires.Unix(), 10)}
	h["Remote-User"] = values[0:1:1]
	h["Remote-User-Id"] = values[1:2:2]
	h["Remote-Groups"] = values[2:3:3]
	h["X-Token-Expires"] = values[3:4:4]
}

// headerValue makes of any text one that a header can hold, and that differs for each text: the value-chars of
// RFC 8187 §3.2.1 and @ stay, every other byte of its UTF-8 is percent-encoded (RFC 3986 §2.1).
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
