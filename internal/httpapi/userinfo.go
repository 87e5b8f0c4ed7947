package httpapi

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// userInfo has the names of OpenID Connect Core §5.1, and groups.
type userInfo struct {
	Subject           string   `json:"sub"`
	Name              string   `json:"name,omitzero"`
	PreferredUsername string   `json:"preferred_username,omitzero"`
	UpdatedAt         int64    `json:"updated_at,omitzero"`
	Groups            []string `json:"groups,omitempty"`
	Email             string   `json:"email,omitzero"`
	EmailVerified     bool     `json:"email_verified,omitzero"`
}

// tokenForUserInfo is a [guard] like accessToken, which also lets in who has a token that is for
// this endpoint and for resources of others.
func tokenForUserInfo(s *API, c *gin.Context) error {
	raw, err := bearer(c.Request)
	if err != nil {
		return err
	}
	return s.provedToken(c, raw, s.Access.AuthenticateForUserInfo)
}

// tokenInForm is a guard for a token in the header, as tokenForUserInfo is, or in a form (RFC 6750
// §2.2). A request with both is refused.
func tokenInForm(s *API, c *gin.Context) error {
	if c.GetHeader("Authorization") != "" || c.ContentType() != urlEncoded {
		return tokenForUserInfo(s, c)
	}
	form, err := edge.ReadForm(c)
	if err != nil {
		return err
	}
	if form["access_token"] == "" {
		return edge.ErrNoToken
	}
	return s.provedToken(c, form["access_token"], s.Access.AuthenticateForUserInfo)
}

// urlEncoded is the media type of a form that may have a token.
const urlEncoded = "application/x-www-form-urlencoded"

// getUserInfo is the UserInfo endpoint (OpenID Connect Core §5.3).
func (s *API) getUserInfo(c *gin.Context) error {
	info, err := s.Access.UserInfo(c.Request.Context(), accessOf(c))
	if err != nil {
		return err
	}
	writeJSON(c, http.StatusOK, "application/json", wireUserInfo(info))
	return nil
}

func wireUserInfo(info auth.UserInfo) userInfo {
	return userInfo{
		Subject: info.Subject.String(), Name: info.Name,
		PreferredUsername: info.PreferredUsername, UpdatedAt: seconds(info.UpdatedAt),
		Groups: info.Groups, Email: info.Email, EmailVerified: info.EmailVerified,
	}
}

// seconds is a NumericDate (RFC 7519 §2). The zero time is 0, which is left out.
func seconds(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.Unix()
}
