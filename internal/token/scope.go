package token

import "strings"

// ScopeHas tells whether a scope (RFC 6749 §3.3) has a permission. A permission is resource:action
// or a single word. The scope has resource:action also if it has resource:*.
func ScopeHas(scope, permission string) bool {
	if permission == "" {
		return false
	}
	resource, _, isAction := strings.Cut(permission, ":")
	for held := range strings.SplitSeq(scope, " ") {
		if held == permission {
			return true
		}
		if of, any := strings.CutSuffix(held, ":*"); any && isAction && of == resource {
			return true
		}
	}
	return false
}

// HasRole tells whether the token's user had a role when it was issued.
func (s Subject) HasRole(role string) bool {
	for held := range strings.SplitSeq(s.Roles, ",") {
		if held == role && held != "" {
			return true
		}
	}
	return false
}

// isRole is true for a name that can stand in a header, in a list with commas between.
func isRole(name string) bool {
	for n := range len(name) {
		switch c := name[n]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return name != ""
}
