package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/uuid"
	"golang.org/x/oauth2"

	"gatehouse.example/internal/otp"
)

// An app that wants two factors must get them, and be told so by the ID token. A login from before,
// by the password alone, is not enough for it, and one by both is enough until it wants a new one.
func TestTheOpenIDLibraryOfGoGetsALoginByTwoFactors(t *testing.T) {
	t.Parallel()
	p := startProvider(t, "")
	f := p.flow(t)
	if first := f.first(); first.claims["acr"] != "aal1" {
		t.Errorf("by the password alone: %v", first.claims)
	}
	var id uuid.UUID
	conn := connect(t, p.databaseURL)
	must(t, conn.QueryRow(t.Context(),
		"SELECT id FROM users WHERE username = $1", f.username).Scan(&id))
	app := insertApp(t, conn, secretKey, id)

	ctx := oidc.ClientContext(t.Context(), p.client)
	provider, err := oidc.NewProvider(ctx, p.issuer)
	must(t, err)
	library := oauth2.Config{ClientID: f.app.ID, ClientSecret: f.app.secret,
		Endpoint: provider.Endpoint(), RedirectURL: callback, Scopes: []string{oidc.ScopeOpenID}}
	verifier := oauth2.GenerateVerifier()
	ask := func(more ...oauth2.AuthCodeOption) stop {
		return f.browser.open(library.AuthCodeURL("state", append(more,
			oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("acr_values", "aal2"))...))
	}
	proved := func(at stop) {
		t.Helper()
		if !at.away {
			t.Fatalf("the browser is at %s: %s", at.at, at.body)
		}
		tokens, err := library.Exchange(ctx, at.at.Query().Get("code"), oauth2.VerifierOption(verifier))
		must(t, err)
		raw, _ := tokens.Extra("id_token").(string)
		token, err := provider.Verifier(&oidc.Config{ClientID: f.app.ID}).Verify(ctx, raw)
		must(t, err)
		var says struct {
			ACR string   `json:"acr"`
			AMR []string `json:"amr"`
		}
		must(t, token.Claims(&says))
		if says.ACR != "aal2" || !slices.Contains(says.AMR, "otp") || !slices.Contains(says.AMR, "mfa") {
			t.Errorf("the ID token says %+v", says)
		}
	}
	both := func(at stop, ahead int64) stop {
		return f.browser.submit(f.logIn(at), "factor", app.Code(otp.Step(time.Now())+ahead))
	}
	proved(both(ask(), 0))
	proved(ask()) // without a page
	anew := ask(oauth2.SetAuthURLParam("prompt", "login"))
	if anew.away {
		t.Fatal("nobody was asked to log in anew")
	}
	proved(both(anew, 1))
}
