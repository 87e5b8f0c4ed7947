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

// Texts, metrics and tests go through the list. A forgotten kind would have no text, and nobody
// would notice before a mail of it is due.
func TestTheListOfKindsOfMailsIsWhole(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "letter.go", nil, 0)
	must(t, err)
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Mail") {
			return true
		}
		declared++
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		must(t, err)
		if !slices.Contains(auth.MailKinds(), auth.MailKind(word)) {
			t.Errorf("%s is not among the kinds", word)
		}
		return true
	})
	if declared == 0 || declared != len(auth.MailKinds()) {
		t.Errorf("%d kinds are declared, and %d listed", declared, len(auth.MailKinds()))
	}
}
