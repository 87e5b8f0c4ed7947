package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/token"
	"gatehouse.example/internal/wire"
)

// guard returns an error if a request must not reach its handler.
type guard func(*API, *gin.Context) error

// route is a line of the table: what it serves, whom it lets in, and the form of its errors.
type route struct {
	method, path string
	guard        guard     // nil lets nobody in
	errors       edge.Form // nil is asProblem
	handle       edge.Handler
}

func (s *API) table(docs *docs, wellKnown *wellKnown) []route {
	return []route{
		{http.MethodPost, "/token", client, asTokenError, s.postToken},
		{http.MethodPost, "/authorize-challenge", client, asTokenError, s.postAuthorizeChallenge},
		{http.MethodPost, "/introspect", confidentialClient, asTokenError, s.postIntrospect},
		{http.MethodPost, "/revoke", client, asTokenError, s.postRevoke},
		{http.MethodPost, "/token/password", passwords, nil, s.postTokenPassword},
		{http.MethodPost, "/password/forgot", mailed(anybody), nil, s.postPasswordForgot},
		{http.MethodPost, "/password/reset", mailed(anybody), nil, s.postPasswordReset},
		{http.MethodPost, "/email/verify", mailed(anybody), nil, s.postEmailVerify},
		{http.MethodPost, "/email/resend", mailed(anybody), nil, s.postEmailResend},
		{http.MethodPost, "/email/undo", mailed(anybody), nil, s.postEmailUndo},
		{http.MethodPost, "/invitations/accept", mailed(anybody), nil, s.postInvitationAccept},
		{http.MethodPost, "/users", registration, nil, s.postUser},
		{http.MethodPost, "/logout", anybody, nil, s.postLogout},
		{http.MethodGet, "/users/me", liveUser, nil, s.getMe},
		// the rules themselves look at the user
		{http.MethodPut, "/users/me/password", accessToken, nil, s.putPassword},
		{http.MethodPut, "/users/me/email", mailed(accessToken), nil, s.putEmail},
		{http.MethodDelete, "/users/me/email", mailed(accessToken), nil, s.deleteEmail},
		{http.MethodGet, "/users/me/data", accessToken, nil, s.getPersonalData},
		{http.MethodDelete, "/users/me", accessToken, nil, s.deleteMe},
		{http.MethodGet, "/users/me/sessions", account, nil, s.getSessions},
		{http.MethodDelete, "/users/me/sessions", account, nil, s.deleteSessions},
		{http.MethodDelete, "/users/me/sessions/:id", account, nil, s.deleteSession},
		{http.MethodGet, "/users/me/consents", account, nil, s.getConsents},
		{http.MethodDelete, "/users/me/consents/:client_id", account, nil, s.deleteConsent},
		// the rule itself looks at the session
		{http.MethodGet, "/userinfo", tokenForUserInfo, nil, s.getUserInfo},
		{http.MethodPost, "/userinfo", tokenInForm, nil, s.getUserInfo},
		{http.MethodGet, "/users", may(auth.ReadUsers), nil, s.getUsers},
		{http.MethodGet, "/users/:id", may(auth.ReadUsers), nil, ofUser(s.getUser)},
		{http.MethodPost, "/users/invitations", mailed(may(auth.WriteUsers)), nil, s.postUserInvitation},
		{http.MethodPatch, "/users/:id", may(auth.WriteUsers), nil, s.patchUser},
		{http.MethodDelete, "/users/:id", may(auth.WriteUsers), nil, ofUser(s.deleteUser)},
		{http.MethodPost, "/users/:id/unlock", may(auth.WriteUsers), nil, ofUser(s.postUserUnlock)},
		{http.MethodPost, "/users/:id/factors/reset", may(auth.WriteUsers), nil, ofUser(s.postFactorsReset)},
		{http.MethodPost, "/users/:id/password-reset", mailed(may(auth.WriteUsers)), nil, ofUser(s.postUserPasswordReset)},
		{http.MethodPut, "/users/:id/roles/:role", may(auth.GrantRoles), nil, ofUser(s.putUserRole)},
		{http.MethodDelete, "/users/:id/roles/:role", may(auth.GrantRoles), nil, ofUser(s.deleteUserRole)},
		{http.MethodGet, "/users/:id/sessions", may(auth.ReadSessions), nil, ofUser(s.getUserSessions)},
		{http.MethodDelete, "/users/:id/sessions", may(auth.EndSessions), nil, ofUser(s.deleteUserSessions)},
		{http.MethodGet, "/roles", may(auth.ReadRoles), nil, s.getRoles},
		{http.MethodGet, "/roles/:name", may(auth.ReadRoles), nil, s.getRole},
		{http.MethodPut, "/roles/:name", may(auth.WriteRoles), nil, s.putRole},
		{http.MethodDelete, "/roles/:name", may(auth.WriteRoles), nil, s.deleteRole},
		{http.MethodGet, "/clients", may(auth.ReadClients), nil, s.getClients},
		{http.MethodPost, "/clients", may(auth.WriteClients), nil, s.postClient},
		{http.MethodGet, "/clients/:id", may(auth.ReadClients), nil, s.getClient},
		{http.MethodPatch, "/clients/:id", may(auth.WriteClients), nil, s.patchClient},
		{http.MethodPost, "/clients/:id/secrets", may(auth.WriteClients), nil, s.postClientSecret},
		{http.MethodDelete, "/clients/:id/secrets/old", may(auth.WriteClients), nil, s.deleteOldSecret},
		{http.MethodPut, "/clients/:id/roles/:role", may(auth.GrantRoles), nil, s.putClientRole},
		{http.MethodDelete, "/clients/:id/roles/:role", may(auth.GrantRoles), nil, s.deleteClientRole},
		{http.MethodGet, "/audit", may(auth.ReadAudit), nil, s.getAudit},
		// the rule itself looks at the token
		{http.MethodGet, "/revocations", anybody, nil, s.getRevocations},
		{http.MethodGet, "/revocations.jwt", anybody, nil, s.getRevocationFeed},
		{http.MethodGet, "/.well-known/jwks.json", anybody, nil, wellKnown.jwks},
		{http.MethodGet, edge.MetadataPath, anybody, nil, wellKnown.metadata},
		{http.MethodGet, edge.DiscoveryPath, anybody, nil, wellKnown.metadata},
		{http.MethodGet, "/docs", anybody, nil, docs.page},
		{http.MethodGet, "/docs/*asset", anybody, nil, docs.asset},
		{http.MethodGet, "/openapi.json", anybody, nil, docs.json},
		{http.MethodGet, "/openapi.yaml", anybody, nil, docs.yaml},
	}
}

