package api_test

import (
	"encoding/json"
	"slices"
	"testing"

	"gatehouse.example/api"

	"github.com/getkin/kin-openapi/openapi3"
)

func load(t *testing.T, document []byte) *openapi3.T {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(document)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return doc
}

func TestContractIsValidWithItsExamples(t *testing.T) {
	t.Parallel()
	for _, service := range []api.Service{
		{}, {Base: "/auth"}, {PasswordGrant: true}, {Base: "/auth", PasswordGrant: true},
	} {
		document, _, err := service.Contract()
		if err != nil {
			t.Fatalf("%+v: %v", service, err)
		}
		if err := load(t, document).Validate(t.Context(),
			openapi3.EnableExamplesValidation()); err != nil {
			t.Errorf("%+v: %v", service, err)
		}
	}
}

// Whoever reads that the service takes a password will send one. The page at /docs offers what the
// contract does.
func TestWithoutThePasswordGrantTheContractOffersNone(t *testing.T) {
	t.Parallel()
	for _, offered := range []bool{true, false} {
		document, _, err := api.Service{PasswordGrant: offered}.Contract()
		if err != nil {
			t.Fatal(err)
		}
		doc := load(t, document)
		scheme := doc.Components.SecuritySchemes["OAuth2PasswordBearer"].Value
		if got := scheme.Flows.Password != nil; got != offered {
			t.Errorf("offered: %v; there is the flow: %v", offered, got)
		}
		if scheme.Flows.AuthorizationCode == nil {
			t.Errorf("offered: %v; there is no flow by an authorization code", offered)
		}
		grants := doc.Components.Schemas["TokenRequest"].Value.Properties["grant_type"].Value.Enum
		if got := slices.Contains(grants, any("password")); got != offered {
			t.Errorf("offered: %v; grant_type is one of %v", offered, grants)
		}
		for _, example := range doc.Paths.Value("/token").Post.RequestBody.
			Value.Content["application/x-www-form-urlencoded"].Examples {
			values, _ := example.Value.Value.(map[string]any)
			if _, got := values["password"]; got && !offered {
				t.Errorf("an example has a password: %v", values)
			}
		}
	}
}

func TestJSONSaysTheSameAsYAML(t *testing.T) {
	t.Parallel()
	_, asJSON, err := api.Service{PasswordGrant: true}.Contract()
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(load(t, api.YAML()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(load(t, asJSON))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the two forms differ\n got %s\nwant %s", got, want)
	}
}
