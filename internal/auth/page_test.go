package auth

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// A page that is full and the last one must not lead to an empty page.
func TestAPageThatIsFullAndTheLastHasNoNext(t *testing.T) {
	t.Parallel()
	for rows, more := range []bool{false, false, false, true, true} {
		list := slices.Repeat([]int{7}, rows)
		page, err := ReadPage(2, func(limit int) ([]int, error) {
			return list[:min(limit, rows)], nil
		})
		if err != nil || page.More != more || (page.Last() != nil) != more ||
			len(page.Items) != min(rows, 2) {
			t.Errorf("of %d rows: %+v, %v", rows, page, err)
		}
	}
	page, err := ReadPage(2, func(int) ([]int, error) {
		return []int{1, 2, 3}, fmt.Errorf("cut off: %w", ErrUnavailable)
	})
	if !errors.Is(err, ErrUnavailable) || page.More {
		t.Errorf("%+v, %v", page, err)
	}
}
