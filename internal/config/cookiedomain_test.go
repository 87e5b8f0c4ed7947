package config

import (
	"strings"
	"testing"
)

// A cookie for too wide a domain gives a session to strangers. A browser drops one for a domain
// that it does not like, and nobody would know why no login lasts.
func TestACookieDomainThatABrowserWouldNotTakeIsRefused(t *testing.T) {
	t.Parallel()
	const issuer = "https://id.example.org:8443/auth"
	for _, domain := range []string{"example.org", "id.example.org"} {
		if problem := problemOfCookieDomain(domain, issuer); problem != "" {
			t.Errorf("%s %s", domain, problem)
		}
	}
	for domain, of := range map[string]string{
		"org": issuer, "co.uk": "https://id.example.co.uk", "github.io": "https://alice.github.io",
		"localhost": "http://id.localhost:8000", "ck": "https://id.ck", "test": "https://id.test",
		"wiki.example.org": issuer, "ample.org": issuer, "d.example.org": issuer,
		"example.com": issuer, "www.id.example.org": issuer, "example.org.evil": issuer,
		".example.org": issuer, "example.org.": issuer, "example..org": issuer, ".": issuer,
		"Example.org": issuer, "*.example.org": issuer, "https://example.org": issuer,
		"example.org:8443": issuer, "example.org/": issuer, "example.org; Secure": issuer,
		"exämple.org": "https://id.exämple.org", "-example.org": "https://id.-example.org",
		"192.0.2.1": "https://192.0.2.1", "0.2.1": "https://192.0.2.1", "[::1]": "http://[::1]:8000",
		"::1": "http://[::1]:8000", " example.org": issuer,
		strings.Repeat("a", 64) + ".org": "https://" + strings.Repeat("a", 64) + ".org",
	} {
		if problemOfCookieDomain(domain, of) == "" {
			t.Errorf("%s is taken for %s", domain, of)
		}
	}
	for domain, of := range map[string]string{
		"bakery.localhost": "http://id.bakery.localhost:8000", "xn--exmple-cua.org": "https://id.xn--exmple-cua.org",
		"example.co.uk": "https://ID.Example.co.uk",
	} {
		if problem := problemOfCookieDomain(domain, of); problem != "" {
			t.Errorf("%s for %s %s", domain, of, problem)
		}
	}
}
