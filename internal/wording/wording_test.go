package wording

import "testing"

// A text that is there twice would be the second one, and whoever edits the first one would see
// nothing change.
func TestLinesThatAreNoTextsAreErrors(t *testing.T) {
	t.Parallel()
	said, err := Parse([]byte("# a remark\n\na = b = c\n"))
	if err != nil || len(said) != 1 || said["a"] != "b = c" {
		t.Errorf("%v, %v", said, err)
	}
	for _, file := range []string{"a = b\na = c\n", "a=b\n", "a\n"} {
		if said, err := Parse([]byte(file)); err == nil {
			t.Errorf("%q: %v", file, said)
		}
	}
}

func TestAHoleThatNothingFillsIsAnError(t *testing.T) {
	t.Parallel()
	if got, err := Fill("{a} and {b}, {A}", "a", "{b}", "b", 2); err != nil || got != "{b} and 2, {A}" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Fill("{a} and {b}", "a", 1); err == nil {
		t.Errorf("%q", got)
	}
}
