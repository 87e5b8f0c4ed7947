package report

import (
	"bytes"
	"fmt"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart is a plot as it stands in the report.
type Chart struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	X      string  `json:"x"`
	Y      string  `json:"y"`
	LogX   bool    `json:"log_x,omitempty"`
	LogY   bool    `json:"log_y,omitempty"`
	Dots   bool    `json:"dots,omitempty"` // on the lines, where the points are few
	Curves []Curve `json:"curves"`
}

// Curve is one line of a chart.
type Curve struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"`
}

// svg draws a chart.
func (c Chart) svg() (string, error) {
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

func (c Chart) line(p *plot.Plot, n int, of Curve) error {
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
