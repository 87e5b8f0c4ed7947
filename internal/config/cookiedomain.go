package config

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// problemOfCookieDomain says what is wrong with the domain of a cookie, or "". The hosts of a
// public suffix, such as co.uk, belong to different people. A browser takes no cookie for one, nor
// for a domain that the host of the issuer is not in (RFC 6265 §5.3).
func problemOfCookieDomain(domain, issuer string) string {
	if domain == "" {
		return ""
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return "needs an ISSUER"
	}
	suffix, _ := publicsuffix.PublicSuffix(domain)
	host := strings.ToLower(u.Hostname())
	_, notAddress := netip.ParseAddr(host)
	switch {
	case notAddress == nil:
		return "needs an ISSUER with a name: a cookie for an address is for no other host"
	case !isDomain(domain):
		return "must be a domain in small letters, such as example.org, without a dot at its ends, and a name of another script as xn--"
	case domain == suffix:
		return "must not be a public suffix: its hosts belong to different people"
	case host != domain && !strings.HasSuffix(host, "."+domain):
		return "must be the host of ISSUER, or a domain that the host is in"
	}
	return ""
}

// isDomain reports whether a text is a name as browsers write it (RFC 1123 §2.1).
func isDomain(text string) bool {
	if len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, isNotOfLabel) {
			return false
		}
	}
	return true
}

func isNotOfLabel(c rune) bool {
	return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-')
}
