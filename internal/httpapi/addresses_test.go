package httpapi

import (
	"net/url"
	"slices"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// An admin who could say that an address is verified could take over the accounts of others in apps
// that go by it.
func TestAnAdminGivesAnAddressThatCountsForNothing(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	made := f.as(root, "POST", "/users", `{"username":"alice","password":"`+goodPassword+
		`","email":"Alice@Bücher.example"}`)
	f.want("make", made, 201)
	me := f.as(f.tokensOf(f.login("alice", goodPassword)), "GET", "/users/me", "")
	for what, a := range map[string]answered{"make": made, "me": me} {
		if a.json(t, "user", "email") != "Alice@Bücher.example" ||
			a.json(t, "user", "email_verified") != false {
			t.Errorf("%s: %s", what, a.body)
		}
	}
	f.insert("bob")
	_, _, err := f.rules.Accounts.Register(t.Context(), authtest.Operator(), auth.NewAccount{
		Username: "carol", Password: goodPassword, Email: "alice@xn--bcher-kva.example",
		EmailVerified: true,
	})
	must(t, err)
	for _, spelling := range []string{"ALICE@bücher.example", "alice@xn--bcher-kva.example"} {
		if names, _ := f.page(root, url.Values{"email": {spelling}}); !slices.Equal(names,
			[]string{"alice", "carol"}) {
			t.Errorf("%s: %q", spelling, names)
		}
	}
	query := url.Values{"email": {"alice@bücher.example"}, "limit": {"1"}}
	_, next := f.page(root, query)
	query.Set("cursor", next)
	if names, _ := f.page(root, query); !slices.Equal(names, []string{"carol"}) {
		t.Errorf("the next page: %q", names)
	}
	query.Set("email", "bob@bücher.example")
	f.want("a cursor of another address", f.as(root, "GET", "/users?"+query.Encode(), ""), 400)
	if names, _ := f.page(root, url.Values{"email": {"bob@bücher.example"}}); names != nil {
		t.Errorf("of nobody: %q", names)
	}
	if shown := f.as(root, "GET", "/users/"+f.idOf("bob").String(), ""); shown.json(t, "user",
		"email") != nil || shown.json(t, "user", "email_verified") != nil {
		t.Error(shown.body)
	}
}
