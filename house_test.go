// Package gatehouse_test holds the repository to its own rules: which package may import which, and
// what the documents say of the settings.
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

// arrows are the imports between the repository's packages that are allowed, outside tests. They
// run one way, from commands to leaves; a package that is not here must not be. The bench and
// the tests of generated clients are modules of their own.
func arrows() map[string][]string {
	return map[string][]string{
		"bench":                       {"bench/internal/baseline", "bench/internal/machine", "bench/internal/report", "bench/internal/rows", "bench/internal/stage", "internal/app", "internal/config"},
		"bench/internal/rows":         {"bench/internal/api", "bench/internal/baseline", "bench/internal/dataset", "bench/internal/load", "bench/internal/machine", "bench/internal/report", "bench/internal/stage", "bench/internal/stats", "internal/breached", "internal/cursor", "internal/keychain", "internal/otp", "internal/token"},
		"bench/internal/stage":        {"bench/internal/api", "bench/internal/baseline", "bench/internal/dataset", "bench/internal/machine", "internal/keychain", "internal/otp", "internal/pgdev", "internal/token", "migrations"},
		"bench/internal/baseline":     {"bench/internal/load"},
		"bench/internal/load":         {"bench/internal/machine", "bench/internal/stats"},
		"bench/internal/dataset":      {"bench/internal/machine"},
		"bench/internal/report":       {"bench/internal/machine"},
		"bench/internal/machine":      {},
		"bench/internal/stats":        {},
		"bench/internal/api":          {},
		"cmd/gatehouse":               {"internal/app", "internal/auth", "internal/breached", "internal/config", "internal/doctor", "internal/email", "internal/mail", "internal/outcome", "internal/token", "internal/userfile", "internal/wire", "migrations"},
		"cmd/dev":                     {"internal/app", "internal/config", "internal/mail", "internal/pgdev", "migrations"},
		"verify":                      {"internal/follow", "internal/revocation", "internal/token"},
		"verify/ginverify":            {"verify"},
		"internal/app":                {"db", "internal/auth", "internal/backchannel", "internal/breached", "internal/config", "internal/cursor", "internal/doctor", "internal/edge", "internal/follow", "internal/httpapi", "internal/keychain", "internal/mail", "internal/outbox", "internal/passkey", "internal/password", "internal/ratelimit", "internal/revocation", "internal/token", "internal/web", "internal/web/pages", "migrations"},
		"internal/httpapi":            {"api", "internal/auth", "internal/cursor", "internal/edge", "internal/revocation", "internal/token", "internal/wire"},
		"internal/edge":               {"internal/auth", "internal/outcome", "internal/token"},
		"internal/httpapi/apitest":    {"api"},
		"internal/web":                {"internal/auth", "internal/edge", "internal/otp", "internal/outcome", "internal/password", "internal/token", "internal/web/pages", "internal/wire"},
		"internal/web/pages":          {"internal/wording"},
		"internal/mail":               {"internal/auth", "internal/email", "internal/web/pages", "internal/wording"},
		"internal/mail/mailtest":      {},
		"internal/outbox":             {"internal/auth", "internal/mail"},
		"internal/wording":            {},
		"internal/auth":               {"internal/confusable", "internal/email", "internal/keychain", "internal/otp", "internal/outcome", "internal/passkey", "internal/password", "internal/ratelimit", "internal/revocation", "internal/token"},
		"internal/backchannel":        {"internal/auth", "internal/token"},
		"internal/follow":             {},
		"internal/auth/authtest":      {"internal/auth", "internal/keychain", "internal/passkey", "internal/password", "internal/revocation", "internal/token"},
		"internal/userfile":           {"internal/auth"},
		"internal/wire":               {"internal/auth"},
		"internal/revocation":         {"internal/token"},
		"internal/token":              {"internal/keychain", "internal/shortcode"},
		"internal/otp":                {"internal/shortcode"},
		"internal/shortcode":          {},
		"internal/keychain":           {},
		"internal/cursor":             {"internal/keychain"},
		"internal/ratelimit":          {},
		"internal/password":           {"internal/breached", "internal/outcome"},
		"internal/breached":           {},
		"internal/outcome":            {},
		"internal/doctor":             {},
		"internal/password/gencommon": {},
		"internal/confusable":         {},
		"internal/email":              {},
		"internal/passkey":            {},
		"internal/confusable/gen":     {},
		"internal/config":             {"internal/keychain", "internal/postgres"},
		"internal/postgres":           {},
		"db":                          {"db/internal/sqlcgen", "internal/auth", "internal/doctor", "internal/follow", "internal/outcome", "internal/passkey", "internal/password", "internal/postgres", "internal/ratelimit", "internal/revocation", "internal/token"},
		"db/internal/sqlcgen":         {},
		"migrations":                  {"internal/email", "internal/postgres"},
		"api":                         {},
		"api/clients":                 {},
		"deploy/kubernetes":           {},
		"docs/examples/login":         {},
		"internal/pgdev":              {},
		"internal/asynctest":          {},
		"internal/browsertest":        {},
		"internal/dbtest":             {"internal/asynctest", "internal/pgdev", "migrations"},
		"internal/dbtest/withdb":      {"internal/dbtest"},
	}
}

// testOnly are modules that the production binary must not contain.
func testOnly() []string {
	return []string{"testing", "github.com/getkin/kin-openapi", "github.com/testcontainers/testcontainers-go", "go.uber.org/goleak",
		"github.com/fergusstrange/embedded-postgres", "github.com/sqlc-dev/sqlc", "github.com/chromedp/chromedp", "github.com/Shopify/toxiproxy/v2",
		"github.com/c2sp/wycheproof", "golang.org/x/oauth2", "github.com/coreos/go-oidc", "go.mau.fi/util",
		"github.com/emersion/go-smtp", "github.com/emersion/go-sasl", "github.com/piglig/go-qr", "github.com/descope/virtualwebauthn",
		"github.com/ogen-go/ogen", "github.com/oapi-codegen", "github.com/zitadel/oidc/v3"}
}

type listed struct {
	ImportPath string
	Imports    []string
}

// goList lists packages of the module that is in a folder.
func goList(t *testing.T, dir string, args ...string) []listed {
	t.Helper()
	list := append([]string{"-C", dir, "list", "-json=ImportPath,Imports"}, args...)
	out, err := exec.CommandContext(t.Context(), "go", list...).Output()
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
	module := modulePath(t) + "/"
	allowed, seen := arrows(), map[string]bool{}
	for _, p := range slices.Concat(goList(t, ".", "./..."), goList(t, "bench", "./..."), goList(t, "api/clients", "./..."), goList(t, "deploy/kubernetes", "./...")) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if name == p.ImportPath {
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
	for _, p := range goList(t, ".", "-deps", "./cmd/gatehouse") {
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
	own := modulePath(t)
	allowed := []string{own + "/verify", own + "/internal/follow", own + "/internal/revocation", own + "/internal/token", own + "/internal/keychain", own + "/internal/shortcode", "github.com/golang-jwt/jwt/v5",
		"github.com/google/uuid", "github.com/go-json-experiment/json", "github.com/go-jose/go-jose/v4"}
	for _, p := range goList(t, ".", "-deps", "./verify") {
		within := func(module string) bool { return p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") }
		if host, _, _ := strings.Cut(p.ImportPath, "/"); strings.Contains(host, ".") && !slices.ContainsFunc(allowed, within) {
			t.Errorf("verify contains %s", p.ImportPath)
		}
	}
}
