package httpapi

import (
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// handler answers a request, or returns the error that answers it.
type handler func(*gin.Context) error

// guard decides whether a request reaches its handler.
type guard func(*server, *gin.Context) error

// route is a line of the table: what it serves, whom it lets in and how it words errors.
type route struct {
	method, path string
	guard        guard // nil: nobody
	errors       form  // nil: asProblem
	handle       handler
}

func (s *server) routes(docs *docs, wellKnown *wellKnown) []route {
	return []route{
		{http.MethodPost, "/token", client, asTokenError, s.postToken},
		{http.MethodPost, "/introspect", confidentialClient, asTokenError, s.postIntrospect},
		{http.MethodPost, "/revoke", client, asTokenError, s.postRevoke},
		{http.MethodPost, "/token/password", anybody, nil, s.postTokenPassword},
		{http.MethodPost, "/users", registration, nil, s.postUser},
		{http.MethodPost, "/logout", anybody, nil, s.postLogout},
		{http.MethodGet, "/users/me", liveUser, nil, s.getMe},
		{http.MethodPut, "/users/me/password", accessToken, nil, s.putPassword}, // the rule looks at the user anyway
		{http.MethodGet, "/users/me/sessions", liveUser, nil, s.getSessions},
		{http.MethodDelete, "/users/me/sessions", liveUser, nil, s.deleteSessions},
		{http.MethodDelete, "/users/me/sessions/:id", liveUser, nil, s.deleteSession},
		{http.MethodGet, "/users", may(auth.ReadUsers), nil, s.getUsers},
		{http.MethodGet, "/users/:id", may(auth.ReadUsers), nil, s.getUser},
		{http.MethodPatch, "/users/:id", may(auth.WriteUsers), nil, s.patchUser},
		{http.MethodDelete, "/users/:id", may(auth.WriteUsers), nil, s.deleteUser},
		{http.MethodPost, "/users/:id/unlock", may(auth.WriteUsers), nil, s.postUserUnlock},
		{http.MethodPut, "/users/:id/roles/:role", may(auth.GrantRoles), nil, s.putUserRole},
		{http.MethodDelete, "/users/:id/roles/:role", may(auth.GrantRoles), nil, s.deleteUserRole},
		{http.MethodGet, "/users/:id/sessions", may(auth.ReadSessions), nil, s.getUserSessions},
		{http.MethodDelete, "/users/:id/sessions", may(auth.EndSessions), nil, s.deleteUserSessions},
		{http.MethodGet, "/roles", may(auth.ReadRoles), nil, s.getRoles},
		{http.MethodGet, "/roles/:name", may(auth.ReadRoles), nil, s.getRole},
		{http.MethodPut, "/roles/:name", may(auth.WriteRoles), nil, s.putRole},
		{http.MethodDelete, "/roles/:name", may(auth.WriteRoles), nil, s.deleteRole},
		{http.MethodGet, "/audit", may(auth.ReadAudit), nil, s.getAudit},
		{http.MethodGet, "/revocations", anybody, nil, s.getRevocations}, // the rule looks at the token
		{http.MethodGet, "/revocations.jwt", anybody, nil, s.getRevocationFeed},
		{http.MethodGet, "/.well-known/jwks.json", anybody, nil, wellKnown.jwks},
		{http.MethodGet, "/.well-known/oauth-authorization-server", anybody, nil, wellKnown.metadata},
		{http.MethodGet, "/docs", anybody, nil, docs.page},
		{http.MethodGet, "/docs/*asset", anybody, nil, docs.asset},
		{http.MethodGet, "/openapi.json", anybody, nil, docs.json},
		{http.MethodGet, "/openapi.yaml", anybody, nil, docs.yaml},
	}
}

func (r route) serve(s *server) gin.HandlerFunc {
	errors := r.errors
	if errors == nil {
		errors = asProblem
	}
	return func(c *gin.Context) {
		if err := r.run(s, c); err != nil {
			s.brake.hold(c.Request.Context(), err)
			fail(c, errors, err)
		}
	}
}

// run turns a panic into an error, so that it is answered in the form of the route.
func (r route) run(s *server, c *gin.Context) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // net/http's own way to cut a connection off
			panic(v)
		default:
			noteOf(c).stack = string(debug.Stack())
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	if r.guard == nil {
		return errNoGuard
	}
	if err := r.guard(s, c); err != nil {
		return err
	}
	return r.handle(c)
}

// anybody lets everybody in.
func anybody(*server, *gin.Context) error { return nil }

// registration lets strangers in while they may make accounts, and else those who manage accounts.
func registration(s *server, c *gin.Context) error {
	switch {
	case s.registrationOpen:
		return nil
	case c.GetHeader("Authorization") == "":
		return errRegistrationClosed
	}
	return may(auth.WriteUsers)(s, c)
}

const accessKey = "gatehouse.access"

// accessToken lets in who has a valid access token; whether it was revoked is for the handler to ask.
func accessToken(s *server, c *gin.Context) error {
	raw, err := bearer(c.Request)
	if err != nil {
		return err
	}
	access, err := s.service.Authenticate(raw)
	if err != nil {
		return err
	}
	noteOf(c).holder(access.Subject)
	c.Request = c.Request.WithContext(auth.WithSubject(c.Request.Context(), access.Subject))
	c.Set(accessKey, access)
	return nil
}

const userKey = "gatehouse.user"

// liveUser lets in who has an access token that was not revoked, by a fresh look at the user and the session.
func liveUser(s *server, c *gin.Context) error {
	if err := accessToken(s, c); err != nil {
		return err
	}
	user, err := s.service.Me(c.Request.Context(), accessOf(c))
	if err != nil {
		return err
	}
	c.Set(userKey, user)
	return nil
}

// may lets in who has a permission, by a fresh look at the user, the session and the roles.
func may(permission auth.Permission) guard {
	return func(s *server, c *gin.Context) error {
		if err := accessToken(s, c); err != nil {
			return err
		}
		user, err := s.service.Authorize(c.Request.Context(), accessOf(c), permission)
		if err != nil {
			return err
		}
		c.Set(userKey, user)
		return nil
	}
}

func userOf(c *gin.Context) auth.User { return c.MustGet(userKey).(auth.User) }

func accessOf(c *gin.Context) token.Access { return c.MustGet(accessKey).(token.Access) }
