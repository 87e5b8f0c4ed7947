package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/token"
)

// sentBack lets the user log in at an address that a library has made, and returns the URL of the
// app that the browser comes back to.
func (f *flow) sentBack(address string) *url.URL {
	f.Helper()
	at := f.logIn(f.browser.open(address))
	if !at.away || !strings.HasPrefix(at.at.String(), callback+"?") {
		f.Fatalf("not sent back, but at %s: %d %s", at.at, at.status, at.body)
	}
	return at.at
}

func (f *flow) ban() {
	f.Helper()
	_, err := f.p.admin.Accounts.Disable(f.Context(), authtest.Operator(), auth.ByName(f.username), nil)
	must(f, err)
}

// The library checks signature, audience, times and issuer by itself, and the hash of the access
// token if it is told to. An app in Go gets by with it alone, or with nothing.
func TestTheOpenIDLibraryOfGoLogsInRefreshesAndHearsOfABan(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	for _, algorithm := range token.IDAlgorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			told := record(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			f := p.flow(t, func(c *auth.Client) {
				c.IDTokenAlgorithm, c.BackchannelLogoutURI = algorithm, told.URL
			})
			ctx := oidc.ClientContext(t.Context(), p.client)
			provider, err := oidc.NewProvider(ctx, p.issuer)
			must(t, err)
			library := oauth2.Config{ClientID: f.app.ID, ClientSecret: f.app.secret,
				Endpoint: provider.Endpoint(), RedirectURL: callback,
				Scopes: []string{oidc.ScopeOpenID, oidc.ScopeProfile}}
			ids := provider.Verifier(&oidc.Config{ClientID: f.app.ID})
			verifier := oauth2.GenerateVerifier()
			back := f.sentBack(library.AuthCodeURL("a state", oidc.Nonce("a nonce"),
				oauth2.S256ChallengeOption(verifier))).Query()
			if back.Get("state") != "a state" || back.Get("iss") != p.issuer {
				t.Errorf("sent back with %v", back)
			}
			tokens, err := library.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(verifier))
			must(t, err)
			first := f.identified(ctx, ids, tokens)
			if first.Nonce != "a nonce" {
				t.Errorf("the nonce is %q", first.Nonce)
			}
			info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
			must(t, err)
			if info.Subject != first.Subject {
				t.Errorf("the user is %s, and %s", first.Subject, info.Subject)
			}
			refresh := func() (*oauth2.Token, error) {
				return library.TokenSource(ctx,
					&oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
			}
			tokens, err = refresh()
			must(t, err)
			if again := f.identified(ctx, ids, tokens); again.Subject != first.Subject {
				t.Errorf("another user after a refresh: %s", again.Subject)
			}

			f.ban()
			_, err = refresh()
			if refused, ok := errors.AsType[*oauth2.RetrieveError](err); !ok ||
				refused.ErrorCode != "invalid_grant" {
				t.Errorf("a banned user's refresh: %v", err)
			}
			if _, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens)); err == nil {
				t.Error("an app is told of a banned user")
			}
			f.wantLogout(ctx, ids, told, first)
		})
	}
}

// identified returns what the library finds in an ID token.
func (f *flow) identified(
	ctx context.Context, ids *oidc.IDTokenVerifier, tokens *oauth2.Token,
) *oidc.IDToken {
	f.Helper()
	raw, _ := tokens.Extra("id_token").(string)
	id, err := ids.Verify(ctx, raw)
	must(f, err)
	must(f, id.VerifyAccessToken(tokens.AccessToken))
	var claims struct{ Name string }
	must(f, id.Claims(&claims))
	if claims.Name != f.username {
		f.Errorf("the user is %q", claims.Name)
	}
	return id
}

// wantLogout waits for a logout token that the library takes, of the session of an ID token.
func (f *flow) wantLogout(
	ctx context.Context, ids *oidc.IDTokenVerifier, told *recorder, of *oidc.IDToken,
) {
	f.Helper()
	var session struct{ SID string }
	must(f, of.Claims(&session))
	var got []recorded
	asynctest.Await(f, "a logout token", func() bool {
		got = told.take()
		return len(got) > 0
	})
	form, err := url.ParseQuery(got[0].body)
	must(f, err)
	ended, err := ids.VerifyLogout(ctx, form.Get("logout_token"))
	must(f, err)
	if ended.Subject != of.Subject || ended.SessionID != session.SID || session.SID == "" {
		f.Errorf("the logout is of %s %s, want %s %s", ended.Subject, ended.SessionID, of.Subject,
			session.SID)
	}
}

// Authlib finds the endpoints by discovery, and checks the ID token by the key set.
func TestAuthlibLogsInByDiscoveryAndCode(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	for _, way := range []string{"client_secret_basic", "client_secret_post", "none"} {
		t.Run(way, func(t *testing.T) {
			f := p.flow(t, func(c *auth.Client) { c.Confidential = way != "none" })
			script := f.script("authlib_code.py", p.issuer, f.app.ID, f.app.secret, way, callback)
			script.writes(f.sentBack(script.reads()["authorize"].(string)).String())
			if said := script.reads(); said["name"] != f.username || said["nonce"] != true ||
				said["refreshed"] != true || said["userinfo"] != f.username {
				t.Errorf("logged in: %v", said)
			}
			f.ban()
			script.writes("banned")
			if said := script.reads(); said["refresh"] != "invalid_grant" ||
				said["userinfo"] != float64(http.StatusUnauthorized) {
				t.Errorf("banned: %v", said)
			}
		})
	}
}

// conversation is with a program of testdata. It says JSON, one line each.
type conversation struct {
	testing.TB
	says  *bufio.Scanner
	hears io.Writer
}

func (f *flow) script(file string, args ...string) conversation {
	f.Helper()
	command := exec.CommandContext(f.Context(), debianPython,
		append([]string{"testdata/" + file}, args...)...)
	command.Env = append(os.Environ(), "NO_PROXY=127.0.0.1",
		"AUTHLIB_INSECURE_TRANSPORT=1") // it wants https even on this machine
	command.Stderr = f.p.log
	says, err := command.StdoutPipe()
	must(f, err)
	hears, err := command.StdinPipe()
	must(f, err)
	must(f, command.Start())
	f.Cleanup(func() {
		hears.Close()
		_ = command.Wait() // what it says is looked at
	})
	return conversation{f.T, bufio.NewScanner(says), hears}
}

func (c conversation) reads() (said map[string]any) {
	c.Helper()
	if !c.says.Scan() {
		c.Fatal("the program has ended")
	}
	must(c, json.Unmarshal(c.says.Bytes(), &said))
	return said
}

func (c conversation) writes(line string) {
	c.Helper()
	_, err := io.WriteString(c.hears, line+"\n")
	must(c, err)
}
