package httpapi

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

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
	neededFactor
}

// tokenError is an error of a token endpoint (RFC 6749 §5.2). Clients of FastAPI look at detail.
type tokenError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Detail      string `json:"detail"`
	Challenge   string `json:"challenge,omitzero"`
	neededFactor
	PasskeyOptions jsontext.Value `json:"passkey_options,omitempty"`
}

// neededFactor leads on to the second step of a login.
type neededFactor struct {
	AuthSession string   `json:"auth_session,omitempty"`
	Factors     []string `json:"factors,omitempty"`
}

func neededIn(err error) neededFactor {
	needed, ok := errors.AsType[*auth.FactorNeededError](err)
	if !ok || needed.Enrol {
		return neededFactor{}
	}
	n := neededFactor{AuthSession: needed.Pending}
	if needed.Factors.TOTP || needed.Factors.RecoveryCodes > 0 {
		n.Factors = append(n.Factors, "otp")
	}
	if needed.Factors.Passkeys > 0 {
		n.Factors = append(n.Factors, "passkey")
	}
	return n
}

// unverified is a login that is refused until an address is verified, and the challenge for that.
type unverified struct {
	error
	challenge uuid.UUID
}

// Unwrap returns the refusal.
func (u unverified) Unwrap() error { return u.error }

func asProblem(c *gin.Context, a edge.Answer, err error) {
	fields, _ := errors.AsType[auth.InputError](err)
	if a.Status != http.StatusUnprocessableEntity {
		fields = nil
	}
	writeJSON(c, a.Status, "application/problem+json",
		problem{"about:blank", title(a.Status), a.Status, a.Detail, fields, neededIn(err)})
}

func asTokenError(c *gin.Context, a edge.Answer, err error) {
	body := tokenError{
		Error: a.OAuth, Description: a.Detail, Detail: a.Detail, neededFactor: neededIn(err),
	}
	if refused, ok := errors.AsType[unverified](err); ok {
		body.Challenge = refused.challenge.String()
	}
	if needed, ok := errors.AsType[*passkeyNeeded](err); ok {
		body.PasskeyOptions = needed.options
	}
	writeJSON(c, a.Status, "application/json", body)
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
