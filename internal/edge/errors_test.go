package edge

import (
	"fmt"
	"testing"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/outcome"
)

// A refusal without an answer is a fault, and wakes somebody up.
func TestEveryRefusalOfPackageAuthHasAnAnswer(t *testing.T) {
	t.Parallel()
	for _, refused := range auth.Refusals() {
		if _, ok := answerOf(refused); !ok {
			t.Errorf("%v has no row in answers", refused)
		}
	}
}

// The second of two rows for an error is never read.
func TestNoRefusalHasTwoAnswers(t *testing.T) {
	t.Parallel()
	seen := map[error]bool{}
	for _, row := range answers {
		if seen[row.err] {
			t.Errorf("%v has two rows in answers", row.err)
		}
		seen[row.err] = true
		if _, ok := outcome.Of(row.err); !ok {
			t.Errorf("%v does not know its outcome", row.err)
		}
	}
}

func TestAnErrorDescriptionHasOnlyTheCharactersOfRFC6749(t *testing.T) {
	t.Parallel()
	for _, a := range answers {
		for _, c := range []byte(a.Detail) {
			if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
				t.Errorf("%q has %q", a.Detail, fmt.Sprintf("%c", c))
			}
		}
	}
}
