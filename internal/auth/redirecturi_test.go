package auth

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// tricky is a client with one redirect URI of each kind.
func tricky() Client {
	return Client{RedirectURIs: []string{
		"https://app.example.com/cb", "https://app.example.com/cb?tenant=1",
		"https://app.example.com:8443/cb", "http://127.0.0.1/cb", "http://[::1]:9000/cb",
		"http://localhost:3000/cb?x=1", "com.example.app:/cb", "https://bare.example.com",
	}}
}

// redirect_uri by prefix, userinfo, case or encoding: whoever gets a code to another place than the
// registered one logs in as its user.
func TestNoTrickLeadsACodeToAnotherPlaceThanTheRegisteredOne(t *testing.T) {
	t.Parallel()
	c := tricky()
	for _, trick := range []string{
		"", " ", "/cb", "//app.example.com/cb", "app.example.com/cb",
		// by prefix and suffix
		"https://app.example.com", "https://app.example.com/", "https://app.example.com/c",
		"https://app.example.com/cb/", "https://app.example.com/cb/more",
		"https://app.example.com/cbx", "https://app.example.com/cb.evil.example",
		"https://app.example.com.evil.example/cb", "https://evil.example/app.example.com/cb",
		"https://evilapp.example.com/cb", "https://sub.app.example.com/cb",
		"https://evil.example/cb?https://app.example.com/cb", "https://example.com/cb",
		"https://bare.example.com/", "https://bare.example.com.evil.example",
		"https://bare.example.com@evil.example", "https://bare.example.comevil.example",
		"https://bare.example.com:443",
		// by userinfo
		"https://app.example.com@evil.example/cb", "https://evil.example@app.example.com/cb",
		"https://app.example.com:pass@evil.example/cb", "https://@app.example.com/cb",
		"https://app.example.com%40evil.example/cb",
		// by case
		"HTTPS://app.example.com/cb", "Https://app.example.com/cb", "https://APP.example.com/cb",
		"https://app.example.com/CB", "COM.example.app:/cb",
		// by encoding
		"https://app.example.com/%63b", "https://app.example.com%2Fcb",
		"https://app.example.com/c%62", "https%3A//app.example.com/cb",
		"https://app.example.com/cb%00", "https://app.example.com/cb%0a",
		"https://app.example.com/cb\x00", "https://app.example.com/cb\n",
		"https://app.example.com/cb\r\nLocation: https://evil.example", "\thttps://app.example.com/cb",
		" https://app.example.com/cb", "https://app.example.com/cb ",
		"https://app\t.example.com/cb", "ht\ntps://app.example.com/cb",
		"https://app.example.com/cb\u200b", "https://àpp.example.com/cb",
		"https://аpp.example.com/cb", "https://app。example.com/cb", "https://app.example.com／cb",
		"https://xn--pp-2ia.example.com/cb",
		// by the path
		"https://app.example.com//cb", "https://app.example.com/./cb",
		"https://app.example.com/x/../cb", "https://app.example.com/cb/..",
		"https://app.example.com/cb/../../evil", "https://app.example.com/cb/%2e%2e/evil",
		"https://app.example.com/cb;x", "https://app.example.com/cb/..;/evil",
		`https://app.example.com\cb`, `https://app.example.com/cb\..\evil`,
		`https:\\app.example.com/cb`, "https:/app.example.com/cb", "https:app.example.com/cb",
		"https:///app.example.com/cb", `https://evil.example\@app.example.com/cb`,
		// by query and fragment
		"https://app.example.com/cb?", "https://app.example.com/cb#", "https://app.example.com/cb#x",
		"https://app.example.com/cb?x=1", "https://app.example.com/cb?tenant=1&x=1",
		"https://app.example.com/cb?tenant=2", "https://app.example.com/cb?tenant=1#x",
		"https://app.example.com/cb&tenant=1", "https://evil.example?x=https://app.example.com/cb",
		"https://evil.example#https://app.example.com/cb",
		// by port and host
		"https://app.example.com:443/cb", "https://app.example.com:8080/cb",
		"https://app.example.com:/cb", "https://app.example.com:08443/cb",
		"https://app.example.com./cb", "https://.app.example.com/cb", "https://app..example.com/cb",
		"http://app.example.com/cb", "ftp://app.example.com/cb", "javascript:alert(1)",
		"data:text/html,x", "javascript://app.example.com/cb%0aalert(1)",
		// by something that looks like this machine
		"http://127.0.0.1.evil.example/cb", "http://127.0.0.1@evil.example/cb",
		"http://127.0.0.1:80@evil.example/cb", "http://localhost.evil.example/cb?x=1",
		"http://localhostevil.example/cb?x=1", "http://[::1]@evil.example/cb",
		"http://[::1].evil.example/cb", "http://[::1%25eth0]/cb", "http://[::1]:9000.evil.example/cb",
		"http://[0:0:0:0:0:0:0:1]/cb", "http://[::ffff:127.0.0.1]/cb", "http://127.1/cb",
		"http://2130706433/cb", "http://0x7f000001/cb", "http://0177.0.0.1/cb", "http://127.0.0.2/cb",
		"http://0.0.0.0/cb", "http://127.0.0.1./cb", "http://localhost./cb?x=1",
		"http://LOCALHOST:3000/cb?x=1", "HTTP://127.0.0.1/cb", "https://127.0.0.1/cb",
		"https://localhost:3000/cb?x=1", "http://127.0.0.1:0/cb", "http://127.0.0.1:65536/cb",
		"http://127.0.0.1:080/cb", "http://127.0.0.1:+80/cb", "http://127.0.0.1:-1/cb",
		"http://127.0.0.1:/cb", "http://127.0.0.1: 80/cb", "http://127.0.0.1:8 0/cb",
		"http://127.0.0.1:80:80/cb", "http://127.0.0.1:٨٠/cb", "http://127.0.0.1:8000/cb/",
		"http://127.0.0.1:8000/CB", "http://127.0.0.1:8000/x/../cb", "http://127.0.0.1:8000/cb?x",
		"http://127.0.0.1:8000/cb#x", "http://127.0.0.1:8000//cb", `http://127.0.0.1:8000\cb`,
		"http://127.0.0.1#@evil.example/cb", "http://127.0.0.1?@evil.example/cb",
		"http://localhost:3000/cb", "http://localhost:3000/cb?x=2", "http://localhost/cb?x=1&y",
		"http://127.0.0.1:3000/cb?x=1", "http://[::1]/", "http://::1/cb",
		// by the scheme of an app
		"com.example.app://cb", "com.example.app:/cb/", "com.example.app:cb", "com.example.app:/",
		"com.example.app.evil:/cb", "com.example:/cb", "com.example.app:///cb",
	} {
		if c.MatchRedirectURI(trick) {
			t.Errorf("%q is taken for a registered one", trick)
		}
	}
}

