package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/dbtest"
)

// registered has clients of a running service, with both grants, and the account alice.
type registered struct {
	*replica
	databaseURL string
	secret      string // the secret of the client shop; the client app is public
}

const alicesPassword = "a good password of alice's"

func bootWithClients(t *testing.T) registered {
	t.Helper()
	databaseURL := dbtest.New(t)
	r := registered{replica: boot(t, databaseURL), databaseURL: databaseURL}
	admin := adminOf(t, databaseURL)
	both := []string{auth.GrantPassword, auth.GrantRefreshToken}
	var err error
	_, r.secret, err = admin.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "shop", Title: "Shop", Confidential: true, GrantTypes: both})
	must(t, err)
	_, _, err = admin.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "app", Title: "App", GrantTypes: both})
	must(t, err)
	_, _, err = admin.Accounts.Register(t.Context(), authtest.Operator(),
		auth.NewAccount{Username: "alice", Password: alicesPassword})
	must(t, err)
	return r
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

// If a library does not get its tokens, nobody can use it with this service, whatever the RFCs say.
func TestTheOAuth2LibraryOfGoLogsInAndRefreshes(t *testing.T) {
	t.Parallel()
	r := bootWithClients(t)
	for name, test := range map[string]struct {
		id, secret string
		style      oauth2.AuthStyle
	}{
		"Basic":               {"shop", r.secret, oauth2.AuthStyleInHeader},
		"form":                {"shop", r.secret, oauth2.AuthStyleInParams},
		"what it finds out":   {"shop", r.secret, oauth2.AuthStyleAutoDetect},
		"public, Basic":       {"app", "", oauth2.AuthStyleInHeader},
		"public, form":        {"app", "", oauth2.AuthStyleInParams},
		"first-party":         {"gatehouse", "", oauth2.AuthStyleInParams},
		"first-party, unsaid": {"", "", oauth2.AuthStyleInParams},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, r.client)
			library := oauth2.Config{ClientID: test.id, ClientSecret: test.secret,
				Endpoint: oauth2.Endpoint{TokenURL: r.public + "/token", AuthStyle: test.style}}
			first, err := library.PasswordCredentialsToken(ctx, "alice", alicesPassword)
			must(t, err)
			second, err := library.TokenSource(ctx,
				&oauth2.Token{RefreshToken: first.RefreshToken}).Token()
			must(t, err)
			if second.RefreshToken == first.RefreshToken || second.Type() != "Bearer" ||
				time.Until(second.Expiry) < time.Minute {
				t.Errorf("refreshed: %v, %s, %v", second.RefreshToken != first.RefreshToken,
					second.Type(), second.Expiry)
			}
			me, err := library.Client(ctx, second).Get(r.public + "/users/me")
			must(t, err)
			defer me.Body.Close()
			if me.StatusCode != http.StatusOK {
				t.Errorf("%d", me.StatusCode)
			}
		})
	}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, r.client)
	library := oauth2.Config{ClientID: "shop", ClientSecret: "guess",
		Endpoint: oauth2.Endpoint{TokenURL: r.public + "/token",
			AuthStyle: oauth2.AuthStyleInHeader}}
	_, err := library.PasswordCredentialsToken(ctx, "alice", alicesPassword)
	if refused, ok := err.(*oauth2.RetrieveError); !ok || refused.ErrorCode != "invalid_client" ||
		refused.ErrorDescription == "" {
		t.Errorf("a wrong secret: %v", err)
	}
}

