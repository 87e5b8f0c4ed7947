package web

import (
	"net/url"
	"slices"
	"strings"

	"gatehouse.example/internal/web/pages"
)

// authorizePath is where apps send browsers to log in (RFC 6749 §3.1).
const authorizePath = "/authorize"

// maxNext is in bytes. A query of /authorize may have a list of claims in it.
const maxNext = 8 << 10

// returns says where a login may lead to. Everything else is an open redirect: a link to this
// service would take people to a site of somebody else.
type returns struct {
	base    string   // as links have it
	origins []string // such as https://wiki.example.org
}

// localPaths are the pages of this service to which a login may lead.
func localPaths() []string {
	return []string{
		pages.HomePath, pages.AccountPath, pages.AccountEmailPath, pages.DeleteAccountPath,
		pages.SecurityPath, pages.AppPath, pages.AddPasskeyPath, authorizePath,
	}
}

// allows reports whether a login may lead to a target. That is a page of this service, with a
// query, or a URL on a listed origin. Nothing is decoded, cleaned or completed first: whatever is
// not written in the plainest way could mean another thing to a browser.
func (r returns) allows(target string) bool {
	if len(target) > maxNext || strings.ContainsFunc(target, isTricky) {
		return false
	}
	if _, err := url.Parse(target); err != nil {
		return false
	}
	return r.isLocal(target) || r.isListed(target)
}

// isTricky is true of what browsers drop, or take for a slash or an end, and of all that is not
// ASCII.
func isTricky(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`\"<>#`, c) }

func (r returns) isLocal(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	rest, below := strings.CutPrefix(path, r.base)
	return below && slices.Contains(localPaths(), rest)
}

// isListed compares a whole origin, with the slash behind it. Without the slash, example.org.evil
// and example.org@evil would begin like example.org.
func (r returns) isListed(target string) bool {
	return slices.ContainsFunc(r.origins, func(origin string) bool {
		rest, ok := strings.CutPrefix(target, origin)
		return ok && (rest == "" || rest[0] == '/')
	})
}

// query returns the query of a target at a path of this service. It is not ok for other targets.
func (r returns) query(target, path string) (url.Values, bool) {
	at, query, _ := strings.Cut(target, "?")
	if at != r.base+path {
		return nil, false
	}
	values, err := url.ParseQuery(query)
	return values, err == nil
}
