package auth

import (
	"slices"
	"strings"

	"gatehouse.example/internal/token"
)

// mostResources is in bytes, for all resources of a session with spaces between. The schema holds
// the same bound.
const mostResources = 1024

// Narrowing is what a request for tokens asks for of all that a login gave. The zero Narrowing asks
// for all of it.
type Narrowing struct {
	Scope     string   // RFC 6749 §6
	Resources []string // RFC 8707 §2.2
}

// parseResources reads the resources that an app wants tokens for. Errors: [ErrInvalidTarget].
func (r *AuthorizationRequest) parseResources(asked []string) error {
	for _, resource := range asked {
		if !r.Client.HasAudience(resource) {
			return ErrInvalidTarget
		}
	}
	slices.Sort(asked)
	r.Resources = strings.Join(slices.Compact(asked), " ")
	if len(r.Resources) > mostResources {
		return ErrInvalidTarget
	}
	return nil
}

// resourcesFor decides what an access token is for: the asked part of what the login asked for, if
// the client may still have it. A login that asked for nothing was for our own audience. It returns
// "" for our audience alone. Errors: [ErrInvalidTarget].
func resourcesFor(client Client, login string, asked []string, own string) (string, error) {
	granted := []string{own}
	if login != "" {
		granted = slices.DeleteFunc(strings.Fields(login), func(resource string) bool {
			return !client.HasAudience(resource)
		})
	}
	if len(asked) == 0 {
		asked = granted
	}
	if len(asked) == 0 {
		return "", ErrInvalidTarget
	}
	for _, resource := range asked {
		if !slices.Contains(granted, resource) {
			return "", ErrInvalidTarget
		}
	}
	return asResources(asked, own), nil
}

// ownResourcesFor decides what a client's own access token is for: the resources that it asks for,
// if it may have them. Errors: [ErrInvalidTarget].
func ownResourcesFor(client Client, asked []string, own string) (string, error) {
	for _, resource := range asked {
		if resource != own && !client.HasAudience(resource) {
			return "", ErrInvalidTarget
		}
	}
	return asResources(asked, own), nil
}

// asResources writes resources as tokens have them. Our audience alone is the default.
func asResources(resources []string, own string) string {
	resources = slices.Compact(slices.Sorted(slices.Values(resources)))
	if slices.Equal(resources, []string{own}) {
		return ""
	}
	return strings.Join(resources, " ")
}

// withUserInfo adds the UserInfo endpoint to the resources of an app that logs in by OpenID
// Connect. A token for our own audience, which is the default, is good there already.
func (s *Signer) withUserInfo(resources, openid string) string {
	if resources == "" || !slices.Contains(strings.Fields(openid), ScopeOpenID) {
		return resources
	}
	return resources + " " + s.tokens.UserInfo()
}

// fits reports whether the rights and the resources of a token fit into it together. Rights alone
// fit, since the schema bounds them.
func fits(s token.Subject) bool {
	return s.Resources == "" ||
		len(strings.ReplaceAll(s.Roles, ",", `","`))+len(s.Scope)+len(s.Resources) <= maxRights
}
