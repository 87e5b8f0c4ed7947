package wire

import (
	"time"

	"gatehouse.example/internal/auth"
)

// Client is an OAuth client. The names are those of RFC 7591 and of OpenID Connect's registration,
// where they have one.
type Client struct {
	ClientID               string   `json:"client_id"`
	Name                   string   `json:"name"`
	Confidential           bool     `json:"confidential"`
	FirstParty             bool     `json:"first_party"`
	GrantTypes             []string `json:"grant_types"`
	Scope                  *string  `json:"scope"` // null: all that its users may, but for gatehouse:*
	RedirectURIs           []string `json:"redirect_uris"`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris"`
	BackchannelLogoutURI   *string  `json:"backchannel_logout_uri"`
	WithoutPKCE            bool     `json:"without_pkce"`
	Ask                    bool     `json:"ask"`
	RequiredRole           *string  `json:"required_role"`
	Audiences              []string `json:"audiences"`
	IDTokenAlgorithm       string   `json:"id_token_signed_response_alg"`

	Roles      []string   `json:"roles"` // of its own
	CreatedAt  time.Time  `json:"created_at"`
	DisabledAt *time.Time `json:"disabled_at"`
	Secrets    int        `json:"secrets"` // that are good
}

// ClientOf is the form of a client.
func ClientOf(c auth.Client) Client {
	return Client{
		ClientID: c.ID, Name: c.Title, Confidential: c.Confidential, FirstParty: c.FirstParty,
		GrantTypes: all(c.GrantTypes), Scope: orNull(c.Scope), RedirectURIs: all(c.RedirectURIs),
		PostLogoutRedirectURIs: all(c.PostLogoutRedirectURIs),
		BackchannelLogoutURI:   orNull(c.BackchannelLogoutURI), WithoutPKCE: c.WithoutPKCE,
		Ask: c.Ask, RequiredRole: orNull(c.RequiredRole), Audiences: all(c.Audiences),
		IDTokenAlgorithm: string(c.IDTokenAlgorithm), Roles: all(c.Roles),
		CreatedAt: c.CreatedAt.UTC(), DisabledAt: utc(c.DisabledAt), Secrets: secretsOf(c),
	}
}

func secretsOf(c auth.Client) (good int) {
	if c.Confidential {
		good++
	}
	if c.OldSecret {
		good++
	}
	return good
}

// all returns a list that is written as [] where it is empty.
func all(list []string) []string { return append([]string{}, list...) }
