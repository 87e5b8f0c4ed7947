package app_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/net/html"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

// promises are the members of the metadata, each with what shows that the service keeps it.
func promises() map[string]func(*flow) {
	return map[string]func(*flow){
		"issuer": func(f *flow) { f.wantList("issuer", f.p.issuer) },

		"authorization_endpoint": func(f *flow) {
			f.wantPage(f.browser.open(f.p.endpoint("authorization_endpoint")), http.StatusBadRequest)
		},
		"token_endpoint":                   func(f *flow) { f.wantRefused("nothing", f.ask(f.app, "token_endpoint"), 400, "invalid_request") },
		"authorization_challenge_endpoint": authorizationChallenge,
		"revocation_endpoint":              revocation,
		"introspection_endpoint":           introspection,
		"userinfo_endpoint":                func(f *flow) { f.userInfo(f.first()) },
		"end_session_endpoint":             func(f *flow) { f.wantPage(f.endSession(), http.StatusOK) },
		"jwks_uri":                         keySet,
		"service_documentation":            func(f *flow) { f.p.got(f.p.endpoint("service_documentation")) },

		"response_types_supported": func(f *flow) {
			f.wantList("response_types_supported", "code")
			f.first("response_type", "code")
			f.refused("unsupported_response_type", "response_type", "code id_token")
		},
		"response_modes_supported": func(f *flow) {
			f.wantList("response_modes_supported", "query")
			f.first("response_mode", "query")
			f.refused("invalid_request", "response_mode", "form_post")
		},
		"grant_types_supported": grantTypes,
		"code_challenge_methods_supported": func(f *flow) {
			f.wantList("code_challenge_methods_supported", "S256")
			f.refused("invalid_request", "code_challenge_method", "plain")
		},
		"authorization_response_iss_parameter_supported": func(f *flow) {
			f.wantList("authorization_response_iss_parameter_supported", true)
			f.first() // in which each answer must have it
		},
		"token_endpoint_auth_methods_supported": func(f *flow) {
			f.authMethods("token_endpoint_auth_methods_supported", func(app relyingParty) {
				f.app = app
				s := f.request()
				at := f.authorize(s)
				if !at.away {
					at = f.logIn(at)
				}
				f.redeem(s, f.code(s, at))
			})
		},
		"revocation_endpoint_auth_methods_supported": func(f *flow) {
			f.authMethods("revocation_endpoint_auth_methods_supported", func(app relyingParty) {
				if a := f.ask(app, "revocation_endpoint", "token", "unknown"); a.status != 200 {
					f.Errorf("%d %s", a.status, a.body)
				}
			})
		},
		"introspection_endpoint_auth_methods_supported": func(f *flow) {
			f.authMethods("introspection_endpoint_auth_methods_supported", func(app relyingParty) {
				if a := f.ask(app, "introspection_endpoint", "token", "unknown"); a.status != 200 {
					f.Errorf("%d %s", a.status, a.body)
				}
			})
		},

		"scopes_supported":                      scopesSupported,
		"subject_types_supported":               subjectTypes,
		"id_token_signing_alg_values_supported": signingAlgorithms,
		"claims_supported":                      claimsSupported,
		"claims_parameter_supported": func(f *flow) {
			f.wantList("claims_parameter_supported", true)
			claimsEssential(f)
		},
		"request_parameter_supported": func(f *flow) {
			f.wantList("request_parameter_supported", false)
			f.refused("request_not_supported", "request", unsigned(map[string]any{}))
		},
		"request_uri_parameter_supported": func(f *flow) {
			f.wantList("request_uri_parameter_supported", false)
			f.refused("request_uri_not_supported", "request_uri", "https://rp.example/r")
		},
		"prompt_values_supported": func(f *flow) {
			for _, value := range f.list("prompt_values_supported") {
				s := f.request("prompt", value)
				if at := f.authorize(s); at.away && f.back(s, at).Get("error") != "login_required" {
					f.Errorf("prompt %s: %s", value, at.at)
				}
			}
			f.refused("invalid_request", "prompt", "create")
		},
		"display_values_supported": func(f *flow) {
			for _, value := range f.list("display_values_supported") {
				f.wantPage(f.authorize(f.request("display", value)), http.StatusOK)
			}
		},
		"acr_values_supported": func(f *flow) {
			acrValues(f)
			if got := f.list("acr_values_supported"); !slices.Equal(got, []string{"aal1", "aal2"}) {
				f.Errorf("acr_values_supported: %v", got)
			}
			essential := func(value string) string {
				return `{"id_token":{"acr":{"essential":true,"value":"` + value + `"}}}`
			}
			f.again("claims", essential("aal1"))
			s := f.request("claims", essential("aal2"))
			f.wantError(s, f.logIn(f.authorize(s)), "unmet_authentication_requirements")
			f.refused("unmet_authentication_requirements", "claims", essential("unheard-of"))
		},
		"ui_locales_supported": func(f *flow) {
			for _, language := range f.list("ui_locales_supported") {
				if got := languageOf(f, f.authorize(f.request("ui_locales", language))); got != language {
					f.Errorf("the page for %s is in %q", language, got)
				}
			}
		},

		// the plan for logout by the back channel shows that these are kept
		"backchannel_logout_supported": func(f *flow) {
			f.wantList("backchannel_logout_supported", true)
		},
		"backchannel_logout_session_supported": func(f *flow) {
			f.wantList("backchannel_logout_session_supported", true)
		},
	}
}

