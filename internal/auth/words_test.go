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

// The command line refuses words that are not on these lists. A forgotten word would hide its lines
// of the log.
func TestTheListsOfActionsAndOutcomesAreWhole(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "audit.go", nil, 0)
	must(t, err)
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Action") {
			return true
		}
		declared++
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		must(t, err)
		if !slices.Contains(auth.Actions(), auth.Action(word)) {
			t.Errorf("%s is not among the actions", word)
		}
		return true
	})
	if declared == 0 || declared != len(auth.Actions()) {
		t.Errorf("%d actions are declared, and %d listed", declared, len(auth.Actions()))
	}
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
