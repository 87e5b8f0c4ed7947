package report

import (
	"testing"
)

func TestAMedianBeyondItsGoalIsAMiss(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	for _, test := range []struct {
		figure Figure
		short  bool
		missed bool
	}{
		{Figure{Goal: 2}, false, false},
		{Figure{Goal: 2.1}, false, true},
		{Figure{Goal: 2.1}, true, false},
		{Figure{Goal: 2, Most: true}, false, false},
		{Figure{Goal: 1.9, Most: true}, false, true},
		{Figure{}, false, false},
	} {
		m := test.figure.Judge(values, test.short)
		if m.Median != 2 || m.Min != 1 || m.Max != 3 || m.Missed != test.missed {
			t.Errorf("%+v: %+v", test.figure, m)
		}
	}
	if m := (Figure{Goal: 1}).Judge(nil, false); m.Missed || m.Text(m.Median) != "-" {
		t.Errorf("what was not measured: %+v", m)
	}
}
