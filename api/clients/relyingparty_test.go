package clients_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
)

// The library's handlers keep state and verifier in cookies, and check all that comes back. It
// repeats the scope at each refresh, and asks for the end of a session on its own.
func TestTheRelyingPartyOfZitadelLogsInRefreshesAndLogsOut(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]oauth2.AuthStyle{
		"Basic": oauth2.AuthStyleInHeader, "form": oauth2.AuthStyleInParams,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer, databaseURL := serve(t)
			register(t, issuer)
			admin := adminOf(t, databaseURL)
			mux := http.NewServeMux()
			shop := httptest.NewServer(mux)
			t.Cleanup(shop.Close)
			_, secret, err := admin.Clients.Add(t.Context(), authtest.Operator(), auth.Client{
				ID: "shop", Title: "Shop", Confidential: true,
				RedirectURIs:           []string{shop.URL + "/callback"},
				PostLogoutRedirectURIs: []string{shop.URL + "/bye"},
				GrantTypes:             []string{auth.GrantRefreshToken},
			})
			must(t, err)
			cookies := httphelper.NewCookieHandler([]byte(strings.Repeat("h", 32)), nil,
				httphelper.WithUnsecure()) // on this machine there is no TLS
			party, err := rp.NewRelyingPartyOIDC(t.Context(), issuer, "shop", secret,
				shop.URL+"/callback", []string{oidc.ScopeOpenID, oidc.ScopeProfile},
				rp.WithPKCE(cookies), rp.WithCookieHandler(cookies), rp.WithAuthStyle(style),
				rp.WithSigningAlgsFromDiscovery())
			must(t, err)
			var tokens *oidc.Tokens[*oidc.IDTokenClaims]
			mux.Handle("/login", rp.AuthURLHandler(func() string { return "a state" }, party))
			mux.Handle("/callback", rp.CodeExchangeHandler(rp.UserinfoCallback(func(
				w http.ResponseWriter, _ *http.Request, got *oidc.Tokens[*oidc.IDTokenClaims],
				_ string, _ rp.RelyingParty, user *oidc.UserInfo,
			) {
				tokens = got
				_, _ = io.WriteString(w, "Hello, "+user.Name)
			}), party))
			mux.HandleFunc("/bye", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "Bye")
			})

			p := newPerson(t)
			p.wantShown(p.logsIn(shop.URL+"/login"), "Hello, "+username)
			p.wantShown(p.opens(shop.URL+"/login"), "Hello, "+username) // without the password
			refreshed, err := rp.RefreshTokens[*oidc.IDTokenClaims](
				t.Context(), party, tokens.RefreshToken, "", "")
			must(t, err)
			if refreshed.IDTokenClaims.Subject != tokens.IDTokenClaims.Subject {
				t.Errorf("another user after a refresh: %s", refreshed.IDTokenClaims.Subject)
			}
			onward, err := rp.EndSession(t.Context(), party, refreshed.IDToken, shop.URL+"/bye",
				"a state", "", nil)
			must(t, err)
			p.wantShown(p.opens(onward.String()), "Bye")
			p.wantShown(p.logsIn(shop.URL+"/login"), "Hello, "+username) // by the password again

			_, err = admin.Accounts.Disable(t.Context(), authtest.Operator(),
				auth.ByName(username), nil)
			must(t, err)
			_, err = rp.RefreshTokens[*oidc.IDTokenClaims](
				t.Context(), party, tokens.RefreshToken, "", "")
			if err == nil || !strings.Contains(err.Error(), "invalid_grant") {
				t.Errorf("a banned user's refresh: %v", err)
			}
			if page := p.opens(shop.URL + "/login"); next.FindString(page.body) == "" {
				t.Errorf("a banned user is at %s and not at the login", page.at)
			}
		})
	}
}

func adminOf(t *testing.T, databaseURL string) *app.Admin {
	t.Helper()
	admin, err := app.OpenAdmin(t.Context(),
		config.Database{DatabaseURL: databaseURL, DatabaseStatementTimeout: time.Minute},
		config.Passwords{BcryptCost: 10, PasswordMinLength: 8, InitialSecretHours: 72})
	must(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	return admin
}

// person is somebody at a browser, which keeps cookies and follows redirects.
type person struct {
	testing.TB
	browser *http.Client
}

func newPerson(t *testing.T) person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return person{t, &http.Client{Jar: jar}}
}

func (p person) opens(address string) shown {
	p.Helper()
	answer, err := p.browser.Get(address)
	if err != nil {
		p.Fatal(err)
	}
	return p.shows(answer)
}

// shown is what a browser shows after all redirects.
type shown struct {
	at   *url.URL
	body string
}

func (p person) shows(answer *http.Response) shown {
	p.Helper()
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.Fatal(err)
	}
	return shown{answer.Request.URL, string(text)}
}

var next = regexp.MustCompile(`name="next" value="([^"]*)"`)

// logsIn opens a page that leads to the login, and logs in there.
func (p person) logsIn(address string) shown {
	p.Helper()
	page := p.opens(address)
	found := next.FindStringSubmatch(page.body)
	if found == nil {
		p.Fatalf("%s leads to %s, which is no login:\n%s", address, page.at, page.body)
	}
	answer, err := p.browser.PostForm(page.at.Scheme+"://"+page.at.Host+"/login", url.Values{
		"username": {username}, "password": {password}, "next": {html.UnescapeString(found[1])},
	})
	if err != nil {
		p.Fatal(err)
	}
	return p.shows(answer)
}

func (p person) wantShown(page shown, want string) {
	p.Helper()
	if page.body != want {
		p.Fatalf("%s shows %s", page.at, page.body)
	}
}