func TestARegisteredRedirectURIMatchesAndThatOfAnAppWithAnyPort(t *testing.T) {
	t.Parallel()
	c := tricky()
	for _, uri := range append(slices.Clone(c.RedirectURIs),
		"http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]/cb",
		"http://[::1]:51004/cb", "http://localhost/cb?x=1", "http://localhost:51004/cb?x=1",
	) {
		if !c.MatchRedirectURI(uri) {
			t.Errorf("%s is refused", uri)
		}
	}
	if (Client{}).MatchRedirectURI("http://127.0.0.1/cb") || (Client{}).MatchRedirectURI("") {
		t.Error("a client without a redirect URI is sent somewhere")
	}
	bare := Client{RedirectURIs: []string{"http://127.0.0.1"}}
	if !bare.MatchRedirectURI("http://127.0.0.1:8000") || bare.MatchRedirectURI("http://127.0.0.1/") {
		t.Error("the end of the host is not where it must be")
	}
	after := Client{PostLogoutRedirectURIs: []string{"http://127.0.0.1/bye"}}
	if !after.MatchPostLogoutRedirectURI("http://127.0.0.1/bye") ||
		after.MatchPostLogoutRedirectURI("http://127.0.0.1:8000/bye") ||
		after.MatchRedirectURI("http://127.0.0.1/bye") {
		t.Error("the URI after a logout must be the registered one")
	}
}

