package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// inactiveToken is the whole answer for a token that is not active (RFC 7662 §2.2).
type inactiveToken struct {
	Active bool `json:"active"`
}

// activeToken describes an active token. Only an access token has jti, aud and token_type.
type activeToken struct {
	Active    bool      `json:"active"`
	Scope     string    `json:"scope,omitzero"`
	ClientID  string    `json:"client_id"`
	Username  string    `json:"username,omitzero"`
	TokenType string    `json:"token_type,omitzero"`
	Expires   int64     `json:"exp"`
	IssuedAt  int64     `json:"iat"`
	Subject   string    `json:"sub"`
	Audience  audience  `json:"aud,omitzero"`
	Issuer    string    `json:"iss"`
	ID        uuid.UUID `json:"jti,omitzero"`
	ACR       string    `json:"acr,omitzero"`
	Methods   []string  `json:"amr,omitzero"`
	AuthTime  int64     `json:"auth_time,omitzero"`
}

// audience is written as a string where there is one, as in tokens.
type audience []string

// MarshalJSON implements json.Marshaler.
func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// postIntrospect describes a token (RFC 7662).
func (s *API) postIntrospect(c *gin.Context) error {
	raw := formOf(c)["token"]
	if raw == "" {
		return edge.ErrInvalidRequest
	}
	found, err := s.Tokens.Introspect(c.Request.Context(), oauthClientOf(c), raw)
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
		Active: true, Scope: found.Scope, ClientID: found.ClientID, Username: found.Username,
		Expires:  found.Expires.Unix(),
		IssuedAt: found.IssuedAt.Unix(), Subject: found.Subject, Audience: found.Audience,
		Issuer: found.Issuer, ID: found.ID, ACR: found.ACR, Methods: found.Methods,
	}
	if !found.AuthTime.IsZero() {
		body.AuthTime = found.AuthTime.Unix()
	}
	if found.ID != uuid.Nil {
		body.TokenType = "bearer"
	}
	return body
}

// postRevoke ends the session of a token (RFC 7009).
func (s *API) postRevoke(c *gin.Context) error {
	raw := formOf(c)["token"]
	if raw == "" {
		return edge.ErrInvalidRequest
	}
	if err := s.Tokens.Revoke(c.Request.Context(), oauthClientOf(c), raw); err != nil {
		return err
	}
	c.Status(http.StatusOK)
	return nil
}
