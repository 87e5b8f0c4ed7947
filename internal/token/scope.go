package token

import "strings"

// ScopeHas tells whether a scope (RFC 6749 §3.3) holds a permission, resource:action: by its name, or by resource:*.
func ScopeHas(scope, permission string) bool {
	resource, _, ok := strings.Cut(permission, ":")
	if !ok {
		return false
	}
	for held := range strings.SplitSeq(scope, " ") {
		if held == permission {
			return true
		}
		if of, any := strings.CutSuffix(held, ":*"); any && of == resource {
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

// isRole holds names of roles to what a list of them with commas, in a header, can show as it is.
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
