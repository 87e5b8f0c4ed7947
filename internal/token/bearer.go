package token

import (
	"errors"
	"strings"
)

// ErrNone is for a request that has no bearer token.
var ErrNone = errors.New("token: no bearer token")

// Bearer takes the token from a request's Authorization headers (RFC 6750 §2.1). The scheme may be
// written in any case (RFC 9110 §11.1). [ErrNone] if there is no token, [ErrInvalid] if there is
// more than one header.
func Bearer(authorization []string) (string, error) {
	if len(authorization) == 0 {
		return "", ErrNone
	}
	scheme, raw, _ := strings.Cut(authorization[0], " ")
	if raw = strings.TrimLeft(raw, " "); !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return "", ErrNone
	}
	if len(authorization) > 1 {
		return "", refuse(errors.New("two Authorization headers"))
	}
	return raw, nil
}
