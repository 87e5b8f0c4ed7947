package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

func edgeOf(t *testing.T, issuer string) *Edge {
	t.Helper()
	base, err := newBase(issuer)
	if err != nil {
		t.Fatal(err)
	}
	return &Edge{issuer: issuer, base: base}
}

// A cookie without the prefix could be set by an app on a sibling host, and one for another path
// would not come back.
func TestTheSessionCookieIsAsNarrowAsTheIssuerAllows(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]http.Cookie{
		"https://id.test":       {Name: "__Host-gatehouse", Path: "/", Secure: true},
		"https://id.test/":      {Name: "__Host-gatehouse", Path: "/", Secure: true},
		"https://id.test/auth":  {Name: "__Secure-gatehouse", Path: "/auth", Secure: true},
		"https://id.test/a%20b": {Name: "__Secure-gatehouse", Path: "/a%20b", Secure: true},
		"http://localhost:8000": {Name: "gatehouse", Path: "/"},
		"http://id.test/auth/":  {Name: "gatehouse", Path: "/auth"},
	} {
		e := edgeOf(t, issuer)
		for name, test := range map[string]struct {
			set    func(*gin.Context)
			value  string
			maxAge int
		}{
			"set":     {func(c *gin.Context) { e.SetSessionCookie(c, "v", 0) }, "v", 0},
			"kept":    {func(c *gin.Context) { e.SetSessionCookie(c, "v", time.Hour) }, "v", 3600},
			"cleared": {e.ClearSessionCookie, "", -1},
		} {
			w := httptest.NewRecorder()
			c, _ := gin.CreateTestContext(w)
			test.set(c)
			set := w.Result().Cookies()
			if len(set) != 1 {
				t.Fatalf("%s, %s: %v", issuer, name, set)
			}
			got := set[0]
			if got.Name != want.Name || got.Path != want.Path || got.Secure != want.Secure ||
				!got.HttpOnly || got.SameSite != http.SameSiteLaxMode || got.Domain != "" ||
				got.Value != test.value || got.MaxAge != test.maxAge {
				t.Errorf("%s, %s: %v", issuer, name, got)
			}
		}
	}
}

// Of two cookies with one name, another host of the domain has set one.
func TestOnlyTheOneCookieWithTheRightNameIsTheSession(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ issuer, sent, want string }{
		"none":                  {"https://id.test", "", ""},
		"its own":               {"https://id.test", "theme=dark; __Host-gatehouse=v", "v"},
		"without the prefix":    {"https://id.test", "gatehouse=v", ""},
		"with another prefix":   {"https://id.test", "__Secure-gatehouse=v", ""},
		"in capitals":           {"https://id.test", "__HOST-gatehouse=v", ""},
		"two":                   {"https://id.test", "__Host-gatehouse=v; __Host-gatehouse=w", ""},
		"the same twice":        {"https://id.test", "__Host-gatehouse=v; __Host-gatehouse=v", ""},
		"below a path":          {"https://id.test/auth", "__Secure-gatehouse=v", "v"},
		"below a path, of root": {"https://id.test/auth", "__Host-gatehouse=v", ""},
		"plain":                 {"http://localhost", "gatehouse=v", "v"},
		"plain, prefixed":       {"http://localhost", "__Host-gatehouse=v", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if test.sent != "" {
			r.Header.Set("Cookie", test.sent)
		}
		if got := edgeOf(t, test.issuer).SessionCookieOf(r); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// A sibling cookie without the prefix could be set over plain HTTP. One that outlives the session
// cookie would name a session that is over.
func TestTheSiblingCookieIsForTheHostsOfTheDomainAndGoesWithTheSession(t *testing.T) {
	t.Parallel()
	for issuer, name := range map[string]string{
		"https://id.example.org":      "__Secure-gatehouse-verify",
		"https://id.example.org/auth": "__Secure-gatehouse-verify",
		"http://id.example.org":       "gatehouse-verify",
	} {
		e := edgeOf(t, issuer)
		for _, domain := range []string{"", "example.org"} {
			e.cookieDomain = domain
			w := httptest.NewRecorder()
			c, _ := gin.CreateTestContext(w)
			e.SetSiblingCookie(c, "v", time.Hour)
			e.ClearSessionCookie(c)
			var got []*http.Cookie
			for _, cookie := range w.Result().Cookies() {
				if cookie.Name != e.SessionCookieName() {
					got = append(got, cookie)
				}
			}
			if domain == "" {
				if len(got) > 0 {
					t.Errorf("%s without a domain: %v", issuer, got)
				}
				continue
			}
			if len(got) != 2 || got[0].Value != "v" || got[0].MaxAge != 3600 || got[1].MaxAge != -1 {
				t.Fatalf("%s: %v", issuer, got)
			}
			for _, cookie := range got {
				if cookie.Name != name || cookie.Domain != domain || cookie.Path != "/" ||
					!cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode ||
					cookie.Secure != e.IsSecure() {
					t.Errorf("%s: %v", issuer, cookie)
				}
			}
		}
	}
}

// Where no such cookie is given, some other service may use its name.
func TestASiblingCookieIsTakenOnlyWhereThereIsADomain(t *testing.T) {
	t.Parallel()
	e := edgeOf(t, "https://id.example.org")
	for domain, wants := range map[string]map[string]string{
		"": {"__Secure-gatehouse-verify=v": ""},
		"example.org": {
			"__Secure-gatehouse-verify=v": "v", "gatehouse-verify=v": "", "__Host-gatehouse=v": "",
			"__Secure-gatehouse-verify=v; __Secure-gatehouse-verify=w": "", "": "",
		},
	} {
		e.cookieDomain = domain
		for sent, want := range wants {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Cookie", sent)
			if got := e.SiblingCookieOf(r); got != want {
				t.Errorf("in domain %q, %q: %q", domain, sent, got)
			}
		}
	}
}