// An app configures itself by the metadata, and fails at whatever is not so. This is the module
// oidcc-discovery-endpoint-verification, and those of the plans for logout.
func TestTheServiceKeepsWhatItsMetadataPromises(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	all := promises()
	for name := range p.metadata {
		if all[name] == nil {
			t.Errorf("nothing shows that %s is kept", name)
		}
	}
	for name, kept := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p.metadata[name] == nil {
				t.Fatal("the metadata lacks it")
			}
			kept(p.flow(t))
		})
	}
}

// A document that is kept by a proxy, or read by a page of another site, must be the same to all.
func TestTheMetadataIsADocumentForEverybody(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		a := p.do(p.request("GET", path, "", "Origin", "https://spa.example"))
		if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.HasPrefix(a.header.Get("Content-Type"), "application/json") ||
			!strings.HasPrefix(a.header.Get("Cache-Control"), "public,") {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
		var document map[string]any
		must(t, json.Unmarshal([]byte(a.body), &document))
		for name, value := range document {
			if address, ok := value.(string); ok && !strings.HasPrefix(address, p.issuer) {
				t.Errorf("%s is %s, elsewhere than the issuer", name, address)
			}
		}
	}
}

// wantList fails the test unless a member of the metadata is a value, or a list of it alone.
func (f *flow) wantList(name string, want any) {
	f.Helper()
	got := f.p.metadata[name]
	if list, ok := got.([]any); ok && len(list) == 1 {
		got = list[0]
	}
	if got != want {
		f.Errorf("%s is %v, want %v", name, f.p.metadata[name], want)
	}
}

func (f *flow) list(name string) (values []string) {
	f.Helper()
	for _, value := range f.p.metadata[name].([]any) {
		values = append(values, value.(string))
	}
	if len(values) == 0 {
		f.Errorf("%s is empty", name)
	}
	return values
}

func revocation(f *flow) {
	got := f.first()
	if a := f.ask(f.app, "revocation_endpoint", "token", got.Refresh); a.status != 200 {
		f.Errorf("%d %s", a.status, a.body)
	}
	f.wantRefused("after it", f.refresh(f.app, got.Refresh), 400, "invalid_grant")
}

func introspection(f *flow) {
	got := f.first()
	var said map[string]any
	must(f, json.Unmarshal([]byte(f.ask(f.app, "introspection_endpoint", "token", got.Access).body), &said))
	if said["active"] != true || said["sub"] != got.claims["sub"] || said["client_id"] != f.app.ID ||
		said["iss"] != f.p.issuer {
		f.Errorf("%v", said)
	}
}