// What has two meanings must not even be registered.
func TestOnlyURIsWithOneMeaningAreRegistered(t *testing.T) {
	t.Parallel()
	good := append(tricky().RedirectURIs, "http://127.0.0.1", "http://localhost:65535/",
		"https://192.0.2.1/cb", "https://[2001:db8::1]:8443/cb", "https://xn--pp-2ia.example/cb",
		"https://app.example.com/caf%C3%A9?next=%2Fhome", "https://localhost/cb", "https://app/cb",
		"https://app.example.com/a/b.c/~d;e", "com.example.app://callback",
		"app.example:///callback", "https://a.example/"+strings.Repeat("x", 494),
		"https://"+strings.Repeat("a.", 126)+"a")
	for _, uri := range good {
		if !isRedirectURI(uri) {
			t.Errorf("%s is refused", uri)
		}
	}
	for _, uri := range []string{
		"", "/cb", "//app.example.com/cb", "app.example.com/cb", "https:", "https://", "https:///cb",
		"https:/cb", "https:app.example.com", "https://?x", "https://:443/cb",
		"http://app.example.com/cb", "http://192.0.2.1/cb", "http://127.0.0.2/cb",
		"http://localhost.evil.example/cb", "http://127.0.0.1.evil.example/cb", "http://127.1/cb",
		"http://[::ffff:127.0.0.1]/cb", "http://0.0.0.0/cb",
		"https://app.example.com/cb#", "https://app.example.com/cb#x", "com.example.app:/cb#x",
		"https://user@app.example.com/cb", "https://user:pass@app.example.com/cb",
		"https://@app.example.com/cb", "com.example.app://user@host/cb",
		"https://*.example.com/cb", "https://app.example.com/*", "https://app.example.com/cb?x=*",
		"com.example.app:/*", "HTTPS://app.example.com/cb", "https://App.example.com/cb",
		"Com.example.app:/cb", "https://app.example.com./cb", "https://app..example.com/cb",
		"https://-app.example.com/cb", "https://app_1.example.com/cb", "https://1.2.3/cb",
		"https://0x7f000001/cb", "https://2130706433/cb", "https://[::1%25eth0]/cb",
		"https://[2001:DB8::1]/cb", "https://[2001:db8:0::1]/cb", "https://::1/cb",
		"https://app.example.com:/cb", "https://app.example.com:0/cb",
		"https://app.example.com:65536/cb", "https://app.example.com:0443/cb",
		"https://app.example.com:x/cb", "https://app.example.com/../cb",
		"https://app.example.com/./cb", "https://app.example.com/x/..", "https://app.example.com/.",
		"https://app.example.com//cb", "https://app.example.com/cb//", "https://app.example.com/;/cb",
		"https://app.example.com/..;/cb", "https://app.example.com/%2e%2e/cb",
		"https://app.example.com/x%2Fcb", "https://app.example.com/x%5Ccb",
		"https://app.example.com/%252e%252e/cb", "https://app.example.com/%63b",
		"https://app.example.com/cb%00", "https://app.example.com/cb?x=%0d%0a",
		"https://app.example.com/cb?x=%7f", "https://app.example.com/cb%", "https://app.example.com/cb%zz",
		`https://app.example.com\cb`, `https:\\app.example.com/cb`, "https://app.example.com/c b",
		" https://app.example.com/cb", "https://app.example.com/cb\n", "https://app.example.com/\tcb",
		"https://app.example.com/cb\x00", "https://àpp.example.com/cb", "https://app.example.com/é",
		"https://app.example.com/<cb>", `https://app.example.com/"cb"`, "https://app.example.com/{x}",
		"https://app.example.com/`", "https://app.example.com/^", "https://app.example.com/|",
		"https://app%2eexample.com/cb", "https://app.example.com%2fcb",
		"javascript:alert(1)", "javascript:/alert(1)", "data:text/html,x", "data:/x", "file:///cb",
		"ftp://app.example.com/cb", "blob:https://app.example.com/x", "vbscript:/x", "myapp:/cb",
		"urn:ietf:wg:oauth:2.0:oob", "mailto:a@example.com", "com.example.app:cb", "com.example.app:",
		"com.example.app:?x", ".example.app:/cb", "com..app:/cb", "1com.example:/cb",
		"com.example.app://Host/cb", "com.example.app://host:0/cb",
		"https://" + strings.Repeat("a.", 126) + "aa", "com.example.app:/../cb", "https://a.example/" + strings.Repeat("x", 495),
	} {
		if isRedirectURI(uri) {
			t.Errorf("%q is registered", uri)
		}
	}
}