func (r route) serve(s *API) gin.HandlerFunc {
	form := r.errors
	if form == nil {
		form = asProblem
	}
	return s.edge.Answer(form, func(c *gin.Context) error { return r.run(s, c) })
}

func (r route) run(s *API, c *gin.Context) error {
	if r.guard == nil {
		return edge.ErrNoGuard
	}
	if err := r.guard(s, c); err != nil {
		return err
	}
	return r.handle(c)
}

// anybody lets everybody in.
func anybody(*API, *gin.Context) error { return nil }

// registration lets anybody in while registration is open. Otherwise it lets in those who may
// manage accounts.
func registration(s *API, c *gin.Context) error {
	switch {
	case s.registrationOpen:
		return nil
	case c.GetHeader("Authorization") == "":
		return s.Registration.Refuse(c.Request.Context())
	}
	return may(auth.WriteUsers)(s, c)
}

// passwords lets anybody in, unless no passwords are exchanged for tokens.
func passwords(s *API, c *gin.Context) error {
	if !s.passwordGrantOn {
		return s.refusePassword(c, auth.ActionChangePassword)
	}
	return nil
}

const accessKey = "gatehouse.access"

// accessToken lets in whoever has a valid access token. Whether it was revoked is for the handler
// to check.
func accessToken(s *API, c *gin.Context) error {
	raw, err := bearer(c.Request)
	if err != nil {
		return err
	}
	return s.provedToken(c, raw, s.Access.Authenticate)
}

func (s *API) provedToken(
	c *gin.Context, raw string, authenticate func(string) (token.Access, error),
) error {
	access, err := authenticate(raw)
	if err != nil {
		return err
	}
	edge.NoteOf(c).Holder(access.Subject)
	c.Set(accessKey, access)
	return nil
}

const userKey = "gatehouse.user"

// liveUser lets in whoever has an access token that was not revoked. It looks at the user and the
// session in the database.
func liveUser(s *API, c *gin.Context) error {
	if err := accessToken(s, c); err != nil {
		return err
	}
	user, rules, err := s.Access.Me(c.Request.Context(), accessOf(c))
	if err != nil {
		return err
	}
	shown := wire.WithoutFactors(user)
	if rules {
		shown = wire.UserOf(user)
	}
	c.Set(userKey, shown)
	return nil
}

const reachKey = "gatehouse.reach"

// account lets in whoever has an access token that may manage its user's own account. It looks at
// the user and the session in the database.
func account(s *API, c *gin.Context) error {
	if err := accessToken(s, c); err != nil {
		return err
	}
	reach, err := s.Access.Account(c.Request.Context(), accessOf(c))
	if err != nil {
		return err
	}
	c.Set(reachKey, reach)
	return nil
}

const actorKey = "gatehouse.actor"

// may lets in whoever has a permission. It looks at the user, the session and the roles in the
// database.
func may(permission auth.Permission) guard {
	return func(s *API, c *gin.Context) error {
		if err := accessToken(s, c); err != nil {
			return err
		}
		actor, err := s.Access.Authorize(c.Request.Context(), accessOf(c), permission)
		if err != nil {
			return err
		}
		c.Set(actorKey, actor)
		return nil
	}
}

func userOf(c *gin.Context) wire.User { return c.MustGet(userKey).(wire.User) }

func actorOf(c *gin.Context) auth.Actor { return c.MustGet(actorKey).(auth.Actor) }

func reachOf(c *gin.Context) auth.Reach { return c.MustGet(reachKey).(auth.Reach) }

func accessOf(c *gin.Context) token.Access { return c.MustGet(accessKey).(token.Access) }
