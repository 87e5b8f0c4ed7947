package web

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func someReturns(base string) returns {
	return returns{base, []string{"https://wiki.example.org", "http://localhost:3000",
		"https://shop.example.org:8443"}}
}

// lured are targets by which somebody could be led from a login to a site of somebody else.
func lured() []string {
	return []string{
		"//evil.example", "///evil.example", "////evil.example/", `/\evil.example`,
		`\\evil.example`, `\/evil.example`, `/\/evil.example`, `/\\evil.example`,
		"/%2f/evil.example", "/%2fevil.example", "/%5cevil.example", "%2f%2fevil.example",
		"/.//evil.example", "/..//evil.example", "/./evil.example", "/../evil.example",
		"/authorize/../..//evil.example", "/authorize/..//evil.example", "/account/../",
		"/authorize//evil.example", "//authorize@evil.example", "/authorize/@evil.example",
		"/authorize%2f..%2f..%2fevil.example", "/account;@evil.example", "/account:80@evil.example",
		"https:evil.example", "https:/evil.example", "https:///evil.example", "https://",
		"https://evil.example", "http://evil.example", "HTTPS://wiki.example.org/",
		"https://WIKI.example.org/", "http://wiki.example.org/", "https://wiki.example.org:443/",
		"https://wiki.example.org:8443/", "https://shop.example.org/", "http://localhost/",
		"http://localhost:3001/", "http://localhost:30000/", "https://localhost:3000/",
		"http://127.0.0.1:3000/", "https://wiki.example.org.evil.example/",
		"https://wiki.example.orgevil.example/", "https://wiki.example.org@evil.example/",
		"https://wiki.example.org:x@evil.example/", "https://evil.example@wiki.example.org/",
		"https://wiki.example.org%40evil.example/", "https://wiki.example.org%2f@evil.example/",
		"https://wiki.example.org%00.evil.example/", `https://wiki.example.org\@evil.example/`,
		`https://wiki.example.org\.evil.example/`, "https://wiki.example.org?@evil.example/",
		"https://wiki.example.org#@evil.example/", "https://wiki.example.org/#@evil.example",
		"https://wiki.example.org;evil.example/", "https://wiki.example.org,evil.example/",
		"https://evil.example/https://wiki.example.org/", "https://evil.example?https://wiki.example.org/",
		"https://evil.example#https://wiki.example.org/", "https://wiki.example.org./",
		"https://wiki。example。org/", "https://wıki.example.org/", "https://wiki.example.org／@evil.example/",
		"https://xn--wki-1la.example.org/", "https://[::1]/", "https://0x7f000001/", "https://2130706433/",
		"javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)",
		"javascript://wiki.example.org/%0aalert(1)", "data:text/html,<script>alert(1)</script>",
		"vbscript:x", "blob:https://wiki.example.org/x", "file:///etc/passwd", "mailto:a@evil.example",
		"com.example.app:/", "about:blank", "view-source:https://wiki.example.org/",
		" /account", "/account ", "\t/account", "/\t/evil.example", "/account\t", "\n//evil.example",
		"/\n/evil.example", "/account\r\nSet-Cookie: x=y", "/account%0d%0aSet-Cookie:x", "/account\x00",
		"/account\u2028", "/authorize?\u0000", "/authorize?x=<script>", `/authorize?x="`, `/authorize?x=\`,
		"/authorize#x", "/account#x", "account", "authorize?x", "?x", "#x", ".", "..", "", "?",
		"/Account", "/ACCOUNT", "/account/", "/account/password", "/login", "/login?next=/login",
		"/register", "/end-session", "/token", "/logout", "/docs", "/account%3fx", "/%61ccount",
		"/authorize%", "https://wiki.example.org/%", "https://wiki.example.org/%zz",
		"/authorize?" + strings.Repeat("x", maxNext),
	}
}

func TestNoTrickLeadsFromALoginToAnotherSite(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "/auth"} {
		for _, target := range lured() {
			if someReturns(base).allows(target) {
				t.Errorf("below %q: %q is allowed", base, target)
			}
			if strings.HasPrefix(target, "/") && base != "" && someReturns(base).allows(base+target) {
				t.Errorf("below %q: %q is allowed", base, base+target)
			}
		}
	}
	if n := len(lured()); n < 60 {
		t.Errorf("%d tricks", n)
	}
}

func TestALoginLeadsBackToWhereSomebodyCameFrom(t *testing.T) {
	t.Parallel()
	for base, targets := range map[string][]string{
		"": {
			"/", "/account", "/?x=y", "/account?after=x", "/authorize",
			"/authorize?client_id=orders&redirect_uri=https%3A%2F%2Forders.example%2F&state=a/b?c",
			"/authorize?x={}|^`'//evil.example", "https://wiki.example.org",
			"https://wiki.example.org/", "https://wiki.example.org/a/../b//c?d=%2F%2Fe&f=@g:h",
			"http://localhost:3000/x", "https://shop.example.org:8443/x",
			"/authorize?" + strings.Repeat("x", maxNext-len("/authorize?")),
		},
		"/auth":    {"/auth/", "/auth/account", "/auth/authorize?x", "https://wiki.example.org/"},
		"/a%20b/c": {"/a%20b/c/account"},
	} {
		for _, target := range targets {
			if !someReturns(base).allows(target) {
				t.Errorf("below %q: %q is not allowed", base, target)
			}
		}
	}
	for _, target := range []string{"/", "/account", "/authorize?x", "/authaccount"} {
		if someReturns("/auth").allows(target) {
			t.Errorf("%q is not below /auth", target)
		}
	}
	if (returns{}).allows("https://wiki.example.org/") || (returns{}).allows("") {
		t.Error("an origin is allowed that is not on the list")
	}
}

