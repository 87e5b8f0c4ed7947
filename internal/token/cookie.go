package token

import (
	"errors"
	"strings"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
)

// ErrInvalidCookie is for a session cookie that was not made here.
var ErrInvalidCookie = errors.New("token: invalid session cookie")

// Prefixes let scanners for leaked secrets find session cookies.
const (
	cookiePrefix  = "ghs_"
	siblingPrefix = "ghv_"
)

// SessionCookie is what the cookie of a browser's session says. A later login in the same session
// has a higher number, and earlier cookies are no good then.
type SessionCookie struct {
	SessionID uuid.UUID
	N         int64
}

// CookieKeys make and verify session cookies. Nothing of a cookie is stored.
//
// A sibling cookie goes to every host of a domain, and so to apps that should not be able to use
// the account. It has keys of its own, so that it cannot pass for the cookie itself.
type CookieKeys struct{ own, sibling keychain.MACs }

// NewCookieKeys takes the keys of a keychain that are for session cookies.
func NewCookieKeys(keys *keychain.Keychain) *CookieKeys {
	return &CookieKeys{keys.MACs(keychain.SessionCookies), keys.MACs(keychain.SiblingCookies)}
}

// Make returns the value of a cookie.
func (k *CookieKeys) Make(c SessionCookie) string {
	return makeNumbered(cookiePrefix, k.own, c.SessionID, c.N, nil)
}

// MakeSibling returns the value of a sibling cookie.
func (k *CookieKeys) MakeSibling(c SessionCookie) string {
	return makeNumbered(siblingPrefix, k.sibling, c.SessionID, c.N, nil)
}

// IsSibling reports whether a cookie has the form of a sibling cookie, made here or not.
func IsSibling(raw string) bool { return strings.HasPrefix(raw, siblingPrefix) }

// Verify reads a cookie. [ErrInvalidCookie].
func (k *CookieKeys) Verify(raw string) (SessionCookie, error) {
	return verifyCookie(cookiePrefix, k.own, raw)
}

// VerifySibling reads a sibling cookie. [ErrInvalidCookie].
func (k *CookieKeys) VerifySibling(raw string) (SessionCookie, error) {
	return verifyCookie(siblingPrefix, k.sibling, raw)
}

func verifyCookie(prefix string, macs keychain.MACs, raw string) (SessionCookie, error) {
	n, ok := parseNumbered(prefix, raw)
	if !ok || !macs.Verify(n.mac, numberedBody(n.id, n.n)) {
		return SessionCookie{}, ErrInvalidCookie
	}
	return SessionCookie{n.id, n.n}, nil
}
