package pages

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// palette is the variables that hold colours, by name.
type palette map[string]string

// palettes are the light and the dark one. The dark one has only what differs.
func palettes(t *testing.T) (light, dark palette) {
	t.Helper()
	parts := strings.Split(string(styleSheet), ":root {")
	if len(parts) != 3 {
		t.Fatalf("the stylesheet has %d palettes", len(parts)-1)
	}
	return readPalette(parts[1]), readPalette(parts[2])
}

func readPalette(text string) palette {
	colours := make(palette)
	block, _, _ := strings.Cut(text, "}")
	for _, match := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
		colours[match[1]] = match[2]
	}
	return colours
}

// luminance is that of WCAG 2.2.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	value, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(shift uint) float64 {
		c := float64(value>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Text that is too pale is lost on whoever sees less, or sits in the sun (WCAG 2.2, 1.4.3 and
// 1.4.11).
func TestThePaletteHasTheContrastsOfWCAG(t *testing.T) {
	t.Parallel()
	light, dark := palettes(t)
	if got := contrast(t, "#ffffff", "#000000"); math.Abs(got-21) > 1e-9 {
		t.Fatalf("black on white has the contrast %v", got)
	}
	for name, colours := range map[string]palette{"light": light, "dark": dark} {
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "ground", 4.5}, {"ink", "paper", 4.5}, // text
			{"soft", "ground", 4.5}, {"soft", "paper", 4.5}, // hints
			{"accent", "ground", 4.5}, {"accent", "paper", 4.5}, // links, and the focus
			{"on-accent", "accent", 4.5}, {"on-bad", "bad", 4.5}, // buttons
			{"bad", "paper", 4.5}, {"bad", "bad-ground", 4.5}, // what is wrong
			{"good", "paper", 4.5}, {"good", "good-ground", 4.5}, // what was done
			{"edge", "paper", 3}, {"edge", "ground", 3}, // the borders of inputs and buttons
		} {
			got := contrast(t, colours[pair.front], colours[pair.back])
			if got < pair.least {
				t.Errorf("%s: %s on %s has the contrast %.2f, want %v",
					name, pair.front, pair.back, got, pair.least)
			}
		}
	}
}

// A colour beside the palette is the same by day and by night, and no test sees its contrast.
func TestEveryColourIsInBothPalettes(t *testing.T) {
	t.Parallel()
	light, dark := palettes(t)
	for name := range light {
		if _, found := dark[name]; !found {
			t.Errorf("the dark palette lacks %s", name)
		}
	}
	if len(light) != len(dark) {
		t.Errorf("there are %d light colours and %d dark ones", len(light), len(dark))
	}
	all := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|\b(rgba?|hsla?|oklch|color-mix)\(`)
	if n := len(all.FindAllString(string(styleSheet), -1)); n != len(light)+len(dark) {
		t.Errorf("the stylesheet has %d colours, and its palettes %d", n, len(light)+len(dark))
	}
	declared := regexp.MustCompile(`(?m)^ +--([a-z-]+):`)
	names := map[string]bool{}
	for _, match := range declared.FindAllStringSubmatch(string(styleSheet), -1) {
		names[match[1]] = true
	}
	for _, match := range regexp.MustCompile(`var\(--([a-z-]+)\)`).FindAllStringSubmatch(string(styleSheet), -1) {
		if !names[match[1]] {
			t.Errorf("there is no --%s", match[1])
		}
	}
}

// The pages' policy lets a stylesheet load nothing. Whoever is made sick by motion gets none.
func TestTheStyleLoadsNothingAndMovesNothing(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"url(", "@import", "@font-face", "animation", "transition", "scroll-behavior"} {
		if strings.Contains(string(styleSheet), word) {
			t.Errorf("the stylesheet has %s", word)
		}
	}
}

// A class that no template has is a rule that nobody needs, and the other way round a part of a
// page without its look.
func TestTheTemplatesAndTheStyleHaveTheSameClasses(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	attribute := regexp.MustCompile(`class="((?:[^"{]|\{\{[^}]*\}\})*)"`)
	for _, source := range sources(t) {
		for _, match := range attribute.FindAllStringSubmatch(source, -1) {
			for name := range strings.FieldsSeq(regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(match[1], " ")) {
				used[name] = true
			}
		}
	}
	styled := map[string]bool{}
	for _, match := range regexp.MustCompile(`\.([a-z]+)\b`).FindAllStringSubmatch(string(styleSheet), -1) {
		styled[match[1]] = true
	}
	for name := range used {
		if !styled[name] {
			t.Errorf("the stylesheet knows no class %s", name)
		}
	}
	for name := range styled {
		if !used[name] {
			t.Errorf("no template has the class %s", name)
		}
	}
}
