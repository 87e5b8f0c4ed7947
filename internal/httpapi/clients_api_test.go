package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// clientOf returns the client in an answer.
func clientOf(t testing.TB, a answered) map[string]any {
	t.Helper()
	client, ok := a.json(t, "client").(map[string]any)
	if !ok {
		t.Fatalf("no client in %d %s", a.status, a.body)
	}
	return client
}

func TestAnAdminRunsClientsByTheAPI(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	f.want("make a role", f.as(root, "PUT", "/roles/clerk", `{"permissions":["files:read"]}`), 201)
	whole := map[string]any{
		"name": "The shop", "first_party": false,
		"grant_types": []any{"refresh_token", "authorization_code"},
		"scope":       "files:read files:write", "redirect_uris": []any{"https://shop.example/cb"},
		"post_logout_redirect_uris": []any{"https://shop.example/"},
		"backchannel_logout_uri":    "https://shop.example/out", "without_pkce": true, "ask": true,
		"required_role": "clerk", "audiences": []any{"https://api.example", "urn:example:api"},
		"id_token_signed_response_alg": "ES256",
	}
	request := maps.Clone(whole)
	request["client_id"], request["confidential"] = "shop", true
	body, err := json.Marshal(request)
	must(t, err)
	made := f.as(root, "POST", "/clients", string(body))
	f.want("register", made, 201)
	secret, _ := made.json(t, "client_secret").(string)
	if !strings.HasPrefix(secret, "ghc_") {
		t.Errorf("no secret in %s", made.body)
	}
	read := f.as(root, "GET", "/clients/shop", "")
	f.want("read", read, 200)
	if read.header.Get("ETag") == "" || strings.Contains(read.body, "ghc_") {
		t.Errorf("%v %s", read.header, read.body)
	}
	same := func(when string, got map[string]any) {
		t.Helper()
		for name, want := range whole {
			if fmt.Sprint(got[name]) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v, want %v", when, name, got[name], want)
			}
		}
	}
	same("registered", clientOf(t, made))
	same("read", clientOf(t, read))
	// each change alone changes what it names, and nothing else
	for _, change := range []struct{ name, to string }{
		{"name", `"Another"`}, {"scope", `"files:read"`}, {"scope", `null`},
		{"first_party", `true`}, {"first_party", `false`},
		{"redirect_uris", `["https://shop.example/cb","http://127.0.0.1/cb"]`},
		{"post_logout_redirect_uris", `[]`}, {"backchannel_logout_uri", `null`},
		{"without_pkce", `false`}, {"ask", `false`}, {"required_role", `null`},
		{"required_role", `"clerk"`}, {"audiences", `[]`},
		{"id_token_signed_response_alg", `"EdDSA"`},
		{"grant_types", `["password","authorization_code"]`},
	} {
		changed := f.as(root, "PATCH", "/clients/shop", `{"`+change.name+`":`+change.to+`}`)
		f.want(change.name, changed, 200)
		var want any
		must(t, json.Unmarshal([]byte(change.to), &want))
		whole[change.name] = want
		same(change.name, clientOf(t, changed))
		same(change.name+", read", clientOf(t, f.as(root, "GET", "/clients/shop", "")))
	}
	// the grant of codes comes and goes with the redirect URIs
	whole["redirect_uris"], whole["grant_types"] = []any{}, []any{"password"}
	same("no redirect URI", clientOf(t, f.as(root, "PATCH", "/clients/shop", `{"redirect_uris":[]}`)))
	whole["redirect_uris"] = []any{"com.example.shop:/cb"}
	whole["grant_types"] = []any{"password", "authorization_code"}
	same("a redirect URI again", clientOf(t,
		f.as(root, "PATCH", "/clients/shop", `{"redirect_uris":["com.example.shop:/cb"]}`)))

	f.want("grant", f.as(root, "PUT", "/clients/shop/roles/clerk", ""), 204)
	rotated := f.as(root, "POST", "/clients/shop/secrets", "")
	f.want("rotate", rotated, 201)
	next, _ := rotated.json(t, "client_secret").(string)
	if next == secret || !strings.HasPrefix(next, "ghc_") {
		t.Errorf("%s", rotated.body)
	}
	shown := clientOf(t, f.as(root, "GET", "/clients/shop", ""))
	if fmt.Sprint(shown["roles"]) != "[clerk]" || shown["secrets"] != 2.0 {
		t.Errorf("%v", shown)
	}
	f.want("retire", f.as(root, "DELETE", "/clients/shop/secrets/old", ""), 204)
	f.want("the old secret", f.introspect(program{"shop", secret}, "x"), 401)
	f.want("the new secret", f.introspect(program{"shop", next}, "x"), 200)
	f.want("take the role", f.as(root, "DELETE", "/clients/shop/roles/clerk", ""), 204)
	f.want("disable", f.as(root, "PATCH", "/clients/shop", `{"disabled":true}`), 200)
	f.want("a disabled client", f.introspect(program{"shop", next}, "x"), 401)
	f.want("enable", f.as(root, "PATCH", "/clients/shop", `{"disabled":false}`), 200)
	f.want("enabled", f.introspect(program{"shop", next}, "x"), 200)
	public := f.as(root, "POST", "/clients", `{"client_id":"app","name":"App","confidential":false}`)
	f.want("a public client", public, 201)
	if got := clientOf(t, public); strings.Contains(public.body, "client_secret") ||
		got["scope"] != nil || got["id_token_signed_response_alg"] != "RS256" ||
		got["backchannel_logout_uri"] != nil || got["required_role"] != nil ||
		fmt.Sprint(got["grant_types"], got["redirect_uris"], got["audiences"]) != "[] [] []" {
		t.Errorf("%s", public.body)
	}
}

