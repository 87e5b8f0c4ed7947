package httpapi

import (
	"slices"
	"strings"

	"gatehouse.example/internal/edge"
)

// sharingOf returns the pages that may read what a path answers: those of apps in a browser that
// log users in here and manage their accounts. Whatever is not named here is shared with none.
func sharingOf(path string) edge.Sharing {
	switch {
	case strings.HasPrefix(path, "/.well-known/"):
		return edge.AnyOrigin
	case slices.Contains([]string{
		"/token", "/authorize-challenge", "/token/password", "/password/forgot", "/password/reset", "/revoke", "/logout",
		"/userinfo", "/users", "/email/verify", "/email/resend", "/email/undo",
		"/invitations/accept",
	}, path), strings.HasPrefix(path, "/users/"):
		return edge.ListedOrigins
	}
	return edge.OwnOrigin
}
