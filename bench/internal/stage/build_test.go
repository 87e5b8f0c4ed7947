package stage

import (
	"os"
	"path/filepath"
	"testing"
)

// Nobody would hear of an edit that no longer fits before somebody runs the row that needs it.
func TestTheEditsFitTheProductsSource(t *testing.T) {
	t.Parallel()
	for _, e := range append(Mistakes(), LowCosts(), NoBrake(), NoWait()) {
		source, err := os.ReadFile(filepath.Join("../../..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		if edited, err := e.apply(string(source)); err != nil || edited == string(source) {
			t.Errorf("%q: %v", e.new, err)
		}
	}
}
