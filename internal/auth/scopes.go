package auth

import (
	"slices"
	"strings"
)

// Words of OpenID Connect in a requested scope (OpenID Connect Core §5.4 and §11).
const (
	ScopeOpenID        = "openid"
	ScopeProfile       = "profile"
	ScopeEmail         = "email"
	ScopeAddress       = "address"
	ScopePhone         = "phone"
	ScopeOfflineAccess = "offline_access"
	ScopeGroups        = "groups" // the user's roles; not of the standard, but known to many clients
)

// OpenIDScopes returns the words of a scope that say what a client learns of the user. They are no
// permissions, and no role or client may be given one. The constraints
// role_permissions_not_reserved and clients_scope_not_reserved hold the same words.
func OpenIDScopes() []string {
	return []string{
		ScopeOpenID, ScopeProfile, ScopeEmail, ScopeAddress, ScopePhone, ScopeOfflineAccess,
		ScopeGroups,
	}
}

// SplitScope divides a requested scope into its words of OpenID Connect, each once and in the order
// of [OpenIDScopes], and the rest, which asks for permissions. So a request for openid alone asks
// for no permission, and narrows none.
func SplitScope(requested string) (openid []string, permissions string) {
	words := strings.Split(requested, " ")
	for _, word := range OpenIDScopes() {
		if slices.Contains(words, word) {
			openid = append(openid, word)
		}
	}
	rest := slices.DeleteFunc(words, func(word string) bool {
		return slices.Contains(openid, word)
	})
	return openid, strings.Join(rest, " ")
}
