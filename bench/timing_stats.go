package main

import (
	"math"
	"math/rand/v2"
	"slices"

	// gonum is the well-kept library of statistics: variances without cancellation, quantiles, and a ROC curve that is
	// right about ties.
	"gonum.org/v1/gonum/integrate"
	"gonum.org/v1/gonum/stat"
)

// comparison is what tells two samples apart: of times, in milliseconds.
type comparison struct {
	t                float64 // Welch's, of the means; negative: the first is smaller
	medianA, medianB float64
	median           float64 // the first's less the second's
	low, high        float64 // 95 % interval of that difference
	auc              float64 // how often one of the first is over one of the second; 0.5: a coin
}

func compare(a, b []float64, random *rand.Rand) comparison {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	low, high := medianInterval(a, b, random)
	return comparison{welch(a, b), median(a), median(b), median(a) - median(b), low, high, auc(a, b)}
}

func welch(a, b []float64) float64 {
	meanA, varianceA := stat.MeanVariance(a, nil)
	meanB, varianceB := stat.MeanVariance(b, nil)
	return (meanA - meanB) / math.Sqrt(varianceA/float64(len(a))+varianceB/float64(len(b)))
}

func median(sorted []float64) float64 { return stat.Quantile(0.5, stat.Empirical, sorted, nil) }

// medianInterval is a percentile bootstrap, which asks nothing of how the times are distributed.
func medianInterval(a, b []float64, random *rand.Rand) (low, high float64) {
	differences := make([]float64, 2000)
	for n := range differences {
		differences[n] = median(resample(a, random)) - median(resample(b, random))
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

// crop leaves out of both samples what is over the ninth decile of them together: where the machine was busy with other
// things, which says nothing of the samples but hides a small difference between them.
func crop(a, b []float64) (_, _ []float64) {
	limit := stat.Quantile(0.9, stat.Empirical, slices.Sorted(slices.Values(slices.Concat(a, b))), nil)
	over := func(x float64) bool { return x > limit }
	return slices.DeleteFunc(slices.Clone(a), over), slices.DeleteFunc(slices.Clone(b), over)
}