func TestOnlyProgramsAreToldOfALogoutAndOnlyResourcesAreAudiences(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]bool{
		"https://app.example.com/out": true, "http://localhost:3000/out": true,
		"http://[::1]/out": true, "http://app.example.com/out": false,
		"http://169.254.169.254/out": false, "com.example.app:/out": false,
		"https://user@app.example.com/out": false, "https://app.example.com/out#x": false,
		"https://app.example.com/a/../out": false, "": false,
	} {
		if isBackchannelURI(uri) != want {
			t.Errorf("told at %q: %v", uri, !want)
		}
	}
	for uri, want := range map[string]bool{
		"https://api.example.com": true, "https://api.example.com/v1?x=1": true,
		"urn:example:api": true, "api": false, "/api": false, "//api.example.com": false, "": false,
		"https://api.example.com#x": false, "https://api.example.com/#": false, "https:": false,
		"https://user@api.example.com": false, "https://api.example.com/a b": false,
		"https://" + strings.Repeat("a", 505): false,
	} {
		if isAudience(uri) != want {
			t.Errorf("audience %q: %v", uri, !want)
		}
	}
}

// FuzzRedirectURI looks for a URI that matches a registered one, and that a browser would read as
// another place.
func FuzzRedirectURI(f *testing.F) {
	for _, uri := range tricky().RedirectURIs {
		f.Add(uri, uri)
		f.Add(uri, uri+"@evil.example")
	}
	f.Add("http://127.0.0.1/cb", "http://127.0.0.1:8000/cb")
	f.Add("http://localhost", "http://localhost:1?")
	f.Fuzz(func(t *testing.T, registered, presented string) {
		if !isRedirectURI(registered) {
			return
		}
		want, err := url.Parse(registered)
		if err != nil || !want.IsAbs() || want.User != nil || want.Fragment != "" ||
			want.String() != registered || want.ResolveReference(&url.URL{}).Path != want.Path {
			t.Fatalf("%q was registered: %+v, %v", registered, want, err)
		}
		if !(Client{RedirectURIs: []string{registered}}).MatchRedirectURI(presented) {
			return
		}
		got, err := url.Parse(presented)
		if err != nil {
			t.Fatalf("%q matches %q: %v", presented, registered, err)
		}
		samePort := got.Port() == want.Port() ||
			got.Scheme == "http" && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, got.Hostname())
		if got.Scheme != want.Scheme || got.Hostname() != want.Hostname() || !samePort ||
			got.Opaque != want.Opaque || got.EscapedPath() != want.EscapedPath() ||
			got.RawQuery != want.RawQuery || got.ForceQuery != want.ForceQuery ||
			got.User != nil || got.Fragment != "" {
			t.Fatalf("%q matches %q", presented, registered)
		}
	})
}
