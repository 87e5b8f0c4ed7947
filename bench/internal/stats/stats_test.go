package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Wrong statistics would call a service safe that is not.
func TestWelchAndAUCAgreeWithPublishedFigures(t *testing.T) {
	t.Parallel()
	// The first example in Wikipedia's "Welch's t-test".
	a := []float64{27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4}
	b := []float64{27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4}
	if got := Welch(a, b); math.Abs(got - -2.46) > 0.005 {
		t.Errorf("t is %.4f, want -2.46", got)
	}
	for _, test := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"all over", []float64{4, 5, 6}, []float64{1, 2, 3}, 1},
		{"all under", []float64{1, 2, 3}, []float64{4, 5, 6}, 0},
		{"all the same", []float64{1, 1, 1}, []float64{1, 1}, 0.5},
		{"some ties", []float64{1, 2, 3}, []float64{2, 3, 4}, 2. / 9}, // 1 of 9 pairs is over, 2 are ties
	} {
		if got := auc(test.a, test.b); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s: AUC is %.4f, want %.4f", test.name, got, test.want)
		}
	}
}

func TestTheIntervalHoldsTheTrueDifferenceNineteenTimesInTwenty(t *testing.T) {
	t.Parallel()
	const times, difference = 100, 0.5
	random, held := rand.New(rand.NewPCG(1, 2)), 0
	for range times {
		a, b := make([]float64, 41), make([]float64, 41)
		for n := range a { // skewed as times are
			a[n], b[n] = difference+math.Exp(random.NormFloat64()), math.Exp(random.NormFloat64())
		}
		if got := Compare(a, b, random); got.Low <= difference && difference <= got.High {
			held++
		}
	}
	if share := float64(held) / times; share < 0.9 || share > 0.99 {
		t.Errorf("it holds it in %.3f of all cases", share)
	}
}

// What disturbs a run must not hide a difference, nor make one.
func TestCropFindsADifferenceUnderNoise(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	sample := func(shift float64) []float64 {
		all := make([]float64, 3000)
		for n := range all {
			all[n] = 5 + shift + 0.1*random.NormFloat64()
			if n%20 == 0 {
				all[n] += 100 * random.Float64()
			}
		}
		return all
	}
	for _, shift := range []float64{0, 0.05} {
		a, b := sample(shift), sample(0)
		if got := math.Abs(Welch(Crop(a, b))); (got > 4.5) != (shift > 0) {
			t.Errorf("shift %v: |t| is %.1f after the crop, %.1f before", shift, got, math.Abs(Welch(a, b)))
		}
	}
}
