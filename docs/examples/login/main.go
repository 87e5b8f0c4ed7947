// An app whose users log in at Gatehouse, and are logged out of it when they are banned.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"html"
	"log"
	"maps"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const gatehouse, home = "http://localhost:8000", "http://localhost:9000"

type app struct {
	oauth2.Config
	ids      *oidc.IDTokenVerifier
	logoutAt string
	mu       sync.Mutex
	users    map[string]user // by the value of their cookie
}

type user struct{ Name, Session, IDToken string }

func main() {
	provider, err := oidc.NewProvider(context.Background(), gatehouse)
	if err != nil {
		log.Fatal(err)
	}
	var more struct {
		LogoutAt string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&more); err != nil {
		log.Fatal(err)
	}
	a := &app{logoutAt: more.LogoutAt, users: map[string]user{}, Config: oauth2.Config{
		ClientID: "notes", ClientSecret: os.Getenv("CLIENT_SECRET"), Endpoint: provider.Endpoint(),
		RedirectURL: home + "/callback", Scopes: []string{oidc.ScopeOpenID, oidc.ScopeProfile},
	}}
	a.ids = provider.Verifier(&oidc.Config{ClientID: a.ClientID})
	http.HandleFunc("GET /{$}", a.page)
	http.HandleFunc("GET /login", a.login)
	http.HandleFunc("GET /callback", a.callback)
	http.HandleFunc("POST /logout", a.logout)
	http.HandleFunc("POST /backchannel-logout", a.hearOfLogout)
	guarded := http.NewCrossOriginProtection().Handler(http.DefaultServeMux)
	log.Fatal(http.ListenAndServe("localhost:9000", guarded))
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	verifier := oauth2.GenerateVerifier() // ties the code to this browser
	setCookie(w, "verifier", verifier)
	http.Redirect(w, r, a.AuthCodeURL("", oauth2.S256ChallengeOption(verifier)), http.StatusFound)
}

func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("iss") != gatehouse { // a code of another issuer is not for Gatehouse (RFC 9207)
		http.Error(w, "The answer is not from Gatehouse.", http.StatusForbidden)
		return
	}
	verifier := oauth2.VerifierOption(cookie(r, "verifier"))
	tokens, err := a.Exchange(r.Context(), r.FormValue("code"), verifier)
	if err != nil {
		http.Error(w, "The login has failed: "+r.FormValue("error"), http.StatusForbidden)
		return
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := a.ids.Verify(r.Context(), raw)
	var claims struct {
		Name    string `json:"name"`
		Session string `json:"sid"`
	}
	if err != nil || id.Claims(&claims) != nil {
		http.Error(w, "The ID token is not good.", http.StatusForbidden)
		return
	}
	key := rand.Text()
	a.mu.Lock()
	a.users[key] = user{claims.Name, claims.Session, raw}
	a.mu.Unlock()
	setCookie(w, "notes", key)
	http.Redirect(w, r, "/", http.StatusFound)
}

func (a *app) page(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	user, ok := a.users[cookie(r, "notes")]
	a.mu.Unlock()
	if !ok {
		http.Redirect(w, r, "/login", http.StatusFound)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<p>Hello, %s.<form method=post action=/logout><button>Log out</button></form>\n",
		html.EscapeString(user.Name))
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	key := cookie(r, "notes")
	a.mu.Lock()
	hint := a.users[key].IDToken
	delete(a.users, key)
	a.mu.Unlock()
	query := url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {home + "/"}}
	http.Redirect(w, r, a.logoutAt+"?"+query.Encode(), http.StatusSeeOther)
}

// hearOfLogout is called by Gatehouse when a session ends, by a ban too.
func (a *app) hearOfLogout(w http.ResponseWriter, r *http.Request) {
	ended, err := a.ids.VerifyLogout(r.Context(), r.FormValue("logout_token"))
	if err != nil {
		http.Error(w, "The logout token is not good.", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	maps.DeleteFunc(a.users, func(_ string, u user) bool { return u.Session == ended.SessionID })
	a.mu.Unlock()
}

func setCookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode}) // and Secure, where the app has TLS
}

func cookie(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}
