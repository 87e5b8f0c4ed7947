package auth

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse.example/internal/outcome"
)

// An error that is missing in the list has no word in the audit log's filter, and no test looks at
// its answer.
func TestEveryNamedErrorIsInTheListAndKnowsItsOutcome(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared, listed []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR &&
						strings.HasPrefix(v.Names[0].Name, "Err") {
						declared = append(declared, v.Names[0].Name)
					}
				}
			case *ast.FuncDecl:
				if d.Name.Name == "Refusals" {
					ast.Inspect(d.Body, func(n ast.Node) bool {
						if id, ok := n.(*ast.Ident); ok && strings.HasPrefix(id.Name, "Err") {
							listed = append(listed, id.Name)
						}
						return true
					})
				}
			}
		}
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if len(declared) == 0 || !slices.Equal(declared, listed) {
		t.Errorf("declared %q, listed %q", declared, listed)
	}
	for _, err := range Refusals() {
		if _, ok := outcome.Of(err); !ok {
			t.Errorf("%v does not know its outcome", err)
		}
	}
}
