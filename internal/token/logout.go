package token

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

const (
	// logoutMediaType is the typ of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
	logoutMediaType = "logout+jwt"

	// logoutLifetime is the most that §2.4 recommends. A token is made for each try to deliver it.
	logoutLifetime = 2 * time.Minute

	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
)

// LogoutToken tells a client that a session has ended, or all sessions of a user (OpenID Connect
// Back-Channel Logout 1.0 §2.4). One of Subject and SessionID may be [uuid.Nil].
type LogoutToken struct {
	Audience  string    // aud: the client_id
	Subject   uuid.UUID // sub: the user
	SessionID uuid.UUID // sid; Nil: all sessions of the user
}

// logoutClaims have no nonce: it would make an ID token of them.
type logoutClaims struct {
	commonClaims
	SessionID string              `json:"sid,omitempty"`
	Events    map[string]struct{} `json:"events"`
}

// IssueLogout signs a logout token, which is valid for two minutes.
func (i *IDIssuer) IssueLogout(now time.Time, algorithm Algorithm, t LogoutToken) (string, error) {
	if t.Audience == "" || t.Subject == uuid.Nil && t.SessionID == uuid.Nil {
		return "", errors.New("token: a logout token for nobody")
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return i.sign(algorithm, logoutMediaType, logoutClaims{
		commonClaims: commonClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer:    i.issuer,
				Subject:   textOf(t.Subject),
				ExpiresAt: jwt.NewNumericDate(now.Add(logoutLifetime)),
				IssuedAt:  jwt.NewNumericDate(now),
				ID:        id.String(),
			},
			Audience: audience{t.Audience},
		},
		SessionID: textOf(t.SessionID),
		Events:    map[string]struct{}{logoutEvent: {}},
	})
}
