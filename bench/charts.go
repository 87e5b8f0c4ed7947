package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a plot as it stands in the report.
type chart struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	X      string  `json:"x"`
	Y      string  `json:"y"`
	LogX   bool    `json:"log_x,omitempty"`
	LogY   bool    `json:"log_y,omitempty"`
	Dots   bool    `json:"dots,omitempty"` // on the lines, where the points are few
	Curves []curve `json:"curves"`
}

type curve struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"`
}

// drawings collect what is to be drawn while the rows play.
type drawings struct {
	sampled map[string][]time.Duration
	names   []string // of samples, in the order of the first
	tides   []curve  // of the last round
	growths []curve
}

func newDrawings() drawings { return drawings{sampled: map[string][]time.Duration{}} }

// sample adds latencies to a curve of the plot that shows all of them together.
func (d *drawings) sample(name string, took []time.Duration) {
	if _, known := d.sampled[name]; !known {
		d.names = append(d.names, name)
	}
	d.sampled[name] = append(d.sampled[name], took...)
}

// drawTide shows the latencies of a path while the flood comes and goes.
func (d *drawings) drawTide(path string, shots []shot) {
	const step = 100 * time.Millisecond
	var at []time.Duration
	for _, one := range shots {
		n := int(one.at / step)
		for len(at) <= n {
			at = append(at, 0)
		}
		at[n] = max(at[n], one.took)
	}
	slowest := curve{Name: path}
	for n, took := range at {
		if took > 0 {
			slowest.Points = append(slowest.Points, [2]float64{(time.Duration(n) * step).Seconds(), took.Seconds() * 1000})
		}
	}
	d.tides = append(slices.DeleteFunc(d.tides, func(c curve) bool { return c.Name == path }), slowest)
}

// drawGrowth shows what each thing takes in each town.
func (s *stage) drawGrowth() {
	s.growths = nil
	for _, op := range []string{opLogin, opRefresh, opMe, opVerify} {
		c := curve{Name: op}
		for _, t := range s.towns {
			c.Points = append(c.Points, [2]float64{float64(t.users), percentile(t.seen[op], 50).Seconds() * 1000})
		}
		s.growths = append(s.growths, c)
	}
}

// plots are the charts for which something was measured.
func (s *stage) plots() []chart {
	cdf := chart{Name: "latencies", Title: "Share of the answers that took no longer", X: "ms", Y: "share", LogX: true}
	for _, name := range s.names {
		cdf.Curves = append(cdf.Curves, curve{name, distribution(s.sampled[name])})
	}
	return slices.DeleteFunc([]chart{
		{
			Name: "flood", X: "seconds", Y: "ms", LogY: true, Curves: s.tides,
			Title: fmt.Sprintf("Slowest of each tenth of a second; in the middle third %d clients flood POST /token", floodClients),
		},
		{Name: "growth", Title: "Latency (p50) against the number of users", X: "users", Y: "ms", LogX: true, LogY: true, Dots: true, Curves: s.growths},
		cdf,
	}, func(c chart) bool { return len(c.Curves) == 0 })
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

// svg draws a chart.
func (c chart) svg() (string, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.X, c.Y
	for _, style := range []*draw.TextStyle{
		&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle,
	} {
		style.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: style.Font.Size}
	}
	p.Title.TextStyle.Font.Size, p.Legend.Padding = p.X.Label.TextStyle.Font.Size, vg.Points(3)
	p.Add(plotter.NewGrid())
	if c.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
	}
	if c.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	}
	for n, one := range c.Curves {
		if err := c.line(p, n, one); err != nil {
			return "", fmt.Errorf("plot %s, %s: %w", c.Name, one.Name, err)
		}
	}
	if c.LogY { // the legend is above the lines
		p.Legend.Top, p.Y.Max = true, p.Y.Max*10
	}
	canvas := vgsvg.New(8*vg.Inch, 4.5*vg.Inch)
	p.Draw(draw.Crop(draw.New(canvas), 0, -20, 0, 0)) // half of the last number on the axis is beyond it
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return "", err
	}
	_, body, _ := strings.Cut(out.String(), "<svg")
	// Where there is no Liberation Sans, what is as wide.
	return "<svg" + strings.ReplaceAll(body, "font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"), nil
}

func (c chart) line(p *plot.Plot, n int, of curve) error {
	points := make(plotter.XYs, len(of.Points))
	for n, point := range of.Points {
		points[n] = plotter.XY{X: point[0], Y: point[1]}
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, line.Width, dots.Color, dots.Shape = plotutil.Color(n), vg.Points(1.5), plotutil.Color(n), draw.CircleGlyph{}
	p.Add(line)
	if c.Dots {
		p.Add(dots)
	}
	p.Legend.Add(of.Name, line)
	return nil
}

// decades marks powers of ten, written out, and the numbers between.
type decades struct{}

func (decades) Ticks(low, high float64) []plot.Tick {
	ticks := plot.LogTicks{Prec: -1}.Ticks(low, high)
	for n := range ticks {
		if ticks[n].Label != "" {
			ticks[n].Label = thousands(ticks[n].Value)
		}
	}
	return ticks
}

func thousands(value float64) string {
	if value < 1000 {
		return fmt.Sprintf("%g", value)
	}
	digits := fmt.Sprintf("%.0f", value)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
