package app_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/net/html"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/httpapi/apitest"
)

// What an app and a browser do is written here anew, by the standards alone. A check that called
// the product's own code would share its mistakes.

// provider is a running service at the address of its issuer, as apps know it.
type provider struct {
	*replica
	issuer      string
	metadata    map[string]any
	databaseURL string
	admin       *app.Admin
	hash        string // of goodPassword
}

// startProvider starts a service whose issuer has a path, which may be empty.
func startProvider(t *testing.T, path string, flags ...string) *provider {
	t.Helper()
	address, databaseURL := dbtest.FreeAddr(t), dbtest.New(t)
	issuer := "http://" + address + path
	r := boot(t, databaseURL, append([]string{
		"--issuer=" + issuer, "--listen-addr=" + address, "--algorithm=ES256",
	}, flags...)...)
	r.public, r.client = issuer, apitest.ClientBelow(t, path)
	p := &provider{
		replica: r, issuer: issuer, databaseURL: databaseURL, admin: adminOf(t, databaseURL),
	}
	// By the service itself: it would hash any other form anew at each first login.
	_, _, err := p.admin.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "template", Password: goodPassword})
	must(t, err)
	must(t, connect(t, databaseURL).QueryRow(t.Context(),
		"SELECT password_hash FROM users WHERE username = 'template'").Scan(&p.hash))
	must(t, json.Unmarshal([]byte(r.got(issuer+"/.well-known/openid-configuration").body),
		&p.metadata))
	return p
}

// endpoint is a URL of the metadata.
func (p *provider) endpoint(name string) string {
	p.Helper()
	address, ok := p.metadata[name].(string)
	if !ok {
		p.Fatalf("the metadata has no %s", name)
	}
	return address
}

// flow is an app, a user of its own, and the user's browser.
type flow struct {
	*testing.T
	p        *provider
	app      relyingParty
	username string
	browser  *browser
}

// relyingParty is an app as it is registered.
type relyingParty struct {
	auth.Client
	secret string
	inForm bool // it authenticates by the form, and not by the header
}

// callback is where browsers come back to an app, and farewell where they go after a logout. Nobody
// listens at either.
const (
	callback = "https://rp.example/callback"
	farewell = "https://rp.example/bye"
)

// flow registers an app, and a user who has not logged in yet.
func (p *provider) flow(t *testing.T, change ...func(*auth.Client)) *flow {
	t.Helper()
	f := &flow{T: t, p: p, username: "user-" + rand.Text(), browser: p.browser(t)}
	f.app = f.register(change...)
	f.exec(`INSERT INTO users (id, username, username_key, password_hash)
		VALUES ($1, $2, lower($2), $3)`, uuid.New(), f.username, p.hash)
	return f
}

func (f *flow) register(change ...func(*auth.Client)) relyingParty {
	f.Helper()
	c := auth.Client{
		ID: "rp-" + rand.Text(), Title: "The App", Confidential: true,
		RedirectURIs: []string{callback}, PostLogoutRedirectURIs: []string{farewell},
		GrantTypes: []string{auth.GrantAuthorizationCode, auth.GrantRefreshToken},
	}
	for _, to := range change {
		to(&c)
	}
	added, secret, err := f.p.admin.Clients.Add(f.Context(), authtest.Operator(), c)
	must(f, err)
	return relyingParty{Client: added, secret: secret}
}

func (f *flow) exec(sql string, args ...any) {
	f.Helper()
	_, err := connect(f, f.p.databaseURL).Exec(f.Context(), sql, args...)
	must(f, err)
}

// pass lets time pass for the user's logins.
func (f *flow) pass(d time.Duration) {
	f.Helper()
	f.exec(`UPDATE sessions SET auth_time = auth_time - make_interval(secs => $1)
		WHERE user_id = (SELECT id FROM users WHERE username = $2)`, d.Seconds(), f.username)
}

// sent is a request of an app, and what the app keeps until the browser is back.
type sent struct {
	query    url.Values
	verifier string // "" without PKCE
}

// request is one that is all right, with others set or, by "", left out.
func (f *flow) request(pairs ...string) sent {
	s := sent{query: url.Values{
		"client_id": {f.app.ID}, "redirect_uri": {f.app.RedirectURIs[0]},
		"response_type": {"code"}, "scope": {"openid"}, "state": {rand.Text()},
		"nonce": {rand.Text()},
	}}
	if !f.app.WithoutPKCE {
		s.verifier = rand.Text() + rand.Text()
		sum := sha256.Sum256([]byte(s.verifier))
		s.query.Set("code_challenge", base64URL(sum[:]))
		s.query.Set("code_challenge_method", "S256")
	}
	for n := 0; n < len(pairs); n += 2 {
		s.query.Set(pairs[n], pairs[n+1])
		if pairs[n+1] == "" {
			s.query.Del(pairs[n])
		}
	}
	return s
}

