package api_test

import (
	"encoding/json"
	"testing"

	"gatehouse/api"

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
	doc := load(t, api.YAML())
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

func TestJSONSaysTheSameAsYAML(t *testing.T) {
	t.Parallel()
	asJSON, err := api.JSON()
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
