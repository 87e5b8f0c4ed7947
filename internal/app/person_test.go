package app_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"gatehouse.example/internal/dbtest"
)

// bootIssuer starts a service at the URL that its tokens and documents name, as apps need it.
func bootIssuer(t *testing.T, flags ...string) (r *replica, databaseURL string) {
	t.Helper()
	databaseURL = dbtest.New(t)
	return bootAtIssuer(t, databaseURL, flags...), databaseURL
}

// bootAtIssuer is bootIssuer on a database that is there.
func bootAtIssuer(t *testing.T, databaseURL string, flags ...string) *replica {
	t.Helper()
	address := dbtest.FreeAddr(t)
	issuer := "http://" + atLocalhost(address)
	r := boot(t, databaseURL, append([]string{"--listen-addr=" + address, "--issuer=" + issuer,
		"--algorithm=ES256"}, flags...)...)
	r.public = issuer
	return r
}

func atLocalhost(address string) string {
	return strings.Replace(address, "127.0.0.1", "localhost", 1)
}

// person is somebody at a browser without scripts, which keeps cookies and follows redirects.
type person struct {
	*replica
	browser *http.Client
}

func (r *replica) person() *person {
	r.Helper()
	jar, err := cookiejar.New(nil)
	must(r, err)
	service, err := url.Parse(r.public)
	must(r, err)
	return &person{r, &http.Client{Jar: jar, Transport: &byHost{
		service.Host, r.client.Transport, newClient(r).Transport,
	}}}
}

// byHost sends what is for the service on a way that compares it with the contract.
type byHost struct {
	service          string
	checked, onwards http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (b *byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == b.service {
		return b.checked.RoundTrip(r)
	}
	return b.onwards.RoundTrip(r)
}

// shown is what a browser shows after all redirects.
type shown struct {
	at     *url.URL
	status int
	body   string
}

func (p *person) opens(address string) shown {
	p.Helper()
	request, err := http.NewRequest(http.MethodGet, address, nil)
	must(p, err)
	return p.sends(request)
}

func (p *person) posts(address string, form url.Values) shown {
	p.Helper()
	request, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	must(p, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.sends(request)
}

func (p *person) sends(request *http.Request) shown {
	p.Helper()
	request.Header.Set("Accept", "text/html,*/*;q=0.8")
	response, err := p.browser.Do(request.WithContext(p.Context()))
	must(p, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(p, err)
	return shown{response.Request.URL, response.StatusCode, string(body)}
}

var (
	formAction  = regexp.MustCompile(`<form method="?post"? action="?([^">]*)`)
	hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// sendsForm sends the first form of a page, with what the person types into it.
func (p *person) sendsForm(page shown, typed ...string) shown {
	p.Helper()
	action := formAction.FindStringSubmatch(page.body)
	if action == nil {
		p.Fatalf("%s has no form: %d\n%s", page.at, page.status, page.body)
	}
	to, err := page.at.Parse(html.UnescapeString(action[1]))
	must(p, err)
	form := url.Values{}
	for _, field := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		form.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	for n := 0; n < len(typed); n += 2 {
		form.Set(typed[n], typed[n+1])
	}
	return p.posts(to.String(), form)
}

// visitor is somebody at a browser.
type visitor interface {
	opens(address string) shown
	// sendsForm sends the one form of a page that is shown. typed is name, value, name, value, …
	sendsForm(page shown, typed ...string) shown
}

// isLogin reports whether the page is the service's login.
func (r *replica) isLogin(page shown) bool {
	return strings.HasPrefix(page.at.String(), r.public+"/login") &&
		strings.Contains(page.body, `name="password"`)
}

// logsIn opens an app, which must send the visitor to the login, and returns what is shown then.
func (r *replica) logsIn(v visitor, app string) shown {
	r.Helper()
	page := v.opens(app)
	if !r.isLogin(page) {
		r.Fatalf("%s leads to %s: %d\n%s", app, page.at, page.status, page.body)
	}
	return v.sendsForm(page, "username", "alice", "password", goodPassword)
}