func (f *flow) authorize(s sent) stop {
	f.Helper()
	return f.browser.open(f.p.endpoint("authorization_endpoint") + "?" + s.query.Encode())
}

// logIn fills in the login page.
func (f *flow) logIn(at stop) stop {
	f.Helper()
	return f.browser.submit(at, "username", f.username, "password", goodPassword)
}

// back is what the app gets with the browser.
func (f *flow) back(s sent, at stop) url.Values {
	f.Helper()
	query := at.at.Query()
	for _, name := range []string{"code", "state", "iss", "error", "error_description"} {
		if len(query[name]) > 1 {
			f.Errorf("%s comes %d times", name, len(query[name]))
		}
	}
	registered, err := url.Parse(s.query.Get("redirect_uri"))
	must(f, err)
	to := *at.at
	to.RawQuery = registered.RawQuery
	if !at.away || to.String() != registered.String() {
		f.Fatalf("the browser is at %s, not at %s: %d %s", at.at, registered, at.status, at.body)
	}
	if query.Get("state") != s.query.Get("state") || query.Get("iss") != f.p.issuer {
		f.Errorf("the app gets state %q, iss %q", query.Get("state"), query.Get("iss"))
	}
	return query
}

func (f *flow) code(s sent, at stop) string {
	f.Helper()
	got := f.back(s, at)
	// 128 bits, which nobody guesses (RFC 6749 §10.10), take so many characters
	if code := got.Get("code"); got.Has("error") || len(code) < 22 {
		f.Fatalf("no code: %v", got)
	}
	return got.Get("code")
}

// wantError checks what the app is told of an error (RFC 6749 §4.1.2.1).
func (f *flow) wantError(s sent, at stop, want string) {
	f.Helper()
	got := f.back(s, at)
	outside := func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }
	if got.Get("error") != want || got.Has("code") ||
		strings.ContainsFunc(got.Get("error_description"), outside) {
		f.Errorf("the app gets %v, want %s", got, want)
	}
}

// grantedTokens are those that an app got, and what its ID token says.
type grantedTokens struct {
	Access    string `json:"access_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"`
	Refresh   string `json:"refresh_token"`
	Scope     string `json:"scope"`
	ID        string `json:"id_token"`
	claims    jwt.MapClaims
}

