// Package api owns the HTTP contract: the OpenAPI document of the public port, embedded in the binary so that
// what the service serves and what the tests hold it to are one file.
package api

import (
	_ "embed"
	"fmt"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var contract string

// YAML returns the contract as it was written. The caller may change the slice.
func YAML() []byte { return []byte(contract) }

// JSON returns the contract as JSON, its keys in the order of the file.
func JSON() ([]byte, error) {
	out, err := yaml.YAMLToJSON([]byte(contract))
	if err != nil {
		return nil, fmt.Errorf("convert openapi.yaml to JSON: %w", err)
	}
	return out, nil
}