// keySet checks each key (RFC 7517, OpenID Connect Core §10.1): public, for signatures, and with an
// id of its own.
func keySet(f *flow) {
	a := f.p.got(f.p.endpoint("jwks_uri"))
	var set jose.JSONWebKeySet
	must(f, json.Unmarshal([]byte(a.body), &set))
	seen := map[string]bool{}
	for _, key := range set.Keys {
		if !key.Valid() || !key.IsPublic() || key.Use != "sig" || key.KeyID == "" || seen[key.KeyID] {
			f.Errorf("%+v", key)
		}
		seen[key.KeyID] = true
	}
	var members struct{ Keys []map[string]any }
	must(f, json.Unmarshal([]byte(a.body), &members))
	for _, key := range members.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
			if key[private] != nil {
				f.Errorf("the key %v has its private half", key["kid"])
			}
		}
	}
}

func grantTypes(f *flow) {
	listed := f.list("grant_types_supported")
	for _, grant := range []string{"authorization_code", "refresh_token"} {
		if !slices.Contains(listed, grant) {
			f.Errorf("%s is not listed", grant)
		}
	}
	all := f.register(func(c *auth.Client) { c.GrantTypes = listed })
	for _, grant := range listed {
		var refused struct{ Error string }
		a := f.ask(all, "token_endpoint", "grant_type", grant)
		if err := json.Unmarshal([]byte(a.body), &refused); err != nil || refused.Error == "unsupported_grant_type" {
			f.Errorf("%s: %d %s", grant, a.status, a.body)
		}
	}
	f.wantRefused("another grant", f.ask(all, "token_endpoint", "grant_type", "urn:x"), 400,
		"unsupported_grant_type")
}

// authorizationChallenge logs a user in from an app of the service's own, and for no other.
func authorizationChallenge(f *flow) {
	s := f.request()
	form := []string{"username", f.username, "password", goodPassword, "scope", "openid"}
	for _, name := range []string{"response_type", "nonce", "code_challenge", "code_challenge_method"} {
		form = append(form, name, s.query.Get(name))
	}
	f.wantRefused("another's app", f.ask(f.app, "authorization_challenge_endpoint", form...), 400,
		"unauthorized_client")
	f.app = f.register(func(c *auth.Client) { c.FirstParty = true })
	a := f.ask(f.app, "authorization_challenge_endpoint", form...)
	var got struct {
		Code string `json:"authorization_code"`
	}
	must(f, json.Unmarshal([]byte(a.body), &got))
	f.granted(f.ask(f.app, "token_endpoint", "grant_type", "authorization_code", "code", got.Code,
		"code_verifier", s.verifier), f.app, s.query.Get("nonce"))
}

// authMethods uses an endpoint by each way to authenticate that it lists.
func (f *flow) authMethods(name string, use func(relyingParty)) {
	f.Helper()
	byForm := f.app
	byForm.inForm = true
	ways := map[string]relyingParty{
		"none":                f.register(func(c *auth.Client) { c.Confidential = false }),
		"client_secret_basic": f.app, "client_secret_post": byForm,
	}
	for _, way := range f.list(name) {
		app, ok := ways[way]
		if !ok {
			f.Fatalf("%s is listed", way)
		}
		use(app)
		if way != "none" {
			app.secret += "x"
			f.wantRefused("with another secret, "+way,
				f.ask(app, "token_endpoint", "grant_type", "refresh_token", "refresh_token", "x"), 401,
				"invalid_client")
		}
	}
}

