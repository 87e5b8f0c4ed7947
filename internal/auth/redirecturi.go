package auth

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The URIs that a client is registered with. They are strict, so that each has one notation and one
// meaning. That makes it safe to compare them as strings (RFC 9700 §2.1).

// Bounds of the URIs of a client. The function is_uri_list holds the same bounds in the database.
const (
	maxClientURIs = 20
	maxURIBytes   = 512
)

// redirectURIHelp says what checkRedirectURI wants.
const redirectURIHelp = "must be an absolute URI of at most 512 bytes: https, http for 127.0.0.1, " +
	"[::1] or localhost, or a private-use scheme such as com.example.app:/callback; " +
	"without fragment, userinfo, * and dot segments, scheme and host in small letters"

// isRedirectURI reports whether a client may be registered with a URI to which the authorization
// endpoint redirects a browser (RFC 6749 §3.1.2, RFC 8252 §7).
func isRedirectURI(raw string) bool {
	u, ok := parseURI(raw)
	if !ok || !hasPlainPath(u) {
		return false
	}
	if privateUseScheme.MatchString(u.Scheme) {
		return u.User == nil && strings.HasPrefix(raw[len(u.Scheme)+1:], "/") &&
			(u.Host == "" || isPlainHost(u))
	}
	return isWebURI(u)
}

const backchannelHelp = "must be an absolute URI of at most 512 bytes: https, or http for " +
	"127.0.0.1, [::1] or localhost; without fragment, userinfo, * and dot segments"

// isBackchannelURI reports whether a client may be told at a URI that a session has ended (OpenID
// Connect Back-Channel Logout §2.2).
func isBackchannelURI(raw string) bool {
	u, ok := parseURI(raw)
	return ok && hasPlainPath(u) && isWebURI(u)
}

const audienceHelp = "must be an absolute URI of at most 512 bytes, without fragment and userinfo"

// isAudience reports whether a URI can name a resource that tokens are for (RFC 8707 §2).
func isAudience(raw string) bool {
	u, ok := parseURI(raw)
	return ok && u.User == nil && (u.Host != "" || u.Opaque != "" || u.Path != "")
}

// MatchRedirectURI reports whether a request may name a URI to redirect to. It must be a registered
// one, letter by letter. For a registered URI of http, which is one of this machine, the port may
// be another one: a native app gets a free port from its system (RFC 8252 §7.3).
func (c Client) MatchRedirectURI(presented string) bool {
	if slices.Contains(c.RedirectURIs, presented) {
		return true
	}
	rest, ok := withoutLoopbackPort(presented)
	return ok && slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		known, ok := withoutLoopbackPort(registered)
		return ok && known == rest
	})
}

// MatchPostLogoutRedirectURI reports whether the end of a session may lead to a URI. It must be a
// registered one, letter by letter (OpenID Connect RP-Initiated Logout §3).
func (c Client) MatchPostLogoutRedirectURI(presented string) bool {
	return slices.Contains(c.PostLogoutRedirectURIs, presented)
}

// HasAudience reports whether the client's tokens may be for a resource (RFC 8707 §2).
func (c Client) HasAudience(resource string) bool { return slices.Contains(c.Audiences, resource) }

// loopbackHosts are this machine, as a URI writes it. No other notation of its addresses counts.
func loopbackHosts() []string { return []string{"127.0.0.1", "[::1]", "localhost"} }

// withoutLoopbackPort takes the port out of a URI of http whose host is this machine. It reports
// false for URIs that do not begin so. What is left of one that only looks like this machine, as
// http://localhost.example.com does, is left of no registered URI.
func withoutLoopbackPort(raw string) (rest string, ok bool) {
	for _, host := range loopbackHosts() {
		before := "http://" + host
		after, isHere := strings.CutPrefix(raw, before)
		if !isHere {
			continue
		}
		if port, hasPort := strings.CutPrefix(after, ":"); hasPort {
			end := strings.IndexAny(port, "/?")
			if end < 0 {
				end = len(port)
			}
			if !isPort(port[:end]) {
				return "", false
			}
			after = port[end:]
		}
		return before + after, true
	}
	return "", false
}

// isPort reports whether text is a port in its only notation.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == text
}

var (
	// uriText is what RFC 3986 §2 allows, but for #. That begins a fragment, and the browser of a
	// user keeps fragments from one page to the next.
	uriText = regexp.MustCompile(`^([A-Za-z0-9._~:/?@!$&'()+,;=\[\]-]|%[0-9A-Fa-f]{2})+$`)
	// privateUseScheme is the reverse of a domain (RFC 8252 §7.1). The dot keeps out javascript,
	// data and all other schemes that mean something to a browser.
	privateUseScheme = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$`)
	hostName         = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z]([a-z0-9-]*[a-z0-9])?$`)
	// Some programs decode a path too early, or twice. So a path has no percent-encoded ASCII, and a
	// query has no percent-encoded control character.
	encodedASCII   = regexp.MustCompile(`%[0-7]`)
	encodedControl = regexp.MustCompile(`%([01]|7[Ff])`)
)

// parseURI parses an absolute URI in the signs of RFC 3986, whose scheme is in small letters.
func parseURI(raw string) (*url.URL, bool) {
	if len(raw) > maxURIBytes || !uriText.MatchString(raw) || encodedControl.MatchString(raw) {
		return nil, false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || !strings.HasPrefix(raw, u.Scheme+":") {
		return nil, false
	}
	return u, true
}

// isWebURI reports whether a URI is one of https, or one of http on this machine.
func isWebURI(u *url.URL) bool {
	if u.User != nil || !isPlainHost(u) {
		return false
	}
	host := strings.TrimSuffix(u.Host, ":"+u.Port())
	return u.Scheme == "https" || u.Scheme == "http" && slices.Contains(loopbackHosts(), host)
}

// isPlainHost reports whether the host of a URI is a name in small letters or an address, and its
// port has one notation.
func isPlainHost(u *url.URL) bool {
	if strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()) {
		return false
	}
	name := u.Hostname()
	if address, err := netip.ParseAddr(name); err == nil {
		return address.Zone() == "" && address.String() == name
	}
	return len(name) <= 253 && hostName.MatchString(name)
}

// hasPlainPath reports whether the path has one meaning: no encoded ASCII, no empty segment, and
// none that is . or .., also before a ; as some servers read it.
func hasPlainPath(u *url.URL) bool {
	path := u.EscapedPath()
	if encodedASCII.MatchString(path) {
		return false
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for n, segment := range segments {
		name, _, _ := strings.Cut(segment, ";")
		isLast := n == len(segments)-1
		if name == "." || name == ".." || name == "" && (!isLast || segment != "") {
			return false
		}
	}
	return true
}
