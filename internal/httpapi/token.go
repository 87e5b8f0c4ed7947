package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
)

// tokenResponse is RFC 6749 §5.1.
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
	// Scope is there even though it is empty: what was granted differs from whatever was asked for (§3.3).
	Scope string `json:"scope"`
}

// postToken is the token endpoint for the password grant (RFC 6749 §4.3).
func (s *server) postToken(c *gin.Context) error {
	c.Header("Pragma", "no-cache") // RFC 6749 §5.1, beside Cache-Control: no-store
	form, err := readForm(c)
	if err != nil {
		return err
	}
	switch {
	// Clients of FastAPI's form leave the grant type out.
	case form["grant_type"] == "" && form["username"] == "":
		return errInvalidRequest
	case form["grant_type"] != "" && form["grant_type"] != "password":
		return errUnsupportedGrant
	case form["username"] == "" || form["password"] == "":
		return errInvalidRequest
	}
	grant, err := s.service.Login(c.Request.Context(), form["username"], form["password"])
	s.metrics.logins.WithLabelValues(auth.Outcome(err)).Inc()
	if err != nil {
		return err
	}
	noteOf(c).userID = grant.User.ID.String()
	writeJSON(c, http.StatusOK, "application/json", tokenResponse{
		AccessToken: grant.AccessToken, TokenType: "bearer", ExpiresIn: int64(grant.ExpiresIn.Seconds()),
	})
	return nil
}