// ask sends a form to the token endpoint, or to another one where apps authenticate.
func (f *flow) ask(by relyingParty, endpoint string, pairs ...string) answer {
	f.Helper()
	form := url.Values{}
	for n := 0; n < len(pairs); n += 2 {
		form.Set(pairs[n], pairs[n+1])
	}
	if by.inForm || !by.Confidential {
		form.Set("client_id", by.ID)
	}
	if by.inForm {
		form.Set("client_secret", by.secret)
	}
	request, err := http.NewRequestWithContext(f.Context(), http.MethodPost,
		f.p.endpoint(endpoint), strings.NewReader(form.Encode()))
	must(f, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if by.Confidential && !by.inForm {
		request.SetBasicAuth(url.QueryEscape(by.ID), url.QueryEscape(by.secret))
	}
	return f.p.do(request)
}

func (f *flow) wantRefused(when string, a answer, status int, code string) {
	f.Helper()
	var refused struct{ Error string }
	must(f, json.Unmarshal([]byte(a.body), &refused))
	if a.status != status || refused.Error != code {
		f.Errorf("%s: %d %s, want %d %s", when, a.status, a.body, status, code)
	}
}

func (f *flow) exchange(by relyingParty, s sent, code string) answer {
	f.Helper()
	pairs := []string{
		"grant_type", "authorization_code", "code", code, "redirect_uri", s.query.Get("redirect_uri"),
	}
	if s.verifier != "" {
		pairs = append(pairs, "code_verifier", s.verifier)
	}
	return f.ask(by, "token_endpoint", pairs...)
}

// redeem gets the tokens for a code, and checks them.
func (f *flow) redeem(s sent, code string) grantedTokens {
	f.Helper()
	return f.granted(f.exchange(f.app, s, code), f.app, s.query.Get("nonce"))
}

// granted checks an answer of the token endpoint (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
func (f *flow) granted(a answer, to relyingParty, nonce string) (got grantedTokens) {
	f.Helper()
	if a.status != http.StatusOK {
		f.Fatalf("no tokens: %d %s", a.status, a.body)
	}
	must(f, json.Unmarshal([]byte(a.body), &got))
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") ||
		a.header.Get("Cache-Control") != "no-store" || !strings.EqualFold(got.Type, "Bearer") ||
		got.ExpiresIn <= 0 || got.Access == "" {
		f.Errorf("%v %s", a.header, a.body)
	}
	got.claims = f.verified(got.ID, to)
	f.wantHash(got)
	if said, _ := got.claims["nonce"].(string); said != nonce {
		f.Errorf("nonce %q, want %q", said, nonce)
	}
	return got
}

// signedBy reads a token with the keys that the service publishes.
func (f *flow) signedBy(raw, algorithm string) *jwt.Token {
	f.Helper()
	var set jose.JSONWebKeySet
	must(f, json.Unmarshal([]byte(f.p.got(f.p.endpoint("jwks_uri")).body), &set))
	parsed, err := jwt.Parse(raw, func(unverified *jwt.Token) (any, error) {
		kid, _ := unverified.Header["kid"].(string)
		keys := set.Key(kid)
		if len(keys) != 1 {
			return nil, jwt.ErrTokenUnverifiable
		}
		return keys[0].Key, nil
	}, jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(f.p.issuer),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	must(f, err)
	return parsed
}

// verified checks an ID token as an app has to (OpenID Connect Core §3.1.3.7).
func (f *flow) verified(raw string, by relyingParty) jwt.MapClaims {
	f.Helper()
	parsed := f.signedBy(raw, string(by.IDTokenAlgorithm))
	claims := parsed.Claims.(jwt.MapClaims)
	subject, err := claims.GetSubject()
	must(f, err)
	if claims["aud"] != by.ID || subject == "" || len(subject) > 255 || parsed.Header["typ"] != "JWT" {
		f.Errorf("%v %v", parsed.Header, claims)
	}
	if _, ok := claims["azp"]; ok {
		f.Errorf("azp, though the audience is one: %v", claims)
	}
	for name := range claims {
		if !slices.Contains(f.p.metadata["claims_supported"].([]any), any(name)) {
			f.Errorf("the claim %s is not among those supported", name)
		}
	}
	return claims
}

// wantHash checks that the access token is the one which came with the ID token (§3.1.3.6).
func (f *flow) wantHash(t grantedTokens) {
	f.Helper()
	sum := sha256.Sum256([]byte(t.Access))
	half := sum[:16]
	if headerOf(f, t.ID).Alg == "EdDSA" {
		long := sha512.Sum512([]byte(t.Access))
		half = long[:32]
	}
	if want := base64URL(half); t.claims["at_hash"] != want {
		f.Errorf("at_hash %v, want %s", t.claims["at_hash"], want)
	}
}

// first is a whole login: the browser is nobody's, and shows the login page.
func (f *flow) first(pairs ...string) grantedTokens {
	f.Helper()
	s := f.request(pairs...)
	return f.redeem(s, f.code(s, f.logIn(f.authorize(s))))
}

// again is a login without a page: the browser is logged in.
func (f *flow) again(pairs ...string) grantedTokens {
	f.Helper()
	s := f.request(pairs...)
	return f.redeem(s, f.code(s, f.authorize(s)))
}

// quietly is what an app gets that does not want its user to see a page.
func (f *flow) quietly() url.Values {
	f.Helper()
	s := f.request("prompt", "none")
	return f.back(s, f.authorize(s))
}

func (f *flow) isLoggedIn() bool {
	f.Helper()
	got := f.quietly()
	if got.Has("code") == (got.Get("error") == "login_required") {
		f.Errorf("%v", got)
	}
	return got.Has("code")
}

// get asks with an access token.
func (f *flow) get(address, access string) answer {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), http.MethodGet, address, nil)
	must(f, err)
	request.Header.Set("Authorization", "Bearer "+access)
	return f.p.do(request)
}

// userInfo is the answer of the UserInfo endpoint, which must be about the user of the ID token.
func (f *flow) userInfo(t grantedTokens) map[string]any {
	f.Helper()
	return f.wantUserInfo(f.get(f.p.endpoint("userinfo_endpoint"), t.Access), t)
}

func (f *flow) wantUserInfo(a answer, t grantedTokens) (told map[string]any) {
	f.Helper()
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		f.Fatalf("userinfo: %d %s", a.status, a.body)
	}
	must(f, json.Unmarshal([]byte(a.body), &told))
	if told["sub"] != t.claims["sub"] {
		f.Errorf("userinfo is about %v, and the ID token about %v", told["sub"], t.claims["sub"])
	}
	return told
}