func TestARegistrationThatIsWrongIsRefusedWithTheNameOfItsField(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	f.confidential("desk")
	f.program("app", auth.Client{})
	twentyOne := `["urn:a` + strings.Repeat(`","urn:a`, 20) + `"]`
	for _, test := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"POST /clients", `{}`, 422, "client_id"},
		{"POST /clients", `{"client_id":"x","name":"X"}`, 422, "confidential"},
		{"POST /clients", `{"client_id":"desk","name":"X","confidential":true}`, 409, "taken"},
		{"POST /clients", `{"client_id":"a b","name":"X","confidential":true}`, 422, "client_id"},
		{"POST /clients", `{"client_id":"x","name":"X","confidential":true,"required_role":"nobody"}`,
			404, "role"},
		{"PATCH /clients/desk", `{}`, 422, "name"},
		{"PATCH /clients/desk", `{"name":null}`, 422, "name"},
		{"PATCH /clients/desk", `{"disabled":true,"name":"X"}`, 422, "disabled"},
		{"PATCH /clients/desk", `{"confidential":false}`, 422, "confidential"},
		{"PATCH /clients/desk", `{"name":""}`, 422, "name"},
		{"PATCH /clients/desk", `{"scope":5}`, 422, "scope"},
		{"PATCH /clients/desk", `{"scope":"openid"}`, 422, "scope"},
		{"PATCH /clients/desk", `{"redirect_uris":["https://a.example/cb","https://*.example/"]}`, 422,
			"redirect_uris/1"},
		{"PATCH /clients/desk", `{"post_logout_redirect_uris":["http://a.example/"]}`, 422,
			"post_logout_redirect_uris/0"},
		{"PATCH /clients/desk", `{"backchannel_logout_uri":"http://a.example/"}`, 422,
			"backchannel_logout_uri"},
		{"PATCH /clients/desk", `{"audiences":["api"]}`, 422, "audiences/0"},
		{"PATCH /clients/desk", `{"audiences":` + twentyOne + `}`, 422, "at most 20"},
		{"PATCH /clients/desk", `{"grant_types":["authorization_code"]}`, 422, "redirect URI"},
		{"PATCH /clients/desk", `{"grant_types":["implicit"]}`, 422, "grant"},
		{"PATCH /clients/desk", `{"id_token_signed_response_alg":"HS256"}`, 422,
			"id_token_signed_response_alg"},
		{"PATCH /clients/desk", `{"required_role":"nobody"}`, 404, "role"},
		{"PATCH /clients/desk", `{"required_role":"No Role"}`, 422, "required_role"},
		{"PATCH /clients/desk", `{"required_role":"a\u0000b"}`, 422, "required_role"},
		{"PATCH /clients/desk", `{"name":"a\u0000b"}`, 422, "name"},
		{"PATCH /clients/desk", `{"scope":"a\u0000b"}`, 422, "scope"},
		{"PATCH /clients/desk", `{"redirect_uris":["https://a.example/\u0000"]}`, 422,
			"redirect_uris/0"},
		{"PATCH /clients/app", `{"without_pkce":true}`, 422, "confidential client"},
		{"PATCH /clients/nobody", `{"name":"X"}`, 404, "no such client"},
		{"PATCH /clients/a%00b", `{"name":"X"}`, 404, "no such client"},
		{"GET /clients/gatehouse", ``, 404, "no such client"},
		{"POST /clients/app/secrets", ``, 409, "public"},
		{"DELETE /clients/app/secrets/old", ``, 409, "public"},
		{"PUT /clients/desk/roles/nobody", ``, 404, "no such role"},
		{"PUT /clients/desk/roles/a%00b", ``, 404, "no such role"},
		{"GET /clients?limit=0", ``, 422, "limit"},
		{"GET /clients?cursor=x", ``, 400, "cursor"},
	} {
		method, path, _ := strings.Cut(test.path, " ")
		a := f.do(f.request(method, path, test.body, "Authorization", "Bearer "+root.access,
			"Content-Type", jsonType))
		if a.status != test.status || !strings.Contains(a.body, test.says) {
			t.Errorf("%s %s: %d %s", test.path, test.body, a.status, a.body)
		}
	}
	if c, err := f.rules.Clients.Find(t.Context(), "desk"); err != nil || c.Title != "A client of the tests" ||
		c.Scope != "" || len(c.RedirectURIs) != 0 || c.DisabledAt != nil || c.OldSecret {
		t.Errorf("%+v, %v", c, err)
	}
}

