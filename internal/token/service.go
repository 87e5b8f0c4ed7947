package token

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// serviceMediaType is the typ of a service's token. It passes for no user's token, and no
	// user's token passes for it.
	serviceMediaType = "service+jwt"

	serviceLifetime    = time.Minute
	maxServiceLifetime = 5 * time.Minute // bounds what a token that was read on its way is good for
	maxServiceName     = 64              // bytes
)

// ServiceKeys makes and verifies the tokens with which other services call Gatehouse. iss is the
// service's name, aud is Gatehouse's issuer, and exp is at most five minutes after iat. The secrets
// of HS256 sign them. That gives nobody new power: whoever has such a secret can also make any
// user's access token.
//
// Many goroutines may use it.
type ServiceKeys struct {
	ring     *Ring
	audience string
}

// NewServiceKeys takes the secrets of [SecretKey], and the issuer, which is the audience of these
// tokens.
func NewServiceKeys(keys [][]byte, audience string) (*ServiceKeys, error) {
	ring, err := SecretRing(keys)
	if err != nil {
		return nil, err
	}
	if audience == "" {
		return nil, errors.New("token: issuer must be set")
	}
	return &ServiceKeys{ring, audience}, nil
}

// Issue makes a token for one request of a service.
func (k *ServiceKeys) Issue(now time.Time, service string) (string, error) {
	if !isServiceName(service) {
		return "", fmt.Errorf("token: a service's name has 1 to %d printable ASCII characters and no space", maxServiceName)
	}
	return sign(k.ring.signing, serviceMediaType, commonClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: service, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(serviceLifetime)),
		},
		Audience: audience{k.audience},
	})
}

// Verify returns the name of the service that made a token. Its error wraps [ErrInvalid].
func (k *ServiceKeys) Verify(now time.Time, raw string) (service string, err error) {
	var c commonClaims
	err = parse(now, raw, &c, k.ring, serviceMediaType, jwt.WithAudience(k.audience), jwt.WithIssuedAt())
	switch {
	case err != nil:
		return "", err
	case !isServiceName(c.Issuer):
		return "", refuse(errors.New("iss is no name of a service"))
	case c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > maxServiceLifetime:
		return "", refuse(fmt.Errorf("exp is not within %v of iat", maxServiceLifetime))
	}
	return c.Issuer, nil
}

// isServiceName is true for a name that a log line can show as it is.
func isServiceName(name string) bool {
	for n := range len(name) {
		if name[n] <= ' ' || name[n] > '~' {
			return false
		}
	}
	return 1 <= len(name) && len(name) <= maxServiceName
}
