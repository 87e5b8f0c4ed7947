package config

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// checkOrigins checks the origins of a setting.
func checkOrigins(setting string, origins []string) error {
	for _, origin := range origins {
		if problem := problemOfOrigin(origin); problem != "" {
			return &Error{setting, strconv.Quote(origin) + " " + problem}
		}
	}
	return nil
}

// problemOfOrigin says what is wrong with the origin of a page, or "". A browser writes origins in
// one way (RFC 6454 §6.2). One that is written in another would never match.
func problemOfOrigin(text string) string {
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "*"):
		return "must not have a wildcard: name each origin"
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "must be an origin, such as https://app.example.com"
	case text != u.Scheme+"://"+u.Host:
		return "must be a scheme, a host and a port alone, without a path or a slash at the end"
	case text != strings.ToLower(text) || strings.ContainsFunc(text, isNotASCII):
		return "must be written as browsers do: in small letters, and a name of another script as xn--"
	case strings.HasSuffix(u.Host, ":"), isDefaultPort(u.Scheme, u.Port()):
		return "must be written as browsers do: without the port that the scheme has by default"
	case !isPort(u.Port()) || !isHost(u.Hostname()):
		return "must be written as browsers do: with a port from 1 to 65535, if any, and an address in its short form"
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return "must be https: whoever is on the way could change an http page"
	}
	return ""
}

func isNotASCII(r rune) bool { return r > 0x7e }

func isDefaultPort(scheme, port string) bool {
	return scheme == "https" && port == "443" || scheme == "http" && port == "80"
}

// isPort reports whether a port is none, or written as browsers do.
func isPort(port string) bool {
	number, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && number > 0 && strconv.FormatUint(number, 10) == port
}

// isHost reports whether a host is a name, or an address that is written as browsers do.
func isHost(host string) bool {
	address, err := netip.ParseAddr(host)
	return err != nil || address.String() == host
}

// IsLoopback reports whether a host is this machine. Every name below localhost is (RFC 6761 §6.3).
func IsLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		err == nil && address.IsLoopback()
}
