package rows

import (
	"fmt"
	"slices"
	"time"

	"gatehouse.example/bench/internal/load"
	"gatehouse.example/bench/internal/report"
	"gatehouse.example/bench/internal/stats"
)

// drawings collect what is to be drawn while the rows are measured.
type drawings struct {
	sampled map[string][]time.Duration
	names   []string       // of samples, in the order of the first
	floods  []report.Curve // of the last round
	growths []report.Curve
}

func newDrawings() drawings { return drawings{sampled: map[string][]time.Duration{}} }

// sample adds latencies to a curve of the plot that shows all of them together.
func (d *drawings) sample(name string, took []time.Duration) {
	if _, known := d.sampled[name]; !known {
		d.names = append(d.names, name)
	}
	d.sampled[name] = append(d.sampled[name], took...)
}

// drawFlood shows the latencies of a path while the flood comes and goes.
func (d *drawings) drawFlood(path string, shots []load.Shot) {
	const step = 100 * time.Millisecond
	var at []time.Duration
	for _, one := range shots {
		n := int(one.At / step)
		for len(at) <= n {
			at = append(at, 0)
		}
		at[n] = max(at[n], one.Took)
	}
	slowest := report.Curve{Name: path}
	for n, took := range at {
		if took > 0 {
			slowest.Points = append(slowest.Points, [2]float64{(time.Duration(n) * step).Seconds(), took.Seconds() * 1000})
		}
	}
	d.floods = append(slices.DeleteFunc(d.floods, func(c report.Curve) bool { return c.Name == path }), slowest)
}

// drawGrowth shows what each thing takes in each of the databases.
func (s *Run) drawGrowth() {
	s.growths = nil
	for _, op := range []string{opLogin, opRefresh, opMe, opVerify} {
		c := report.Curve{Name: op}
		for _, t := range s.populations {
			c.Points = append(c.Points, [2]float64{float64(t.users), stats.Percentile(t.seen[op], 50).Seconds() * 1000})
		}
		s.growths = append(s.growths, c)
	}
}

// Charts are the charts for which something was measured.
func (s *Run) Charts() []report.Chart {
	cdf := report.Chart{Name: "latencies", Title: "Share of the answers that took no longer", X: "ms", Y: "share", LogX: true}
	for _, name := range s.names {
		cdf.Curves = append(cdf.Curves, report.Curve{Name: name, Points: distribution(s.sampled[name])})
	}
	return slices.DeleteFunc([]report.Chart{
		{
			Name: "flood", X: "seconds", Y: "ms", LogY: true, Curves: s.floods,
			Title: fmt.Sprintf("Slowest of each tenth of a second; in the middle third %d clients flood POST /token", floodClients()),
		},
		{Name: "growth", Title: "Latency (p50) against the number of users", X: "users", Y: "ms", LogX: true, LogY: true, Dots: true, Curves: s.growths},
		cdf,
	}, func(c report.Chart) bool { return len(c.Curves) == 0 })
}

// distribution has a point for each percent and, where the slow ones are, for each tenth of one.
func distribution(all []time.Duration) [][2]float64 {
	sorted := slices.Sorted(slices.Values(all))
	var points [][2]float64
	for permille := 0; permille <= 1000; permille++ {
		if permille%10 == 0 || permille > 950 {
			at := min(len(sorted)-1, len(sorted)*permille/1000)
			points = append(points, [2]float64{max(sorted[at].Seconds()*1000, 0.001), float64(permille) / 1000})
		}
	}
	return points
}
