// Package api owns the HTTP contract: the OpenAPI document of the public port. It is embedded in
// the binary, so the service serves the same file that the tests compare it with.
package api

import (
	"bytes"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var contract string

// YAML returns the contract as it was written. The caller may change the slice.
func YAML() []byte { return []byte(contract) }

// converted is the contract as it was written, in JSON. A process converts it once, however many
// services it starts: tests start hundreds.
var converted = sync.OnceValues(func() ([]byte, error) { return toJSON([]byte(contract)) })

func toJSON(document []byte) ([]byte, error) {
	out, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, fmt.Errorf("convert openapi.yaml to JSON: %w", err)
	}
	return out, nil
}

// Service is what the contract of one installation depends on.
type Service struct {
	// Base is the path below which clients reach the service, such as /auth. It is percent-encoded,
	// as in a URL. "" is the root.
	Base string
	// PasswordGrant is whether passwords are exchanged for tokens.
	PasswordGrant bool
}

// Contract returns the contract of a service, in both forms. An error means that openapi.yaml in
// this binary is broken.
func (s Service) Contract() (asYAML, asJSON []byte, err error) {
	text := contract
	for _, e := range s.edits() {
		if strings.Count(text, e.written) != 1 {
			return nil, nil, fmt.Errorf("openapi.yaml does not have %q once", e.written)
		}
		text = strings.Replace(text, e.written, e.instead, 1)
	}
	if text == contract {
		asJSON, err = converted()
		return []byte(text), bytes.Clone(asJSON), err
	}
	asJSON, err = toJSON([]byte(text))
	return []byte(text), asJSON, err
}

// edit is a text of openapi.yaml, and what stands there for some services.
type edit struct{ written, instead string }

// edits returns those of the service. openapi.yaml is written for one at the root with the password
// grant.
func (s Service) edits() (edits []edit) {
	if !s.PasswordGrant {
		edits = append(edits, withoutPasswordGrant()...)
	}
	if s.Base == "" {
		return edits
	}
	edits = append(edits, edit{"\n  - url: /\n", "\n  - url: " + strconv.Quote(s.Base) + "\n"})
	tokenURL := "          tokenUrl: " + strconv.Quote(s.Base+"/token") + "\n"
	if s.PasswordGrant {
		edits = append(edits, edit{"        password:\n          tokenUrl: /token\n",
			"        password:\n" + tokenURL})
	}
	return append(edits, edit{
		"          authorizationUrl: /authorize\n          tokenUrl: /token\n",
		"          authorizationUrl: " + strconv.Quote(s.Base+"/authorize") + "\n" + tokenURL,
	})
}

// withoutPasswordGrant takes out what would lead somebody to send a password to /token. The page at
// /docs then offers the login by an authorization code alone.
func withoutPasswordGrant() []edit {
	return []edit{
		{`        password:
          tokenUrl: /token
          scopes: {}
`, ""},
		{"enum: [password, refresh_token, client_credentials, authorization_code, '']",
			"enum: [refresh_token, client_credentials, authorization_code]"},
		{`
            examples:
              password:
                summary: The password grant
                value: {grant_type: password, username: alice, password: correct horse battery}
              refresh:
`, `
            examples:
              refresh:
`},
		{"    **To try it here:** register with `POST /users`, and press *Authorize*. Fill in the " +
			"username and\n    the password, and leave client id and secret empty. Then execute " +
			"`GET /users/me`.\n",
			"    Passwords are not exchanged for tokens here: `POST /token/password`, and " +
				"`POST /token` with a\n    password, are refused.\n"},
	}
}
