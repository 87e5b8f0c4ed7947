package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/gin-gonic/gin"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/edge"
	"gatehouse.example/internal/token"
)

// wellKnown serves what other services need to know of this one. Nothing in it depends on the
// request. Otherwise a request with a forged Host could put that name into a document that caches
// keep for others.
type wellKnown struct {
	jwks     edge.Handler
	metadata edge.Handler
}

func newWellKnown(signer *auth.Signer, issuer string, grants []string) (*wellKnown, error) {
	document, err := metadata(issuer, grants)
	if err != nil {
		return nil, err
	}
	maxAge := fmt.Sprintf("public, max-age=%d", int(auth.JWKSMaxAge.Seconds()))
	cached := func(c *gin.Context, body []byte) error {
		edge.NoteOf(c).Routine = true // each cache asks for it, for ever
		edge.ServeContent(c, "application/json; charset=utf-8", maxAge, edge.ETag(body), body)
		return nil
	}
	return &wellKnown{
		jwks: func(c *gin.Context) error {
			set, err := signer.JWKS()
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

// metadata returns the document of RFC 8414 §2, which is also that of OpenID Connect Discovery §3.
func metadata(issuer string, grants []string) ([]byte, error) {
	base, err := url.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	at := func(path string) string { return base.JoinPath(path).String() }
	byAnybody, bySecret := []string{"none", "client_secret_basic", "client_secret_post"},
		[]string{"client_secret_basic", "client_secret_post"}
	return json.Marshal(serverMetadata{
		Issuer: issuer, TokenEndpoint: at("token"), JWKSURI: at(".well-known/jwks.json"),
		ServiceDocumentation:  at("docs"),
		AuthorizationEndpoint: at("authorize"), UserinfoEndpoint: at("userinfo"),
		EndSessionEndpoint:                        at("end-session"),
		AuthorizationChallengeEndpoint:            at("authorize-challenge"),
		ResponseTypesSupported:                    []string{"code"},
		ResponseModesSupported:                    []string{"query"},
		CodeChallengeMethodsSupported:             []string{"S256"},
		ScopesSupported:                           auth.OpenIDScopes(),
		SubjectTypesSupported:                     []string{"public"},
		IDTokenSigningAlgValuesSupported:          auth.IDTokenAlgorithms(),
		ClaimsSupported:                           auth.ClaimsSupported(),
		ClaimsParameterSupported:                  true,
		PromptValuesSupported:                     auth.Prompts(),
		DisplayValuesSupported:                    []string{"page", "popup", "touch", "wap"},
		ACRValuesSupported:                        auth.ACRValues(),
		UILocalesSupported:                        []string{"en", "de"},
		AuthorizationResponseIssSupported:         true,
		BackchannelLogoutSupported:                true,
		BackchannelLogoutSessionSupported:         true,
		GrantTypesSupported:                       grants,
		TokenEndpointAuthMethodsSupported:         byAnybody,
		RevocationEndpoint:                        at("revoke"),
		RevocationEndpointAuthMethodsSupported:    byAnybody,
		IntrospectionEndpoint:                     at("introspect"),
		IntrospectionEndpointAuthMethodsSupported: bySecret,
	})
}

// serverMetadata has the names of RFC 8414 §2.
type serverMetadata struct {
	Issuer                                    string   `json:"issuer"`
	AuthorizationEndpoint                     string   `json:"authorization_endpoint"`
	AuthorizationChallengeEndpoint            string   `json:"authorization_challenge_endpoint"` // draft-ietf-oauth-first-party-apps §4.1
	TokenEndpoint                             string   `json:"token_endpoint"`
	TokenEndpointAuthMethodsSupported         []string `json:"token_endpoint_auth_methods_supported"`
	RevocationEndpoint                        string   `json:"revocation_endpoint"`
	RevocationEndpointAuthMethodsSupported    []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionEndpoint                     string   `json:"introspection_endpoint"`
	IntrospectionEndpointAuthMethodsSupported []string `json:"introspection_endpoint_auth_methods_supported"`
	JWKSURI                                   string   `json:"jwks_uri"`
	ServiceDocumentation                      string   `json:"service_documentation"`
	UserinfoEndpoint                          string   `json:"userinfo_endpoint"`
	EndSessionEndpoint                        string   `json:"end_session_endpoint"`
	ResponseTypesSupported                    []string `json:"response_types_supported"`
	ResponseModesSupported                    []string `json:"response_modes_supported"`
	GrantTypesSupported                       []string `json:"grant_types_supported"`
	CodeChallengeMethodsSupported             []string `json:"code_challenge_methods_supported"`
	AuthorizationResponseIssSupported         bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3

	ScopesSupported                  []string          `json:"scopes_supported"`
	SubjectTypesSupported            []string          `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported []token.Algorithm `json:"id_token_signing_alg_values_supported"`
	ClaimsSupported                  []string          `json:"claims_supported"`
	ClaimsParameterSupported         bool              `json:"claims_parameter_supported"`
	RequestParameterSupported        bool              `json:"request_parameter_supported"`
	RequestURIParameterSupported     bool              `json:"request_uri_parameter_supported"`
	PromptValuesSupported            []string          `json:"prompt_values_supported"`
	DisplayValuesSupported           []string          `json:"display_values_supported"`
	ACRValuesSupported               []string          `json:"acr_values_supported"`
	UILocalesSupported               []string          `json:"ui_locales_supported"`

	BackchannelLogoutSupported        bool `json:"backchannel_logout_supported"`
	BackchannelLogoutSessionSupported bool `json:"backchannel_logout_session_supported"`
}
