package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// tokenResponse is the answer of RFC 6749 §5.1.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`             // seconds
	RefreshToken string `json:"refresh_token,omitzero"` // absent for a client that may not use one
	// absent without permissions: an empty scope cannot be written (§3.3)
	Scope   string `json:"scope,omitzero"`
	IDToken string `json:"id_token,omitzero"` // OpenID Connect Core §3.1.3.3
}

// grantHandler answers a request for tokens, by its form.
type grantHandler func(c *gin.Context, form map[string]string) error

// allGrants returns the ways to get tokens, by grant_type.
func (s *API) allGrants() map[string]grantHandler {
	return map[string]grantHandler{
		auth.GrantPassword:          s.passwordGrant,          // RFC 6749 §4.3
		auth.GrantClientCredentials: s.clientCredentialsGrant, // §4.4
		auth.GrantRefreshToken:      s.refreshGrant,           // §6
		auth.GrantAuthorizationCode: s.codeGrant,              // §4.1
	}
}

// grantTypes returns the grants that the service has, in the order of the metadata.
func (s *API) grantTypes() []string {
	types := []string{
		auth.GrantAuthorizationCode, auth.GrantRefreshToken, auth.GrantClientCredentials,
	}
	if s.passwordGrantOn {
		return append([]string{auth.GrantPassword}, types...)
	}
	return types
}

// postToken is the token endpoint (RFC 6749 §3.2).
func (s *API) postToken(c *gin.Context) error {
	form := formOf(c)
	grantType := form["grant_type"]
	if grantType == "" && form["username"] != "" {
		grantType = auth.GrantPassword // clients of FastAPI's form may omit it
	}
	grant, known := s.grants[grantType]
	switch {
	case grantType == "":
		return edge.ErrInvalidRequest
	case !known:
		return edge.ErrUnsupportedGrant
	case grantType == auth.GrantPassword && !s.passwordGrantOn:
		return s.refusePassword(c, auth.ActionLogin)
	}
	if err := s.Clients.CheckGrant(c.Request.Context(), oauthClientOf(c), grantType); err != nil {
		return err
	}
	return grant(c, form)
}

// resourceParameter names what a token is for (RFC 8707 §2). It may be given several times.
const resourceParameter = "resource"

func narrowingOf(form map[string]string) auth.Narrowing {
	return auth.Narrowing{
		Scope: form["scope"], Resources: strings.Fields(form[resourceParameter]),
	}
}

func (s *API) codeGrant(c *gin.Context, form map[string]string) error {
	// A code without a browser has no redirect URI, and always a verifier.
	if form["code"] == "" || form["redirect_uri"] == "" && form["code_verifier"] == "" {
		return edge.ErrInvalidRequest
	}
	grant, err := s.Tokens.Redeem(c.Request.Context(), auth.CodeRedemption{
		Code: form["code"], RedirectURI: form["redirect_uri"], Verifier: form["code_verifier"],
		Resources: strings.Fields(form[resourceParameter]),
	}, callerOf(c))
	return writeGrant(c, grant, err)
}

func (s *API) clientCredentialsGrant(c *gin.Context, form map[string]string) error {
	grant, err := s.Tokens.ForClient(c.Request.Context(), oauthClientOf(c), narrowingOf(form))
	return writeGrant(c, grant, err)
}

func (s *API) passwordGrant(c *gin.Context, form map[string]string) error {
	username, pw := form["username"], form["password"]
	switch {
	case username == "" || pw == "":
		return edge.ErrInvalidRequest
	case form[resourceParameter] != "": // an app that names one must not get a token for another
		return auth.ErrInvalidTarget
	}
	grant, err := s.Logins.Login(c.Request.Context(), username, pw, loginCallerOf(c), form["scope"])
	s.edge.CountLogin(err)
	s.setDevice(c, grant)
	return writeGrant(c, grant, s.verifyFirst(c, err))
}

// verifyFirst has another mail sent to whoever must verify an address, and answers with its
// challenge: that of the registration may be lost.
func (s *API) verifyFirst(c *gin.Context, err error) error {
	refused, ok := errors.AsType[*auth.UnverifiedError](err)
	if !ok || !s.mailOn {
		return err
	}
	challenge, failed := s.Addresses.ResendTo(c.Request.Context(), refused, s.languageFor(c), callerOf(c))
	if failed != nil {
		return failed
	}
	return unverified{err, challenge}
}

// refusePassword refuses a password that is sent for tokens.
func (s *API) refusePassword(c *gin.Context, action auth.Action) error {
	err := s.Clients.RefusePassword(c.Request.Context(), callerOf(c).Client, action)
	s.edge.CountLogin(err)
	return err
}

// postTokenPassword is a login that replaces the password. It is below /token, so that the device
// cookie comes with it.
func (s *API) postTokenPassword(c *gin.Context) error {
	c.Header("Pragma", "no-cache")
	var in struct {
		Username *string `json:"username"`
		Current  *string `json:"current_password"`
		New      *string `json:"new_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"username", in.Username}, member{"current_password", in.Current},
		member{"new_password", in.New}); err != nil {
		return err
	}
	grant, err := s.Logins.ReplacePassword(c.Request.Context(), *in.Username, *in.Current, *in.New,
		loginCallerOf(c))
	s.edge.CountLogin(err)
	s.setDevice(c, grant)
	return writeGrant(c, grant, err)
}

func (s *API) refreshGrant(c *gin.Context, form map[string]string) error {
	if form["refresh_token"] == "" {
		return edge.ErrInvalidRequest
	}
	grant, err := s.Tokens.Refresh(c.Request.Context(), form["refresh_token"], callerOf(c),
		narrowingOf(form))
	s.metrics.refreshes.WithLabelValues(auth.Outcome(err)).Inc()
	return writeGrant(c, grant, err)
}

func writeGrant(c *gin.Context, grant auth.Grant, err error) error {
	if err != nil {
		return err
	}
	if grant.User.Username.Key != "" { // else it is a client, which is noted already
		edge.NoteOf(c).UserID = grant.User.ID.String()
	}
	writeJSON(c, http.StatusOK, "application/json", tokenResponse{
		AccessToken: grant.AccessToken, TokenType: "bearer",
		ExpiresIn:    int64(grant.ExpiresIn.Seconds()),
		RefreshToken: grant.RefreshToken, Scope: grant.Scope, IDToken: grant.IDToken,
	})
	return nil
}
