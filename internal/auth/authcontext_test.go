package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// proved makes the login of a session one by these methods, so long ago.
func (c *clocked) proved(session uuid.UUID, ago time.Duration, methods ...string) {
	c.Helper()
	_, err := c.conn.Exec(c.Context(),
		`UPDATE sessions SET auth_time = now() - $1::interval, amr = $2 WHERE id = $3`,
		ago, methods, session)
	must(c, err)
}

// loginOf is what an access token says of the login.
func loginOf(t *testing.T, g auth.Grant) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(g.AccessToken, ".")[1])
	must(t, err)
	var said struct {
		ACR      string   `json:"acr"`
		AMR      []string `json:"amr"`
		AuthTime int64    `json:"auth_time"`
	}
	must(t, json.Unmarshal(payload, &said))
	return fmt.Sprint(said.ACR, said.AMR, said.AuthTime)
}

// A service that demands a strong or a recent login must not lose sight of it with a refresh.
func TestEveryTokenOfASessionSaysHowItsUserLoggedIn(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	plain := c.login("alice")
	id := c.access(plain).SessionID
	state, err := c.store.SessionByID(c.Context(), id)
	must(t, err)
	want := fmt.Sprint("aal1", []string{"pwd"}, state.AuthTime.Unix())
	if got := loginOf(t, plain); got != want {
		t.Errorf("of a login: %s, want %s", got, want)
	}
	c.proved(id, time.Hour, "pwd", "otp", "mfa")
	old := fmt.Sprint("aal2", []string{"pwd", "otp", "mfa"}, time.Now().Add(-time.Hour).Unix()/60)
	again := c.mustRefresh(plain.RefreshToken)
	inMinutes := func(g auth.Grant) string {
		a := c.access(g)
		return fmt.Sprint(a.ACR, []string{"pwd", "otp", "mfa"}, a.AuthTime.Unix()/60)
	}
	if got := inMinutes(again); got != old || loginOf(t, again) == loginOf(t, plain) {
		t.Errorf("of a refresh: %s, want %s", got, old)
	}
	changed, err := c.Logins.ChangePassword(
		c.Context(), c.access(again), goodPassword, "another good password")
	must(t, err)
	if loginOf(t, changed) != loginOf(t, again) {
		t.Errorf("after a change of the password: %s, want %s", loginOf(t, changed), loginOf(t, again))
	}
}

func TestAnAppsTokensSayHowTheUserOfTheBrowserLoggedIn(t *testing.T) {
	t.Parallel()
	c, shop, alice := shopWithAlice(t)
	c.proved(alice.Access.SessionID, time.Hour, "pwd", "pop", "mfa")
	grant, err := c.redeem(shop, c.code(alice))
	must(t, err)
	id, err := c.IDTokens.VerifyHint(grant.IDToken)
	must(t, err)
	want := fmt.Sprint("aal2", []string{"pwd", "pop", "mfa"}, id.AuthTime.Unix())
	if got := fmt.Sprint(id.ACR, id.AMR, id.AuthTime.Unix()); got != want ||
		time.Since(id.AuthTime) < time.Hour {
		t.Errorf("the ID token says %s", got)
	}
	for name, g := range map[string]auth.Grant{
		"the code": grant, "the refresh": c.mustRefreshBy(shop, grant),
	} {
		if got := loginOf(t, g); got != want {
			t.Errorf("the access token of %s says %s, want %s", name, got, want)
		}
	}
}

// A client would otherwise satisfy demands that are made of people.
func TestAnAppDemandsAProofByAnAgeOrByAPrompt(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		"": false, "prompt=consent": false, "prompt=loginx": false, "client_id=login": false,
		"max_age=300": true, "max_age=": true, "prompt=login": true, "prompt=consent+login": true,
	} {
		parameters, err := url.ParseQuery(query)
		must(t, err)
		if got := auth.DemandsProof(parameters); got != want {
			t.Errorf("%q: %t", query, got)
		}
	}
}

func TestAClientsOwnTokenSaysNothingOfALogin(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.app("job", func(c *auth.Client) {
		c.GrantTypes, c.RedirectURIs = []string{auth.GrantClientCredentials}, nil
	})
	grant, err := c.Tokens.ForClient(c.Context(), c.client("job"), auth.Narrowing{})
	must(t, err)
	if access := c.access(grant); loginOf(t, grant) != fmt.Sprint("", []string(nil), 0) ||
		access.ACR != "" || !access.AuthTime.IsZero() {
		t.Errorf("%s, %+v", loginOf(t, grant), access)
	}
}

func TestTheSessionOfABrowserSaysHowItsUserLoggedIn(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.register("alice")
	grant := c.inBrowser("alice", auth.BrowserLogin{})
	alice := c.browser(grant.Cookie)
	if alice.Access.ACR != "aal1" || !alice.Access.AuthTime.Equal(alice.AuthTime) {
		t.Errorf("%+v", alice.Access)
	}
	c.proved(alice.Access.SessionID, time.Hour, "pwd", "otp", "mfa")
	checked, err := c.Browsers.Check(c.Context(), grant.Cookie)
	must(t, err)
	if checked.ACR != "aal2" || time.Since(checked.AuthTime) < time.Hour {
		t.Errorf("for a proxy: %+v", checked)
	}
}

