package httpapi

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
)

const (
	formKey        = "gatehouse.form"
	oauthClientKey = "gatehouse.oauth_client"
)

// client lets in the OAuth client that a request with a form names, if it proves to be that one; one that names none is the
// first-party client.
func client(s *server, c *gin.Context) error {
	c.Header("Pragma", "no-cache") // RFC 6749 §5.1, beside Cache-Control: no-store
	form, err := readForm(c)
	if err != nil {
		return err
	}
	id, secret, err := clientCredentials(c.Request.Header["Authorization"], form)
	if err != nil {
		return err
	}
	known, err := s.service.AuthenticateClient(c.Request.Context(), id, secret)
	if err != nil {
		return err
	}
	noteOf(c).clientID = known.ID
	c.Set(formKey, form)
	c.Set(oauthClientKey, known)
	return nil
}

// confidentialClient is client for those that have proved themselves by a secret.
func confidentialClient(s *server, c *gin.Context) error {
	if err := client(s, c); err != nil {
		return err
	}
	if !oauthClientOf(c).Confidential {
		return fmt.Errorf("%w: not a confidential one", auth.ErrInvalidClient)
	}
	return nil
}

func formOf(c *gin.Context) map[string]string { return c.MustGet(formKey).(map[string]string) }

func oauthClientOf(c *gin.Context) auth.OAuthClient {
	return c.MustGet(oauthClientKey).(auth.OAuthClient)
}

// clientCredentials are those of the header or of the form, and never of both (RFC 6749 §2.3). The form of a public client
// has no secret. errInvalidRequest, auth.ErrInvalidClient.
func clientCredentials(authorization []string, form map[string]string) (id, secret string, err error) {
	id, secret, err = parseBasic(authorization)
	if err != nil {
		return "", "", err
	}
	formID, formSecret := form["client_id"], form["client_secret"]
	inHeader, inForm := id != "" || secret != "", formID != "" || formSecret != ""
	switch {
	case inHeader && inForm, inForm && formID == "":
		return "", "", errInvalidRequest
	case inForm:
		return formID, formSecret, nil
	}
	return id, secret, nil
}

// parseBasic reads the credentials of a client (RFC 7617 §2), whose parts are form-urlencoded (RFC 6749 §2.3.1). Those of
// another scheme are none: programs send the access token along that they have. So are empty ones, which forms send that
// nobody has filled in. auth.ErrInvalidClient.
func parseBasic(authorization []string) (id, secret string, err error) {
	for _, line := range authorization {
		scheme, encoded, _ := strings.Cut(line, " ")
		if !strings.EqualFold(scheme, "Basic") {
			continue
		}
		if len(authorization) > 1 {
			return "", "", fmt.Errorf("%w: two Authorization headers", auth.ErrInvalidClient)
		}
		return decodeBasic(strings.Trim(encoded, " "))
	}
	return "", "", nil
}

// decodeBasic says nothing of what it has read in its errors: they are logged.
func decodeBasic(encoded string) (id, secret string, err error) {
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return "", "", fmt.Errorf("%w: not in base64", auth.ErrInvalidClient)
	}
	left, right, ok := strings.Cut(string(decoded), ":")
	id, errID := url.QueryUnescape(left)
	secret, errSecret := url.QueryUnescape(right)
	if !ok || errID != nil || errSecret != nil || !utf8.ValidString(id) || !utf8.ValidString(secret) || id == "" && secret != "" {
		return "", "", fmt.Errorf("%w: malformed credentials", auth.ErrInvalidClient)
	}
	return id, secret, nil
}