// Every replica refuses a client that was disabled, or has other rights, without looking at the
// database.
func TestTheOAuth2LibraryOfGoGetsAClientItsOwnTokenUntilItMayNotAnyMore(t *testing.T) {
	t.Parallel()
	r := bootWithClients(t)
	other := boot(t, r.databaseURL)
	admin := adminOf(t, r.databaseURL)
	_, secret, err := admin.Clients.Add(t.Context(), authtest.Operator(),
		auth.Client{ID: "job", Title: "Job", Confidential: true,
			GrantTypes: []string{auth.GrantClientCredentials}})
	must(t, err)
	for _, role := range []string{"clerk", "spare"} {
		_, _, err = admin.Roles.Set(t.Context(), authtest.Operator(), role,
			auth.RoleEdit{Permissions: []auth.Permission{"files:read"}}, auth.Condition{})
		must(t, err)
	}
	must(t, admin.Clients.GrantRole(t.Context(), authtest.Operator(), "job", "clerk"))
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, r.client)
	changes := map[oauth2.AuthStyle]func() error{
		oauth2.AuthStyleInHeader: func() error {
			return admin.Clients.GrantRole(ctx, authtest.Operator(), "job", "spare")
		},
		oauth2.AuthStyleInParams: func() error {
			return admin.Clients.Disable(ctx, authtest.Operator(), "job", nil)
		},
	}
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		library := clientcredentials.Config{ClientID: "job", ClientSecret: secret,
			TokenURL: r.public + "/token", AuthStyle: style}
		got, err := library.Token(ctx)
		must(t, err)
		if got.RefreshToken != "" || got.Extra("scope") != "files:read" {
			t.Errorf("%v, scope %v", got.RefreshToken != "", got.Extra("scope"))
		}
		asks := func(at *replica) int {
			return at.do(at.request("GET", "/verify?permission=files:read", "", "Authorization",
				"Bearer "+got.AccessToken)).status
		}
		for _, at := range []*replica{r.replica, other} {
			if status := asks(at); status != http.StatusNoContent {
				t.Errorf("live: %d", status)
			}
		}
		must(t, changes[style]())
		for _, at := range []*replica{r.replica, other} {
			asynctest.Await(t, "a refusal",
				func() bool { return asks(at) == http.StatusUnauthorized })
		}
	}
	library := clientcredentials.Config{ClientID: "job", ClientSecret: secret,
		TokenURL: r.public + "/token", AuthStyle: oauth2.AuthStyleInHeader}
	_, err = library.Token(ctx)
	if refused, ok := err.(*oauth2.RetrieveError); !ok || refused.ErrorCode != "invalid_client" {
		t.Errorf("disabled: %v", err)
	}
}

// debianPython is the Python that has Debian's packages.
const debianPython = "/usr/bin/python3"

// scripted is what a program in testdata prints.
type scripted struct {
	Status      int            `json:"status"`
	Refreshed   bool           `json:"refreshed"`
	AccessToken string         `json:"access_token"`
	Live        map[string]any `json:"live"`
	Revoked     int            `json:"revoked"`
	Then        map[string]any `json:"then"`
}

func (r registered) script(t *testing.T, module, file string, args ...string) (printed scripted) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), debianPython, "-c",
		"import "+module).Run(); err != nil {
		t.Skipf("%s has no %s (on Debian: apt-get install python3-requests-oauthlib python3-authlib): %v", debianPython, module, err)
	}
	command := exec.CommandContext(t.Context(), debianPython,
		append([]string{filepath.Join("testdata", file), r.public}, args...)...)
	command.Env = append(os.Environ(), "TEST_PASSWORD="+alicesPassword, "NO_PROXY=127.0.0.1")
	out, err := command.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		t.Fatalf("%v: %s", err, failed.Stderr)
	}
	must(t, err)
	must(t, json.Unmarshal(out, &printed))
	if printed.Status != http.StatusOK || !printed.Refreshed || printed.AccessToken == "" {
		t.Errorf("%s", out)
	}
	return printed
}

func TestRequestsOAuthlibLogsInAndRefreshes(t *testing.T) {
	t.Parallel()
	r := bootWithClients(t)
	for name, args := range map[string][]string{
		"Basic": {"shop", r.secret, "basic"}, "form": {"shop", r.secret, "form"},
		"public": {"app", "", "form"}, "public, Basic": {"app", "", "basic"},
		"first-party": {"gatehouse", "", "form"},
	} {
		t.Run(name, func(t *testing.T) {
			printed := r.script(t, "requests_oauthlib", "requests_oauthlib_client.py", args...)
			asked := r.do(
				r.request("POST", "/introspect",
					url.Values{"token": {printed.AccessToken}, "client_id": {"shop"},
						"client_secret": {r.secret}}.Encode(),
					"Content-Type", "application/x-www-form-urlencoded"))
			var said map[string]any
			must(t, json.Unmarshal([]byte(asked.body), &said))
			if said["active"] != true || said["client_id"] != args[0] {
				t.Errorf("%s", asked.body)
			}
		})
	}
}

func TestAuthlibLogsInRefreshesAsksAndRevokes(t *testing.T) {
	t.Parallel()
	r := bootWithClients(t)
	for _, way := range []string{"client_secret_basic", "client_secret_post"} {
		t.Run(way, func(t *testing.T) {
			printed := r.script(t, "authlib", "authlib_client.py", "shop", r.secret, way)
			if printed.Live["active"] != true || printed.Live["client_id"] != "shop" ||
				printed.Live["username"] != "alice" || printed.Revoked != http.StatusOK {
				t.Errorf("%+v", printed)
			}
			if len(printed.Then) != 1 || printed.Then["active"] != false {
				t.Errorf("after the revocation: %v", printed.Then)
			}
		})
	}
}