// Whoever manages clients but does not have all of Gatehouse's permissions must not register, or
// turn to themselves, an app that has more than they do.
func TestNobodyMakesAClientStrongerThanThemselves(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	for name, permissions := range map[string][]auth.Permission{"spender": {"money:spend"},
		"boss": {"gatehouse:*"}, "peer": {"files:read"}} {
		f.with(name, permissions...)
	}
	f.with("badge")
	f.with("keeper", auth.ReadClients, auth.WriteClients, auth.GrantRoles, "files:read",
		"books:*")
	must(t, f.rules.Roles.Grant(t.Context(), authtest.Operator(), f.idOf("keeper"), "peer"))
	keeper := f.tokensOf(f.login("keeper", goodPassword))
	boss := f.tokensOf(f.login("boss", goodPassword))
	const theirs = `"redirect_uris":["https://evil.example/cb"]`
	clients := map[string]struct {
		registration string
		role         string // of its own
		within       bool
	}{
		"mine":      {`"scope":"files:read"`, "", true},
		"wide":      {`"scope":"books:* books:read files:read"`, "", true},
		"gated":     {`"scope":"files:read","required_role":"peer"`, "", true},
		"peers":     {`"scope":"files:read"`, "peer", true},
		"unbounded": {`"ask":true`, "", false},
		"first":     {`"first_party":true`, "", false},
		"admins":    {`"scope":"files:read gatehouse:clients.write"`, "", false},
		"all":       {`"scope":"gatehouse:*"`, "", false},
		"other":     {`"scope":"files:read money:spend"`, "", false},
		"star":      {`"scope":"files:*"`, "", false},
		"spenders":  {`"scope":"files:read","required_role":"spender"`, "", false},
		"spending":  {`"scope":"files:read"`, "spender", false},
		"badged":    {`"scope":"files:read"`, "badge", false}, // a role is a right in itself
	}
	status := func(within bool, good int) int {
		if within {
			return good
		}
		return http.StatusForbidden
	}
	for _, id := range slices.Sorted(maps.Keys(clients)) {
		c := clients[id]
		body := `{"client_id":"` + id + `","name":"x","confidential":true,` + c.registration + `}`
		tried := f.as(keeper, "POST", "/clients", body)
		f.want("register "+id, tried, status(c.within || c.role != "", 201))
		if tried.status != http.StatusCreated {
			f.want("register as boss "+id, f.as(boss, "POST", "/clients", body), 201)
		}
		if c.role != "" {
			f.want("give "+id+" its role",
				f.as(keeper, "PUT", "/clients/"+id+"/roles/"+c.role, ""), status(c.within, 204))
			f.want("give as boss", f.as(boss, "PUT", "/clients/"+id+"/roles/"+c.role, ""), 204)
		}
		// what turns a client that is there into one's own
		for _, try := range []struct {
			method, rest, body string
			good               int
		}{
			{"PATCH", "", `{` + theirs + `}`, 200},
			{"PATCH", "", `{"disabled":true}`, 200},
			{"PATCH", "", `{"disabled":false}`, 200},
			{"POST", "/secrets", "", 201},
			{"DELETE", "/secrets/old", "", 204},
			{"PUT", "/roles/keeper", "", 204},
			{"DELETE", "/roles/keeper", "", 204},
		} {
			name := try.method + " " + id + try.rest + " " + try.body
			f.want(name, f.as(keeper, try.method, "/clients/"+id+try.rest, try.body),
				status(c.within, try.good))
			f.want(name+" by boss", f.as(boss, try.method, "/clients/"+id+try.rest, try.body), try.good)
		}
		// what makes one's own client stronger, or a stronger one one's own
		for _, change := range []string{`"scope":null`, `"scope":"files:read money:spend"`,
			`"scope":null,"first_party":true`, `"scope":"gatehouse:clients.read"`,
			`"required_role":"spender"`} {
			f.want("change "+id+" to "+change, f.as(keeper, "PATCH", "/clients/"+id, `{`+change+`}`), 403)
		}
		if !c.within && c.role == "" {
			f.want("narrow "+id, f.as(keeper, "PATCH", "/clients/"+id,
				`{"scope":"files:read","first_party":false,"required_role":null}`), 403)
		}
		f.want("give "+id+" another's role", f.as(keeper, "PUT", "/clients/"+id+"/roles/boss", ""), 403)
	}
	narrowed := f.tokensOf(f.loginBy(program{}, "boss", "scope", "gatehouse:clients.write"))
	f.want("a token of an admin for clients alone",
		f.as(narrowed, "POST", "/clients", `{"client_id":"y","name":"x","confidential":true}`), 403)
}

