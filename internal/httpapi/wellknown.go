package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/gin-gonic/gin"

	"gatehouse/internal/auth"
)

// wellKnown is what other services find out about this one by themselves. None of it depends on the request: whoever sends
// a Host of his own must not have it written into a document that caches keep for others.
type wellKnown struct {
	jwks     handler
	metadata handler
}

func newWellKnown(service *auth.Service, issuer string) (*wellKnown, error) {
	document, err := metadata(issuer)
	if err != nil {
		return nil, err
	}
	maxAge := fmt.Sprintf("public, max-age=%d", int(auth.JWKSMaxAge.Seconds()))
	cached := func(c *gin.Context, body []byte) error {
		noteOf(c).routine = true // from each cache, for ever
		serveContent(c, "application/json; charset=utf-8", maxAge, etagOfContent(body), body)
		return nil
	}
	return &wellKnown{
		jwks: func(c *gin.Context) error {
			set, err := service.JWKS()
			if err != nil {
				return err
			}
			return cached(c, set)
		},
		metadata: func(c *gin.Context) error {
			return cached(c, document)
		},
	}, nil
}

// metadata is RFC 8414 §2 of what this service does. There is no authorization endpoint, and so no response type.
func metadata(issuer string) ([]byte, error) {
	base, err := url.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	at := func(path string) string { return base.JoinPath(path).String() }
	byAnybody, bySecret := []string{"none", "client_secret_basic", "client_secret_post"}, []string{"client_secret_basic", "client_secret_post"}
	return json.Marshal(serverMetadata{
		Issuer: issuer, TokenEndpoint: at("token"), JWKSURI: at(".well-known/jwks.json"), ServiceDocumentation: at("docs"),
		ResponseTypesSupported: []string{}, GrantTypesSupported: []string{auth.GrantPassword, auth.GrantRefreshToken, auth.GrantClientCredentials},
		TokenEndpointAuthMethodsSupported: byAnybody,
		RevocationEndpoint:                at("revoke"), RevocationEndpointAuthMethodsSupported: byAnybody,
		IntrospectionEndpoint: at("introspect"), IntrospectionEndpointAuthMethodsSupported: bySecret,
	})
}

// serverMetadata has the names of RFC 8414 §2.
type serverMetadata struct {
	Issuer                                    string   `json:"issuer"`
	TokenEndpoint                             string   `json:"token_endpoint"`
	TokenEndpointAuthMethodsSupported         []string `json:"token_endpoint_auth_methods_supported"`
	RevocationEndpoint                        string   `json:"revocation_endpoint"`
	RevocationEndpointAuthMethodsSupported    []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionEndpoint                     string   `json:"introspection_endpoint"`
	IntrospectionEndpointAuthMethodsSupported []string `json:"introspection_endpoint_auth_methods_supported"`
	JWKSURI                                   string   `json:"jwks_uri"`
	ServiceDocumentation                      string   `json:"service_documentation"`
	ResponseTypesSupported                    []string `json:"response_types_supported"`
	GrantTypesSupported                       []string `json:"grant_types_supported"`
}
