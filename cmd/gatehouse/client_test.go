package main

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"gatehouse.example/internal/wire"
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
		wire.Client
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
	if !strings.Contains(shown, "type         confidential\n") || !strings.Contains(shown, "scope        all\n") {
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

func TestTheListTellsWhichClientsAreFirstParty(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.run("", "client", "add", "app", "--name=App", "--public").succeeded(t)
	made := fromJSON[wire.Client](t, a.run("", "client", "add", "phone", "--name=Phone", "--public", "--first-party", "--json").succeeded(t))
	listed := strings.Split(a.run("", "client", "list").succeeded(t), "\n")
	if !made.FirstParty || strings.Fields(listed[1])[2] != "no" || strings.Fields(listed[2])[2] != "yes" {
		t.Errorf("%+v, %q", made, listed)
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
	lines := func() (all []wire.Client) {
		for line := range strings.Lines(a.run("", "client", "list", "--json").succeeded(t)) {
			all = append(all, fromJSON[wire.Client](t, line))
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
		{"scope: ", []string{"add", "other", "--name=Other", "--scope=every:thing:"}},
		{"scope: ", []string{"add", "other", "--name=Other", "--first-party", "--scope=files:read"}},
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

// A script that has to parse sentences breaks with the next release.
func TestEveryCommandOnAClientPrintsJSON(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.run("", "role", "set", "clerk", "files:read", "--json").succeeded(t)
	a.run("", "client", "add", "shop", "--name=Shop", "--json").succeeded(t)
	for _, test := range []struct {
		args     []string
		disabled bool
		roles    string
		secrets  int
	}{
		{[]string{"disable", "shop"}, true, "", 1},
		{[]string{"enable", "shop"}, false, "", 1},
		{[]string{"grant", "shop", "clerk"}, false, "clerk", 1},
		{[]string{"revoke", "shop", "clerk"}, false, "", 1},
		{[]string{"rotate-secret", "shop", "--retire-old"}, false, "", 1},
	} {
		if test.args[0] == "rotate-secret" {
			made := fromJSON[struct {
				ClientID string `json:"client_id"`
				Secret   string `json:"client_secret"`
			}](t, a.run("", "client", "rotate-secret", "shop", "--json").succeeded(t))
			if made.ClientID != "shop" || clientSecret.FindString(made.Secret) != made.Secret {
				t.Errorf("%+v", made)
			}
		}
		l := fromJSON[wire.Client](t, a.run("", append([]string{"client"}, append(test.args, "--json")...)...).succeeded(t))
		if l.ClientID != "shop" || (l.DisabledAt != nil) != test.disabled || strings.Join(l.Roles, " ") != test.roles || l.Secrets != test.secrets {
			t.Errorf("%v: %+v", test.args, l)
		}
	}
	if l := fromJSON[nameLine](t, a.run("", "role", "delete", "clerk", "--json").succeeded(t)); l.Name != "clerk" {
		t.Errorf("%+v", l)
	}
}

// A flag that is forgotten, or that changes more than it names, shows at the next login of users.
func TestEveryFlagOfAClientIsStoredAndChangedAloneAndTakenBack(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.run("", "role", "set", "clerk", "files:read").succeeded(t)
	flags := []string{
		"--scope=files:read", "--grant=refresh_token", "--redirect-uri=https://a.example/cb?x=1,2",
		"--redirect-uri=com.example.a:/cb", "--post-logout-redirect-uri=https://a.example/",
		"--backchannel-logout-uri=https://a.example/out", "--role=clerk", "--audience=urn:a",
		"--audience=https://api.example", "--id-token-algorithm=EdDSA", "--without-pkce", "--ask",
	}
	a.run("", append([]string{"client", "add", "bare", "--name=Web"}, "--json")...).succeeded(t)
	a.run("", append([]string{"client", "add", "web", "--name=Web", "--json"}, flags...)...).succeeded(t)
	show := func(id string) (shown map[string]any) {
		t.Helper()
		shown = fromJSON[map[string]any](t, a.run("", "client", "show", id, "--json").succeeded(t))
		delete(shown, "client_id")
		delete(shown, "created_at")
		return shown
	}
	whole, bare := show("web"), show("bare")
	want := fromJSON[map[string]any](t, `{"name":"Web","confidential":true,"first_party":false,
		"grant_types":["refresh_token","authorization_code"],"scope":"files:read",
		"redirect_uris":["https://a.example/cb?x=1,2","com.example.a:/cb"],
		"post_logout_redirect_uris":["https://a.example/"],"backchannel_logout_uri":"https://a.example/out",
		"without_pkce":true,"ask":true,"required_role":"clerk","audiences":["urn:a","https://api.example"],
		"id_token_signed_response_alg":"EdDSA","roles":[],"disabled_at":null,"secrets":1}`)
	if !reflect.DeepEqual(whole, want) {
		t.Errorf("it is stored as %v", whole)
	}
	for _, change := range []struct{ flag, field, to string }{
		{"--no-scope", "scope", `null`}, {"--scope=books:read", "scope", `"books:read"`},
		{"--no-post-logout-redirect-uri", "post_logout_redirect_uris", `[]`},
		{"--post-logout-redirect-uri=https://b.example/", "post_logout_redirect_uris", `["https://b.example/"]`},
		{"--no-backchannel-logout-uri", "backchannel_logout_uri", `null`},
		{"--backchannel-logout-uri=https://b.example/", "backchannel_logout_uri", `"https://b.example/"`},
		{"--no-role", "required_role", `null`}, {"--role=admin", "required_role", `"admin"`},
		{"--no-audience", "audiences", `[]`}, {"--audience=urn:b", "audiences", `["urn:b"]`},
		{"--with-pkce", "without_pkce", `false`}, {"--without-pkce", "without_pkce", `true`},
		{"--no-ask", "ask", `false`}, {"--ask", "ask", `true`},
		{"--id-token-algorithm=ES256", "id_token_signed_response_alg", `"ES256"`},
		{"--name=Another", "name", `"Another"`},
		{"--redirect-uri=https://b.example/", "redirect_uris", `["https://b.example/"]`},
		{"--grant=password", "grant_types", `["password","authorization_code"]`},
		{"--no-grant", "grant_types", `["authorization_code"]`},
		{"--no-redirect-uri", "redirect_uris", `[]`},
	} {
		if got := a.run("", "client", "set", "web", change.flag).succeeded(t); got != "client changed: web\n" {
			t.Error(got)
		}
		whole[change.field] = fromJSON[any](t, change.to)
		if change.flag == "--no-redirect-uri" { // nobody can be sent back with a code
			whole["grant_types"] = []any{}
		}
		if got := show("web"); !reflect.DeepEqual(got, whole) {
			t.Errorf("%s: %v, want %v", change.flag, got, whole)
		}
	}
	a.run("", "client", "set", "web", "--name=Web", "--no-scope", "--no-post-logout-redirect-uri", "--no-backchannel-logout-uri", "--no-role",
		"--no-audience", "--with-pkce", "--no-ask", "--id-token-algorithm=RS256", "--first-party").succeeded(t)
	a.run("", "client", "set", "web", "--no-first-party").succeeded(t)
	if got := show("web"); !reflect.DeepEqual(got, bare) {
		t.Errorf("all taken back: %v, want %v", got, bare)
	}
	for _, test := range []struct {
		says string
		args []string
	}{
		{"to change", []string{"web"}},
		{"no such client", []string{"nobody", "--ask"}},
		{"no such role", []string{"web", "--role=nobody"}},
		{"redirect_uris/1: ", []string{"web", "--redirect-uri=https://a.example/", "--redirect-uri=http://a.example/"}},
		{"id_token_signed_response_alg: ", []string{"web", "--id-token-algorithm=HS256"}},
		{"scope: ", []string{"web", "--scope=email"}},
	} {
		a.run("", append([]string{"client", "set"}, test.args...)...).failed(t, exitFailed, test.says)
	}
	a.run("", "client", "set", "web", "--no-redirect-uri", "--redirect-uri=https://a.example/").failed(t, exitUsage, "can't be used together")
	a.run("", "client", "show", "nobody").failed(t, exitFailed, "no such client")
	a.run("", "client", "set", "bare", "--redirect-uri=https://a.example/cb", "--role=clerk").succeeded(t)
	shown := a.run("", "client", "show", "bare").succeeded(t)
	for _, line := range []string{"redirect URI             https://a.example/cb\n", "required role            clerk\n", "PKCE                     required\n", "secrets                  1\n"} {
		if !strings.Contains(shown, line) {
			t.Errorf("no %q in\n%s", line, shown)
		}
	}
	a.run("", "role", "delete", "clerk").failed(t, exitFailed, "a client lets only holders of the role in")
}
