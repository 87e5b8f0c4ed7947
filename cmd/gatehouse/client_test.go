package main

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
)

var clientSecret = regexp.MustCompile(`ghc_[A-Za-z0-9_-]{43}`)

// all is everything that is stored of clients and of what happened.
func (a accounts) all() (rows string) {
	a.Helper()
	err := a.connect().QueryRow(a.Context(), `SELECT coalesce((SELECT string_agg(c::text, E'\n') FROM clients c), '')
		|| coalesce((SELECT string_agg(e::text, E'\n') FROM audit_events e), '')`).Scan(&rows)
	if err != nil {
		a.Fatal(err)
	}
	return rows
}

func TestASecretOfAClientIsPrintedOnceAndStoredNowhere(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	type added struct {
		clientLine
		Secret string `json:"client_secret"`
	}
	made := fromJSON[added](t, a.run("", "client", "add", "shop", "--name=The shop", "--grant=password", "--grant=refresh_token", "--scope=files:write", "--scope=files:read", "--json").succeeded(t))
	if made.ClientID != "shop" || made.Name != "The shop" || !made.Confidential || strings.Join(made.GrantTypes, " ") != "password refresh_token" ||
		made.Scope == nil || *made.Scope != "files:read files:write" || made.Secrets != 1 {
		t.Errorf("%+v", made)
	}
	secrets := []string{made.Secret}
	for range 2 {
		secrets = append(secrets, strings.TrimSuffix(a.run("", "client", "rotate-secret", "shop").succeeded(t), "\n"))
	}
	shown := a.run("", "client", "add", "desk", "--name=Desk").succeeded(t)
	if !strings.Contains(shown, "type    confidential\n") || !strings.Contains(shown, "scope   all\n") {
		t.Error(shown)
	}
	secrets = append(secrets, clientSecret.FindString(shown))
	seen := map[string]bool{}
	stored := a.all()
	for n, secret := range secrets {
		if clientSecret.FindString(secret) != secret || secret == "" || seen[secret] {
			t.Errorf("secret %d is %q", n+1, secret)
		}
		seen[secret] = true
		if strings.Contains(stored, strings.TrimPrefix(secret, "ghc_")) {
			t.Errorf("secret %d is stored", n+1)
		}
		digest := sha256.Sum256([]byte(secret))
		if isStored := strings.Contains(stored, hex.EncodeToString(digest[:])); isStored != (n > 0) { // the first was rotated away
			t.Errorf("the digest of secret %d is stored: %v", n+1, isStored)
		}
	}
	a.run("", "client", "list").succeeded(t)
	if listed := a.run("", "client", "list", "--json").succeeded(t) + a.run("", "audit", "--json").succeeded(t); clientSecret.MatchString(listed) {
		t.Error(listed)
	}
}

func TestAnOperatorRunsClients(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	if shown := a.run("", "client", "add", "app", "--name=App", "--public", "--grant=password").succeeded(t); strings.Contains(shown, "secret") || !strings.Contains(shown, "public") {
		t.Error(shown)
	}
	a.run("", "client", "add", "shop", "--name=Shop").succeeded(t)
	a.run("", "client", "rotate-secret", "shop").succeeded(t)
	lines := func() (all []clientLine) {
		for line := range strings.Lines(a.run("", "client", "list", "--json").succeeded(t)) {
			all = append(all, fromJSON[clientLine](t, line))
		}
		return all
	}
	if l := lines(); len(l) != 2 || l[0].ClientID != "app" || l[0].Secrets != 0 || l[0].Scope != nil || l[1].Secrets != 2 || l[1].DisabledAt != nil {
		t.Errorf("%+v", l)
	}
	if got := a.run("", "client", "rotate-secret", "shop", "--retire-old").succeeded(t); got != "old secret retired: shop\n" {
		t.Error(got)
	}
	if got := a.run("", "client", "disable", "shop").succeeded(t); got != "client disabled: shop\n" {
		t.Error(got)
	}
	if l := lines(); l[1].Secrets != 1 || l[1].DisabledAt == nil {
		t.Errorf("%+v", l)
	}
	a.run("", "client", "enable", "shop").succeeded(t)
	a.run("", "role", "set", "clerk", "files:read").succeeded(t)
	if got := a.run("", "client", "grant", "shop", "clerk").succeeded(t); got != "role granted to client: shop\n" {
		t.Error(got)
	}
	if l := lines(); strings.Join(l[1].Roles, " ") != "clerk" || l[0].Roles == nil {
		t.Errorf("%+v", l)
	}
	if got := a.run("", "client", "revoke", "shop", "clerk").succeeded(t); got != "role taken from client: shop\n" {
		t.Error(got)
	}
	if l := lines(); len(l[1].Roles) != 0 {
		t.Errorf("%+v", l)
	}
	if l := lines(); l[1].DisabledAt != nil {
		t.Errorf("%+v", l)
	}
	for _, test := range []struct {
		says string
		args []string
	}{
		{"client id is taken", []string{"add", "shop", "--name=Shop"}},
		{"client_id: ", []string{"add", "a:b", "--name=Shop"}},
		{"client_id: ", []string{"add", "GateHouse", "--name=Shop"}},
		{"client_id: ", []string{"add", "01890000-0000-7000-8000-000000000000", "--name=Shop"}},
		{"name: ", []string{"add", "other", "--name=" + strings.Repeat("x", 129)}},
		{"name: ", []string{"add", "other", "--name=a\x1bb"}},
		{"grant: ", []string{"add", "other", "--name=Other", "--grant=implicit"}},
		{"scope: ", []string{"add", "other", "--name=Other", "--scope=everything"}},
		{"no such client", []string{"disable", "nobody"}},
		{"no such client", []string{"enable", "nobody"}},
		{"no such client", []string{"grant", "nobody", "clerk"}},
		{"no such client", []string{"revoke", "nobody", "clerk"}},
		{"no such role", []string{"grant", "shop", "nothing"}},
		{"grant: ", []string{"add", "other", "--name=Other", "--public", "--grant=client_credentials"}},
		{"no such client", []string{"rotate-secret", "nobody"}},
		{"no such client", []string{"rotate-secret", "no body", "--retire-old"}},
		{"is public", []string{"rotate-secret", "app"}},
		{"is public", []string{"rotate-secret", "app", "--retire-old"}},
	} {
		a.run("", append([]string{"client"}, test.args...)...).failed(t, exitFailed, test.says)
	}
}