// An app that demands two factors must not get in with one. One that demands what nobody has here
// is told at once.
func TestARequestDemandsTheWeakestLoginThatTheAppLists(t *testing.T) {
	t.Parallel()
	c := startClocked(t)
	c.app("shop", nil)
	essential := func(values string) string {
		return `{"id_token":{"acr":{"essential":true,"values":[` + values + `]}}}`
	}
	for name, test := range map[string]struct {
		values, claims, want string
		err                  error
	}{
		"nothing":                    {},
		"two":                        {values: "aal2", want: "aal2"},
		"one":                        {values: "aal1", want: "aal1"},
		"two or one":                 {values: "aal2 aal1", want: "aal1"},
		"unknown":                    {values: "phr urn:example:gold"},
		"unknown or two":             {values: "phr aal2", want: "aal2"},
		"essentially two":            {claims: essential(`"aal2"`), want: "aal2"},
		"essentially one":            {claims: essential(`"aal1"`), want: "aal1"},
		"essentially any":            {claims: `{"id_token":{"acr":{"essential":true}}}`},
		"essentially unknown":        {claims: essential(`"phr"`), err: auth.ErrUnmetRequirements},
		"two, and essentially one":   {values: "aal2", claims: essential(`"aal1"`), want: "aal2"},
		"one, and essentially two":   {values: "aal1", claims: essential(`"aal2"`), want: "aal2"},
		"essentially unknown or two": {claims: essential(`"phr","aal2"`), want: "aal2"},
		"a wish for two":             {claims: `{"id_token":{"acr":{"value":"aal2"}}}`},
	} {
		got, err := c.Authorizations.Parse(c.Context(),
			parameters("acr_values", test.values, "claims", test.claims))
		if got.ACR != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v", name, got.ACR, err)
		}
	}
}

// An app that demands a proof must not get in with an older one, or with a weaker one.
func TestAnAppThatDemandsAProofGetsOneThatIsNew(t *testing.T) {
	t.Parallel()
	c, _, _ := shopWithAlice(t)
	for name, test := range map[string]struct {
		pairs   []string
		methods []string // of the session before the demand
		first   auth.AuthorizationStep
		quiet   error
		after   error // if the login that follows is by password alone
	}{
		"nothing":      {methods: []string{"pwd"}, first: auth.StepCode},
		"prompt=login": {[]string{"prompt", "login"}, []string{"pwd"}, auth.StepLogin, nil, nil},
		"max_age=0": {
			[]string{"max_age", "0"}, []string{"pwd"}, auth.StepLogin, auth.ErrLoginRequired, nil,
		},
		"max_age": {
			[]string{"max_age", "60"}, []string{"pwd"}, auth.StepLogin, auth.ErrLoginRequired, nil,
		},
		"max_age of a strong login": {
			[]string{"max_age", "60"}, []string{"pwd", "otp", "mfa"}, auth.StepLogin,
			auth.ErrLoginRequired, nil,
		},
		"two factors": {
			[]string{"acr_values", "aal2"}, []string{"pwd"}, auth.StepLogin, auth.ErrLoginRequired,
			auth.ErrUnmetRequirements,
		},
		"two factors, which are there": {
			[]string{"acr_values", "aal2"}, []string{"pwd", "otp", "mfa"}, auth.StepCode, nil,
			auth.ErrUnmetRequirements,
		},
		"one factor": {[]string{"acr_values", "aal1"}, []string{"pwd"}, auth.StepCode, nil, nil},
		"one factor, and two are there": {
			[]string{"acr_values", "aal1"}, []string{"pwd", "mfa"}, auth.StepCode, nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			grant := c.inBrowser("alice", auth.BrowserLogin{})
			id := c.browser(grant.Cookie).Access.SessionID
			c.proved(id, time.Hour, test.methods...)
			before := c.browser(grant.Cookie)
			request := c.request(test.pairs...)
			if step, err := request.Next(&before, nil); step != test.first || err != nil {
				t.Fatalf("step %d, %v", step, err)
			}
			if test.first == auth.StepLogin && test.quiet != nil {
				quiet := c.request(append(test.pairs, "prompt", "none")...)
				if _, err := quiet.Next(&before, nil); !errors.Is(err, test.quiet) {
					t.Errorf("quietly: %v", err)
				}
			}
			again := c.request(append(test.pairs, auth.DemandParameter,
				c.Authorizations.DemandLogin(request, &before))...)
			if step, _ := again.Next(&before, nil); step != test.first {
				t.Errorf("without a login, the demand alone gives step %d", step)
			}
			next := c.inBrowser("alice", auth.BrowserLogin{Cookie: grant.Cookie})
			after := c.browser(next.Cookie)
			if step, err := again.Next(&after, nil); !errors.Is(err, test.after) ||
				err == nil && step != auth.StepCode {
				t.Errorf("after a login: step %d, %v", step, err)
			}
			c.proved(after.Access.SessionID, 0, "pwd", "otp", "mfa")
			strong := c.browser(next.Cookie)
			if step, err := again.Next(&strong, nil); step != auth.StepCode || err != nil {
				t.Errorf("after a strong login: step %d, %v", step, err)
			}
		})
	}
}
