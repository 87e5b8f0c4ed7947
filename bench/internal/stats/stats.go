// Package stats says of samples of times where they lie, and whether two of them differ by more
// than chance.
package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/integrate"
	"gonum.org/v1/gonum/stat"
)

// Milliseconds of a duration, to the microsecond.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Percentile is 0 of nothing.
func Percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(time.Microsecond)
}

// Comparison is what tells two samples apart: of times, in milliseconds.
type Comparison struct {
	T                float64 // Welch's, of the means; negative: the first is smaller
	MedianA, MedianB float64
	Median           float64 // the first's less the second's
	Low, High        float64 // 95 % interval of that difference
	Auc              float64 // how often one of the first is over one of the second; 0.5: a coin
}

// Compare draws from random for the interval.
func Compare(a, b []float64, random *rand.Rand) Comparison {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	low, high := medianInterval(a, b, random)
	return Comparison{Welch(a, b), Median(a), Median(b), Median(a) - Median(b), low, high, auc(a, b)}
}

// Welch is the t of Welch's test, which does not assume that the variances are equal.
func Welch(a, b []float64) float64 {
	meanA, varianceA := stat.MeanVariance(a, nil)
	meanB, varianceB := stat.MeanVariance(b, nil)
	return (meanA - meanB) / math.Sqrt(varianceA/float64(len(a))+varianceB/float64(len(b)))
}

// Median is of a sorted sample.
func Median(sorted []float64) float64 { return stat.Quantile(0.5, stat.Empirical, sorted, nil) }

// medianInterval is a percentile bootstrap, which asks nothing of how the times are distributed.
func medianInterval(a, b []float64, random *rand.Rand) (low, high float64) {
	differences := make([]float64, 2000)
	for n := range differences {
		differences[n] = Median(resample(a, random)) - Median(resample(b, random))
	}
	slices.Sort(differences)
	return stat.Quantile(0.025, stat.Empirical, differences, nil), stat.Quantile(0.975, stat.Empirical, differences, nil)
}

func resample(from []float64, random *rand.Rand) []float64 {
	drawn := make([]float64, len(from))
	for n := range drawn {
		drawn[n] = from[random.IntN(len(from))]
	}
	slices.Sort(drawn)
	return drawn
}

func auc(a, b []float64) float64 {
	all := slices.Concat(a, b)
	first := make([]bool, len(all))
	for n := range a {
		first[n] = true
	}
	stat.SortWeightedLabeled(all, first, nil)
	hits, falseAlarms, _ := stat.ROC(nil, all, first, nil)
	return integrate.Trapezoidal(falseAlarms, hits)
}

// Crop leaves out of both samples what is over the ninth decile of them together: where the machine
// was busy with other things, which says nothing of the samples but hides a small difference
// between them.
func Crop(a, b []float64) (_, _ []float64) {
	limit := stat.Quantile(0.9, stat.Empirical, slices.Sorted(slices.Values(slices.Concat(a, b))), nil)
	over := func(x float64) bool { return x > limit }
	return slices.DeleteFunc(slices.Clone(a), over), slices.DeleteFunc(slices.Clone(b), over)
}
