package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse/internal/auth"
)

// inactiveToken is all that is told of a token that is not active (RFC 7662 §2.2).
type inactiveToken struct {
	Active bool `json:"active"`
}

// activeToken has jti, aud and token_type of an access token alone.
type activeToken struct {
	Active    bool      `json:"active"`
	Scope     string    `json:"scope"`
	ClientID  string    `json:"client_id"`
	Username  string    `json:"username,omitzero"`
	TokenType string    `json:"token_type,omitzero"`
	Expires   int64     `json:"exp"`
	IssuedAt  int64     `json:"iat"`
	Subject   string    `json:"sub"`
	Audience  string    `json:"aud,omitzero"`
	Issuer    string    `json:"iss"`
	ID        uuid.UUID `json:"jti,omitzero"`
}

// postIntrospect tells what a token is good for (RFC 7662).
func (s *server) postIntrospect(c *gin.Context) error {
	raw := formOf(c)["token"]
	if raw == "" {
		return errInvalidRequest
	}
	found, err := s.service.Introspect(c.Request.Context(), oauthClientOf(c), raw)
	if err != nil {
		return err
	}
	if !found.Active {
		writeJSON(c, http.StatusOK, "application/json", inactiveToken{})
		return nil
	}
	writeJSON(c, http.StatusOK, "application/json", activeBody(found))
	return nil
}

func activeBody(found auth.Introspection) activeToken {
	body := activeToken{
		Active: true, Scope: found.Scope, ClientID: found.ClientID, Username: found.Username, Expires: found.Expires.Unix(),
		IssuedAt: found.IssuedAt.Unix(), Subject: found.Subject, Audience: found.Audience, Issuer: found.Issuer, ID: found.ID,
	}
	if found.ID != uuid.Nil {
		body.TokenType = "bearer"
	}
	return body
}

// postRevoke ends the session of a token (RFC 7009).
func (s *server) postRevoke(c *gin.Context) error {
	raw := formOf(c)["token"]
	if raw == "" {
		return errInvalidRequest
	}
	if err := s.service.Revoke(c.Request.Context(), oauthClientOf(c), raw); err != nil {
		return err
	}
	c.Status(http.StatusOK)
	return nil
}
