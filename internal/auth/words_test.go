package auth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse.example/internal/auth"
)

// wantListed wants a list to be of all constants in a file whose names begin so.
func wantListed[Word ~string](t *testing.T, name, prefix string, listed []Word) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	must(t, err)
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		declared++
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		must(t, err)
		if !slices.Contains(listed, Word(word)) {
			t.Errorf("%s of %s is not on the list", word, name)
		}
		return true
	})
	if declared == 0 || declared != len(listed) {
		t.Errorf("%d are declared in %s, and %d listed", declared, name, len(listed))
	}
}

// The command line refuses words that are not on these lists. A forgotten word would hide its lines
// of the log.
func TestTheListsOfActionsAndOutcomesAreWhole(t *testing.T) {
	t.Parallel()
	wantListed(t, "audit.go", "Action", auth.Actions())
	for _, word := range []string{
		"success", "wrong_password", "limited", "invalid_client", "several", "repeated",
		"repeated_elsewhere",
	} {
		if !slices.Contains(auth.Outcomes(), word) {
			t.Errorf("%s is not among the outcomes", word)
		}
	}
	if slices.Contains(auth.Outcomes(), "unavailable") || !slices.IsSorted(auth.Outcomes()) {
		t.Errorf("%q", auth.Outcomes())
	}
}
