package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
)

// tokenResponse is RFC 6749 §5.1.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`             // seconds
	RefreshToken string `json:"refresh_token,omitzero"` // not for a client that may not use one
	// Scope is there also when it is empty: what was granted differs from whatever was not asked for (§3.3).
	Scope string `json:"scope"`
}

// postToken is the token endpoint: for the password grant (RFC 6749 §4.3), a client's own token (§4.4) and refreshing (§6).
func (s *server) postToken(c *gin.Context) error {
	form := formOf(c)
	grantType := form["grant_type"]
	if grantType == "" && form["username"] != "" {
		grantType = "password" // clients of FastAPI's form leave it out
	}
	switch {
	case grantType == "":
		return errInvalidRequest
	case grantType != auth.GrantPassword && grantType != auth.GrantRefreshToken && grantType != auth.GrantClientCredentials:
		return errUnsupportedGrant
	case !oauthClientOf(c).MayUse(grantType):
		return auth.ErrUnauthorizedClient
	case grantType == auth.GrantPassword:
		return s.passwordGrant(c, form["username"], form["password"], form["scope"])
	case grantType == auth.GrantClientCredentials:
		grant, err := s.service.ClientToken(c.Request.Context(), oauthClientOf(c), form["scope"])
		return writeGrant(c, grant, err)
	}
	return s.refreshGrant(c, form["refresh_token"], form["scope"])
}

func (s *server) passwordGrant(c *gin.Context, username, pw, scope string) error {
	if username == "" || pw == "" {
		return errInvalidRequest
	}
	grant, err := s.service.Login(c.Request.Context(), username, pw, clientOf(c), scope)
	s.metrics.logins.WithLabelValues(auth.Outcome(err)).Inc()
	setDevice(c, grant.Device)
	return writeGrant(c, grant, err)
}

// postTokenPassword is a login that replaces the password. It is below /token, so that the cookie of a device comes with it.
func (s *server) postTokenPassword(c *gin.Context) error {
	c.Header("Pragma", "no-cache")
	var in struct {
		Username *string `json:"username"`
		Current  *string `json:"current_password"`
		New      *string `json:"new_password"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if err := required(member{"username", in.Username}, member{"current_password", in.Current}, member{"new_password", in.New}); err != nil {
		return err
	}
	grant, err := s.service.ReplacePassword(c.Request.Context(), *in.Username, *in.Current, *in.New, clientOf(c))
	s.metrics.logins.WithLabelValues(auth.Outcome(err)).Inc()
	setDevice(c, grant.Device)
	return writeGrant(c, grant, err)
}

func (s *server) refreshGrant(c *gin.Context, refreshToken, scope string) error {
	if refreshToken == "" {
		return errInvalidRequest
	}
	grant, err := s.service.Refresh(c.Request.Context(), refreshToken, clientOf(c), scope)
	s.metrics.refreshes.WithLabelValues(auth.Outcome(err)).Inc()
	return writeGrant(c, grant, err)
}

func writeGrant(c *gin.Context, grant auth.Grant, err error) error {
	if err != nil {
		return err
	}
	if grant.User.Username.Key != "" { // else it is a client, which is noted already
		noteOf(c).userID = grant.User.ID.String()
	}
	writeJSON(c, http.StatusOK, "application/json", tokenResponse{
		AccessToken: grant.AccessToken, TokenType: "bearer", ExpiresIn: int64(grant.ExpiresIn.Seconds()),
		RefreshToken: grant.RefreshToken, Scope: grant.Scope,
	})
	return nil
}