func TestPagesOfClientsNeitherRepeatNorSkip(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	var want, seen []string
	for n := range 7 {
		want = append(want, fmt.Sprint("client", n))
		f.confidential(want[n])
	}
	for path := "/clients?limit=3"; ; {
		page := f.as(root, "GET", path, "")
		f.want(path, page, 200)
		for _, c := range page.json(t, "clients").([]any) {
			seen = append(seen, c.(map[string]any)["client_id"].(string))
		}
		next, _ := page.json(t, "next").(string)
		if next == "" {
			break
		}
		path = "/clients?limit=3&cursor=" + next
	}
	if !slices.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
}

// A client whose scope shrinks must not go on with more by a token of its own.
func TestAnotherScopeOrGrantRevokesAClientsOwnTokens(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	job := f.job("job", "files:read", "files:write")
	for _, change := range []struct {
		body    string
		revoked bool
	}{
		{`{"name":"Job"}`, false}, {`{"scope":"files:read"}`, true}, {`{"scope":"files:read"}`, false},
		{`{"audiences":["urn:a"]}`, false},
		{`{"grant_types":["client_credentials","refresh_token"]}`, true}, {`{"scope":null}`, true},
	} {
		held := f.tokensOf(f.ownToken(job))
		f.want(change.body, f.as(root, "PATCH", "/clients/job", change.body), 200)
		want := map[bool]int{true: 401, false: 204}[change.revoked]
		f.want("after "+change.body, f.verified(held.access), want)
	}
}
