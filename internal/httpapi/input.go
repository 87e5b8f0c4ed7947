package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

// maxBody is in bytes.
const maxBody = 64 << 10

// readBody reads a body of one media type, whole.
func readBody(c *gin.Context, mediaType string) ([]byte, error) {
	got, params, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	if err != nil || got != mediaType {
		return nil, errMediaType
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return nil, errMediaType
	}
	if c.GetHeader("Content-Encoding") != "" {
		return nil, errMediaType
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return body, nil
}

// readForm reads the parameters of a request in a form (RFC 6749 §3.2): one that is repeated is refused, one
// without a value is the same as none. Parameters of the URL do not count: a password there would be in logs.
func readForm(c *gin.Context) (map[string]string, error) {
	body, err := readBody(c, "application/x-www-form-urlencoded")
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errMalformed // the error quotes the body
	}
	form := make(map[string]string, len(values))
	for name, value := range values {
		if len(value) > 1 {
			return nil, errInvalidRequest
		}
		if !utf8.ValidString(name) || !utf8.ValidString(value[0]) {
			return nil, errMalformed
		}
		form[name] = value[0]
	}
	return form, nil
}

// readJSON reads a JSON object into a struct of string pointers: each of them must be there, and nothing else.
//
// The decoder is that of the coming encoding/json/v2, because today's takes the last of two members with one
// name, matches names in any case and mends invalid UTF-8: what it reads is not always what was checked before.
func readJSON(c *gin.Context, into any) error {
	body, err := readBody(c, "application/json")
	if err != nil {
		return err
	}
	err = json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok && !errors.Is(err, json.ErrUnknownName) && semantic.JSONPointer != "" {
		return auth.InputError{{Field: strings.TrimPrefix(string(semantic.JSONPointer), "/"), Message: "has the wrong type"}}
	}
	if err != nil {
		return errMalformed // the error may quote the body
	}
	return nil
}

// required takes the members of an object that must be there, and tells which are not.
func required(members ...member) error {
	var missing auth.InputError
	for _, m := range members {
		if m.value == nil {
			missing = append(missing, auth.FieldError{Field: m.name, Message: "is required"})
		}
	}
	if missing != nil {
		return missing
	}
	return nil
}

type member struct {
	name  string
	value *string
}

// bearer takes the access token from a request.
func bearer(r *http.Request) (string, error) {
	raw, err := token.Bearer(r.Header["Authorization"])
	switch {
	case errors.Is(err, token.ErrNone):
		return "", errNoToken
	case err != nil:
		return "", fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
	}
	return raw, nil
}
