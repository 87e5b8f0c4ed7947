package auth

import (
	"strings"
	"testing"
)

// A request for openid alone must not lose the user's rights, and one for rights beside it must not
// gain any.
func TestWordsOfOpenIDNarrowNothing(t *testing.T) {
	t.Parallel()
	for requested, want := range map[string]struct{ openid, permissions string }{
		"":                                {"", ""},
		"openid":                          {"openid", ""},
		"openid files:read":               {"openid", "files:read"},
		"files:read openid money:*":       {"openid", "files:read money:*"},
		"email openid email":              {"openid email", ""},
		"groups offline_access phone":     {"phone offline_access groups", ""},
		"address profile OPENID":          {"profile address", "OPENID"},
		"openid:read openidx":             {"", "openid:read openidx"},
		"openid  files:read":              {"openid", " files:read"}, // malformed, as without openid
		"files:read\topenid openid\x00":   {"", "files:read\topenid openid\x00"},
		strings.Join(OpenIDScopes(), " "): {"openid profile email address phone offline_access groups", ""},
	} {
		openid, permissions := SplitScope(requested)
		if strings.Join(openid, " ") != want.openid || permissions != want.permissions {
			t.Errorf("%q: %q and %q", requested, openid, permissions)
		}
	}
}

// A role that could give the permission email would give it to every app that asks for an address.
func TestAWordOfOpenIDIsNoPermission(t *testing.T) {
	t.Parallel()
	for _, word := range OpenIDScopes() {
		if isPermission(word) {
			t.Errorf("%s is one", word)
		}
		if _, err := checkRole("clerk", []Permission{Permission(word)}); err == nil ||
			!strings.Contains(err.Error(), "OpenID Connect") {
			t.Errorf("%s: %v", word, err)
		}
		if _, err := checkClient(Client{ID: "app", Title: "App", Scope: word}); err == nil {
			t.Errorf("%s is the scope of a client", word)
		}
	}
}
