// Package gatehouse_test holds the repository to its own rules: which package may import which, and what the
// documents say of the settings.
package gatehouse_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows are the imports within the module that are allowed, outside tests. They run one way, from commands to
// leaves; a package that is not here must not be.
func arrows() map[string][]string {
	return map[string][]string{
		"bench":                       {"internal/app", "internal/config", "internal/pgdev", "internal/token", "migrations"},
		"cmd/gatehouse":               {"internal/app", "internal/auth", "internal/config", "migrations"},
		"cmd/dev":                     {"internal/app", "internal/config", "internal/pgdev", "migrations"},
		"verify":                      {"internal/revocation", "internal/token"},
		"verify/ginverify":            {"verify"},
		"internal/app":                {"db", "internal/auth", "internal/config", "internal/httpapi", "internal/password", "internal/ratelimit", "internal/revocation", "internal/token", "migrations"},
		"internal/httpapi":            {"api", "internal/auth", "internal/revocation", "internal/token"},
		"internal/httpapi/apitest":    {"api"},
		"internal/auth":               {"internal/password", "internal/ratelimit", "internal/revocation", "internal/token"},
		"internal/revocation":         {"internal/token"},
		"internal/token":              {},
		"internal/ratelimit":          {},
		"internal/password":           {},
		"internal/password/gencommon": {},
		"internal/config":             {},
		"db":                          {"db/internal/sqlcgen", "internal/auth", "internal/password", "internal/ratelimit", "internal/revocation"},
		"db/internal/sqlcgen":         {},
		"migrations":                  {},
		"api":                         {},
		"internal/pgdev":              {},
		"internal/asynctest":          {},
		"internal/dbtest":             {"internal/pgdev", "migrations"},
		"internal/dbtest/withdb":      {"internal/dbtest"},
	}
}

// testOnly are modules that the production binary must not contain.
func testOnly() []string {
	return []string{"testing", "github.com/getkin/kin-openapi", "github.com/testcontainers/testcontainers-go", "go.uber.org/goleak",
		"github.com/fergusstrange/embedded-postgres", "github.com/sqlc-dev/sqlc", "github.com/chromedp/chromedp", "github.com/Shopify/toxiproxy/v2",
		"github.com/tsenart/vegeta/v12", "gonum.org/v1/plot", "gonum.org/v1/gonum"}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	const module = "gatehouse/"
	allowed, seen := arrows(), map[string]bool{}
	for _, p := range goList(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		if name == "gatehouse" {
			continue // these tests
		}
		targets, ok := allowed[name]
		if !ok {
			t.Errorf("package %s has no place in the house", name)
		}
		seen[name] = true
		for _, imported := range p.Imports {
			if target, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(targets, target) {
				t.Errorf("%s must not import %s", name, target)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("there is no package %s", name)
		}
	}
}

func TestTheProductionBinaryHasNothingOfTheTests(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, "-deps", "./cmd/gatehouse") {
		for _, module := range testOnly() {
			if p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") {
				t.Errorf("cmd/gatehouse contains %s", p.ImportPath)
			}
		}
	}
}

// A service that verifies tokens should not get Gatehouse's database and routing with it.
func TestVerifyBringsOnlyTheLibrariesOfTokens(t *testing.T) {
	t.Parallel()
	allowed := []string{"gatehouse/verify", "gatehouse/internal/revocation", "gatehouse/internal/token", "github.com/golang-jwt/jwt/v5", "github.com/google/uuid",
		"github.com/go-json-experiment/json", "github.com/go-jose/go-jose/v4"}
	for _, p := range goList(t, "-deps", "./verify") {
		within := func(module string) bool { return p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") }
		if host, _, _ := strings.Cut(p.ImportPath, "/"); (host == "gatehouse" || strings.Contains(host, ".")) && !slices.ContainsFunc(allowed, within) {
			t.Errorf("verify contains %s", p.ImportPath)
		}
	}
}