// What net/url makes of a target must be where it is allowed to lead, from any page of the service.
func FuzzATargetThatIsAllowedLeadsNowhereElse(f *testing.F) {
	for _, target := range lured() {
		f.Add(target)
	}
	for _, target := range []string{"/authorize?x=y", "/account", "https://wiki.example.org/a?b"} {
		f.Add(target)
	}
	r := someReturns("")
	issuer := &url.URL{Scheme: "https", Host: "id.example.org", Path: "/login/password"}
	f.Fuzz(func(t *testing.T, target string) {
		if !r.allows(target) {
			return
		}
		at, err := issuer.Parse(target)
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		origin := at.Scheme + "://" + at.Host
		switch {
		case at.User != nil, at.Opaque != "", at.Fragment != "":
			t.Errorf("%q leads to %v", target, at)
		case origin == "https://id.example.org":
			if !slices.Contains(localPaths(), at.EscapedPath()) {
				t.Errorf("%q leads to %v", target, at)
			}
		case !slices.Contains(r.origins, origin):
			t.Errorf("%q leads to %v", target, at)
		}
		for n := range len(target) {
			if target[n] <= ' ' || target[n] > '~' {
				t.Errorf("%q has byte %#x, which no header should have", target, target[n])
			}
		}
	})
}

// Without an app, no other origin is in the policy, though it is listed. Behind an app stand those
// to which it may send its users on.
func TestTheFormOfAPageLeadsToTheAppAndOnToListedOrigins(t *testing.T) {
	t.Parallel()
	listed := []string{"https://wiki.example", "https://orders.example"}
	for uri, want := range map[string]string{
		"":                            "'self'",
		"https://login.example/cb":    "'self' https://login.example https://wiki.example https://orders.example",
		"https://orders.example/page": "'self' https://orders.example https://wiki.example",
	} {
		if _, got, _ := strings.Cut(policyFor(uri, listed), "form-action "); got != want {
			t.Errorf("%q: %s, want %s", uri, got, want)
		}
	}
}

// A source with a space or a semicolon would be another directive of the policy.
func TestTheSourceOfAURIIsOneWordThatAPolicyKnows(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"https://orders.example/cb?x=y":     "https://orders.example",
		"https://orders.example:8443/cb":    "https://orders.example:8443",
		"http://127.0.0.1:51004/cb":         "http://127.0.0.1:51004",
		"http://localhost/cb":               "http://localhost",
		"http://[::1]:51004/cb":             "http:",
		"https://[2001:db8::1]/":            "https:",
		"com.example.app:/cb":               "com.example.app:",
		"com.example.app://cb":              "com.example.app:",
		"https://a.example;script-src/x":    "https:",
		"https://a.example,b.example/x":     "https:",
		"https://*/x":                       "https:",
		"https://ünicode.example/":          "https:",
		"https:":                            "https:",
		"":                                  "",
		"/authorize":                        "",
		"//orders.example":                  "",
		"https://a.example 'unsafe-inline'": "",
		"java script:x":                     "",
	} {
		if got := sourceOf(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
}
