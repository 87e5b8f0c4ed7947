package auth

import (
	"slices"
	"strings"

	"gatehouse.example/internal/token"
)

// ClientChange is what changes of what a client is registered with. What is nil stays as it is, and
// a list replaces the whole list. The zero ClientChange changes nothing.
type ClientChange struct {
	Title                  *string
	FirstParty             *bool
	GrantTypes             *[]string
	Scope                  *string
	RedirectURIs           *[]string
	PostLogoutRedirectURIs *[]string
	BackchannelLogoutURI   *string
	WithoutPKCE            *bool
	Ask                    *bool
	RequiredRole           *string
	Audiences              *[]string
	IDTokenAlgorithm       *token.Algorithm
}

// role returns the role that the client will require, if that changes.
func (n ClientChange) role() string {
	if n.RequiredRole == nil {
		return ""
	}
	return *n.RequiredRole
}

// Applied returns a client with the changes. A client that loses its last redirect URI loses the
// grant that needs one.
func (n ClientChange) Applied(c Client) Client {
	replace(&c.Title, n.Title)
	replace(&c.FirstParty, n.FirstParty)
	replace(&c.GrantTypes, n.GrantTypes)
	replace(&c.Scope, n.Scope)
	replace(&c.RedirectURIs, n.RedirectURIs)
	replace(&c.PostLogoutRedirectURIs, n.PostLogoutRedirectURIs)
	replace(&c.BackchannelLogoutURI, n.BackchannelLogoutURI)
	replace(&c.WithoutPKCE, n.WithoutPKCE)
	replace(&c.Ask, n.Ask)
	replace(&c.RequiredRole, n.RequiredRole)
	replace(&c.Audiences, n.Audiences)
	replace(&c.IDTokenAlgorithm, n.IDTokenAlgorithm)
	if n.GrantTypes == nil && n.RedirectURIs != nil && len(*n.RedirectURIs) == 0 {
		c.GrantTypes = slices.DeleteFunc(slices.Clone(c.GrantTypes), func(grant string) bool {
			return grant == GrantAuthorizationCode
		})
	}
	return c
}

// AsksAnew reports whether a client must ask its users anew after a change: what they have allowed
// is not what it may have from now on. Whoever has taken words from its scope need not ask.
func (c Client) AsksAnew(before Client) bool {
	had := strings.Fields(before.Scope)
	widened := before.Scope != "" && (c.Scope == "" ||
		slices.ContainsFunc(strings.Fields(c.Scope), func(w string) bool {
			return !slices.Contains(had, w)
		}))
	return c.Ask && (widened || !before.Ask)
}

func replace[T any](old, by *T) {
	if by != nil {
		*old = *by
	}
}

// to returns the client that a change makes of one. Errors: [InputError], [ErrBeyondRights].
func (n ClientChange) to(by Actor, before Client) (Client, error) {
	after, err := checkClient(n.Applied(before))
	if err != nil {
		return Client{}, err
	}
	return after, managesClient(by, after)
}
