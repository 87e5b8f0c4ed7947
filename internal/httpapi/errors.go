package httpapi

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
)

// problem is an error of every resource except the token endpoints (RFC 9457).
type problem struct {
	Type   string            `json:"type"`
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail"`
	Errors []auth.FieldError `json:"errors,omitempty"`
}

// tokenError is an error of a token endpoint (RFC 6749 §5.2). Clients of FastAPI look at detail.
type tokenError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Detail      string `json:"detail"`
}

func asProblem(c *gin.Context, a edge.Answer, err error) {
	fields, _ := errors.AsType[auth.InputError](err)
	if a.Status != http.StatusUnprocessableEntity {
		fields = nil
	}
	writeJSON(c, a.Status, "application/problem+json",
		problem{"about:blank", title(a.Status), a.Status, a.Detail, fields})
}

func asTokenError(c *gin.Context, a edge.Answer, _ error) {
	writeJSON(c, a.Status, "application/json", tokenError{a.OAuth, a.Detail, a.Detail})
}

func title(status int) string {
	if status == edge.StatusClientClosedRequest {
		return "Client Closed Request"
	}
	return http.StatusText(status)
}

func writeJSON(c *gin.Context, status int, mediaType string, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err) // all bodies are ours, and have only fields that can be encoded
	}
	// a newline for people at a terminal
	c.Data(status, mediaType+"; charset=utf-8", append(encoded, '\n'))
}
