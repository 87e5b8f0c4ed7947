package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/token"
)

// readJSON reads a JSON object into a struct. It refuses members that the struct does not have.
//
// The decoder follows the coming encoding/json/v2. The one of today's encoding/json takes the last
// of two members with one name, matches names in any case, and mends invalid UTF-8. So what it
// reads is not always what was checked before.
func readJSON(c *gin.Context, into any) error {
	body, _, err := edge.ReadBody(c, "application/json")
	if err != nil {
		return err
	}
	err = json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok && semantic.JSONPointer != "" {
		return wrongField(semantic)
	}
	if err != nil {
		return edge.ErrMalformed // the error may quote the body
	}
	return nil
}

const notKnown = "is not known"

// wrongField names a field by its path, with slashes between the parts (RFC 6901). It does not
// repeat what does not look like a field's name. A program may have put a password there by
// mistake, and logs the answer.
func wrongField(e *json.SemanticError) error {
	field := strings.TrimPrefix(string(e.JSONPointer), "/")
	switch {
	case !errors.Is(e, json.ErrUnknownName):
		return auth.InputError{{Field: field, Message: "has the wrong type"}}
	case !looksLikeField(field):
		field = ""
	}
	return auth.InputError{{Field: field, Message: notKnown}}
}

// looksLikeField allows no digits, because tokens and initial secrets have some.
func looksLikeField(name string) bool {
	for n := range len(name) {
		switch c := name[n]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(name) <= 32
}

// required returns an [auth.InputError] that names the members without a value, or nil.
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

// bearer returns the access token of a request.
func bearer(r *http.Request) (string, error) {
	raw, err := token.Bearer(r.Header["Authorization"])
	switch {
	case errors.Is(err, token.ErrNone):
		return "", edge.ErrNoToken
	case err != nil:
		return "", fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
	}
	return raw, nil
}