func scopesSupported(f *flow) {
	listed := f.list("scopes_supported")
	if !slices.Contains(listed, "openid") {
		f.Error("openid is not listed")
	}
	syntax := regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`) // RFC 6749 §3.3
	f.first()
	for _, word := range listed {
		if !syntax.MatchString(word) {
			f.Errorf("%q is no word of a scope", word)
		}
		f.again("scope", "openid "+word)
	}
}

// subjectTypes checks that a user is the same to all apps.
func subjectTypes(f *flow) {
	f.wantList("subject_types_supported", "public")
	at := f.first()
	f.app = f.register()
	if other := f.again(); other.claims["sub"] != at.claims["sub"] {
		f.Errorf("%v at one app, %v at another", at.claims["sub"], other.claims["sub"])
	}
}

func signingAlgorithms(f *flow) {
	listed := f.list("id_token_signing_alg_values_supported")
	if !slices.Contains(listed, "RS256") {
		f.Error("RS256 is not listed (OpenID Connect Discovery §3)")
	}
	f.first()
	for _, algorithm := range listed {
		f.app = f.register(func(c *auth.Client) { c.IDTokenAlgorithm = token.Algorithm(algorithm) })
		if got := headerOf(f, f.again().ID); got.Alg != algorithm { // its signature is checked by the key set
			f.Errorf("%s: %+v", algorithm, got)
		}
	}
}

// claimsSupported wants each claim of the list to come, and no other. The user has a role and a
// verified address, since nobody is told of groups without one, nor of an address that is not.
func claimsSupported(f *flow) {
	f.exec(`UPDATE users SET email = 'a@example.org', email_key = 'a@example.org',
		email_verified_at = now() WHERE username = $1`, f.username)
	_, _, err := f.p.admin.Roles.Set(f.Context(), authtest.Operator(), "clerk", auth.RoleEdit{}, auth.Condition{})
	must(f, err)
	user, err := f.p.admin.Accounts.Find(f.Context(), auth.ByName(f.username))
	must(f, err)
	must(f, f.p.admin.Roles.Grant(f.Context(), authtest.Operator(), user.ID, "clerk"))
	got := f.first("scope", strings.Join(f.list("scopes_supported"), " "))
	come := map[string]any{}
	maps.Copy(come, got.claims)
	maps.Copy(come, f.userInfo(got))
	want := slices.Sorted(slices.Values(f.list("claims_supported")))
	if names := slices.Sorted(maps.Keys(come)); !slices.Equal(names, want) {
		f.Errorf("claims %v, listed are %v", names, want)
	}
}

// Apps find a service below a path by both documents, and nothing of it leads to the root, where
// another service may be.
func TestAnAppLogsInByAnIssuerWithAPath(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "/auth")
	host := strings.TrimSuffix(p.issuer, "/auth")
	found := p.got(p.issuer + "/.well-known/openid-configuration").body
	if at := p.got(host + "/.well-known/oauth-authorization-server/auth").body; at != found {
		t.Errorf("RFC 8414 §3.1: %s, OpenID Connect Discovery §4: %s", at, found)
	}
	for name, value := range p.metadata {
		address, ok := value.(string)
		if ok && address != p.issuer && !strings.HasPrefix(address, p.issuer+"/") {
			t.Errorf("%s is %s", name, address)
		}
	}
	f := p.flow(t)
	got := f.first("scope", "openid profile")
	wantTold(f, got, "name", "preferred_username", "updated_at")
	root, err := url.Parse(host + "/")
	must(t, err)
	if cookies := f.browser.own.Jar.Cookies(root); len(cookies) > 0 {
		t.Errorf("the service at the root gets %v", cookies)
	}
	f.again("prompt", "none")
	loginAgain(p.flow(t), time.Second, "prompt", "login")
	f.app = f.register(func(c *auth.Client) { c.Ask = true })
	s := f.request()
	f.code(s, f.browser.submit(f.authorize(s), "choice", "allow"))
	f.left(f.endSession("id_token_hint", got.ID, "post_logout_redirect_uri", farewell), farewell)
	logoutIsAsked(p.flow(t))
}

// languageOf is the language that a page says it is in.
func languageOf(t testing.TB, at stop) string {
	t.Helper()
	document, err := html.Parse(strings.NewReader(at.body))
	must(t, err)
	for node := range document.Descendants() {
		for _, a := range node.Attr {
			if node.Data == "html" && a.Key == "lang" {
				return a.Val
			}
		}
	}
	return ""
}