// browser keeps cookies, follows redirects, and sends forms, as far as the service's own origin.
type browser struct {
	testing.TB
	home string // the origin of the service
	own  *http.Client
	// foreign sends the form of another site, to which a browser adds no cookie (SameSite=Lax)
	foreign *http.Client
}

func (p *provider) browser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	home, err := url.Parse(p.issuer)
	must(t, err)
	own, foreign := *p.client, *p.client
	own.Jar = jar
	return &browser{t, home.Scheme + "://" + home.Host, &own, &foreign}
}

// stop is where a browser has come to.
type stop struct {
	at     *url.URL
	away   bool // at is another site, of which nothing is loaded
	status int
	header http.Header
	body   string
}

// open follows a link on another site.
func (b *browser) open(address string) stop {
	b.Helper()
	return b.load(b.own, http.MethodGet, address, nil, "cross-site", "")
}

// post sends a form of another site.
func (b *browser) post(address string, form url.Values) stop {
	b.Helper()
	return b.load(b.foreign, http.MethodPost, address, form, "cross-site", "https://rp.example")
}

func (b *browser) load(
	by *http.Client, method, address string, form url.Values, site, origin string,
) stop {
	b.Helper()
	for range 10 {
		request, err := http.NewRequestWithContext(b.Context(), method, address,
			strings.NewReader(form.Encode()))
		must(b, err)
		request.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		request.Header.Set("Sec-Fetch-Site", site)
		if method == http.MethodPost {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Origin", origin)
		}
		a, err := send(by, request)
		must(b, err)
		if a.header.Get("Location") == "" {
			return stop{at: request.URL, status: a.status, header: a.header, body: a.body}
		}
		// Any other status makes some browsers send the password on to the app (RFC 9700 §4.12).
		if a.status != http.StatusSeeOther {
			b.Fatalf("a redirect by %d", a.status)
		}
		to, err := request.URL.Parse(a.header.Get("Location"))
		must(b, err)
		if to.Scheme+"://"+to.Host != b.home {
			return stop{at: to, away: true}
		}
		by, method, address, form = b.own, http.MethodGet, to.String(), nil
	}
	b.Fatalf("too many redirects, at last to %s", address)
	return stop{}
}

// htmlForm is a form of a page: what it sends by itself, and what it has to fill in or to press.
type htmlForm struct {
	action string
	values url.Values
	all    []string // names; of a button with its value
}

func (s stop) forms(t testing.TB) (found []*htmlForm) {
	t.Helper()
	document, err := html.Parse(strings.NewReader(s.body))
	must(t, err)
	var within *htmlForm
	for node := range document.Descendants() {
		attribute := map[string]string{}
		for _, a := range node.Attr {
			attribute[a.Key] = a.Val
		}
		switch {
		case node.Type != html.ElementNode:
		case node.Data == "form":
			within = &htmlForm{action: attribute["action"], values: url.Values{}}
			found = append(found, within)
		case within != nil && (node.Data == "input" || node.Data == "button"):
			name := attribute["name"]
			within.all = append(within.all, name)
			if node.Data == "button" { // which sends its own value alone
				within.all[len(within.all)-1] += "=" + attribute["value"]
			}
			if node.Data == "input" && attribute["type"] != "checkbox" && name != "" {
				within.values.Set(name, attribute["value"])
			}
		}
	}
	return found
}

// submit fills in the form that has all the given fields, and sends it.
func (b *browser) submit(s stop, pairs ...string) stop {
	b.Helper()
	for _, form := range s.forms(b) {
		has := true
		for n := 0; n < len(pairs); n += 2 {
			has = has && (slices.Contains(form.all, pairs[n]) || slices.Contains(form.all, pairs[n]+"="+pairs[n+1]))
			form.values.Set(pairs[n], pairs[n+1])
		}
		if has {
			to, err := s.at.Parse(form.action)
			must(b, err)
			return b.load(b.own, http.MethodPost, to.String(), form.values, "same-origin", b.home)
		}
	}
	b.Fatalf("no form for %v at %s: %d %s", pairs[0], s.at, s.status, s.body)
	return stop{}
}

// wantPage checks that the browser was left on a page, and is led nowhere else from it.
func (f *flow) wantPage(at stop, status int, nowhere ...string) {
	f.Helper()
	if at.away || at.status != status || !strings.HasPrefix(at.header.Get("Content-Type"), "text/html") {
		f.Errorf("at %s: %d %s", at.at, at.status, at.body)
	}
	for _, address := range nowhere {
		if strings.Contains(at.body, address) {
			f.Errorf("the page names %s", address)
		}
	}
}

func base64URL(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }
