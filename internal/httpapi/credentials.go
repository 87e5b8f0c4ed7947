package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

const (
	formKey        = "gatehouse.form"
	oauthClientKey = "gatehouse.oauth_client"
)

// client is a [guard] for requests with a form. It lets in the OAuth client that the form names,
// once the client has authenticated. A request that names no client comes from the first-party
// client.
func client(s *API, c *gin.Context) error { return s.provedClient(c, s.Clients.Authenticate) }

// confidentialClient is client, but lets in only clients that authenticate with a secret.
func confidentialClient(s *API, c *gin.Context) error {
	return s.provedClient(c, s.Clients.AuthenticateConfidential)
}

func (s *API) provedClient(
	c *gin.Context, prove func(ctx context.Context, id, secret string) (auth.Client, error),
) error {
	c.Header("Pragma", "no-cache") // RFC 6749 §5.1, beside Cache-Control: no-store
	form, err := edge.ReadForm(c, resourceParameter)
	if err != nil {
		return err
	}
	id, secret, err := clientCredentials(c.Request.Header["Authorization"], form)
	if errors.Is(err, auth.ErrInvalidClient) {
		return s.Clients.Refuse(c.Request.Context(), auth.Client{}, err)
	}
	if err != nil {
		return err
	}
	known, err := prove(c.Request.Context(), id, secret)
	if err != nil {
		return err
	}
	edge.NoteOf(c).ClientID = known.ID
	c.Set(formKey, form)
	c.Set(oauthClientKey, known)
	return nil
}

func formOf(c *gin.Context) map[string]string { return c.MustGet(formKey).(map[string]string) }

func oauthClientOf(c *gin.Context) auth.Client {
	return c.MustGet(oauthClientKey).(auth.Client)
}

// callerOf describes the caller of a request, with the OAuth client that has authenticated.
func callerOf(c *gin.Context) auth.Caller {
	caller := edge.CallerOf(c)
	if known, ok := c.Get(oauthClientKey); ok {
		caller.Client = known.(auth.Client)
	}
	return caller
}

// clientCredentials returns the credentials from the header or from the form. Both at once are
// refused (RFC 6749 §2.3). Beside the header, the form may repeat the client's id (§3.2.1). A
// public client sends no secret. The errors are edge.ErrInvalidRequest and [auth.ErrInvalidClient].
func clientCredentials(
	authorization []string, form map[string]string,
) (id, secret string, err error) {
	id, secret, err = parseBasic(authorization)
	if err != nil {
		return "", "", err
	}
	formID, formSecret := form["client_id"], form["client_secret"]
	inHeader := id != ""
	switch {
	case inHeader && (formSecret != "" || formID != "" && formID != id),
		formID == "" && formSecret != "":
		return "", "", edge.ErrInvalidRequest
	case inHeader:
		return id, secret, nil
	}
	return formID, formSecret, nil
}

func isBasic(authorization string) bool {
	scheme, _, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, "Basic")
}

// parseBasic reads a client's credentials from the header (RFC 7617 §2). Both parts are
// form-urlencoded (RFC 6749 §2.3.1). It returns no credentials for another scheme, because some
// programs send the access token that they have. It also returns none where both parts are empty,
// because a form that nobody has filled in is sent that way. The error is [auth.ErrInvalidClient].
func parseBasic(authorization []string) (id, secret string, err error) {
	for _, line := range authorization {
		if !isBasic(line) {
			continue
		}
		_, encoded, _ := strings.Cut(line, " ")
		if len(authorization) > 1 {
			return "", "", fmt.Errorf("%w: two Authorization headers", auth.ErrInvalidClient)
		}
		return decodeBasic(strings.Trim(encoded, " "))
	}
	return "", "", nil
}

// decodeBasic quotes nothing that it has read in its errors, because they are logged.
func decodeBasic(encoded string) (id, secret string, err error) {
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return "", "", fmt.Errorf("%w: not in base64", auth.ErrInvalidClient)
	}
	left, right, ok := strings.Cut(string(decoded), ":")
	id, errID := url.QueryUnescape(left)
	secret, errSecret := url.QueryUnescape(right)
	if !ok || errID != nil || errSecret != nil || !utf8.ValidString(id) ||
		!utf8.ValidString(secret) || id == "" && secret != "" {
		return "", "", fmt.Errorf("%w: malformed credentials", auth.ErrInvalidClient)
	}
	return id, secret, nil
}
